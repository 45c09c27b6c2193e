"""A labelled ocean that is in memory already (a simulation, an analysis) as a store like any other."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines.schema import validate
from data_pipelines.splits import checked_splits, default_splits
from data_pipelines.statistics import compute_statistics
from data_pipelines.store import CONVENTIONS, StoreWriter, oceanop_version, read_root
from oceanop.grid import Grid
from oceanop.variables import VARIABLES


def save_store(
    ds: xr.Dataset,
    to: str | Path,
    *,
    splits: Mapping[str, Sequence[str]] | None = None,
    attributes: Mapping[str, Any] | None = None,
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

    Raises
    ------
    ValueError
        If the data set does not follow the schema, or ``to`` holds something.
    """
    target = Path(to)
    if target.exists():
        root = read_root(target) if target.is_dir() else None
        if root is None or root.get("attributes", {}).get("complete") is not False:
            raise ValueError(f"{target} exists already; give another path, or delete it.")
    validate(ds)
    grid, times = Grid.from_dataset(ds), ds["time"].values
    coordinates = grid.to_dataset()
    for name in ("mask", "deptho"):
        if name in ds.data_vars:
            coordinates[name] = xr.Variable(
                ds[name].dims,
                ds[name].to_numpy().astype(np.int8 if name == "mask" else np.float32),
                ds[name].attrs,
            )
    moving = [str(name) for name in ds.data_vars if name in VARIABLES and "time" in ds[name].dims]
    chosen = default_splits(times) if splits is None else checked_splits(splits, times)
    writer = StoreWriter(
        target,
        coordinates=coordinates,
        times=times,
        depths=ds["depth"].to_numpy().astype(np.float64) if "depth" in ds.dims else None,
        variables={name: ([str(dim) for dim in ds[name].dims[1:]], ds[name].attrs) for name in moving},
        attributes={
            "Conventions": CONVENTIONS,
            **{str(key): value for key, value in ds.attrs.items() if key != "complete"},
            "oceanop_version": oceanop_version(),
            **(attributes or {}),
            "splits": json.dumps(chosen),
        },
    )
    for name in moving:
        steps = writer.steps_per_chunk(name)
        for first in range(0, len(times), steps):
            writer.write(
                name, first, ds[name].isel(time=slice(first, first + steps)).to_numpy().astype(np.float32)
            )
    compute_statistics(target)
    return writer.finish()
