"""WRF as it writes itself: dates as text, positions at every step, winds along the grid."""

from pathlib import Path

import numpy as np
import xarray as xr

from data_pipelines.sources.cf import read_source
from data_pipelines.sources.source import Given, Source

_WINDS = {"U10": "x_wind", "V10": "y_wind"}  # the model's own x and y, whatever its projection


def read_wrf(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """A ``wrfout`` file as one that CF describes; parameters and errors as :func:`read_source`.

    Raises
    ------
    ValueError
        If the grid moves, as a nest that follows a storm does, or a date is none.
    """
    file = Path(str(path)).name
    positions = {}
    for name, standard_name, units in (
        ("XLAT", "latitude", "degrees_north"),
        ("XLONG", "longitude", "degrees_east"),
    ):
        planes = ds[name]
        if "Time" in planes.dims:
            if not np.array_equal(planes.isel(Time=0), planes.isel(Time=-1)):
                raise ValueError(f"{file}: '{name}' moves in time; give the file of a domain that stays.")
            planes = planes.isel(Time=0, drop=True)
        positions[standard_name] = (
            planes.dims,
            planes.to_numpy(),
            {"standard_name": standard_name, "units": units},
        )
    try:
        text = [bytes(stamp).decode().replace("_", "T") for stamp in np.atleast_1d(ds["Times"].to_numpy())]
        dates = np.array(text, dtype="datetime64[s]").astype(np.int64)
    except ValueError as error:
        raise ValueError(f"{file}: 'Times' holds a date that is none ({error}); repair the file.") from error
    described = ds.drop_vars(["XLAT", "XLONG", "XTIME", "Times"], errors="ignore").assign_coords(positions)
    clock = {"standard_name": "time", "units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    described = described.assign_coords(Time=("Time", dates, clock))
    for name, standard_name in _WINDS.items():
        if name in described:
            described[name] = described[name].assign_attrs(standard_name=standard_name)
    described.set_close(ds.close)
    return read_source(described, path, along)


def is_wrf(ds: xr.Dataset) -> bool:
    """Whether a data set has the names of WRF's output."""
    return {"XLAT", "XLONG", "Times"} <= set(ds.variables) and {"south_north", "west_east"} <= set(ds.dims)
