"""oceanop learns ocean dynamics from numerical model output and forecasts them."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oceanop.checkpoint import Checkpoint, load_checkpoint
    from oceanop.config import Run, load_run
    from oceanop.grid import Grid
    from oceanop.layout import Channel, Layout
    from oceanop.metrics import bias, correlation, mae, rmse
    from oceanop.operators.fno import FNO
    from oceanop.operators.fnotd import FNOtD

try:
    __version__ = metadata.version("oceanop")
except metadata.PackageNotFoundError:  # imported from a checkout that was never installed
    __version__ = "0+unknown"

# Names are fetched when they are asked for: torch and xarray take seconds, and the command must answer at once.
_HOMES = {
    "FNO": "oceanop.operators.fno",
    "Channel": "oceanop.layout",
    "Checkpoint": "oceanop.checkpoint",
    "FNOtD": "oceanop.operators.fnotd",
    "Grid": "oceanop.grid",
    "Layout": "oceanop.layout",
    "Run": "oceanop.config",
    "bias": "oceanop.metrics",
    "correlation": "oceanop.metrics",
    "load_checkpoint": "oceanop.checkpoint",
    "load_run": "oceanop.config",
    "mae": "oceanop.metrics",
    "rmse": "oceanop.metrics",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'oceanop' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
