"""How much of a sea lies beyond what a numerical model, or a store, knows of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.positions import Positions, on_sphere

Mask = NDArray[np.bool_]

REACH = 3  # cells: the coasts of two grids lie one or two apart
MOST = 0.1  # of a sea: lagoons and fjords that the other grid does not have


def share_beyond(source: Positions, known: Mask, target: Positions, sea: Mask) -> float:
    """Share of a target's sea cells farther than ``REACH`` cells of the coarser grid from every known source cell.

    Parameters
    ----------
    source, target
        Of the cells' centres.
    known, sea
        Source cells that hold values and target cells that are sea, ``[Y, X]``, one each at least.
    """
    points, goals = (on_sphere(grid.latitude, grid.longitude) for grid in (source, target))
    distance = cKDTree(points[known]).query(goals[sea])[0]
    return float((distance > REACH * max(_cell(points), _cell(goals))).mean())


def _cell(points: NDArray[np.float64]) -> float:
    """The longer side of the usual cell, Earth radii; 0 of a single one."""
    sides = [np.linalg.norm(np.diff(points, axis=axis), axis=-1) for axis in (0, 1)]
    # Models leave positions out where whole blocks are land
    return max((float(np.nanmedian(side)) for side in sides if np.isfinite(side).any()), default=0.0)
