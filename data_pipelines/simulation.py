"""One segment of a simulation: the model from its beginning, or from where it stopped, state after state."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.basins.air import BasinAir
from data_pipelines.basins.beginning import Beginning, begin, rest
from data_pipelines.basins.domain import Domain, make_model
from data_pipelines.basins.remote import RemoteLevel
from data_pipelines.basins.settings import Basin, FlatSea
from data_pipelines.segments import Segment
from oceanop.dynamics.climate import DAY
from oceanop.dynamics.state import Fields, State
from oceanop.dynamics.weather import Weather

HOUR = 3600.0  # s
_PLACE = 3  # of the seeds that a member's seed is parent of; the weather's layers have those before it


@dataclass(frozen=True)
class Record:
    """One step as a store holds it.

    Attributes
    ----------
    number
        Of the step within the segment.
    fields
        By variable, ``[member, Y, X]``.
    state
        To go on from.
    """

    number: int
    fields: dict[str, NDArray[np.floating]]
    state: State


class Simulation:
    """A basin under the weather of one segment, all members together.

    Parameters
    ----------
    basin, domain
        What is simulated, and its cells.
    segment
        Which stretch of it.
    seed
        Of the whole simulation.
    members
        How many, each of weather, boundary signal or beginning of its own.
    every
        Between two states, s.
    """

    def __init__(
        self, basin: Basin, domain: Domain, segment: Segment, *, seed: int, members: int, every: float
    ) -> None:
        self.segment, self.every, self.members = segment, every, members
        self._seeds = [segment.seed(seed, member) for member in range(members)]
        self._basin = basin
        interval = min(every, HOUR)
        level = None
        if basin.boundary is not None and basin.boundary.signal is not None:
            children = [np.random.SeedSequence(each).spawn(_PLACE + 1)[_PLACE] for each in self._seeds]
            level = RemoteLevel(basin.boundary.signal, children)
        self.model = make_model(basin, domain, interval=interval, level=level)
        self.air: BasinAir | None = None
        self._spin_up = 0.0
        if basin.weather is not None:
            self._spin_up = basin.weather.spin_up * DAY
            # Two days more than are kept: the air is made a day at a time
            days = (self._spin_up + segment.steps * every) / DAY + 2
            weathers = [
                Weather(seed, days, basin.weather.season, split=segment.split, member=member)
                for member in range(members)
            ]
            self.air = BasinAir(
                basin.weather,
                weathers,
                domain.positions.latitude,
                domain.positions.longitude,
                interval=interval,
            )

    def records(self, number: int = 0, state: State | None = None) -> Iterator[Record]:
        """Steps from one on; ``state`` is that of the step before it, None at the first."""
        if state is None:
            beginning = self._begin()
            state = beginning.state
            yield self._record(0, beginning.fields, state)
            number = 1
        left = self.segment.steps - number
        if left < 1:
            return
        for snapshot in self.model.run(state, left * self.every, forcing=self.air, every=self.every):
            fields = Fields(snapshot.zos, snapshot.ubar, snapshot.vbar)
            yield self._record(number, fields, snapshot.state)
            number += 1

    def check(self) -> None:
        """Find out, before anything is written, whether the basin has the air and the beginning that it asks for.

        Raises
        ------
        ValueError
            If there is no such weather over it, or no such waves in it.
        """
        if self.air is None:
            self._begin()
        else:
            self.air.at(0)

    def _begin(self) -> Beginning:
        initial = self._basin.initial
        if initial is not None:
            assert isinstance(self._basin.sea, FlatSea)
            return begin(initial, self._basin.sea, self.model, self._seeds)
        start = rest(self.model, self.members)
        if not self._spin_up:
            return start
        last = next(self.model.run(start.state, self._spin_up, forcing=self.air, every=self._spin_up))
        return Beginning(Fields(last.zos, last.ubar, last.vbar), last.state)

    def _record(self, number: int, fields: Fields, state: State) -> Record:
        wet = self.model.grid.wet
        zos, ubar, vbar = (np.where(wet, field, np.nan) for field in fields)
        held: dict[str, NDArray[np.floating]] = {"zos": zos, "ubar": ubar, "vbar": vbar}
        if self.air is not None:
            air = self.air.at(round((self._spin_up + number * self.every) / self.air.interval))
            for name, values in air.items():
                # Wind and pressure blow over land, too; a stress on the sea is none there.
                held[name] = np.where(wet, values, np.nan) if name in ("tauu", "tauv") else values
        return Record(number, held, state)
