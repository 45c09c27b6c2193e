"""What a step makes small, as one module: a batch unrolled window by window, and its loss."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training.losses import error_scale, window_loss

NOISE, DROPOUT = 1, 2  # keeps the streams of random numbers of one seed and step apart


class Objective(nn.Module):
    """The loss of a batch: one forward pass, however many windows are unrolled in it.

    Data parallelism counts forward passes: it must see one a step, and all parameters in it.

    Parameters
    ----------
    step
        What is trained.
    weight
        Cell area at ocean cells, ``[state, y, x]``.
    horizon
        Steps of one window.
    lead_weighting
        See :func:`training.losses.error_scale`.
    precision
        ``float32``, or ``bfloat16`` for the forward pass; the loss is always float32.
    """

    weight: Tensor

    def __init__(
        self, step: WindowStep, *, weight: Tensor, horizon: int, lead_weighting: float, precision: str
    ) -> None:
        super().__init__()
        self.step, self.horizon, self.lead_weighting = step, horizon, lead_weighting
        self.lower = precision == "bfloat16"
        self.register_buffer("weight", weight)

    def forward(self, history: Tensor, forcing: Tensor, target: Tensor, noise: Tensor) -> Tensor:
        """Mean over the batch.

        Parameters
        ----------
        history, forcing, target
            Physical units, as in :class:`data_pipelines.Batch`.
        noise
            On the history of the first window, in standard deviations, shape of ``history``; the later windows have
            the operator's own errors.
        """
        leads = target.shape[2]
        noises = iter([noise])
        with torch.autocast(history.device.type, torch.bfloat16, enabled=self.lower):
            windows = rollout(
                lambda past, known: self.step(past, known, next(noises, None)),
                history,
                forcing,
                horizon=self.horizon,
                leads=leads,
            )
            forecast = torch.cat(list(windows), dim=2)
        scale = error_scale(self.step, leads, self.lead_weighting)
        return window_loss(forecast.float(), target, scale=scale, weight=self.weight)


def history_noise(
    history: Tensor, *, size: float, seed: int, step: int, windows: NDArray[np.int64]
) -> Tensor:
    """Normal noise of a standard deviation for a batch, shape of ``history``.

    Each window has its own stream, named by seed, step and its number in the batch of all ranks, so that the noise
    does not depend on how ranks share the batch, nor on the device.
    """
    noise = [
        np.random.default_rng([NOISE, seed, step, int(window)]).standard_normal(
            history.shape[1:], dtype=np.float32
        )
        for window in windows
    ]
    return size * torch.from_numpy(np.stack(noise))


def seed_dropout(*, seed: int, step: int, rank: int) -> None:
    """Let dropout depend on the step and the rank alone, so that a resumed run repeats the one that was stopped."""
    state = np.random.SeedSequence([DROPOUT, seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
