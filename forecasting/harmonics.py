"""The tide of one place: its lines by least squares, what is left without them, and the surge of each high water."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import utide
import xarray as xr
from numpy.typing import NDArray
from utide.harmonics import ut_E
from utide.utilities import Bunch

from data_pipelines.times import text

LEAST_SNR = 2.0  # of a line that is predicted with; weaker ones are noise as likely as tide (Codiga, 2011, section III)
FINE = np.timedelta64(6, "m")  # between predicted levels where a high water is looked for
SLOWEST = (
    40.0  # hours; lines slower than the diurnal ones are seasons and fortnights, and no high water is theirs
)
LONGEST_GAP = np.timedelta64(90, "m")  # within a tide whose highest level is looked for
LONGEST_STEP = (
    3.0  # hours between levels; beyond it the semidiurnal lines and their overtides pass for one another
)
BLOCK = 2**15  # times whose lines are in memory at once
_HOUR = np.timedelta64(1, "h")
_DAY_OF_1970 = 719163  # the library counts days from the last of the year 0

Levels = NDArray[np.float64]


def tidal_analysis(
    times: Any, levels: Any, *, latitude: float, rayleigh: float = 1.0, trend: bool = False
) -> xr.Dataset:
    """Amplitude and Greenwich phase of every tidal line that a record can separate.

    Ordinary least squares with the nodal corrections of each time, as UTide does them (Codiga, Unified tidal analysis
    and prediction using the UTide Matlab functions, University of Rhode Island, 2011).

    Parameters
    ----------
    times
        UTC, increasing, ``[time]``; steps may be missing.
    levels
        m, ``[time]``; NaN where there is none.
    latitude
        Of the place, degrees north; the nodal corrections depend on it.
    rayleigh
        Beats that two lines must go through within the record to count as two.
    trend
        Fit a straight line beside the mean.

    Returns
    -------
    xr.Dataset
        By ``constituent``, the strongest first: ``amplitude`` (m) and ``phase`` (degrees, lag behind the equilibrium
        tide at Greenwich), half the widths of their 95 % intervals as ``amplitude_error`` and ``phase_error``, ``snr``
        (square of amplitude over standard error) and ``frequency`` (cycles per hour). By ``inseparable``, the lines
        that the record is too short for: ``days_needed``; lines of periods of two steps and less, which its steps are
        too long for, are in neither. The scalars ``mean`` (m) and ``slope`` (m per day), and the
        record in the attributes.

    Raises
    ------
    ValueError
        If there is no latitude, the times do not increase, levels are more than three hours apart, or the record cannot
        hold a single line.
    """
    moments, heights = _series(times, levels)
    if not -90 <= latitude <= 90:
        raise ValueError(f"latitude {latitude:g}: a place lies between 90 S and 90 N; give degrees north.")
    finite = np.isfinite(heights)
    held = np.flatnonzero(finite)
    span = slice(held[0], held[-1] + 1) if held.size else slice(0)
    duration = (moments[span][-1] - moments[span][0]) / _HOUR if held.size else 0.0
    step = float(np.median(np.diff(moments[finite])) / _HOUR) if held.size > 1 else 0.0
    if step > LONGEST_STEP:
        raise ValueError(
            f"the levels are {step:g} h apart, and lines of half a day pass for slower ones beyond {LONGEST_STEP:g} h; "
            "give the levels themselves, not means or a choice of them."
        )
    known = utide.ut_constants.const
    spacing = known.df  # cycles per hour to the neighbour a line must be told apart from
    # A line of two steps and less is another one's alias
    separate = (spacing * duration >= rayleigh) & (known.freq * step < 0.5 - 1e-9)
    wanted = int(separate.sum()) if duration else 0
    if not wanted or finite.sum() < 2 * wanted + 1 + trend:
        lines = (
            f"{wanted} tidal lines, which need {2 * wanted + 1 + trend} levels" if wanted else "no tidal line"
        )
        raise ValueError(
            f"a record of {finite.sum()} levels over {duration:.1f} h separates {lines}; give at least some days of "
            "hourly levels."
        )
    # A gap stays as NaN between the first and the last level, so that the record counts as equally spaced
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # a record without any noise has none to compare with
        found = utide.solve(
            moments[span],
            heights[span],
            lat=_latitude(latitude),
            constit=[str(name) for name in known.name[separate]],
            trend=trend,
            nodal=True,
            method="ols",
            conf_int="linear",
            verbose=False,
        )
    return _labelled(found, moments[finite], latitude, rayleigh, spacing, duration)


def _series(times: Any, levels: Any) -> tuple[NDArray[np.datetime64], Levels]:
    moments = _moments(times)
    heights = np.asarray(levels, dtype=np.float64)
    if moments.ndim != 1 or moments.shape != heights.shape:
        raise ValueError(
            f"times of shape {moments.shape} and levels of shape {heights.shape}; a record is one series of each."
        )
    if np.isnat(moments).any() or (np.diff(moments) <= np.timedelta64(0)).any():
        raise ValueError("the times do not increase; sort the record and drop what is there twice.")
    return moments, heights


def _moments(times: Any) -> NDArray[np.datetime64]:
    """Dates of any kind as UTC; those without a zone are in UTC already."""
    values = np.asarray(times) if isinstance(times, xr.DataArray | xr.Variable) else times
    if np.asarray(values).dtype.kind in "iuf":
        raise ValueError(
            "the times are numbers without a reference; give dates, as a time axis of xarray or pandas."
        )
    try:
        index = pd.DatetimeIndex(pd.to_datetime(values, utc=True))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the times are no dates of the real calendar ({str(error).splitlines()[0]}); a tide keeps no other."
        ) from error
    return index.tz_localize(None).to_numpy().astype("datetime64[ns]")


def _labelled(
    found: Bunch,
    moments: NDArray[np.datetime64],
    latitude: float,
    rayleigh: float,
    spacing: Levels,
    duration: float,
) -> xr.Dataset:
    names = np.array([str(name) for name in found.name])
    rounding = 1e-12 * (abs(found.mean) + found.A.max())
    short = (spacing > 0) & (spacing * duration < rayleigh)
    order = np.argsort(-spacing[short], kind="stable")
    series = {
        "amplitude": (found.A, "amplitude", "m"),
        "phase": (np.mod(found.g, 360.0), "Greenwich phase lag", "degree"),
        "amplitude_error": (
            np.nan_to_num(found.A_ci),
            "half the width of the amplitude's 95 % interval",
            "m",
        ),
        "phase_error": (np.nan_to_num(found.g_ci), "half the width of the phase's 95 % interval", "degree"),
        "snr": (
            # Without any noise the ratio is that of nothing to nothing where rounding is all there is of the line
            np.where(
                rounding < found.A,
                np.nan_to_num(found.SNR, nan=np.inf, posinf=np.inf),
                0.0,
            ),
            "square of amplitude over its standard error",
            "1",
        ),
        "frequency": (found.aux.frq, "frequency", "hour-1"),
    }
    return xr.Dataset(
        {
            **{
                name: ("constituent", np.asarray(values, np.float64), {"long_name": words, "units": unit})
                for name, (values, words, unit) in series.items()
            },
            "days_needed": (
                "inseparable",
                (rayleigh / (24 * spacing[short]))[order],
                {"long_name": "record that would separate the line", "units": "days"},
            ),
            "mean": ((), float(found.mean), {"long_name": "mean level", "units": "m"}),
            "slope": ((), float(found.get("slope", 0.0)), {"long_name": "trend", "units": "m day-1"}),
        },
        coords={
            "constituent": names,
            "inseparable": np.array([str(name) for name in utide.ut_constants.const.name[short]])[order],
        },
        attrs={
            "latitude": float(latitude),
            "record_start": text(moments[0]),
            "record_end": text(moments[-1]),
            "levels": int(moments.size),
            "rayleigh": float(rayleigh),
            "reference_day": float(found.aux.reftime),
            "method": "least squares with nodal corrections (UTide)",
        },
    )


def predicted_tide(analysis: xr.Dataset, times: Any, *, least_snr: float = LEAST_SNR) -> Levels:
    """Level of the analysed tide and mean at any times, m, ``[time]``.

    Parameters
    ----------
    analysis
        What :func:`tidal_analysis` gave.
    times
        UTC, ``[time]``.
    least_snr
        Lines below this ratio of signal to noise are left out; 0 keeps all.
    """
    strong = analysis["snr"].to_numpy() >= least_snr
    return _sums(analysis, times, [strong])[0] + _mean(analysis, times)


def _sums(analysis: xr.Dataset, times: Any, sets: Sequence[NDArray[np.bool_]]) -> Levels:
    """Sum of the lines of each set, m, ``[set, time]``."""
    days = _days(times)
    chosen = np.stack(sets)
    used = chosen.any(0)
    heights = analysis["amplitude"].to_numpy() * np.exp(-1j * np.deg2rad(analysis["phase"].to_numpy()))
    weights = (chosen * heights)[:, used].T
    lines = [utide.constit_index_dict[str(name)] for name in analysis["constituent"].values[used]]
    out = np.zeros((len(sets), days.size))
    for first in range(0, days.size if lines else 0, BLOCK):
        part = slice(first, first + BLOCK)
        basis = ut_E(
            days[part],
            float(analysis.attrs["reference_day"]),
            analysis["frequency"].to_numpy()[used],
            lines,
            _latitude(analysis.attrs["latitude"]),
            [False] * 4,  # nodal corrections and phases at Greenwich, of each time
            [],
        )
        out[:, part] = (basis @ weights).real.T
    return out


def _latitude(degrees: Any) -> float:
    """Degrees north as the library takes them: within five of the equator it keeps the sign alone, which 0 has none."""
    return float(degrees) or 1e-6


def _days(times: Any) -> Levels:
    moments = _moments(np.atleast_1d(times)).astype("datetime64[ms]")
    return (moments - np.datetime64("1970-01-01", "ms")).astype(np.float64) / 86_400_000 + _DAY_OF_1970


def _mean(analysis: xr.Dataset, times: Any) -> Levels:
    since = _days(times) - float(analysis.attrs["reference_day"])
    return float(analysis["mean"]) + float(analysis["slope"]) * since


def tidal_residual(
    analysis: xr.Dataset, times: Any, levels: Any, *, least_snr: float = LEAST_SNR
) -> xr.DataArray:
    """Level less tide and mean, m: surge, seiches and noise, ``[time]``."""
    moments, heights = _series(times, levels)
    tide = predicted_tide(analysis, moments, least_snr=least_snr)
    return xr.DataArray(
        heights - tide,
        dims="time",
        coords={"time": moments},
        name="residual",
        attrs={"long_name": "level less predicted tide", "units": "m"},
    )


def skew_surge(analysis: xr.Dataset, times: Any, levels: Any, *, least_snr: float = LEAST_SNR) -> xr.Dataset:
    """How much higher each high water came than predicted, whenever it came (de Vries et al., Coastal Eng. 25, 1995).

    Unlike the residual, it does not take a tide that is early or late for a surge.

    Parameters
    ----------
    analysis
        What :func:`tidal_analysis` gave.
    times, levels
        UTC and m, ``[time]``; tides with a gap of more than an hour and a half are left out.
    least_snr
        As in :func:`predicted_tide`.

    Returns
    -------
    xr.Dataset
        By ``time`` of predicted high water: ``predicted``, ``observed`` (the highest level from low water to low
        water) and ``skew_surge``, m.

    Raises
    ------
    ValueError
        If there is no level, or most are more than an hour and a half apart.
    """
    moments, heights = _series(times, levels)
    held = np.isfinite(heights)
    moments, heights = moments[held], heights[held]
    if moments.size < 2 or np.median(np.diff(moments)) > LONGEST_GAP:
        apart = f", {np.median(np.diff(moments)) / _HOUR:g} h apart" if moments.size > 1 else ""
        raise ValueError(
            f"a skew surge needs levels at most {LONGEST_GAP / _HOUR:g} h apart to hold the high waters, and "
            f"{moments.size} came{apart}; give hourly ones."
        )
    fine = np.arange(moments[0], moments[-1] + FINE, FINE)
    strong = analysis["snr"].to_numpy() >= least_snr
    wave, tide = _sums(analysis, fine, [strong & (analysis["frequency"].to_numpy() > 1 / SLOWEST), strong])
    predicted = tide + _mean(analysis, fine)
    # The departure is smooth where the level is not: a pure tide keeps its peaks between the samples
    departure = heights - predicted_tide(analysis, moments, least_snr=least_snr)
    level = predicted + np.interp(fine.astype(np.int64), moments.astype(np.int64), departure)
    low = _troughs(wave)
    gap = np.diff(moments) > LONGEST_GAP
    broken = moments[:-1][gap], moments[1:][gap]
    tides = [
        slice(first, last + 1)
        for first, last in pairwise(low.tolist())
        if not ((broken[0] < fine[last]) & (broken[1] > fine[first])).any()
    ]
    peaks = np.array([tide.start + int(predicted[tide].argmax()) for tide in tides], dtype=np.int64)
    observed = np.array([level[tide].max() for tide in tides])
    columns = {
        "predicted": (predicted[peaks], "predicted high water"),
        "observed": (observed, "highest level of the tide"),
        "skew_surge": (observed - predicted[peaks], "skew surge"),
    }
    return xr.Dataset(
        {
            name: ("time", values, {"long_name": words, "units": "m"})
            for name, (values, words) in columns.items()
        },
        coords={"time": fine[peaks]},
    )


def _troughs(wave: Levels) -> NDArray[np.int64]:
    """Places of the low waters: below both neighbours."""
    inner = (wave[1:-1] < wave[:-2]) & (wave[1:-1] <= wave[2:])
    return np.flatnonzero(inner) + 1
