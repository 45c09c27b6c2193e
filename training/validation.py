"""Free forecasts over the validation period, scored in physical units."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_pipelines import WindowDataset
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training.parallel import Ranks


@torch.no_grad()
def validate(
    step: WindowStep, dataset: WindowDataset, weight: Tensor, *, horizon: int, ranks: Ranks | None = None
) -> dict[str, Any]:
    """Root mean square error of forecasts from every start in a data set, by variable and lead.

    Each rank forecasts from its share of the starts; sums are merged in float64, so that the number of ranks shows in
    their rounding alone, and all ranks get the same numbers.

    Parameters
    ----------
    dataset
        Windows whose target spans all leads to be scored.
    weight
        Cell area at ocean cells, ``[state, y, x]``, where the step computes.
    ranks
        Those that call it together; None for one process.

    Returns
    -------
    dict
        ``{variable: {lead in hours: error}}`` in physical units, ``all``: the error over everything in standard
        deviations of the training period, and ``starts``: how many forecasts were made.
    """
    ranks = ranks or Ranks()
    device = weight.device
    step.eval()
    total = torch.zeros(len(dataset.layout.state), dataset.horizon, dtype=torch.float64)
    for window in (dataset[i] for i in range(ranks.rank, len(dataset), ranks.world_size)):
        history, forcing, target = (
            part.to(device) for part in (window.history, window.forcing, window.target)
        )
        parts = rollout(step, history[None], forcing[None], horizon=horizon, leads=dataset.horizon)
        error = torch.cat(list(parts), dim=2)[0] - target
        error = torch.where(weight[:, None] > 0, error, 0.0).double()
        total += ((error.square() * weight[:, None]).sum((-2, -1)) / weight.sum((-2, -1))[:, None]).cpu()
    by_channel = ranks.sum(total) / len(dataset)
    hours = [
        f"{lead * (dataset.time_step / np.timedelta64(1, 'h')):g}"
        for lead in range(1, by_channel.shape[1] + 1)
    ]
    scores: dict[str, Any] = {
        str(channel): dict(zip(hours, row.sqrt().tolist(), strict=True))
        for channel, row in zip(dataset.layout.state, by_channel, strict=True)
    }
    variance = step.std.flatten().double().square()[:, None].cpu()
    scores["all"] = float((by_channel / variance).mean().sqrt())
    scores["starts"] = len(dataset)
    return scores
