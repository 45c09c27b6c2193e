"""A long build that may be killed: one writer at a time, and the state that it goes on from."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Keep a second writer of ``target`` away for as long as this one lives, however it ends.

    Raises
    ------
    ValueError
        If another process is writing there.
    """
    lock = target.with_name(f"{target.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{target} is being written by another process; wait for it, or give another path with --to."
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


class Restart:
    """Arrays beside a store under construction, replaced as a whole.

    Parameters
    ----------
    target
        The store.
    identity
        What the arrays belong to: those of another identity are not there.
    """

    def __init__(self, target: Path, identity: str) -> None:
        self.path = target.with_name(f"{target.name}.restart.npz")
        self.identity = identity

    def load(self) -> dict[str, NDArray] | None:
        """The arrays; None where there are none."""
        if not self.path.exists():
            return None
        with np.load(self.path, allow_pickle=False) as held:
            arrays = dict(held)
        return arrays if str(arrays.pop("identity")) == self.identity else None

    def save(self, arrays: Mapping[str, Any]) -> None:
        """Keep arrays in place of those before, whole or not at all."""
        partial = self.path.with_name(f"{self.path.name}.partial")
        with open(partial, "wb") as file:
            np.savez(file, identity=np.array(self.identity), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.path)

    def remove(self) -> None:
        """Nothing is left to go on with."""
        for path in (self.path, self.path.with_name(f"{self.path.name}.partial")):
            path.unlink(missing_ok=True)
