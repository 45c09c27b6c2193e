"""A forecast from the last state there is, with weather from files of its own."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import save_store
from forecasting import forecast, open_forecast
from oceanop.checkpoint import Checkpoint, save_checkpoint
from tests.forecasting.conftest import SPLITS, oceanop, operator, sea

LEADS = 6


@pytest.fixture
def ended(ocean: xr.Dataset, tmp_path: Path) -> tuple[Path, Path]:
    """A store that ends with hour 80, ocean and wind, and the wind of hours 75 to 95 in a file."""
    splits = {"train": SPLITS["train"], "validation": SPLITS["validation"]}
    store = save_store(ocean.isel(time=slice(0, 81)), tmp_path / "now.zarr", splits=splits)
    wind = ocean[["u10", "v10"]].isel(time=slice(75, 96)).drop_attrs(deep=False)
    wind.to_netcdf(tmp_path / "wind.nc")
    return store, tmp_path / "wind.nc"


def test_latest_is_the_last_state_and_gives_what_a_store_with_that_weather_gives(
    ocean: xr.Dataset, checkpoint: Checkpoint, ended: tuple[Path, Path], tmp_path: Path
) -> None:
    store, wind = ended
    save_checkpoint(tmp_path / "best", checkpoint)
    words = ("--data", store, "--start", "latest", "--leads", LEADS, "--forcing", wind, "--quiet")
    assert oceanop("forecast", tmp_path / "best", *words, "--to", tmp_path / "f.nc") == 0
    made = open_forecast(tmp_path / "f.nc")
    whole = forecast(checkpoint, ocean, start="2020-01-04T08", leads=LEADS)
    assert made["init_time"].values[0] == ocean["time"].values[80]
    for name in ("uo", "vo"):
        # The wind passes through a regridding onto the same cells, whose weights are 1 to float32
        np.testing.assert_allclose(made[name], whole[name], rtol=0, atol=2e-6)
    assert made.attrs["forcing"] == "u10 v10 of the input store, and of wind.nc after 2020-01-04T08:00:00"
    calm = ocean[["u10", "v10"]].isel(time=slice(75, 96)).copy(deep=True)
    calm["u10"][:] = 0.0
    calm.drop_attrs(deep=False).to_netcdf(tmp_path / "calm.nc")
    words = {"start": "latest", "leads": LEADS, "to": tmp_path / "f.nc"}
    with pytest.raises(ValueError, match="'input_store_id' differs"):
        forecast(tmp_path / "best", store, forcing=tmp_path / "calm.nc", **words)


def test_weather_that_ends_too_early_or_is_of_no_use_is_refused(
    checkpoint: Checkpoint, ended: tuple[Path, Path]
) -> None:
    store, wind = ended
    with pytest.raises(
        ValueError,
        match=r"T23:00:00, the forecast from the store's last state needs 2020-01-04T08:00:00 to .* fewer leads",
    ):
        forecast(checkpoint, store, start="latest", leads=40, forcing=wind)
    with pytest.raises(ValueError, match="the checkpoint needs none; leave --forcing out"):
        forecast(operator(sea(), forcing=[]), store, start="latest", leads=2, forcing=wind)
