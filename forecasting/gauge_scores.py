"""How well the level at gauges is forecast: by lead, all leads together, and in three bands of periods."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from operator import add

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct, idct

from forecasting import bootstrap
from forecasting.diagnostic import Block
from forecasting.entries import DIMS
from forecasting.fields import time_text
from forecasting.gauges import LEVEL, Station, level_channel
from forecasting.matching import Match
from forecasting.scores import of_seeds, pooled_over, redrawn
from oceanop.metrics import SERIES_METRICS, STATISTICS, Sums

MEASURED = "gauge"  # the measured level, among forecasters' lines
TRUTH = "truth"  # the store's own level, which a forecast that learned from it cannot be expected to beat
ALL_GAUGES = "gauges"
PERIODS = {"under 6 h": (0.0, 6.0), "6-18 h": (6.0, 18.0), "over 18 h": (18.0, np.inf)}
BAND_METRICS = (
    "rmse",
    "correlation",
    "nash_sutcliffe",
)  # a band other than the slowest has no mean of its own
LONGEST_STEP = 3.0  # hours; periods under 6 h need two values each

METHOD = (
    "At gauges a forecast is read in the nearest scored cell. Levels have no common zero: from those of a gauge its "
    "own mean is taken off, and from all forecasts the truth's mean at the cell, both over all times that the truth "
    "and the gauge share, never over one event. Levels measured more often than hourly are averaged over an hour "
    "around each time, or over the store's step around it where the store holds means over time. The bands split the "
    "leads of each start by their cosine transform, so that the squares of the three errors add up to that of the "
    "whole; starts with a gap have none. Intervals at gauges draw blocks of starts again, and are absent where starts "
    "make fewer than eight. The row 'truth' is the store itself beside the gauge."
)

Array = NDArray[np.float64]
Highest = tuple[
    float, int, dict[str, Array]
]  # highest measured level, number of its start, levels of that start

NOTHING_YET: Highest = (-np.inf, 0, {})


class GaugeSums:
    """Sums over starts of every forecaster at every gauge, whole and by band of periods; it needs whole starts.

    Parameters
    ----------
    stations
        From :func:`forecasting.gauges.place_gauges`.
    matched
        Starts and leads.
    groups
        Number of the block of each start, ``[start]``; None where starts make no blocks.

    Raises
    ------
    ValueError
        If a forecast has the name of the gauge's or the truth's row.
    """

    def __init__(self, stations: Sequence[Station], matched: Match, groups: NDArray[np.int64] | None) -> None:
        taken = {MEASURED, TRUTH} & {*matched.forecasts}
        if taken:
            raise ValueError(
                f"a forecast is called '{min(taken)}', which is a row of its own in scores at gauges; give it another "
                "name in its attribute 'model'."
            )
        self.stations, self.matched = list(stations), matched
        self.groups = np.zeros(matched.init_steps.size, dtype=np.int64) if groups is None else groups
        self.blocks = int(self.groups.max()) + 1
        self.channel = level_channel(matched)
        self.masks = band_masks(matched.leads * (matched.time_step / 3600))
        self.sums: dict[str, Sums] = {}
        self._highest: Highest = NOTHING_YET
        self._gathered: tuple[dict[str, Sums], Highest] = ({}, NOTHING_YET)
        self._pieces: dict[str, list[Array]] = {}

    def add(self, block: Block) -> None:
        """Keep the levels in the gauges' cells, and at the end of a start score them."""
        rows, columns = ([getattr(each, axis) for each in self.stations] for axis in ("row", "column"))
        for name, field in block.forecasts.items():
            piece = field[self.channel][:, rows, columns].T.double().numpy()
            self._pieces.setdefault(name, []).append(piece)
        if block.last:
            pieces, self._pieces = self._pieces, {}
            self._score(block.start, {name: np.concatenate(parts, 1) for name, parts in pieces.items()})

    def take(self) -> tuple[dict[str, Sums], "Highest"]:
        """Sums since the last time, and the start with the highest level."""
        gathered, self._gathered = self._gathered, ({}, NOTHING_YET)
        return gathered

    def merge(self, gathered: tuple[dict[str, Sums], "Highest"]) -> None:
        """Add what another one took."""
        sums, highest = gathered
        for name, part in sums.items():
            self.sums[name] = self.sums[name] + part if name in self.sums else part
        self._highest = max(self._highest, highest, key=lambda each: each[0])  # the first of equal ones

    def _score(self, number: int, forecasts: Mapping[str, Array]) -> None:
        """Score one start: levels of every forecaster, ``[gauge, lead]``."""
        steps = self.matched.valid_steps[number]
        observed = np.stack([self._known(each.observed, steps) for each in self.stations])
        means = np.array([each.mean_truth for each in self.stations])[:, None]
        levels = {name: held - means for name, held in forecasts.items()}
        levels[TRUTH] = np.stack([self._known(each.truth, steps) for each in self.stations])
        # One set of times for all, as for fields
        missing = ~np.isfinite(observed) | ~np.isfinite(levels[TRUTH])
        for name, values in levels.items():
            self._add(name, number, *(np.where(missing, np.nan, each) for each in (values, observed)))
        top = float(np.max(observed, initial=-np.inf, where=~missing))
        if top > self._gathered[1][0]:
            self._gathered = (self._gathered[0], (top, number, {MEASURED: observed, **levels}))

    def highest_water(self, lead_hours: Sequence[float]) -> pd.DataFrame:
        """Levels of the first start that holds the highest one measured at any gauge.

        Returns
        -------
        pd.DataFrame
            ``gauge, forecaster, lead_hours, value`` (m), the measured level as forecaster ``gauge``; the start, in
            words, as the attribute ``start``.
        """
        _, number, levels = self._highest
        rows = [
            (station.name, name, float(hours), float(value))
            for name, values in levels.items()
            for station, series in zip(self.stations, values, strict=True)
            for hours, value in zip(lead_hours, series, strict=True)
        ]
        table = pd.DataFrame(rows, columns=["gauge", "forecaster", "lead_hours", "value"])
        table.attrs["start"] = time_text(self.matched.first["init_time"].values[number])
        return table

    def _known(self, series: Array, steps: NDArray[np.int64]) -> Array:
        return np.where(steps >= 0, series[steps.clip(0)], np.nan)

    def _add(self, name: str, number: int, forecast: Array, observed: Array) -> None:
        """Whole series, then those of each band, ``[(1 + band) * gauge, lead]``."""
        pairs = [(forecast, observed), *zip(self._bands(forecast), self._bands(observed), strict=True)]
        own, true = (
            torch.from_numpy(np.concatenate(side))[..., None, None] for side in zip(*pairs, strict=True)
        )
        part = Sums.of(own, true, true.isfinite()).values
        spread = part.new_zeros(*part.shape, self.blocks)
        spread[..., int(self.groups[number])] = part
        sums = self._gathered[0]
        sums[name] = sums[name] + Sums(spread) if name in sums else Sums(spread)

    def _bands(self, series: Array) -> list[Array]:
        return split_periods(series, self.masks)

    def table(self, *, seed: int, pooled: Mapping[str, Sequence[str]]) -> xr.Dataset:
        """Scores in the form of :func:`forecasting.scores.score_table`, in the bands of gauges alone."""
        lead_hours = (self.matched.leads * self.matched.time_step / 3600).tolist()
        count_of = len(self.stations)
        names = [each.name for each in self.stations]
        bands: dict[str, tuple[list[int], Sequence[str]]] = {}
        kinds: list[tuple[str, Sequence[str]]] = [("", tuple(SERIES_METRICS))]
        kinds += [(f" {band}", BAND_METRICS) for band in self.masks]
        for k, (which, metrics) in enumerate(kinds):
            offset = k * count_of
            bands[ALL_GAUGES + which] = (list(range(offset, offset + count_of)), metrics)
            bands |= {name + which: ([offset + i], metrics) for i, name in enumerate(names)}
        rows = {**{name: list(held) for name, held in pooled.items()}, **{name: [name] for name in self.sums}}
        shape = (len(rows), 1, len(SERIES_METRICS), len(bands), len(lead_hours) + 1)
        value, low, high = (np.full(shape, np.nan) for _ in range(3))
        count = np.zeros(shape, dtype=np.int64)
        drawn = bootstrap.draw(self.blocks, seed=seed)
        spans = bootstrap.lead_spans(
            len(lead_hours) + 1, (1 + max(map(len, rows.values()))) * len(STATISTICS)
        )
        for b, (series, metrics) in enumerate(bands.values()):
            over_gauges = {name: pooled_over(part, series) for name, part in self.sums.items()}
            for span, (f, members) in product(spans, enumerate(rows.values())):
                near = [Sums(over_gauges[name].values[:, span]) for name in members]
                total = reduce(add, (part.sum(-1) for part in near))
                # Of a single block there is no interval, and nothing to draw
                again = None
                if self.blocks > 1:
                    again = of_seeds([redrawn(part, drawn) for part in near], seed)
                for m, (metric, score) in enumerate(SERIES_METRICS.items()):
                    if metric not in metrics:
                        continue
                    value[f, 0, m, b, span] = score(total).numpy()
                    count[f, 0, m, b, span] = total.statistic("count").numpy()
                    if again is not None:
                        ends = bootstrap.interval(score(again), self.blocks)
                        low[f, 0, m, b, span], high[f, 0, m, b, span] = (end.numpy() for end in ends)
        return xr.Dataset(
            {"value": (DIMS, value), "low": (DIMS, low), "high": (DIMS, high), "count": (DIMS, count)},
            coords={
                "forecaster": list(rows),
                "variable": [LEVEL],
                "metric": list(SERIES_METRICS),
                "band": list(bands),
                "lead_hours": [*(f"{hours:g}" for hours in lead_hours), "all"],
            },
        )


def band_masks(lead_hours: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """Which cosines of a series over the leads belong to which band of periods, ``[wavenumber]``; none where uneven.

    Cosine k of N leads has the period 2 N / k steps, and the mean, k = 0, none: it is counted as slowest.
    """
    hours = np.asarray(lead_hours, dtype=np.float64)
    steps = np.diff(hours)
    if hours.size < 2 or not np.allclose(steps, steps[0]) or steps[0] > LONGEST_STEP:
        return {}
    number = np.arange(hours.size)
    with np.errstate(divide="ignore"):
        period = 2 * hours.size * steps[0] / number
    masks = {
        band: (period >= low) & (period < high) if high < np.inf else period >= low
        for band, (low, high) in PERIODS.items()
    }
    return {band: mask for band, mask in masks.items() if mask.any()}


def split_periods(series: Array, masks: Mapping[str, NDArray[np.bool_]]) -> list[Array]:
    """Parts of series ``[..., lead]`` by band, which add up to it; NaN throughout where a lead is missing."""
    whole = np.isfinite(series).all(-1, keepdims=True)
    waves = dct(np.where(whole, series, 0.0), norm="ortho", axis=-1)
    return [
        np.where(whole, idct(np.where(mask, waves, 0.0), norm="ortho", axis=-1), np.nan)
        for mask in masks.values()
    ]
