"""Levels that suit a distribution of magnitudes: the expected variance of stochastic rounding, and its minimisers."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import entr

from training.compression.distribution import Distribution, FloatArray

RELATIVE_GAP = 2.0**-22  # of neighbouring levels: two ulps, so that they stay two numbers in float32
SMALLEST_MULTIPLIER, LARGEST_MULTIPLIER = 0.01, 0.99
SMALLEST_LEVEL = 1.2e-38  # float32 is normal from 1.18e-38
SMALLEST_START = 1e-9  # no start is at 0, where a zero level already is
COMPANDING_CELLS = 4096
FIRST_SWEEPS = 10  # enough to tell a good start from a bad one
FURTHER_SWEEPS = 200  # a sweep that gains nothing ends the descent before, at 3 or 4 bits after some tens


def expected_variance(levels: ArrayLike, distribution: Distribution) -> float:
    """Expected variance of a magnitude rounded stochastically to levels that include zero.

    ``Psi = sum_j int (l_{j+1} - r)(r - l_j) dF`` over the bins: Faghri et al., Adaptive gradient quantization for
    data-parallel SGD (NeurIPS 2020, arXiv 2010.12460). With buckets weighted by their squared norm it is
    the variance of the gradient, in units of the sum of squared norms over the number of coordinates.

    Parameters
    ----------
    levels
        ``[inner + 2]``, increasing from 0 to 1.
    distribution
        Of the magnitudes.

    Raises
    ------
    ValueError
        If the levels are not such a set.
    """
    levels = _checked(levels, zero=True)
    return float(_bin_variance(levels, distribution).sum())


def expected_variance_zero_free(levels: ArrayLike, distribution: Distribution) -> float:
    """Expected variance for symmetric levels without zero, ``..., -l_0, l_0, ..., 1``.

    Below ``l_0`` the two neighbours are ``-l_0`` and ``l_0``, and the variance is ``l_0^2 - r^2``.

    Parameters
    ----------
    levels
        ``[count]``, the positive half, increasing from ``l_0 > 0`` to 1.
    distribution
        Of the magnitudes.

    Raises
    ------
    ValueError
        If the levels are not such a set.
    """
    levels = _checked(levels, zero=False)
    first = levels[0]
    around_zero = first**2 * distribution.cdf(first) - distribution.second(0.0, first)
    return float(around_zero + _bin_variance(levels, distribution).sum())


def variance_gradient(levels: ArrayLike, distribution: Distribution) -> FloatArray:
    """Derivative of :func:`expected_variance` by each inner level, ``[inner]``.

    ``int_a^b (r - a) dF - int_b^c (c - r) dF`` for neighbours a < b < c; arguments and errors of
    :func:`expected_variance`.
    """
    levels = _checked(levels, zero=True)
    low, high = levels[:-1], levels[1:]
    mass, first = distribution.mass(low, high), distribution.first(low, high)
    return (first - low * mass)[:-1] - (high * mass - first)[1:]


def coordinate_descent(levels: ArrayLike, distribution: Distribution, *, sweeps: int) -> FloatArray:
    """Move each inner level in turn to where it is best between its neighbours (ALQ).

    ``b* = F^-1(F(c) - int_a^c (r - a) dF / (c - a))`` is the root of the derivative, and the expected variance is
    convex in b, so no step can raise it (Faghri et al. 2020). A sweep moves all levels of odd number at once, then
    those of even number: a level's optimum depends on its neighbours alone. Steps end where two neighbours would
    become one number in float32.

    Parameters
    ----------
    levels
        ``[inner + 2]``, increasing from 0 to 1: the start.
    distribution
        Of the magnitudes.
    sweeps
        At most so many; a sweep that no longer lowers the expected variance is not taken, and ends the descent.

    Returns
    -------
    ndarray
        ``[inner + 2]``; never of larger expected variance than the start.

    Raises
    ------
    ValueError
        If the levels are not such a set.
    """
    levels = _checked(levels, zero=True)
    variance = expected_variance(levels, distribution)
    for _ in range(sweeps):
        moved = levels.copy()
        for start in (1, 2):
            chosen = slice(start, -1, 2)
            below, here, above = moved[start - 1 : -2 : 2], moved[chosen], moved[start + 1 :: 2]
            moved[chosen] = _best_between(below, here, above, distribution)
        after = expected_variance(moved, distribution)
        if not after < variance:  # at the fixed point only rounding is left
            break
        levels, variance = moved, after
    return levels


def projected_gradient(levels: ArrayLike, distribution: Distribution, *, steps: int) -> FloatArray:
    """Move all inner levels at once against the gradient of the expected variance.

    Each moves by less than half of the way to its nearer neighbour, so the order stays (Faghri et al. 2020). The
    step length doubles after a success and halves until the expected variance falls.

    Parameters
    ----------
    levels
        ``[inner + 2]``, increasing from 0 to 1: the start.
    distribution
        Of the magnitudes.
    steps
        At most so many; where no step lowers the expected variance, the descent ends.

    Returns
    -------
    ndarray
        ``[inner + 2]``; never of larger expected variance than the start.

    Raises
    ------
    ValueError
        If the levels are not such a set.
    """
    levels = _checked(levels, zero=True)
    variance = expected_variance(levels, distribution)
    length = 1.0
    for _ in range(steps):
        gradient = variance_gradient(levels, distribution)
        gaps = np.diff(levels)
        reach = 0.49 * np.minimum(gaps[:-1], gaps[1:])
        for _ in range(60):
            moved = levels.copy()
            moved[1:-1] -= np.clip(length * gradient, -reach, reach)
            apart = (np.diff(moved) > RELATIVE_GAP * moved[1:]).all()
            after = expected_variance(moved, distribution) if apart else np.inf
            if after < variance:
                break
            length /= 2
        else:
            break
        levels, variance, length = moved, after, 2 * length
    return levels


def solve_levels(distribution: Distribution, count: int, *, previous: ArrayLike | None = None) -> FloatArray:
    """Levels of small expected variance: coordinate descent from several starts, continued from the best.

    The starts are the previous levels, equal steps, powers, quantiles, and the levels of density ``f^(1/3)``, which are
    the best ones as their number grows (Panter and Dite 1951, whose argument holds for stochastic rounding with another
    constant). Equal input gives equal bytes.

    Parameters
    ----------
    distribution
        Of the magnitudes.
    count
        Number of inner levels, those between 0 and 1; ``2^(bits - 1) - 2`` fill a code of so many bits.
    previous
        ``[count + 2]``, levels in use until now; the result is never worse.

    Returns
    -------
    ndarray
        ``[count + 2]``, strictly increasing from 0 to 1.

    Raises
    ------
    ValueError
        If ``count`` is negative or ``previous`` is not a set of so many levels.
    """
    if count < 0:
        raise ValueError(f"{count} inner levels were asked for; give a number that is not negative.")
    starts = [_apart(inner) for inner in _starts(distribution, count)]
    if previous is not None:
        kept = _checked(previous, zero=True)
        if len(kept) != count + 2:
            raise ValueError(
                f"the previous levels are {len(kept)}, and {count} inner levels with 0 and 1 are {count + 2}; give "
                "levels of the same number, or none."
            )
        starts.insert(0, kept)
    ends = [coordinate_descent(levels, distribution, sweeps=FIRST_SWEEPS) for levels in starts]
    best = min(ends, key=lambda levels: expected_variance(levels, distribution))
    return coordinate_descent(best, distribution, sweeps=FURTHER_SWEEPS)


def multiplier_levels(p: float, s: int) -> FloatArray:
    """Positive levels ``p^s, ..., p, 1`` of a set without zero, ``[s + 1]``."""
    return p ** np.arange(s, -1, -1.0)


def multiplier_variance(p: float, distribution: Distribution, s: int) -> float:
    """Expected variance for the zero-free levels ``p^j``, j = 0 to s (AMQ; Faghri et al. 2020)."""
    return expected_variance_zero_free(multiplier_levels(p, s), distribution)


def multiplier_slope(p: float, distribution: Distribution, s: int) -> float:
    """Derivative of :func:`multiplier_variance` by p."""
    j = np.arange(s)
    low, high = p ** (j + 1.0), p ** (1.0 * j)
    pull = (j * p ** (j - 1.0) + (j + 1) * high) * distribution.first(low, high)
    push = (2 * j + 1) * p ** (2.0 * j) * distribution.mass(low, high)
    return float(2 * s * p ** (2.0 * s - 1) * distribution.cdf(p**s) + (pull - push).sum())


def multiplier_bounds(s: int) -> tuple[float, float]:
    """Smallest and largest multiplier considered: 0.01 and 0.99, and ``p^s`` must be a normal float32."""
    return max(SMALLEST_MULTIPLIER, SMALLEST_LEVEL ** (1 / s)), LARGEST_MULTIPLIER


def solve_multiplier(distribution: Distribution, s: int, *, previous: float | None = None) -> float:
    """Multiplier p of smallest expected variance for the zero-free levels ``p^j`` (AMQ).

    The variance is not convex in p: minima are where the slope turns from negative to positive between two of many
    starts, and the best of them, of the two bounds, of 1/2 and of the previous multiplier is returned.

    Parameters
    ----------
    distribution
        Of the magnitudes.
    s
        Number of positive levels less one, at least 1.
    previous
        Multiplier in use until now; the result is never worse.

    Returns
    -------
    float
        Within :func:`multiplier_bounds`. With few levels and heavy tails the variance may still fall at the lower
        bound, and then the bound itself is returned; compare the two to learn of it.

    Raises
    ------
    ValueError
        If ``s`` is less than 1 or ``previous`` lies outside the bounds.
    """
    if s < 1:
        raise ValueError(
            f"s is {s}; without a power of the multiplier there is nothing to choose. Give at least 1."
        )
    lowest, highest = multiplier_bounds(s)
    candidates = [lowest, highest]
    if lowest <= 0.5:
        candidates.insert(0, 0.5)
    if previous is not None:
        if not lowest <= previous <= highest:
            raise ValueError(
                f"the previous multiplier is {previous}; it lies between {lowest:.3g} and {highest:.3g}."
            )
        candidates.insert(0, float(previous))
    # equal steps of log(-log p) shift the level p^s by the same part of a bin anywhere, here a third
    ends = np.log(-np.log([highest, lowest]))
    starts = np.exp(-np.exp(np.linspace(ends[1], ends[0], 40 + round(3 * s * (ends[1] - ends[0])))))
    starts[[0, -1]] = lowest, highest
    slopes = [multiplier_slope(p, distribution, s) for p in starts]
    candidates += [
        brentq(multiplier_slope, starts[i], starts[i + 1], args=(distribution, s), xtol=1e-12)
        for i in range(len(starts) - 1)
        if slopes[i] < 0 < slopes[i + 1]
    ]
    return min(candidates, key=lambda p: multiplier_variance(p, distribution, s))


def level_probabilities(levels: ArrayLike, distribution: Distribution) -> FloatArray:
    """Probability of each level after stochastic rounding of a magnitude.

    For a set without zero the first level has the probability of ``-l_0`` and ``l_0``
    together.

    Parameters
    ----------
    levels
        Increasing to 1, with or without zero.
    distribution
        Of the magnitudes.

    Returns
    -------
    ndarray
        One for each level; the sum is 1, and with a zero level the mean level is the mean magnitude.

    Raises
    ------
    ValueError
        If the levels are not such a set.
    """
    levels = _checked(levels, zero=None)
    low, high = levels[:-1], levels[1:]
    mass, first = distribution.mass(low, high), distribution.first(low, high)
    up = np.clip((first - low * mass) / (high - low), 0.0, mass)  # rounding may pass either by an ulp
    probabilities = np.zeros_like(levels)
    probabilities[0] = distribution.cdf(levels[0])  # zeros, or all that lies between -l_0 and l_0
    probabilities[:-1] += mass - up
    probabilities[1:] += up
    return probabilities


def entropy_bits(levels: ArrayLike, distribution: Distribution) -> float:
    """Entropy of a rounded coordinate in bits: of its level, and one bit for the sign where the level is not 0.

    What an ideal entropy coder would send for a coordinate when signs are even; arguments and errors of
    :func:`level_probabilities`.
    """
    levels = _checked(levels, zero=None)
    probabilities = level_probabilities(levels, distribution)
    signed = probabilities[levels > 0].sum()
    return float(entr(probabilities).sum() / np.log(2) + signed)


def _checked(levels: ArrayLike, *, zero: bool | None) -> FloatArray:
    """Levels as float64, refused where they are not a set with a zero, without, or either (None)."""
    values = np.array(levels, dtype=np.float64)
    first = {True: "0", False: "a number above 0", None: "0 or above"}[zero]
    fits = values.ndim == 1 and len(values) >= 1 + (zero is True) and values[-1] == 1 and values[0] >= 0
    if not (fits and (np.diff(values) > 0).all() and (zero is None or (values[0] == 0) == zero)):
        raise ValueError(f"levels are {values.tolist()}; they increase strictly from {first} to 1.")
    return values


def _bin_variance(levels: FloatArray, distribution: Distribution) -> FloatArray:
    """Integral of (c - r)(r - a) dF over each bin (a, c]."""
    a, c = levels[:-1], levels[1:]
    return (a + c) * distribution.first(a, c) - distribution.second(a, c) - a * c * distribution.mass(a, c)


def _best_between(a: FloatArray, b: FloatArray, c: FloatArray, distribution: Distribution) -> FloatArray:
    """Best level between neighbours a and c; b itself where no magnitude lies between them."""
    mass, first = distribution.mass(a, c), distribution.first(a, c)
    target = distribution.cdf(c) - (first - a * mass) / (c - a)
    best = distribution.ppf(np.clip(target, 0.0, 1.0))
    # b is within the limits even where it was closer to a neighbour before: a convex function then cannot rise
    lowest, highest = np.minimum(a + RELATIVE_GAP * c, b), np.maximum(c - RELATIVE_GAP * c, b)
    return np.where(mass > 0, np.clip(best, lowest, highest), b)


def _apart(inner: FloatArray) -> FloatArray:
    """0, inner levels and 1; levels that coincide, as quantiles of a point mass do, become neighbours in float32."""
    levels = np.concatenate([[0.0], np.clip(inner, SMALLEST_START, 1.0), [1.0]])
    for j in range(len(inner), 0, -1):
        levels[j] = min(levels[j], levels[j + 1] * (1 - RELATIVE_GAP))
    return levels


def _starts(distribution: Distribution, count: int) -> list[FloatArray]:
    """Inner levels to start from: equal steps, powers, quantiles, and of density f^(1/3)."""
    share = np.arange(1, count + 1) / (count + 1)
    base = max(0.5, 1e-6 ** (1 / max(count, 1)))  # powers of 1/2, or as many as reach down to 1e-6
    cells = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, COMPANDING_CELLS)])
    widths = np.diff(cells)
    density = distribution.mass(cells[:-1], cells[1:]) / widths
    companded = np.concatenate([[0.0], np.cumsum(np.cbrt(np.maximum(density, 0.0)) * widths)])
    # a distribution of point masses at 0 and 1 has no density to follow
    following = np.interp(share, companded / companded[-1], cells) if companded[-1] > 0 else share
    return [share, base ** np.arange(count, 0, -1.0), distribution.ppf(share), following]
