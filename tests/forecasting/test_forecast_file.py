"""A forecast file says what it is, opens everywhere, and survives an interruption."""

import dataclasses
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_pipelines import save_store
from forecasting import evaluate, forecast, open_forecast
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
    assert ds.attrs["checkpoint_sha256"] == "5a3"
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
    assert ds.attrs["input_store"] == "sea.zarr"
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
        (
            START,
            2,
            1,
            r"holds another forecast \(its attribute 'checkpoint_sha256' differs\); give another path",
        ),
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


@pytest.mark.parametrize("stopped_at", [1, 5, 8])
def test_an_interrupted_netcdf_goes_on_from_the_zarr_beside_it(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path, stopped_at: int
) -> None:
    calls: list[int] = []

    def stop(words: str, done: int, total: int) -> None:
        if done == stopped_at:
            raise _StopError

    path = tmp_path / "f.nc"
    with pytest.raises(_StopError):
        forecast(checkpoint, ocean, start=SERIES, leads=5, to=path, progress=stop)
    assert [left.name for left in tmp_path.iterdir()] == ["f.nc.partial.zarr"]
    resumed = forecast(
        checkpoint,
        ocean,
        start=SERIES,
        leads=5,
        to=path,
        progress=lambda words, done, total: calls.append(done),
    )
    assert same_values(resumed, forecast(checkpoint, ocean, start=SERIES, leads=5))
    assert calls == list(range(stopped_at // 5 * 5 + 1, 16))
    assert [left.name for left in tmp_path.iterdir()] == ["f.nc"]
    assert resumed.attrs["forecast_seconds"] > 0
    # The file is whole: the same call leaves it as it is
    before = path.stat().st_mtime_ns
    forecast(checkpoint, ocean, start=SERIES, leads=5, to=path, progress=stop)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_a_forecast_that_cannot_begin_leaves_nothing(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path, suffix: str
) -> None:
    holed = ocean.copy(deep=True)
    holed["uo"][79] = np.nan
    with pytest.raises(ValueError, match="'uo' is missing"):
        forecast(checkpoint, holed, start=START, leads=2, to=tmp_path / f"f{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_a_store_whose_content_changed_makes_another_forecast(
    checkpoint: Checkpoint, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"f{suffix}"
    first = save_store(sea(), tmp_path / "a" / "sea.zarr", splits=SPLITS, attributes={"created": "monday"})
    forecast(checkpoint, first, start=START, leads=2, to=path)
    again = save_store(
        sea(seed=1), tmp_path / "b" / "sea.zarr", splits=SPLITS, attributes={"created": "tuesday"}
    )
    with pytest.raises(ValueError, match=r"another forecast \(its attribute 'input_store_id' differs\)"):
        forecast(checkpoint, again, start=START, leads=2, to=path)


def test_a_data_set_that_does_not_say_when_it_was_made_is_known_by_what_it_holds(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "f.zarr"
    forecast(checkpoint, sea(), start=START, leads=2, to=path)
    forecast(checkpoint, sea(), start=START, leads=2, to=path)
    with pytest.raises(ValueError, match="'input_store_id' differs"):
        forecast(checkpoint, sea(seed=1), start=START, leads=2, to=path)


def test_a_relative_path_is_the_same_store_and_no_folder_is_told(
    store: Path, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.zarr"
    forecast(checkpoint, store, start=START, leads=2, to=path)
    monkeypatch.chdir(store)
    ds = forecast(checkpoint, "../sea.zarr", start=START, leads=2, to=path)
    forecast(checkpoint, ".", start=START, leads=2, to=path)
    assert str(store.parent) not in json.dumps({name: str(value) for name, value in ds.attrs.items()})


def test_a_netcdf_of_anything_else_is_never_overwritten(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "f.nc"
    path.write_text("all my work")
    with pytest.raises(ValueError, match=r"f.nc exists and is no forecast; give another path, or delete it"):
        forecast(checkpoint, ocean, start=START, leads=2, to=path)
    assert path.read_text() == "all my work"
    ocean[["uo"]].to_netcdf(tmp_path / "data.nc")
    with pytest.raises(ValueError, match=r"data.nc exists and is no forecast"):
        forecast(checkpoint, ocean, start=START, leads=2, to=tmp_path / "data.nc")
    path.unlink()
    forecast(checkpoint, ocean, start=START, leads=2, to=path)
    with pytest.raises(ValueError, match="holds a forecast of another lead_time"):
        forecast(checkpoint, ocean, start=START, leads=3, to=path)
    with pytest.raises(ValueError, match=r"its attribute 'checkpoint_sha256' differs"):
        forecast(operator(ocean, seed=1), ocean, start=START, leads=2, to=path)


def test_the_licence_and_the_cell_methods_of_the_store_are_kept(checkpoint: Checkpoint) -> None:
    ocean = sea().assign_attrs(license="CC BY 4.0")
    ocean["uo"].attrs["cell_methods"] = "area: mean where sea time: point"
    ds = forecast(checkpoint, ocean, start=START, leads=2)
    assert ds.attrs["license"] == "CC BY 4.0"
    assert ds["uo"].attrs["cell_methods"] == "area: mean where sea time: point"
    assert ds["vo"].attrs["cell_methods"] == "time: point"


def test_the_file_tells_which_times_were_fitted(ocean: xr.Dataset, checkpoint: Checkpoint) -> None:
    assert "fitted_from" not in forecast(checkpoint, ocean, start=START, leads=1).attrs
    splits = json.dumps({name: list(ends) for name, ends in SPLITS.items()})
    provenance = {"fit": ["validation", "train"], "store_attributes": {"splits": splits}}
    told = dataclasses.replace(checkpoint, provenance=provenance)
    ds = forecast(told, ocean, start=START, leads=1)
    assert ds.attrs["fitted_from"] == SPLITS["train"][0]
    assert ds.attrs["fitted_to"] == SPLITS["validation"][1]


@pytest.mark.parametrize(
    "start",
    [
        datetime(2020, 1, 4, 8),
        datetime(2020, 1, 4, 9, tzinfo=timezone(timedelta(hours=1))),
        pd.Timestamp("2020-01-04T08"),
        np.datetime64("2020-01-04T08"),
        [START],
        np.array(["2020-01-04T08"], dtype="datetime64[ns]"),
        pd.DatetimeIndex(["2020-01-04T08"]),
        xr.DataArray(np.datetime64("2020-01-04T08", "ns")),
    ],
)
def test_every_kind_of_time_is_a_start(ocean: xr.Dataset, checkpoint: Checkpoint, start: Any) -> None:
    ds = forecast(checkpoint, ocean, start=start, leads=1)
    assert ds["init_time"].values.tolist() == [np.datetime64("2020-01-04T08", "ns").astype(int)]


def test_a_list_of_starts_is_put_in_order(ocean: xr.Dataset, checkpoint: Checkpoint) -> None:
    starts = ["2020-01-04T09", pd.Timestamp("2020-01-04T07"), datetime(2020, 1, 4, 9)]
    ds = forecast(checkpoint, ocean, start=starts, leads=1)
    assert (ds["init_time"].values == np.array(["2020-01-04T07", "2020-01-04T09"], "datetime64[ns]")).all()
    with pytest.raises(ValueError, match="no start was given"):
        forecast(checkpoint, ocean, start=[], leads=1)
    with pytest.raises(ValueError, match="start 8 is a int and no time; give text"):
        forecast(checkpoint, ocean, start=8, leads=1)


def test_months_are_forecast_for_months(tmp_path: Path) -> None:
    months = (np.datetime64("2002-01") + np.arange(96)).astype("datetime64[ns]")
    ocean = sea().assign_coords(time=months)
    splits = {"train": ("2002-01", "2007-12"), "test": ("2008-01", "2009-12")}
    ocean.attrs["splits"] = json.dumps(splits)
    checkpoint = dataclasses.replace(operator(ocean, forcing=[]), time_step=np.timedelta64(31, "D"))
    path = tmp_path / "f.nc"
    ds = forecast(checkpoint, ocean, start="2008-01-01/2008-01-01/1d", leads=30, to=path)
    expected = (np.datetime64("2008-02") + np.arange(30)).astype("datetime64[ns]")
    np.testing.assert_array_equal(ds["valid_time"].values[0], expected)
    assert ds["lead_time"].attrs["comment"] == "nominal; valid_time holds the dates"
    scores = evaluate(path, ocean, baselines=["persistence", "climatology"])
    assert scores.sizes["lead_hours"] == 24  # 23 months have a truth, and all of them together
    assert scores.attrs["left_out"] == "7 of 30 leads, for which the truth holds no state"
    error = ds["uo"].values[0, 22] - ocean["uo"].sel(time="2009-12-01").values
    area = (ocean["cell_area"] * ocean["mask"]).values
    at = {"variable": "uo", "metric": "rmse", "band": "all", "forecaster": "FNOtD"}
    plain = np.sqrt(np.nansum(error**2 * area) / area.sum())
    assert scores["value"].sel(at).values[22] == pytest.approx(plain, rel=1e-5)


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
