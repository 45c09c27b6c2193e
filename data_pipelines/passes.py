"""What an ingest does to every value, each in one compiled pass over a plane that lies in the processor's cache.

The same in array operations takes several passes, each with a copy of its own. Sums and extremes are kept in a row of
lanes, one for each of so many neighbouring cells, and put together in the end: the compiler makes vectors of them
without changing the order of additions, so that a result is the same to the last bit on every machine.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Sums = tuple[float, float, float, float]

_LANES = 32


def unshuffle(content: NDArray[np.uint8], out: NDArray[Any]) -> None:
    """Put the shuffled bytes of numbers of four bytes in place, the first ones the lowest.

    Parameters
    ----------
    content
        All first bytes, then all second ones, and so on, ``[4 n]`` (HDF5's shuffle filter).
    out
        ``n`` numbers, C-contiguous; all of it is written.
    """
    assert out.flags.c_contiguous
    assert out.itemsize == 4
    _unshuffle(content.reshape(4, -1), out.reshape(-1).view(np.uint32))


def mark_missing(values: NDArray[np.floating], fill: float) -> None:
    """Put NaN in place of a number, C-contiguous."""
    assert values.flags.c_contiguous
    _mark_missing(values.reshape(-1), values.dtype.type(fill), values.dtype.type(np.nan))


def find_values(block: NDArray[np.float32], always: NDArray[np.bool_], ever: NDArray[np.bool_]) -> None:
    """Unset ``always`` where a step of ``block`` ``[t, ...]`` is not finite, and set ``ever`` where one is."""
    flat = np.ascontiguousarray(block).reshape(len(block), -1).view(np.int32)
    _find_values(flat, always.reshape(-1).view(np.uint8), ever.reshape(-1).view(np.uint8))


def sums(now: NDArray[np.float32], cells: NDArray[np.bool_], shift: float) -> Sums:
    """Sums over some cells of a plane.

    Parameters
    ----------
    now, cells
        The plane and those of its cells that count, ``[n]``.
    shift
        A number near the mean: deviations from it are summed, so that their squares do not cancel.

    Returns
    -------
    Sum and sum of squares of ``now - shift``, least and greatest of ``now``; the sum is finite where all values are.
    """
    return _sums(now, cells.view(np.uint8), shift)


def change_sums(
    now: NDArray[np.float32], before: NDArray[np.float32], cells: NDArray[np.bool_], shift: float
) -> Sums:
    """As :func:`sums`, of ``now - before``, which is taken in float64."""
    return _change_sums(now, before, cells.view(np.uint8), shift)


@njit(nogil=True, cache=True)
def _unshuffle(planes: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = (
            np.uint32(planes[0, i])
            | np.uint32(planes[1, i]) << np.uint32(8)
            | np.uint32(planes[2, i]) << np.uint32(16)
            | np.uint32(planes[3, i]) << np.uint32(24)
        )


@njit(nogil=True, cache=True)
def _mark_missing(values: Any, fill: Any, nothing: Any) -> None:
    for i in range(len(values)):
        values[i] = nothing if values[i] == fill else values[i]


@njit(nogil=True, cache=True)
def _find_values(block: Any, always: Any, ever: Any) -> None:
    for step in range(len(block)):
        here = block[step]
        for cell in range(len(always)):
            # By the bits: infinity and NaN have all of the exponent set
            there = np.uint8((here[cell] & np.int32(0x7F800000)) != np.int32(0x7F800000))
            always[cell] &= there
            ever[cell] |= there


@njit(inline="always")
def _take(lanes: Any, lane: Any, value: Any, shift: Any, wet: Any) -> None:
    inside = wet != 0
    part = value - shift if inside else 0.0
    lanes[0, lane] += part
    lanes[1, lane] += part * part
    lanes[2, lane] = value if inside and value < lanes[2, lane] else lanes[2, lane]
    lanes[3, lane] = value if inside and value > lanes[3, lane] else lanes[3, lane]


@njit(inline="always")
def _empty_lanes() -> Any:
    lanes = np.zeros((4, _LANES))
    lanes[2], lanes[3] = np.inf, -np.inf
    return lanes


@njit(inline="always")
def _together(lanes: Any) -> Any:
    return lanes[0].sum(), lanes[1].sum(), lanes[2].min(), lanes[3].max()


@njit(nogil=True, cache=True)
def _sums(now: Any, cells: Any, shift: Any) -> Any:
    lanes = _empty_lanes()
    whole = len(now) // _LANES * _LANES
    for first in range(0, whole, _LANES):
        here, wet = now[first : first + _LANES], cells[first : first + _LANES]
        for lane in range(_LANES):
            _take(lanes, lane, np.float64(here[lane]), shift, wet[lane])
    for cell in range(whole, len(now)):
        _take(lanes, cell - whole, np.float64(now[cell]), shift, cells[cell])
    return _together(lanes)


@njit(nogil=True, cache=True)
def _change_sums(now: Any, before: Any, cells: Any, shift: Any) -> Any:
    lanes = _empty_lanes()
    whole = len(now) // _LANES * _LANES
    for first in range(0, whole, _LANES):
        here, then = now[first : first + _LANES], before[first : first + _LANES]
        wet = cells[first : first + _LANES]
        for lane in range(_LANES):
            _take(lanes, lane, np.float64(here[lane]) - np.float64(then[lane]), shift, wet[lane])
    for cell in range(whole, len(now)):
        change = np.float64(now[cell]) - np.float64(before[cell])
        _take(lanes, cell - whole, change, shift, cells[cell])
    return _together(lanes)
