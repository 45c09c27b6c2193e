"""Stores, costs and trainings of the Baltic experiment, and the order in which processes share them."""

import bisect
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from baltic_costs import forecast_seconds, members_seconds
from baltic_folder import differences, keep_settings, read_note, require_settings, write_note
from baltic_scores import Sea, Settled, score
from baltic_truth import FORCING, STATE, Solver, basin_of, build_truth
from norkyst_comparison import taken

from data_pipelines import open_store
from data_pipelines.basins.settings import Basin
from data_pipelines.splits import read_splits
from forecasting.baselines import baseline, forcing_of
from forecasting.baselines.shallow_water import ShallowWater
from forecasting.learned import LearnedForecaster
from oceanop import Grid, load_checkpoint
from oceanop.build import build_operator
from oceanop.checkpoint import Checkpoint
from oceanop.config import Run, load_run, parse_run
from oceanop.features import static_fields
from oceanop.layout import Layout
from training import train
from training.schedule import Phase, phases

HOUR = 3600
REFERENCE = "FNOtD"
TIMED_STEPS = 24  # four of a last quarter are timed: the least of one would be dearer than that of many
VALIDATIONS = 6
VALIDATION_LEADS = 48  # later, out of phase, a forecast that fades would win
FITTED_HOURS = 4380  # of wind regression: half a year for some 25 coefficients a cell
STORM, DECAY = OF_STORMS = ("storm.nc", "decay.npy")


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes
    ----------
    basin, relief
        What is simulated, and how many points of the relief make a cell where these are not the basin's own.
    days
        Of each split.
    budget
        Processor time of one training, s.
    equal
        In what the FNOs are made equal to FNOtD: ``cost``, ``steps``, ``parameters`` (and cost).
    solvers
        Numerical models beside the one that made the truth.
    starts_every
        Hours between two starts.
    long_starts
        Forecasts of ``long_leads``, one after another.
    attempts, repeats
        Short runs that time a step, and forecasts that time a forecast.
    coarsen
        Cells along a block of the simulated sea: all learn from means over blocks, as from the output of a model that
        is finer than they are.
    """

    basin: str
    relief: tuple[int, int] | None
    days: Mapping[str, float]
    budget: float
    seeds: tuple[int, ...]
    equal: tuple[str, ...]
    solvers: tuple[Solver, ...]
    starts_every: int
    long_starts: int
    validation_starts: int
    leads: int = 240
    long_leads: int = 1000
    attempts: int = 2
    repeats: int = 5
    coarsen: int = 1


@dataclass(frozen=True)
class Plan:
    """One row of trainings: a form of operator, and in what it is equal to the reference."""

    form: str
    equal: str
    changes: dict[str, Any]
    steps: int
    seconds_a_step: float

    @property
    def training_seconds(self) -> float:
        """Processor time of the optimizer steps, s."""
        return self.steps * self.seconds_a_step


@dataclass(frozen=True)
class Experiment:
    """Folder, size and settings."""

    to: Path
    scale: Scale
    forecasters: Mapping[str, dict[str, Any]]
    common: Mapping[str, Any]
    gauges: Mapping[str, tuple[float, float]]

    @property
    def store(self) -> Path:
        """Of the truth."""
        return self.to / "truth.zarr"

    @property
    def basin(self) -> Basin:
        """What made the truth."""
        return basin_of((self.scale.basin, self.scale.relief))

    @cached_property
    def sea(self) -> Sea:
        """Cells, gauges and modes that scores are taken on."""
        return Sea.of(open_store(self.store), self.gauges)

    @property
    def settings(self) -> dict[str, Any]:
        """Of all that is done in the folder; seeds, sizes and solvers have folders of their own."""
        scale = {
            key: value
            for key, value in asdict(self.scale).items()
            if key not in ("seeds", "equal", "solvers")
        }
        return {
            "scale": scale,
            "forecasters": self.forecasters,
            "common": self.common,
            "gauges": self.gauges,
        }

    def run(self, form: str, *, seed: int, steps: int, changes: Mapping[str, Any]) -> Run:
        """Settings of a training."""
        own = self.forecasters[form]
        training = {
            **self.common,
            **own["training"],
            "seed": seed,
            "steps": steps,
            "validate_every": -(-steps // VALIDATIONS),
            "validation_leads": VALIDATION_LEADS,
            "validation_starts": self.scale.validation_starts,
        }
        tables = {
            "data": {"state": list(STATE), "forcing": list(FORCING)},
            "model": {**own["model"], **changes},
            "training": training,
        }
        return parse_run(tables, form)

    def starts(self, split: str, leads: int, *, every: int, most: int | None = None) -> np.ndarray:
        """Steps of last known states, evenly spread over a split, with two days of it before and all leads after."""
        ds = open_store(self.store)
        first, last = (
            int(np.flatnonzero(ds["time"].values == np.datetime64(end))[0]) for end in read_splits(ds)[split]
        )
        return np.arange(first + 48, last - leads + 1, every)[:most]


def work(experiment: Experiment) -> None:
    """Do whatever nobody else has done or is doing.

    Raises
    ------
    ValueError
        If the folder holds what was made with other settings.
    """
    scale = experiment.scale
    require_settings(experiment.to, experiment.settings)
    build_truth(experiment.basin, scale.days, scale.coarsen, experiment.store)
    plans = plans_of(experiment)
    trainings = [
        (experiment.to / f"{name}-seed-{seed}", plan, seed)
        for seed in scale.seeds
        for name, plan in plans.items()
    ]
    for to, plan, seed in trainings:
        require_run(to, planned_run(experiment, plan, seed))
    keep_settings(experiment.to, experiment.settings)  # not before what is there was found to go with them
    for to, plan, seed in trainings:
        if read_note(to / "done.json") is not None:
            continue
        with taken(to) as mine:
            if mine and read_note(to / "done.json") is None:
                fit_and_score(experiment, plan, seed, to)
    for name in ("persistence", "wind-regression", *solver_names(experiment)):
        to = experiment.to / name
        with taken(to) as mine:
            if mine and read_note(to / "done.json") is None:
                to.mkdir(exist_ok=True)
                settled = baseline_of(experiment, name)
                finish(experiment, settled, to, {})


def planned_run(experiment: Experiment, plan: Plan, seed: int) -> Run:
    """Settings of a planned training."""
    return experiment.run(plan.form, seed=seed, steps=plan.steps, changes=plan.changes)


def require_run(to: Path, run: Run) -> None:
    """Refuse a folder whose training, done or begun, is another than planned."""
    begun = to / "run.toml"
    if begun.exists() and (before := load_run(begun)) != run:
        changed = differences(before.model_dump(), run.model_dump())
        raise ValueError(
            f"{to}: was trained with other settings ({changed}); delete it, or give another folder with --to."
        )


def plans_of(experiment: Experiment) -> dict[str, Plan]:
    """What is to be trained, by name; costs are measured by whoever comes first."""
    note = experiment.to / "costs.json"
    with taken(experiment.to / "costs", wait=True):
        costs = read_note(note)
        if costs is None:
            costs = step_costs(experiment)
            write_note(note, costs)
    plans = {}
    for form in experiment.forecasters:
        for equal in ("cost",) if form == REFERENCE else experiment.scale.equal:
            size = costs.get(form, {}).get("equal" if equal == "parameters" else "own", {"seconds": {}})
            lacking = [
                w for stage in stages_of(experiment, form) if (w := str(stage.windows)) not in size["seconds"]
            ]
            if lacking:
                raise ValueError(
                    f"{note}: does not hold what a step of {form} with {lacking[0]} windows costs at equal {equal}; "
                    "delete it and the trainings that it planned, or give another folder with --to."
                )
            cost = mean_cost(experiment, form, size["seconds"])
            steps = max(round(experiment.scale.budget / cost), TIMED_STEPS)
            if equal == "steps":
                steps = plans[REFERENCE].steps
            name = form if equal == "cost" else f"{form}-equal-{equal}"
            plans[name] = Plan(form, equal, size["changes"], steps, round(cost, 5))
    return plans


def step_costs(experiment: Experiment) -> dict[str, Any]:
    """Processor time of a step by windows unrolled, of every form and size in turns, and widths of equal size."""
    sizes: dict[str, dict[str, dict[str, Any]]] = {}
    for form in experiment.forecasters:
        sizes[form] = {"own": {}}
        if form != REFERENCE and "parameters" in experiment.scale.equal:
            sizes[form]["equal"] = {"width": equal_width(experiment, form)}
    out: dict[str, Any] = {
        form: {size: {"changes": changes, "seconds": {}} for size, changes in own.items()}
        for form, own in sizes.items()
    }
    # In turns: what else the machine does weighs on all alike.
    for _ in range(experiment.scale.attempts):
        for form, own in sizes.items():
            for size, changes in own.items():
                for windows, seconds in timed(experiment, form, changes):
                    held = out[form][size]["seconds"]
                    # The least is what other work on the machine has disturbed least.
                    held[windows] = min(seconds, held.get(windows, seconds))
    return out


def timed(experiment: Experiment, form: str, changes: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Windows and processor time of the steps of a short run that neither begin a stage nor end the run."""
    run = experiment.run(form, seed=0, steps=TIMED_STEPS, changes=changes)
    fields = {"validate_every": TIMED_STEPS, "validation_leads": run.model.horizon, "validation_starts": 1}
    run = run.model_copy(update={"training": run.training.model_copy(update=fields)})
    clock: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        train(
            run,
            experiment.store,
            folder,
            progress=lambda words, done, total: clock.update({done: time.process_time()}),
        )
    for stage in phases(run.training):
        for step in range(stage.first + 2, min(stage.last, TIMED_STEPS - 1) + 1):
            yield str(stage.windows), clock[step] - clock[step - 1]


def mean_cost(experiment: Experiment, form: str, seconds: Mapping[str, float]) -> float:
    """Processor time of a step, mean over the stages of a long training, s."""
    stages = stages_of(experiment, form)
    return sum(seconds[str(stage.windows)] * (stage.last - stage.first) for stage in stages) / stages[-1].last


def stages_of(experiment: Experiment, form: str) -> list[Phase]:
    """Of a long training."""
    return phases(experiment.run(form, seed=0, steps=3000, changes={}).training)


def equal_width(experiment: Experiment, form: str) -> int:
    """The width that gives a form about as many parameters as the reference."""
    ds = open_store(experiment.store)
    channels = {
        "state_channels": len(STATE),
        "forcing_channels": len(FORCING),
        "static_channels": len(static_fields(Grid.from_dataset(ds), ds["deptho"].to_numpy())),
    }

    def parameters(form: str, changes: Mapping[str, Any]) -> int:
        run = experiment.run(form, seed=0, steps=100, changes=changes)
        return sum(part.numel() for part in build_operator(run, **channels).parameters())

    wanted = parameters(REFERENCE, {})
    width = bisect.bisect_left(range(256), wanted, lo=1, key=lambda width: parameters(form, {"width": width}))
    return min((width - 1, width), key=lambda width: abs(parameters(form, {"width": width}) - wanted))


def fit_and_score(experiment: Experiment, plan: Plan, seed: int, to: Path) -> None:
    """Train one operator, and score it."""
    run = planned_run(experiment, plan, seed)
    checkpoint = load_checkpoint(train(run, experiment.store, to, resume=True))
    told = {
        "seed": seed,
        "equal": {"parameters": "parameters and cost"}.get(plan.equal, plan.equal),
        "parameters": checkpoint.parameters,
        "steps": plan.steps,
        "seconds_a_step": plan.seconds_a_step,
        "training_seconds": round(plan.training_seconds, 1),
    }
    finish(experiment, learned(checkpoint), to, told)


def learned(checkpoint: Checkpoint) -> Settled:
    """An operator, ready to forecast."""
    return Settled(LearnedForecaster(checkpoint), checkpoint.layout)


def finish(experiment: Experiment, settled: Settled, to: Path, told: dict[str, Any]) -> None:
    """Score a forecaster, time it, and say that it is done."""
    scale, ds = experiment.scale, open_store(experiment.store)
    for name in OF_STORMS:  # what tables have made of an earlier one
        (to / name).unlink(missing_ok=True)
    for split in [name for name in scale.days if name not in ("train", "validation")]:
        starts = experiment.starts(split, scale.leads, every=scale.starts_every)
        score(settled, ds, starts, scale.leads, experiment.sea).sums.save(to / f"{split}.npz")
    starts = experiment.starts("test", scale.long_leads, every=scale.long_leads, most=scale.long_starts)
    long = score(settled, ds, starts, scale.long_leads, experiment.sea, series=True)
    long.sums.save(to / "long.npz")
    assert long.series is not None
    np.savez(to / "series.npz", **long.series)
    start = int(experiment.starts("test", scale.leads, every=scale.starts_every)[0])
    seconds = forecast_seconds(settled, ds, start, scale.leads, scale.repeats)
    costs = {"forecast_seconds": round(seconds, 4)}
    members = members_seconds(settled, ds, start, scale.leads, scale.repeats)
    if members is not None:
        costs["members_seconds"] = round(members, 4)
    write_note(to / "done.json", {**told, **costs})
    print(f"{to.name}: done", flush=True)


def solver_names(experiment: Experiment) -> dict[str, Basin]:
    """Numerical models by name, the one that made the truth first."""
    made = [experiment.basin, *(basin_of(each) for each in experiment.scale.solvers)]
    return {f"shallow-water-{basin.name}": basin for basin in made}


def baseline_of(experiment: Experiment, name: str) -> Settled:
    """What an operator is measured against, fitted where there is something to fit."""
    ds = open_store(experiment.store)
    solvers = solver_names(experiment)
    if name in solvers:
        solver = ShallowWater(solvers[name], ds, name=name)
        return Settled(solver, solver.layout)
    forcing = forcing_of(name, [str(each) for each in ds.data_vars])
    layout = Layout.from_dataset(ds, state=STATE, forcing=forcing)
    first, last = (
        int(np.flatnonzero(ds["time"].values == np.datetime64(end))[0]) for end in read_splits(ds)["train"]
    )
    part = ds.isel(time=slice(first, min(last + 1, first + FITTED_HOURS)))
    options: dict[str, Any] = {}
    if forcing:
        options = {"forcing": layout.pack(part, "forcing"), "variables": forcing}
    forecaster = baseline(
        name, layout.pack(part), part["time"].values, layout.wet(ds), time_step=HOUR, **options
    )
    return Settled(forecaster, layout)
