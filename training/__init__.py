"""From batches to a checkpoint, on one rank or many."""

from training.parallel import join
from training.trainer import train

__all__ = ["join", "train"]
