"""What a trained operator is on disk: one file, written whole, read without executing anything."""

import hashlib
import io
import json
import os
import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from oceanop.build import build_step
from oceanop.config import Run
from oceanop.layout import Layout
from oceanop.step import WindowStep

FORMAT = 1
ZIP = b"PK\x03\x04"  # how every file that torch.save writes begins


@dataclass(frozen=True)
class Checkpoint:
    """A trained operator and all that must be known to use it.

    Attributes
    ----------
    run
        The resolved run.
    layout
        Channels of state and forcing.
    grid_fingerprint
        Which grid it was trained on (``Grid.fingerprint``), and ``grid_shape``, ``(y, x)``.
    time_step
        Time between states.
    weights
        Averaged weights and scaling, the state dict of a :class:`WindowStep`.
    provenance
        Store, splits, training time, software; plain JSON.
    training
        Optimizer, raw weights and order of the data, for resuming; None in a file made for forecasting only.
    sha256
        Of the file it was read from; empty before it is written.
    """

    run: Run
    layout: Layout
    grid_fingerprint: str
    grid_shape: tuple[int, int]
    time_step: np.timedelta64
    steps: int
    weights: dict[str, Tensor]
    provenance: dict[str, Any]
    training: dict[str, Any] | None = None
    sha256: str = ""

    @property
    def name(self) -> str:
        """Name of the operator, ``FNO`` or ``FNOtD``."""
        return self.run.model.name

    @property
    def history(self) -> int:
        """Past states one forecast needs."""
        return self.run.model.history

    @property
    def horizon(self) -> int:
        """Steps of one window."""
        return self.run.model.horizon

    @cached_property
    def step(self) -> WindowStep:
        """The window step with its weights, ready to forecast."""
        step = build_step(
            self.run,
            self.layout,
            static=self.weights["static"],
            wet=self.weights["wet"],
            relaxation=self.weights.get("relaxation"),
        )
        try:
            step.load_state_dict(self.weights)
        except RuntimeError as error:
            raise ValueError(
                f"the checkpoint's weights do not fit the operator that its run describes: "
                f"{' '.join(str(error).split())}. Train again, or read it with the version that wrote it."
            ) from None
        return step.eval()

    @property
    def parameters(self) -> int:
        """Real numbers learned; a complex one counts twice."""
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in self.step.parameters())


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint: whole or not at all, also when the process is killed or the power fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "oceanop_checkpoint": FORMAT,
        "run": checkpoint.run.model_dump_json(),
        "layout": json.dumps(checkpoint.layout.to_dict()),
        "grid_fingerprint": checkpoint.grid_fingerprint,
        "grid_shape": list(checkpoint.grid_shape),
        "time_step": float(checkpoint.time_step / np.timedelta64(1, "s")),
        "steps": checkpoint.steps,
        "weights": checkpoint.weights,
        "provenance": json.dumps(checkpoint.provenance),
        "training": checkpoint.training,
    }
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; nothing in the file is executed (``weights_only``).

    Raises
    ------
    ValueError
        If the file is missing, is not a checkpoint of this project, or is of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {kind}; expected a checkpoint, such as RUN/checkpoints/best.")
    data = path.read_bytes()
    refusal = (
        f"{path}: not an oceanop checkpoint ({len(data)} bytes); expected a file that 'oceanop train' wrote."
    )
    # A bare pickle is not what we write; torch would read it with a warning.
    if not data.startswith(ZIP):
        raise ValueError(refusal)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError):
        raise ValueError(refusal) from None
    known = content.get("oceanop_checkpoint") if isinstance(content, dict) else None
    if not isinstance(known, int):
        raise ValueError(refusal)
    if known > FORMAT:
        raise ValueError(
            f"{path}: checkpoint format {known}; this version reads up to {FORMAT}. Update oceanop."
        )
    try:
        return Checkpoint(
            run=Run.model_validate_json(content["run"]),
            layout=Layout.from_dict(json.loads(content["layout"])),
            grid_fingerprint=content["grid_fingerprint"],
            grid_shape=tuple(content["grid_shape"]),
            time_step=np.timedelta64(round(content["time_step"]), "s"),
            steps=content["steps"],
            weights={name: _tensor(value) for name, value in content["weights"].items()},
            provenance=json.loads(content["provenance"]),
            training=content["training"],
            sha256=hashlib.sha256(data).hexdigest(),
        )
    except ValidationError as error:
        raise ValueError(
            f"{path}: its run is not one this version knows ({error.errors()[0]['msg']})."
        ) from None
    except (LookupError, TypeError, AttributeError, ValueError):
        raise ValueError(refusal) from None


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError
    return value


def describe_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint is, as plain data for ``oceanop inspect``."""
    checkpoint = load_checkpoint(path)
    return {
        "kind": "checkpoint",
        "model": checkpoint.name,
        "parameters": checkpoint.parameters,
        "steps": checkpoint.steps,
        "history": checkpoint.history,
        "horizon": checkpoint.horizon,
        "time_step": str(checkpoint.time_step),
        "state": [str(channel) for channel in checkpoint.layout.state],
        "forcing": [str(channel) for channel in checkpoint.layout.forcing],
        "grid": {"shape": list(checkpoint.grid_shape), "fingerprint": checkpoint.grid_fingerprint},
        "run": checkpoint.run.model_dump(mode="json"),
        "provenance": checkpoint.provenance,
        "can_resume": checkpoint.training is not None,
        "sha256": checkpoint.sha256,
    }


def is_checkpoint(path: str | Path) -> bool:
    """Whether a path is a file in torch's zip container; whether it is one of ours, loading tells."""
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == ZIP
