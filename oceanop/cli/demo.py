"""The demonstration: every verb once, on the shipped sample of the Norwegian coast."""

from pathlib import Path

import xarray as xr
from rich.table import Table

from data_pipelines import ingest, sample_paths
from forecasting import evaluate, forecast
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


def run_demo(to: Path, *, seeds: int = 1, quiet: bool = False) -> Path:
    """Ingest, train, forecast and evaluate under ``to``; a second call goes on where the first was stopped."""
    sample = sample_paths()
    store = to / "norkyst.zarr"
    with console.progress("ingest", quiet=quiet) as report:
        ingest(
            [sample.ocean], to=store, forcing=[sample.wind], coarsen=COARSEN, splits=SPLITS, progress=report
        )
    files = []
    for preset in PRESETS:
        for seed in range(seeds):
            name = preset if seeds == 1 else f"{preset}-seed{seed}"
            run = load_run(preset, [f"training.seed={seed}"])
            with console.progress(f"train {name}", quiet=quiet) as report:
                best = train(run, store, to / name, resume=True, progress=report)
            files.append(to / f"{name}.zarr")
            with console.progress(f"forecast {name}", quiet=quiet) as report:
                forecast(best, store, start=START, leads=LEADS, to=files[-1], progress=report)
    with console.progress("evaluate", quiet=quiet) as report:
        scores = evaluate(files, truth=store, to=to / "report", progress=report)
    console.out.print(error_table(scores))
    page = to / "report" / "report.html"
    console.out.print(f"report: {page.resolve()}")
    return page


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
