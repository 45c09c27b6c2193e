"""What a step makes small, as one module: a batch unrolled window by window, and its loss."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oceanop.config import TrainingConfig
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training.losses import error_scale, window_loss

NOISE = 1  # keeps its stream apart from others of the same seed


class Objective(nn.Module):
    """The loss of a batch: one forward pass, however many windows are unrolled in it.

    Data parallelism counts forward passes: it must see one a step, and all parameters in it.

    Parameters
    ----------
    step
        What is trained.
    training
        Weighting of leads, windows that gradients flow through, precision of the forward pass; the loss is always
        float32.
    weight
        Cell area at ocean cells, ``[state, y, x]``.
    horizon
        Steps of one window.
    """

    weight: Tensor

    def __init__(self, step: WindowStep, training: TrainingConfig, *, weight: Tensor, horizon: int) -> None:
        super().__init__()
        self.step, self.choice, self.horizon = step, training, horizon
        self.register_buffer("weight", weight)

    def forward(self, history: Tensor, forcing: Tensor, target: Tensor, noise: Tensor) -> Tensor:
        """Mean over the batch.

        Where gradients flow through the last windows alone, the loss is that of these windows, started from the
        operator's own forecast as if it were data: the pushforward of Brandstetter, Worrall and Welling (ICLR 2022,
        arXiv 2202.03376). What leads there is computed without keeping anything for a backward pass.

        Parameters
        ----------
        history, forcing, target
            Physical units, as in :class:`data_pipelines.Batch`.
        noise
            On the history of the first window, in standard deviations, shape of ``history``; the later windows have
            the operator's own errors.
        """
        leads, past = target.shape[2], history.shape[2]
        through = self.choice.gradient_windows
        ahead = 0 if through is None else max(leads - through * self.horizon, 0)
        start: Tensor | None = noise
        if ahead:
            with torch.no_grad():
                forecast = self._forecast(history, forcing[:, :, : past + ahead], ahead, start)
            history = torch.cat([history, forecast], dim=2)[:, :, -past:]
            forcing, target, start = forcing[:, :, ahead:], target[:, :, ahead:], None
        forecast = self._forecast(history, forcing, leads - ahead, start).float()
        scale = error_scale(self.step, leads, self.choice.lead_weighting, after=ahead)
        return window_loss(forecast, target, scale=scale, weight=self.weight)

    def _forecast(self, history: Tensor, forcing: Tensor, leads: int, noise: Tensor | None) -> Tensor:
        noises = iter([noise])
        with torch.autocast(history.device.type, torch.bfloat16, enabled=self.choice.precision == "bfloat16"):
            windows = rollout(
                lambda past, known: self.step(past, known, next(noises, None)),
                history,
                forcing,
                horizon=self.horizon,
                leads=leads,
            )
            return torch.cat(list(windows), dim=2)


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
