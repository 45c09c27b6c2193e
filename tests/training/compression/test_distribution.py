"""Distributions of magnitudes: cdf, quantiles and moments belong to one another exactly."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, truncnorm

from training.compression.distribution import Histogram, TruncatedNormals, count, edges

A = np.array([0.0, 0.0, 1e-9, 3e-4, 0.1, 0.31, 0.9])
B = np.array([1.0, 1e-7, 1e-3, 0.02, 0.4, 0.311, 1.0])


def gathered(seed: int) -> Histogram:
    """Magnitudes over many decades, with zeros and ones, in buckets of unequal weight."""
    rng = np.random.default_rng(seed)
    values = np.exp(2 * rng.standard_normal((8, 500))) * (rng.random((8, 500)) < 0.8)
    return Histogram.gather(values / values.max(1, keepdims=True), rng.random((8, 1)))


def mixture(seed: int) -> TruncatedNormals:
    rng = np.random.default_rng(seed)
    return TruncatedNormals(rng.uniform(-0.3, 0.3, 5), 10 ** rng.uniform(-3, 0, 5), rng.random(5))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [gathered, mixture])
def test_quantiles_invert_the_cdf(kind, seed):
    distribution = kind(seed)
    u = np.linspace(0, 1, 501)
    x = distribution.ppf(u)
    assert (np.diff(x) >= 0).all()
    assert ((x >= 0) & (x <= 1)).all()
    # x is right to 1e-16 and the density below 1,000; at a point mass the cdf passes u, and just before it falls short
    assert (distribution.cdf(x) >= u - 1e-13).all()
    assert (distribution.cdf(np.maximum(x - 1e-12, 0)) <= u + 1e-13)[x > 0].all()


@pytest.mark.parametrize("seed", range(3))
def test_moments_of_a_histogram_are_those_of_its_cdf(seed):
    """By parts: int r dF = bF(b) - aF(a) - int F dr, and F is linear between edges, so Simpson's rule is exact."""
    counts = gathered(seed).counts
    counts[-1] = 0  # a jump at 1 is no line; it has its own test
    distribution = Histogram(counts)
    for a, b in zip(A, B, strict=True):
        x = np.unique(np.concatenate([[a, b], edges().clip(a, b)]))
        middle, width = (x[1:] + x[:-1]) / 2, np.diff(x)
        low, at, high = (distribution.cdf(y) for y in (x[:-1], middle, x[1:]))
        first = b * high[-1] - a * low[0] - (width * (low + 4 * at + high) / 6).sum()
        second = b**2 * high[-1] - a**2 * low[0]
        second -= (width * 2 * (x[:-1] * low + 4 * middle * at + x[1:] * high) / 6).sum()
        # rounding of sums of up to 2,000 terms below 1
        np.testing.assert_allclose(distribution.mass(a, b), high[-1] - low[0], rtol=0, atol=1e-15)
        np.testing.assert_allclose(distribution.first(a, b), first, rtol=0, atol=1e-13)
        np.testing.assert_allclose(distribution.second(a, b), second, rtol=0, atol=1e-13)


def test_zeros_and_ones_are_point_masses():
    distribution = Histogram.gather([0.0, 0.0, 1.0, 0.5])
    assert distribution.cdf(0.0) == 0.5
    assert distribution.cdf(-1e-300) == 0.0
    assert distribution.cdf(1 - 1e-12) == 0.75
    assert distribution.cdf(1.0) == 1.0
    assert distribution.mass(0.9, 1.0) == 0.25
    assert distribution.first(0.9, 1.0) == 0.25
    assert distribution.second(0.9, 1.0) == 0.25
    np.testing.assert_array_equal(distribution.ppf([0.0, 0.5, 0.75 + 1e-12, 1.0]), [0.0, 0.0, 1.0, 1.0])


def test_a_magnitude_on_an_edge_counts_in_the_bin_below():
    counts = count(edges())
    np.testing.assert_array_equal(
        np.flatnonzero(counts != 1), [len(edges()) - 1]
    )  # at 1, only the point mass
    assert counts.sum() == len(edges())


def test_histograms_of_two_ranks_merge_by_adding_counts():
    rng = np.random.default_rng(0)
    magnitudes, weight = rng.random((2, 300)), rng.integers(1, 9, (2, 300))  # whole weights: sums are exact
    merged = Histogram(count(magnitudes[0], weight[0]) + count(magnitudes[1], weight[1]))
    np.testing.assert_array_equal(merged.counts, count(magnitudes, weight))


def test_moments_of_a_histogram_are_those_of_the_data_to_a_bin():
    rng = np.random.default_rng(0)
    magnitudes, weight = rng.random((4, 1000)) ** 4, np.array([[1.0], [5.0], [0.0], [2.0]])
    distribution = Histogram.gather(magnitudes, weight)
    share = np.broadcast_to(weight, magnitudes.shape) / weight.sum() / 1000
    # half a bin is 0.34 % of the magnitude; in the square, 0.68 %
    np.testing.assert_allclose(distribution.first(0, 1), (share * magnitudes).sum(), rtol=0.0034)
    np.testing.assert_allclose(distribution.second(0, 1), (share * magnitudes**2).sum(), rtol=0.0068)


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.0, 0.03), (0.02, 0.1), (-0.2, 0.15), (0.4, 0.02), (0.1, 1.0), (-1.0, 0.3), (0.0, 0.3)],
)
def test_closed_forms_of_a_truncated_normal_equal_quadrature(mean, std):
    distribution = TruncatedNormals([mean], [std], [2.0])
    signed = truncnorm((-1 - mean) / std, (1 - mean) / std, loc=mean, scale=std)
    for a, b in zip(A, B, strict=True):
        for order, method in enumerate((distribution.mass, distribution.first, distribution.second)):
            expected = sum(
                quad(
                    lambda v, order=order: abs(v) ** order * signed.pdf(v),
                    *ends,
                    points=np.clip([mean - 3 * std, mean, mean + 3 * std], *ends),
                    epsabs=1e-13,
                    epsrel=1e-11,
                )[0]
                for ends in ((a, b), (-b, -a))
            )
            # the quadrature's own tolerance, and cancellation of terms of size 1
            np.testing.assert_allclose(method(a, b), expected, rtol=1e-10, atol=1e-13)


def test_a_mixture_is_the_weighted_sum_of_its_normals():
    mean, std, weight = np.array([0.1, -0.3, 0.0]), np.array([0.2, 0.01, 0.5]), np.array([1.0, 2.0, 5.0])
    each = [TruncatedNormals([m], [s], [1.0]) for m, s in zip(mean, std, strict=True)]
    together = TruncatedNormals(mean, std, weight)
    for method in ("mass", "first", "second"):
        parts = [w * getattr(d, method)(A, B) for d, w in zip(each, weight, strict=True)]
        # summation order
        np.testing.assert_allclose(getattr(together, method)(A, B), sum(parts) / 8, rtol=1e-13, atol=1e-16)


def test_a_magnitude_forgets_the_sign_of_the_mean():
    left, right = (TruncatedNormals([mean], [0.1], [1.0]) for mean in (-0.2, 0.2))
    for method in ("mass", "first", "second"):
        # 1e-16: rounding of terms of size 1
        np.testing.assert_allclose(
            getattr(left, method)(A, B), getattr(right, method)(A, B), rtol=1e-12, atol=1e-16
        )


def test_a_far_tail_keeps_its_digits():
    distribution = TruncatedNormals([0.0], [0.05], [1.0])
    # mass beyond ten deviations is 1e-23, far below the rounding of 1; ndtr itself is good to some ulps
    np.testing.assert_allclose(distribution.mass(0.5, 1.0), 2 * norm.sf(10), rtol=1e-12)


@pytest.mark.parametrize("std", [0.0, 1e-300, 1e-12])
@pytest.mark.parametrize("mean", [0.25, -0.25])
def test_a_bucket_of_equal_coordinates_is_a_point(mean, std):
    distribution = TruncatedNormals([mean], [std], [1.0])
    # six standard deviations of the floor of 1e-9 to either side
    assert distribution.mass(0.25 - 6e-9, 0.25 + 6e-9) == pytest.approx(1.0, abs=1e-8)
    assert distribution.first(0, 1) == pytest.approx(0.25, abs=1e-14)
    assert distribution.second(0, 1) == pytest.approx(0.0625, abs=1e-14)
    np.testing.assert_allclose(distribution.ppf([0.01, 0.5, 0.99]), 0.25, rtol=0, atol=6e-9)


@pytest.mark.parametrize("bad", [-0.1, 1.0000001, np.nan, np.inf])
def test_a_magnitude_outside_its_interval_is_refused(bad):
    with pytest.raises(ValueError, match=r"they are \|v\| / norm and lie in \[0, 1\]"):
        count([0.5, bad])


@pytest.mark.parametrize("bad", [np.zeros(2051), np.full(2051, np.nan), -np.ones(2051)])
def test_counts_without_a_distribution_are_refused(bad):
    with pytest.raises(ValueError, match="a distribution needs weights"):
        Histogram(bad)


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"counts have shape \(2048,\); a histogram keeps 2051"):
        Histogram(np.ones(2048))


@pytest.mark.parametrize(
    ("mean", "std", "weight", "words"),
    [
        ([1.1], [0.1], [1.0], "numbers in \\[-1, 1\\] have neither"),
        ([0.1], [np.nan], [1.0], "numbers in \\[-1, 1\\] have neither"),
        ([0.1], [0.1], [0.0], "a mixture needs weights"),
        ([0.1], [0.1, 0.2], [1.0], "one number of each for every bucket"),
    ],
)
def test_impossible_normals_are_refused(mean, std, weight, words):
    with pytest.raises(ValueError, match=words):
        TruncatedNormals(mean, std, weight)


@pytest.mark.parametrize("bad", [-1e-9, 1.1, np.nan])
@pytest.mark.parametrize("kind", [gathered, mixture])
def test_quantiles_beyond_certainty_are_refused(kind, bad):
    with pytest.raises(ValueError, match="probabilities lie in"):
        kind(0).ppf(bad)
