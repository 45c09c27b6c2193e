"""Tides come back from records that were made of them, and a real storm stands out of a real record."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import utide
import xarray as xr

from forecasting import predicted_tide, skew_surge, tidal_analysis, tidal_residual

MAYPORT = Path(__file__).parents[1] / "records" / "mayport_2017.csv.gz"
LATITUDE = 30.3967
HOUR = np.timedelta64(1, "h")
# Amplitude (m) and Greenwich phase (degrees) of a made-up shelf sea
LINES = {"M2": (1.2, 40.0), "S2": (0.4, 110.0), "N2": (0.25, 15.0), "K1": (0.15, 200.0), "O1": (0.1, 330.0)}


def hours(count: int, first: str = "2019-03-01") -> np.ndarray:
    return np.datetime64(first, "ns") + np.arange(count) * HOUR


def equilibrium(times: np.ndarray, lines: dict[str, tuple[float, float]], latitude: float) -> np.ndarray:
    """Sum of lines with their astronomical arguments and nodal factors, by the library's own basis."""
    from utide.harmonics import ut_E

    days = (times - np.datetime64("1970-01-01", "ns")) / np.timedelta64(1, "D") + 719163
    index = [utide.constit_index_dict[name] for name in lines]
    frequency = utide.ut_constants.const.freq[index]
    basis = ut_E(days, days.mean(), frequency, index, latitude, [False] * 4, [])
    return sum(
        amplitude * np.real(basis[:, i] * np.exp(-1j * np.deg2rad(phase)))
        for i, (amplitude, phase) in enumerate(lines.values())
    )


@pytest.fixture(scope="module")
def mayport() -> pd.Series:
    table = pd.read_csv(MAYPORT, skipinitialspace=True, parse_dates=[0], index_col=0)
    return table.iloc[:, 0]


@pytest.fixture(scope="module")
def analysis(mayport: pd.Series) -> xr.Dataset:
    return tidal_analysis(mayport.index.values, mayport.values, latitude=LATITUDE)


def test_known_lines_come_back() -> None:
    times = hours(24 * 60)
    found = tidal_analysis(times, 0.3 + equilibrium(times, LINES, 55.0), latitude=55.0)
    for name, (amplitude, phase) in LINES.items():
        line = found.sel(constituent=name)
        # Lines that were not put in take some tenths of a millimetre of the neighbours that a month cannot tell apart
        assert float(line["amplitude"]) == pytest.approx(amplitude, abs=1e-4)
        assert float(line["phase"]) == pytest.approx(phase, abs=0.05)
        assert float(line["snr"]) > 1e3
    assert float(found["mean"]) == pytest.approx(0.3, abs=1e-4)
    assert found["constituent"].values[:3].tolist() == ["M2", "S2", "N2"]


def test_an_hour_of_the_wrong_time_zone_turns_m2_by_29_degrees() -> None:
    """28.984 degrees an hour is the speed of M2: the mark of local time taken for UTC."""
    times = hours(24 * 40)
    levels = equilibrium(times, LINES, 52.0)
    right, wrong = (
        tidal_analysis(each, levels, latitude=52.0)["phase"].sel(constituent="M2")
        for each in (times, times + HOUR)
    )
    assert float(wrong - right) == pytest.approx(28.984, abs=0.05)


@pytest.mark.parametrize(
    ("days", "separated", "together"),
    [(3, ["M2", "K1"], ["O1", "S2"]), (15, ["M2", "S2", "O1"], ["N2"]), (29, ["N2", "Q1"], ["K2", "P1"])],
)
def test_a_record_separates_what_its_length_allows(
    days: int, separated: list[str], together: list[str]
) -> None:
    times = hours(24 * days + 1)
    found = tidal_analysis(times, equilibrium(times, LINES, 50.0), latitude=50.0)
    assert set(separated) <= set(found["constituent"].values)
    assert set(together) <= set(found["inseparable"].values)
    assert (found["days_needed"] > days).all()
    assert (found["days_needed"].diff("inseparable") >= 0).all()


def test_days_needed_are_those_of_rayleigh() -> None:
    """S2 from M2: 14.77 days, the spring-neap cycle; K2 from S2: half a year."""
    times = hours(24 * 5)
    needed = tidal_analysis(times, equilibrium(times, LINES, 50.0), latitude=50.0)["days_needed"]
    assert float(needed.sel(inseparable="S2")) == pytest.approx(14.765, abs=0.01)
    assert float(needed.sel(inseparable="K2")) == pytest.approx(182.6, abs=0.1)


def test_noise_is_told_from_tide() -> None:
    times = hours(24 * 60)
    noise = 0.1 * np.random.default_rng(0).standard_normal(times.size)
    found = tidal_analysis(times, equilibrium(times, {"M2": (0.5, 0.0)}, 50.0) + noise, latitude=50.0)
    assert float(found["snr"].sel(constituent="M2")) > 100
    others = found.drop_sel(constituent="M2")
    assert (others["snr"] < 10).mean() > 0.8
    # Least squares: variance of an amplitude is 2 sigma^2 / n, so half a 95 % interval is 1.96 * 0.1 * sqrt(2 / 1440);
    # neighbouring lines take noise out of the band that it is estimated from, and a band is few frequencies
    assert 0.0073 / 2 < float(found["amplitude_error"].sel(constituent="M2")) < 2 * 0.0073


def test_gaps_and_missing_levels_leave_the_tide_as_it_is() -> None:
    times = hours(24 * 60)
    levels = equilibrium(times, LINES, 55.0)
    levels[100:220] = np.nan
    levels[-50:] = np.nan
    kept = np.r_[0:400, 500 : times.size]
    found = tidal_analysis(times[kept], levels[kept], latitude=55.0)
    assert float(found["amplitude"].sel(constituent="M2")) == pytest.approx(1.2, abs=2e-3)
    assert found.attrs["levels"] == np.isfinite(levels[kept]).sum()


def test_irma_stands_out_of_the_record_of_mayport(analysis: xr.Dataset, mayport: pd.Series) -> None:
    residual = tidal_residual(analysis, mayport.index.values, mayport.values)
    storm = residual.idxmax("time").values
    assert storm == np.datetime64("2017-09-11T10:00")
    assert float(residual.max()) == pytest.approx(1.66, abs=0.005)
    assert float(residual.std()) == pytest.approx(0.139, abs=0.001)
    assert float(analysis["amplitude"].sel(constituent="M2")) == pytest.approx(0.673, abs=0.003)


def test_prediction_is_that_of_the_library_and_survives_a_file(
    analysis: xr.Dataset, mayport: pd.Series, tmp_path: Path
) -> None:
    times = mayport.index.values[:500]
    own = utide.solve(mayport.index.values, mayport.values, lat=LATITUDE, trend=False, verbose=False)
    expected = utide.reconstruct(times, own, verbose=False).h
    np.testing.assert_allclose(predicted_tide(analysis, times), expected, atol=1e-12)
    analysis.to_netcdf(tmp_path / "mayport.nc")
    with xr.open_dataset(tmp_path / "mayport.nc") as again:
        np.testing.assert_array_equal(predicted_tide(again, times), predicted_tide(analysis, times))


def test_a_trend_is_found_and_continued() -> None:
    times = hours(24 * 60)
    rising = 0.002 * np.arange(times.size) / 24
    found = tidal_analysis(times, equilibrium(times, LINES, 55.0) + rising, latitude=55.0, trend=True)
    assert float(found["slope"]) == pytest.approx(0.002, rel=0.01)
    np.testing.assert_allclose(
        tidal_residual(found, times, equilibrium(times, LINES, 55.0) + rising), 0.0, atol=2e-3
    )


def test_a_pure_tide_has_no_skew_surge_and_a_raised_one_the_rise() -> None:
    times = hours(24 * 60)
    tide = equilibrium(times, LINES, 55.0)
    found = tidal_analysis(times, tide, latitude=55.0)
    np.testing.assert_allclose(skew_surge(found, times, tide)["skew_surge"], 0.0, atol=1e-3)
    raised = skew_surge(found, times, tide + 0.5)
    np.testing.assert_allclose(raised["skew_surge"], 0.5, atol=1e-3)
    # Two high waters a lunar day of 24.84 h; the first and the last low water bound no whole tide
    assert raised.sizes["time"] == pytest.approx(2 * 60 * 24 / 24.84, abs=2)


def test_a_late_tide_is_no_skew_surge() -> None:
    times = hours(24 * 60)
    found = tidal_analysis(times, equilibrium(times, LINES, 55.0), latitude=55.0)
    late = equilibrium(times - np.timedelta64(40, "m"), LINES, 55.0)
    assert np.abs(tidal_residual(found, times, late)).max() > 0.3
    assert np.abs(skew_surge(found, times, late)["skew_surge"]).max() < 0.05


def test_a_tide_with_a_gap_has_no_skew_surge() -> None:
    times = hours(24 * 60)
    tide = equilibrium(times, LINES, 55.0)
    found = tidal_analysis(times, tide, latitude=55.0)
    whole = skew_surge(found, times, tide)["time"].values
    kept = np.r_[0:300, 303 : times.size]
    left = skew_surge(found, times[kept], tide[kept])["time"].values
    lost = np.setdiff1d(whole, left)
    assert 1 <= lost.size <= 2
    assert (np.abs(lost - times[301]) < np.timedelta64(13, "h")).all()


def test_times_of_any_kind_are_the_same_instants(analysis: xr.Dataset, mayport: pd.Series) -> None:
    times = mayport.index[:48]
    expected = predicted_tide(analysis, times.values)
    zoned = times.tz_localize("UTC").tz_convert("America/New_York")
    for each in (times, zoned, list(times.to_pydatetime()), xr.DataArray(times, dims="time")):
        np.testing.assert_array_equal(predicted_tide(analysis, each), expected)
    np.testing.assert_allclose(
        predicted_tide(analysis, times[3]), expected[3:4], atol=1e-12
    )  # another order of sums


def test_what_is_no_record_is_refused_in_a_sentence() -> None:
    times = hours(24 * 20)
    levels = np.zeros(times.size)
    with pytest.raises(ValueError, match="do not increase; sort the record and drop what is there twice"):
        tidal_analysis(times[::-1], levels, latitude=50.0)
    with pytest.raises(ValueError, match="a place lies between 90 S and 90 N"):
        tidal_analysis(times, levels, latitude=95.0)
    with pytest.raises(ValueError, match=r"10 levels over 9.0 h separates no tidal line"):
        tidal_analysis(times[:10], levels[:10], latitude=50.0)
    with pytest.raises(ValueError, match="the times are numbers without a reference"):
        tidal_analysis(np.arange(times.size), levels, latitude=50.0)
    months = xr.date_range("2001-01-01", periods=12, freq="MS", calendar="360_day", use_cftime=True)
    with pytest.raises(ValueError, match="no dates of the real calendar"):
        tidal_analysis(months, np.zeros(12), latitude=50.0)
    with pytest.raises(ValueError, match="one series of each"):
        tidal_analysis(times, levels[:-1], latitude=50.0)
    with pytest.raises(ValueError, match=r"0 levels over 0.0 h"):
        tidal_analysis(times, np.full(times.size, np.nan), latitude=50.0)


def test_phases_are_those_at_greenwich_by_the_moon_and_the_sun_themselves() -> None:
    """M2 follows twice the hour angle of the mean moon, S2 that of the mean sun: mean longitudes after Meeus, 1998."""
    times = hours(24 * 365, "2019-01-01")
    since = (times - np.datetime64("2000-01-01T12", "ns")) / np.timedelta64(1, "D")  # days
    hour = (times - times.astype("datetime64[D]")) / HOUR  # UTC
    moon, sun = 218.3165 + 13.17639648 * since, 280.4665 + 0.98564736 * since
    lines = {"M2": (0.8, 77.0, 2 * (15 * hour + sun - moon)), "S2": (0.3, 123.0, 30 * hour)}
    levels = sum(a * np.cos(np.deg2rad(argument - g)) for a, g, argument in lines.values())
    found = tidal_analysis(times, levels, latitude=52.0)
    for name, (amplitude, phase, _) in lines.items():
        # No nodal correction was put in: that of M2 is 3.7 % and 2.1 degrees, that of S2 0.2 % and 0.2 degrees
        assert float(found["phase"].sel(constituent=name)) == pytest.approx(phase, abs=2.2)
        assert float(found["amplitude"].sel(constituent=name)) == pytest.approx(amplitude, rel=0.04)
    # High water at three in UTC
    late = tidal_analysis(times[: 24 * 60], np.cos(2 * np.pi * (hour[: 24 * 60] - 3) / 12), latitude=52.0)
    assert float(late["phase"].sel(constituent="S2")) == pytest.approx(90.0, abs=0.3)


def test_levels_too_far_apart_are_no_record_of_a_tide() -> None:
    """Once a day S2 is a constant and M2 a wave of a fortnight; at three hours the lines of six are gone."""
    times = hours(24 * 120)
    levels = equilibrium(times, LINES, 50.0)
    for every in (4, 24):
        with pytest.raises(
            ValueError, match=rf"the levels are {every} h apart, and lines of half a day pass for"
        ):
            tidal_analysis(times[::every], levels[::every], latitude=50.0)
    third = tidal_analysis(times[::3], levels[::3], latitude=50.0)
    assert float(third["amplitude"].sel(constituent="M2")) == pytest.approx(1.2, abs=1e-3)
    assert (third["frequency"] < 1 / 6).all()
    assert {"M6", "M8", "S4"}.isdisjoint([*third["constituent"].values, *third["inseparable"].values])
    with pytest.raises(
        ValueError, match=r"levels at most 1.5 h apart to hold the high waters, and 960 came, 3 h apart"
    ):
        skew_surge(third, times[::3], levels[::3])
    with pytest.raises(ValueError, match="and 0 came; give hourly ones"):
        skew_surge(third, times, np.full(times.size, np.nan))


def test_a_still_sea_has_no_line_and_the_equator_a_latitude() -> None:
    times = hours(24 * 40)
    still = tidal_analysis(times, np.full(times.size, 0.4), latitude=0.0)
    assert (still["snr"] == 0).all()  # what rounding leaves is no line
    np.testing.assert_allclose(predicted_tide(still, times), 0.4, atol=1e-12)
    levels = equilibrium(times, LINES, 1.0)
    found = tidal_analysis(times, levels, latitude=0.0)
    assert float(found["amplitude"].sel(constituent="M2")) == pytest.approx(1.2, abs=1e-3)


def test_blocks_of_times_leave_the_prediction_as_it_is(
    analysis: xr.Dataset, mayport: pd.Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = mayport.index.values[:1000]
    whole = predicted_tide(analysis, times)
    monkeypatch.setattr("forecasting.harmonics.BLOCK", 17)
    np.testing.assert_allclose(predicted_tide(analysis, times), whole, atol=1e-12)  # another order of sums
