"""NetCDF files as the CF conventions want them, one block of a large variable in memory at a time."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr


def write_netcdf(ds: xr.Dataset, path: Path, *, compressed: Collection[str] = ()) -> None:
    """Write a data set that passes the compliance checker of CF, whatever it was read from.

    xarray gives every variable of floats a ``_FillValue``, which CF (2.5.1) does not let coordinates have, and flags
    that were in JSON come back as int64, where CF (3.5) wants the type of their variable.

    Parameters
    ----------
    ds
        In arrays of Dask, its chunks are written one after another.
    path
        Written in place; callers that need the file whole or not at all rename it.
    compressed
        Names of variables.
    """
    out = ds.drop_encoding()
    out.attrs.pop("complete", None)  # of stores, which can be half written; and NetCDF has no booleans
    encoding: dict[Any, dict[str, Any]] = {name: {"zlib": True, "complevel": 1} for name in compressed}
    for name, variable in out.variables.items():
        if "flag_values" in variable.attrs:
            variable.attrs["flag_values"] = np.asarray(variable.attrs["flag_values"], dtype=variable.dtype)
        if name in out.coords and variable.dtype.kind == "f":
            encoding[name] = {"_FillValue": None}
    out.to_netcdf(path, engine="netcdf4", encoding=encoding)
