"""Compressed gradient averaging for DistributedDataParallel: the hook, its thread, and what it counts."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from training.compression.assignment import EXACT, Assignment, mode_block
from training.compression.codec import Cast
from training.compression.dispersion import Dispersion, decode_sent
from training.compression.exchange import Exchange, Messages
from training.compression.feedback import Feedback
from training.compression.layerwise import LayerWise
from training.compression.mode_error import mode_errors
from training.compression.plan import Segment, Span, plan
from training.compression.quantizer import Quantizer

PATIENCE = 10.0  # s


def compress_gradients(
    ddp: DistributedDataParallel,
    quantizer: Quantizer | LayerWise | Cast,
    *,
    down_bits: int | None = None,
    error_feedback: bool = False,
    warmup_steps: int = 0,
    min_numel: int = 4096,
    seed: int = 0,
) -> "GradientExchange":
    """Average the gradients of a model over its ranks in codes instead of float32.

    Every rank calls it once, after the model is wrapped and before the first backward pass, with equal arguments.

    Parameters
    ----------
    ddp
        The model. Its hook is set; ``no_sync`` and gradient clipping work as always.
    quantizer
        How gradients are written on the way to the rank that averages them.
    down_bits
        Bits of the means on the way back; those of ``quantizer`` where absent. Their error is not averaged over ranks,
        so more bits here are well spent.
    error_feedback
        Keep what rounding lost for the next step; takes the memory of one more gradient, and in a checkpoint that of
        one a rank. Every parameter must have a gradient in every step.
    warmup_steps
        Steps at the start that are averaged in float32.
    min_numel
        Parameters with fewer numbers, and all with one dimension, travel in float32: they are next to nothing of the
        bytes.
    seed
        Of the rounding.

    Returns
    -------
    GradientExchange
        Counts bytes and seconds, and holds what a checkpoint needs.

    Raises
    ------
    ValueError
        If an argument would have no effect, gradients are of a type that codes do not hold, or the model is not on all
        ranks.
    """
    if isinstance(quantizer, Cast) and (down_bits is not None or error_feedback):
        raise ValueError(
            "down_bits and error_feedback turn nothing where gradients are only cast; leave them out."
        )
    if warmup_steps < 0 or min_numel < 0:
        raise ValueError(
            f"warmup_steps is {warmup_steps} and min_numel {min_numel}; expected numbers that are not negative."
        )
    ranks, present = dist.get_world_size(ddp.process_group), dist.get_world_size()
    if ranks != present:  # a new group waits for every rank, and those without the model do not come
        raise ValueError(
            f"the model is on {ranks} of {present} ranks; gradients are compressed between all. Wrap the model on "
            "every rank, or train with compression off."
        )
    for name, parameter in ddp.module.named_parameters():
        if parameter.requires_grad and parameter.dtype not in (torch.float32, torch.complex64):
            raise ValueError(
                f"the parameter {name} is {parameter.dtype}; gradients that are compressed are float32 or complex64. "
                "Convert the model, or train with compression off."
            )
    state = GradientExchange(
        ddp,
        quantizer,
        down_bits=down_bits,
        feedback=Feedback() if error_feedback else None,
        warmup_steps=warmup_steps,
        min_numel=min_numel,
        seed=seed,
    )
    ddp.register_comm_hook(state, _hook)
    return state


def _hook(state: "GradientExchange", bucket: dist.GradBucket) -> Future[Tensor]:
    return state.submit(bucket.buffer(), bucket.parameters(), last=bucket.is_last())


@dataclass(frozen=True)
class Traffic:
    """What exchanges sent.

    Attributes
    ----------
    bytes_sent
        Payload of this rank. What adaptive levels are learned from, some kilobytes in a few steps of a run, is not in
        it.
    seconds
        Time its buffers were worked on and travelled; on a GPU, the time of the host alone.
    numbers
        Gradient numbers averaged.
    """

    bytes_sent: int = 0
    seconds: float = 0.0
    numbers: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.bytes_sent + other.bytes_sent, self.seconds + other.seconds, self.numbers + other.numbers
        )

    def effective_bits(self, ranks: int) -> float:
        """Bits a gradient number takes on the wire, norms and padding included.

        A float32 all-reduce takes 32; on one rank nothing travels.
        """
        if ranks == 1:
            return 0.0
        return 8 * self.bytes_sent / (2 * (ranks - 1) / ranks * self.numbers)


@dataclass
class _Job:
    """One gradient buffer on its way."""

    buffer: Tensor
    parameters: Sequence[Tensor]
    step: int
    last: bool
    done: Future[Tensor]


@dataclass(frozen=True)
class _Route:
    """The plan of one buffer and the memory of its messages."""

    segments: list[Segment]
    messages: list[Messages]


class GradientExchange:
    """State of a model whose gradients are averaged in codes: counters, levels, step.

    Attributes
    ----------
    bytes_sent, seconds
        Payload this rank sent, and time its exchanges took.
    last
        :class:`Traffic` of the last whole step.
    step
        Exchanges begun.
    mode_errors
        What :meth:`measure_mode_errors` asked for, by parameter.
    dispersion
        Takes the vectors of this rank in each exchange, at the cost of one more copy and decoding; None for none. It is
        set before the first exchange.
    """

    def __init__(
        self,
        ddp: DistributedDataParallel,
        quantizer: Quantizer | LayerWise | Cast,
        *,
        down_bits: int | None,
        feedback: Feedback | None,
        warmup_steps: int,
        min_numel: int,
        seed: int,
    ) -> None:
        named = [(name, p) for name, p in ddp.module.named_parameters() if p.requires_grad]
        self._name = {id(p): name for name, p in named}
        self._number = {id(p): number for number, (_, p) in enumerate(named)}
        self.device = named[0][1].device
        compressed = {name: _reals(p) for name, p in named if p.dim() > 1 and _reals(p) >= min_numel}
        blocks = {name: mode_block(p.shape) for name, p in named if name in compressed and not p.is_complex()}
        self.assignment = Assignment(
            quantizer, compressed, blocks=blocks, down_bits=down_bits, warmup_steps=warmup_steps
        )
        # A group of its own: the model's also carries its buffers, and two threads must not order collectives on one.
        group = _another_group(ddp.process_group, self.device)
        self.group, self.feedback = group, feedback
        self._exchange = Exchange(group, self.device, seed=seed, feedback=feedback)
        self.ranks = self._exchange.ranks
        self._routes: dict[Any, _Route] = {}  # of the last step
        self._used: dict[Any, _Route] = {}  # of this one so far
        self.step, self.bytes_sent, self.seconds = 0, 0, 0.0
        self.last = self._current = Traffic()
        self.mode_errors: dict[str, Tensor] = {}
        self.dispersion: Dispersion | None = None
        self._measure = False
        self._failure: Exception | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._thread: threading.Thread | None = None
        if self._side is None:
            self._thread = threading.Thread(target=self._work, name="gradient exchange", daemon=True)
            self._thread.start()

    def submit(self, buffer: Tensor, parameters: Sequence[Tensor], *, last: bool) -> Future[Tensor]:
        """Send a flat gradient buffer on its way; the future holds its mean over the ranks.

        Buffers come in the same order on every rank; ``last`` closes a step.
        """
        if self._side is None:
            job = _Job(buffer, parameters, self.step, last, Future())
            self._jobs.put(job)
        else:
            job = _Job(buffer, parameters, self.step, last, Future(devices=[self.device]))
            # Behind what has computed this gradient, beside what computes the next one.
            self._side.wait_stream(torch.cuda.current_stream(self.device))
            buffer.record_stream(self._side)
            with torch.cuda.stream(self._side):
                self._serve(job)
        if last:
            self.step += 1
        return job.done

    def measure_mode_errors(self) -> None:
        """Let the next step fill :attr:`mode_errors` anew, at the cost of encoding this rank's gradient once more.

        Parameters that travel in float32 are left out, so that there may be none.
        """
        self.mode_errors, self._measure = {}, True

    def close(self) -> None:
        """End the thread when what was submitted is done; the model's gradients are averaged no more."""
        if self._thread is not None:
            self._jobs.put(None)
            # Waited for: a thread that still lets go of its group while the interpreter ends takes the process with it.
            # Not for ever: it may hang in a message whose peer is gone.
            self._thread.join(PATIENCE)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._serve(job)

    def _serve(self, job: _Job) -> None:
        begin = time.perf_counter()
        try:
            if self._failure is not None:  # the peers are gone: another collective would hang
                raise self._failure
            sent = self._average(job)
            if job.last and self.assignment.learns_at(job.step):
                self.assignment.learn(self.group, self.device)
            self._count(sent, job, time.perf_counter() - begin)
        except Exception as error:
            self._failure = error
            job.done.set_exception(error)  # type: ignore[arg-type]  # torch's annotation is wrong
        else:
            job.done.set_result(job.buffer)

    def _average(self, job: _Job) -> int:
        spans, names = self._spans(job)
        learns = self.assignment.learns_at(job.step)
        for span, name, parameter in zip(spans, names, job.parameters, strict=True):
            if name not in self.assignment.compressed:
                continue
            local = job.buffer[span.start : span.start + span.count]
            if learns:
                self.assignment.observe(name, local)
            if self._measure and span.up != EXACT:
                shape = parameter.shape if not parameter.is_complex() else (*parameter.shape, 2)
                self.mode_errors[name] = mode_errors(local.reshape(shape), span.up, seed=job.step)
        if job.last:
            self._measure = False
        route = self._route(spans, last=job.last)
        if self.dispersion is None:
            return self._exchange.average(job.buffer, route.segments, route.messages, step=job.step)
        own = job.buffer.clone()
        count = self._exchange.average(job.buffer, route.segments, route.messages, step=job.step)
        decode_sent(route.segments, route.messages, own)
        for span, name in zip(spans, names, strict=True):
            self.dispersion.take(name, own[span.start : span.start + span.count])
        return count

    def _spans(self, job: _Job) -> tuple[list[Span], list[str]]:
        """Where each parameter lies in a buffer, and its codecs in this step."""
        spans, names, start = [], [], 0
        for parameter in job.parameters:
            name, count = self._name[id(parameter)], _reals(parameter)
            up, down = self.assignment.codecs(name, job.step)
            spans.append(Span(self._number[id(parameter)], start, count, up, down))
            names.append(name)
            start += count
        # A gradient is looked for by its place, so a buffer with anything else in it would be read wrongly.
        assert start == job.buffer.numel()
        return spans, names

    def _route(self, spans: list[Span], *, last: bool) -> _Route:
        key = tuple(spans)
        route = self._routes.pop(key, None) or self._used.get(key)
        if route is None:
            segments = plan(spans, self.ranks)
            route = _Route(segments, [self._exchange.messages(segment) for segment in segments])
        self._used[key] = route
        if (
            last
        ):  # what this step did not need the next will not: codecs have changed, or buffers were formed anew
            self._routes, self._used = self._used, {}
        return route

    def _count(self, sent: int, job: _Job, seconds: float) -> None:
        now = self._current + Traffic(sent, seconds, job.buffer.numel())
        self.bytes_sent, self.seconds = self.bytes_sent + sent, self.seconds + seconds
        self.last, self._current = (now, Traffic()) if job.last else (self.last, now)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on exactly; errors that were fed back are of this rank alone."""
        return {
            "step": self.step,
            "ranks": self.ranks,
            "assignment": self.assignment.state_dict(),
            "feedback": None if self.feedback is None else self.feedback.state_dict(),
            "dispersion": None if self.dispersion is None else self.dispersion.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If errors were fed back on another number of ranks: they belong to shares that no longer exist.
        """
        if (state["feedback"] is None) != (self.feedback is None):
            raise ValueError(
                "the saved exchange and this one differ in error feedback; resume with the same setting."
            )
        if self.feedback is not None and state["ranks"] != self.ranks:
            raise ValueError(
                f"error feedback was saved by {state['ranks']} ranks and cannot be taken up by {self.ranks}; resume "
                "with as many ranks."
            )
        self.step = state["step"]
        self.assignment.load_state_dict(state["assignment"])
        if self.feedback is not None:
            self.feedback.load_state_dict(state["feedback"])
        if self.dispersion is not None:
            self.dispersion.load_state_dict(state["dispersion"])


def _reals(parameter: Tensor) -> int:
    return parameter.numel() * (2 if parameter.is_complex() else 1)


def _another_group(group: dist.ProcessGroup, device: torch.device) -> dist.ProcessGroup:
    """A group of all ranks, with the patience of the model's."""
    patience: timedelta = group._get_backend(device).options._timeout
    made = dist.new_group(timeout=patience)
    assert isinstance(made, dist.ProcessGroup)
    return made
