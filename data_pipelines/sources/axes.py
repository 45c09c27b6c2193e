"""Which axis of a CF variable is time, depth, row and column, and what stands on it."""

import re
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.schema import DamageError
from data_pipelines.sources.files import NeedsMoreError
from data_pipelines.times import Times, decode
from data_pipelines.units import metres_in

_VERTICAL = {"depth", "height", "altitude", "model_level_number", "air_pressure"}
_VERTICAL_NAMES = {"depth", "deptht", "depthu", "depthv", "lev", "level", "z", "s_rho", "height", "z_t"}
_NOT_10_METRES = 30.0  # models call their lowest level, some 10 to 20 m up, by the same names
_TIME_NAMES = {"time", "time_counter", "ocean_time", "valid_time", "t"}


def is_time(ds: xr.Dataset, dim: Hashable) -> bool:
    """Whether a dimension is time."""
    if str(dim).lower() in _TIME_NAMES:
        return True
    attrs = ds[dim].attrs if dim in ds.variables else {}
    return (
        attrs.get("standard_name") == "time"
        or attrs.get("axis") == "T"
        or " since " in str(attrs.get("units", ""))
    )


def has_time(ds: xr.Dataset, array: xr.DataArray) -> bool:
    """Whether a variable changes in time."""
    return any(is_time(ds, dim) for dim in array.dims)


def read_times(
    ds: xr.Dataset, array: xr.DataArray, dim: Hashable | None, file: str, source_name: str
) -> Times:
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
    climatology = next((name for name, variable in candidates if _is_climatology(variable)), None)
    if climatology is not None:
        raise ValueError(
            f"{file}: time coordinate '{climatology}' says that variable '{source_name}' is a climatology, one year "
            "for all; a climatology is not a series. Give files with real dates."
        )
    if not candidates:
        raise ValueError(
            f"{file}: variable '{source_name}' has no time coordinate; a state or forcing variable needs one with a "
            "unit like 'hours since 2015-11-16'. Add it to the file."
        )

    def rank(entry: tuple[Hashable, xr.Variable]) -> tuple[bool, bool, bool, bool]:
        name, variable = entry
        # What GRIB files become: the time of the analysis is called time, and that of the forecast beside it too.
        started = "initial time" in str(variable.attrs.get("long_name", "")).lower()
        named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()
        dated = " since " in str(variable.attrs.get("units", ""))
        is_named = name == dim or name in named
        return (not dated, started, variable.attrs.get("standard_name") != "time", not is_named)

    name, variable = min(candidates, key=rank)
    units = str(variable.attrs.get("units", "")).strip().lower()
    if re.fullmatch(r"(milli)?sec(ond)?s?|min(ute)?s?|h|hrs?|hours?|d|days?|s", units):
        raise NeedsMoreError(
            f"{file}: time coordinate '{name}': its unit is '{units}', which names no reference date; say from which "
            "date it counts with --time-origin (time_origin in Python), or set a unit like 'seconds since 2015-11-16'."
        )
    if variable.size == 0:
        raise DamageError(
            f"{file}: variable '{source_name}' has no step along '{name}', as where a run ended before its first "
            "output; leave the file out."
        )
    times = np.atleast_1d(decode(variable, f"{file}: time coordinate '{name}'"))
    if len(times) == 12 and _year(times[0]) <= 1:
        raise ValueError(
            f"{file}: time coordinate '{name}' of variable '{source_name}' has twelve steps in the year "
            f"{_year(times[0])}, as only a climatology has; a climatology is not a series. Give files with real dates."
        )
    return times


def _is_climatology(variable: xr.Variable) -> bool:
    """Whether a time axis repeats itself: CF 7.4, and Ferret's sign for it."""
    return "climatology" in variable.attrs or "modulo" in variable.attrs


def _year(time: Any) -> int:
    return int(str(time)[:4]) if isinstance(time, np.datetime64) else int(time.year)


def set_origin(ds: xr.Dataset, origin: str, file: str) -> None:
    """Let the times of a data set count from a date that they do not name themselves.

    Raises
    ------
    ValueError
        If they name one, or there are none.
    """
    axes = {
        name: variable
        for name, variable in ds.variables.items()
        if variable.ndim <= 1 and (variable.attrs.get("standard_name") == "time" or is_time(ds, name))
    }
    if any(" since " in str(variable.attrs.get("units", "")) for variable in axes.values()):
        raise ValueError(f"{file}: its times name their reference date; leave the time origin {origin} out.")
    counted = [name for name, variable in axes.items() if str(variable.attrs.get("units", "")).strip()]
    if not counted:
        raise ValueError(f"{file} has no time with a unit, such as seconds, that could count from {origin}.")
    for name in counted:
        axes[name].attrs["units"] = f"{axes[name].attrs['units']} since {origin}"


def is_vertical(ds: xr.Dataset, dim: Hashable) -> bool:
    """Whether a dimension is depth, height or model level."""
    attrs = ds[dim].attrs if dim in ds.variables else {}
    standard_name = str(attrs.get("standard_name", ""))
    return (
        attrs.get("axis") == "Z"
        or "positive" in attrs
        or standard_name in _VERTICAL
        or standard_name.startswith(("ocean_s", "ocean_sigma", "atmosphere_"))
        or (str(dim).lower() in _VERTICAL_NAMES and "axis" not in attrs)
    )


def require_at_10_metres(ds: xr.Dataset, axis: Hashable, where: str) -> None:
    """Refuse a wind whose one level is a pressure, or far above 10 m.

    Raises
    ------
    ValueError
        Naming the level.
    """
    if axis not in ds.variables or ds[axis].size != 1:
        return
    attrs = ds[axis].attrs
    units = str(attrs.get("units", ""))
    factor = metres_in(units) if units.strip() else None
    level = float(np.ravel(ds[axis].to_numpy())[0])
    pressure = attrs.get("standard_name") == "air_pressure" or units.lower() in (
        "pa",
        "hpa",
        "millibars",
        "mb",
        "mbar",
    )
    if pressure or (factor is not None and level * factor > _NOT_10_METRES):
        raise ValueError(
            f"{where} is a wind at {level:g} {units} ('{axis}'); the project keeps the wind at 10 m. Give a file of "
            "that one."
        )


def scalar_depth(ds: xr.Dataset, array: xr.DataArray) -> float | None:
    """Depth of a field on one level, m, where a scalar coordinate that it names says so; None where none does."""
    named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()
    for name in named:
        if name in ds.variables and ds[name].ndim == 0 and is_vertical(ds, name):
            where = f"'{array.name}', coordinate '{name}'"
            return float(read_depths(ds.expand_dims(name), name, where)[0])
    return None


def read_depths(ds: xr.Dataset, dim: Hashable, where: str) -> NDArray[np.float64]:
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
            "file on depth levels, or, for ROMS and CROCO, product 'roms'."
        )
    factor = metres_in(attrs.get("units", "m"))
    if factor is None:
        raise ValueError(
            f"{where}: its vertical axis '{dim}' has unit '{attrs.get('units')}'; depths are read in m."
        )
    values = ds[dim].to_numpy().astype(np.float64) * factor
    up = attrs.get("positive") == "up" or standard_name in ("height", "altitude") or (values < 0).all()
    return -values if up else values


def row_and_column(ds: xr.Dataset, dims: list[Hashable]) -> tuple[Hashable, Hashable]:
    """Two horizontal dimensions, the one along y first."""

    def is_column(dim: Hashable) -> bool:
        attrs = ds[dim].attrs if dim in ds.variables else {}
        return (
            attrs.get("axis") == "X"
            or attrs.get("standard_name") in ("longitude", "projection_x_coordinate", "grid_longitude")
            or str(dim).lower() in ("x", "lon", "longitude")
        )

    first, second = dims
    return (second, first) if is_column(first) and not is_column(second) else (first, second)
