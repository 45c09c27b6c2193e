"""How the arrays of a store are cut and coded: one profile for the speed of memory, one for the size on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from zarr.codecs import BloscCodec, Crc32cCodec

CHUNK_BYTES = 8 * 2**20  # 4 to 16 MB read at memory speed and map well; smaller ones cost a call each
SHARD_BYTES = 64 * 2**20  # a block that is encoded in memory; 96 steps of 200 x 300 cells are 23 MB
# Of each of the four bytes that shuffling sorts: a megabyte is decoded a sixth faster than Blosc's own choice of half
# of it (7.2 and 6.2 GB/s of one core), and still lies in the core's own cache.
BLOSC_BLOCK_BYTES = 2**18


@dataclass(frozen=True)
class Profile:
    """The way in which fields in time ``(time, ..., y, x)`` are stored.

    Attributes
    ----------
    name
        What a user calls it.
    chunk_steps
        Most steps of one chunk, the smallest part that is decoded; None for as many as fit its bytes.
    shard_steps
        Most steps of one shard, a file of many compressed chunks; None where every chunk is a file of plain numbers.
    """

    name: str
    chunk_steps: int | None
    shard_steps: int | None

    def keywords(self, shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
        """Keywords of :func:`zarr.create_array` for an array of whole fields.

        Parameters
        ----------
        shape
            ``[T, ..., Y, X]``; the cut is along the first axis alone.
        dtype
            Of the numbers.

        Returns
        -------
        dict
            ``shape, dtype, chunks, shards, compressors, fill_value, config``. The caller adds what tells one array from
            another: its name, the names of its dimensions, its attributes.
        """
        steps, field = max(int(shape[0]), 1), tuple(max(int(size), 1) for size in shape[1:])
        size = dtype.itemsize * int(np.prod(field))
        chunk = int(np.clip(CHUNK_BYTES // size, 1, min(steps, self.chunk_steps or steps)))
        shards = None
        if self.shard_steps is not None:
            # Whole chunks, no more of them than the series has, and at least one.
            held = min(self.shard_steps // chunk, -(-steps // chunk), SHARD_BYTES // (chunk * size))
            shards = (chunk * max(held, 1), *field)
        return {**_common(shape, dtype), "chunks": (chunk, *field), "shards": shards, **self._codecs()}

    def _codecs(self) -> dict[str, Any]:
        if self.shard_steps is None:
            return {"compressors": Crc32cCodec()}
        # Decodes faster than any other lossless codec tried; Zarr guards the index of a shard with a crc32c itself.
        return {
            "compressors": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", blocksize=BLOSC_BLOCK_BYTES)
        }


FAST = Profile("fast", chunk_steps=None, shard_steps=None)
COMPACT = Profile("compact", chunk_steps=4, shard_steps=96)
PROFILES = {profile.name: profile for profile in (FAST, COMPACT)}


def profile_named(name: str) -> Profile:
    """The profile of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in PROFILES:
        raise ValueError(
            f"profile '{name}' is none of {', '.join(PROFILES)}: fast is read at the speed of memory, compact takes "
            "less of the disk; name one of these."
        )
    return PROFILES[name]


def profile_of(array: Any) -> str | None:
    """Name of the profile that a Zarr array is coded as; None for an array of another making."""
    coded = tuple(array.compressors)
    if array.shards is None:
        return FAST.name if coded == (Crc32cCodec(),) else None
    # Blocks of Blosc's own choice are read as well as ours.
    compact = len(coded) == 1 and isinstance(coded[0], BloscCodec) and coded[0].cname.value == "lz4"
    return COMPACT.name if compact else None


def whole_keywords(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Keywords of :func:`zarr.create_array` for an array without a long axis: one plain chunk in every profile."""
    return {
        **_common(shape, dtype),
        "chunks": tuple(max(int(size), 1) for size in shape),
        "shards": None,
        "compressors": Crc32cCodec(),
    }


def block_steps(array: Any) -> int:
    """Steps of a Zarr array that lie in one file: a block of so many is written, and best read, whole."""
    return int((array.shards or array.chunks)[0])


def _common(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {
        "shape": tuple(int(size) for size in shape),
        "dtype": dtype,
        "fill_value": np.nan if np.issubdtype(dtype, np.floating) else 0,
        # An absent chunk always means "never written", not "all NaN".
        "config": {"write_empty_chunks": True},
    }
