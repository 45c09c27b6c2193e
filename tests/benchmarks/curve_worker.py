"""One rank of a training run whose error is compared between ways to average gradients, PowerSGD among them."""

import argparse
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from oceanop.config import load_run
from tests.benchmarks.powersgd import power_sgd
from training import communication, train
from training.compression.hook import Traffic


class _NotCounted:
    """What the trainer asks of an exchange, of one that does not count."""

    last = Traffic(numbers=1)
    dispersion = None
    mode_errors: ClassVar[dict[str, Tensor]] = {}

    def measure_mode_errors(self) -> None:
        pass

    def close(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}


def main() -> None:
    """Train the preset with the changes given, on the ranks of the environment."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--store", type=Path, required=True)
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--powersgd", type=int, default=0, help="rank of the peer; 0 for what the run says")
    words.add_argument("--view", choices=["mode", "whole"], default="mode", help="what the peer factorises")
    words.add_argument("changes", nargs="*")
    given = words.parse_args()
    if given.powersgd:

        def peer(_: Any, ddp: DistributedDataParallel, *, seed: int) -> _NotCounted:
            torch.manual_seed(seed)  # its first bases are drawn, and must be the same on all ranks
            power_sgd(ddp, rank=given.powersgd, view=given.view)
            return _NotCounted()

        communication.exchange_for = peer  # type: ignore[assignment]
    train(load_run("norkyst-fnotd", given.changes), given.store, given.to)


if __name__ == "__main__":
    main()
