"""An edge zone changes a run only where it is asked for, is learned around, and survives a stop and a second rank."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipelines import WindowDataset, ingest, open_store, save_store
from oceanop.checkpoint import Checkpoint, load_checkpoint
from oceanop.config import Run, parse_run, run_to_toml
from oceanop.rollout import rollout
from tests.training.conftest import SPLITS, tiny_run, write_source
from training import train
from training.losses import area_weight, window_loss

CELLS = 2


@pytest.fixture(scope="module")
def driven_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The channel in the midst of itself: its own currents are the parent's."""
    folder = tmp_path_factory.mktemp("driven")
    write_source(folder / "channel.nc")
    source = str(folder / "channel.nc")
    return ingest(source, to=folder / "channel.zarr", boundary=source, splits=SPLITS)


def zone_run(cells: int = CELLS, **training: object) -> Run:
    run = tiny_run(**training).model_dump()
    return parse_run(run | {"data": {"edge_zone": cells}})


@pytest.fixture(scope="module")
def undisturbed(driven_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("zone") / "whole"
    train(zone_run(), driven_store, to)
    return to


def checkpoint(run: Path, name: str = "last") -> Checkpoint:
    return load_checkpoint(run / "checkpoints" / name)


def assert_same_weights(one: Checkpoint, other: Checkpoint) -> None:
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_no_zone_trains_what_it_did_before_there_were_any(
    store: Path, driven_store: Path, tmp_path: Path
) -> None:
    """The same weights, bit for bit, whether a store has boundary values or not, and none of them more."""
    train(tiny_run(steps=3), store, tmp_path / "plain")
    train(zone_run(0, steps=3), driven_store, tmp_path / "zero")
    assert_same_weights(checkpoint(tmp_path / "plain"), checkpoint(tmp_path / "zero"))
    assert "relaxation" not in checkpoint(tmp_path / "zero").weights


def test_a_checkpoint_says_what_its_open_edge_was(
    driven_store: Path, undisturbed: Path, tmp_path: Path
) -> None:
    told = checkpoint(undisturbed).provenance
    assert told["open_boundaries"] == f"driven along {CELLS} cells by uo_boundary, vo_boundary"
    assert '"role": "boundary"' in told["store_attributes"]["sources"]
    train(tiny_run(steps=1), driven_store, tmp_path / "closed")
    assert checkpoint(tmp_path / "closed").provenance["open_boundaries"] == "treated as closed"


def test_a_checkpoint_brings_its_zone_back(undisturbed: Path, driven_store: Path) -> None:
    """Read from the disk it repeats the parent on the edge, whatever its operator says."""
    step = checkpoint(undisturbed, "best").step
    assert step.relaxation is not None
    window = WindowDataset(driven_store, 3, 6, None, checkpoint(undisturbed).layout)[5]
    with torch.no_grad():
        parts = rollout(step, window.history[None], window.forcing[None], horizon=3, leads=6)
        forecast = torch.cat(list(parts), dim=2)[0]
    edge = step.relaxation[0] == 1
    assert torch.equal(forecast[:, :, edge], window.forcing[-2:, 3:][:, :, edge])
    inside = step.relaxation[0] == 0
    assert not torch.equal(forecast[:, :, inside], window.forcing[-2:, 3:][:, :, inside])


def test_a_run_with_a_zone_resumes_bit_for_bit(undisturbed: Path, driven_store: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def progress(words: str, done: int, total: int) -> None:
        if done == 7:
            raise Stop

    with pytest.raises(Stop):
        train(zone_run(), driven_store, tmp_path / "run", progress=progress)
    train(zone_run(), driven_store, tmp_path / "run", resume=True)
    for name in ("last", "best"):
        assert_same_weights(checkpoint(undisturbed, name), checkpoint(tmp_path / "run", name))


def test_resuming_with_another_zone_is_refused(undisturbed: Path, driven_store: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.edge_zone was 2 and is 1\); resume with the same"):
        train(zone_run(1), driven_store, undisturbed, resume=True)


def test_a_zone_without_boundary_values_is_refused_before_the_run_begins(store: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="the store holds no boundary values of uo, vo; ingest it with --boundary"
    ):
        train(zone_run(), store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_prescribed_is_not_learned() -> None:
    relaxation = torch.tensor([[[1.0, 0.25, 0.0]]])
    weight = area_weight(torch.ones(1, 1, 3, dtype=torch.bool), torch.ones(1, 3), relaxation)
    assert weight.flatten().tolist() == [0.0, 0.75, 1.0]
    forecast = torch.zeros(1, 1, 1, 1, 3, requires_grad=True)
    target = torch.tensor([float("nan"), 1.0, 1.0]).reshape(1, 1, 1, 1, 3)
    loss = window_loss(forecast, target, scale=torch.ones(1, 1, 1, 1), weight=weight)
    loss.backward()
    assert loss.item() == 1.0
    assert forecast.grad is not None
    # 2 (0 - 1) times the weight, over their sum of 1.75
    torch.testing.assert_close(forecast.grad.flatten(), torch.tensor([0.0, -1.5, -2.0]) / 1.75)


def test_the_truth_on_the_edge_teaches_nothing(driven_store: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Other truth at the prescribed cells, in the targets alone, leaves the loss of the first step as it was."""
    saved = checkpoint(undisturbed)
    windows = WindowDataset(driven_store, 3, 3, "train", saved.layout)
    window, step = windows[0], saved.step
    assert step.relaxation is not None
    weight = area_weight(windows.wet, torch.from_numpy(windows.grid.cell_area), step.relaxation)
    with torch.no_grad():
        forecast = step(window.history[None], window.forcing[None])
    other = torch.where(step.relaxation[:, None] == 1, window.target + 5, window.target)
    one, two = (
        window_loss(forecast, target[None], scale=step.std, weight=weight)
        for target in (window.target, other)
    )
    assert torch.equal(one, two)


def test_a_missing_boundary_value_in_training_is_told(driven_store: Path, tmp_path: Path) -> None:
    ds = open_store(driven_store).load()
    ds["vo_boundary"][20, -1, -1] = np.nan
    broken = save_store(ds, tmp_path / "broken.zarr", splits=SPLITS)
    with pytest.raises(ValueError, match=r"forcing 'vo_boundary' is missing at 2020-01-01T20:00:00 on 1 of"):
        train(zone_run(), broken, tmp_path / "run")


def test_two_ranks_train_what_one_does(driven_store: Path, tmp_path: Path) -> None:
    run = zone_run(steps=4, batch_size=4)
    train(run, driven_store, tmp_path / "one")
    (tmp_path / "run.toml").write_text(run_to_toml(run))
    words = ["train", str(tmp_path / "run.toml"), "--data", str(driven_store), "--to", str(tmp_path / "two")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As torchrun would start them, without its own start
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "oceanop", *words, "--quiet"],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    told = [rank.communicate(timeout=240)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    one, two = checkpoint(tmp_path / "one").weights, checkpoint(tmp_path / "two").weights
    for name in one:
        # sums in another order, as in the tests of parallel training
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-5)
