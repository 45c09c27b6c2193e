"""A forecast beside a gauge: the right cell, the right instants, one zero for both, and scores that are arithmetic."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_pipelines import read_gauge, save_store
from data_pipelines.times import milliseconds
from forecasting import evaluate
from forecasting.gauge_scores import band_masks, split_periods
from forecasting.gauges import _half_window, _measured, levels_at
from oceanop.cli.verbs import main
from oceanop.layout import cf_attributes
from tests.forecasting.conftest import FIRST, HOUR, SPLITS, sea

LEADS = 24
STARTS = FIRST + np.arange(24, 72, 4) * HOUR
M2 = 2 * np.pi / 12.4206012
PLACE = (
    55.25,
    15.42,
)  # of the cell in row 5, column 5 (4 is 55.2 N, 5 is 15.4 E: 0.02 degrees, 1.3 km, to its west)


@pytest.fixture(scope="module")
def level_sea() -> xr.Dataset:
    """The sea of the tests with a level: a tide that travels, weather, and a zero 0.6 m above the gauge's."""
    ds = sea()
    generator = np.random.default_rng(3)
    hours = np.arange(ds.sizes["time"])[:, None, None]
    phase = np.linspace(0, 2, ds.sizes["longitude"])
    surge = np.cumsum(0.03 * generator.standard_normal((ds.sizes["time"], 1, 1)), 0)
    level = 0.6 + 0.5 * np.cos(M2 * hours - phase) + surge + 0.02 * generator.standard_normal(ds["uo"].shape)
    ds["zos"] = (ds["uo"].dims, np.where(ds["mask"], level, np.nan).astype(np.float32), cf_attributes("zos"))
    return ds.drop_vars(["uo", "vo"])


def made(ds: xr.Dataset, *, error: float = 0.0, bias: float = 0.0, model: str = "wrong") -> xr.Dataset:
    """A forecast file: the truth, a bias, and an error that grows with the lead."""
    generator = np.random.default_rng(11)
    valid = STARTS[:, None] + np.arange(1, LEADS + 1) * HOUR
    level = np.stack([ds["zos"].sel(time=row).values for row in valid])
    growth = error * np.sqrt(np.arange(1, LEADS + 1))[:, None, None]
    level = level + bias + growth * generator.standard_normal((len(STARTS), LEADS, 1, 1))
    out = ds[["mask", "cell_area"]].assign_coords(
        init_time=STARTS,
        lead_time=np.arange(1, LEADS + 1) * HOUR,
        valid_time=(("init_time", "lead_time"), valid),
    )
    dims = ("init_time", "lead_time", *ds["mask"].dims)
    out["zos"] = (dims, level.astype(np.float32), cf_attributes("zos"))
    return out.assign_attrs(model=model)


def gauge(
    ds: xr.Dataset,
    *,
    name: str = "Pier",
    place: tuple[float, float] = PLACE,
    cell: tuple[int, int] = (5, 5),
    noise: float = 0.05,
    lost: slice | None = None,
) -> xr.Dataset:
    """A gauge that measures what the sea does in a cell, with noise, from its own zero."""
    level = ds["zos"].values[:, cell[0], cell[1]].astype(np.float64) - 0.6 + 1.7
    level = level + noise * np.random.default_rng(5).standard_normal(level.size)
    kept = np.ones(level.size, dtype=bool)
    kept[lost or slice(0)] = False
    return xr.Dataset(
        {"level": ("time", level[kept], {"units": "m"})},
        coords={"time": ds["time"].values[kept], "latitude": place[0], "longitude": place[1]},
        attrs={"name": name, "datum": "NAP", "source": "made up"},
    )


@pytest.fixture(scope="module")
def scores(level_sea: xr.Dataset) -> xr.Dataset:
    gauges = [gauge(level_sea), gauge(level_sea, name="Mole", place=(55.3, 16.0), cell=(6, 12))]
    return evaluate(
        made(level_sea, error=0.02, bias=0.1), level_sea, baselines=["persistence"], gauges=gauges
    )


def value(
    scores: xr.Dataset, metric: str, *, band: str = "Pier", lead: str = "all", forecaster: str = "wrong"
) -> float:
    at = {"forecaster": forecaster, "variable": "zos", "metric": metric, "band": band, "lead_hours": lead}
    return float(scores["value"].sel(at))


def series(ds: xr.Dataset, lead: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Forecast and gauge at the gauge, by plain arithmetic, ``[start, lead]``."""
    own, level = made(ds, error=0.02, bias=0.1), gauge(ds)["level"]
    modelled = ds["zos"].values[:, 5, 5].astype(np.float64)
    valid = own["valid_time"].values[:, lead]
    forecast = own["zos"].values[:, lead, 5, 5].astype(np.float64) - modelled.mean()
    observed = level.sel(time=valid.ravel()).values.reshape(valid.shape) - level.values.mean()
    return forecast, observed


def test_scores_at_a_gauge_are_plain_arithmetic(scores: xr.Dataset, level_sea: xr.Dataset) -> None:
    for lead, which in (("all", slice(None)), ("7", slice(6, 7))):
        forecast, observed = (side.ravel() for side in series(level_sea, which))
        error = forecast - observed
        correlation = np.corrcoef(forecast, observed)[0, 1]
        ratio, shift = forecast.std() / observed.std(), error.mean() / observed.std()
        expected = {
            "rmse": np.sqrt((error**2).mean()),
            "bias": error.mean(),
            "mae": np.abs(error).mean(),
            "centred_rmse": error.std(),
            "correlation": correlation,
            "nash_sutcliffe": 1 - (error**2).mean() / observed.var(),
            "kling_gupta": 1 - np.sqrt((correlation - 1) ** 2 + (ratio - 1) ** 2 + shift**2),
        }
        for metric, number in expected.items():
            assert value(scores, metric, lead=lead) == pytest.approx(number, rel=1e-6), metric


def test_zeros_of_gauge_and_model_do_not_matter_and_a_forecast_s_own_bias_does(scores: xr.Dataset) -> None:
    """The gauge's zero lies 1.1 m below the model's, and the forecast was shifted by 0.1 m."""
    assert value(scores, "bias") == pytest.approx(
        0.1, abs=0.02
    )  # noise of 0.05 m, 288 pairs of some 70 hours
    assert value(scores, "bias", forecaster="truth") == pytest.approx(0.0, abs=0.02)
    facts = json.loads(scores.attrs["gauges"])[0]
    assert facts["mean_observed_m"] - facts["mean_truth_m"] == pytest.approx(1.1, abs=0.02)
    assert facts["window"] == "2020-01-01 00:00 to 2020-01-04 23:00 UTC, 96 times"


def test_the_truth_beside_a_gauge_without_noise_is_perfect(level_sea: xr.Dataset) -> None:
    perfect = made(level_sea, model="perfect")
    table = evaluate(perfect, level_sea, baselines=["persistence"], gauges=gauge(level_sea, noise=0.0))
    for name in ("perfect", "truth"):
        assert value(table, "rmse", forecaster=name) == pytest.approx(0.0, abs=1e-6)  # float32 fields
        assert value(table, "nash_sutcliffe", forecaster=name) == pytest.approx(1.0)
        assert value(table, "kling_gupta", forecaster=name) == pytest.approx(1.0)
    assert value(table, "nash_sutcliffe", forecaster="persistence") < 0.5


def test_counts_are_those_of_pairs_and_all_gauges_are_pooled(scores: xr.Dataset) -> None:
    at = {"forecaster": "wrong", "variable": "zos", "metric": "rmse"}
    counts = scores["count"].sel(at)
    assert int(counts.sel(band="Pier", lead_hours="7")) == len(STARTS)
    assert int(counts.sel(band="gauges", lead_hours="all")) == 2 * len(STARTS) * LEADS
    pooled = value(scores, "rmse", band="gauges") ** 2
    apart = [value(scores, "rmse", band=name) ** 2 for name in ("Pier", "Mole")]
    assert pooled == pytest.approx(np.mean(apart))


def test_errors_of_the_bands_add_up(scores: xr.Dataset) -> None:
    bands = [f"Pier {band}" for band in ("under 6 h", "6-18 h", "over 18 h")]
    squares = [value(scores, "rmse", band=band) ** 2 for band in bands]
    assert sum(squares) == pytest.approx(value(scores, "rmse") ** 2, rel=1e-9)


def test_a_wave_lies_in_the_band_of_its_period() -> None:
    hours = np.arange(1.0, 49.0)
    masks = band_masks(hours)
    for period, band in ((4.0, 0), (12.0, 1), (32.0, 2)):
        wave = np.cos(
            2 * np.pi * (np.arange(48) + 0.5) / period
        )  # a cosine of the transform, mirrored at both ends
        parts = split_periods(wave, masks)
        np.testing.assert_allclose(parts[band], wave, atol=1e-12)
        np.testing.assert_allclose(sum(parts), wave, atol=1e-12)
    offset = split_periods(np.full(48, 0.3), masks)
    np.testing.assert_allclose(offset[2], 0.3, atol=1e-12)


def test_no_band_is_told_where_it_cannot_be_seen() -> None:
    assert band_masks([6.0, 12.0, 18.0]) == {}  # six-hourly leads show no period under 12 h
    assert band_masks([1.0, 2.0, 4.0]) == {}
    assert list(band_masks(np.arange(1.0, 7.0))) == ["under 6 h", "6-18 h", "over 18 h"]
    gap = np.array([[0.0, 1.0, np.nan, 1.0], [1.0, 2.0, 3.0, 4.0]])
    parts = split_periods(gap, band_masks([1.0, 2.0, 3.0, 4.0]))
    assert np.isnan(parts[0][0]).all()
    assert np.isfinite(parts[0][1]).all()


def test_levels_between_the_hours_are_averaged_and_hourly_ones_kept() -> None:
    minute = 60_000
    hours = 60 * minute * np.arange(1, 5)
    often = np.arange(0, 5 * 60, 10) * minute
    wave = np.cos(2 * np.pi * often / (20 * minute))  # a seiche of twenty minutes
    mean = levels_at(often, 1.0 + wave, hours)
    np.testing.assert_allclose(mean, 1.0, atol=1e-12)  # three whole waves an hour
    tide = np.cos(M2 * often / (60 * minute))
    sinc = np.sinc(
        M2 / (2 * np.pi)
    )  # what an hour's mean leaves of it, in ten minutes' trapezia to a thousandth of that
    np.testing.assert_allclose(
        levels_at(often, tide, hours), sinc * np.cos(M2 * hours / (60 * minute)), atol=1e-3
    )
    np.testing.assert_array_equal(levels_at(hours, np.arange(4.0), hours), np.arange(4.0))
    between = hours - 30 * minute
    np.testing.assert_allclose(levels_at(between, np.arange(4.0), hours)[:3], [0.5, 1.5, 2.5])
    late = levels_at(hours + 20 * minute, np.arange(4.0), hours)
    assert np.isnan(late).all()  # twenty minutes from the hour is another level
    lost = np.delete(often, np.arange(7, 13))
    assert np.isnan(levels_at(lost, np.zeros(lost.size), hours)).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("methods", "hours"),
    [("time: point", 0.5), ("time: point area: mean where sea", 0.5), ("area: mean", 0.5), ("time: mean", 3.0),
     ("area: time: mean", 3.0), ("time: mean (interval: 1 h) area: mean where sea", 3.0)],
)  # fmt: skip
def test_only_means_over_time_are_compared_with_means_over_their_step(methods: str, hours: float) -> None:
    """A store of instants that was coarsened holds means over the area; its six hours are no mean."""
    truth = xr.Dataset({"zos": ((), 0.0, {"cell_methods": methods})})
    assert _half_window(truth, 6 * 3600) == hours * 3_600_000


@pytest.mark.parametrize("name", ["truth", "gauge"])
def test_a_forecast_may_not_bear_the_name_of_a_row_at_gauges(name: str, level_sea: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=f"a forecast is called '{name}', which is a row of its own"):
        evaluate(made(level_sea, model=name), level_sea, baselines=[], gauges=gauge(level_sea))


def test_a_gauge_is_read_in_the_nearest_wet_cell_and_its_distance_told(scores: xr.Dataset) -> None:
    facts = json.loads(scores.attrs["gauges"])
    assert facts[0]["cell"] == [5, 5]
    assert facts[0]["distance_m"] == pytest.approx(0.02 * 111195 * np.cos(np.deg2rad(55.25)), rel=1e-3)
    assert facts[0]["datum"] == "NAP"
    assert facts[0]["coverage"] == 1.0


def test_a_gauge_on_the_island_is_read_beside_it(level_sea: xr.Dataset) -> None:
    table = evaluate(
        made(level_sea), level_sea, baselines=[], gauges=gauge(level_sea, place=(55.25, 15.7195), cell=(5, 8))
    )
    assert json.loads(table.attrs["gauges"])[0]["cell"] == [
        5,
        8,
    ]  # 5, 9 is land, 5, 8 a little nearer than 5, 10


def test_rows_of_gauges_are_in_the_table_of_scores_and_fields_are_scored_as_before(
    level_sea: xr.Dataset, scores: xr.Dataset, tmp_path: Path
) -> None:
    own = made(level_sea, error=0.02, bias=0.1)
    without = evaluate(own, level_sea, baselines=["persistence"])
    with_gauges = scores.sel(band="all", forecaster=without["forecaster"], metric=without["metric"])
    for name in ("value", "low", "high", "count"):
        np.testing.assert_array_equal(with_gauges[name], without[name].squeeze("band"))
    assert np.isnan(scores["value"].sel(forecaster="truth", band="all")).all()
    save_store(level_sea, tmp_path / "sea.zarr", splits=SPLITS)
    gauge(level_sea).to_netcdf(tmp_path / "pier.nc")
    evaluate(
        own,
        tmp_path / "sea.zarr",
        baselines=["persistence"],
        gauges=tmp_path / "pier.nc",
        to=tmp_path,
        report=False,
    )
    rows = pd.read_csv(tmp_path / "scores.csv")
    row = rows[(rows["band"] == "Pier") & (rows["metric"] == "centred_rmse") & (rows["lead_hours"] == "7")]
    assert row.set_index("forecaster")["value"]["wrong"] == pytest.approx(
        value(scores, "centred_rmse", lead="7"), rel=1e-5
    )
    assert set(rows[rows["band"] == "gauges 6-18 h"]["metric"]) == {"rmse", "correlation", "nash_sutcliffe"}
    with xr.open_dataset(tmp_path / "scores.nc") as saved:
        assert "never over one event" in saved.attrs["gauge_method"]


def test_the_truth_is_read_where_gauges_measured_and_nowhere_else(
    level_sea: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gauge that begins late and ends early: the means are of what both hold, whatever the blocks of reading."""
    pier = gauge(level_sea).isel(time=slice(20, 90))
    tables = []
    for block in (2**26, 1):
        monkeypatch.setattr("forecasting.gauges.BLOCK", block)
        tables.append(evaluate(made(level_sea), level_sea, baselines=[], gauges=pier))
    xr.testing.assert_equal(*tables)
    facts = json.loads(tables[0].attrs["gauges"])[0]
    assert facts["window"] == "2020-01-01 20:00 to 2020-01-04 17:00 UTC, 70 times"
    assert facts["mean_truth_m"] == pytest.approx(float(level_sea["zos"][20:90, 5, 5].mean()), abs=1e-4)
    assert _measured([pier], milliseconds(level_sea["time"].values), 0) == slice(20, 90)


def test_intervals_are_of_starts(level_sea: xr.Dataset) -> None:
    hours = FIRST + np.arange(24, 84) * HOUR
    valid = hours[:, None] + HOUR
    own = made(level_sea).isel(lead_time=[0]).drop_vars(["zos", "valid_time", "init_time"])
    level = level_sea["zos"].sel(time=valid[:, 0]).values[:, None]
    noise = 0.05 * np.random.default_rng(0).standard_normal((60, 1, 1, 1))
    own = own.assign_coords(init_time=hours, valid_time=(("init_time", "lead_time"), valid))
    own["zos"] = (("init_time", "lead_time", *level_sea["mask"].dims), (level + noise).astype(np.float32))
    own["zos"].attrs = cf_attributes("zos")
    table = evaluate(own, level_sea, baselines=[], gauges=gauge(level_sea, noise=0.0))
    at = {"forecaster": "wrong", "variable": "zos", "metric": "rmse", "band": "Pier", "lead_hours": "1"}
    low, high = (float(table[end].sel(at)) for end in ("low", "high"))
    assert low < value(table, "rmse", lead="1") < high
    # 60 normal errors of 0.05 m: the root mean square is known to 1 / sqrt(120), 9 %, twice that to each side
    assert high - low == pytest.approx(4 * 0.05 / np.sqrt(120), rel=0.35)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "outside": (
        {"place": (30.4, -81.4)},
        r"Pier at 30.4 N, -81.4 E lies \d+ km outside the domain, which spans 55.0 to",
    ),
    "on land": (
        {"place": (54.95, 14.93)},
        r"Pier at 54.95 N, 14.93 E lies 17 km from the nearest ocean cell, and 16.7 km",
    ),
    "a gap": (
        {"lost": slice(40, 60)},
        r"Pier has a level at \d\d % of the 288 times that are forecast, and 90 %",
    ),
    "a name": ({"name": "gauges"}, "the gauge name 'gauges' is a word of the scores"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_gauge_that_cannot_be_compared_is_refused_in_a_sentence(case: str, level_sea: xr.Dataset) -> None:
    changes, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        evaluate(made(level_sea), level_sea, baselines=[], gauges=gauge(level_sea, **changes))


def test_gauges_of_other_times_twice_none_and_for_currents_are_refused(
    level_sea: xr.Dataset, ocean: xr.Dataset
) -> None:
    own, pier = made(level_sea), gauge(level_sea)
    later = pier.assign_coords(time=pier["time"].values + np.timedelta64(365, "D"))
    with pytest.raises(
        ValueError, match=r"Pier, with levels from 2020-12-31.* share no time; give levels of these"
    ):
        evaluate(own, level_sea, baselines=[], gauges=later)
    with pytest.raises(ValueError, match="the gauge name 'Pier' is given twice"):
        evaluate(own, level_sea, baselines=[], gauges=[pier, pier])
    with pytest.raises(ValueError, match="there is no gauge"):
        evaluate(own, level_sea, baselines=[], gauges=[])
    current = own.rename(zos="uo")
    current["uo"].attrs = cf_attributes("uo")
    with pytest.raises(
        ValueError, match=r"gauges measure the sea level .zos., and the forecasts .* share uo"
    ):
        evaluate(current, ocean, baselines=[], gauges=pier)


def test_a_small_gap_lowers_the_count_and_leaves_bands_to_whole_starts(level_sea: xr.Dataset) -> None:
    pier = gauge(level_sea, lost=slice(30, 31))
    table = evaluate(made(level_sea), level_sea, baselines=[], gauges=pier)
    at = {"forecaster": "wrong", "variable": "zos", "metric": "rmse", "lead_hours": "all"}
    valid = made(level_sea)["valid_time"].values
    lost = valid == level_sea["time"].values[30]
    assert int(table["count"].sel(at | {"band": "Pier"})) == valid.size - lost.sum()
    assert int(table["count"].sel(at | {"band": "Pier 6-18 h"})) == (~lost.any(1)).sum() * LEADS


def test_a_reader_s_series_goes_straight_in(level_sea: xr.Dataset, tmp_path: Path) -> None:
    pier = gauge(level_sea)
    frame = pier["level"].to_dataframe()[["level"]].reset_index()
    frame["time"] = (frame["time"] + pd.Timedelta(hours=1)).dt.strftime("%Y-%m-%d %H:%M")
    frame.rename(columns={"level": "level (m)"}).to_csv(tmp_path / "pier.csv", index=False)
    read = read_gauge(
        tmp_path / "pier.csv", name="Pier", latitude=PLACE[0], longitude=PLACE[1], time_zone="MET"
    )
    own = made(level_sea, error=0.02)
    tables = [evaluate(own, level_sea, baselines=[], gauges=each) for each in (pier, read)]
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=1e-9)


@pytest.fixture(scope="module")
def page(level_sea: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    to = tmp_path_factory.mktemp("report")
    own = made(level_sea, error=0.02, bias=0.1).assign_attrs(run='{"training": {"seed": 1}}')
    gauges = [gauge(level_sea), gauge(level_sea, name="Mole & Quay", place=(55.3, 16.0), cell=(6, 12))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.tiles.TILES", 1)  # maps of one lead are enough
        evaluate(own, level_sea, baselines=["persistence"], gauges=gauges, to=to)
    return (to / "report.html").read_text(encoding="utf-8")


def test_the_report_tells_where_gauges_are_and_how_well_each_is_forecast(
    page: str, scores: xr.Dataset
) -> None:
    section = re.search(r'<section aria-labelledby="gauges">.*?</section>', page, re.S)
    assert section is not None
    text = section.group()
    assert re.search(
        r'<th scope="row">Pier</th><td>55.250 °N, 15.420 °E</td><td>1.3 km</td><td>NAP</td>', text
    )
    captions = re.findall(r"<caption>(.*?)</caption>", text)
    assert captions[1:] == [
        "RMSE of the level at 2 gauges, m; * is best",
        "All gauges, all leads; errors in m; * is best",
        "Pier, all leads; errors in m; * is best",
        "Mole &amp; Quay, all leads; errors in m; * is best",
    ]
    pier = text.split("<caption>Pier")[1]
    row = re.search(r'<th scope="row">wrong</th>(.*?)</tr>', pier)
    assert row is not None
    cells = [float(cell) for cell in re.findall(r"<td[^>]*>(-?[\d.]+)</td>", row.group(1))]
    metrics = ("rmse", "bias", "centred_rmse", "correlation", "nash_sutcliffe", "kling_gupta")
    expected = [value(scores, metric) for metric in metrics]
    expected += [value(scores, "rmse", band=f"Pier {band}") for band in ("under 6 h", "6-18 h", "over 18 h")]
    np.testing.assert_allclose(cells[:-1], expected, atol=5e-4)  # three figures behind the point
    assert cells[-1] == len(STARTS) * LEADS


def test_the_truth_does_not_compete_at_gauges_and_is_no_forecaster_of_fields(page: str) -> None:
    section = page.split('<section aria-labelledby="gauges">')[1].split("</section>")[0]
    rows = re.findall(r'<th scope="row">truth</th>(.*?)</tr>', section)
    assert len(rows) == 4
    assert not any("best" in row for row in rows)
    assert '<th scope="row">truth</th>' not in page.replace(section, "")
    assert section.count('<svg class="curve"') == 4  # two scores by lead, and the highest water of two gauges
    assert "never over one event" in page
    assert "At 2 gauges the level is forecast best by wrong, with a root mean square error of 0." in page


def test_a_page_without_gauges_has_no_word_of_them(level_sea: xr.Dataset, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.tiles.TILES", 1)
        evaluate(made(level_sea), level_sea, baselines=[], to=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gauge" not in re.sub(r'<script type="text/plain".*?</script>', "", page, flags=re.S).lower()


def run_command(*words: str) -> int:
    """Exit code of the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["oceanop", *words])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)


def test_the_command_takes_gauges_and_refuses_in_a_sentence(
    level_sea: xr.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, own, pier = tmp_path / "sea.zarr", tmp_path / "own.nc", tmp_path / "pier.nc"
    save_store(level_sea, store, splits=SPLITS)
    made(level_sea).to_netcdf(own)
    gauge(level_sea).to_netcdf(pier)
    words = ("evaluate", str(own), "--truth", str(store), "--baseline", "persistence", "--quiet", "--gauges")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.tiles.TILES", 1)
        assert run_command(*words, str(pier), "--to", str(tmp_path / "report")) == 0
    assert "gauges over 18 h" in (tmp_path / "report" / "scores.csv").read_text()
    capsys.readouterr()
    (tmp_path / "silent.csv").write_text("time,level\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n")
    assert run_command(*words, str(tmp_path / "silent.csv"), "--to", str(tmp_path / "other")) == 2
    said = capsys.readouterr().err
    assert said == (
        'oceanop: silent.csv: the unit of the levels is not known; give it, as in units = "m" or "cm".\n'
    )
    assert not (tmp_path / "other").exists()
