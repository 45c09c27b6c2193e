"""What each part of FNOtD is worth on the shipped sample: one thing changed at a time, on hours held out of training.

    python notebooks/norkyst_ablation.py --to runs/ablation [--only WORD ...] [--seeds 0 1 2]

Runs are those of ``norkyst_validation.py``, in its two folds, for as many steps as the preset has, on a grid of 6.4 km:
a run costs a third there. They are scored by
free forecasts of up to 11 hours from every hour held out that has a whole history there: one start alone is noise. The
test hours are never read. A history of 12 hours leaves too few of these starts and is not among the rows. A stopped
command goes on where it was; several processes with the same words share the runs. Results go to
``notebooks/results/norkyst/ablation.csv``.
"""

import json
import math
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from norkyst_comparison import asked, taken, words_given, write_table
from norkyst_validation import FOLDS, ingest_fold
from torch import Tensor, nn

from data_pipelines import WindowDataset, open_store
from oceanop import Grid, load_checkpoint
from oceanop.checkpoint import Checkpoint
from oceanop.config import Run, load_run
from oceanop.operators.fnotd import _Block
from oceanop.operators.layer import Gate
from oceanop.operators.spectral import SpectralConv
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from training import train
from training.losses import area_weight

COARSEN = 8  # 800 m to 6.4 km
SCORE_EVERY = 25  # steps between scores of a run

# Those that no option of a run says
FROM_THE_MEAN = "from the training mean"  # instead of the last state
ZERO_ON_LAND = (
    "features zero on land"  # before each convolution, instead of what the network learns to put there
)
NORMALISED = "normalised convolution"  # the same, divided by the smoothed mask
APART = (
    "time and space apart"  # a matrix of the frequency times one of the wavenumber, instead of one of both
)
LOCAL = "local branch"  # 3 x 3 cells of each channel beside every convolution
# Dropout of 0.1 in each layer was a row too: 0.0006 m/s better over four runs, a tie, and it was taken out.
# What each row changes, of settings that the preset has or once had.
BASE = ["model.gate=true", "training.learning_rate=0.003"]
UNGATED = "model.gate=false"
ABLATION: dict[str, list[str]] = {
    "base": [],
    "without gate": [UNGATED],
    "weight decay 0.1": ["training.weight_decay=0.1"],
    "weight decay 1": ["training.weight_decay=1.0"],
    "noise 0": ["training.noise=0"],
    "noise 0.3": ["training.noise=0.3"],
    "without wind": ["data.forcing=[]"],
    FROM_THE_MEAN: [],
    ZERO_ON_LAND: [],
    NORMALISED: [],
    APART: [],
    LOCAL: [],
    # In 200 steps the decay rises to 0.957 and no further: a larger one would turn nothing.
    "ema 0": ["training.ema_decay=0"],
    "ema 0.9": ["training.ema_decay=0.9"],
    "width 16": ["model.width=16"],
    "padding of space 8": ["model.padding=[0,8,8]"],
    "padding of time 4": ["model.padding=[4,0,0]"],
    "one window": ["training.windows=1"],
    "width 32": ["model.width=32"],
    "modes 8 x 16 x 16": ["model.modes=[8,16,16]"],
    "learning rate 0.0015": ["training.learning_rate=0.0015"],
    "learning rate 0.006": ["training.learning_rate=0.006"],
    "three windows": ["training.windows=3"],
    "window 6 + 3": ["model.horizon=3", "training.windows=4"],
    "patches of 2 hours": ["model.patch=2"],
    # What was better alone, together
    f"without gate, {APART}": [UNGATED],
    f"without gate, {LOCAL}": [UNGATED],
    "without gate, learning rate 0.006": [UNGATED, "training.learning_rate=0.006"],
    "without gate, width 32": [UNGATED, "model.width=32"],
    "without gate, padding of space 8": [UNGATED, "model.padding=[0,8,8]"],
    "without gate, patches of 2 hours": [UNGATED, "model.patch=2"],
    "without gate, patches of 2 hours, width 32": [UNGATED, "model.patch=2", "model.width=32"],
    "without gate, patches of 3 hours, width 32": [UNGATED, "model.patch=3", "model.width=32"],
}


class FromTheMean(WindowStep):
    """A window step whose operator says the state itself, in standard deviations from the mean of training."""

    def forward(self, history: Tensor, forcing: Tensor, noise: Tensor | None = None) -> Tensor:
        """Future states; shapes as :meth:`WindowStep.forward`."""
        wet = self.wet[:, None]
        seen = (history - self.mean) / self.std if noise is None else (history - self.mean) / self.std + noise
        seen = torch.where(wet, seen, 0.0)
        future = self.operator(seen, self._features(forcing), self.static)
        return torch.where(wet, (future - seen[:, :, -1:]) * self.std + self.mean, 0.0)


def main() -> None:
    """Train what is missing, and write the table of all that is there."""
    given = words_given(__doc__)
    ablate(given.to, given.only, given.seeds, given.results)


def ablate(to: Path, only: list[str], seeds: list[int], results: Path) -> None:
    """One thing changed at a time, seeds outermost."""
    stores = [to / f"fold-{number}.zarr" for number in range(len(FOLDS))]
    with taken(to / "folds", wait=True):
        for store, splits in zip(stores, FOLDS.values(), strict=True):
            if not (store / "zarr.json").exists():
                ingest_fold(store, splits, coarsen=COARSEN)
    for seed in seeds:
        for setting, changes in ABLATION.items():
            for number, store in enumerate(stores):
                run = to / f"{setting.replace(' ', '-')}-fold-{number}-seed-{seed}"
                if not asked(setting, only) or (run / "scored.json").exists():
                    continue
                with taken(run) as mine:
                    if mine:
                        fixed = ["training.threads=1", f"training.seed={seed}", 'data.fit=["train"]']
                        settings = load_run(
                            "norkyst-fnotd", [*BASE, *changes, *fixed, "training.validate_every=200"]
                        )
                        with of_setting(setting):
                            scored_run(settings, store, run)
                        told = {"setting": setting, "fold": list(FOLDS)[number], "seed": seed}
                        (run / "scored.json").write_text(json.dumps(told))
                        write_ablation(to, results)
    write_ablation(to, results)


class ZeroOnLand(Gate):
    """Gates of which the first lets nothing on land into the convolution."""

    def factors(self, static: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Gate.factors`; ``static[..., 0]`` is the mask."""
        before, after = super().factors(static)
        return before * static[..., :1], after


class Normalised(ZeroOnLand):
    """Gates of which the second divides by the share of ocean around, as normalised convolution does.

    Knutsson and Westin, Normalized and differential convolution, CVPR 1993.
    """

    def factors(self, static: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Gate.factors`; the mask is smoothed over the shortest wave that the convolution keeps."""
        before, after = super().factors(static)
        wet = static[..., 0]
        y, x = (torch.fft.fftfreq(size, 1 / size) for size in wet.shape)
        shortest = max(load_run("norkyst-fnotd").model.modes[1:]) // 2  # as this row's runs have them
        smooth = torch.exp(-0.5 * (y[:, None] ** 2 + x**2) / shortest**2)
        around = torch.fft.ifft2(torch.fft.fft2(wet) * smooth).real
        return before, after / around.clamp(min=0.1)[..., None]


class Apart(SpectralConv):
    """A convolution whose kernel is one over time after one over space: no frequency knows its wavenumber."""

    def __init__(self, in_channels: int, out_channels: int, modes: Sequence[int]) -> None:
        super().__init__(in_channels, out_channels, modes)
        time, *plane = self.weight.shape[:3]
        del self.weight
        # A product of two matrices is as large as one of the whole kernel at the start.
        self.of_time = nn.Parameter(torch.randn(time, in_channels, in_channels, 2) / (2 * in_channels) ** 0.5)
        self.of_space = nn.Parameter(
            torch.randn(*plane, in_channels, out_channels, 2) / (in_channels + out_channels) ** 0.5
        )

    def mode_weights(self) -> Tensor:
        """As :meth:`SpectralConv.mode_weights`."""
        time, space = torch.view_as_complex(self.of_time), torch.view_as_complex(self.of_space)
        return torch.view_as_real(torch.einsum("tij,yxjo->tyxio", time, space))


class Local(_Block):
    """A layer with a learned stencil beside it; the network begins without."""

    def __init__(self, width: int, modes: Sequence[int], static_channels: int) -> None:
        super().__init__(width, modes, static_channels)
        self.stencil = nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1), groups=width)
        nn.init.zeros_(self.stencil.weight)

    def forward(self, x: Tensor, static: Tensor, wanted: slice, *, recompute: bool) -> Tensor:
        """As the layer's own."""
        beside = self.stencil(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return super().forward(x, static, wanted, recompute=recompute) + beside[:, wanted]


def of_setting(setting: str) -> AbstractContextManager[Any]:
    """What a setting needs while it is trained and scored, beside its run."""
    changed = {
        FROM_THE_MEAN: ("oceanop.build.WindowStep", FromTheMean),
        ZERO_ON_LAND: ("oceanop.operators.fnotd.Gate", ZeroOnLand),
        NORMALISED: ("oceanop.operators.fnotd.Gate", Normalised),
        APART: ("oceanop.operators.fnotd.SpectralConv", Apart),
        LOCAL: ("oceanop.operators.fnotd._Block", Local),
    }
    (target,) = [changed[part] for part in setting.split(", ") if part in changed] or [None]
    return nullcontext() if target is None else patch(*target)


def scored_run(settings: Run, store: Path, run: Path) -> None:
    """Train, and score the averaged weights on the hours held out every 25 steps."""
    last = run / "checkpoints" / "last"

    def score(done: int) -> None:
        if done % SCORE_EVERY == 0 and done > SCORE_EVERY and not (run / f"score-{done}.json").exists():
            values = squared_errors(load_checkpoint(last), store)
            (run / f"score-{done}.json").write_text(json.dumps(values))

    if last.exists():
        score(load_checkpoint(last).steps)  # it may have been stopped in between
    train(settings, store, run, resume=True, progress=lambda words, done, total: score(done))


@torch.no_grad()
def squared_errors(checkpoint: Checkpoint, store: Path) -> list[list[float]]:
    """Mean square of both components (m2 s-2) at each lead, from each start held out, with as many leads as fit."""
    ds = open_store(store)
    weight = area_weight(
        checkpoint.layout.wet(ds), torch.from_numpy(Grid.from_dataset(ds).cell_area)
    ).unsqueeze(1)
    rows = []
    first, last = (np.datetime64(time) for time in FOLDS[fold_of(store)]["validation"])
    held = int((last - first) / np.timedelta64(1, "h")) + 1
    for leads in range(held - checkpoint.history, 0, -1):
        # Of windows with so many leads the last one is the start after which no more hours are held out.
        windows = WindowDataset(ds, checkpoint.history, leads, "validation", checkpoint.layout)
        window = windows[len(windows) - 1]
        parts = rollout(
            checkpoint.step,
            window.history[None],
            window.forcing[None],
            horizon=checkpoint.horizon,
            leads=leads,
        )
        error = torch.cat(list(parts), dim=2)[0] - window.target
        rows.append(((error.square() * weight).sum((0, 2, 3)) / weight.sum()).tolist())
    return rows


def fold_of(store: Path) -> str:
    """Name of the fold that a store holds."""
    return list(FOLDS)[int(store.stem.removeprefix("fold-"))]


def over_starts(squares: list[list[float]]) -> float:
    """Root mean square over all starts and leads."""
    return math.sqrt(statistics.fmean(value for row in squares for value in row))


def over_leads(squares: list[list[float]]) -> float:
    """Root mean square in which each lead weighs alike, however many starts have it."""
    longest = max(map(len, squares))
    means = [statistics.fmean(row[lead] for row in squares if lead < len(row)) for lead in range(longest)]
    return math.sqrt(statistics.fmean(means))


def write_ablation(to: Path, results: Path) -> None:
    """The table of all finished runs, and in words how each setting compares with the base."""
    rows = []
    for path in sorted(to.glob("*/scored.json")):
        told = json.loads(path.read_text())
        scores = {
            int(file.stem.removeprefix("score-")): json.loads(file.read_text())
            for file in path.parent.glob("score-*.json")
        }
        curve = {step: over_starts(scores[step]) for step in sorted(scores)}
        best = min(curve, key=lambda step: curve[step])
        rows.append(
            {
                **told,
                "rmse": f"{curve[max(curve)]:.5f}",
                "best_rmse": f"{curve[best]:.5f}",
                "best_step": best,
                "rmse_leads_alike": f"{over_leads(scores[max(curve)]):.5f}",
                "rmse_from_step_50_every_25": " ".join(f"{value:.4f}" for value in curve.values()),
            }
        )
    rows.sort(key=lambda row: (list(ABLATION).index(row["setting"]), row["fold"], row["seed"]))
    write_table(results / "ablation.csv", rows)
    for measure in ("rmse", "best_rmse"):
        for line in against_base(rows, measure):
            print(measure, line, flush=True)


def against_base(rows: list[dict[str, Any]], measure: str) -> list[str]:
    """Mean over runs of each setting, and its mean difference from the base's run of the same fold and seed."""
    values = {(row["setting"], row["fold"], row["seed"]): float(row[measure]) for row in rows}
    lines = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = {key[1:]: value for key, value in values.items() if key[0] == setting}
        pairs = [value - values["base", *key] for key, value in own.items() if ("base", *key) in values]
        line = f"{setting}: {statistics.fmean(own.values()):.4f} over {len(own)} runs"
        if setting != "base" and len(pairs) > 1:
            error = statistics.stdev(pairs) / math.sqrt(len(pairs))
            line += f", {statistics.fmean(pairs):+.4f} against the base, standard error {error:.4f}"
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
