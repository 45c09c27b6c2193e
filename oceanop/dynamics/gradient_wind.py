"""The pressure of all layers of weather at once, and the wind in balance with its slope and curvature."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dynamics.climate import Climate
from oceanop.dynamics.drag import AIR_DENSITY
from oceanop.dynamics.harmonics import Background, Mesoscale
from oceanop.dynamics.storms import Storms, frame

Array = NDArray[np.float64]

ANTICYCLONIC_LIMIT = -9 / 100
"""Least curvature number ``p_ss / (rho f^2)`` that the wind follows: there it is 10/9 of the geostrophic wind.

Balance around a high ends at -1/4, at twice the geostrophic wind (Holton, An Introduction to Dynamic Meteorology,
1992, section 3.2.5). Air is not seen to come near: where a sum of waves curves more, the wind keeps to this limit.
"""

_POINTS = 2048  # at a time: what the loops need of them stays in a cache


class Fields(NamedTuple):
    """Wind at 10 m (m s-1, eastward and northward) and air pressure at mean sea level (Pa)."""

    u10: Array
    v10: Array
    msl: Array


@dataclass(frozen=True, eq=False)
class Layers:
    """All that makes up a weather: evaluated nowhere yet."""

    climate: Climate
    storms: Storms
    background: Background
    mesoscale: Mesoscale

    def evaluate(self, time: Array, latitude: Array, longitude: Array) -> Fields:
        """Fields at times (s, ``[time]``) and places (degrees, ``[place]``), each ``[time, place]``.

        Every number is a function of its own time and place and of nothing else asked for.
        """
        climate, background, waves = self.climate, self.background, self.mesoscale
        moments = time.tolist()
        levels = climate.pressure + np.array([background.level(t) for t in moments])
        slopes = np.array([background.slope(t) for t in moments]).reshape(-1, 3)
        living = [self.storms.at(t) for t in moments]
        alive = np.cumsum([0, *(len(low) for low in living)])
        lows = np.concatenate([np.empty((0, 12)), *living])
        turn = np.outer(time, waves.frequency) - waves.phase
        inflow = math.radians(climate.inflow)
        rotation = climate.surface_ratio * np.array([math.cos(inflow), math.sin(inflow)])
        fields = np.empty((3, time.size, latitude.size))
        for first in range(0, latitude.size, _POINTS):
            part = slice(first, first + _POINTS)
            axes = np.ascontiguousarray(np.stack(frame(latitude[part], longitude[part])).transpose(0, 2, 1))
            coriolis = 2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude[part]))
            here = np.empty((3, time.size, coriolis.size))
            _evaluate(
                axes, coriolis, lows, alive, levels, slopes, waves.vector, waves.amplitude,
                np.cos(turn), np.sin(turn), rotation, here,
            )  # fmt: skip
            fields[:, :, part] = here
        return Fields(*fields)


_jit = njit(nogil=True, error_model="numpy", cache=True)


@_jit
def _evaluate(
    axes: Any, coriolis: Any, lows: Any, alive: Any, levels: Any, slopes: Any, vectors: Any, amplitudes: Any,
    cosines: Any, sines: Any, rotation: Any, fields: Any,
) -> None:  # fmt: skip
    """Fill ``fields [3, time, place]``; ``axes [up east north, 3, place]``."""
    count = axes.shape[2]
    # Of each wave at each place: cosine and sine of its phase, its vector's eastward, northward and upward part
    waves = np.empty((len(vectors), 5, count))
    for k in range(len(vectors)):
        for i in range(count):
            phase = _dot(vectors[k], axes[0], i)
            waves[k, 0, i], waves[k, 1, i] = math.cos(phase), math.sin(phase)
            waves[k, 2, i] = _dot(vectors[k], axes[1], i) / EARTH_RADIUS
            waves[k, 3, i] = _dot(vectors[k], axes[2], i) / EARTH_RADIUS
            waves[k, 4, i] = phase / EARTH_RADIUS**2
    for t in range(len(slopes)):
        # Pressure, its slope and its second derivatives, xx, xy and yy
        sums = np.zeros((6, count))
        _add_background(sums, levels[t], slopes[t], axes)
        for k in range(len(vectors)):
            _add_wave(sums, waves[k], amplitudes[k], cosines[t, k], sines[t, k])
        for low in lows[alive[t] : alive[t + 1]]:
            _add_low(sums, low, axes)
        for i in range(count):
            u, v = _wind(sums, coriolis[i], i)
            fields[0, t, i] = rotation[0] * u - rotation[1] * v
            fields[1, t, i] = rotation[1] * u + rotation[0] * v
            fields[2, t, i] = sums[0, i]


@njit(inline="always")
def _dot(vector: Any, axis: Any, i: Any) -> Any:
    return vector[0] * axis[0, i] + vector[1] * axis[1, i] + vector[2] * axis[2, i]


@_jit
def _add_background(sums: Any, level: Any, slope: Any, axes: Any) -> None:
    for i in range(axes.shape[2]):
        pressure = _dot(slope, axes[0], i)
        sums[0, i] += level + pressure
        sums[1, i] += _dot(slope, axes[1], i) / EARTH_RADIUS
        sums[2, i] += _dot(slope, axes[2], i) / EARTH_RADIUS
        # On a sphere a function linear in space has the second derivatives of a cosine
        sums[3, i] -= pressure / EARTH_RADIUS**2
        sums[5, i] -= pressure / EARTH_RADIUS**2


@_jit
def _add_wave(sums: Any, wave: Any, amplitude: Any, cosine: Any, sine: Any) -> None:
    """``a cos(K . n - turn)``: differences of angles by those of place and of time, made once each."""
    for i in range(sums.shape[1]):
        crest = amplitude * (wave[0, i] * cosine + wave[1, i] * sine)
        rise = amplitude * (wave[0, i] * sine - wave[1, i] * cosine)
        east, north = wave[2, i], wave[3, i]
        sums[0, i] += crest
        sums[1, i] += rise * east
        sums[2, i] += rise * north
        # A great circle bends away from the wave's vector
        sums[3, i] -= crest * east * east + rise * wave[4, i]
        sums[4, i] -= crest * east * north
        sums[5, i] -= crest * north * north + rise * wave[4, i]


@_jit
def _add_low(sums: Any, low: Any, axes: Any) -> None:
    """``-dp exp(-q/2)`` with ``q = (s/A)^2 + (x/B)^2 + (w/R)^2``.

    ``s`` and ``x`` are the components of the place along and across the track, ``w`` how far it lies below the plane
    that touches the Earth at the centre: of a round low ``q`` is the square of the chord.
    """
    centre, ahead, left = low[0:3], low[3:6], low[6:9]
    depth, along, across = low[9], 1.0 / low[10] ** 2, 1.0 / low[11] ** 2
    below = math.sqrt(along * across)
    a = EARTH_RADIUS
    for i in range(axes.shape[2]):
        cosine = _dot(centre, axes[0], i)
        s, x, w = a * _dot(ahead, axes[0], i), a * _dot(left, axes[0], i), a * (1.0 - cosine)
        q = along * s * s + across * x * x + below * w * w
        if q > 80.0:
            continue  # exp(-40) of 50 hPa is 1e-14 Pa
        east_s, north_s = _dot(ahead, axes[1], i), _dot(ahead, axes[2], i)
        east_x, north_x = _dot(left, axes[1], i), _dot(left, axes[2], i)
        east_w, north_w = -_dot(centre, axes[1], i), -_dot(centre, axes[2], i)
        # Halves of the first and second derivatives of q
        east = along * s * east_s + across * x * east_x + below * w * east_w
        north = along * s * north_s + across * x * north_x + below * w * north_w
        bend = (below * w * a * cosine - along * s * s - across * x * x) / (a * a)
        xx = along * east_s * east_s + across * east_x * east_x + below * east_w * east_w + bend
        xy = along * east_s * north_s + across * east_x * north_x + below * east_w * north_w
        yy = along * north_s * north_s + across * north_x * north_x + below * north_w * north_w + bend
        fall = depth * math.exp(-0.5 * q)
        sums[0, i] -= fall
        sums[1, i] += fall * east
        sums[2, i] += fall * north
        sums[3, i] += fall * (xx - east * east)
        sums[4, i] += fall * (xy - east * north)
        sums[5, i] += fall * (yy - north * north)


@njit(inline="always")
def _wind(sums: Any, f: Any, i: Any) -> Any:
    """Gradient wind: ``V^2 kappa + f V = f V_g`` with the isobar's curvature ``kappa``."""
    east, north = sums[1, i], sums[2, i]
    square = east * east + north * north
    ratio = 1.0
    if square > 0.0:
        # Second derivative along the isobar, which is kappa times the slope across it
        bend = (
            sums[3, i] * north * north - 2.0 * sums[4, i] * east * north + sums[5, i] * east * east
        ) / square
        curvature = max(bend / (AIR_DENSITY * f * f), ANTICYCLONIC_LIMIT)
        ratio = 2.0 / (1.0 + math.sqrt(1.0 + 4.0 * curvature))
    return -ratio * north / (AIR_DENSITY * f), ratio * east / (AIR_DENSITY * f)
