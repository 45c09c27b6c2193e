"""Forecast files break no rule of the CF conventions by the word of their checker."""

from pathlib import Path

import xarray as xr

from forecasting import forecast, to_netcdf
from oceanop.checkpoint import Checkpoint
from tests.conventions import breaches


def test_a_forecast_and_its_files_by_start(ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path) -> None:
    ds = forecast(checkpoint, ocean, start="2020-01-04T00/2020-01-04T03/3h", leads=4, to=tmp_path / "f.nc")
    assert breaches(tmp_path / "f.nc") == []
    for path in to_netcdf(ds, tmp_path / "starts"):
        assert breaches(path) == []
