"""Seconds and memory of a training step beside neuraloperator's FNO, and what the arithmetic alone would take.

    python -m pytest -m benchmark -s tests/benchmarks/test_training_step.py

Operators live in processes of their own and step in turn. neuraloperator runs as it is installed, and once more with
the allocator and OpenMP tuned; ours run as they are.
"""

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


@pytest.mark.benchmark
@pytest.mark.parametrize("name", SIZES)
def test_a_training_step_beside_neuraloperator(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kind = name.split(",")[0]
    task = {**SIZES[name], "threads": THREADS, "layers": LAYERS}
    tasks = {
        kind: task | OURS | {"operator": kind},
        f"{kind} with gates": task | OURS | {"operator": kind, "gate": True},
        "neuralop": task | OURS | {"operator": "neuralop"},
        "neuralop, tuned": task | {"operator": "neuralop", "tuned": True},
    }
    seconds: dict[str, list[float]] = {one: [] for one in tasks}
    peaks: dict[str, float] = {}
    # Two at a time, ours and one of theirs: four together would need more memory than a small machine has.
    for pair in ((kind, "neuralop"), (kind, "neuralop, tuned"), (kind, f"{kind} with gates")):
        with worker(tasks[pair[0]]) as first, worker(tasks[pair[1]]) as second:
            for _ in range(RUNS):
                seconds[pair[0]].append(ask(first, "step"))
                seconds[pair[1]].append(ask(second, "step"))
            peaks |= {pair[0]: ask(first, ""), pair[1]: ask(second, "")}
            seconds |= {f"{pair[0]} beside {pair[1]}": seconds[pair[0]][-RUNS:]}
    lines = [f"\n{name}: {task}, median of {RUNS}"]
    for one in tasks:
        beside = seconds[f"{kind} beside {one}" if one != kind else kind]
        ratio = statistics.median(seconds[one]) / statistics.median(beside)
        lines.append(
            f"  {one:22} {statistics.median(seconds[one]):8.3f} s ({min(seconds[one]):.3f}-{max(seconds[one]):.3f})  "
            f"{ratio:6.2f} of ours  peak {peaks[one] / 2**20:6.0f} MB  {peaks[one] / peaks[kind]:5.2f} of ours"
        )
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
    assert all(value > 0 for values in seconds.values() for value in values)
