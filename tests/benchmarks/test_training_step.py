"""Seconds and memory of a training step beside neuraloperator's FNO, and what the arithmetic alone would take.

    python -m pytest -m benchmark -s tests/benchmarks/test_training_step.py

Operators live in processes of their own and step in turn, ours beside each of the others. neuraloperator runs as it is
installed, and once more with the allocator and OpenMP tuned; ours run as they are. The table goes to
``notebooks/results/training_step.csv``; ``-k`` picks cases.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from oceanop.operators.fused import linear

RUNS, THREADS, LAYERS = 7, 2, 4
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks" / "results" / "training_step.csv"

OURS = {"tuned": False, "gate": False}
SIZES: dict[str, dict[str, Any]] = {
    "FNOtD, a regional model": {"size": (16, 200, 300), "modes": (8, 24, 24), "width": 32, "batch": 1},
    "FNOtD, the demonstration": {"size": (12, 50, 75), "modes": (8, 10, 10), "width": 24, "batch": 2},
    "FNO, a regional model": {"size": (200, 300), "modes": (24, 24), "width": 32, "batch": 1},
    "FNO, the demonstration": {"size": (50, 75), "modes": (20, 20), "width": 24, "batch": 2},
}


@contextmanager
def worker(task: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process that steps when it is told."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MALLOC_"))
    }
    if task["tuned"]:
        environment["OMP_WAIT_POLICY"] = "passive"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.step_worker", json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], line: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def fastest(step: Callable[[], object], runs: int = 20) -> float:
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return min(times)


def roof() -> tuple[float, float]:
    """This machine's products of matrices (flop/s) and copies in memory (byte/s), on as many threads."""
    torch.set_num_threads(THREADS)
    x, weight = torch.randn(1 << 15, 64), torch.randn(64, 64)
    rate = 2 * x.numel() * 64 / fastest(lambda: linear(x, weight))
    a = torch.randn(1 << 25)
    b = torch.empty_like(a)
    return rate, 2 * a.nbytes / fastest(lambda: b.copy_(a), 5)


def needed(task: dict[str, Any]) -> tuple[float, float]:
    """Flop and bytes of a step of FNOtD without gates: its products, and its fields' way from and to memory once."""
    steps, rows, columns = task["size"]
    width, (_, y_modes, x_modes) = task["width"], task["modes"]
    wave, inputs, outputs, hidden = 2 * (x_modes // 2 + 1), 2 + 2 + 1 + 2, 2, 2 * width
    flop = transfer = 0.0
    for layer in range(LAYERS):
        whole = task["batch"] * steps * rows * columns
        part = whole / 2 if layer == LAYERS - 1 else whole  # what becomes of the past is not needed
        analysis, synthesis, dense = 2 * whole * wave * width, 2 * part * wave * width, 2 * part * width**2
        along_y = 2 * (whole + part) / columns * 2 * y_modes * wave * width
        # forward; inside again; gradients of what came in and of the weights
        flop += (
            (analysis + synthesis + 3 * dense) + (synthesis + 2 * dense) + (analysis + synthesis + 6 * dense)
        )
        flop += 2 * along_y
        transfer += 4 * width * ((2 * whole + part) + (2 * part + whole) + 2 * whole)
    points = task["batch"] * steps * rows * columns
    flop += 2 * points * hidden * (3 * inputs + 3 * width)
    flop += points * hidden * (4 * width + 3 * outputs)
    return flop, transfer


def busy() -> tuple[float, float]:
    """Seconds that all cores of the machine have worked, and that they could have, since it started."""
    user, nice, system, idle, wait, interrupts, soft, steal = map(
        float, Path("/proc/stat").read_text().split()[1:9]
    )
    worked = user + nice + system + interrupts + soft + steal
    return worked / os.sysconf("SC_CLK_TCK"), (worked + idle + wait) / os.sysconf("SC_CLK_TCK")


def own(*processes: subprocess.Popen[str]) -> float:
    """Seconds that processes of ours have worked."""
    fields = [
        Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split() for process in processes
    ]
    return sum(float(field[11]) + float(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def measure(
    tasks: dict[str, dict[str, Any]], ours: str
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, float], float]:
    """Seconds of each contender's steps, their ratio to ours in the same minute, peak bytes, share of foreign load."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    peaks: dict[str, float] = {}
    ratios, foreign, possible = {ours: 1.0}, 0.0, 0.0
    # Two at a time: all together would need more memory than a small machine has.
    for other in list(tasks)[1:]:
        with worker(tasks[ours]) as first, worker(tasks[other]) as second:
            pair = ask(first, "step"), ask(second, "step")  # both have begun and warmed up
            (worked, could), mine = busy(), own(first, second)
            pairs = [(ask(first, "step"), ask(second, "step")) for _ in range(RUNS)]
            foreign += busy()[0] - worked - (own(first, second) - mine)
            possible += busy()[1] - could
            columns = [list(column) for column in zip(*pairs, strict=True)]
            ratios[other] = statistics.median(columns[1]) / statistics.median(columns[0])
            seconds[ours] += columns[0]
            seconds[other] += columns[1]
            peaks |= {ours: ask(first, ""), other: ask(second, "")}
            assert min(pair) > 0
    return seconds, ratios, peaks, max(0.0, foreign / possible)


@pytest.mark.benchmark
@pytest.mark.parametrize("name", SIZES)
def test_a_training_step_beside_neuraloperator(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = name.split(",")[0]
    task = {**SIZES[name], "threads": THREADS, "layers": LAYERS}
    tasks = {
        kind: task | OURS | {"operator": kind},
        "neuralop": task | OURS | {"operator": "neuralop"},
        "neuralop, tuned": task | {"operator": "neuralop", "tuned": True},
        f"{kind} with gates": task | OURS | {"operator": kind, "gate": True},
    }
    seconds, ratios, peaks, foreign = measure(tasks, kind)
    rows = [
        {
            "case": name,
            "contender": contender,
            **{
                key: " ".join(map(str, value))
                for key, value in SIZES[name].items()
                if key in ("size", "modes")
            },
            "width": task["width"],
            "layers": LAYERS,
            "batch": task["batch"],
            "threads": THREADS,
            "runs": len(seconds[contender]),
            "seconds": round(statistics.median(seconds[contender]), 4),
            "seconds_least": round(min(seconds[contender]), 4),
            "seconds_most": round(max(seconds[contender]), 4),
            "times_ours": round(ratios[contender], 3),
            "peak_megabytes": round(peaks[contender] / 2**20),
            "foreign_load": round(foreign, 2),
        }
        for contender in tasks
    ]
    record(rows)
    lines = [f"\n{name}: {task}, others took {foreign:.0%} of the machine"]
    lines += [
        f"  {row['contender']:22} {row['seconds']:8.3f} s ({row['seconds_least']:.3f}-{row['seconds_most']:.3f})  "
        f"{row['times_ours']:6.2f} of ours  peak {row['peak_megabytes']:6} MB"
        for row in rows
    ]
    if kind == "FNOtD":
        (rate, bandwidth), (flop, transfer) = roof(), needed(task)
        least = max(flop / rate, transfer / bandwidth)
        lines.append(
            f"  needs {flop / 1e9:.1f} GFLOP and {transfer / 1e9:.2f} GB; measured here {rate / 1e9:.0f} GFLOP/s, "
            f"{bandwidth / 1e9:.1f} GB/s: {flop / rate:.2f} s and {transfer / bandwidth:.2f} s; "
            f"{least / statistics.median(seconds[kind]):.0%} of the roof"
        )
    with capsys.disabled():
        print("\n".join(lines))


def record(rows: list[dict[str, Any]]) -> None:
    """Put the rows of a case in the place of those that the file has of it."""
    kept: list[dict[str, Any]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["case"] != rows[0]["case"]]
    order = list(SIZES)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: order.index(row["case"])))
