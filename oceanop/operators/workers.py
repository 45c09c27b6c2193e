"""Threads that each do one part of a piece of work with single-threaded arithmetic, instead of one team a product."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2:
        with torch.no_grad():
            return [work(items)]

    def part(number: int) -> Result:
        with torch.no_grad():
            return work(items[number * len(items) // threads : (number + 1) * len(items) // threads])

    return list(_pool(threads).map(part, range(threads)))


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
