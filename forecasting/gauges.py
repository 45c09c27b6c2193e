"""Gauges beside a forecast: the cell that stands for each, its level at the forecast's times, and from what zero."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines import read_gauges
from data_pipelines.times import calendar_of, milliseconds, text
from forecasting.fields import time_text
from forecasting.matching import Match
from oceanop.gauges import FARTHEST, gauge_cells
from oceanop.grid import Grid, great_circle_distance

LEVEL = "zos"
CELLS = (
    3  # a gauge may lie so many cells from its water, but NEAREST is allowed on any grid and FARTHEST on none
)
NEAREST = 10e3  # m
SMOOTHED = 30 * 60_000  # ms to each side of an hour over which levels taken more often are averaged
CENTRED = 3 * 60_000  # ms by which the middle of the levels averaged may miss the hour
COVERAGE = 0.9  # of the forecasts' times
RESERVED = ("all", "gauges")  # bands of the scores
BLOCK = 2**26  # bytes of fields read at a time, where only some cells are kept

Gauges = xr.Dataset | str | Path | Sequence[xr.Dataset | str | Path]
Series = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Station:
    """A gauge and the cell that stands for it.

    Attributes
    ----------
    name, datum, source
        As its file says.
    latitude, longitude
        Of the gauge, degrees.
    row, column
        Of its cell.
    distance
        From the gauge to the middle of the cell, m.
    observed
        Level at the times of the truth, less its mean over the common window, m, NaN where there is none, ``[time]``.
    truth
        The truth's at the cell, in the same way, ``[time]``.
    mean_observed, mean_truth
        What was taken off, m.
    window
        First and last time of the common window, and the number of times in it, in words.
    coverage
        Share of the scored pairs of a start and a lead at which there is a level.
    """

    name: str
    datum: str
    source: str
    latitude: float
    longitude: float
    row: int
    column: int
    distance: float
    observed: Series
    truth: Series
    mean_observed: float
    mean_truth: float
    window: str
    coverage: float


def place_gauges(gauges: Gauges, matched: Match, truth: xr.Dataset, wet: Tensor) -> list[Station]:
    """Find the cell of every gauge and its levels at the truth's times.

    Parameters
    ----------
    gauges
        Series of :func:`data_pipelines.read_gauge`, or files of gauges.
    matched
        The forecasts, on the grid of the truth.
    truth
        The store.
    wet
        Cells that are scored, bool ``[channel, y, x]``.

    Raises
    ------
    ValueError
        If the forecasts hold no level, a gauge lies on land or outside, shares no time with the truth or misses too
        many of the forecasts' times, or two have one name.
    """
    series = _series(gauges)
    channel = level_channel(matched)
    if calendar_of(truth["time"].values) not in ("standard", "gregorian", "proleptic_gregorian"):
        raise ValueError(
            f"the truth keeps the calendar {calendar_of(truth['time'].values)} and gauges keep the real one; evaluate "
            "without gauges."
        )
    grid = replace(Grid.from_dataset(truth), mask=wet[channel].numpy())
    places = {str(ds.attrs["name"]): (float(ds["latitude"]), float(ds["longitude"])) for ds in series}
    cells = gauge_cells(grid, places, farthest=farthest(grid))
    moments = milliseconds(truth["time"].values)
    half = _half_window(truth, matched.time_step)
    at_cells = _truth_at(truth, list(cells.values()), grid.dims, _measured(series, moments, half))
    stations = []
    for ds, modelled in zip(series, at_cells.T, strict=True):
        name = str(ds.attrs["name"])
        observed = levels_at(milliseconds(ds["time"].values), ds["level"].to_numpy(), moments, half)
        both = np.isfinite(observed) & np.isfinite(modelled)
        if not both.any():
            ends = [text(ds["time"].values[i]) for i in (0, -1)]
            raise ValueError(
                f"the gauge {name}, with levels from {ends[0]} to {ends[1]}, and the truth, from "
                f"{text(truth['time'].values[0])} to {text(truth['time'].values[-1])}, share no time; give levels of "
                "these times, or leave the gauge out."
            )
        first, last = (time_text(truth["time"].values[np.flatnonzero(both)[i]]) for i in (0, -1))
        row, column = cells[name]
        mean_observed, mean_truth = float(observed[both].mean()), float(modelled[both].mean())
        station = Station(
            name=name,
            datum=str(ds.attrs.get("datum", "not stated")),
            source=str(ds.attrs.get("source", "")),
            latitude=places[name][0],
            longitude=places[name][1],
            row=row,
            column=column,
            distance=float(
                great_circle_distance(*places[name], grid.latitude[row, column], grid.longitude[row, column])
            ),
            observed=observed - mean_observed,
            truth=modelled - mean_truth,
            mean_observed=mean_observed,
            mean_truth=mean_truth,
            window=f"{first.removesuffix(' UTC')} to {last}, {int(both.sum())} times",
            coverage=_coverage(observed, matched),
        )
        _require_covered(station, matched)
        stations.append(station)
    return stations


def farthest(grid: Grid) -> float:
    """Distance that a gauge may have from its cell on a grid, m."""
    return float(np.clip(round(CELLS * max(grid.spacing), -2), NEAREST, FARTHEST))


def level_channel(matched: Match) -> int:
    """Which channel is the sea level.

    Raises
    ------
    ValueError
        If there is none.
    """
    names = [channel.variable for channel in matched.layout.state]
    if LEVEL not in names:
        raise ValueError(
            f"gauges measure the sea level ({LEVEL}), and the forecasts and the truth share {', '.join(names)}; "
            "evaluate without gauges."
        )
    return names.index(LEVEL)


def levels_at(
    times: NDArray[np.int64], levels: Series, moments: NDArray[np.int64], half: int = SMOOTHED
) -> Series:
    """Levels at some instants: means of what was measured within ``half`` to each side, NaN where it is not centred.

    What is measured every few minutes loses waves and seiches that hourly fields do not hold; hourly levels stay as
    they are. Levels on the ends of a window belong to its neighbours too and count half, so that the mean is over an
    hour whatever the step: of a tide of half a day it keeps 98 to 99 %, of two levels half an hour from the time 97 %.

    Parameters
    ----------
    times, moments
        ms since 1970, increasing.
    levels
        Finite, ``[time]``.
    half
        ms.
    """
    left, right = (
        np.searchsorted(times, moments - half, "left"),
        np.searchsorted(times, moments + half, "right"),
    )
    # Clipped where the window is empty, which counts nothing all the same
    at, before = left.clip(max=times.size - 1), (right - 1).clip(min=0)
    ends = (0.5 * (times[at] == moments - half), 0.5 * (times[before] == moments + half))
    count = right - left - ends[0] - ends[1]
    origin = int(times[0])
    with np.errstate(invalid="ignore", divide="ignore"):  # no level within reach is 0 / 0, a NaN
        mean, middle = (
            (total[right] - total[left] - ends[0] * values[at] - ends[1] * values[before]) / count
            for values in (levels, (times - origin).astype(np.float64))
            for total in [np.concatenate([[0.0], np.cumsum(values)])]
        )
    return np.where(np.abs(middle + origin - moments) <= CENTRED, mean, np.nan)


def _series(gauges: Gauges) -> list[xr.Dataset]:
    listed = [gauges] if isinstance(gauges, xr.Dataset | str | Path) else list(gauges)
    if not listed:
        raise ValueError("there is no gauge; give the file of one, a listing (.toml), or leave gauges out.")
    series = [ds for each in listed for ds in ([each] if isinstance(each, xr.Dataset) else read_gauges(each))]
    names = [str(ds.attrs["name"]) for ds in series]
    for name in names:
        if name in RESERVED or names.count(name) > 1:
            reason = "is a word of the scores" if name in RESERVED else "is given twice"
            raise ValueError(
                f"the gauge name '{name}' {reason}; name every gauge by its place, in a listing (.toml)."
            )
    return series


def _half_window(truth: xr.Dataset, time_step: int) -> int:
    """Half of a step where a field is the mean over it, else half an hour or less."""
    # A mean over the area alone is an instant
    mean = re.search(r"\btime:\s*(?:\w+:\s*)*mean\b", str(truth[LEVEL].attrs.get("cell_methods", "")))
    return time_step * 500 if mean else min(SMOOTHED, time_step * 500)


def _measured(series: Sequence[xr.Dataset], moments: NDArray[np.int64], half: int) -> slice:
    """Steps of the truth that any gauge may have a level at."""
    times = [milliseconds(ds["time"].values) for ds in series]
    first, last = min(each[0] for each in times) - half, max(each[-1] for each in times) + half
    return slice(*np.searchsorted(moments, [first, last + 1]).tolist())


def _truth_at(
    truth: xr.Dataset, cells: list[tuple[int, int]], dims: tuple[str, str], measured: slice
) -> Series:
    """The level at some cells, NaN at times that are not measured and not read, ``[time, cell]``."""
    rows, columns = np.transpose(cells)
    field = truth[LEVEL].transpose("time", *dims)
    steps = max(1, BLOCK // (4 * field.shape[1] * field.shape[2]))
    out = np.full((field.sizes["time"], len(cells)), np.nan)
    for first in range(measured.start, measured.stop, steps):
        part = slice(first, min(first + steps, measured.stop))
        out[part] = field.isel(time=part).to_numpy()[:, rows, columns]
    return out


def _coverage(observed: Series, matched: Match) -> float:
    steps = matched.valid_steps[matched.valid_steps >= 0]
    return float(np.isfinite(observed[steps]).mean())


def _require_covered(station: Station, matched: Match) -> None:
    if station.coverage < COVERAGE:
        pairs = int((matched.valid_steps >= 0).sum())
        raise ValueError(
            f"the gauge {station.name} has a level at {100 * station.coverage:.0f} % of the {pairs} times that are "
            f"forecast, and {100 * COVERAGE:g} % are asked for; fill its gap, score starts outside of it, or leave the "
            "gauge out."
        )


def stations_json(stations: Sequence[Station]) -> list[dict[str, Any]]:
    """What the scores say of every gauge, in words and numbers that JSON can hold."""
    return [
        {
            "name": each.name,
            "latitude": round(each.latitude, 5),
            "longitude": round(each.longitude, 5),
            "cell": [each.row, each.column],
            "distance_m": round(each.distance),
            "datum": each.datum,
            "source": each.source,
            "window": each.window,
            "mean_observed_m": round(each.mean_observed, 4),
            "mean_truth_m": round(each.mean_truth, 4),
            "coverage": round(each.coverage, 4),
        }
        for each in stations
    ]
