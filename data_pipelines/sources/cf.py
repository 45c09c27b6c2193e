"""Files that describe themselves by the CF conventions."""

from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines.positions import Positions
from data_pipelines.sources.axes import (
    has_time,
    is_time,
    is_vertical,
    read_depths,
    read_times,
    row_and_column,
)
from data_pipelines.sources.cells import is_flipped, read_positions
from data_pipelines.sources.files import first_line, open_dataset
from data_pipelines.sources.source import Source, SourceField, Values
from data_pipelines.units import conversion
from oceanop.variables import BOUNDARIES, VARIABLES, Variable, variable_of_standard_name

_RELIEF = {
    "height_above_reference_ellipsoid",
    "height_above_geoid",
    "height_above_mean_sea_level",
    "surface_altitude",
}


def open_cf(path: Path | str) -> Source:
    """Open a CF file lazily and find the fields in it.

    Variables are found by ``standard_name``, then by canonical short name; a variable whose name says nothing to the
    project is left aside.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no NetCDF or Zarr data set, or a field lacks time, positions or a unit.
    """
    ds = open_dataset(path)
    try:
        return read_source(ds, path)
    except ValueError:
        ds.close()
        raise


def read_source(ds: xr.Dataset, path: Path | str) -> Source:
    """Find the fields in a data set whose times are numbers and that is called ``path``; errors as :func:`open_cf`."""
    name = Path(str(path)).name
    known: dict[tuple[str, str], Positions] = {}
    fields: dict[str, SourceField] = {}
    for variable, source_name, along_grid in _recognised(ds, name):
        fields[variable.name] = _field(ds, name, variable, source_name, along_grid, known)
    if not fields:
        names = [str(key) for key in ds.data_vars]
        raise ValueError(
            f"{name}: none of its variables ({', '.join(names[:12]) or 'it has none'}) is known by standard_name or by "
            f"name; ocean and wind variables are {', '.join(VARIABLES)}. Set the attribute standard_name in the file."
        )
    return Source(name, path, fields, dict(ds.attrs), ds.close)


def _recognised(ds: xr.Dataset, file: str) -> list[tuple[Variable, str, bool]]:
    """Variables the project knows, the best candidate for each: ``(variable, name in the file, along the grid)``."""
    candidates: dict[str, list[tuple[int, str, bool]]] = {}
    for key, array in ds.data_vars.items():
        source_name, standard_name = str(key), str(array.attrs.get("standard_name", ""))
        # A store's boundary values are another model's, whatever their standard name.
        if array.ndim < 2 or not np.issubdtype(array.dtype, np.number) or source_name in BOUNDARIES:
            continue
        if (found := variable_of_standard_name(standard_name)) is not None:
            variable, along_grid = found
        elif source_name in VARIABLES:
            variable, along_grid = VARIABLES[source_name], False
        elif standard_name in _RELIEF and not has_time(ds, array):
            variable, along_grid = VARIABLES["deptho"], False
        else:
            continue
        # Components already true east and north beat those along the grid; our own name beats any other; a wind at
        # 10 m says so in its name.
        rank = 4 * along_grid + 2 * (source_name != variable.name) + ("10" not in source_name)
        candidates.setdefault(variable.name, []).append((rank, source_name, along_grid))
    chosen = []
    for name, found_here in candidates.items():
        if name in ("mask", "cell_area"):
            continue  # the store's own are made from the data
        best = sorted(found_here)
        if len(best) > 1 and best[0][0] == best[1][0]:
            raise ValueError(
                f"{file}: variables '{best[0][1]}' and '{best[1][1]}' both are {VARIABLES[name].standard_name}; keep "
                "one of them in the file (ncks -x -v), or give them different standard names."
            )
        chosen.append((VARIABLES[name], best[0][1], best[0][2]))
    order = list(VARIABLES)
    return sorted(chosen, key=lambda entry: order.index(entry[0].name))


def _field(
    ds: xr.Dataset,
    file: str,
    variable: Variable,
    source_name: str,
    along_grid: bool,
    known: dict[tuple[str, str], Positions],
) -> SourceField:
    array, where = ds[source_name], f"{file}: variable '{source_name}'"
    time_dim = next((dim for dim in array.dims if is_time(ds, dim)), None)
    times = None if variable.role == "static" else read_times(ds, array, time_dim, file, source_name)
    vertical = next((dim for dim in array.dims if dim != time_dim and is_vertical(ds, dim)), None)
    # The atmosphere's height axis of a 10 m wind is no axis of ours.
    if vertical is not None and variable.role != "state" and array.sizes[vertical] == 1:
        array, vertical = array.isel({vertical: 0}, drop=True), None
    depths = None if vertical is None else read_depths(ds, vertical, where)
    horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) > 2:
        array = array.isel({dim: 0 for dim in horizontal if array.sizes[dim] == 1}, drop=True)
        horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) != 2:
        raise ValueError(
            f"{where} has dimensions ({', '.join(map(str, array.dims))}); expected time, depth and two horizontal "
            "ones. Select one member or level first."
        )
    y_dim, x_dim = row_and_column(ds, horizontal)
    if (str(y_dim), str(x_dim)) not in known:
        known[str(y_dim), str(x_dim)] = read_positions(ds, array, y_dim, x_dim, where)
    positions = known[str(y_dim), str(x_dim)]
    factor, offset = conversion(variable.name, array.attrs.get("units"), where)
    if (
        variable.name == "deptho"
        and array.attrs.get("positive", "up" if _is_relief(array) else "down") == "up"
    ):
        factor, offset = -factor, -offset
    _check_fill(array, where)
    dims = tuple(dim for dim in (time_dim, vertical, y_dim, x_dim))
    flipped = is_flipped(ds, positions, y_dim)
    fetch = partial(_fetch, array, dims, factor, offset, flipped, where)
    keep = {key: str(array.attrs[key]) for key in ("cell_methods",) if key in array.attrs}
    return SourceField(
        variable.name,
        source_name,
        str(array.attrs.get("units")),
        where,
        times,
        depths,
        positions,
        along_grid,
        fetch,
        keep,
    )


def _fetch(
    array: xr.DataArray,
    dims: tuple[Hashable | None, ...],
    factor: float,
    offset: float,
    flipped: bool,
    where: str,
    steps: slice,
    levels: list[int],
    rows: slice,
    columns: slice,
) -> Values:
    time_dim, vertical, y_dim, x_dim = dims
    if flipped:
        count = array.sizes[y_dim]
        start, stop, _ = rows.indices(count)
        rows = slice(count - stop, count - start)
    block = array.isel({y_dim: rows, x_dim: columns})
    if time_dim is not None:
        block = block.isel({time_dim: steps})
    if vertical is not None:
        block = block.isel({vertical: levels})
    try:
        values = block.transpose(*[dim for dim in dims if dim is not None]).to_numpy()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{where} cannot be read at steps {steps.start} to {steps.stop} ({first_line(error)}); the file is "
            "damaged or cut off. Fetch it anew."
        ) from error
    for axis, dim in enumerate((time_dim, vertical)):
        if dim is None:
            values = np.expand_dims(values, axis)
    if (factor, offset) != (1.0, 0.0):
        values = values * np.float64(factor) + np.float64(offset)
    return np.asarray(values[:, :, ::-1] if flipped else values, dtype=np.float32)


def _is_relief(array: xr.DataArray) -> bool:
    return str(array.attrs.get("standard_name", "")) in _RELIEF


def _check_fill(array: xr.DataArray, where: str) -> None:
    dtype = np.dtype(array.encoding.get("dtype", np.float32))
    fills = [float(array.encoding[key]) for key in ("_FillValue", "missing_value") if key in array.encoding]
    if not fills or not np.issubdtype(dtype, np.integer):
        return
    limits: Any = np.iinfo(dtype)
    # A fill value that fits beside one that does not still marks the land.
    if not any(limits.min <= fill <= limits.max for fill in fills):
        raise ValueError(
            f"{where} is stored as {dtype} but marks land with {fills[0]:g}, which {dtype} cannot hold, so land "
            "looks like water; repack the file or set its _FillValue."
        )
