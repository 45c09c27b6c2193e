"""A store too large for memory: whatever its files, windows are what xarray reads, or one is told why not."""

import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

import data_pipelines.dataset
from data_pipelines import WindowDataset, open_store
from data_pipelines.maps import MAPPED_FILES, Maps
from data_pipelines.profiles import FAST, Profile
from data_pipelines.store import StoreWriter, commit
from data_pipelines.stored_fields import LabelledFields, MappedFields, ShardedFields
from oceanop.layout import Channel, Layout

STEPS, MEMBERS, DEPTHS, ROWS, COLUMNS = 23, 2, 3, 5, 7
PROFILES = {
    "fast": (FAST, MappedFields),
    "compact": (Profile("compact", chunk_steps=4, shard_steps=8), ShardedFields),
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in memory, and files hold five steps of a plane."""
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)


@pytest.fixture
def make_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writer of a store of random numbers with members, depths, land below the top, and NaN there."""

    def write(profile: Profile = FAST, name: str = "sea.zarr") -> Path:
        if profile is FAST:  # five steps of a field with all that a step has
            monkeypatch.setattr(
                "data_pipelines.profiles.CHUNK_BYTES", 4 * 5 * MEMBERS * DEPTHS * ROWS * COLUMNS
            )
        random = np.random.default_rng(0)
        mask = np.ones((DEPTHS, ROWS, COLUMNS), np.int8)
        mask[:, 0, :2] = 0
        mask[1:, 3] = 0
        dims = {
            "zos": ("member", "y", "x"),
            "thetao": ("member", "depth", "y", "x"),
            "uo": ("depth", "y", "x"),
            "u10": ("y", "x"),
        }
        sizes = {"member": MEMBERS, "depth": DEPTHS, "y": ROWS, "x": COLUMNS}
        place = np.zeros((ROWS, COLUMNS))
        writer = StoreWriter(
            tmp_path / name,
            coordinates=xr.Dataset(
                {"mask": (("depth", "y", "x"), mask), "cell_area": (("y", "x"), place + 1.0)},
                coords={
                    "latitude": (("y", "x"), place + np.linspace(50, 51, ROWS)[:, None]),
                    "longitude": (("y", "x"), place + np.linspace(0, 1, COLUMNS)),
                    "member": ("member", np.arange(MEMBERS)),
                },
            ),
            times=np.datetime64("2020-01-01", "ns") + np.arange(STEPS) * np.timedelta64(3600 * 10**9, "ns"),
            depths=np.array([0.0, 10.0, 50.0]),
            variables={key: (value, {}) for key, value in dims.items()},
            attributes={"splits": json.dumps({"train": ["2020-01-01T00:00:00", "2020-01-01T22:00:00"]})},
            profile=profile,
        )
        for key, value in dims.items():
            values = random.normal(size=(STEPS, *(sizes[dim] for dim in value))).astype(np.float32)
            values[..., 0, 0] = np.nan  # on land; other land keeps what it holds
            writer.write(key, 0, values)
        return writer.finish()

    return write


def same(one: WindowDataset, other: WindowDataset) -> None:
    """Also the second time, when steps are known to be whole."""
    assert len(one) == len(other) > 0
    for index in [*range(len(one))] * 2:
        for name in ("history", "forcing", "target"):
            a, b = getattr(one[index], name).numpy(), getattr(other[index], name).numpy()
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))  # -0 is not 0


def in_memory(store: Path, monkeypatch: pytest.MonkeyPatch) -> WindowDataset:
    with monkeypatch.context() as context:
        context.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 2**31)
        return WindowDataset(open_store(store).load(), 3, 3)


@pytest.mark.parametrize("profile", PROFILES)
def test_windows_are_bit_for_bit_those_that_xarray_reads(
    profile: str, make_store: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the edges of files, of chunks in them, and of the last one, which the series does not fill."""
    kind, reader = PROFILES[profile]
    store = make_store(kind)
    assert len(list((store / "thetao/c").iterdir())) > 2
    dataset = WindowDataset(store, 3, 3)
    assert {type(part) for part in dataset._streamed._fields.values()} == {reader}
    same(dataset, in_memory(store, monkeypatch))
    dataset.close()  # and opened again
    same(dataset, pickle.loads(pickle.dumps(dataset)))


def test_stores_of_other_makers_are_read_as_xarray_does(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = open_store(make_store()).load()
    other = tmp_path / "other.zarr"
    # Zarr's own choice of codecs, packed integers, another order of bytes, chunks that cut a field: none is ours.
    packed = {"dtype": "int16", "scale_factor": 1e-3, "_FillValue": -32767}
    encoding = {"thetao": packed, "uo": {"dtype": ">f4", "compressors": None}, "u10": {"chunks": (4, 3, 7)}}
    ds.drop_encoding().to_zarr(other, zarr_format=3, encoding=encoding, consolidated=False)
    commit(other)
    dataset = WindowDataset(other, 3, 3)
    assert {type(part) for part in dataset._streamed._fields.values()} == {LabelledFields}
    same(dataset, in_memory(other, monkeypatch))


@pytest.mark.parametrize("profile", PROFILES)
def test_what_was_not_committed_is_not_seen(profile: str, make_store: Callable[..., Path]) -> None:
    """Arrays that an interrupted extension has made longer hold the committed steps as before."""
    store = make_store(PROFILES[profile][0])
    before = WindowDataset(store, 3, 3)
    windows = [before[index] for index in range(len(before))]
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    for name in ("zos", "thetao", "uo", "u10", "time"):
        group[name].resize((STEPS + 9, *group[name].shape[1:]))
        group[name][STEPS:] = 0
    after = WindowDataset(store, 3, 3)
    assert len(after) == len(windows)
    for index, window in enumerate(windows):
        assert torch.equal(after[index].target, window.target)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_damaged_files_are_named_with_what_they_hold(make_store: Callable[..., Path]) -> None:
    fast = make_store()
    file = fast / "uo/c/1/0/0/0"
    said = r"/uo/c/1/0/0/0: {}, so that 'uo' from 2020-01-01T10:00:00 to 2020-01-01T19:00:00 cannot be trusted; copy"
    flip(file, 100)
    dataset = WindowDataset(fast, 3, 3)
    dataset[0]
    for _ in range(2):  # it is not forgotten
        with pytest.raises(
            ValueError, match=said.format("does not have the checksum that was written with it")
        ):
            dataset[5]
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ValueError, match=said.format("has 4197 bytes, and 4204 were written")):
        dataset[5]
    file.unlink()  # as a half-copied store lacks it: its steps are missing at sea
    with pytest.raises(
        ValueError, match=r"state 'uo at 0 m' is missing at 2020-01-01T10:00:00 on 33 of 33 ocean"
    ):
        dataset[5]


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (-3, "does not end in an index with the checksum that was written with it"),
        (4, "holds a chunk of another size than its metadata say"),
        (12, "holds a chunk of another size than its metadata say"),
        (0, "holds a chunk that does not decode"),
    ],
)
def test_damaged_shards_are_named(place: int, what: str, make_store: Callable[..., Path]) -> None:
    store = make_store(PROFILES["compact"][0])
    flip(store / "uo/c/0/0/0/0", place)
    with pytest.raises(ValueError, match=rf"/uo/c/0/0/0/0: {what}, so that 'uo' from 2020-01-01T00:00:00 to"):
        WindowDataset(store, 3, 3)[0]


def test_few_files_are_open_at_a_time(tmp_path: Path) -> None:
    maps, opened = Maps(), []
    paths = [tmp_path / str(number) for number in range(MAPPED_FILES + 3)]
    for number, path in enumerate(paths):
        path.write_bytes(number.to_bytes(4, "little"))
    for path in [*paths, paths[-1], paths[0]]:
        held = maps.open(path, opened.append)
        assert held is not None
        assert int(held.view("<u4")[0]) == int(path.name)
    assert len(maps._held) == MAPPED_FILES
    assert len(opened) == len(paths)  # checked once each, also the one that was opened twice
    paths[1].write_bytes(b"other bytes")
    maps.open(paths[1], opened.append)
    assert opened[-1].tobytes() == b"other bytes"
    assert maps.open(tmp_path / "none", opened.append) is None


def test_a_compact_store_is_decoded_once_for_all_and_never_found_in_another_state(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache = make_store(PROFILES["compact"][0]), tmp_path / "local" / "cache"
    expected = in_memory(store, monkeypatch)
    with ThreadPoolExecutor(3) as ranks:  # a lock holds between threads as it does between processes
        several = list(ranks.map(lambda rank: WindowDataset(store, 3, 3, cache=cache), range(3)))
    for dataset in several:
        assert {type(part) for part in dataset._streamed._fields.values()} == {MappedFields}
    same(several[2], expected)
    copies = {path: path.stat().st_mtime_ns for path in cache.glob("*/zarr.json")}
    assert len(copies) == 4
    same(WindowDataset(store, 3, 3, cache=cache), expected)
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*/zarr.json")} == copies
    # A process killed while it decodes leaves its beginnings, which the next one sweeps.
    whole = next(cache.glob("sea.zarr-zos-*[!k]"))
    whole.rename(f"{whole}.partial")
    flip(whole.with_name(f"{whole.name}.partial") / "c/0/0/0/0", 5)
    same(WindowDataset(store, 3, 3, cache=cache), expected)
    assert not list(cache.glob("*.partial"))
    # Other numbers, of the same size on disk: the old copy stays where it is, and is not looked at.
    zarr.open_array(store / "u10", mode="r+")[9] += 1
    fresh = WindowDataset(store, 3, 3, cache=cache)
    same(fresh, in_memory(store, monkeypatch))
    assert len(list(cache.glob("*/zarr.json"))) == 5
    assert not torch.equal(fresh[5].forcing, several[0][5].forcing)


def test_a_copy_that_does_not_fit_on_the_disk_is_refused_before_it_is_begun(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache = make_store(PROFILES["compact"][0]), tmp_path / "cache"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=6000))
    words = r"cache: a decoded copy of .*/thetao needs 1.93e-05 GB and 6e-06 GB are free there; name another folder"
    with pytest.raises(ValueError, match=words):
        WindowDataset(store, 3, 3, layout=Layout((Channel("thetao", 10.0),)), cache=cache)
    assert not list(cache.glob("*/zarr.json"))
    with pytest.raises(
        ValueError, match=r"a decoded copy in .*cache is made of a store's files; give its path"
    ):
        WindowDataset(open_store(store), 3, 3, cache=cache)


def test_a_damaged_copy_is_to_be_deleted(make_store: Callable[..., Path], tmp_path: Path) -> None:
    store, cache = make_store(PROFILES["compact"][0]), tmp_path / "cache"
    dataset = WindowDataset(store, 3, 3, cache=cache)
    flip(next(cache.glob("*-uo-*/c/0/0/0/0")), 5)
    with pytest.raises(
        ValueError, match=r"cannot be trusted; delete this copy, which is made again when it is asked"
    ):
        dataset[0]
