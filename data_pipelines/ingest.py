"""From any files to one training-ready store: one grid, one time axis, our names and units."""

import contextlib
import datetime
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from data_pipelines import provenance
from data_pipelines.append import append as append_days
from data_pipelines.append import new_files, repair_commit
from data_pipelines.boundary import with_boundary
from data_pipelines.build import Means, build
from data_pipelines.duplicates import require_policy
from data_pipelines.engine.crew import OPEN_FILES
from data_pipelines.engine.ledger import Ledger, digest, folder_of
from data_pipelines.grid_change import GridAsked, box_of, read_grid
from data_pipelines.levels import without_dry_levels
from data_pipelines.plan import Progress, box, make_plan
from data_pipelines.profiles import profile_named
from data_pipelines.remarks import Record, remark_attributes, tell
from data_pipelines.resumable import sole_writer, told_when_full
from data_pipelines.schema import DamageError
from data_pipelines.series import Depths, parsed_depths
from data_pipelines.skipping import skipped_file, sound_files
from data_pipelines.sources import Given, Source, open_source, require_product, source_paths
from data_pipelines.splits import checked_splits, default_splits
from data_pipelines.store import CONVENTIONS, oceanop_version, read_root
from data_pipelines.times import as_text
from data_pipelines.wetness import require_mask
from oceanop.variables import VARIABLES

Paths = str | Path | Sequence[str | Path]
# What else is in files of weather, such as the ice under it, may be beyond understanding.
_WANTED_OF = {"forcing": [name for name, variable in VARIABLES.items() if variable.role == "forcing"]}


def ingest(
    sources: Paths,
    *,
    to: str | Path,
    forcing: Paths = (),
    static: Paths = (),
    boundary: Paths = (),
    product: str = "auto",
    variables: Sequence[str] | None = None,
    depths: Depths = "surface",
    region: Sequence[float] | None = None,
    coarsen: int = 1,
    grid: str | Path | Sequence[float] | None = None,
    regridding: str | None = None,
    weights: str | Path | None = None,
    splits: Mapping[str, Sequence[Any]] | None = None,
    time_origin: Any = None,
    duplicates: str = "error",
    skip_bad: bool = False,
    mask: str = "static",
    profile: str = "fast",
    append: bool = False,
    workers: int | str | None = 1,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Bring ocean files, and the weather over them, to one store.

    Parameters
    ----------
    sources
        Files, globs, Zarr stores or URLs with the ocean's state (or an atmosphere alone).
    to
        Folder of the store. A complete store of the same request is left as it is; an unfinished one is gone on with.
        Beside it, in ``TO.ingest``, lies the ledger of what is written.
    forcing
        Files with wind, stress or pressure; interpolated to the ocean's cells and times.
    static
        Files with ``deptho``, and with the masks and positions of a model's grid.
    boundary
        A store or files of the parent model around a regional domain: its states, on the domain's cells and times, can
        drive the open edge (``data.edge_zone`` of a run). They are kept as ``uo_boundary`` and so on.
    product
        How the sources are to be read: ``auto`` looks at each, ``cf`` is what the CF conventions describe; ``roms``
        (CROCO too), ``nemo``, ``mom6`` and ``wrf`` are files as these models write them.
    variables
        Canonical names to keep; None keeps all that is known.
    depths
        ``surface`` (the top level, within 5 m), ``all`` (levels without sea are left out, and the store's attribute
        ``depths_without_sea`` names them), or metres.
    region
        ``west, east, south, north`` in degrees.
    coarsen
        Cells along the side of the blocks that are averaged.
    grid
        Cells of the store: ``west, east, south, north, dx, dy`` in degrees, or a store or a file of data on the grid;
        None leaves the ocean on its own, at the centres of the source's cells. Currents are turned to east and north
        before, the mask is made after: a cell is ocean where half of it is.
    regridding
        How values come to ``grid``: ``conservative``, means by the area that cells share, or ``bilinear``; None takes
        means where its cells are the larger ones.
    weights
        Folder in which the weights of ``grid`` are kept and looked for, by what both grids are; None is
        ``regridding-weights`` beside the store.
    splits
        Name to first and last time, text or dates; None gives 70, 15 and 15 % of the time to train, validation and
        test.
    time_origin
        Date, text or any other kind, from which the times of sources count that name none themselves.
    duplicates
        What is done where a time occurs twice: ``error`` refuses, ``identical`` keeps the first of steps whose values
        are equal (and refuses others), ``first`` and ``last`` keep that of the file given first or last. What is left
        out is in the store's attribute ``duplicates_dropped``.
    skip_bad
        Leave damaged files out, and steps that cannot be read, hold no value or an impossible one; refused otherwise.
        They become gaps, which no window crosses; the store's attribute ``skipped`` lists them, and a warning tells
        each. Every field is read once more for it.
    mask
        What is thought of cells that are sea at some steps and land at others: in the mask they are land. ``static``
        warns where they are more than 5 % of the sea, ``fixed`` refuses any, ``dynamic`` takes them without a word.
        Each variable's attribute ``cells_sea_at_some_steps`` counts them.
    profile
        ``fast``: plain numbers, which the loader maps into memory; ``compact``: compressed, in fewer files.
    append
        Add later days to a complete store, with the options that it was made with: files that it was made from may be
        given again and are left alone. Which splits grow is told in :mod:`data_pipelines.append`.
    workers
        Processes that share the work: 1 is this one, None as many as pay. More than 1 are started anew and import the
        main module, so that a script needs its ``if __name__ == "__main__":``. Text is the address of a Dask scheduler,
        whose workers see the same files.
    memory
        Bytes that all workers together may take; None for 4 GiB.
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
        "boundary": source_paths(boundary),
    }
    if not paths["source"]:
        raise ValueError("no source is given; name at least one file with the ocean's state.")
    origin = None if time_origin is None else as_text(time_origin)
    options = {
        "profile": profile,
        "product": product,
        "variables": None if variables is None else list(variables),
        "depths": parsed_depths(depths),
        "region": None if region is None else box(region),
        "coarsen": int(coarsen),
        "time_origin": origin,
        # A store of an earlier version has none of these, and is one of their defaults.
        "duplicates": None if duplicates == "error" else duplicates,
        "skip_bad": skip_bad or None,
        "mask": None if mask == "static" else mask,
        "grid": None if grid is None or (edges := box_of(grid)) is None else edges,
        "regridding": regridding,
        "splits": None
        if splits is None
        else {name: [as_text(end) for end in ends] for name, ends in splits.items()},
    }
    if grid is not None and coarsen != 1:
        raise ValueError(
            f"a grid and coarsen {coarsen} are asked for; each makes cells of its own. Leave one out."
        )
    if grid is None and (regridding or weights):
        raise ValueError(
            "regridding and weights say how to come to another grid, and none is asked for with --grid."
        )
    if grid is not None and options["grid"] is None:
        paths["grid"] = source_paths(str(grid))
    require_product(product)
    require_policy(duplicates)
    require_mask(mask)
    profile_named(profile)
    target, means = Path(to), Means(workers, memory)
    identities = provenance.Identities(folder_of(target) / "inputs.json")
    files: list[Any] = [identities.of(path, role) for role, given in paths.items() for path in given]
    if append:
        fresh, files = new_files(target, files, options)
        given = [(role, path) for role, part in paths.items() for path in part]
        paths["source"] = [
            path for (role, path), new in zip(given, fresh, strict=True) if new and role == "source"
        ]
        if not paths["source"]:
            return target
    elif _is_done(target, files, options):
        return target
    with contextlib.ExitStack() as stack:
        stack.enter_context(told_when_full(target))
        stack.enter_context(sole_writer(target))
        # What HDF5 keeps of an open file is a megabyte, of however few bytes the header is
        stack.enter_context(xr.set_options(file_cache_maxsize=OPEN_FILES))
        identities.save()
        ledger = Ledger(target)
        request = provenance.request(files, options)
        if append:
            repair_commit(target, ledger)
        elif _is_done(target, files, options):  # by the writer before
            return target
        else:
            _require_same(target, ledger, request, files, options)
        asked = None
        if grid is not None:
            cache = target.absolute().parent / "regridding-weights" if weights is None else Path(weights)
            cells = paths.pop("grid")[0] if "grid" in paths else grid
            asked = GridAsked(read_grid(cells), regridding, cache)
        skipped: list[Record] = []
        opened = _opened(stack, paths, product, variables, origin, skipped if skip_bad else None)
        plan = make_plan(opened, options, asked)
        skipped += plan.skipped
        told = progress or (lambda what, done, total: None)
        if append:
            append_days(
                target,
                plan,
                files,
                options,
                stamp=_stamp(),
                skipped=skipped,
                ledger=ledger,
                means=means,
                progress=told,
            )
            tell(skipped, plan.duplicates)
            return target
        plan, dropped = without_dry_levels(plan, options["depths"])
        plan = with_boundary(plan, opened["boundary"], duplicates)
        chosen = default_splits(plan.times) if splits is None else checked_splits(splits, plan.times)
        attributes = _root_attributes(opened["source"][0], files, options)
        attributes["splits"] = json.dumps(chosen)
        attributes |= remark_attributes(skipped, plan.duplicates)
        if dropped:
            attributes["depths_without_sea"] = dropped  # m; were in the source and are left out
        build(
            target,
            plan,
            attributes,
            ledger=ledger,
            request=digest(request.encode()),
            profile=profile,
            means=means,
            progress=told,
        )
        tell(skipped, plan.duplicates)
    return target


def _opened(
    stack: contextlib.ExitStack,
    paths: dict[str, list[Path | str]],
    product: str,
    variables: Sequence[str] | None,
    origin: str | None,
    skipped: list[Record] | None,
) -> dict[str, list[Source]]:
    """All files by role, closed with the stack; damaged ones are put on the list where there is one."""
    if skipped is not None:
        for role, given in paths.items():
            paths[role], lost = sound_files(given)
            skipped += lost
    opened: dict[str, list[Source]] = {role: [] for role in paths}
    for role, given in paths.items():
        # Product, grid and time origin are those of the sources; what goes along with them is what it is.
        along, kind = Given(neighbours=given, wanted=_WANTED_OF.get(role)), "auto"
        if role == "source":
            along, kind = Given(paths["static"], given, variables, origin), product
        for path in given:
            try:
                source = open_source(path, kind, along)
            except DamageError as error:
                if skipped is None:
                    raise
                skipped.append(skipped_file(path, error))
                continue
            stack.callback(source.close)
            opened[role].append(source)
        if skipped and given and not opened[role]:
            raise ValueError(skipped[-1]["why"])
    return opened


def _is_done(target: Path, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> bool:
    """Whether the store is there already; refuses to overwrite anything but an unfinished store."""
    if not target.exists():
        return False
    root = read_root(target) if target.is_dir() else None
    attributes = {} if root is None else root.get("attributes", {})
    if attributes.get("complete") is False:
        return False
    if root is None and target.is_dir() and (not any(target.iterdir()) or Ledger(target).begun is not None):
        return False
    if "complete" not in attributes:
        raise ValueError(f"{target} exists and is not a store of this program; give another path with --to.")
    changed = provenance.difference(attributes.get("request", ""), files, options)
    if changed is not None:
        raise ValueError(
            f"{target} holds another store: {changed}; give another path with --to, or delete it."
        )
    return True


def _require_same(
    target: Path, ledger: Ledger, request: str, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> None:
    """Refuse to throw away what another request has written so far."""
    root = read_root(target) if target.is_dir() else None
    if not ledger.blocks or root is None or ledger.is_going_on("build", digest(request.encode())):
        return
    changed = provenance.difference(root["attributes"].get("request", ""), files, options)
    if changed is not None:
        raise ValueError(
            f"{target} holds an unfinished store: {changed}; run again what began it, give another path with --to, or "
            "delete it."
        )


def _root_attributes(
    source: Source, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> dict[str, Any]:
    command, version = provenance.command_of(files, options), oceanop_version()
    created = _stamp()
    kept: dict[str, str] = {
        key: str(source.attributes[key])
        for key in ("title", "institution", "source", "references", "license", "comment")
        if key in source.attributes
    }
    # CF 2.6.2 wants a title, and a source may have none
    kept.setdefault("title", f"{source.name} on one grid and time axis")
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


def _stamp() -> str:
    """Now; who needs the same bytes from the same files says what it is to be (https://reproducible-builds.org)."""
    now = float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return datetime.datetime.fromtimestamp(int(now), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
