"""From the faces of a C-grid's cells to their centres; which face is whose is read off the masks.

A face between two cells is water where both cells are. Shifted by one cell the two sides of this equation differ along
every coast, so that the shift with the fewest differences is the grid's, whatever its dimensions are called or cut to.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.positions import Positions, on_sphere
from data_pipelines.sources.source import Fetch, Values

Mask = NDArray[np.bool_]
CENTRED = None  # the values lie at the centres already

_SHIFTS: tuple[int, ...] = (0, -1, 1)  # face i lies between the cells i + shift and i + shift + 1
_DECISIVE = 0.5  # the best shift has less than this share of the differences of the next one
_SHARED = 0.02  # of the cells: fewer that hold one number are a chance of the packing
_FITS = 0.05  # of the compared points: more differences, and the masks are not of one grid


def shift_of_masks(faces: Mask, centres: Mask, axis: int) -> tuple[int | None, bool]:
    """Shift of the faces along an axis for which their mask is the product of the cells' masks.

    Parameters
    ----------
    faces, centres
        True where there is water, ``[Y, X]``; of one size along the other axis.

    Returns
    -------
    (shift, decided)
        ``shift`` 0 is a face after its cell (face ``i`` between cells ``i`` and ``i + 1``), -1 before it, None no
        face but the centre; ``decided`` is False where the masks fit several, or none.
    """
    if faces.all() or centres.all():
        return CENTRED, False
    faces, centres = np.moveaxis(faces, axis, -1), np.moveaxis(centres, axis, -1)
    trials: list[tuple[float, int | None]] = []
    for shift in _SHIFTS:
        first, last = max(0, -shift), min(faces.shape[-1], centres.shape[-1] - 1 - shift)
        between = (
            centres[..., first + shift : last + shift] & centres[..., first + shift + 1 : last + shift + 1]
        )
        trials.append((float((faces[..., first:last] != between).mean()), shift))
    if faces.shape == centres.shape:
        trials.append((float((faces != centres).mean()), CENTRED))
    trials.sort(key=lambda trial: trial[0])
    (best, chosen), (second, _) = trials[:2]
    return chosen, best <= _FITS and best < _DECISIVE * second


def shift_of_positions(faces: Positions, centres: Positions, axis: int) -> tuple[int | None, bool]:
    """Shift of the faces along an axis for which they lie midway between cells; as :func:`shift_of_masks`."""
    at = np.moveaxis(on_sphere(faces.latitude, faces.longitude), axis, 0)
    cells = np.moveaxis(on_sphere(centres.latitude, centres.longitude), axis, 0)
    if at.shape[1:] != cells.shape[1:]:
        return CENTRED, False
    trials: list[tuple[float, int | None]] = []
    for shift in _SHIFTS:
        first, last = max(0, -shift), min(len(at), len(cells) - 1 - shift)
        middle = 0.5 * (cells[first + shift : last + shift] + cells[first + shift + 1 : last + shift + 1])
        trials.append((_apart(at[first:last], middle), shift))
    if at.shape == cells.shape:
        trials.append((_apart(at, cells), CENTRED))
    trials.sort(key=lambda trial: trial[0])
    (best, chosen), (second, _) = trials[:2]
    return chosen, best < _DECISIVE * second


def product(centres: Mask, shift: int, axis: int, size: int) -> Mask:
    """Mask of the faces, ``[..., Y, X]`` with ``size`` of them along ``axis``, from the masks of the cells.

    A face at the end of the grid, with one cell, is water where that cell is.
    """
    cells = np.moveaxis(centres, axis - 2, -1)
    before = np.arange(size) + shift
    ends = np.clip(before, 0, cells.shape[-1] - 1), np.clip(before + 1, 0, cells.shape[-1] - 1)
    return np.moveaxis(cells[..., ends[0]] & cells[..., ends[1]], -1, axis - 2)


@dataclass(frozen=True, eq=False)
class Faces:
    """Values on one kind of face, read as means at the centres: ``sum(value * water) / sum(water)`` of two faces.

    Attributes
    ----------
    read
        Reads a block on the faces ``[t, z, y, x]``, NaN where a value is missing.
    shape
        Rows and columns of faces.
    axis
        0 where a cell's faces are its neighbours along y, 1 along x.
    shift
        As of :func:`shift_of_masks`.
    water
        Faces that are water, ``[z or 1, Y, X]``; None where missing values say it all.
    cyclic
        Whether the first cell lies beside the last one along x.
    """

    read: Fetch
    shape: tuple[int, int]
    axis: int
    shift: int
    water: Mask | None
    cyclic: bool = False

    def fetch(self, steps: slice, levels: list[int], rows: slice, columns: slice) -> Values:
        """A block at the centres ``[t, z, y, x]``; NaN where no face of a cell is water."""
        box = [rows, columns]
        first, last = box[self.axis].start - self.shift - 1, box[self.axis].stop - self.shift
        size = self.shape[self.axis]

        def part(start: int, stop: int) -> Values:
            box[self.axis] = slice(start, stop)
            values = self.read(steps, levels, box[0], box[1])
            if self.water is None:
                return values
            numbers = levels if len(self.water) > 1 else [0]
            return np.where(self.water[numbers][:, box[0], box[1]], values, np.float32(np.nan))

        parts = [part(max(first, 0), min(last, size))]
        axis = self.axis - 2
        for side, missing, cells in ((0, -first, slice(size - 1, size)), (1, last - size, slice(0, 1))):
            if missing <= 0:
                continue
            beyond = (
                part(cells.start, cells.stop) if self.cyclic and self.axis == 1 and missing == 1 else None
            )
            if beyond is None:
                shape = list(parts[0].shape)
                shape[axis] = missing
                beyond = np.full(shape, np.nan, dtype=np.float32)
            parts = [beyond, *parts] if side == 0 else [*parts, beyond]
        return _mean_of_neighbours(np.concatenate(parts, axis), axis)


def _mean_of_neighbours(values: Values, axis: int) -> Values:
    values = np.moveaxis(values, axis, -1)
    water = np.isfinite(values)
    held = np.where(water, values, 0)
    total = held[..., :-1] + held[..., 1:]
    count = water[..., :-1].astype(np.float32) + water[..., 1:]
    return np.moveaxis(np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)), -1, axis)


def water_of(values: NDArray[np.float32]) -> Mask:
    """Where a plane of values ``[Y, X]`` seems to be water: where it has one.

    Where all have one, land may be a number: one that many cells share, or else zero.
    """
    there = np.isfinite(values)
    if not there.all():
        return there
    numbers, counts = np.unique(values, return_counts=True)
    shared = counts.max() > _SHARED * values.size
    return np.asarray(values != (numbers[counts.argmax()] if shared else 0))


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.median(np.linalg.norm(one - other, axis=-1))) if one.size else np.inf
