"""Forecasts that a learned one must beat: what anybody could say who knows the past of each cell, or its weather."""

from collections.abc import Collection
from typing import Any

from torch import Tensor

from forecasting.baselines.climatology import Climatology
from forecasting.baselines.damped_persistence import DampedPersistence
from forecasting.baselines.persistence import Persistence
from forecasting.baselines.tides import DampedTides, Tides
from forecasting.baselines.wind_regression import CannotFit, WindRegression
from forecasting.forecaster import Forecaster

BASELINES: dict[str, Any] = {
    kind.name: kind
    for kind in (Persistence, DampedPersistence, Climatology, Tides, DampedTides, WindRegression)
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
        ``leads``: longest lead whose damping is fitted; ``forcing`` ``[channel, time, y, x]`` of the training times,
        and ``variables``, what it is of, as :func:`forcing_of` says. A baseline without use for one takes no notice.

    Raises
    ------
    ValueError
        If there is no baseline of that name, or the record is not what it learns from.
    """
    _require(name)
    fitted: Forecaster = BASELINES[name].fit(states, times, wet, **options)
    return fitted


def forcing_of(name: str, held: Collection[str]) -> tuple[str, ...]:
    """Variables of a store that the named baseline is forced by, in the order it takes them; most need none.

    Parameters
    ----------
    held
        Variables that the store holds.

    Raises
    ------
    ValueError
        If there is no baseline of that name, or the store lacks what it needs.
    """
    _require(name)
    kind = BASELINES[name]
    return tuple(kind.forcing_of(held)) if hasattr(kind, "forcing_of") else ()


def _require(name: str) -> None:
    if name not in BASELINES:
        raise ValueError(f"there is no baseline '{name}'; name one of {', '.join(BASELINES)}.")


__all__ = [
    "BASELINES",
    "CannotFit",
    "Climatology",
    "DampedPersistence",
    "DampedTides",
    "Persistence",
    "Tides",
    "WindRegression",
    "baseline",
    "forcing_of",
]
