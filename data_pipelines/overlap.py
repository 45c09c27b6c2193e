"""Means over the cells of another regular grid, by the area that cells share: what is in the sea stays in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.positions import Positions, on_sphere

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Weights from a regular grid's wet cells to another's.

    Attributes
    ----------
    rows, columns
        Share of each source row (by sine of latitude) and column in each target's, ``[target, source]``.
    wet
        Source cells that count, ``[Y, X]``.
    target
        Wet cells of the target, ``[rows, columns]``.
    nearest
        Source cell, counted along the rows, that each wet target without any in it takes, ``[rows, columns]``; -1
        elsewhere.
    """

    rows: Array
    columns: Array
    wet: Mask
    target: Mask
    nearest: NDArray[np.int64]

    @classmethod
    def between(cls, source: Positions, target: Positions, wet: Mask, target_wet: Mask) -> "Overlap":
        """Weights between two grids regular in latitude and longitude.

        Raises
        ------
        ValueError
            If a grid is not regular, or the source has no wet cell.
        """
        for positions in (source, target):
            if not positions.regular:
                raise ValueError(
                    "a grid is not regular in latitude and longitude, so shares of its cells are not known; bring it "
                    "to such a grid first."
                )
        if not wet.any():
            raise ValueError("the source grid has no wet cell to take a mean over.")
        edges = [
            (np.sin(np.deg2rad(grid.corners[0][:, 0])), np.deg2rad(grid.corners[1][0]))
            for grid in (source, target)
        ]
        rows, columns = (shared_lengths(*axes) for axes in zip(*edges, strict=True))
        held = rows @ wet @ columns.T
        empty = target_wet & ~(held > 0)
        nearest = np.full(target.shape, -1)
        if empty.any():
            tree = cKDTree(on_sphere(source.latitude, source.longitude)[wet])
            found = tree.query(on_sphere(target.latitude, target.longitude)[empty])[1]
            nearest[empty] = np.flatnonzero(wet.ravel())[found]
        return cls(rows, columns, wet, target_wet, nearest)

    def __call__(self, fields: NDArray[np.floating]) -> Array:
        """Fields ``[..., Y, X]`` on the target's wet cells, ``[..., rows, columns]``, 0 elsewhere.

        Only wet cells are read; land may hold anything.
        """
        known = np.where(self.wet, fields, 0.0).astype(np.float64)
        held = self.rows @ self.wet @ self.columns.T  # area that the wet cells have in each target
        inside = self.target & (held > 0)
        mean = (self.rows @ known @ self.columns.T) / np.where(held > 0, held, 1.0)
        result = np.where(inside, mean, 0.0)
        lost = self.nearest >= 0
        result[..., lost] = known.reshape(*known.shape[:-2], -1)[..., self.nearest[lost]]
        return result


def shared_lengths(source: Array, target: Array) -> Array:
    """Length that cells between ``source`` edges share with those between ``target`` edges, ``[target, source]``."""
    (low, above), (other_low, other_above) = (
        (np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])) for edges in (source, target)
    )
    length = np.minimum(other_above[:, None], above) - np.maximum(other_low[:, None], low)
    # Edges that ought to coincide differ by rounding, and would share a sliver
    least = 1e-9 * np.abs(np.diff(source)).min()
    return np.where(length > least, length, 0.0)
