"""Where a score that falls along an axis passes a limit: the useful lead, the finest scale that is resolved."""

from typing import Any

import torch
from torch import Tensor


def last_above(score: Any, places: Any, limit: float) -> Tensor:
    """How far along an axis a score stays at a limit or above without a break.

    Straight between the last place above the limit and the first below it.

    Parameters
    ----------
    score
        The more the better, ``[place, ...]``; NaN counts as below.
    places
        ``[place]``.

    Returns
    -------
    ``[...]``: NaN where the first place is below already; the last place where none is, which means at least so far.
    """
    values, axis = (torch.as_tensor(each).to(torch.float64) for each in (score, places))
    below = ~(values >= limit)
    first = below.long().argmax(0)
    before = (first - 1).clamp(min=0)
    value_before, value_after = (values.gather(0, each[None])[0] for each in (before, first))
    part = ((value_before - limit) / (value_before - value_after)).nan_to_num(nan=0.0)
    crossing = axis[before] + part * (axis[first] - axis[before])
    crossing = crossing.where(first > 0, torch.nan)
    return crossing.where(below.any(0), axis[-1])


def useful_lead(score: Any, hours: Any, limit: float) -> Tensor:
    """Lead up to which a score stays at a limit or above, h.

    Parameters
    ----------
    score
        ``[lead, ...]``, the more the better.
    hours
        Leads, increasing, ``[lead]``.
    limit
        :data:`oceanop.verification.anomaly.USEFUL` for an anomaly correlation, 0 for a skill.

    Returns
    -------
    ``[...]``: 0 where the first lead is of no use already, and the longest lead where all are of use, which means at
    least so long.
    """
    return last_above(score, hours, limit).nan_to_num(nan=0.0)


def effective_resolution(score: Any, wavelength: Any, limit: float = 0.5) -> Tensor:
    """Wavelength down to which a score of scales stays at a limit or above, m.

    With the score one less the error's power over the truth's and the limit 0.5 it is the effective resolution of
    Ballarotta et al., Ocean Science 15, 2019, section 3; with the magnitude-squared coherence the scale down to which
    half of the truth's variance is told by the forecast's (Bendat and Piersol, Random Data, 4th ed. 2010, section 6.1).

    Parameters
    ----------
    score
        ``[band, ...]``, from long to short waves.
    wavelength
        Middle of each band, m, decreasing, ``[band]``; between bands the logarithm is taken as the axis.

    Returns
    -------
    ``[...]``: NaN where not even the longest waves are resolved; the shortest band where all are, which means that at
    least.
    """
    lengths = torch.as_tensor(wavelength).to(torch.float64)
    return last_above(score, lengths.log(), limit).exp()
