"""How the magnitudes of normalised gradient coordinates are distributed: all that level adaptation needs to know."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

LOG_BINS = 2048  # bins of constant ratio (0.7 %) over six decades
SMALLEST_EDGE = 1e-6  # below, one bin: no level of 8 bits or fewer is ever that small
STD_FLOOR = (
    1e-9  # a hundredth of the spacing of float32 below 1: narrower than any magnitude that can be told
)


class Distribution(Protocol):
    """Distribution F of r = ``|v| / norm`` on [0, 1].

    Every method takes numbers or arrays in [0, 1] that broadcast, and returns float64 of the broadcast shape. Intervals
    are open on the left and closed on the right, so a point mass at 0 is in ``cdf(0)`` and in no interval.
    """

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Probability of r <= x."""
        ...

    def ppf(self, u: ArrayLike) -> FloatArray:
        """Smallest x with cdf(x) >= u."""
        ...

    def mass(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of dF over (a, b]."""
        ...

    def first(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r dF over (a, b]."""
        ...

    def second(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r^2 dF over (a, b]."""
        ...


def edges() -> FloatArray:
    """Edges of the bins of a :class:`Histogram`: 0, then 1e-6 to 1 in constant ratio, ``[2050]``."""
    return np.concatenate([[0.0], np.geomspace(SMALLEST_EDGE, 1.0, LOG_BINS + 1)])


def count(magnitudes: ArrayLike, weight: ArrayLike = 1.0) -> FloatArray:
    """Weighted counts of magnitudes, as :class:`Histogram` keeps them.

    Parameters
    ----------
    magnitudes
        r = ``|v| / norm`` in [0, 1], any shape.
    weight
        Weight of each magnitude, of a shape that broadcasts to that of ``magnitudes``. The squared norm of its bucket
        makes the expected variance of the distribution the variance of the gradient.

    Returns
    -------
    ndarray
        ``[2051]``: weight of r = 0, of r in each bin (edge, next edge] without r = 1, of r = 1.

    Raises
    ------
    ValueError
        If a magnitude is not a number in [0, 1].
    """
    r = np.asarray(magnitudes, dtype=np.float64).ravel()
    if not ((r >= 0) & (r <= 1)).all():
        raise ValueError(
            f"magnitudes span {r.min()} to {r.max()}; they are |v| / norm and lie in [0, 1]. Divide by a norm that is "
            "no smaller than the largest coordinate, and leave out buckets that are not finite."
        )
    weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), np.shape(magnitudes)).ravel()
    index = np.searchsorted(edges(), r, side="left") + (r == 1)
    return np.bincount(index, weights=weights, minlength=LOG_BINS + 3).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Histogram:
    """Distribution that is uniform within each bin, with point masses at 0 and 1.

    Zeros are frequent in a gradient, and under the maximum norm every bucket has a coordinate of magnitude 1: neither
    costs any variance, so neither may be smeared over a bin. Quantiles and moments are exact for this model; counts of
    several ranks or steps are merged by adding them.

    Parameters
    ----------
    counts
        ``[2051]``, as :func:`count` gives them.

    Raises
    ------
    ValueError
        If the counts have another shape, are negative or not finite, or hold no weight at all.
    """

    counts: FloatArray
    _edges: FloatArray = field(init=False, repr=False)
    _cumulative: FloatArray = field(
        init=False, repr=False
    )  # [3, 2050]: moments 0, 1, 2 of r <= edge, without r = 1

    def __post_init__(self) -> None:
        counts = np.asarray(self.counts, dtype=np.float64)
        if counts.shape != (LOG_BINS + 3,):
            raise ValueError(
                f"counts have shape {counts.shape}; a histogram keeps {LOG_BINS + 3} of them. Make them with count()."
            )
        total = counts.sum()
        if not (counts >= 0).all() or not 0 < total < np.inf:
            raise ValueError(
                f"counts span {counts.min()} to {counts.max()} and sum to {total}; a distribution needs weights that "
                "are finite, not negative and not all zero. Leave out buckets of zeros and buckets that are not finite."
            )
        bounds = edges()
        low, high = bounds[:-1], bounds[1:]
        inside = counts[1:-1]
        moments = np.stack([inside, inside * (low + high) / 2, inside * (low**2 + low * high + high**2) / 3])
        cumulative = np.zeros((3, LOG_BINS + 2))
        np.cumsum(moments, axis=1, out=cumulative[:, 1:])
        cumulative[0] += counts[0]
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_edges", bounds)
        # divided by the last sum itself, not by a sum in another order: cdf must reach 1 and never pass it
        object.__setattr__(self, "_cumulative", cumulative / (cumulative[0, -1] + counts[-1]))

    @classmethod
    def gather(cls, magnitudes: ArrayLike, weight: ArrayLike = 1.0) -> Self:
        """Histogram of magnitudes; arguments and errors of :func:`count`."""
        return cls(count(magnitudes, weight))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Probability of r <= x."""
        return self._moment(0, x)

    def ppf(self, u: ArrayLike) -> FloatArray:
        """Smallest x with cdf(x) >= u."""
        u = _probabilities(u)
        bounds, cumulative = self._edges, self._cumulative[0]
        upper = np.searchsorted(cumulative, u, side="left").clip(1, len(bounds) - 1)
        start, width = cumulative[upper - 1], cumulative[upper] - cumulative[upper - 1]
        share = np.divide(u - start, width, out=np.zeros_like(u), where=width > 0).clip(0.0, 1.0)
        x = bounds[upper - 1] + share * (bounds[upper] - bounds[upper - 1])
        return np.where(u <= cumulative[0], 0.0, np.where(u > cumulative[-1], 1.0, x))

    def mass(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of dF over (a, b]."""
        return self._moment(0, b) - self._moment(0, a)

    def first(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r dF over (a, b]."""
        return self._moment(1, b) - self._moment(1, a)

    def second(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r^2 dF over (a, b]."""
        return self._moment(2, b) - self._moment(2, a)

    def _moment(self, order: int, x: ArrayLike) -> FloatArray:
        """Integral of r^order dF over [0, x]."""
        x = np.asarray(x, dtype=np.float64)
        bounds, cumulative = self._edges, self._cumulative
        k = (np.searchsorted(bounds, x, side="left") - 1).clip(0, len(bounds) - 2)
        low = bounds[k]
        share = ((x - low) / (bounds[k + 1] - low)).clip(0.0, 1.0)
        factor = (1.0, (low + x) / 2, (low**2 + low * x + x**2) / 3)[order]
        within = cumulative[order, k] + (cumulative[0, k + 1] - cumulative[0, k]) * share * factor
        one = 1.0 if order == 0 else cumulative[order, -1] + (1.0 - cumulative[0, -1])
        return np.where(x < 0, 0.0, np.where(x >= 1, one, within))


@dataclass(frozen=True)
class TruncatedNormals:
    """Mixture of normals of v / norm, truncated to [-1, 1] and folded to magnitudes.

    One normal for each bucket: the model of Faghri et al., Adaptive gradient quantization for data-parallel SGD
    (NeurIPS 2020, arXiv 2010.12460). All integrals are closed forms. A standard deviation below 1e-9, of a bucket of
    equal coordinates, is taken as 1e-9, which no float32 magnitude can tell from a point.

    Parameters
    ----------
    mean, std
        Mean and standard deviation (divided by the count, not by the count less one) of v / norm in each bucket,
        ``[bucket]``.
    weight
        Weight of each bucket, ``[bucket]``: the squared norm, or 1 for buckets that count alike.

    Raises
    ------
    ValueError
        If the three differ in shape, or hold values that numbers in [-1, 1] cannot have, or no weight at all.
    """

    mean: FloatArray
    std: FloatArray
    weight: FloatArray
    _inside: FloatArray = field(init=False, repr=False)  # mass of [-1, 1] before truncation

    def __post_init__(self) -> None:
        mean, std, weight = (np.asarray(a, dtype=np.float64) for a in (self.mean, self.std, self.weight))
        if not (mean.ndim == 1 and mean.shape == std.shape == weight.shape):
            raise ValueError(
                f"mean, std and weight have shapes {mean.shape}, {std.shape} and {weight.shape}; give one number of "
                "each for every bucket."
            )
        if not ((np.abs(mean) <= 1) & (std >= 0) & (std <= 1)).all():
            raise ValueError(
                "a mean lies outside [-1, 1] or a standard deviation outside [0, 1]; numbers in [-1, 1] have neither. "
                "Take both of v / norm, leave out buckets that are not finite, and divide by the count."
            )
        total = weight.sum()
        if not (weight >= 0).all() or not 0 < total < np.inf:
            raise ValueError(
                f"weights sum to {total}; a mixture needs weights that are finite, not negative and not all zero. "
                "Leave out buckets of zeros and buckets that are not finite."
            )
        std = np.maximum(std, STD_FLOOR)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        object.__setattr__(self, "weight", weight / total)
        object.__setattr__(self, "_inside", _normal_mass((-1 - mean) / std, (1 - mean) / std))

    def cdf(self, x: ArrayLike) -> FloatArray:
        """Probability of r <= x."""
        return self.mass(0.0, x)

    def ppf(self, u: ArrayLike) -> FloatArray:
        """An x with cdf(x) = u to rounding: the last bits of cdf, or of x where the distribution has a step.

        Newton's method inside a bracket; every third step halves the bracket, since a mixture of narrow normals has
        plateaus on which Newton's step is useless.
        """
        u = _probabilities(u)
        bounds, reached = edges(), self._at_edges
        upper = np.searchsorted(reached, u, side="left").clip(1, len(bounds) - 1)
        low, high = bounds[upper - 1], bounds[upper]
        x = (low + high) / 2
        for step in range(3 * 54):  # a third of them halve [0, 1] down to the spacing of float64
            excess = self.cdf(x) - u
            low, high = np.where(excess < 0, x, low), np.where(excess < 0, high, x)
            done = (np.abs(excess) <= 2.0**-51) | (high - low <= 2.0**-53)
            if done.all():
                break
            density = self._density(x)
            # a step of 1 or more leads out of [0, 1]; it is not even computed, for it might overflow
            newton = x - np.divide(excess, density, out=np.full_like(u, 2.0), where=density > np.abs(excess))
            useful = (newton > low) & (newton < high) & (step % 3 != 2)
            x = np.where(done, x, np.where(useful, newton, (low + high) / 2))
        return np.where(u <= 0, 0.0, x)

    def mass(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of dF over (a, b]."""
        a, b = _ends(a, b)
        return self._mixed(self._zeroth(a, b) + self._zeroth(-b, -a))

    def first(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r dF over (a, b]."""
        a, b = _ends(a, b)
        return self._mixed(self._first(a, b) - self._first(-b, -a))

    def second(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Integral of r^2 dF over (a, b]."""
        a, b = _ends(a, b)
        return self._mixed(self._second(a, b) + self._second(-b, -a))

    @cached_property
    def _at_edges(self) -> FloatArray:
        """A table of cdf that brackets every quantile narrowly."""
        return np.maximum.accumulate(self.cdf(edges()))  # rounding may make cdf fall by an ulp

    def _zeroth(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Mass of [a, b] under each truncated normal, ``[..., bucket]``."""
        return _normal_mass((a - self.mean) / self.std, (b - self.mean) / self.std) / self._inside

    def _first(self, a: FloatArray, b: FloatArray) -> FloatArray:
        return self.mean * self._zeroth(a, b) - self.std**2 * (self._pdf(b) - self._pdf(a))

    def _second(self, a: FloatArray, b: FloatArray) -> FloatArray:
        mean, variance = self.mean, self.std**2
        boundary = (b + mean) * self._pdf(b) - (a + mean) * self._pdf(a)
        return (mean**2 + variance) * self._zeroth(a, b) - variance * boundary

    def _pdf(self, v: FloatArray) -> FloatArray:
        """Density of each truncated normal at v, ``[..., bucket]``."""
        # beyond 38 deviations it is 0 in float64; the clip keeps the square of 1e9 of them out of the exponential
        z = np.clip((v - self.mean) / self.std, -40.0, 40.0)
        return np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * self.std * self._inside)

    def _density(self, x: FloatArray) -> FloatArray:
        """Density of the folded mixture."""
        x = x[..., None]
        return self._mixed(self._pdf(x) + self._pdf(-x))

    def _mixed(self, each: FloatArray) -> FloatArray:
        return (each * self.weight).sum(-1)


def _probabilities(u: ArrayLike) -> FloatArray:
    u = np.asarray(u, dtype=np.float64)
    if not ((u >= 0) & (u <= 1)).all():
        raise ValueError(f"a quantile of {u} was asked for; probabilities lie in [0, 1].")
    return u


def _ends(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both ends of intervals within [0, 1], with an axis for the buckets."""
    return np.clip(a, 0.0, 1.0)[..., None].astype(np.float64), np.clip(b, 0.0, 1.0)[..., None].astype(
        np.float64
    )


def _normal_mass(low: FloatArray, high: FloatArray) -> FloatArray:
    """Standard normal mass of [low, high], by the tail on whose side it lies: 1 - 1 would lose it."""
    mirrored = low + high > 0
    return ndtr(np.where(mirrored, -low, high)) - ndtr(np.where(mirrored, -high, low))
