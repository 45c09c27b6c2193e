"""Error feedback: what rounding lost in one step is added to the gradient of the next."""

from typing import Any

import torch
from torch import Tensor

from training.compression.codec import Codec
from training.compression.plan import Share


class Feedback:
    """Errors of this rank: of what it sent up, by receiver's share, and of the means that it sent down.

    With ``p = gradient + error`` it sends ``C(p)`` and keeps ``error = p - C(p)`` (Karimireddy et al. 2019, arXiv
    1901.09847). That needs a contraction, which unbiased rounding Q with a relative variance above 1 is not: so
    ``C(p) = Q(p / (1 + w))``, with ``w`` the variance measured on the same parameter the last time and, the first time,
    one; a receiver need not know ``w``, since norms carry it.

    Errors are kept by parameter and share, not by the buffer they travelled in.
    """

    def __init__(self) -> None:
        self._errors: dict[tuple[int, int, int], Tensor] = {}
        self._variances: dict[tuple[int, int, int], Tensor] = {}

    def encode(
        self,
        share: Share,
        way: int,
        codec: Codec,
        values: Tensor,
        out: Tensor,
        *,
        key: int,
        first_bucket: int,
    ) -> None:
        """Encode ``values`` plus the error kept for them; keep what is lost now."""
        place = (way, share.span.parameter, share.first)
        if place not in self._errors:
            # A tensor of its own, never a number: reading it would let a GPU's host wait for the exchange.
            self._variances[place] = torch.ones((), device=values.device)
            self._errors[place] = torch.zeros_like(values)
        # What was saved is read back onto the CPU, wherever gradients are.
        error = self._errors[place] = self._errors[place].to(values.device)
        variance = self._variances[place] = self._variances[place].to(values.device)
        error.add_(values)
        scaled = error / (1 + variance)
        codec.encode(scaled, out, key=key, first_bucket=first_bucket)
        sent = torch.empty_like(error)
        codec.decode(out, sent)
        # What is sent is unbiased for p / (1 + w), so its own deviation tells w.
        measured = (sent - scaled).square().sum() / scaled.square().sum()
        variance.copy_(torch.where(torch.isfinite(measured), measured, variance))
        error.sub_(sent)
        # A gradient that is not finite is seen once by all; kept, it would make every later step NaN.
        error.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)

    def error(self, way: int, parameter: int) -> dict[int, Tensor]:
        """Errors kept for a parameter, by the first number of each share."""
        return {first: error for (w, p, first), error in self._errors.items() if (w, p) == (way, parameter)}

    def state_dict(self) -> dict[str, Any]:
        """Errors and variances, of this rank alone, on the CPU: another rank, which gathers them, has another GPU."""
        return {
            "errors": {place: error.cpu() for place, error in self._errors.items()},
            "variances": {place: variance.cpu() for place, variance in self._variances.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        self._errors = {name: error.clone() for name, error in state["errors"].items()}
        self._variances = {name: variance.clone() for name, variance in state["variances"].items()}
