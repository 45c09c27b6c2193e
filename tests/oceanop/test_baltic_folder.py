"""A folder of the Baltic experiment goes on where it was, and tells what it was not made with."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from oceanop.config import run_to_toml
from tests.notebooks import load_notebooks

NAMES = (
    "norkyst_comparison",
    "baltic_folder",
    "baltic_scores",
    "baltic_costs",
    "baltic_truth",
    "baltic_runs",
)


@pytest.fixture(scope="module")
def notebooks() -> dict[str, ModuleType]:
    """The notebooks by name, which import one another as files side by side."""
    return load_notebooks(NAMES)


@pytest.fixture
def experiment(notebooks: dict[str, ModuleType], tmp_path: Path) -> object:
    scale = notebooks["baltic_runs"].Scale(
        basin="baltic",
        relief=(15, 20),
        days={"train": 6, "test": 5},
        budget=0.01,
        seeds=(0,),
        equal=("cost",),
        solvers=(),
        starts_every=12,
        long_starts=2,
        validation_starts=1,
    )
    tables = {
        "FNOtD": {"model": {"name": "FNOtD", "history": 2, "horizon": 2}, "training": {"windows": 2}},
        "FNO": {"model": {"name": "FNO", "history": 1, "horizon": 1}, "training": {"windows": 1}},
    }
    places = {"Landsort": (58.74, 17.87)}
    return notebooks["baltic_runs"].Experiment(tmp_path, scale, forecasters=tables, common={}, gauges=places)


def test_a_note_whose_writer_was_stopped_is_none(notebooks: dict[str, ModuleType], tmp_path: Path) -> None:
    read, path = notebooks["baltic_folder"].read_note, tmp_path / "done.json"
    assert read(path) is None
    notebooks["baltic_folder"].write_note(path, {"seed": 1, "steps": 30})
    assert read(path) == {"seed": 1, "steps": 30}
    assert list(tmp_path.iterdir()) == [path]
    for cut in (0, 7):
        path.write_text(path.read_text()[:cut])
        assert read(path) is None


def test_a_folder_begun_with_other_settings_is_refused(
    notebooks: dict[str, ModuleType], experiment: object
) -> None:
    require, scale = notebooks["baltic_folder"].require_settings, experiment.scale
    require(experiment.to, replace(experiment, common={"batch_size": 3}).settings)  # it keeps no note yet
    notebooks["baltic_folder"].keep_settings(experiment.to, experiment.settings)
    more = replace(scale, seeds=(0, 1), equal=("cost", "steps"), solvers=(("baltic", None),))
    for same in (scale, more):  # what has folders of its own may come in addition
        require(experiment.to, replace(experiment, scale=same).settings)
    for other, words in (
        ({"scale": replace(scale, budget=0.02)}, r"scale\.budget was 0\.01 and is 0\.02\)"),
        ({"scale": replace(scale, days={"train": 6})}, r"scale\.days\.test was 5 and is None\)"),
        ({"gauges": {"Landsort": (58.7, 17.87)}}, r"gauges\.Landsort was \[58\.74, 17\.87\] and is \[58\.7"),
        ({"common": {"batch_size": 3}}, r"common\.batch_size was None and is 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            require(experiment.to, replace(experiment, **other).settings)


def test_a_training_of_other_settings_is_refused(
    notebooks: dict[str, ModuleType], experiment: object
) -> None:
    require, to = notebooks["baltic_runs"].require_run, experiment.to
    run = experiment.run("FNOtD", seed=0, steps=60, changes={})
    require(to, run)
    (to / "run.toml").write_text(run_to_toml(run))
    require(to, run)
    with pytest.raises(
        ValueError, match=r"training\.steps was 60 and is 66, training\.validate_every was 10 and is 11\)"
    ):
        require(to, experiment.run("FNOtD", seed=0, steps=66, changes={}))
    with pytest.raises(ValueError, match=rf"model\.width was {run.model.width} and is 4\)"):
        require(to, experiment.run("FNOtD", seed=0, steps=60, changes={"width": 4}))


def test_costs_of_other_settings_are_refused(notebooks: dict[str, ModuleType], experiment: object) -> None:
    plans_of, costs = notebooks["baltic_runs"].plans_of, experiment.to / "costs.json"
    own = {form: {"own": {"changes": {}, "seconds": {"1": 1e-4}}} for form in ("FNOtD", "FNO")}
    costs.write_text(json.dumps(own))
    with pytest.raises(ValueError, match=r"what a step of FNOtD with 2 windows costs at equal cost; delete"):
        plans_of(experiment)
    own["FNOtD"]["own"]["seconds"]["2"] = 2e-4
    costs.write_text(json.dumps(own))
    assert set(plans_of(experiment)) == {"FNOtD", "FNO"}
    larger = replace(experiment, scale=replace(experiment.scale, equal=("parameters",)))
    with pytest.raises(ValueError, match="a step of FNO with 1 windows costs at equal parameters"):
        plans_of(larger)


def test_the_truth_costs_what_stopped_processes_spent_too(
    notebooks: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, clock = notebooks["baltic_truth"], SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: clock.now))
    calls: list[bool] = []

    def simulate(basin: object, *, to: Path, splits: object, progress: object = None) -> None:
        calls.append(progress is not None)
        to.mkdir(exist_ok=True)
        if progress is not None:
            clock.now += 10
            progress("train", 1, 2)
            clock.now += 1
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "simulate", simulate)

    def build() -> None:
        module.build_truth(None, {"train": 1}, 1, tmp_path / "truth.zarr")

    with pytest.raises(KeyboardInterrupt):
        build()
    clock.now = 500.0  # another process
    build()
    assert json.loads((tmp_path / "truth.json").read_text()) == {"seconds": 21.0}
    build()  # which may be of another sea: the simulation knows and refuses, or leaves it as it is
    assert calls == [True, True, False]
