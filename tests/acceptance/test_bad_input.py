"""Bad input by the command: one sentence on stderr, exit code 2, nothing lost."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines import sample_paths
from oceanop.checkpoint import load_checkpoint
from tests.acceptance.conftest import QUICK, Command


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr says besides progress: exactly one line, no traceback."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("oceanop: ")]
    assert len(lines) == 1
    assert lines[0].rstrip().endswith(".")
    return lines[0].removeprefix("oceanop: ")


@pytest.fixture
def ocean(tmp_path: Path) -> Path:
    """A copy of the shipped currents, to be spoilt."""
    path = tmp_path / "ocean.nc"
    shutil.copy(sample_paths().ocean, path)
    return path


def test_no_such_file(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ingest", tmp_path / "none.nc", "--to", tmp_path / "a.zarr") == 2
    words = sentence(capsys)
    assert "none.nc" in words
    assert "no such file" in words.lower()
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("content", [b"", b"time,u,v\n0,1,2\n", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_not_a_netcdf_file(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "table.nc").write_bytes(content)
    assert command("ingest", tmp_path / "table.nc", "--to", tmp_path / "a.zarr") == 2
    words = sentence(capsys)
    assert "table.nc" in words
    assert "NetCDF" in words


def test_a_variable_missing(
    command: Command, ocean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("ingest", ocean, "--to", tmp_path / "a.zarr", "--variables", "uo,vo,zos") == 2
    words = sentence(capsys)
    assert "'zos'" in words
    assert "uo, vo" in words


def test_one_time_step_only(
    command: Command, ocean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One state may be stored, and looked at; nothing can be learned from it.
    with xr.open_dataset(ocean, decode_cf=False) as ds:
        ds.isel(time=slice(0, 1)).load().to_netcdf(tmp_path / "one.nc")
    store = tmp_path / "one.zarr"
    assert command("ingest", tmp_path / "one.nc", "--coarsen", 10, "--to", store) == 0
    assert command("inspect", store) == 0
    capsys.readouterr()
    words = ("--data", store, "--to", tmp_path / "run", "--set", "data.forcing=[]")
    assert command("train", "norkyst-fno", *words) == 2
    told = sentence(capsys)
    assert "one.zarr" in told
    assert "12 steps" in told
    assert not (tmp_path / "run").exists()


def test_duplicate_times(
    command: Command, ocean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with netCDF4.Dataset(ocean, "a") as file:
        file["time"][5] = file["time"][4]
    assert command("ingest", ocean, "--to", tmp_path / "a.zarr") == 2
    words = sentence(capsys)
    assert "ocean.nc" in words
    assert "2015-11-16T04:00" in words


def test_an_unknown_run_key(
    command: Command, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data", store, "--to", tmp_path / "run", "--set", "training.stepz=3")
    assert command("train", "norkyst-fno", *words) == 2
    assert "unknown key 'training.stepz'" in sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_grid(
    command: Command,
    checkpoints: dict[str, Path],
    ocean: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = tmp_path / "other.zarr"
    assert command("ingest", ocean, "--forcing", sample_paths().wind, "--coarsen", 20, "--to", other) == 0
    capsys.readouterr()
    words = ("--data", other, "--start", "2015-11-17T21", "--leads", 3, "--to", tmp_path / "f.nc")
    assert command("forecast", checkpoints["norkyst-fno"], *words) == 2
    told = sentence(capsys)
    assert "20 x 30" in told
    assert "10 x 15" in told
    assert not (tmp_path / "f.nc").exists()


@pytest.mark.parametrize(
    "start", ["2015-11-20T00", "2015-11-15T00", "2015-11-16T02", "2015-11-17T21:30", "noon"]
)
def test_a_start_that_cannot_be(
    command: Command,
    store: Path,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    start: str,
) -> None:
    words = ("--data", store, "--start", start, "--leads", 3, "--to", tmp_path / "f.nc")
    assert command("forecast", checkpoints["norkyst-fno"], *words) == 2
    assert start[:10] in sentence(capsys)
    assert not (tmp_path / "f.nc").exists()


def test_forcing_that_ends_before_the_last_lead(
    command: Command,
    store: Path,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--data", store, "--start", "2015-11-17T21", "--leads", 22, "--to", tmp_path / "f.nc")
    assert command("forecast", checkpoints["norkyst-fno"], *words) == 2
    told = sentence(capsys)
    assert "2015-11-18T18:00" in told
    assert "21" in told


def test_wind_that_ends_before_the_ocean(
    command: Command, ocean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with xr.open_dataset(sample_paths().wind, decode_cf=False) as ds:
        ds.isel(time=slice(0, 40)).load().to_netcdf(tmp_path / "wind.nc")
    assert command("ingest", ocean, "--forcing", tmp_path / "wind.nc", "--to", tmp_path / "a.zarr") == 2
    told = sentence(capsys)
    assert "wind.nc" in told
    assert "2015-11-17T15:00" in told


def test_a_store_that_was_never_finished(
    command: Command, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.zarr"
    shutil.copytree(store, half)
    text = (half / "zarr.json").read_text()
    assert '"complete": true' in text
    (half / "zarr.json").write_text(text.replace('"complete": true', '"complete": false'))
    assert command("train", "norkyst-fno", "--data", half, "--to", tmp_path / "run", *QUICK) == 2
    told = sentence(capsys)
    assert "half.zarr" in told
    assert command("inspect", half) == 0


def test_truth_on_another_grid(
    command: Command, forecast_file: Path, ocean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.zarr"
    assert command("ingest", ocean, "--coarsen", 20, "--to", other) == 0
    capsys.readouterr()
    assert command("evaluate", forecast_file, "--truth", other, "--to", tmp_path / "report") == 2
    assert "grid" in sentence(capsys)


def test_a_second_ingest_over_another_store_loses_nothing(
    command: Command, store: Path, ocean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = xr.open_zarr(store)["uo"].to_numpy()
    assert command("ingest", ocean, "--coarsen", 20, "--to", store) == 2
    assert "sea.zarr" in sentence(capsys)
    np.testing.assert_array_equal(xr.open_zarr(store)["uo"].to_numpy(), before)


def test_the_installed_command_exits_with_two_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oceanop", "inspect", str(tmp_path / "none.nc")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("oceanop: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_debug_shows_the_traceback(command: Command, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        command("inspect", tmp_path / "none.nc", "--debug")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["map", "--frobnicate"], "no such option: --frobnicate"),
        (["frobnicate"], "no such command 'frobnicate'"),
        (["train"], "missing argument"),
        (["demo", "--seeds", "0"], "invalid value for '--seeds'"),
        (
            ["ingest", "a.nc", "--to", "a.zarr", "--region", "4,6,59"],
            "expected four numbers west,east,south,north",
        ),
        (["ingest", "a.nc", "--to", "a.zarr", "--split", "train"], "expected name=start/end"),
        (["combine", "best", "--to", "f.nc"], "a forecaster is written as .toml, not '.nc'"),
        (["combine", "best", "--to", "f.toml"], "best: no such file; expected a checkpoint"),
        (["combine", "best", "--short", "one", "--to", "f.toml"], "--short needs --data store"),
        (
            ["combine", "best", "--data", "sea.zarr", "--leads", "3", "--to", "f.toml"],
            "--data, --leads are about the shares of the first leads, and without --short there are none",
        ),
    ],
)
def test_words_that_make_no_sense_are_named(
    command: Command, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert command(*words) == 2
    assert told in sentence(capsys).lower()


def test_operators_that_know_the_hours_by_heart_get_no_shares_there(
    command: Command,
    store: Path,
    checkpoints: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--short", checkpoints["norkyst-fno"], "--data", store, "--to", tmp_path / "f.toml"]
    assert command("combine", checkpoints["norkyst-fnotd"], *words) == 2
    told = sentence(capsys)
    assert "was fitted on 17 of the 17 times of the split 'validation'" in told
    assert "give a split that it has not learned from" in told
    assert not (tmp_path / "f.toml").exists()


@pytest.mark.parametrize(
    "verb", ["ingest", "inspect", "train", "combine", "forecast", "evaluate", "map", "demo"]
)
def test_every_verb_explains_itself_with_an_example(
    command: Command, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert command(verb, "--help") == 0
    assert f"Example: oceanop {verb}" in capsys.readouterr().out


def test_an_interrupt_ends_with_130_and_the_run_resumes(store: Path, tmp_path: Path) -> None:
    to = tmp_path / "run"
    words = ["train", "norkyst-fno", "--data", str(store), "--to", str(to), *QUICK]
    words += ["--set", "training.checkpoint_every=1", "--set", "training.steps=500"]
    command = [sys.executable, "-m", "oceanop", *words]
    # A shell starts its background jobs deaf to SIGINT, and children inherit that: this one shall hear.
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (to / "checkpoints" / "last").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert load_checkpoint(to / "checkpoints" / "last").steps >= 1
