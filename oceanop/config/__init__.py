"""A run, typed: an unknown key is refused, and every field says what it turns."""

from oceanop.config.compression import CompressionConfig
from oceanop.config.data import DataConfig
from oceanop.config.model import FNOConfig, FNOtDConfig, ModelConfig
from oceanop.config.run import Run, load_run, parse_run, presets, run_to_toml
from oceanop.config.training import TrainingConfig

__all__ = [
    "CompressionConfig",
    "DataConfig",
    "FNOConfig",
    "FNOtDConfig",
    "ModelConfig",
    "Run",
    "TrainingConfig",
    "load_run",
    "parse_run",
    "presets",
    "run_to_toml",
]
