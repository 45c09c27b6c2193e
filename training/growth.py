"""How far states part within a window: the measure of the changes that an operator is to learn."""

import torch
from torch import Tensor

from data_pipelines import WindowDataset


def change_growth(dataset: WindowDataset, *, horizon: int, std: Tensor, weight: Tensor) -> Tensor:
    """Root mean square change from the start of a window to each of its steps, over all windows of a data set.

    Parameters
    ----------
    dataset
        Windows of the training period.
    horizon
        Steps of one window.
    std
        Standard deviation of each channel, the unit of the result, ``[state]``.
    weight
        Cell area at ocean cells, ``[state, y, x]``.

    Returns
    -------
    Tensor
        ``[state, horizon]``.

    Raises
    ------
    ValueError
        If the training period does not change at all.
    """
    total = torch.zeros(len(std), horizon, dtype=torch.float64)
    for window in (dataset[i] for i in range(len(dataset))):
        change = window.target[:, :horizon] - window.history[:, -1:]
        change = torch.where(weight[:, None] > 0, change, 0.0).double()
        total += (change.square() * weight[:, None]).sum((-2, -1)) / weight.sum((-2, -1))[:, None]
    growth = (total / len(dataset)).sqrt() / std[:, None]
    if not (growth > 0).all():
        raise ValueError(
            "a state variable does not change over the training period; there is nothing to learn. Leave it out of "
            "data.state, or choose another period."
        )
    return growth.float()
