"""Scores are the plain arithmetic of the two files, on the same cells for all, and say how sure they are."""

import csv
import dataclasses
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xarray as xr

from forecasting import BASELINES, Persistence, evaluate, forecast, open_forecast
from forecasting.findings import summarise
from forecasting.forecast import produce
from forecasting.naming import named
from forecasting.scores import write_csv
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


def test_only_runs_that_differ_by_their_seed_are_pooled(ocean: xr.Dataset) -> None:
    def made(seed: int, width: int, layers: int = 1) -> xr.Dataset:
        ds = forecast(operator(ocean, seed=seed), ocean, start=START, leads=2)
        run = json.loads(ds.attrs["run"])
        run["model"] |= {"width": width, "layers": layers}
        # The settings are what is compared, not the weights
        return ds.assign_attrs(run=json.dumps(run), checkpoint_sha256=f"{seed} {width} {layers}")

    table = evaluate([made(0, 4), made(1, 4), made(2, 8)], ocean, baselines=[])
    assert table["forecaster"].values.tolist() == [
        "FNOtD-width4",
        "FNOtD-width4-seed0",
        "FNOtD-width4-seed1",
        "FNOtD-width8",
    ]
    names = list(named([made(0, 4, 1), made(0, 8, 2), made(1, 8, 3)]).forecasts)
    assert names == ["FNOtD-layers1-width4", "FNOtD-layers2-width8", "FNOtD-layers3-width8"]
    alike = named([made(0, 4), made(0, 4).assign_attrs(checkpoint_sha256="last")])
    assert list(alike.forecasts) == ["FNOtD-seed0-1", "FNOtD-seed0-2"]
    assert not alike.pooled
    unknown = [made(seed, 4).assign_attrs(run="{}") for seed in (0, 1)]
    assert list(named(unknown).forecasts) == ["FNOtD-1", "FNOtD-2"]
    assert not named(unknown).pooled


def test_a_forecast_given_twice_is_refused(ocean: xr.Dataset, one: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the forecast of FNOtD \(checkpoint 5a\) is given twice"):
        evaluate([one, one], ocean)
    one.to_netcdf(tmp_path / "again.nc")
    with pytest.raises(ValueError, match="is given twice, with the same starts and leads"):
        evaluate([one, tmp_path / "again.nc"], ocean)
    nameless = one.drop_attrs(deep=False)
    nameless.to_netcdf(tmp_path / "other.nc")
    with pytest.raises(ValueError, match=r"other\.nc is given twice, and would count double; give it once\."):
        evaluate([tmp_path / "other.nc", tmp_path / ".." / tmp_path.name / "other.nc"], ocean)


def test_ensembles_of_one_checkpoint_differ_by_their_perturbations(one: xr.Dataset) -> None:
    members = one.expand_dims(member=3).assign_attrs(model="E", perturbation="1 standard deviations, seed 0")
    larger = members.assign_attrs(perturbation="2 standard deviations, seed 0")
    fewer = members.isel(member=[0, 1])
    given = named([members, larger, fewer])
    # One training, three ensembles: told apart by a number, and not pooled as if they were seeds
    assert list(given.forecasts) == ["E-seed0-1", "E-seed0-2", "E-seed0-3"]
    assert not given.pooled
    with pytest.raises(ValueError, match="is given twice"):
        named([members, members])


def test_the_interval_of_pooled_seeds_holds_their_spread(ocean: xr.Dataset) -> None:
    members = [forecast(operator(ocean, seed=seed), ocean, start=SERIES, leads=1) for seed in (0, 1)]
    happened = members[0].copy(deep=True)
    for name in ("uo", "vo"):
        happened[name].values[:, 0] = ocean[name].sel(time=happened["valid_time"].values[:, 0]).values
    apart = []
    for ds, error in zip(members, (0.1, 0.3), strict=True):
        # The same error everywhere: blocks differ in nothing, seeds in everything
        apart.append(happened.assign_attrs(ds.attrs) + error)
        apart[-1].attrs = ds.attrs
    for ds in apart:
        ds["mask"], ds["cell_area"] = members[0]["mask"], members[0]["cell_area"]
    table = evaluate(apart, ocean, baselines=[])
    assert "the seeds are drawn again in each resample" in table.attrs["intervals"]
    for name, low, high in (("FNOtD-seed0", 0.1, 0.1), ("FNOtD-seed1", 0.3, 0.3), ("FNOtD", 0.1, 0.3)):
        ends = [value(table, name, "uo", "rmse", "all", end) for end in ("low", "high")]
        assert ends == pytest.approx([low, high], rel=1e-4)
    assert "seeds" not in evaluate(apart[0], ocean, baselines=[]).attrs["intervals"]


def test_a_current_has_no_bias_as_a_whole(scores: xr.Dataset, tmp_path: Path) -> None:
    assert np.isnan(value(scores, "FNOtD", "uo+vo", "bias", "all"))
    assert np.isfinite(value(scores, "FNOtD", "uo", "bias", "all"))
    assert np.isfinite(value(scores, "FNOtD", "vo", "bias", "3"))
    write_csv(scores, tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    assert {row["variable"] for row in rows if row["metric"] == "bias"} == {"uo", "vo"}


def test_errors_are_compared_with_every_baseline_in_the_same_resamples(scores: xr.Dataset) -> None:
    for name in BASELINES:
        ratio = value(scores, "FNOtD", "uo+vo", "rmse", "all") / value(scores, name, "uo+vo", "rmse", "all")
        assert value(scores, "FNOtD", "uo+vo", f"rmse_over_{name}", "all") == pytest.approx(ratio)
        for end in ("low", "high"):
            assert value(scores, name, "uo+vo", f"rmse_over_{name}", "all", end) == pytest.approx(1)


def test_a_model_trained_on_scored_times_is_told(one: xr.Dataset, ocean: xr.Dataset) -> None:
    assert "warning" not in evaluate(one, ocean, baselines=["persistence"]).attrs
    clean = one.assign_attrs(fitted_from="2020-01-01T00:00:00", fitted_to="2020-01-04T04:00:00")
    assert "warning" not in evaluate(clean, ocean, baselines=[]).attrs
    seen = one.assign_attrs(fitted_from="2020-01-01T00:00:00", fitted_to="2020-01-04T06:00:00")
    table = evaluate(seen, ocean, baselines=[])
    assert table.attrs["warning"].startswith(
        "FNOtD was trained on times scored here: 2 of 6 scored times lie in the training period, "
        "2020-01-01T00:00:00 to 2020-01-04T06:00:00"
    )
    assert summarise(table, ["FNOtD"], 169).sentences[0].startswith("FNOtD was trained on times scored here")
    # Fitted before and after, but not in between
    around = seen.assign_attrs(
        fitted_to="2020-01-05", fitted_periods='[["2020-01-01", "2020-01-03"], ["2020-01-05", "2020-01-05"]]'
    )
    assert "warning" not in evaluate(around, ocean, baselines=[]).attrs


def test_baselines_fitted_on_scored_times_are_told(ocean: xr.Dataset, checkpoint: Checkpoint) -> None:
    early = forecast(checkpoint, ocean, start="2020-01-03T20", leads=6)
    warning = evaluate(early, ocean, baselines="tides").attrs["warning"]
    # 21, 22 and 23 o'clock are the end of the validation period
    assert warning.startswith("The baselines were fitted on times scored here: 3 of 6 scored times")


def test_one_baseline_is_named_by_a_word(one: xr.Dataset, ocean: xr.Dataset) -> None:
    table = evaluate(one, ocean, baselines="persistence")
    assert table["forecaster"].values.tolist() == ["FNOtD", "persistence"]


def test_what_is_left_out_is_told(ocean: xr.Dataset, checkpoint: Checkpoint, one: xr.Dataset) -> None:
    assert evaluate(one, ocean, baselines=[]).attrs["left_out"] == "none"
    several = forecast(checkpoint, ocean, start="2020-01-04T03/2020-01-04T05/1h", leads=9)
    table = evaluate(several, ocean.isel(time=slice(None, 77)), baselines=[])
    assert table.attrs["left_out"] == "2 of 3 starts and 8 of 9 leads, for which the truth holds no state"
    table = evaluate(several, ocean.isel(time=slice(None, 80)), baselines=[])
    assert table.attrs["left_out"] == (
        "5 of 9 leads and 3 of the 12 remaining pairs of a start and a lead, for which the truth holds no state"
    )
    several.attrs["model"] = "longer"
    table = evaluate([one, several], ocean, baselines=[])
    assert table.attrs["left_out"] == (
        "2 of 3 starts, which not every forecast has; 3 of 9 leads, which not every forecast has"
    )


def test_cost_and_forcing_survive_a_file(ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path) -> None:
    told = dataclasses.replace(checkpoint, provenance={"threads": 2, "training_seconds": 61.5})
    forecast(told, ocean, start=START, leads=2, to=tmp_path / "f.nc")
    evaluate(tmp_path / "f.nc", ocean, baselines="persistence", to=tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    row = re.search(r'id="cost".*?<th scope="row">FNOtD</th>(.*?)</tr>', page, re.S)
    assert row is not None
    parameters = f"{checkpoint.parameters:,}".replace(",", "\u202f")
    assert f"<td>{parameters}</td>" in row.group(1)
    assert "<td>2</td>" in row.group(1)
    # The run says forcing None, which is all there is; the forecast says what it used
    assert checkpoint.run.data.forcing is None
    assert "as if the atmosphere had been forecast without error" in page


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


def test_a_hole_below_the_surface_is_named() -> None:
    ocean = deep_sea()
    layout = Layout.from_dataset(ocean)
    ocean["thetao"][40, 1, 4, 4] = np.nan
    with pytest.raises(ValueError, match=r"'thetao' at 10 m is missing at 2020-02-28T16:00:00"):
        produce(Persistence(layout.wet(ocean)), ocean, layout, [40], 5, time_step=3600, attributes={})
    # Below the sea floor nothing is missing
    ocean = deep_sea()
    ocean["thetao"][:, 1, -1] = np.nan
    produce(Persistence(layout.wet(ocean)), ocean, layout, [40], 5, time_step=3600, attributes={})
