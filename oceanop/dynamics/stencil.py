"""What one step of the shallow-water model multiplies by: one set of numbers for every engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oceanop.constants import GRAVITY
from oceanop.dynamics.geometry import Array, CGrid, Mask
from oceanop.dynamics.open_boundary import OpenBoundary

Places = NDArray[np.intp]

WATER_DENSITY = (
    1010.0  # kg m-3, brackish water of the Baltic at the surface (7 g/kg, 5 degC: 1006; 35 g/kg: 1028)
)
BOTTOM_DRAG = 2.5e-3  # 1, usual in surge models (Pugh and Woodworth, Sea-Level Science, 2014, section 5.3)


@dataclass(frozen=True, eq=False)
class Sides:
    """The eastern or the northern sides of all cells.

    Everything lies in a frame of land one cell wide around the basin, ``[Y + 2, X + 2]``, so that a neighbour is one
    step away in memory: ``along`` to the cell on the other side, ``back`` to the one before it in the other direction.

    Attributes
    ----------
    open
        Where water passes.
    free
        Where the momentum equation decides how fast; elsewhere a boundary does.
    depth
        At rest, m.
    face
        ``length x distance`` of a side, its share of the area, m2.
    length
        Of a side, m, ``[Y + 2]``.
    pull
        ``dt g / distance``, ``[Y + 2]``.
    near, far
        Signed Coriolis parameter times ``dt / 4`` of the cell before and behind the side, ``[Y + 2]``.
    along, back
        Steps in memory.
    """

    open: Mask
    free: Mask
    depth: Array
    face: Array
    length: Array
    pull: Array
    near: Array
    far: Array
    along: int
    back: int


@dataclass(frozen=True, eq=False)
class Radiation:
    """Sides at which a current after Flather leaves, places in the framed arrays laid out flat.

    Attributes
    ----------
    side, inside, outside
        The side, the basin's cell and the open cell beside it.
    outward
        1 where the axis points out of the basin, else -1.
    speed
        ``sqrt(g / h)`` of the side, s-1.
    """

    side: Places
    inside: Places
    outside: Places
    outward: Array
    speed: Array


@dataclass(frozen=True, eq=False)
class Stencil:
    """Coefficients of a step, float64; framed by land as :class:`Sides` says.

    Attributes
    ----------
    grid
        The basin.
    time_step
        s.
    gravity, density
        m s-2 and kg m-3.
    drag
        Quadratic bottom drag coefficient.
    linear
        Whether the thickness of the water is that at rest.
    cells
        Where continuity decides the level.
    rate
        ``dt / area`` of a row, ``[Y + 2]``.
    east, north
        Sides.
    open_cells
        Cells that hold the level beyond, places in the framed arrays laid out flat, rows in order.
    radiation
        Of eastern and of northern sides.
    """

    grid: CGrid
    time_step: float
    gravity: float
    density: float
    drag: float
    linear: bool
    cells: Mask
    rate: Array
    east: Sides
    north: Sides
    open_cells: Places
    radiation: tuple[Radiation, Radiation]

    @property
    def frame(self) -> tuple[int, int]:
        """Shape of the framed arrays."""
        return self.cells.shape

    @property
    def stress_factor(self) -> float:
        """``dt / rho``: what a stress of 1 Pa adds to thickness times current."""
        return self.time_step / self.density

    @property
    def pressure_factor(self) -> float:
        """``1 / (rho g)``: the level that weighs as much as 1 Pa of air, m."""
        return 1 / (self.density * self.gravity)


def framed(field: NDArray, *, periodic: bool = False) -> NDArray:
    """A field ``[..., Y, X]`` in a frame of land, or of the columns of the other end where x closes upon itself."""
    wide = np.zeros((*field.shape[:-2], field.shape[-2] + 2, field.shape[-1] + 2), field.dtype)
    wide[..., 1:-1, 1:-1] = field
    if periodic:
        wide[..., 0], wide[..., -1] = wide[..., -2], wide[..., 1]
    return wide


def make_stencil(
    grid: CGrid,
    *,
    time_step: float,
    friction: float = BOTTOM_DRAG,
    linear: bool = True,
    boundary: OpenBoundary | None = None,
    density: float = WATER_DENSITY,
    gravity: float = GRAVITY,
) -> Stencil:
    """Coefficients of a step in a basin; arguments as of :class:`oceanop.dynamics.shallow_water.ShallowWaterModel`."""
    opened = np.zeros(grid.shape, np.bool_) if boundary is None else np.asarray(boundary.cells, np.bool_)
    radiates = boundary is not None and boundary.kind == "flather"
    beyond = framed(opened, periodic=grid.periodic)
    width = grid.shape[1] + 2

    def row(values: Array) -> Array:
        return np.pad(np.asarray(values, np.float64), 1, mode="edge")

    turn = row(grid.coriolis_parameter) * time_step / 4
    dy = np.full(grid.shape[0] + 2, grid.dy)

    def sides(
        wet: Mask,
        depth: Array,
        length: Array,
        distance: Array,
        near: Array,
        far: Array,
        along: int,
        back: int,
    ) -> Sides:
        # Between two open cells nothing is known of the current, and none is needed.
        other = np.roll(beyond.reshape(-1), -along).reshape(beyond.shape)
        passes = framed(wet, periodic=grid.periodic) & ~(beyond & other)
        return Sides(
            open=passes,
            free=passes & ~((beyond | other) & radiates),
            depth=np.where(passes, framed(depth, periodic=grid.periodic), 0.0),
            face=np.where(passes, (length * distance)[:, None], 0.0),
            length=length,
            pull=time_step * gravity / distance,
            near=near,
            far=far,
            along=along,
            back=back,
        )

    east = sides(grid.east, grid.east_depth, dy, row(grid.dx), turn, turn, 1, width)
    north = sides(grid.north, grid.north_depth, row(grid.dx_north), dy, -turn, -np.roll(turn, -1), width, 1)

    def radiation(of: Sides) -> Radiation:
        place = np.flatnonzero(framed(np.ones(grid.shape, np.bool_)) & of.open & ~of.free)
        first = beyond.reshape(-1)[place]  # whether the open cell is the one before the side
        other = place + of.along
        if grid.periodic and of.along == 1:
            other = np.where(place % width == width - 2, place - (width - 3), other)
        return Radiation(
            side=place,
            inside=np.where(first, other, place),
            outside=np.where(first, place, other),
            outward=np.where(first, -1.0, 1.0),
            speed=np.sqrt(gravity / of.depth.reshape(-1)[place]),
        )

    return Stencil(
        grid=grid,
        time_step=time_step,
        gravity=gravity,
        density=density,
        drag=friction,
        linear=linear,
        cells=framed(grid.wet & ~opened),
        rate=time_step / row(grid.area),
        east=east,
        north=north,
        open_cells=np.flatnonzero(framed(opened)),
        radiation=(radiation(east), radiation(north)),
    )
