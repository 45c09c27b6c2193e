"""What one worker does at a time: read some steps of a series, check them, measure them, write one file of a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from data_pipelines.boundary import Bridge, bring_boundary
from data_pipelines.engine.ledger import Entry, digest, folder_of, save_mask
from data_pipelines.engine.shards import Document, steps_of, write_aside
from data_pipelines.plan import Plan, is_state
from data_pipelines.regrid import Regridder
from data_pipelines.series import Series
from data_pipelines.statistics import levelled, measure, wet_levels
from data_pipelines.times import Times, text
from data_pipelines.wetness import Wetness, gathered
from oceanop.variables import boundary_name

READ_BYTES = (
    8 * 2**20
)  # of float32 read at once: bounds memory whatever the number of files or the coarsening

Mask = NDArray[np.bool_]
Fields = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Task:
    """A stretch of steps of one series, the length of a file of its variables.

    Attributes
    ----------
    kind
        ``mask`` (which cells hold values), ``ocean``, ``weather``, ``boundary`` (which write a file of each variable),
        or ``measure`` (which measures a file that is written).
    series
        Number of the series in the plan's list of its kind.
    names
        Variables of the store.
    shard
        Number of the file.
    first, stop
        Its steps on the store's time axis.
    """

    kind: str
    series: int
    names: tuple[str, ...]
    shard: int
    first: int
    stop: int


@dataclass(eq=False)
class Site:
    """What all tasks of a build share.

    Attributes
    ----------
    target
        The store.
    plan
        Where fields come from; its times are those from ``offset`` on.
    times
        Of the store, ``[T]``.
    offset
        Steps that the store had before, whose fields it holds itself.
    documents
        The ``zarr.json`` of each variable.
    splits
        Their names.
    numbers
        Of the split of each step, ``[T]``; -1 of none.
    linked
        Whether each step is one time step after that before it, ``[T]``.
    cells
        Ocean cells that statistics are of, ``[(Z,) Y, X]``.
    wet
        Ocean cells of the source's grid, ``[Z, Y, X]``; None while they are being found.
    fixed
        Whether a state without a value on one of these is an error.
    regridders, bridges
        From the grids of the weather and of the parent models.
    """

    target: Path
    plan: Plan
    times: Times
    offset: int
    documents: dict[str, Document]
    splits: list[str]
    numbers: NDArray[np.int64]
    linked: Mask
    cells: Mask
    wet: Mask | None = None
    fixed: bool = False
    regridders: list[Regridder] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)

    def series(self, kind: str, number: int) -> Series:
        """A series of the plan."""
        if kind in ("ocean", "mask"):
            return self.plan.ocean[number]
        return (self.plan.weather if kind == "weather" else self.plan.boundary)[number][0]

    def is_deep(self, name: str) -> bool:
        """Whether a variable has levels."""
        return "depth" in self.documents[name]["dimension_names"]

    def measured(self, name: str, first: int, stop: int) -> str:
        """Digest of all that the statistics of some steps depend on, but for their values."""
        before = max(first - 1, 0)
        cells = np.packbits(wet_levels(self.cells, self.is_deep(name)))
        parts = (cells, self.numbers[before:stop], self.linked[before:stop])
        return digest(b"".join(part.tobytes() for part in parts))

    def needs_before(self, first: int) -> bool:
        """Whether the step before a stretch counts for its one-step differences."""
        return bool(first > 0 and self.linked[first] and self.numbers[first - 1] == self.numbers[first] >= 0)


def perform(site: Site, task: Task) -> list[Entry]:
    """Do a task; the lines that the ledger has to take up, their files not in place yet.

    Raises
    ------
    ValueError
        If what is read is no field of the ocean, naming file, variable and time.
    """
    if task.kind == "mask":
        whole = np.logical_and.reduce([all_finite(blocks) for _, blocks in pieces(site, task, task.first)])
        name = save_mask(folder_of(site.target), whole)
        return [{"mask": {"series": task.series, "shard": task.shard, "finite": name}}]
    if task.kind == "measure":
        return [_measured_again(site, task)]
    begin = task.first - site.needs_before(task.first)
    fields, finite, seen = _fields(site, task, begin)
    lines = []
    for name in task.names:
        block = fields.pop(name)
        statistics = _statistics(site, name, block, task)
        values = block[task.first - begin :]
        document = site.documents[name]
        entry = write_aside(
            site.target, name, document, task.shard, values if site.is_deep(name) else values[:, 0]
        )
        entry |= {
            "first": task.first,
            "stop": task.stop,
            "finite": finite,
            "wetness": seen.get(name),
            "measured": site.measured(name, task.first, task.stop),
            "statistics": statistics,
        }
        lines.append({"block": entry})
    return lines


def pieces(site: Site, task: Task, begin: int) -> Iterator[tuple[int, Fields]]:
    """Fields of a series on the source's own grid, so many steps at a time that memory stays bounded."""
    plan, series = site.plan, site.series(task.kind, task.series)
    levels = 1 if series.depths is None else len(series.depths)
    size = 4 * levels * plan.fine.shape[0] * plan.fine.shape[1] * len(series.names)
    most, first = max(READ_BYTES // size, 1), begin
    while first < task.stop:
        # No piece goes over the end of a file: fields that are read at once need not be put together
        file = series.origin[first - site.offset : task.stop - site.offset, 0]
        steps = min(most, int(np.argmax(file != file[0])) or len(file))
        read = range(first - site.offset, first + steps - site.offset)
        yield first, series.read(read, plan.rows, plan.columns)
        first += steps


def all_finite(blocks: Fields) -> Mask:
    """Cells that hold every component at every step, ``[z, y, x]``."""
    return np.logical_and.reduce([np.isfinite(block).all(0) for block in blocks.values()])


def task_bytes(site: Site, task: Task) -> int:
    """Bytes that a task needs at most: what it reads, its fields, and the file that they become."""
    if task.kind == "mask":
        return 4 * READ_BYTES
    fields = [4 * int(np.prod(site.documents[name]["shape"][1:])) for name in task.names]
    held = sum(fields) * (task.stop - task.first + 1)
    return 4 * max(READ_BYTES, *fields) + held + 3 * max(fields) * steps_of(site.documents[task.names[0]])


def _fields(site: Site, task: Task, begin: int) -> tuple[Fields, str | None, dict[str, list[str]]]:
    """Values ``[n, Z, Y, X]`` of each variable from a step on, the name of the mask that they have, and wetness."""
    held = min(site.offset, task.stop)
    result = {
        name: np.empty((task.stop - begin, *_field_shape(site, name)), np.float32) for name in task.names
    }
    if begin < held:
        for name, block in result.items():
            block[: held - begin] = _stored(site, name, begin, held)
    start = max(begin, held)
    if task.kind == "ocean":
        return result, *_read_ocean(site, task, start, begin, result)
    bring = _weather if task.kind == "weather" else _boundary
    for steps in _stretches(site, task, start - site.offset, task.stop - site.offset):
        for name, block in bring(site, task, steps).items():
            at = steps.start + site.offset - begin
            result[name][at : at + len(block)] = block
    return result, None, {}


def _stretches(site: Site, task: Task, first: int, stop: int) -> Iterator[slice]:
    """Steps of the ocean for which weather or a parent is read at once; each needs two of theirs at most."""
    series, way = site.series(task.kind, task.series), _way(site, task)
    levels = 1 if series.depths is None else len(series.depths)
    read = (way.rows.stop - way.rows.start) * (way.columns.stop - way.columns.start) * len(series.names)
    size = 4 * levels * max(read, int(np.prod(site.plan.target.shape)))
    most = max(READ_BYTES // (2 * size), 1)
    for begin in range(first, stop, most):
        yield slice(begin, min(begin + most, stop))


def _way(site: Site, task: Task) -> Regridder | Bridge:
    """From the grid of a task's series to the ocean's cells."""
    return (site.regridders if task.kind == "weather" else site.bridges)[task.series]


def _read_ocean(
    site: Site, task: Task, start: int, begin: int, result: Fields
) -> tuple[str | None, dict[str, list[str]]]:
    """Fill in the fields; the name of their mask, and by variable those of where it is sea always and at all."""
    seen: dict[str, Wetness] = {}
    plan, series = site.plan, site.series("ocean", task.series)
    finite: Mask | None = None
    known = plan.coarsening.changes and is_state(series)  # before the first mean was taken
    for first, blocks in pieces(site, task, start):
        whole = gathered(seen, blocks)
        finite = whole if finite is None else finite & whole
        if site.fixed:
            _require_sea(site, series, first, blocks, whole)
        for name, block in blocks.items():
            if name not in result:
                continue
            if plan.coarsening.changes:
                assert site.wet is not None
                # A field on one level goes by the top of the mask.
                block = plan.coarsening.mean(block, site.wet if series.depths is not None else site.wet[:1])
            result[name][first - begin : first - begin + len(block)] = block
    if finite is None or site.fixed:
        return None, {}
    folder = folder_of(site.target)
    wetness = {
        name: [save_mask(folder, found.always), save_mask(folder, found.ever)] for name, found in seen.items()
    }
    return None if known else save_mask(folder, finite), wetness


def _require_sea(site: Site, series: Series, first: int, blocks: Fields, whole: Mask) -> None:
    """Refuse values that lack where the store's mask says sea."""
    assert site.wet is not None
    sea = site.wet if is_state(series) and series.depths is not None else site.wet[:1]
    if not (sea & ~whole[: len(sea)]).any():
        return
    for number, block in enumerate(blocks.values()):
        lacking = (sea & ~np.isfinite(block[:, : len(sea)])).sum((1, 2, 3))
        if lacking.any():
            step = int(np.flatnonzero(lacking)[0])
            file = int(series.origin[first + step - site.offset, 0])
            raise ValueError(
                f"{series.fields[file][number].where} has no value at {text(site.times[first + step])} on "
                f"{lacking[step]} cells that are ocean in {site.target}; the mask of a store stays as it was made. "
                "Leave out or repair that step, or ingest all files to a new store."
            )


def _weather(site: Site, task: Task, steps: slice) -> Fields:
    """Weather on the ocean's cells and times, ``[n, 1, Y, X]``."""
    series, first, fraction = site.plan.weather[task.series]
    regridder = site.regridders[task.series]
    after = first[steps] + (fraction[steps] > 0)
    needed = np.unique(np.concatenate([first[steps], after]))
    blocks = series.read(needed.tolist(), regridder.rows, regridder.columns)
    weight = fraction[steps].astype(np.float32)[:, None, None]
    result = {}
    for name in task.names:
        here = regridder(blocks[name][:, 0])
        before, behind = here[np.searchsorted(needed, first[steps])], here[np.searchsorted(needed, after)]
        brought = before + weight * (behind - before)
        lost = ~np.isfinite(brought).all((1, 2))
        if lost.any():
            when = text(site.plan.times[steps.start + int(np.flatnonzero(lost)[0])])
            raise ValueError(
                f"{series.where} has missing values around {when} on cells that hold values at other times; fill "
                "them or leave these hours out."
            )
        result[name] = brought[:, None]
    return result


def _boundary(site: Site, task: Task, steps: slice) -> Fields:
    """A parent model's states on the ocean's cells and times, ``[n, Z, Y, X]``."""
    brought = bring_boundary(site.plan.boundary[task.series], site.bridges[task.series], steps)
    return {
        boundary_name(name): block for name, block in brought.items() if boundary_name(name) in task.names
    }


def _measured_again(site: Site, task: Task) -> Entry:
    (name,) = task.names
    begin = task.first - site.needs_before(task.first)
    statistics = _statistics(site, name, _stored(site, name, begin, task.stop), task)
    measured = site.measured(name, task.first, task.stop)
    return {"block": {"variable": name, "shard": task.shard, "measured": measured, "statistics": statistics}}


def _statistics(site: Site, name: str, block: NDArray[np.float32], task: Task) -> dict[str, list[Any]]:
    """Moments of a task's steps by split and level; ``block`` may begin one step before them."""
    extra = len(block) - (task.stop - task.first)
    cells = wet_levels(site.cells, site.is_deep(name))
    before = site.numbers[[task.first - 1]] if extra else np.array([-1])
    tables = measure(
        block[extra:],
        cells,
        np.concatenate([before, site.numbers[task.first : task.stop]]),
        site.linked[task.first : task.stop],
        block[0] if extra else None,
    )
    return {site.splits[split]: [level.to_json() for level in levels] for split, levels in tables.items()}


def _stored(site: Site, name: str, first: int, stop: int) -> NDArray[np.float32]:
    array = zarr.open_array(site.target / name, mode="r", zarr_format=3)
    return levelled(np.asarray(array[first:stop]), site.is_deep(name))


def _field_shape(site: Site, name: str) -> Sequence[int]:
    shape = site.documents[name]["shape"][1:]
    return shape if site.is_deep(name) else (1, *shape)
