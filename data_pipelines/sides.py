"""From currents at cells' centres to those through the sides of another grid's cells, transport by transport."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from data_pipelines.overlap import shared_lengths
from oceanop.dynamics.geometry import CGrid

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Of the mean of its cells' in a side's current: keeps what centres do not show, an alternation from side to side, out
PRIOR = 1e-4


class SideCurrents:
    """Currents through the sides of a target's cells that carry as much water as the source's.

    A current at a centre is the mean of those through two sides, of which a coast's is 0; read backwards this gives
    the sides of the source. Their transports, summed along a side of the target and linear between sides of the
    source, fill and empty the target's cells as they do the source's, so that the level is not shaken by the change
    of grid.

    Parameters
    ----------
    source, target
        Grids regular in latitude and longitude.
    """

    def __init__(self, source: CGrid, target: CGrid) -> None:
        self.source, self.target = source, target
        self._solve = [
            _Backwards(source.wet, side, axis) for side, axis in ((source.east, 1), (source.north, 0))
        ]
        (south, west), (target_south, target_west) = (_edges(grid) for grid in (source, target))
        self._rows = shared_lengths(south, target_south) / np.diff(target_south)[:, None]
        self._columns = shared_lengths(west, target_west) / np.diff(target_west)[:, None]
        self._along_x = _linear(west[1:], target_west[1:])
        self._along_y = _linear(south[1:], target_south[1:])
        # Sides along a parallel are as long as its cosine says
        self._cosine, self._target_cosine = (
            np.cos(np.deg2rad(edges[1:]))[:, None] for edges in (south, target_south)
        )

    def __call__(self, u: NDArray[np.floating], v: NDArray[np.floating]) -> tuple[Array, Array]:
        """Currents through eastern and northern sides of the target, ``[rows, columns]``, from those at centres."""
        east, north = (solve(field) for solve, field in zip(self._solve, (u, v), strict=True))
        along_x = self._rows @ (east * self.source.east_depth) @ self._along_x.T
        along_y = self._along_y @ (north * self.source.north_depth * self._cosine) @ self._columns.T
        return (
            _over(along_x, self.target.east_depth),
            _over(along_y / self._target_cosine, self.target.north_depth),
        )


class _Backwards:
    """Sides whose means are given: least squares, drawn slightly to the mean of the two cells beside."""

    def __init__(self, wet: Mask, sides: Mask, axis: int) -> None:
        self._wet, self._sides, self._axis = wet, sides, axis
        number = np.full(wet.shape, -1)
        number[wet] = np.arange(wet.sum())
        count = int(sides.sum())
        cells = np.concatenate([number[sides], np.roll(number, -1, axis)[sides]])
        self._mean = scipy.sparse.csr_array(
            (np.full(2 * count, 0.5), (cells, np.tile(np.arange(count), 2))), shape=(int(wet.sum()), count)
        )
        normal = self._mean.T @ self._mean + PRIOR * scipy.sparse.eye_array(count)
        self._factor = scipy.sparse.linalg.splu(normal.tocsc())

    def __call__(self, centred: NDArray[np.floating]) -> Array:
        field = np.where(self._wet, centred, 0.0)
        between = ((field + np.roll(field, -1, self._axis)) / 2)[self._sides]
        lacking = field[self._wet] - self._mean @ between
        result = np.zeros(self._wet.shape)
        result[self._sides] = between + self._factor.solve(self._mean.T @ lacking)
        return result


def _edges(grid: CGrid) -> tuple[Array, Array]:
    """Southern and western edges of rows and columns and the last ones' others, degrees."""
    assert grid.latitude is not None
    assert grid.longitude is not None
    return tuple(
        np.append(axis, 2 * axis[-1] - axis[-2]) - (axis[1] - axis[0]) / 2
        for axis in (grid.latitude, grid.longitude)
    )


def _linear(source: Array, target: Array) -> Array:
    """Weights of linear interpolation between increasing places, ``[target, source]``; the nearest beyond the ends."""
    return np.stack([np.interp(target, source, unit) for unit in np.eye(source.size)], axis=-1)


def _over(transport: Array, depth: Array) -> Array:
    return np.divide(transport, depth, out=np.zeros_like(transport), where=depth > 0)
