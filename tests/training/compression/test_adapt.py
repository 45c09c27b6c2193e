"""Adapted levels: the expected variance is the true one, every step lowers it, and the end is the best there is."""

from itertools import combinations

import numpy as np
import pytest

from training.compression.adapt import (
    coordinate_descent,
    entropy_bits,
    expected_variance,
    expected_variance_zero_free,
    level_probabilities,
    multiplier_bounds,
    multiplier_levels,
    multiplier_slope,
    multiplier_variance,
    projected_gradient,
    solve_levels,
    solve_multiplier,
    variance_gradient,
)
from training.compression.distribution import Distribution, Histogram, TruncatedNormals, edges


def gathered(seed: int) -> Histogram:
    """Coordinates of buckets between Gaussian and violently heavy-tailed, under either norm."""
    rng = np.random.default_rng(seed)
    values = np.abs(
        rng.standard_normal((20, 256)) * np.exp(rng.uniform(0, 3) * rng.standard_normal((20, 256)))
    )
    norm = (np.linalg.norm(values, axis=1) if seed % 2 else values.max(1))[:, None]
    return Histogram.gather(values / norm, norm**2)


def mixture(seed: int) -> TruncatedNormals:
    rng = np.random.default_rng(seed)
    return TruncatedNormals(rng.uniform(-0.05, 0.05, 9), rng.uniform(0.01, 0.3, 9), rng.random(9))


def uniform() -> Histogram:
    return Histogram(np.concatenate([[0.0], np.diff(edges()), [0.0]]))


def random_levels(seed: int, inner: int) -> np.ndarray:
    return np.concatenate([[0.0], np.sort(np.random.default_rng(seed).random(inner)), [1.0]])


def rounded(r: np.ndarray, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stochastic rounding to any increasing levels."""
    above = np.searchsorted(levels, r, side="right").clip(1, len(levels) - 1)
    a, c = levels[above - 1], levels[above]
    return np.where(rng.random(len(r)) < (r - a) / (c - a), c, a)


DISTRIBUTIONS = [(kind, seed) for kind in (gathered, mixture) for seed in range(4)]
each_distribution = pytest.mark.parametrize(("kind", "seed"), DISTRIBUTIONS)


@each_distribution
def test_the_expected_variance_is_that_of_drawn_and_rounded_magnitudes(kind, seed):
    distribution, rng = kind(seed), np.random.default_rng(seed)
    r = distribution.ppf(rng.random(20_000))
    with_zero, zero_free = np.array([0.0, 0.04, 0.2, 0.5, 1.0]), np.array([0.03, 0.1, 0.4, 1.0])
    symmetric = np.concatenate([-zero_free[::-1], zero_free])
    for levels, expected in (
        (with_zero, expected_variance(with_zero, distribution)),
        (symmetric, expected_variance_zero_free(zero_free, distribution)),
    ):
        squares = (rounded(r, levels, rng) - r) ** 2
        # five standard errors
        assert abs(squares.mean() - expected) < 5 * squares.std() / np.sqrt(len(r))


@pytest.mark.parametrize("levels", [np.linspace(0, 1, 5), np.linspace(0, 1, 128)])
def test_the_variance_of_equal_steps_under_the_uniform_law_is_a_sixth_of_the_squared_step(levels):
    # rounding of differences of terms of size 1
    assert expected_variance(levels, uniform()) == pytest.approx(levels[1] ** 2 / 6, rel=1e-9)


@each_distribution
def test_the_gradient_is_that_of_finite_differences(kind, seed):
    distribution, levels, step = kind(seed), random_levels(seed, 5), 1e-6
    for j, slope in enumerate(variance_gradient(levels, distribution), start=1):
        shift = step * (np.arange(len(levels)) == j)
        ahead, behind = (expected_variance(levels + s * shift, distribution) for s in (1, -1))
        # 1e-16 / step of rounding; step times the density's relative change within a step
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_each_sweep_lowers_the_variance_until_the_gradient_is_gone(seed):
    distribution, inner = gathered(seed), (1, 2, 6, 14)[seed % 4]
    levels = random_levels(seed, inner)
    values = [expected_variance(levels, distribution)]
    slopes = np.abs(variance_gradient(levels, distribution)).max()
    for _ in range(5):
        after = coordinate_descent(levels, distribution, sweeps=1)
        values.append(expected_variance(after, distribution))
        if (after == levels).all():
            break
        levels = after
    assert (np.diff(values) <= 0).all()
    assert values[1] < values[0]
    levels = coordinate_descent(levels, distribution, sweeps=1000)
    # variance is flat to rounding, so the slope is down to about the root of rounding
    assert np.abs(variance_gradient(levels, distribution)).max() < 1e-5 * slopes


@each_distribution
def test_projected_gradient_comes_down_to_what_coordinate_descent_finds(kind, seed):
    distribution, start = kind(seed), np.linspace(0, 1, 5)
    found = projected_gradient(start, distribution, steps=300)
    assert (np.diff(found) > 0).all()
    best = expected_variance(coordinate_descent(start, distribution, sweeps=300), distribution)
    # a gradient method creeps at the end; 1 % of the optimum is near it, for the start is 2 to 100 times above
    assert expected_variance(found, distribution) < 1.01 * best
    assert expected_variance(start, distribution) > 1.05 * best


@each_distribution
def test_a_gradient_step_never_raises_the_variance(kind, seed):
    distribution, levels = kind(seed), random_levels(seed, 6)
    first = projected_gradient(levels, distribution, steps=1)
    assert expected_variance(first, distribution) < expected_variance(levels, distribution)


@each_distribution
def test_one_inner_level_is_the_best_on_a_grid(kind, seed):
    distribution = kind(seed)
    found = expected_variance(solve_levels(distribution, 1), distribution)
    grid = np.geomspace(1e-5, 0.999, 1000)
    assert found <= min(expected_variance([0, x, 1], distribution) for x in grid)


@each_distribution
def test_two_inner_levels_are_the_best_on_a_grid(kind, seed):
    distribution = kind(seed)
    found = expected_variance(solve_levels(distribution, 2), distribution)
    grid = np.geomspace(1e-4, 0.99, 40)
    assert found <= min(expected_variance([0, x, y, 1], distribution) for x, y in combinations(grid, 2))


@pytest.mark.parametrize("count", [1, 2, 6, 14])
def test_equal_steps_are_the_fixed_point_of_the_uniform_law(count):
    # the variance is flat to rounding, so the levels are right to about the root of rounding times their number
    np.testing.assert_allclose(
        solve_levels(uniform(), count), np.linspace(0, 1, count + 2), rtol=0, atol=1e-5
    )


def point(value: float) -> Histogram:
    return Histogram.gather([value])


@pytest.mark.parametrize("count", [0, 1, 6, 126])
@pytest.mark.parametrize(
    "distribution",
    [
        *(gathered(seed) for seed in range(4)),
        point(0.0),
        point(1.0),
        point(0.5),
        point(1e-7),
        TruncatedNormals([0.5], [0], [1]),
    ],
)
def test_levels_increase_strictly_from_zero_to_one_also_in_float32(distribution: Distribution, count):
    levels = solve_levels(distribution, count)
    assert levels.dtype == np.float64
    assert len(levels) == count + 2
    assert levels[0] == 0
    assert levels[-1] == 1
    assert (np.diff(levels.astype(np.float32)) > 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_result_is_never_worse_than_the_previous_levels_or_the_usual_ones(seed):
    distribution, previous = gathered(seed), random_levels(seed, 6)
    found = expected_variance(solve_levels(distribution, 6, previous=previous), distribution)
    assert found <= expected_variance(previous, distribution)
    assert found <= expected_variance(np.linspace(0, 1, 8), distribution)
    assert found <= expected_variance([0, *(0.5 ** np.arange(6, -1, -1.0))], distribution)


@pytest.mark.parametrize("seed", range(4))
def test_previous_levels_that_are_already_best_stay_as_good(seed):
    distribution = gathered(seed)
    once = solve_levels(distribution, 6)
    twice = solve_levels(distribution, 6, previous=once)
    assert expected_variance(twice, distribution) <= expected_variance(once, distribution)
    # the minimum is flat: its place is known to about the root of rounding
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-4)


def test_equal_input_gives_equal_bytes():
    first, again = (solve_levels(gathered(3), 6, previous=random_levels(0, 6)).tobytes() for _ in range(2))
    assert first == again
    assert solve_multiplier(gathered(3), 7) == solve_multiplier(gathered(3), 7)


@each_distribution
@pytest.mark.parametrize("levels", [np.array([0, 0.01, 0.1, 0.5, 1]), np.linspace(0, 1, 9)])
def test_level_probabilities_sum_to_one_and_keep_the_mean(kind, seed, levels):
    distribution = kind(seed)
    probabilities = level_probabilities(levels, distribution)
    assert (probabilities >= 0).all()
    # rounding of a few sums of size 1
    assert probabilities.sum() == pytest.approx(1, abs=1e-14)
    assert probabilities @ levels == pytest.approx(float(distribution.first(0, 1)), abs=1e-14)


def test_zero_free_probabilities_count_all_below_the_first_level_there():
    levels, distribution = np.array([0.1, 0.5, 1.0]), Histogram.gather([0.0, 0.0, 0.05, 1.0])
    np.testing.assert_allclose(level_probabilities(levels, distribution), [0.75, 0, 0.25], rtol=0, atol=1e-15)


def test_the_entropy_of_equally_likely_levels_counts_their_signs():
    # zeros, and ones of either sign: 1 bit for the level, and 1 bit for the sign of every second coordinate
    assert entropy_bits([0, 1], Histogram.gather([0.0, 1.0])) == pytest.approx(1.5, abs=1e-15)
    assert entropy_bits([0, 1], Histogram.gather([0.0])) == 0
    assert entropy_bits([1], Histogram.gather([0.0])) == 1


@pytest.mark.parametrize("d", [256, 4096])
@pytest.mark.parametrize("s", [1, 4, 64])
@pytest.mark.parametrize("law", ["normal", "equal", "heavy"])
def test_qsgd_has_its_papers_variance_and_number_of_nonzeros(law, s, d):
    """Alistarh et al. 2017, with the tight constant 1/4 in the first term of the variance."""
    rng = np.random.default_rng(d + s)
    vector = {"normal": rng.standard_normal(d), "equal": np.ones(d), "heavy": rng.standard_t(1.5, d)}[law]
    magnitudes = np.abs(vector) / np.linalg.norm(vector)
    distribution, levels = Histogram.gather(magnitudes), np.linspace(0, 1, s + 1)
    # the histogram knows magnitudes to half a bin, 0.34 %; equal ones reach the bound at s = 1 but for rounding
    assert d * expected_variance(levels, distribution) <= 1.0034 * min(d / (4 * s**2), np.sqrt(d) / s)
    nonzeros = d * (1 - level_probabilities(levels, distribution)[0])
    assert nonzeros == pytest.approx(np.minimum(1, s * magnitudes).sum(), rel=0.0034)
    assert nonzeros <= s * (s + np.sqrt(d))


@each_distribution
@pytest.mark.parametrize("s", [1, 3, 7])
def test_the_slope_of_the_multiplier_is_that_of_finite_differences(kind, seed, s):
    distribution, step = kind(seed), 1e-6
    for p in (0.2, 0.5, 0.83):
        ahead, behind = (multiplier_variance(p + h, distribution, s) for h in (step, -step))
        # 1e-16 / step of rounding; step times the density's relative change within a step
        assert multiplier_slope(p, distribution, s) == pytest.approx(
            (ahead - behind) / (2 * step), rel=1e-3, abs=1e-9
        )


@each_distribution
@pytest.mark.parametrize("s", [1, 3, 7, 126])
def test_the_multiplier_is_the_best_on_a_grid_and_no_worse_than_a_half_or_the_previous(kind, seed, s):
    distribution = kind(seed)
    lowest, highest = multiplier_bounds(s)
    found = solve_multiplier(distribution, s, previous=0.7)
    assert lowest <= found <= highest
    others = (0.5, 0.7, *np.linspace(lowest, highest, 57))
    assert multiplier_variance(found, distribution, s) <= min(
        multiplier_variance(p, distribution, s) for p in others
    )


@pytest.mark.parametrize("p", [0.2, 0.47, 0.5, 0.8])
@pytest.mark.parametrize("s", [2, 5])
def test_the_multiplier_of_a_geometric_mixture_is_recovered(p, s):
    magnitudes, weight = multiplier_levels(p, s), 2.0 ** np.arange(s + 1)
    points = TruncatedNormals(magnitudes, np.zeros(s + 1), weight)
    # the points are 1e-9 wide
    assert solve_multiplier(points, s) == pytest.approx(p, abs=1e-8)
    # and the bins of a histogram 0.7 %
    assert solve_multiplier(Histogram.gather(magnitudes, weight), s) == pytest.approx(p, rel=0.007)


def test_a_multiplier_that_runs_to_its_bound_is_the_bound():
    assert solve_multiplier(Histogram.gather([1e-5, 1.0], [1e6, 1.0]), 1) == multiplier_bounds(1)[0] == 0.01
    # every level of 8 bits stays a normal float32
    assert multiplier_levels(multiplier_bounds(127)[0], 127)[0] >= np.finfo(np.float32).tiny


@pytest.mark.parametrize(
    ("levels", "zero"),
    [
        ([0.0, 0.5, 0.5, 1.0], True),
        ([0.1, 1.0], True),
        ([0.0, 0.9], True),
        ([0.0, 1.0], False),
        ([0.2, np.nan, 1], False),
    ],
)
def test_what_is_not_a_set_of_levels_is_refused(levels, zero):
    with pytest.raises(ValueError, match="they increase strictly from"):
        (expected_variance if zero else expected_variance_zero_free)(levels, uniform())


def test_wrong_questions_are_refused():
    with pytest.raises(ValueError, match="the previous levels are 4, and 3 inner levels with 0 and 1 are 5"):
        solve_levels(uniform(), 3, previous=np.linspace(0, 1, 4))
    with pytest.raises(ValueError, match="-1 inner levels were asked for"):
        solve_levels(uniform(), -1)
    with pytest.raises(ValueError, match="there is nothing to choose"):
        solve_multiplier(uniform(), 0)
    with pytest.raises(ValueError, match=r"it lies between 0\.01 and 0\.99"):
        solve_multiplier(uniform(), 3, previous=1.5)
