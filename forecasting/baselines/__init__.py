"""Forecasts that a learned one must beat: what anybody could say who knows the past of each cell."""

from typing import Any

from torch import Tensor

from forecasting.baselines.climatology import Climatology
from forecasting.baselines.damped_persistence import DampedPersistence
from forecasting.baselines.persistence import Persistence
from forecasting.baselines.tides import DampedTides, Tides
from forecasting.forecaster import Forecaster

BASELINES: dict[str, Any] = {
    kind.name: kind for kind in (Persistence, DampedPersistence, Climatology, Tides, DampedTides)
}


def baseline(name: str, states: Tensor, times: Any, wet: Tensor, **options: Any) -> Forecaster:
    """Fit the named baseline.

    Parameters
    ----------
    name
        One of ``BASELINES``.
    states
        Training states, physical units, ``[channel, time, y, x]``.
    times
        Their times, ``datetime64`` or ``cftime``, increasing, gaps allowed, ``[time]``.
    wet
        Ocean mask of each channel, bool ``[channel, y, x]``.
    **options
        ``time_step``: seconds from one lead to the next, where the training times do not show it;
        ``leads``: longest lead whose damping is fitted. A baseline without use for one takes no notice.

    Raises
    ------
    ValueError
        If there is no baseline of that name.
    """
    if name not in BASELINES:
        raise ValueError(f"there is no baseline '{name}'; name one of {', '.join(BASELINES)}.")
    fitted: Forecaster = BASELINES[name].fit(states, times, wet, **options)
    return fitted


__all__ = [
    "BASELINES",
    "Climatology",
    "DampedPersistence",
    "DampedTides",
    "Persistence",
    "Tides",
    "baseline",
]
