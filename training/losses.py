"""What training makes small: squared error at ocean cells, by area, each channel and step in its own measure.

Two terms can be added to it: one that minds small scales, and one that minds how strong a forecast is.
"""

import torch
from torch import Tensor

from oceanop.step import WindowStep
from training.neighbours import pair_weights, square_differences


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


def gradient_loss(forecast: Tensor, target: Tensor, *, scale: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of the differences between neighbouring ocean cells, each in units of its scale.

    With :func:`window_loss` it is the square of a Sobolev (H1) norm of the error: errors of wavenumber k weigh by k^2.

    Parameters
    ----------
    forecast, target, weight
        As in :func:`window_loss`.
    scale
        Physical units, along y and along x, of each channel and step, ``[2, state, time]``.
    """
    squares = square_differences(forecast - target, weight).sum(1) / scale.square()
    pairs = torch.stack([along.sum() for along in pair_weights(weight)]).sum()
    return squares.sum() / (pairs * forecast.shape[0] * forecast.shape[2])


def energy_loss(forecast: Tensor, target: Tensor, *, mean: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference of the strength of forecast and truth, of each sample, channel and step.

    Strength is the root mean square anomaly over ocean cells, in units of the scale: of a current, the root of its
    kinetic energy. By the triangle inequality this is never more than :func:`window_loss`, and as much where forecast
    and truth have the same pattern: the part of the error that a forecast could lose by being stronger or weaker.

    Parameters
    ----------
    forecast, target, scale, weight
        As in :func:`window_loss`.
    mean
        What anomalies are taken from, physical units, ``[state, 1, 1, 1]``.
    """
    wet, root = weight[:, None] > 0, weight.sqrt()[:, None]
    ours, theirs = (
        torch.linalg.vector_norm(torch.where(wet, (field - mean) / scale, 0.0) * root, dim=(-2, -1))
        for field in (forecast, target)
    )
    return (ours - theirs).square().sum() / (weight.sum() * forecast.shape[0] * forecast.shape[2])


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
