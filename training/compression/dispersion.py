"""How far a rank's vectors move from one exchange to another: what adaptive step sizes are made of."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from training.compression.exchange import UP, Messages, read
from training.compression.plan import Segment

Reference = Literal["zero", "last", "pair"]


class Dispersion:
    r"""Squared norms of the vectors of this rank as they went into the mean, of one exchange after another.

    They are what this rank sent, decoded as its receivers decode it, with error feedback where there is some; where the
    rank itself averages, its own gradient, which nobody quantizes. The rounding of the mean on its way back belongs to
    no rank and is not in it.

    Parameters
    ----------
    reference
        What is subtracted from the vector :math:`V_i` of exchange i before it is squared: ``zero``; ``last``,
        :math:`V_{i-1}`, and 0 in the first exchange; ``pair``, :math:`V_{i-1}` in every second exchange, and 0 in the
        others.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._kept: dict[str, Tensor] = {}
        self._squares: dict[str, Tensor] = {}

    def take(self, name: str, vector: Tensor) -> None:
        """Take the part of a vector that belongs to a parameter, flat float32; it is copied where it is kept."""
        vector = vector.clone()  # memory of its own: what a sum rounds to may depend on where it lies
        before = self._kept.pop(name, None)
        # A checkpoint brings vectors back on the CPU.
        difference = vector if before is None else vector - before.to(vector.device)
        self._squares[name] = torch.linalg.vector_norm(difference)
        if self.reference == "last" or (self.reference == "pair" and before is None):
            self._kept[name] = vector

    def total(self) -> float:
        """The square of the exchange that was taken last."""
        # By parameter and in the order of names: buffers are formed anew along a run, and again when it is resumed.
        norms = torch.stack([self._squares[name] for name in sorted(self._squares)])
        return norms.double().square().sum().item()

    def state_dict(self) -> dict[str, Any]:
        """The vectors that the next exchange is compared with, of this rank alone."""
        return {"kept": {name: vector.cpu() for name, vector in self._kept.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self._kept = {name: vector.clone() for name, vector in state["kept"].items()}


def decode_sent(segments: Sequence[Segment], messages: Sequence[Messages], buffer: Tensor) -> None:
    """Put what was sent up in the place of what it was made of; shares that this rank averages itself stay."""
    for segment, message in zip(segments, messages, strict=True):
        for rank, sent in message.up_send.items():
            read(segment.shares[rank], UP, sent, buffer)
