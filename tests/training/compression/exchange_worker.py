"""What one of four ranks does to show the laws of the exchange: all cases in two, three and four of them."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.training.compression.simulation import cases, gradient_of, spans_of
from training.compression import NUQSGD, QSGD, Cast, compress_gradients
from training.compression.codec import Codec
from training.compression.exchange import Exchange
from training.compression.feedback import Feedback
from training.compression.plan import Span, plan

RANKS = 4
SEED = 3
NOISE = 200_000  # numbers of the gradients that errors are measured on
FED_BACK, STEPS = 5_000, 12
CPU = torch.device("cpu")


def work(rank: int) -> dict[str, Any]:
    """Everything that one rank has to tell, by the number of ranks that took part."""
    told: dict[str, Any] = {}
    for ranks in (1, 2, 3, 4):
        group = dist.new_group(list(range(ranks)))
        if rank < ranks:
            told[str(ranks)] = together(group, rank, ranks)
    told["some"] = model_of_some(rank)
    dist.barrier()
    return told


def average(
    exchange: Exchange, buffer: Tensor, spans: list[Span], *, step: int, segment: int = 1 << 20
) -> int:
    segments = plan(spans, exchange.ranks, segment=segment)
    return exchange.average(buffer, segments, [exchange.messages(part) for part in segments], step=step)


def together(group: dist.ProcessGroup, rank: int, ranks: int) -> dict[str, Any]:
    exchange = Exchange(group, CPU, seed=SEED)
    found: dict[str, Any] = {"means": {}, "sent": {}, "errors": {}}
    for name, (spans, segment) in cases().items():
        segments = plan(spans, ranks, segment=segment)
        messages = [exchange.messages(part) for part in segments]
        means = []
        for step in range(2):  # in the same memory
            buffer = gradient_of(rank, sum(span.count for span in spans), seed=step)
            found["sent"][name] = exchange.average(buffer, segments, messages, step=step)
            means.append(buffer)
        found["means"][name] = means
    found["all-reduce"] = gradient_of(rank, 10_000)
    dist.all_reduce(found["all-reduce"], group=group)
    found["all-reduce"] /= ranks
    for name, up, down in (
        ("alike", NUQSGD(4), NUQSGD(4)),
        ("finer down", QSGD(3), QSGD(8)),
        ("up alone", QSGD(3), None),
    ):
        buffer = torch.randn(NOISE, generator=torch.Generator().manual_seed(rank))
        codec: Codec = Cast() if down is None else down.codec
        average(exchange, buffer, spans_of((NOISE, up.codec, codec)), step=0)
        found["errors"][name] = buffer
    found["not finite"] = gradient_of(rank, 3_000)
    if rank == ranks - 1:
        found["not finite"][[5, 2_000]] = torch.tensor([float("nan"), float("inf")])
    average(
        exchange,
        found["not finite"],
        spans_of((2_500, QSGD(4, 64).codec, QSGD(8, 64).codec), (500, Cast(), Cast())),
        step=0,
    )
    found["fed back"] = fed_back(group, rank)
    return found


def fed_back(group: dist.ProcessGroup, rank: int) -> dict[str, Any]:
    """Sum of the means of several steps, and the errors that are still to be sent."""
    feedback = Feedback()
    exchange = Exchange(group, CPU, seed=SEED, feedback=feedback)
    codec = QSGD(2, 64).codec
    total = torch.zeros(FED_BACK, dtype=torch.float64)
    for step in range(STEPS):
        buffer = gradient_of(rank, FED_BACK, seed=step)
        average(exchange, buffer, spans_of((FED_BACK, codec, codec)), step=step, segment=1 << 11)
        total += buffer
    return {"total": total, "up": feedback.error(0, 1), "down": feedback.error(1, 1)}


def model_of_some(rank: int) -> str:
    """What is said of a model that lives on ranks 1 and 3 alone."""
    group = dist.new_group([1, 3])
    if rank not in (1, 3):
        return ""
    ddp = DistributedDataParallel(nn.Linear(100, 70), process_group=group)
    try:
        compress_gradients(ddp, QSGD(4, 64))
    except ValueError as error:
        return str(error)
    return "nothing"
