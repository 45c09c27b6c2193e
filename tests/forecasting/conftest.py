"""A small sea with a tide, weather and a mean current, and an untrained operator that fits it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import save_store
from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint
from oceanop.cli import main
from oceanop.config import parse_run
from oceanop.features import static_fields
from oceanop.grid import Grid
from oceanop.layout import Layout, cf_attributes
from oceanop.normalise import Scaling

HOURS, ROWS, COLUMNS = 96, 10, 18
TRAIN = 72
FIRST = np.datetime64("2020-01-01T00", "ns")
HOUR = np.timedelta64(1, "h")
M2 = 2 * np.pi / 12.4206012  # rad per hour
SPLITS = {
    "train": ("2020-01-01T00", "2020-01-03T11"),
    "validation": ("2020-01-03T12", "2020-01-03T23"),
    "test": ("2020-01-04T00", "2020-01-04T23"),
}


def sea(hours: int = HOURS, seed: int = 0, *, projected: bool = False, shift: float = 0.0) -> xr.Dataset:
    """Hourly currents: mean, M2 with a phase that travels, and AR(1) weather of e-folding 10 h; a coast of land."""
    generator = np.random.default_rng(seed)
    t = np.arange(hours)[:, None, None]
    phase = np.linspace(0, 2, COLUMNS)[None, None, :] + np.linspace(0, 1, ROWS)[None, :, None]
    wet = np.ones((ROWS, COLUMNS), dtype=bool)
    wet[:2, :5] = False
    wet[5, 9] = False
    dims = ("y", "x") if projected else ("latitude", "longitude")
    fields = {}
    for i, name in enumerate(("uo", "vo", "u10", "v10")):
        noise = np.zeros((hours, ROWS, COLUMNS))
        for n in range(1, hours):
            noise[n] = np.exp(-0.1) * noise[n - 1] + 0.03 * generator.standard_normal((ROWS, COLUMNS))
        field = 0.1 * (i + 1) + 0.4 * np.cos(M2 * t - phase - i) + noise
        if name in ("uo", "vo"):
            field = np.where(wet, field, np.nan)
        fields[name] = (("time", *dims), field.astype(np.float32), cf_attributes(name))
    latitude = 55.0 + shift + 0.05 * np.arange(ROWS)
    longitude = 15.0 + 0.08 * np.arange(COLUMNS)
    north, east = (
        {"standard_name": "latitude", "units": "degrees_north"},
        {
            "standard_name": "longitude",
            "units": "degrees_east",
        },
    )
    ds = xr.Dataset(
        {
            **fields,
            "mask": (dims, wet.astype(np.int8), {"standard_name": "sea_binary_mask", "units": "1"}),
            "cell_area": (
                dims,
                np.broadcast_to(np.cos(np.deg2rad(latitude))[:, None] * 2.8e7, wet.shape).copy(),
                {"standard_name": "cell_area", "units": "m2"},
            ),
        },
        coords={"time": ("time", FIRST + np.arange(hours) * HOUR, {"standard_name": "time", "axis": "T"})},
    )
    if projected:
        a, b = np.meshgrid(latitude, longitude, indexing="ij")
        ds = ds.assign_coords(
            latitude=(dims, a, north),
            longitude=(dims, b, east),
            y=("y", 800.0 * np.arange(ROWS), {"standard_name": "projection_y_coordinate", "units": "m"}),
            x=("x", 800.0 * np.arange(COLUMNS), {"standard_name": "projection_x_coordinate", "units": "m"}),
            stere=((), 0, {"grid_mapping_name": "polar_stereographic"}),
        )
        for name in fields:
            ds[name].attrs["grid_mapping"] = "stere"
    else:
        ds = ds.assign_coords(
            latitude=("latitude", latitude, north), longitude=("longitude", longitude, east)
        )
    ds.attrs["splits"] = (
        '{"train": ["2020-01-01T00", "2020-01-03T11"], "validation": ["2020-01-03T12", "2020-01-03T23"]}'
    )
    return ds


def operator(ds: xr.Dataset, *, seed: int = 0, forcing: list[str] | None = None) -> Checkpoint:
    """An untrained FNOtD for the data set: what it forecasts is poor, but it obeys every law."""
    run = parse_run(
        {
            "model": {
                "name": "FNOtD",
                "history": 4,
                "horizon": 3,
                "modes": [3, 3, 3],
                "width": 4,
                "layers": 1,
            },
            "training": {"seed": seed},
        }
    )
    grid = Grid.from_dataset(ds)
    layout = Layout.from_dataset(ds, forcing=forcing)
    torch.manual_seed(seed)
    step = build_step(
        run,
        layout,
        static=static_fields(grid),
        wet=layout.wet(ds),
        state=Scaling(torch.zeros(2), torch.full((2,), 0.3)),
        forcing=Scaling(torch.zeros(len(layout.forcing)), torch.full((len(layout.forcing),), 0.3)),
    )
    return Checkpoint(
        run,
        layout,
        grid.fingerprint,
        grid.shape,
        np.timedelta64(3600, "s"),
        0,
        step.state_dict(),
        {},
        sha256=f"5a{seed or ''}",
    )


def oceanop(*words: object) -> int:
    """Run the command in this process with the given words; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["oceanop", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as stopped:
            main()
    code = stopped.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture(scope="session")
def ocean() -> xr.Dataset:
    return sea()


@pytest.fixture(scope="session")
def checkpoint(ocean: xr.Dataset) -> Checkpoint:
    return operator(ocean)


@pytest.fixture(scope="session")
def store(ocean: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_store(ocean, tmp_path_factory.mktemp("sea") / "sea.zarr", splits=SPLITS)
