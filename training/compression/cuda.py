"""Encode, decode and count on a CUDA device: the functions of ``training.compression.cpu`` for tensors on it."""

from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor

UNIFORM, SHORT, LONG = 0, 1, 2  # how an encoder finds the bin of a ratio
_PARTS = {2: 4, 3: 8, 4: 2, 8: 1}  # parts of a bucket that share the bytes of a message
_TILE = (
    512  # elements that one warp holds: 16 a thread leave room for enough warps to hide the memory's latency
)
# Products and sums stay apart, as they are on the CPU: rounded together they would give other codes.
_EXACT = {"enable_fp_fusion": False}


@dataclass(frozen=True)
class _Launch:
    """Buckets ``start`` to ``stop`` that one launch treats alike, ``rows`` to a program."""

    start: int
    stop: int
    parts: int
    tile: int
    rows: int
    full: bool

    @property
    def grid(self) -> tuple[int]:
        return (-(-(self.stop - self.start) // self.rows),)

    @property
    def options(self) -> dict[str, Any]:
        warps = max(1, min(16, self.rows * self.parts * self.tile // _TILE))
        return {"num_warps": warps, **_EXACT}

    @property
    def shape(self) -> dict[str, Any]:
        return {"PARTS": self.parts, "TILE": self.tile, "ROWS": self.rows, "FULL": self.full}


def encode(
    values: Tensor,
    message: Tensor,
    bucket_size: int,
    bits: int,
    kind: int,
    first: int,
    at: Tensor,
    low: Tensor,
    inverse: Tensor,
    guess: Tensor,
    euclidean: bool,
    norm_bytes: int,
    key: int,
    first_bucket: int,
) -> None:
    """Quantize float32 ``values [n]`` into ``message``: the norms of all buckets, then their packed codes.

    The bytes are those of ``training.compression.cpu.encode`` except where the float64 sum of a Euclidean norm, added
    in another order, falls on the other side of a float32 rounding. ``guess`` is for the CPU's search alone: here long
    tables are bisected. Returns without waiting for the device.
    """
    from training.compression import triton_kernels

    size = values.numel()
    place, alignment = _codes_begin(message, size, bucket_size, norm_bytes)
    with torch.cuda.device_of(values):
        for launch in _launches(size, bucket_size, _PARTS[bits]):
            triton_kernels.encode_kernel[launch.grid](
                values,
                message,
                at,
                low,
                inverse,
                size,
                launch.start,
                launch.stop,
                place,
                first,
                key,
                first_bucket,
                BUCKET=bucket_size,
                BITS=bits,
                ALIGNMENT=alignment,
                NORM_BYTES=norm_bytes,
                EUCLIDEAN=bool(euclidean),
                KIND=kind,
                THRESHOLDS=min(2 ** (bits - 1), 8) if kind == SHORT else at.numel() - 1,
                **launch.shape,
                **launch.options,
            )


def decode(
    message: Tensor, values: Tensor, bucket_size: int, bits: int, table: Tensor, norm_bytes: int, add: bool
) -> None:
    """Set ``values [n]`` to what a message holds, or add it; ``table`` has the signed level of each code.

    The values are those of ``training.compression.cpu.decode``. Returns without waiting for the device.
    """
    from training.compression import triton_kernels

    size = values.numel()
    place, alignment = _codes_begin(message, size, bucket_size, norm_bytes)
    with torch.cuda.device_of(values):
        for launch in _launches(size, bucket_size, _PARTS[bits]):
            triton_kernels.decode_kernel[launch.grid](
                message,
                values,
                table,
                size,
                launch.start,
                launch.stop,
                place,
                BUCKET=bucket_size,
                BITS=bits,
                ALIGNMENT=alignment,
                NORM_BYTES=norm_bytes,
                ADD=bool(add),
                **launch.shape,
                **launch.options,
            )


def norms(values: Tensor, bucket_size: int, euclidean: bool, norm_bytes: int, out: Tensor) -> None:
    """Norm of each bucket as it travels, in float32; NaN where it holds a value that is not finite."""
    from training.compression import triton_kernels

    if values.numel() == 0:
        return
    shape = _full(0, out.numel(), bucket_size, 1)
    with torch.cuda.device_of(values):
        triton_kernels.norms_kernel[shape.grid](
            values,
            out,
            values.numel(),
            out.numel(),
            BUCKET=bucket_size,
            TILE=shape.tile,
            ROWS=shape.rows,
            NORM_BYTES=norm_bytes,
            EUCLIDEAN=bool(euclidean),
            **shape.options,
        )


def _launches(size: int, bucket_size: int, parts: int) -> list[_Launch]:
    """One launch for the full buckets, whose addresses the compiler can foresee, and one for what is left."""
    full = size // bucket_size
    launches = [_full(0, full, bucket_size, parts)] if full else []
    if size % bucket_size:
        tile = _power_of_two(bucket_size // parts)
        launches.append(_Launch(full, full + 1, parts, tile, rows=1, full=False))
    return launches


def _full(start: int, stop: int, bucket_size: int, parts: int) -> _Launch:
    tile = _power_of_two(bucket_size // parts)
    return _Launch(start, stop, parts, tile, rows=max(1, _TILE // (parts * tile)), full=True)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()


def _codes_begin(message: Tensor, size: int, bucket_size: int, norm_bytes: int) -> tuple[int, int]:
    """Where the codes begin in a message, and how far the compiler may rely on that address being aligned.

    Not further than 4 bytes: a thread that moves four numbers at once then also moves their four codes, and nothing
    changes hands between threads.
    """
    place = -(-size // bucket_size) * norm_bytes
    return place, gcd(message.data_ptr() + place, 4)
