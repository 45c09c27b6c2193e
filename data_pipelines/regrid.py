"""From one grid to another: bilinear on any curvilinear grid, with a mask; and from one time axis to another."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.positions import Positions, on_sphere
from data_pipelines.times import Times, calendar_of, milliseconds, text
from data_pipelines.windows import TOLERANCE, time_step

_INSIDE = 1e-6  # of a cell: a target on a cell's edge belongs to it in spite of rounding
_WET_WEIGHT = 0.5  # a target keeps its value where at least half of its weight is on valid cells


@dataclass(frozen=True, eq=False)
class Regridder:
    """Weights from a source grid to a target grid.

    Attributes
    ----------
    weights
        ``[targets, source cells used]``, rows sum to 1, all weights are in [0, 1].
    rows, columns
        The block of the source grid that is used.
    inside
        Which targets lie between valid source cells, ``[Y, X]``; the others take the nearest valid one.
    """

    weights: scipy.sparse.csr_array
    rows: slice
    columns: slice
    inside: NDArray[np.bool_]

    @classmethod
    def between(
        cls, source: Positions, target: Positions, valid: NDArray[np.bool_] | None = None
    ) -> "Regridder":
        """Bilinear weights on valid source cells; the nearest valid cell for targets outside.

        Parameters
        ----------
        valid
            Source cells that hold values, ``[Y, X]``; None for all.

        Raises
        ------
        ValueError
            If no source cell is valid.
        """
        usable = np.ones(source.shape, dtype=bool) if valid is None else valid
        if not usable.any():
            raise ValueError(
                "no cell of the source grid holds a value; there is nothing to interpolate from."
            )
        weights, inside = bilinear_weights(source, target)
        held = weights @ usable.ravel().astype(np.float64)
        inside &= (held >= _WET_WEIGHT).reshape(target.shape)
        kept = (
            scipy.sparse.diags_array(np.where(inside.ravel(), 1 / np.where(held > 0, held, 1), 0.0)) @ weights
        )
        return cls._whole(kept, inside, source, target, usable)

    @classmethod
    def means(
        cls,
        source: Positions,
        target: Positions,
        shared: scipy.sparse.csr_array,
        valid: NDArray[np.bool_],
    ) -> "Regridder":
        """Means over target cells, of valid source cells by the area shared; the nearest valid one where none is.

        Parameters
        ----------
        shared
            Area that each target cell shares with each source cell, ``[targets, source cells]``.
        valid
            Source cells that hold values, ``[Y, X]``, one at least.
        """
        held = shared @ valid.ravel().astype(np.float64)
        inside = held > 0
        kept = scipy.sparse.diags_array(np.where(inside, 1 / np.where(inside, held, 1), 0.0)) @ shared
        return cls._whole(kept, inside.reshape(target.shape), source, target, valid)

    @classmethod
    def _whole(
        cls,
        kept: scipy.sparse.csr_array,
        inside: NDArray[np.bool_],
        source: Positions,
        target: Positions,
        usable: NDArray[np.bool_],
    ) -> "Regridder":
        """Weights of the targets inside, and of the nearest usable cell for the others, on the block that they need."""
        kept = kept @ scipy.sparse.diags_array(usable.ravel().astype(np.float64))
        outside = np.flatnonzero(~inside.ravel())
        if outside.size:
            tree = cKDTree(on_sphere(source.latitude, source.longitude)[usable])
            lost = on_sphere(target.latitude, target.longitude).reshape(-1, 3)[outside]
            nearest = np.flatnonzero(usable.ravel())[tree.query(lost)[1]]
            kept = kept + scipy.sparse.csr_array(
                (np.ones(outside.size), (outside, nearest)), shape=kept.shape
            )
        kept = scipy.sparse.csr_array(kept)
        kept.eliminate_zeros()
        used_rows, used_columns = np.divmod(np.unique(kept.indices), source.shape[1])
        rows = slice(int(used_rows.min()), int(used_rows.max()) + 1)
        columns = slice(int(used_columns.min()), int(used_columns.max()) + 1)
        block = np.arange(usable.size).reshape(source.shape)[rows, columns].ravel()
        return cls(scipy.sparse.csr_array(kept[:, block]), rows, columns, inside)

    def __call__(self, fields: NDArray[Any]) -> NDArray[np.float32]:
        """Fields ``[n, rows, columns]`` of the used block on the target grid, ``[n, Y, X]``.

        A missing value on a used cell is missing on the targets that use it.
        """
        used = np.zeros(fields[0].size, dtype=bool)
        used[self.weights.indices] = True
        # 0 * NaN is NaN: cells that carry no weight must not reach the sum
        flat = np.where(used, fields.reshape(len(fields), -1), 0.0).astype(np.float64)
        return (self.weights @ flat.T).T.reshape(len(fields), *self.inside.shape).astype(np.float32)


def bilinear_weights(
    source: Positions, target: Positions
) -> tuple[scipy.sparse.csr_array, NDArray[np.bool_]]:
    """Weights of the four source cells around each target.

    Each target looks at the four quadrilaterals around its nearest source cells and solves the inverse bilinear map
    in the plane that touches the sphere at the target.

    Returns
    -------
    weights
        ``[targets, source cells]``; an empty row where no quadrilateral holds the target.
    inside
        Which targets are held, ``[Y, X]``.
    """
    points = on_sphere(source.latitude, source.longitude)
    number = np.arange(points[..., 0].size).reshape(source.shape)
    if source.fold is not None and not source.fold.doubled:
        points, number = (np.concatenate([part, source.fold.beyond(part)]) for part in (points, number))
    if source.closes:
        points, number = (
            np.concatenate([points, points[:, :1]], 1),
            np.concatenate([number, number[:, :1]], 1),
        )
    rows, columns = number.shape
    goals = on_sphere(target.latitude, target.longitude).reshape(-1, 3)
    flat = points.reshape(-1, 3)
    candidates = min(4, len(flat))
    nearest = cKDTree(flat).query(goals, k=candidates)[1].reshape(len(goals), candidates)
    best = np.full(len(goals), np.inf)
    corner, fraction = np.zeros((len(goals), 2), dtype=np.int64), np.zeros((len(goals), 2))
    for rank in range(candidates):
        # Most targets lie in a quadrilateral of their nearest cell; only the rest asks the next one.
        open_targets = np.flatnonzero(best > _INSIDE)
        if not open_targets.size:
            break
        row, column = np.divmod(nearest[open_targets, rank], columns)
        for up in (-1, 0):
            for left in (-1, 0):
                i = np.clip(row + up, 0, max(rows - 2, 0))
                j = np.clip(column + left, 0, max(columns - 2, 0))
                s, t = _inverse_bilinear(points, goals[open_targets], i, j)
                excess = np.maximum(np.maximum(-s, s - 1), np.maximum(-t, t - 1))
                better = excess < best[open_targets]
                chosen = open_targets[better]
                best[chosen] = excess[better]
                corner[chosen] = np.stack([i, j], 1)[better]
                fraction[chosen] = np.stack([s, t], 1)[better]
    found = best <= _INSIDE
    i, j = corner[found].T
    s, t = np.clip(fraction[found], 0, 1).T
    held = np.flatnonzero(found)
    weights = scipy.sparse.csr_array(
        (
            np.concatenate([(1 - s) * (1 - t), (1 - s) * t, s * (1 - t), s * t]),
            (
                np.tile(held, 4),
                np.concatenate([number[i, j], number[i, j + 1], number[i + 1, j], number[i + 1, j + 1]]),
            ),
        ),
        shape=(len(goals), source.latitude.size),
    )
    return weights, found.reshape(target.shape)


def bracket(
    source: Times, target: Times, what: str, needed_by: str, *, kind: str = "forcing"
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Source steps around each target time and how far past the first of them it lies.

    Parameters
    ----------
    what, needed_by
        Who gives and who needs, for the error; and ``kind``, what is given.

    Returns
    -------
    first
        ``[T]``; the second step is ``first + 1`` where ``fraction`` is above 0.
    fraction
        ``[T]``, in [0, 1).

    Raises
    ------
    ValueError
        If the source does not cover the target's period, has a gap inside it, or is in another calendar.
    """
    if calendar_of(source) != calendar_of(target):
        raise ValueError(
            f"{what} is in the calendar {calendar_of(source)}, {needed_by} in {calendar_of(target)}; dates of the two "
            "do not correspond. Use sources of one calendar."
        )
    given, asked = milliseconds(source), milliseconds(target)
    if asked[0] < given[0] or asked[-1] > given[-1]:
        raise ValueError(
            f"{what} covers {text(source[0])} to {text(source[-1])}, {needed_by} needs {text(target[0])} to "
            f"{text(target[-1])}; nothing is extrapolated in time. Give {kind} for the whole period or less ocean."
        )
    first = np.clip(np.searchsorted(given, asked, side="right") - 1, 0, len(given) - 1)
    after = np.minimum(first + 1, len(given) - 1)
    width = given[after] - given[first]
    fraction = np.where(width > 0, (asked - given[first]) / np.where(width > 0, width, 1), 0.0)
    step = time_step(source)
    if step is not None:
        wide = (width > (1 + TOLERANCE) * step.astype(np.int64)) & (fraction > 0)
        if wide.any():
            at = int(np.flatnonzero(wide)[0])
            raise ValueError(
                f"{what} has a gap from {text(source[first[at]])} to {text(source[after[at]])}, in which {needed_by} "
                f"needs {text(target[at])}; fill the gap or leave these hours out."
            )
    return first.astype(np.int64), fraction


def _inverse_bilinear(
    points: NDArray[np.float64], goals: NDArray[np.float64], i: NDArray[np.int64], j: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractions along rows and columns at which the quadrilateral from ``(i, j)`` meets the ray to each goal."""
    # Two axes across the ray span the plane in which the four corners and the goal (its origin) are seen.
    helper = np.where(np.abs(goals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(helper, goals)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(goals, first)

    def seen(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        ahead = (vectors * goals).sum(-1)
        # Corners behind the horizon cannot hold the goal; far away they lose against every true candidate.
        ahead = np.where(ahead > 0.05, ahead, np.nan)
        return np.stack([(vectors * first).sum(-1), (vectors * second).sum(-1)]) / ahead

    a, b, c, d = (seen(points[i + m, j + n]) for m, n in ((0, 0), (1, 0), (0, 1), (1, 1)))
    s, t = np.full(len(i), 0.5), np.full(len(i), 0.5)
    for _ in range(6):  # Newton; near-parallelograms are exact after two
        along_s, along_t = (b - a) + t * (d - c - b + a), (c - a) + s * (d - c - b + a)
        miss = a + s * (b - a) + t * (c - a) + s * t * (d - c - b + a)
        determinant = along_s[0] * along_t[1] - along_s[1] * along_t[0]
        safe = np.where(np.abs(determinant) > 0, determinant, np.nan)
        s = s - (miss[0] * along_t[1] - miss[1] * along_t[0]) / safe
        t = t - (along_s[0] * miss[1] - along_s[1] * miss[0]) / safe
    return np.where(np.isfinite(s), s, 1e9), np.where(np.isfinite(t), t, 1e9)
