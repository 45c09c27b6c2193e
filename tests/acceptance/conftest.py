"""The shipped sample on a coarse grid, and a few steps of training on it: the command's own way, once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_pipelines import sample_paths
from oceanop.cli import main

QUICK = [
    "--set",
    "training.steps=6",
    "--set",
    "training.threads=1",
    "--set",
    "model.width=8",
    "--set",
    "model.layers=2",
]
SPLITS = [
    *("--split", "train=2015-11-16T00/2015-11-17T04"),
    *("--split", "validation=2015-11-17T05/2015-11-17T21"),
    *("--split", "test=2015-11-17T22/2015-11-18T18"),
]

Command = Callable[..., int]


@pytest.fixture(scope="session")
def command() -> Command:
    """Run ``oceanop`` in this process with the given words; its exit code."""

    def run(*words: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["oceanop", *(str(word) for word in words)])
            with pytest.raises(SystemExit) as stopped:
                main()
        code = stopped.value.code
        assert isinstance(code, int)
        return code

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acceptance")


@pytest.fixture(scope="session")
def store(command: Command, folder: Path) -> Path:
    sample = sample_paths()
    path = folder / "sea.zarr"
    assert (
        command("ingest", sample.ocean, "--forcing", sample.wind, "--coarsen", 10, "--to", path, *SPLITS) == 0
    )
    return path


@pytest.fixture(scope="session")
def checkpoints(command: Command, store: Path, folder: Path) -> dict[str, Path]:
    best = {}
    for preset in ("norkyst-fno", "norkyst-fnotd"):
        assert command("train", preset, "--data", store, "--to", folder / preset, *QUICK) == 0
        best[preset] = folder / preset / "checkpoints" / "best"
    return best


@pytest.fixture(scope="session")
def forecast_file(command: Command, store: Path, checkpoints: dict[str, Path], folder: Path) -> Path:
    path = folder / "fnotd.nc"
    words = ("--data", store, "--start", "2015-11-17T21", "--leads", 21, "--to", path)
    assert command("forecast", checkpoints["norkyst-fnotd"], *words) == 0
    return path
