"""What training makes small: squared error at ocean cells, by area, each channel and step in its own measure."""

import torch
from torch import Tensor

from oceanop.step import WindowStep


def window_loss(forecast: Tensor, target: Tensor, *, scale: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error over batch, channels, steps and ocean cells, each in units of its scale.

    Parameters
    ----------
    forecast, target
        Physical units, ``[batch, state, time, y, x]``.
    scale
        Physical units, of each channel and step, ``[state, time, 1, 1]``.
    weight
        Cell area where the channel is ocean and 0 on land, ``[state, y, x]``.
    """
    # where, not times: what the truth holds on land must not matter, and 0 * NaN is NaN
    error = torch.where(weight[:, None] > 0, (forecast - target) / scale, 0.0)
    steps = error.shape[0] * error.shape[2]
    return (error.square() * weight[:, None]).sum() / (weight.sum() * steps)


def error_scale(step: WindowStep, leads: int, exponent: float, *, after: int = 0) -> Tensor:
    """Scale of the loss at each lead past the first ``after`` ones, ``[state, leads - after, 1, 1]``.

    With exponent 0 all leads are measured in the standard deviation; with 1 in the growth of changes, which gives
    the first hour, where errors are small, the weight of the last.
    """
    growth = step.growth
    later = growth[:, -1:].expand(-1, max(leads - growth.shape[1], 0), -1, -1)
    growth = torch.cat([growth[:, :leads], later], dim=1)[:, after:].pow(exponent)
    # Weights of mean one: the exponent shifts attention between leads, not the size of the loss.
    return step.std * growth * growth.pow(-2).mean().sqrt()


def area_weight(wet: Tensor, cell_area: Tensor, relaxation: Tensor | None = None) -> Tensor:
    """Cell area at ocean cells, ``[state, y, x]``, scaled to a mean of about one.

    What a parent model prescribes is nobody's forecast: where its weight is ``relaxation [state, y, x]``, the rest
    counts.
    """
    area = (cell_area / cell_area.mean()).to(torch.float32)
    weight = wet.to(torch.float32) * area
    return weight if relaxation is None else weight * (1 - relaxation)
