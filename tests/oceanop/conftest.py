"""A small sea to test with."""

import numpy as np
import pytest
import xarray as xr

from oceanop.grid import Grid
from oceanop.layout import cf_attributes


@pytest.fixture
def sea() -> xr.Dataset:
    """Six hours of currents and wind on a curvilinear 5 x 7 grid with a land corner, as a store holds them."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(5), np.arange(7), indexing="ij")
    mask = np.ones((5, 7), np.int8)
    mask[:2, :3] = 0
    times = np.datetime64("2015-11-16T00", "ns") + np.arange(6) * np.timedelta64(1, "h")
    ds = xr.Dataset(
        {
            "mask": (("y", "x"), mask),
            "cell_area": (("y", "x"), np.full((5, 7), 1e6)),
        },
        coords={
            "time": times,
            "latitude": (("y", "x"), 60 + 0.01 * y + 0.002 * x),
            "longitude": (("y", "x"), 5 + 0.02 * x - 0.004 * y),
        },
    )
    for name in ("uo", "vo", "u10", "v10"):
        values = rng.normal(size=(6, 5, 7)).astype(np.float32)
        if name in ("uo", "vo"):
            values[:, mask == 0] = np.nan
        ds[name] = (("time", "y", "x"), values, cf_attributes(name))
    return ds


@pytest.fixture
def grid(sea: xr.Dataset) -> Grid:
    return Grid.from_dataset(sea)
