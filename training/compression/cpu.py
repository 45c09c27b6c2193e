"""Encode, decode and count on a CPU: one pass over the gradient, one bucket at a time in the cache.

Compiled by numba when first called (a second or two, kept on disk after that), because the same mathematics in tensor
operations is slower than the network it shall relieve: each operation streams the gradient through memory once more.
Loops are written so that the compiler turns each into vector instructions: comparisons and selections instead of table
look-ups, and 32-bit integers throughout.
"""

from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, njit, uint8, uint32, uint64

from training.compression.levels import HALVING, SHORT, UNIFORM

_jit = njit(nogil=True, error_model="numpy", cache=True)
_inline = njit(inline="always")

_INFINITY = (
    0x7F800000  # bits of the first value that is not finite: compared as integers, NaN is larger than all
)


@_inline
def _uniform_number(lane: Any, key: Any, salt: Any) -> Any:
    """A number in [0, 1) of 24 bits: two multiply-shift rounds over the place of an element in its bucket."""
    x = uint32(lane ^ key)
    x = uint32(x * uint32(0x7FEB352D))  # multipliers of C. Wellons' two-round 32-bit mixer
    x = uint32(x ^ uint32(x >> uint32(15)))
    x = uint32(x + salt)
    x = uint32(x * uint32(0x846CA68B))
    x = uint32(x ^ uint32(x >> uint32(16)))
    return float32(int32(x >> uint32(8))) * float32(2.0**-24)


@_jit
def _bucket_key(key: Any, bucket: Any) -> Any:
    """SplitMix64 of the key of the stream and the number of the bucket."""
    z = uint64(key + (bucket + uint64(1)) * uint64(0x9E3779B97F4A7C15))
    z = uint64((z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9))
    z = uint64((z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB))
    return uint64(z ^ (z >> uint64(31)))


@_jit
def _largest(bits: Any) -> Any:
    """Bits of the largest magnitude. As integers, NaN wins: a comparison of floats would lose it."""
    largest = uint32(0)
    for i in range(bits.size):
        largest = max(largest, uint32(bits[i] & uint32(0x7FFFFFFF)))
    return largest


@_jit
def _length(values: Any) -> Any:
    """Euclidean norm. Squares of 1e30 and of 1e-42 are float64 numbers, and sixteen sums fill the vector units."""
    sums = np.zeros(16, np.float64)
    whole = values.size // 16 * 16
    for i in range(0, whole, 16):
        for j in range(16):
            x = float64(values[i + j])
            sums[j] += x * x
    for i in range(whole, values.size):
        x = float64(values[i])
        sums[i - whole] += x * x
    total = 0.0
    for j in range(16):
        total += sums[j]
    return float32(np.sqrt(total))


@_jit
def _norm_bits(values: Any, bits: Any, euclidean: Any, norm_bytes: Any) -> Any:
    """Bits of a bucket's norm as it travels: never smaller than the largest magnitude, also in bfloat16."""
    found = _largest(bits)
    if euclidean and found < uint32(_INFINITY):
        found = np.float32(_length(values)).view(np.uint32)
    if found >= uint32(_INFINITY):
        return uint32(0x7FC00000)  # NaN, which no rounding may turn into a number
    if norm_bytes == 2:  # up: rounded to nearest, half of the buckets would hold a ratio above 1, and a bias
        found = uint32((uint64(found) + uint64(0xFFFF)) & uint64(0xFFFF0000))
    return found


@_jit
def _codes_uniform(values: Any, norm: Any, steps: Any, sign: Any, key: Any, salt: Any, codes: Any) -> None:
    for i in range(values.size):
        x = values[i]
        t = float32(float32(abs(x) / norm) * steps)
        whole = int32(t)
        up = _uniform_number(uint32(i), key, salt) < float32(t - float32(whole))
        codes[i] = uint8((whole + int32(up)) | (int32(x < float32(0)) << sign))


@_jit
def _codes_halving(values: Any, norm: Any, steps: Any, sign: Any, key: Any, salt: Any, codes: Any) -> None:
    # In units of the smallest level the exponent is the number of the bin, the mantissa the place in it. Scaling by a
    # power of two is exact, so these are the codes of the search in ``_codes_short``, three times as fast.
    scale = float32(1 << (int32(steps) - 1))
    for i in range(values.size):
        x = values[i]
        t = float32(float32(abs(x) / norm) * scale)
        inside = t >= float32(1)
        bits = np.float32(t if inside else float32(1)).view(np.uint32)
        whole = int32(bits >> uint32(23)) - int32(127) + int32(inside)
        place = float32(int32(bits & uint32(0x7FFFFF))) * float32(2.0**-23)
        up = _uniform_number(uint32(i), key, salt) < (place if inside else t)
        codes[i] = uint8((whole + int32(up)) | (int32(x < float32(0)) << sign))


@_jit
def _codes_short(
    values: Any,
    norm: Any,
    first: Any,
    at: Any,
    low: Any,
    inverse: Any,
    sign: Any,
    key: Any,
    salt: Any,
    codes: Any,
) -> None:
    # Names instead of look-ups: eight comparisons and selections of whole vectors beat one gather.
    t0, t1, t2, t3, t4, t5, t6, t7 = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    l0, l1, l2, l3, l4, l5, l6, l7 = low[1], low[2], low[3], low[4], low[5], low[6], low[7], low[8]
    w0, w1, w2, w3, w4 = inverse[1], inverse[2], inverse[3], inverse[4], inverse[5]
    w5, w6, w7 = inverse[6], inverse[7], inverse[8]
    below, width = low[0], inverse[0]
    for i in range(values.size):
        x = values[i]
        r = float32(abs(x) / norm)
        k, lo, w = int32(first), below, width
        c = r >= t0
        k, lo, w = k + int32(c), l0 if c else lo, w0 if c else w
        c = r >= t1
        k, lo, w = k + int32(c), l1 if c else lo, w1 if c else w
        c = r >= t2
        k, lo, w = k + int32(c), l2 if c else lo, w2 if c else w
        c = r >= t3
        k, lo, w = k + int32(c), l3 if c else lo, w3 if c else w
        c = r >= t4
        k, lo, w = k + int32(c), l4 if c else lo, w4 if c else w
        c = r >= t5
        k, lo, w = k + int32(c), l5 if c else lo, w5 if c else w
        c = r >= t6
        k, lo, w = k + int32(c), l6 if c else lo, w6 if c else w
        c = r >= t7
        k, lo, w = k + int32(c), l7 if c else lo, w7 if c else w
        up = _uniform_number(uint32(i), key, salt) < float32(float32(r - lo) * w)
        k = k + int32(up)
        # Below the first level of a set without zero lies that level with the other sign, number -1.
        negative = (x < float32(0)) != (k < 0)
        codes[i] = uint8(max(k, int32(0)) | (int32(negative) << sign))


@_jit
def _codes_long(
    values: Any,
    norm: Any,
    first: Any,
    at: Any,
    low: Any,
    inverse: Any,
    guess: Any,
    sign: Any,
    key: Any,
    salt: Any,
    ratio: Any,
    lows: Any,
    widths: Any,
    codes: Any,
) -> None:
    n = values.size
    for i in range(n):
        ratio[i] = float32(abs(values[i]) / norm)
    bits = ratio.view(np.uint32)
    for i in range(n):  # not a loop for vectors: each element walks from a first guess by its leading bits
        r = ratio[i]
        k = int64(guess[bits[i] >> uint32(19)])
        while r >= at[k]:
            k += 1
        codes[i] = uint8(k)
        lows[i] = low[k]
        widths[i] = inverse[k]
    for i in range(n):
        up = _uniform_number(uint32(i), key, salt) < float32(float32(ratio[i] - lows[i]) * widths[i])
        k = int32(codes[i]) + int32(first) + int32(up)
        negative = (values[i] < float32(0)) != (k < 0)
        codes[i] = uint8(max(k, int32(0)) | (int32(negative) << sign))


@_jit
def _pack(codes: Any, bits: Any, out: Any) -> None:
    """Planes: the codes in one byte come from equal places of the parts of a bucket, not from neighbours."""
    n = codes.size
    if bits == 8:
        for i in range(n):
            out[i] = codes[i]
        return
    if bits == 4:
        h = n // 2
        for i in range(h):
            out[i] = uint8(codes[i] | (codes[i + h] << uint8(4)))
        return
    q = n // 4
    for i in range(q):
        a = (codes[i] & uint8(3)) | ((codes[i + q] & uint8(3)) << uint8(2))
        b = (codes[i + 2 * q] & uint8(3)) | ((codes[i + 3 * q] & uint8(3)) << uint8(2))
        out[i] = uint8(a | (b << uint8(4)))
    if bits == 3:
        e = n // 8
        for i in range(e):
            a = uint8(0)
            for j in range(8):
                a = uint8(a | ((codes[i + j * e] >> uint8(2)) << uint8(j)))
            out[q + i] = a


@_jit
def _unpack(packed: Any, bits: Any, codes: Any) -> None:
    n = codes.size
    if bits == 8:
        for i in range(n):
            codes[i] = packed[i]
        return
    if bits == 4:
        h = n // 2
        for i in range(h):
            codes[i] = packed[i] & uint8(15)
        for i in range(h):
            codes[i + h] = packed[i] >> uint8(4)
        return
    q = n // 4
    for j in range(4):
        for i in range(q):
            codes[i + j * q] = (packed[i] >> uint8(2 * j)) & uint8(3)
    if bits == 3:
        e = n // 8
        for j in range(8):
            for i in range(e):
                high = (packed[q + i] >> uint8(j)) & uint8(1)
                codes[i + j * e] = codes[i + j * e] | uint8(high << uint8(2))


@_jit
def encode(
    values: Any,
    message: Any,
    bucket_size: Any,
    bits: Any,
    kind: Any,
    first: Any,
    at: Any,
    low: Any,
    inverse: Any,
    guess: Any,
    euclidean: Any,
    norm_bytes: Any,
    key: Any,
    first_bucket: Any,
) -> None:
    """Quantize float32 ``values [n]`` into ``message``: the norms of all buckets, then their packed codes."""
    n = values.size
    buckets = (n + bucket_size - 1) // bucket_size
    bit_patterns = values.view(np.uint32)
    sign = int32(bits - 1)
    steps = float32((1 << (bits - 1)) - 1)
    codes = np.empty(bucket_size, np.uint8)
    ratio = np.empty(bucket_size, np.float32)
    lows = np.empty(bucket_size, np.float32)
    widths = np.empty(bucket_size, np.float32)
    place = buckets * norm_bytes
    for b in range(buckets):
        begin = b * bucket_size
        end = min(begin + bucket_size, n)
        piece = values[begin:end]
        found = _norm_bits(piece, bit_patterns[begin:end], euclidean, norm_bytes)
        for j in range(norm_bytes):
            message[b * norm_bytes + j] = uint8(found >> uint32(8 * (4 - norm_bytes + j)))
        length = (piece.size + 7) // 8 * 8
        if found == uint32(0) or found >= uint32(_INFINITY):
            codes[:length] = uint8(0)  # 0 or NaN times a level says all there is to say
        else:
            codes[piece.size : length] = uint8(0)
            norm = np.uint32(found).view(np.float32)
            random = _bucket_key(uint64(key), uint64(first_bucket + b))
            k, salt = uint32(random), uint32(random >> uint64(32))
            if kind == UNIFORM:
                _codes_uniform(piece, norm, steps, sign, k, salt, codes)
            elif kind == HALVING:
                _codes_halving(piece, norm, steps, sign, k, salt, codes)
            elif kind == SHORT:
                _codes_short(piece, norm, first, at, low, inverse, sign, k, salt, codes)
            else:
                _codes_long(
                    piece,
                    norm,
                    first,
                    at,
                    low,
                    inverse,
                    guess,
                    sign,
                    k,
                    salt,
                    ratio[: piece.size],
                    lows,
                    widths,
                    codes,
                )
        size = length * bits // 8
        _pack(codes[:length], bits, message[place : place + size])
        place += size


@_jit
def decode(
    message: Any, values: Any, bucket_size: Any, bits: Any, table: Any, norm_bytes: Any, add: Any
) -> None:
    """Set ``values [n]`` to what a message holds, or add it; ``table`` has the signed level of each code."""
    n = values.size
    buckets = (n + bucket_size - 1) // bucket_size
    codes = np.empty(bucket_size, np.uint8)
    place = buckets * norm_bytes
    for b in range(buckets):
        found = uint32(0)
        for j in range(norm_bytes):
            found = uint32(found | (uint32(message[b * norm_bytes + j]) << uint32(8 * (4 - norm_bytes + j))))
        norm = np.uint32(found).view(np.float32)
        begin = b * bucket_size
        piece = values[begin : min(begin + bucket_size, n)]
        length = (piece.size + 7) // 8 * 8
        size = length * bits // 8
        _unpack(message[place : place + size], bits, codes[:length])
        if add:
            for i in range(piece.size):
                piece[i] += table[codes[i]] * norm
        else:
            for i in range(piece.size):
                piece[i] = table[codes[i]] * norm
        place += size


@_jit
def norms(values: Any, bucket_size: Any, euclidean: Any, norm_bytes: Any, out: Any) -> None:
    """Norm of each bucket as it travels, in float32; NaN where it holds a value that is not finite."""
    patterns = values.view(np.uint32)
    for b in range(out.size):
        begin = b * bucket_size
        end = min(begin + bucket_size, values.size)
        found = _norm_bits(values[begin:end], patterns[begin:end], euclidean, norm_bytes)
        out[b] = np.uint32(found).view(np.float32)
