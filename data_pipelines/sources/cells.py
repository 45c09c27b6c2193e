"""Where the cells of a CF variable lie: stored longitude and latitude, or those of its projection."""

import re
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.positions import Positions, on_sphere
from data_pipelines.sources.files import NeedsMoreError, first_line
from data_pipelines.sources.stored import Stored
from data_pipelines.units import metres_in
from oceanop.constants import EARTH_RADIUS

_PROJ4 = ("proj4", "proj4_string", "proj4text")
_SHAPES = {"earth_radius", "semi_major_axis", "semi_minor_axis", "inverse_flattening", "reference_ellipsoid_name",
           "horizontal_datum_name", "geographic_crs_name", "crs_wkt", "spatial_ref", *_PROJ4}  # fmt: skip
_COINCIDENT = 1e-3  # of the cells: fewer that lie on their neighbour are a pole or a fold
_DISAGREEMENT = (
    0.2  # cells: more than this between projection and stored positions, and the positions are trusted
)


def read_positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions:
    """Positions of a field: stored ones, else those of its projection."""
    stored = _stored_positions(ds, array, y_dim, x_dim, where)
    projected = _projected_positions(ds, array, y_dim, x_dim, where)
    if projected is None and stored is None:
        raise NeedsMoreError(
            f"{where} has neither longitude and latitude nor a grid mapping with projection coordinates; add 'lon' and "
            "'lat' to the file with their standard_name, or give the grid file of its model with --static."
        )
    if projected is None or (stored is not None and stored.regular):
        assert stored is not None
        return stored
    if stored is None:
        if projected.projection is not None:  # a turned sphere has one shape whatever its size
            _require_shape_of_the_earth(ds, array, where)
        return projected
    apart = on_sphere(stored.latitude, stored.longitude) - on_sphere(projected.latitude, projected.longitude)
    far = EARTH_RADIUS * float(np.linalg.norm(apart, axis=-1).max())
    if far <= _DISAGREEMENT * stored.spacing:
        return projected
    remark = (
        f"positions are the file's longitude and latitude, from which its projection is up to {far / 1000:.3g} km, "
        f"{far / stored.spacing:.2g} cells, away"
    )
    return replace(stored, remark=remark)


def _require_shape_of_the_earth(ds: xr.Dataset, array: xr.DataArray, where: str) -> None:
    """Refuse a projection on an Earth of unknown shape where no position can check it."""
    mapping = _mapping_of(ds, array)
    if not _SHAPES & set(ds[mapping].attrs):
        raise ValueError(
            f"{where}: its grid mapping '{mapping}' does not tell the shape of the Earth (earth_radius, or an "
            "ellipsoid), and a wrong one moves cells by up to 0.2 degrees; add it, or longitude and latitude."
        )


def _mapping_of(ds: xr.Dataset, array: xr.DataArray) -> str | None:
    """Name of the grid mapping of a variable, None where there is none."""
    name = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping"))
    mapping = str(name).split(":")[0].strip()
    return mapping if name is not None and mapping in ds.variables else None


def _stored_positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions | None:
    named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()

    def find(kind: str, dims: tuple[tuple[Hashable, ...], ...]) -> xr.Variable | None:
        found = [
            (name not in named, str(name), variable)
            for name, variable in ds.variables.items()
            if variable.dims in dims
            and (
                variable.attrs.get("standard_name") == kind
                or ("standard_name" not in variable.attrs and is_degrees(variable, kind))
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
        columns = np.unwrap(
            columns, period=360
        )  # across the date line, or from Greenwich to the east and back
        columns = columns[: _distinct(columns)]
        for axis, values in (("latitude", rows), ("longitude", columns)):
            step = np.diff(values)
            if len(values) < 2 or not ((step > 0).all() or (step < 0).all()):
                raise ValueError(
                    f"{where}: its {axis}s, {values[0]:g} to {values[-1]:g}, do not run one way over two cells or more;"
                    " sort the file along them, or cut out a wider region."
                )
        signed = (columns + 180) % 360 - 180
        columns = signed if (np.diff(signed) > 0).all() else columns
        return Positions.from_axes(rows[::-1] if rows[0] > rows[-1] else rows, columns)
    lat, lon = (part.transpose(y_dim, x_dim).to_numpy().astype(np.float64) for part in (latitude, longitude))
    # A field of zeros is what a cut-out file leaves where positions were not written.
    if not (np.isfinite(lat).all() and np.isfinite(lon).all()) or (lat == lat.flat[0]).all():
        return None
    same = [(np.diff(lat, axis=axis) == 0) & (np.diff(lon, axis=axis) == 0) for axis in (0, 1)]
    share = max((float(part.mean()) for part in same if part.size), default=0.0)
    if share > _COINCIDENT:
        raise NeedsMoreError(
            f"{where}: by its longitude and latitude {100 * share:.1f} % of the neighbouring cells lie at one place, "
            "as where land was left out of a run; give the model's grid file with --static."
        )
    return Positions(lat, (lon + 180) % 360 - 180)


def is_degrees(variable: xr.Variable, kind: str) -> bool:
    """Whether a variable's unit is that of ``latitude`` or ``longitude`` in one of CF's spellings."""
    end = "n(orth)?" if kind == "latitude" else "e(ast)?"
    return re.fullmatch(f"degrees?_?{end}", str(variable.attrs.get("units", "")), re.IGNORECASE) is not None


def require_repetition(stored: Stored, positions: Positions) -> None:
    """Refuse columns of a regular grid that were left out as repeated, and hold other values than the first ones.

    Raises
    ------
    ValueError
        If their values at the first step differ.
    """
    kept = positions.shape[1]
    extra = stored.shape[1] - kept
    if extra > 0:
        first, again = (
            stored.read(slice(0, 1), [0], slice(0, stored.shape[0]), slice(start, start + extra))
            for start in (0, kept)
        )
        if not np.array_equal(first, again, equal_nan=True):
            raise ValueError(
                f"{stored.where}: its last {extra} columns lie at the longitudes of the first and hold other values; "
                f"cut the file to {kept} columns (ncks -d)."
            )


def _distinct(longitude: NDArray[np.float64]) -> int:
    """How many columns of an axis come before it has gone around the Earth."""
    turns = np.abs(longitude - longitude[0])
    step = np.median(np.abs(np.diff(longitude))) if len(longitude) > 1 else 360.0
    return int(np.count_nonzero(turns < 360 - 1e-3 * step))


def _projected_positions(
    ds: xr.Dataset, array: xr.DataArray, y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions | None:
    mapping = _mapping_of(ds, array)
    if mapping is None or y_dim not in ds.variables or x_dim not in ds.variables:
        return None
    attrs = dict(ds[mapping].attrs)
    if attrs.get("grid_mapping_name") == "latitude_longitude":
        return None
    if attrs.get("grid_mapping_name") == "rotated_latitude_longitude":
        return _rotated_pole(ds, attrs, y_dim, x_dim, where)
    axes = []
    for dim in (y_dim, x_dim):
        units = str(ds[dim].attrs.get("units", "m"))
        factor = metres_in(units)
        if factor is None:
            raise ValueError(f"{where}: its projection axis '{dim}' has unit '{units}'; expected m or km.")
        axes.append(ds[dim].to_numpy().astype(np.float64) * factor)
    proj4 = next((str(attrs[key]) for key in _PROJ4 if key in attrs), None)
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
            f"{where}: its grid mapping '{mapping}' is not a projection that PROJ knows ({first_line(error)}); add "
            "longitude and latitude to the file."
        ) from error
    return Positions.from_projection(axes[0], axes[1], projection, attrs)


def _rotated_pole(
    ds: xr.Dataset, attrs: dict[Hashable, Any], y_dim: Hashable, x_dim: Hashable, where: str
) -> Positions:
    """Cells of axes in degrees around another pole; no plane of metres lies under them."""
    try:
        turned = pyproj.CRS.from_cf(attrs)
    except (pyproj.exceptions.CRSError, KeyError) as error:
        raise ValueError(
            f"{where}: its grid mapping has a rotated pole that PROJ does not understand ({first_line(error)}); add "
            "longitude and latitude to the file."
        ) from error
    columns, rows = np.meshgrid(
        ds[x_dim].to_numpy().astype(np.float64), ds[y_dim].to_numpy().astype(np.float64)
    )
    back = pyproj.Transformer.from_crs(turned, turned.source_crs, always_xy=True)
    longitude, latitude = back.transform(columns, rows)
    return Positions(latitude, longitude)


def is_flipped(ds: xr.Dataset, positions: Positions, y_dim: Hashable) -> bool:
    """Whether the file runs from north to south on a regular grid, which a store never does."""
    if not positions.regular:
        return False
    first = next(
        variable
        for name, variable in ds.variables.items()
        if variable.dims == (y_dim,)
        and (
            variable.attrs.get("standard_name") == "latitude"
            or str(name).lower().startswith("lat")
            or is_degrees(variable, "latitude")
        )
    ).to_numpy()
    return bool(first[0] > first[-1])
