"""Later days for a store: readers see it as it was until one rename shows them all of the new days.

The cells of the mask stay those of the first build. Splits that were asked for by their times keep these times, so that
one that reaches beyond the old end takes up the new days inside it; of the default ones the last in time is prolonged
to the new end, and the others stay as they are. Statistics are remade of the splits that grew, and of no other, so that
what a model was trained by does not change under it. They are files of their own, and renewed just before the new days
are shown: where a kill comes between, they count days that are shown once the same command has gone on.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from data_pipelines import provenance
from data_pipelines.build import (
    Means,
    Work,
    all_tasks,
    bring_others,
    crew_for,
    make_site,
    mask_levels,
    missing,
    outdated,
    put_statistics,
)
from data_pipelines.engine.beforehand import require_space
from data_pipelines.engine.ledger import Ledger, digest, load_mask
from data_pipelines.engine.shards import settle
from data_pipelines.levels import on_levels
from data_pipelines.plan import Plan, Progress
from data_pipelines.remarks import DUPLICATES, SKIPPED, Record, read_remarks, remark_attributes
from data_pipelines.splits import Splits, checked_splits, read_splits
from data_pipelines.statistics import moving_variables
from data_pipelines.store import encoded_times, open_store, read_root, replace_root
from data_pipelines.times import Times, calendar_of, milliseconds, text

Files = Sequence[Mapping[str, Any]]


def new_files(
    target: Path, files: Files, options: Mapping[str, Any]
) -> tuple[list[bool], list[Mapping[str, Any]]]:
    """Which of the given files a store does not hold, and all that it will be made from.

    Raises
    ------
    ValueError
        If the store was made with other options, or cannot be appended to.
    """
    root = read_root(target)  # says where there is none
    attributes = {} if root is None else root["attributes"]
    if not attributes.get("complete") or "request" not in attributes or "seed" in attributes:
        raise ValueError(
            f"{target} is no complete store that 'oceanop ingest' made, so that nothing can be appended to it; make it "
            "first, without --append."
        )
    kept = json.loads(attributes["request"])
    changed = provenance.difference(attributes["request"], kept["files"], options)
    if changed is not None:
        raise ValueError(
            f"{target} was made with other options: {changed}; append with those it was made with, or give another "
            "path with --to."
        )
    if any(file["role"] == "boundary" for file in (*kept["files"], *files)):
        raise ValueError(
            f"{target}: boundary values are brought over for all of a domain's time together, and cannot be appended; "
            "ingest all files to a new store."
        )
    known = json.loads(json.dumps(list(files)))
    return [file not in kept["files"] for file in known], [
        *kept["files"],
        *(file for file in known if file not in kept["files"]),
    ]


def append(
    target: Path,
    plan: Plan,
    files: Files,
    options: Mapping[str, Any],
    *,
    stamp: str,
    skipped: Sequence[Record],
    ledger: Ledger,
    means: Means,
    progress: Progress,
) -> None:
    """Write the steps of a plan behind those of a store.

    Parameters
    ----------
    plan
        Of the new files alone.
    files
        All that the store will be made from.
    options
        Those it was made with.
    stamp
        Now, for the history.
    skipped
        What is left out of the new files.

    Raises
    ------
    ValueError
        If the new days are not later, lie on other cells or levels, hold other variables, or lack a value where the
        store has sea; the store stays as it was.
    """
    with open_store(target) as ds:
        plan = _fitting(target, ds, plan, ledger, files)
        times = np.concatenate([ds["time"].values.astype(plan.times.dtype), plan.times])
        offset, splits, mask = ds.sizes["time"], read_splits(ds), ds["mask"].to_numpy() > 0.5
    grown = _grown(splits, times, offset, options["splits"])
    wanted = provenance.request(files, options)
    request = digest(wanted.encode())
    if not ledger.is_going_on("append", request):
        ledger.begin("append", request, len(times))
    settle(target, ledger.blocks.values())
    assert ledger.committed is not None
    site = make_site(target, plan, times, offset, grown)
    wet = load_mask(ledger.folder, ledger.committed["wet"], (mask_levels(plan), *plan.fine.shape))
    site = replace(site, cells=mask, wet=wet, fixed=True)
    tasks = all_tasks(site)
    require_space(site, missing(ledger, site, tasks))
    with crew_for(site, ledger, tasks, means) as crew:
        bring_others(site, mask if mask.ndim == 2 else mask[0])
        work = Work(crew, ledger, progress)
        work.do(site, missing(ledger, site, tasks))
        # Links between steps go by the median step, which new days may have changed.
        again = outdated(ledger, site, all_tasks(replace(site, offset=0)))
        work.do(site, again)
    changed = list(grown) if again else [name for name in grown if grown[name] != splits[name]]
    put_statistics(site, ledger, grown, changed)
    _lengthen(target, list(site.documents), times, offset)
    root = read_root(target)
    assert root is not None
    command = provenance.command_of(files, options)
    replace_root(
        target,
        {
            **root["attributes"],
            "history": f"{stamp}: {command} --append\n{root['attributes']['history']}",
            "command": command,
            "sources": json.dumps(list(files)),
            "request": wanted,
            "splits": json.dumps(grown),
            **_remarks(root["attributes"], skipped, plan.duplicates),
        },
    )
    ledger.record({"commit": {**ledger.committed, "steps": len(times)}})


def _remarks(
    attributes: Mapping[str, Any], skipped: Sequence[Record], duplicates: Sequence[Record]
) -> dict[str, str]:
    """Root attributes that tell what is left out of the store's first files and of the new ones."""
    before = read_remarks(attributes)
    return remark_attributes([*before.get(SKIPPED, ()), *skipped], [*before.get(DUPLICATES, ()), *duplicates])


def repair_commit(target: Path, ledger: Ledger) -> None:
    """Where a kill came between the rename that shows a store or new days of it and its last line, write that line."""
    root, begun = read_root(target), ledger.begun
    if root is None or begun is None or ledger.whole is None:
        return
    if ledger.is_going_on(begun["kind"], digest(root["attributes"]["request"].encode())):
        ledger.record({"commit": {**ledger.whole, "steps": begun["steps"]}})


def _fitting(target: Path, ds: xr.Dataset, plan: Plan, ledger: Ledger, files: Files) -> Plan:
    """The plan on the store's levels; refuses one that does not go on where the store ends."""
    where, times = plan.ocean[0].where, ds["time"].values
    if ledger.committed is None:
        raise ValueError(
            f"{target} has no ledger beside it ({ledger.path}), which append needs; ingest all files to a new store."
        )
    if calendar_of(plan.times) != calendar_of(times):
        raise ValueError(
            f"{where} is in the calendar {calendar_of(plan.times)}, {target} in {calendar_of(times)}; use files of one "
            "calendar."
        )
    if milliseconds(plan.times)[0] <= milliseconds(times)[-1]:
        # Another folder's file of the same name may hold later days; one that does not is the old one, changed
        names = Counter(file["name"] for file in files if file["role"] == "source")
        if changed := [name for name, count in names.items() if count > 1]:
            raise ValueError(
                f"{', '.join(changed)} is in {target} already, with another content; ingest all files to a new store."
            )
        raise ValueError(
            f"{where} begins at {text(plan.times[0])}, and {target} holds steps up to {text(times[-1])}; only later "
            "days can be appended. Leave such files out, or ingest all of them to a new store."
        )
    if encoded_times(plan.times)[1]["units"] != encoded_times(times)[1]["units"]:
        raise ValueError(
            f"{where} has times between full seconds, or {target} has, and the other one has not; ingest all files to "
            "a new store."
        )
    if "depth" in ds.coords:
        plan = on_levels(plan, ds["depth"].to_numpy(), str(target))
    here = plan.target.grid(np.zeros(plan.target.shape, dtype=bool), plan.coarsening.area()).to_dataset()
    for name in ("latitude", "longitude"):
        there = ds[name].to_numpy()
        # Positions kept in float32 by one file and in float64 by another are the same to a metre.
        if here[name].shape != there.shape or not np.allclose(here[name], there, rtol=0, atol=1e-5):
            raise ValueError(f"{where} lies on other cells than {target}; ingest it to a store of its own.")
    given, held = set(plan.kept), set(moving_variables(ds))
    if given != held:
        raise ValueError(
            f"{where} and what is given with it hold {', '.join(sorted(given))}, and {target} holds "
            f"{', '.join(sorted(held))}; give files with all of them, and choose with --variables at the first ingest."
        )
    return plan


def _grown(splits: Splits, times: Times, offset: int, asked: Mapping[str, Any] | None) -> Splits:
    """Splits of the longer store."""
    if asked is not None:
        return checked_splits(asked, times)
    last = text(times[offset - 1])
    return {name: (first, text(times[-1]) if end == last else end) for name, (first, end) in splits.items()}


def _lengthen(target: Path, names: Sequence[str], times: Times, offset: int) -> None:
    """Let the arrays themselves know of the new steps; readers go by the root document, and do not yet."""
    group: Any = zarr.open_group(target, mode="r+", zarr_format=3, use_consolidated=False)
    for name in (*names, "time"):
        array = group[name]
        if array.shape[0] != len(times):
            array.resize((len(times), *array.shape[1:]))
    group["time"][offset:] = encoded_times(times)[0][offset:]
