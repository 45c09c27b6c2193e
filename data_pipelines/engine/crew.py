"""Who does the tasks: this process, others of this machine, or a Dask cluster; no more at once than memory allows."""

import contextlib
import functools
import multiprocessing
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import xarray as xr

PROCESS_BYTES = (
    440 * 2**20
)  # that a worker takes before its first task: Python, its libraries and compiled passes, headers of the files
DEFAULT_MEMORY = 4 * 2**30  # bytes of all workers together
OPEN_FILES = 4  # kept open by a process; each holds the chunks that it read last

Work = Callable[[Any, Any], list[Any]]  # (what all tasks share, a task) -> lines of the ledger
# Submits a task; waits for one of those that were submitted.
Submit = Callable[[Any], Any]
Await = Callable[[set[Any]], tuple[set[Any], set[Any]]]


class Crew:
    """Workers that share the tasks of a build.

    Parameters
    ----------
    workers
        1 works in this process; more are processes of their own; text is the address of a Dask scheduler, whose workers
        see the same files.
    memory
        Bytes that all may take together.
    needed
        Bytes that one task needs at most.
    folder
        Where what all tasks share is laid down for other processes.

    Raises
    ------
    ValueError
        If not even one task fits into the memory.
    """

    def __init__(self, workers: int | str, memory: int, needed: int, folder: Path) -> None:
        self.workers, self.folder = workers, folder
        alone = PROCESS_BYTES + needed
        if memory < alone:
            raise ValueError(
                f"a memory of {memory / 1e9:.2f} GB is too little: one block of fields needs {alone / 1e9:.2f} GB; "
                "give --memory of at least that, or a smaller --region."
            )
        if isinstance(workers, int):
            # This process and every worker hold their libraries; each worker a task.
            most = max(1, int((memory - PROCESS_BYTES) // (PROCESS_BYTES + needed)))
            self.workers = self.at_once = min(workers, most)
        else:
            self.at_once = max(1, int((memory - PROCESS_BYTES) // needed))
        self._stack = contextlib.ExitStack()
        self._executor: Any = None

    def __enter__(self) -> "Crew":
        for left in [*self.folder.glob("shared-*.pickle"), *self.folder.glob("masks/*.partial")]:
            left.unlink(missing_ok=True)  # by a build that was killed
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def do(self, work: Work, site: Any, tasks: Iterable[Any]) -> Iterator[tuple[Any, list[Any]]]:
        """Each task with what it gave, in the order in which they end.

        Raises
        ------
        ValueError
            What the first task that failed says; or that a worker died.
        """
        waiting = list(tasks)
        if not waiting:
            return
        try:
            if self.workers == 1:
                for task in waiting:
                    yield task, work(site, task)
            else:
                yield from self._shared(work, site, waiting)
        except BrokenProcessPool as error:
            raise ValueError(
                "a worker was killed, as the system does with one that takes too much memory; give fewer --workers or "
                "less --memory. The same command goes on with what is missing."
            ) from error

    def _shared(self, work: Work, site: Any, tasks: Sequence[Any]) -> Iterator[tuple[Any, list[Any]]]:
        laid = self.folder / f"shared-{uuid.uuid4().hex}.pickle"
        laid.parent.mkdir(parents=True, exist_ok=True)
        laid.write_bytes(pickle.dumps(site))
        try:
            submit, await_some = (
                self._pool(work, laid) if isinstance(self.workers, int) else self._cluster(work, laid)
            )
            running: dict[Any, Any] = {}
            left = iter(tasks)
            try:
                while True:
                    for task in left:
                        running[submit(task)] = task
                        if len(running) >= self.at_once:
                            break
                    if not running:
                        return
                    for done in await_some(set(running))[0]:
                        yield running.pop(done), done.result()
            finally:
                for future in running:
                    future.cancel()
        finally:
            laid.unlink(missing_ok=True)

    def _pool(self, work: Work, laid: Path) -> tuple[Submit, Await]:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.at_once, mp_context=worker_context(), initializer=_become_worker, initargs=(os.getpid(),)
            )
        submit = functools.partial(self._executor.submit, _work_on, work, str(laid))
        return submit, lambda futures: wait(futures, return_when=FIRST_COMPLETED)

    def _cluster(self, work: Work, laid: Path) -> tuple[Submit, Await]:
        import distributed

        if self._executor is None:
            try:
                self._executor = self._stack.enter_context(distributed.Client(self.workers, timeout="10s"))
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"no Dask scheduler answers at {self.workers}; start one ('dask scheduler'), or give a number of "
                    "workers."
                ) from error
        submit = functools.partial(self._executor.submit, _work_on, work, str(laid.absolute()), pure=False)
        return submit, lambda futures: distributed.wait(futures, return_when="FIRST_COMPLETED")


def worker_context() -> ForkServerContext:
    """How workers are started: one process imports the libraries, and they are forked from it, which opens no file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data_pipelines.engine.tasks"])
    return context


def default_workers(work_bytes: int) -> int:
    """As many as there are processors, and no more than have half a gigabyte of fields to do: a start costs seconds."""
    return max(1, min(len(os.sched_getaffinity(0)), work_bytes // 2**29))


def _work_on(work: Work, laid: str, task: Any) -> list[Any]:
    with xr.set_options(file_cache_maxsize=OPEN_FILES):
        return work(_shared_by(laid), task)


@functools.lru_cache(maxsize=1)
def _shared_by(laid: str) -> Any:
    return pickle.loads(Path(laid).read_bytes())


def _become_worker(parent: int) -> None:
    """End with the process that began the build, even if that is killed."""
    forked_from = os.getppid()

    def watch() -> None:
        while os.getppid() == forked_from and _lives(parent):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
