"""Compiled passes: the same numbers as plain array operations, whatever the length and whatever is missing."""

import os
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.engine import shards
from data_pipelines.passes import change_sums, find_values, mark_missing, sums, unshuffle
from data_pipelines.statistics import Moments

LENGTHS = (1, 31, 32, 1000)  # below, at and above the lanes that sums are kept in


@pytest.mark.parametrize("length", LENGTHS)
def test_shuffled_bytes_come_back_to_their_numbers(length: int) -> None:
    numbers = np.random.default_rng(0).normal(size=length).astype(np.float32)
    shuffled = np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, 4).T).reshape(-1)
    out = np.empty_like(numbers)
    unshuffle(shuffled, out)
    np.testing.assert_array_equal(out, numbers)
    mark_missing(out, float(numbers[0]))
    np.testing.assert_array_equal(out, np.where(numbers == numbers[0], np.nan, numbers))


def test_values_are_found_where_they_are_finite() -> None:
    block = np.random.default_rng(1).normal(size=(5, 2, 3, 7)).astype(np.float32)
    block[block > 1], block[block < -1] = np.nan, np.inf
    always, ever = np.ones((2, 3, 7), bool), np.zeros((2, 3, 7), bool)
    find_values(block[:, :, ::-1], always, ever)  # as a file that begins in the north is read
    np.testing.assert_array_equal(always, np.isfinite(block[:, :, ::-1]).all(0))
    np.testing.assert_array_equal(ever, np.isfinite(block[:, :, ::-1]).any(0))


@pytest.mark.parametrize("length", LENGTHS)
def test_sums_are_those_of_array_operations(length: int) -> None:
    draw = np.random.default_rng(2)
    now, before = draw.normal(3, 2, (2, length)).astype(np.float32)
    cells = draw.random(length) < 0.7
    cells[0] = True
    now[~cells] = np.nan  # land
    values = now[cells].astype(np.float64)
    for found, expected, about in (
        (sums(now, cells, 2.5), values, 2.5),
        (change_sums(now, before, cells, 0.0), values - before[cells], 0.0),
    ):
        shifted = expected - about
        # The order of at most 1000 additions differs
        np.testing.assert_allclose(found[:2], [shifted.sum(), (shifted**2).sum()], rtol=1e-13, atol=1e-12)
        assert found[2:] == (expected.min(), expected.max())


@pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (101325.0, 0.05), (-1e-6, 1e-9), (35.0, 0.0)])
def test_moments_keep_their_digits_far_from_zero(mean: float, spread: float) -> None:
    draw = np.random.default_rng(3)
    now = draw.normal(mean, spread, 4000).astype(np.float32)
    cells = np.ones(4000, bool)
    now[7], now[11] = np.nan, np.inf  # are left out
    exact = now[np.isfinite(now)].astype(np.float64)
    for about in (0.0, mean, 2 * mean + 1):
        found = Moments.of(now, cells, about=about)
        assert found.count == 3998
        assert found.mean == pytest.approx(exact.mean(), rel=1e-13, abs=1e-15)
        # Of the distance between a guess and the mean, at most one rounding is left in each deviation
        assert found.std == pytest.approx(exact.std(), rel=1e-12, abs=abs(mean) * 1e-15)
        assert (found.low, found.high) == (exact.min(), exact.max())


def test_a_file_is_the_same_past_the_page_cache_and_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 4096, 9000):
        padded = np.random.default_rng(4).integers(0, 255, -(-size // 4096) * 4096, dtype=np.uint8)
        memory = shards.Room().of(size)
        memory[:] = padded
        shards.write_down(tmp_path / "past", memory, size)
        with monkeypatch.context() as patched:
            patched.setattr(shards, "_PAST_CACHE", 0)
            shards.write_down(tmp_path / "through", memory, size)
        for name in ("past", "through"):
            assert (tmp_path / name).read_bytes() == padded[:size].tobytes()


def test_a_file_system_that_must_cache_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open

    def refusing(path: Path, flags: int, mode: int) -> int:
        if flags & 1 << 30:
            raise OSError(22, "Invalid argument")
        return really(path, flags, mode)

    monkeypatch.setattr(shards, "_PAST_CACHE", 1 << 30)
    monkeypatch.setattr(shards.os, "open", refusing)
    memory = shards.Room().of(10)
    memory[:10] = range(10)
    shards.write_down(tmp_path / "file", memory, 10)
    assert (tmp_path / "file").read_bytes() == bytes(range(10))
