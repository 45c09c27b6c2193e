"""Free forecasts over the validation period, scored in physical units."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_pipelines import WindowDataset
from oceanop.rollout import rollout
from oceanop.step import WindowStep


@torch.no_grad()
def validate(step: WindowStep, dataset: WindowDataset, weight: Tensor, *, horizon: int) -> dict[str, Any]:
    """Root mean square error of forecasts from every start in a data set, by variable and lead.

    Parameters
    ----------
    dataset
        Windows whose target spans all leads to be scored.
    weight
        Cell area at ocean cells, ``[state, y, x]``.

    Returns
    -------
    dict
        ``{variable: {lead in hours: error}}`` in physical units, ``all``: the error over everything in standard
        deviations of the training period, and ``starts``: how many forecasts were made.
    """
    step.eval()
    total: Tensor | None = None
    for window in (dataset[i] for i in range(len(dataset))):
        leads = window.target.shape[1]
        parts = rollout(step, window.history[None], window.forcing[None], horizon=horizon, leads=leads)
        error = torch.cat(list(parts), dim=2)[0] - window.target
        error = torch.where(weight[:, None] > 0, error, 0.0).double()
        squared = (error.square() * weight[:, None]).sum((-2, -1)) / weight.sum((-2, -1))[:, None]
        total = squared if total is None else total + squared
    assert total is not None  # a data set without windows cannot be made
    by_channel = total / len(dataset)
    hours = [
        f"{lead * (dataset.time_step / np.timedelta64(1, 'h')):g}"
        for lead in range(1, by_channel.shape[1] + 1)
    ]
    scores: dict[str, Any] = {
        str(channel): dict(zip(hours, row.sqrt().tolist(), strict=True))
        for channel, row in zip(dataset.layout.state, by_channel, strict=True)
    }
    variance = step.std.flatten().double().square()[:, None]
    scores["all"] = float((by_channel / variance).mean().sqrt())
    scores["starts"] = len(dataset)
    return scores
