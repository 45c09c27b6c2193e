"""One operator in a process of its own, so that its peak memory is known: a training step whenever a line comes in."""

import ctypes
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


def tune_allocator() -> None:
    """Never give memory back, never ask for it twice: the fastest that glibc can be made."""
    library = ctypes.CDLL(None)
    for option, size in ((-3, 2**31 - 1), (-1, 2**31 - 1), (-2, 256 * 2**20), (-4, 0)):
        assert library.mallopt(option, size) == 1


def fnotd(task: dict[str, Any]) -> Callable[[], None]:
    """A step of FNOtD on a window that is half past, half future."""
    from oceanop import FNOtD

    steps, *plane = task["size"]
    half, batch = steps // 2, task["batch"]
    operator = FNOtD(
        state_channels=2,
        forcing_channels=2,
        static_channels=1,
        history=half,
        horizon=half,
        modes=task["modes"],
        width=task["width"],
        layers=task["layers"],
        gate=task["gate"],
    )
    inputs = torch.randn(batch, 2, half, *plane), torch.randn(batch, 2, steps, *plane), torch.ones(1, *plane)
    return lambda: operator(*inputs).square().mean().backward()


def fno(task: dict[str, Any]) -> Callable[[], None]:
    """A step of FNO over (y, x), with the six channels of three hours of two variables."""
    from oceanop import FNO

    operator = FNO(
        state_channels=2,
        forcing_channels=0,
        static_channels=1,
        history=3,
        horizon=3,
        modes=task["modes"],
        width=task["width"],
        layers=task["layers"],
        gate=task["gate"],
    )
    batch, plane = task["batch"], task["size"]
    inputs = torch.randn(batch, 2, 3, *plane), torch.randn(batch, 0, 6, *plane), torch.ones(1, *plane)
    return lambda: operator(*inputs).square().mean().backward()


def neuralop(task: dict[str, Any]) -> Callable[[], None]:
    """A step of neuraloperator's FNO of the same width, modes and layers."""
    from neuralop.models import FNO

    inside, outside = (5, 2) if len(task["size"]) == 3 else (7, 6)
    operator = FNO(
        n_modes=tuple(task["modes"]),
        in_channels=inside,
        out_channels=outside,
        hidden_channels=task["width"],
        n_layers=task["layers"],
        positional_embedding=None,
    )
    x = torch.randn(task["batch"], inside, *task["size"])
    return lambda: operator(x).square().mean().backward()


def main() -> None:
    """Answer each line on the standard input with the seconds of a step, an empty one with the peak memory."""
    task = json.loads(sys.argv[1])
    if task["tuned"]:
        tune_allocator()
    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    step = {"FNOtD": fnotd, "FNO": fno, "neuralop": neuralop}[task["operator"]](task)
    step()
    for line in sys.stdin:
        if not line.strip():
            break
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)


if __name__ == "__main__":
    main()
