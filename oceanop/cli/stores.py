"""The verbs that make a store of any files, and that look whether a store is as it was made."""

from pathlib import Path
from typing import Annotated

import typer

from oceanop.cli import console, words
from oceanop.cli.verbs import Debug, Quiet

DAMAGED = 1


def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="NetCDF files, globs, Zarr stores or URLs that xarray opens.")
    ],
    to: Annotated[Path, typer.Option(help="The store to write, such as ocean.zarr.")],
    forcing: Annotated[
        list[str] | None, typer.Option(help="Atmosphere files, brought to the ocean's grid.")
    ] = None,
    static: Annotated[
        list[str] | None, typer.Option(help="Files with fields that do not change in time.")
    ] = None,
    boundary: Annotated[
        list[str] | None,
        typer.Option(help="Store or files of the parent model, whose states drive the domain's open edge."),
    ] = None,
    product: Annotated[
        str, typer.Option(help="Kind of source: auto, cf, roms (CROCO too), nemo, mom6 or wrf.")
    ] = ("auto"),
    variables: Annotated[str | None, typer.Option(help="Canonical names, comma separated: uo,vo.")] = None,
    depths: Annotated[str, typer.Option(help="surface, all, or metres: 0,10,50.")] = "surface",
    region: Annotated[str | None, typer.Option(help="West,East,South,North in degrees.")] = None,
    coarsen: Annotated[int, typer.Option(min=1, help="Mean over N x N ocean cells.")] = 1,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Cells of the store: West,East,South,North,DX,DY in degrees, or a store or file on them."
        ),
    ] = None,
    regridding: Annotated[
        str | None,
        typer.Option(help="To --grid: conservative or bilinear; means where its cells are larger if absent."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder for the weights of --grid; beside the store if absent.")
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=START/END, for train, validation and test; 70, 15, 15 % of the time where absent."
        ),
    ] = None,
    time_origin: Annotated[
        str | None, typer.Option(help="Date from which times of sources count that name none themselves.")
    ] = None,
    duplicates: Annotated[
        str,
        typer.Option(help="Where a time occurs twice: error, identical (keep one of equals), first or last."),
    ] = "error",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave damaged files and steps out, and list them.")
    ] = False,
    mask: Annotated[
        str,
        typer.Option(help="Cells that are sea at some steps only: static (warn of many), fixed, dynamic."),
    ] = "static",
    profile: Annotated[
        str, typer.Option(help="fast: plain numbers, read at the speed of memory; compact: compressed.")
    ] = "fast",
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the later days of SOURCES to a store made with the same options."),
    ] = False,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Processes, 1 for this one alone, or the address of a Dask scheduler (tcp://host:8786); as many as "
            "pay where absent."
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Of all workers together, as in 500MB or 2GiB; 4GiB where absent.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Bring ocean and forcing files to one training-ready Zarr store.

    A build that was stopped goes on with the same command.

    Example: oceanop ingest norkyst.nc --forcing arome.nc --coarsen 4 --to norway.zarr

    Later days: oceanop ingest norkyst-*.nc --forcing arome-*.nc --coarsen 4 --append --to norway.zarr
    """
    from data_pipelines import ingest as run_ingest
    from data_pipelines.engine.crew import DEFAULT_MEMORY

    with console.remarks("ingest"), console.progress("ingest", quiet=quiet) as report:
        store = run_ingest(
            sources,
            to=to,
            forcing=forcing or (),
            static=static or (),
            boundary=boundary or (),
            product=product,
            variables=variables.split(",") if variables else None,
            depths=depths,
            region=words.region(region),
            coarsen=coarsen,
            grid=grid,
            regridding=regridding,
            weights=weights,
            splits=words.splits(split),
            time_origin=time_origin,
            duplicates=duplicates,
            skip_bad=skip_bad,
            mask=mask,
            profile=profile,
            append=append,
            workers=words.workers(workers),
            memory=words.memory(memory, DEFAULT_MEMORY),
            progress=report,
        )
    console.out.print(f"{store}")


def verify(
    store: Annotated[Path, typer.Argument(help="A store.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look whether every file of a store is there and as it was written; list those that are not, and exit with 1.

    Example: oceanop verify norway.zarr
    """
    from data_pipelines import verify as run_verification

    with console.progress("verify", quiet=quiet) as report:
        faults, files = run_verification(store, progress=report)
    for fault in faults:
        console.out.print(fault)
    if faults:
        raise typer.Exit(DAMAGED)
    console.out.print(f"{store}: {files} files, all as they were written")
