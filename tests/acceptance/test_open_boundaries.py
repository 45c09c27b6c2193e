"""A domain cut out of the shipped sea, driven by a coarser model around it: the command's own way, once."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import sample_paths
from oceanop.checkpoint import load_checkpoint
from tests.acceptance.conftest import QUICK, SPLITS, Command

REGION = "3.5,5.5,59.4,60.6"
CELLS = 3


@pytest.fixture(scope="module")
def regional(command: Command, folder: Path) -> Path:
    """Blocks of 4 cells, driven by the same sea in blocks of 8."""
    sample, to, region = sample_paths(), folder / "regional.zarr", ("--region", REGION)
    assert command("ingest", sample.ocean, "--coarsen", 8, "--to", folder / "parent.zarr") == 0
    words = ("--forcing", sample.wind, "--boundary", folder / "parent.zarr", "--coarsen", 4, *region)
    assert command("ingest", sample.ocean, *words, "--to", to, *SPLITS) == 0
    return to


@pytest.fixture(scope="module")
def best(command: Command, regional: Path, folder: Path) -> Path:
    zone = ("--set", f"data.edge_zone={CELLS}")
    assert (
        command("train", "norkyst-fnotd", "--data", regional, "--to", folder / "driven", *QUICK, *zone) == 0
    )
    return folder / "driven" / "checkpoints" / "best"


def test_a_driven_domain_is_trained_forecast_and_evaluated(
    command: Command, regional: Path, best: Path, tmp_path: Path
) -> None:
    assert load_checkpoint(best).provenance["open_boundaries"].startswith(f"driven along {CELLS} cells")
    words = ("--data", regional, "--start", "2015-11-17T21", "--leads", 2, "--to", tmp_path / "driven.nc")
    assert command("forecast", best, *words) == 0
    with xr.open_dataset(tmp_path / "driven.nc") as ds:
        assert ds.attrs["edge_zone"] == CELLS
        assert json.loads(ds.attrs["boundary_parent"])[0]["name"] == "parent.zarr"
    words = ("--truth", regional, "--baseline", "persistence", "--to", tmp_path / "report")
    assert command("evaluate", tmp_path / "driven.nc", *words) == 0
    with (tmp_path / "report" / "scores.csv").open() as file:
        values = [float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "rmse"]
    assert np.isfinite(values).all()
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "on the open edge, which a parent model prescribes" in page
    assert "Boundary values after the start are those of the store" in page


def test_a_regional_run_without_a_zone_says_that_it_is_closed(
    command: Command, regional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ("--set", "training.steps=1")
    assert command("train", "norkyst-fnotd", "--data", regional, "--to", tmp_path / "run", *QUICK, *one) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "open boundaries" in line]
    assert len(told) == 1
    assert "the run has no edge zone, so that these open boundaries are treated as closed" in told[0]
    last = load_checkpoint(tmp_path / "run" / "checkpoints" / "last")
    assert last.provenance["open_boundaries"] == "treated as closed"


def test_a_zone_on_a_store_without_boundary_values_is_refused(
    command: Command, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zone = ("--set", "data.edge_zone=4")
    assert command("train", "norkyst-fnotd", "--data", store, "--to", tmp_path / "run", *zone) == 2
    told = capsys.readouterr().err
    assert (
        "data.edge_zone is 4, and the store holds no boundary values of uo, vo; ingest it with --boundary"
        in told
    )
    assert not (tmp_path / "run").exists()


def test_inspect_tells_the_open_edge_and_what_drives_it(
    command: Command, regional: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, held in (
        (regional, ["uo_boundary", "vo_boundary"]),
        (store, "none, so that runs treat them as closed"),
    ):
        capsys.readouterr()
        assert command("inspect", path, "--json") == 0
        told = json.loads(capsys.readouterr().out)["open_boundaries"]
        assert told["cells"] > 0
        assert told["boundary_values"] == held
