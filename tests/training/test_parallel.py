"""Many ranks train what one process trains, end together, and go on after one of them is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_pipelines import WindowDataset, WindowLoader, ingest
from oceanop.checkpoint import load_checkpoint
from oceanop.config import run_to_toml
from tests.training.conftest import SPLITS, write_source
from tests.training.ranks_worker import FAR, LONG, QUANTIZED, Stopped, small_run, stop_at
from training import train
from training.objective import history_noise
from training.parallel import Ranks

ROOT = Path(__file__).resolve().parents[2]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of ranks in /proc")


def torchrun(count: int, *command: str, restarts: int = 0) -> list[str]:
    options = ["--standalone", "--no-python", f"--nproc-per-node={count}", f"--max-restarts={restarts}"]
    return [sys.executable, "-m", "torch.distributed.run", *options, *command]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}


def together(name: str, count: int, stores: dict[str, Path], to: Path) -> list[dict[str, Any]]:
    """What each rank of a scenario of the worker saw."""
    worker = str(ROOT / "tests" / "training" / "ranks_worker.py")
    words = [name, str(stores["same"]), str(stores["shifted"]), str(to)]
    ended = subprocess.run(
        torchrun(count, sys.executable, worker, *words),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads((to / f"rank-{rank}.json").read_text()) for rank in range(count)]


@pytest.fixture(scope="module")
def stores(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shifted")
    write_source(folder / "channel.nc")
    shifted = {**SPLITS, "train": ("2020-01-01T01", "2020-01-02T05")}
    other = ingest([str(folder / "channel.nc")], to=folder / "channel.zarr", splits=shifted)
    return {"same": store, "shifted": other}


@pytest.fixture(scope="module")
def runs(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process, and of two ranks beside them."""
    to = tmp_path_factory.mktemp("two")
    train(small_run(), stores["same"], to / "one")
    train(small_run(accumulation=4), stores["same"], to / "one-accumulated")
    train(small_run(**FAR), stores["same"], to / "one-far")
    with pytest.raises(Stopped):
        train(small_run(), stores["same"], to / "from-one", progress=stop_at(8))
    (to / "told.json").write_text(json.dumps(together("two", 2, stores, to)))
    train(small_run(), stores["same"], to / "for-one", resume=True)
    return to


@pytest.fixture(scope="module")
def told(runs: Path) -> list[dict[str, Any]]:
    return json.loads((runs / "told.json").read_text())


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints" / name).weights


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit, and also all that was logged, but for times."""
    for name in ("last", "best"):
        ours, theirs = weights(a, name), weights(b, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    timed = ("seconds", "samples_per_second", "wait_seconds", "communication_seconds")
    ours, theirs = ([{k: v for k, v in row.items() if k not in timed} for row in rows(run)] for run in (a, b))
    assert ours == theirs


def assert_same_to_rounding(a: Path, b: Path) -> None:
    # Sums in another order part by 2e-7 of a weight in these 12 steps; another window, noise or mean by 1e-2.
    ours, theirs = weights(a), weights(b)
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-5)
    losses, others = ([row["loss"] for row in rows(run) if "loss" in row] for run in (a, b))
    np.testing.assert_allclose(losses, others, rtol=1e-5)
    scores, others = (
        [row["validation"]["all"] for row in rows(run) if "validation" in row] for run in (a, b)
    )
    assert len(scores) == len(others) > 0
    np.testing.assert_allclose(scores, others, rtol=1e-5)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 6])
def test_ranks_share_the_batches_of_one_process(store: Path, world_size: int) -> None:
    dataset = WindowDataset(store, history=3, horizon=3, split="train")
    whole = [batch.start for batch in WindowLoader(dataset, 12, 5)]
    loaders = [WindowLoader(dataset, 12 // world_size, 5, rank, world_size) for rank in range(world_size)]
    parts = [[batch.start for batch in loader] for loader in loaders]
    assert {len(part) for part in parts} == {len(whole)}
    for number, batch in enumerate(whole):
        for rank, part in enumerate(parts):
            assert (part[number] == batch[rank::world_size]).all()


def test_another_number_of_ranks_takes_up_the_order(store: Path) -> None:
    dataset = WindowDataset(store, history=3, horizon=3, split="train")
    one, two = WindowLoader(dataset, 4, 5), WindowLoader(dataset, 2, 5, rank=1, world_size=2)
    first = iter(one)
    next(first)
    two.load_state_dict(one.state_dict())
    assert (next(iter(two)).start == next(first).start[1::2]).all()
    with pytest.raises(ValueError, match="saved loader has batch size 4, this one 8"):
        WindowLoader(dataset, 4, 5, rank=1, world_size=2).load_state_dict(one.state_dict())


def test_each_window_has_its_noise_whoever_draws_it() -> None:
    history = torch.zeros(4, 2, 3, 40, 50)
    draw = {"size": 0.5, "seed": 3, "step": 7}
    whole = history_noise(history, windows=np.arange(4), **draw)
    for rank in (0, 1):
        part = history_noise(history[:2], windows=rank + 2 * np.arange(2), **draw)
        assert torch.equal(part, whole[rank::2])
    # 48,000 numbers: four standard errors of a mean, and of a correlation
    assert whole.mean().abs() < 4 * 0.5 / whole.numel() ** 0.5
    assert whole.std() == pytest.approx(0.5, rel=4 / (2 * whole.numel()) ** 0.5)
    others = [whole[1], history_noise(history[:1], windows=np.arange(1), size=0.5, seed=3, step=8)[0]]
    for other in others:
        correlation = torch.corrcoef(torch.stack([whole[0].flatten(), other.flatten()]))[0, 1]
        assert correlation.abs() < 4 / other.numel() ** 0.5


def test_two_ranks_train_what_one_trains(runs: Path) -> None:
    assert_same_to_rounding(runs / "whole", runs / "one")


def test_a_batch_taken_in_parts_is_the_batch(runs: Path) -> None:
    assert_same_to_rounding(runs / "one-accumulated", runs / "one")
    assert_same_to_rounding(runs / "accumulated", runs / "one")


def test_a_run_goes_on_with_another_number_of_ranks(runs: Path) -> None:
    assert_same_to_rounding(runs / "from-one", runs / "one")
    assert_same_to_rounding(runs / "for-one", runs / "one")


def test_long_horizons_are_those_of_one_process(runs: Path) -> None:
    assert_same_to_rounding(runs / "far", runs / "one-far")
    assert_same_to_rounding(runs / "far-accumulated", runs / "one-far")


def test_all_ranks_end_early_together(runs: Path, told: list[dict[str, Any]]) -> None:
    assert [each["waited"] for each in told] == [[12, 12], [12, 12]]
    assert rows(runs / "still")[-1]["stopped"].startswith("no validation error below")


def test_two_ranks_resume_bit_for_bit(runs: Path) -> None:
    assert_same(runs / "resumed", runs / "long")


def test_quantized_gradients_resume_bit_for_bit_and_are_fewer_bytes(runs: Path) -> None:
    assert_same(runs / "quantized-resumed", runs / "quantized")
    sent = [row["bytes_sent"] for row in rows(runs / "quantized") if "loss" in row]
    assert sent[0] == sent[2] > 2 * sent[3] == 2 * sent[-1] > 0  # three steps in float32 first


def test_the_log_tells_effective_bits_and_what_codes_lose_of_a_mode(runs: Path) -> None:
    steps = [row for row in rows(runs / "quantized") if "loss" in row]
    assert all(32 <= row["effective_bits"] < 32.1 for row in steps[:3])  # padding of small tensors
    # 4 bits up and 8 down are 6; norms, and in so small a model the tensors that stay float32, are the rest
    assert all(6 < row["effective_bits"] < 16 for row in steps[3:])
    told = [row["mode_error"] for row in steps if "mode_error" in row]
    assert told
    for error in told:  # four adapted bits lose some hundredths; one lost mode would be 1
        assert 0 < error["median"] < error["p90"] < 0.2
    assert not any("mode_error" in row for row in rows(runs / "whole"))


def test_ranks_hold_the_same_weights_and_scores(told: list[dict[str, Any]]) -> None:
    for name in ("weights", "scores", "quantized weights"):
        assert told[0][name] == told[1][name]


def test_the_log_tells_what_ranks_exchange(runs: Path) -> None:
    steps = [row for row in rows(runs / "whole") if "loss" in row]
    parameters = load_checkpoint(runs / "whole" / "checkpoints" / "last").parameters
    # each number once to be summed and once as the mean, for half of them each; up to one number of padding a bucket
    for row in steps:
        assert 4 * parameters <= row["bytes_sent"] <= 4 * parameters + 64
        assert 0 < row["communication_seconds"] < row["seconds"]
    alone = [row for row in rows(runs / "one") if "loss" in row]
    assert {row["bytes_sent"] for row in alone} == {0}
    assert not any("communication_seconds" in row for row in alone)


REFUSALS = {
    "uneven batch": r"training\.batch_size is 3, .* 2 ranks cannot share them evenly; choose a multiple of 2",
    "uneven parts": r"training\.accumulation is 2, and each of 2 ranks takes 3 of the 6 windows",
    "folder in use": r"whole: holds a run already; continue it with --resume",
    "store of one missing": r"^on rank 1: .*missing\.zarr.* does not exist",
    "other store": r"^the ranks do not agree: .*the store's splits is \w+ on rank 0, \w+ on rank 1",
    "other seed": r"^the ranks do not agree: training\.seed is 0 on rank 0, 1 on rank 1\. Start all of them",
    "other step": r"^the ranks do not agree: the step to go on from is 6 on rank 0, 0 on rank 1\.",
    "restart in another's folder": r"for-one: holds a run already; continue it with --resume",
    "bad on one rank": r"^step 4: the loss is nan; training cannot go on",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_all_ranks_are_refused_together_and_one_tells(told: list[dict[str, Any]], name: str) -> None:
    ends = [each[name] for each in told]
    assert [end["kind"] for end in ends] == ["AgreedError", "AgreedError"]
    assert [end["silent"] for end in ends] == [False, True]
    assert ends[0]["words"] == ends[1]["words"]
    assert re.search(REFUSALS[name], ends[0]["words"]), ends[0]["words"]


def test_refused_ranks_leave_no_folder(told: list[dict[str, Any]]) -> None:
    assert not any(each["refused folder"] for each in told)


def test_an_interrupt_of_one_rank_stops_all_at_the_same_step(told: list[dict[str, Any]]) -> None:
    assert [each["interrupt"]["kind"] for each in told] == ["KeyboardInterrupt"] * 2
    assert [each["interrupted at"] for each in told] == [5, 5]  # the signal came after step 4


@pytest.mark.slow
def test_three_ranks_train_what_one_trains_and_resume_bit_for_bit(
    stores: dict[str, Path], tmp_path: Path
) -> None:
    told = together("three", 3, stores, tmp_path)
    train(small_run(batch_size=6, validate_every=6), stores["same"], tmp_path / "one")
    assert_same_to_rounding(tmp_path / "whole", tmp_path / "one")
    assert_same(tmp_path / "resumed", tmp_path / "whole")
    assert told[0]["weights"] == told[1]["weights"] == told[2]["weights"]
    assert told[0]["scores"] == told[1]["scores"] == told[2]["scores"]
    words = told[0]["other seed on the last"]["words"]
    assert "training.seed is 0 on ranks 0-1, 1 on rank 2." in words


SHELL = """
trap : TERM  # torchrun ends a rank's shell too; it is to tell how the command ended
train="-m oceanop train $RUN --data $STORE"
ended() { echo "$1: rank $RANK ended with $?" >&2; }
"""


def shell(script: str, **variables: object) -> dict[str, Any]:
    names = {name: str(value) for name, value in variables.items()}
    return {"args": ["sh", "-c", SHELL + script], "env": {**environment(), "PYTHON": sys.executable, **names}}


def test_the_command_tells_once_and_ends_with_its_code(store: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(run_to_toml(small_run(steps=100_000)))
    script = """
    "$PYTHON" $train --to "$TO/a" --set training.seed=$RANK; ended disagree
    "$PYTHON" $train --to "$TO/b" & pid=$!
    while [ $RANK = 1 ] && ! [ -e "$TO/b/checkpoints/last" ]; do sleep 0.1; done
    [ $RANK = 0 ] || kill -TERM $pid
    wait $pid; ended interrupt
    """
    command = shell(script, RUN=tmp_path / "run.toml", STORE=store, TO=tmp_path)
    done = subprocess.run(
        torchrun(2, *command["args"]), env=command["env"], capture_output=True, text=True, timeout=240
    )
    for name, code in (("disagree", 2), ("interrupt", 130)):
        for rank in (0, 1):
            assert f"{name}: rank {rank} ended with {code}" in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("oceanop: ")]
    assert len(said) == 2, done.stderr
    assert said[0].startswith("oceanop: the ranks do not agree: training.seed is 0 on rank 0, 1 on rank 1.")
    assert said[1].startswith("oceanop: interrupted; ")
    assert "Traceback" not in done.stderr


def rank_process(launcher: int, rank: int) -> int | None:
    """The process that a rank's shell waits for, among all below a torchrun."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name stands in brackets and may hold anything
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below, found = {launcher}, None
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    for pid in below - {parents[pid] for pid in below}:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in words and b"oceanop" in command:
            found = pid
    return found


@LINUX
@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_ranks_go_on_after_one_is_killed_as_if_it_had_not_been(
    runs: Path, store: Path, tmp_path: Path, killed: int
) -> None:
    (tmp_path / "run.toml").write_text(run_to_toml(small_run(**LONG)))
    to, log = tmp_path / "run", tmp_path / "run" / "metrics.jsonl"
    script = '"$PYTHON" $train --to "$TO"; code=$?; (exit $code); ended train; exit $code'
    command = shell(script, RUN=tmp_path / "run.toml", STORE=store, TO=to)
    with (tmp_path / "output").open("w") as output:
        launcher = subprocess.Popen(
            torchrun(2, *command["args"], restarts=1),
            env=command["env"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 120
            while not (log.exists() and log.read_text().count("\n") >= 10):
                assert time.monotonic() < deadline
                assert launcher.poll() is None
                time.sleep(0.001)
            pid = rank_process(launcher.pid, killed)
            assert pid is not None, "the run ended before it could be killed"
            os.kill(pid, signal.SIGKILL)
            assert launcher.wait(120) == 0
        finally:
            launcher.kill()
    said = (tmp_path / "output").read_text()
    assert f"train: rank {killed} ended with 137" in said, said
    assert f"train: rank {1 - killed} ended with 1\n" in said
    assert f"oceanop: rank {1 - killed}: a peer was lost at step " in said
    assert f"the last checkpoint is {to / 'checkpoints' / 'last'}, from which --resume goes on" in said
    assert "Traceback" not in said
    assert said.count(f"{to}/checkpoints/best\n") == 1
    assert_same(to, runs / "long")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Ranks().on("auto").device == Ranks().on("cpu").device == torch.device("cpu")
    with pytest.raises(
        ValueError, match="'cuda', and torch finds no CUDA device here; choose 'cpu' or 'auto'"
    ):
        Ranks().on("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"rank 2 is number 3 on a machine with 2 CUDA devices"):
        Ranks(rank=2, world_size=3, local_rank=2).on("auto")


def test_a_preset_with_compression_trains_in_one_process(store: Path, tmp_path: Path) -> None:
    train(small_run(steps=2, **QUANTIZED), store, tmp_path / "run")
    assert [row["bytes_sent"] for row in rows(tmp_path / "run") if "loss" in row] == [0, 0]


def test_bfloat16_changes_the_loss_by_its_rounding_alone(store: Path, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        train(small_run(steps=2, precision=precision), store, tmp_path / precision)
    exact, rounded = (rows(tmp_path / name)[0]["loss"] for name in ("float32", "bfloat16"))
    # 8 significant bits: 2^-9 in a number, and a few layers of them
    assert 0 < abs(rounded - exact) < 2e-2 * exact
    held = load_checkpoint(tmp_path / "bfloat16" / "checkpoints" / "last").weights
    assert torch.bfloat16 not in {value.dtype for value in held.values()}
