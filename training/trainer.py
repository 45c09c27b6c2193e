"""The training run, told from top to bottom: one store, one operator, one rank or many."""

import copy
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from data_pipelines import Batch, WindowDataset, WindowLoader, open_store, read_statistics
from data_pipelines.splits import steps_of_splits
from data_pipelines.windows import longest_run
from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint, save_checkpoint
from oceanop.config import Run, TrainingConfig
from oceanop.edge import with_edge_zone
from oceanop.features import static_fields
from oceanop.layout import Layout
from oceanop.normalise import Scaling
from oceanop.step import WindowStep
from training.averaging import MovingAverage
from training.communication import Communication
from training.facts import common_facts, provenance
from training.folder import begin_folder, begun_by, check_store, last_words, previous_state
from training.growth import change_growth
from training.losses import area_weight
from training.objective import Objective, history_noise
from training.optimizer import Descent, Gradient
from training.parallel import Ranks, job, join
from training.runlog import RunLog
from training.schedule import Phase, phases
from training.validation import validate

Progress = Callable[[str, int, int], None]


def train(
    run: Run, store: str | Path, to: str | Path, *, resume: bool = False, progress: Progress | None = None
) -> Path:
    """Train the operator of a run on a store.

    Writes ``run.toml``, ``metrics.jsonl`` and ``checkpoints/{last,best}`` under ``to``. ``last`` resumes; ``best``
    has the averaged weights with the lowest validation error, or the final ones where the run is fitted on the
    validation period too and nothing is left to select on. With ``training.patience`` a run whose validation error
    does not fall any more ends early, and ``metrics.jsonl`` says so.

    Under torchrun the ranks share each batch, and the first of them writes; all read the store, and the folder where
    they resume. However many they are, they train the operator that one process trains, but for rounding
    and for the optimizers ``qgenx`` and ``qoda``, whose steps are made of what each rank sends.

    Parameters
    ----------
    resume
        Continue a run that was stopped; the result is the one of a run never stopped, bit for bit. Another number of
        ranks than before may do so, and then it is the same but for rounding; not with an optimizer whose steps are
        made of what each rank sends. Ranks that torchrun has started again after a failure resume by themselves, on
        several machines where it was given a ``--rdzv-id``.
    progress
        Called on each rank after each step with a few words, steps done, and steps in all.

    Returns
    -------
    Path
        The best checkpoint.

    Raises
    ------
    ValueError
        If the store does not fit the run, the folder holds another run, the ranks do not agree on what to do, or the
        loss ceases to be finite; on all ranks together.
    LostPeerError
        If another rank is gone.
    """
    store, to = Path(store), Path(to)
    with join() as ranks, ranks.missing_peers(lambda: f"before the first step; {last_words(to)}"):
        with ranks.all_or_none():
            ranks = ranks.on(run.training.device)
            resume = resume or (ranks.restarts > 0 and begun_by(to, job()))
            previous = previous_state(to, run, resume=resume)
            trainer = _Trainer(run, store, to, previous, ranks)
        ranks.agree(trainer.facts)
        with ranks.all_or_none():
            if ranks.first:
                begin_folder(to, run, job())
            log = RunLog(to / "metrics.jsonl" if ranks.first else None, after_step=trainer.done)
        trainer.fit(log, progress or (lambda words, done, total: None))
    return to / "checkpoints" / "best"


class _Trainer:
    """The parts of a run that last: weights, optimizer, average."""

    def __init__(self, run: Run, store: Path, to: Path, previous: Checkpoint | None, ranks: Ranks) -> None:
        self.run, self.store, self.to, self.ranks = run, store, to, ranks
        training = run.training
        share = _share(training, ranks)
        if training.threads is not None:
            torch.set_num_threads(training.threads)
        ds = open_store(store)
        layout = Layout.from_dataset(ds, run.data.state, run.data.forcing)
        self.layout, self.relaxation = with_edge_zone(layout, ds, run.data.edge_zone)
        stages = phases(training)
        # The fields are read and kept once, for all phases.
        first = self._dataset(run.data.fit, run.model.horizon * min(phase.windows for phase in stages))
        data = {phase: first.extended(run.model.horizon * phase.windows) for phase in stages}
        self.grid, self.time_step = first.grid, first.time_step
        # Each phase draws its own order: the same seed would repeat the first one's.
        self.loaders = {
            phase: WindowLoader(
                dataset,
                share,
                training.seed + 1000 * phase.first,
                ranks.rank,
                ranks.world_size,
                device=ranks.device,
            )
            for phase, dataset in data.items()
        }
        self.validation = self._validation(ds)
        self.weight = area_weight(self.layout.wet(ds), torch.from_numpy(self.grid.cell_area), self.relaxation)
        torch.manual_seed(training.seed)
        self.step = self._build(ds, first if previous is None else None).to(ranks.device)
        self.objective = Objective(
            self.step,
            training,
            weight=self.weight,
            horizon=run.model.horizon,
        ).to(ranks.device)
        self.weight = self.objective.weight
        self.averaged = copy.deepcopy(self.step)  # its own weights are never used: it takes the averages
        self.average = MovingAverage(self.step, training.ema_decay)
        self.descent = Descent(self.step.parameters(), training, ranks=ranks.world_size)
        self.done, self.seconds = 0, 0.0
        self.best, self.waited = math.inf, 0  # lowest validation error, and validations since
        self.exchanged: dict[str, Any] | None = None
        self.provenance = provenance(ds, store, run, ranks)
        if previous is not None:
            self._restore(previous)
        self.facts = common_facts(run, ds, self.grid.fingerprint, ranks, self.done)

    def _dataset(self, split: Any, horizon: int) -> WindowDataset:
        return WindowDataset(
            self.store, self.run.model.history, horizon, split, self.layout, cache=self.run.data.cache
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
        return self._dataset("validation", leads or min(2 * self.run.model.horizon, held))

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
            static=static_fields(
                self.grid, depth, position=self.run.model.position, relaxation=self.relaxation
            ),
            wet=self.layout.wet(ds),
            state=state,
            forcing=Scaling.from_statistics(statistics, self.layout.weather),
            growth=growth,
            relaxation=self.relaxation,
        )

    def fit(self, log: RunLog, progress: Progress) -> None:
        """Run the remaining steps."""
        words = ""
        try:
            with (
                self.ranks.missing_peers(lambda: f"at step {self.done + 1}; {last_words(self.to)}"),
                self.ranks.interrupts_wait() as interrupted,
                ExitStack() as ended,
            ):
                self._connect(log)
                ended.callback(self.communication.close)
                for phase, loader in self.loaders.items():
                    ended.callback(loader.close)
                    while self.done < phase.last and not self._waited_enough():
                        for batch in loader:
                            row, stop = self._optimise(phase, batch, loader, interrupted)
                            log.write(**row)
                            words = self._after_step(log, loader) or words
                            total = self.done if self._waited_enough() else self.run.training.steps
                            progress(f"loss {row['loss']:.4f}{words}", self.done, total)
                            if stop:
                                raise KeyboardInterrupt
                            if self.done >= phase.last or self._waited_enough():
                                break
                    loader.close()  # what it has read ahead for itself is not asked for any more
        finally:
            log.close()

    def _connect(self, log: RunLog) -> None:
        self.communication = Communication(
            self.objective,
            self.ranks,
            self.run.compression,
            seed=self.run.training.seed,
            saved=self.exchanged,
            dispersion=self.descent.reference,
        )
        if self.communication.choice is not None:
            log.write(step=self.done, compression=self.communication.choice)

    def _optimise(
        self, phase: Phase, batch: Batch, loader: WindowLoader, interrupted: Callable[[], bool]
    ) -> tuple[dict[str, Any], bool]:
        """One step; its row of the log, and whether a rank was asked to stop."""
        begin = time.perf_counter()
        if (self.done + 1) % self.run.training.validation_interval == 0:
            self.communication.measure_modes()
        gradient, rate = self.descent.step(self.done, lambda: self._gradient(batch, interrupted))
        self.average.update(self.step)
        self.done += 1
        seconds = time.perf_counter() - begin
        self.seconds += seconds
        dispersion = {} if gradient.dispersion is None else {"dispersion": gradient.dispersion}
        return (
            {
                "step": self.done,
                "epoch": loader.epoch,
                "loss": gradient.loss,
                "lr": rate,
                "gradient_norm": gradient.norm,
                **dispersion,
                "windows": phase.windows,
                "samples_per_second": self.run.training.batch_size / seconds,
                **self.communication.spent(),
                "seconds": self.seconds,
                "wait_seconds": loader.wait_seconds,  # for its batch, beside the seconds
            },
            gradient.stop,
        )

    def _gradient(self, batch: Batch, interrupted: Callable[[], bool]) -> Gradient:
        """Put the clipped gradient of the batch of all ranks into ``.grad``."""
        training, ranks = self.run.training, self.ranks
        windows = ranks.rank + ranks.world_size * np.arange(len(batch))
        noise = history_noise(
            batch.history, size=training.noise, seed=training.seed, step=self.done, windows=windows
        )
        self.step.train()
        self.step.zero_grad(set_to_none=True)
        tensors = [part.to(ranks.device) for part in (batch.history, batch.forcing, batch.target, noise)]
        parts = list(zip(*(tensor.chunk(training.accumulation) for tensor in tensors), strict=True))
        own = 0.0
        for number, part in enumerate(parts, start=1):
            with self.communication.part(last=number == len(parts)):
                loss = self.communication.module(*part) / len(parts)
                loss.backward()
            own += loss.item()
        dispersion = self.communication.dispersion()
        # One small sum tells all ranks the loss, and that one of them is to stop: none may leave the others waiting.
        told = ranks.sum(torch.tensor([own, interrupted(), dispersion or 0.0], dtype=torch.float64))
        mean, stop = told[0].item() / ranks.world_size, bool(told[1] > 0)
        self._finite("loss", mean)
        norm = torch.nn.utils.clip_grad_norm_(self.step.parameters(), self.descent.largest_norm).item()
        self._finite("gradient", norm)
        self._finite("gradient's dispersion", told[2].item())
        return Gradient(mean, norm, None if dispersion is None else told[2].item(), stop)

    def _finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise self.ranks.agreed_error(
                f"step {self.done + 1}: the {what} is {value}; training cannot go on. Lower training.learning_rate or "
                f"look for bad values in {self.store}; the last good state is {self.to / 'checkpoints' / 'last'}."
            )

    def _after_step(self, log: RunLog, loader: WindowLoader) -> str:
        """Validate and write checkpoints where they are due; a few words on the validation."""
        training, words = self.run.training, ""
        ended = self.done == training.steps
        if self.validation is not None and (ended or self.done % training.validation_interval == 0):
            self.average.copy_to(self.averaged)
            scores = validate(
                self.averaged,
                self.validation,
                self.weight,
                horizon=self.run.model.horizon,
                starts=training.validation_starts,
                ranks=self.ranks,
            )
            log.write(step=self.done, validation=scores)
            words = f", validation {scores['all']:.4f}"
            self.waited += 1
            if scores["all"] < self.best:
                self.best, self.waited = scores["all"], 0
                self._save("best", None)
            if not ended and self._waited_enough():  # on all ranks: they hold the same scores
                ended, reason = True, f"no validation error below {self.best:.4f} in the last {self.waited}"
                log.write(step=self.done, stopped=reason)
                words = f"{words}, stopped: {reason}"
        # Last comes last: whoever finds it complete finds the best beside it.
        if ended and self.validation is None:
            self._save("best", None)
        if ended or self.done % training.checkpoint_every == 0:
            self._save("last", loader)
        return words

    def _waited_enough(self) -> bool:
        patience = self.run.training.patience
        return patience is not None and self.waited >= patience

    def _save(self, name: str, loader: WindowLoader | None) -> None:
        exchanged = None if loader is None else self.communication.state_dict()  # all ranks take part
        if not self.ranks.first:
            return
        self.average.copy_to(self.averaged)
        training = None
        if loader is not None:
            training = {
                "step": self.step.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.descent.state_dict(),
                "loader": loader.state_dict(),
                "communication": exchanged,
                "best": self.best,
                "waited": self.waited,
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
        check_store(
            self.to,
            previous,
            store=self.store,
            grid_fingerprint=self.grid.fingerprint,
            attributes=self.provenance["store_attributes"],
        )
        state = previous.training
        assert state is not None
        self.step.load_state_dict(state["step"])
        self.averaged.load_state_dict(state["step"])  # for its buffers; parameters are set at each use
        self.average.load_state_dict(state["average"])
        self.descent.load_state_dict(state["optimizer"], ranks=previous.provenance["ranks"])
        self.best, self.waited = state["best"], state.get("waited", 0)
        self.exchanged = state.get("communication")
        self.done, self.seconds = previous.steps, previous.provenance["training_seconds"]
        for phase, loader in self.loaders.items():
            if phase.first < self.done < phase.last:
                loader.load_state_dict(state["loader"])


def _share(training: TrainingConfig, ranks: Ranks) -> int:
    """Windows of one rank in a step."""
    count, parts = ranks.world_size, training.accumulation
    share, rest = divmod(training.batch_size, count)
    if rest:
        raise ValueError(
            f"training.batch_size is {training.batch_size}, the windows of a step over all ranks, and {count} "
            f"ranks cannot share them evenly; choose a multiple of {count * parts}, or another number of ranks."
        )
    if share % parts:
        raise ValueError(
            f"training.accumulation is {parts}, and each of {count} ranks takes {share} of the {training.batch_size} "
            f"windows of training.batch_size, which do not come in {parts} equal parts; choose a batch size that is a "
            f"multiple of {count * parts}, or an accumulation that divides {share}."
        )
    return share
