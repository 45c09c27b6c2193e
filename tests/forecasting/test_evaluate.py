"""Scores are the plain arithmetic of the two files, on the same cells for all, and say how sure they are."""

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr

from forecasting import BASELINES, Persistence, evaluate, forecast, open_forecast
from forecasting.forecast import produce
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from tests.forecasting.conftest import operator, sea

START = "2020-01-04T04"
SERIES = "2020-01-04T00/2020-01-04T11/1h"


@pytest.fixture(scope="module")
def one(ocean: xr.Dataset, checkpoint: Checkpoint) -> xr.Dataset:
    return forecast(checkpoint, ocean, start=START, leads=6)


@pytest.fixture(scope="module")
def many(ocean: xr.Dataset, checkpoint: Checkpoint) -> xr.Dataset:
    return forecast(checkpoint, ocean, start=SERIES, leads=1)


@pytest.fixture(scope="module")
def scores(one: xr.Dataset, ocean: xr.Dataset) -> xr.Dataset:
    return evaluate(one, ocean)


def value(
    scores: xr.Dataset, forecaster: str, variable: str, metric: str, lead: str, what: str = "value"
) -> float:
    at = {"forecaster": forecaster, "variable": variable, "metric": metric, "band": "all", "lead_hours": lead}
    return float(scores[what].sel(at))


def plain_rmse(ds: xr.Dataset, ocean: xr.Dataset, names: list[str], leads: slice = slice(None)) -> float:
    squares, weights = [], []
    area = (ocean["cell_area"] * ocean["mask"]).to_numpy()
    for name in names:
        for init in range(ds.sizes["init_time"]):
            valid = ds["valid_time"].values[init, leads]
            error = ds[name].values[init, leads] - ocean[name].sel(time=valid).values
            squares.append(np.nan_to_num(error) ** 2 * area)
            weights.append(np.broadcast_to(area, error.shape))
    return float(np.sqrt(np.sum(squares) / np.sum(weights)))


def test_scores_are_plain_arithmetic(scores: xr.Dataset, one: xr.Dataset, ocean: xr.Dataset) -> None:
    for variable, names in (("uo", ["uo"]), ("vo", ["vo"]), ("uo+vo", ["uo", "vo"])):
        assert value(scores, "FNOtD", variable, "rmse", "all") == pytest.approx(plain_rmse(one, ocean, names))
        at_three = plain_rmse(one, ocean, names, slice(2, 3))
        assert value(scores, "FNOtD", variable, "rmse", "3") == pytest.approx(at_three)


def test_persistence_and_skill_are_plain_arithmetic(
    scores: xr.Dataset, ocean: xr.Dataset, one: xr.Dataset
) -> None:
    held = one.copy(deep=True)
    for name in ("uo", "vo"):
        held[name].values[:] = ocean[name].sel(time="2020-01-04T04").values
    expected = plain_rmse(held, ocean, ["uo", "vo"])
    assert value(scores, "persistence", "uo+vo", "rmse", "all") == pytest.approx(expected)
    ratio = value(scores, "FNOtD", "uo+vo", "rmse", "all") / expected
    assert value(scores, "FNOtD", "uo+vo", "rmse_over_persistence", "all") == pytest.approx(ratio)
    assert value(scores, "FNOtD", "uo+vo", "skill", "all") == pytest.approx(1 - ratio**2)
    assert value(scores, "persistence", "uo+vo", "skill", "all") == pytest.approx(0)


def test_a_sea_that_is_mostly_tide_is_forecast_best_by_the_tide(scores: xr.Dataset) -> None:
    by_name = {name: value(scores, name, "uo+vo", "rmse", "all") for name in BASELINES}
    assert min(by_name, key=lambda name: by_name[name]) == "damped-tides"
    # The weather has a standard deviation of 0.03 / sqrt(1 - exp(-0.2)) = 0.07 m/s, which the tide alone leaves
    assert by_name["tides"] == pytest.approx(0.07, abs=0.01)


def test_the_truth_itself_is_a_perfect_forecast(one: xr.Dataset, ocean: xr.Dataset) -> None:
    perfect = one.copy(deep=True)
    for name in ("uo", "vo"):
        perfect[name].values[0] = ocean[name].sel(time=one["valid_time"].values[0]).values
    table = evaluate(perfect, ocean, baselines=["persistence"])
    assert value(table, "FNOtD", "uo+vo", "rmse", "all") == 0
    assert value(table, "FNOtD", "uo+vo", "skill", "all") == 1
    assert value(table, "FNOtD", "uo", "correlation", "all") == pytest.approx(1)


def test_intervals_hold_their_score_and_know_what_they_sample(
    scores: xr.Dataset, many: xr.Dataset, ocean: xr.Dataset
) -> None:
    rmse = scores.sel(metric="rmse")
    assert (rmse["low"] <= rmse["value"]).all()
    assert (rmse["value"] <= rmse["high"]).all()
    assert "over space only" in scores.attrs["intervals"]
    in_time = evaluate(many, ocean, baselines=["persistence"])
    assert in_time.attrs["intervals"].startswith("block bootstrap over time: 12 blocks")
    again = evaluate(many, ocean, baselines=["persistence"])
    assert in_time.equals(again)
    assert not in_time.equals(evaluate(many, ocean, baselines=["persistence"], seed=1))


def test_blocks_do_not_change_the_score(many: xr.Dataset, ocean: xr.Dataset) -> None:
    table = evaluate(many, ocean, baselines=[])
    assert value(table, "FNOtD", "uo+vo", "rmse", "all") == pytest.approx(
        plain_rmse(many, ocean, ["uo", "vo"])
    )


def test_all_are_scored_on_the_cells_that_all_forecast(one: xr.Dataset, ocean: xr.Dataset) -> None:
    other = one.copy(deep=True)
    other.attrs["model"] = "half"
    for name in ("uo", "vo"):
        other[name][..., 9:] = np.nan
    together = evaluate([one, other], ocean, baselines=["persistence"])
    alone = evaluate(other, ocean, baselines=["persistence"])
    for name in ("half", "persistence"):
        assert value(together, name, "uo+vo", "rmse", "all") == value(alone, name, "uo+vo", "rmse", "all")
    counts = together["count"].sel(variable="uo", metric="rmse", lead_hours="all")
    assert (counts == int(ocean["mask"].values[:, :9].sum()) * 6).all()
    assert together.attrs["mask_share_of_ocean"] < 0.6


def test_only_shared_starts_and_leads_with_truth_are_scored(
    one: xr.Dataset, ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    longer = forecast(checkpoint, ocean, start="2020-01-04T03/2020-01-04T05/1h", leads=9)
    longer.attrs["model"] = "longer"
    table = evaluate([one, longer], ocean, baselines=[])
    assert table["lead_hours"].values.tolist() == ["1", "2", "3", "4", "5", "6", "all"]
    assert table.attrs["starts"].startswith("1 from 2020-01-04T04:00:00")
    cut = ocean.isel(time=slice(None, 80))
    table = evaluate(longer, cut, baselines=["persistence"])
    wet = int(ocean["mask"].sum())
    counts = table["count"].sel(forecaster="longer", variable="uo", metric="rmse")
    # Truth ends at 07: leads 1-4 of the start at 03, 1-3 of 04, 1-2 of 05
    assert counts.values[0].tolist() == [3 * wet, 3 * wet, 2 * wet, wet, 9 * wet]


def test_seeds_are_scored_apart_and_pooled(ocean: xr.Dataset) -> None:
    members = [forecast(operator(ocean, seed=seed), ocean, start=START, leads=2) for seed in (0, 1)]
    table = evaluate(members, ocean, baselines=[])
    assert table["forecaster"].values.tolist() == ["FNOtD", "FNOtD-seed0", "FNOtD-seed1"]
    pooled, first, second = (
        table["value"].sel(metric="rmse").squeeze("band").transpose("forecaster", ...).to_numpy()
    )
    np.testing.assert_allclose(pooled**2, (first**2 + second**2) / 2, rtol=1e-6)
    counts = table["count"].sel(metric="rmse").squeeze("band").transpose("forecaster", ...).to_numpy()
    np.testing.assert_array_equal(counts[0], counts[1] + counts[2])
    table = evaluate([members[0], members[0]], ocean, baselines=[])
    assert table["forecaster"].values.tolist() == ["FNOtD", "FNOtD-seed0-1", "FNOtD-seed0-2"]


def test_baselines_learn_nothing_from_the_test_period(one: xr.Dataset, ocean: xr.Dataset) -> None:
    changed = ocean.copy(deep=True)
    for name in ("uo", "vo"):
        changed[name][90:] += 50.0  # within the test split, past the last lead of 10 h
        changed[name][72:76] += 50.0  # within it, before the start
    a, b = evaluate(one, ocean), evaluate(one, changed)
    xr.testing.assert_equal(a, b)
    assert a.attrs["baselines_fitted_on"].startswith(
        "splits train and validation: 72 steps from 2020-01-01T00:00:00 to 2020-01-03T23:00:00"
    )


def test_the_table_is_written_as_the_contract_says(
    one: xr.Dataset, ocean: xr.Dataset, tmp_path: Path
) -> None:
    table = evaluate(one, ocean, baselines=["persistence", "tides"], to=tmp_path, report=False)
    with xr.open_dataset(tmp_path / "scores.nc") as written:
        xr.testing.assert_allclose(written.load(), table)
        assert written.attrs["mask_sha256"] == table.attrs["mask_sha256"]
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "forecaster,variable,metric,band,lead_hours,value,low,high,count"
    rows = list(csv.DictReader(lines))
    assert {row["forecaster"] for row in rows} == {"FNOtD", "persistence", "tides"}
    assert {row["variable"] for row in rows} == {"uo", "vo", "uo+vo"}
    assert {row["band"] for row in rows} == {"all"}
    ours = [
        row
        for row in rows
        if (row["forecaster"], row["variable"], row["metric"]) == ("FNOtD", "uo+vo", "rmse")
    ]
    assert [row["lead_hours"] for row in ours] == ["1", "2", "3", "4", "5", "6", "all"]
    assert float(ours[-1]["value"]) == pytest.approx(value(table, "FNOtD", "uo+vo", "rmse", "all"), rel=1e-6)
    assert int(ours[-1]["count"]) == 2 * 6 * int(ocean["mask"].sum())
    assert not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_compared_is_refused_in_a_sentence(
    one: xr.Dataset, ocean: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"FNOtD lies on another grid than the truth: 10 x 18 cells of .* against"
    ):
        evaluate(one, sea(shift=1.0))
    later = one.assign_coords(init_time=one["init_time"] + np.timedelta64(365, "D"))
    with pytest.raises(ValueError, match=r"the truth, from 2020-01-01T00:00:00 to .* do not overlap"):
        evaluate(later, ocean)
    with pytest.raises(ValueError, match="the forecasts share no start"):
        evaluate([one, later], ocean)
    with pytest.raises(ValueError, match="there is no baseline 'tide'; name one of persistence"):
        evaluate(one, ocean, baselines=["tide"])
    with pytest.raises(
        ValueError, match=r"the forecast FNOtD is finite .* none of the truth's 169 ocean cells"
    ):
        evaluate(one.where(one["latitude"] < 0), ocean)
    with pytest.raises(ValueError, match=r"share no variable \(FNOtD: uo, vo\)"):
        evaluate(one, ocean.drop_vars(["uo", "vo"]))
    with pytest.raises(ValueError, match="a start of the forecasts is not in the truth"):
        evaluate(one, ocean.isel(time=slice(78, None)))
    with pytest.raises(ValueError, match="no forecast was given"):
        evaluate([], ocean)


def test_the_report_is_given_every_forecaster_and_the_truth_in_one_form(
    one: xr.Dataset, ocean: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    stub = ModuleType("forecasting.report")
    stub.write_report = lambda to, **what: given.update(what, to=to)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forecasting.report", stub)
    evaluate(one, ocean, baselines=["persistence", "tides"], to=tmp_path)
    assert given["to"] == tmp_path
    assert list(given["forecasts"]) == ["FNOtD", "persistence", "tides"]
    assert given["runs"]["FNOtD"]["model"]["name"] == "FNOtD"
    truth = given["truth"]
    assert np.array_equal(
        truth["uo"].values[0], ocean["uo"].sel(time=one["valid_time"].values[0]).values, equal_nan=True
    )
    for name, ds in given["forecasts"].items():
        assert ds.attrs["model"] == name
        assert ds["uo"].dims == truth["uo"].dims == one["uo"].dims
        assert ds["valid_time"].equals(one["valid_time"])
        assert (np.isfinite(ds["uo"].values) == np.isfinite(truth["uo"].values)).all()
    np.testing.assert_array_equal(given["forecasts"]["FNOtD"]["uo"].values, one["uo"].values)


def deep_sea() -> xr.Dataset:
    """Two levels, the deeper with less ocean, in a calendar without leap days."""
    ds = sea(60)
    dates = xr.date_range("2020-02-27", periods=60, freq="h", calendar="noleap", use_cftime=True)
    depth = xr.DataArray([0.0, 10.0], dims="depth", attrs={"units": "m", "positive": "down"})
    ds = ds.assign_coords(time=dates, depth=depth)
    below = ds["mask"].copy()
    below[-3:] = 0
    mask = xr.concat([ds["mask"], below], "depth", coords="minimal").assign_coords(depth=depth)
    # Cells below the sea floor hold a value, as some models write it
    ds["thetao"] = (
        (8.0 + ds["uo"] - 0.1 * depth).transpose("time", "depth", "latitude", "longitude").fillna(0.0)
    )
    ds["thetao"] = ds["thetao"].astype(np.float32)
    ds["mask"] = mask
    ds.attrs["splits"] = (
        '{"train": ["2020-02-27", "2020-02-28T11"], "test": ["2020-02-28T12", "2020-03-01T11"]}'
    )
    return ds.drop_vars(["uo", "vo", "u10", "v10"])


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_depths_and_other_calendars_go_the_whole_way(tmp_path: Path, suffix: str) -> None:
    ocean = deep_sea()
    layout = Layout.from_dataset(ocean)
    held = produce(
        Persistence(layout.wet(ocean)),
        ocean,
        layout,
        [40, 42],
        5,
        time_step=3600,
        to=tmp_path / f"f{suffix}",
        attributes={"model": "held"},
    )
    assert held["thetao"].dims == ("init_time", "lead_time", "depth", "latitude", "longitude")
    ds = open_forecast(tmp_path / f"f{suffix}")
    assert ds["valid_time"].values[0, 4] == ocean["time"].values[45]
    wet = ocean["mask"].values > 0
    assert (np.isfinite(ds["thetao"].values) == wet).all()
    table = evaluate(tmp_path / f"f{suffix}", ocean)
    for lead in ("1", "5", "all"):
        ours, baseline = (value(table, name, "thetao", "rmse", lead) for name in ("held", "persistence"))
        assert ours == baseline
    assert (
        int(table["count"].sel(forecaster="held", metric="bias", lead_hours="all").item()) == 10 * wet.sum()
    )
