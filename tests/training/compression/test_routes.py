"""Plans and message memory are made once, kept while they are of use, and given back after that."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from training.compression import QSGD, GradientExchange, compress_gradients, hook

LAYERS = 80  # more buckets than any small cache holds


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.ones(64, 64)) for _ in range(LAYERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in self.weights:
            x = x @ weight / 64
        return x.sum()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A group of one: plans are as those of many, and nothing has to be started."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def held(exchange: GradientExchange) -> int:
    routes = {id(route): route for route in [*exchange._routes.values(), *exchange._used.values()]}
    return sum(message.down_send.numel() for route in routes.values() for message in route.messages)


def test_many_buckets_are_planned_once_and_warm_up_gives_its_memory_back(
    alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*args: Any, **options: Any) -> Any:
        made.append(args)
        return plan(*args, **options)

    plan = hook.plan
    monkeypatch.setattr(hook, "plan", counted)
    ddp = DistributedDataParallel(Stack(), bucket_cap_mb=0.01)  # one weight a bucket
    exchange = compress_gradients(ddp, QSGD(4), warmup_steps=4)
    counts, bytes_held = [], []
    for _ in range(8):
        ddp(torch.ones(2, 64)).backward()
        counts.append(len(made))
        bytes_held.append(held(exchange))
    exchange.close()
    planned = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    # Buckets are formed anew after the first step, and codecs change after the fourth.
    assert planned[2:4] == [0, 0]
    assert planned[4] >= LAYERS - 1
    assert planned[5:] == [0, 0, 0]
    numbers = LAYERS * 64 * 64
    assert bytes_held[3] == 4 * numbers
    assert bytes_held[-1] < 0.6 * numbers  # half a byte each, and norms
