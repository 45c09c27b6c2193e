"""The local weather's regression: exact where the sea is what it takes it for, honest where it is not."""

import numpy as np
import pytest
import torch
import xarray as xr

from forecasting import Initial, WindRegression, baseline, evaluate, forecast
from forecasting.baselines import forcing_of
from forecasting.baselines.ridge import PENALTIES, Ridge
from forecasting.baselines.wind_regression import LAGS, LocalWeather
from oceanop.checkpoint import Checkpoint
from oceanop.constants import GRAVITY
from oceanop.dynamics.drag import stress
from oceanop.layout import cf_attributes

HOUR = np.timedelta64(1, "h")
FIRST = np.datetime64("2020-01-01T00", "ns")
VARIABLES = ("u10", "v10", "msl")
WET = torch.ones(2, 2, 3, dtype=torch.bool)
WET[:, 0, 0] = False
WET[1, 1, 2] = False  # a current has fewer cells than the level


def weather(count: int, seed: int = 0) -> torch.Tensor:
    """Wind and pressure of 2 x 3 cells, hour by hour nearly independent, so that every band shows."""
    generator = np.random.default_rng(seed)
    wind = 6 * generator.standard_normal((2, count, 2, 3))
    pressure = 101000 + 900 * generator.standard_normal((1, count, 2, 3))
    return torch.from_numpy(np.concatenate([wind, pressure]).astype(np.float32))


def mean_stress(forcing: torch.Tensor, first: int, last: int) -> np.ndarray:
    """Mean over lags ``first`` to ``last``, ``[2, time, y, x]``; the first 48 hours are not whole."""
    blowing = np.stack(stress(*forcing[:2].double().numpy()))
    return np.mean([np.roll(blowing, lag, axis=1) for lag in range(first, last + 1)], axis=0)


def answering_sea(forcing: torch.Tensor) -> torch.Tensor:
    """A level and a current that are linear in what the regression looks at, other in each cell."""
    share = np.linspace(0.5, 2.0, 6).reshape(2, 3)
    near, middle, far = (mean_stress(forcing, *band) for band in ((1, 1), (4, 6), (43, 48)))
    barometer = -(forcing[2].double().numpy() - 101000) / (1010 * GRAVITY)
    level = 0.2 + share * (0.8 * near[0] - 0.5 * middle[1] + 0.3 * far[0]) + 0.9 * barometer
    current = -0.1 + 0.6 * near[1] / share + 0.2 * far[1]
    return torch.where(WET[:, None], torch.from_numpy(np.stack([level, current])).float(), 0.0)


def times(steps: np.ndarray) -> np.ndarray:
    return FIRST + steps * HOUR


def fitted_on(
    steps: np.ndarray, sea: torch.Tensor, forcing: torch.Tensor, **options: object
) -> WindRegression:
    return WindRegression.fit(
        sea[:, steps], times(steps), WET, forcing=forcing[:, steps], variables=VARIABLES, **options
    )


def forecast_from(
    forecaster: WindRegression, start: int, leads: int, sea: torch.Tensor, forcing: torch.Tensor
) -> torch.Tensor:
    past = slice(start - forecaster.history + 1, start + 1)
    initial = Initial(sea[:, past], times(np.arange(past.start, past.stop)))
    states = forecaster.forecast(initial, forcing[:, past.start : start + leads + 1], leads)
    return torch.stack([state.values for state in states], 1)


def test_a_sea_that_answers_the_local_weather_is_forecast_exactly() -> None:
    forcing = weather(700)
    sea = answering_sea(forcing)
    forecaster = fitted_on(np.arange(48, 600), sea, forcing)
    forecast_states = forecast_from(forecaster, 620, 70, sea, forcing)
    # The smallest penalty, 1e-8, biases coefficients by as much; states of order 1 are kept in float32, 1e-7
    assert (forecast_states - sea[:, 621:691]).abs().max() < 2e-6


def test_it_finds_the_lags_at_which_the_sea_answers() -> None:
    forcing = weather(700)
    forecaster = fitted_on(np.arange(48, 700), answering_sea(forcing), forcing)
    coefficients = forecaster.coefficients[:, 0, 1, 1]
    share = np.linspace(0.5, 2.0, 6)[4]
    expected = np.zeros(2 * len(LAGS) + 1)
    bands = forecaster.predictors.bands
    expected[2 * bands.index((1, 1))] = 0.8 * share
    expected[2 * bands.index((4, 6)) + 1] = -0.5 * share
    expected[2 * bands.index((43, 48))] = 0.3 * share
    expected[-1] = 0.9
    assert coefficients == pytest.approx(expected, abs=1e-5)
    # The constant stands for a stress and a pressure of nothing
    at_rest = 0.2 + 0.9 * 101000 / (1010 * GRAVITY)
    assert forecaster.constant[0, 1, 1] == pytest.approx(at_rest, abs=1e-4)


def test_what_lies_across_a_gap_is_no_past() -> None:
    forcing = weather(900)
    sea = answering_sea(forcing)
    # With 100 hours lost in between, 48 states after the gap have no past of their own
    forecaster = fitted_on(np.r_[48:450, 550:800], sea, forcing)
    assert (forecast_from(forecaster, 820, 30, sea, forcing) - sea[:, 821:851]).abs().max() < 2e-6


def test_the_rest_of_the_start_fades_as_it_did_in_training() -> None:
    count = 4000
    forcing = weather(count)
    noise = np.random.default_rng(1).standard_normal((2, count, 2, 3))
    rest = np.zeros_like(noise)
    for i in range(1, count):
        rest[:, i] = 0.9 * rest[:, i - 1] + 0.1 * noise[:, i]
    sea = torch.where(WET[:, None], answering_sea(forcing) + torch.from_numpy(rest).float(), 0.0)
    forecaster = fitted_on(np.arange(48, 3500), sea, forcing, leads=10)
    # 3500 hours of 5 cells, ten hours of memory: 1700 independent ones, a correlation's error of 0.02 at most
    assert forecaster.damping.rho[0].numpy() == pytest.approx(0.9 ** np.arange(1, 11), abs=0.06)
    made = forecast_from(forecaster, 3700, 10, sea, forcing)
    explained = answering_sea(forcing)[:, 3701:3711]
    expected = 0.9 ** np.arange(1, 11)[:, None, None] * rest[:, 3700][:, None]
    error = torch.where(WET[:, None], made - explained - torch.from_numpy(expected).float(), 0.0)
    # What the fit got wrong of the rest's mean and slope
    assert error.abs().max() < 0.1


def test_a_sea_that_does_not_answer_is_forecast_by_its_mean() -> None:
    forcing = weather(600)
    noise = torch.randn(2, 600, 2, 3, generator=torch.Generator().manual_seed(0))
    forecaster = fitted_on(np.arange(600), torch.where(WET[:, None], 3 + noise, 0.0), forcing)
    # 27 predictors and the strongest penalty, eleven times the variance: a mean, to a tenth of the noise
    assert forecaster.coefficients.shape[0] == 27
    made = forecast_from(forecaster, 500, 90, 3 + noise, forcing)[:, 40:]
    assert (made - 3)[WET[:, None].expand_as(made)].std() < 0.15


def test_the_penalty_is_the_one_that_forecasts_the_end_of_the_record_best() -> None:
    generator = np.random.default_rng(0)
    predictors = generator.standard_normal((200, 12, 40))
    clear = np.einsum("npx,p->nx", predictors, generator.standard_normal(12))
    hidden = 0.05 * clear + generator.standard_normal(clear.shape)
    ridge = Ridge.fit([(predictors, np.stack([clear, hidden]))], 2)
    assert ridge.penalty[0] == PENALTIES[0]
    assert ridge.penalty[1] >= 0.1
    # In parts it is the same
    halves = [
        (predictors[..., part], np.stack([clear, hidden])[..., part])
        for part in (slice(0, 13), slice(13, None))
    ]
    apart = Ridge.fit(halves, 2)
    assert np.allclose(apart.coefficients, ridge.coefficients, rtol=1e-12, atol=1e-14)
    # Normal equations of least squares with a penalty on predictors of deviation 1
    x = predictors[..., 7] - predictors[..., 7].mean(0)
    scale = x.std(0)
    matrix = (x / scale).T @ (x / scale) / 200 + ridge.penalty[1] * np.eye(12)
    solved = np.linalg.solve(matrix, (x / scale).T @ hidden[:, 7] / 200) / scale
    assert ridge.coefficients[:, 1, 7] == pytest.approx(solved)


def test_a_predictor_that_never_changes_explains_nothing() -> None:
    generator = np.random.default_rng(0)
    predictors = generator.standard_normal((100, 3, 2))
    predictors[:, 1] = 0.3
    predictors[:, 2, 1] = 0.0  # forcing that a rim of the domain lacks
    ridge = Ridge.fit([(predictors, 2 * predictors[None, :, 0])], 1)
    assert (ridge.coefficients[1] == 0).all()
    assert ridge.coefficients[2, 0, 1] == 0
    assert ridge.coefficients[0] == pytest.approx(2.0)


def test_bands_of_lags_cover_two_days_once_at_every_time_step() -> None:
    for step, longest in ((1800, 96), (3600, 48), (3 * 3600, 16), (6 * 3600, 8), (86400, 2), (31 * 86400, 0)):
        bands = LocalWeather.of(VARIABLES, step).bands
        lags = [lag for first, last in bands for lag in range(first, last + 1)]
        assert lags == list(range(longest + 1))


def test_stress_is_taken_for_stress_and_wind_turned_into_it() -> None:
    forcing = weather(60).flatten(2).double().numpy()
    by_wind = LocalWeather.of(("u10", "v10", "msl"), 3600)(forcing)
    by_stress = LocalWeather.of(("tauu", "tauv"), 3600)(np.stack(stress(*forcing[:2])))
    assert by_wind.shape == (12, 27, 6)
    assert by_stress == pytest.approx(by_wind[:, :26], abs=1e-12)
    held = ["zos", "u10", "v10", "tauu", "tauv", "msl"]
    assert forcing_of("wind-regression", held) == ("tauu", "tauv", "msl")
    assert forcing_of("wind-regression", held[:3]) == ("u10", "v10")
    assert forcing_of("persistence", held) == ()


def test_months_know_the_wind_of_their_month_alone() -> None:
    months = (np.datetime64("2002-01") + np.arange(60)).astype("datetime64[ns]")
    forcing = weather(60)
    sea = torch.from_numpy(np.stack([stress(*forcing[:2].numpy())[0]] * 2)).float()
    forecaster = WindRegression.fit(
        sea, months, WET, time_step=31 * 86400, forcing=forcing[:2], variables=VARIABLES[:2]
    )
    assert forecaster.history == 1
    states = forecaster.forecast(Initial(sea[:, 20:21], months[20:21]), forcing[:2, 20:25], 4)
    made = torch.stack([state.values for state in states], 1)
    assert (made - torch.where(WET[:, None], sea[:, 21:25], 0.0)).abs().max() < 1e-5


def test_a_missing_wind_or_past_is_refused_in_a_sentence() -> None:
    forcing, sea = weather(80), torch.zeros(2, 80, 2, 3)
    with pytest.raises(
        ValueError, match=r"needs the wind, as 'u10' and 'v10' or .* the store holds zos, msl; ingest"
    ):
        forcing_of("wind-regression", ["zos", "msl"])
    with pytest.raises(ValueError, match="the store holds no forcing"):
        baseline("wind-regression", sea, times(np.arange(80)), WET)
    with pytest.raises(ValueError, match="was given no forcing, or as v10, u10; give u10 and v10"):
        WindRegression.fit(sea, times(np.arange(80)), WET, forcing=forcing[:2], variables=("v10", "u10"))
    with pytest.raises(
        ValueError, match=r"of the 55 training states 7 have that. Give a longer training period"
    ):
        fitted_on(np.arange(55), sea, forcing)
    with pytest.raises(ValueError, match="of the 30 training states 0 have that"):
        fitted_on(np.arange(30), sea, forcing)
    forecaster = fitted_on(np.arange(80), sea, forcing)
    initial = Initial(sea[:, :49], times(np.arange(49)))
    with pytest.raises(ValueError, match="6 leads from 49 steps of past, and from u10, v10, msl over all 55 steps; it "
                       "was given 49 steps of past and no forcing"):  # fmt: skip
        next(forecaster.forecast(initial, None, 6))
    with pytest.raises(
        ValueError, match=r"3 channel\(s\) of forcing over 54 steps. Start later, ask for fewer leads"
    ):
        next(forecaster.forecast(initial, forcing[:, :54], 6))
    with pytest.raises(ValueError, match="it was given 5 steps of past"):
        next(forecaster.forecast(Initial(sea[:, :5], times(np.arange(5))), forcing[:, :11], 6))


@pytest.fixture(scope="module")
def one(ocean: xr.Dataset, checkpoint: Checkpoint) -> xr.Dataset:
    return forecast(checkpoint, ocean, start="2020-01-04T04", leads=6)


def rmse(scores: xr.Dataset, name: str, lead: str = "all") -> float:
    at = {"forecaster": name, "variable": "uo+vo", "metric": "rmse", "band": "all", "lead_hours": lead}
    return float(scores["value"].sel(at))


def test_evaluation_feeds_it_the_weather_of_the_truth_and_nothing_of_its_future(
    one: xr.Dataset, ocean: xr.Dataset
) -> None:
    pressed = ocean.assign(msl=(ocean["u10"].dims, 1e5 + 100 * ocean["u10"].values, cf_attributes("msl")))
    table = evaluate(one, pressed, baselines="wind-regression")
    # Only what is scored, and scored alike, tells of states past the start: their errors, not the forecast
    later = pressed.copy(deep=True)
    for name in ("uo", "vo"):
        later[name][79:] += 100.0
    shifted = evaluate(one, later, baselines="wind-regression")
    at = {"forecaster": "wind-regression", "band": "all"}
    spread = {**at, "variable": "uo", "metric": "bias", "lead_hours": "3"}
    moved = float(shifted["value"].sel(spread) - table["value"].sel(spread))
    assert moved == pytest.approx(-100.0, abs=1e-4)
    stormy = pressed.copy(deep=True)
    stormy["u10"][80:] += 20.0
    assert rmse(evaluate(one, stormy, baselines="wind-regression"), "wind-regression") != rmse(
        table, "wind-regression"
    )


def test_without_wind_it_is_refused_where_it_was_asked_for_and_else_left_out_and_told(
    one: xr.Dataset, ocean: xr.Dataset
) -> None:
    windless = ocean.drop_vars(["u10", "v10"])
    with pytest.raises(ValueError, match="wind-regression needs the wind"):
        evaluate(one, windless, baselines=["persistence", "wind-regression"])
    table = evaluate(one, windless)
    assert "wind-regression" not in table["forecaster"].values
    assert "persistence" in table["forecaster"].values
    assert table.attrs["baselines_left_out"].startswith("wind-regression needs the wind, as 'u10' and 'v10'")
    assert "baselines_left_out" not in evaluate(one, ocean).attrs


def test_a_start_without_two_days_of_weather_before_it_is_refused(
    ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    early = forecast(checkpoint, ocean, start="2020-01-02T23", leads=3)
    with pytest.raises(
        ValueError, match=r"needs u10, v10 without a gap from 48 steps before a start .*2020-01-02T23"
    ):
        evaluate(early, ocean, baselines="wind-regression")
    later = forecast(checkpoint, ocean, start="2020-01-03T00", leads=3)
    assert np.isfinite(rmse(evaluate(later, ocean, baselines="wind-regression"), "wind-regression"))
    hole = ocean.isel(time=[*range(74), *range(75, 96)])
    after = forecast(checkpoint, ocean, start="2020-01-04T06", leads=3)
    with pytest.raises(ValueError, match="without a gap from 48 steps before a start"):
        evaluate(after, hole, baselines="wind-regression")


def test_leads_past_the_end_of_the_truth_need_no_weather(one: xr.Dataset, ocean: xr.Dataset) -> None:
    ends = ocean.isel(time=slice(None, 80))  # three of six leads have a truth
    whole, cut = (
        evaluate(one, truth, baselines=["persistence", "wind-regression"]) for truth in (ocean, ends)
    )
    for name in ("persistence", "wind-regression"):
        assert rmse(cut, name, "3") == rmse(whole, name, "3")
