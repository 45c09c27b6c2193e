"""What both operators do with their inputs before they differ."""

from typing import Protocol

import torch
from torch import Tensor


class _Sizes(Protocol):
    state_channels: int
    forcing_channels: int
    static_channels: int
    history: int
    horizon: int


def check_inputs(sizes: _Sizes, history: Tensor, forcing: Tensor, static: Tensor) -> None:
    """Refuse tensors whose shapes do not fit the operator or one another."""
    plane = tuple(static.shape[-2:])
    batch = history.shape[0]
    expected = {
        "history": (history, (batch, sizes.state_channels, sizes.history, *plane)),
        "forcing": (forcing, (batch, sizes.forcing_channels, sizes.history + sizes.horizon, *plane)),
        "static": (static, (sizes.static_channels, *plane)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; this operator expects {shape}.")


def land_free(history: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
    """The ocean mask as 0 and 1, and the history with land set to 0 (``where``: land may hold NaN)."""
    wet = static[0] > 0.5
    return wet.to(history.dtype), torch.where(wet, history, 0.0)


def window_channels(history: Tensor, forcing: Tensor, static: Tensor, horizon: int, patch: int = 1) -> Tensor:
    """All inputs on the joint time axis, ``[batch, (history + horizon) / patch, y, x, channel]``.

    Future slots hold the last known state; two more channels tell past from future and the time from the start. A
    patch holds the states and the forcing of its steps, one after another, and the time of its last step.
    """
    batch, _, past, *plane = history.shape
    state = torch.cat([history, history[:, :, -1:].expand(-1, -1, horizon, -1, -1)], dim=2)
    moving = torch.cat([state, forcing], dim=1).unflatten(2, (-1, patch)).movedim(3, 1).flatten(1, 2)
    lead = torch.arange(1 - past, horizon + 1, dtype=history.dtype, device=history.device)[patch - 1 :: patch]
    clock = torch.stack([(lead > 0).to(history.dtype), lead / horizon])[None, :, :, None, None]
    fixed = static[None, :, None].expand(batch, -1, len(lead), -1, -1)
    parts = [moving, fixed, clock.expand(batch, -1, -1, *plane)]
    return torch.cat(parts, dim=1).permute(0, 2, 3, 4, 1)
