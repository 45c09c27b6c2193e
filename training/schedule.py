"""What changes along a run: the learning rate, and how many windows are unrolled."""

import math
from dataclasses import dataclass

from oceanop.config import TrainingConfig


@dataclass(frozen=True)
class Phase:
    """Steps ``first`` to ``last - 1``, each unrolling ``windows`` windows."""

    first: int
    last: int
    windows: int


def phases(training: TrainingConfig) -> list[Phase]:
    """Few windows first, then more: an operator with some skill learns from its own errors.

    A number of windows is reached at once, stages of them take equal shares of the steps.
    """
    total = training.steps
    if isinstance(training.windows, int):
        stages: tuple[int, ...] = (1, training.windows)
        turns = [0, round(training.unroll_from * total) if training.windows > 1 else total, total]
    else:
        stages = training.windows
        turns = [round(total * number / len(stages)) for number in range(len(stages) + 1)]
    parts = [Phase(*part) for part in zip(turns, turns[1:], stages, strict=False)]
    return [part for part in parts if part.last > part.first]


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Linear rise over the warm-up, times a cosine to zero over all steps; ``step`` counts from 0."""
    rise = min(1.0, (step + 1) / training.warmup_steps) if training.warmup_steps else 1.0
    return training.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / training.steps))
