"""The kernels of the gradient quantizer for CUDA devices, written in Triton.

Each program takes whole buckets as one tile ``[ROWS, PARTS, TILE]``: a byte takes its codes from equal places of the
``PARTS`` parts of a bucket, so the tile keeps all codes of a byte in the registers of one thread, and the gradient is
read once. The arithmetic is that of ``training.compression.cpu``, operation by operation; only sums of squares are
added in another order. Launch with ``enable_fp_fusion=False``: a product and a sum that are rounded together give other
codes.
"""

import triton
import triton.language as tl

# Triton reads annotations as types of its own, so Python's have no place here.
# mypy: disallow-untyped-defs=False

UNIFORM: tl.constexpr = tl.constexpr(0)
SHORT: tl.constexpr = tl.constexpr(1)
_INFINITY: tl.constexpr = tl.constexpr(0x7F800000)  # as integers, patterns of NaN are larger than it
_ONE: tl.constexpr = tl.constexpr(0x3F800000)
_NAN: tl.constexpr = tl.constexpr(0x7FC00000)
_24_BITS: tl.constexpr = tl.constexpr(2.0**-24)


@triton.jit
def _uniform_number(lane, key, salt):
    """A number in [0, 1) of 24 bits: two multiply-shift rounds over the place of an element in its bucket."""
    x = (lane ^ key) * 0x7FEB352D
    x = (x ^ (x >> 15)) + salt
    x = x * 0x846CA68B
    x = x ^ (x >> 16)
    return (x >> 8).to(tl.int32).to(tl.float32) * _24_BITS


@triton.jit
def _bucket_key(key, bucket):
    """SplitMix64 of the key of the stream and the number of the bucket."""
    z = key.to(tl.uint64) + (bucket + 1).to(tl.uint64) * 0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def _norm_bits(x, EUCLIDEAN: tl.constexpr, NORM_BYTES: tl.constexpr):
    """Bits of the norm of each row of ``x [ROWS, PARTS, TILE]`` as it travels, int32 ``[ROWS]``."""
    # Bits rather than numbers: NaN is the largest then, where a maximum of floats may lose it.
    pattern = x.to(tl.int32, bitcast=True) & 0x7FFFFFFF
    found = tl.max(tl.max(pattern, 1), 1)
    if EUCLIDEAN:
        wide = x.to(tl.float64)
        length = tl.sqrt(tl.sum(tl.sum(wide * wide, 1), 1)).to(tl.float32)
        found = tl.where(found < _INFINITY, length.to(tl.int32, bitcast=True), found)
    found = tl.where(found < _INFINITY, found, _NAN)
    if NORM_BYTES == 2:
        found = (found + 0xFFFF) & -0x10000
    return found


@triton.jit
def _inside(
    lane,
    i,
    rows,
    begin,
    part,
    size,
    stop,
    BUCKET: tl.constexpr,
    FULL: tl.constexpr,
):
    """Which elements of a tile there are: in full buckets all of a part, in the last one those before the end."""
    inside = (rows < stop)[:, None, None] & (i < part)
    if not FULL:
        inside = inside & (lane < size - begin)
    return inside


@triton.jit
def _bin(ratio, at, KIND: tl.constexpr, THRESHOLDS: tl.constexpr):
    """How many of the thresholds each ratio reaches."""
    k = tl.zeros_like(ratio).to(tl.int32)
    if KIND == SHORT:
        for j in tl.static_range(THRESHOLDS):
            k = tl.where(ratio >= tl.load(at + j), j + 1, k)
    else:
        # Bisection. No ratio reaches the threshold behind the last one, which ends a search beyond the table.
        step: tl.constexpr = 1 << (THRESHOLDS.bit_length() - 1)
        for j in tl.static_range(THRESHOLDS.bit_length()):
            probe = tl.minimum(k + (step >> j) - 1, THRESHOLDS)
            k += tl.where(ratio >= tl.load(at + probe), step >> j, 0)
    return k


@triton.jit(do_not_specialize=["size", "start", "stop", "place", "first", "key", "first_bucket"])
def encode_kernel(
    values,
    message,
    at,
    low,
    inverse,
    size: tl.int64,
    start: tl.int64,
    stop: tl.int64,
    place: tl.int64,
    first: tl.int32,
    key: tl.uint64,
    first_bucket: tl.int64,
    BUCKET: tl.constexpr,
    BITS: tl.constexpr,
    PARTS: tl.constexpr,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    FULL: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    NORM_BYTES: tl.constexpr,
    EUCLIDEAN: tl.constexpr,
    KIND: tl.constexpr,
    THRESHOLDS: tl.constexpr,
):
    """Write norms and codes of the buckets from ``start`` to ``stop``; codes begin at ``place`` in the message."""
    rows = start + tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    begin = (rows * BUCKET)[:, None, None]
    part = BUCKET // PARTS if FULL else ((size - start * BUCKET + 7) // 8 * 8 // PARTS).to(tl.int32)
    p = tl.arange(0, PARTS)[None, :, None]
    i = tl.arange(0, TILE)[None, None, :]
    lane = p * part + i
    inside = _inside(lane, i, rows, begin, part, size, stop, BUCKET, FULL)
    x = tl.load(values + begin + lane, mask=inside, other=0.0)

    found = _norm_bits(x, EUCLIDEAN, NORM_BYTES)
    there = rows < stop
    for j in tl.static_range(NORM_BYTES):
        byte = (found >> (8 * (4 - NORM_BYTES + j))).to(tl.uint8)
        tl.store(message + rows * NORM_BYTES + j, byte, mask=there)

    # Where the norm is 0 or NaN it says all there is to say, and the codes are 0.
    usable = (found > 0) & (found < _INFINITY)
    x = tl.where(usable[:, None, None], x, 0.0)
    norm = tl.where(usable, found, _ONE).to(tl.float32, bitcast=True)[:, None, None]
    ratio = tl.div_rn(tl.abs(x), tl.broadcast_to(norm, x.shape))

    random = _bucket_key(key, first_bucket + rows)
    low_half = random.to(tl.uint32)[:, None, None]
    high_half = (random >> 32).to(tl.uint32)[:, None, None]
    number = _uniform_number(lane.to(tl.uint32), low_half, high_half)
    if KIND == UNIFORM:
        t = ratio * ((1 << (BITS - 1)) - 1.0)
        k = t.to(tl.int32)
        k += (number < t - k.to(tl.float32)).to(tl.int32)
        negative = x < 0
    else:
        k = _bin(ratio, at, KIND, THRESHOLDS)
        up = number < (ratio - tl.load(low + k)) * tl.load(inverse + k)
        k += first + up.to(tl.int32)
        # Below the first level of a set without zero lies that level with the other sign, number -1.
        negative = (x < 0) != (k < 0)
        k = tl.maximum(k, 0)
    codes = k | (negative.to(tl.int32) << (BITS - 1))
    codes = tl.where(inside & usable[:, None, None], codes, 0)

    packed = tl.multiple_of(message + place + rows * (BUCKET * BITS // 8), ALIGNMENT)
    place_in_part = tl.arange(0, TILE)[None, :]
    fits = there[:, None] & (place_in_part < part)
    if BITS == 3:
        high = tl.sum((codes >> 2) << p, 1)
        tl.store(packed[:, None] + 2 * part + place_in_part, high.to(tl.uint8), mask=fits)
        # The plane of two bits is made of quarters: an even and an odd eighth each.
        quarter = tl.arange(0, 4)[None, :, None, None]
        pairs = tl.sum(tl.reshape(codes & 3, [ROWS, 4, 2, TILE]) << (2 * quarter), 1)
        half = tl.arange(0, 2)[None, :, None]
        tl.store(
            packed[:, None, None] + half * part + i,
            pairs.to(tl.uint8),
            mask=there[:, None, None] & (i < part),
        )
    else:
        together = tl.sum(codes << (BITS * p), 1)
        tl.store(packed[:, None] + place_in_part, together.to(tl.uint8), mask=fits)


@triton.jit(do_not_specialize=["size", "start", "stop", "place"])
def decode_kernel(
    message,
    values,
    table,
    size: tl.int64,
    start: tl.int64,
    stop: tl.int64,
    place: tl.int64,
    BUCKET: tl.constexpr,
    BITS: tl.constexpr,
    PARTS: tl.constexpr,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    FULL: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    NORM_BYTES: tl.constexpr,
    ADD: tl.constexpr,
):
    """Set or add to the values of the buckets from ``start`` to ``stop`` what the message holds."""
    rows = start + tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    begin = (rows * BUCKET)[:, None, None]
    part = BUCKET // PARTS if FULL else ((size - start * BUCKET + 7) // 8 * 8 // PARTS).to(tl.int32)
    p = tl.arange(0, PARTS)[None, :, None]
    i = tl.arange(0, TILE)[None, None, :]
    lane = p * part + i
    inside = _inside(lane, i, rows, begin, part, size, stop, BUCKET, FULL)

    found = tl.zeros([ROWS], tl.uint32)
    for j in tl.static_range(NORM_BYTES):
        byte = tl.load(message + rows * NORM_BYTES + j, mask=rows < stop, other=0)
        found |= byte.to(tl.uint32) << (8 * (4 - NORM_BYTES + j))
    norm = found.to(tl.float32, bitcast=True)[:, None, None]

    packed = tl.multiple_of(message + place + rows * (BUCKET * BITS // 8), ALIGNMENT)[:, None, None]
    fits = (rows < stop)[:, None, None] & (i < part)
    if BITS == 3:
        pairs = tl.load(packed + (p & 1) * part + i, mask=inside, other=0).to(tl.int32)
        high = tl.load(packed + 2 * part + i, mask=fits, other=0).to(tl.int32)
        codes = ((pairs >> (p >> 1 << 1)) & 3) | (((high >> p) & 1) << 2)
    else:
        together = tl.load(packed + i, mask=fits, other=0).to(tl.int32)
        codes = (together >> (BITS * p)) & ((1 << BITS) - 1)
    decoded = tl.load(table + codes) * norm
    if ADD:
        decoded = tl.load(values + begin + lane, mask=inside, other=0.0) + decoded
    tl.store(values + begin + lane, decoded, mask=inside)


@triton.jit(do_not_specialize=["size", "stop"])
def norms_kernel(
    values,
    out,
    size: tl.int64,
    stop: tl.int64,
    BUCKET: tl.constexpr,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
    NORM_BYTES: tl.constexpr,
    EUCLIDEAN: tl.constexpr,
):
    """Norm of each of ``stop`` buckets as it travels, float32."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    lane = tl.arange(0, TILE)[None, None, :]
    place = (rows * BUCKET)[:, None, None] + lane
    x = tl.load(values + place, mask=(lane < BUCKET) & (place < size), other=0.0)
    found = _norm_bits(x, EUCLIDEAN, NORM_BYTES)
    tl.store(out + rows, found.to(tl.float32, bitcast=True), mask=rows < stop)
