"""Which parameter travels in which codec, and when levels are learned anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from training.compression.adaptive import ALQ, AMQ, Adaptive
from training.compression.codec import Cast, Codec
from training.compression.layerwise import LayerWise
from training.compression.quantizer import Quantizer
from training.compression.quantizers import NUQSGD, QSGD

EXACT = Cast(torch.float32)
LEVEL_UPDATES = (100, 2_000)  # exchanges, and then each ...
LEVEL_UPDATE_PERIOD = 10_000  # ... as in the published runs of ALQ on CIFAR-10


class Assignment:
    """Codecs for the way up and the way down of each parameter.

    Parameters
    ----------
    quantizer
        For parameters that are compressed.
    compressed
        Names of these parameters and how many numbers each has; all others travel in float32.
    blocks
        Of some of these, how many neighbouring numbers are of one scale: a bucket does not reach over their edge.
    down_bits
        Bits on the way down, None for the quantizer itself. 8 bits are uniform whatever the quantizer is: there
        exponential levels have ten times the error, and adapted ones gain little.
    warmup_steps
        Exchanges in float32 at the start.
    """

    def __init__(
        self,
        quantizer: Quantizer | LayerWise | Cast,
        compressed: dict[str, int],
        *,
        blocks: Mapping[str, int] | None = None,
        down_bits: int | None,
        warmup_steps: int,
    ) -> None:
        self.quantizer, self.compressed, self.warmup_steps = quantizer, compressed, warmup_steps
        self._blocks = blocks or {}
        self._down = None if down_bits is None else _other_bits(quantizer, down_bits)
        self._statistics: dict[str, Tensor] = {}

    def codecs(self, name: str, step: int) -> tuple[Codec, Codec]:
        """Codecs up and down of a parameter in an exchange, counted from 0."""
        if isinstance(self.quantizer, Cast):
            return self.quantizer, self.quantizer
        if step < self.warmup_steps or name not in self.compressed:
            return EXACT, EXACT
        held = self.quantizer
        up = (held.quantizer(name) if isinstance(held, LayerWise) else held).codec
        down = self._down.codec if self._down is not None else up
        size = self._bucket_size(name, up.granularity)
        return replace(up, granularity=size), replace(down, granularity=size)

    def _bucket_size(self, name: str, most: int) -> int:
        """Numbers in a bucket: the most that fill a block without rest, where multiples of 64 can."""
        block = self._blocks.get(name, 0)
        sizes = [size for size in range(64, most + 1, 64) if block % size == 0]
        return sizes[-1] if block and sizes else most

    def learns_at(self, step: int) -> bool:
        """Whether levels are learned from the gradients of an exchange."""
        if not isinstance(self.quantizer, Adaptive | LayerWise):
            return False
        done = step + 1
        # The last exchange in float32 is the first whose statistics are worth something.
        return (
            done == max(self.warmup_steps, 1)
            or (done > self.warmup_steps and done in LEVEL_UPDATES)
            or done % LEVEL_UPDATE_PERIOD == 0
        )

    def observe(self, name: str, gradient: Tensor) -> None:
        """Take statistics of this rank's gradient of a compressed parameter."""
        if isinstance(self.quantizer, LayerWise):
            size = self._bucket_size(name, self.quantizer.bucket_size)
            self._statistics[name] = self.quantizer.statistics(name, gradient, bucket_size=size)
        elif isinstance(self.quantizer, Adaptive):
            size = self._bucket_size(name, self.quantizer.bucket_size)
            self._statistics[name] = self.quantizer.statistics(gradient, bucket_size=size)

    def learn(self, group: dist.ProcessGroup, device: torch.device) -> None:
        """Learn from the statistics of all ranks; collective, and all end with the same bits.

        The first rank solves for all: other processors may round the same sums otherwise, and a level that differs in
        its last bit lets replicas drift apart.
        """
        names = sorted(self._statistics)
        if not names:
            return
        own = torch.stack([self._statistics[name] for name in names]).to(device)
        held = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
        dist.all_gather(held, own, group=group)
        self._statistics = {}
        learned: list[Any] = [None]
        if dist.get_rank(group) == 0:
            self._solve(names, torch.stack(held).cpu())
            learned = [self.state_dict()]
        dist.broadcast_object_list(learned, group=group, group_src=0, device=device)
        self.load_state_dict(learned[0])

    def _solve(self, names: list[str], gathered: Tensor) -> None:
        """Learn from statistics ``[rank, name, ...]``."""
        if isinstance(self.quantizer, LayerWise):
            self.quantizer.learn(
                {name: list(gathered[:, i]) for i, name in enumerate(names)},
                {name: self.compressed[name] for name in names},
            )
        for adaptive in (self.quantizer, self._down):
            if isinstance(adaptive, Adaptive):
                adaptive.learn(list(gathered.flatten(0, 1)))

    def state_dict(self) -> dict[str, Any]:
        """What was learned."""
        held = {} if isinstance(self.quantizer, Cast) else self.quantizer.state_dict()
        return {"up": held, "down": None if self._down is None else self._down.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        if not isinstance(self.quantizer, Cast):
            self.quantizer.load_state_dict(state["up"])
        if self._down is not None:
            self._down.load_state_dict(state["down"])


def mode_block(shape: Sequence[int]) -> int:
    """Numbers of one Fourier mode in a spectral weight ``[*modes, in, out, 2]``; 0 for any other shape.

    Modes differ by orders of magnitude. A bucket with two of them measures both in the larger one's norm.
    """
    return shape[-3] * shape[-2] * 2 if len(shape) > 3 and shape[-1] == 2 else 0


def _other_bits(quantizer: Quantizer | LayerWise | Cast, bits: int) -> Quantizer:
    """A quantizer of the same kind with other bits."""
    assert not isinstance(quantizer, Cast)
    if isinstance(quantizer, LayerWise):
        return QSGD(bits, quantizer.bucket_size, quantizer.norm, norm_dtype=quantizer.norm_dtype)
    options: dict[str, Any] = {"norm_dtype": quantizer.norm_dtype}
    kind: type[Quantizer] = QSGD
    if isinstance(quantizer, QSGD):
        options["zero"] = quantizer.level_set.zero
    if bits < 8 and isinstance(quantizer, NUQSGD):
        kind, options["p"], options["zero"] = NUQSGD, quantizer.p, quantizer.level_set.zero
    elif bits < 8 and isinstance(quantizer, ALQ | AMQ):
        kind, options["model"], options["weight"] = type(quantizer), quantizer.model, quantizer.weight
    make: Any = kind
    return make(bits, quantizer.bucket_size, quantizer.norm, **options)
