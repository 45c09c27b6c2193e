"""What an ingest will do, decided from the files' headers before the first field is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.coarsen import Coarsening
from data_pipelines.grid_change import GridAsked, GridChange
from data_pipelines.land import require_land_marked
from data_pipelines.positions import Positions
from data_pipelines.regrid import bracket
from data_pipelines.remarks import Record
from data_pipelines.seam import begun_at, first_column
from data_pipelines.series import Depths, Series, join
from data_pipelines.skipping import only_steps, sound_steps, within
from data_pipelines.sources import Source
from data_pipelines.sources.source import SourceField
from data_pipelines.times import Times, calendar_of, milliseconds, text
from oceanop.variables import VARIABLES

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


@dataclass(eq=False)
class Plan:
    """All that is decided before the first field is read.

    ``skipped`` and ``duplicates`` are what is left out of the files, ``mask`` what is thought of cells that are sea at
    some steps only.
    """

    ocean: list[Series]
    weather: list[tuple[Series, NDArray[np.int64], NDArray[np.float64]]]
    static: list[SourceField]
    kept: list[str]
    times: Times
    depths: NDArray[np.float64] | None
    fine: Positions
    rows: slice
    columns: slice
    coarsening: Coarsening | GridChange
    target: Positions
    boundary: list[tuple[Series, NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)
    skipped: list[Record] = field(default_factory=list)
    duplicates: list[Record] = field(default_factory=list)
    mask: str = "static"


def make_plan(
    opened: Mapping[str, Sequence[Source]], options: Mapping[str, Any], to: GridAsked | None = None
) -> Plan:
    """Match variables, grids and times of all files, or say what does not fit; on their own grid or another one."""
    ocean_names = _names(opened["source"], dynamic=True)
    weather_names = [
        name for name in _names(opened["forcing"], dynamic=True) if VARIABLES[name].role == "forcing"
    ]
    if opened["forcing"] and not weather_names:
        raise ValueError(
            f"{opened['forcing'][0].name} holds no forcing, only {', '.join(opened['forcing'][0].fields)}; forcing is "
            f"{', '.join(name for name, variable in VARIABLES.items() if variable.role == 'forcing')}."
        )
    # Weather that is given for itself replaces what an ocean file carries along.
    ocean_names = [name for name in ocean_names if name not in weather_names]
    wanted = options["variables"]
    for name in wanted or ():
        if name not in ocean_names + weather_names:
            raise ValueError(
                f"variable '{name}' is not in the files, which hold {', '.join(ocean_names + weather_names)}; name "
                "some of these with --variables."
            )
    kept = [name for name in ocean_names + weather_names if wanted is None or name in wanted]
    duplicates = options.get("duplicates") or "error"
    ocean = _series(
        opened["source"], [name for name in ocean_names if name in kept], options["depths"], duplicates
    )
    if not ocean:
        raise ValueError(
            f"{opened['source'][0].name} holds no series to keep, only "
            f"{', '.join(opened['source'][0].fields) or 'the grid of a model'}; give a "
            "file with an ocean state as the source (sea floor depth goes to --static)."
        )
    first, skips = ocean[0], bool(options.get("skip_bad"))
    for other in ocean[1:]:
        _check_together(first, other, same_times=not skips)
    depths = next((series.depths for series in ocean if series.depths is not None), None)
    fine = first.positions
    rows, columns = slice(0, fine.shape[0]), slice(0, fine.shape[1])
    if options["region"] is not None:
        if begin := first_column(fine, options["region"]):
            ocean = [begun_at(series, begin) for series in ocean]
            fine = ocean[0].positions
        rows, columns = fine.region(*options["region"])
        fine = fine.crop(rows, columns)
    given = _series(
        opened["forcing"], [name for name in weather_names if name in kept], "surface", duplicates
    )
    skipped: list[Record] = []
    if skips:
        ocean, given, skipped = _sound(ocean, given, rows, columns)
    first = ocean[0]
    for series in ocean:
        if is_state(series):
            require_land_marked(series)
    coarsening: Coarsening | GridChange
    if to is None:
        coarsening = Coarsening(options["coarsen"], fine.cell_area)
    else:
        coarsening = to.change(fine)
        rows, columns = _part(rows, coarsening.rows), _part(columns, coarsening.columns)
        fine = fine.crop(coarsening.rows, coarsening.columns)
    weather = []
    for series in given:
        steps = bracket(series.times, first.times, series.where, first.where)
        weather.append((series, *steps))
    static = [
        source.fields["deptho"]
        for role in ("static", "source")
        for source in opened[role]
        if "deptho" in source.fields
    ][:1]
    for source in opened["static"]:
        if "deptho" not in source.fields and not source.is_grid:
            raise ValueError(
                f"{source.name} holds no sea floor depth; static files give deptho. Leave it out."
            )
    return Plan(
        ocean=ocean,
        weather=weather,
        static=static,
        kept=kept,
        times=first.times,
        depths=depths,
        fine=fine,
        rows=rows,
        columns=columns,
        coarsening=coarsening,
        target=coarsening.positions(fine) if coarsening.changes else fine,
        skipped=skipped,
        duplicates=[record for series in (*ocean, *given) for record in series.dropped],
        mask=options.get("mask") or "static",
    )


def is_state(series: Series) -> bool:
    """Whether a series is forecast, rather than known ahead."""
    return VARIABLES[series.names[0]].role == "state"


def _part(whole: slice, inner: slice) -> slice:
    return slice(whole.start + inner.start, whole.start + inner.stop)


def box(region: Sequence[float]) -> list[float]:
    """West, east, south, north of a region as numbers."""
    if isinstance(region, str) or len(region) != 4:
        raise ValueError(f"region {region!r} is not four numbers; give west, east, south, north in degrees.")
    return [float(edge) for edge in region]


def _names(sources: Sequence[Source], *, dynamic: bool) -> list[str]:
    """Canonical names in the files, in the table's order."""
    held = {name for source in sources for name in source.fields}
    return [
        name
        for name, variable in VARIABLES.items()
        if name in held and (variable.role != "static") == dynamic
    ]


def _series(sources: Sequence[Source], names: Sequence[str], depths: Depths, duplicates: str) -> list[Series]:
    """One series for each variable or pair."""
    found: list[Series] = []
    for name in names:
        if not any(name in series.names for series in found):
            found.append(join(sources, name, depths, duplicates))
    return found


def _sound(
    ocean: list[Series], weather: list[Series], rows: slice, columns: slice
) -> tuple[list[Series], list[Series], list[Record]]:
    """Series on their sound steps, those of the ocean only where the weather has no gap, and what is left out."""
    ocean, skipped = sound_steps(ocean, rows, columns)
    sound = []
    for series in weather:
        everywhere = slice(0, series.positions.shape[0]), slice(0, series.positions.shape[1])
        (left,), lost = sound_steps([series], *everywhere)
        sound.append(left)
        covered = within(left.times, ocean[0].times)
        skipped += lost
        for time in ocean[0].times[~covered]:
            why = f"'{left.names[0]}' of the forcing has no sound step around {text(time)}."
            skipped.append({"file": None, "time": text(time), "why": why})
        ocean = [only_steps(each, np.flatnonzero(covered)) for each in ocean]
        if not covered.any():
            raise ValueError(
                f"{left.where}: no ocean step lies between two sound steps of this forcing; repair it."
            )
    return ocean, sound, skipped


def _check_together(first: Series, other: Series, *, same_times: bool) -> None:
    """Refuse two series that do not share cells, levels or, if they must, times."""
    if not other.positions.agrees(first.positions):
        raise ValueError(
            f"{other.where} lies on other cells than {first.where}; all state variables share one grid. Choose with "
            "--variables, or bring them to one grid first."
        )
    calendars = calendar_of(first.times), calendar_of(other.times)
    if calendars[0] != calendars[1]:
        raise ValueError(
            f"{first.where} is in the calendar {calendars[0]}, {other.where} in {calendars[1]}; use files of one "
            "calendar."
        )
    one, two = milliseconds(first.times), milliseconds(other.times)
    if same_times and (one.shape != two.shape or (one != two).any()):
        lone = np.setxor1d(one, two)
        series = first if lone[0] in one else other
        missing = other if series is first else first
        step = int(np.searchsorted(milliseconds(series.times), lone[0]))
        there = series.fields[int(series.origin[step][0])][0].where.partition(":")[0]
        raise ValueError(
            f"{missing.where}: '{missing.names[0]}' is missing at {text(series.times[step])}, where "
            f"'{series.names[0]}' is given in {there}; every variable needs every step. Add the file that has it, or "
            "leave the variable out with --variables."
        )
    if first.depths is not None and other.depths is not None and not np.allclose(first.depths, other.depths):
        raise ValueError(
            f"{other.where} lies on other levels than {first.where}; name common depths with --depths."
        )
