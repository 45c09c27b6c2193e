"""Vorticity and slope between the centres of cells: exact line integrals around every corner of four."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.grid import Grid


@dataclass(frozen=True, eq=False)
class Corners:
    """The corners of a grid's cells, each within the four centres around it.

    Lines are straight through the sphere and the plane of a corner is that of its four centres, so that nothing is said
    of the grid's own axes: a regular, a rotated and a curvilinear grid are one case. Only corners with ocean in all
    four cells are told of: beside a coast the current along it is not known.

    Attributes
    ----------
    sides
        From each centre around a corner to the next, m, ``[4, 3, Y - 1, X - 1]``.
    east, north
        Unit vectors at the centres, ``[3, Y, X]``.
    turning
        What the eastward and the northward current at each centre add to the vorticity, m-1,
        ``[2, 4, Y - 1, X - 1]``.
    normal
        Unit vectors up, ``[3, Y - 1, X - 1]``.
    area
        Within the four centres, m2, ``[Y - 1, X - 1]``.
    wet
        All four are ocean, bool ``[Y - 1, X - 1]``.
    coriolis_parameter
        s-1, ``[Y - 1, X - 1]``.
    """

    sides: Tensor
    east: Tensor
    north: Tensor
    turning: Tensor
    normal: Tensor
    area: Tensor
    wet: Tensor
    coriolis_parameter: Tensor

    @classmethod
    def of(cls, grid: Grid, wet: NDArray[np.bool_] | None = None) -> "Corners":
        """Corners of a grid with two rows and two columns at least, or of some of its cells alone."""
        latitude, longitude = np.deg2rad(grid.latitude), np.deg2rad(grid.longitude)
        zero = np.zeros_like(latitude)
        place = np.stack(
            [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
        )
        east = np.stack([-np.sin(longitude), np.cos(longitude), zero])
        unit = torch.from_numpy(np.stack([east, np.cross(place, east, axis=0)]))
        around = _around(torch.from_numpy(EARTH_RADIUS * place))
        following = around.roll(-1, 0)
        vector_area = 0.5 * torch.linalg.cross(around, following, dim=1).sum(0)
        # Rows may run north or south: up is outwards, and the way round follows it
        outwards = torch.sign((vector_area * around.mean(0)).sum(0))
        area = vector_area.norm(dim=0)
        normal = outwards * vector_area / area
        sides = outwards * (following - around)
        # The current of a centre holds for half of the side before it and half of the one behind
        halves = 0.5 * (sides + sides.roll(1, 0)) / area
        return cls(
            sides=sides,
            east=unit[0],
            north=unit[1],
            turning=torch.stack([(_around(each) * halves).sum(1) for each in unit]),
            normal=normal,
            area=area,
            wet=_around(torch.from_numpy(grid.mask if wet is None else wet)).all(0),
            coriolis_parameter=2 * EARTH_ROTATION * normal[2],
        )

    def vorticity(self, eastward: Any, northward: Any) -> Tensor:
        """Relative vorticity, the circulation around each corner over its area, s-1.

        Stokes' theorem with the current straight between two centres: the vorticity of a rotating solid body comes out
        exact on any grid. (Arakawa and Lamb, Methods in Computational Physics 17, 1977, have it so at the corners of
        their grids.)

        Parameters
        ----------
        eastward, northward
            m s-1, ``[..., Y, X]``.

        Returns
        -------
        ``[..., Y - 1, X - 1]``, NaN where not ``wet``.
        """
        total = torch.zeros((), dtype=torch.float64)
        for field, weights in zip((eastward, northward), self.turning, strict=True):
            for values, weight in zip(_quarters(torch.as_tensor(field)), weights, strict=True):
                total = total + values * weight
        return total.where(self.wet, torch.nan)

    def gradient(self, field: Any) -> Tensor:
        """Gradient of a scalar at each corner, per metre, as vectors in space, ``[..., 3, Y - 1, X - 1]``.

        Gauss' theorem with the field straight between two centres: exact for a field that is linear in space.
        """
        around = _around(torch.as_tensor(field).to(torch.float64))
        along = 0.5 * (around + around.roll(-1, 0))
        outward = torch.linalg.cross(self.sides, self.normal.expand_as(self.sides), dim=1)
        outward = outward.reshape(4, *(1 for _ in around.shape[1:-2]), *self.sides.shape[1:])
        total = (along[..., None, :, :] * outward).sum(0) / self.area
        return total.where(self.wet, torch.nan)

    def current(self, eastward: Any, northward: Any) -> Tensor:
        """Mean current of the four centres in the plane of the corner, m s-1, ``[..., 3, Y - 1, X - 1]``."""
        u, v = (torch.as_tensor(field).to(torch.float64) for field in (eastward, northward))
        mean = _around(u[..., None, :, :] * self.east + v[..., None, :, :] * self.north).mean(0)
        upward = (mean * self.normal).sum(-3, keepdim=True) * self.normal
        return (mean - upward).where(self.wet, torch.nan)


def _quarters(field: Tensor) -> tuple[Tensor, ...]:
    """Values at the four centres around each corner, one after another."""
    return field[..., :-1, :-1], field[..., :-1, 1:], field[..., 1:, 1:], field[..., 1:, :-1]


def _around(field: Tensor) -> Tensor:
    """The same as one tensor, ``[4, ..., Y - 1, X - 1]``."""
    return torch.stack(_quarters(field))
