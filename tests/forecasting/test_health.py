"""Health: forecasts made to fade or to grow are found out, the sea itself is well, every number is plain arithmetic."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from forecasting import forecast, health
from forecasting.forecast import produce
from forecasting.forecaster import Initial, State
from forecasting.health import GROWTH, health_json, verdict_of
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from tests.forecasting.conftest import oceanop

STARTS, LEADS = [40, 72], 12


class Told:
    """The truth, with what differs from its mean over time, or from rest, multiplied by a factor of the lead."""

    name, history = "told", 1

    def __init__(self, ocean: xr.Dataset, factor, around_mean: bool) -> None:
        layout = Layout.from_dataset(ocean, forcing=[])
        self.times, self.fields, self.factor = ocean["time"].values, layout.pack(ocean), factor
        self.mean = self.fields.mean(1) * around_mean

    def forecast(self, initial: Initial, forcing, leads: int):
        first = int(np.flatnonzero(self.times == initial.start)[0])
        for lead in range(1, leads + 1):
            truth = self.fields[:, first + lead]
            yield State(lead, self.mean + self.factor(lead) * (truth - self.mean))


def told(ocean: xr.Dataset, factor, around_mean: bool = True) -> xr.Dataset:
    layout = Layout.from_dataset(ocean, forcing=[])
    return produce(
        Told(ocean, factor, around_mean), ocean, layout, STARTS, LEADS, time_step=3600, attributes={}
    )


@pytest.mark.parametrize("with_truth", [True, False])
@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (lambda lead: 1.0, "stable"),
        (lambda lead: np.exp(-0.4 * (lead - 1)), "damping"),
        (lambda lead: np.exp(0.3 * (lead - 1)), "exploding"),
        (lambda lead: np.nan if lead == 5 else 1.0, "exploding"),
    ],
)
def test_made_forecasts_are_found_out(ocean: xr.Dataset, factor, verdict: str, with_truth: bool) -> None:
    report = health(told(ocean, factor, with_truth), truth=ocean if with_truth else None)
    meanings = report["verdict"].attrs["flag_meanings"].split()
    assert [meanings[flag] for flag in report["verdict"].values] == [verdict] * 2
    assert verdict_of(report) == verdict
    reasons = json.loads(report.attrs["reasons"])
    assert all(bool(each) == (verdict != "stable") for each in reasons)


def test_lost_small_scales_alone_are_damping_and_a_drifting_mean_is_exploding(ocean: xr.Dataset) -> None:
    """Energy stays: each field is what its area mean makes of it; then the mean alone runs away."""
    smooth = told(ocean, lambda lead: 1.0)
    for name in ("uo", "vo"):
        mean = smooth[name].mean(["latitude", "longitude"])
        smooth[name] = smooth[name] * 0 + mean * np.sqrt((smooth[name] ** 2).mean() / (mean**2).mean())
    report = health(smooth, truth=ocean)
    assert verdict_of(report) == "damping"
    assert all("small_scale" in why for each in json.loads(report.attrs["reasons"]) for why in each)
    drifting = told(ocean, lambda lead: 1.0)
    drifting["uo"] = drifting["uo"] + 0.12 * (drifting["lead_time"] / np.timedelta64(1, "h"))
    report = health(drifting, truth=ocean)
    assert verdict_of(report) == "exploding"
    assert any("uo_mean" in why for why in json.loads(report.attrs["reasons"])[0])
    grown = health(told(ocean, lambda lead: np.exp(0.3 * (lead - 1)), False))
    # Against its own first lead nothing is said to be usual
    assert any(
        f"more than {GROWTH:g} times the" in why and why.endswith("at the first lead")
        for why in json.loads(grown.attrs["reasons"])[0]
    )


def test_values_that_are_gone_are_told_once_and_not_as_large_ones(ocean: xr.Dataset) -> None:
    gone = told(ocean, lambda lead: np.nan if lead > 5 else 1.0)
    (one, two) = json.loads(health(gone, truth=ocean).attrs["reasons"])
    assert one == two == [f"{name} has ocean values that are no numbers from lead 6" for name in ("uo", "vo")]


def test_measures_are_what_plain_arithmetic_gives(ocean: xr.Dataset) -> None:
    ds = told(ocean, lambda lead: 1.0 + 0.01 * lead)
    ds["zos"] = ds["uo"] * 0.5
    report = health(ds)
    area = (ds["cell_area"] * ds["mask"]).values
    u, v = (ds[name].values[1, 3].astype(np.float64) for name in ("uo", "vo"))

    def mean(values: np.ndarray) -> float:
        return float(np.nansum(values * area) / area.sum())

    at = report.isel(init_time=1, lead_time=3)
    assert float(at["uo_mean"]) == pytest.approx(mean(u), rel=1e-9)
    assert float(at["uo_variance"]) == pytest.approx(mean((u - mean(u)) ** 2), rel=1e-9)
    assert float(at["uo_vo_kinetic_energy"]) == pytest.approx(mean(0.5 * (u**2 + v**2)), rel=1e-9)
    # The level is float32, half of u
    assert float(at["zos_volume"]) == pytest.approx(0.5 * mean(u) * area.sum(), rel=1e-6)
    assert float(at["zos_potential_energy"]) == pytest.approx(
        0.5 * 9.81 * 0.25 * mean((u - mean(u)) ** 2), rel=1e-6
    )
    assert float(at["vo_highest"]) == np.nanmax(v)
    fine = np.full(u.shape, np.nan)
    for row, column in np.argwhere(np.isfinite(u)):
        near = [u[row, column]]
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < u.shape[0] and 0 <= c < u.shape[1] and np.isfinite(u[r, c]):
                near.append(u[r, c])
        fine[row, column] = u[row, column] - np.mean(near)
    assert float(at["uo_small_scale_power"]) == pytest.approx(mean(fine**2), rel=1e-9)
    assert [report[f"{name}"].attrs["units"] for name in ("uo_variance", "zos_volume")] == ["m2 s-2", "m3"]
    assert "uo_distance" not in report  # nobody said what is usual
    train = ocean["uo"].isel(time=slice(0, 60)).values.astype(np.float64)
    away = mean((u - train.mean(0)) ** 2) ** 0.5
    assert float(health(ds.drop_vars("zos"), truth=ocean)["uo_distance"][1, 3]) == pytest.approx(
        away, rel=1e-9
    )


def test_a_real_forecast_has_a_verdict_for_every_member_and_an_exit_code(
    store: Path, ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.nc"
    forecast(checkpoint, store, start="2020-01-04T08", leads=8, members=2, to=file)
    words = ("health", file, "--truth", store)
    code = oceanop(*words, "--json", "--to", tmp_path / "h.nc")
    said = json.loads(capsys.readouterr().out)
    assert code == (said["verdict"] != "stable")
    assert [each["member"] for each in said["forecasts"]] == [0, 1]
    assert said["limits"]["energy_growth"] == GROWTH
    assert said["forecasts"][0]["start"] == "2020-01-04T08:00:00"
    with xr.open_dataset(tmp_path / "h.nc") as held:
        plain = health_json(held.load())
    assert plain["forecasts"] == said["forecasts"]
    assert oceanop(*words, "--to", tmp_path / "h.pdf") == 2
    assert "written as .txt, .json or .nc, not '.pdf'" in capsys.readouterr().err
    told(ocean, lambda lead: 1.0).to_netcdf(tmp_path / "well.nc")
    assert oceanop("health", tmp_path / "well.nc", "--truth", store, "--to", tmp_path / "h.txt") == 0
    assert (tmp_path / "h.txt").read_text() == capsys.readouterr().out


def test_a_truth_that_does_not_fit_is_refused(ocean: xr.Dataset) -> None:
    ds = told(ocean, lambda lead: 1.0)
    with pytest.raises(ValueError, match="another grid than the forecast"):
        health(ds, truth=ocean.isel(latitude=slice(1, None)))
    with pytest.raises(ValueError, match="does not hold vo"):
        health(ds, truth=ocean.drop_vars("vo"))
