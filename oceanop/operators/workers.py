"""Threads that each do one part of a piece of work with single-threaded arithmetic, instead of one team a product."""

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def share(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Do ``work`` on contiguous parts of ``items``, one for each of torch's threads, and return what each gave.

    Tensor operations on data that fits a cache last some ten microseconds, less than a team of threads takes to
    meet before and after each: here threads meet once, at the end. How items are parted depends on their number and
    that of threads alone, so that sums over the results, taken in order, are the same in each run. Without gradients.
    """
    parts = max(1, min(threads(), len(items)))

    def part(number: int) -> Result:
        with torch.no_grad():
            return work(items[number * len(items) // parts : (number + 1) * len(items) // parts])

    with without_teams():
        # The caller is one of the threads: to wake another costs more than a small part of the work.
        others = [_pool(parts - 1).submit(part, number) for number in range(1, parts)]
        try:
            return [part(0), *(other.result() for other in others)]
        finally:
            wait(others)  # what one part failed with is raised when no other writes any more


def threads() -> int:
    """How many threads :func:`share` uses: torch's own number, outside of :func:`without_teams`."""
    return getattr(_own, "threads", None) or torch.get_num_threads()


@contextmanager
def without_teams() -> Iterator[None]:
    """Torch's own operations in the calling thread by this thread alone; :func:`share` keeps all.

    After an operation by a team of threads, its idle members spin for some ten milliseconds in case that another one
    comes, on the very processors that the threads of :func:`share` want. The team is let go, and made anew, in some
    ten microseconds, by the next operation outside.
    """
    count, outermost = threads(), getattr(_own, "threads", None) is None
    if outermost and count > 1:
        _let_team_go()
    torch.set_num_threads(1)
    _own.threads = count
    try:
        yield
    finally:
        if outermost:
            _own.threads = None
            torch.set_num_threads(count)


def _let_team_go() -> None:
    pause = _pause()
    if pause is not None:
        pause(
            1
        )  # omp_pause_soft of OpenMP 5.0; inside a parallel region it would refuse, and nothing be lost


@cache
def _pause() -> Callable[[int], int] | None:
    """``omp_pause_resource_all`` of the GNU library that torch came with, if it did: others spin less by default."""
    try:
        mapped = Path("/proc/self/maps").read_text()
    except OSError:  # not Linux
        return None
    found = re.search(r"/\S*libgomp[-.]\S*", mapped)
    return getattr(ctypes.CDLL(found[0]), "omp_pause_resource_all", None) if found else None


_own = threading.local()
_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch's own arithmetic is single-threaded."""
    with _lock:
        if threads not in _pools:
            pool = ThreadPoolExecutor(threads, thread_name_prefix="oceanop-operator")
            everyone = threading.Barrier(threads)

            def begin(_: int) -> None:
                torch.get_num_threads()  # a thread's first look at the number would overwrite what is set before
                torch.set_num_threads(1)
                everyone.wait()  # no thread begins twice while another has not begun

            callers = torch.get_num_threads()
            list(pool.map(begin, range(threads)))
            # Torch keeps the number for each thread, but what later threads begin with for the whole process.
            torch.set_num_threads(callers)
            _pools[threads] = pool
        return _pools[threads]


# A forked child has the pools but not their threads.
os.register_at_fork(after_in_child=_pools.clear)
