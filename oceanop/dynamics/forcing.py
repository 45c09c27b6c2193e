"""Wind stress and air pressure over a basin, known now and then and linear in between."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.dynamics.geometry import CGrid

Array = NDArray[np.floating]


class Air(NamedTuple):
    """What the air does to the sea at one time; each ``[Y, X]`` or ``[member, Y, X]`` at the cells' centres.

    Attributes
    ----------
    tauu, tauv
        Stress on the surface towards east and north, N m-2; none if None.
    msl
        Air pressure at mean sea level, Pa; the same everywhere if None.
    """

    tauu: ArrayLike | None = None
    tauv: ArrayLike | None = None
    msl: ArrayLike | None = None


Forcing = Callable[[float], Air]  # of the time in s


@dataclass(frozen=True, eq=False)
class AirSeries:
    """Fields at evenly spaced times, a :data:`Forcing`: linear in time between two of them.

    Attributes
    ----------
    tauu, tauv, msl
        As in :class:`Air`, with a leading axis of time.
    start, interval
        Of the series, s.
    """

    tauu: Array | None = None
    tauv: Array | None = None
    msl: Array | None = None
    start: float = 0.0
    interval: float = 3600.0

    def __post_init__(self) -> None:
        lengths = {name: len(field) for name in Air._fields if (field := getattr(self, name)) is not None}
        if not lengths or len(set(lengths.values())) > 1:
            raise ValueError(f"fields over time with lengths {lengths}; give at least one, all equally long.")

    def __call__(self, time: float) -> Air:
        """Fields at a time, s.

        Raises
        ------
        ValueError
            If the series does not reach that far.
        """
        place = (time - self.start) / self.interval
        last = next(len(field) for field in (self.tauu, self.tauv, self.msl) if field is not None) - 1
        if not -1e-9 <= place <= last + 1e-9:
            raise ValueError(
                f"the forcing covers {self.start / 3600:g} h to {(self.start + last * self.interval) / 3600:g} h and "
                f"was asked for {time / 3600:g} h; give a longer series or run for less."
            )
        before = min(max(int(np.floor(place + 1e-9)), 0), max(last - 1, 0))
        share = place - before

        def at(field: Array | None) -> Array | None:
            if field is None:
                return None
            if abs(share) < 1e-9 or before == last:
                return field[before]
            part = field.dtype.type(share) if np.issubdtype(field.dtype, np.floating) else share
            return field[before] + part * (field[before + 1] - field[before])

        return Air(at(self.tauu), at(self.tauv), at(self.msl))


def check_air(air: Air, grid: CGrid, members: int, time: float) -> list[NDArray | None]:
    """The three fields as ``[1 or member, Y, X]``, None where there is none.

    Raises
    ------
    ValueError
        If one has another shape.
    """
    fields: list[NDArray | None] = []
    for name, given in zip(Air._fields, air, strict=True):
        if given is None:
            fields.append(None)
            continue
        field = np.asarray(given)
        if field.shape not in (grid.shape, (1, *grid.shape), (members, *grid.shape)):
            raise ValueError(
                f"{name} at {time / 3600:g} h has shape {field.shape}; expected {grid.shape}, or with a "
                f"leading axis of {members} member{'s' if members > 1 else ''}, at the centres of the basin's cells."
            )
        fields.append(field.reshape(-1, *grid.shape))
    return fields
