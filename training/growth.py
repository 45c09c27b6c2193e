"""How far states part within a window: the measure of the changes that an operator is to learn."""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from data_pipelines import WindowDataset

_TOGETHER = 256  # starts for which states are read at once; those after the last of them are read twice
_IN_CACHE = 2**15  # numbers


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
    sea = [torch.from_numpy(np.flatnonzero(cells)) for cells in weight.flatten(1).numpy() > 0]
    share = [
        cells[wet].double() / cells.sum(dtype=torch.float64)
        for cells, wet in zip(weight.flatten(1), sea, strict=True)
    ]
    for first, stop, member in _runs(dataset):
        for begin in range(first, stop, _TOGETHER):
            end = min(begin + _TOGETHER, stop)
            states = dataset.states(begin, end + horizon, member).flatten(2)
            for channel, fields in enumerate(states):
                values = fields[:, sea[channel]]
                # A few starts at a time, and all their leads: what they take stays in the cache.
                some = max(_IN_CACHE // len(sea[channel]), 1)
                for start in range(0, end - begin, some):
                    now = values[start : min(start + some, end - begin)]
                    for lead in range(1, horizon + 1):
                        change = values[start + lead : start + lead + len(now)] - now
                        total[channel, lead - 1] += (change.double().square() @ share[channel]).sum()
    growth = (total / len(dataset)).sqrt() / std[:, None]
    if not (growth > 0).all():
        raise ValueError(
            "a state variable does not change over the training period; there is nothing to learn. Leave it out of "
            "data.state, or choose another period."
        )
    return growth.float()


def _runs(dataset: WindowDataset) -> Iterator[tuple[int, int, int]]:
    """Last known steps of windows that follow each other: the first, the one after the last, and their member."""
    known = dataset.starts + dataset.history - 1
    broken = (np.diff(known) != 1) | (np.diff(dataset.members) != 0)
    edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(known)]
    for begin, end in itertools.pairwise(edges):
        yield int(known[begin]), int(known[end - 1]) + 1, int(dataset.members[begin])
