"""Where the cells of a source lie: positions, the direction of the grid's axes, the area of every cell."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.fold import Fold, find_fold
from oceanop.constants import EARTH_RADIUS
from oceanop.grid import Grid, Plane

GRID_MAPPING = "crs"


@dataclass(frozen=True, eq=False)
class Positions:
    """Cell centres of a curvilinear, projected or regular grid.

    Attributes
    ----------
    latitude, longitude
        Degrees, ``[Y, X]``.
    regular
        True where latitude depends on the row alone and longitude on the column alone.
    y, x
        Axes of the projection, m; None without a projection.
    projection
        PROJ string or CRS that turns ``x, y`` into longitude and latitude.
    mapping
        CF attributes of the grid mapping.
    x_angle
        Direction of the x axis as the model itself keeps it, radians anticlockwise from east, ``[Y, X]``; None finds
        it from the positions.
    remark
        What had to be chosen to find them, in words; empty where nothing had.
    """

    latitude: Plane
    longitude: Plane
    regular: bool = False
    y: NDArray[np.float64] | None = None
    x: NDArray[np.float64] | None = None
    projection: str | None = None
    mapping: dict[str, Any] = field(default_factory=dict)
    x_angle: Plane | None = None
    remark: str = ""

    @classmethod
    def from_axes(cls, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> "Positions":
        """A regular grid from its two axes, degrees."""
        rows, columns = np.meshgrid(latitude, longitude, indexing="ij")
        return cls(rows, columns, regular=True)

    @classmethod
    def from_projection(
        cls, y: NDArray[np.float64], x: NDArray[np.float64], projection: str, mapping: dict[str, Any]
    ) -> "Positions":
        """A projected grid from its two axes, m."""
        columns, rows = np.meshgrid(x, y)
        longitude, latitude = pyproj.Proj(projection)(columns, rows, inverse=True)
        return cls(latitude, longitude, y=y, x=x, projection=projection, mapping=mapping)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(Y, X)``."""
        return self.latitude.shape

    @property
    def dims(self) -> tuple[str, str]:
        """Names of the two dimensions in a store."""
        return ("latitude", "longitude") if self.regular else ("y", "x")

    @cached_property
    def corners(self) -> tuple[Plane, Plane]:
        """Latitude and longitude of the cell corners, degrees, ``[Y + 1, X + 1]``."""
        if self.regular:
            # A global grid's outermost rows may reach over the pole, which no cell does.
            edges = np.clip(_edges(self.latitude[:, 0]), -90, 90), _edges(self.longitude[0])
            rows, columns = np.meshgrid(*edges, indexing="ij")
            return rows, columns
        if self.y is not None and self.x is not None and self.projection is not None:
            columns, rows = np.meshgrid(_edges(self.x), _edges(self.y))
            longitude, latitude = pyproj.Proj(self.projection)(columns, rows, inverse=True)
            return latitude, longitude
        centres = on_sphere(self.latitude, self.longitude)
        across = None if self.fold is None or self.fold.doubled else self.fold.beyond(centres)
        along_y = _edges(centres, after=across)
        if not self.closes:
            return from_sphere(np.moveaxis(_edges(np.moveaxis(along_y, 1, 0)), 0, 1))
        between = 0.5 * (along_y + np.roll(along_y, 1, 1))
        return from_sphere(np.concatenate([between, between[:, :1]], 1))

    @cached_property
    def cell_area(self) -> Plane:
        """Area of the cells on the sphere, m2, ``[Y, X]``."""
        latitude, longitude = self.corners
        if self.regular:
            bands = np.abs(np.diff(np.sin(np.deg2rad(latitude[:, 0]))))
            return EARTH_RADIUS**2 * np.outer(bands, np.abs(np.diff(np.deg2rad(longitude[0]))))
        corner = on_sphere(latitude, longitude)
        a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
        area = EARTH_RADIUS**2 * (_triangle(a, b, c) + _triangle(a, c, d))
        if self.fold is not None and not self.fold.doubled:
            area[-1, self.fold.shared] /= 2  # each half is counted where the cell is there
        return area

    @property
    def area_method(self) -> str:
        """How the areas were found, for the store's attributes."""
        how = (
            "latitude-longitude rectangles"
            if self.regular
            else "quadrilaterals with corners from the projection"
            if self.projection is not None
            else "quadrilaterals with corners midway between centres"
        )
        return f"{how}, on a sphere of radius {EARTH_RADIUS:.0f} m"

    @cached_property
    def angle(self) -> tuple[Plane, int]:
        """Direction of the grid's x axis, radians anticlockwise from east ``[Y, X]``, and the side of its y axis.

        The side is 1 where the y axis lies 90 degrees to the left of the x axis, else -1. With a projection the axes
        are those of its coordinates (``x_wind`` is along increasing ``x``, however the columns are stored).
        """
        if self.regular:
            return np.zeros(self.shape), 1
        if self.y is not None and self.x is not None and self.projection is not None:
            columns, rows = np.meshgrid(self.x, self.y)
            inverse = pyproj.Proj(self.projection)
            half = 0.5 * float(np.median(np.abs(np.diff(self.x))))
            before, after = (
                on_sphere(*inverse(columns + s, rows, inverse=True)[::-1]) for s in (-half, half)
            )
            below, above = (on_sphere(*inverse(columns, rows + s, inverse=True)[::-1]) for s in (-half, half))
            along_x, along_y = after - before, above - below
        else:
            centres = on_sphere(self.latitude, self.longitude)
            along_y = np.gradient(centres, axis=0)
            if self.closes:  # at the seam the neighbours are at the other end
                centres = np.concatenate([centres[:, -1:], centres, centres[:, :1]], axis=1)
            along_x = np.gradient(centres, axis=1)
            along_x = along_x[:, 1:-1] if self.closes else along_x
        east, north = _local_axes(self.latitude, self.longitude)
        x_east, x_north = (along_x * east).sum(-1), (along_x * north).sum(-1)
        y_east, y_north = (along_y * east).sum(-1), (along_y * north).sum(-1)
        side = 1 if np.median(x_east * y_north - x_north * y_east) >= 0 else -1
        return np.arctan2(x_north, x_east) if self.x_angle is None else self.x_angle, side

    @property
    def spacing(self) -> float:
        """Median distance of neighbouring cells along the finer axis, m."""
        centres = on_sphere(self.latitude, self.longitude)
        distances = [
            float(np.median(np.linalg.norm(np.diff(centres, axis=axis), axis=-1)))
            for axis in (0, 1)
            if self.shape[axis] > 1
        ]
        return EARTH_RADIUS * min(distances, default=0.0)

    def crop(self, rows: slice, columns: slice) -> "Positions":
        """Part of the grid."""
        return replace(
            self,
            latitude=self.latitude[rows, columns],
            longitude=self.longitude[rows, columns],
            y=None if self.y is None else self.y[rows],
            x=None if self.x is None else self.x[columns],
            x_angle=None if self.x_angle is None else self.x_angle[rows, columns],
        )

    def inside(self, west: float, east: float, south: float, north: float) -> NDArray[np.bool_]:
        """Which centres lie in a box, degrees, ``[Y, X]``."""
        width = 360.0 if east - west >= 360 else (east - west) % 360
        return ((self.longitude - west) % 360 <= width) & (self.latitude >= south) & (self.latitude <= north)

    @cached_property
    def closes(self) -> bool:
        """Whether the last column lies beside the first one, as on a grid around the Earth."""
        if self.shape[1] < 4:
            return False
        at = on_sphere(self.latitude, self.longitude)
        across = np.linalg.norm(at[:, 0] - at[:, -1], axis=-1)
        along = np.linalg.norm(np.diff(at, axis=1), axis=-1).max(axis=1)
        return bool((across <= 1.5 * along).all())

    @cached_property
    def fold(self) -> Fold | None:
        """How the last row of a tripolar grid meets itself; None on other grids."""
        if self.regular or self.projection is not None or not self.closes:
            return None
        return find_fold(on_sphere(self.latitude[-4:], self.longitude[-4:]))

    @cached_property
    def has_halo(self) -> bool:
        """Whether the first two columns are the last two once more, as where a model closes its grid by a halo."""
        if self.shape[1] < 5:
            return False
        ends = [0, 1, -2, -1]
        at = on_sphere(self.latitude[:, ends], self.longitude[:, ends])
        step = np.median(np.linalg.norm(at[:, 1] - at[:, 0], axis=-1))
        return bool(np.median(np.linalg.norm(at[:, :2] - at[:, 2:], axis=-1)) < 1e-2 * step)

    def agrees(self, other: "Positions") -> bool:
        """Whether two sources share their cells, to a hundredth of a cell."""
        if self is other:
            return True
        if self.shape != other.shape:
            return False
        if np.array_equal(self.latitude, other.latitude) and np.array_equal(self.longitude, other.longitude):
            return True  # as are those of most series, which need no look at the sphere
        apart = on_sphere(self.latitude, self.longitude) - on_sphere(other.latitude, other.longitude)
        return EARTH_RADIUS * float(np.linalg.norm(apart, axis=-1).max()) <= 0.01 * max(self.spacing, 1.0)

    def region(self, west: float, east: float, south: float, north: float) -> tuple[slice, slice]:
        """Smallest block of rows and columns that holds every centre inside the box (degrees).

        Raises
        ------
        ValueError
            If no centre lies inside, or the box is upside down.
        """
        if not south < north:
            raise ValueError(
                f"region {west},{east},{south},{north} has its south above its north; write it as W,E,S,N."
            )
        inside = self.inside(west, east, south, north)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not rows.size:
            raise ValueError(
                f"region {west:g},{east:g},{south:g},{north:g} (W,E,S,N) holds no cell of the grid, which spans "
                f"{self.longitude.min():.2f} to {self.longitude.max():.2f} E and {self.latitude.min():.2f} to "
                f"{self.latitude.max():.2f} N; choose a box inside it."
            )
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def coordinates(self) -> xr.Dataset:
        """Coordinate variables with CF attributes, as a store holds them."""
        latitude = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
        longitude = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}
        if self.regular:
            return xr.Dataset(
                coords={
                    "latitude": ("latitude", self.latitude[:, 0], {**latitude, "axis": "Y"}),
                    "longitude": ("longitude", self.longitude[0], {**longitude, "axis": "X"}),
                }
            )
        coords: dict[str, Any] = {
            "latitude": (("y", "x"), self.latitude, latitude),
            "longitude": (("y", "x"), self.longitude, longitude),
        }
        if self.y is not None and self.x is not None:
            for name, axis in (("y", self.y), ("x", self.x)):
                standard_name = f"projection_{name}_coordinate"
                coords[name] = (
                    name,
                    axis,
                    {"standard_name": standard_name, "units": "m", "axis": name.upper()},
                )
            # A plain variable: xarray would list it as a place under CF's ``coordinates``
            return xr.Dataset({GRID_MAPPING: ((), np.int32(0), self.mapping)}, coords=coords)
        return xr.Dataset(coords=coords)

    def grid(self, mask: NDArray[np.bool_], cell_area: Plane) -> Grid:
        """The grid of a store on these cells."""
        return Grid(
            latitude=self.latitude,
            longitude=self.longitude,
            mask=mask,
            cell_area=cell_area,
            dims=self.dims,
            coordinates=self.coordinates(),
            grid_mapping=None if self.projection is None else GRID_MAPPING,
        )


def on_sphere(latitude: Any, longitude: Any) -> NDArray[np.float64]:
    """Unit vectors ``[..., 3]`` of positions in degrees."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def from_sphere(vectors: NDArray[np.float64]) -> tuple[Plane, Plane]:
    """Latitude and longitude, degrees, of vectors ``[..., 3]`` of any length."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), np.rad2deg(np.arctan2(y, x))


def _local_axes(latitude: Plane, longitude: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)], axis=-1)
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)], axis=-1)
    return east, north


def _edges(centres: NDArray[np.float64], after: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Midpoints along the first axis, and one more at each end: by extension, or midway to what comes ``after``."""
    if len(centres) < 2:
        raise ValueError("the grid has a single row or column; an ocean field needs at least two of each.")
    middle = 0.5 * (centres[:-1] + centres[1:])
    end = 2 * centres[-1:] - middle[-1:] if after is None else 0.5 * (centres[-1:] + after)
    return np.concatenate([2 * centres[:1] - middle[:1], middle, end])


def _triangle(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> Plane:
    """Area of spherical triangles on the unit sphere (Van Oosterom and Strackee 1983)."""
    volume = np.abs((a * np.cross(b, c)).sum(-1))
    return 2 * np.arctan2(volume, 1 + (a * b).sum(-1) + (b * c).sum(-1) + (c * a).sum(-1))
