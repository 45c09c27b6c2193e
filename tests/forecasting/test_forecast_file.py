"""A forecast file says what it is, opens everywhere, and survives an interruption."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import save_store
from forecasting import forecast, open_forecast
from oceanop import __version__
from oceanop.checkpoint import Checkpoint, save_checkpoint
from tests.forecasting.conftest import SPLITS, operator, sea

START = "2020-01-04T08"
SERIES = "2020-01-04T00/2020-01-04T06/3h"


class _StopError(Exception):
    pass


def same_values(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(a[name].to_numpy().tobytes() == b[name].to_numpy().tobytes() for name in ("uo", "vo"))


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
@pytest.mark.parametrize("projected", [False, True])
def test_a_forecast_opens_in_plain_xarray_with_everything_in_it(
    tmp_path: Path, suffix: str, projected: bool
) -> None:
    ocean = sea(projected=projected)
    checkpoint = operator(ocean, seed=3)
    held = forecast(checkpoint, ocean, start=SERIES, leads=5)
    path = tmp_path / f"f{suffix}"
    forecast(checkpoint, ocean, start=SERIES, leads=5, to=path)
    ds = opened(path)
    plane = ("y", "x") if projected else ("latitude", "longitude")
    assert ds["uo"].dims == ("init_time", "lead_time", *plane)
    assert ds["uo"].dtype == np.float32
    assert same_values(ds, held)
    assert ds["lead_time"].dtype.kind == "m"
    assert (ds["lead_time"].values / np.timedelta64(1, "h")).tolist() == [1, 2, 3, 4, 5]
    assert (ds["valid_time"].values == ds["init_time"].values[:, None] + ds["lead_time"].values).all()
    assert ds["init_time"].values[1] == np.datetime64("2020-01-04T03")
    for name, standard_name in (
        ("init_time", "forecast_reference_time"),
        ("lead_time", "forecast_period"),
        ("valid_time", "time"),
        ("uo", "eastward_sea_water_velocity"),
        ("mask", "sea_binary_mask"),
        ("cell_area", "cell_area"),
        ("latitude", "latitude"),
    ):
        assert ds[name].attrs["standard_name"] == standard_name
    wet = ds["mask"].to_numpy() > 0
    assert (np.isfinite(ds["uo"].to_numpy()) == wet).all()
    if projected:
        assert "stere" in ds.variables
        assert ds["uo"].encoding.get("grid_mapping", ds["uo"].attrs.get("grid_mapping")) == "stere"
        assert ds["latitude"].dims == plane
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert ds.attrs["model"] == "FNOtD"
    assert ds.attrs["checkpoint_sha256"] == "5a"
    assert ds.attrs["oceanop_version"] == __version__
    assert ds.attrs["forcing"].startswith("u10 v10")
    assert json.loads(ds.attrs["run"])["training"]["seed"] == 3
    assert "title" in ds.attrs
    assert "history" in ds.attrs
    ds.close()


def test_paths_of_a_store_and_a_checkpoint_do_as_well(
    store: Path, checkpoint: Checkpoint, ocean: xr.Dataset, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best", checkpoint)
    ds = forecast(tmp_path / "best", store, start=START, leads=4)
    assert ds.attrs["input_store"] == str(store)
    assert len(ds.attrs["checkpoint_sha256"]) == 64
    assert same_values(ds, forecast(checkpoint, ocean, start=START, leads=4))


@pytest.mark.parametrize("stopped_at", [1, 4, 5, 8])
def test_an_interrupted_forecast_goes_on_to_the_same_bytes(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path, stopped_at: int
) -> None:
    calls: list[int] = []

    def stop(words: str, done: int, total: int) -> None:
        if done == stopped_at:
            raise _StopError

    path = tmp_path / "f.zarr"
    with pytest.raises(_StopError):
        forecast(checkpoint, ocean, start=SERIES, leads=5, to=path, progress=stop)
    assert xr.open_zarr(path, consolidated=False).attrs["complete"] is False
    with pytest.raises(ValueError, match=r"f.zarr is not complete.* Run the same 'oceanop forecast' again"):
        open_forecast(path)
    resumed = forecast(
        checkpoint,
        ocean,
        start=SERIES,
        leads=5,
        to=path,
        progress=lambda words, done, total: calls.append(done),
    )
    assert same_values(resumed, forecast(checkpoint, ocean, start=SERIES, leads=5))
    # Whole starts are not run again
    assert calls == list(range(stopped_at // 5 * 5 + 1, 16))
    assert xr.open_zarr(path).attrs["complete"] is True


def test_a_complete_forecast_is_not_run_again(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "f.zarr"
    first = forecast(checkpoint, ocean, start=START, leads=2, to=path)
    calls: list[int] = []
    again = forecast(
        checkpoint,
        ocean,
        start=START,
        leads=2,
        to=path,
        progress=lambda words, done, total: calls.append(done),
    )
    assert not calls
    assert same_values(first, again)


@pytest.mark.parametrize(
    ("start", "leads", "seed", "words"),
    [
        (START, 3, 0, "holds a forecast of another lead_time; give another path"),
        ("2020-01-04T09", 2, 0, "holds a forecast of another init_time; give another path"),
        (START, 2, 1, r"holds another forecast \(its attribute 'run' differs\); give another path"),
    ],
)
def test_another_forecast_is_never_overwritten(
    ocean: xr.Dataset, tmp_path: Path, start: str, leads: int, seed: int, words: str
) -> None:
    path = tmp_path / "f.zarr"
    forecast(operator(ocean), ocean, start=START, leads=2, to=path)
    with pytest.raises(ValueError, match=words):
        forecast(operator(ocean, seed=seed), ocean, start=start, leads=leads, to=path)


def test_what_is_no_forecast_is_never_overwritten(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "f.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("all my work")
    with pytest.raises(
        ValueError, match=r"f.zarr exists and is no forecast; give another path, or delete it"
    ):
        forecast(checkpoint, ocean, start=START, leads=2, to=path)
    assert (path / "thesis.txt").exists()


def test_a_failed_netcdf_leaves_nothing(ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path) -> None:
    def stop(words: str, done: int, total: int) -> None:
        raise _StopError

    with pytest.raises(_StopError):
        forecast(checkpoint, ocean, start=START, leads=2, to=tmp_path / "f.nc", progress=stop)
    assert not list(tmp_path.iterdir())


def test_no_state_after_the_start_is_needed(ocean: xr.Dataset, checkpoint: Checkpoint) -> None:
    blind = ocean.copy(deep=True)
    for name in ("uo", "vo"):
        blind[name][81:] = np.nan
    seeing = forecast(checkpoint, ocean, start=START, leads=6)
    assert same_values(forecast(checkpoint, blind, start=START, leads=6), seeing)
    latest = forecast(checkpoint, blind, start="latest", leads=6)
    assert latest["init_time"].values[0] == np.datetime64("2020-01-04T08")


def test_latest_starts_where_the_forcing_reaches_the_last_lead(
    ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    ds = forecast(checkpoint, ocean, start="latest", leads=6)
    assert ds["valid_time"].values[0, -1] == ocean["time"].values[-1]


def test_without_forcing_a_forecast_goes_past_the_store(ocean: xr.Dataset) -> None:
    ds = forecast(operator(ocean, forcing=[]), ocean, start="latest", leads=30)
    assert ds["init_time"].values[0] == ocean["time"].values[-1]
    assert np.isfinite(ds["uo"].values[0, -1]).any()
    assert ds.attrs["forcing"] == "none"


@pytest.mark.parametrize(
    ("start", "leads", "words"),
    [
        (
            "2021-01-01",
            3,
            r"start 2021-01-01T00:00:00 lies outside the store, which runs from 2020-01-01T00:00:00 to",
        ),
        (
            "2020-01-04T08:20",
            3,
            r"start 2020-01-04T08:20:00 is not a time step .* nearest one is 2020-01-04T08:00:00",
        ),
        (
            "2020-01-01T02",
            3,
            r"needs 4 states up to the start .*store begins at 2020-01-01T00:00:00.*leaves 3",
        ),
        (
            "2020-01-04T20",
            8,
            r"forcing u10, v10 ends without a gap at 2020-01-04T23:00:00, 3 of 8 leads .*at most 3",
        ),
        ("2020-01-04T00/2020-01-04T06", 3, r"has 2 parts; write FIRST/LAST/STEP"),
        ("2020-01-04T00/2020-01-04T06/3x", 3, r"'3x' is no time step; write it as 3h"),
        ("2020-01-04T06/2020-01-04T00/3h", 3, r"ends before it begins"),
        ("yesterday", 3, r"'yesterday' is not a date"),
        (START, 0, r"0 leads were asked for; a forecast has at least 1"),
    ],
)
def test_a_wrong_start_is_answered_in_a_sentence(
    ocean: xr.Dataset, checkpoint: Checkpoint, start: str, leads: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        forecast(checkpoint, ocean, start=start, leads=leads)


def test_a_gap_before_the_start_or_within_the_leads_is_named(
    ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    holed = ocean.isel(time=np.r_[0:80, 83:96])
    with pytest.raises(ValueError, match=r"needs 4 states .* a gap before 2020-01-04T11:00:00 .* leaves 2"):
        forecast(checkpoint, holed, start="2020-01-04T12", leads=2)
    with pytest.raises(ValueError, match=r"ends without a gap at 2020-01-04T07:00:00, 2 of 4 leads"):
        forecast(checkpoint, holed, start="2020-01-04T05", leads=4)


@pytest.mark.parametrize("name", ["uo", "u10"])
def test_missing_values_are_named(ocean: xr.Dataset, checkpoint: Checkpoint, name: str) -> None:
    holed = ocean.copy(deep=True)
    holed[name][79] = np.nan
    with pytest.raises(
        ValueError, match=f"'{name}' is missing at 2020-01-04T07:00:00, which the forecast needs"
    ):
        forecast(checkpoint, holed, start=START, leads=2)


def test_another_grid_step_or_set_of_variables_is_refused(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"another grid: 10 x 18 cells .* store has 10 x 18 cells of \d+ x \d+ m"
    ):
        forecast(checkpoint, sea(shift=1.0), start=START, leads=2)
    with pytest.raises(ValueError, match=r"another grid: 10 x 18 cells .* store has 5 x 18 cells"):
        forecast(checkpoint, ocean.isel(latitude=slice(5)), start=START, leads=2)
    with pytest.raises(ValueError, match=r"time step of 3 h, the checkpoint FNOtD one of 1 h"):
        forecast(checkpoint, ocean.isel(time=slice(None, None, 3)), start="2020-01-04T09", leads=2)
    with pytest.raises(ValueError, match=r"needs the forcing v10, which the store does not hold"):
        forecast(checkpoint, ocean.drop_vars("v10"), start=START, leads=2)
    with pytest.raises(ValueError, match=r"f.grib: a forecast is written as .zarr or .nc, not '.grib'"):
        forecast(checkpoint, ocean, start=START, leads=2, to=tmp_path / "f.grib")


def test_what_is_no_forecast_is_not_opened_as_one(ocean: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing.nc does not exist"):
        open_forecast(tmp_path / "nothing.nc")
    (tmp_path / "text.nc").write_text("no data")
    with pytest.raises(ValueError, match=r"text.nc cannot be read as a forecast"):
        open_forecast(tmp_path / "text.nc")
    path = save_store(ocean, tmp_path / "sea.zarr", splits=SPLITS)
    with pytest.raises(ValueError, match="a forecast has init_time and lead_time"):
        open_forecast(path)
