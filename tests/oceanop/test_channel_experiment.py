"""The experiment on the channel runs from its store to its tables, and its truth is what it says."""

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from data_pipelines import WindowDataset, open_store

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "channel_waves.py"
SMALL = {"train": (3, 32), "validation": (2, 12), "tuning": (1, 46), "test": (2, 46)}


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The notebook with little water, few steps and forecasts of 40 hours."""
    spec = importlib.util.spec_from_file_location("channel_waves", NOTEBOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "REALISATIONS", SMALL)
    monkeypatch.setattr(module, "LEADS", 40)
    monkeypatch.setattr(module, "LEADS_SHOWN", (1, 40))
    monkeypatch.setattr(module, "SELECTION", 6)
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    for settings in module.FORECASTERS.values():
        settings["training"] |= {"steps": 6}  # two of each stage
        settings["model"] |= {"width": 4, "layers": 2}
    return module


def test_windows_stay_inside_one_realisation_and_the_splits_apart(
    experiment: ModuleType, tmp_path: Path
) -> None:
    store = experiment.build_store(tmp_path / "channel.zarr")
    for split, (number, hours) in SMALL.items():
        assert len(WindowDataset(store, history=6, horizon=6, split=split)) == number * (hours - 11)
    ds = open_store(store)
    assert ds["mask"].to_numpy()[[0, -1]].sum() == 0
    assert ds["mask"].to_numpy()[1:-1].all()
    truth = experiment.realisations(ds, "test")
    assert truth.shape == (3, 2, 41, 16, 48)
    # No hour of one realisation is one of another.
    levels = ds["zos"].to_numpy()[:, 1:-1].reshape(ds.sizes["time"], -1)
    assert len(np.unique(levels[:, 0])) == ds.sizes["time"]


@pytest.mark.slow
def test_the_experiment_goes_from_its_store_to_tables_and_pictures(
    experiment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    words = ["--to", str(tmp_path / "runs"), "--results", str(results), "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["channel_waves", *words, "--only", "FNOtD", "FNO-one-step"])
    experiment.main()
    with (results / "scores.csv").open() as file:
        rows = {
            (row["forecaster"], row["metric"], row["lead_hours"]): float(row["value"])
            for row in csv.DictReader(file)
        }
    # Forty hours tell frequencies apart less well than ten days: the truth's lines are as narrow as its window.
    assert rows["truth", "share_on_curves", "all"] > 0.999
    # What stands still lies near the slowest wave in so short a time, and near no other.
    assert rows["persistence", "share_on_curves", "all"] < 0.9
    # Free waves keep their energy; cells see them at their middles alone, which is right to some tenths of a percent.
    assert rows["persistence", "energy_ratio", "40"] == pytest.approx(1, abs=0.01)
    assert {name for name, *_ in rows} == {"truth", "persistence", "FNOtD", "FNO-one-step"}
    first = (results / "scores.csv").read_bytes()
    assert {path.name for path in results.iterdir()} == {
        "scores.csv",
        "costs.csv",
        "spectra.png",
        "kernel.png",
    }
    experiment.main()  # what is there is not made again, and says the same
    assert (results / "scores.csv").read_bytes() == first
