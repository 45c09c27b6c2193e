"""The demonstration: every verb once, on the shipped sample of the Norwegian coast."""

from pathlib import Path


from data_pipelines import ingest, sample_paths
from forecasting import evaluate, forecast
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


def run_demo(to: Path, *, quiet: bool = False) -> Path:
    """Ingest, train, forecast and evaluate under ``to``; a second call goes on where the first was stopped."""
    sample = sample_paths()
    store = to / "norkyst.zarr"
    with console.progress("ingest currents and winds", quiet=quiet) as report:
        ingest(
            [sample.ocean], to=store, forcing=[sample.wind], coarsen=COARSEN, splits=SPLITS, progress=report
        )
    files = []
    for preset in PRESETS:
        with console.progress(f"train {preset}", quiet=quiet) as report:
            best = train(load_run(preset), store, to / preset, resume=True, progress=report)
        files.append(to / f"{preset}.zarr")
        with console.progress(f"forecast {preset}", quiet=quiet) as report:
            forecast(best, store, start=START, leads=LEADS, to=files[-1], progress=report)
    with console.progress("evaluate", quiet=quiet) as report:
        scores = evaluate(files, truth=store, to=to / "report", progress=report)
    console.out.print(score_table(scores))
    page = to / "report" / "report.html"
    console.out.print(f"report: {page.resolve()}")
    return page
