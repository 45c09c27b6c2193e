"""Members of an ensemble: forecasts of their own, perturbed starts that obey what the sea obeys, no trace of a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from forecasting import (
    Combination,
    forecast,
    open_forecast,
    to_netcdf,
    to_oceanbench,
    to_weatherbench,
    truth_of,
)
from forecasting.forecaster import Initial
from forecasting.perturbation import DRAWS, Perturbation
from forecasting.product import BOOKKEEPING
from forecasting.windows import read_initial
from oceanop.checkpoint import Checkpoint, save_checkpoint
from oceanop.layout import Layout
from tests.forecasting.conftest import oceanop, operator, sea

START = "2020-01-04T08"
STEP = 80
LEADS = 4


class _StopError(Exception):
    pass


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    return all(a[name].to_numpy().tobytes() == b[name].to_numpy().tobytes() for name in ("uo", "vo"))


@pytest.fixture(scope="module")
def others(ocean: xr.Dataset) -> list[Checkpoint]:
    return [operator(ocean, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def perturbation(ocean: xr.Dataset) -> Perturbation:
    return Perturbation(ocean, Layout.from_dataset(ocean), amplitude=0.5, seed=3)


@pytest.fixture(scope="module")
def initial(ocean: xr.Dataset) -> Initial:
    return read_initial(ocean, Layout.from_dataset(ocean), STEP, 4)


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_every_checkpoint_is_a_member_with_its_own_forecast(
    ocean: xr.Dataset, others: list[Checkpoint], tmp_path: Path, suffix: str
) -> None:
    together = Combination(tuple(others))  # stays one forecast
    given = [*others, together]
    forecast(given, ocean, start=START, leads=LEADS, members=3, to=tmp_path / f"e{suffix}")
    ds = open_forecast(tmp_path / f"e{suffix}")
    assert ds["uo"].dims == ("init_time", "lead_time", "member", "latitude", "longitude")
    assert ds["member"].attrs["standard_name"] == "realization"
    assert ds["member"].values.tolist() == [0, 1, 2]
    for member, each in enumerate(given):
        alone = forecast(each, ocean, start=START, leads=LEADS)
        assert same(ds.isel(member=member), alone)
        assert (
            json.loads(ds.attrs["ensemble"])[member]["checkpoint_sha256"] == alone.attrs["checkpoint_sha256"]
        )
    assert ds.attrs["model"] == "FNOtD+FNOtD-ensemble-ensemble"


def test_members_take_turns_and_the_first_of_each_is_not_perturbed(
    ocean: xr.Dataset, others: list[Checkpoint]
) -> None:
    ds = forecast(others, ocean, start=START, leads=LEADS, members=5, seed=7)
    assert [each["perturbation"] for each in json.loads(ds.attrs["ensemble"])] == [0, 0, 1, 1, 2]
    known = [forecast(each, ocean, start=START, leads=LEADS) for each in others]
    assert [same(ds.isel(member=i), known[i % 2]) for i in range(5)] == [True, True, False, False, False]
    # The same members whatever else is run with them: one start or two, five members or three
    more = forecast(others, ocean, start=["2020-01-04T05", START], leads=LEADS, members=3, seed=7)
    assert same(more.isel(init_time=slice(1, 2), member=2), ds.isel(member=2))
    assert not same(forecast(others, ocean, start=START, leads=LEADS, members=3), ds.isel(member=slice(3)))
    assert "0.5 standard deviations" not in ds.attrs["perturbation"]
    assert "seed 7" in ds.attrs["perturbation"]


def test_a_perturbed_start_obeys_every_linear_law_of_the_states() -> None:
    """States with a mean of zero and vo twice uo, in a basin with a coast: so have perturbed ones."""
    ocean = sea()
    wet = ocean["mask"] > 0.5
    area = ocean["cell_area"].where(wet, 0.0)
    ocean["uo"] = (ocean["uo"] - ocean["uo"].weighted(area).mean(["latitude", "longitude"])).astype("f4")
    ocean["vo"] = 2 * ocean["uo"]
    layout = Layout.from_dataset(ocean)
    initial = read_initial(ocean, layout, STEP, 4)
    change = (
        Perturbation(ocean, layout, amplitude=2.0, seed=1)(initial, 1).history - initial.history
    ).double()
    land = ~layout.wet(ocean)[:, None].expand_as(change)
    assert not change[land].any()
    # Sums of a dozen float32 numbers of size one
    torch.testing.assert_close(change[1], 2 * change[0], rtol=0, atol=2e-6)
    mean = (change * torch.from_numpy(area.to_numpy())).sum((-2, -1)) / float(area.sum())
    assert mean.abs().max() < 1e-6
    assert change.abs().max() > 0.1


def test_perturbations_come_in_pairs_around_the_known_start(
    perturbation: Perturbation, initial: Initial
) -> None:
    plus, minus, next_ = (perturbation(initial, number).history for number in (1, 2, 3))
    torch.testing.assert_close((plus + minus) / 2, initial.history, rtol=0, atol=1e-6)  # float32
    assert not torch.equal(plus, next_)
    assert torch.equal(perturbation(initial, 1).history, plus)


def test_the_spread_of_starts_is_proportional_to_the_amplitude(ocean: xr.Dataset, initial: Initial) -> None:
    layout = Layout.from_dataset(ocean)
    changes = [
        Perturbation(ocean, layout, amplitude=size, seed=3)(initial, 1).history.double() - initial.history
        for size in (0.25, 0.5)
    ]
    assert float(changes[0].abs().max()) > 0
    # The sums are rounded to float32 beside states of up to 2 m/s
    torch.testing.assert_close(changes[1], 2 * changes[0], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_perturbations_have_the_covariance_of_one_step_changes(
    perturbation: Perturbation, initial: Initial, ocean: xr.Dataset
) -> None:
    layout = Layout.from_dataset(ocean)
    drawn = torch.stack([perturbation(initial, 2 * n + 1).history - initial.history for n in range(80)])
    fields = layout.pack(ocean.isel(time=slice(0, 60)))  # the training split
    steps = fields[:, 1:] - fields[:, :-1]
    # Of two points and both variables, at the last time of the history; one draw is a sum of DRAWS windows
    points = [(3, 8), (7, 14)]
    one, many = (
        torch.stack([part[..., row, column] for row, column in points for part in (each[0], each[1])])
        for each in (steps, drawn[:, :, -1].transpose(0, 1))
    )
    expected = one @ one.T / one.shape[1]
    found = many @ many.T / many.shape[1] / perturbation.amplitude**2
    # 80 Gaussian draws give a variance to sqrt(2 / 80) = 16 %, here of the largest: four such errors of ten numbers
    assert (found - expected).abs().max() < 0.64 * expected.diagonal().max()
    assert 0.7 < float(found.trace() / expected.trace()) < 1.3


def test_an_interrupted_ensemble_goes_on_with_the_member_that_was_stopped(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    stopped_at = 6  # in the second member of the first start
    calls: list[int] = []

    def stop(words: str, done: int, total: int) -> None:
        assert total == 24
        if done == stopped_at:
            raise _StopError

    request = {"start": [START, "2020-01-04T10"], "leads": LEADS, "members": 3, "to": tmp_path / "e.nc"}
    with pytest.raises(_StopError):
        forecast(checkpoint, ocean, **request, progress=stop)
    resumed = forecast(checkpoint, ocean, **request, progress=lambda words, done, total: calls.append(done))
    assert calls == list(range(stopped_at // LEADS * LEADS + 1, 25))
    assert same(resumed, forecast(checkpoint, ocean, **{**request, "to": None}))
    for changed, words in (
        ({"members": 4}, "'ensemble' differs"),
        ({"seed": 1}, "'perturbation' differs"),
        ({"perturbation": 0.5}, "'perturbation' differs"),
        ({"members": None}, r"'model' differs"),
    ):
        with pytest.raises(ValueError, match=words):
            forecast(checkpoint, ocean, **{**request, **changed})


def test_exporters_carry_the_members(ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path) -> None:
    ds = forecast(checkpoint, ocean, start="2020-01-03T23", leads=24, members=3)
    out = to_weatherbench(ds, tmp_path / "wb.zarr")
    assert out["uo"].dims == ("time", "prediction_timedelta", "number", "longitude", "latitude")
    np.testing.assert_array_equal(
        out["uo"].transpose("time", "prediction_timedelta", "number", "latitude", "longitude"), ds["uo"]
    )
    (file,) = to_netcdf(ds, tmp_path / "files")
    assert same(open_forecast(file), ds)
    days = to_oceanbench(ds)  # whose layout knows no members
    expected = ds["uo"].values.astype(np.float64).mean((1, 2))[0]
    np.testing.assert_allclose(days["uo"].values[0, 0, 0], expected, atol=1e-6)  # float32
    assert "member" not in truth_of(ds, ocean).dims


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"members": 1}, "1 members were asked for and 2 checkpoints given"),
        ({"members": 2, "seed": 1}, r"seed of perturbations was given \(1\), and every member starts from"),
        ({"members": 2, "perturbation": 1.0}, "amplitude of a perturbation was given"),
        ({"members": 3, "perturbation": -1.0}, "amplitude of the perturbations is -1; give a positive"),
        ({"members": 3, "start": "2020-01-01T08"}, f"need {DRAWS} windows of 5 whole states .* there are 5;"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused_in_a_sentence(
    ocean: xr.Dataset, others: list[Checkpoint], request_: dict, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        forecast(others, ocean, **{"start": START, "leads": 2, "to": tmp_path / "e.nc", **request_})
    assert list(tmp_path.iterdir()) == []  # the first member was not begun either


def test_members_are_alike_and_none_counts_double(ocean: xr.Dataset, others: list[Checkpoint]) -> None:
    with pytest.raises(ValueError, match="given twice; it would count double"):
        forecast([others[0], others[0]], ocean, start=START, leads=2, members=2)
    with pytest.raises(ValueError, match="number 2, FNOtD, uo, vo from no forcing"):
        forecast([others[0], operator(ocean, forcing=[])], ocean, start=START, leads=2, members=2)


def test_netcdf_of_every_product_keeps_the_rules_of_cf_that_its_checker_finds_broken(
    ocean: xr.Dataset, others: list[Checkpoint], tmp_path: Path
) -> None:
    """No fill value of a coordinate (2.5.1), flags of the type of their variable (3.5), a history (2.6.2)."""
    words = {"start": START, "leads": 2, "members": 3}
    made = forecast(others, ocean, to=tmp_path / "forecast.nc", **words)
    assert [name for name in made.data_vars if "lead_time" in made[name].dims] == ["uo", "vo"]
    assert made["uo"].dtype == np.float32
    assert same(made, forecast(others, ocean, **words))
    forecast(others, ocean, to=tmp_path / "forecast.zarr", **words)
    assert list(open_forecast(tmp_path / "forecast.zarr").data_vars)[:2] == ["uo", "vo"]
    to_netcdf(tmp_path / "forecast.zarr", tmp_path / "again.nc")
    assert oceanop("health", tmp_path / "forecast.nc", "--to", tmp_path / "health.nc") in (0, 1)
    place = ",".join(f"{float(ocean[name].mean())}" for name in ("longitude", "latitude"))
    assert oceanop("stations", tmp_path / "forecast.nc", "--at", place, "--to", tmp_path / "places.nc") == 0
    files = sorted(tmp_path.glob("*.nc"))
    assert len(files) == 4
    for path in files:
        with xr.open_dataset(path) as held:
            coordinates = [str(name) for name in held.coords]
        with netCDF4.Dataset(path) as file:
            assert file.history
            assert coordinates
            assert all("_FillValue" not in file[name].ncattrs() for name in coordinates)
            flagged = [each for each in file.variables.values() if "flag_values" in each.ncattrs()]
            assert all(each.flag_values.dtype == each.dtype for each in flagged)
            assert bool(flagged) == (path.stem != "places")


@pytest.mark.slow
def test_killed_in_the_middle_of_a_rollout_the_same_command_ends_with_the_same_bytes(
    store: Path, ocean: xr.Dataset, others: list[Checkpoint], tmp_path: Path
) -> None:
    paths = [tmp_path / f"best{i}" for i in range(2)]
    for path, each in zip(paths, others, strict=True):
        save_checkpoint(path, each)
    words = [*map(str, paths), "--data", str(store), "--start", "2020-01-02T12/2020-01-02T13/1h"]
    words += ["--leads", "25", "--members", "3", "--quiet", "--to"]
    file = tmp_path / "killed.zarr"
    process = subprocess.Popen(
        [sys.executable, "-m", "oceanop", "forecast", *words, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while _written(file) < 30:  # of 150: it is killed in a rollout of some member, wherever it is then
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 30 <= _written(file) < 140
    assert oceanop("forecast", *words, file) == 0
    whole = tmp_path / "whole.zarr"
    assert oceanop("forecast", *words, whole) == 0
    assert same(open_forecast(file), open_forecast(whole))


def _written(file: Path) -> int:
    return int(np.sum(zarr.open_group(file, mode="r")[BOOKKEEPING][:])) if file.exists() else 0
