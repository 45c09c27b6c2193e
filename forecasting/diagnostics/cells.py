"""Scores of the series at each cell, which have their own mean and variance: of all cells the median."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from forecasting.diagnostic import Block, Method, Scene
from forecasting.ratios import Row, rows_to_dataset
from forecasting.scores import COLUMNS, variable_groups
from oceanop.metrics import Sums

SET = "cells"
BAND = "median cell"
SCORES = {"nash_sutcliffe": Sums.nash_sutcliffe, "kling_gupta": Sums.kling_gupta}

Piece = tuple[str, torch.Tensor]


class CellTally:
    """Sums over starts and leads at every cell."""

    def __init__(self, scene: Scene) -> None:
        self.groups = {name: held for name, held in variable_groups(scene.layout).items() if "+" not in name}
        self.weight = scene.weight
        self.forecasters = scene.forecasters
        self.pieces: list[Piece] = []
        self.total: dict[str, Sums] = {}

    def add(self, block: Block) -> None:
        """Count one block, each time alike."""
        truth = block.truth.movedim(1, -1)[..., None]
        known = truth.isfinite() & (self.weight > 0)[..., None, None]
        for name, forecast in block.forecasts.items():
            sums = Sums.of(forecast.movedim(1, -1)[..., None], truth, known)
            self.pieces.append((name, sums.values))

    def take(self) -> list[Piece]:
        """Sums ``[statistic, channel, y, x]`` of each block and forecaster since the last time."""
        taken, self.pieces = self.pieces, []
        return taken

    def merge(self, gathered: Sequence[Piece]) -> None:
        """Add up."""
        for name, values in gathered:
            self.total[name] = self.total[name] + Sums(values) if name in self.total else Sums(values)

    def table(self, *, seed: int, pooled: Mapping[str, Sequence[str]]) -> xr.Dataset | None:
        """Median over cells of each variable, by area; without intervals, so that ``seed`` changes nothing."""
        lines = {**pooled, **{name: [name] for name in self.forecasters}}
        rows: list[Row] = []
        for forecaster, members in lines.items():
            if not all(name in self.total for name in members):
                continue
            total = Sums(torch.stack([self.total[name].values for name in members]).sum(0))
            for variable, channels in self.groups.items():
                weight = self.weight[channels].numpy()
                for metric, score in SCORES.items():
                    values = score(Sums(total.values[:, channels])).numpy()
                    known = np.isfinite(values) & (weight > 0)
                    if known.any():
                        found = weighted_median(values[known], weight[known])
                        content = (
                            forecaster,
                            variable,
                            metric,
                            BAND,
                            "all",
                            found,
                            np.nan,
                            np.nan,
                            int(known.sum()),
                        )
                        rows.append(dict(zip(COLUMNS, content, strict=True)))
        return rows_to_dataset(rows) if rows else None


def weighted_median(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values)
    summed = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(summed, 0.5 * summed[-1])])


class Cells:
    """Nash-Sutcliffe and Kling-Gupta efficiency of the median cell."""

    name = SET
    whole_starts = False
    needs = "two times or more"
    methods: Mapping[str, Method] = {
        "nash_sutcliffe": Method(
            "nash_sutcliffe-1",
            long_name="one less the mean square error over the truth's variance in time: of all cells the median; at "
            "gauges, of their own series",
            source="Nash and Sutcliffe, J. Hydrology 10, 1970",
            weighting="each time alike; cell area for the median",
            interval="none over cells; at gauges as of the scores over cells",
        ),
        "kling_gupta": Method(
            "kling_gupta-1",
            long_name="Kling-Gupta efficiency with the bias in standard deviations of the truth: of all cells the "
            "median; at gauges, of their own series",
            source="Gupta, Kling, Yilmaz and Martinez, J. Hydrology 377, 2009, equation 9; Tang, Clark and Papalexiou, "
            "J. Climate 34, 2021",
            weighting="each time alike; cell area for the median",
            interval="none over cells; at gauges as of the scores over cells",
        ),
    }

    def begin(self, scene: Scene) -> CellTally | None:
        """A tally of nothing yet; None where there is but one time."""
        return CellTally(scene) if (scene.valid_steps >= 0).sum() > 1 else None
