"""The Baltic under unseen storms: FNOtD beside three FNOs, wind regression and the numerical models themselves.

    python notebooks/baltic.py --scale quick --to runs/baltic-quick [--processes 2] [--budget 120]

Years of hourly states are made by the numerical ocean, and kept. Every operator learns from them for the same processor
time (at the averaged scale also in as many steps, with batches no smaller, or with as many parameters), then forecasts
240 hours and 1000 hours from unseen states under unseen storms with the weather known. A stopped command goes on where
it was; several processes with the same words share the work, and other words want another folder. Results go to
``notebooks/results/baltic`` (scale full) or ``baltic-SCALE``.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from baltic_runs import Experiment, Scale, work
from baltic_tables import assemble
from baltic_truth import Solver

RESULTS = Path(__file__).resolve().parent / "results"

# What all runs share, and the operators' own settings: chosen for each on a validation split of the averaged scale, of
# another seed, at equal cost (batches of 2, 4 and 8, learning rates, noise, windows and when they
# are unrolled, history, patches, layers, width, modes).
COMMON: dict[str, Any] = {"weight_decay": 1e-4, "threads": 1, "checkpoint_every": 200}
FORECASTERS: dict[str, dict[str, Any]] = {
    "FNOtD": {
        "model": {
            "name": "FNOtD",
            "history": 6,
            "horizon": 6,
            "patch": 6,
            "modes": [2, 12, 12],
            "width": 32,
            "layers": 3,
            "gate": True,
        },
        "training": {
            "batch_size": 4,
            "learning_rate": 6e-3,
            "noise": 0.005,
            "windows": 2,
            "unroll_from": 0.75,
        },
    },
    "FNO-one-step-vanilla": {
        "model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [12, 12], "width": 32, "layers": 3},
        "training": {"batch_size": 8, "learning_rate": 3e-3, "noise": 0.0, "windows": 1},
    },
    "FNO-one-step": {
        "model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [12, 12], "width": 32, "layers": 3},
        "training": {
            "batch_size": 8,
            "learning_rate": 3e-3,
            "noise": 0.005,
            "windows": 4,
            "unroll_from": 0.75,
        },
    },
    "FNO-channels": {
        "model": {
            "name": "FNO",
            "history": 6,
            "horizon": 6,
            "modes": [12, 12],
            "width": 32,
            "layers": 3,
            "gate": True,
        },
        "training": {
            "batch_size": 8,
            "learning_rate": 3e-3,
            "noise": 0.005,
            "windows": 2,
            "unroll_from": 0.75,
        },
    },
}

# What validation on the cells of 15' by 10' wants otherwise
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "full": {form: {"training": {"batch_size": 4}} for form in ("FNO-one-step", "FNO-channels")},
}

# The truth's model on other cells, and one of other physics; beside them goes one on the cells of the means
MODELS: tuple[Solver, ...] = (("baltic", None), ("baltic-coarse", None), ("baltic-charnock", None))
# Budgets are processor seconds of one training, alone on one thread.
AVERAGED = Scale(
    basin="baltic-fine",
    relief=None,
    coarsen=6,
    days={"train": 365, "validation": 60, "test": 180, "extreme": 40, "fast": 40},
    budget=100,
    seeds=(0, 1, 2),
    equal=("cost", "steps", "parameters"),
    solvers=(*MODELS, ("baltic", (6, 12))),
    starts_every=240,
    long_starts=4,
    validation_starts=8,
)
SCALES: dict[str, Scale] = {
    # Means over 60' by 30' of a sea of 10' by 5': 160 cells of it are wet
    "quick": Scale(  # within ten minutes on two cores
        basin="baltic-fine",
        relief=None,
        coarsen=6,
        days={"train": 120, "validation": 20, "test": 90},
        budget=75,
        seeds=(0,),
        equal=("cost",),
        solvers=(("baltic", None), ("baltic", (6, 12))),
        starts_every=240,
        long_starts=2,
        validation_starts=4,
        attempts=1,
        repeats=3,
    ),
    "averaged": AVERAGED,
    # A month and ten days to learn from
    "month": replace(AVERAGED, days={**AVERAGED.days, "train": 30}, equal=("cost",)),
    "ten-days": replace(AVERAGED, days={**AVERAGED.days, "train": 10}, equal=("cost",)),
    # Means over 30' by 30' of a sea of 5' by 5', whose own model is dear
    "finer-truth": replace(
        AVERAGED,
        basin="baltic",
        relief=(1, 1),
        equal=("cost",),
        solvers=(("baltic-fine", None), *MODELS, ("baltic", (6, 6))),
    ),
    "full": Scale(  # 15' by 10', 1809 wet
        basin="baltic",
        relief=None,
        days={"train": 365, "validation": 60, "test": 180, "extreme": 40, "fast": 40},
        budget=200,
        seeds=(0, 1, 2),
        equal=("cost",),
        solvers=(("baltic-coarse", None), ("baltic-charnock", None)),
        starts_every=240,
        long_starts=4,
        validation_starts=8,
    ),
    "fine": Scale(  # 10' by 5', 5459 wet: what models of 15' by 10' take for the truth
        basin="baltic-fine",
        relief=None,
        days={"train": 365, "validation": 40, "test": 180, "extreme": 40, "fast": 40},
        budget=3600,
        seeds=(0, 1, 2),
        equal=("cost",),
        solvers=(("baltic", None), ("baltic-coarse", None), ("baltic-charnock", None)),
        starts_every=240,
        long_starts=4,
        validation_starts=4,
    ),
}

# Latitude and longitude, degrees north and east.
GAUGES: dict[str, tuple[float, float]] = {
    "Kronstadt": (59.98, 29.75),
    "Helsinki": (60.15, 24.96),
    "Parnu": (58.38, 24.48),
    "Klaipeda": (55.73, 21.08),
    "Warnemuende": (54.17, 12.10),
    "Landsort": (58.74, 17.87),
    "Stockholm": (59.32, 18.08),
    "Kemi": (65.67, 24.52),
}


def main() -> None:
    """Do what is left of the work, alone or with processes beside this one, and write tables and pictures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--scale", choices=list(SCALES), default="full")
    words.add_argument("--processes", type=int, default=1, help="that share the work, one thread each")
    words.add_argument(
        "--budget", type=float, help="processor seconds of a training; the scale's where absent"
    )
    words.add_argument("--seeds", type=int, nargs="+", help="the scale's where absent")
    words.add_argument("--results", type=Path, help="folder of tables and pictures")
    words.add_argument(
        "--work-only", action="store_true", help="leave tables and pictures to another process"
    )
    given = words.parse_args()
    torch.set_num_threads(1)
    name = "baltic" if given.scale == "full" else f"baltic-{given.scale}"
    experiment = experiment_of(given.scale, given.to, budget=given.budget, seeds=given.seeds)
    command = [sys.executable, *sys.argv, "--work-only", "--processes", "1"]
    others = [subprocess.Popen(command) for _ in range(given.processes - 1)]
    try:
        work(experiment)
    finally:
        for other in others:
            other.wait()
    if not given.work_only:
        work(experiment)  # what another process had begun and left
        assemble(experiment, given.results or RESULTS / name)


def experiment_of(
    scale: str, to: Path, *, budget: float | None = None, seeds: list[int] | None = None
) -> Experiment:
    """A scale with what the command line changes."""
    chosen = SCALES[scale]
    chosen = replace(chosen, budget=budget or chosen.budget, seeds=tuple(seeds or chosen.seeds))
    own = OWN.get(scale, {})
    forecasters = {
        form: {part: {**settings, **own.get(form, {}).get(part, {})} for part, settings in tables.items()}
        for form, tables in FORECASTERS.items()
    }
    return Experiment(to, chosen, forecasters=forecasters, common=COMMON, gauges=GAUGES)


if __name__ == "__main__":
    main()
