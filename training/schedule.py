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
    """One window first, then all of them: an operator with some skill learns from its own errors."""
    turn = round(training.unroll_from * training.steps) if training.windows > 1 else training.steps
    parts = [Phase(0, turn, 1), Phase(turn, training.steps, training.windows)]
    return [part for part in parts if part.last > part.first]


def learning_rate(training: TrainingConfig, step: int) -> float:
    """Linear rise over the warm-up, times a cosine to zero over all steps; ``step`` counts from 0."""
    rise = min(1.0, (step + 1) / training.warmup_steps) if training.warmup_steps else 1.0
    return training.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / training.steps))
