"""How a piece of gradient becomes bytes and back: the same calls for quantized, cast and exact numbers."""

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from training.compression.levels import HALVING, LevelSet, Tables

NORM_BYTES = {"float32": 4, "bfloat16": 2}
_ALIGNMENT = (
    8  # each piece begins at a multiple of this in a message, so that any of them can be viewed as numbers
)


class Codec(Protocol):
    """One way to write float32 numbers into bytes; messages say nothing of their length or their codec.

    Messages are as long as :meth:`nbytes` says.
    """

    @property
    def granularity(self) -> int:
        """Pieces that are encoded apart begin at multiples of it, so that no bucket is cut."""
        ...

    def nbytes(self, count: int) -> int:
        """Bytes that ``count`` numbers take."""
        ...

    def encode(self, values: Tensor, message: Tensor, *, key: int, first_bucket: int = 0) -> None:
        """Write contiguous ``values [count]`` into ``message``, uint8 ``[nbytes(count)]``."""
        ...

    def decode(self, message: Tensor, values: Tensor, *, add: bool = False) -> None:
        """Set ``values`` to what ``message`` holds, or add it to them."""
        ...


@dataclass(frozen=True)
class Cast:
    """Numbers in another floating type, rounded to nearest: float32 itself, and the two 16-bit peers."""

    dtype: torch.dtype = torch.float32
    granularity: int = 1

    def nbytes(self, count: int) -> int:
        """Bytes of ``count`` numbers, see :class:`Codec`."""
        return _aligned(count * self.dtype.itemsize)

    def encode(self, values: Tensor, message: Tensor, *, key: int, first_bucket: int = 0) -> None:
        """Cast, see :class:`Codec`; the key is not used, for nothing here is random."""
        self._numbers(message, values.numel()).copy_(values)

    def decode(self, message: Tensor, values: Tensor, *, add: bool = False) -> None:
        """Cast back, see :class:`Codec`."""
        numbers = self._numbers(message, values.numel())
        if add:
            values.add_(numbers)
        else:
            values.copy_(numbers)

    def _numbers(self, message: Tensor, count: int) -> Tensor:
        return message[: count * self.dtype.itemsize].view(self.dtype)


@dataclass(frozen=True)
class Buckets:
    """Stochastic rounding of each bucket, in units of its norm, to a set of levels.

    Attributes
    ----------
    levels
        Magnitudes that a code of ``bits`` bits, one of them the sign, can say: ``2^(bits - 1)``.
    bits, granularity
        Bits of a code; numbers in a bucket.
    euclidean
        Normalise by the Euclidean norm rather than by the largest magnitude.
    norm_bytes
        4: norms travel as float32; 2: as bfloat16, rounded up before they are used, so that no ratio exceeds 1.

    Notes
    -----
    A message is the norms of all buckets, then their codes. Codes are packed in planes: a byte takes its codes from
    equal places of the halves (quarters, eighths) of a bucket. A last bucket that is not full is padded with zeros to a
    multiple of 8 codes. 3 bits are a plane of two bits and a plane of one.
    """

    levels: LevelSet
    bits: int
    granularity: int
    euclidean: bool
    norm_bytes: int

    def __post_init__(self) -> None:
        assert len(self.levels.levels) == 2 ** (self.bits - 1)

    def nbytes(self, count: int) -> int:
        """Bytes of ``count`` numbers, see :class:`Codec`."""
        buckets = -(-count // self.granularity)
        padded = -(-count // 8) * 8  # the bucket size is a multiple of 8, so only the last bucket is padded
        return _aligned(buckets * self.norm_bytes + padded * self.bits // 8)

    def encode(self, values: Tensor, message: Tensor, *, key: int, first_bucket: int = 0) -> None:
        """Quantize, see :class:`Codec`; the same key and first bucket give the same bytes."""
        if values.numel() == 0:
            return
        tables, kernels = _tables_on(self.levels, values.device), _kernels(values.device)
        kernels.encode(
            _array(values),
            _array(message),
            self.granularity,
            self.bits,
            HALVING if tables.halving and values.device.type == "cpu" else tables.kind,
            tables.first,
            _array(tables.at),
            _array(tables.low),
            _array(tables.inverse),
            _array(tables.guess),
            self.euclidean,
            self.norm_bytes,
            np.uint64(key) if values.device.type == "cpu" else key,
            first_bucket,
        )

    def decode(self, message: Tensor, values: Tensor, *, add: bool = False) -> None:
        """Give back the mean-true numbers, see :class:`Codec`."""
        if values.numel() == 0:
            return
        signed = _tables_on(self.levels, values.device).signed
        _kernels(values.device).decode(
            _array(message),
            _array(values),
            self.granularity,
            self.bits,
            _array(signed),
            self.norm_bytes,
            add,
        )


@lru_cache(maxsize=256)
def _tables_on(levels: LevelSet, device: torch.device) -> Tables:
    return levels.tables if device.type == "cpu" else levels.tables.on(device)


def _kernels(device: torch.device) -> ModuleType:
    # Fetched when the first gradient comes: compilers take half a second to import.
    if device.type == "cpu":
        from training.compression import cpu

        return cpu
    if device.type == "cuda":
        from training.compression import cuda

        return cuda
    raise ValueError(
        f"gradients on '{device.type}' cannot be quantized; train on 'cpu' or 'cuda', or with compression off."
    )


def _array(tensor: Tensor) -> object:
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
