"""A run learns, can be stopped anywhere, and says what is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipelines import WindowDataset, ingest, open_store, save_store
from oceanop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import run_to_toml
from oceanop.rollout import rollout
from tests.training.conftest import SPLITS, tiny_run, write_source
from training import train


class _StopError(Exception):
    pass


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    return a.weights.keys() == b.weights.keys() and all(
        torch.equal(a.weights[k], b.weights[k]) for k in a.weights
    )


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("run") / "whole"
    train(tiny_run(), store, to)
    return to


def test_the_same_seed_gives_the_same_weights(store: Path, undisturbed: Path, tmp_path: Path) -> None:
    train(tiny_run(), store, tmp_path / "again")
    for name in ("last", "best"):
        again = load_checkpoint(tmp_path / "again" / "checkpoints" / name)
        assert same_weights(load_checkpoint(undisturbed / "checkpoints" / name), again)
    train(tiny_run(seed=1), store, tmp_path / "other")
    other = load_checkpoint(tmp_path / "other" / "checkpoints" / "last")
    assert not same_weights(load_checkpoint(undisturbed / "checkpoints" / "last"), other)


# before the first checkpoint, on one, between two, at the turn to two windows, at the last step
@pytest.mark.parametrize("stopped_at", [1, 3, 5, 6, 7, 11])
def test_a_resumed_run_ends_as_if_never_stopped(
    store: Path, undisturbed: Path, tmp_path: Path, stopped_at: int
) -> None:
    def stop(words: str, done: int, total: int) -> None:
        if done == stopped_at:
            raise _StopError

    with pytest.raises(_StopError):
        train(tiny_run(), store, tmp_path / "run", progress=stop)
    train(tiny_run(), store, tmp_path / "run", resume=True)
    for name in ("last", "best"):
        resumed = load_checkpoint(tmp_path / "run" / "checkpoints" / name)
        assert same_weights(load_checkpoint(undisturbed / "checkpoints" / name), resumed)
    timed = ("seconds", "samples_per_second", "wait_seconds")
    ours, theirs = (
        [{k: v for k, v in row.items() if k not in timed} for row in rows(run)]
        for run in (tmp_path / "run", undisturbed)
    )
    assert ours == theirs


@pytest.mark.parametrize("fit", [["train"], ["train", "validation"]], ids=" and ".join)
def test_a_stop_after_any_save_loses_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: list[str]
) -> None:
    run = tiny_run(steps=6, validate_every=2 if fit == ["train"] else None)
    run = run.model_copy(update={"data": run.data.model_copy(update={"fit": fit})})
    saves: list[Path] = []

    def save_and_stop(path: Path, checkpoint: Checkpoint) -> None:
        save_checkpoint(path, checkpoint)
        saves.append(path)
        if len(saves) == stop_after:
            raise _StopError

    monkeypatch.setattr("training.trainer.save_checkpoint", save_and_stop)
    stop_after = 0
    train(run, store, tmp_path / "whole")
    total = len(saves)
    assert total >= 3
    for stop_after in range(1, total + 1):
        saves.clear()
        to = tmp_path / f"stopped-{stop_after}"
        with pytest.raises(_StopError):
            train(run, store, to)
        saves.clear()
        stopped, stop_after = stop_after, 0
        best = train(run, store, to, resume=True)
        assert same_weights(
            load_checkpoint(tmp_path / "whole" / "checkpoints" / "best"), load_checkpoint(best)
        )
        last = load_checkpoint(to / "checkpoints" / "last")
        assert same_weights(load_checkpoint(tmp_path / "whole" / "checkpoints" / "last"), last), stopped


def test_a_killed_process_resumes_bit_for_bit(store: Path, undisturbed: Path, tmp_path: Path) -> None:
    run, to = tmp_path / "run.toml", tmp_path / "run"
    run.write_text(run_to_toml(tiny_run()))
    command = [
        sys.executable,
        "-m",
        "oceanop",
        "train",
        str(run),
        "--data",
        str(store),
        "--to",
        str(to),
        "--quiet",
    ]
    process = subprocess.Popen(command)
    log = to / "metrics.jsonl"
    deadline = time.monotonic() + 120
    # Kill as soon as some steps are logged, wherever the process is then: in a step, in a write.
    while not (log.exists() and log.read_text().count("\n") >= 5) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run([*command, "--resume"], check=True, timeout=120)
    for name in ("last", "best"):
        resumed = load_checkpoint(to / "checkpoints" / name)
        assert same_weights(load_checkpoint(undisturbed / "checkpoints" / name), resumed)


def test_a_store_too_large_for_memory_trains_the_same_network(
    store: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, although its batches are decoded, read by threads ahead of the steps, and stopped among them."""
    monkeypatch.setattr("data_pipelines.dataset.MEMORY_LIMIT", 0)
    compact = save_store(open_store(store), tmp_path / "compact.zarr", splits=SPLITS, profile="compact")
    run = tiny_run()
    run = run.model_copy(update={"data": run.data.model_copy(update={"cache": str(tmp_path / "cache")})})

    def stop(words: str, done: int, total: int) -> None:
        if done == 5:
            raise _StopError

    with pytest.raises(_StopError):
        train(run, compact, tmp_path / "run", progress=stop)
    train(run, compact, tmp_path / "run", resume=True)
    ours, theirs = (load_checkpoint(run / "checkpoints" / "last") for run in (tmp_path / "run", undisturbed))
    assert same_weights(ours, theirs)
    assert len(list((tmp_path / "cache").glob("compact.zarr-?o-*/zarr.json"))) == 2


def test_resuming_a_finished_run_changes_nothing(store: Path, undisturbed: Path) -> None:
    before = (undisturbed / "checkpoints" / "last").read_bytes()
    train(tiny_run(), store, undisturbed, resume=True)
    assert (undisturbed / "checkpoints" / "last").read_bytes() == before


def test_the_log_has_a_row_a_step_and_validation_in_physical_units(undisturbed: Path) -> None:
    steps = [row for row in rows(undisturbed) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    assert {"epoch", "loss", "lr", "samples_per_second", "bytes_sent", "seconds"} <= steps[0].keys()
    assert all(0 < row["wait_seconds"] < 60 for row in steps)
    assert [row["windows"] for row in steps] == [1] * 6 + [2] * 6
    validations = [row for row in rows(undisturbed) if "validation" in row]
    assert [row["step"] for row in validations] == [4, 8, 12]
    scores = validations[-1]["validation"]
    assert set(scores) == {"uo", "vo", "all", "roughness", "starts"}
    assert list(scores["uo"]) == ["1", "2", "3", "4", "5", "6"]
    # the wave is 0.3 m/s: an untrained network is about as wrong as the wave is high
    assert 0 < scores["uo"]["6"] < 1.0


def test_best_is_the_lowest_validation_error(undisturbed: Path) -> None:
    validations = [
        (row["validation"]["all"], row["step"]) for row in rows(undisturbed) if "validation" in row
    ]
    assert load_checkpoint(undisturbed / "checkpoints" / "best").steps == min(validations)[1]


def test_a_travelling_wave_is_learned(store: Path, tmp_path: Path) -> None:
    run = tiny_run(steps=250, warmup_steps=10, noise=0.02, validate_every=250, checkpoint_every=250)
    step = load_checkpoint(train(run, store, tmp_path / "run")).step
    # Six hours are half a period: persistence is then wrong by twice the wave.
    window = WindowDataset(store, history=3, horizon=6, split="validation")[0]
    with torch.no_grad():
        parts = rollout(step, window.history[None], window.forcing[None], horizon=3, leads=6)
        error = torch.cat(list(parts), dim=2)[0] - window.target
    persistence = window.history[:, -1:] - window.target
    assert error.square().mean().sqrt() < 0.15 * persistence.square().mean().sqrt()


def test_a_run_fitted_on_validation_selects_nothing_on_it(store: Path, tmp_path: Path) -> None:
    run = tiny_run(steps=4, validate_every=None)
    run = run.model_copy(update={"data": run.data.model_copy(update={"fit": ["train", "validation"]})})
    best = train(run, store, tmp_path / "run")
    assert load_checkpoint(best).steps == 4
    assert not any("validation" in row for row in rows(tmp_path / "run"))


def test_a_folder_with_a_run_is_not_overwritten(store: Path, undisturbed: Path) -> None:
    with pytest.raises(ValueError, match="holds a run already; continue it with --resume"):
        train(tiny_run(), store, undisturbed)


def test_resuming_with_other_settings_names_them(store: Path, undisturbed: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.seed was 0 and is 3\); resume with the same"):
        train(tiny_run(seed=3), store, undisturbed, resume=True)


def test_resuming_on_another_grid_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    write_source(tmp_path / "other.nc", rows=7)
    other = ingest([str(tmp_path / "other.nc")], to=tmp_path / "other.zarr", splits=SPLITS)
    with pytest.raises(ValueError, match=r"begun on another grid \(6 x 12\)"):
        train(tiny_run(), other, undisturbed, resume=True)


def test_resuming_on_another_store_is_refused(store: Path, undisturbed: Path, tmp_path: Path) -> None:
    write_source(tmp_path / "channel.nc")
    shifted = {**SPLITS, "train": ("2020-01-01T01", "2020-01-02T05")}
    other = ingest([str(tmp_path / "channel.nc")], to=tmp_path / "other.zarr", splits=shifted)
    with pytest.raises(
        ValueError, match=r"was begun on channel\.zarr, whose .* are not those of .*other\.zarr"
    ):
        train(tiny_run(), other, undisturbed, resume=True)


def test_other_settings_are_refused_before_the_first_checkpoint_too(store: Path, tmp_path: Path) -> None:
    def stop(words: str, done: int, total: int) -> None:
        raise _StopError

    with pytest.raises(_StopError):
        train(tiny_run(), store, tmp_path / "run", progress=stop)
    assert not (tmp_path / "run" / "checkpoints" / "last").exists()
    with pytest.raises(ValueError, match=r"training\.steps was 12 and is 13"):
        train(tiny_run(steps=13), store, tmp_path / "run", resume=True)


def test_a_kill_while_the_settings_are_written_does_not_block_the_folder(
    store: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise _StopError

    with monkeypatch.context() as patch:
        # as if killed half way through the text: what lies there is a partial file, never a torn run.toml
        patch.setattr("training.folder.run_to_toml", lambda run: "[mod")
        patch.setattr("training.folder.os.replace", killed)
        with pytest.raises(_StopError):
            train(tiny_run(), store, tmp_path / "run")
    assert not (tmp_path / "run" / "run.toml").exists()
    train(tiny_run(), store, tmp_path / "run", resume=True)
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / "best")
    assert same_weights(load_checkpoint(undisturbed / "checkpoints" / "best"), best)


def test_a_validation_period_too_short_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"split validation holds 12 steps .* 3 past steps and 10 to forecast"
    ):
        train(tiny_run(validation_leads=10), store, tmp_path / "run")


def test_a_store_too_short_for_a_window_is_refused(store: Path, tmp_path: Path) -> None:
    run = tiny_run()
    run = run.model_copy(update={"model": run.model.model_copy(update={"history": 40})})
    with pytest.raises(ValueError, match="40"):
        train(run, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_diverging_run_stops_with_a_sentence_and_keeps_its_last_state(store: Path, tmp_path: Path) -> None:
    run = tiny_run(learning_rate=1e30, warmup_steps=0, gradient_clip=1e30)
    with pytest.raises(ValueError, match=r"step \d+: the (loss|gradient) is .*Lower training.learning_rate"):
        train(run, store, tmp_path / "run")


def test_ranks_that_cannot_find_each_other_are_told_how_to_start(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        ValueError, match=r"WORLD_SIZE is 2, but .* there is no RANK, .*'torchrun --no-python"
    ):
        train(tiny_run(), store, tmp_path / "run")


def test_what_land_holds_does_not_matter(store: Path, undisturbed: Path) -> None:
    checkpoint = load_checkpoint(undisturbed / "checkpoints" / "last")
    window = WindowDataset(store, history=3, horizon=3, split="train")[0]
    wet = checkpoint.weights["wet"][:, None]
    junk = torch.where(wet, window.history, np.nan)
    with torch.no_grad():
        clean = checkpoint.step(window.history[None], window.forcing[None])
        dirty = checkpoint.step(junk[None], window.forcing[None])
    assert torch.equal(clean, dirty)
