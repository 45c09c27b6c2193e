"""Encode and decode once more, from the definition: plain, slow, and sharing no line with the kernels."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
WORD = (1 << 64) - 1


def split_mix(seed: int, number: int) -> int:
    """Output ``number``, from 0, of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def uniform_numbers(key: int, bucket: int, count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) of 24 bits for the places of a bucket: a multiply-shift hash of place and bucket."""
    random = split_mix(key, bucket)
    low, high = random % 2**32, random >> 32
    x = np.arange(count, dtype=np.uint64) ^ np.uint64(low)
    x = x * np.uint64(0x7FEB352D) % np.uint64(2**32)
    x = x ^ x >> np.uint64(15)
    x = (x + np.uint64(high)) % np.uint64(2**32)
    x = x * np.uint64(0x846CA68B) % np.uint64(2**32)
    x = x ^ x >> np.uint64(16)
    return (x >> np.uint64(8)) / 2**24


def norm_of(bucket: Floats, *, euclidean: bool, norm_bytes: int) -> np.float32:
    """Norm as it travels: NaN if anything is not finite; as bfloat16 the next one that is not smaller."""
    if not np.isfinite(bucket).all():
        return np.float32(np.nan)
    magnitudes = np.abs(bucket).astype(np.float64)
    norm = np.float32(math.sqrt(math.fsum(magnitudes**2)) if euclidean else magnitudes.max())
    if norm_bytes == 2:
        cut = (norm.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        norm = cut if cut == norm else (cut.view(np.uint32) + np.uint32(0x10000)).view(np.float32)
    return norm


def rounded(ratios: Floats, levels: Floats, random: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the level that each ratio is rounded to; -1 is the first level with the other sign."""
    signed = levels if levels[0] == 0 else np.concatenate([-levels[:1], levels])
    below = np.searchsorted(signed, ratios, side="right") - 1
    widths = np.append(np.diff(signed), np.float32(np.inf))  # from the last level nothing rises
    share = (ratios - signed[below]) * (np.float32(1) / widths[below])
    assert share.dtype == np.float32
    return below + (random < share) - (levels[0] != 0)


def rounded_evenly(ratios: Floats, steps: int, random: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same for levels ``k / steps``."""
    scaled = ratios * np.float32(steps)
    below = np.floor(scaled)
    return (below + (random < scaled - below)).astype(np.int64)


def plane(codes: NDArray[np.int64], width: int) -> Bytes:
    """Bytes of ``8 / width`` codes each, the first from the first part of the bucket, the next from the next."""
    parts = codes.reshape(8 // width, -1)
    return sum(part << (width * j) for j, part in enumerate(parts)).astype(np.uint8)


def codes_of(packed: Bytes, width: int) -> NDArray[np.int64]:
    return np.concatenate([(packed >> (width * j)) & (2**width - 1) for j in range(8 // width)]).astype(int)


def pack(codes: NDArray[np.int64], bits: int) -> Bytes:
    return np.concatenate([plane(codes & 3, 2), plane(codes >> 2, 1)]) if bits == 3 else plane(codes, bits)


def unpack(packed: Bytes, bits: int) -> NDArray[np.int64]:
    if bits != 3:
        return codes_of(packed, bits)
    two = len(packed) * 2 // 3
    return codes_of(packed[:two], 2) + 4 * codes_of(packed[two:], 1)


def encode(
    values: Floats,
    levels: Floats,
    *,
    bits: int,
    bucket_size: int,
    euclidean: bool,
    norm_bytes: int,
    even: bool,
    key: int,
    first_bucket: int = 0,
) -> Bytes:
    """The message of ``values``: all norms, then all packed codes, then zeros up to a multiple of 8 bytes."""
    norms, packed = [], []
    for number, begin in enumerate(range(0, len(values), bucket_size)):
        bucket = values[begin : begin + bucket_size]
        norm = norm_of(bucket, euclidean=euclidean, norm_bytes=norm_bytes)
        codes = np.zeros(-(-len(bucket) // 8) * 8, int)
        if norm > 0:
            ratios = np.abs(bucket) / norm
            random = uniform_numbers(key, first_bucket + number, len(bucket))
            found = (
                rounded_evenly(ratios, 2 ** (bits - 1) - 1, random)
                if even
                else rounded(ratios, levels, random)
            )
            negative = (bucket < 0) != (found < 0)
            codes[: len(bucket)] = np.maximum(found, 0) + (negative << (bits - 1))
        norms.append(np.array([norm], "<f4").view(np.uint8)[4 - norm_bytes :])
        packed.append(pack(codes, bits))
    message = np.concatenate([*norms, *packed, np.zeros(0, np.uint8)])
    return np.concatenate([message, np.zeros(-len(message) % 8, np.uint8)])


def decode(
    message: Bytes, count: int, levels: Floats, *, bits: int, bucket_size: int, norm_bytes: int
) -> Floats:
    """Numbers that a message stands for."""
    buckets = -(-count // bucket_size)
    signed = np.concatenate([levels, -levels])
    place, values = buckets * norm_bytes, [np.zeros(0, np.float32)]
    for number in range(buckets):
        raw = np.zeros(4, np.uint8)
        raw[4 - norm_bytes :] = message[number * norm_bytes : (number + 1) * norm_bytes]
        length = min(bucket_size, count - number * bucket_size)
        size = -(-length // 8) * bits
        values.append(signed[unpack(message[place : place + size], bits)][:length] * raw.view("<f4")[0])
        place += size
    return np.concatenate(values)
