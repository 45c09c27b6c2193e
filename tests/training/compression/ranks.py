"""Several ranks on one machine, as processes that import everything once."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = 120  # seconds: a deadlock ends as a failed test


def launch(
    work: Callable[[int], dict[str, Any]],
    ranks: int,
    folder: Path,
    *,
    then: Callable[[int], object] | None = None,
    ends: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """What ``work(rank)`` tells on each rank of a group over gloo.

    After that ``then(rank)`` is called, and told as "then" by those that live on; ``ends`` are the statuses that the
    processes end with.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.training.compression.hook_worker", "tests.training.compression.exchange_worker"]
    )
    processes = [
        context.Process(target=_rank, args=(work, then, rank, ranks, folder)) for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    end = time.monotonic() + PATIENCE
    for process in processes:
        process.join(max(end - time.monotonic(), 0))
    hung = [rank for rank, process in enumerate(processes) if process.exitcode is None]
    statuses = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    assert not hung, f"ranks {hung} have not ended in {PATIENCE} s"
    assert statuses == list(ends or [0] * ranks)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(ranks)]


def _rank(
    work: Callable[[int], dict[str, Any]],
    then: Callable[[int], object] | None,
    rank: int,
    ranks: int,
    folder: Path,
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    told = work(rank)
    torch.save(told, folder / f"{rank}.pt")
    if then is not None:
        told["then"] = then(rank)
        torch.save(told, folder / f"{rank}.pt")
