"""The last state, fading into the mean as training says anomalies fade."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.windows import TOLERANCE
from forecasting import clock
from forecasting.baselines.climatology import mean_in_double
from forecasting.baselines.damping import Damping
from forecasting.forecaster import Initial, State

FITTED_LEADS = 48  # steps; two days of hourly states, past which currents of coastal seas have forgotten


class DampedPersistence:
    """Training mean plus the anomaly of the start times ``rho`` of the lead.

    Parameters
    ----------
    mean
        Training mean, ``[channel, y, x]``, land 0.
    damping
        Share of the anomaly left at each lead.
    wet
        ``[channel, y, x]``.
    """

    name = "damped-persistence"
    history = 1

    def __init__(self, mean: Tensor, damping: Damping, wet: Tensor) -> None:
        self.mean = mean
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
        **_: Any,
    ) -> "DampedPersistence":
        """Fit mean and damping on training states ``[channel, time, y, x]`` at ``times [time]``."""
        step = time_step or clock.time_step(times)
        mean = torch.stack([mean_in_double(field, np.ones(field.shape[0], dtype=bool)) for field in states])
        mean = mean.where(wet, torch.tensor(0.0))
        numbers = step_numbers(times, step)
        return cls(mean, Damping.fit(states - mean[:, None], numbers, wet, leads), wet)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield mean plus damped anomaly at leads 1 to ``leads``."""
        anomaly = torch.where(self.wet, initial.state - self.mean, 0.0)
        for lead in range(1, leads + 1):
            yield State(lead, self.mean + self.damping.at(lead) * anomaly)


def step_numbers(times: Any, step: int) -> NDArray[np.int64]:
    """Times counted in steps from the first one, ``[time]``; months of any length are one step each."""
    apart = np.diff(clock.hours(times)) * 3600 / step
    apart[np.abs(apart - 1) <= TOLERANCE] = 1.0
    return np.rint(np.concatenate([[0.0], np.cumsum(apart)])).astype(np.int64)
