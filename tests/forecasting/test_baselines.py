"""Each baseline is exact where its own idea of the sea is true."""

import cftime
import numpy as np
import pytest
import torch

from forecasting import Climatology, DampedPersistence, DampedTides, Initial, Persistence, Tides, baseline
from forecasting.baselines.climatology import spline_weights
from forecasting.baselines.constituents import CONSTITUENTS, resolvable
from forecasting.baselines.damped_persistence import step_numbers
from forecasting.baselines.damping import Damping

HOUR = np.timedelta64(1, "h")
FIRST = np.datetime64("2020-01-01T00", "ns")
WET = torch.ones(1, 2, 3, dtype=torch.bool)
FREQUENCY = {line.name: line.frequency for line in CONSTITUENTS}


def times(count: int, first: np.datetime64 = FIRST) -> np.ndarray:
    return first + np.arange(count) * HOUR


def states_of(forecaster: object, initial: Initial, leads: int) -> torch.Tensor:
    return torch.stack([state.values for state in forecaster.forecast(initial, None, leads)], 1)  # type: ignore[attr-defined]


def tide(hours: np.ndarray, name: str = "M2") -> torch.Tensor:
    phase = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
    angle = 2 * np.pi * FREQUENCY[name] * torch.from_numpy(hours.astype(float))[:, None, None] - phase
    return (0.2 + 0.9 * torch.cos(angle)).float()[None]


def test_persistence_holds_the_last_state() -> None:
    history = torch.randn(1, 4, 2, 3)
    expected = history[:, -1:].expand(-1, 5, -1, -1)
    assert torch.equal(states_of(Persistence(), Initial(history, times(4)), 5), expected)


@pytest.mark.parametrize("kind", [Tides, DampedTides])
def test_a_pure_tide_is_continued_exactly(kind: type) -> None:
    record = np.arange(46)
    fitted = kind.fit(tide(record), times(46), WET)
    forecast = states_of(fitted, Initial(tide(record), times(46)), 200)
    # float32 amplitudes of order 1; the phase is computed in float64
    assert (forecast - tide(np.arange(46, 246))).abs().max() < 1e-6


def test_a_tide_is_fitted_across_a_gap() -> None:
    record = np.r_[0:30, 100:130]
    fitted = Tides.fit(tide(record), FIRST + record * HOUR, WET)
    initial = Initial(tide(record[-1:]), FIRST + record[-1:] * HOUR)
    assert (states_of(fitted, initial, 50) - tide(np.arange(130, 180))).abs().max() < 1e-6


def test_tides_know_any_calendar() -> None:
    dates = cftime.num2date(np.arange(46), "hours since 2020-02-20", calendar="noleap")
    fitted = Tides.fit(tide(np.arange(46)), dates, WET)
    forecast = states_of(fitted, Initial(tide(np.arange(46)), dates), 300)
    assert (forecast - tide(np.arange(46, 346))).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "degrees_per_hour"),
    # Schureman, Manual of Harmonic Analysis and Prediction of Tides, 1958, table 2
    [
        ("M2", 28.9841042),
        ("S2", 30.0),
        ("N2", 28.4397295),
        ("K2", 30.0821373),
        ("K1", 15.0410686),
        ("O1", 13.9430356),
        ("P1", 14.9589314),
        ("Q1", 13.3986609),
        ("M4", 57.9682084),
        ("MS4", 58.9841042),
        ("M6", 86.9523127),
        ("MN4", 57.4238337),
        ("NU2", 28.5125831),
        ("MU2", 27.9682084),
        ("2N2", 27.8953548),
        ("L2", 29.5284789),
        ("J1", 15.5854433),
    ],
)
def test_frequencies_are_the_published_ones(name: str, degrees_per_hour: float) -> None:
    assert 360 * FREQUENCY[name] == pytest.approx(degrees_per_hour, abs=2e-7)


def test_every_constituent_is_compared_with_its_published_frequency() -> None:
    marks = test_frequencies_are_the_published_ones.pytestmark[0]  # type: ignore[attr-defined]
    assert {name for name, _ in marks.args[1]} == set(FREQUENCY)


@pytest.mark.parametrize(
    ("hours", "step", "accepted"),
    [
        (20, 1, []),
        (46, 1, ["M2", "M4", "M6"]),
        (72, 1, ["M2", "K1", "M4", "M6"]),
        (15 * 24, 1, ["M2", "K1", "M4", "M6"]),
        (30 * 24, 1, ["M2", "S2", "K1", "O1", "M4", "MS4", "M6", "MU2"]),
        (30 * 24, 24, []),
    ],
)
def test_a_record_is_asked_only_for_lines_it_can_tell_apart(
    hours: float, step: float, accepted: list[str]
) -> None:
    assert [line.name for line in resolvable(hours, step)] == accepted


def test_a_longer_record_tells_more_lines_apart() -> None:
    counts = [len(resolvable(24.0 * days, 1.0)) for days in (1, 2, 4, 16, 32, 64, 200, 500)]
    assert counts == sorted(counts)
    assert counts[-1] == len(CONSTITUENTS)


def test_the_climatology_of_a_constant_is_the_constant() -> None:
    states = torch.full((1, 30, 2, 3), 1.7)
    fitted = Climatology.fit(states, times(30), WET)
    assert torch.equal(states_of(fitted, Initial(states, times(30)), 4), states[:, :4])


def test_a_year_of_training_gives_a_season() -> None:
    days = FIRST + np.arange(366) * np.timedelta64(24, "h")
    phase = 2 * np.pi * np.arange(366) / 366
    states = torch.from_numpy(np.cos(phase)).float()[None, :, None, None].expand(1, -1, 2, 3)
    fitted = Climatology.fit(states, days, WET)
    forecast = states_of(fitted, Initial(states, days), 366)[0, :, 0, 0]
    # The mean over a month flattens a wave of a year by sin(pi/12)/(pi/12), 1.1 %; months differ in length
    assert (forecast - states[0, :, 0, 0].roll(-1)).abs().max() < 0.03
    assert forecast.diff().abs().max() < 1.2 * 2 * np.pi / 366  # no jump where a month ends


def test_less_than_a_year_gives_one_mean() -> None:
    days = FIRST + np.arange(350) * np.timedelta64(24, "h")
    states = torch.randn(1, 350, 2, 3)
    fitted = Climatology.fit(states, days, WET)
    assert len(fitted.means) == 1
    assert torch.allclose(fitted.means[0], states.double().mean(1).float())


def test_spline_weights_sum_to_one_and_meet_the_months() -> None:
    weights = spline_weights(np.linspace(0, 12, 97))
    assert np.allclose(weights.sum(1), 1)
    assert np.allclose(spline_weights(np.arange(12) + 0.5), np.eye(12))


def ar1(rho: float, count: int, cells: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, cells, generator=generator, dtype=torch.float64)
    states = [noise[0]]
    for step in noise[1:]:
        states.append(rho * states[-1] + (1 - rho**2) ** 0.5 * step)
    return torch.stack(states).float()


def test_damping_finds_the_memory_of_an_autoregression() -> None:
    count, cells = 2000, 200
    states = (3.0 + ar1(0.9, count, cells)).reshape(1, count, 10, cells // 10)
    wet = torch.ones(1, 10, cells // 10, dtype=torch.bool)
    fitted = DampedPersistence.fit(states, times(count), wet, leads=10)
    # 2000 steps of 200 cells are some 20000 independent pairs (e-folding 10 steps, each pair counted twice): the
    # standard error of a correlation is near 0.007, and 4 of them are allowed
    assert fitted.damping.rho[0].numpy() == pytest.approx(0.9 ** np.arange(1, 11), abs=0.03)
    assert fitted.mean.mean().item() == pytest.approx(3.0, abs=0.05)


def test_no_pair_is_taken_across_a_gap() -> None:
    # Two runs of a series that alternates: across the gap of an odd number of steps the sign would be wrong
    steps = np.r_[0:9, 12:21]
    anomalies = torch.from_numpy((-1.0) ** steps).float()[None, :, None, None].expand(1, -1, 2, 3)
    damping = Damping.fit(anomalies, steps, WET, 8)
    assert torch.equal(damping.rho[0], (-1.0) ** torch.arange(1, 9).double())


def test_damping_goes_on_geometrically_past_its_fit() -> None:
    damping = Damping(torch.tensor([[0.8, 0.64]], dtype=torch.float64))
    shares = [damping.at(lead).item() for lead in range(1, 9)]
    assert shares == pytest.approx(0.8 ** np.arange(1, 9))


def test_what_fades_never_returns() -> None:
    fading = Damping(torch.tensor([[0.9, 0.4, -0.3, 0.2, 0.5]], dtype=torch.float64)).fading()
    assert fading.rho[0].tolist() == [0.9, 0.4, 0.0, 0.0, 0.0]


def test_damped_forecasts_end_in_what_is_usual() -> None:
    states = (3.0 + ar1(0.5, 500, 6)).reshape(1, 500, 2, 3)
    fitted = DampedPersistence.fit(states, times(500), WET, leads=5)
    forecast = states_of(fitted, Initial(states, times(500)), 100)
    assert torch.allclose(forecast[:, -1], fitted.mean, atol=1e-5)


def test_an_unknown_baseline_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError,
        match="no baseline 'tide'; name one of persistence, damped-persistence, climatology, tides, damped-tides",
    ):
        baseline("tide", torch.zeros(1, 3, 2, 3), times(3), WET)


def test_months_are_one_step_each_and_gaps_are_counted() -> None:
    months = (np.datetime64("2002-01") + np.r_[0:40, 43:60]).astype("datetime64[ns]")
    assert step_numbers(months, 31 * 86400).tolist() == [*range(40), *range(43, 60)]
    minutes = np.datetime64("2020-01-01T00", "ns") + np.array(
        [0, 60, 119, 180, 210, 240, 420]
    ) * np.timedelta64(1, "m")
    assert step_numbers(minutes, 3600).tolist() == [0, 1, 2, 3, 4, 4, 7]
