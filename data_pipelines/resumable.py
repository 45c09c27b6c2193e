"""A long build that may be killed: one writer at a time, and the state that it goes on from."""

import datetime
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

HEARTBEAT = 20.0  # s between two signs of life of a writer
SILENCE = 6 * HEARTBEAT  # s: a writer on another machine without a sign of life for so long is taken for dead


@contextmanager
def sole_writer(target: Path) -> Iterator[None]:
    """Keep a second writer of ``target`` away for as long as this one lives, however it ends.

    On one machine the kernel tells whether a writer lives; of one on another machine the lock file tells host, process
    and, by the time it was last touched, its last sign of life.

    Raises
    ------
    ValueError
        If another process is writing there.
    """
    lock = target.with_name(f"{target.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with _taken(lock, target) as file:
        ended = threading.Event()
        beat = threading.Thread(target=_beat, args=(file.fileno(), ended), daemon=True)
        beat.start()
        try:
            yield
        finally:
            ended.set()
            beat.join()
            lock.unlink(missing_ok=True)


@contextmanager
def told_when_full(target: Path) -> Iterator[None]:
    """Say of a full disk what to do about it, whoever met it: a worker, the ledger or the metadata.

    Raises
    ------
    ValueError
        If the disk, or what its user may take of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"{target}: the disk is full; free some of it. The same command goes on with what is missing."
        ) from error


def _taken(lock: Path, target: Path) -> IO[str]:
    """The lock file, locked and with this process's name in it."""
    while True:
        file = open(lock, "a+")  # noqa: SIM115 - handed on
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(file)
            file.close()
            raise _occupied(target, holder) from None
        if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            break
        file.close()  # its writer ended, and removed it, between the two lines above
    holder = _holder(file)
    silent = time.time() - os.fstat(file.fileno()).st_mtime
    if holder and holder["host"] != socket.gethostname() and silent < SILENCE:
        file.close()
        raise _occupied(target, holder)
    file.truncate(0)
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    json.dump({"host": socket.gethostname(), "process": os.getpid(), "started": started}, file)
    file.flush()
    return file


def _holder(file: IO[str]) -> dict[str, Any]:
    """Who wrote a lock file; empty where it does not say."""
    file.seek(0)
    try:
        held = json.load(file)
    except ValueError:
        return {}
    return held if isinstance(held, dict) and {"host", "process", "started"} <= held.keys() else {}


def _occupied(target: Path, holder: Mapping[str, Any]) -> ValueError:
    who = f" (process {holder['process']} on {holder['host']}, since {holder['started']})" if holder else ""
    return ValueError(
        f"{target} is being written by another process; wait for it{who}, or give another path with --to."
    )


def _beat(file: int, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        os.utime(file)


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
