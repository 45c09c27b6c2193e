"""The reduce-scatter of models sharded by FSDP2, in codes.

A model under ``torch.distributed.fsdp.fully_shard`` gives each rank a part of every parameter, and its gradients need
the first half of the exchange alone: each rank writes the parts of all others in codes, sends each to its owner, and
adds what it receives, in the order of ranks, to its own part, which stays exact. Nothing travels back, and no replicas
can drift apart; the squared error of the mean is the first stage of that exchange alone, ``(P - 1) / P^3 eps sum_k
|g_k|^2`` for P ranks and a codec of relative variance ``eps``. The weights that FSDP2 gathers for the forward pass and,
where it frees them after that, for the backward pass still travel as they are.

FSDP2 hands over one flat tensor for each module it was applied to: the rows of each parameter that the first rank owns,
one parameter after the other, those of the second rank, and so on. What is where follows from public properties of
parameters, so that biases and other small tensors stay exact as they do in
:func:`training.compression.hook.compress_gradients`, however a model is wrapped, and padding is not sent. Only the
order of parameters, that of the modules with children before parents, is nowhere promised: so the first exchange looks
whether padding is where it should be, and where there is none, another order would only mix numbers under one norm.

This runs on CPUs with gloo, where FSDP2 waits for each exchange, and on GPUs with NCCL within the stream that FSDP2
makes for it; two GPUs have not been at hand to try the latter.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.compression.assignment import Assignment, mode_block
from training.compression.codec import Cast, Codec
from training.compression.exchange import UP
from training.compression.keys import stream_key
from training.compression.layerwise import LayerWise
from training.compression.mail import Mail
from training.compression.plan import SEGMENT, Segment, Share, Span
from training.compression.quantizer import Quantizer


def compress_reduce_scatter(
    module: nn.Module,
    quantizer: Quantizer | LayerWise | Cast,
    *,
    warmup_steps: int = 0,
    min_numel: int = 4096,
    seed: int = 0,
) -> "ShardedExchange":
    """Average the gradients of a sharded model over its ranks in codes instead of float32.

    Every rank calls it once, after ``fully_shard`` and before the first forward pass, with equal arguments.

    Parameters
    ----------
    module
        A model with ``fully_shard`` applied to it or to modules in it. The reduce-scatter of each of them is set;
        accumulation by ``set_requires_gradient_sync``, gradient clipping and divide factors work as always. Where a
        mesh also has replicas, the sums over these travel as they are.
    quantizer
        How gradients are written. Levels that are learned are learned for each sharded module apart, from a copy.
    warmup_steps
        Exchanges of each sharded module at the start that are in float32.
    min_numel
        Parameters with fewer numbers, before they are sharded, and all with one dimension, travel in float32.
    seed
        Of the rounding.

    Returns
    -------
    ShardedExchange
        Counts bytes and seconds, and holds what a checkpoint needs.

    Raises
    ------
    ValueError
        If nothing in the model is sharded, or a parameter is sharded over more than one axis of a mesh.
    """
    # Half a second to import, which models that are not sharded shall not pay.
    from torch.distributed.fsdp import FSDPModule

    if warmup_steps < 0 or min_numel < 0:
        raise ValueError(
            f"warmup_steps is {warmup_steps} and min_numel {min_numel}; expected numbers that are not negative."
        )
    sharded: dict[str, Any] = {n: part for n, part in module.named_modules() if isinstance(part, FSDPModule)}
    if not sharded:
        raise ValueError(
            f"{type(module).__name__} has no sharded module; apply torch.distributed.fsdp.fully_shard first, or use "
            "compress_gradients for DistributedDataParallel."
        )
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    known = {id(parameter): (name, number) for number, (name, parameter) in enumerate(named)}
    state = ShardedExchange(seed)
    for name, part in sharded.items():
        strips: list[Strip] = []
        compressed: dict[str, int] = {}
        blocks: dict[str, int] = {}
        for parameter in dict.fromkeys(_own_parameters(part, FSDPModule)):
            strips.append(_strip(*known[id(parameter)], parameter, start=_length(strips)))
            if parameter.dim() > 1 and parameter.numel() >= min_numel:
                compressed[strips[-1].name] = parameter.numel()
                blocks[strips[-1].name] = mode_block(parameter.shape)
        own = copy.deepcopy(quantizer)
        assignment = Assignment(own, compressed, blocks=blocks, down_bits=None, warmup_steps=warmup_steps)
        state.groups[name] = CodedReduceScatter(state, name or type(module).__name__, strips, assignment)
        part.set_custom_reduce_scatter(state.groups[name])
    return state


@dataclass(frozen=True)
class Strip:
    """A parameter's place in each rank's part of a flat gradient.

    Attributes
    ----------
    name, number
        Of the parameter in the model.
    start, length
        Place in a part, padding included: the same in the part of every rank.
    counts
        Numbers that are no padding, for each rank.
    """

    name: str
    number: int
    start: int
    length: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Round:
    """What travels together, and the memory of its messages by other rank."""

    segment: Segment
    send: dict[int, Tensor]
    receive: dict[int, Tensor]


class ShardedExchange:
    """State of a sharded model whose gradients are averaged in codes: counters, levels, steps.

    Attributes
    ----------
    bytes_sent, seconds
        Payload this rank sent, and time its exchanges took; on a GPU, the time of the host alone.
    groups
        The reduce-scatter of each sharded module, by the module's name.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.bytes_sent, self.seconds = 0, 0.0
        self.groups: dict[str, CodedReduceScatter] = {}

    @property
    def step(self) -> int:
        """Exchanges begun; modules that were left out of some passes have begun fewer."""
        return max(group.step for group in self.groups.values())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on exactly; the same on all ranks that share a model."""
        return {
            name: {"step": group.step, "assignment": group.assignment.state_dict()}
            for name, group in self.groups.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If other modules were sharded when it was saved.
        """
        if state.keys() != self.groups.keys():
            raise ValueError(
                f"the saved exchange has the sharded modules {sorted(state)}, and this model {sorted(self.groups)}; "
                "apply fully_shard to the same ones, or begin without the saved exchange."
            )
        for name, kept in state.items():
            self.groups[name].step = kept["step"]
            self.groups[name].assignment.load_state_dict(kept["assignment"])


class CodedReduceScatter:
    """What FSDP2 calls in place of its reduce-scatter for one sharded module, whose ``strips`` lie in its gradient.

    Attributes
    ----------
    step
        Exchanges begun.
    segment
        Numbers that travel in one round of messages, while the next are encoded.
    """

    def __init__(
        self, state: ShardedExchange, name: str, strips: Sequence[Strip], assignment: Assignment
    ) -> None:
        self.state, self.name, self.strips, self.assignment = state, name, strips, assignment
        self.step, self.segment = 0, SEGMENT
        self._mail: Mail | None = None
        self._rounds: tuple[list[Codec], list[Round]] | None = None

    def allocate(self, size: Sequence[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Memory for a flat gradient, or for this rank's part of it."""
        return torch.empty(tuple(size), dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: dist.ReduceOp,
        async_op: bool = False,
    ) -> None:
        """Reduce this rank's part of all ranks' flat gradients.

        Parameters
        ----------
        output_tensor, input_tensor
            Where it goes, ``[part]``, and this rank's flat gradient, ``[ranks * part]``.
        group
            Ranks among which the model is sharded.
        op, async_op
            Sum, mean, or a sum with a factor; False, for FSDP2 waits by streams.

        Raises
        ------
        ValueError
            If the flat gradient is not float32, or not what the parameters would give.
        """
        assert not async_op
        begin = time.perf_counter()
        ranks = dist.get_world_size(group)
        self._check(input_tensor, ranks)
        if self._mail is None or self._mail.group is not group:
            self._mail = Mail(group, input_tensor.device)
        learns = self.assignment.learns_at(self.step)
        if learns:
            parts = input_tensor.view(ranks, -1)
            for strip in self.strips:
                if strip.name in self.assignment.compressed:
                    local = [parts[r, strip.start :][:count] for r, count in enumerate(strip.counts)]
                    self.assignment.observe(strip.name, torch.cat(local))
        rounds = self._rounds_of(dist.get_rank(group), ranks, input_tensor.device)
        self._scatter(rounds, input_tensor, output_tensor)
        output_tensor.mul_(_factor(op, ranks))
        if learns:
            self.assignment.learn(group, input_tensor.device)
        self.step += 1
        self.state.bytes_sent += sum(message.numel() for round_ in rounds for message in round_.send.values())
        self.state.seconds += time.perf_counter() - begin

    def _check(self, flat: Tensor, ranks: int) -> None:
        if flat.dtype != torch.float32:
            raise ValueError(
                f"{self.name}: gradients are reduced in {flat.dtype}, and codes are made of float32; shard with "
                "mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32)."
            )
        expected = ranks * _length(self.strips)
        if flat.numel() != expected:
            raise ValueError(
                f"{self.name}: FSDP2 reduces {flat.numel()} numbers; parameters that need a gradient have {expected}. "
                "Some got none in this pass: freeze them before compress_reduce_scatter or call "
                "set_reduce_scatter_unused_params(True). Or fully_shard was given a list of modules: give each alone."
            )
        if self._rounds is None:
            for strip in self.strips:
                for part, count in zip(flat.view(ranks, -1), strip.counts, strict=True):
                    if part[strip.start + count : strip.start + strip.length].any():
                        raise ValueError(
                            f"{self.name}: what should be padding of {strip.name} is not zero; this version of torch "
                            "orders parameters in a way not known here. Train with compression off."
                        )

    def _scatter(self, rounds: Sequence[Round], flat: Tensor, output: Tensor) -> None:
        """Set ``output`` to the sum of this rank's parts, its own exact."""
        assert self._mail is not None
        own = dist.get_rank(self._mail.group)
        sender = dist.get_rank()  # of all: equal places in groups that are replicas must round apart
        for number, round_ in enumerate(rounds):
            self._mail.expect(number, round_.receive)
        for number, round_ in enumerate(rounds):
            for rank, message in round_.send.items():
                for share, place in _places(round_.segment.shares[rank], message):
                    key = stream_key(self.state.seed, self.step, sender, UP, share.span.parameter)
                    values = flat[share.start : share.start + share.count]
                    share.span.up.encode(values, place, key=key, first_bucket=share.up_bucket)
            self._mail.send(number, round_.send)
        part = output.numel()
        output.copy_(flat[own * part : (own + 1) * part])  # padding too: a sum over replicas reads it
        for number, round_ in enumerate(rounds):
            self._mail.arrive(number)
            for message in round_.receive.values():  # in the order of ranks, whoever was fast
                for share, place in _places(round_.segment.shares[own], message):
                    start = share.start - own * part
                    share.span.up.decode(place, output[start : start + share.count], add=True)
        self._mail.flush()

    def _rounds_of(self, own: int, ranks: int, device: torch.device) -> list[Round]:
        """Rounds of this step; they and their memory serve until a codec changes."""
        codecs = [self.assignment.codecs(strip.name, self.step)[UP] for strip in self.strips]
        if self._rounds is None or self._rounds[0] != codecs:
            rounds = []
            for segment in cut(self.strips, codecs, ranks, segment=self.segment):
                send = {rank: segment.up_bytes(rank) for rank in range(ranks) if rank != own}
                receive = dict.fromkeys(send, segment.up_bytes(own))
                rounds.append(Round(segment, _messages(send, device), _messages(receive, device)))
            self._rounds = codecs, rounds
        return self._rounds[1]


def cut(
    strips: Sequence[Strip], codecs: Sequence[Codec], ranks: int, *, segment: int = SEGMENT
) -> list[Segment]:
    """Cut the parts of all ranks into segments of about ``segment`` numbers together.

    Buckets begin anew in each rank's part and are counted through all parts: they do not depend on the cut.
    """
    segments: list[Segment] = []
    gathered: list[list[Share]] = [[] for _ in range(ranks)]
    size = 0
    for strip, codec in zip(strips, codecs, strict=True):
        span = Span(strip.number, strip.start, sum(strip.counts), codec, codec)
        longest = max(segment // ranks // codec.granularity, 1) * codec.granularity
        whole = -(-strip.length // codec.granularity) * codec.granularity
        for first in range(0, strip.length, longest):
            length = min(longest, strip.length - first)
            if size and size + ranks * length > segment:
                segments.append(Segment(tuple(map(tuple, gathered))))
                gathered, size = [[] for _ in range(ranks)], 0
            for rank, count in enumerate(strip.counts):
                if count > first:
                    start, place = rank * _length(strips) + strip.start + first, rank * whole + first
                    gathered[rank].append(Share(span, start, place, min(count - first, length)))
            size += ranks * length
    if size:
        segments.append(Segment(tuple(map(tuple, gathered))))
    return segments


def _own_parameters(module: nn.Module, sharded: type) -> Iterator[Tensor]:
    """Parameters that FSDP2 reduces with a module, in its order: children first, other sharded modules left out."""
    from torch.distributed.tensor import DTensor

    for child in module.children():
        if not isinstance(child, sharded):
            yield from _own_parameters(child, sharded)
    for parameter in module.parameters(recurse=False):
        # What fully_shard was told to ignore is no distributed tensor.
        if isinstance(parameter, DTensor) and parameter.requires_grad:
            yield parameter


def _strip(name: str, number: int, parameter: Any, *, start: int) -> Strip:
    """Where each rank's rows of a distributed parameter lie."""
    axes = [axis for axis, placement in enumerate(parameter.placements) if not placement.is_replicate()]
    if len(axes) != 1 or not parameter.placements[axes[0]].is_shard():
        raise ValueError(
            f"the parameter {name} is laid out as {parameter.placements}; gradients are sent in codes where one axis "
            "of the mesh shards a parameter and the others replicate it."
        )
    ranks, dim = parameter.device_mesh.size(axes[0]), parameter.placements[axes[0]].dim
    rows, across = parameter.shape[dim], parameter.numel() // max(parameter.shape[dim], 1)
    most = -(-rows // ranks)
    counts = tuple(min(max(rows - rank * most, 0), most) * across for rank in range(ranks))
    return Strip(name, number, start, most * across, counts)


def _length(strips: Sequence[Strip]) -> int:
    return strips[-1].start + strips[-1].length if strips else 0


def _messages(sizes: dict[int, int], device: torch.device) -> dict[int, Tensor]:
    return {rank: torch.zeros(size, dtype=torch.uint8, device=device) for rank, size in sizes.items()}


def _places(shares: Sequence[Share], message: Tensor) -> Iterator[tuple[Share, Tensor]]:
    """Each share and its place in a message."""
    place = 0
    for share in shares:
        size = share.span.up.nbytes(share.count)
        yield share, message[place : place + size]
        place += size


def _factor(op: dist.ReduceOp, ranks: int) -> float:
    """What the sum over ranks is multiplied by."""
    if op == dist.ReduceOp.SUM:
        return 1.0
    if op == dist.ReduceOp.AVG:
        return 1.0 / ranks
    if hasattr(op, "factor"):  # of a sum with a factor; older torch does not tell it
        return float(op.factor)
    raise ValueError(
        f"gradients are reduced by {op}; expected a sum or a mean. Call set_force_sum_reduction_for_comms(True) on "
        "the sharded modules."
    )
