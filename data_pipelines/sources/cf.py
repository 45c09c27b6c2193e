"""Files that describe themselves by the CF conventions."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import xarray as xr

from data_pipelines.positions import Positions
from data_pipelines.sources.cells import is_flipped, read_positions, require_repetition
from data_pipelines.sources.names import is_upward, kept_attributes, left_aside, recognised, require_known
from data_pipelines.sources.repeated import without_halo
from data_pipelines.sources.source import Given, Source, SourceField, Values
from data_pipelines.sources.stored import Stored, stored_variable, unusable_fill
from oceanop.variables import Variable


def read_source(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """Find the fields in a data set whose times are numbers and that is called ``path``.

    Variables are found by ``standard_name``, then by canonical short name; a variable whose name says nothing to the
    project is left aside.

    Parameters
    ----------
    along
        What comes along with it; files of a grid or a series are not needed by these conventions.

    Raises
    ------
    ValueError
        If a field lacks time, positions or a unit, or nothing is known.
    """
    along = along or Given()
    name = Path(str(path)).name
    known: dict[tuple[str, str], Positions] = {}
    fields: dict[str, SourceField] = {}
    for variable, source_name, along_grid in recognised(ds, name, along=along):
        with left_aside(along, variable):
            fields[variable.name] = _field(ds, name, variable, source_name, along_grid, known, along)
    require_known(fields, ds, name)
    return Source(name, path, fields, dict(ds.attrs), ds.close)


def _field(
    ds: xr.Dataset,
    file: str,
    variable: Variable,
    source_name: str,
    along_grid: bool,
    known: dict[tuple[str, str], Positions],
    along: Given,
) -> SourceField:
    stored = stored_variable(ds, file, variable, source_name)
    array, where, plane = stored.array, stored.where, (str(stored.y_dim), str(stored.x_dim))
    depths = stored.depths(ds)
    if plane not in known:
        known[plane] = along.known.positions(read_positions(ds, array, stored.y_dim, stored.x_dim, where))
    whole = known[plane]
    if variable.name == "deptho" and is_upward(array):
        stored = replace(stored, factor=-stored.factor, offset=-stored.offset)
    positions, fetch = without_halo(whole, partial(_fetch, stored, is_flipped(ds, whole, stored.y_dim)))
    if positions is not whole:
        positions = along.known.positions(positions)
    if (useless := unusable_fill(array)) is not None:
        raise ValueError(
            f"{where} {useless}, so land looks like water; repack the file or set its _FillValue."
        )
    if positions.regular:
        require_repetition(stored, positions)
    kept = kept_attributes(array, along_grid)
    if positions.remark:
        kept["comment"] = "; ".join(filter(None, (kept.get("comment"), positions.remark)))
    return SourceField(
        variable.name,
        source_name,
        str(array.attrs.get("units")),
        where,
        stored.times,
        depths,
        positions,
        along_grid,
        fetch,
        kept,
    )


def _fetch(
    stored: Stored, flipped: bool, steps: slice, levels: list[int], rows: slice, columns: slice
) -> Values:
    if not flipped:
        return stored.read(steps, levels, rows, columns)
    start, stop, _ = rows.indices(stored.shape[0])
    return stored.read(steps, levels, slice(stored.shape[0] - stop, stored.shape[0] - start), columns)[
        :, :, ::-1
    ]
