"""A run of the shallow-water model: which air and which ocean beyond belong to which steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oceanop.dynamics.forcing import Air, Forcing, check_air
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE, OpenBoundary, external
from oceanop.dynamics.state import Fields, Snapshot, State
from oceanop.dynamics.stencil import Stencil

Array = NDArray[np.floating]
AirFields = Sequence[Array | None]


class Run(Protocol):
    """Fields that an engine advances; see :class:`oceanop.dynamics.compiled.CompiledRun`."""

    def set_air(self, now: AirFields, later: AirFields) -> None:
        """Take in the air at the beginning and at the end of an interval."""

    def next_air(self, later: AirFields) -> None:
        """Go to the next interval."""

    def advance(self, first: int, shares: Array, level: Array, currents: tuple[Array, Array]) -> None:
        """Take a step for each of ``shares``."""

    def fields(self) -> Fields:
        """Level and currents on the sides."""

    def before(self) -> tuple[Array, Array]:
        """Currents before the last call of ``advance``."""

    def centres(self) -> Fields:
        """Level and currents at centres, after an ``advance`` of one step."""

    def finite(self) -> bool:
        """Whether all levels are numbers."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The ocean beyond a basin's open boundary."""

    stencil: Stencil
    boundary: OpenBoundary | None

    def beyond(
        self, first: int, shares: Array, members: int, now: AirFields, later: AirFields
    ) -> tuple[Array, tuple[Array, Array]]:
        """Level of the open cells and external currents, eastern and northern sides, ``[step, place, member]`` each.

        Parameters
        ----------
        first
            Steps done before.
        shares
            How far each step lies between the times of ``now`` and ``later``.
        """
        times = np.arange(first + 1.0, first + 1.0 + shares.size) * self.stencil.time_step
        sides = [of.side.size for of in self.stencil.radiation]
        if self.boundary is None:
            nothing = np.zeros((shares.size, 0, members))
            return nothing, (nothing, nothing)
        cells = self.stencil.open_cells.size
        level: Array = external(self.boundary.level, times, members=members, places=cells, name="level")
        if now[2] is not None and later[2] is not None:
            # The level beyond has had time to yield to the air: inverse barometer.
            before, after = (
                np.moveaxis(np.asarray(field, np.float64)[:, self.boundary.cells], 0, -1)
                for field in (now[2], later[2])
            )
            pressure = before + shares[:, None, None] * (after - before)
            level = level + self.stencil.pressure_factor * (STANDARD_PRESSURE - pressure)
        current = external(self.boundary.current, times, members=members, places=sum(sides), name="current")
        return level, (current[:, : sides[0]], current[:, sides[0] :])


class Runner:
    """Steps of one run, from forcing time to forcing time.

    Parameters
    ----------
    start
        Makes an engine's fields from a state.
    surroundings
        The ocean beyond.
    state
        To begin with.
    forcing
        The air at a time in s, or None.
    interval
        Steps between the times at which the air is asked for.
    """

    def __init__(
        self,
        start: Callable[[State], Run],
        surroundings: Surroundings,
        state: State,
        forcing: Forcing | None,
        interval: int,
    ) -> None:
        self._start, self._surroundings = start, surroundings
        self._forcing, self._interval = forcing, interval
        self._stencil = surroundings.stencil
        self._members = state.zos.shape[0]
        self._good = state
        self._run = start(state)
        self._now = self._later = check_air(Air(), self._stencil.grid, self._members, 0.0)
        self._number: int | None = None  # of the interval whose air is loaded
        self.steps = state.steps

    def to(self, steps: int) -> None:
        """Go on until so many steps are done since the time 0.

        Raises
        ------
        ValueError
            If the level stops being a number.
        """
        while self.steps < steps:
            number, done = divmod(self.steps, self._interval)
            self._load(number)
            count = min(self._interval - done, steps - self.steps)
            if count > 1 and self.steps + count == steps:
                count -= 1  # the last step alone, so that the currents around it are known
            shares = (done + 1 + np.arange(count)) / self._interval
            level, currents = self._surroundings.beyond(
                self.steps, shares, self._members, self._now, self._later
            )
            self._run.advance(self.steps, shares, level, currents)
            self.steps += count
        if not self._run.finite():
            self._explain()

    def snapshot(self) -> Snapshot:
        """What the fields show now."""
        zos, ubar, vbar = self._run.centres()
        u_before, v_before = self._run.before()
        self._good = State(*self._run.fields(), steps=self.steps)
        return Snapshot(self.steps * self._stencil.time_step, zos, ubar, vbar, self._good, u_before, v_before)

    def _load(self, number: int) -> None:
        if self._forcing is None or self._number == number:
            return
        if self._number is not None and number == self._number + 1:
            self._now, self._later = self._later, self._air(number + 1)
            self._run.next_air(self._later)
        else:
            self._now, self._later = self._air(number), self._air(number + 1)
            self._run.set_air(self._now, self._later)
        self._number = number

    def _air(self, number: int) -> list[NDArray | None]:
        assert self._forcing is not None
        time = number * self._interval * self._stencil.time_step
        return check_air(self._forcing(time), self._stencil.grid, self._members, time)

    def _explain(self) -> None:
        """Go again from the last good state, step by step, and say where it went wrong."""
        again = Runner(self._start, self._surroundings, self._good, self._forcing, self._interval)
        while again.steps < self.steps and again._run.finite():
            again._step()
        wrong = ~np.isfinite(again._run.fields().zos)
        member, row, column = np.argwhere(wrong)[0]
        cure = (
            "look at the forcing and the level beyond the boundary there"
            if self._stencil.linear
            else "it may have fallen dry, or the forcing is wrong; deepen the cell or make the model linear"
        )
        raise ValueError(
            f"the level is no number any more after {again.steps * self._stencil.time_step / 3600:.2f} h at "
            f"{self._stencil.grid.place(row, column)}"
            + (f", member {member}" if self._members > 1 else "")
            + f" ({self._stencil.grid.depth[row, column]:.1f} m deep); {cure}."
        )

    def _step(self) -> None:
        number, done = divmod(self.steps, self._interval)
        self._load(number)
        shares = np.array([(done + 1) / self._interval])
        level, currents = self._surroundings.beyond(self.steps, shares, self._members, self._now, self._later)
        self._run.advance(self.steps, shares, level, currents)
        self.steps += 1
