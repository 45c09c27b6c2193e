"""How a store is cut: whole fields in files of some megabytes, and the same numbers in each profile."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from data_pipelines import open_store, read_statistics, save_store
from data_pipelines.profiles import COMPACT, FAST, PROFILES, block_steps, profile_named, profile_of

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize(
    ("shape", "chunk", "shard"),
    [
        ((1608, 200, 300), 4, 96),
        ((7, 200, 300), 4, 8),  # no more chunks than the series fills
        ((3, 200, 300), 3, 3),
        ((1608, 12, 200, 300), 2, 22),  # a chunk stays under 8 MiB, a shard under 64 MiB
        ((1608, 40, 1000, 1000), 1, 1),  # a field beyond every bound is one chunk, one shard
        ((0, 2, 3), 1, 1),
    ],
)
def test_compact_files_are_bounded_in_steps_and_bytes(shape: tuple[int, ...], chunk: int, shard: int) -> None:
    keywords = COMPACT.keywords(shape, FLOAT)
    assert keywords["chunks"] == (chunk, *shape[1:])
    assert keywords["shards"] == (shard, *shape[1:])


@pytest.mark.parametrize(
    ("shape", "chunk"), [((1608, 200, 300), 34), ((9, 200, 300), 9), ((9, 40, 999, 999), 1)]
)
def test_fast_files_hold_up_to_eight_megabytes(shape: tuple[int, ...], chunk: int) -> None:
    keywords = FAST.keywords(shape, FLOAT)
    assert keywords["chunks"] == (chunk, *shape[1:])
    assert keywords["shards"] is None


def test_a_fast_chunk_is_a_plain_array_and_four_bytes(coarse_store: Path) -> None:
    array = zarr.open_array(coarse_store / "uo", mode="r")
    held = np.fromfile(coarse_store / "uo/c/0/0/0", np.uint8)
    assert held.size == 4 * int(np.prod(array.chunks)) + 4
    np.testing.assert_array_equal(held[:-4].view("<f4").reshape(array.chunks), array[: array.chunks[0]])


def test_a_compact_store_is_smaller_and_the_same(coarse_store: Path, tmp_path: Path) -> None:
    ds = open_store(coarse_store)
    compact = save_store(ds, tmp_path / "compact.zarr", profile="compact")
    array = zarr.open_array(compact / "uo", mode="r")
    assert profile_of(array) == "compact"
    assert profile_of(zarr.open_array(coarse_store / "uo", mode="r")) == "fast"
    assert profile_of(zarr.create_array({}, shape=(3, 2, 2), dtype="f4")) is None
    assert (array.chunks[0], block_steps(array)) == (4, 68)  # 67 hours
    xr.testing.assert_identical(open_store(compact).drop_attrs(), ds.drop_attrs())
    xr.testing.assert_equal(read_statistics(compact), read_statistics(coarse_store))

    def size(store: Path) -> int:
        return sum(file.stat().st_size for file in (store / "uo").rglob("*") if file.is_file())

    # Full mantissas that means of cells have leave their exponents to squeeze: it is 0.74 here.
    assert size(compact) < 0.8 * size(coarse_store)


def test_an_unknown_profile_is_refused(coarse_store: Path, tmp_path: Path) -> None:
    assert profile_named("fast") is FAST
    assert list(PROFILES) == ["fast", "compact"]
    with pytest.raises(ValueError, match="profile 'small' is none of fast, compact: fast is read at"):
        save_store(open_store(coarse_store), tmp_path / "s.zarr", profile="small")
    assert not (tmp_path / "s.zarr").exists()
