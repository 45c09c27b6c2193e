"""Files mapped into memory, a bounded number of them, opened by the process and at the moment that needs them."""

import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAPPED_FILES = 256  # each holds a file descriptor, of which a process has 1024 by default


class Maps:
    """Read-only maps of files, those used last; any thread may ask.

    A map lives as long as an array of it is in use, also after it was left out here. A forked or pickled copy begins
    empty: descriptors are never shared between processes.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._held: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()
        self._checked: dict[Path, tuple[int, int]] = {}  # size and time of writing of what was found right

    def open(self, path: Path, check: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.uint8] | None:
        """Bytes of a file, ``[n]``; None where there is no file.

        ``check`` sees them before anybody else does, once in a process unless it refuses them or the file is replaced.
        """
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            held = self._held.get(path)
            if held is not None:
                self._held.move_to_end(path)
                return held
        # Opened outside of the lock: a slow disk holds up only who waits for this file.
        found = _mapped(path)
        if found is None:
            return None
        held, written = found
        if self._checked.get(path) != written:
            check(held)
        with self._lock:
            self._checked[path] = written
            self._held[path] = held
            while len(self._held) > MAPPED_FILES:
                self._held.popitem(last=False)
        return held

    def close(self) -> None:
        """Let go of all files; the next one asked for is opened again."""
        with self._lock:  # the same one as before: other threads may be reading
            self._held.clear()
            self._checked.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin()


def _mapped(path: Path) -> tuple[NDArray[np.uint8], tuple[int, int]] | None:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
        written = status.st_size, status.st_mtime_ns
        if not status.st_size:  # which cannot be mapped
            return np.zeros(0, np.uint8), written
        return np.frombuffer(mmap.mmap(file, 0, access=mmap.ACCESS_READ), np.uint8), written
    finally:
        os.close(file)
