"""The three journeys by the command: NetCDF in, training, forecast maps and scores out."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from forecasting import evaluate
from oceanop.checkpoint import load_checkpoint
from oceanop.cli.demo import SHARE, run_demo
from tests.acceptance.conftest import QUICK, Command


def test_the_store_opens_in_plain_xarray(store: Path) -> None:
    ds = xr.open_zarr(store)
    assert ds.sizes["time"] == 67
    assert ds["uo"].attrs["standard_name"] == "eastward_sea_water_velocity"
    assert ds["u10"].attrs["units"] == "m s-1"
    assert ds.attrs["complete"] is True


def test_the_forecast_opens_in_plain_xarray_with_cf_times(forecast_file: Path, store: Path) -> None:
    with xr.open_dataset(forecast_file, decode_timedelta=True) as ds:
        assert ds["uo"].dims == ("init_time", "lead_time", "y", "x")
        assert ds["init_time"].values[0] == np.datetime64("2015-11-17T21")
        assert ds["lead_time"].values[-1] == np.timedelta64(21, "h")
        assert ds["valid_time"].values[0, -1] == np.datetime64("2015-11-18T18")
        assert ds["init_time"].attrs["standard_name"] == "forecast_reference_time"
        assert ds["lead_time"].attrs["standard_name"] == "forecast_period"
        assert ds["valid_time"].attrs["standard_name"] == "time"
        assert ds.attrs["model"] == "FNOtD"
        wet = xr.open_zarr(store)["mask"].to_numpy() > 0.5
        assert np.isfinite(ds["uo"].to_numpy()[..., wet]).all()
        assert np.isnan(ds["uo"].to_numpy()[..., ~wet]).all()


def test_a_forecast_needs_no_truth_after_its_start(
    command: Command, store: Path, checkpoints: dict[str, Path], forecast_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(store, tmp_path / "blind.zarr")
    group = zarr.open_group(tmp_path / "blind.zarr", mode="r+")
    for name in ("uo", "vo"):
        group[name][46:] = np.nan
    words = ("--data", tmp_path / "blind.zarr", "--start", "2015-11-17T21", "--leads", 21)
    assert command("forecast", checkpoints["norkyst-fnotd"], *words, "--to", tmp_path / "blind.nc") == 0
    with xr.open_dataset(tmp_path / "blind.nc") as blind, xr.open_dataset(forecast_file) as seeing:
        np.testing.assert_array_equal(blind["uo"], seeing["uo"])


def test_zarr_and_netcdf_hold_the_same_forecast(
    command: Command, store: Path, checkpoints: dict[str, Path], forecast_file: Path, tmp_path: Path
) -> None:
    words = ("--data", store, "--start", "2015-11-17T21", "--leads", 21, "--to", tmp_path / "f.zarr")
    assert command("forecast", checkpoints["norkyst-fnotd"], *words) == 0
    with xr.open_dataset(forecast_file) as netcdf:
        np.testing.assert_array_equal(xr.open_zarr(tmp_path / "f.zarr")["vo"], netcdf["vo"])


def test_evaluate_writes_scores_maps_and_one_page(
    command: Command, store: Path, forecast_file: Path, tmp_path: Path
) -> None:
    assert command("evaluate", forecast_file, "--truth", store, "--to", tmp_path) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "FNOtD" in page
    assert list((tmp_path / "maps").glob("*.png"))
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "forecaster",
        "variable",
        "metric",
        "band",
        "lead_hours",
        "value",
        "low",
        "high",
        "count",
    ]
    pooled = [
        r for r in rows if r["variable"] == "uo+vo" and r["metric"] == "rmse" and r["lead_hours"] == "all"
    ]
    assert {"FNOtD", "persistence", "damped-persistence", "climatology", "tides"} <= {
        r["forecaster"] for r in pooled
    }
    # The score of the page's headline, by plain arithmetic on the two files
    truth = xr.open_zarr(store).sel(time=slice("2015-11-17T22", "2015-11-18T18")).load()
    area = truth["cell_area"].where(truth["mask"] > 0.5)
    with xr.open_dataset(forecast_file) as ds:
        error = [(ds[name].to_numpy()[0] - truth[name].to_numpy()) ** 2 for name in ("uo", "vo")]
    expected = np.sqrt(np.nansum(error * area.to_numpy()) / (2 * 21 * float(area.sum())))
    ours = next(float(r["value"]) for r in pooled if r["forecaster"] == "FNOtD")
    assert ours == pytest.approx(expected, rel=1e-5)


def test_a_map_is_drawn(command: Command, forecast_file: Path, tmp_path: Path) -> None:
    words = ("--variable", "speed", "--lead", 6, "--to", tmp_path / "speed.png")
    assert command("map", forecast_file, *words) == 0
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_tells_files_stores_checkpoints_and_forecasts_apart(
    command: Command,
    store: Path,
    checkpoints: dict[str, Path],
    forecast_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kinds = []
    for path in (store, checkpoints["norkyst-fnotd"], forecast_file):
        capsys.readouterr()
        assert command("inspect", path, "--json") == 0
        kinds.append(json.loads(capsys.readouterr().out)["kind"])
    assert kinds == ["store", "checkpoint", "forecast"]
    assert command("inspect", store) == 0
    assert "uo" in capsys.readouterr().out


def test_the_same_command_gives_the_same_weights(
    command: Command, store: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    assert command("train", "norkyst-fno", "--data", store, "--to", tmp_path / "again", *QUICK) == 0
    ours = load_checkpoint(checkpoints["norkyst-fno"]).weights
    theirs = load_checkpoint(tmp_path / "again" / "checkpoints" / "best").weights
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="session")
def held_out(command: Command, store: Path, folder: Path) -> Path:
    """A folder of runs that have not learned from the validation hours."""
    runs = folder / "held-out"
    for preset in ("norkyst-fnotd", "norkyst-fno-one-step"):
        for seed in (0, 1):
            words = ("--set", "data.fit=['train']", "--set", f"training.seed={seed}")
            to = runs / f"{preset.rsplit('-', 1)[-1]}-{seed}"
            assert command("train", preset, "--data", store, "--to", to, *QUICK, *words) == 0
    return runs


def test_checkpoints_are_combined_and_forecast_together(
    command: Command, store: Path, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = sorted(held_out.glob("fnotd-*/checkpoints/best"))
    words = ("--short", held_out / "step-*" / "checkpoints" / "best", "--data", store, "--leads", 5)
    assert command("combine", *long, *words, "--to", tmp_path / "both.toml") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "both.toml")
    assert command("inspect", tmp_path / "both.toml", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["model"]) == ("forecaster", "FNO-into-FNOtD-ensemble")
    assert (len(told["long"]), len(told["short"]), len(told["share"])) == (2, 2, 5)
    assert told["share_fitted_on"] == ["2015-11-17T05:00:00", "2015-11-17T21:00:00"]
    run = ("--data", store, "--start", "2015-11-17T21", "--leads", 3, "--to", tmp_path / "f.nc")
    assert command("forecast", tmp_path / "both.toml", *run) == 0
    with xr.open_dataset(tmp_path / "f.nc") as ds:
        assert ds.attrs["model"] == "FNO-into-FNOtD-ensemble"
        assert len(json.loads(ds.attrs["members"])) == 4


def test_a_mean_alone_needs_no_store(
    command: Command, held_out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As a shell leaves a pattern that it was given in quotes
    assert (
        command("combine", held_out / "fnotd-*" / "checkpoints" / "best", "--to", tmp_path / "mean.toml") == 0
    )
    assert command("inspect", tmp_path / "mean.toml") == 0
    assert "model: FNOtD-ensemble" in capsys.readouterr().out


# As small as the operators get: what is tried is the way through all verbs, and that it is gone on.
TINY = ("training.steps=2", "training.threads=1", "model.width=4", "model.layers=1")


def test_a_stopped_demonstration_goes_on_and_scores_every_forecaster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oceanop.cli.demo.evaluate", stop)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, members=2, changes=TINY, quiet=True)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("norkyst*/**/best")}
    assert len(made) == 2 + 4
    # Maps and page take longer than all the rest, and are tried elsewhere
    monkeypatch.setattr("oceanop.cli.demo.evaluate", partial(evaluate, report=False))
    page = run_demo(tmp_path, members=2, changes=TINY, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert capsys.readouterr().out.strip().splitlines()[-1] == f"report: {page.resolve()}"
    with (tmp_path / "report" / "scores.csv").open() as file:
        scored = {row["forecaster"] for row in csv.DictReader(file)}
    assert {"FNO", "FNOtD", "FNO-into-FNOtD-ensemble", "persistence", "damped-tides"} <= scored
    with xr.open_dataset(tmp_path / "norkyst-ensemble.zarr", engine="zarr") as ds:
        assert json.loads(ds.attrs["share"]) == list(SHARE)
        assert (ds.attrs["refinement"], len(json.loads(ds.attrs["members"]))) == (2, 4)
        # Nothing has learned from an hour that is scored
        assert ds.attrs["fitted_to"] < str(ds["valid_time"].values.min())


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--quick",)])
def test_the_demonstration_ends_with_its_report(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert command("demo", "--to", tmp_path / "demo", *words) == 0
    page = capsys.readouterr().out.strip().splitlines()[-1].removeprefix("report: ")
    assert Path(page).is_file()
    assert (tmp_path / "demo" / "norkyst-ensemble.toml").exists() == (not words)
