"""The Baltic experiment goes from its store to its tables, and its scores are what they say."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from data_pipelines import open_store
from data_pipelines.basins.domain import make_domain
from data_pipelines.save import save_store
from forecasting import Persistence
from forecasting.forecaster import State
from oceanop.build import build_operator
from oceanop.gauges import gauge_cells
from oceanop.layout import Layout
from tests.notebooks import load_notebooks

pytestmark = pytest.mark.slow  # it trains six operators, scores eleven forecasters and draws a report

NAMES = (
    "norkyst_comparison",
    "baltic_folder",
    "baltic_scores",
    "baltic_costs",
    "baltic_truth",
    "baltic_runs",
    "baltic_pictures",
    "baltic_tables",
    "baltic",
)
SMALL = {
    "FNOtD": {"name": "FNOtD", "history": 2, "horizon": 2, "modes": [3, 4, 4], "width": 4, "layers": 1},
    "FNO-one-step": {"name": "FNO", "history": 1, "horizon": 1, "modes": [4, 4], "width": 4, "layers": 1},
}


@pytest.fixture(scope="module")
def notebooks() -> dict[str, ModuleType]:
    """The notebooks by name, which import one another as files side by side."""
    modules = load_notebooks(NAMES)
    # Cells of 100' by 75', some forty of them wet, and forecasts of twelve hours
    modules["baltic_tables"].EARLY, modules["baltic_tables"].LATE = (1, 4), (13, 16)
    modules["baltic_tables"].WINDOWS = ((1, 6),)
    modules["baltic_tables"].PAST = ((7, 12),)
    modules["baltic_tables"].WEEKS = (1, 8)
    modules["baltic_tables"].STORM_LEADS, modules["baltic_tables"].PEAK = 8, 6
    modules["baltic_scores"].SPECTRAL_LEADS = (1, 12)
    modules["baltic_scores"].LONG_MODES = 6
    modules["baltic_runs"].VALIDATION_LEADS = 4
    return modules


@pytest.fixture(scope="module")
def experiment(notebooks: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> object:
    scale = notebooks["baltic_runs"].Scale(
        basin="baltic",
        relief=(15, 20),
        days={"train": 6, "validation": 2, "test": 5, "extreme": 4},
        budget=0.01,
        seeds=(0, 1),
        equal=("cost", "steps"),
        solvers=(),
        starts_every=12,
        long_starts=2,
        validation_starts=1,
        leads=12,
        long_leads=16,
        attempts=1,
        repeats=1,
    )
    training = {"noise": 0.0, "windows": 1}
    return notebooks["baltic_runs"].Experiment(
        tmp_path_factory.mktemp("baltic"),
        scale,
        forecasters={name: {"model": model, "training": training} for name, model in SMALL.items()},
        common={"batch_size": 1, "threads": 1},
        gauges={"Landsort": (58.74, 17.87), "Klaipeda": (55.73, 21.08)},
    )


@pytest.fixture(scope="module")
def results(notebooks: dict[str, ModuleType], experiment: object) -> Path:
    notebooks["baltic_runs"].work(experiment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forecasting.tiles.TILES", 1)  # maps of one lead are enough
        notebooks["baltic_tables"].assemble(experiment, experiment.to / "results")
    return experiment.to / "results"


def rows_of(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with path.open() as file:
        return {
            tuple(row[key] for key in ("forecaster", "variable", "metric", "band", "lead_hours")): row
            for row in csv.DictReader(file)
        }


def test_the_experiment_goes_from_its_store_to_tables_pictures_and_a_page(
    results: Path, experiment: object
) -> None:
    rows = rows_of(results / "scores.csv")
    names = {key[0] for key in rows}
    assert names == {
        "FNOtD",
        "FNO-one-step",
        "FNO-one-step-equal-steps",
        "persistence",
        "wind-regression",
        "shallow-water-baltic-100x75",
        "truth",
    }
    assert {path.name for path in results.iterdir()} == {
        "scores.csv",
        "costs.csv",
        "rmse.png",
        "spectra.png",
        "frequencies.png",
        "gauges.png",
        "surge.png",
    }
    assert (experiment.to / "report" / "report.html").exists()
    for metric, band, lead in (
        ("rmse", "all", "1"),
        ("rmse", "gauges", "12"),
        ("rmse", "extreme", "12"),
        ("rmse", "Klaipeda", "all"),
        ("rmse", "7-12 h", "12"),
        ("rmse_over_FNO-one-step", "7-12 h", "12"),
        ("energy_ratio", "1-6 h", "6"),
        ("energy_ratio", "13-16 h", "16"),
        ("rmse", "gauges 1-8 h", "8"),
        ("energy_growth", "all", "16"),
        ("frequency_power_shared", "all", "16"),
        ("log_spectrum_error", "all", "12"),
        ("mean_level_error", "all", "12"),
    ):
        assert [key for key in rows if key[0] == "FNOtD" and key[2:] == (metric, band, lead)], metric


def test_a_model_with_the_truth_s_own_physics_is_nearly_the_truth(results: Path) -> None:
    rows = rows_of(results / "scores.csv")

    def value(name: str, metric: str, lead: str = "12", variable: str = "zos") -> float:
        return float(rows[name, variable, metric, "all", lead]["value"])

    own, still = "shallow-water-baltic-100x75", "persistence"
    # What its start lacks are currents through the sides, known at the centres alone
    assert value(own, "rmse") < 0.5 * value(still, "rmse")
    assert value(own, "log_spectrum_error") < value(still, "log_spectrum_error")
    assert value(own, "frequency_power_shared", "16") > value(still, "frequency_power_shared", "16")
    assert value("truth", "energy_growth", "16", "energy") == pytest.approx(
        value(own, "energy_growth", "16", "energy"), rel=0.3
    )


def test_what_is_done_is_not_done_again_and_says_the_same(
    results: Path, experiment: object, notebooks: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks["baltic_tables"], "write_page", lambda *_: None)  # which tells its hour
    first = {path.name: path.read_bytes() for path in results.iterdir()}
    kept = (path for path in experiment.to.glob("*-*/*") if path.is_file())
    marks = {path: path.stat().st_mtime_ns for path in kept}
    notebooks["baltic_runs"].work(experiment)
    notebooks["baltic_tables"].assemble(experiment, results)
    assert {path.name: path.read_bytes() for path in results.iterdir()} == first
    assert {path: path.stat().st_mtime_ns for path in marks} == marks


def test_costs_tell_of_members_side_by_side_where_a_forecaster_can_run_them(results: Path) -> None:
    with (results / "costs.csv").open() as file:
        told = {row["forecaster"]: row["seconds_of_8_members"] for row in csv.DictReader(file)}
    timed = {name for name, seconds in told.items() if seconds and float(seconds) > 0}
    assert timed == {
        "FNOtD",
        "FNO-one-step",
        "FNO-one-step-equal-steps",
        "shallow-water-baltic-100x75",
    }
    assert {"persistence", "wind-regression"} < set(told)


def test_costs_tell_what_a_training_took_beside_what_it_was_planned_to(
    results: Path, experiment: object
) -> None:
    with (results / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained = [row for row in rows if row["seed"]]
    assert len(trained) == 6
    for row in trained:
        log = (experiment.to / f"{row['forecaster']}-seed-{row['seed']}" / "metrics.jsonl").read_text()
        (took,) = (
            each["seconds"]
            for each in map(json.loads, log.splitlines())
            if each.get("step") == int(row["steps"]) and "seconds" in each
        )
        assert float(row["training_wall_seconds"]) == pytest.approx(took, abs=0.051)  # of a rounded figure
    assert {row["training_wall_seconds"] for row in rows if not row["seed"]} == {""}


def test_a_coarse_truth_is_the_mean_over_the_wet_cells_of_its_blocks(
    results: Path, experiment: object, notebooks: dict[str, ModuleType], tmp_path: Path
) -> None:
    fine = open_store(experiment.store)
    coarse, splits = notebooks["baltic_truth"].coarsened(fine, 2)
    saved = open_store(save_store(coarse, tmp_path / "coarse.zarr", splits=splits))
    assert json.loads(saved.attrs["splits"]) == json.loads(fine.attrs["splits"])
    assert saved.attrs["basin"] == fine.attrs["basin"]
    np.testing.assert_array_equal(saved["time"].values, fine["time"].values)
    wet, area = fine["mask"].to_numpy() > 0.5, fine["cell_area"].to_numpy()
    assert 0 < saved["mask"].sum() < saved["mask"].size
    for row, column in np.argwhere(saved["mask"].to_numpy() > 0.5):
        block = np.s_[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert wet[block].sum() >= 2
        step = np.s_[7]
        for name, weight in (("zos", area * wet), ("ubar", area * wet), ("tauu", area * wet), ("u10", area)):
            value = np.nan_to_num(fine[name].to_numpy()[step])[block]
            mean = (value * weight[block]).sum() / weight[block].sum()
            # float32
            assert float(saved[name][step][row, column]) == pytest.approx(mean, rel=1e-5, abs=1e-7)


def test_the_width_of_equal_parameters_is_the_nearest(
    results: Path, experiment: object, notebooks: dict[str, ModuleType]
) -> None:
    with (results / "costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    wanted = next(int(row["parameters"]) for row in rows if row["forecaster"] == "FNOtD")
    assert {row["seed"] for row in rows if row["forecaster"] == "FNOtD"} == {"0", "1"}
    width = notebooks["baltic_runs"].equal_width(experiment, "FNO-one-step")

    def distance(width: int) -> int:
        run = experiment.run("FNO-one-step", seed=0, steps=100, changes={"width": width})
        # mask, nearness on two scales, four of position, two of depth
        built = build_operator(run, state_channels=3, forcing_channels=3, static_channels=9)
        return abs(sum(part.numel() for part in built.parameters()) - wanted)

    assert distance(width) <= min(distance(width - 1), distance(width + 1))


def test_steps_fill_the_budget_or_are_as_many_as_the_reference_s(
    notebooks: dict[str, ModuleType], experiment: object, tmp_path: Path
) -> None:
    costs = {
        form: {
            size: {"changes": {}, "seconds": {"1": factor * seconds}}
            for size, factor in (("own", 1), ("equal", 2))
        }
        for form, seconds in (("FNOtD", 1e-4), ("FNO-one-step", 2e-5))
    }
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    scale = replace(experiment.scale, equal=("cost", "steps", "parameters"))
    plans = notebooks["baltic_runs"].plans_of(replace(experiment, to=tmp_path, scale=scale))
    assert {name: plan.steps for name, plan in plans.items()} == {
        "FNOtD": 100,
        "FNO-one-step": 500,
        "FNO-one-step-equal-steps": 100,
        "FNO-one-step-equal-parameters": 250,
    }
    assert plans["FNO-one-step"].training_seconds == pytest.approx(experiment.scale.budget)


class Shifted:
    """The truth, a constant higher."""

    name, history = "shifted", 1

    def __init__(self, states: torch.Tensor, start: int, wet: torch.Tensor, offset: float) -> None:
        self.states, self.start, self.wet, self.offset = states, start, wet, offset

    def forecast(self, initial: object, forcing: object, leads: int) -> object:
        for lead in range(1, leads + 1):
            values = self.states[:, self.start + lead].clone()
            values[0] += self.offset * self.wet[0]
            yield State(lead, values)


def test_an_error_that_is_put_in_is_what_the_scores_say(
    notebooks: dict[str, ModuleType], experiment: object, results: Path
) -> None:
    scores = notebooks["baltic_scores"]
    ds = open_store(experiment.store)
    layout = Layout.from_dataset(ds, state=scores.STATE, forcing=())
    start = int(experiment.starts("test", 12, every=12)[0])
    forecaster = Shifted(layout.pack(ds), start, layout.wet(ds), 0.25)
    settled = scores.Settled(forecaster, layout)
    sums = scores.score(settled, ds, np.array([start]), 12, experiment.sea).sums.sums
    for key in (("rmse", "zos", "all"), ("rmse", "zos", "Klaipeda"), ("mean_level_error", "zos", "all")):
        # states are float32, levels some tenths of a metre
        np.testing.assert_allclose(np.sqrt(sums[key][0] / sums[key][1]), 0.25, rtol=1e-6)
    assert sums["rmse", "ubar+vbar", "all"][0].max() == 0
    for key, (above, below) in sums.items():
        if key[0] == "spectrum_ratio" and "over" not in key[2]:
            # the mean alone is changed, which is in the band of the longest waves
            np.testing.assert_allclose(above, below, rtol=1e-4, atol=1e-12)


def test_starts_have_two_days_before_and_all_leads_after(experiment: object, results: Path) -> None:
    ds = open_store(experiment.store)
    for split, (begin, end) in json.loads(ds.attrs["splits"]).items():
        starts = experiment.starts(split, 12, every=5) if split in ("test", "extreme") else []
        for step in starts:
            assert ds["time"].values[step - 48] >= np.datetime64(begin)
            assert ds["time"].values[step + 12] <= np.datetime64(end)


def test_persistence_has_no_variance_at_any_frequency_and_shares_none(
    notebooks: dict[str, ModuleType], experiment: object, results: Path
) -> None:
    ds = open_store(experiment.store)
    layout = Layout.from_dataset(ds, state=("zos", "ubar", "vbar"), forcing=())
    scores = notebooks["baltic_scores"]
    starts = experiment.starts("test", 16, every=16, most=1)
    scored = scores.score(scores.Settled(Persistence(), layout), ds, starts, 16, experiment.sea, series=True)
    assert notebooks["baltic_tables"].shared(scored.series)[0].max() < 1e-12


def test_the_dominant_period_is_found_between_the_window_s_own(notebooks: dict[str, ModuleType]) -> None:
    hours = np.arange(240)
    levels = np.stack([np.cos(2 * np.pi * hours / period + 1.0) for period in (27.3, 13.1)], axis=1)
    found = notebooks["baltic_scores"].dominant_periods(levels * np.exp(-hours / 100)[:, None])
    # eight times as many frequencies as the window tells apart
    assert found == pytest.approx([27.3, 13.1], rel=0.01)


def test_what_only_fades_has_no_period(notebooks: dict[str, ModuleType]) -> None:
    levels = np.exp(-np.arange(240) / 60)[:, None]
    (found,) = notebooks["baltic_scores"].dominant_periods(levels)
    assert np.isnan(found)


def test_every_shipped_setting_is_a_run_and_every_gauge_has_its_water(
    notebooks: dict[str, ModuleType], tmp_path: Path
) -> None:
    baltic, runs = notebooks["baltic"], notebooks["baltic_runs"]
    for name, scale in baltic.SCALES.items():
        experiment = baltic.experiment_of(name, tmp_path)
        for form in baltic.FORECASTERS:
            run = experiment.run(form, seed=0, steps=100, changes={})
            assert run.model.history <= 48
        gauges = gauge_cells(make_domain(experiment.basin).grid, baltic.GAUGES)
        assert len(set(gauges.values())) == len(gauges)
        assert next(iter(runs.solver_names(experiment).values())).name == experiment.basin.name
        assert scale.days["test"] * 24 >= 48 + scale.long_starts * scale.long_leads
        if scale.coarsen > 1:  # one numerical model has the operators' own cells
            sea = experiment.basin.sea
            cells = (scale.coarsen * sea.rows, scale.coarsen * sea.columns)
            assert cells in [
                (each.sea.rows, each.sea.columns) for each in runs.solver_names(experiment).values()
            ]


def test_a_folder_goes_on_with_its_own_settings_alone(
    notebooks: dict[str, ModuleType], experiment: object, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, finished = notebooks["baltic_runs"].work, notebooks["baltic_tables"].finished
    with pytest.raises(ValueError, match=r"scale\.budget was 0\.01 and is 0\.02"):
        work(replace(experiment, scale=replace(experiment.scale, budget=0.02)))
    note = experiment.to / "persistence" / "done.json"
    note.write_text(note.read_text()[:9])
    assert "persistence" not in finished(experiment)
    assert "left out of all tables: persistence\n" in capsys.readouterr().out
    work(experiment)
    assert capsys.readouterr().out == "persistence: done\n"
    assert "persistence" in finished(experiment)
