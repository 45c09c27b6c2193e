"""The training run, told from top to bottom: one process, one store, one operator."""

import copy
import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from data_pipelines import Batch, WindowDataset, WindowLoader, open_store, read_statistics
from data_pipelines.splits import steps_of_splits
from data_pipelines.windows import longest_run
from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import Run, load_run, run_to_toml
from oceanop.features import static_fields
from oceanop.layout import Layout
from oceanop.normalise import Scaling
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training.averaging import MovingAverage
from training.growth import change_growth
from training.losses import area_weight, error_scale, window_loss
from training.runlog import RunLog
from training.schedule import Phase, learning_rate, phases
from training.validation import validate

Progress = Callable[[str, int, int], None]

VALIDATE_EVERY = 50  # steps, unless the run says otherwise


def train(
    run: Run, store: str | Path, to: str | Path, *, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Train the operator of a run on a store.

    Writes ``run.toml``, ``metrics.jsonl`` and ``checkpoints/{last,best}`` under ``to``. ``last`` resumes; ``best``
    has the averaged weights with the lowest validation error, or the final ones where the run is fitted on the
    validation period too and nothing is left to select on.

    Parameters
    ----------
    resume
        Continue a run that was stopped; the result is the one of a run never stopped, bit for bit.
    progress
        Called after each step with a few words, steps done, and steps in all.

    Returns
    -------
    Path
        The best checkpoint.

    Raises
    ------
    ValueError
        If the store does not fit the run, the folder holds another run, or the loss ceases to be finite.
    """
    to = Path(to)
    _one_process()
    previous = _previous(to, run, resume)
    trainer = _Trainer(run, Path(store), to, previous)
    to.mkdir(parents=True, exist_ok=True)
    _write_run(to / "run.toml", run)
    trainer.fit(progress or (lambda words, done, total: None))
    return to / "checkpoints" / "best"


class _Trainer:
    """The parts of a run that last: weights, optimizer, average, log."""

    def __init__(self, run: Run, store: Path, to: Path, previous: Checkpoint | None) -> None:
        self.run, self.store, self.to = run, store, to
        training = run.training
        if training.threads is not None:
            torch.set_num_threads(training.threads)
        ds = open_store(store)
        self.layout = Layout.from_dataset(ds, run.data.state, run.data.forcing)
        self.data = {
            phase: self._dataset(ds, run.data.fit, run.model.horizon * phase.windows)
            for phase in phases(training)
        }
        first = next(iter(self.data.values()))
        self.grid, self.time_step = first.grid, first.time_step
        self.validation = self._validation(ds)
        self.weight = area_weight(self.layout.wet(ds), torch.from_numpy(self.grid.cell_area))
        torch.manual_seed(training.seed)
        self.step = self._build(ds, first if previous is None else None)
        self.averaged = copy.deepcopy(self.step)  # its own weights are never used: it takes the averages
        self.average = MovingAverage(self.step, training.ema_decay)
        self.optimizer = torch.optim.AdamW(self.step.parameters(), lr=0.0, weight_decay=training.weight_decay)
        self.done, self.seconds, self.best = 0, 0.0, math.inf
        self.loader_state: dict[str, Any] | None = None
        self.provenance = _provenance(ds, store, run)
        if previous is not None:
            self._restore(previous)

    def _dataset(self, ds: xr.Dataset, split: Any, horizon: int) -> WindowDataset:
        return WindowDataset(
            ds, history=self.run.model.history, horizon=horizon, split=split, layout=self.layout
        )

    def _validation(self, ds: xr.Dataset) -> WindowDataset | None:
        """Windows to validate on: as many leads as are asked for, else two windows or what the split holds."""
        if "validation" in self.run.data.fit:
            return None
        history, leads = self.run.model.history, self.run.training.validation_leads
        held = longest_run(ds["time"].values, steps_of_splits(ds, "validation")) - history
        if held < (leads or 1):
            raise ValueError(
                f"{self.store}: the split validation holds {held + history} steps in one piece, too few for {history} "
                f"past steps and {leads or 1} to forecast; give it more time, lower training.validation_leads, or fit "
                'on it too with data.fit=["train","validation"].'
            )
        return self._dataset(ds, "validation", leads or min(2 * self.run.model.horizon, held))

    def _build(self, ds: xr.Dataset, windows: WindowDataset | None) -> WindowStep:
        """A fresh step; without windows its growth is left to the checkpoint that will be loaded."""
        statistics = read_statistics(self.store)
        depth = ds["deptho"].to_numpy() if "deptho" in ds else None
        state = Scaling.from_statistics(statistics, self.layout.state)
        growth = None
        if windows is not None:
            growth = change_growth(windows, horizon=self.run.model.horizon, std=state.std, weight=self.weight)
        return build_step(
            self.run,
            self.layout,
            static=static_fields(self.grid, depth, position=self.run.model.position),
            wet=self.layout.wet(ds),
            state=state,
            forcing=Scaling.from_statistics(statistics, self.layout.forcing),
            growth=growth,
        )

    def fit(self, progress: Progress) -> None:
        """Run the remaining steps."""
        log = RunLog(self.to / "metrics.jsonl", after_step=self.done)
        total = self.run.training.steps
        words = ""
        try:
            for phase, dataset in self.data.items():
                if self.done >= phase.last:
                    continue
                loader = self._loader(phase, dataset)
                while self.done < phase.last:
                    for batch in loader:
                        row = self._optimise(phase, batch, loader.state_dict()["epoch"])
                        log.write(**row)
                        words = self._after_step(log, loader) or words
                        progress(f"loss {row['loss']:.4f}{words}", self.done, total)
                        if self.done >= phase.last:
                            break
        finally:
            log.close()

    def _loader(self, phase: Phase, dataset: WindowDataset) -> WindowLoader:
        # Each phase draws its own order: the same seed would repeat the first one's.
        loader = WindowLoader(
            dataset, batch_size=self.run.training.batch_size, seed=self.run.training.seed + 1000 * phase.first
        )
        if self.loader_state is not None and self.done > phase.first:
            loader.load_state_dict(self.loader_state)
        self.loader_state = None
        return loader

    def _optimise(self, phase: Phase, batch: Batch, epoch: int) -> dict[str, Any]:
        begin = time.perf_counter()
        training = self.run.training
        # Noise and dropout depend on the step alone, so that a resumed run draws what the first would have drawn.
        torch.manual_seed(training.seed * 1_000_003 + self.done)
        rate = learning_rate(training, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.step.train()
        leads = batch.target.shape[2]
        # Noise belongs to the first window: the later ones have the operator's own errors.
        noises = iter([training.noise * torch.randn_like(batch.history)])
        windows = rollout(
            lambda history, forcing: self.step(history, forcing, next(noises, None)),
            batch.history,
            batch.forcing,
            horizon=self.run.model.horizon,
            leads=leads,
        )
        scale = error_scale(self.step, leads, training.lead_weighting)
        loss = window_loss(torch.cat(list(windows), dim=2), batch.target, scale=scale, weight=self.weight)
        self._finite("loss", loss.item())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.step.parameters(), training.gradient_clip)
        self._finite("gradient", norm.item())
        self.optimizer.step()
        self.average.update(self.step)
        self.done += 1
        seconds = time.perf_counter() - begin
        self.seconds += seconds
        return {
            "step": self.done,
            "epoch": epoch,
            "loss": loss.item(),
            "lr": rate,
            "gradient_norm": norm.item(),
            "windows": phase.windows,
            "samples_per_second": batch.history.shape[0] / seconds,
            "bytes_sent": 0,
            "seconds": self.seconds,
        }

    def _finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(
                f"step {self.done + 1}: the {what} is {value}; training cannot go on. Lower training.learning_rate or "
                f"look for bad values in {self.store}; the last good state is {self.to / 'checkpoints' / 'last'}."
            )

    def _after_step(self, log: RunLog, loader: WindowLoader) -> str:
        """Validate and write checkpoints where they are due; a few words on the validation."""
        training, words = self.run.training, ""
        ended = self.done == training.steps
        every = training.validate_every or VALIDATE_EVERY
        if self.validation is not None and (ended or self.done % every == 0):
            self.average.copy_to(self.averaged)
            scores = validate(self.averaged, self.validation, self.weight, horizon=self.run.model.horizon)
            log.write(step=self.done, validation=scores)
            words = f", validation {scores['all']:.4f}"
            if scores["all"] < self.best:
                self.best = scores["all"]
                self._save("best", None)
        # Last comes last: whoever finds it complete finds the best beside it.
        if ended and self.validation is None:
            self._save("best", None)
        if ended or self.done % training.checkpoint_every == 0:
            self._save("last", loader)
        return words

    def _save(self, name: str, loader: WindowLoader | None) -> None:
        self.average.copy_to(self.averaged)
        training = None
        if loader is not None:
            training = {
                "step": self.step.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "loader": loader.state_dict(),
                "best": self.best,
            }
        checkpoint = Checkpoint(
            run=self.run,
            layout=self.layout,
            grid_fingerprint=self.grid.fingerprint,
            grid_shape=self.grid.shape,
            time_step=self.time_step,
            steps=self.done,
            weights=self.averaged.state_dict(),
            provenance={**self.provenance, "training_seconds": self.seconds},
            training=training,
        )
        save_checkpoint(self.to / "checkpoints" / name, checkpoint)

    def _restore(self, previous: Checkpoint) -> None:
        if previous.grid_fingerprint != self.grid.fingerprint:
            raise ValueError(
                f"{self.to}: the run was begun on another grid ({previous.grid_shape[0]} x {previous.grid_shape[1]}) "
                f"than {self.store} has; resume with the store it was begun on."
            )
        told, now = previous.provenance["store_attributes"], self.provenance["store_attributes"]
        for name in ("request", "sources", "splits"):
            if told.get(name) != now.get(name):
                raise ValueError(
                    f"{self.to}: the run was begun on {previous.provenance['store']}, whose {name} are not those of "
                    f"{self.store}; resume with the store it was begun on."
                )
        state = previous.training
        assert state is not None
        self.step.load_state_dict(state["step"])
        self.averaged.load_state_dict(state["step"])  # for its buffers; parameters are set at each use
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loader_state, self.best = state["loader"], state["best"]
        self.done, self.seconds = previous.steps, previous.provenance["training_seconds"]


def _write_run(path: Path, run: Run) -> None:
    """Whole or not at all: a resumed run is compared with this file until there is a checkpoint."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(run_to_toml(run), encoding="utf-8")
    os.replace(partial, path)


def _one_process() -> None:
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        raise ValueError(
            f"started as {ranks} ranks; this version trains in one process. Start it without torchrun."
        )


def _previous(to: Path, run: Run, resume: bool) -> Checkpoint | None:
    """The state to resume from, None for a fresh start; a folder in use is never overwritten."""
    last = to / "checkpoints" / "last"
    if not resume:
        if (to / "run.toml").exists():
            raise ValueError(
                f"{to}: holds a run already; continue it with --resume, or choose another folder."
            )
        return None
    if not last.exists():
        begun = to / "run.toml"
        if begun.exists() and (before := load_run(begun)) != run:
            raise ValueError(_other_settings(to, before, run))
        return None
    previous = load_checkpoint(last)
    if previous.run != run:
        raise ValueError(_other_settings(to, previous.run, run))
    if previous.training is None:
        raise ValueError(f"{last}: holds no optimizer state and cannot be resumed.")
    return previous


def _other_settings(to: Path, before: Run, now: Run) -> str:
    old, new = before.model_dump(), now.model_dump()
    differences = ", ".join(
        f"{table}.{key} was {old[table].get(key)!r} and is {new[table].get(key)!r}"
        for table in old
        for key in dict.fromkeys([*old[table], *new[table]])
        if old[table].get(key) != new[table].get(key)
    )
    return f"{to}: was begun with other settings ({differences}); resume with the same."


def _provenance(ds: xr.Dataset, store: Path, run: Run) -> dict[str, Any]:
    kept = ("title", "institution", "source", "sources", "request", "splits", "references", "license")
    return {
        "store": store.name,
        "store_attributes": {name: str(ds.attrs[name]) for name in kept if name in ds.attrs},
        "fit": list(run.data.fit),
        "software": {
            name: version(name) for name in ("oceanop", "torch", "neuraloperator", "xarray", "zarr")
        },
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
