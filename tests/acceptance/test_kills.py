"""Killed at random moments, again and again, a run still ends with the weights of one that never was."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from oceanop.checkpoint import load_checkpoint
from tests.acceptance.conftest import QUICK

KILLS = 6


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["norkyst-fno", "norkyst-fnotd"])
def test_random_kills_leave_no_trace_in_the_weights(store: Path, tmp_path: Path, preset: str) -> None:
    words = [
        "--data",
        str(store),
        *QUICK,
        "--set",
        "training.steps=600",
        "--set",
        "training.checkpoint_every=7",
    ]

    def command(to: Path) -> list[str]:
        return [
            sys.executable,
            "-m",
            "oceanop",
            "train",
            preset,
            "--to",
            str(to),
            "--resume",
            "--quiet",
            *words,
        ]

    subprocess.run(command(tmp_path / "whole"), check=True)
    chance = random.Random(0)
    log = tmp_path / "killed" / "metrics.jsonl"
    for _ in range(KILLS):
        steps_to_go = chance.randint(10, 90)  # less than a KILLS-th of the run: it never ends by itself
        reached = _steps(log) + steps_to_go
        process = subprocess.Popen(command(tmp_path / "killed"))
        while _steps(log) < reached:
            assert process.poll() is None
            time.sleep(chance.uniform(0.0, 0.01))  # wherever it is then: in a step, in a write, in a rename
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command(tmp_path / "killed"), check=True)
    for name in ("last", "best"):
        a, b = (load_checkpoint(tmp_path / run / "checkpoints" / name).weights for run in ("whole", "killed"))
        assert all(torch.equal(a[key], b[key]) for key in a)
    logs = [(tmp_path / run / "metrics.jsonl").read_text().count('"loss"') for run in ("whole", "killed")]
    assert logs == [600, 600]


def _steps(log: Path) -> int:
    return log.read_text().count('"loss"') if log.exists() else 0
