"""What wind and air pressure do to each cell by themselves: a ridge regression on the local weather of two days."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting import clock
from forecasting.baselines.damped_persistence import FITTED_LEADS, step_numbers
from forecasting.baselines.damping import Damping
from forecasting.baselines.ridge import Ridge
from forecasting.forecaster import Initial, State
from oceanop.constants import GRAVITY
from oceanop.dynamics.drag import stress

Array = NDArray[np.float64]

WIND, STRESS, PRESSURE = ("u10", "v10"), ("tauu", "tauv"), "msl"

LAGS = (0, 1, 2, 3, 6, 9, 12, 18, 24, 30, 36, 42, 48)
"""Hours at which bands of lags end: the stress of each band counts by its mean.

Single hours at first, where a shelf answers, then what resolves the swing of a basin of a day's period. All 49 hours
apart would be a hundred coefficients a cell.
"""

SEA_WATER_DENSITY = 1010.0  # kg m-3, the Baltic's; another scales a coefficient that is fitted
LEAST_ROWS = 8  # states with a whole past: with fewer, none could be held out to choose the penalty
CHUNK_BYTES = 64 * 2**20  # of predictors in float64 at a time


class CannotFit(ValueError):
    """The record, or its forcing, is not what a baseline learns from."""


@dataclass(frozen=True)
class LocalWeather:
    """Predictors of a cell from the forcing there.

    Attributes
    ----------
    variables
        Of the forcing, in the order of its channels: two of wind or stress, and air pressure if there is any.
    bands
        First and last lag of each band, in steps, from 0 on without a gap.
    """

    variables: tuple[str, ...]
    bands: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, variables: Sequence[str], time_step: int) -> "LocalWeather":
        """Predictors for a time step in seconds; a step longer than the lags leaves the present alone."""
        ends = sorted({hours * 3600 // time_step for hours in LAGS})
        return cls(tuple(variables), ((0, 0), *((a + 1, b) for a, b in pairwise(ends))))

    @property
    def reach(self) -> int:
        """Longest lag in steps."""
        return self.bands[-1][1]

    def __call__(self, forcing: Array) -> Array:
        """Predictors ``[time - reach, predictor, cell]`` at all but the first ``reach`` steps.

        Parameters
        ----------
        forcing
            ``[channel, time, cell]``, steps one after another.
        """
        blowing = forcing[:2] if self.variables[:2] == STRESS else np.stack(stress(*forcing[:2]))
        sums = np.cumsum(np.concatenate([np.zeros_like(blowing[:, :1]), blowing], axis=1), axis=1)
        count = forcing.shape[1] - self.reach
        means = [
            # From lag b to lag a, both included
            (sums[:, self.reach + 1 - a :][:, :count] - sums[:, self.reach - b :][:, :count]) / (b - a + 1)
            for a, b in self.bands
        ]
        # The inverse barometer but for its mean: 1 cm a hectopascal
        pressure = [-row[self.reach :] / (SEA_WATER_DENSITY * GRAVITY) for row in forcing[2:]]
        return np.stack([*(component for band in means for component in band), *pressure], axis=1)


class WindRegression:
    """Mean plus what local wind stress of the last two days and air pressure explain, plus a fading rest.

    Each variable of each cell is a linear function of the wind stress there, eastward and northward, averaged over
    bands of lags up to 48 hours, and of the inverse barometer, where the forcing holds air pressure. What of the state
    at the start this does not explain fades as it did in training. The weather ahead is known, as it is to every
    forecaster; of the sea nothing after the start is.

    Parameters
    ----------
    predictors
        Made of the forcing.
    coefficients
        float64 ``[predictor, channel, y, x]``, land 0.
    constant
        Of the regression, float64 ``[channel, y, x]``, land 0.
    damping
        Share of the unexplained rest left at each lead.
    wet
        ``[channel, y, x]``.
    """

    name = "wind-regression"

    def __init__(
        self, predictors: LocalWeather, coefficients: Array, constant: Array, damping: Damping, wet: Tensor
    ) -> None:
        self.predictors = predictors
        self.coefficients = coefficients
        self.constant = constant
        self.damping = damping
        self.wet = wet
        self.history = predictors.reach + 1

    @classmethod
    def forcing_of(cls, held: Collection[str]) -> tuple[str, ...]:
        """Variables it reads of a store that holds some: stress if it can, else wind, and air pressure.

        Raises
        ------
        ValueError
            If there is neither wind nor stress.
        """
        for pair in (STRESS, WIND):
            if set(pair) <= set(held):
                return (*pair, *([PRESSURE] if PRESSURE in held else []))
        raise CannotFit(
            f"{cls.name} needs the wind, as 'u10' and 'v10' or as stress 'tauu' and 'tauv', and the store holds "
            f"{', '.join(held) or 'no forcing'}; ingest it with --forcing, or name other baselines."
        )

    @classmethod
    def fit(
        cls,
        states: Tensor,
        times: Any,
        wet: Tensor,
        *,
        time_step: int | None = None,
        leads: int = FITTED_LEADS,
        forcing: Tensor | None = None,
        variables: Sequence[str] = (),
        **_: Any,
    ) -> "WindRegression":
        """Fit training states ``[channel, time, y, x]`` at ``times [time]`` on the forcing of the same times.

        Parameters
        ----------
        forcing
            Physical units, ``[channel, time, y, x]``.
        variables
            What its channels are, as :meth:`forcing_of` orders them.

        Raises
        ------
        ValueError
            If there is no forcing, or too few states have two days without a gap before them.
        """
        if forcing is None or cls.forcing_of(variables) != tuple(variables):
            cls.forcing_of(variables)
            raise CannotFit(
                f"{cls.name} was given no forcing, or as {', '.join(variables)}; give u10 and v10, or tauu and tauv, "
                "first, then msl if there is any."
            )
        step = time_step or clock.time_step(times)
        predictors = LocalWeather.of(variables, step)
        reach, steps = predictors.reach, step_numbers(times, step)
        whole = steps[reach:] - steps[: max(steps.size - reach, 0)] == reach
        if whole.sum() < LEAST_ROWS:
            raise CannotFit(
                f"{cls.name} learns from states with {reach} steps of weather without a gap before them, and takes "
                f"{LEAST_ROWS} of them; of the {steps.size} training states {int(whole.sum())} have that. Give a "
                "longer training period, or name other baselines."
            )
        channels, _time, rows, columns = states.shape
        cells = np.flatnonzero(wet.any(0).numpy().ravel())
        weather, sea = forcing.flatten(2).numpy(), states[:, reach:].flatten(2).numpy()
        size = max(1, CHUNK_BYTES // (8 * int(whole.sum()) * (2 * len(predictors.bands) + 1)))
        parts = [cells[first : first + size] for first in range(0, cells.size, size)]

        def design(part: NDArray[np.int64]) -> Array:
            return predictors(weather[:, :, part].astype(np.float64))[whole]

        def target(part: NDArray[np.int64]) -> NDArray[np.float32]:
            return sea[:, :, part][:, whole]

        ridge = Ridge.fit(((design(part), target(part)) for part in parts), channels)
        coefficients = np.zeros((ridge.coefficients.shape[0], channels, rows * columns))
        constant = np.zeros((channels, rows * columns))
        coefficients[..., cells], constant[:, cells] = ridge.coefficients, ridge.constant
        rest = np.zeros((channels, int(whole.sum()), rows * columns), dtype=np.float32)
        for part in parts:
            explained = np.einsum("npx,pcx->cnx", design(part), coefficients[..., part])
            rest[:, :, part] = target(part) - explained - constant[:, None, part]
        dry = ~wet.flatten(1).numpy()
        coefficients[:, dry], constant[dry] = 0.0, 0.0
        left = torch.from_numpy(rest).unflatten(-1, (rows, columns))
        damping = Damping.fit(left, steps[reach:][whole], wet, leads).fading()
        shape = (channels, rows, columns)
        return cls(predictors, coefficients.reshape(-1, *shape), constant.reshape(shape), damping, wet)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield what the weather explains, and the fading rest, at leads 1 to ``leads``.

        Raises
        ------
        ValueError
            If the forcing is missing, or does not reach from two days before the start to the last lead.
        """
        wanted = (len(self.predictors.variables), initial.history.shape[1] + leads)
        came = None if forcing is None else tuple(forcing.shape[:2])
        if forcing is None or came != wanted or initial.history.shape[1] < self.history:
            given = "no forcing" if came is None else f"{came[0]} channel(s) of forcing over {came[1]} steps"
            raise ValueError(
                f"{self.name} forecasts {leads} leads from {self.history} steps of past, and from "
                f"{', '.join(self.predictors.variables)} over all {wanted[1]} steps; it was given "
                f"{initial.history.shape[1]} steps of past and {given}. Start later, ask for fewer leads, or ingest "
                "the forcing."
            )
        weather = forcing[:, -(self.history + leads) :].flatten(2).numpy().astype(np.float64)
        made = self.predictors(weather).reshape(leads + 1, -1, *forcing.shape[2:])
        rest = torch.where(self.wet, initial.state - self._explained(made[0]), 0.0)
        for lead in range(1, leads + 1):
            yield State(lead, self._explained(made[lead]) + self.damping.at(lead) * rest)

    def _explained(self, predictors: Array) -> Tensor:
        """``[predictor, y, x]`` to ``[channel, y, x]``."""
        values = self.constant + np.einsum("pyx,pcyx->cyx", predictors, self.coefficients)
        return torch.from_numpy(values.astype(np.float32))
