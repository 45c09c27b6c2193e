"""Which variable of a file is which of ours: by standard name, and by the names that products and models give."""

import contextlib
import re
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from data_pipelines.sources.axes import has_time, is_vertical
from data_pipelines.sources.source import Given
from oceanop.variables import BOUNDARIES, VARIABLES, Variable, variable_of_standard_name

# Upward components of relief come with these standard names; by name alone they are known too.
_RELIEF = {
    "height_above_reference_ellipsoid",
    "height_above_geoid",
    "height_above_mean_sea_level",
    "surface_altitude",
    "altitude",
}
_RELIEF_NAMES = {"z", "elevation", "relief", "topo", "topography", "rose", "altitude", "orog"}

# Names that mean one thing whoever writes them; a star marks a component along the grid's own axis.
COMMON = {
    "10u": "u10", "u10m": "u10", "10v": "v10", "v10m": "v10", "x_wind_10m": "u10*", "y_wind_10m": "v10*",
    "uas": "u10", "ugrd10m": "u10", "ugrd_10maboveground": "u10",
    "vas": "v10", "vgrd10m": "v10", "vgrd_10maboveground": "v10",
    "mslp": "msl", "prmsl": "msl", "prmslmsl": "msl", "prmsl_meansealevel": "msl", "psl": "msl",
    "air_pressure_at_sea_level": "msl",
    "sla": "zos", "adt": "zos", "ssh": "zos", "sst": "tos",
    **dict.fromkeys(_RELIEF_NAMES, "deptho"), "bathymetry": "deptho", "bathy": "deptho",
}  # fmt: skip


def recognised(
    ds: xr.Dataset, file: str, names: Mapping[str, str] | None = None, along: Given | None = None
) -> list[tuple[Variable, str, bool]]:
    """Variables the project knows, the best candidate for each: ``(variable, name in the file, along the grid)``.

    Parameters
    ----------
    names
        Names a model gives, small letters, to ours; with a star for a component along the grid's own axis. They
        hold where the standard name says nothing to us; names of no model in particular only where there is none.
    along
        What is wanted; claims to what nobody wants are no matter. None wants all.

    Raises
    ------
    ValueError
        If two variables have equal claims to one that is wanted.
    """
    candidates: dict[str, list[tuple[tuple[bool, ...], str, bool]]] = {}
    for key, array in ds.data_vars.items():
        source_name = str(key)
        # A store's boundary values are another model's, whatever their standard name.
        if array.ndim < 2 or not np.issubdtype(array.dtype, np.number) or source_name in BOUNDARIES:
            continue
        found = _meaning(ds, source_name, array, names or {})
        at_floor = found is not None and found[0].role == "state" and "bottom" in source_name.lower()
        if found is None or at_floor or _is_wind_aloft(found[0], array):
            continue
        variable, along_grid = found
        # Components already true east and north beat those along the grid; our own name beats any other, the standard
        # name its aliases; a wind at 10 m says so in its name.
        alias = array.attrs.get("standard_name") != variable.standard_name
        at_10 = re.search(r"(?<!\d)10(?!\d)", source_name) is not None
        # What has levels holds the surface; what has none, of the same name, may lie anywhere.
        flat = variable.role == "state" and not any(is_vertical(ds, dim) for dim in array.dims)
        rank = (along_grid, source_name != variable.name, not at_10, alias, flat)
        candidates.setdefault(variable.name, []).append((rank, source_name, along_grid))
    chosen = []
    for name, found_here in candidates.items():
        if name in ("mask", "cell_area"):
            continue  # the store's own are made from the data
        best = sorted(found_here)
        if len(best) > 1 and best[0][0] == best[1][0] and (along is None or along.wants(VARIABLES[name])):
            raise ValueError(
                f"{file}: variables '{best[0][1]}' and '{best[1][1]}' both are {VARIABLES[name].standard_name}; keep "
                "one of them in the file (ncks -x -v), or give them different standard names."
            )
        chosen.append((VARIABLES[name], best[0][1], best[0][2]))
    order = list(VARIABLES)
    return sorted(chosen, key=lambda entry: order.index(entry[0].name))


def require_known(fields: Mapping[str, object], ds: xr.Dataset, file: str) -> None:
    """Refuse a file in which nothing is known.

    Raises
    ------
    ValueError
        Naming its variables.
    """
    if not fields:
        names = [str(key) for key in ds.data_vars]
        raise ValueError(
            f"{file}: none of its variables ({', '.join(names[:12]) or 'it has none'}) is known by standard_name or by "
            f"name; ocean and wind variables are {', '.join(VARIABLES)}. Set the attribute standard_name in the file."
        )


@contextlib.contextmanager
def left_aside(along: Given, variable: Variable) -> Iterator[None]:
    """Pass over a variable that cannot be understood, if nobody wants it."""
    try:
        yield
    except ValueError:
        if along.wants(variable):
            raise


def is_upward(array: xr.DataArray) -> bool:
    """Whether a sea floor is given as a height: by its attribute ``positive``, its standard name, or its name."""
    named = str(array.attrs.get("standard_name", "")) in _RELIEF or str(array.name).lower() in _RELIEF_NAMES
    return bool(array.attrs.get("positive", "up" if named else "down") == "up")


def kept_attributes(array: xr.DataArray, along_grid: bool) -> dict[str, str]:
    """CF attributes worth keeping, and a comment where the long name says another thing than the standard name."""
    kept = {"cell_methods": str(array.attrs["cell_methods"])} if "cell_methods" in array.attrs else {}
    said = str(array.attrs.get("long_name", ""))
    if along_grid and re.search(r"\b(zonal|meridional|eastward|northward)\b", said, re.IGNORECASE):
        named = array.attrs.get("standard_name", array.name)
        kept["comment"] = f"read as {named}, along the grid's axis; its long_name, '{said}', says otherwise"
    return kept


def _is_wind_aloft(variable: Variable, array: xr.DataArray) -> bool:
    """Whether a wind says, in its name or long name, that it is at another height than 10 m."""
    if variable.name not in ("u10", "v10"):
        return False
    said = f"{array.name} {array.attrs.get('long_name', '')}".lower()
    heights = re.findall(r"(?<![\d.])(\d+) ?-?m(?:et(?:er|re)s?)?(?![a-z])", said)
    heights += [part for match in re.findall(r"^[uv](\d+)\b|^(\d+)[uv]\b", said) for part in match if part]
    return bool(heights) and "10" not in heights


def _meaning(
    ds: xr.Dataset, source_name: str, array: xr.DataArray, names: Mapping[str, str]
) -> tuple[Variable, bool] | None:
    # ROMS family: the point of the staggered grid is part of the name.
    standard_name = re.sub(r"_at_\w+_location$", "", str(array.attrs.get("standard_name", "")))
    if (found := variable_of_standard_name(standard_name)) is not None:
        return found
    key = source_name.lower()
    if source_name in VARIABLES and key not in names:
        return VARIABLES[source_name], False
    if standard_name in _RELIEF:
        return None if has_time(ds, array) else (VARIABLES["deptho"], False)
    ours = names.get(key)
    unnamed = standard_name in ("", "unknown") or (standard_name == "height" and key in _RELIEF_NAMES)
    if ours is None and unnamed:
        ours = COMMON.get(key)
    if ours is None:
        return None
    variable = VARIABLES[ours.removesuffix("*")]
    if key in _RELIEF_NAMES and has_time(ds, array):
        return None
    return variable, ours.endswith("*")
