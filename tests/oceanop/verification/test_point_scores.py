"""Ensembles, events, anomalies and peaks: closed forms, tables worked by hand, and parts that add up to the whole."""

import math

import numpy as np
import pytest
import torch

from oceanop.cell_sums import Cells
from oceanop.verification.anomaly import AnomalySums
from oceanop.verification.crossing import effective_resolution, useful_lead
from oceanop.verification.ensemble import EnsembleSums, RankSums
from oceanop.verification.peaks import PeakSums, peaks_of
from oceanop.verification.thresholds import THRESHOLD_METRICS, Contingency

AREA = np.random.default_rng(9).uniform(0.5, 2.0, (8, 9)) * (np.arange(72).reshape(8, 9) % 7 > 0)


def gaussian_crps(y: np.ndarray) -> np.ndarray:
    """Of the standard normal distribution (Gneiting and Raftery 2007, equation 21 and below)."""
    density = np.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)
    below = np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(y)
    return y * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)


@pytest.mark.parametrize("members", [2, 5])
def test_fair_crps_is_that_of_the_distribution_on_average_and_the_plain_one_is_too_large(
    members: int,
) -> None:
    generator = np.random.default_rng(members)
    truth = generator.standard_normal((400, 250))
    sums = EnsembleSums.of(generator.standard_normal((members, 400, 250)), truth, np.ones((400, 250)))
    exact = gaussian_crps(truth).mean()
    # The score of one cell has a standard deviation below 1 at any size; five of the mean's
    margin = 5 / math.sqrt(truth.size)
    assert sums.fair_crps().item() == pytest.approx(exact, abs=margin)
    # E|X - X'| = 2 / sqrt(pi), of which the plain score takes half of one M-th too little
    assert sums.crps().item() == pytest.approx(exact + 1 / math.sqrt(math.pi) / members, abs=margin)
    # One distribution for all: spread tells the error, to five standard deviations of a ratio of variances
    assert sums.spread_over_error().item() == pytest.approx(1.0, abs=5 / math.sqrt(truth.size))


def test_crps_and_spread_are_sums_over_all_pairs_of_members() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 4, 8, 9))
    sums = EnsembleSums.of(x, y[0], AREA)
    pairs = np.abs(x[:, None] - x[None]).sum((0, 1))
    weight = AREA / AREA.sum()
    near = np.abs(x - y[0]).mean(0)
    assert sums.crps().item() == pytest.approx(((near - pairs / 32) * weight).sum(), rel=1e-12)
    assert sums.fair_crps().item() == pytest.approx(((near - pairs / 24) * weight).sum(), rel=1e-12)
    assert sums.size().item() == pytest.approx(4)
    assert sums.spread().item() == pytest.approx(np.sqrt((x.var(0, ddof=1) * weight).sum()), rel=1e-12)
    with pytest.raises(ValueError, match="ensemble of 1 member has no spread; give two or more"):
        EnsembleSums.of(x[:1], y[0], AREA)


def test_ranks_are_flat_for_exchangeable_members_also_where_all_are_equal() -> None:
    generator = np.random.default_rng(3)
    drawn = generator.standard_normal((4, 200, 200))
    for values in (drawn, np.round(drawn), np.zeros_like(drawn)):
        ranks = RankSums.of(values[1:], values[0], np.ones((200, 200)), seed=1)
        counts = ranks.statistic("count").numpy()
        assert counts.sum() == 40000
        # A count is binomial with a variance of n p (1 - p) = 7500; five standard deviations
        assert np.abs(counts - 10000).max() < 5 * np.sqrt(7500)
        assert ranks.outliers().item() == pytest.approx(1.0, abs=5 * np.sqrt(10000) / 20000)
    again = RankSums.of(values[1:], values[0], np.ones((200, 200)), seed=1)
    assert torch.equal(again.values, ranks.values)
    outside = RankSums.of(drawn[1:], np.full((200, 200), 99.0), np.ones((200, 200)), seed=0)
    assert outside.share().tolist() == [0, 0, 0, 1]
    assert outside.outliers().item() == 2.0


def test_the_table_of_events_has_its_textbook_scores() -> None:
    # Finley's tornadoes of 1884: 28 hits, 72 false alarms, 23 misses, 2680 others (Murphy, Wea. Forecasting 11, 1996)
    said = np.repeat([1.0, 1.0, 0.0, 0.0], [28, 72, 23, 2680])[None]
    happened = np.repeat([1.0, 0.0, 1.0, 0.0], [28, 72, 23, 2680])[None]
    sums = Contingency.of(said, happened, 0.5, np.ones_like(said))
    assert sums.statistic("counted_events").item() == 51
    hit, alarm = 28 / 51, 72 / 2752
    expected = {
        "hit_rate": hit,
        "false_alarm_rate": alarm,
        "false_alarm_ratio": 0.72,
        "critical_success_index": 28 / 123,
        "frequency_bias": 100 / 51,
        "extremal_dependence_index": (np.log(alarm) - np.log(hit)) / (np.log(alarm) + np.log(hit)),
    }
    for name, value in expected.items():
        assert THRESHOLD_METRICS[name](sums).item() == pytest.approx(value), name
    assert expected["extremal_dependence_index"] == pytest.approx(0.7174, abs=1e-4)


def test_events_at_the_ends_have_the_limits_of_their_index() -> None:
    def index(said: list[float], happened: list[float]) -> float:
        sums = Contingency.of([said], [happened], 0.5, np.ones((1, len(said))))
        return sums.extremal_dependence_index().item()

    assert index([1, 0, 0], [1, 1, 0]) == 1.0
    assert index([0, 1, 0], [1, 0, 0]) == -1.0
    assert index([1, 1, 0], [1, 0, 0]) == 1.0
    assert np.isnan(index([0, 0, 0], [1, 0, 0]))
    assert np.isnan(index([0, 0, 0], [0, 0, 0]))
    assert np.isnan(index([1, 1, 1], [1, 0, 0]))


def test_parts_add_up_to_the_whole_and_land_is_never_looked_at() -> None:
    generator = np.random.default_rng(4)
    x, y = generator.standard_normal((5, 6, 8, 9)), generator.standard_normal((6, 8, 9))
    dirty = np.where(AREA > 0, x, np.nan)
    for counted in (
        lambda part, values: EnsembleSums.of(values[:, part], y[part], AREA).sum(-1),
        lambda part, values: Contingency.of(values[0, part], y[part], 0.3, AREA).sum(-1),
    ):
        whole, parts = counted(slice(None), x), counted(slice(2), x) + counted(slice(2, None), x)
        torch.testing.assert_close(parts.values, whole.values, rtol=1e-13, atol=0)
        assert torch.equal(counted(slice(None), dirty).values, whole.values)


def anomalies(forecast: np.ndarray, truth: np.ndarray, normal: np.ndarray) -> AnomalySums:
    fields = (torch.from_numpy(each[None]).float() for each in (forecast, truth, normal))
    return AnomalySums.of(*fields, Cells.of(torch.from_numpy(AREA)[None])).sum(-1)


def test_anomalies_are_judged_against_the_climatology() -> None:
    normal = np.random.default_rng(6).standard_normal((1, 8, 9))
    true = normal + np.random.default_rng(5).standard_normal((3, 8, 9))
    half, twice = (anomalies(normal + factor * (true - normal), true, normal) for factor in (0.5, 2.0))
    for sums in (half, twice):
        assert sums.correlation().item() == pytest.approx(1.0, rel=1e-6)  # of numbers in single precision
    assert half.activity_ratio().item() == pytest.approx(0.5, rel=1e-6)
    assert half.skill().item() == pytest.approx(0.75, rel=1e-6)
    assert twice.skill().item() == pytest.approx(0.0, abs=1e-6)
    # A constant anomaly is one: the correlation about the mean would not see it
    assert anomalies(normal + 1, normal + 2, normal).correlation().item() == pytest.approx(1.0, rel=1e-6)
    other = np.random.default_rng(7).standard_normal((3, 8, 9))
    a, b = other - normal, true - normal
    expected = (a * b * AREA).sum() / np.sqrt((a**2 * AREA).sum() * (b**2 * AREA).sum())
    assert anomalies(other, true, normal).correlation().item() == pytest.approx(expected, rel=1e-6)
    dirty, gap = np.where(AREA > 0, other, np.nan), true.copy()
    gap[1, 2, 4] = np.nan
    assert anomalies(dirty, true, normal).correlation() == anomalies(other, true, normal).correlation()
    assert anomalies(other, gap, normal).statistic("count").item() == 3 * (AREA > 0).sum() - 1


def test_a_lead_is_useful_up_to_where_the_line_between_two_leads_passes_the_limit() -> None:
    hours = [1.0, 2.0, 4.0]
    columns = [[0.9, 0.8, 0.4], [0.5, 0.9, 0.9], [0.9, 0.8, 0.7], [0.9, np.nan, 0.9], [0.9, 0.5, 0.9]]
    found = useful_lead(np.array(columns).T, hours, 0.6)
    np.testing.assert_allclose(found, [3.0, 0.0, 4.0, 1.0, 1.75])
    # Half way between two octaves of wavelength is their geometric middle
    scales = effective_resolution([[0.9, 0.1], [0.7, 0.1], [0.3, 0.1]], [400e3, 200e3, 100e3], 0.5)
    np.testing.assert_allclose(scales, [np.sqrt(2) * 100e3, np.nan])


def surges(hours: int, peaks: dict[int, float]) -> np.ndarray:
    """Storm surges of some hours' length about their peaks."""
    time = np.arange(hours)
    return np.sum([height * np.exp(-(((time - at) / 5) ** 2)) for at, height in peaks.items()], axis=0)


def test_a_peak_that_comes_late_and_too_low_is_told_so() -> None:
    truth = surges(240, {40: 1.5, 150: 1.0})
    forecast = surges(240, {43: 1.2, 148: 1.1, 220: 1.3})
    sums = PeakSums.of(forecast[None], truth[None], [0.8], [2.0], apart=72, within=12)
    assert sums.statistic("count").item() == 2
    assert sums.height_bias().item() == pytest.approx((1.2 - 1.5 + 1.1 - 1.0) / 2)
    assert sums.height_rmse().item() == pytest.approx(np.sqrt((0.3**2 + 0.1**2) / 2))
    assert sums.time_bias().item() == pytest.approx((3 - 2) / 2)
    assert sums.time_error().item() == pytest.approx((3 + 2) / 2)
    assert sums.hit_rate().item() == 1.0
    assert sums.critical_success_index().item() == pytest.approx(2 / 3)


def test_of_peaks_close_to_each_other_the_highest_counts_and_none_at_the_ends() -> None:
    series = torch.from_numpy(np.stack([surges(100, {0: 2.0, 30: 1.0, 50: 1.2, 99: 2.0}), np.zeros(100)]))
    assert peaks_of(series, torch.tensor([[0.5]]), 24).nonzero().tolist() == [[0, 50]]
    assert peaks_of(series, torch.tensor([[0.5]]), 10).nonzero().tolist() == [[0, 30], [0, 50]]
    flat = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    assert peaks_of(flat, torch.tensor(0.5), 2).nonzero().tolist() == [[0, 1]]
    nothing = PeakSums.of(np.zeros((2, 9)), np.zeros((2, 9)), [1.0, 1.0], [1.0, 0.0], apart=2, within=1)
    assert nothing.values.tolist() == [0.0] * 8
