"""From any files to one training-ready store: one grid, one time axis, our names and units."""

import contextlib
import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines import provenance
from data_pipelines.coarsen import Coarsening
from data_pipelines.positions import Positions
from data_pipelines.regrid import Regridder, bracket
from data_pipelines.schema import check_values
from data_pipelines.series import Depths, Series, join, parsed_depths
from data_pipelines.sources import Source, open_source, source_paths
from data_pipelines.sources.source import SourceField
from data_pipelines.splits import checked_splits, default_splits
from data_pipelines.statistics import compute_statistics
from data_pipelines.store import CONVENTIONS, StoreWriter, oceanop_version, read_root
from data_pipelines.times import Times, milliseconds, text
from oceanop.layout import cf_attributes
from oceanop.variables import VARIABLES

READ_BYTES = (
    32 * 2**20
)  # of float32 read at once: bounds memory whatever the number of files or the coarsening

Paths = str | Path | Sequence[str | Path]
Progress = Callable[[str, int, int], None]
Mask = NDArray[np.bool_]


def ingest(
    sources: Paths,
    *,
    to: str | Path,
    forcing: Paths = (),
    static: Paths = (),
    product: str = "auto",
    variables: Sequence[str] | None = None,
    depths: Depths = "surface",
    region: Sequence[float] | None = None,
    coarsen: int = 1,
    splits: Mapping[str, Sequence[str]] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Bring ocean files, and the weather over them, to one store.

    Parameters
    ----------
    sources
        Files, globs, Zarr stores or URLs with the ocean's state (or an atmosphere alone).
    to
        Folder of the store. A complete store of the same request is left as it is; an unfinished one is rebuilt.
    forcing
        Files with wind, stress or pressure; interpolated to the ocean's cells and times.
    static
        Files with ``deptho``.
    product
        How the files are to be read: ``auto`` or ``cf``.
    variables
        Canonical names to keep; None keeps all that is known.
    depths
        ``surface`` (the top level, within 5 m), ``all``, or metres.
    region
        ``west, east, south, north`` in degrees.
    coarsen
        Cells along the side of the blocks that are averaged.
    splits
        Name to first and last time; None gives 70, 15 and 15 % of the time to train, validation and test.
    progress
        Called with what is done, steps done, and steps in all.

    Returns
    -------
    Path of the store.

    Raises
    ------
    FileNotFoundError
        If a source does not exist.
    ValueError
        If a source cannot be understood, or ``to`` holds something else.

    Examples
    --------
    >>> from data_pipelines import ingest, sample_paths
    >>> sample = sample_paths()
    >>> ingest(sample.ocean, to="norkyst.zarr", forcing=sample.wind, coarsen=4)  # doctest: +SKIP
    PosixPath('norkyst.zarr')
    """
    paths = {
        "source": source_paths(sources),
        "forcing": source_paths(forcing),
        "static": source_paths(static),
    }
    if not paths["source"]:
        raise ValueError("no source is given; name at least one file with the ocean's state.")
    options = {
        "product": product,
        "variables": None if variables is None else list(variables),
        "depths": parsed_depths(depths),
        "region": None if region is None else _box(region),
        "coarsen": int(coarsen),
        "splits": None if splits is None else {name: list(ends) for name, ends in splits.items()},
    }
    files = [provenance.file_identity(path, role) for role, given in paths.items() for path in given]
    target = Path(to)
    if _is_done(target, files, options):
        return target
    opened: dict[str, list[Source]] = {role: [] for role in paths}
    with contextlib.ExitStack() as stack:
        for role, given in paths.items():
            for path in given:
                source = open_source(path, product)
                stack.callback(source.close)
                opened[role].append(source)
        plan = _plan(opened, options)
        attributes = _root_attributes(opened["source"][0], files, options)
        attributes["splits"] = json.dumps(
            default_splits(plan.times) if splits is None else checked_splits(splits, plan.times)
        )
        _build(target, plan, attributes, progress or (lambda what, done, total: None))
    return target


@dataclass(eq=False)
class _Plan:
    """All that is decided before the first field is read."""

    ocean: list[Series]
    weather: list[tuple[Series, NDArray[np.int64], NDArray[np.float64]]]
    static: list[SourceField]
    kept: list[str]
    times: Times
    depths: NDArray[np.float64] | None
    fine: Positions
    rows: slice
    columns: slice
    coarsening: Coarsening
    target: Positions


def _plan(opened: Mapping[str, Sequence[Source]], options: Mapping[str, Any]) -> _Plan:
    """Match variables, grids and times of all files, or say what does not fit."""
    ocean_names = _names(opened["source"], dynamic=True)
    weather_names = [
        name for name in _names(opened["forcing"], dynamic=True) if VARIABLES[name].role == "forcing"
    ]
    if opened["forcing"] and not weather_names:
        raise ValueError(
            f"{opened['forcing'][0].name} holds no forcing, only {', '.join(opened['forcing'][0].fields)}; forcing is "
            f"{', '.join(name for name, variable in VARIABLES.items() if variable.role == 'forcing')}."
        )
    # Weather that is given for itself replaces what an ocean file carries along.
    ocean_names = [name for name in ocean_names if name not in weather_names]
    wanted = options["variables"]
    for name in wanted or ():
        if name not in ocean_names + weather_names:
            raise ValueError(
                f"variable '{name}' is not in the files, which hold {', '.join(ocean_names + weather_names)}; name "
                "some of these with --variables."
            )
    kept = [name for name in ocean_names + weather_names if wanted is None or name in wanted]
    ocean = _series(opened["source"], [name for name in ocean_names if name in kept], options["depths"])
    if not ocean:
        raise ValueError(
            f"{opened['source'][0].name} holds no series to keep, only {', '.join(opened['source'][0].fields)}; give a "
            "file with an ocean state as the source (sea floor depth goes to --static)."
        )
    first = ocean[0]
    for other in ocean[1:]:
        _check_together(first, other)
    depths = next((series.depths for series in ocean if series.depths is not None), None)
    fine = first.positions
    rows, columns = slice(0, fine.shape[0]), slice(0, fine.shape[1])
    if options["region"] is not None:
        rows, columns = fine.region(*options["region"])
        fine = fine.crop(rows, columns)
    coarsening = Coarsening(options["coarsen"], fine.cell_area)
    weather = []
    for series in _series(opened["forcing"], [name for name in weather_names if name in kept], "surface"):
        steps = bracket(series.times, first.times, series.where, first.where)
        weather.append((series, *steps))
    static = [
        source.fields["deptho"]
        for role in ("static", "source")
        for source in opened[role]
        if "deptho" in source.fields
    ][:1]
    for source in opened["static"]:
        if "deptho" not in source.fields:
            raise ValueError(
                f"{source.name} holds no sea floor depth; static files give deptho. Leave it out."
            )
    return _Plan(
        ocean=ocean,
        weather=weather,
        static=static,
        kept=kept,
        times=first.times,
        depths=depths,
        fine=fine,
        rows=rows,
        columns=columns,
        coarsening=coarsening,
        target=coarsening.positions(fine) if options["coarsen"] > 1 else fine,
    )


def _build(target: Path, plan: _Plan, attributes: dict[str, Any], progress: Progress) -> None:
    """Write all variables, mask and statistics, and declare the store complete."""
    area = plan.coarsening.area()
    levels = () if plan.depths is None else (len(plan.depths),)
    coordinates = plan.target.grid(np.zeros(plan.target.shape, dtype=bool), area).to_dataset()
    deep_mask = any(_is_state(series) and series.depths is not None for series in plan.ocean)
    if deep_mask:
        dims = ("depth", *plan.target.dims)
        zeros = np.zeros((*levels, *plan.target.shape), dtype=np.int8)
        coordinates["mask"] = xr.Variable(dims, zeros, coordinates["mask"].attrs)
    coordinates["cell_area"].attrs["method"] = plan.fine.area_method + (
        f", summed over blocks of {plan.coarsening.size} x {plan.coarsening.size}"
        if plan.coarsening.size > 1
        else ""
    )
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
        },
        attributes=attributes,
    )
    wet = _write_ocean(writer, plan, progress)
    surface = wet if wet.ndim == 2 else wet[0]
    if not surface.any():
        raise ValueError(
            f"{plan.ocean[0].where}: no cell holds every state variable at every step, so nothing is ocean; choose "
            "another region or fewer variables."
        )
    writer.set_static("mask", wet.astype(np.int8))
    if plan.static:
        writer.set_static("deptho", _sea_floor(plan, surface))
    for series, first, fraction in plan.weather:
        _write_weather(writer, plan, series, first, fraction, surface, progress)
    progress("statistics", 0, len(plan.times))
    compute_statistics(target)
    progress("statistics", len(plan.times), len(plan.times))
    writer.finish()


def _write_ocean(writer: StoreWriter, plan: _Plan, progress: Progress) -> Mask:
    """Write what comes on the ocean's own cells, and return the coarse mask, ``[(Z,) Y, X]``."""
    state = [series for series in plan.ocean if _is_state(series)] or plan.ocean
    deep = any(series.depths is not None for series in state)
    shape = (len(plan.depths) if deep and plan.depths is not None else 1, *plan.fine.shape)
    wet = np.ones(shape, dtype=bool)
    if plan.coarsening.size > 1:
        # Means over blocks need to know first which cells are wet at every step.
        for series in state:
            for first, blocks in _blocks(plan, series, len(plan.times), "mask", progress):
                wet &= _finite(blocks)
                assert first >= 0
    lacking = np.zeros(plan.fine.shape, dtype=bool)
    for series in plan.ocean:
        steps = writer.steps_per_chunk(series.names[0] if series.names[0] in plan.kept else series.names[1])
        for first, blocks in _blocks(plan, series, steps, ", ".join(series.names), progress):
            if not any(series is member for member in state):
                lacking |= ~_finite(blocks)[0]
            elif plan.coarsening.size == 1:
                wet &= _finite(blocks)
            for name, block in blocks.items():
                if name not in plan.kept:
                    continue
                if plan.coarsening.size > 1:
                    # A field on one level goes by the top of the mask.
                    block = plan.coarsening.mean(block, wet if series.depths is not None else wet[:1])
                writer.write(name, first, block if series.depths is not None else block[:, 0])
    if lost := int((lacking & wet[0]).sum()):
        names = [name for series in plan.ocean for name in series.names if VARIABLES[name].role == "forcing"]
        raise ValueError(
            f"{plan.ocean[0].where}: forcing {', '.join(names)} of the same files has no value on {lost} ocean cells; "
            "leave it out with --variables, or give forcing that covers the ocean."
        )
    coarse = plan.coarsening.mask(wet)
    return coarse if deep else coarse[0]


def _write_weather(
    writer: StoreWriter,
    plan: _Plan,
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


def _sea_floor(plan: _Plan, wet: Mask) -> NDArray[np.float32]:
    """Depth of the sea floor at wet cells, NaN on land."""
    field = plan.static[0]
    everything = slice(0, field.positions.shape[0]), slice(0, field.positions.shape[1])
    plane = field.fetch(slice(0, 1), [0], *everything)[0, 0]
    whole = plan.ocean[0].positions
    if field.positions.agrees(whole):
        fine = plane[plan.rows, plan.columns]
        depth = plan.coarsening.mean(fine, np.isfinite(fine)) if plan.coarsening.size > 1 else fine
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
    plan: _Plan, series: Series, steps: int, what: str, progress: Progress
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


def _is_state(series: Series) -> bool:
    return VARIABLES[series.names[0]].role == "state"


def _field(series: Series, name: str) -> SourceField:
    return next(field for field in series.fields[0] if field.name == name)


def _names(sources: Sequence[Source], *, dynamic: bool) -> list[str]:
    """Canonical names in the files, in the table's order."""
    held = {name for source in sources for name in source.fields}
    return [
        name
        for name, variable in VARIABLES.items()
        if name in held and (variable.role != "static") == dynamic
    ]


def _series(sources: Sequence[Source], names: Sequence[str], depths: Depths) -> list[Series]:
    """One series for each variable or pair."""
    found: list[Series] = []
    for name in names:
        if not any(name in series.names for series in found):
            found.append(join(sources, name, depths))
    return found


def _check_together(first: Series, other: Series) -> None:
    """Refuse two series that do not share cells, times or levels."""
    if not other.positions.agrees(first.positions):
        raise ValueError(
            f"{other.where} lies on other cells than {first.where}; all state variables share one grid. Choose with "
            "--variables, or bring them to one grid first."
        )
    one, two = milliseconds(first.times), milliseconds(other.times)
    if one.shape != two.shape or (one != two).any():
        lone = np.setxor1d(one, two)
        series = first if lone[0] in one else other
        missing = other if series is first else first
        when = text(series.times[int(np.searchsorted(milliseconds(series.times), lone[0]))])
        raise ValueError(
            f"{missing.where}: '{missing.names[0]}' is missing at {when}, where '{series.names[0]}' is given; every "
            "variable needs every step. Add the file that has it, or leave the variable out with --variables."
        )
    if first.depths is not None and other.depths is not None and not np.allclose(first.depths, other.depths):
        raise ValueError(
            f"{other.where} lies on other levels than {first.where}; name common depths with --depths."
        )


def _box(region: Sequence[float]) -> list[float]:
    if isinstance(region, str) or len(region) != 4:
        raise ValueError(f"region {region!r} is not four numbers; give west, east, south, north in degrees.")
    return [float(edge) for edge in region]


def _is_done(target: Path, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> bool:
    """Whether the store is there already; refuses to overwrite anything but an unfinished store."""
    if not target.exists():
        return False
    root = read_root(target) if target.is_dir() else None
    attributes = {} if root is None else root.get("attributes", {})
    if attributes.get("complete") is False:
        return False
    if root is None and target.is_dir() and not any(target.iterdir()):
        return False
    if "complete" not in attributes:
        raise ValueError(f"{target} exists and is not a store of this program; give another path with --to.")
    changed = provenance.difference(attributes.get("request", ""), files, options)
    if changed is not None:
        raise ValueError(
            f"{target} holds another store: {changed}; give another path with --to, or delete it."
        )
    return True


def _variable_attributes(
    field: SourceField, mapping: str | None, plan: _Plan, series: Series | None = None
) -> dict[str, Any]:
    """CF attributes of a variable, and how it came to be."""
    attrs: dict[str, Any] = cf_attributes(field.name) | field.attributes
    if plan.coarsening.size > 1 and (series is None or series in plan.ocean):
        attrs["cell_methods"] = f"{attrs.get('cell_methods', '')} area: mean where sea".strip()
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


def _root_attributes(
    source: Source, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    command, version = provenance.command_of(files, options), oceanop_version()
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept: dict[str, str] = {
        key: str(source.attributes[key])
        for key in ("title", "institution", "source", "references", "license", "comment")
        if key in source.attributes
    }
    before = str(source.attributes.get("history", ""))
    return {
        "Conventions": CONVENTIONS,
        **kept,
        "history": f"{created}: {command}" + (f"\n{before}" if before else ""),
        "command": command,
        "oceanop_version": version,
        "created": created,
        "sources": json.dumps(list(files)),
        "request": provenance.request(files, options),
    }
