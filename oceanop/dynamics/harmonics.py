"""Weather between the lows: a background wind and mesoscale waves of pressure, each a sum of random harmonics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dynamics.climate import BackgroundClimate, MesoscaleClimate
from oceanop.dynamics.drag import AIR_DENSITY
from oceanop.dynamics.storms import frame

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """A slope and a level of pressure that swing about their means.

    Attributes
    ----------
    climate
        What it was drawn from.
    frequency
        rad s-1, ``[harmonic]``.
    share
        Amplitudes that together have a standard deviation of 1, ``[harmonic]``.
    phase
        At time 0, of the eastward and northward wind and of the level, rad, ``[3, harmonic]``.
    """

    climate: BackgroundClimate
    frequency: Array
    share: Array
    phase: Array

    @classmethod
    def draw(cls, climate: BackgroundClimate, seed: np.random.SeedSequence) -> "Background":
        """Harmonics of random periods and phases, whose variance is the climate's."""
        generator = np.random.Generator(np.random.PCG64(seed))
        shortest, longest = climate.periods
        period = shortest * (longest / shortest) ** generator.random(climate.harmonics)
        phase = 2 * np.pi * generator.random((3, climate.harmonics))
        return cls(climate, 2 * np.pi / period, _of_variance(period**climate.redness, 1.0), phase)

    def wind(self, time: float) -> Array:
        """Geostrophic wind where the climate is told, eastward and northward, m s-1, ``[2]``."""
        return np.asarray(self.climate.mean) + self.climate.deviation * self._swing(time)[:2]

    def level(self, time: float) -> float:
        """Pressure above its mean, Pa."""
        return float(self.climate.level_deviation * self._swing(time)[2])

    def slope(self, time: float) -> Array:
        """Vector whose product with a unit vector of the Earth is the pressure there, Pa, ``[3]``.

        Its slope where the climate is told is that of the geostrophic wind, ``f k x u = -grad p / rho``.
        """
        latitude, longitude = self.climate.place
        _, east, north = frame(np.array(latitude), np.array(longitude))
        eastward, northward = self.wind(time)
        coriolis = 2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude))
        return AIR_DENSITY * coriolis * EARTH_RADIUS * (northward * east - eastward * north)

    def _swing(self, time: float) -> Array:
        return (self.share * np.cos(self.frequency * time + self.phase)).sum(-1)


@dataclass(frozen=True, eq=False)
class Mesoscale:
    """Waves of pressure, plane where their climate is told.

    Attributes
    ----------
    vector
        Wave vectors times the Earth's radius: the product with a unit vector of the Earth is a phase, ``[wave, 3]``.
    frequency
        rad s-1, ``[wave]``.
    amplitude
        Pa, ``[wave]``.
    phase
        At time 0, rad, ``[wave]``.
    """

    vector: Array
    frequency: Array
    amplitude: Array
    phase: Array

    @classmethod
    def draw(cls, climate: MesoscaleClimate, seed: np.random.SeedSequence) -> "Mesoscale":
        """Waves of random length, direction and phase, whose variance is the climate's."""
        generator = np.random.Generator(np.random.PCG64(seed))
        shortest, longest = climate.wavelengths
        wavelength = shortest * (longest / shortest) ** generator.random(climate.waves)
        direction = np.pi * (generator.random(climate.waves) - 0.5)[:, None]  # from south over east to north
        phase = 2 * np.pi * generator.random(climate.waves)
        mean, deviation = climate.speed
        speed = mean + deviation * generator.standard_normal(climate.waves)
        _, east, north = frame(*(np.array(degrees) for degrees in climate.place))
        wavenumber = 2 * np.pi / wavelength
        vector = EARTH_RADIUS * wavenumber[:, None] * (np.cos(direction) * east + np.sin(direction) * north)
        amplitude = _of_variance(wavelength**climate.steepness, climate.deviation)
        return cls(vector, speed * wavenumber, amplitude, phase)


def _of_variance(shape: Array, deviation: float) -> Array:
    """Amplitudes that go with ``shape`` and whose cosines together have a standard deviation."""
    return deviation * shape / np.sqrt((shape**2).sum() / 2)
