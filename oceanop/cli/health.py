"""The verb that says whether a long forecast stays an ocean."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from oceanop.cli.verbs import Debug, Quiet

UNWELL = 1  # exit code; 2 is a wrong request


def health(
    forecast_file: Annotated[Path, typer.Argument(metavar="FORECAST", help="A forecast file.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="The store whose training split says what is usual; the first lead where absent."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Also write it: .txt, .json or .nc, by the suffix.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say of each forecast whether it is stable, damping or exploding. Exit code 0: all are stable; 1: one is not.

    Example: oceanop health f.nc --truth norway.zarr --to health.json
    """
    from forecasting import health as run_health
    from forecasting import open_forecast
    from forecasting.health import STABLE, health_json, health_lines, verdict_of
    from forecasting.netcdf import write_netcdf

    if to is not None and to.suffix not in (".txt", ".json", ".nc"):
        raise ValueError(
            f"{to}: health is written as .txt, .json or .nc, not '{to.suffix}'; give one of these."
        )
    report = run_health(open_forecast(forecast_file), truth=truth)
    plain = json.dumps(health_json(report), indent=2)
    text = "\n".join(health_lines(report))
    if to is not None:
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = to.with_name(to.name + ".partial")
        if to.suffix == ".nc":
            write_netcdf(report, partial)
        else:
            partial.write_text((plain if to.suffix == ".json" else text) + "\n", encoding="utf-8")
        os.replace(partial, to)
    print(plain if as_json else text)
    if verdict_of(report) != STABLE:
        raise typer.Exit(UNWELL)
