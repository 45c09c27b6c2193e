"""One window after another: used by the training loss and by forecasts alike."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor


class _Step(Protocol):
    def __call__(self, history: Tensor, forcing: Tensor) -> Tensor: ...


def rollout(step: _Step, history: Tensor, forcing: Tensor, *, horizon: int, leads: int) -> Iterator[Tensor]:
    """Yield the forecast window by window, each starting from the one before.

    Parameters
    ----------
    step
        Maps ``[batch, state, history, y, x]`` and the forcing of one window to ``[batch, state, horizon, y, x]``.
    history
        Known past, physical units.
    forcing
        Known forcing from the first time of the history to the last lead,
        ``[batch, forcing, history + leads, y, x]``.
    horizon
        Steps of one window.
    leads
        Steps in all. Where they do not fill the last window, its forcing is continued by the last known field, and
        the states past ``leads`` are cut off.

    Yields
    ------
    Tensor
        ``[batch, state, n, y, x]``, ``n = horizon`` but for the last window.
    """
    past = history.shape[2]
    for first in range(0, leads, horizon):
        known = forcing[:, :, first : first + past + horizon]
        missing = past + horizon - known.shape[2]
        if missing:
            known = torch.cat([known, known[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)
        future = step(history, known)
        yield future[:, :, : leads - first]
        history = torch.cat([history, future], dim=2)[:, :, -past:]
