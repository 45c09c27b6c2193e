"""Sums of blocks gathered by forecaster and variable, and rows of the table made of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from forecasting import bootstrap
from forecasting.diagnostic import Block, Scene
from forecasting.ratios import Row, rows_to_dataset
from forecasting.scores import COLUMNS
from oceanop.metrics import Sums
from oceanop.verification.statistics import Statistics

INTERVAL = (
    "as of the scores over cells, drawn over starts; none where starts make too few blocks, or where a resample has no "
    "event to score"
)
ALL = "all"

Score = Callable[[Any], Tensor]


@dataclass(frozen=True)
class Kind:
    """Sums of one kind, and the scores that follow from them.

    Attributes
    ----------
    sums
        The class; its values are ``[statistic, band, lead]``, or ``[statistic, band]`` of whole starts.
    scores
        By metric, ``[band, lead]`` of such sums.
    bands
        What the bands are called.
    by_lead
        Whether blocks are told apart by lead, or only whole starts are counted.
    over_bands
        By metric, one number of all bands, ``[lead]``.
    over_leads
        By metric, one number of all leads, ``[band]`` of the sums and the ``hours`` of the leads.
    """

    sums: type[Statistics] | type[Sums]
    scores: Mapping[str, Score] = field(default_factory=dict)
    bands: tuple[str, ...] = (ALL,)
    by_lead: bool = True
    over_bands: Mapping[str, Score] = field(default_factory=dict)
    over_leads: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """What one forecaster adds to the sums of one variable.

    Attributes
    ----------
    kind
        Name of the :class:`Kind`.
    forecaster, variable
        As the table has them.
    sums
        ``[statistic, band, lead]``, or ``[statistic, band]``.
    """

    kind: str
    forecaster: str
    variable: str
    sums: Statistics | Sums


Piece = tuple[
    str, str, str, int, slice, Tensor
]  # kind, forecaster, variable, block of the bootstrap, leads, values
Key = tuple[str, str, str]


class SumsTally:
    """A tally whose parts are sums: they are kept apart by lead and by block of the bootstrap.

    Parameters
    ----------
    scene
        Of the evaluation.
    kinds
        By name.
    count
        What a block adds; of whole starts it is nothing before the last block.
    """

    def __init__(
        self, scene: Scene, kinds: Mapping[str, Kind], count: Callable[[Block], Iterable[Part]]
    ) -> None:
        self.kinds, self.count = dict(kinds), count
        self.hours = torch.from_numpy(np.asarray(scene.lead_hours, np.float64))
        self.groups = None if scene.groups is None else np.asarray(scene.groups)
        self.blocks = 1 if self.groups is None else int(self.groups.max()) + 1
        self.forecasters = scene.forecasters
        self.pieces: list[Piece] = []
        self.total: dict[Key, Tensor] = {}

    def add(self, block: Block) -> None:
        """Count one block."""
        group = 0 if self.groups is None else int(self.groups[block.start])
        for part in self.count(block):
            by_lead = self.kinds[part.kind].by_lead
            values = part.sums.values if by_lead else part.sums.values[..., None]
            leads = block.leads if by_lead else slice(0, 1)
            assert values.ndim == 3, values.shape
            self.pieces.append((part.kind, part.forecaster, part.variable, group, leads, values))

    def take(self) -> list[Piece]:
        """What was counted since the last time, block by block: added up in one order it is the same to the bit."""
        taken, self.pieces = self.pieces, []
        return taken

    def merge(self, gathered: Sequence[Piece]) -> None:
        """Add up."""
        for kind, forecaster, variable, group, leads, values in gathered:
            key = (kind, forecaster, variable)
            if key not in self.total:
                statistics, bands, _ = values.shape
                shape = (statistics, bands, len(self.hours) if self.kinds[kind].by_lead else 1, self.blocks)
                self.total[key] = torch.zeros(shape, dtype=torch.float64)
            self.total[key][:, :, leads, group] += values

    def table(self, *, seed: int, pooled: Mapping[str, Sequence[str]]) -> xr.Dataset | None:
        """Scores by lead, over all leads together, and of all leads where a kind has such."""
        rows: list[Row] = []
        lines = {**{name: list(held) for name, held in pooled.items()}}
        lines |= {name: [name] for name in self.forecasters}
        for forecaster, members in lines.items():
            for kind, variable in dict.fromkeys((key[0], key[2]) for key in self.total):
                parts = [self.total.get((kind, member, variable)) for member in members]
                held = [part for part in parts if part is not None]
                if len(held) == len(members):
                    rows += self._rows(forecaster, variable, self.kinds[kind], held, seed)
        return rows_to_dataset(rows) if rows else None

    def _rows(
        self, forecaster: str, variable: str, kind: Kind, members: list[Tensor], seed: int
    ) -> list[Row]:
        labels = [*(f"{hour:g}" for hour in self.hours.tolist()), ALL] if kind.by_lead else [ALL]
        with_all = [_with_all(part, kind.by_lead) for part in members]
        counted = kind.sums(_of_seeds([part.sum(-1) for part in with_all])).statistic("count")
        numbers = (1 + len(members)) * with_all[0].shape[0] * with_all[0].shape[1]
        spans = bootstrap.lead_spans(len(labels), numbers)
        pieces: dict[str, list[list[Tensor]]] = {name: [] for name in {**kind.scores, **kind.over_bands}}
        for span in spans:
            sums = self._drawn([part[:, :, span] for part in with_all], kind, seed)
            for metric, score in {**kind.scores, **kind.over_bands}.items():
                pieces[metric].append(self._found(score, *sums))
        rows: list[Row] = []
        for metric, of_spans in pieces.items():
            found = [torch.cat(each, -1) for each in zip(*of_spans, strict=True)]
            flat = metric in kind.over_bands
            bands, counts = (ALL,) if flat else kind.bands, counted.sum(0, keepdim=True) if flat else counted
            places = [each[None] if flat else each for each in found]
            rows += _table_rows(forecaster, variable, metric, bands, labels, places, counts)
        if kind.over_leads:
            sums = self._drawn(members, kind, seed)
            for metric, over in kind.over_leads.items():
                found = self._found(partial(over, hours=self.hours), *sums)
                places = [each[:, None] for each in found]
                rows += _table_rows(forecaster, variable, metric, kind.bands, [ALL], places, counted[:, -1:])
        return rows

    def _drawn(self, members: Sequence[Tensor], kind: Kind, seed: int) -> tuple[Any, Any]:
        """Sums ``[statistic, band, lead]`` of all blocks, and of every resample of blocks behind these dimensions."""
        whole = kind.sums(_of_seeds([part.sum(-1) for part in members]))
        if self.blocks == 1:
            return whole, None  # of a single block there is no interval, and nothing to draw
        drawn = bootstrap.draw(self.blocks, seed=seed)
        return whole, kind.sums(_of_seeds([part @ drawn for part in members], seed))

    def _found(self, score: Score, whole: Any, again: Any) -> list[Tensor]:
        """Value and ends of the interval of a score."""
        value = score(whole)
        if again is None:
            return [value, torch.full_like(value, torch.nan), torch.full_like(value, torch.nan)]
        return [value, *bootstrap.interval(score(again), self.blocks)]


def _of_seeds(parts: Sequence[Tensor], seed: int | None = None) -> Tensor:
    """Sums of all trainings together; with a seed, resamples in which these are drawn again too."""
    total = torch.zeros_like(parts[0])
    weights = torch.ones(len(parts), 1, dtype=torch.float64)
    if seed is not None and len(parts) > 1:
        weights = bootstrap.draw_seeds(len(parts), seed=seed)
    for part, weight in zip(parts, weights, strict=True):
        total += part * weight
    return total


def _with_all(values: Tensor, by_lead: bool) -> Tensor:
    """With the sum over leads behind them."""
    return torch.cat([values, values.sum(2, keepdim=True)], dim=2) if by_lead else values


def _table_rows(
    forecaster: str,
    variable: str,
    metric: str,
    bands: Sequence[str],
    labels: Sequence[str],
    found: Sequence[Tensor],
    counted: Tensor,
) -> list[Row]:
    """Rows of scores ``[band, lead]``; what does not exist has none."""
    value, low, high = (each.tolist() for each in found)
    count = counted.round().long().tolist()
    return [
        dict(
            zip(
                COLUMNS,
                (forecaster, variable, metric, band, label, value[b][i], low[b][i], high[b][i], count[b][i]),
                strict=True,
            )
        )
        for b, band in enumerate(bands)
        for i, label in enumerate(labels)
        if not np.isnan(value[b][i])
    ]
