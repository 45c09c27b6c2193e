"""The verbs that draw forecasts: maps, films, Hovmoeller diagrams, and time series at places."""

from pathlib import Path
from typing import Annotated

import typer

from oceanop.cli import console, words
from oceanop.cli.verbs import Debug, Quiet

File = Annotated[Path, typer.Argument(metavar="FORECAST", help="A forecast file.")]
Variable = Annotated[str, typer.Option(help="A variable of the forecast, or 'speed' for a current.")]
Start = Annotated[str | None, typer.Option(help="Which start; the first where absent.")]
Truth = Annotated[Path | None, typer.Option(help="A store that holds what happened, drawn beside.")]
Depth = Annotated[
    float | None, typer.Option(help="Metres, of a level that the forecast has; the uppermost where absent.")
]


def draw(
    forecast_file: File,
    variable: Variable,
    lead: Annotated[
        str, typer.Option(help="Which lead, counted in steps from 1, or as 6h; several are panels: 1,6,24.")
    ],
    to: Annotated[Path, typer.Option(help="The PNG to write.")],
    start: Start = None,
    truth: Annotated[
        Path | None, typer.Option(help="A store that holds what happened, drawn beside with the difference.")
    ] = None,
    depth: Depth = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw one forecast map, or those of several leads as panels in the same colours.

    Example: oceanop map f.nc --variable speed --lead 12 --truth norway.zarr --to speed.png

    Panels: oceanop map f.nc --variable speed --lead 1,6,12 --truth norway.zarr --to panels.png
    """
    from forecasting import draw_map, open_forecast, truth_of

    ds = open_forecast(forecast_file)
    happened = None if truth is None else truth_of(ds, truth)
    draw_map(ds, variable=variable, lead=words.leads(lead), start=start, truth=happened, depth=depth, to=to)
    console.out.print(f"{to}")


def animate(
    forecast_file: File,
    variable: Variable,
    to: Annotated[Path, typer.Option(help="The film to write: .gif, or .mp4 where ffmpeg is installed.")],
    start: Start = None,
    truth: Truth = None,
    depth: Depth = None,
    every: Annotated[int, typer.Option(min=1, help="Leads from one frame to the next.")] = 1,
    rate: Annotated[
        int, typer.Option(min=1, max=60, help="Frames a second; a GIF counts in hundredths of one.")
    ] = 8,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a forecast as a film, all frames in the same colours.

    Example: oceanop animate f.nc --variable speed --truth norway.zarr --to speed.gif
    """
    from forecasting import animate as run_animation
    from forecasting import open_forecast

    with console.progress("animate", quiet=quiet) as report:
        run_animation(
            open_forecast(forecast_file),
            variable=variable,
            to=to,
            start=start,
            truth=truth,
            depth=depth,
            every=every,
            rate=rate,
            progress=report,
        )
    console.out.print(f"{to}")


def hovmoeller(
    forecast_file: File,
    variable: Variable,
    along: Annotated[
        str,
        typer.Option(help="latitude, longitude (means over the other), or a line, lon,lat:lon,lat."),
    ],
    to: Annotated[Path, typer.Option(help="The PNG to write.")],
    start: Start = None,
    truth: Truth = None,
    depth: Depth = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a variable over place and lead.

    Example: oceanop hovmoeller f.nc --variable vo --along 3,60:5,60 --truth norway.zarr --to vo.png
    """
    from forecasting import draw_hovmoeller, open_forecast

    ds = open_forecast(forecast_file)
    draw_hovmoeller(ds, variable=variable, along=along, to=to, start=start, truth=truth, depth=depth)
    console.out.print(f"{to}")


def stations(
    forecast_file: File,
    to: Annotated[Path, typer.Option(help="What to write: .png, .csv, or .nc (CF time series).")],
    at: Annotated[
        list[str] | None, typer.Option(help="A place, lon,lat or lon,lat:name, repeatable.")
    ] = None,
    gauges: Annotated[
        list[Path] | None,
        typer.Option(
            help="A tide gauge's file, or a listing of several (.toml), repeatable: places with levels."
        ),
    ] = None,
    variable: Annotated[
        list[str] | None, typer.Option(help="A variable of the forecast, repeatable; all where absent.")
    ] = None,
    start: Start = None,
    truth: Truth = None,
    depth: Depth = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Time series of a forecast at places and tide gauges.

    Example: oceanop stations f.nc --at 4.5,61:Sognefjord --at 3.3,60.2 --truth norway.zarr --to places.png
    """
    from forecasting import open_forecast, save_stations
    from forecasting import stations as run_stations

    ds = run_stations(
        open_forecast(forecast_file),
        words.places(at or []),
        variables=variable,
        start=start,
        depth=depth,
        truth=truth,
        gauges=gauges or (),
    )
    save_stations(ds, to)
    console.out.print(f"{to}")
