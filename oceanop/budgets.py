"""Water and energy of a sea, from its level and depth-mean current at the centres of cells."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.constants import GRAVITY

Array = NDArray[np.float64]


class BasinEnergy(NamedTuple):
    """Energy over the density of water, m5 s-2, ``[...]`` each."""

    kinetic: Array
    potential: Array

    @property
    def total(self) -> Array:
        """Both together."""
        return self.kinetic + self.potential


def basin_energy(
    zos: ArrayLike, ubar: ArrayLike, vbar: ArrayLike, *, depth: ArrayLike, area: ArrayLike
) -> BasinEnergy:
    """Energy of linear shallow water: ``h (u^2 + v^2) / 2`` and ``g zos^2 / 2`` over all cells.

    Currents at centres are means of those through a cell's sides, so that the kinetic part is a little less than what a
    model on a C-grid counts; a ratio of two such energies hardly knows.

    Parameters
    ----------
    zos, ubar, vbar
        m and m s-1, ``[..., Y, X]``, 0 on land.
    depth
        At rest, m, ``[Y, X]``.
    area
        m2, 0 on land, ``[Y, X]``.
    """
    level, east, north = (np.asarray(field, np.float64) for field in (zos, ubar, vbar))
    cells = np.asarray(area, np.float64)
    water = np.asarray(depth, np.float64) * cells
    return BasinEnergy(
        kinetic=0.5 * ((east**2 + north**2) * water).sum((-2, -1)),
        potential=0.5 * GRAVITY * (level**2 * cells).sum((-2, -1)),
    )


def mean_level(zos: ArrayLike, *, area: ArrayLike) -> Array:
    """Volume above rest over the basin's area, m, ``[...]``.

    Parameters
    ----------
    zos
        m, ``[..., Y, X]``, 0 on land.
    area
        m2, 0 on land, ``[Y, X]``.
    """
    cells = np.asarray(area, np.float64)
    total: Array = (np.asarray(zos, np.float64) * cells).sum((-2, -1)) / cells.sum()
    return total
