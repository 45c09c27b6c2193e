"""Whole steps of a NetCDF 4 file without the HDF5 library's pipeline: its chunks are inflated by a faster decoder.

Reading is inflating, mostly. HDF5 hands out a chunk as it lies in the file (``H5Dread_chunk``), libdeflate inflates it,
and its shuffled bytes go straight to their places. What is not laid out so simply is left to the NetCDF library;
decoding after that is xarray's own in both cases, so that the numbers are the same.
"""

import itertools
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from deflate import DeflateError, zlib_decompress
from numpy.typing import NDArray

from data_pipelines.passes import mark_missing, unshuffle

_DEFLATE, _SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
_DECODING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
_WASTE = 2  # of the steps asked for: no more are inflated here, but by the library, which keeps them for the next call


def read_direct(
    array: xr.DataArray, dims: Sequence[Hashable], steps: slice, levels: Sequence[int] | None
) -> NDArray[Any] | None:
    """Whole planes of a variable as xarray decodes them; None where the file has to be read by its own library.

    Parameters
    ----------
    array
        A variable of a data set that xarray has opened, undisturbed.
    dims
        Its time, its vertical axis, if it has any, and its two horizontal ones.
    steps, levels
        What to read along the first; ``levels`` is None without a vertical axis.

    Returns
    -------
    ``[t, (z,) y, x]``; None too where anything is wrong with the file: its own library can say what.
    """
    source = str(array.encoding.get("source", ""))
    if tuple(array.dims) != tuple(dims) or not Path(source).is_file():
        return None
    try:
        with open(source, "rb") as file:
            if file.read(4) != b"\x89HDF":
                return None
        held = h5py.h5f.open(source.encode(), h5py.h5f.ACC_RDONLY)
        try:
            raw = _raw(source, h5py.h5d.open(held, str(array.name).encode()), array, steps, levels)
        finally:
            held.close()
    except (OSError, KeyError, RuntimeError, ValueError, DeflateError):
        return None
    if raw is None:
        return None
    kept = {key: array.encoding[key] for key in _DECODING if key in array.encoding}
    if raw.dtype.kind == "f" and set(kept) <= {"_FillValue", "missing_value"}:
        # What xarray does too, without its copies of the whole
        for fill in kept.values():
            mark_missing(raw, fill)
        return raw
    coded = xr.Variable(dims, raw, kept)
    decoded = xr.conventions.decode_cf_variable(array.name, coded, decode_times=False, decode_timedelta=False)
    return np.asarray(decoded.to_numpy())


def _raw(
    source: str, variable: Any, array: xr.DataArray, steps: slice, levels: Sequence[int] | None
) -> NDArray[Any] | None:
    """Numbers as they are stored, ``[t, (z,) y, x]``; None where they are not laid out simply."""
    dtype, shape = np.dtype(variable.dtype), variable.shape
    if shape != array.shape or dtype.kind not in "iuf" or dtype.byteorder == ">":
        return None
    wanted = [list(range(*steps.indices(shape[0])))]
    if levels is not None:
        wanted.append([level % shape[1] for level in levels])
    layout = variable.get_create_plist()
    kind = layout.get_layout()
    if kind == h5py.h5d.CONTIGUOUS:
        offset = variable.get_offset()
        if offset is None or layout.get_nfilters():
            return None
        return np.array(np.memmap(source, dtype, "r", offset, shape)[np.ix_(*wanted)])
    if kind != h5py.h5d.CHUNKED:
        return None
    filters = [layout.get_filter(number)[0] for number in range(layout.get_nfilters())]
    chunk = layout.get_chunk()
    if filters not in ([], [_DEFLATE], [_SHUFFLE, _DEFLATE]) or chunk[-2:] != shape[-2:]:
        return None
    # Along time and depth: where in each chunk lies what is wanted of it
    cuts = [_by_chunk(numbers, size) for numbers, size in zip(wanted, chunk, strict=False)]
    if len(cuts[0]) * chunk[0] > _WASTE * len(wanted[0]) and chunk[0] > 1:
        return None
    result = np.empty((*(len(numbers) for numbers in wanted), *shape[-2:]), dtype)
    for parts in itertools.product(*cuts):
        place = (*(number * size for (number, _, _), size in zip(parts, chunk, strict=False)), 0, 0)
        skipped, content = variable.read_direct_chunk(place)
        if skipped:
            return None
        targets = tuple(into for _, _, into in parts)
        whole = result[targets] if chunk[: len(parts)] == (1,) * len(parts) else np.empty(chunk, dtype)
        _decode(content, filters, whole)
        if whole.base is not result:
            inside = np.ix_(*(within for _, within, _ in parts))
            result[np.ix_(*(range(into.start, into.stop) for into in targets))] = whole[inside]
    return result


def _by_chunk(numbers: list[int], size: int) -> list[tuple[int, list[int], slice]]:
    """Runs of numbers in one chunk: its number, their places in it, and their places among all of them."""
    groups = []
    for chunk, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] // size):
        places = list(run)
        first = places[0][0]
        groups.append(
            (chunk, [number - chunk * size for _, number in places], slice(first, first + len(places)))
        )
    return groups


def _decode(content: bytes | bytearray, filters: list[int], out: NDArray[Any]) -> None:
    """Inflate a chunk and put its bytes where they belong."""
    if filters:
        content = zlib_decompress(content, out.nbytes)
    held = np.frombuffer(content, np.uint8)
    if held.size != out.nbytes:
        raise ValueError(f"a chunk has {held.size} bytes in place of {out.nbytes}")
    if _SHUFFLE not in filters or out.itemsize == 1:
        out[...] = held.view(out.dtype).reshape(out.shape)
        return
    if out.itemsize == 4:
        unshuffle(held, out)
        return
    planes, places = held.reshape(out.itemsize, -1), out.reshape(-1).view(np.uint8).reshape(-1, out.itemsize)
    assert np.shares_memory(places, out)
    for number, plane in enumerate(planes):
        places[:, number] = plane
