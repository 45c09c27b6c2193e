"""Lows that travel along great circles, deepen and fill: drawn from a climate, found again at any time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr, ndtri

from oceanop.constants import EARTH_RADIUS
from oceanop.dynamics.climate import Season, StormClimate, winter_share

Array = NDArray[np.float64]

ORDINARY = (
    0.95  # share of lows, by depth and by speed, that ordinary weather is made of; the rest is held out
)
LIVES = 6.0  # widths of its life after which a low is over: exp(-18) of 50 hPa is 1e-4 Pa
FARTHEST = 3.0  # standard deviations at which normal distributions are cut
_DRAWS = 12  # uniform numbers a low; always as many, so that one more low changes none before it


@dataclass(frozen=True)
class Kind:
    """Which lows come: shares of the distributions of depth and speed they are drawn from.

    Attributes
    ----------
    deep
        Share of lows deeper than ``ORDINARY`` of all.
    fast
        Share of lows faster than ``ORDINARY`` of all.
    """

    deep: float = 0.0
    fast: float = 0.0


@dataclass(frozen=True, eq=False)
class Storms:
    """Lows, each a number in every array, ``[storm]``.

    Attributes
    ----------
    passage
        Time of crossing the meridian, s, increasing.
    latitude, longitude
        Where, degrees.
    heading
        There, degrees north of east.
    speed
        m s-1.
    depth
        Greatest, Pa.
    radius
        Geometric mean of the axes' Gaussian radii, m.
    elongation
        Ratio of axes, along over across the track.
    peak
        Time of greatest depth after the passage, s.
    life
        Gaussian width of the depth in time, s.
    """

    passage: Array
    latitude: Array
    longitude: Array
    heading: Array
    speed: Array
    depth: Array
    radius: Array
    elongation: Array
    peak: Array
    life: Array

    @property
    def count(self) -> int:
        """Number of lows."""
        return self.passage.size

    def during(self, begin: float, end: float) -> "Storms":
        """Those whose greatest depth falls between two times (s)."""
        deepest = self.passage + self.peak
        return self.chosen((deepest >= begin) & (deepest < end))

    def chosen(self, which: NDArray[np.bool_]) -> "Storms":
        """Some of them, ``[storm]``."""
        return Storms(*(values[which] for values in vars(self).values()))

    def at(self, time: float) -> Array:
        """Lows alive at a time: centre, forward and left unit vectors, depth (Pa), radii (m), ``[storm, 12]``.

        Vectors are of the Earth-centred frame whose third axis is that of the Earth and whose first leaves it at 0 E.
        The radii are those along and across the track.
        """
        age = time - self.passage
        lives = (age - self.peak) / self.life
        alive = np.abs(lives) < LIVES
        angle = (self.speed * age / EARTH_RADIUS)[alive, None]
        up, east, north = frame(self.latitude[alive], self.longitude[alive])
        turn = np.deg2rad(self.heading[alive])[:, None]
        forward = np.cos(turn) * east + np.sin(turn) * north
        centre = np.cos(angle) * up + np.sin(angle) * forward
        ahead = np.cos(angle) * forward - np.sin(angle) * up
        # The pole of the great circle: it is to the left of the track wherever the low is
        left = np.cross(up, forward)
        depth = self.depth[alive] * np.exp(-(lives[alive] ** 2) / 2)
        stretch = np.sqrt(self.elongation[alive])
        along, across = self.radius[alive] * stretch, self.radius[alive] / stretch
        return np.column_stack([centre, ahead, left, depth, along, across])


def frame(latitude: Array, longitude: Array) -> tuple[Array, Array, Array]:
    """Unit vectors up, east and north at places (degrees), each ``[place, 3]``."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    up = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)], axis=-1)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)], axis=-1)
    return up, east, north


def draw_storms(
    climate: StormClimate, seed: np.random.SeedSequence, *, duration: float, season: Season, kind: Kind
) -> Storms:
    """Lows that matter from time 0 to ``duration`` (s).

    Their arrivals are a Poisson process; those of a longer duration begin with those of a shorter one.
    """
    margin = abs(climate.peak[0]) + FARTHEST * climate.peak[1]
    margin += LIVES * (climate.life[0] + FARTHEST * climate.life[1])
    most = max(climate.arrivals)
    columns = _uniform(seed, most * (duration + 2 * margin))
    gap, kept, is_deep, deep, is_fast, fast, latitude, heading, radius, elongation, peak, life = columns
    passage = np.cumsum(-np.log1p(-gap)) / most - margin
    winter = winter_share(season, passage)
    scale = (climate.depth[1] + (climate.depth[0] - climate.depth[1]) * winter) / climate.depth_shape
    storms = Storms(
        passage=passage,
        latitude=_normal(climate.latitude, latitude),
        longitude=np.full_like(passage, climate.meridian),
        heading=_normal(climate.heading, heading),
        speed=_lognormal(climate.speed, climate.speed_range, _tail(fast, is_fast < kind.fast)),
        depth=_gamma(climate.depth_shape, scale, climate.depth_range, _tail(deep, is_deep < kind.deep)),
        radius=_lognormal(climate.radius, climate.radius_range, radius),
        elongation=np.exp(_normal((0.0, climate.elongation), elongation)),
        peak=_normal(climate.peak, peak),
        life=_normal(climate.life, life),
    )
    # Thinning: of arrivals at the highest rate as many are kept as the season has
    rate = climate.arrivals[1] + (climate.arrivals[0] - climate.arrivals[1]) * winter
    return storms.chosen((kept * most < rate) & (passage < duration + margin))


def _uniform(seed: np.random.SeedSequence, expected: float) -> Array:
    """Uniform numbers of more lows than can be expected, ``[draw, storm]``."""
    # Fifteen standard deviations of a Poisson number: it is the end that decides, never the table
    count = int(expected + 15 * np.sqrt(expected) + 100)
    return np.random.Generator(np.random.PCG64(seed)).random((count, _DRAWS)).T


def _tail(share: Array, rare: NDArray[np.bool_]) -> Array:
    """Shares of a distribution, moved below ``ORDINARY``, or above it where the draw is a rare one."""
    return np.where(rare, ORDINARY + (1 - ORDINARY) * share, ORDINARY * share)


def _normal(law: tuple[float, float], share: Array) -> Array:
    mean, deviation = law
    low, high = ndtr(-FARTHEST), ndtr(FARTHEST)
    return mean + deviation * ndtri(low + (high - low) * share)


def _lognormal(law: tuple[float, float], limits: tuple[float, float], share: Array) -> Array:
    median, spread = law
    low, high = ndtr(np.log(np.divide(limits, median)) / spread)
    return median * np.exp(spread * ndtri(low + (high - low) * share))


def _gamma(shape: float, scale: Array, limits: tuple[float, float], share: Array) -> Array:
    low, high = (gammainc(shape, limit / scale) for limit in limits)
    return scale * gammaincinv(shape, low + (high - low) * share)
