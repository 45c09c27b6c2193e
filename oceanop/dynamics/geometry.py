"""Where level and currents sit in a basin: Arakawa's C-grid with its coast, depths and distances."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION, GRAVITY

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SAFETY = 0.9  # of the longest stable time step, so that a level above rest does not pass it
SHALLOWEST = 4.0  # m; storm surges are a few metres, and nothing falls dry here
EVENNESS = (
    0.01  # of a cell: how far positions may lie from even spacing, float32 and rounded degrees included
)


@dataclass(frozen=True, eq=False)
class CGrid:
    """A basin on Arakawa's C-grid: level at centres, ``u`` on east sides, ``v`` on north sides of the cells.

    All fields are ``[Y, X]``, rows from south to north: ``u[y, x]`` lies between the centres ``[y, x]`` and
    ``[y, x + 1]``, ``v[y, x]`` between ``[y, x]`` and ``[y + 1, x]``. Axes point to true east and north. Distances
    and rotation depend on the row alone. Made by :meth:`sphere` or :meth:`plane`.

    Attributes
    ----------
    depth
        Of the cells at rest, m, 0 on land, ``[Y, X]``.
    wet
        True in the sea, ``[Y, X]``.
    dx, dx_north
        Width of the cells of a row through their centres and along their northern sides, m, ``[Y]``.
    dy
        Height of all cells, m.
    area
        Of a cell of the row, m2, ``[Y]``.
    coriolis_parameter
        At the centres of the row, s-1, ``[Y]``.
    periodic
        Whether the last column's eastern neighbour is the first column.
    latitude, longitude
        Of rows and columns, degrees north and east, or None on a plane.
    """

    depth: Array
    wet: Mask
    dx: Array
    dx_north: Array
    dy: float
    area: Array
    coriolis_parameter: Array
    periodic: bool = False
    latitude: Array | None = None
    longitude: Array | None = None

    @classmethod
    def sphere(
        cls,
        latitude: ArrayLike,
        longitude: ArrayLike,
        depth: ArrayLike,
        *,
        wet: ArrayLike | None = None,
        minimum_depth: float = SHALLOWEST,
        coriolis: bool = True,
        periodic: bool = False,
    ) -> Self:
        """A basin on a regular grid of latitude and longitude.

        Parameters
        ----------
        latitude, longitude
            Of the centres, degrees north and east, evenly spaced and increasing, ``[Y]`` and ``[X]``.
        depth
            m, positive down, ``[Y, X]``.
        wet
            True in the sea, ``[Y, X]``; where ``depth`` is positive unless said.
        minimum_depth
            Shallower sea is made this deep, m, since no cell falls dry.
        coriolis
            Whether the Earth turns.
        periodic
            Whether the last column borders on the first.

        Raises
        ------
        ValueError
            If positions are not evenly spaced and increasing or reach over a pole, or ``depth`` does not fit (see
            :meth:`plane`).
        """
        rows, columns = np.asarray(latitude, np.float64), np.asarray(longitude, np.float64)
        steps = [
            np.deg2rad(_even_step(axis, name)) for axis, name in ((rows, "latitude"), (columns, "longitude"))
        ]
        if np.abs(rows).max() > 90 - np.rad2deg(steps[0]) * (0.5 - EVENNESS):
            raise ValueError(
                f"latitude goes from {rows[0]:g} to {rows[-1]:g} degrees north, so that cells reach over a pole; end "
                "the basin before it."
            )
        centre, south, north = (np.deg2rad(rows) + shift * steps[0] for shift in (0.0, -0.5, 0.5))
        depths, sea = _sea_floor(depth, wet, (rows.size, columns.size), minimum_depth)
        return cls(
            depth=depths,
            wet=sea,
            dx=EARTH_RADIUS * np.cos(centre) * steps[1],
            dx_north=EARTH_RADIUS * np.cos(north) * steps[1],
            dy=float(EARTH_RADIUS * steps[0]),
            area=EARTH_RADIUS**2 * steps[1] * (np.sin(north) - np.sin(south)),
            coriolis_parameter=2 * EARTH_ROTATION * np.sin(centre) * coriolis,
            periodic=periodic,
            latitude=rows,
            longitude=columns,
        )

    @classmethod
    def plane(
        cls,
        depth: ArrayLike,
        *,
        dx: float,
        dy: float,
        wet: ArrayLike | None = None,
        coriolis_parameter: float = 0.0,
        periodic: bool = False,
    ) -> Self:
        """A basin on a plane that turns with one Coriolis parameter.

        Parameters
        ----------
        depth
            m, positive down, ``[Y, X]``.
        dx, dy
            Size of a cell, m.
        wet
            True in the sea, ``[Y, X]``; where ``depth`` is positive unless said.
        coriolis_parameter
            s-1.
        periodic
            Whether the last column borders on the first.

        Raises
        ------
        ValueError
            If ``depth`` is not ``[Y, X]``, is not positive in the sea, or there is no sea.
        """
        depths, sea = _sea_floor(depth, wet, np.shape(depth), 0.0)
        if not (dx > 0 and dy > 0):
            raise ValueError(f"cells of {dx} m by {dy} m; both sides must be positive.")
        ones = np.ones(depths.shape[0])
        return cls(
            depth=depths,
            wet=sea,
            dx=dx * ones,
            dx_north=dx * ones,
            dy=float(dy),
            area=dx * dy * ones,
            coriolis_parameter=coriolis_parameter * ones,
            periodic=periodic,
        )

    @classmethod
    def rectangle(
        cls,
        *,
        length: float,
        width: float,
        depth: float,
        spacing: float,
        coriolis_parameter: float = 0.0,
        periodic: bool = False,
    ) -> Self:
        """Water of one depth between four walls, or two if it is periodic along x.

        Parameters
        ----------
        length, width
            Along x and along y, m: whole numbers of cells.
        depth, spacing
            Of the water and of the cells, m.
        coriolis_parameter
            s-1.
        periodic
            A channel along x that closes upon itself.

        Raises
        ------
        ValueError
            If the cells do not fill the basin.
        """
        columns, rows = round(length / spacing), round(width / spacing)
        if not np.allclose([columns * spacing, rows * spacing], [length, width], rtol=1e-9, atol=0):
            raise ValueError(
                f"cells of {spacing:g} m do not fill {length:g} m by {width:g} m; give a spacing that divides both."
            )
        return cls.plane(
            np.full((rows, columns), float(depth)),
            dx=spacing,
            dy=spacing,
            coriolis_parameter=coriolis_parameter,
            periodic=periodic,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, ``(Y, X)``."""
        return self.wet.shape

    @property
    def east(self) -> Mask:
        """Sides between two wet cells, eastern sides, ``[Y, X]``."""
        sides = self.wet & np.roll(self.wet, -1, axis=1)
        if not self.periodic:
            sides[:, -1] = False
        return sides

    @property
    def north(self) -> Mask:
        """Sides between two wet cells, northern sides, ``[Y, X]``."""
        sides = np.zeros_like(self.wet)
        sides[:-1] = self.wet[:-1] & self.wet[1:]
        return sides

    @property
    def east_depth(self) -> Array:
        """Mean depth of the two cells of an eastern side, m, 0 where there is no water, ``[Y, X]``."""
        return np.where(self.east, (self.depth + np.roll(self.depth, -1, axis=1)) / 2, 0.0)

    @property
    def north_depth(self) -> Array:
        """Mean depth of the two cells of a northern side, m, 0 where there is no water, ``[Y, X]``."""
        return np.where(self.north, (self.depth + np.roll(self.depth, -1, axis=0)) / 2, 0.0)

    def longest_time_step(self, gravity: float = GRAVITY) -> float:
        """Time step at which the model's scheme may become unstable, s.

        ``l`` bounds the square of the fastest gravity wave's frequency on this grid and coast (Gershgorin's circles;
        on a flat sea it is ``4 g H (1 / dx^2 + 1 / dy^2)``). Without rotation the step is ``2 / sqrt(l)``, the
        forward-backward scheme's. With it, the two components of the current turn each other in alternating order,
        which feeds any pair of waves whose frequencies add up to ``pi / dt``: ``sqrt(2 / l)`` keeps all below half of
        that, and ``1 / f`` inertial oscillations.
        """
        along_x = self.east_depth * (self.dy / self.dx)[:, None]
        along_y = self.north_depth * (self.dx_north / self.dy)[:, None]
        around = along_x + np.roll(along_x, 1, axis=1) + along_y + np.roll(along_y, 1, axis=0)
        fastest = 2 * gravity * float((around / self.area[:, None]).max())
        inertial = float(np.abs(self.coriolis_parameter).max())
        with np.errstate(divide="ignore"):  # a pond of one cell has no waves
            limits = np.sqrt((2.0 if inertial else 4.0) / np.float64(fastest)), 1 / np.float64(inertial)
        return float(min(limits))

    def time_step(self, interval: float = 3600.0, gravity: float = GRAVITY) -> float:
        """Longest safe time step that divides an interval evenly, s."""
        return float(interval / max(1.0, np.ceil(interval / (SAFETY * self.longest_time_step(gravity)))))

    def place(self, row: int, column: int) -> str:
        """Name of a cell for people."""
        where = f"row {row}, column {column}"
        if self.latitude is None or self.longitude is None:
            return where
        return f"{where} ({self.latitude[row]:.2f} N, {self.longitude[column]:.2f} E)"


def _even_step(axis: Array, name: str) -> float:
    if axis.ndim != 1 or axis.size < 2:
        raise ValueError(f"{name} has shape {axis.shape}; expected one axis with at least two positions.")
    step = float((axis[-1] - axis[0]) / (axis.size - 1))
    if not step > 0 or np.abs(np.diff(axis) - step).max() > EVENNESS * step:
        raise ValueError(
            f"{name} is not evenly spaced and increasing; sort it, or bring the sea floor to a regular grid."
        )
    return step


def _sea_floor(
    depth: ArrayLike, wet: ArrayLike | None, shape: tuple[int, ...], minimum_depth: float
) -> tuple[Array, Mask]:
    """Depth, 0 on land, and where the sea is."""
    depths = np.asarray(depth, np.float64)
    sea = depths > 0 if wet is None else np.asarray(wet, np.bool_)
    if len(shape) != 2 or depths.shape != shape or sea.shape != shape:
        raise ValueError(
            f"depth has shape {depths.shape} and the sea {sea.shape}; expected [row, column]"
            + (f", {shape}, as the positions are." if len(shape) == 2 else ".")
        )
    if not sea.any():
        raise ValueError("the basin has no wet cell; depth counts positive down, and land is 0 or less.")
    wrong = sea & ~(depths > 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"depth is {depths[row, column]:g} m at row {row}, column {column}, a wet cell; depth counts positive "
            "down. Turn the sign of heights, or take the cell out of the sea."
        )
    return np.where(sea, np.maximum(depths, minimum_depth), 0.0), sea
