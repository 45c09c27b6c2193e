"""What one of two ranks does to show the laws of the hook: small models trained in many ways, on different data."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.compression import (
    ALQ,
    AMQ,
    NUQSGD,
    QSGD,
    Cast,
    LayerWise,
    Quantizer,
    Ternary,
    assignment,
    compress_gradients,
)

RANKS = 2
DEATH = 9  # status that a rank ends with when it dies
STEPS, STOP = 9, 5  # of runs that are stopped and resumed
UPDATES = (4, 7)  # exchanges after which levels are learned: before and behind the stop
LONG = 200
MANY, ONE = 1e-3, 25.0  # megabytes of a gradient buffer: several buffers, or one of each kind

QUANTIZERS: dict[str, Callable[[], Quantizer | LayerWise | Cast]] = {
    "NUQSGD": lambda: NUQSGD(4, 64),
    "ALQ": lambda: ALQ(3, 64, norm_dtype="bfloat16"),
    "AMQ": lambda: AMQ(3, 64, "l2"),
    "LayerWise": lambda: LayerWise(0.05, bucket_size=64),
    "float16": lambda: Cast(torch.float16),
}
RESUMED: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed levels": ("NUQSGD", {}),
    "learned levels": ("ALQ", {"warmup_steps": 2}),
    "a learned multiplier": ("AMQ", {"down_bits": 4}),
    "learned bits": ("LayerWise", {"down_bits": 8, "warmup_steps": 1}),
    "fed back": ("NUQSGD", {"error_feedback": True, "down_bits": 8}),
    "learned and fed back": ("ALQ", {"error_feedback": True, "warmup_steps": 1, "down_bits": 8}),
    "learned bits and fed back": ("LayerWise", {"error_feedback": True}),
    "16 bits": ("float16", {}),
}


class Mixed(nn.Module):
    """Real weights, complex weights kept as pairs of reals, and raw complex ones; and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.lifting = nn.Linear(6, 8)
        self.pairs = nn.Parameter(torch.randn(3, 2, 8, 8, 2) / 4)
        self.raw = nn.Parameter(torch.randn(3, 3, 8, 8, dtype=torch.complex64) / 4)
        self.matrix = nn.Linear(8, 61)
        self.odd = nn.Parameter(torch.randn(61, 13) / 8)
        self.frozen = nn.Parameter(torch.ones(61), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Of ``[batch, 6]`` one number each."""
        h = self.lifting(x).tanh().to(torch.complex64)
        h = torch.einsum("bi,yxio->bo", h, torch.view_as_complex(self.pairs)).exp().div(1 + h.abs())
        h = torch.einsum("bi,yxio->bo", h / (1 + h.abs()), self.raw)
        h = torch.view_as_real(h).sum(-1).tanh()
        return ((self.matrix(h) * self.frozen).tanh() @ self.odd).square().mean(-1)


COMPRESSED = {"pairs": 768, "raw": 1152, "matrix.weight": 488, "odd": 793}
OPTIONS: dict[str, Any] = {"min_numel": 400, "seed": 5}


def model() -> Mixed:
    torch.manual_seed(0)
    return Mixed()


def batch(rank: int, step: int, size: int = 5) -> Tensor:
    return torch.randn(size, 6, generator=torch.Generator().manual_seed(1000 * step + rank))


def reals(x: Tensor) -> Tensor:
    return (torch.view_as_real(x) if x.is_complex() else x).detach().clone()


def gradients(of: nn.Module) -> dict[str, Tensor]:
    return {name: reals(p.grad) for name, p in of.named_parameters() if p.grad is not None}


def weights(of: nn.Module) -> dict[str, Tensor]:
    return {name: reals(p) for name, p in of.named_parameters()}


class Run:
    """A model in training."""

    def __init__(
        self,
        quantizer: Quantizer | LayerWise | Cast,
        rank: int,
        *,
        cap: float = MANY,
        view: bool = False,
        **options: Any,
    ) -> None:
        self.rank, self.step, self.model = rank, 0, model()
        self.ddp = DistributedDataParallel(self.model, bucket_cap_mb=cap, gradient_as_bucket_view=view)
        self.exchange = compress_gradients(self.ddp, quantizer, **{**OPTIONS, **options})
        self.optimizer = torch.optim.AdamW(self.ddp.parameters(), lr=0.01)
        self.buffers: list[int] = []  # in each step
        submit = self.exchange.submit

        def counted(*arguments: Any, **named: Any) -> torch.futures.Future[Tensor]:
            self.buffers[-1] += 1
            return submit(*arguments, **named)

        self.exchange.submit = counted  # type: ignore[method-assign]

    def gradients(self) -> dict[str, Tensor]:
        """Mean gradients of the present step."""
        self.optimizer.zero_grad()
        self.buffers.append(0)
        self.ddp(batch(self.rank, self.step)).mean().backward()
        return gradients(self.model)

    def steps(self, until: int) -> "Run":
        while self.step < until:
            self.gradients()
            self.optimizer.step()
            self.step += 1
        return self

    def saved(self) -> io.BytesIO:
        file = io.BytesIO()
        states = self.model.state_dict(), self.optimizer.state_dict(), self.exchange.state_dict(), self.step
        torch.save(states, file)
        file.seek(0)
        return file

    def resume(self, file: io.BytesIO) -> "Run":
        own, optimizer, exchange, self.step = torch.load(file, weights_only=True)
        self.model.load_state_dict(own)
        self.optimizer.load_state_dict(optimizer)
        self.exchange.load_state_dict(exchange)
        return self


@contextmanager
def early_updates() -> Iterator[None]:
    held = assignment.LEVEL_UPDATES
    assignment.LEVEL_UPDATES = UPDATES  # type: ignore[assignment]
    yield
    assignment.LEVEL_UPDATES = held


def work(rank: int) -> dict[str, Any]:
    """Everything that one rank has to tell."""
    told: dict[str, Any] = {
        "local": [local(rank, step) for step in range(4)],
        "steps": steps_of(rank),
        "accumulated": accumulated(rank),
        "refused": refused(rank),
        "not finite": not_finite(rank),
        "long": long_run(rank),
        "modes": modes(rank),
    }
    told["formed"] = {
        name: (run.steps(4).buffers, weights(run.model))
        for name, run in (
            ("many", Run(NUQSGD(4, 64), rank, cap=MANY)),
            ("one", Run(NUQSGD(4, 64), rank, cap=ONE)),
            ("view", Run(NUQSGD(4, 64), rank, cap=MANY, view=True)),
        )
    }
    with early_updates():
        told["resumed"] = {name: resumed(rank, *how) for name, how in RESUMED.items()}
        told["learned"] = {
            name: Run(QUANTIZERS[name](), rank).steps(5).exchange.assignment.state_dict()
            for name in ("ALQ", "AMQ", "LayerWise")
        }
    dist.barrier()
    return told


def local(rank: int, step: int) -> dict[str, Tensor]:
    """Gradients of this rank alone, with the weights of the start."""
    own = model()
    own(batch(rank, step)).mean().backward()
    return gradients(own)


def steps_of(rank: int) -> dict[str, Any]:
    """Means of four steps without a step of the optimizer, the first two in float32; bytes of the last two."""
    run = Run(QSGD(4, 64), rank, warmup_steps=2, down_bits=8)
    means, traffic = [], []
    for _ in range(4):
        means.append(run.gradients())
        traffic.append(run.exchange.last)
        run.step += 1
    return {
        "means": means,
        "sent": [step.bytes_sent for step in traffic],
        "numbers": traffic[-1].numbers,
        "total": run.exchange.bytes_sent,
        "seconds": run.exchange.seconds,
        "buffers": run.buffers,
    }


def accumulated(rank: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of two batches, the first under ``no_sync``: of this rank alone, and their mean."""
    own, run = model(), Run(QSGD(4, 64), rank)
    for step in range(2):
        own(batch(rank, step)).mean().backward()
    run.buffers.append(0)
    with run.ddp.no_sync():
        run.ddp(batch(rank, 0)).mean().backward()
    assert run.exchange.step == 0
    run.ddp(batch(rank, 1)).mean().backward()
    assert run.exchange.step == 1
    return gradients(own), gradients(run.model)


def resumed(rank: int, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Weights of a run that was never stopped, and of one that was stopped and went on in a new object."""
    whole = Run(QUANTIZERS[name](), rank, **options).steps(STEPS)
    file = Run(QUANTIZERS[name](), rank, **options).steps(STOP).saved()
    parted = Run(QUANTIZERS[name](), rank, **options, cap=ONE).resume(file).steps(STEPS)
    return {
        "whole": weights(whole.model),
        "parted": weights(parted.model),
        "states": [run.exchange.assignment.state_dict() for run in (whole, parted)],
    }


def not_finite(rank: int) -> list[dict[str, Tensor]]:
    """Means around a step in which the second rank's data are broken, with error feedback."""
    run = Run(QSGD(4, 64), rank, error_feedback=True)
    means = []
    for step in range(3):
        run.optimizer.zero_grad()
        run.buffers.append(0)
        x = batch(rank, step)
        if rank == 1 and step == 1:
            x[2, 3] = float("nan")
        run.ddp(x).mean().backward()
        means.append(gradients(run.model))
    return means


def long_run(rank: int) -> dict[str, Any]:
    """Sums of all weights of both ranks, every twentieth of 200 steps, with all that may set replicas apart."""
    run = Run(ALQ(3, 64, norm_dtype="bfloat16"), rank, error_feedback=True, warmup_steps=5, down_bits=4)
    sums = []
    for step in range(20, LONG + 1, 20):
        run.steps(step)
        bits = [x.flatten().view(torch.int32).long() for x in weights(run.model).values()]
        own = torch.stack([(x * torch.arange(1, len(x) + 1)).sum() for x in bits])
        both = [torch.empty_like(own) for _ in range(RANKS)]
        dist.all_gather(both, own)
        sums.append(both)
    losses = torch.stack([model_.eval()(batch(0, 10**6, 200)).mean() for model_ in (model(), run.model)])
    return {"sums": sums, "losses": losses.detach()}


def modes(rank: int) -> list[dict[str, Tensor]]:
    """Errors by mode after a step that was to measure them, and after the next one."""
    run = Run(QSGD(4, 64), rank, warmup_steps=1)
    found = []
    for step in range(3):
        if step < 2:
            run.exchange.measure_mode_errors()
        run.gradients()
        found.append(dict(run.exchange.mode_errors))
        run.exchange.mode_errors = {}
    return found


def refused(rank: int) -> dict[str, str]:
    """What is said to those who ask for what cannot be."""

    def words(ask: Callable[[], object]) -> str:
        try:
            ask()
        except ValueError as error:
            return str(error)
        return "nothing"

    double = DistributedDataParallel(model().double())
    ddp = DistributedDataParallel(model())
    fed, plain = (
        compress_gradients(DistributedDataParallel(model()), Ternary(64), error_feedback=fed)
        for fed in (True, False)
    )
    other: dict[str, Any] = {**fed.state_dict(), "ranks": 3}
    return {
        "double": words(lambda: compress_gradients(double, QSGD())),
        "cast down": words(lambda: compress_gradients(ddp, Cast(), down_bits=8)),
        "cast fed back": words(lambda: compress_gradients(ddp, Cast(), error_feedback=True)),
        "negative": words(lambda: compress_gradients(ddp, QSGD(), warmup_steps=-1)),
        "feedback": words(lambda: plain.load_state_dict(fed.state_dict())),
        "ranks": words(lambda: fed.load_state_dict(other)),
    }


def die(rank: int) -> str:
    """What the first rank sees when the second one is gone in the middle of a step."""
    run = Run(QSGD(4, 64), rank).steps(2)
    run.buffers.append(0)
    loss = run.ddp(batch(rank, 2)).mean()
    if rank == 1:
        os._exit(DEATH)
    try:
        loss.backward()
    except RuntimeError as error:
        return str(error)
    return "nothing"
