"""The tide alone, and the tide with a fading departure from it, fitted at each cell by least squares."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting import clock
from forecasting.baselines.constituents import Constituent, resolvable
from forecasting.baselines.damped_persistence import FITTED_LEADS, step_numbers
from forecasting.baselines.damping import Damping
from forecasting.forecaster import Initial, State

_CELLS = 4096  # cells fitted at a time: their record in float64 stays small beside the float32 record of all


class Tides:
    """Mean plus the tidal lines that the training record can tell apart.

    Amplitudes and phases are those of the training period: the 18.6-year nodal cycle, which moves M2 by 3.7
    %, is not followed. A record too short for any line gives the mean.

    Parameters
    ----------
    constituents
        The lines.
    coefficients
        Mean, then cosine and sine of each line, ``[1 + 2 lines, channel, y, x]``, land 0.
    time_step
        Seconds from one lead to the next.
    """

    name = "tides"
    history = 1

    def __init__(self, constituents: Sequence[Constituent], coefficients: Tensor, time_step: int) -> None:
        self.constituents = list(constituents)
        self.coefficients = coefficients
        self.time_step = time_step

    @classmethod
    def fit(
        cls,
        states: Tensor,
        times: Any,
        wet: Tensor,
        *,
        time_step: int | None = None,
        constituents: Sequence[Constituent] | None = None,
        **_: Any,
    ) -> "Tides":
        """Fit training states ``[channel, time, y, x]`` at ``times [time]``; None chooses constituents."""
        step = time_step or clock.time_step(times)
        moments = clock.hours(times)
        if constituents is None:
            constituents = resolvable(moments.size * step / 3600, step / 3600)
        inverse = torch.from_numpy(np.linalg.pinv(design(moments, constituents)))
        channels, _time, rows, columns = states.shape
        coefficients = torch.zeros(len(inverse), channels, rows * columns)
        for channel in range(channels):
            record = states[channel].flatten(1)
            for first in range(0, rows * columns, _CELLS):
                cells = slice(first, first + _CELLS)
                coefficients[:, channel, cells] = (inverse @ record[:, cells].double()).float()
        coefficients = coefficients.unflatten(-1, (rows, columns))
        return cls(constituents, torch.where(wet, coefficients, 0.0), step)

    def at(self, times: Any) -> Tensor:
        """Tide and mean at ``times``, ``[channel, time, y, x]``."""
        terms = torch.from_numpy(design(clock.hours(times), self.constituents)).float()
        return torch.einsum("tp,pcyx->ctyx", terms, self.coefficients)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the predicted tide at leads 1 to ``leads``."""
        for lead in range(1, leads + 1):
            yield State(lead, self.at(initial.valid_times([lead], self.time_step))[:, 0])


class DampedTides:
    """The tide plus the departure from it at the start, fading as training says departures fade.

    Parameters
    ----------
    tides
        The tide.
    damping
        Share of the departure left at each lead.
    wet
        ``[channel, y, x]``.
    """

    name = "damped-tides"
    history = 1

    def __init__(self, tides: Tides, damping: Damping, wet: Tensor) -> None:
        self.tides = tides
        self.damping = damping
        self.wet = wet

    @classmethod
    def fit(
        cls,
        states: Tensor,
        times: Any,
        wet: Tensor,
        *,
        time_step: int | None = None,
        leads: int = FITTED_LEADS,
        constituents: Sequence[Constituent] | None = None,
        **_: Any,
    ) -> "DampedTides":
        """Fit tide and damping on training states ``[channel, time, y, x]`` at ``times [time]``."""
        step = time_step or clock.time_step(times)
        tides = Tides.fit(states, times, wet, time_step=step, constituents=constituents)
        departures = states.clone()
        for i, time in enumerate(times):
            departures[:, i] -= tides.at(np.array([time]))[:, 0]
        damping = Damping.fit(departures, step_numbers(times, step), wet, leads)
        # Departures from a fit to the same record sum to nothing, so a short record makes their correlation
        # negative at long leads. Once the tide is out no swing of sign is left to expect: only fading is
        # kept.
        return cls(tides, damping.fading(), wet)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield tide plus damped departure at leads 1 to ``leads``."""
        departure = torch.where(self.wet, initial.state - self.tides.at(np.array([initial.start]))[:, 0], 0.0)
        for state in self.tides.forecast(initial, forcing, leads):
            yield State(state.lead, state.values + self.damping.at(state.lead) * departure)


def design(moments: NDArray[np.float64], constituents: Sequence[Constituent]) -> NDArray[np.float64]:
    """One, then cosine and sine of each line, at hours since 1970, ``[time, 1 + 2 lines]``."""
    phases = [2 * np.pi * np.mod(line.frequency * moments, 1.0) for line in constituents]
    waves = [wave(phase) for phase in phases for wave in (np.cos, np.sin)]
    return np.stack([np.ones_like(moments), *waves], axis=1)
