"""Memory of large fields on the CPU, used again and again: new pages cost more time than the arithmetic on them."""

import mmap
import threading
import weakref
from collections import deque
from math import prod

import torch
from torch import Tensor

POOLED = 4 * 2**20  # bytes; what is smaller the C library keeps by itself
SPARE = 1.25  # a block is used for a field that fills it but for this factor


class Pool:
    """Blocks of memory that tensors have done with, for those to come.

    The C library gives the memory of a large tensor back to the system with it, and the next one's pages are made, and
    cleared, anew: a third of a training step. A block returns here when the last tensor on it is gone. Before the
    system is asked for more, blocks that do not fit are given back to it, as far as is needed that the pool holds no
    more than was in use at the same time, once.
    """

    def __init__(self) -> None:
        self._held = self._peak = 0
        self._free: deque[mmap.mmap] = (
            deque()
        )  # appended to from anywhere, garbage collection included: no lock there
        self._lock = threading.Lock()

    def field(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor whose entries are whatever was there before."""
        entries = prod(shape)
        block = self._block(entries * dtype.itemsize)
        view = memoryview(block)
        # The tensor holds the view; when it lets go of it, the block comes back.
        weakref.finalize(view, self._free.append, block).atexit = False
        # On the storage itself: a view of another tensor would be told from a tensor of its own by those that wrap us.
        memory = torch.frombuffer(view, dtype=dtype, count=entries).untyped_storage()
        strides = torch.empty(shape, device="meta").stride()
        return torch.empty(0, dtype=dtype).set_(memory, 0, shape, strides)

    @property
    def free(self) -> int:
        """Bytes that wait for a tensor."""
        return sum(map(len, tuple(self._free)))

    @property
    def held(self) -> int:
        """Bytes that wait or are in use."""
        return self._held

    def clear(self) -> None:
        """Give all blocks that wait back to the system, and forget how much was in use."""
        with self._lock:
            self._shrink(0)
            self._peak = self._held

    def _block(self, size: int) -> mmap.mmap:
        with self._lock:
            fitting = [block for block in tuple(self._free) if size <= len(block) <= SPARE * size]
            if fitting:
                block = min(fitting, key=len)
                self._free.remove(block)
            else:
                used = self._held - self.free + size
                self._shrink(max(self._peak, used) - size)
                # Private: what is mapped by default would be shared with a forked child, and never in huge pages.
                block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                if hasattr(mmap, "MADV_HUGEPAGE"):
                    block.madvise(mmap.MADV_HUGEPAGE)  # one request for 2 MB instead of one for each 4 KB
                self._held += size
            self._peak = max(self._peak, self._held - self.free)
            return block

    def _shrink(self, size: int) -> None:
        """Give blocks that wait back, those first that have waited longest, until no more than ``size`` is held."""
        while self._held > size and self._free:
            self._held -= len(self._free.popleft())


fields = Pool()


def new_field(like: Tensor, *shape: int) -> Tensor:
    """An uninitialised field of the type of ``like``, from the pool where it is large."""
    if prod(shape) * like.dtype.itemsize < POOLED:
        return like.new_empty(shape)
    return fields.field(shape, like.dtype)
