"""A small forecast and its truth on a polar stereographic grid: an eddy that drifts past an island."""

import numpy as np
import pyproj
import xarray as xr

PROJ4 = "+proj=stere +lat_0=90 +lon_0=70 +lat_ts=60 +units=m +a=6.371e+06 +e=0 +no_defs"
START = np.datetime64("2015-11-17T21", "ns")
ROWS, COLUMNS, LEADS = 24, 30, 6


def product(model: str = "FNOtD", *, error: float = 0.0, regular: bool = False) -> xr.Dataset:
    """Forecast in the form of a file; ``error`` times a wave is added to the truth."""
    y, x = -1.38e6 + 4e3 * np.arange(ROWS), -2.95e6 + 4e3 * np.arange(COLUMNS)
    longitude, latitude = pyproj.Proj(PROJ4)(*np.meshgrid(x, y), inverse=True)
    if regular:
        latitude, longitude = 59 + 0.03 * np.arange(ROWS), 3 + 0.05 * np.arange(COLUMNS)
    row, column = np.indices((ROWS, COLUMNS))
    wet = np.hypot(row - 8, column - 20) > 4
    wet[:, -3:] = False
    lead = np.arange(1, LEADS + 1)[:, None, None]
    distance = np.hypot(row - 12, column - 6 - lead)
    swirl = 0.5 * np.exp(-((distance / 5) ** 2))
    fields = {
        "uo": swirl * (row - 12) / 4 + error * np.sin(row / 3) * lead,
        "vo": -swirl * (column - 6 - lead) / 4 + error * np.cos(column / 3) * lead,
        "zos": 0.3 * swirl + error * 0.1 * lead * np.ones_like(swirl),
    }
    dims = ("latitude", "longitude") if regular else ("y", "x")
    leads = (np.arange(1, LEADS + 1) * np.timedelta64(3600, "s")).astype("timedelta64[ns]")
    position = ({"latitude": ("latitude", latitude), "longitude": ("longitude", longitude)} if regular
                else {"latitude": (dims, latitude), "longitude": (dims, longitude), "y": y, "x": x})  # fmt: skip
    ds = xr.Dataset(
        coords={
            **position,
            "init_time": [START],
            "lead_time": leads,
            "valid_time": (("init_time", "lead_time"), (START + leads)[None]),
        },
        attrs={"model": model},
    )
    for name, values in fields.items():
        attrs = {"units": "m" if name == "zos" else "m s-1"}
        attrs["long_name"] = {"uo": "eastward current", "vo": "northward current", "zos": "sea level"}[name]
        if not regular:
            attrs["grid_mapping"] = "crs"
        ds[name] = (
            ("init_time", "lead_time", *dims), np.where(wet, values, np.nan)[None].astype(np.float32), attrs
        )  # fmt: skip
    ds["mask"] = (dims, wet.astype(np.int8))
    ds["cell_area"] = (dims, np.full((ROWS, COLUMNS), 1.6e7))
    if not regular:
        ds = ds.assign_coords(crs=((), 0, {"grid_mapping_name": "polar_stereographic", "proj4": PROJ4}))
    return ds
