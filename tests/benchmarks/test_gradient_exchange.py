"""Seconds and bytes of averaging gradients over links of limited rate, codes beside casts, PowerSGD and float32.

``pytest -m benchmark tests/benchmarks/test_gradient_exchange.py`` (as root, for the links) measures all of it in some
quarter of an hour and writes ``notebooks/results/exchange/{average,training_step}.csv``; ``-k`` picks rows, which
replace those of the same link and number of ranks.
"""

import csv
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.network import ROOT, Network, unavailable

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]

RESULTS = ROOT / "notebooks" / "results" / "exchange"
NUMBERS = 10_000_000  # of the flat gradient
REPEATS = 7
CASTS = ["float32", "float16", "bfloat16"]
CODES = ["codes-8b", "codes-4b", "codes-4b-adapted", "codes-3b", "codes-2b"]
FACTORS = ["powersgd-mode-4", "powersgd-whole-4", "powersgd-whole-32"]
MBIT = 1e6


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("link", [100, 1_000, 2_500, 10_000, None])
def test_average_of_a_flat_gradient(ranks: int, link: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["average", *CASTS, *CODES, "--numel", str(NUMBERS)]
    report = run(ranks, link, arguments)
    rows = table(report, NUMBERS, ranks, link)
    check(rows)
    assert rows[0]["relative_error"] < 1e-6  # float32, the sum in another order at most
    record("average.csv", rows, capsys)


@pytest.mark.parametrize("link", [100, 1_000])
def test_training_step_of_fnotd(link: int, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(2, link, ["step", "none", *CASTS, *FACTORS, *CODES])
    rows = table(report, report["parameters"], 2, link)
    check(rows)
    record("training_step.csv", rows, capsys)


def run(ranks: int, link: int | None, arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.exchange_worker", *arguments]
    begin, busy, mine = time.monotonic(), busy_seconds(), own_seconds()
    with Network(ranks, rate=None if link is None else link * MBIT) as network:
        report = json.loads(network.run([*command, "--repeats", str(REPEATS)], timeout=1200)[0])
    foreign = busy_seconds() - busy - (own_seconds() - mine)
    share = foreign / (time.monotonic() - begin) / (os.cpu_count() or 1)
    return {**report, "foreign_load": max(share, 0.0)}


def busy_seconds() -> float:
    """Seconds that all processes of the machine have spent on its cores, interrupts left out."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """The part of it that was ours: this process and those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def table(report: dict[str, Any], numbers: int, ranks: int, link: int | None) -> list[dict[str, Any]]:
    """Rows of a file: what was measured, and on what."""
    full = next(row for row in report["rows"] if row["method"] == "float32")
    once = 2 * (ranks - 1) / ranks * numbers  # numbers that a rank sends for an average
    return [
        {
            "link_mbit": "unlimited" if link is None else link,
            "ranks": ranks,
            "method": row["method"],
            "median_ms": round(row["median_ms"], 1),
            "least_ms": round(row["least_ms"], 1),
            "most_ms": round(row["most_ms"], 1),
            "times_faster_than_float32": round(full["median_ms"] / row["median_ms"], 2),
            "sent_megabytes": round(row["sent_bytes"] / 1e6, 3),
            "bits_per_number": round(8 * row["sent_bytes"] / once, 3),
            "relative_error": row["relative_error"]
            if row["relative_error"] is None
            else round(row["relative_error"], 6),
            "replicas_identical": row["replicas_identical"],
            "median_of": REPEATS,
            "numbers": numbers,
            "cores": os.cpu_count(),
            "foreign_load": round(
                report["foreign_load"], 2
            ),  # of all cores, taken by others: rows with much are noisy
            "threads_per_rank": 1,
            "processor": processor(),
            "torch": torch.__version__,
        }
        for row in report["rows"]
    ]


def processor() -> str:
    """Model, family and number as the kernel tells them; virtual machines often say little more than the maker."""
    told = dict(
        line.split(":", 1)
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        if ":" in line
    )
    told = {key.strip(): value.strip() for key, value in told.items()}
    words = [told.get("model name", platform.machine())]
    words += [f"{key} {told[key]}" for key in ("cpu family", "model") if key in told]
    return " ".join(words)


def check(rows: list[dict[str, Any]]) -> None:
    """What holds on any machine: replicas agree, and codes are as short as they claim."""
    for row in rows:
        if row["method"] == "none":
            continue
        assert row["replicas_identical"], row
        if row["method"] in CODES:
            # A norm of 32 bits per 512 numbers or more, tensors too small to be worth it, headers of packets.
            assert row["bits_per_number"] < int(row["method"].split("-")[1][0]) + 0.25, row


def record(name: str, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """Write rows in place of those of the same link and ranks, and show them."""
    path = RESULTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = list(csv.DictReader(file))
    place = {(str(row["link_mbit"]), str(row["ranks"])) for row in rows}
    kept = [row for row in kept if (row["link_mbit"], row["ranks"]) not in place]
    every = sorted([*kept, *rows], key=lambda row: (int(row["ranks"]), _rate(row["link_mbit"])))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(every)
    with capsys.disabled():
        first = rows[0]
        print(f"\n{first['link_mbit']} Mbit/s, {first['ranks']} ranks, foreign load {first['foreign_load']}")
        for row in rows:
            print(
                f"  {row['method']:18} {row['median_ms']:8.1f} ms (least {row['least_ms']:.1f})  "
                f"{row['sent_megabytes']:7.3f} MB  {row['times_faster_than_float32']:5.2f}x"
            )


def _rate(link: object) -> float:
    return float("inf") if link == "unlimited" else float(str(link))
