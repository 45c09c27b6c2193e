"""Scores are weighted means over ocean cells, however they are gathered."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oceanop.metrics import METRICS, SERIES_METRICS, Sums, bias, correlation, mae, rmse


def fields(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    forecast, truth = generator.standard_normal((2, 3, 8, 9))
    return (
        forecast,
        truth + 0.5 * forecast,
        generator.uniform(0.5, 2.0, (8, 9)) * (generator.random((8, 9)) > 0.3),
    )


def test_scores_are_those_of_plain_numpy() -> None:
    forecast, truth, weight = fields()
    for i in range(3):
        f, t, w = forecast[i].ravel(), truth[i].ravel(), weight.ravel()
        one = (forecast[i], truth[i], weight)
        assert rmse(*one).item() == pytest.approx(np.sqrt(np.average((f - t) ** 2, weights=w)))
        assert bias(*one).item() == pytest.approx(np.average(f - t, weights=w))
        assert mae(*one).item() == pytest.approx(np.average(abs(f - t), weights=w))
        covariance = np.cov(f, t, aweights=w, ddof=0)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert correlation(*one).item() == pytest.approx(expected)


def test_land_never_reaches_a_score() -> None:
    forecast, truth, weight = fields()
    clean = Sums.of(forecast, truth, weight)
    truth[:, weight == 0] = np.nan
    forecast[:, weight == 0] = np.inf
    assert torch.equal(Sums.of(forecast, truth, weight).values, clean.values)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 2), st.integers(0, 100))
def test_parts_add_up_to_the_whole(cut: int, seed: int) -> None:
    forecast, truth, weight = fields(seed)
    whole = Sums.of(forecast, truth, weight).sum(-1)
    parts = Sums.of(forecast[:cut], truth[:cut], weight).sum(-1) + Sums.of(
        forecast[cut:], truth[cut:], weight
    ).sum(-1)
    for name, metric in METRICS.items():
        assert metric(parts).item() == pytest.approx(metric(whole).item()), name


def test_blocks_of_cells_add_up_to_all_cells() -> None:
    forecast, truth, weight = fields()
    blocks = torch.arange(72).reshape(8, 9) % 5
    parts = Sums.of(forecast, truth, weight, blocks)
    assert parts.values.shape[-2:] == (3, 5)
    assert torch.allclose(parts.sum(-1).values, Sums.of(forecast, truth, weight).values)


def test_a_perfect_forecast_has_no_error() -> None:
    _, truth, weight = fields()
    sums = Sums.of(truth, truth, weight)
    assert (sums.rmse() == 0).all()
    assert torch.allclose(sums.correlation(), torch.ones(3, dtype=torch.float64))


def test_a_shift_is_all_bias_and_does_not_touch_the_correlation() -> None:
    _, truth, weight = fields()
    sums = Sums.of(truth + 2.0, truth, weight)
    assert torch.allclose(sums.bias(), torch.full((3,), 2.0, dtype=torch.float64))
    assert torch.allclose(sums.correlation(), torch.ones(3, dtype=torch.float64))


def test_a_large_cell_counts_more() -> None:
    forecast, truth = np.array([[1.0, 0.0]]), np.zeros((1, 2))
    assert rmse(forecast, truth, np.array([[3.0, 1.0]])).item() == pytest.approx(np.sqrt(3 / 4))


def test_the_score_of_nothing_and_the_correlation_of_a_constant_do_not_exist() -> None:
    forecast, truth, weight = fields()
    assert rmse(forecast, truth, 0 * weight).isnan().all()
    assert correlation(np.full_like(forecast, 0.1), truth, weight).isnan().all()


def test_series_scores_have_their_textbook_values() -> None:
    forecast, truth, weight = fields()
    perfect = Sums.of(truth, truth, weight)
    for name in ("nash_sutcliffe", "kling_gupta", "correlation"):
        torch.testing.assert_close(SERIES_METRICS[name](perfect), torch.ones(3, dtype=torch.float64))
    mean = np.array([np.average(field, weights=weight) for field in truth])[:, None, None]
    constant = Sums.of(mean + 0 * truth, truth, weight)
    torch.testing.assert_close(
        constant.nash_sutcliffe(), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0
    )
    shifted, doubled = Sums.of(truth + 0.7, truth, weight), Sums.of(mean + 2 * (truth - mean), truth, weight)
    deviation = torch.tensor([np.sqrt(np.cov(f.ravel(), aweights=weight.ravel(), ddof=0)) for f in truth])
    torch.testing.assert_close(shifted.kling_gupta(), 1 - 0.7 / deviation)
    torch.testing.assert_close(doubled.kling_gupta(), torch.zeros(3, dtype=torch.float64))
    # atol: the root of what rounding leaves of 0.49 - 0.49
    torch.testing.assert_close(shifted.centred_rmse(), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    either = Sums.of(forecast, truth, weight)
    torch.testing.assert_close(either.centred_rmse() ** 2 + either.bias() ** 2, either.mse())
