"""A store from a plan: fields, mask, forcing and statistics, block by block in bounded memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.boundary import boundary_variables, write_boundary
from data_pipelines.grid_change import GridChange
from data_pipelines.levels import require_sea
from data_pipelines.plan import Plan, Progress, is_state
from data_pipelines.regrid import Regridder
from data_pipelines.schema import check_values
from data_pipelines.series import Series
from data_pipelines.sources.source import SourceField
from data_pipelines.statistics import compute_statistics
from data_pipelines.store import StoreWriter
from data_pipelines.times import text
from data_pipelines.wetness import CHANGING, Wetness, gathered, judged
from oceanop.layout import cf_attributes
from oceanop.variables import VARIABLES

READ_BYTES = (
    32 * 2**20
)  # of float32 read at once: bounds memory whatever the number of files or the coarsening

Mask = NDArray[np.bool_]


def build(target: Path, plan: Plan, attributes: dict[str, Any], progress: Progress) -> None:
    """Write all variables, mask and statistics, and declare the store complete."""
    area = plan.coarsening.area()
    levels = () if plan.depths is None else (len(plan.depths),)
    coordinates = plan.target.grid(np.zeros(plan.target.shape, dtype=bool), area).to_dataset()
    deep_mask = any(is_state(series) and series.depths is not None for series in plan.ocean)
    if deep_mask:
        dims = ("depth", *plan.target.dims)
        zeros = np.zeros((*levels, *plan.target.shape), dtype=np.int8)
        coordinates["mask"] = xr.Variable(dims, zeros, coordinates["mask"].attrs)
    measured = plan.target if isinstance(plan.coarsening, GridChange) else plan.fine
    coordinates["cell_area"].attrs["method"] = measured.area_method + plan.coarsening.area_words
    mapping = coordinates["cell_area"].attrs.get("grid_mapping")
    if plan.static:
        attrs = _variable_attributes(plan.static[0], mapping, plan)
        coordinates["deptho"] = xr.Variable(
            plan.target.dims, np.full(plan.target.shape, np.nan, dtype=np.float32), attrs
        )
    every = [*plan.ocean, *(series for series, _, _ in plan.weather)]
    writer = StoreWriter(
        target,
        coordinates=coordinates,
        times=plan.times,
        depths=plan.depths,
        variables={
            name: (
                (*(() if series.depths is None else ("depth",)), *plan.target.dims),
                _variable_attributes(_field(series, name), mapping, plan, series),
            )
            for series in every
            for name in series.names
            if name in plan.kept
        }
        | boundary_variables(plan, mapping),
        attributes=attributes,
    )
    wet = _write_ocean(writer, plan, progress)
    surface = wet if wet.ndim == 2 else wet[0]
    if not surface.any():
        raise ValueError(
            f"{plan.ocean[0].where}: no cell holds every state variable at every step, so nothing is ocean; choose "
            "another region or fewer variables."
        )
    if wet.ndim == 3:
        require_sea(wet, plan)
    writer.set_static("mask", wet.astype(np.int8))
    if plan.static:
        writer.set_static("deptho", _sea_floor(plan, surface))
    for series, first, fraction in plan.weather:
        _write_weather(writer, plan, series, first, fraction, surface, progress)
    write_boundary(writer, plan, wet, progress)
    progress("statistics", 0, len(plan.times))
    compute_statistics(target)
    progress("statistics", len(plan.times), len(plan.times))
    writer.finish()


def _write_ocean(writer: StoreWriter, plan: Plan, progress: Progress) -> Mask:
    """Write what comes on the ocean's own cells, and return the coarse mask, ``[(Z,) Y, X]``."""
    state = [series for series in plan.ocean if is_state(series)] or plan.ocean
    deep = any(series.depths is not None for series in state)
    shape = (len(plan.depths) if deep and plan.depths is not None else 1, *plan.fine.shape)
    wet = np.ones(shape, dtype=bool)
    seen: dict[str, Wetness] = {}
    if plan.coarsening.changes:
        # Means over blocks need to know first which cells are wet at every step.
        for series in state:
            for first, blocks in _blocks(plan, series, len(plan.times), "mask", progress):
                wet &= _finite(blocks)
                gathered(seen, blocks)
                assert first >= 0
    lacking = np.zeros(plan.fine.shape, dtype=bool)
    for series in plan.ocean:
        steps = writer.steps_per_chunk(series.names[0] if series.names[0] in plan.kept else series.names[1])
        for first, blocks in _blocks(plan, series, steps, ", ".join(series.names), progress):
            if not any(series is member for member in state):
                lacking |= ~_finite(blocks)[0]
            elif not plan.coarsening.changes:
                wet &= _finite(blocks)
                gathered(seen, blocks)
            for name, block in blocks.items():
                if name not in plan.kept:
                    continue
                if plan.coarsening.changes:
                    # A field on one level goes by the top of the mask.
                    block = plan.coarsening.mean(block, wet if series.depths is not None else wet[:1])
                writer.write(name, first, block if series.depths is not None else block[:, 0])
    if lost := int((lacking & wet[0]).sum()):
        names = [name for series in plan.ocean for name in series.names if VARIABLES[name].role == "forcing"]
        raise ValueError(
            f"{plan.ocean[0].where}: forcing {', '.join(names)} of the same files has no value on {lost} ocean cells; "
            "leave it out with --variables, or give forcing that covers the ocean."
        )
    for name, count in judged(seen, plan).items():
        if name in plan.kept:
            writer.annotate(name, **{CHANGING: count})
    coarse = plan.coarsening.mask(wet)
    return coarse if deep else coarse[0]


def _write_weather(
    writer: StoreWriter,
    plan: Plan,
    series: Series,
    first: NDArray[np.int64],
    fraction: NDArray[np.float64],
    wet: Mask,
    progress: Progress,
) -> None:
    """Write forcing on the ocean's cells and times."""
    everywhere = slice(0, series.positions.shape[0]), slice(0, series.positions.shape[1])
    start = next(iter(series.read([int(first[0])], *everywhere).values()))[0, 0]
    regridder = Regridder.between(series.positions, plan.target, np.isfinite(start))
    filled = float((~regridder.inside & wet).sum() / wet.sum())
    if filled > 0.5:
        raise ValueError(
            f"{series.where} covers only {100 * (1 - filled):.0f} % of the ocean cells; it needs at least half. Give "
            "forcing for this region, or choose a smaller one with --region."
        )
    steps = writer.steps_per_chunk(next(name for name in series.names if name in plan.kept))
    for begin in range(0, len(plan.times), steps):
        part = slice(begin, min(begin + steps, len(plan.times)))
        after = first[part] + (fraction[part] > 0)
        needed = np.unique(np.concatenate([first[part], after]))
        blocks = series.read(needed.tolist(), regridder.rows, regridder.columns)
        weight = fraction[part].astype(np.float32)[:, None, None]
        for name, block in blocks.items():
            if name not in plan.kept:
                continue
            here = regridder(block[:, 0])
            before, behind = here[np.searchsorted(needed, first[part])], here[np.searchsorted(needed, after)]
            result = before + weight * (behind - before)
            lost = ~np.isfinite(result).all((1, 2))
            if lost.any():
                when = text(plan.times[begin + int(np.flatnonzero(lost)[0])])
                raise ValueError(
                    f"{series.where} has missing values around {when} on cells that hold values at other times; fill "
                    "them or leave these hours out."
                )
            writer.write(name, begin, result)
        progress(", ".join(series.names), part.stop, len(plan.times))
    for name in series.names:
        if name in plan.kept:
            writer.annotate(
                name,
                regridding="bilinear in space, nearest valid cell outside the source's domain, linear in time",
                share_filled_nearest=round(filled, 6),
            )


def _sea_floor(plan: Plan, wet: Mask) -> NDArray[np.float32]:
    """Depth of the sea floor at wet cells, NaN on land."""
    field = plan.static[0]
    everything = slice(0, field.positions.shape[0]), slice(0, field.positions.shape[1])
    plane = field.fetch(slice(0, 1), [0], *everything)[0, 0]
    whole = plan.ocean[0].positions
    if field.positions.agrees(whole):
        fine = plane[plan.rows, plan.columns]
        depth = plan.coarsening.mean(fine, np.isfinite(fine)) if plan.coarsening.changes else fine
    else:
        regridder = Regridder.between(field.positions, plan.target, np.isfinite(plane))
        depth = regridder(plane[None, regridder.rows, regridder.columns])[0]
        if not regridder.inside[wet].all():
            share = 100 * float(regridder.inside[wet].mean())
            raise ValueError(
                f"{field.where} covers only {share:.0f} % of the ocean cells; give one that covers all."
            )
    depth = np.where(wet, depth, np.nan).astype(np.float32)
    check_values(depth[None, None], "deptho", None, field.where)
    return depth


def _blocks(
    plan: Plan, series: Series, steps: int, what: str, progress: Progress
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Fine fields of a series, so many steps at a time that memory stays bounded: ``(first step, by name)``."""
    levels = 1 if series.depths is None else len(series.depths)
    field = 4 * levels * plan.fine.shape[0] * plan.fine.shape[1] * len(series.names)
    size = int(np.clip(READ_BYTES // field, 1, steps))
    total = len(plan.times)
    for chunk in range(0, total, steps):
        for first in range(chunk, min(chunk + steps, total), size):
            last = min(first + size, chunk + steps, total)
            yield first, series.read(range(first, last), plan.rows, plan.columns)
            progress(what, last, total)


def _finite(blocks: Mapping[str, NDArray[np.float32]]) -> Mask:
    """Cells that hold every component at every step, ``[z, y, x]``."""
    return np.logical_and.reduce([np.isfinite(block).all(0) for block in blocks.values()])


def _field(series: Series, name: str) -> SourceField:
    return next(field for field in series.fields[0] if field.name == name)


def _variable_attributes(
    field: SourceField, mapping: str | None, plan: Plan, series: Series | None = None
) -> dict[str, Any]:
    """CF attributes of a variable, and how it came to be."""
    attrs: dict[str, Any] = cf_attributes(field.name) | field.attributes
    if plan.coarsening.changes and (series is None or series in plan.ocean):
        attrs["cell_methods"] = f"{attrs.get('cell_methods', '')} {plan.coarsening.cell_method}".strip()
        attrs["regridding"] = plan.coarsening.words
    if mapping is not None:
        attrs["grid_mapping"] = mapping
    attrs |= {"source_variable": field.source_name, "source_units": field.source_units}
    if VARIABLES[field.name].axis is not None:
        attrs["vector_frame"] = (
            "true east and north, turned from the source grid's axes"
            if field.along_grid
            else "true east and north"
        )
    if series is not None and series.level is not None:
        attrs["source_depth"] = series.level
    return attrs
