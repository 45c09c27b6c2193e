"""What several ranks do together in the tests of parallel training; started by torchrun, once for many claims.

Each rank writes what it saw to ``OUT/rank-R.json``; the claims themselves are in ``test_parallel.py``.
"""

import hashlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from oceanop.config import Run, parse_run
from tests.training.conftest import tiny_run
from training import join, train, trainer
from training.averaging import MovingAverage
from training.parallel import Ranks


class Stopped(Exception):
    """As if the process had ended here."""


def small_run(*, width: int = 8, compression: dict[str, Any] | None = None, **training: Any) -> Run:
    """A run whose batch two ranks can share."""
    run = tiny_run(**{"batch_size": 4, **training}).model_dump()
    run["model"]["width"] = width
    run["compression"] = compression or {}
    return parse_run(run)


LONG = {"steps": 60, "validate_every": 20}
QUANTIZED = {
    "width": 16,  # of which spectral weights are large enough to be quantized
    "compression": {"method": "alq", "bits": 4, "down_bits": 8, "warmup_steps": 3, "error_feedback": True},
}

# all that long horizons can have, in one run
FAR = {
    "windows": [1, 2, 3],
    "gradient_windows": 1,
    "validate_every": 6,
}
# no validation is better than the first
STILL = {"steps": 40, "validate_every": 4, "patience": 2, "learning_rate": 1e-30}


def stop_at(step: int) -> Callable[[str, int, int], None]:
    def progress(words: str, done: int, total: int) -> None:
        if done == step:
            raise Stopped

    return progress


class Seen:
    """Weights and scores as this rank holds them."""

    def __init__(self) -> None:
        self.averages: list[MovingAverage] = []
        self.scores: list[dict] = []
        seen, validate = self, trainer.validate

        class Recorded(MovingAverage):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                seen.averages.append(self)

        def recorded(*args: Any, **options: Any) -> dict[str, Any]:
            seen.scores.append(validate(*args, **options))
            return seen.scores[-1]

        trainer.MovingAverage = Recorded  # type: ignore[misc]
        trainer.validate = recorded

    def digest(self) -> str:
        weights = self.averages[-1].parameters
        everything = b"".join(weights[name].numpy().tobytes() for name in sorted(weights))
        return hashlib.sha256(everything).hexdigest()


def attempt(*args: Any, **options: Any) -> dict[str, Any]:
    """How a training ended."""
    try:
        train(*args, **options)
    except (ValueError, KeyboardInterrupt) as error:
        return {
            "kind": type(error).__name__,
            "words": str(error),
            "silent": getattr(error, "silent", False),
        }
    return {"kind": "nothing"}


def stopped(run: Run, store: Path, to: Path, step: int, *, resume: bool = False) -> None:
    try:
        train(run, store, to, progress=stop_at(step), resume=resume)
    except Stopped:
        return
    raise AssertionError("the run ended before it was stopped")


def two(ranks: Ranks, stores: dict[str, Path], to: Path) -> dict[str, Any]:
    """Everything that two ranks can show."""
    store, other = stores["same"], stores["same" if ranks.first else "shifted"]
    seen, told = Seen(), {}
    train(small_run(), store, to / "whole")
    told["weights"], told["scores"] = seen.digest(), seen.scores[-1]
    train(small_run(accumulation=2), store, to / "accumulated")
    train(small_run(**LONG), store, to / "long")
    stopped(small_run(**LONG), store, to / "resumed", 35)
    train(small_run(**LONG), store, to / "resumed", resume=True)
    stopped(small_run(), store, to / "for-one", 8)
    train(small_run(), store, to / "from-one", resume=True)
    train(small_run(**QUANTIZED), store, to / "quantized")
    told["quantized weights"] = seen.digest()
    train(small_run(**FAR), store, to / "far")
    train(small_run(accumulation=2, **FAR), store, to / "far-accumulated")
    train(small_run(**STILL), store, to / "still", progress=lambda words, *at: told.update(waited=at))
    stopped(small_run(**QUANTIZED), store, to / "quantized-resumed", 8)
    train(small_run(**QUANTIZED), store, to / "quantized-resumed", resume=True)

    told["uneven batch"] = attempt(small_run(batch_size=3), store, to / "refused")
    told["uneven parts"] = attempt(small_run(batch_size=6, accumulation=2), store, to / "refused")
    told["folder in use"] = attempt(small_run(), store, to / "whole")
    missing = store if ranks.first else store.with_name("missing.zarr")
    told["store of one missing"] = attempt(small_run(), missing, to / "refused")
    told["other store"] = attempt(small_run(), other, to / "refused")
    told["other seed"] = attempt(small_run(seed=ranks.rank), store, to / "refused")
    elsewhere = to / ("for-one" if ranks.first else "empty")
    told["other step"] = attempt(small_run(), store, elsewhere, resume=True)
    told["refused folder"] = (to / "refused").exists()
    # stands in for a restart after the refusal: its folder is not that of this job
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "1"
    if ranks.first:
        (to / "for-one" / "job.txt").write_text("another job\n")
    ranks.gather(None)  # no rank looks before it is written
    told["restart in another's folder"] = attempt(small_run(), store, to / "for-one")
    os.environ["TORCHELASTIC_RESTART_COUNT"] = "0"

    def terminated(words: str, done: int, total: int) -> None:
        told["interrupted at"] = done
        if done == 4 and not ranks.first:
            os.kill(os.getpid(), signal.SIGTERM)

    told["interrupt"] = attempt(small_run(), store, to / "interrupted", progress=terminated)

    healthy = trainer.history_noise

    def bad(history: torch.Tensor, **options: Any) -> torch.Tensor:
        noise = healthy(history, **options)
        return noise * torch.nan if options["step"] == 3 and not ranks.first else noise

    trainer.history_noise = bad
    told["bad on one rank"] = attempt(small_run(), store, to / "bad")
    trainer.history_noise = healthy
    return told


def three(ranks: Ranks, stores: dict[str, Path], to: Path) -> dict[str, Any]:
    """What more than two ranks add: sums whose order could show, and shares of the validation that differ."""
    store, run = stores["same"], small_run(batch_size=6, validate_every=6)
    seen = Seen()
    train(run, store, to / "whole")
    told: dict[str, Any] = {"weights": seen.digest(), "scores": seen.scores[-1]}
    stopped(run, store, to / "resumed", 7)
    train(run, store, to / "resumed", resume=True)
    told["other seed on the last"] = attempt(
        small_run(batch_size=6, seed=ranks.rank // 2), store, to / "refused"
    )
    return told


def main() -> None:
    """``ranks_worker.py SCENARIO STORE SHIFTED OUT``."""
    name, same, shifted, to = sys.argv[1], *(Path(word) for word in sys.argv[2:])
    warnings.simplefilter("error")
    with join() as ranks:
        told = {"two": two, "three": three}[name](ranks, {"same": same, "shifted": shifted}, to)
    (to / f"rank-{ranks.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
