"""How the C library keeps memory between tensors: on Linux its own way costs more time than the arithmetic."""

import ctypes
import os
import sys
from functools import cache

# malloc.h of glibc
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
MEGABYTE = 2**20
OWN_PAGES = 16 * MEGABYTE  # from here on a tensor gets pages of its own, which go back to the system with it
KEPT = 64 * MEGABYTE  # free memory that is kept for the next tensors

# Whoever has chosen an allocator, or its settings, shall have them.
_CHOSEN = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD")


@cache
def settle_allocator() -> bool:
    """Keep freed memory for tensors below 16 MB, and give that of larger ones back at once; say whether this was set.

    By itself glibc raises the size from which it gives memory back, up to 32 MB, with each tensor that is freed, and
    trims the heap again and again: a training step then asks for the same pages many times, or holds many more than
    it uses. Set once a process, before the first layer runs; nothing is set where another allocator or settings are
    named in the environment, or the C library is not glibc.
    """
    if sys.platform != "linux" or any(os.environ.get(name) for name in _CHOSEN):
        return False
    library = ctypes.CDLL(None)
    if not (hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")):
        return False
    return all(
        library.mallopt(option, size) == 1
        for option, size in ((_MMAP_THRESHOLD, OWN_PAGES), (_TRIM_THRESHOLD, KEPT))
    )
