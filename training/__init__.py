"""From batches to a checkpoint."""

from training.trainer import train

__all__ = ["train"]
