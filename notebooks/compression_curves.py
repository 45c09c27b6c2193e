"""Does training notice that its gradients travel in few bits? Errors at equal steps, and at equal time on slow links.

    python notebooks/compression_curves.py --to runs/compression [--ranks 2 4] [--seeds 0 1 2] [--only off qsgd-8 ...]
    python notebooks/compression_curves.py --to runs/compression --times      (as root: limits links between namespaces)

FNOtD learns hours 0-45 of the shipped sample at 6.4 km, on ranks that share one batch of four windows, and every 20
steps forecasts 6 hours from each start of hours 46-66, which nothing else reads; nothing is selected on them. Settings
are those of the shipped preset, with one window and 10 exact steps at the start; none was tuned for any way to average.
``fp16`` differs from float32 by rounding alone: how far it strays is how far chance strays. A stopped command goes on
where it was. Results go to ``notebooks/results/compression/{curves,times,summary}.csv``.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from data_pipelines import ingest, sample_paths

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "notebooks" / "results" / "compression"
COARSEN = 8
SPLITS = {
    "train": ("2015-11-16T00", "2015-11-17T21"),
    "validation": ("2015-11-17T22", "2015-11-18T18"),
}
STEPS = 200
BASE = [
    'data.fit=["train"]',
    "training.windows=1",
    "training.batch_size=4",
    "training.validate_every=20",
    "training.validation_leads=6",
    "training.checkpoint_every=1000",
    "training.threads=1",
]
_WARM = "compression.warmup_steps=10"
METHODS: dict[str, list[str]] = {
    "off": ["compression.method=off"],
    "fp16": ["compression.method=fp16"],
    "bf16": ["compression.method=bf16"],
    "qsgd-8": ["compression.method=qsgd", "compression.bits=8", _WARM],
    "nuqsgd-4": ["compression.method=nuqsgd", "compression.bits=4", _WARM],
    "alq-4": ["compression.method=alq", "compression.bits=4", _WARM],
    "alq-4-down-8": ["compression.method=alq", "compression.bits=4", "compression.down_bits=8", _WARM],
    "powersgd-mode-4": ["--powersgd=4", "--view=mode"],
    "powersgd-whole-4": ["--powersgd=4", "--view=whole"],
}
LINKS = {"1 Gbit/s": 1e9, "100 Mbit/s": 1e8}  # bits a second
TIMED_STEPS = 32  # of which the first dozen is not counted: they connect, compile and travel in float32


def main() -> None:
    """Train what is missing, or time steps, and write the tables."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--only", nargs="+", choices=list(METHODS), default=list(METHODS))
    words.add_argument("--times", action="store_true", help="time steps over limited links instead")
    given = words.parse_args()
    sample = sample_paths()
    store = ingest(
        [sample.ocean],
        to=given.to / "norkyst-6km.zarr",
        forcing=[sample.wind],
        coarsen=COARSEN,
        splits=SPLITS,
    )
    RESULTS.mkdir(parents=True, exist_ok=True)
    if given.times:
        time_steps(store, given.to, given.only)
    else:
        for ranks in given.ranks:
            for seed in given.seeds:
                for method in given.only:
                    train(store, given.to / f"{method}-ranks{ranks}-seed{seed}", method, ranks, seed)
                    curves = collect(given.to)
                    write(RESULTS / "curves.csv", ["method", "ranks", "seed", "step", "error"], curves)
    summarise()


def worker(store: Path, to: Path, method: str, seed: int, steps: int) -> list[str]:
    """Words of one rank's command."""
    options = [word for word in METHODS[method] if word.startswith("--")]
    changes = [word for word in METHODS[method] if word not in options]
    changes = [*BASE, *changes, f"training.seed={seed}", f"training.steps={steps}"]
    return ["--store", str(store.resolve()), "--to", str(to.resolve()), *options, *changes]


def train(store: Path, to: Path, method: str, ranks: int, seed: int) -> None:
    """One run, unless it is there and whole."""
    if (to / "checkpoints" / "last").exists():
        return
    shutil.rmtree(to, ignore_errors=True)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)]
    command = [*launch, "-m", "tests.benchmarks.curve_worker", *worker(store, to, method, seed, STEPS)]
    subprocess.run(command, cwd=ROOT, check=True)
    print(f"{method}, {ranks} ranks, seed {seed}: {errors(to)[-1]}", flush=True)


def errors(run: Path) -> list[tuple[int, float]]:
    """Step and error of each validation: root mean square over components and leads, in standard deviations."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["validation"]["all"]) for row in rows if "validation" in row]


def collect(to: Path) -> list[list[object]]:
    """All curves that are whole."""
    table: list[list[object]] = []
    for run in sorted(to.glob("*-ranks*-seed*")):
        if (run / "checkpoints" / "last").exists():
            method, ranks, seed = run.name.rsplit("-", 2)
            place = [method, int(ranks.removeprefix("ranks")), int(seed.removeprefix("seed"))]
            table += [[*place, step, f"{error:.5f}"] for step, error in errors(run)]
    return table


def time_steps(store: Path, to: Path, methods: Sequence[str]) -> None:
    """Median time of a step of two ranks over limited links."""
    sys.path.insert(0, str(ROOT))
    from tests.network import Network

    table: list[list[object]] = []
    for link, rate in LINKS.items():
        for method in methods:
            run = to / "times" / f"{method}-{rate:.0f}"
            shutil.rmtree(run, ignore_errors=True)
            command = [sys.executable, "-m", "tests.benchmarks.curve_worker"]
            with Network(2, rate=rate) as network:
                network.run([*command, *worker(store, run, method, 0, TIMED_STEPS)], timeout=600)
            rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            seconds = [row["seconds"] for row in rows if "seconds" in row]
            steps = [after - before for before, after in pairwise(seconds[11:])]
            table.append([link, method, f"{statistics.median(steps):.4f}", len(steps)])
            print(*table[-1], sep=", ", flush=True)
            write(RESULTS / "times.csv", ["link", "method", "seconds_a_step", "median_of"], table)


def summarise() -> None:
    """Final errors against float32, and the time to an error, from the two tables."""
    if not (RESULTS / "curves.csv").exists():
        return
    curves = read(RESULTS / "curves.csv")
    times = read(RESULTS / "times.csv") if (RESULTS / "times.csv").exists() else []
    table: list[list[object]] = []
    for ranks in sorted({row["ranks"] for row in curves}):
        runs = {
            method: [row for row in curves if (row["method"], row["ranks"]) == (method, ranks)]
            for method in METHODS
        }
        exact = by_seed(runs["off"])
        if not exact:
            continue
        goal = 1.05 * statistics.mean(exact.values())
        for method, rows in runs.items():
            final = by_seed(rows)
            ratios = [final[seed] / exact[seed] for seed in final if seed in exact]
            if not ratios:
                continue
            steps = reached(rows, goal)
            took = [
                "" if steps is None else f"{steps * float(row['seconds_a_step']):.0f}"
                for link in LINKS
                for row in times
                if (row["link"], row["method"], ranks) == (link, method, "2")
            ]
            deviation = statistics.stdev(ratios) if len(ratios) > 1 else float("nan")
            error = statistics.mean(final.values())
            numbers = [
                error / statistics.mean(exact[seed] for seed in final),
                min(ratios),
                max(ratios),
                deviation,
            ]
            row: list[object] = [ranks, method, len(ratios), *(f"{x:.4f}" for x in (error, *numbers))]
            table.append([*row, steps or "", *(took or ["", ""])])
    heads = ["ranks", "method", "seeds", "error", "to_float32", "lowest", "highest", "deviation_of_seeds"]
    heads += ["steps_to_goal", "seconds_to_goal_1_gbit", "seconds_to_goal_100_mbit"]
    write(RESULTS / "summary.csv", heads, table)
    for line in (RESULTS / "summary.csv").read_text().splitlines():
        print(line)


def by_seed(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """Error at the last step of each seed."""
    return {row["seed"]: float(row["error"]) for row in rows if int(row["step"]) == STEPS}


def reached(rows: Sequence[dict[str, str]], goal: float) -> int | None:
    """First step at which the mean over seeds is at the goal, 5 % above what float32 ends with."""
    for step in sorted({int(row["step"]) for row in rows}):
        if statistics.mean(float(row["error"]) for row in rows if int(row["step"]) == step) <= goal:
            return step
    return None


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, as text."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(heads)
        table.writerows(rows)


if __name__ == "__main__":
    main()
