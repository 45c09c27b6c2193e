"""Batches read ahead by threads: the same as without, kept as long as one likes, and in memory that is used again."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import data_pipelines.dataset
from data_pipelines import Batch, WindowDataset, WindowLoader, open_store
from data_pipelines.ring import Ring
from data_pipelines.sea_copy import SeaCopy

PARTS = ("history", "forcing", "target")


@pytest.fixture(scope="module")
def held(coarse_store: Path) -> WindowDataset:
    return WindowDataset(coarse_store, history=3, horizon=2, split="train")  # 43 windows


@pytest.fixture(scope="module")
def streamed(coarse_store: Path) -> WindowDataset:
    with pytest.MonkeyPatch.context() as context:
        context.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)
        return WindowDataset(coarse_store, history=3, horizon=2, split="train")


def over_epochs(loader: WindowLoader, count: int) -> list[Batch]:
    return list(islice((batch for _ in range(count) for batch in loader), count))


def same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.start, b.start)
        for name in PARTS:
            assert torch.equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (2, 2), (3, 7)])
def test_batches_read_ahead_are_those_of_memory_over_epochs(
    threads: int, ahead: int, held: WindowDataset, streamed: WindowDataset
) -> None:
    """All 25 are kept: none of them may become another one while later ones are filled."""
    loader = WindowLoader(streamed, 4, 3, threads=threads, ahead=ahead)
    same(over_epochs(loader, 25), over_epochs(WindowLoader(held, 4, 3), 25))
    assert (loader.epoch, loader.position) == (2, 5)
    loader.close()


@pytest.mark.parametrize("stop", [1, 9, 10, 13])
def test_a_stopped_loader_goes_on_after_the_last_batch_given(
    stop: int, held: WindowDataset, streamed: WindowDataset
) -> None:
    """Not after the last one that its threads have read; in another process, and in this one."""
    expected = over_epochs(WindowLoader(held, 4, 3), 20)
    stopped = WindowLoader(streamed, 4, 3)
    before = over_epochs(stopped, stop)
    resumed = WindowLoader(streamed, 4, 3, threads=1, ahead=3)
    over_epochs(resumed, 2)  # what it has read ahead is of no use any more
    resumed.load_state_dict(stopped.state_dict())
    same(before + over_epochs(resumed, 20 - stop), expected)
    stopped.close()  # and begins again where it is asked
    same(before + over_epochs(stopped, 20 - stop), expected)
    resumed.close()
    stopped.close()


def test_memory_is_used_again_when_nothing_refers_to_it(streamed: WindowDataset) -> None:
    loader = WindowLoader(streamed, 4, 0, ahead=2)
    places = [batch.forcing.data_ptr() for _ in range(3) for batch in loader]
    assert len(places) == 30
    assert len(set(places)) <= 4  # one in use, one to come, two ahead
    loader.close()


def test_a_buffer_is_not_free_while_a_part_of_a_part_is_alive() -> None:
    ring = Ring([(2, 3, 4)], 2)
    buffer = ring.take()
    (lent,) = buffer.lend(1)
    ring.give_back(buffer)
    part = lent[0, 1:].T.requires_grad_().square().sum()  # its slope needs the values
    del lent
    assert ring.take() is not buffer
    del part
    assert ring.take() is buffer


def test_what_a_thread_finds_is_told_to_who_asks_for_that_batch(
    coarse_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)
    ds = open_store(coarse_store).load()
    ds["vo"][30, 20, 20] = np.nan
    assert ds["mask"][20, 20] == 1
    loader = WindowLoader(WindowDataset(ds, 3, 2, "train"), 4, 0, shuffle=False, ahead=7)
    seen: list[np.datetime64] = []
    for _ in range(2):  # asked again, it is told again
        with pytest.raises(
            ValueError, match=r"state 'vo' is missing at 2015-11-17T06:00:00 on 1 of 2440 ocean"
        ):
            seen.extend(batch.start[0] for batch in loader)
    # Windows 26 to 30 hold step 30; batches of four before the one with window 26 were given, once each.
    assert [str(start)[:13] for start in seen] == [
        "2015-11-16T02",
        "2015-11-16T06",
        "2015-11-16T10",
        "2015-11-16T14",
        "2015-11-16T18",
        "2015-11-16T22",
    ]
    loader.close()


def test_a_forked_process_opens_files_and_starts_threads_of_its_own(
    held: WindowDataset, streamed: WindowDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, expected = WindowLoader(streamed, 4, 3), over_epochs(WindowLoader(held, 4, 3), 8)
    before = over_epochs(loader, 4)
    maps, executor = streamed._streamed._maps, loader._prefetcher._executor
    opened = dict(maps._held)
    with monkeypatch.context() as context:
        context.setattr(os, "getpid", lambda: -1)
        same(before + over_epochs(loader, 4), expected)
        assert loader._prefetcher._executor is not executor
        assert opened.keys() == maps._held.keys()
        assert not any(maps._held[path] is data for path, data in opened.items())
        loader.close()
    executor.shutdown()


def test_any_thread_may_close_a_loader_that_goes_on(held: WindowDataset, streamed: WindowDataset) -> None:
    loader, ended = WindowLoader(streamed, 4, 3), threading.Event()

    def close_again_and_again() -> None:
        while not ended.is_set():
            loader.close()

    with ThreadPoolExecutor(1) as other:
        closing = other.submit(close_again_and_again)
        try:
            same(over_epochs(loader, 100), over_epochs(WindowLoader(held, 4, 3), 100))
        finally:
            ended.set()
        closing.result()
    loader.close()


def test_steps_with_holes_are_not_taken_for_whole_ones_because_another_thread_looks_at_its_own() -> None:
    class Interrupted(SeaCopy):
        """Another thread finds its own steps whole whenever this one has found a hole."""

        @property
        def _has_holes(self) -> bool:
            return False

        @_has_holes.setter
        def _has_holes(self, value: bool) -> None:
            pass

    fields = np.ones((1, 1, 2, 3), np.float32)
    copy = Interrupted(np.ones((2, 3), bool), keep_land=True)
    assert copy.is_whole(fields, 0)
    fields[0, 0, 1, 1] = np.nan
    assert not copy.is_whole(fields, 0)


def placed(batches: list[Batch]) -> dict[np.datetime64, tuple[int, int]]:
    """Where each window was cut."""
    return {
        start: (int(row), int(column))
        for batch in batches
        for start, row, column in zip(batch.start, batch.rows, batch.columns, strict=True)
    }


def test_crops_are_cut_from_the_same_windows_wherever_they_are_read(
    held: WindowDataset, streamed: WindowDataset
) -> None:
    whole = {batch.start[0]: batch for _ in range(2) for batch in [*WindowLoader(held, 1, 5)]}
    loader = WindowLoader(streamed, 4, 5, crop=(9, 14))
    batches = over_epochs(loader, 10)
    loader.close()
    same(batches, over_epochs(WindowLoader(held, 4, 5, crop=(9, 14)), 10))
    for batch in batches:
        assert batch.history.shape == (4, 2, 3, 9, 14)
        for number, (start, (row, column)) in enumerate(placed([batch]).items()):
            cells = (slice(row, row + 9), slice(column, column + 14))
            assert held.grid.mask[cells].any()
            for name in PARTS:
                assert torch.equal(
                    getattr(batch, name)[number], getattr(whole[start], name)[0][(..., *cells)]
                )


def test_a_window_is_cut_at_one_place_in_an_epoch_and_at_another_in_the_next(held: WindowDataset) -> None:
    one = WindowLoader(held, 4, 5, crop=(9, 14))
    first, second = placed(list(one)), placed(list(one))
    ranks = [WindowLoader(held, 4, 5, rank, 2, crop=(9, 14)) for rank in range(2)]
    shared = placed([batch for loader in ranks for batch in loader])
    assert len(shared.keys() & first.keys()) >= 36  # of 43 windows, 40 are used in the one way and the other
    assert all(first[start] == shared[start] for start in shared.keys() & first.keys())
    assert sum(first[start] != second[start] for start in second.keys() & first.keys()) > 30


def test_requests_that_cannot_be_met_are_refused(held: WindowDataset) -> None:
    with pytest.raises(ValueError, match="a crop of 51 x 3 cells does not fit the grid of 50 x 75"):
        WindowLoader(held, 4, 0, crop=(51, 3))
    with pytest.raises(ValueError, match="0 threads read 2 batches ahead; both need to be at least 1"):
        WindowLoader(held, 4, 0, threads=0)
    state = WindowLoader(held, 4, 0).state_dict()
    with pytest.raises(ValueError, match=r"saved loader has crop None, this one \[9, 9\]"):
        WindowLoader(held, 4, 0, crop=(9, 9)).load_state_dict(state)
    with pytest.raises(ValueError, match=r"saved loader has crop \[9, 9\], this one None"):
        WindowLoader(held, 4, 0).load_state_dict(WindowLoader(held, 4, 0, crop=(9, 9)).state_dict())
