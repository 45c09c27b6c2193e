"""A store from a plan: masks first where means need them, then fields, forcing and statistics, file by file."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from data_pipelines.boundary import make_bridges
from data_pipelines.engine.beforehand import require_near, require_space
from data_pipelines.engine.crew import DEFAULT_MEMORY, Crew, default_workers
from data_pipelines.engine.layout import lay_out, sea_floor
from data_pipelines.engine.ledger import Ledger, load_mask, save_mask
from data_pipelines.engine.shards import put_in_place, settle, steps_of
from data_pipelines.engine.tasks import Site, Task, perform, task_bytes
from data_pipelines.levels import require_sea
from data_pipelines.plan import Plan, Progress, is_state
from data_pipelines.profiles import profile_named
from data_pipelines.regrid import Regridder
from data_pipelines.series import Series
from data_pipelines.splits import Splits, split_numbers
from data_pipelines.statistics import Measured, Tables, merge, write_statistics
from data_pipelines.store import StoreWriter
from data_pipelines.times import Times
from data_pipelines.wetness import CHANGING, Wetness, judged
from data_pipelines.windows import joined
from oceanop.variables import VARIABLES, boundary_name

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Means:
    """What a build may use.

    Attributes
    ----------
    workers
        Processes, or the address of a Dask scheduler; None takes as many as pay.
    memory
        Bytes of all of them together; None takes 4 GiB.
    """

    workers: int | str | None = 1
    memory: int | None = None


def build(
    target: Path,
    plan: Plan,
    attributes: Mapping[str, Any],
    *,
    ledger: Ledger,
    request: str,
    profile: str,
    means: Means,
    progress: Progress,
) -> None:
    """Write what the ledger does not have of all variables, mask and statistics, and declare the store complete.

    Raises
    ------
    ValueError
        If a field is none of the ocean, the forcing does not cover it, or the disk or the memory is too small.
    """
    if ledger.is_going_on("build", request) and ledger.laid_out:
        settle(target, ledger.blocks.values())
        writer = StoreWriter.resume(target)
    else:
        ledger.begin("build", request, len(plan.times))
        writer = lay_out(target, plan, attributes, profile_named(profile))
        ledger.record({"layout": {}})
    splits: Splits = json.loads(attributes["splits"])
    site = make_site(target, plan, plan.times, 0, splits)
    ocean = [task for number, series in enumerate(plan.ocean) for task in cut(site, "ocean", number, series)]
    others = [task for task in all_tasks(site) if task.kind != "ocean"]
    require_space(site, missing(ledger, site, [*ocean, *others]))
    guess = _at_the_ends(plan)
    require_near(plan, guess if guess.ndim == 2 else guess[0])
    with crew_for(site, ledger, [*ocean, *others], means) as crew:
        work = Work(crew, ledger, progress)
        if plan.coarsening.changes:
            # Means over blocks need to know first which cells are wet at every step.
            masks = [
                replace(task, kind="mask")
                for task in ocean
                if _is_among(_states(plan), plan.ocean[task.series])
            ]
            work.do(site, [task for task in masks if (task.series, task.shard) not in ledger.masks])
            found = ((task.series, ledger.masks[task.series, task.shard]) for task in masks)
            wet = _common(site, ledger, found)
            site = replace(site, wet=wet, cells=_on_target(plan, wet))
        else:
            site = replace(site, cells=guess)
        work.do(site, missing(ledger, site, ocean))
        if site.wet is None:
            wet = _common(site, ledger, _finite_of(ledger, plan, ocean, state=True))
        _require_forced(site, ledger, ocean, wet)
        for name, count in judged(_wetness(ledger, plan, ocean), plan).items():
            if name in site.documents:
                writer.annotate(name, **{CHANGING: count})
        mask = _on_target(plan, wet)
        _require_some(plan, mask)
        surface = mask if mask.ndim == 2 else mask[0]
        writer.set_static("mask", mask.astype(np.int8))
        if plan.static:
            writer.set_static("deptho", sea_floor(plan, surface))
        site = replace(site, cells=mask, wet=wet)
        for name, told in bring_others(site, surface).items():
            writer.annotate(name, **told)
        work.do(site, missing(ledger, site, others))
        work.do(site, outdated(ledger, site, [*ocean, *others]))
    progress("statistics", 0, len(plan.times))
    put_statistics(site, ledger, splits)
    progress("statistics", len(plan.times), len(plan.times))
    whole = {"steps": len(plan.times), "wet": save_mask(ledger.folder, wet)}
    ledger.record({"whole": whole})
    writer.finish()
    ledger.record({"commit": whole})


@dataclass
class Work:
    """A crew, the ledger that it fills, and who is told."""

    crew: Crew
    ledger: Ledger
    progress: Progress

    def do(self, site: Site, tasks: list[Task]) -> None:
        """Do some tasks, each recorded before its files are put in place."""
        total = len(site.times)
        done: Counter[tuple[str, tuple[str, ...]]] = Counter()
        for task in tasks:  # the rest was done before
            done[task.kind, task.names] -= task.stop - task.first
        for task, lines in self.crew.do(perform, site, tasks):
            for line in lines:
                entry = line.get("block")
                if entry is not None:
                    entry |= (
                        self.ledger.blocks[task.names[0], task.shard] | entry
                        if task.kind == "measure"
                        else {}
                    )
                self.ledger.record(line)
                if entry is not None and task.kind != "measure":
                    put_in_place(site.target, entry)
            which, what = (task.kind, task.names), "mask" if task.kind == "mask" else ", ".join(task.names)
            done[which] += task.stop - task.first
            self.progress(what, total + done[which], total)


def make_site(target: Path, plan: Plan, times: Times, offset: int, splits: Splits) -> Site:
    """What the tasks of a build share at its beginning, before the mask is known."""
    names = [
        *(name for series in _all_series(plan) for name in series.names if name in plan.kept),
        *(
            boundary_name(name)
            for series, _, _ in plan.boundary
            for name in series.names
            if name in plan.kept
        ),
    ]
    return Site(
        target=target,
        plan=plan,
        times=times,
        offset=offset,
        documents={name: json.loads((target / name / "zarr.json").read_text()) for name in names},
        splits=list(splits),
        numbers=split_numbers(splits, times),
        linked=np.concatenate([[False], joined(times)]),
        cells=np.zeros(0, dtype=bool),
    )


def cut(site: Site, kind: str, number: int, series: Series) -> Iterator[Task]:
    """Tasks of a series: one for each file that gets steps from it."""
    own = boundary_name if kind == "boundary" else str
    names = tuple(own(name) for name in series.names if name in site.plan.kept)
    steps, total = steps_of(site.documents[names[0]]), len(site.times)
    for shard in range(site.offset // steps, math.ceil(total / steps)):
        yield Task(kind, number, names, shard, shard * steps, min((shard + 1) * steps, total))


def all_tasks(site: Site) -> list[Task]:
    """Tasks that write every file that gets steps."""
    kinds = {
        "ocean": site.plan.ocean,
        "weather": [series for series, _, _ in site.plan.weather],
        "boundary": [series for series, _, _ in site.plan.boundary],
    }
    return [
        task for kind, listed in kinds.items() for number, series in enumerate(listed)
        for task in cut(site, kind, number, series)
    ]  # fmt: skip


def missing(ledger: Ledger, site: Site, tasks: Iterable[Task]) -> list[Task]:
    """Tasks of which a file is not recorded since the beginning, or not there."""

    def is_there(name: str, task: Task) -> bool:
        if (name, task.shard) not in ledger.fresh:
            return False
        entry = ledger.blocks[name, task.shard]
        file = site.target / entry["file"]
        return file.is_file() and file.stat().st_size == entry["bytes"]

    return [task for task in tasks if not all(is_there(name, task) for name in task.names)]


def outdated(ledger: Ledger, site: Site, tasks: Iterable[Task]) -> list[Task]:
    """Tasks that measure the files whose statistics are of other cells, splits or links than hold now."""
    return [
        replace(task, kind="measure", names=(name,))
        for task in tasks
        for name in task.names
        if ledger.blocks[name, task.shard]["measured"] != site.measured(name, task.first, task.stop)
    ]


def crew_for(site: Site, ledger: Ledger, tasks: list[Task], means: Means) -> Crew:
    """Workers for some tasks."""
    workers = means.workers
    if workers is None:
        size = sum(4 * int(np.prod(site.documents[name]["shape"][1:])) * (task.stop - task.first)
                   for task in missing(ledger, site, tasks) for name in task.names)  # fmt: skip
        workers = default_workers(size)
    needed = max(task_bytes(site, task) for task in tasks)
    return Crew(workers, DEFAULT_MEMORY if means.memory is None else means.memory, needed, ledger.folder)


def bring_others(site: Site, surface: Mask) -> dict[str, dict[str, Any]]:
    """Find the way from the grids of weather and parents to the ocean's cells; by variable, what to say of it.

    Parameters
    ----------
    surface
        Ocean cells of the top level, ``[Y, X]``.

    Raises
    ------
    ValueError
        If they do not cover the ocean.
    """
    plan, told = site.plan, {}
    site.regridders = []
    for series, first, _ in plan.weather:
        everywhere = slice(0, series.positions.shape[0]), slice(0, series.positions.shape[1])
        start = next(iter(series.read([int(first[0])], *everywhere).values()))[0, 0]
        regridder = Regridder.between(series.positions, plan.target, np.isfinite(start))
        filled = float((~regridder.inside & surface).sum() / surface.sum())
        if filled > 0.5:
            raise ValueError(
                f"{series.where} covers only {100 * (1 - filled):.0f} % of the ocean cells; it needs at least half. "
                "Give forcing for this region, or choose a smaller one with --region."
            )
        site.regridders.append(regridder)
        how = "bilinear in space, nearest valid cell outside the source's domain, linear in time"
        for name in series.names:
            told[name] = {"regridding": how, "share_filled_nearest": round(filled, 6)}
    site.bridges = make_bridges(plan, site.cells)
    for (series, _, _), bridge in zip(plan.boundary, site.bridges, strict=True):
        told |= {boundary_name(name): bridge.attributes for name in series.names}
    return {name: attributes for name, attributes in told.items() if name in site.documents}


def put_statistics(site: Site, ledger: Ledger, splits: Splits, only: list[str] | None = None) -> None:
    """Merge the statistics of all files, in the order of time, and write those of the splits asked for."""
    numbers = {name: number for number, name in enumerate(site.splits)}
    found = {}
    for name, document in site.documents.items():
        parts: list[Tables] = []
        for shard in range(math.ceil(len(site.times) / steps_of(document))):
            kept = ledger.blocks[name, shard]["statistics"]
            parts.append(
                {
                    numbers[split]: [Measured.from_json(level) for level in levels]
                    for split, levels in kept.items()
                }
            )
        found[name] = merge(parts)
    root = zarr.open_group(site.target, mode="r+", zarr_format=3, use_consolidated=False)
    write_statistics(root, splits, site.numbers, found, site.plan.depths, only)


def _all_series(plan: Plan) -> list[Series]:
    return [*plan.ocean, *(series for series, _, _ in plan.weather)]


def _states(plan: Plan) -> list[Series]:
    return [series for series in plan.ocean if is_state(series)] or plan.ocean


def _is_among(listed: list[Series], series: Series) -> bool:
    return any(series is other for other in listed)


def mask_levels(plan: Plan) -> int:
    """Levels of the mask on the source's grid."""
    deep = any(series.depths is not None for series in _states(plan))
    return len(plan.depths) if deep and plan.depths is not None else 1


def _on_target(plan: Plan, wet: Mask) -> Mask:
    """The mask of the store, ``[(Z,) Y, X]``, from that of the source's grid."""
    coarse = plan.coarsening.mask(wet)
    return coarse if any(series.depths is not None for series in _states(plan)) else coarse[0]


def _at_the_ends(plan: Plan) -> Mask:
    """The mask by the first step and the last one: mostly that of all of them, which is known only in the end."""
    wet = np.ones((mask_levels(plan), *plan.fine.shape), dtype=bool)
    for series in _states(plan):
        for block in series.read(sorted({0, len(plan.times) - 1}), plan.rows, plan.columns).values():
            wet &= np.isfinite(block).all(0)
    return _on_target(plan, wet)


def _common(site: Site, ledger: Ledger, names: Iterable[tuple[int, str]]) -> Mask:
    """Cells that are in all of the masks of some series, ``[Z, Y, X]``."""
    plan = site.plan
    wet = np.ones((mask_levels(plan), *plan.fine.shape), dtype=bool)
    for number, name in sorted(set(names)):
        series = plan.ocean[number]
        levels = 1 if series.depths is None else len(series.depths)
        wet &= load_mask(ledger.folder, name, (levels, *plan.fine.shape))
    return wet


def _finite_of(ledger: Ledger, plan: Plan, tasks: list[Task], *, state: bool) -> Iterator[tuple[int, str]]:
    """Series and name of the masks that were found while files were written."""
    states = _states(plan)
    for task in tasks:
        if _is_among(states, plan.ocean[task.series]) == state:
            name = ledger.blocks[task.names[0], task.shard]["finite"]
            assert name is not None
            yield task.series, name


def _wetness(ledger: Ledger, plan: Plan, tasks: list[Task]) -> dict[str, Wetness]:
    """Where each state has had a value, always and at all, as it was found while files were written."""
    seen: dict[str, Wetness] = {}
    for task in tasks:
        series = plan.ocean[task.series]
        if not _is_among(_states(plan), series):
            continue
        shape = (1 if series.depths is None else len(series.depths), *plan.fine.shape)
        for name in task.names:
            always, ever = (
                load_mask(ledger.folder, mask, shape) for mask in ledger.blocks[name, task.shard]["wetness"]
            )
            here = Wetness(always, ever)
            seen[name] = seen[name].merge(here) if name in seen else here
    return seen


def _require_forced(site: Site, ledger: Ledger, tasks: list[Task], wet: Mask) -> None:
    """Refuse forcing of the ocean's own files that lacks values at sea."""
    plan = site.plan
    given = _common(site, ledger, _finite_of(ledger, plan, tasks, state=False))
    if lost := int((~given[0] & wet[0]).sum()):
        names = [name for series in plan.ocean for name in series.names if VARIABLES[name].role == "forcing"]
        raise ValueError(
            f"{plan.ocean[0].where}: forcing {', '.join(names)} of the same files has no value on {lost} ocean cells; "
            "leave it out with --variables, or give forcing that covers the ocean."
        )


def _require_some(plan: Plan, mask: Mask) -> None:
    surface = mask if mask.ndim == 2 else mask[0]
    if not surface.any():
        raise ValueError(
            f"{plan.ocean[0].where}: no cell holds every state variable at every step, so nothing is ocean; choose "
            "another region or fewer variables."
        )
    if mask.ndim == 3:
        require_sea(mask, plan)
