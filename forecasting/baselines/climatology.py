"""What is usual at a place: the mean of the training period, by season where the record shows one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from forecasting import clock
from forecasting.forecaster import Initial, State

YEAR = 365 * 24  # hours


class Climatology:
    """The mean of the training period at each cell.

    A training period that covers all calendar months and a whole year gives twelve monthly means, joined by a
    periodic cubic spline through the middle of the months; a shorter one gives the one mean of all its times.

    Parameters
    ----------
    means
        ``[1 or 12, channel, y, x]``, land 0.
    time_step
        Seconds from one lead to the next.
    """

    name = "climatology"
    history = 1

    def __init__(self, means: Tensor, time_step: int) -> None:
        self.means = means
        self.time_step = time_step

    @classmethod
    def fit(
        cls, states: Tensor, times: Any, wet: Tensor, *, time_step: int | None = None, **_: Any
    ) -> "Climatology":
        """Average the training states ``[channel, time, y, x]`` at ``times [time]``."""
        month = clock.months(times).astype(int)
        moments = clock.hours(times)
        step = time_step or clock.time_step(times)
        seasonal = np.unique(month).size == 12 and moments[-1] - moments[0] + step / 3600 >= YEAR
        groups = [month == m for m in range(12)] if seasonal else [np.ones(moments.size, dtype=bool)]
        means = torch.stack(
            [
                torch.stack([mean_in_double(field, group) for field in states]).where(wet, torch.tensor(0.0))
                for group in groups
            ]
        )
        return cls(means, step)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the usual state of the season at leads 1 to ``leads``."""
        for lead in range(1, leads + 1):
            time = initial.valid_times([lead], self.time_step)
            yield State(lead, self.at(clock.months(time)))

    def at(self, months: NDArray[np.float64]) -> Tensor:
        """Usual state at one phase of the year, ``[channel, y, x]``."""
        if len(self.means) == 1:
            return self.means[0]
        return torch.einsum("m,mcyx->cyx", torch.from_numpy(spline_weights(months)[0]).float(), self.means)


def mean_in_double(field: Tensor, chosen: NDArray[np.bool_]) -> Tensor:
    """Mean over the chosen times of ``[time, y, x]``, summed in float64, returned in float32."""
    total = torch.zeros(field.shape[1:], dtype=torch.float64)
    for i in np.flatnonzero(chosen).tolist():
        total += field[i]
    return (total / int(chosen.sum())).float()


def spline_weights(months: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the twelve monthly means at phases of the year, ``[time, 12]``; each row sums to 1."""
    middles = np.arange(13) + 0.5
    spline = CubicSpline(middles, np.eye(12)[np.arange(13) % 12], bc_type="periodic")
    return np.asarray(spline(months))
