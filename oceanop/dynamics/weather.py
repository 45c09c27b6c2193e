"""Invented weather: from a seed, wind and air pressure at any time and place, with nothing to store and no state."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.dynamics.climate import DAY, NORTH_SEA_AND_BALTIC, SEASONS, Climate, Season
from oceanop.dynamics.gradient_wind import Fields, Layers
from oceanop.dynamics.harmonics import Background, Mesoscale
from oceanop.dynamics.mesh import Mesh
from oceanop.dynamics.storms import Kind, draw_storms

Array = NDArray[np.float64]

SPLITS: dict[str, Kind] = {
    "train": Kind(),
    "validation": Kind(),
    "test": Kind(),
    "extreme": Kind(deep=0.25),
    "fast": Kind(fast=1.0),
}
"""Kinds of lows in each split. The first three never see the deepest 5 % of lows, nor the fastest 5 %.

In ``extreme`` one low in four is of the deepest; if all were, several at a time would make depressions that no
atmosphere has. In ``fast`` all are of the fastest.
"""

LATITUDES = (
    20.0,
    85.0,
)  # degrees north: nearer the equator no wind balances a slope, nearer the pole no east is east
_SEEDS = 2**32  # a larger number would be read as two, and two splits could share a seed
_HOURS = 256  # at a time: fields at the nodes of a mesh stay small beside what is asked for


class Weather:
    """One weather: lows that travel, a background wind and mesoscale waves, with the wind that balances their pressure.

    A pure function of time and place: hours may be asked for in any order, places on any grid, by any number of
    processes, and every number is the same to the last bit. The pressure is built first, and the wind follows from the
    slope and curvature of the sum: what drives the sea as pressure and what drives it as stress are one field.

    Parameters
    ----------
    seed
        Of a whole data set, 0 to 2^32 - 1.
    days
        For which there is weather. A longer one begins with the shorter one of the same seed.
    season
        ``winter``, ``summer``, or ``year``: time 0 is then the begin of a year, and seasons go round.
    split
        One of ``SPLITS``. No two of them share a seed, and some hold lows that the others never see.
    member
        Number of the weather within the split, 0 to 2^32 - 1.
    climate
        What the layers are drawn from. One layer's climate has no part in the other layers.

    Raises
    ------
    ValueError
        If one of these is not there.
    """

    def __init__(
        self,
        seed: int,
        days: float,
        season: Season,
        *,
        split: str = "train",
        member: int = 0,
        climate: Climate = NORTH_SEA_AND_BALTIC,
    ) -> None:
        for name, number in (("seed", seed), ("member", member)):
            if not 0 <= number < _SEEDS:
                raise ValueError(
                    f"weather: the {name} is {number}; it has to be a whole number from 0 to {_SEEDS - 1}."
                )
        if season not in SEASONS:
            raise ValueError(f"there is no season '{season}'; name one of {', '.join(SEASONS)}.")
        if split not in SPLITS:
            raise ValueError(f"weather has no split '{split}'; name one of {', '.join(SPLITS)}.")
        if not (np.isfinite(days) and days > 0):
            raise ValueError(f"weather: {days:g} days are asked for; it has to be a positive number.")
        self.seed, self.days, self.season = seed, days, season
        self.split, self.member, self.climate = split, member, climate
        lows, background, mesoscale = np.random.SeedSequence([seed, list(SPLITS).index(split), member]).spawn(
            3
        )
        self.storms = draw_storms(
            climate.storms, lows, duration=days * DAY, season=season, kind=SPLITS[split]
        )
        self.background = Background.draw(climate.background, background)
        self.mesoscale = Mesoscale.draw(climate.mesoscale, mesoscale)

    def fields(
        self, time: ArrayLike, latitude: ArrayLike, longitude: ArrayLike, *, mesh: float | None = None
    ) -> Fields:
        """Wind at 10 m and air pressure at mean sea level.

        Parameters
        ----------
        time
            Seconds since the begin, ``[time]`` or one number.
        latitude, longitude
            Degrees, of shapes that broadcast to ``[...]``; a regular grid is ``latitude[:, None], longitude``.
        mesh
            Spacing in degrees of a mesh fixed to the globe. Fields are evaluated at its nodes and bilinear between
            them: for grids finer than the mesh that is much faster. None evaluates at every place.

        Returns
        -------
        Fields
            ``u10``, ``v10`` (m s-1) and ``msl`` (Pa), float64 ``[time, ...]``, without time where it is one number.

        Raises
        ------
        ValueError
            If a time is before the begin or after the end, a place outside 20 to 85 degrees north or not finite, or
            the mesh does not divide 180 degrees.
        """
        moments = np.asarray(time, dtype=np.float64)
        hours = np.atleast_1d(moments)
        if not ((hours >= 0) & (hours <= self.days * DAY)).all():
            raise ValueError(
                f"weather: times from {hours.min():g} to {hours.max():g} s are asked for, but there is weather from 0 "
                f"to {self.days * DAY:g} s; make it with more days."
            )
        phi, lam = np.broadcast_arrays(
            np.asarray(latitude, dtype=np.float64), np.asarray(longitude, dtype=np.float64)
        )
        lowest, highest = LATITUDES
        if not (((phi >= lowest) & (phi <= highest)).all() and np.isfinite(lam).all()):
            raise ValueError(
                f"weather: places from {phi.min():g} to {phi.max():g} degrees north and {lam.min():g} to "
                f"{lam.max():g} degrees east are asked for; it knows {lowest:g} to {highest:g} degrees north, and "
                "positions have to be finite."
            )
        lam = np.mod(lam, 360.0)  # 3 W and 357 E are one place, to the last bit
        layers = Layers(self.climate, self.storms, self.background, self.mesoscale)
        shape = (*moments.shape, *phi.shape)
        if mesh is None:
            whole = layers.evaluate(hours, phi.ravel(), lam.ravel())
            return Fields(*(field.reshape(shape) for field in whole))
        between = Mesh.around(phi.ravel(), lam.ravel(), mesh)
        values = np.empty((3, hours.size, phi.size))
        for first in range(0, hours.size, _HOURS):
            part = slice(first, first + _HOURS)
            nodes = layers.evaluate(hours[part], between.latitude, between.longitude)
            for field, at_nodes in zip(values, nodes, strict=True):
                field[part] = between.interpolate(at_nodes)
        return Fields(*(field.reshape(shape) for field in values))
