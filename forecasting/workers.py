"""Work that is shared among processes, here or on a Dask cluster, and comes back in the order it was given."""

import pickle
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, Protocol
from uuid import uuid4

import torch

AHEAD = 2  # pieces of work by process that are begun before the first is taken: what is done waits in memory
PATIENCE = "10s"  # for a scheduler to answer

_held = threading.local()
_sent: dict[str, bytes] = {}


class Job(Protocol):
    """What can be sent to another process and works there."""

    def work(self, item: Any) -> Any:
        """Do one piece."""
        ...


def share(job: Job, items: Sequence[Any], workers: int | str = 1) -> Iterator[Any]:
    """What ``job.work(item)`` gives for each of some items, in their order.

    Parameters
    ----------
    job
        Sent to every worker once; each thread that works has its own.
    items
        Sent one by one.
    workers
        1 works in this process; a number has as many processes started; the address of a Dask scheduler, as
        ``tcp://HOST:PORT``, has its workers work, which must see the same files and have the same package.

    Raises
    ------
    ValueError
        If that is neither a number of processes nor an address, no scheduler answers there, or a worker was killed.
    """
    number = _number(workers)
    if number == 1:
        for item in items:
            yield job.work(item)
        return
    payload, key = pickle.dumps(job), uuid4().hex
    with ExitStack() as stack:
        submit, number = (_cluster if number is None else _pool)(stack, workers, key, payload)
        waiting: deque[Any] = deque()
        try:
            for item in items:
                waiting.append(submit(item))
                if len(waiting) > AHEAD * number:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise ValueError(
                "a worker process was killed, most likely because memory ran out; allow less memory or fewer workers."
            ) from None


Submit = Callable[[Any], Any]  # gives a future


def _pool(stack: ExitStack, workers: Any, key: str, payload: bytes) -> tuple[Submit, int]:
    # Forked, a process would hold copies of locks that other threads of this one have taken
    pool = ProcessPoolExecutor(
        int(workers), mp_context=get_context("spawn"), initializer=_install, initargs=(key, payload)
    )
    stack.callback(pool.shutdown, cancel_futures=True)
    return (lambda item: pool.submit(_work, key, None, item)), int(workers)


def _cluster(stack: ExitStack, workers: Any, key: str, payload: bytes) -> tuple[Submit, int]:
    from distributed import Client

    try:
        client = stack.enter_context(Client(str(workers), timeout=PATIENCE, set_as_default=False))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at '{workers}' ({str(error).splitlines()[0]}); give its address, as "
            "tcp://HOST:PORT, or a number of processes."
        ) from None
    threads = sum(client.nthreads().values())
    if not threads:
        raise ValueError(
            f"the Dask scheduler at '{workers}' has no worker; start some, as 'dask worker' does."
        )
    sent = client.scatter(payload, broadcast=True, hash=False)
    return (lambda item: client.submit(_work, key, sent, item, pure=False)), threads


def _number(workers: int | str) -> int | None:
    """Number of processes; None where it is an address."""
    words = str(workers).strip()
    if "://" in words or ":" in words:
        return None
    if not words.isdecimal() or int(words) < 1:
        raise ValueError(
            f"workers is '{workers}'; give a number of processes from 1, or the address of a Dask scheduler, as "
            "tcp://HOST:PORT."
        )
    return int(words)


def _install(key: str, payload: bytes) -> None:
    """In a process that was started: keep what is to work."""
    _sent[key] = payload


def _work(key: str, payload: bytes | None, item: Any) -> Any:
    """In a worker: its thread's own job, unpacked at its first item, does one."""
    if getattr(_held, "key", None) != key:
        torch.set_num_threads(1)  # there are as many processes as are wanted
        _held.job, _held.key = pickle.loads(_sent[key] if payload is None else payload), key
    return _held.job.work(item)
