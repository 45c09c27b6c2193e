"""Sums over the same cells of many planes, each plane read from memory once."""

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oceanop.metrics import STATISTICS, Sums

Planes = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells that are scored, and what each of them counts.

    A plane's sums depend on that plane alone, and not on which others are summed in the same call: scores come out
    equal bit by bit however the planes are cut into calls.

    Attributes
    ----------
    shape
        Rows and columns of a plane.
    places
        By channel: the cells' places in a flattened plane, tile by tile.
    weights
        By channel: their weights, in the same order.
    ends
        By channel: where each tile ends in these, ``[tile]``.
    """

    shape: tuple[int, int]
    places: tuple[NDArray[np.int32], ...]
    weights: tuple[NDArray[np.float64], ...]
    ends: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, weight: Tensor, tiles: NDArray[np.int64] | None = None) -> "Cells":
        """Cells of positive weight.

        Parameters
        ----------
        weight
            Cell area times mask, ``[channel, y, x]``.
        tiles
            Number of the tile each cell belongs to, ``[y, x]``, counted from 0; None puts all into one.
        """
        planes = weight.double().flatten(1).numpy()
        numbers = np.zeros(planes.shape[1], dtype=np.int64) if tiles is None else tiles.ravel()
        places, weights, ends = [], [], []
        for plane in planes:
            found = np.flatnonzero(plane > 0)
            order = found[np.argsort(numbers[found], kind="stable")]
            places.append(order.astype(np.int32))
            weights.append(plane[order])
            ends.append(np.cumsum(np.bincount(numbers[order], minlength=int(numbers.max()) + 1)))
        rows, columns = weight.shape[-2:]
        return cls((rows, columns), tuple(places), tuple(weights), tuple(ends))

    def sums(self, forecast: Tensor, truth: Tensor) -> Sums:
        """Sums of every plane over the cells at which the truth is finite, ``[statistic, channel, plane, tile]``.

        Parameters
        ----------
        forecast, truth
            float32 ``[channel, plane, y, x]``. What they hold elsewhere is never looked at.
        """
        pairs = [(_flat(own), _flat(true)) for own, true in zip(forecast, truth, strict=True)]
        out = np.zeros((len(STATISTICS), len(pairs), forecast.shape[1], self.ends[0].size))
        for channel, (own, true) in enumerate(pairs):
            _sum_planes(
                own, true, self.places[channel], self.weights[channel], self.ends[channel], out[:, channel]
            )
        return Sums(torch.from_numpy(out))

    def finite(self, fields: Tensor) -> NDArray[np.int64]:
        """Number of cells with a finite value in every plane, ``fields [channel, plane, y, x]``."""
        found = [_count_finite(_flat(own), places) for own, places in zip(fields, self.places, strict=True)]
        return np.stack(found)

    @property
    def count(self) -> NDArray[np.int64]:
        """Number of cells, ``[channel]``."""
        return np.array([places.size for places in self.places])


def _flat(planes: Tensor) -> Planes:
    array: Planes = planes.flatten(1).numpy()
    assert array.dtype == np.float32, array.dtype
    return array


@numba.njit(nogil=True, cache=True)
def _sum_planes(forecast, truth, places, weights, ends, out):  # type: ignore[no-untyped-def]
    own, true = np.empty(places.size, np.float32), np.empty(places.size, np.float32)
    counted = weights.copy()
    for plane in range(forecast.shape[0]):
        _gather(forecast[plane], places, own)
        _gather(truth[plane], places, true)
        whole = _is_finite(true)
        if not whole:
            for i in range(places.size):
                known = np.isfinite(true[i])
                counted[i] = weights[i] if known else 0.0
                if not known:  # 0 * NaN is NaN
                    own[i] = true[i] = 0.0
        first = 0
        for tile in range(ends.size):
            _sum_tile(own, true, counted if not whole else weights, first, ends[tile], out, plane, tile)
            if not whole:
                out[0, plane, tile] = np.count_nonzero(counted[first : ends[tile]])
            first = ends[tile]


@numba.njit(nogil=True, cache=True)
def _count_finite(planes, places):  # type: ignore[no-untyped-def]
    found = np.empty(planes.shape[0], np.int64)
    values = np.empty(places.size, np.float32)
    for plane in range(planes.shape[0]):
        _gather(planes[plane], places, values)
        found[plane] = places.size
        if not _is_finite(values):
            found[plane] = np.isfinite(values).sum()
    return found


# Gathered first, the values lie side by side, and what follows runs several at a time
@numba.njit(nogil=True, cache=True)
def _gather(plane, places, values):  # type: ignore[no-untyped-def]
    for i in range(places.size):
        values[i] = plane[places[i]]


# Reordered, the sums of a plane differ from machine to machine in their last bits, and from call to call in none
@numba.njit(nogil=True, cache=True, fastmath={"reassoc"})
def _is_finite(values):  # type: ignore[no-untyped-def]
    nothing = np.float32(0.0)
    for i in range(values.size):
        nothing += values[i] * np.float32(0.0)  # NaN of a NaN and of infinity
    return nothing == 0.0


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _sum_tile(own, true, weights, first, last, out, plane, tile):  # type: ignore[no-untyped-def]
    weight = error = squared_error = absolute_error = 0.0
    forecast = truth = squared_forecast = squared_truth = product = 0.0
    for i in range(first, last):
        w, f, t = weights[i], np.float64(own[i]), np.float64(true[i])
        e = f - t
        weight += w
        error += w * e
        squared_error += w * e * e
        absolute_error += w * abs(e)
        forecast += w * f
        truth += w * t
        squared_forecast += w * f * f
        squared_truth += w * t * t
        product += w * f * t
    out[0, plane, tile] = last - first
    out[1, plane, tile] = weight
    out[2, plane, tile] = error
    out[3, plane, tile] = squared_error
    out[4, plane, tile] = absolute_error
    out[5, plane, tile] = forecast
    out[6, plane, tile] = truth
    out[7, plane, tile] = squared_forecast
    out[8, plane, tile] = squared_truth
    out[9, plane, tile] = product
