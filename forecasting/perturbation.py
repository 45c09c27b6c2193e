"""Perturbed starts: what a sea changes in one step, drawn at random from what it did before."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from data_pipelines.splits import steps_of_splits
from data_pipelines.times import milliseconds, text
from data_pipelines.windows import window_starts
from forecasting.forecaster import Initial
from forecasting.windows import read_whole
from oceanop.layout import Layout
from oceanop.variables import VARIABLES

AMPLITUDE = 1.0  # of the perturbations, in standard deviations of a one-step change
DRAWS = 8  # changes in one perturbation; the sum of fewer is less like a Gaussian field
SPLIT = "train"


class Perturbation:
    """Random pasts around a known one, with the covariance of the store's own one-step changes.

    A perturbation is ``amplitude`` times a sum of ``DRAWS`` differences between neighbouring windows of the training
    split, each of the length of the history and one step apart, with independent Gaussian weights of variance
    ``1 / DRAWS``: a random field that has the covariance of these differences in space, between variables and from one
    past state to the next. It stands for an analysis that is wrong by what the sea changes in ``amplitude`` steps.
    Random fields of past differences keep every linear law that the states keep (Magnusson, Nycander and Kallen,
    Tellus 61A, 2009): no flow through the coast, the volume of a closed basin, the balance of slope and rotation, and
    waves that go on as waves. Land stays 0, and a variable stays in its possible range. Windows end at the start or
    before, so that nothing after it is read.

    Perturbations come in pairs of either sign, 1 and 2, 3 and 4, ...: of an even number the mean start is the known
    one. They depend on seed, start and number alone, not on which others are run.

    Parameters
    ----------
    store, layout
        The store with the past, and the channels of its states.
    amplitude
        Positive; 1 has the size of a one-step change.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If the amplitude is not positive.
    """

    def __init__(
        self, store: xr.Dataset, layout: Layout, *, amplitude: float = AMPLITUDE, seed: int = 0
    ) -> None:
        if not (np.isfinite(amplitude) and amplitude > 0):
            raise ValueError(
                f"the amplitude of the perturbations is {amplitude:g}; give a positive number, 1 for the size of a "
                "one-step change."
            )
        self.store, self.layout, self.amplitude, self.seed = store, layout, float(amplitude), int(seed)
        self.wet = layout.wet(store)
        self._allowed = steps_of_splits(store, SPLIT)

    @property
    def text(self) -> str:
        """What was done, in a sentence that changes with everything that changes the starts."""
        return (
            f"{self.amplitude:g} standard deviations of a one-step change: sums of {DRAWS} differences of neighbouring "
            f"windows of the split '{SPLIT}' with Gaussian weights, in pairs of either sign, seed {self.seed}"
        )

    def __call__(self, initial: Initial, number: int) -> Initial:
        """The past at a start with the perturbation of this number, counted from 1.

        Raises
        ------
        ValueError
            If the training split has too few whole windows before the start.
        """
        pair, sign = (number + 1) // 2, 1.0 if number % 2 else -1.0
        change = sign * self.amplitude * self._draw(initial, pair)
        history = initial.history + torch.where(self.wet[:, None], change, 0.0)
        bounds = [VARIABLES[channel.variable].valid_range for channel in self.layout.state]
        low, high = (
            torch.tensor([ends[side] for ends in bounds], dtype=history.dtype)[:, None, None, None]
            for side in (0, 1)
        )
        inside = torch.minimum(torch.maximum(history, low), high)
        return replace(initial, history=torch.where(self.wet[:, None], inside, history))

    def require(self, start: Any, history: int) -> None:
        """Refuse a start that cannot be perturbed, before anything is forecast.

        Parameters
        ----------
        start
            The last known time; later starts have no fewer windows.
        history
            Past states of a forecast.

        Raises
        ------
        ValueError
            If the training split has too few whole windows before the start.
        """
        for _ in self._windows(start, history, np.random.default_rng(self.seed)):
            pass

    def _draw(self, initial: Initial, pair: int) -> torch.Tensor:
        """A random field of amplitude 1, ``[channel, time, y, x]``."""
        moment = int(milliseconds(np.asarray([initial.start]))[0])
        # Offset, for a seed is no negative number and a start may lie before 1970
        random = np.random.default_rng([self.seed, moment + 2**62, pair])
        weights = random.standard_normal(DRAWS) / np.sqrt(DRAWS)
        total = torch.zeros_like(initial.history)
        windows = self._windows(initial.start, initial.history.shape[1], random)
        for weight, window in zip(weights.tolist(), windows, strict=True):
            total += weight * (window[:, 1:] - window[:, :-1])
        return total

    def _windows(self, start: Any, length: int, random: np.random.Generator) -> Iterator[torch.Tensor]:
        """``DRAWS`` windows of a state more than the length, ``[channel, time, y, x]``, in random order."""
        times = self.store["time"].values
        known = self._allowed & (milliseconds(times) <= int(milliseconds(np.asarray([start]))[0]))
        used = 0
        for first in random.permutation(window_starts(times, length + 1, known)).tolist():
            window = read_whole(self.store, self.layout, slice(first, first + length + 1))
            if window is None:
                continue
            yield window
            used += 1
            if used == DRAWS:
                return
        raise ValueError(
            f"perturbed starts need {DRAWS} windows of {length + 1} whole states in the split '{SPLIT}' of the store, "
            f"up to the start {text(start)}, and there are {used}; start later, give a store with a longer past, or "
            "ask for no more members than checkpoints."
        )
