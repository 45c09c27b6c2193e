"""The comparison a sceptic would make: FNOtD beside a standard FNO that is given all that FNOtD has.

    python notebooks/norkyst_comparison.py --to runs/comparison [--only WORD ...] [--seeds 0 1 2]

FNO goes one step a time and with time in channels, as it is and with FNOtD's gates, each at equal samples, equal
processor time and equal parameters, in the setting of ``make norkyst``: fitted on hours 0-45 of the shipped sample, one
free forecast of 21 hours. Nothing is chosen on these hours. A stopped command goes on where it was; several processes
with the same words share the runs. Results go to ``notebooks/results/norkyst/comparison.csv``.
"""

import argparse
import bisect
import csv
import fcntl
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_pipelines import ingest, open_store, sample_paths
from forecasting import forecast
from oceanop import Grid, load_checkpoint
from oceanop.build import build_operator
from oceanop.checkpoint import Checkpoint
from oceanop.cli.demo import COARSEN, LEADS, SPLITS, START
from oceanop.config import load_run
from training import train
from training.schedule import phases

RESULTS = Path(__file__).resolve().parent / "results" / "norkyst"

ONE_STEP = ["model.history=3", "model.horizon=1"]
UNROLLED = [*ONE_STEP, "training.noise=0.05", "training.windows=5", "training.unroll_from=0.4"]
# The preset was ungated after the FNOs had been given the processor time and the parameters of the gated one
REFERENCE = "FNOtD gated"
OWN = ("FNOtD", REFERENCE)
FORMS: dict[str, tuple[str, list[str]]] = {
    "FNOtD": ("norkyst-fnotd", []),
    REFERENCE: ("norkyst-fnotd", ["model.gate=true", "training.learning_rate=0.003"]),
    "FNO one-step vanilla": ("norkyst-fno", [*ONE_STEP, "training.noise=0", "training.windows=1"]),
    "FNO one-step": ("norkyst-fno", UNROLLED),
    "FNO one-step gated": ("norkyst-fno", [*UNROLLED, "model.gate=true"]),
    "FNO channels": ("norkyst-fno", []),
    "FNO channels gated": ("norkyst-fno", ["model.gate=true"]),
}
EQUAL = ("samples", "cost", "parameters")
LEADS_SHOWN = (1, 3, 6, 12, 21)


def main() -> None:
    """Train what is missing, and write the table of all that is there."""
    given = words_given(__doc__)
    compare(given.to, given.only, given.seeds, given.results)


def words_given(description: str | None) -> argparse.Namespace:
    """What the command line says."""
    words = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--only", nargs="+", default=[""], help="words of which a row's name must contain one")
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--results", type=Path, default=RESULTS)
    torch.set_num_threads(1)
    return words.parse_args()


def compare(to: Path, only: list[str], seeds: list[int], results: Path) -> None:
    """Each form of FNO at equal samples, cost and parameters beside FNOtD, seeds outermost."""
    store = to / "norkyst.zarr"
    with taken(to / "costs", wait=True):
        if not (store / "zarr.json").exists():
            sample = sample_paths()
            ingest([sample.ocean], to=store, forcing=[sample.wind], coarsen=COARSEN, splits=SPLITS)
        if not (to / "costs.json").exists():
            (to / "costs.json").write_text(json.dumps(costs(store), indent=1))
    plans = planned(json.loads((to / "costs.json").read_text()))
    for seed in seeds:
        for name, plan in plans.items():
            run = to / f"{name.replace(' ', '-').replace(',', '')}-seed-{seed}"
            if not asked(name, only) or (run / "scored.json").exists():
                continue
            with taken(run) as mine:
                if mine:
                    preset, changes = plan["run"]
                    settings = load_run(preset, [*changes, "training.threads=1", f"training.seed={seed}"])
                    best = load_checkpoint(train(settings, store, run, resume=True))
                    told = {"name": name, "seed": seed, "parameters": best.parameters, "steps": best.steps}
                    (run / "scored.json").write_text(json.dumps(told | errors(best, store)))
                    write_comparison(to, plans, results)
    write_comparison(to, plans, results)


def costs(store: Path) -> dict[str, Any]:
    """Processor time of a step by windows unrolled, of all forms in turns, and the widths of equal parameters."""
    with tempfile.TemporaryDirectory() as folder:
        reference = load_checkpoint(timed(REFERENCE, [], store, Path(folder) / "reference")[0])
        asked_for = {name: {"preset": [], **equal_size(name, reference)} for name in FORMS}
        spent: dict[str, dict[str, dict[str, list[float]]]] = {
            name: {size: {} for size in sizes} for name, sizes in asked_for.items()
        }
        # In turns: what else the machine does weighs on all alike.
        for turn in range(3):
            for name, sizes in asked_for.items():
                for size, changes in sizes.items():
                    _, steps = timed(name, changes, store, Path(folder) / f"{name}-{size}-{turn}")
                    for windows, seconds in steps:
                        spent[name][size].setdefault(str(windows), []).append(seconds)
    return {
        name: {
            size: {
                "changes": changes,
                # The least is what other work on the machine has disturbed least.
                "seconds": {windows: min(seconds) for windows, seconds in spent[name][size].items()},
            }
            for size, changes in sizes.items()
        }
        for name, sizes in asked_for.items()
    }


def timed(name: str, changes: list[str], store: Path, to: Path) -> tuple[Path, list[tuple[int, float]]]:
    """The checkpoint of eight steps, and windows and processor time of those that neither begin nor save."""
    preset, own = FORMS[name]
    fixed = ["training.steps=8", "training.unroll_from=0.5", "training.threads=1"]
    clock = {}
    best = train(
        load_run(preset, [*own, *changes, *fixed]),
        store,
        to,
        progress=lambda words, done, total: clock.update({done: time.process_time()}),
    )
    rows = [json.loads(line) for line in (to / "metrics.jsonl").read_text().splitlines()]
    windows = {row["step"]: row["windows"] for row in rows if "windows" in row}
    return best, [(windows[step], clock[step] - clock[step - 1]) for step in range(2, 8)]


def equal_size(name: str, reference: Checkpoint) -> dict[str, list[str]]:
    """The change that gives a form as many parameters as the reference, within 5 %; FNOtD needs none."""
    preset, own = FORMS[name]
    if name in OWN:
        return {}
    like = reference.step.operator
    channels = {
        kind: getattr(like, kind) for kind in ("state_channels", "forcing_channels", "static_channels")
    }

    def parameters(width: int) -> int:
        run = load_run(preset, [*own, f"model.width={width}"])
        return sum(part.numel() for part in build_operator(run, **channels).parameters())

    wanted = sum(part.numel() for part in like.parameters())
    width = bisect.bisect_left(range(256), wanted, lo=1, key=parameters)
    width = min((width - 1, width), key=lambda width: abs(parameters(width) - wanted))
    assert abs(parameters(width) / wanted - 1) < 0.05, (name, width)
    return {"equal": [f"model.width={width}"]}


def planned(measured: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What to train: for each row its preset and changes, and what that costs."""
    preset, own = FORMS[REFERENCE]
    samples = load_run(preset, own).training.steps
    whole = samples * mean_cost(REFERENCE, measured[REFERENCE]["preset"]["seconds"])
    plans = {}
    for name, (preset, own) in FORMS.items():
        for equal in ["itself"] if name in OWN else EQUAL:
            size = measured[name]["equal" if equal == "parameters" else "preset"]
            cost = mean_cost(name, size["seconds"])
            steps = samples if equal in ("itself", "samples") else round(whole / cost)
            plans[f"{name}, {equal}"] = {
                "form": name,
                "equal": {"parameters": "parameters and cost"}.get(equal, equal),
                "run": (preset, [*own, *size["changes"], f"training.steps={steps}"]),
                "seconds_a_step": round(cost, 4),
                "training_seconds": round(cost * steps, 1),
            }
    return plans


def mean_cost(name: str, seconds: dict[str, float]) -> float:
    """Processor time of a step, mean over the stages of a form's training, s."""
    preset, own = FORMS[name]
    training = load_run(preset, own).training
    stages = phases(training)
    return sum(seconds[str(stage.windows)] * (stage.last - stage.first) for stage in stages) / training.steps


def errors(checkpoint: Checkpoint, store: Path) -> dict[str, float]:
    """Root mean square error of both components at sea by area, m/s, over all leads and at some."""
    ds = open_store(store)
    result = forecast(checkpoint, ds, start=START, leads=LEADS).isel(init_time=0)
    start = int(np.flatnonzero(ds["time"].values == np.datetime64(START))[0])
    truth = ds.isel(time=slice(start + 1, start + 1 + LEADS))
    grid = Grid.from_dataset(ds)
    weight = np.where(grid.mask, grid.cell_area, 0.0)
    squares = np.zeros(LEADS)
    for name in ("uo", "vo"):
        error = np.where(grid.mask, result[name].to_numpy() - truth[name].to_numpy(), 0.0)
        squares += (error.astype(np.float64) ** 2 * weight).sum((-2, -1)) / weight.sum() / 2
    return {
        "rmse": round(math.sqrt(squares.mean()), 5),
        **{f"rmse_{lead}h": round(math.sqrt(squares[lead - 1]), 5) for lead in LEADS_SHOWN},
    }


def write_comparison(to: Path, plans: dict[str, dict[str, Any]], results: Path) -> None:
    """The table of all finished runs, and each row's mean and spread over seeds."""
    rows = []
    for path in to.glob("*/scored.json"):
        told = json.loads(path.read_text())
        plan = plans[told.pop("name")]
        rows.append({**{key: value for key, value in plan.items() if key != "run"}, **told})
    order = list(FORMS)
    rows.sort(
        key=lambda row: (order.index(row["form"]), row["equal"] != "samples", row["equal"], row["seed"])
    )
    write_table(results / "comparison.csv", rows)
    for form, equal in dict.fromkeys((row["form"], row["equal"]) for row in rows):
        own = [row["rmse"] for row in rows if (row["form"], row["equal"]) == (form, equal)]
        spread = f" +- {statistics.stdev(own):.4f}" if len(own) > 1 else ""
        print(f"{form}, equal {equal}: {statistics.fmean(own):.4f}{spread}, {len(own)} seeds", flush=True)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table, if there is any row."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@contextmanager
def taken(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone may work on a path; a process that ends, however it does, lets go of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def asked(name: str, only: list[str]) -> bool:
    """Whether a row's name holds one of some words."""
    return any(word in name for word in only)


if __name__ == "__main__":
    main()
