"""From the settings of a basin to its cells, those of a store, and the numerical model on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.basins.sea_floor import baltic
from data_pipelines.basins.settings import Basin, FileSea, FlatSea, ReliefSea
from data_pipelines.positions import Positions
from data_pipelines.sources import open_source
from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import External, OpenBoundary
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.grid import Grid
from oceanop.layout import cf_attributes
from oceanop.variables import VARIABLES


@dataclass(frozen=True, eq=False)
class Domain:
    """Cells of a basin.

    Attributes
    ----------
    cells
        As the numerical model has them.
    positions
        Of their centres; on a plane they are nominal.
    attributes
        Of a store on them: where the sea floor is from, or what the plane is.
    """

    cells: CGrid
    positions: Positions
    attributes: Mapping[str, float | str]

    @property
    def grid(self) -> Grid:
        """The cells as a store has them."""
        area = np.broadcast_to(self.cells.area[:, None], self.cells.shape)
        return self.positions.grid(self.cells.wet, area.copy())

    def coordinates(self) -> xr.Dataset:
        """Coordinates, mask, cell area and depth as a store holds them; the depth is NaN on land."""
        ds = self.grid.to_dataset()
        depth = np.where(self.cells.wet, self.cells.depth, np.nan).astype(np.float32)
        ds["deptho"] = xr.Variable(self.positions.dims, depth, cf_attributes("deptho"))
        ds["cell_area"].attrs["method"] = (
            "squares of a plane" if self.cells.latitude is None else self.positions.area_method
        )
        return ds


def make_domain(basin: Basin) -> Domain:
    """Cells of a basin.

    Raises
    ------
    ValueError, FileNotFoundError
        If its sea floor cannot be read, is on no regular grid, or the cells do not fill the basin.
    """
    if isinstance(basin.sea, FlatSea):
        return _plane(basin.sea)
    if isinstance(basin.sea, ReliefSea):
        floor = baltic(basin.sea.rows, basin.sea.columns)
        positions = Positions.from_axes(floor["latitude"].to_numpy(), floor["longitude"].to_numpy())
        depth, told = (
            floor["deptho"].to_numpy(),
            {f"sea_floor_{key}": str(value) for key, value in floor.attrs.items()},
        )
    else:
        positions, depth = _read_floor(basin.sea)
        told = {"sea_floor_source": Path(basin.sea.path).name}
    cells = CGrid.sphere(
        positions.latitude[:, 0], positions.longitude[0], depth, minimum_depth=basin.sea.minimum_depth
    )
    return Domain(cells, positions, told)


def make_model(
    basin: Basin, domain: Domain, *, interval: float = 3600.0, level: External | None = None, threads: int = 1
) -> ShallowWaterModel:
    """The numerical model of a basin.

    Parameters
    ----------
    interval
        Between the times at which the air is known and states are asked for, s.
    level
        Of the ocean beyond the boundary, beside the inverse barometer, as
        :class:`oceanop.dynamics.open_boundary.OpenBoundary` takes it.
    threads
        That members are shared among, eight at a time.

    Raises
    ------
    ValueError
        If the basin is open on a side without sea.
    """
    boundary = None
    if basin.boundary is not None:
        side = basin.boundary.side
        boundary = OpenBoundary.along(domain.cells, side, kind=basin.boundary.kind, level=level)
        if not boundary.cells.any():
            raise ValueError(
                f"{basin.name}: the boundary is open to the {side}, where the outermost cells are all land; leave "
                "[boundary] out, name another side, or end the sea floor in the sea."
            )
    return ShallowWaterModel(
        domain.cells,
        friction=basin.water.friction,
        linear=basin.water.linear,
        boundary=boundary,
        forcing_interval=interval,
        threads=threads,
    )


def _plane(sea: FlatSea) -> Domain:
    """A flat sea in a frame of land, one cell wide, where it has walls."""
    water = CGrid.rectangle(
        length=sea.length,
        width=sea.width,
        depth=sea.depth,
        spacing=sea.spacing,
        coriolis_parameter=sea.coriolis_parameter,
        periodic=sea.periodic,
    )
    # Walls are cells of land, or nothing in the store would tell them from an open edge.
    depth = np.pad(water.depth, ((1, 1), (0, 0) if sea.periodic else (1, 1)))
    cells = CGrid.plane(
        depth,
        dx=sea.spacing,
        dy=sea.spacing,
        coriolis_parameter=sea.coriolis_parameter,
        periodic=sea.periodic,
    )
    sine = sea.coriolis_parameter / (2 * EARTH_ROTATION)
    if not abs(sine) < 0.99:
        raise ValueError(
            f"a Coriolis parameter of {sea.coriolis_parameter:g} s-1 is nowhere on Earth, where it reaches "
            f"{2 * EARTH_ROTATION:.4g} s-1; give a smaller one."
        )
    middle = np.arcsin(sine)
    degree = sea.spacing / np.deg2rad(EARTH_RADIUS)
    rows, columns = cells.shape
    latitude = np.rad2deg(middle) + (np.arange(rows) - (rows - 1) / 2) * degree
    positions = Positions.from_axes(latitude, np.arange(columns) * degree / np.cos(middle))
    return Domain(
        cells,
        positions,
        {
            "coriolis_parameter": sea.coriolis_parameter,
            "depth": sea.depth,
            "grid_spacing": sea.spacing,
            "comment": "Positions are nominal: cells are squares of a plane, and the Coriolis parameter is the same in "
            "all." + (" The first column lies east of the last." if sea.periodic else ""),
        },
    )


def _read_floor(sea: FileSea) -> tuple[Positions, NDArray[np.float64]]:
    source = open_source(sea.path)
    try:
        if "deptho" not in source.fields:
            raise ValueError(
                f"{source.name} holds {', '.join(source.fields)} and no sea floor; give a file with a depth or a "
                "relief (standard_name sea_floor_depth_below_geoid or height_above_mean_sea_level)."
            )
        field = source.fields["deptho"]
        if not field.positions.regular:
            raise ValueError(
                f"{field.where} does not lie on a regular grid of latitude and longitude; bring it to one first."
            )
        rows, columns = (slice(0, size) for size in field.positions.shape)
        depth = field.fetch(slice(0, 1), [0], rows, columns)[0, 0].astype(np.float64)
    finally:
        source.close()
    depth = np.where(np.isfinite(depth), depth, 0.0)  # what has no value is land
    if not depth.max() > 0:
        raise ValueError(
            f"{field.where} has nothing below sea level; depth counts positive down, and heights need the "
            "standard_name height_above_mean_sea_level or the attribute positive = 'up'."
        )
    deepest = VARIABLES["deptho"].valid_range[1]
    if depth.max() > deepest:
        raise ValueError(
            f"{field.where} has depths up to {depth.max():g} m, and no sea is deeper than {deepest:g} m; mend its unit."
        )
    return field.positions, depth
