"""The verbs: each reads its words, hands them on, and says where the result is."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from oceanop.cli import console, words

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learn ocean dynamics from numerical model output, and forecast them.",
)

INTERRUPTED = 130  # the shell's word for SIGINT
WRONG_INPUT = 2


class _Settings:
    """What the two options that every verb has were set to, and whether another rank speaks for this one."""

    quiet = False
    debug = False
    silent = False


def _set_quiet(value: bool) -> bool:
    _Settings.quiet = value
    return value


def _set_debug(value: bool) -> bool:
    _Settings.debug = value
    return value


Quiet = Annotated[bool, typer.Option("--quiet", callback=_set_quiet, help="No progress.")]
Debug = Annotated[bool, typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.")]


# Typer keeps click's errors of usage to itself but for this one, which is a child of all of them.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main() -> None:
    """Entry point: errors of input end in one sentence and exit code 2, an interrupt in 130."""
    try:
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED and not _Settings.silent:  # typer makes this of an interrupt, without a word
            _complain(
                "interrupted; what was written stays: a run goes on with --resume, all else with the same command."
            )
        sys.exit(code)
    except _UsageError as error:
        command = error.ctx.command_path if error.ctx else "oceanop"
        if error.format_message():  # 'oceanop' alone has shown its help and has nothing to say
            _complain(f"{error.format_message().rstrip('.')}; '{command} --help' shows what it takes.")
        sys.exit(WRONG_INPUT)
    except (ValueError, OSError) as error:
        if _Settings.debug:
            raise
        if not getattr(error, "silent", False):  # what all ranks find, one tells
            _complain(_one_sentence(error))
        sys.exit(getattr(error, "exit_code", WRONG_INPUT))


def _complain(sentence: str) -> None:
    print(f"oceanop: {sentence}", file=sys.stderr)


def _one_sentence(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}."
    return " ".join(str(error).split())


@app.command()
def inspect(
    path: Annotated[
        str, typer.Argument(help="A NetCDF file, store, checkpoint, forecaster or forecast, or its address.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a file, store, checkpoint, forecaster or forecast is.

    Example: oceanop inspect norway.zarr
    """
    from data_pipelines import describe
    from forecasting.forecaster_file import describe_forecaster, is_forecaster_file
    from oceanop.checkpoint import describe_checkpoint, is_checkpoint

    if "://" in path:  # which a path would lose a slash of
        facts = describe(path)
    elif is_checkpoint(Path(path)):
        facts = describe_checkpoint(Path(path))
    else:
        facts = describe_forecaster(Path(path)) if is_forecaster_file(Path(path)) else describe(Path(path))
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
    else:
        for line in words.lines(facts):
            print(line)


@app.command()
def train(
    run: Annotated[str, typer.Argument(help="A TOML file, or a shipped preset's name.")],
    data: Annotated[Path, typer.Option(help="The store to learn from.")],
    to: Annotated[Path, typer.Option(help="The folder of the run.")] = Path("run"),
    change: Annotated[
        list[str] | None, typer.Option("--set", help="table.key=value, over the run file.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Continue a stopped run.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train an operator, in one process or, started by torchrun, on many ranks.

    Example: oceanop train norkyst-fnotd --data norway.zarr --to runs/fnotd --set training.seed=1

    On two ranks: torchrun --no-python --nproc-per-node 2 oceanop train norkyst-fnotd --data norway.zarr --to runs/two
    """
    from oceanop.config import load_run
    from training import join
    from training import train as run_training

    with join() as ranks:
        _Settings.silent = not ranks.first
        with ranks.all_or_none():
            settings = load_run(run, change or ())
            closed = _closed_boundaries(data, settings.data.edge_zone)
        if closed and ranks.first:
            console.err.print(f"train: {closed}")
        with console.progress("train", quiet=quiet or not ranks.first) as report:
            best = run_training(settings, data, to, resume=resume, progress=report)
    if ranks.first:
        console.out.print(f"{best}")


@app.command()
def forecast(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT...",
            help="What 'oceanop train' wrote, RUN/checkpoints/best, or a forecaster that 'oceanop combine' wrote; "
            "several are members of an ensemble.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="The store with the past and the known forcing, on the grid of training or a finer one of its domain."
        ),
    ],
    start: Annotated[
        str, typer.Option(help="A time, 'latest', or FIRST/LAST/STEP with a step like 3h or PT3H.")
    ],
    leads: Annotated[int, typer.Option(min=1, help="Steps of the store to forecast.")],
    to: Annotated[Path, typer.Option(help="The forecast to write: .zarr or .nc.")],
    forcing: Annotated[
        list[str] | None,
        typer.Option(help="Weather files, repeatable, that go on where the store ends, 'latest'."),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Size of the ensemble: one of each checkpoint, and all beyond from perturbed starts; as many as there "
            "are checkpoints where absent.",
        ),
    ] = None,
    perturbation: Annotated[
        float | None,
        typer.Option(help="Of perturbed starts: amplitude, 1 (the size of a one-step change) where absent."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of perturbed starts: 0 where absent.")] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Roll a trained operator, or an ensemble, out from one start or many.

    Needs no truth after a start, only the forcing: in the store, or from --forcing past its end.

    Example: oceanop forecast runs/fnotd/checkpoints/best --data norway.zarr --start 2015-11-17T21 --leads 21 --to f.nc

    An ensemble: oceanop forecast runs/*/checkpoints/best --data norway.zarr --start latest --leads 21 --members 9
    --to e.nc
    """
    from forecasting import forecast as run_forecast

    several = len(checkpoints) > 1 or members is not None
    with console.progress("forecast", quiet=quiet) as report:
        made = run_forecast(
            checkpoints if several else checkpoints[0],
            data,
            start=start,
            leads=leads,
            forcing=forcing,
            members=(members or len(checkpoints)) if several else None,
            perturbation=perturbation,
            seed=seed,
            to=to,
            progress=report,
        )
    if made.attrs.get("refinement", 1) > 1:
        console.err.print(
            f"forecast: trained on {made.attrs['training_grid']}, run on {made.attrs['forecast_grid']}."
        )
    console.out.print(f"{to}")


@app.command()
def evaluate(
    forecasts: Annotated[list[Path], typer.Argument(help="Forecasts to compare.")],
    truth: Annotated[Path, typer.Option(help="The store that holds what happened.")],
    to: Annotated[Path, typer.Option(help="Folder for scores, maps and the report.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            help="A baseline to compare with, repeatable, shallow-water-BASIN and files of numerical forecasts among "
            "them; all fitted ones where absent."
        ),
    ] = None,
    gauges: Annotated[
        list[Path] | None,
        typer.Option(
            help="A tide gauge's file, or a listing of several (.toml), repeatable: CSV, NOAA CO-OPS, NOOS, DIA, "
            "UHSLC, GESLA-3 or Copernicus in-situ."
        ),
    ] = None,
    diagnostics: Annotated[
        str | None,
        typer.Option(help="Sets of metrics, by commas, 'all' or 'none'; the cheap ones where absent."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Of fields at one time in each process: 512MB where absent, 2GB, 500MiB."),
    ] = None,
    workers: Annotated[
        str, typer.Option(help="Number of processes, or the address of a Dask scheduler, tcp://HOST:PORT.")
    ] = "1",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score forecasts beside baselines, and at tide gauges; draw maps, write one report page.

    Example: oceanop evaluate fnotd.nc fno.nc --truth norway.zarr --to report

    At gauges: oceanop evaluate level.nc --truth baltic.zarr --gauges gauges.toml --to report

    Larger than memory, on four processes: oceanop evaluate long.zarr --truth norway.zarr --workers 4 --to report
    """
    from forecasting import evaluate as run_evaluation
    from forecasting.blocks import MEMORY

    with console.progress("evaluate", quiet=quiet) as report:
        run_evaluation(
            forecasts,
            truth=truth,
            baselines=baseline,
            gauges=gauges or None,
            diagnostics=diagnostics,
            to=to,
            memory=words.memory(memory, MEMORY),
            workers=workers,
            progress=report,
        )
    console.out.print(f"{to / 'report.html'}")


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each operator and ensemble, pooled in the scores.")
    ] = 1,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Without the ensemble: both operators alone, in a third of the time."),
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The whole way on shipped real data, offline: ingest, train, combine, forecast, evaluate, report.

    Example: oceanop demo --to demo
    """
    from oceanop.cli.demo import MEMBERS, run_demo

    run_demo(to, seeds=seeds, members=0 if quick else MEMBERS, quiet=quiet)


def _closed_boundaries(store: Path, edge_zone: int) -> str:
    """A sentence where a run takes the open edge of a domain for a coast; empty where it does not."""
    from data_pipelines import open_store
    from oceanop.edge import open_edge
    from oceanop.grid import Grid

    if edge_zone:
        return ""
    with open_store(store) as ds:
        cells = int(open_edge(Grid.from_dataset(ds)).sum())
    if not cells:
        return ""
    return (
        f"{cells} ocean cells lie on the outer edge of the domain, and the run has no edge zone, so that these open "
        "boundaries are treated as closed; to drive them, ingest with --boundary PARENT and set data.edge_zone."
    )
