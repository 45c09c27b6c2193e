"""What inspect says about a file, a store, a forecast."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_pipelines import describe, ingest, open_store, sample_paths
from oceanop.grid import Grid

Writer = Callable[..., Path]


def said(path: Path) -> dict[str, object]:
    """Through JSON and back: nothing else is in it."""
    return json.loads(json.dumps(describe(path), allow_nan=False))


def test_of_a_file() -> None:
    found = said(sample_paths().ocean)
    assert found["kind"] == "file"
    assert found["grid"]["rows"] == 201
    assert found["grid"]["kind"] == "polar_stereographic"
    assert found["variables"]["uo"]["source_name"] == "u"
    assert found["variables"]["uo"]["along_grid_axes"] is True
    assert found["time"]["steps"] == 67
    assert found["time"]["step_seconds"] == 3600
    assert found["time"]["irregular"] is False


def test_of_a_store(coarse_store: Path) -> None:
    found = said(coarse_store)
    assert (found["kind"], found["complete"]) == ("store", True)
    assert found["wet_share"] == pytest.approx(float(open_store(coarse_store)["mask"].mean()), abs=1e-6)
    assert found["statistics"]["train"]["variables"]["uo"]["count"] == 47 * 2440
    assert found["provenance"]["sources"][0]["name"] == sample_paths().ocean.name
    assert list(found["splits"]) == ["train", "validation", "test"]


def test_of_gaps_and_months(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    days = np.arange("2020-01", "2021-01", dtype="datetime64[M]").astype("datetime64[D]") - np.datetime64(
        "2020-01-01"
    )
    file = write_file("f.nc", {"zos": ("sea_surface_height_above_geoid", "m", np.delete(level, 5, 0))},
                      hours=np.delete(days.astype(float), 5), units="days since 2020-01-01")  # fmt: skip
    found = said(ingest(file, to=tmp_path / "s.zarr"))["time"]
    assert found["irregular"] is True
    assert found["gaps"] == [
        {"after": "2020-05-01T00:00:00", "before": "2020-07-01T00:00:00", "missing_steps": 1}
    ]


def test_of_an_unfinished_store(coarse_store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "s.zarr"
    shutil.copytree(coarse_store, copy)
    root = json.loads((copy / "zarr.json").read_text())
    root["attributes"]["complete"] = False
    (copy / "zarr.json").write_text(json.dumps(root))
    found = said(copy)
    assert found["complete"] is False
    assert found["time"]["steps"] == 67


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_of_a_forecast(coarse_store: Path, tmp_path: Path, suffix: str) -> None:
    ds = open_store(coarse_store)
    leads = np.arange(1, 7) * np.timedelta64(3600, "s")
    forecast = Grid.from_dataset(ds).to_dataset()
    values = ds["uo"].to_numpy()[None, :6]
    forecast = forecast.assign_coords(
        init_time=ds["time"].values[:1], lead_time=leads.astype("timedelta64[ns]")
    )
    forecast["uo"] = (("init_time", "lead_time", "y", "x"), values, {"units": "m s-1"})
    forecast.attrs = {"model": "persistence"}
    path = tmp_path / f"forecast{suffix}"
    if suffix == ".nc":
        forecast.to_netcdf(path)
    else:
        forecast.to_zarr(path, zarr_format=3, consolidated=False)
    found = said(path)
    assert found["kind"] == "forecast"
    assert found["time"] == {"starts": ["2015-11-16T00:00:00"], "leads": 6, "first_lead_hours": 1.0,
                             "last_lead_hours": 6.0, "members": None}  # fmt: skip
    assert found["provenance"] == {"model": "persistence"}
