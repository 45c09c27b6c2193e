"""Memory for batches that is used again, and never while anybody still looks at what it holds."""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Buffer:
    """Tensors of one batch, float32.

    Attributes
    ----------
    tensors
        As they were allocated; pinned for copies to a CUDA device.
    arrays
        The same memory, to be filled.
    copied
        Event after which a copy to a device has been made; None where there was none.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], *, pinned: bool) -> None:
        self.tensors = [torch.empty(shape, dtype=torch.float32, pin_memory=pinned) for shape in shapes]
        self.arrays: list[NDArray[np.float32]] = [tensor.numpy() for tensor in self.tensors]
        self.copied: Any = None
        self._lent: list[weakref.ref[Any]] = []

    def lend(self, count: int) -> list[Tensor]:
        """The first ``count`` windows of each tensor.

        The memory stays as it is for as long as these tensors, or any that share their memory, are alive.
        """
        # A tensor keeps the array that it was made of; an array of its own tells when the last such tensor is gone.
        handles = [array[:count] for array in self.arrays]
        self._lent = [weakref.ref(handle) for handle in handles]
        return [torch.from_numpy(handle) for handle in handles]

    @property
    def free(self) -> bool:
        """Whether nobody looks at it any more."""
        return all(handle() is None for handle in self._lent) and (
            self.copied is None or bool(self.copied.query())
        )


class Ring:
    """Buffers in turn: taken, filled, lent, and taken again when they are free.

    Parameters
    ----------
    shapes
        Of the tensors of a buffer.
    size
        Most buffers that are kept for another turn. Where a consumer keeps more batches than that, each of the others
        has memory of its own.
    pinned
        As copies to a CUDA device need it.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], size: int, *, pinned: bool = False) -> None:
        self._shapes, self._size, self._pinned = list(shapes), size, pinned
        self._kept: list[Buffer] = []

    def take(self) -> Buffer:
        """A buffer to fill, which is the caller's until it is given back."""
        for number, buffer in enumerate(self._kept):
            if buffer.free:
                return self._kept.pop(number)
        return Buffer(self._shapes, pinned=self._pinned)

    def give_back(self, buffer: Buffer) -> None:
        """Put a buffer in for its next turn; it may still be lent."""
        self._kept.append(buffer)
        del self._kept[: -self._size]
