"""Fields of a store, block by block as its files hold them: mapped where they are plain, decoded once where not."""

import struct
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numpy as np
import xarray as xr
from numcodecs import blosc
from numpy.typing import NDArray

from data_pipelines.maps import Maps
from data_pipelines.times import Times, text

Fields = NDArray[np.float32]

_CHECKSUM_BYTES = 4
_BLOSC_SIZES = struct.Struct("<4xI4xI")
_NEVER_WRITTEN = 2**64 - 1  # place of a chunk that a shard does not hold (Zarr v3, sharding codec 1.0)
_CHANGED_ON_READING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype")


class StoredFields(Protocol):
    """One variable in time."""

    def blocks(self, first: int, stop: int) -> Iterator[tuple[int, Fields]]:
        """Steps ``first`` to ``stop`` in order: the first step of each block, and the block ``[t, plane, Y, X]``.

        Planes are the members and depths of a step, in their order in the file. A block is C-contiguous, not to be
        written to, and valid until the next one is asked for.

        Raises
        ------
        ValueError
            If a file is not what it was when it was written.
        """


def file_reader(
    folder: Path,
    document: Mapping[str, Any],
    times: Times,
    maps: Maps,
    *,
    cure: str = "copy the store again from where it was whole, or ingest it anew",
) -> StoredFields | None:
    """The reader of an array in one of the two profiles; None for an array of another making.

    Parameters
    ----------
    folder
        Of the array.
    document
        Its metadata.
    times
        ``[T]``, for errors.
    maps
        Where its files are opened.
    cure
        What to do where a file is damaged.
    """
    shape, grid = document.get("shape", []), document.get("chunk_grid", {})
    chunk = grid.get("configuration", {}).get("chunk_shape", [])
    codecs = [_codec(part) for part in document.get("codecs", [])]
    whole = len(shape) >= 3 and chunk[1:] == shape[1:] and grid.get("name") == "regular"
    keys = _codec(document.get("chunk_key_encoding", {}))
    ours = document.get("data_type") == "float32" and document.get("fill_value") == "NaN"
    changed = any(key in document.get("attributes", {}) for key in _CHANGED_ON_READING)
    if not (whole and ours and keys == ("default", {"separator": "/"})) or changed:
        return None
    place = _Place(folder, tuple(shape), int(chunk[0]), times, maps, cure)
    little = ("bytes", {"endian": "little"})
    if codecs == [little, ("crc32c", {})]:
        return MappedFields(place)
    if len(codecs) == 1 and codecs[0][0] == "sharding_indexed":
        inside = codecs[0][1]
        held = [_codec(part) for part in inside["codecs"]]
        index = [_codec(part) for part in inside["index_codecs"]]
        if (
            [name for name, _ in held] == ["bytes", "blosc"]
            and held[0] == little
            and index == [little, ("crc32c", {})]
            and inside.get("index_location", "end") == "end"
            and inside["chunk_shape"][1:] == shape[1:]
        ):
            return ShardedFields(place, int(inside["chunk_shape"][0]))
    return None


class _Place:
    """Where an array lies: its files, and the steps in each of them."""

    def __init__(
        self, folder: Path, shape: tuple[int, ...], steps: int, times: Times, maps: Maps, cure: str
    ) -> None:
        self.folder, self.steps, self.times, self.maps, self.cure = folder, steps, times, maps, cure
        self.field = (int(np.prod(shape[1:-2])), *shape[-2:])
        rest = "/0" * (len(shape) - 1)
        self.files = [folder / f"c/{number}{rest}" for number in range(-(-shape[0] // steps))]

    def wrong(self, number: int, what: str) -> ValueError:
        first = number * self.steps
        held = self.times[first : first + self.steps]
        return ValueError(
            f"{self.files[number]}: {what}, so that '{self.folder.name}' from {text(held[0])} to {text(held[-1])} "
            f"cannot be trusted; {self.cure}."
        )

    def parts(self, first: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Numbers of the parts of ``size`` steps that the steps lie in, and the first and last of them in each."""
        for number in range(first // size, -(-stop // size)):
            yield number, max(first, number * size), min(stop, (number + 1) * size)


class MappedFields:
    """A variable in the profile ``fast``: files are arrays, and are compared with their checksum when first opened."""

    def __init__(self, place: _Place) -> None:
        self._place = place

    def blocks(self, first: int, stop: int) -> Iterator[tuple[int, Fields]]:
        """As :class:`StoredFields` says; a block is a part of a mapped file."""
        place = self._place
        shape = (place.steps, *place.field)
        for number, begin, end in place.parts(first, stop, place.steps):
            held = place.maps.open(place.files[number], partial(self._check, number))
            if held is None:
                yield begin, _nothing(end - begin, place.field)
            else:
                start = number * place.steps
                whole = held[:-_CHECKSUM_BYTES].view("<f4").reshape(shape)
                yield begin, whole[begin - start : end - start]

    def _check(self, number: int, data: NDArray[np.uint8]) -> None:
        expected = 4 * self._place.steps * int(np.prod(self._place.field)) + _CHECKSUM_BYTES
        if data.size != expected:
            raise self._place.wrong(number, f"has {data.size} bytes, and {expected} were written")
        if not _sum_is_right(data):
            raise self._place.wrong(number, "does not have the checksum that was written with it")


class ShardedFields:
    """A variable in the profile ``compact``: files of compressed chunks, each of which is decoded once for a window."""

    def __init__(self, place: _Place, steps: int) -> None:
        self._place, self._steps = place, steps
        self._scratch = _Scratch()

    @property
    def folder(self) -> Path:
        """Of the array."""
        return self._place.folder

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """The files that are there, and the index of each."""
        place, together = self._place, self._place.steps // self._steps
        for shard in range(-(-len(place.times) // place.steps)):
            held = place.maps.open(place.files[shard], partial(self._check, shard))
            if held is not None:
                yield place.files[shard], _index(held, together).tobytes()

    def blocks(self, first: int, stop: int) -> Iterator[tuple[int, Fields]]:
        """As :class:`StoredFields` says; a block is this thread's own memory, which stays in the cache."""
        place, size = self._place, self._steps
        together = place.steps // size
        for shard, begin, end in place.parts(first, stop, place.steps):
            held = place.maps.open(place.files[shard], partial(self._check, shard))
            if held is None:
                yield begin, _nothing(end - begin, place.field)
                continue
            index = _index(held, together)
            for chunk, start, last in place.parts(begin, end, size):
                where, length = index[chunk - shard * together].tolist()
                if where == _NEVER_WRITTEN:
                    yield start, _nothing(last - start, place.field)
                else:
                    whole = self._decoded(held[where : where + length], shard, length)
                    yield start, whole[start - chunk * size : last - chunk * size]

    def _check(self, shard: int, data: NDArray[np.uint8]) -> None:
        size = 16 * (self._place.steps // self._steps) + _CHECKSUM_BYTES
        if data.size < size or not _sum_is_right(data[-size:]):
            raise self._place.wrong(
                shard, "does not end in an index with the checksum that was written with it"
            )

    def _decoded(self, data: NDArray[np.uint8], shard: int, length: int) -> Fields:
        target = self._scratch.take((self._steps, *self._place.field))
        # Blosc's header tells the decoded size in bytes 4 to 7 and the coded one in bytes 12 to 15: it believes both.
        if (
            data.size != length
            or length < 16
            or _BLOSC_SIZES.unpack_from(data.data) != (target.nbytes, length)
        ):
            raise self._place.wrong(shard, "holds a chunk of another size than its metadata say")
        try:
            blosc.decompress(data, target)
        except RuntimeError as error:
            raise self._place.wrong(shard, "holds a chunk that does not decode") from error
        return target


class LabelledFields:
    """A variable of any other making, read as xarray does."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def blocks(self, first: int, stop: int) -> Iterator[tuple[int, Fields]]:
        """As :class:`StoredFields` says; all steps are one block."""
        values = self._array.isel(time=slice(first, stop)).to_numpy().astype(np.float32, copy=False)
        yield first, np.ascontiguousarray(values).reshape(stop - first, -1, *values.shape[-2:])


class _Scratch(threading.local):
    """Memory of each thread, for one chunk; a copy in another process begins without."""

    held: Fields | None = None

    def take(self, shape: tuple[int, ...]) -> Fields:
        if self.held is None:
            self.held = np.empty(shape, np.float32)
        return self.held

    def __reduce__(self) -> tuple[type["_Scratch"], tuple[()]]:
        return _Scratch, ()


def _index(held: NDArray[np.uint8], chunks: int) -> NDArray[np.uint64]:
    """Place and length of every chunk of a shard, ``[chunk, 2]``."""
    return held[-16 * chunks - _CHECKSUM_BYTES : -_CHECKSUM_BYTES].copy().view("<u8").reshape(chunks, 2)


def _sum_is_right(data: NDArray[np.uint8]) -> bool:
    told = int(data[-_CHECKSUM_BYTES:].copy().view("<u4")[0])
    return bool(google_crc32c.value(data[:-_CHECKSUM_BYTES]) == told)


def _nothing(steps: int, field: tuple[int, ...]) -> Fields:
    """What a file that was never written stands for."""
    return np.full((steps, *field), np.nan, np.float32)


def _codec(part: Any) -> tuple[str, Any]:
    """Name and settings; what Zarr may leave out is there."""
    if isinstance(part, str):
        return part, {}
    return str(part.get("name")), part.get("configuration") or {}
