"""One start after another, some leads at a time: fields are read once, scored, shown to the diagnostics and dropped."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.times import text
from forecasting.blocks import ensemble_mean, lead_chunk, read_fields, read_steps, spans
from forecasting.diagnostic import Block, Scene, Tally
from forecasting.fitting import Fitted
from forecasting.matching import Match
from oceanop.cell_sums import Cells
from oceanop.metrics import STATISTICS, Sums

COPIES = 10  # of one forecaster's float32 fields: what diagnostics compute from them, a few fields in float64


@dataclass(frozen=True)
class Task:
    """A piece of work: spans of the leads of one start, in order."""

    start: int
    spans: tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """Which fields are kept for pictures: numbers of starts, and places of leads."""

    starts: NDArray[np.int64]
    leads: NDArray[np.int64]


@dataclass(eq=False)
class Part:
    """What one task gave.

    Attributes
    ----------
    sums
        By forecaster: for each span, ``[statistic, channel, lead, tile]``.
    lost
        Scored cells at which a forecast was found to be missing, bool ``[channel, y, x]``, by forecast; where there is
        one, nothing else of the part means anything.
    seconds
        What each baseline took.
    gathered
        Of each tally.
    shown
        Fields kept, the truth among them: places among the leads shown, and ``[channel, lead, y, x]``.
    """

    task: Task
    sums: dict[str, list[tuple[slice, Tensor]]] = field(default_factory=dict)
    lost: dict[str, Tensor] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    gathered: list[Any] = field(default_factory=list)
    shown: dict[str, list[tuple[NDArray[np.int64], Tensor]]] = field(default_factory=dict)


@dataclass(eq=False)
class Scorer:
    """Scores tasks; all that it needs for that can be pickled and sent to another process.

    Attributes
    ----------
    matched, baselines, scene
        What is compared, and on which cells.
    cells
        The same cells, for sums.
    tallies
        Of the diagnostics.
    shown
        Fields that are kept; None where there are no pictures.
    spoiled
        Whether a forecast was found to miss a scored cell: all is to be scored again without it, and from there on
        nothing is done but to look for others.
    """

    matched: Match
    baselines: Mapping[str, Fitted]
    scene: Scene
    cells: Cells
    tallies: Sequence[Tally]
    shown: Shown | None = None
    spoiled: bool = False

    @classmethod
    def of(
        cls,
        matched: Match,
        baselines: Mapping[str, Fitted],
        scene: Scene,
        tallies: Sequence[Tally],
        shown: Shown | None,
    ) -> "Scorer":
        """The scorer of a scene."""
        cells = Cells.of(scene.weight, scene.tiles if scene.groups is None else None)
        return cls(matched, baselines, scene, cells, tallies, shown)

    def tasks(self, memory: int, *, diagnostics: bool, whole_starts: bool) -> list[Task]:
        """All work, in order.

        Parameters
        ----------
        memory
            Bytes of fields at one time.
        diagnostics
            Whether fields are shown to diagnostics, which take memory of their own.
        whole_starts
            Whether starts must not be cut; baselines, which go from lead to lead, keep them whole too.

        Raises
        ------
        ValueError
            If one lead takes more memory.
        """
        plane = 4 * len(self.matched.layout.state) * int(np.prod(self.scene.grid.shape))
        # The truth, every forecaster, members beside their mean, and one field between file and place
        members = self.scene.members.values()
        fields = 2 + len(self.scene.forecasters) + sum(members)
        if diagnostics:
            fields += COPIES * max(members, default=1)
        chunk = max(lead_chunk(ds, self.matched.layout) for ds in self.matched.forecasts.values())
        cut = spans(self.matched.leads.size, plane, fields, memory=memory, chunk=chunk)
        starts = range(self.matched.init_steps.size)
        if whole_starts or self.baselines:
            return [Task(start, tuple(cut)) for start in starts]
        return [Task(start, (span,)) for start in starts for span in cut]

    def work(self, task: Task) -> Part:
        """Do one task.

        Raises
        ------
        ValueError
            If a forecast has no value at all at a lead, or a baseline cannot run.
        """
        part = Part(task, seconds=dict.fromkeys(self.baselines, 0.0))
        runs = {name: self._run(each, task.start) for name, each in self.baselines.items()}
        for span in task.spans:
            valid = self.matched.valid_steps[task.start, span]
            forecasts, members = self._forecasts(task.start, span)
            for name, fields in forecasts.items():
                self._find_lost(part, name, span, fields, valid >= 0)
            if self.spoiled:
                continue
            happened = read_steps(
                self.scene.truth, self.matched.layout, valid, self.scene.grid.dims, self.scene.grid.shape
            )
            for name, run in runs.items():
                begin = time.perf_counter()
                forecasts[name] = torch.stack([next(run) for _ in valid], 1).float()
                part.seconds[name] += time.perf_counter() - begin
            for name, fields in forecasts.items():
                part.sums.setdefault(name, []).append((span, self.cells.sums(fields, happened).values))
            last = span.stop == self.matched.leads.size
            block = Block(task.start, span, last, happened, forecasts, members)
            for tally in self.tallies:
                tally.add(block)
            self._show(part, span, {"truth": happened, **forecasts})
        if not self.spoiled:
            part.gathered = [tally.take() for tally in self.tallies]
        return part

    def _run(self, baseline: Fitted, start: int) -> Iterator[Tensor]:
        known = int(self.matched.leads[self.matched.valid_steps[start] >= 0].max())
        return baseline.run(self.scene.truth, int(self.matched.init_steps[start]), self.matched.leads, known)

    def _forecasts(self, start: int, span: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        forecasts, members = {}, {}
        for name, ds in self.matched.forecasts.items():
            forecasts[name] = _read(ds, self.matched, start, span, self.scene.grid.dims)
            if name in self.scene.members:
                members[name] = forecasts[name]
                forecasts[name] = ensemble_mean(members[name])
        return forecasts, members

    def _find_lost(
        self, part: Part, name: str, span: slice, fields: Tensor, scored: NDArray[np.bool_]
    ) -> None:
        """Note at which of the cells a forecast is missing at a lead that is scored."""
        finite = self.cells.finite(fields)
        lacking = (finite < self.cells.count[:, None]) & scored
        for channel, lead in zip(*np.nonzero(lacking), strict=True):
            if not finite[channel, lead]:
                ocean = self.matched.layout.wet(self.scene.truth)[channel]
                raise _missing_lead(
                    self.matched,
                    name,
                    (part.task.start, span.start + int(lead), int(channel)),
                    int(ocean.sum()),
                )
            self.spoiled = True
            where = ~fields[channel, lead].isfinite()
            lost = part.lost.setdefault(name, torch.zeros_like(self.scene.wet))
            lost[channel] |= where & self.scene.wet[channel]

    def _show(self, part: Part, span: slice, fields: Mapping[str, Tensor]) -> None:
        if self.shown is None or part.task.start not in self.shown.starts:
            return
        places = np.flatnonzero((self.shown.leads >= span.start) & (self.shown.leads < span.stop))
        if not places.size:
            return
        kept = torch.from_numpy(self.shown.leads[places] - span.start)
        for name, values in fields.items():
            part.shown.setdefault(name, []).append((places, values[:, kept]))


def first_mask(matched: Match, ocean: Tensor, prescribed: NDArray[np.bool_], dims: tuple[str, str]) -> Tensor:
    """Cells that can be scored as far as the first lead tells, bool ``[channel, y, x]``.

    Land is missing in all leads alike: what the first scored lead of every forecast holds is almost always the common
    mask. Whether it is, each block that is scored tells, and files are read once instead of twice.

    Parameters
    ----------
    ocean
        Cells that are ocean in the truth, bool ``[channel, y, x]``.
    prescribed
        Cells on which a parent model says what a forecast says, ``[y, x]``.

    Raises
    ------
    ValueError
        If a forecast holds nothing there.
    """
    wet = ocean & ~torch.from_numpy(prescribed)
    start, lead = (int(each[0]) for each in np.nonzero(matched.valid_steps >= 0))
    common = wet
    for name, ds in matched.forecasts.items():
        fields = _read(ds, matched, start, slice(lead, lead + 1), dims)[..., 0, :, :].isfinite()
        finite = wet & (fields if fields.ndim == 3 else fields.all(0))
        for channel in (wet.flatten(1).any(1) & ~finite.flatten(1).any(1)).nonzero():
            raise _missing_lead(matched, name, (start, lead, int(channel)), int(ocean[channel].sum()))
        common = common & finite
    return _require_some(common)


def smaller_mask(wet: Tensor, lost: Mapping[str, Tensor], ocean: Tensor) -> Tensor:
    """The mask without lost cells.

    Raises
    ------
    ValueError
        If no cell is left.
    """
    common = wet
    for name, cells in lost.items():
        if not (wet & ~cells).any():
            raise ValueError(
                f"the forecast {name} is finite at all starts and leads in none of the truth's "
                f"{int(ocean.any(0).sum())} ocean cells; it may have diverged, or its mask is another one. Draw it "
                "with 'oceanop map', or leave it out."
            )
        common = common & ~cells
    return _require_some(common)


def _require_some(wet: Tensor) -> Tensor:
    if not wet.any():
        raise ValueError("no ocean cell is finite in every forecast; compare forecasts that share a mask.")
    return wet


def _missing_lead(matched: Match, name: str, place: tuple[int, int, int], ocean: int) -> ValueError:
    """What to say of a forecast without any value at a start, lead and channel."""
    start, lead, channel = place
    hours = matched.leads[lead] * matched.time_step / 3600
    return ValueError(
        f"the forecast {name} is finite at the lead {hours:g} h of the start "
        f"{text(matched.first['init_time'].values[start])} in none of the truth's {ocean} ocean cells of "
        f"'{matched.layout.state[channel]}'; it may have diverged, or its mask is another one. Draw it with 'oceanop "
        "map', or leave it out."
    )


def _read(ds: xr.Dataset, matched: Match, start: int, span: slice, dims: tuple[str, str]) -> Tensor:
    return read_fields(ds.isel(init_time=start, lead_time=span), matched.layout, "lead_time", dims)


class Total:
    """Sums of all parts, added in the order of tasks.

    Parameters
    ----------
    scorer
        Whose parts they are; its tallies hold the totals of the diagnostics.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.sums: dict[str, Tensor] = {}
        self.lost: dict[str, Tensor] = {}
        self.seconds = dict.fromkeys(scorer.baselines, 0.0)

    def add(self, part: Part) -> None:
        """Add one part; nothing but what is lost where anything is."""
        for name, cells in part.lost.items():
            self.lost[name] = self.lost[name] | cells if name in self.lost else cells
        if self.lost:
            return
        scene = self.scorer.scene
        shape = (len(STATISTICS), len(scene.layout.state), scene.lead_hours.size, scene.blocks)
        for name, pieces in part.sums.items():
            total = self.sums.setdefault(name, torch.zeros(shape, dtype=torch.float64))
            for span, values in pieces:
                if scene.groups is None:
                    total[:, :, span] += values
                else:
                    total[:, :, span, int(scene.groups[part.task.start])] += values[..., 0]
        for tally, gathered in zip(self.scorer.tallies, part.gathered, strict=True):
            tally.merge(gathered)
        for name, seconds in part.seconds.items():
            self.seconds[name] += seconds

    def table_sums(self) -> dict[str, Sums]:
        """By forecaster, ``[statistic, channel, lead, block]``."""
        return {name: Sums(values) for name, values in self.sums.items()}
