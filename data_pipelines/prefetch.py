"""Batches filled by threads while the one before them is in use."""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from data_pipelines.dataset import WindowDataset
from data_pipelines.ring import Buffer, Ring
from data_pipelines.sea_copy import Crop


@dataclass(frozen=True)
class Request:
    """A batch that will be asked for.

    Attributes
    ----------
    place
        Epoch and position, which tell it from all others.
    windows
        Their numbers in the data set.
    crops
        Cells of each window; None for all of them.
    """

    place: tuple[int, int]
    windows: Sequence[int]
    crops: Sequence[Crop] | None


@dataclass
class _Filling:
    request: Request
    buffer: Buffer
    tasks: list[Future[None]]
    on_device: list[Tensor] = field(default_factory=list)


class Prefetcher:
    """State and forcing of batches, those to come filled ahead in reused memory.

    What a batch holds depends on its request alone, not on threads or on how far they are ahead. Any thread may close
    it: a batch that is being waited for is given first.

    What waits for what on a CUDA device: a copy runs on the prefetcher's own stream, and is begun after the threads
    have filled its pinned buffer, with the batch before it already given. The consumer's current stream waits for the
    event behind the copy, on the device; the consumer itself does not. The copied tensors are recorded on that
    stream, so that their memory is not handed out again while the consumer's work on it is queued; a consumer that
    uses them on yet another stream records them there. A buffer is filled again only after the event behind its copy
    has passed, which is asked for, not waited for: another buffer is taken meanwhile.

    Parameters
    ----------
    dataset
        Not in memory.
    batch_size
        Most windows of a batch.
    cells
        Rows and columns of a window.
    threads
        Each fills one window at a time.
    ahead
        Batches filled beyond the one asked for.
    device
        Where batches go. For a CUDA device the buffers are pinned, and the copy of the next batch runs on a stream of
        its own beside the consumer's work.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        batch_size: int,
        cells: tuple[int, int],
        *,
        threads: int,
        ahead: int,
        device: torch.device,
    ) -> None:
        self._dataset, self._threads, self._ahead, self._device = dataset, threads, ahead, device
        steps, layout = dataset.history + dataset.horizon, dataset.layout
        shapes = [(batch_size, len(part), steps, *cells) for part in (layout.state, layout.forcing)]
        # One is with the consumer, and one is the consumer's while it takes the next.
        self._ring = Ring(shapes, ahead + 2, pinned=device.type == "cuda")
        self._pending: deque[_Filling] = deque()
        self._executor: ThreadPoolExecutor | None = None
        self._process, self._lock = os.getpid(), threading.Lock()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def take(self, coming: Iterator[Request]) -> tuple[Tensor, Tensor]:
        """State ``[B, C, T, rows, columns]`` and forcing ``[B, F, T, rows, columns]`` of the first request.

        Parameters
        ----------
        coming
            The request, and those that will follow it.

        Raises
        ------
        ValueError
            What reading one of its windows raised; a window further ahead raises when its batch is asked for.
        """
        if self._process != os.getpid():  # threads do not follow into a forked process
            self._pending.clear()
            self._executor, self._process = None, os.getpid()
            self._lock = threading.Lock()  # which another thread may have held there
        with self._lock:
            for number in range(self._ahead + 1):
                request = next(coming)
                if number < len(self._pending) and self._pending[number].request.place != request.place:
                    self._forget(number)  # the consumer went elsewhere
                if number == len(self._pending):
                    self._pending.append(self._begin(request))
            first = self._pending[0]
            try:
                for task in first.tasks:
                    task.result()
            except Exception:
                self._forget(0)
                raise
            self._pending.popleft()
            given = self._given(first)
            if self._pending and all(task.done() and not task.exception() for task in self._pending[0].tasks):
                self._begin_copy(self._pending[0])
            return given[0], given[1]

    def close(self) -> None:
        """End the threads, and let go of what they filled."""
        if self._process != os.getpid():
            return  # the threads are another process's
        with self._lock:
            self._forget(0)
            if self._executor is not None:
                self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def _begin(self, request: Request) -> _Filling:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="windows")
        buffer = self._ring.take()
        crops: Sequence[Any] = request.crops or [None] * len(request.windows)
        tasks = [
            self._executor.submit(
                self._dataset.fill, window, buffer.arrays[0][row], buffer.arrays[1][row], crops[row]
            )
            for row, window in enumerate(request.windows)
        ]
        return _Filling(request, buffer, tasks)

    def _forget(self, number: int) -> None:
        """Give up what was begun from a place on; its memory is not used again, a thread may still write to it."""
        while len(self._pending) > number:
            for task in self._pending.pop().tasks:
                task.cancel()

    def _given(self, filling: _Filling) -> list[Tensor]:
        count, buffer = len(filling.request.windows), filling.buffer
        if self._stream is None:
            given = buffer.lend(count)
        else:
            self._begin_copy(filling)
            given = filling.on_device
            consumer = torch.cuda.current_stream(self._device)
            consumer.wait_event(buffer.copied)
            for tensor in given:
                tensor.record_stream(consumer)  # its memory was allocated on the other stream
        self._ring.give_back(buffer)
        return given

    def _begin_copy(self, filling: _Filling) -> None:
        """Start the copy to a CUDA device, unless it has been started."""
        if self._stream is None or filling.on_device:
            return
        count, buffer = len(filling.request.windows), filling.buffer
        with torch.cuda.stream(self._stream):
            filling.on_device = [
                tensor[:count].to(self._device, non_blocking=True) for tensor in buffer.tensors
            ]
            buffer.copied = torch.cuda.Event()
            buffer.copied.record(self._stream)
