"""Where the cells of a forecast lie on paper: the projection of a map and the corners of its cells."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.positions import from_sphere, on_sphere

Plane = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a grid on a map.

    Attributes
    ----------
    crs
        The map's projection, a ``cartopy.crs.Projection``.
    x, y
        Corners of the cells in the projection's own unit, ``[Y + 1, X + 1]``.
    latitude, longitude
        Centres, degrees, ``[Y, X]``.
    wet
        True where the cell is ocean, ``[Y, X]``.
    torn
        True where a cell would be drawn across the whole map, because its corners lie on both edges.
    """

    crs: Any
    x: Plane
    y: Plane
    latitude: Plane
    longitude: Plane
    wet: NDArray[np.bool_]
    torn: NDArray[np.bool_]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of all cells."""
        return float(self.x.min()), float(self.x.max()), float(self.y.min()), float(self.y.max())

    @property
    def aspect(self) -> float:
        """Height over width."""
        left, right, bottom, top = self.extent
        return (top - bottom) / (right - left)

    @cached_property
    def coast(self) -> NDArray[np.float64]:
        """Sides shared by an ocean cell and a land cell, ``[side, end, (x, y)]``: the coast the model sees."""
        corners = np.stack([self.x, self.y], axis=-1)
        across = self.wet[:, 1:] != self.wet[:, :-1]
        across &= ~(self.torn[:, 1:] | self.torn[:, :-1])
        along = self.wet[1:] != self.wet[:-1]
        along &= ~(self.torn[1:] | self.torn[:-1])
        upright = np.stack([corners[:-1, 1:-1][across], corners[1:, 1:-1][across]], axis=1)
        level = np.stack([corners[1:-1, :-1][along], corners[1:-1, 1:][along]], axis=1)
        return np.concatenate([upright, level])

    @property
    def north(self) -> float:
        """Direction of north at the middle of the map, degrees to the right of the paper's upward direction."""
        row, column = (size // 2 for size in self.wet.shape)
        place = [np.array([plane[row, column]]) for plane in (self.longitude, self.latitude)]
        geographic = _geographic()
        east, north = self.crs.transform_vectors(geographic, *place, np.zeros(1), np.ones(1))
        return float(np.rad2deg(np.arctan2(east[0], north[0])))


def cells_of(ds: xr.Dataset) -> Cells:
    """Cells of a store or forecast, in the projection its file names, else in one that suits the domain.

    Raises
    ------
    ValueError
        If the data set has no positions or no mask.
    """
    for name in ("latitude", "longitude", "mask"):
        if name not in ds.variables:
            raise ValueError(
                f"the data set has no '{name}', and a map needs latitude, longitude and mask; give a file that "
                "'oceanop forecast' or 'oceanop ingest' wrote."
            )
    latitude, longitude = ds["latitude"], ds["longitude"]
    dims = ("latitude", "longitude") if latitude.ndim == 1 else ("y", "x")
    regular = latitude.ndim == 1
    if regular:
        latitude, longitude = xr.broadcast(latitude, longitude)
    lat, lon = (part.transpose(*dims).to_numpy().astype(np.float64) for part in (latitude, longitude))
    mask = ds["mask"].isel(depth=0) if "depth" in ds["mask"].dims else ds["mask"]
    crs = _own_projection(ds, _middle(lon)) or _fitting_projection(lat, lon, regular)
    corner_lat, corner_lon = from_sphere(_corners(on_sphere(lat, lon)))
    points = crs.transform_points(_geographic(), corner_lon, corner_lat)
    x, y = points[..., 0], points[..., 1]
    # A cell is far smaller than the map, save where it lies on the seam of a global one.
    width = np.ptp(x) / 2
    quads = np.stack([x[:-1, :-1], x[:-1, 1:], x[1:, :-1], x[1:, 1:]])
    torn = np.ptp(quads, axis=0) > width if min(lat.shape) > 2 else np.zeros(lat.shape, dtype=bool)
    return Cells(crs, x, y, lat, lon, mask.transpose(*dims).to_numpy() > 0.5, torn)


def _corners(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of four neighbouring centres, on the sphere: no latitude, no date line stands in the way."""
    padded = centres
    for axis in (0, 1):
        first, second = (np.take(padded, [i], axis) for i in (0, min(1, padded.shape[axis] - 1)))
        last, before = (np.take(padded, [i], axis) for i in (-1, max(-2, -padded.shape[axis])))
        padded = np.concatenate([2 * first - second, padded, 2 * last - before], axis)
    return padded[:-1, :-1] + padded[1:, :-1] + padded[:-1, 1:] + padded[1:, 1:]


def _middle(longitude: Plane) -> float:
    radians = np.deg2rad(longitude)
    return float(np.rad2deg(np.arctan2(np.sin(radians).mean(), np.cos(radians).mean())))


def _geographic() -> Any:
    import cartopy.crs as ccrs

    return ccrs.PlateCarree()


def _own_projection(ds: xr.Dataset, middle: float) -> Any:
    """The projection of the file's grid mapping; None where it has none or one that cartopy does not draw."""
    import pyproj

    name = next(
        (
            str(mapping)
            for variable in ds.data_vars.values()
            if (mapping := variable.attrs.get("grid_mapping", variable.encoding.get("grid_mapping")))
        ),
        None,
    )
    if name is None or name not in ds.variables:
        return None
    attrs = ds[name].attrs
    text = next(
        (attrs[key] for key in ("proj4", "proj4_string", "crs_wkt", "spatial_ref") if attrs.get(key)), None
    )
    try:
        cf = (pyproj.CRS.from_cf(attrs) if text is None else pyproj.CRS(text)).to_cf()
    except (pyproj.exceptions.CRSError, KeyError):
        # What is lost is the look of the map, not the place of any cell: those have latitude and longitude.
        return None
    return _from_cf(cf, middle)


def _from_cf(cf: dict[str, Any], middle: float) -> Any:
    """The projection with the paper turned so that north is up at longitude ``middle``, where that is possible."""
    import cartopy.crs as ccrs

    globe = ccrs.Globe(
        ellipse=None,
        semimajor_axis=cf.get("semi_major_axis", 6371000.0),
        semiminor_axis=cf.get("semi_minor_axis", cf.get("semi_major_axis", 6371000.0)),
    )
    lat0, lon0 = cf.get("latitude_of_projection_origin", 0.0), cf.get("longitude_of_projection_origin", 0.0)
    match cf.get("grid_mapping_name"):
        case "polar_stereographic":
            return ccrs.Stereographic(
                central_latitude=cf.get(
                    "latitude_of_projection_origin", float(np.copysign(90, cf.get("standard_parallel", 90.0)))
                ),
                central_longitude=middle,
                true_scale_latitude=cf.get("standard_parallel"),
                scale_factor=cf.get("scale_factor_at_projection_origin"),
                globe=globe,
            )
        case "stereographic":
            return ccrs.Stereographic(central_latitude=lat0, central_longitude=lon0, globe=globe)
        case "lambert_conformal_conic":
            parallels = np.atleast_1d(cf.get("standard_parallel", lat0)).tolist()
            return ccrs.LambertConformal(
                central_longitude=middle,
                central_latitude=lat0,
                standard_parallels=tuple(parallels),
                globe=globe,
            )
        case "lambert_azimuthal_equal_area":
            return ccrs.LambertAzimuthalEqualArea(central_latitude=lat0, central_longitude=lon0, globe=globe)
        case "rotated_latitude_longitude":
            return ccrs.RotatedPole(
                pole_longitude=cf.get("grid_north_pole_longitude", 0.0),
                pole_latitude=cf.get("grid_north_pole_latitude", 90.0),
                central_rotated_longitude=cf.get("north_pole_grid_longitude", 0.0),
            )
        case "transverse_mercator":
            return ccrs.TransverseMercator(
                central_longitude=cf.get("longitude_of_central_meridian", 0.0),
                central_latitude=lat0,
                scale_factor=cf.get("scale_factor_at_central_meridian", 1.0),
                globe=globe,
            )
    return None


def _fitting_projection(latitude: Plane, longitude: Plane, regular: bool) -> Any:
    """Conformal where the domain is a region, so that shapes and the angles of currents are true."""
    import cartopy.crs as ccrs

    middle = _middle(longitude)
    span = float(np.ptp((longitude - middle + 180) % 360 - 180))
    south, north = float(latitude.min()), float(latitude.max())
    if span > 270 and (south > 40 or north < -40):
        return ccrs.Stereographic(central_latitude=90 if south > 0 else -90, central_longitude=0)
    if span > 200:
        return ccrs.Robinson(central_longitude=round(middle))
    if regular and max(abs(south), abs(north)) < 78:
        return ccrs.Mercator(central_longitude=middle, min_latitude=-80, max_latitude=84)
    return ccrs.Stereographic(central_latitude=(south + north) / 2, central_longitude=middle)
