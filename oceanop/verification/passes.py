"""Sums that read every plane from memory once, for what is computed beside each score."""

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oceanop.cell_sums import Cells
from oceanop.verification.circulation import Corners

Sum = NDArray[np.float64]


def anomaly_sums(cells: Cells, forecast: Tensor, truth: Tensor, normal: Tensor) -> Tensor:
    """Number, weight, and weighted sums of ``f'^2``, ``o'^2``, ``f' o'`` and ``(f - o)^2`` over cells.

    Parameters
    ----------
    forecast, truth
        float32 ``[channel, plane, y, x]``; cells at which the truth is not finite are left out.
    normal
        What is taken off both, float32 ``[channel, plane or 1, y, x]``.

    Returns
    -------
    float64 ``[6, channel, plane]``
    """
    out = np.zeros((6, *forecast.shape[:2]))
    for i, fields in enumerate(zip(forecast, truth, normal, strict=True)):
        own, true, usual = (each.flatten(1).numpy() for each in fields)
        _anomalies(own, true, usual, cells.places[i], cells.weights[i], out[:, i])
    return torch.from_numpy(out)


def square_sums(cells: Cells, channel: int, forecast: Tensor, truth: Tensor) -> Tensor:
    """Number, weight, and weighted sums of ``f^2``, ``o^2`` and ``f - o`` over the cells of a channel, ``[5, plane]``.

    Parameters
    ----------
    forecast, truth
        float32 ``[plane, y, x]``; cells at which the truth is not finite are left out.
    """
    out = np.zeros((5, forecast.shape[0]))
    own, true = (each.flatten(1).numpy() for each in (forecast, truth))
    _squares(own, true, cells.places[channel], cells.weights[channel], out)
    return torch.from_numpy(out)


def vorticity_sums(corners: Corners, forecast: Tensor, truth: Tensor) -> Tensor:
    """Number, area, and area integrals of squared vorticities of forecast and truth over corners, ``[4, plane]``.

    Parameters
    ----------
    forecast, truth
        Eastward and northward current, float32 ``[2, plane, y, x]``; corners at which one is not finite are left out.
    """
    out = np.zeros((4, forecast.shape[1]))
    own, true = (each.contiguous().numpy() for each in (forecast, truth))
    area = torch.where(corners.wet, corners.area, 0.0).numpy()
    _vorticities(corners.turning.numpy(), area, own, true, out)
    return torch.from_numpy(out)


# Gathered first, the values lie side by side, and what follows runs several at a time
@numba.njit(nogil=True, cache=True)
def _gather(plane, places, values):  # type: ignore[no-untyped-def]
    for i in range(places.size):
        values[i] = plane[places[i]]


@numba.njit(nogil=True, cache=True)
def _pair(own_plane, true_plane, places, weights, own, true, counted):  # type: ignore[no-untyped-def]
    """Gather both; where the truth is not known the weight is 0, and both are, for 0 * NaN is NaN."""
    _gather(own_plane, places, own)
    _gather(true_plane, places, true)
    nothing = np.float32(0.0)
    for i in range(true.size):
        nothing += true[i] * np.float32(0.0)  # NaN of a NaN and of infinity
    counted[:] = weights
    if nothing == 0.0:
        return places.size
    count = places.size
    for i in range(places.size):
        if not np.isfinite(true[i]):
            own[i] = true[i] = np.float32(0.0)
            counted[i] = 0.0
            count -= 1
    return count


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _anomalies(forecast, truth, normal, places, weights, out):  # type: ignore[no-untyped-def]
    own, true, usual = np.empty((3, places.size), np.float32)
    counted = np.empty(places.size, np.float64)
    for plane in range(forecast.shape[0]):
        count = _pair(forecast[plane], truth[plane], places, weights, own, true, counted)
        if plane < normal.shape[0]:
            _gather(normal[plane], places, usual)
        weight = squared_own = squared_true = product = squared_error = 0.0
        for i in range(places.size):
            w, c = counted[i], np.float64(usual[i])
            f, t = np.float64(own[i]) - c, np.float64(true[i]) - c
            weight += w
            squared_own += w * f * f
            squared_true += w * t * t
            product += w * f * t
            squared_error += w * (f - t) * (f - t)
        out[0, plane], out[1, plane], out[2, plane] = count, weight, squared_own
        out[3, plane], out[4, plane], out[5, plane] = squared_true, product, squared_error


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _squares(forecast, truth, places, weights, out):  # type: ignore[no-untyped-def]
    own, true = np.empty((2, places.size), np.float32)
    counted = np.empty(places.size, np.float64)
    for plane in range(forecast.shape[0]):
        count = _pair(forecast[plane], truth[plane], places, weights, own, true, counted)
        weight = squared_own = squared_true = error = 0.0
        for i in range(places.size):
            w, f, t = counted[i], np.float64(own[i]), np.float64(true[i])
            weight += w
            squared_own += w * f * f
            squared_true += w * t * t
            error += w * (f - t)
        out[0, plane], out[1, plane], out[2, plane] = count, weight, squared_own
        out[3, plane], out[4, plane] = squared_true, error


@numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _vorticity_row(turning, y, u, v, out):  # type: ignore[no-untyped-def]
    east, north = turning[0], turning[1]
    for x in range(out.size):
        total = east[0, y, x] * u[y, x] + east[1, y, x] * u[y, x + 1]
        total += east[2, y, x] * u[y + 1, x + 1] + east[3, y, x] * u[y + 1, x]
        total += north[0, y, x] * v[y, x] + north[1, y, x] * v[y, x + 1]
        total += north[2, y, x] * v[y + 1, x + 1] + north[3, y, x] * v[y + 1, x]
        out[x] = total


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})
def _vorticities(turning, area, forecast, truth, out):  # type: ignore[no-untyped-def]
    rows, columns = area.shape
    own, true = np.empty(columns), np.empty(columns)
    for plane in range(forecast.shape[1]):
        for y in range(rows):
            _vorticity_row(turning, y, forecast[0, plane], forecast[1, plane], own)
            _vorticity_row(turning, y, truth[0, plane], truth[1, plane], true)
            count = weight = squared_own = squared_true = 0.0
            for x in range(columns):
                known = abs(own[x]) < np.inf and abs(true[x]) < np.inf  # neither NaN nor infinity
                w = area[y, x] if known else 0.0
                f = own[x] if known else 0.0
                t = true[x] if known else 0.0
                count += 1.0 if w > 0.0 else 0.0
                weight += w
                squared_own += w * f * f
                squared_true += w * t * t
            out[0, plane] += count
            out[1, plane] += weight
            out[2, plane] += squared_own
            out[3, plane] += squared_true
