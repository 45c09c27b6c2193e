"""Threads that each do one part of a piece of work with single-threaded arithmetic, instead of one team a product."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def share(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], *, alone: bool = False
) -> list[Result]:
    """Do ``work`` on contiguous parts of ``items``, one for each of torch's threads, and return what each gave.

    Tensor operations on data that fits a cache last some ten microseconds, less than a team of threads takes to
    meet before and after each: here threads meet once, at the end. How items are parted depends on their number and
    that of threads alone, so that sums over the results, taken in order, are the same in each run. Without gradients
    and without autocast; whether tensors are made for inference is as in the calling thread.
    """
    parts = 1 if alone else max(1, min(threads(), len(items)))
    inference = torch.is_inference_mode_enabled()  # known to each thread for itself, as autocast is

    def part(number: int) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return work(items[number * len(items) // parts : (number + 1) * len(items) // parts])

    # A backward pass may be called for under autocast, which would round what the forward pass has not.
    with without_teams(), torch.autocast("cpu", enabled=False):
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
    comes, on the very processors that the threads of :func:`share` want. The team is let go, and the next operation
    outside makes it anew, in some thirty microseconds a member.
    """
    count, outermost = threads(), getattr(_own, "threads", None) is None
    if outermost and count > 1 and not _forked:
        _let_team_go()
    try:
        _own.threads = count
        _set_own_number(1)
        yield
    finally:
        if outermost:
            _own.threads = None
            _set_own_number(count)


def _let_team_go() -> None:
    pause = _pause()
    if pause is not None:
        # omp_pause_soft of OpenMP 5.0; inside a parallel region it would refuse, and nothing be lost
        pause(1)


@cache
def _pause() -> Callable[[int], int] | None:
    """``omp_pause_resource_all`` of the GNU library, if that is the OpenMP of torch.

    There it ends the calling thread's team alone. LLVM's and Intel's would do something to all threads of the process.
    """
    library = _openmp()
    if library is None or hasattr(library, "kmp_set_blocktime"):
        return None
    return getattr(library, "omp_pause_resource_all", None)


def _set_own_number(count: int) -> None:
    """``torch.set_num_threads`` for the calling thread alone.

    Torch keeps the number for each thread, but also tells it to those that ask for it for the first time afterwards:
    a thread that begins while another is at work here would be alone for ever.
    """
    for setter in _setters():
        setter(count)


@cache
def _setters() -> tuple[Callable[[int], Any], ...]:
    library = _openmp()
    if library is None or not hasattr(library, "omp_set_num_threads"):
        return (torch.set_num_threads,)
    # MKL keeps a number of its own. In lower case it is Fortran's, which takes an address.
    of_mkl = getattr(library, "MKL_Set_Num_Threads_Local", None)
    return (library.omp_set_num_threads, *([] if of_mkl is None else [of_mkl]))


@cache
def _openmp() -> ctypes.CDLL | None:
    """What looks a name up in the very libraries that torch is linked with, if its threads are OpenMP's."""
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    return ctypes.CDLL(torch._C.__file__)


_own = threading.local()
# A child has inherited the books of a team whose members it has not: to let them go would wait for ever.
_forked = False
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
                _set_own_number(1)
                everyone.wait()  # no thread begins twice while another has not begun

            list(pool.map(begin, range(threads)))
            _pools[threads] = pool
        return _pools[threads]


def _begin_child() -> None:
    # A forked child has the pools but not their threads, and a lock that another thread may have held, for ever.
    global _lock, _forked
    _lock, _forked = threading.Lock(), True
    _pools.clear()


os.register_at_fork(after_in_child=_begin_child)
