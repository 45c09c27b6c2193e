"""What weather is like at a place: how many lows come, how deep, wide and fast, and what blows beside them."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Season = Literal["winter", "summer", "year"]
SEASONS: tuple[Season, ...] = get_args(Season)

DAY = 86400.0  # s
YEAR = 365.2425 * DAY  # s, mean Gregorian year
MIDWINTER = 15 * DAY  # s after the year's begin; the coldest and stormiest time is the middle of January


@dataclass(frozen=True)
class StormClimate:
    """Travelling lows.

    Attributes
    ----------
    arrivals
        Lows a day in winter and in summer.
    meridian
        Longitude at which latitude and heading are told, degrees east.
    latitude
        Mean and standard deviation where a track crosses the meridian, degrees north.
    heading
        Mean and standard deviation, degrees north of east.
    speed
        Median, m s-1, and standard deviation of its logarithm.
    speed_range
        Least and highest, m s-1.
    depth
        Means in winter and in summer of a gamma distribution of shape ``depth_shape``, Pa.
    depth_range
        Least and highest, Pa.
    radius
        Median of the Gaussian radius, m, and standard deviation of its logarithm.
    radius_range
        Least and highest, m.
    elongation
        Standard deviation of the logarithm of the ratio of axes, along over across the track.
    peak
        Mean and standard deviation of the time of greatest depth after crossing the meridian, s.
    life
        Mean and standard deviation of the Gaussian width of the depth in time, s.
    """

    arrivals: tuple[float, float] = (0.40 / DAY, 0.25 / DAY)
    meridian: float = 20.0
    latitude: tuple[float, float] = (63.0, 5.0)
    heading: tuple[float, float] = (12.0, 18.0)
    speed: tuple[float, float] = (11.5, 0.35)
    speed_range: tuple[float, float] = (5.0, 25.0)
    depth: tuple[float, float] = (0.85 * 1900.0, 0.85 * 1300.0)
    depth_shape: float = 4.0
    depth_range: tuple[float, float] = (0.85 * 400.0, 0.85 * 5500.0)
    radius: tuple[float, float] = (520e3, 0.28)
    radius_range: tuple[float, float] = (280e3, 1000e3)
    elongation: float = 0.25
    peak: tuple[float, float] = (-6 * 3600.0, 18 * 3600.0)
    life: tuple[float, float] = (40 * 3600.0, 10 * 3600.0)


@dataclass(frozen=True)
class BackgroundClimate:
    """A geostrophic wind that is nearly the same everywhere, and a level of pressure that is, changing over days.

    Attributes
    ----------
    place
        Latitude and longitude where it is told, degrees.
    mean
        Eastward and northward, m s-1.
    deviation
        Standard deviation of each component, m s-1.
    level_deviation
        Standard deviation of the level of pressure, Pa: what waves longer than any domain bring.
    periods
        Shortest and longest, s.
    redness
        Power of the period with which the amplitude of a harmonic goes.
    harmonics
        Number of them.
    """

    place: tuple[float, float] = (60.0, 20.0)
    mean: tuple[float, float] = (3.5, 1.0)
    deviation: float = 6.0
    level_deviation: float = 800.0
    periods: tuple[float, float] = (1.5 * DAY, 20 * DAY)
    redness: float = 1.0
    harmonics: int = 24


@dataclass(frozen=True)
class MesoscaleClimate:
    """Small waves of pressure that travel eastwards.

    Attributes
    ----------
    place
        Latitude and longitude where wavelength and speed are told, degrees.
    deviation
        Standard deviation of the pressure, Pa.
    wavelengths
        Shortest and longest, m.
    steepness
        Power of the wavelength with which amplitudes go; 2 gives winds the spectrum ``k^-3`` of these lengths.
    speed
        Mean and standard deviation of the phase speed, m s-1.
    waves
        Number of them.
    """

    place: tuple[float, float] = (60.0, 20.0)
    deviation: float = 60.0
    wavelengths: tuple[float, float] = (250e3, 900e3)
    steepness: float = 2.0
    speed: tuple[float, float] = (10.0, 4.0)
    waves: int = 24


@dataclass(frozen=True)
class Climate:
    """Lows, background and mesoscale, and how wind at 10 m follows from them; by default North Sea and Baltic.

    Attributes
    ----------
    storms, background, mesoscale
        The layers that pressure is the sum of.
    pressure
        Where no low is, Pa.
    surface_ratio
        Wind at 10 m over sea as a share of the gradient wind; 0.6 to 0.8 are seen.
    inflow
        Angle by which the wind at 10 m is turned towards low pressure, degrees; 10 to 25 are seen.
    """

    storms: StormClimate = field(default_factory=StormClimate)
    background: BackgroundClimate = field(default_factory=BackgroundClimate)
    mesoscale: MesoscaleClimate = field(default_factory=MesoscaleClimate)
    pressure: float = 101500.0
    surface_ratio: float = 0.70
    inflow: float = 17.0


NORTH_SEA_AND_BALTIC = Climate()


def winter_share(season: Season, time: Array) -> Array:
    """1 in winter, 0 in summer; through the year a cosine that is 1 in the middle of January, ``[time]`` (s)."""
    if season == "year":
        return (1 + np.cos(2 * np.pi * (time - MIDWINTER) / YEAR)) / 2
    return np.full_like(time, season == "winter")
