"""Free forecasts over the validation period, scored in physical units."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_pipelines import WindowDataset
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training.neighbours import square_differences
from training.parallel import Ranks


@torch.no_grad()
def validate(
    step: WindowStep,
    dataset: WindowDataset,
    weight: Tensor,
    *,
    horizon: int,
    starts: int | None = None,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Root mean square error of forecasts from the starts in a data set, by variable and lead.

    Each rank forecasts from its share of the starts; sums are merged in float64, so that the number of ranks shows in
    their rounding alone, and all ranks get the same numbers.

    Parameters
    ----------
    dataset
        Windows whose target spans all leads to be scored.
    weight
        Cell area at ocean cells, ``[state, y, x]``, where the step computes.
    starts
        How many to forecast from, evenly spread and the same each time; all where None or where there are no more.
    ranks
        Those that call it together; None for one process.

    Returns
    -------
    dict
        ``{variable: {lead in hours: error}}`` in physical units; ``all``: the error over everything in standard
        deviations of the training period; ``roughness``: for each variable and lead the mean square difference
        between neighbouring ocean cells, of the forecasts over that of the truth, 1 where as much small-scale
        structure is forecast as there is, None where there is none; and ``starts``: how many forecasts were made.
    """
    ranks = ranks or Ranks()
    device = weight.device
    step.eval()
    total = torch.zeros(len(dataset.layout.state), dataset.horizon, dtype=torch.float64)
    rough = torch.zeros(2, *total.shape, dtype=torch.float64)  # of forecasts and of the truth
    count = len(dataset) if starts is None else min(starts, len(dataset))
    # In the middle of as many equal parts: the first and the last start are no more likely than others
    chosen = [(2 * n + 1) * len(dataset) // (2 * count) for n in range(count)]
    for window in (dataset[i] for i in chosen[ranks.rank :: ranks.world_size]):
        history, forcing, target = (
            part.to(device) for part in (window.history, window.forcing, window.target)
        )
        parts = rollout(step, history[None], forcing[None], horizon=horizon, leads=dataset.horizon)
        forecast = torch.cat(list(parts), dim=2)[0]
        error = torch.where(weight[:, None] > 0, forecast - target, 0.0).double()
        total += ((error.square() * weight[:, None]).sum((-2, -1)) / weight.sum((-2, -1))[:, None]).cpu()
        rough += square_differences(torch.stack([forecast, target]).double(), weight).sum(0).cpu()
    by_channel = ranks.sum(total) / count
    hours = [
        f"{lead * (dataset.time_step / np.timedelta64(1, 'h')):g}"
        for lead in range(1, by_channel.shape[1] + 1)
    ]
    scores: dict[str, Any] = {
        str(channel): dict(zip(hours, row.sqrt().tolist(), strict=True))
        for channel, row in zip(dataset.layout.state, by_channel, strict=True)
    }
    ours, theirs = ranks.sum(rough).tolist()
    scores["roughness"] = {
        str(channel): {hour: a / b if b else None for hour, a, b in zip(hours, *sums, strict=True)}
        for channel, *sums in zip(dataset.layout.state, ours, theirs, strict=True)
    }
    variance = step.std.flatten().double().square()[:, None].cpu()
    scores["all"] = float((by_channel / variance).mean().sqrt())
    scores["starts"] = count
    return scores
