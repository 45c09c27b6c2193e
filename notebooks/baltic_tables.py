"""Tables, pictures and the page of the Baltic experiment, from what its processes left in its folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from baltic_costs import MEMBERS
from baltic_folder import read_note
from baltic_pictures import draw_bands, draw_curves, draw_gauges, draw_waves
from baltic_runs import DECAY, REFERENCE, STORM, Experiment, baseline_of, learned, plans_of, solver_names
from baltic_scores import ENERGY, Settled, dominant_periods, ordered
from norkyst_comparison import write_table

from data_pipelines import open_store
from forecasting import draw_map, forecast, open_forecast, truth_of, write_report
from forecasting.bootstrap import RESAMPLES, SEEDS, time_blocks
from forecasting.forecast import produce
from forecasting.naming import run_of
from forecasting.ratios import Row, StartSums, ratio_rows, rows_to_dataset, write_rows
from forecasting.scores import COLUMNS, OVER
from forecasting.windows import run_forecaster
from oceanop import load_checkpoint
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.spectra import frequency_power, shared_power

LEADS_SHOWN = (1, 3, 6, 12, 24, 50, 72, 100, 150, 200, 240)
WINDOWS = ((1, 24), (25, 100), (101, 240))  # h
PAST = ((51, 240),)  # h: when little is left of the start
EARLY, LATE = (101, 200), (901, 1000)  # h
WEEKS = (1, 480)  # h: the gauges over 20 days
STORM_LEADS, PEAK = 96, 48  # h: a storm is forecast from two days before its peak

Members = dict[str, list[Path]]


def assemble(experiment: Experiment, results: Path) -> None:
    """All tables and pictures from the runs that are done."""
    results.mkdir(parents=True, exist_ok=True)
    members = finished(experiment)
    rows, curves = score_rows(experiment, members)
    rows += long_rows(experiment, members)
    storm = Storm(experiment, members)
    rows += storm.seiche_rows()
    write_rows(rows, results / "scores.csv")
    costs = cost_rows(experiment, members)
    write_table(results / "costs.csv", costs)
    chosen = headline(experiment, members)
    draw_curves(results / "rmse.png", [row for row in curves if row["forecaster"] in chosen], chosen)
    draw_bands(results / "spectra.png", rows, chosen, experiment.sea.bands, lead=experiment.scale.leads)
    moving = [name for name in chosen if name in experiment.forecasters or name == "wind-regression"]
    draw_waves(results / "frequencies.png", series_of(members, moving), experiment.sea)
    forecasts, truth = storm.forecasts(chosen)
    draw_gauges(results / "gauges.png", forecasts, truth, experiment.sea)
    for name in chosen[:1]:
        draw_map(forecasts[name], variable="zos", lead=PEAK, to=results / "surge.png", truth=truth)
    write_page(experiment, members, forecasts, truth, costs)
    print(f"{results}: {len(rows)} scores of {', '.join(members)}", flush=True)


def finished(experiment: Experiment) -> Members:
    """Folders of all seeds that are done, by forecaster."""
    plans = plans_of(experiment)
    folders = {
        **{
            name: [experiment.to / f"{name}-seed-{seed}" for seed in experiment.scale.seeds] for name in plans
        },
        **{
            name: [experiment.to / name]
            for name in ("persistence", "wind-regression", *solver_names(experiment))
        },
    }
    done = {
        name: [to for to in each if read_note(to / "done.json") is not None] for name, each in folders.items()
    }
    left = [to.name for name, each in folders.items() for to in each if to not in done[name]]
    if left:
        print(f"{experiment.to}: not done, and left out of all tables: {', '.join(left)}", flush=True)
    return {name: each for name, each in done.items() if each}


def headline(experiment: Experiment, members: Members) -> list[str]:
    """Forecasters of pictures: operators of equal cost and what they are measured against, but the truth's model."""
    left_out = {*plans_of(experiment), next(iter(solver_names(experiment)))} - {*experiment.forecasters}
    return [name for name in members if name not in left_out]


def score_rows(experiment: Experiment, members: Members) -> tuple[list[Row], list[Row]]:
    """Rows of the table, and the test's at every lead."""
    scale = experiment.scale
    rows: list[Row] = []
    curves: list[Row] = []
    over = [name for name in members if name in (*plans_of(experiment), "persistence")]
    for split in [name for name in scale.days if name not in ("train", "validation")]:
        sums = {name: [StartSums.load(to / f"{split}.npz") for to in each] for name, each in members.items()}
        starts = experiment.starts(split, scale.leads, every=scale.starts_every)
        blocks = blocks_of(starts, scale.leads)
        found = ratio_rows(sums, blocks, over=over)
        shown = [row for row in found if is_shown(row)]
        if split == "test":
            curves = found
            rows += shown
            for stretch in (part for part in WINDOWS if part[1] <= scale.leads):
                parts = {
                    name: [part for each in own for part in each.windows(ENERGY, [stretch])]
                    for name, own in sums.items()
                }
                rows += ratio_rows(parts, blocks)
            for stretch in (part for part in PAST if part[1] <= scale.leads):
                parts = {
                    name: [part for each in own for part in each.windows(("rmse", "zos", "all"), [stretch])]
                    for name, own in sums.items()
                }
                found = ratio_rows(parts, blocks, over=over)
                rows += [row for row in found if is_compared(row)]
        else:
            rows += [
                {**row, "band": split if row["band"] == "all" else f"{row['band']} {split}"}
                for row in shown
                if row["metric"].startswith("rmse") and row["band"] in ("all", "gauges")
            ]
    return rows, curves


def blocks_of(starts: np.ndarray, leads: int) -> np.ndarray:
    """Block of each start, as long as a forecast; where these would be too few each start stands for itself."""
    blocks = time_blocks(starts, leads)
    return np.arange(starts.size) if blocks is None else blocks


def is_compared(row: Row) -> bool:
    """Whether a row is a score, or compares the reference with others or others with persistence."""
    of_reference = row["forecaster"] == REFERENCE or row["metric"] == f"{OVER}persistence"
    return of_reference or not row["metric"].startswith(OVER)


def is_shown(row: Row) -> bool:
    """Whether a row is one of the table's: not every lead, and of single gauges and of ratios only some."""
    whole = row["band"] in ("all", "gauges") or row["metric"] != "rmse"
    if row["metric"].startswith(OVER):
        whole = row["band"] in ("all", "gauges")
        if not is_compared(row):
            return False
    return row["lead_hours"] in ("all", *(f"{lead}" for lead in (LEADS_SHOWN if whole else (24, 240))))


def long_rows(experiment: Experiment, members: Members) -> list[Row]:
    """Growth or decay over the long forecasts, errors there, and waves at their frequencies."""
    scale = experiment.scale
    sums = {name: [StartSums.load(to / "long.npz") for to in each] for name, each in members.items()}
    first = next(iter(sums.values()))
    blocks = np.arange(next(iter(first[0].sums.values())).shape[1])
    options: dict[str, Any] = {"metric": "energy_growth"}
    growth = {
        name: [each.growth(ENERGY, EARLY, LATE, **options) for each in own] for name, own in sums.items()
    }
    growth["truth"] = [first[0].growth(ENERGY, EARLY, LATE, **options, side=1)]
    rows = ratio_rows(growth, blocks)
    stretches = [
        (key, stretch)
        for key in (ENERGY, ("rmse", "zos", "all"), ("mean_level_error", "zos", "all"))
        for stretch in (EARLY, LATE)
    ]
    for key, stretch in [*stretches, (("rmse", "zos", "gauges"), WEEKS)]:
        parts = {
            name: [part for each in own for part in each.windows(key, [stretch])]
            for name, own in sums.items()
        }
        rows += ratio_rows(parts, blocks)
    hours = np.array([float(scale.long_leads)])
    waves = {
        name: [
            StartSums({("frequency_power_shared", "zos", "all"): shared(np.load(to / "series.npz"))}, hours)
            for to in each
        ]
        for name, each in members.items()
    }
    return rows + ratio_rows(waves, blocks)


def shared(series: Mapping[str, np.ndarray]) -> np.ndarray:
    """What forecasts and truth have at the same wavenumbers and frequencies, over 1, ``[2, start, 1]``."""
    pairs = zip(series["amplitudes"], series["true_amplitudes"], strict=True)
    parts = [
        shared_power(*(frequency_power(each, 3600.0)[1] for each in pair))
        if np.abs(pair[0]).max() < 1e6
        else 0.0  # one that diverged
        for pair in pairs
    ]
    return np.stack([parts, np.ones(len(parts))])[..., None]


def series_of(members: Members, chosen: list[str]) -> dict[str, dict[str, np.ndarray]]:
    """What stays of the long forecasts of each one's first seed."""
    return {name: dict(np.load(members[name][0] / "series.npz")) for name in chosen}


def cost_rows(experiment: Experiment, members: Members) -> list[dict[str, Any]]:
    """What trainings and forecasts took, and after how many forecasts a training has paid for itself."""
    data = json.loads((experiment.to / "truth.json").read_text())["seconds"]
    solver = next(iter(solver_names(experiment)))
    dear = None
    if solver in members:
        dear = json.loads((members[solver][0] / "done.json").read_text())["forecast_seconds"]
    rows = []
    for name, folders in members.items():
        for to in folders:
            told = json.loads((to / "done.json").read_text())
            own, training = told["forecast_seconds"], told.get("training_seconds")
            even = ""
            if training is not None and dear is not None:
                even = str(round((data + training) / (dear - own))) if dear > own else "never"
            rows.append(
                {
                    "forecaster": name,
                    "seed": told.get("seed", ""),
                    "equal": told.get("equal", ""),
                    "parameters": told.get("parameters", ""),
                    "steps": told.get("steps", ""),
                    "seconds_a_step": told.get("seconds_a_step", ""),
                    "data_seconds": "" if training is None else round(data, 1),
                    "training_seconds": "" if training is None else training,
                    "training_wall_seconds": "" if training is None else wall_seconds(to),
                    "forecast_hours": experiment.scale.leads,
                    "forecast_seconds": own,
                    f"seconds_of_{MEMBERS}_members": told.get("members_seconds", ""),
                    "break_even_forecasts": even,
                }
            )
    return rows


def wall_seconds(to: Path) -> float:
    """What the clock says of a training's steps, whatever else the machine did meanwhile."""
    rows = (json.loads(line) for line in (to / "metrics.jsonl").read_text().splitlines())
    return round(max(row.get("seconds", 0.0) for row in rows), 1)


class Storm:
    """The highest level of the hardest weather: forecast by all from two days before, and then left in a calm."""

    def __init__(self, experiment: Experiment, members: Members) -> None:
        self.experiment, self.members = experiment, members
        self.ds = open_store(experiment.store)
        split = "extreme" if "extreme" in experiment.scale.days else "test"
        steps = experiment.starts(split, experiment.scale.leads, every=1)
        levels = self.ds["zos"].isel(time=slice(int(steps[0]) + PEAK, int(steps[-1]) + 1)).load().to_numpy()
        highest = np.abs(experiment.sea.levels(np.nan_to_num(levels))).max(-1)
        self.start = int(steps[0]) + int(highest.argmax())

    def settled(self, name: str) -> list[Settled]:
        """All seeds of a forecaster."""
        if name in plans_of(self.experiment):
            return [learned(load_checkpoint(to / "checkpoints" / "best")) for to in self.members[name]]
        return [baseline_of(self.experiment, name)]

    def forecasts(self, names: list[str]) -> tuple[dict[str, xr.Dataset], xr.Dataset]:
        """Files of the storm by forecaster, of each one's first seed, and the truth in the same form."""
        out = {}
        time = self.ds["time"].values[self.start]
        for name in names:
            path = self.members[name][0] / STORM
            if not path.exists():
                if name in self.experiment.forecasters:
                    best = self.members[name][0] / "checkpoints" / "best"
                    forecast(best, self.ds, start=time, leads=STORM_LEADS, to=path)
                else:
                    settled = self.settled(name)[0]
                    layout = settled.layout
                    attributes = {"model": name, "forcing": " ".join(layout.names("forcing")) or "none"}
                    produce(
                        settled.forecaster,
                        self.ds,
                        layout,
                        [self.start],
                        STORM_LEADS,
                        time_step=3600,
                        to=path,
                        attributes=attributes,
                    ).close()
            out[name] = open_forecast(path).load().assign_attrs(model=name)
        return out, truth_of(next(iter(out.values())), self.ds)

    def seiche_rows(self) -> list[Row]:
        """Periods in which the sea swings when the storm goes from its peak to a calm at once; none if it does not."""
        calm = self.calm()
        solver = next(iter(solver_names(self.experiment)))
        names = [name for name in self.members if name in self.experiment.forecasters or name == solver]
        rows: list[Row] = []
        for name in names:
            periods = []
            for to, settled in zip(self.members[name], self.settled(name), strict=True):
                kept = to / DECAY
                if not kept.exists():
                    leads = self.experiment.scale.leads
                    runs = run_forecaster(settled.forecaster, calm, settled.layout, [48], leads)
                    states = (ordered(state.values.numpy(), settled.layout)[0] for _, state in runs)
                    levels = np.stack([self.experiment.sea.levels(zos) for zos in states])
                    with (partial := to / f"{DECAY}.partial").open("wb") as file:
                        np.save(file, levels)
                    os.replace(partial, kept)  # whole or not at all
                levels = np.load(kept)
                if np.abs(levels).max() < 1e3:  # one that diverged has no period
                    periods.append(dominant_periods(levels))
            for gauge, values in zip(self.experiment.sea.gauges, np.transpose(periods), strict=False):
                swinging = values[np.isfinite(values)]
                if not swinging.size:
                    continue
                content = (name, "zos", "seiche_period", gauge, "all", float(np.median(swinging)))
                ends = (np.nan, np.nan, swinging.size)
                rows.append(dict(zip(COLUMNS, (*content, *ends), strict=True)))
        return rows

    def calm(self) -> xr.Dataset:
        """Two days before the storm's peak as they were, and no wind and one pressure after it."""
        peak = self.start + PEAK
        part = (
            self.ds.isel(time=slice(peak - 48, peak + self.experiment.scale.leads + 1)).load().copy(deep=True)
        )
        for name in ("tauu", "tauv", "u10", "v10"):
            part[name].values[49:] = 0.0
        part["msl"].values[49:] = STANDARD_PRESSURE
        return part


def write_page(
    experiment: Experiment,
    members: Members,
    forecasts: dict[str, xr.Dataset],
    truth: xr.Dataset,
    costs: list[dict[str, Any]],
) -> None:
    """The project's page of the test's scores and the storm's maps, in the experiment's folder."""
    scale = experiment.scale
    starts = experiment.starts("test", scale.leads, every=scale.starts_every)
    # Of leads chosen from short to long: an error over all of them is then one of what the page shows
    sums = {
        name: [StartSums.load(to / "test.npz").at(LEADS_SHOWN) for to in members[name]] for name in forecasts
    }
    rows = ratio_rows(sums, blocks_of(starts, scale.leads), over=list(forecasts))
    scores = rows_to_dataset(
        [row for row in rows if row["band"] == "all" and row["metric"].startswith("rmse")]
    )
    seeds = len(scale.seeds)
    scores.attrs = {
        "weighting": "cell area; current components pooled",
        "mask": "the sea",
        "intervals": f"block bootstrap over time, {RESAMPLES} resamples"
        + (f"; {SEEDS}" if seeds > 1 else ""),
        "starts": f"{starts.size} under unseen storms, with {seeds} training{'s' * (seeds > 1)} of each operator",
        "left_out": "all leads but those of the tables and curves",
        "baselines_fitted_on": "the training split",
    }
    cost = {
        row["forecaster"]: {
            key: row[key] for key in ("parameters", "training_seconds", "forecast_seconds") if row[key] != ""
        }
        for row in costs
        if row["forecaster"] in forecasts
    }
    runs = {name: run for name, ds in forecasts.items() if (run := run_of(ds))}
    write_report(
        experiment.to / "report", scores=scores, forecasts=forecasts, truth=truth, runs=runs, cost=cost
    )
