"""The northern edge of a tripolar grid, where the last row meets itself: which cells meet, which are there twice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]

_SAME = 0.02  # of the distance of cells along a row: nearer ones are one cell, as far as float32 tells
_AHEAD = (
    0.5  # cosine: the cell across the fold lies ahead of a column, which on a ring around a pole it does not
)
_FEW = 0.1  # of the cells, at the two pivots, around which the columns turn
_TRIED = 16  # cells on which every way to fold the row is tried


@dataclass(frozen=True, eq=False)
class Fold:
    """How the last row of a grid around the Earth meets itself.

    Cell ``i`` of the last row meets cell ``(mirror - i) % columns`` of row ``-across``.

    Attributes
    ----------
    doubled
        Rows at the end that are there before, mirrored: as where a model closes its grid by a halo. The other
        attributes are those of the grid without them.
    across
        Which row lies beyond the last one, counted from the end: 1 is the last row itself.
    mirror
        Sum of the column numbers of two cells that meet.
    shared
        Cells of the last row that are there twice in it, ``[X]``: those of a grid that is folded along them.
    """

    doubled: int
    across: int
    mirror: int
    shared: NDArray[np.bool_]

    def beyond(self, rows: NDArray) -> NDArray:
        """What lies beyond the last row of ``[Y, X, ...]`` (without doubled rows), ``[1, X, ...]``."""
        partner = (self.mirror - np.arange(rows.shape[1])) % rows.shape[1]
        return rows[-self.across][partner][None]


def find_fold(at: Vectors) -> Fold | None:
    """The fold at the end of a grid whose columns go around the Earth; None where there is none.

    Parameters
    ----------
    at
        Unit vectors of the centres, ``[Y, X, 3]``; the last four rows will do.
    """
    if at.shape[0] < 4 or at.shape[1] < 8:
        return None
    if _mirror(at, 2, same=True) is not None or _mirror(at, 3, same=True) is not None:
        inner = find_fold(np.concatenate([at[:1], at[:-1]]) if len(at) == 4 else at[:-1])
        return None if inner is None else Fold(inner.doubled + 1, inner.across, inner.mirror, inner.shared)
    columns = np.arange(at.shape[1])
    if (mirror := _mirror(at, 1, same=True)) is not None:
        return Fold(0, 2, mirror, (mirror - columns) % columns.size != columns)
    if (mirror := _mirror(at, 1, same=False)) is not None:
        return Fold(0, 1, mirror, np.zeros(columns.size, dtype=bool))
    return None


def _mirror(at: Vectors, row: int, *, same: bool) -> int | None:
    """Sum of the columns that meet if the last row lies on another one, mirrored, or beside itself; None if not."""
    last, other = at[-1], at[-row]
    columns = np.arange(last.shape[0])
    step = np.median(np.linalg.norm(np.roll(last, -1, 0) - last, axis=-1))
    # Beside themselves cells near a pivot meet with every mirror; the farthest of those tried decides.
    tried = columns[:: max(columns.size // _TRIED, 1)]
    partner = (columns[:, None] - tried) % columns.size
    mirror = int(np.linalg.norm(last[tried] - other[partner], axis=-1).max(1).argmin())
    across = other[(mirror - columns) % columns.size] - last
    distance = np.linalg.norm(across, axis=-1)
    if same:
        return mirror if distance.max() <= _SAME * step else None
    along = last - at[-2]
    length = np.linalg.norm(along, axis=-1)
    cosine = (along * across).sum(-1) / np.maximum(distance * length, np.finfo(np.float64).tiny)
    ahead = np.quantile(cosine, _FEW) > _AHEAD
    return mirror if ahead and np.quantile(distance / length, 1 - _FEW) < 1.5 else None
