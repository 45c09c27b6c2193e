"""NetCDF files as the CF conventions want them, one block of a large variable in memory at a time."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import xarray as xr

from data_pipelines.store import netcdf_ready


def write_netcdf(ds: xr.Dataset, path: Path, *, compressed: Collection[str] = ()) -> None:
    """Write a data set that passes the compliance checker of CF, whatever it was read from.

    Parameters
    ----------
    ds
        In arrays of Dask, its chunks are written one after another.
    path
        Written in place; callers that need the file whole or not at all rename it.
    compressed
        Names of variables.
    """
    out = netcdf_ready(ds.drop_encoding())
    out.attrs.pop("complete", None)  # of stores, which can be half written; and NetCDF has no booleans
    encoding: dict[Any, dict[str, Any]] = {name: {"zlib": True, "complevel": 1} for name in compressed}
    out.to_netcdf(path, engine="netcdf4", encoding=encoding)
