"""The demonstration: every verb once, on the shipped sample of the Norwegian coast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from rich.table import Table

from data_pipelines import ingest, sample_paths
from forecasting import evaluate, forecast, write_forecaster
from forecasting.findings import (
    chosen_hours,
    main_variable,
    score_rows,
    scores_table,
    single_seeds,
    variable_text,
    variable_units,
)
from oceanop.cli import console
from oceanop.config import load_run
from training import train

# Hours 0-28 teach and 29-45 validate; hours 46-66 are the test and are seen by nothing before the evaluation.
SPLITS = {
    "train": ("2015-11-16T00:00", "2015-11-17T04:00"),
    "validation": ("2015-11-17T05:00", "2015-11-17T21:00"),
    "test": ("2015-11-17T22:00", "2015-11-18T18:00"),
}
START = "2015-11-17T21:00"
LEADS = 21
COARSEN = 4  # 800 m to 3.2 km, so that two cores train both operators in minutes
PRESETS = ("norkyst-fno", "norkyst-fnotd")

# The ensemble learns at 6.4 km, where training costs a third to a half, and forecasts at 3.2 km like the others.
ENSEMBLE_COARSEN = 8
LONG, SHORT = "norkyst-fnotd", "norkyst-fno-one-step"
MEMBERS = 4  # of each
# Share of the one-step operators at each lead: as fitted_share fits it to the two means of four such members each,
# trained at 6.4 km and run at 3.2 km, over the hours that the two folds of 'make norkyst-validation' hold out. These
# are hours 0-45; the test hours took no part.
SHARE = (0.86, 0.66, 0.51, 0.34, 0.33, 0.33, 0.31, 0.25, 0.20, 0.15, 0.11)
SHARE_FITTED_ON = (SPLITS["train"][0], SPLITS["validation"][1])


def run_demo(
    to: Path, *, seeds: int = 1, members: int = MEMBERS, changes: Sequence[str] = (), quiet: bool = False
) -> Path:
    """Ingest, train, forecast and evaluate under ``to``; a second call goes on where the first was stopped.

    Parameters
    ----------
    to
        Folder.
    seeds
        Trainings of each operator, and of the ensemble: each has members of its own.
    members
        Operators of each kind in an ensemble; 0 makes none.
    changes
        Over every preset, as ``oceanop train --set`` takes them.
    """
    demo = _Demo(to, tuple(changes), quiet)
    store = demo.ingest("norkyst", COARSEN)
    forecasters = {}
    for preset in PRESETS:
        for seed in range(seeds):
            name = preset if seeds == 1 else f"{preset}-seed{seed}"
            forecasters[name] = demo.train(preset, seed, store, name)
    if members:
        coarse = demo.ingest("norkyst-coarse", ENSEMBLE_COARSEN)
        for number in range(seeds):
            name = "norkyst-ensemble" if seeds == 1 else f"norkyst-ensemble{number}"
            forecasters[name] = demo.ensemble(name, range(number * members, (number + 1) * members), coarse)
    files = [demo.forecast(name, forecaster, store) for name, forecaster in forecasters.items()]
    with console.progress("evaluate", quiet=quiet) as report:
        scores = evaluate(files, truth=store, to=to / "report", progress=report)
    console.out.print(error_table(scores))
    page = to / "report" / "report.html"
    console.out.print(f"report: {page.resolve()}")
    return page


@dataclass(frozen=True)
class _Demo:
    """Where the demonstration lies, what it changes in the presets, and whether it is silent."""

    to: Path
    changes: tuple[str, ...]
    quiet: bool

    def ingest(self, name: str, coarsen: int) -> Path:
        sample, store = sample_paths(), self.to / f"{name}.zarr"
        with console.progress(f"ingest {name}", quiet=self.quiet) as report:
            return ingest(
                [sample.ocean],
                to=store,
                forcing=[sample.wind],
                coarsen=coarsen,
                splits=SPLITS,
                progress=report,
            )

    def train(self, preset: str, seed: int, store: Path, name: str) -> Path:
        run = load_run(preset, [*self.changes, f"training.seed={seed}"])
        with console.progress(f"train {name}", quiet=self.quiet) as report:
            return train(run, store, self.to / name, resume=True, progress=report)

    def ensemble(self, name: str, seeds: Sequence[int], store: Path) -> Path:
        parts = {
            part: [self.train(preset, seed, store, f"{name}/{preset}-seed{seed}") for seed in seeds]
            for part, preset in (("long", LONG), ("short", SHORT))
        }
        return write_forecaster(
            self.to / f"{name}.toml", **parts, share=SHARE, share_fitted_on=SHARE_FITTED_ON
        )

    def forecast(self, name: str, forecaster: Path, store: Path) -> Path:
        path = self.to / f"{name}.zarr"
        with console.progress(f"forecast {name}", quiet=self.quiet) as report:
            forecast(forecaster, store, start=START, leads=LEADS, to=path, progress=report)
        return path


def error_table(scores: xr.Dataset) -> Table:
    """Errors by lead on the screen: the first table of the report."""
    frame = scores_table(scores)
    variable, hours = main_variable(frame), [*chosen_hours(frame), "all"]
    table = Table(
        title=f"RMSE of the {variable_text(variable)}, {variable_units(variable)}; * best of its column"
    )
    table.add_column("forecaster", overflow="fold")
    for hour in hours:
        table.add_column("all leads" if hour == "all" else f"{hour} h", justify="right")
    for row in score_rows(frame, variable, "rmse", hours, (), seeds=single_seeds(scores)):
        marked = [f"{cell}{'*' if best else ' '}" for cell, best in zip(row.cells, row.best, strict=True)]
        table.add_row(row.name, *marked)
    return table
