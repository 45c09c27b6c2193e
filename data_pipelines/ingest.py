"""From any files to one training-ready store: one grid, one time axis, our names and units."""

import contextlib
import datetime
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import provenance
from data_pipelines.append import append as append_days
from data_pipelines.append import new_files, repair_commit
from data_pipelines.boundary import with_boundary
from data_pipelines.build import Means, build
from data_pipelines.engine.ledger import Ledger, digest, folder_of
from data_pipelines.levels import without_dry_levels
from data_pipelines.plan import Progress, box, make_plan
from data_pipelines.profiles import profile_named
from data_pipelines.resumable import sole_writer
from data_pipelines.series import Depths, parsed_depths
from data_pipelines.sources import Given, Source, open_source, require_product, source_paths
from data_pipelines.splits import checked_splits, default_splits
from data_pipelines.store import CONVENTIONS, oceanop_version, read_root
from data_pipelines.times import as_text
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
    splits: Mapping[str, Sequence[Any]] | None = None,
    time_origin: Any = None,
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
    splits
        Name to first and last time, text or dates; None gives 70, 15 and 15 % of the time to train, validation and
        test.
    time_origin
        Date, text or any other kind, from which the times of sources count that name none themselves.
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
        "splits": None
        if splits is None
        else {name: [as_text(end) for end in ends] for name, ends in splits.items()},
    }
    require_product(product)
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
        stack.enter_context(sole_writer(target))
        identities.save()
        ledger = Ledger(target)
        request = provenance.request(files, options)
        if append:
            repair_commit(target, ledger)
        elif _is_done(target, files, options):  # by the writer before
            return target
        else:
            _require_same(target, ledger, request, files, options)
        opened = _opened(stack, paths, product, variables, origin)
        plan = make_plan(opened, options)
        told = progress or (lambda what, done, total: None)
        if append:
            append_days(
                target, plan, files, options, stamp=_stamp(), ledger=ledger, means=means, progress=told
            )
            return target
        plan, dropped = without_dry_levels(plan, options["depths"])
        plan = with_boundary(plan, opened["boundary"])
        chosen = default_splits(plan.times) if splits is None else checked_splits(splits, plan.times)
        attributes = _root_attributes(opened["source"][0], files, options)
        attributes["splits"] = json.dumps(chosen)
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
    return target


def _opened(
    stack: contextlib.ExitStack,
    paths: Mapping[str, Sequence[Path | str]],
    product: str,
    variables: Sequence[str] | None,
    origin: str | None,
) -> dict[str, list[Source]]:
    """All files by role, closed with the stack."""
    opened: dict[str, list[Source]] = {role: [] for role in paths}
    for role, given in paths.items():
        # Product, grid and time origin are those of the sources; what goes along with them is what it is.
        along, kind = Given(neighbours=given, wanted=_WANTED_OF.get(role)), "auto"
        if role == "source":
            along, kind = Given(paths["static"], given, variables, origin), product
        for path in given:
            source = open_source(path, kind, along)
            stack.callback(source.close)
            opened[role].append(source)
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
