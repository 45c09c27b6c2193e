"""A mesh fixed to the globe, on which smooth fields are evaluated once and read between its nodes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mesh:
    """The nodes around some places, and how much of each they take.

    Nodes lie at whole multiples of the spacing from the south pole and from Greenwich, whatever places are asked for:
    two grids that share a place read the same numbers there.

    Attributes
    ----------
    latitude, longitude
        Of the nodes that are needed, degrees, ``[node]``.
    corners
        South-west, south-east, north-west and north-east node of each place, ``[4, place]``.
    east, north
        Distance from the south-west node in spacings, 0 to 1, ``[place]``.
    """

    latitude: Array
    longitude: Array
    corners: NDArray[np.int64]
    east: Array
    north: Array

    @classmethod
    def around(cls, latitude: Array, longitude: Array, spacing: float) -> "Mesh":
        """Mesh of a spacing in degrees around places (degrees, ``[place]``, longitudes from 0 to 360).

        Raises
        ------
        ValueError
            If the spacing does not divide half a circle.
        """
        rows = round(180 / spacing) if np.isfinite(spacing) and spacing > 0 else 0
        if rows < 1 or abs(rows * spacing - 180) > 1e-9:
            raise ValueError(
                f"a mesh of {spacing:g} degrees does not go round the globe evenly; take one that divides 180 degrees, "
                "such as 0.5."
            )
        y, x = (latitude + 90) * (rows / 180), longitude * (rows / 180)
        row = np.clip(np.floor(y), 0, rows - 1).astype(np.int64)
        column = np.floor(x).astype(np.int64)
        columns = [(column + i) % (2 * rows) for i in (0, 1)]
        numbers = np.stack([(row + j) * 2 * rows + columns[i] for j in (0, 1) for i in (0, 1)])
        nodes, corners = np.unique(numbers, return_inverse=True)
        return cls(
            latitude=(nodes // (2 * rows)).astype(np.float64) * (180 / rows) - 90,
            longitude=(nodes % (2 * rows)).astype(np.float64) * (180 / rows),
            corners=corners.reshape(numbers.shape),
            east=x - column,
            north=y - row,
        )

    def interpolate(self, field: Array) -> Array:
        """Bilinear values at the places, ``[time, place]``, of a field at the nodes, ``[time, node]``."""
        values = np.empty((len(field), self.east.size))
        _interpolate(np.ascontiguousarray(field), self.corners, self.east, self.north, values)
        return values


@njit(nogil=True, error_model="numpy", cache=True)
def _interpolate(field: Any, corners: Any, east: Any, north: Any, values: Any) -> None:
    for t in range(len(field)):
        for i in range(east.size):
            x, y = east[i], north[i]
            south = (1.0 - x) * field[t, corners[0, i]] + x * field[t, corners[1, i]]
            beyond = (1.0 - x) * field[t, corners[2, i]] + x * field[t, corners[3, i]]
            values[t, i] = (1.0 - y) * south + y * beyond
