"""What training makes small: squared error at ocean cells, by area, each channel in its own standard deviation."""

import torch
from torch import Tensor


def window_loss(forecast: Tensor, target: Tensor, *, std: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error over batch, channels, steps and ocean cells, in units of variance.

    Parameters
    ----------
    forecast, target
        Physical units, ``[batch, state, time, y, x]``.
    std
        Standard deviation of each channel, ``[state, 1, 1, 1]``.
    weight
        Cell area where the channel is ocean and 0 on land, ``[state, y, x]``.
    """
    # where, not times: what the truth holds on land must not matter, and 0 * NaN is NaN
    error = torch.where(weight[:, None] > 0, (forecast - target) / std, 0.0)
    steps = error.shape[0] * error.shape[2]
    return (error.square() * weight[:, None]).sum() / (weight.sum() * steps)


def area_weight(wet: Tensor, cell_area: Tensor) -> Tensor:
    """Cell area at ocean cells, ``[state, y, x]``, scaled to a mean of about one."""
    area = (cell_area / cell_area.mean()).to(torch.float32)
    return wet.to(torch.float32) * area
