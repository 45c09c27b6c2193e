"""What weathers have in them, and how far splits lie apart: numbers to publish beside a data set made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import wasserstein_distance

from oceanop.dynamics.climate import DAY
from oceanop.dynamics.storms import Storms
from oceanop.dynamics.weather import Weather

Array = NDArray[np.float64]

QUANTILES = (0.05, 0.5, 0.95, 0.99)
DIRECTIONS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
STRONG = 13.9  # m s-1, from Beaufort 7 on; which way breezes blow matters less


@dataclass(frozen=True)
class Contents:
    """What the weathers of one split have in them.

    Attributes
    ----------
    weathers, days, storms
        Numbers of them, all together; a storm counts where its greatest depth falls within the time.
    storm_depth
        Quantiles of the greatest depth, hPa.
    storm_speed
        Quantiles of the speed, m s-1.
    wind_mean, wind_deviation, wind_highest
        Of the speed at 10 m at the places, m s-1.
    wind
        Quantiles of the speed, m s-1.
    prevailing
        Mean of the eastward and northward wind, m s-1.
    pressure_mean, pressure_deviation, pressure_lowest
        hPa.
    strong_from
        Shares of winds of Beaufort 7 and more that come from each of eight directions, 1; of none, all are 0.
    """

    weathers: int
    days: float
    storms: int
    storm_depth: dict[float, float]
    storm_speed: dict[float, float]
    wind_mean: float
    wind_deviation: float
    wind_highest: float
    wind: dict[float, float]
    prevailing: tuple[float, float]
    pressure_mean: float
    pressure_deviation: float
    pressure_lowest: float
    strong_from: dict[str, float]


@dataclass(frozen=True)
class Distance:
    """How far two splits lie apart, as Wasserstein's distance of order 1: how far numbers have to be moved on average.

    Attributes
    ----------
    wind
        Speeds at 10 m, m s-1.
    pressure
        hPa.
    storm_depth
        hPa.
    storm_speed
        m s-1.
    """

    wind: float
    pressure: float
    storm_depth: float
    storm_speed: float


@dataclass(frozen=True)
class Diversity:
    """Contents of each split, and the distance of every two of them."""

    contents: dict[str, Contents]
    distances: dict[tuple[str, str], Distance]


def diversity(
    splits: Mapping[str, Sequence[Weather]],
    latitude: ArrayLike,
    longitude: ArrayLike,
    *,
    every: float = 3 * 3600,
) -> Diversity:
    """Look at weathers at some places.

    Parameters
    ----------
    splits
        Weathers by the name of their split.
    latitude, longitude
        Places, degrees, of shapes that broadcast.
    every
        Seconds from one look to the next.

    Raises
    ------
    ValueError
        If a split has no weather in it, or too short ones for a storm.
    """
    samples = {
        name: _Sample.of(name, weathers, latitude, longitude, every) for name, weathers in splits.items()
    }
    return Diversity(
        {name: _contents(splits[name], sample) for name, sample in samples.items()},
        {(a, b): _distance(samples[a], samples[b]) for a, b in combinations(samples, 2)},
    )


@dataclass(frozen=True, eq=False)
class _Sample:
    u: Array
    v: Array
    pressure: Array
    depth: Array
    speed: Array

    @classmethod
    def of(
        cls, name: str, weathers: Sequence[Weather], latitude: ArrayLike, longitude: ArrayLike, every: float
    ) -> "_Sample":
        storms = [_within(weather) for weather in weathers]
        if not sum(each.count for each in storms):
            raise ValueError(
                f"the split '{name}' has {len(weathers)} weather(s) and no storm in them; give more, or longer ones."
            )
        fields = [
            weather.fields(np.arange(0, weather.days * DAY, every), latitude, longitude)
            for weather in weathers
        ]
        u, v, pressure = (
            np.concatenate([each.ravel() for each in field]) for field in zip(*fields, strict=True)
        )
        return cls(
            u=u,
            v=v,
            pressure=pressure / 100,
            depth=np.concatenate([each.depth for each in storms]) / 100,
            speed=np.concatenate([each.speed for each in storms]),
        )


def _within(weather: Weather) -> Storms:
    return weather.storms.during(0, weather.days * DAY)


def _contents(weathers: Sequence[Weather], sample: _Sample) -> Contents:
    wind = np.hypot(sample.u, sample.v)
    # Direction from which it blows, counted in eighths of a circle clockwise from north
    eighth = np.rint(np.arctan2(-sample.u, -sample.v) / (np.pi / 4)).astype(int) % 8
    strong = np.bincount(eighth[wind >= STRONG], minlength=8)
    return Contents(
        weathers=len(weathers),
        days=float(sum(weather.days for weather in weathers)),
        storms=sample.depth.size,
        storm_depth=_quantiles(sample.depth),
        storm_speed=_quantiles(sample.speed),
        wind_mean=float(wind.mean()),
        wind_deviation=float(wind.std()),
        wind_highest=float(wind.max()),
        wind=_quantiles(wind),
        prevailing=(float(sample.u.mean()), float(sample.v.mean())),
        pressure_mean=float(sample.pressure.mean()),
        pressure_deviation=float(sample.pressure.std()),
        pressure_lowest=float(sample.pressure.min()),
        strong_from=dict(zip(DIRECTIONS, (strong / max(strong.sum(), 1)).tolist(), strict=True)),
    )


def _quantiles(values: Array) -> dict[float, float]:
    return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))


def _distance(a: _Sample, b: _Sample) -> Distance:
    return Distance(
        wind=float(wasserstein_distance(np.hypot(a.u, a.v), np.hypot(b.u, b.v))),
        pressure=float(wasserstein_distance(a.pressure, b.pressure)),
        storm_depth=float(wasserstein_distance(a.depth, b.depth)),
        storm_speed=float(wasserstein_distance(a.speed, b.speed)),
    )
