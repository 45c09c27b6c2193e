"""A build goes on where it was stopped, by any workers, and what is on the disk can be proven."""

import errno
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import ingest, open_store, read_statistics, sample_paths, save_store, verify
from data_pipelines.engine.ledger import Ledger, load_mask, save_mask
from data_pipelines.engine.shards import write_aside
from data_pipelines.resumable import sole_writer
from oceanop.cli import main

Writer = Callable[..., Path]
LEVEL = "sea_surface_height_above_geoid"
PORTION = 2**19  # bytes read at once in the test of memory


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of four steps of the small fields in these tests, so that a series has several of them."""
    monkeypatch.setattr(sys.modules["data_pipelines.profiles"], "CHUNK_BYTES", 4 * 4 * 6 * 8)
    monkeypatch.setattr(sys.modules["data_pipelines.profiles"], "SHARD_BYTES", 4 * 4 * 6 * 8)


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but for the root document, whose date is that of its making."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path != store / "zarr.json"
    }


def stop_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Die as if killed while the given file is being put in place, recorded already."""
    module, calls = sys.modules["data_pipelines.build"], []
    whole = module.put_in_place

    def dying(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        whole(*arguments)

    monkeypatch.setattr(module, "put_in_place", dying)


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("profile", ["fast", "compact"])
def test_a_stopped_build_goes_on_with_what_is_missing(
    write_file: Writer, tmp_path: Path, level: np.ndarray, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    file = write_file(
        "f.nc", {"zos": (LEVEL, "m", level), "tos": ("sea_surface_temperature", "degC", level + 9)}
    )
    whole = ingest(file, to=tmp_path / "whole.zarr", profile=profile)
    target = tmp_path / "s.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            ingest(file, to=target, profile=profile)
    assert len(Ledger(target).blocks) == 3  # one of them recorded, and not in its place
    (target / "zos/c/0").joinpath("0.torn.partial").write_bytes(b"half")
    with open(Ledger(target).path, "a") as ledger:
        ledger.write('{"block": {"variable": "zo')
    with pytest.raises(
        ValueError, match="holds an unfinished store: coarsen was 1 and is now 2; run again what began"
    ):
        ingest(file, to=target, coarsen=2, profile=profile)
    written = {path: path.stat().st_mtime_ns for path in target.glob("zos/c/[01]/0/0")}
    assert len(written) == 2
    ingest(file, to=target, profile=profile)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert contents(target) == contents(whole)
    # the root document is read first of all
    assert verify(target) == ([], len(contents(whole)))


@pytest.mark.usefixtures("cut_small")
def test_a_torn_file_under_a_recorded_name_is_written_again(
    write_file: Writer, tmp_path: Path, level: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, target = write_file("f.nc", {"zos": (LEVEL, "m", level)}), tmp_path / "s.zarr"
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            ingest(file, to=target)
    torn = target / Ledger(target).blocks["zos", 1]["partial"]
    torn.write_bytes(torn.read_bytes()[:-9])
    np.testing.assert_array_equal(open_store(ingest(file, to=target))["zos"], level)
    assert verify(target)[0] == []


def test_workers_give_the_bytes_of_one_process(coarse_store: Path, tmp_path: Path) -> None:
    """Serial and parallel: means over cells with their mask first, weather, and the order of the statistics."""
    sample = sample_paths()
    again = ingest(sample.ocean, to=tmp_path / "s.zarr", forcing=sample.wind, coarsen=4, workers=2)
    assert contents(again) == contents(coarse_store)


def test_a_mask_that_is_known_in_the_end_measures_again(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    """A cell that lacks one step in the middle is in no statistics, whatever was thought at first."""
    level[5, 4, 4] = np.nan
    store = ingest(write_file("f.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr")
    wet = np.isfinite(level).all(0)
    found, train = read_statistics(store)["zos"], level[:8][:, wet].astype(np.float64)
    assert found.sel(statistic="count") == train.size
    # sums of a few hundred numbers in float64
    np.testing.assert_allclose(found.sel(statistic=["mean", "std"]), [train.mean(), train.std()], rtol=1e-12)
    change = np.diff(train, axis=0)
    np.testing.assert_allclose(found.sel(statistic="difference_std"), change.std(), rtol=1e-12)


def test_every_split_has_statistics_of_its_own(coarse_store: Path) -> None:
    ds = open_store(coarse_store)
    wet = ds["mask"].to_numpy() > 0.5
    for name, (first, last) in json.loads(ds.attrs["splits"]).items():
        values = ds["uo"].sel(time=slice(first, last)).to_numpy()[:, wet].astype(np.float64)
        found = read_statistics(coarse_store, name)["uo"]
        expected = [
            values.mean(),
            values.std(),
            values.min(),
            values.max(),
            values.size,
            np.diff(values, axis=0).std(),
        ]
        keys = ["mean", "std", "min", "max", "count", "difference_std"]
        # sums of 1e5 numbers in float64
        np.testing.assert_allclose(found.sel(statistic=keys), expected, rtol=1e-11)


def test_verify_lists_what_is_missing_or_flipped(coarse_store: Path, tmp_path: Path) -> None:
    """A store made by ingest against its ledger, one saved from memory against the sums in its files."""
    sample = sample_paths()
    compact = ingest(sample.ocean, to=tmp_path / "c.zarr", coarsen=4, profile="compact")
    saved = save_store(open_store(coarse_store), tmp_path / "s.zarr")
    for store in (compact, saved):
        assert verify(store)[0] == []
        chunk = store / "uo/c/0/0/0"
        flipped = bytearray(chunk.read_bytes())
        flipped[5000] ^= 4
        chunk.write_bytes(flipped)
        (store / "vo/c/0/0/0").unlink()
        (store / "statistics/train/uo/zarr.json").unlink()
        faults = verify(store)[0]
        assert [Path(fault.split(" ")[0]).relative_to(store).as_posix() for fault in faults] == [
            "statistics/train/uo/zarr.json", "uo/c/0/0/0", "vo/c/0/0/0"
        ]  # fmt: skip
        assert "checksum" in faults[1]
        assert faults[2].endswith("is missing.")
    Ledger(compact).path.unlink()
    assert "cannot be checked, as it is in no ledger" in verify(compact)[0][1]


def test_a_second_writer_is_refused_and_a_dead_one_is_not_waited_for(tmp_path: Path) -> None:
    target, lock = tmp_path / "s.zarr", tmp_path / "s.zarr.lock"
    with (
        sole_writer(target),
        pytest.raises(ValueError, match=rf"wait for it \(process {os.getpid()} on .*, since 2"),
    ):
        ingest(sample_paths().ocean, to=target)
    assert not lock.exists()
    holder = {"host": "elsewhere", "process": 1, "started": "2026-01-01T00:00:00Z"}
    lock.write_text(json.dumps(holder))
    with pytest.raises(ValueError, match=r"process 1 on elsewhere"), sole_writer(target):
        pass
    os.utime(lock, (0, 0))  # no sign of life for long
    with sole_writer(target):
        assert json.loads(lock.read_text())["process"] == os.getpid()


def test_what_does_not_fit_is_told_before_the_first_field(
    write_file: Writer, tmp_path: Path, level: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    with pytest.raises(
        ValueError, match=r"a memory of 0\.00 GB is too little: one block of fields needs 0\.4"
    ):
        ingest(file, to=tmp_path / "s.zarr", memory=1000)
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"s\.zarr needs 1 MB more, and its disk has 0 MB free"):
        ingest(file, to=tmp_path / "s.zarr")
    assert not list(tmp_path.glob("s.zarr/zos/c*"))


def test_masks_are_kept_by_their_content(tmp_path: Path) -> None:
    cells = np.random.default_rng(0).random((3, 5, 7)) > 0.5
    name = save_mask(tmp_path, cells)
    assert save_mask(tmp_path, cells) == name
    np.testing.assert_array_equal(load_mask(tmp_path, name, cells.shape), cells)
    with pytest.raises(ValueError, match="is missing or cut off"):
        load_mask(tmp_path, name, (30, 5, 7))


def test_the_command_verifies(
    coarse_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["oceanop", "verify", str(coarse_store), "--quiet"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out.endswith("files, all as they were written\n")


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(coarse_store: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    sample = sample_paths()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        again = ingest(
            sample.ocean,
            to=tmp_path / "s.zarr",
            forcing=sample.wind,
            coarsen=4,
            workers=cluster.scheduler_address,
        )
    assert contents(again) == contents(coarse_store)
    xr.testing.assert_equal(read_statistics(again), read_statistics(coarse_store))


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("writes", [0, 4, 9])
def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(
    write_file: Writer, tmp_path: Path, level: np.ndarray, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Whoever meets it: the ledger, a worker, or the metadata."""
    file = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    whole, target, count = ingest(file, to=tmp_path / "whole.zarr"), tmp_path / "s.zarr", [0]

    def full(stream: int) -> None:
        count[0] += 1
        if count[0] > writes:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            ValueError, match=r"s\.zarr: the disk is full; free some of it\. The same command"
        ):
            ingest(file, to=target)
        document = json.loads((whole / "zos/zarr.json").read_text())
        with pytest.raises(OSError, match="No space"):
            write_aside(tmp_path / "t.zarr", "zos", document, 0, level[:4])
    assert not list(tmp_path.glob("t.zarr/zos/c/**/*.partial"))
    assert contents(ingest(file, to=target)) == contents(whole)


def test_files_of_another_region_are_refused_before_a_field_is_written(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    ocean = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    away = {"latitude": np.linspace(30, 31, 6)}
    wind = {
        "u": ("eastward_wind", "m/s", np.ones((12, 6, 8))),
        "v": ("northward_wind", "m/s", np.ones((12, 6, 8))),
    }
    weather = write_file("wind.nc", wind, **away)
    with xr.open_dataset(write_file("h.nc", {"h": ("sea_floor_depth", "m", level[:1] + 99)}, **away)) as ds:
        ds.isel(time=0, drop=True).to_netcdf(floor := tmp_path / "floor.nc")
    for role, file in (("forcing", weather), ("static", floor)):
        with pytest.raises(
            ValueError, match=rf"{file.name}.* covers only 0 % of the ocean cells, and the others lie more"
        ):
            ingest(ocean, to=tmp_path / f"{role}.zarr", **{role: file})
        assert not list(tmp_path.glob(f"{role}.zarr/zos/c"))
        ingest(ocean, to=tmp_path / f"{role}.zarr")  # nothing of it is in the way


def test_memory_does_not_grow_with_the_grid_around_a_region_or_of_the_weather(
    write_file: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few cells of a large grid, in one long file of the store: what is held is the portion that is read at once."""
    monkeypatch.setattr(sys.modules["data_pipelines.engine.tasks"], "READ_BYTES", PORTION)
    monkeypatch.setattr(sys.modules["data_pipelines.sources.stored"], "_PLANES_BYTES", PORTION)
    chance, shape = np.random.default_rng(0), (48, 150, 200)
    ocean = chance.normal(0, 1, shape).astype(np.float32)
    wind = chance.normal(0, 5, shape).astype(np.float32)
    chunks = {"zlib": True, "complevel": 1, "chunksizes": (1, *shape[1:])}
    source = tmp_path / "chunked.nc"
    with xr.open_dataset(write_file("f.nc", {"zos": (LEVEL, "m", ocean)}), decode_times=False) as ds:
        ds.to_netcdf(source, encoding={"zos": chunks})
    fields = {"u": ("eastward_wind", "m/s", wind), "v": ("northward_wind", "m/s", wind[::-1])}
    weather = tmp_path / "wind.nc"
    # All of the weather's cells lie within the region
    place = {"latitude": np.linspace(55.48, 55.56, 150), "longitude": np.linspace(10.95, 11.1, 200)}
    with xr.open_dataset(write_file("w.nc", fields, **place), decode_times=False) as ds:
        ds.to_netcdf(weather, encoding={"u": chunks, "v": chunks})
    region = (10.96, 11.09, 55.49, 55.55)
    tracemalloc.start()
    try:
        store = ingest(source, to=tmp_path / "s.zarr", forcing=weather, region=region)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    held = open_store(store)
    rows = np.flatnonzero((np.linspace(55, 56, 150) >= 55.49) & (np.linspace(55, 56, 150) <= 55.55))
    np.testing.assert_array_equal(held["zos"][:, :, 0], ocean[:, rows, np.flatnonzero(
        np.linspace(10, 12, 200) >= 10.96)[0]])  # fmt: skip
    # Nearly all wind at once would be 11.5 MB and twice that in float64; headers and grids take 4 MB
    assert most < 10e6
