"""The air over a basin: invented weather on its cells, and how it drags, hour by hour as a store holds it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_pipelines.basins import settings
from oceanop.dynamics.drag import Charnock, LargePond, Law, stress
from oceanop.dynamics.forcing import Air
from oceanop.dynamics.weather import Weather
from oceanop.grid import Plane

Field = NDArray[np.float32]

VARIABLES = ("u10", "v10", "tauu", "tauv", "msl")
_BLOCK = 24  # times at once: enough to share the work of a call, few enough for many members


def drag_law(air: settings.Air) -> Law:
    """The drag law that a basin states."""
    if air.drag == "large-pond":
        return LargePond()
    return Charnock() if air.charnock_parameter is None else Charnock(air.charnock_parameter)


class BasinAir:
    """Weathers on the cells of a basin at whole intervals, a forcing of the numerical model.

    What drives the model is rounded to float32 as it is stored, so that a store holds all that the model knew.

    Parameters
    ----------
    air
        Settings.
    weathers
        One a member.
    latitude, longitude
        Of the cells, degrees, ``[Y, X]``.
    interval
        Between the times, s.
    """

    def __init__(
        self,
        air: settings.Air,
        weathers: Sequence[Weather],
        latitude: Plane,
        longitude: Plane,
        *,
        interval: float,
    ) -> None:
        self.weathers, self.interval = weathers, interval
        self._mesh, self._law = air.mesh, drag_law(air)
        self._places = latitude, longitude
        self._blocks: dict[int, dict[str, Field]] = {}

    def at(self, number: int) -> dict[str, Field]:
        """Fields after so many intervals, ``[member, Y, X]``: wind (m s-1), stress (N m-2), pressure (Pa)."""
        block, step = divmod(number, _BLOCK)
        if block not in self._blocks:
            kept = {key: fields for key, fields in self._blocks.items() if key == block - 1}
            self._blocks = kept | {block: self._evaluate(block)}
        return {name: values[:, step] for name, values in self._blocks[block].items()}

    def __call__(self, time: float) -> Air:
        """What the air does to the sea at a time in s."""
        fields = self.at(round(time / self.interval))
        return Air(fields["tauu"], fields["tauv"], fields["msl"])

    def _evaluate(self, block: int) -> dict[str, Field]:
        times = np.arange(block * _BLOCK, (block + 1) * _BLOCK) * self.interval
        out: dict[str, list[NDArray[np.float64]]] = {name: [] for name in VARIABLES}
        for weather in self.weathers:
            wind = weather.fields(times, *self._places, mesh=self._mesh)
            dragged = stress(wind.u10, wind.v10, law=self._law)
            for name, values in zip(VARIABLES, (wind.u10, wind.v10, *dragged, wind.msl), strict=True):
                out[name].append(values)
        return {name: np.stack(values).astype(np.float32) for name, values in out.items()}
