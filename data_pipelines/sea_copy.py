"""Fields copied to where a model takes them, land set to zero and missing values counted on the way, in one pass.

Compiled by numba when first called (a second, kept on disk after that): the same in tensor operations streams the
fields through memory six times and takes ten times as long.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_INFINITY = np.int32(0x7F800000)  # bits of float32's infinity: compared as integers, NaN is larger
_MAGNITUDE = np.int32(0x7FFFFFFF)
_ZERO = np.int32(0)

Fields = NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """A rectangle of cells: its first row and column, and how many of each."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of a plane ``[Y, X]``."""
        return slice(self.row, self.row + self.rows), slice(self.column, self.column + self.columns)


class SeaCopy:
    """The way in which a channel is copied.

    Parameters
    ----------
    sea
        Cells on which it must have values, bool ``[Y, X]``.
    keep_land
        True keeps other values where they are not missing (wind over land); False makes them 0.
    """

    def __init__(self, sea: NDArray[np.bool_], *, keep_land: bool) -> None:
        self._columns, self._keep_land, self._has_holes = sea.shape[1], keep_land, False
        self._sea = np.where(sea, -1, 0).astype(np.int32).ravel()
        self._open = np.int32(-1 if keep_land else 0)

    def __call__(
        self, fields: Fields, plane: int, out: Fields, crop: Crop | None = None
    ) -> NDArray[np.int64]:
        """Copy one plane of some steps, and count the cells of the sea that have no finite value.

        Parameters
        ----------
        fields
            ``[t, plane, Y, X]``, C-contiguous.
        out
            ``[t, rows, columns]``, C-contiguous; all of it is written.
        crop
            Which cells; None for all.

        Returns
        -------
        Cells lacking in each step, ``[t]``.
        """
        lacking = np.zeros(len(out), np.int64)
        flat = fields.reshape(*fields.shape[:2], -1).view(np.int32)
        flat.setflags(write=False)  # as mapped files are: one compiled loop for all
        target = out.view(np.int32)
        if crop is None:  # one long row: the loop is never broken off
            _copy(
                flat,
                plane,
                self._sea,
                self._open,
                self._sea.size,
                0,
                target.reshape(len(out), 1, -1),
                lacking,
            )
        else:
            corner = crop.row * self._columns + crop.column
            _copy(flat, plane, self._sea, self._open, self._columns, corner, target, lacking)
        return lacking

    def is_whole(self, fields: Fields, plane: int) -> bool:
        """Whether steps that lack nothing at sea lack nothing on land either, where that is kept."""
        if not self._keep_land:
            return True
        if self._has_holes:
            # Asked no more once there was one: land that lacks values mostly does so at every step.
            return False
        # The answer is of these steps: another thread may meanwhile have found a hole in its own.
        holes = bool(np.isnan(fields[:, plane]).any())
        if holes:
            self._has_holes = True
        return not holes

    def again(self, fields: Fields, plane: int, out: Fields) -> None:
        """Copy steps that :meth:`is_whole` has found whole: the same result, without a look at each value."""
        if self._keep_land:
            np.copyto(out, fields[:, plane])
        else:
            flat = fields.reshape(*fields.shape[:2], -1).view(np.int32)
            flat.setflags(write=False)
            _copy_sea(flat, plane, self._sea, out.view(np.int32).reshape(len(out), -1))


@njit(nogil=True, cache=True)
def _copy_sea(fields: Any, plane: Any, sea: Any, out: Any) -> None:
    for step in range(len(out)):
        here, target = fields[step, plane], out[step]
        for cell in range(len(target)):
            target[cell] = here[cell] & sea[cell]


@njit(nogil=True, cache=True)
def _copy(
    fields: Any, plane: Any, sea: Any, opened: Any, width: Any, corner: Any, out: Any, lacking: Any
) -> None:
    # Bits instead of numbers: a mask is an "and", and the compiler makes vectors of all of it.
    steps, rows, columns = out.shape
    for step in range(steps):
        count = _ZERO
        for row in range(rows):
            start = corner + row * width
            # Pieces that begin at 0: an index that might be negative would keep the loop from being a vector's.
            here = fields[step, plane, start : start + columns]
            wet = sea[start : start + columns]
            target = out[step, row]
            for column in range(columns):
                bits = here[column]
                mask = wet[column]
                count += np.int32((bits & mask & _INFINITY) == _INFINITY)
                kept = bits & (mask | opened)
                target[column] = kept if (bits & _MAGNITUDE) <= _INFINITY else _ZERO
        lacking[step] = count
