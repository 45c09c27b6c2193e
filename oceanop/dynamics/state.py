"""What the shallow-water model knows at one time, and what it shows of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Fields(NamedTuple):
    """Level (m) and currents (m s-1), ``[member, Y, X]`` each, on the sides or at the centres of cells."""

    zos: Array
    u: Array
    v: Array


@dataclass(frozen=True, eq=False)
class State:
    """All that the model needs to go on as if it had never stopped.

    Attributes
    ----------
    zos
        Level over rest, m, ``[member, Y, X]``.
    u, v
        Current through eastern and northern sides, m s-1, ``[member, Y, X]``, half a time step after the level.
    steps
        Done since the time 0: which component turns first, and the time, follow from it.
    """

    zos: Array
    u: Array
    v: Array
    steps: int = 0

    @property
    def fields(self) -> Fields:
        """Level and currents on the sides."""
        return Fields(self.zos, self.u, self.v)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What the model shows at one time; all fields ``[member, Y, X]``, 0 on land.

    Attributes
    ----------
    time
        s since the time 0.
    zos, ubar, vbar
        Level (m), depth-mean current towards true east and north (m s-1) at the centres; the current's mean over half
        a step before and after is that of the level's time. A side of a cell that is coast counts with no current.
    state
        To go on from.
    u_before, v_before
        Currents through the sides half a step before the level, m s-1.
    """

    time: float
    zos: Array
    ubar: Array
    vbar: Array
    state: State
    u_before: Array
    v_before: Array
