"""Scores that are one sum over another: kept by start and lead, pooled over starts and trainings, with intervals."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from forecasting import bootstrap
from forecasting.entries import DIMS
from forecasting.scores import COLUMNS, OVER

Array = NDArray[np.float64]
Key = tuple[str, str, str]  # metric, variable, band
Row = dict[str, Any]

ROOTED = ("rmse", "mean_level_error")  # of squares: the score is the root of the ratio
SPECTRUM, SPECTRUM_ERROR = "spectrum_ratio", "log_spectrum_error"
CEILING = 1e30  # of a sum: a forecast that left the finite numbers keeps a place in the table, the last one


@dataclass(frozen=True, eq=False)
class StartSums:
    """What one training of one forecaster got.

    Attributes
    ----------
    sums
        By metric, variable and band: what stands above and below the line of the ratio, ``[2, start, lead]``; 0 over 0
        where nothing was counted.
    hours
        Of the leads, ``[lead]``.
    """

    sums: dict[Key, Array]
    hours: Array

    def save(self, path: Path) -> None:
        """Write an ``.npz``, whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            arrays: Any = {"|".join(key): values for key, values in self.sums.items()}
            np.savez(file, hours=self.hours, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> "StartSums":
        """Read what :meth:`save` wrote."""
        with np.load(path) as held:
            sums = {(*name.split("|"),): held[name] for name in held.files if name != "hours"}
            return cls({(a, b, c): values for (a, b, c), values in sums.items()}, held["hours"])

    def at(self, hours: Sequence[float]) -> "StartSums":
        """Some leads alone; those of the hours that there are."""
        kept = np.isin(self.hours, np.asarray(hours, np.float64))
        return StartSums({key: held[..., kept] for key, held in self.sums.items()}, self.hours[kept])

    def windows(self, key: Key, stretches: Sequence[tuple[int, int]]) -> Iterable["StartSums"]:
        """One ratio over stretches of leads, first and last counted from 1; the band says which."""
        metric, variable, where = key
        for first, last in stretches:
            span = slice(first - 1, last)
            band = f"{self.hours[first - 1]:g}-{self.hours[last - 1]:g} h"
            if where != "all":
                band = f"{where} {band}"
            sums = self.sums[key][..., span].sum(-1, keepdims=True)
            yield StartSums({(metric, variable, band): sums}, self.hours[last - 1 : last])

    def growth(
        self, key: Key, early: tuple[int, int], late: tuple[int, int], *, metric: str, side: int = 0
    ) -> "StartSums":
        """How much later leads have of what earlier ones had.

        What left the finite numbers before the earlier leads' end has grown: it is held against what stands below the
        line there.

        Parameters
        ----------
        early, late
            First and last lead, counted from 1; the same number of them.
        metric
            What it is called.
        side
            0 for what stands above the line, which is the forecast's; 1 for below, the truth's.
        """
        assert early[1] - early[0] == late[1] - late[0], (early, late)
        grown, before = (
            self.sums[key][..., first - 1 : last].sum(-1, keepdims=True) for first, last in (late, early)
        )
        lost = before[side] >= CEILING
        parts = np.stack([grown[side], np.where(lost, before[1], before[side])])
        return StartSums({(metric, *key[1:]): parts}, self.hours[late[1] - 1 : late[1]])


class Collector:
    """Gathers sums start by start and lead by lead, so that no forecast has to be kept."""

    def __init__(self, starts: int, hours: Sequence[float]) -> None:
        self._sums: dict[Key, Array] = {}
        self._shape = (2, starts, len(hours))
        self._hours = np.asarray(hours, np.float64)

    def add(self, key: Key, start: int, lead: int, above: float, below: float) -> None:
        """Put a pair at the place of a start, counted from 0, and a lead, counted from 1."""
        held = self._sums.setdefault(key, np.zeros(self._shape))
        held[:, start, lead - 1] = above, below

    def done(self) -> StartSums:
        """What was gathered, finite."""
        return StartSums(
            {key: np.nan_to_num(np.minimum(held, CEILING), nan=CEILING) for key, held in self._sums.items()},
            self._hours,
        )


def ratio_rows(
    members: Mapping[str, Sequence[StartSums]],
    blocks: NDArray[np.int64],
    *,
    seed: int = 0,
    over: Sequence[str] = (),
) -> list[Row]:
    """Scores of all forecasters by lead, and over all leads, in the columns of every table of scores.

    Parameters
    ----------
    members
        By forecaster: its trainings, which are pooled, with the same starts and leads for all. In each resample blocks
        of starts are drawn again, the same for all forecasters, and trainings too where there are several, each
        forecaster's for itself.
    blocks
        Number of the block of each start, ``[start]``.
    seed
        Of the bootstrap.
    over
        Forecasters whose RMSE others' is divided by, resample by resample.

    Returns
    -------
    list of dict
        ``count`` is the number of forecasts, a start and a lead each. Where spectra were counted band by band, their
        ``log_spectrum_error`` is the root mean square over bands of the ratio's decimal logarithm.
    """
    number = int(blocks.max()) + 1
    drawn = bootstrap.draw(number, seed=seed).numpy()
    rows: list[Row] = []
    pooled = {name: _pool(name, parts, blocks, drawn, seed) for name, parts in members.items()}
    for name, scores in pooled.items():
        hours = members[name][0].hours
        labels = [*(f"{hour:g}" for hour in hours), *(["all"] if hours.size > 1 else [])]
        starts = len(members[name]) * blocks.size
        beside = {
            (f"{OVER}{other}", *key[1:]): _over(score, pooled[other][key])
            for other in over
            if other in pooled and other != name
            for key, score in scores.items()
            if key[0] == "rmse" and key in pooled[other]
        }
        for (metric, variable, band), (value, again, counted) in {**scores, **beside}.items():
            low, high = (end.numpy() for end in bootstrap.interval(torch.from_numpy(again), number))
            for i, label in enumerate(labels):
                if np.isnan(value[i]):
                    continue
                count = starts * (int(counted.sum()) if label == "all" else 1)
                content = (name, variable, metric, band, label, value[i], low[i], high[i], count)
                rows.append(dict(zip(COLUMNS, content, strict=True)))
    return rows


Score = tuple[Array, Array, NDArray[np.bool_]]  # [lead], [lead, resample], which leads were counted


def _pool(
    name: str, parts: Sequence[StartSums], blocks: NDArray[np.int64], drawn: Array, seed: int
) -> dict[Key, Score]:
    weights = np.ones((1, drawn.shape[1]))
    if len(parts) > 1:
        weights = bootstrap.draw_seeds(len(parts), seed=seed, of=name, resamples=drawn.shape[1]).numpy()
    member = np.zeros((blocks.size, drawn.shape[0]))
    member[np.arange(blocks.size), blocks] = 1.0
    whole: dict[Key, Array] = {}
    again: dict[Key, Array] = {}
    for key in parts[0].sums:
        each = [_with_all(np.swapaxes(part.sums[key], 1, 2)) for part in parts]  # [2, lead, start]
        whole[key] = np.sum([sums.sum(-1) for sums in each], axis=0)
        again[key] = np.sum(
            [(sums @ member @ drawn) * weight for sums, weight in zip(each, weights, strict=True)], axis=0
        )
    out = {key: _ratio(key, whole[key], again[key]) for key in whole}
    for variable in dict.fromkeys(variable for metric, variable, _ in whole if metric == SPECTRUM):
        bands = [score for key, score in out.items() if key[:2] == (SPECTRUM, variable)]
        value, resampled = (
            np.sqrt(np.mean([np.log10(np.maximum(score[i], 1 / CEILING)) ** 2 for score in bands], axis=0))
            for i in (0, 1)
        )
        out[SPECTRUM_ERROR, variable, "all"] = (value, resampled, bands[0][2])
    return out


def _with_all(sums: Array) -> Array:
    """With the sum over leads behind them, where there are several."""
    return sums if sums.shape[1] == 1 else np.concatenate([sums, sums.sum(1, keepdims=True)], axis=1)


def _ratio(key: Key, whole: Array, again: Array) -> Score:
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 over 0 is the ratio of nothing, a NaN
        value, resampled = whole[0] / whole[1], again[0] / again[1]
    if key[0] in ROOTED:
        value, resampled = np.sqrt(value), np.sqrt(resampled)
    leads = whole[1] if whole.shape[1] == 1 else whole[1, :-1]
    return value, resampled, leads > 0


def _over(own: Score, other: Score) -> Score:
    with np.errstate(invalid="ignore", divide="ignore"):
        return own[0] / other[0], own[1] / other[1], own[2]


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write rows as ``scores.csv``; an end of an interval that does not exist is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            numbers = ["" if np.isnan(row[name]) else f"{row[name]:.7g}" for name in ("value", "low", "high")]
            writer.writerow([*(row[name] for name in DIMS), *numbers, row["count"]])
    os.replace(partial, path)


def rows_to_dataset(rows: Sequence[Row]) -> xr.Dataset:
    """The rows as :func:`forecasting.scores.score_table` gives scores, NaN where there is none."""
    axes = {dim: list(dict.fromkeys(row[dim] for row in rows)) for dim in DIMS}
    hours = sorted((label for label in axes["lead_hours"] if label != "all"), key=float)
    axes["lead_hours"] = [*hours, *(["all"] if "all" in axes["lead_hours"] else [])]
    place = {dim: {label: i for i, label in enumerate(labels)} for dim, labels in axes.items()}
    shape = tuple(len(labels) for labels in axes.values())
    arrays = {name: np.full(shape, np.nan) for name in ("value", "low", "high")}
    count = np.zeros(shape, dtype=np.int64)
    for row in rows:
        index = tuple(place[dim][row[dim]] for dim in DIMS)
        for name, array in arrays.items():
            array[index] = row[name]
        count[index] = row["count"]
    return xr.Dataset(
        {**{name: (DIMS, array) for name, array in arrays.items()}, "count": (DIMS, count)}, axes
    )
