"""Files that describe themselves by the CF conventions."""

import warnings
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.positions import Positions, on_sphere
from data_pipelines.sources.classic import missing_bytes
from data_pipelines.sources.source import Source, SourceField, Values
from data_pipelines.times import Times, decode
from data_pipelines.units import conversion, length_conversion, normalised
from oceanop.constants import EARTH_RADIUS
from oceanop.variables import VARIABLES, Variable, variable_of_standard_name

_VERTICAL = {"depth", "height", "altitude", "model_level_number", "air_pressure"}
_VERTICAL_NAMES = {"depth", "deptht", "depthu", "depthv", "lev", "level", "z", "s_rho", "height", "z_t"}
_TIME_NAMES = {"time", "time_counter", "ocean_time", "valid_time", "t"}
_RELIEF = {
    "height_above_reference_ellipsoid",
    "height_above_geoid",
    "height_above_mean_sea_level",
    "surface_altitude",
}
_DISAGREEMENT = (
    0.2  # cells: more than this between projection and stored positions, and the positions are trusted
)


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
        return _source(ds, path)
    except ValueError:
        ds.close()
        raise


def _source(ds: xr.Dataset, path: Path | str) -> Source:
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


def open_dataset(path: Path | str, *, decode_times: bool = False) -> xr.Dataset:
    """Open any file xarray opens, lazily: values decoded on reading, times left as numbers unless asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`open_cf`.
    """
    written = str(path)
    if "://" not in written and not Path(written).exists():
        raise FileNotFoundError(f"{written} is not a file; give a NetCDF file, a Zarr store or a URL.")
    is_zarr = written.rstrip("/").endswith(".zarr") or Path(written).is_dir()
    if Path(written).is_file() and (lost := missing_bytes(Path(written))):
        raise ValueError(
            f"{Path(written).name} ends {lost} bytes before its header says; it was cut off on its way, fetch it anew."
        )
    try:
        with warnings.catch_warnings():
            if is_zarr:  # a store without consolidated metadata is slower to open, and no reason to stop
                warnings.simplefilter("ignore", RuntimeWarning)
            return xr.open_dataset(
                path,
                engine="zarr" if is_zarr else None,
                decode_times=decode_times,
                decode_timedelta=decode_times,
                chunks=None,
                cache=False,
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError) as error:
        reason = "its format is not known" if "did not find a match" in str(error) else _first_line(error)
        # xarray hands on whatever the engine of a file stumbles over, and the engines agree on no type.
        raise ValueError(
            f"{Path(written).name} is not a data set that xarray can open ({reason}); give a NetCDF file "
            "or a Zarr store, and fetch it anew if its copy was cut off."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(" .:")


def _recognised(ds: xr.Dataset, file: str) -> list[tuple[Variable, str, bool]]:
    """Variables the project knows, the best candidate for each: ``(variable, name in the file, along the grid)``."""
    candidates: dict[str, list[tuple[int, str, bool]]] = {}
    for key, array in ds.data_vars.items():
        source_name, standard_name = str(key), str(array.attrs.get("standard_name", ""))
        if array.ndim < 2 or not np.issubdtype(array.dtype, np.number):
            continue
        if (found := variable_of_standard_name(standard_name)) is not None:
            variable, along_grid = found
        elif source_name in VARIABLES:
            variable, along_grid = VARIABLES[source_name], False
        elif standard_name in _RELIEF and not _has_time(ds, array):
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
    time_dim = next((dim for dim in array.dims if _is_time(ds, dim)), None)
    times = None if variable.role == "static" else _times(ds, array, time_dim, file, source_name)
    vertical = next((dim for dim in array.dims if dim != time_dim and _is_vertical(ds, dim)), None)
    # The atmosphere's height axis of a 10 m wind is no axis of ours.
    if vertical is not None and variable.role != "state" and array.sizes[vertical] == 1:
        array, vertical = array.isel({vertical: 0}, drop=True), None
    depths = None if vertical is None else _depths(ds, vertical, where)
    horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) > 2:
        array = array.isel({dim: 0 for dim in horizontal if array.sizes[dim] == 1}, drop=True)
        horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) != 2:
        raise ValueError(
            f"{where} has dimensions ({', '.join(map(str, array.dims))}); expected time, depth and two horizontal "
            "ones. Select one member or level first."
        )
    y_dim, x_dim = _row_and_column(ds, horizontal)
    if (str(y_dim), str(x_dim)) not in known:
        known[str(y_dim), str(x_dim)] = _positions(ds, array, y_dim, x_dim, where)
    positions = known[str(y_dim), str(x_dim)]
    factor, offset = conversion(variable.name, array.attrs.get("units"), where)
    if (
        variable.name == "deptho"
        and array.attrs.get("positive", "up" if _is_relief(array) else "down") == "up"
    ):
        factor, offset = -factor, -offset
    _check_fill(array, where)
    dims = tuple(dim for dim in (time_dim, vertical, y_dim, x_dim))
    flipped = _flipped(ds, positions, y_dim)
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
            f"{where} cannot be read at steps {steps.start} to {steps.stop} ({_first_line(error)}); the file is "
            "damaged or cut off. Fetch it anew."
        ) from error
    for axis, dim in enumerate((time_dim, vertical)):
        if dim is None:
            values = np.expand_dims(values, axis)
    if (factor, offset) != (1.0, 0.0):
        values = values * np.float64(factor) + np.float64(offset)
    return np.asarray(values[:, :, ::-1] if flipped else values, dtype=np.float32)


def _is_time(ds: xr.Dataset, dim: Hashable) -> bool:
    if str(dim).lower() in _TIME_NAMES:
        return True
    attrs = ds[dim].attrs if dim in ds.variables else {}
    return (
        attrs.get("standard_name") == "time"
        or attrs.get("axis") == "T"
        or " since " in str(attrs.get("units", ""))
    )


def _has_time(ds: xr.Dataset, array: xr.DataArray) -> bool:
    return any(_is_time(ds, dim) for dim in array.dims)


def _is_relief(array: xr.DataArray) -> bool:
    return str(array.attrs.get("standard_name", "")) in _RELIEF


def _times(ds: xr.Dataset, array: xr.DataArray, dim: Hashable | None, file: str, source_name: str) -> Times:
    """Dates of a field: of its time axis, or of a scalar time named among its coordinates."""
    wanted = () if dim is None else (dim,)
    candidates = [
        (name, variable)
        for name, variable in ds.variables.items()
        if variable.dims == wanted
        and (
            name == dim
            or variable.attrs.get("standard_name") == "time"
            or " since " in str(variable.attrs.get("units", ""))
        )
        and np.issubdtype(variable.dtype, np.number)
        and variable.attrs.get("standard_name") != "forecast_reference_time"
    ]
    if not candidates:
        raise ValueError(
            f"{file}: variable '{source_name}' has no time coordinate; a state or forcing variable needs one with a "
            "unit like 'hours since 2015-11-16'. Add it to the file."
        )

    def rank(entry: tuple[Hashable, xr.Variable]) -> tuple[bool, bool, bool]:
        name, variable = entry
        named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()
        dated = " since " in str(variable.attrs.get("units", ""))
        return (not dated, variable.attrs.get("standard_name") != "time", name != dim and name not in named)

    name, variable = min(candidates, key=rank)
    return np.atleast_1d(decode(variable, f"{file}: time coordinate '{name}'"))


def _is_vertical(ds: xr.Dataset, dim: Hashable) -> bool:
    attrs = ds[dim].attrs if dim in ds.variables else {}
    standard_name = str(attrs.get("standard_name", ""))
    return (
        attrs.get("axis") == "Z"
        or "positive" in attrs
        or standard_name in _VERTICAL
        or standard_name.startswith(("ocean_s", "ocean_sigma", "atmosphere_"))
        or (str(dim).lower() in _VERTICAL_NAMES and "axis" not in attrs)
    )


def _depths(ds: xr.Dataset, dim: Hashable, where: str) -> NDArray[np.float64]:
    """Depths of an axis, m, positive down."""
    if dim not in ds.variables:
        raise ValueError(
            f"{where} has a vertical dimension '{dim}' without values; give the depths of its levels in m."
        )
    attrs = ds[dim].attrs
    standard_name = str(attrs.get("standard_name", ""))
    if standard_name.startswith(("ocean_s", "ocean_sigma")) or str(dim).startswith("s_"):
        raise ValueError(
            f"{where} lies on terrain-following levels '{dim}', which product 'cf' does not turn into depths; use a "
            "file on depth levels."
        )
    factor, _ = length_conversion().get(normalised(str(attrs.get("units", "m"))), (None, 0.0))
    if factor is None:
        raise ValueError(
            f"{where}: its vertical axis '{dim}' has unit '{attrs.get('units')}'; depths are read in m."
        )
    values = ds[dim].to_numpy().astype(np.float64) * factor
    up = attrs.get("positive") == "up" or standard_name in ("height", "altitude") or (values < 0).all()
    return -values if up else values


def _row_and_column(ds: xr.Dataset, dims: list[Hashable]) -> tuple[Hashable, Hashable]:
    def is_column(dim: Hashable) -> bool:
        attrs = ds[dim].attrs if dim in ds.variables else {}
        return (
            attrs.get("axis") == "X"
            or attrs.get("standard_name") in ("longitude", "projection_x_coordinate", "grid_longitude")
            or str(dim).lower() in ("x", "lon", "longitude")
        )

    first, second = dims
    return (second, first) if is_column(first) and not is_column(second) else (first, second)


def _positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions:
    """Positions of a field: stored ones, else those of its projection."""
    stored = _stored_positions(ds, array, y_dim, x_dim)
    projected = _projected_positions(ds, array, y_dim, x_dim, where)
    if projected is None and stored is None:
        raise ValueError(
            f"{where} has neither longitude and latitude nor a grid mapping with projection coordinates; add 'lon' and "
            "'lat' to the file with their standard_name."
        )
    if projected is None or (stored is not None and stored.regular):
        assert stored is not None
        return stored
    if stored is None:
        return projected
    apart = on_sphere(stored.latitude, stored.longitude) - on_sphere(projected.latitude, projected.longitude)
    far = EARTH_RADIUS * float(np.linalg.norm(apart, axis=-1).max()) > _DISAGREEMENT * stored.spacing
    return stored if far else projected


def _stored_positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable
) -> Positions | None:
    named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()

    def find(kind: str, dims: tuple[tuple[Hashable, ...], ...]) -> xr.Variable | None:
        found = [
            (name not in named, str(name), variable)
            for name, variable in ds.variables.items()
            if variable.dims in dims
            and (
                variable.attrs.get("standard_name") == kind
                or ("standard_name" not in variable.attrs and str(variable.attrs.get("units", "")).startswith(
                    "degrees_north" if kind == "latitude" else "degrees_east"))
                or str(name).lower() in (kind, kind[:3], f"nav_{kind[:3]}")
            )
        ]  # fmt: skip
        return min(found, key=lambda entry: entry[:2])[2] if found else None

    plane = ((y_dim, x_dim), (x_dim, y_dim))
    latitude, longitude = find("latitude", ((y_dim,), *plane)), find("longitude", ((x_dim,), *plane))
    if latitude is None or longitude is None or latitude.ndim != longitude.ndim:
        return None
    if latitude.ndim == 1:
        rows, columns = latitude.to_numpy().astype(np.float64), longitude.to_numpy().astype(np.float64)
        signed = (columns + 180) % 360 - 180
        columns = signed if (np.diff(signed) > 0).all() else columns
        return Positions.from_axes(rows[::-1] if rows[0] > rows[-1] else rows, columns)
    lat, lon = (part.transpose(y_dim, x_dim).to_numpy().astype(np.float64) for part in (latitude, longitude))
    # A field of zeros is what a cut-out file leaves where positions were not written.
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()) or (lat == lat.flat[0]).all():
        return None
    return Positions(lat, (lon + 180) % 360 - 180)


def _projected_positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions | None:
    mapping_name = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping"))
    mapping = str(mapping_name).split(":")[0].strip()
    if (
        mapping_name is None
        or mapping not in ds.variables
        or y_dim not in ds.variables
        or x_dim not in ds.variables
    ):
        return None
    attrs = dict(ds[mapping].attrs)
    if attrs.get("grid_mapping_name") == "latitude_longitude":
        return None
    axes = []
    for dim in (y_dim, x_dim):
        units = str(ds[dim].attrs.get("units", "m"))
        factor, _ = length_conversion().get(normalised(units), (None, 0.0))
        if factor is None:
            raise ValueError(f"{where}: its projection axis '{dim}' has unit '{units}'; expected m or km.")
        axes.append(ds[dim].to_numpy().astype(np.float64) * factor)
    proj4 = next((str(attrs[key]) for key in ("proj4", "proj4_string", "proj4text") if key in attrs), None)
    try:
        projection = proj4 or pyproj.CRS.from_cf(attrs).to_wkt()
        if proj4 is not None:
            # The axes are in metres here, whatever unit the string says (+units=km).
            projection = " ".join(
                part for part in proj4.split() if not part.startswith(("+units", "+to_meter"))
            )
        pyproj.Proj(projection)
    except (pyproj.exceptions.CRSError, KeyError) as error:
        raise ValueError(
            f"{where}: its grid mapping '{mapping}' is not a projection that PROJ knows ({_first_line(error)}); add "
            "longitude and latitude to the file."
        ) from error
    return Positions.from_projection(axes[0], axes[1], projection, attrs)


def _flipped(ds: xr.Dataset, positions: Positions, y_dim: Hashable) -> bool:
    """Whether the file runs from north to south on a regular grid, which a store never does."""
    if not positions.regular:
        return False
    first = next(
        variable
        for name, variable in ds.variables.items()
        if variable.dims == (y_dim,)
        and (variable.attrs.get("standard_name") == "latitude" or str(name).lower().startswith("lat")
             or str(variable.attrs.get("units", "")).startswith("degrees_north"))
    ).to_numpy()  # fmt: skip
    return bool(first[0] > first[-1])


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
