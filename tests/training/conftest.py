"""A small channel with a travelling wave, as a NetCDF file and as a store."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import ingest
from oceanop.config import Run, parse_run

HOURS = 48
ROWS, COLUMNS = 6, 12


def write_source(path: Path, *, rows: int = ROWS) -> None:
    """Hourly currents of a wave that travels around in 12 hours, and a wind; two cells of land."""
    x = np.arange(COLUMNS) / COLUMNS * 2 * np.pi
    t = np.arange(HOURS)[:, None, None] / 12 * 2 * np.pi
    y = np.linspace(0.5, 1.0, rows)[None, :, None]
    u = 0.3 * y * np.cos(x - t) + 0.05
    v = 0.3 * y * np.sin(x - t)
    for field in (u, v):
        field[:, 0, :2] = np.nan
    dims = ("time", "latitude", "longitude")
    times = np.datetime64("2020-01-01T00", "ns") + np.arange(HOURS) * np.timedelta64(1, "h")
    ds = xr.Dataset(
        {
            "uo": (
                dims,
                u.astype(np.float32),
                {"standard_name": "eastward_sea_water_velocity", "units": "m s-1"},
            ),
            "vo": (
                dims,
                v.astype(np.float32),
                {"standard_name": "northward_sea_water_velocity", "units": "m s-1"},
            ),
        },
        coords={
            "time": ("time", times, {"standard_name": "time"}),
            "latitude": (
                "latitude",
                55 + 0.05 * np.arange(rows),
                {"standard_name": "latitude", "units": "degrees_north"},
            ),
            "longitude": (
                "longitude",
                15 + 0.1 * np.arange(COLUMNS),
                {"standard_name": "longitude", "units": "degrees_east"},
            ),
        },
    )
    ds.to_netcdf(path)


SPLITS = {
    "train": ("2020-01-01T00", "2020-01-02T05"),
    "validation": ("2020-01-02T06", "2020-01-02T17"),
    "test": ("2020-01-02T18", "2020-01-02T23"),
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel")
    write_source(folder / "channel.nc")
    return ingest([str(folder / "channel.nc")], to=folder / "channel.zarr", splits=SPLITS)


def tiny_run(**training: object) -> Run:
    """A run of seconds."""
    return parse_run(
        {
            "model": {
                "name": "FNOtD",
                "history": 3,
                "horizon": 3,
                "modes": [4, 2, 4],
                "width": 8,
                "layers": 2,
            },
            "training": {
                "steps": 12,
                "warmup_steps": 2,
                "validate_every": 4,
                "checkpoint_every": 3,
                "threads": 1,
                **training,
            },
        }
    )
