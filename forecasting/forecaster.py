"""What every forecaster is: a start, the forcing known ahead, and one state after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forecasting import clock


@dataclass(frozen=True)
class Initial:
    """The past that a forecast starts from.

    Attributes
    ----------
    history
        Physical units, land 0, ``[channel, time, y, x]``; the last one is the state at the start.
    times
        Valid times of the history, ``datetime64`` or ``cftime``, ``[time]``, one step apart.
    ahead
        Valid times of the leads, ``[lead]``; None where they follow from the step.
    """

    history: Tensor
    times: NDArray[Any]
    ahead: NDArray[Any] | None = None

    @property
    def start(self) -> Any:
        """Time of the last known state."""
        return self.times[-1]

    @property
    def state(self) -> Tensor:
        """The last known state, ``[channel, y, x]``."""
        return self.history[:, -1]

    def valid_times(self, leads: Any, time_step: int) -> NDArray[Any]:
        """Valid times of some leads, counted from 1, of ``time_step`` seconds where the axis is not known."""
        numbers = np.asarray(leads)
        if self.ahead is None or numbers.max() > self.ahead.size:
            return clock.shift(self.start, numbers, time_step)
        return self.ahead[numbers - 1]


@dataclass(frozen=True)
class State:
    """One forecast state: ``lead`` steps after the start, physical units, land 0, ``[channel, y, x]``."""

    lead: int
    values: Tensor


@runtime_checkable
class Forecaster(Protocol):
    """Anything that forecasts: a learned operator, a baseline, a numerical model.

    Attributes
    ----------
    name
        What the scores call it.
    history
        Number of past states it needs.
    """

    name: str
    history: int

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the states at leads 1 to ``leads``, in order.

        Parameters
        ----------
        initial
            At least ``history`` past states.
        forcing
            Known forcing, physical units, ``[channel, history + leads, y, x]``: it starts at the first time
            of ``initial`` and ends at the last lead. None where there is none.
        leads
            Number of steps.
        """
        ...
