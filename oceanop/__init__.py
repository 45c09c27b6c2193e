"""oceanop learns ocean dynamics from numerical model output and forecasts them."""

from importlib.metadata import PackageNotFoundError, version

from oceanop.checkpoint import Checkpoint, load_checkpoint
from oceanop.config import Run, load_run
from oceanop.grid import Grid
from oceanop.layout import Channel, Layout
from oceanop.metrics import bias, correlation, mae, rmse
from oceanop.operators.fno import FNO
from oceanop.operators.fnotd import FNOtD

try:
    __version__ = version("oceanop")
except PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "FNO",
    "Channel",
    "Checkpoint",
    "FNOtD",
    "Grid",
    "Layout",
    "Run",
    "__version__",
    "bias",
    "correlation",
    "load_checkpoint",
    "load_run",
    "mae",
    "rmse",
]
