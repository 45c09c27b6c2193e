"""What was usual in the training time of a truth: states drawn from it, their climatology and their quantiles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.splits import read_splits, steps_of_splits
from forecasting import clock
from forecasting.baselines.climatology import Climatology
from forecasting.diagnostic import Scene

DRAWN = 720  # states, seven of which lie above a 99 % quantile
DRAWN_BYTES = 2**28
LEAST_EXCEEDING = 5  # states above a quantile, without which it is not known


@dataclass(frozen=True, eq=False)
class Past:
    """States of the training time.

    Attributes
    ----------
    states
        float32 ``[channel, time, y, x]``, NaN where there is none.
    times
        ``[time]``.
    """

    states: Tensor
    times: NDArray[Any]

    @classmethod
    def drawn(cls, scene: Scene, *, most: int = DRAWN, seed: int = 0) -> "Past | None":
        """States drawn from the split ``train`` at random, so that no tide is met at one phase; None of fewer than 2.

        Times that are scored are not taken, which a store without a split of its own would offer.
        """
        if "train" not in read_splits(scene.truth):
            return None
        steps = np.flatnonzero(steps_of_splits(scene.truth, "train"))
        steps = np.setdiff1d(steps, scene.valid_steps)
        plane = 4 * len(scene.layout.state) * int(np.prod(scene.grid.shape))
        most = max(min(most, DRAWN_BYTES // plane), 2)
        if steps.size > most:
            steps = np.sort(np.random.default_rng(seed).choice(steps, most, replace=False))
        states = scene.layout.pack(scene.truth.isel(time=steps), missing=np.nan)
        whole = (states.isfinite() | ~scene.wet[:, None]).flatten(2).all(2).all(0)
        if int(whole.sum()) < 2:
            return None
        return cls(states[:, whole], scene.truth["time"].values[steps[whole.numpy()]])

    def climatology(self, scene: Scene) -> Climatology:
        """Mean of the states, by season where they show one, as the baseline of that name has it."""
        states = torch.where(scene.wet[:, None], self.states, 0.0)
        return Climatology.fit(states, self.times, scene.wet, time_step=scene.time_step)

    def quantile(self, values: Tensor, share: float) -> Tensor | None:
        """Quantile over time of values ``[time, ...]``; None where too few states lie above it.

        Parameters
        ----------
        values
            Made of the states, one for each.
        share
            Of values below it, 0 to 1.
        """
        if round((1 - share) * len(self.times), 6) < LEAST_EXCEEDING:  # 1 - 0.9 is a little less than 0.1
            return None
        return torch.from_numpy(np.quantile(values.numpy(), share, axis=0))


def usual(climatology: Climatology, scene: Scene, start: int, leads: slice) -> Tensor:
    """The usual states at some leads of a start, ``[channel, lead, y, x]``, land 0."""
    if len(climatology.means) == 1:
        return climatology.means[0][:, None]
    steps = scene.valid_steps[start, leads]
    known = np.flatnonzero(steps >= 0)
    if not known.size:
        return climatology.means[0][:, None]  # of nothing that is scored
    # Leads without a truth are not scored either: any time will do for them
    times = scene.truth["time"].values[np.where(steps >= 0, steps, steps[known[0]])]
    return torch.stack([climatology.at(np.array([phase])) for phase in clock.months(times)], 1)
