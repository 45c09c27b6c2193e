"""A labelled ocean that is in memory already (a simulation, an analysis) as a store like any other."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.profiles import profile_named
from data_pipelines.schema import validate
from data_pipelines.splits import checked_splits, default_splits
from data_pipelines.statistics import compute_statistics, wet_levels
from data_pipelines.store import CONVENTIONS, StoreWriter, oceanop_version, read_root
from data_pipelines.times import Times, text
from oceanop.grid import Grid
from oceanop.variables import STORED


def save_store(
    ds: xr.Dataset,
    to: str | Path,
    *,
    splits: Mapping[str, Sequence[Any]] | None = None,
    attributes: Mapping[str, Any] | None = None,
    profile: str = "fast",
) -> Path:
    """Write a data set in the project's schema as a complete store with splits and statistics.

    Parameters
    ----------
    ds
        Known variables with their units and standard names, ``mask``, ``cell_area`` and positions. Other variables are
        left out, values are written chunk by chunk.
    to
        Folder of the store; only an unfinished store there is replaced.
    splits
        As for :func:`data_pipelines.ingest`.
    attributes
        Root attributes besides those of ``ds``.
    profile
        ``fast``: plain numbers, mapped into memory by the loader. ``compact``: compressed, to half or three quarters of
        the size.

    Raises
    ------
    ValueError
        If the data set does not follow the schema, lacks a state where its mask says sea, the profile is unknown, or
        ``to`` holds something.
    """
    target, cut = Path(to), profile_named(profile)
    if target.exists():
        root = read_root(target) if target.is_dir() else None
        if root is None or root.get("attributes", {}).get("complete") is not False:
            raise ValueError(f"{target} exists already; give another path, or delete it.")
    validate(ds)
    grid, times = Grid.from_dataset(ds), ds["time"].values
    coordinates = grid.to_dataset()
    # Where xarray has decoded it, the grid mapping is no longer among the attributes
    extra = {} if grid.grid_mapping is None else {"grid_mapping": grid.grid_mapping}
    for name in ("mask", "deptho"):
        if name in ds.data_vars:
            coordinates[name] = xr.Variable(
                ds[name].dims,
                ds[name].to_numpy().astype(np.int8 if name == "mask" else np.float32),
                {**ds[name].attrs, **extra},
            )
    moving = [str(name) for name in ds.data_vars if name in STORED and "time" in ds[name].dims]
    chosen = default_splits(times) if splits is None else checked_splits(splits, times)
    writer = StoreWriter(
        target,
        coordinates=coordinates,
        times=times,
        depths=ds["depth"].to_numpy().astype(np.float64) if "depth" in ds.dims else None,
        variables={
            name: ([str(dim) for dim in ds[name].dims[1:]], {**ds[name].attrs, **extra}) for name in moving
        },
        attributes={
            "Conventions": CONVENTIONS,
            **{str(key): value for key, value in ds.attrs.items() if key != "complete"},
            "oceanop_version": oceanop_version(),
            **(attributes or {}),
            "splits": json.dumps(chosen),
        },
        profile=cut,
    )
    wet = ds["mask"].to_numpy() > 0.5
    for name in moving:
        deep, is_state = "depth" in ds[name].dims, STORED[name].role == "state"
        steps = writer.steps_per_chunk(name)
        for first in range(0, len(times), steps):
            block = ds[name].isel(time=slice(first, first + steps)).to_numpy().astype(np.float32)
            if is_state:
                _require_whole(block if deep else block[:, None], wet_levels(wet, deep), name, times[first:])
            writer.write(name, first, block)
    compute_statistics(target)
    return writer.finish()


def _require_whole(block: NDArray[np.float32], wet: NDArray[np.bool_], name: str, times: Times) -> None:
    """Refuse a state ``[t, z, y, x]`` that is missing or infinite where the mask ``[z, y, x]`` says sea."""
    lacking = (wet & ~np.isfinite(block)).sum((1, 2, 3))
    if lacking.any():
        first = int(np.flatnonzero(lacking)[0])
        raise ValueError(
            f"the data set: state '{name}' is missing at {text(times[first])} on {lacking[first]} cells where its mask "
            "says sea; set the mask to 0 where a state is ever missing, or drop the steps that lack it."
        )
