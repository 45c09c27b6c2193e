"""The Baltic under unseen storms: FNOtD beside three FNOs, wind regression and the numerical models themselves.

    python notebooks/baltic.py --scale quick --to runs/baltic-quick [--processes 2] [--budget 120]

Years of hourly states are made by the numerical ocean, and kept. Every operator learns from them for the same processor
time (and, at the full scale, from as many samples, or with as many parameters), then forecasts 240 hours and 1000 hours
from unseen states under unseen storms with the weather known. A stopped command goes on where it was; several processes
with the same words share the work. Results go to ``notebooks/results/baltic``, ``baltic-quick`` or ``baltic-fine``.
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

RESULTS = Path(__file__).resolve().parent / "results"

# What all runs share, and the operators' own settings.
COMMON: dict[str, Any] = {
    "batch_size": 2,
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "threads": 1,
    "checkpoint_every": 100,
}
FORECASTERS: dict[str, dict[str, Any]] = {
    "FNOtD": {
        "model": {
            "name": "FNOtD",
            "history": 6,
            "horizon": 6,
            "modes": [8, 12, 12],
            "width": 24,
            "layers": 4,
            "gate": True,
        },
        "training": {"noise": 0.02, "windows": [1, 2, 4]},
    },
    "FNO-one-step-vanilla": {
        "model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [12, 12], "width": 32},
        "training": {"noise": 0.0, "windows": 1},
    },
    "FNO-one-step": {
        "model": {"name": "FNO", "history": 3, "horizon": 1, "modes": [12, 12], "width": 32},
        "training": {"noise": 0.02, "windows": 8, "unroll_from": 0.4},
    },
    "FNO-channels": {
        "model": {
            "name": "FNO",
            "history": 6,
            "horizon": 6,
            "modes": [12, 12],
            "width": 32,
            "gate": True,
        },
        "training": {"noise": 0.02, "windows": [1, 2, 4]},
    },
}

# Budgets are processor seconds of one training, alone on one thread.
SCALES: dict[str, Scale] = {
    "quick": Scale(  # cells of 30' by 20', 448 of them wet; within ten minutes on two cores
        basin="baltic",
        relief=(4, 6),
        days={"train": 120, "validation": 20, "test": 90},
        budget=110,
        seeds=(0,),
        equal=("cost",),
        solvers=(("baltic-charnock", (4, 6)),),
        starts_every=240,
        long_starts=2,
        validation_starts=4,
        attempts=1,
        repeats=3,
    ),
    "full": Scale(  # 15' by 10', 1809 wet
        basin="baltic",
        relief=None,
        days={"train": 730, "validation": 60, "test": 180, "extreme": 40, "fast": 40},
        budget=1800,
        seeds=(0, 1, 2),
        equal=("cost", "samples", "parameters"),
        solvers=(("baltic-coarse", None), ("baltic-charnock", None)),
        starts_every=120,
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
    return Experiment(to, chosen, forecasters=FORECASTERS, common=COMMON, gauges=GAUGES)


if __name__ == "__main__":
    main()
