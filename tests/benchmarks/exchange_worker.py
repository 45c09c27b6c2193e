"""One rank of a comparison: averages of a flat gradient, or whole training steps, by several methods in turn."""

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from oceanop import FNOtD
from tests.benchmarks.powersgd import power_sgd
from training.communication import BUCKET_MEGABYTES
from training.compression import ALQ, NUQSGD, QSGD, GradientExchange, Quantizer, Ternary, compress_gradients

STEP: dict[str, Any] = {  # one step computes in about half a second on one core
    "batch": 4,
    "size": (40, 40),
    "modes": (8, 16, 16),
    "width": 32,
    "layers": 4,
    "history": 6,
    "horizon": 6,
}
WARM_UP = 3  # calls: buckets are formed anew after the first step, kernels are compiled in the first call


@dataclass
class Method:
    """One way to average: ``run`` is timed, ``check`` tells the error, ``state`` counts payload where it can."""

    run: Callable[[], object]
    prepare: Callable[[], object]
    result: Callable[[], Tensor]
    state: GradientExchange | None = None


@dataclass
class Row:
    """What one method took; times are of the slowest rank, bytes of the interface of rank 0."""

    method: str
    median_ms: float
    least_ms: float
    most_ms: float
    sent_bytes: float
    payload_bytes: float | None
    relative_error: float | None
    replicas_identical: bool


def quantizer(name: str) -> Quantizer:
    """The codes of a row named ``codes-8b``, ``codes-4b``, ``codes-3b`` or ``codes-2b``."""
    kinds: dict[str, Callable[[], Quantizer]] = {
        "codes-8b": lambda: QSGD(bits=8),
        "codes-4b": lambda: NUQSGD(bits=4),
        "codes-4b-adapted": lambda: ALQ(bits=4),
        "codes-3b": lambda: NUQSGD(bits=3),
        "codes-2b": lambda: Ternary(),
    }
    if name not in kinds:
        raise ValueError(f"no method '{name}'; those with codes are {', '.join(kinds)}.")
    return kinds[name]()


class Flat(nn.Module):
    """A model that is nothing but its gradient: lets the exchange be called without a backward pass."""

    def __init__(self, numel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(numel // 8, 8))


def average_method(name: str, gradient: Tensor) -> Method:
    """A method that averages one flat gradient in place."""
    ranks = dist.get_world_size()
    work = gradient.clone()
    prepare = lambda: work.copy_(gradient)  # noqa: E731
    if name == "float32":

        def full() -> None:
            dist.all_reduce(work)
            work.div_(ranks)

        return Method(full, prepare, lambda: work)
    if name in ("float16", "bfloat16"):
        half = torch.empty(work.numel(), dtype=getattr(torch, name))

        def cast() -> None:
            half.copy_(work).div_(ranks)  # before the sum, which could overflow
            dist.all_reduce(half)
            work.copy_(half)

        return Method(cast, prepare, lambda: work)
    ddp = DistributedDataParallel(Flat(work.numel()), init_sync=False)
    state = compress_gradients(ddp, quantizer(name))
    parameters = list(ddp.parameters())
    return Method(lambda: state.submit(work, parameters, last=True).wait(), prepare, lambda: work, state)


def bfloat16_hook(_: None, bucket: dist.GradBucket) -> Future[Tensor]:
    """The hook of torch, which asks for NCCL although gloo adds bfloat16 as well."""
    half = bucket.buffer().bfloat16().div_(dist.get_world_size())
    work = dist.all_reduce(half, async_op=True)
    assert work is not None
    return work.get_future().then(lambda done: bucket.buffer().copy_(done.value()[0]))


def step_method(name: str) -> Method:
    """A method of which one call is a training step of FNOtD: forward, backward beside the exchange, AdamW."""
    torch.manual_seed(0)
    batch, (rows, columns) = STEP["batch"], STEP["size"]
    history, horizon = STEP["history"], STEP["horizon"]
    model = FNOtD(
        state_channels=2,
        forcing_channels=2,
        static_channels=1,
        history=history,
        horizon=horizon,
        modes=STEP["modes"],
        width=STEP["width"],
        layers=STEP["layers"],
    )
    draw = torch.Generator().manual_seed(1 + dist.get_rank())
    past = torch.randn(batch, 2, history, rows, columns, generator=draw)
    forcing = torch.randn(batch, 2, history + horizon, rows, columns, generator=draw)
    target = torch.randn(batch, 2, horizon, rows, columns, generator=draw)
    static = torch.ones(1, rows, columns)
    # Small buckets for all alike, as the trainer has them: every method begins to send while others compute.
    ddp = DistributedDataParallel(model, init_sync=False, bucket_cap_mb=BUCKET_MEGABYTES)
    optimizer = torch.optim.AdamW(ddp.parameters(), lr=1e-3)
    state = None
    if name == "float16":
        ddp.register_comm_hook(None, fp16_compress_hook)
    elif name == "bfloat16":
        ddp.register_comm_hook(None, bfloat16_hook)
    elif name.startswith("powersgd"):
        _, view, rank = name.split("-")
        power_sgd(ddp, rank=int(rank), view="mode" if view == "mode" else "whole")
    elif name not in ("none", "float32"):
        state = compress_gradients(ddp, quantizer(name))

    def step() -> None:
        optimizer.zero_grad()
        with ddp.no_sync() if name == "none" else contextlib.nullcontext():
            (ddp(past, forcing, static) - target).square().mean().backward()
        optimizer.step()

    return Method(step, lambda: None, lambda: _flat(ddp), state)


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def interface_bytes() -> int:
    """Bytes that this rank's network card has sent."""
    name = os.environ["GLOO_SOCKET_IFNAME"]
    return int(Path(f"/sys/class/net/{name}/statistics/tx_bytes").read_text())


def measure(methods: dict[str, Method], repeats: int, mean: Tensor | None) -> list[Row]:
    """Time all methods in turn, so that a neighbour's noise falls on all alike."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    sent: dict[str, list[int]] = {name: [] for name in methods}
    payload: dict[str, list[int]] = {name: [] for name in methods}
    for call in range(WARM_UP + repeats):
        for name, method in methods.items():
            method.prepare()
            dist.barrier()
            bytes_before, payload_before = interface_bytes(), method.state.bytes_sent if method.state else 0
            begin = time.perf_counter()
            method.run()
            seconds = time.perf_counter() - begin
            dist.barrier()  # until all have received it, some of it may wait in a socket, not yet counted
            if call >= WARM_UP:
                times[name].append(seconds)
                sent[name].append(interface_bytes() - bytes_before)
                payload[name].append((method.state.bytes_sent if method.state else 0) - payload_before)
    rows = []
    for name, method in methods.items():
        slowest = torch.tensor(times[name])
        dist.all_reduce(slowest, dist.ReduceOp.MAX)
        milliseconds = (1e3 * slowest).tolist()
        result = method.result()
        rows.append(
            Row(
                method=name,
                median_ms=statistics.median(milliseconds),
                least_ms=min(milliseconds),
                most_ms=max(milliseconds),
                sent_bytes=statistics.mean(sent[name]),
                payload_bytes=statistics.mean(payload[name]) if method.state else None,
                relative_error=None if mean is None else float((result - mean).norm() / mean.norm()),
                replicas_identical=_identical(result),
            )
        )
    return rows


def _identical(result: Tensor) -> bool:
    """Whether all ranks hold the same bits: the smallest and the largest of them agree everywhere."""
    low, high = result.clone(), result.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    return torch.equal(low, high)


def main() -> None:
    """Run the methods named on the command line; rank 0 prints the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["average", "step"])
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--numel", type=int, default=10_000_000, help="of the flat gradient, a multiple of 8")
    told = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    mean: Tensor | None = None
    if told.what == "average":
        draw = torch.Generator().manual_seed(dist.get_rank())
        gradient = torch.randn(told.numel, generator=draw)
        mean = gradient.clone()
        dist.all_reduce(mean)
        mean /= dist.get_world_size()
        methods = {name: average_method(name, gradient) for name in told.methods}
    else:
        methods = {name: step_method(name) for name in told.methods}
    rows = measure(methods, told.repeats, mean)
    if dist.get_rank() == 0:
        report: dict[str, Any] = {"rows": [asdict(row) for row in rows]}
        if told.what == "step":
            report["parameters"] = methods[told.methods[0]].result().numel()
        print(json.dumps(report))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
