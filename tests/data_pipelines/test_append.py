"""Later days go behind a store in one step, and what was there before stays as it was."""

import json
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines import describe, ingest, open_store, read_statistics, verify
from data_pipelines.engine.crew import worker_context
from data_pipelines.engine.ledger import Ledger
from data_pipelines.remarks import IngestWarning
from data_pipelines.store import read_root
from tests.data_pipelines.ingest_worker import work
from tests.data_pipelines.test_engine import contents, stop_at

Writer = Callable[..., Path]
LEVEL = "sea_surface_height_above_geoid"
FILE_BYTES = 5 * 4 * 6 * 8  # five steps of the small fields here: days end in the middle of a file


@pytest.fixture(autouse=True)
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["data_pipelines.profiles"], "CHUNK_BYTES", FILE_BYTES)
    monkeypatch.setattr(sys.modules["data_pipelines.profiles"], "SHARD_BYTES", FILE_BYTES)


def sea(steps: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, 0.3, (steps, 6, 8)).astype(np.float32)
    values[:, :2, :3] = np.nan
    return values


@pytest.fixture
def days(write_file: Writer) -> list[Path]:
    """Three days of sea level under wind, twelve steps each, every two hours."""
    return [
        write_file(f"day{day}.nc", {"zos": (LEVEL, "m", sea(12, day))}, hours=24 * day + np.arange(0, 24, 2))
        for day in range(3)
    ]


@pytest.fixture
def wind(write_file: Writer) -> Path:
    blown = np.random.default_rng(9).normal(0, 5, (25, 7, 9))
    return write_file(
        "wind.nc",
        {"u": ("eastward_wind", "m/s", blown), "v": ("northward_wind", "m/s", -blown)},
        hours=np.arange(0, 75, 3),
        latitude=np.linspace(54, 57, 7),
        longitude=np.linspace(9, 13, 9),
    )


@pytest.mark.parametrize(("profile", "coarsen"), [("fast", 1), ("compact", 2)])
def test_appended_days_are_those_of_one_ingest(
    days: list[Path], wind: Path, tmp_path: Path, profile: str, coarsen: int
) -> None:
    splits = {"train": ("2020-01-01", "2020-01-02T12"), "test": ("2020-01-03", "2020-02-01")}
    options = {"forcing": wind, "profile": profile, "coarsen": coarsen}
    whole = ingest(days, to=tmp_path / "whole.zarr", splits=splits, **options)
    # The split 'test' has no step yet in the first two days.
    store = ingest(days[:2], to=tmp_path / "s.zarr", splits={"train": splits["train"]}, **options)
    before, old = read_statistics(store), open_store(store)
    first = old.isel(time=slice(0, 24)).load()
    assert ingest([*days[:2]], to=store, splits={"train": splits["train"]}, append=True, **options) == store
    ingest(days, to=store, splits={"train": splits["train"]}, append=True, **options)
    now, expected = open_store(store), open_store(whole)
    xr.testing.assert_equal(now.drop_attrs(), expected.drop_attrs())
    xr.testing.assert_identical(read_statistics(store), before)  # what a model was trained by
    xr.testing.assert_identical(first, now.isel(time=slice(0, 24)).assign_attrs(first.attrs).load())
    xr.testing.assert_identical(old.load(), first)  # opened before, it stays the store that it was
    assert [file["name"] for file in json.loads(now.attrs["sources"])] == [
        "day0.nc", "day1.nc", "wind.nc", "day2.nc"
    ]  # fmt: skip
    assert now.attrs["history"].count("oceanop ingest") == 2
    assert verify(store)[0] == []


def test_the_last_default_split_takes_the_new_days(days: list[Path], tmp_path: Path) -> None:
    store = ingest(days[:1], to=tmp_path / "s.zarr")
    before = {name: read_statistics(store, name) for name in ("train", "validation")}
    splits = json.loads(open_store(store).attrs["splits"])
    ingest(days[1:], to=store, append=True)
    ds = open_store(store)
    now = json.loads(ds.attrs["splits"])
    assert now == splits | {"test": [splits["test"][0], "2020-01-03T22:00:00"]}
    for name, found in before.items():
        xr.testing.assert_identical(read_statistics(store, name), found)
    values = (
        ds["zos"].sel(time=slice(*now["test"])).to_numpy()[:, ds["mask"].to_numpy() > 0].astype(np.float64)
    )
    found = read_statistics(store, "test")
    # sums of a thousand numbers in float64
    np.testing.assert_allclose(found["zos"].sel(statistic="std"), values.std(), rtol=1e-12)
    assert found["zos"].sel(statistic="count") == values.size
    assert found.attrs["time_end"] == "2020-01-03T22:00:00"


def test_a_split_asked_for_by_its_times_grows_to_them(days: list[Path], tmp_path: Path) -> None:
    splits = {"train": ("2020-01-01", "2020-01-01"), "test": ("2020-01-02", "2020-01-03T06")}
    store = ingest(days[:2], to=tmp_path / "s.zarr", splits=splits)
    ingest(days[2], to=store, splits=splits, append=True)
    now = open_store(store)
    assert json.loads(now.attrs["splits"])["test"] == ["2020-01-02T00:00:00", "2020-01-03T06:00:00"]
    whole = ingest(days, to=tmp_path / "whole.zarr", splits=splits)
    for name in splits:
        # blocks of one store end where those of the other do not: the last bits of the sums differ
        xr.testing.assert_allclose(read_statistics(store, name), read_statistics(whole, name), rtol=1e-12)


def test_what_does_not_go_on_is_refused_and_changes_nothing(
    days: list[Path], write_file: Writer, tmp_path: Path
) -> None:
    store = ingest(days[:2], to=tmp_path / "s.zarr")
    old = open_store(store).load()
    lacking = sea(12, 5)
    lacking[7, 4, 4] = np.nan
    hours = 48 + np.arange(0, 24, 2)
    hole = write_file("hole.nc", {"zos": (LEVEL, "m", lacking)}, hours=hours)
    words = (
        r"hole\.nc: variable 'zos' has no value at 2020-01-03T14:00:00 on 1 cells that are ocean in .*s\.zarr"
    )
    with pytest.raises(ValueError, match=words):
        ingest(hole, to=store, append=True)
    early = write_file("early.nc", {"zos": (LEVEL, "m", sea(12, 5))}, hours=hours - 2)
    with pytest.raises(
        ValueError, match=r"early\.nc.* begins at 2020-01-02T22:00:00, and .* up to 2020-01-02T22"
    ):
        ingest(early, to=store, append=True)
    moved = write_file(
        "moved.nc", {"zos": (LEVEL, "m", sea(12, 5))}, hours=hours, longitude=np.linspace(10.5, 12, 8)
    )
    with pytest.raises(ValueError, match=r"moved\.nc.* lies on other cells than .*s\.zarr"):
        ingest(moved, to=store, append=True)
    with pytest.raises(ValueError, match="made with other options: coarsen was 1 and is now 2"):
        ingest(days[2], to=store, coarsen=2, append=True)
    write_file("day0.nc", {"zos": (LEVEL, "m", sea(12, 8))})
    with pytest.raises(ValueError, match=r"day0\.nc is in .*s\.zarr already, with another content"):
        ingest(days, to=store, append=True)
    with pytest.raises(FileNotFoundError):
        ingest(days, to=tmp_path / "none.zarr", append=True)
    xr.testing.assert_identical(open_store(store).load(), old)
    assert verify(store)[0] == []
    ingest(days[2], to=store, append=True)  # none of these attempts is in the way
    np.testing.assert_array_equal(open_store(store)["zos"][24:], sea(12, 2))


@pytest.mark.parametrize("place", ["put_in_place", "replace_root", "record"])
def test_a_stopped_append_shows_the_old_store_and_goes_on(
    days: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    first = tmp_path / "whole" / "s.zarr"
    record = Ledger.record
    with monkeypatch.context() as patch:  # killed with everything done but for the last line
        patch.setattr(
            Ledger, "record", lambda self, line: _killed() if "commit" in line else record(self, line)
        )
        with pytest.raises(KeyboardInterrupt):
            ingest(days[0], to=first, profile="compact")
    whole = ingest(days[0], to=first, profile="compact")
    store = Path(shutil.copytree(whole.parent, tmp_path / "killed")) / "s.zarr"
    ingest(days[1:], to=whole, profile="compact", append=True)
    old = open_store(store).load()
    with monkeypatch.context() as patch:
        if place == "put_in_place":
            stop_at(patch, 3)
        elif place == "replace_root":
            patch.setattr(sys.modules["data_pipelines.append"], "replace_root", _killed)
        else:
            patch.setattr(
                Ledger,
                "record",
                lambda self, line: (
                    _killed() if line.get("commit", {"steps": 12})["steps"] > 12 else record(self, line)
                ),
            )
        with pytest.raises(KeyboardInterrupt):
            ingest(days[1:], to=store, profile="compact", append=True)
    assert verify(store)[0] == []
    if place == "record":  # readers see the new days already
        xr.testing.assert_identical(open_store(store).drop_encoding(), open_store(whole).drop_encoding())
        ingest(days[0], to=tmp_path / "other.zarr")
    else:
        xr.testing.assert_identical(open_store(store).load(), old)
        ingest(days[1:], to=store, profile="compact", append=True)
    assert contents(store) == contents(whole)
    assert (store / "zarr.json").read_bytes() == (whole / "zarr.json").read_bytes()
    later = days[2].with_name("later.nc")
    with xr.open_dataset(days[2], decode_times=False) as ds:
        ds.assign_coords(time=ds["time"] + 24).to_netcdf(later)
    ingest(later, to=store, profile="compact", append=True)
    assert open_store(store).sizes["time"] == 48


def _killed(*arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["build", "append"])
def test_kills_at_any_moment_leave_no_trace(
    write_file: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int, kind: str
) -> None:
    """After each kill nothing recorded is wrong and the store opens, or says that it is incomplete; in the end it is
    that of an undisturbed run, byte for byte."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    files = [
        write_file(f"day{day}.nc", {"zos": (LEVEL, "m", sea(12, day))}, hours=24 * day + np.arange(0, 24, 2))
        for day in range(12)
    ]
    whole = tmp_path / "whole" / "s.zarr"
    first = tmp_path / "first" / "s.zarr"
    first.parent.mkdir()
    if kind == "append":
        ingest(files.pop(0), to=first, profile="compact")
    whole = Path(shutil.copytree(first.parent, tmp_path / "whole")) / "s.zarr"
    begin = time.monotonic()
    ingest(files, to=whole, profile="compact", append=kind == "append")
    lasts = time.monotonic() - begin
    target = tmp_path / "killed" / "s.zarr"
    chance, killed, context = random.Random(0), 0, worker_context()
    while killed < kills:
        if not target.parent.exists():
            shutil.copytree(first.parent, target.parent)
        begun, sign = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(sign, files, target, kind == "append", FILE_BYTES))
        process.start()
        assert begun.recv()
        time.sleep(chance.uniform(0, 1) * lasts)
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            _require_sound(target, kind)
        else:  # it was faster, and the next one begins anew
            lasts *= 0.7
            _require_same(target, whole)
            shutil.rmtree(target.parent)
        process.close()
    ingest(files, to=target, profile="compact", append=kind == "append")
    _require_same(target, whole)


def _require_same(target: Path, whole: Path) -> None:
    assert contents(target) == contents(whole)
    assert (target / "zarr.json").read_bytes() == (whole / "zarr.json").read_bytes()
    assert verify(target)[0] == []


def _require_sound(target: Path, kind: str) -> None:
    """What the ledger records is on the disk; readers get a whole store or are told that it is none."""
    if kind == "append":
        assert verify(target)[0] == []
        assert np.isfinite(open_store(target)["zos"].to_numpy()[:, 2:]).all()
        return
    for (name, shard), entry in Ledger(target).blocks.items():
        held = [path for path in (target / entry["file"], target / entry["partial"]) if path.exists()]
        assert held, f"{name} {shard} is recorded and not there"
        assert held[-1].stat().st_size == entry["bytes"]
    root = read_root(target) if target.exists() else None
    if root is not None and not root["attributes"]["complete"]:
        with pytest.raises(ValueError, match="not complete"):
            open_store(target)


def test_what_is_left_out_of_new_days_is_told_with_that_of_the_first(
    days: list[Path], write_file: Writer, tmp_path: Path
) -> None:
    """Damaged steps and steps that occur twice, of the first ingest and of an append."""
    options = {"skip_bad": True, "duplicates": "first"}
    for number in (0, 1):
        with netCDF4.Dataset(days[number], "a") as file:
            file["zos"][5] = np.nan
    again = write_file("again.nc", {"zos": (LEVEL, "m", sea(1, 7))}, hours=[30])
    with pytest.warns(IngestWarning, match="2020-01-01T10:00:00 is left out"):
        store = ingest(days[0], to=tmp_path / "s.zarr", **options)
    with pytest.warns(IngestWarning):
        ingest([days[1], again], to=store, append=True, **options)
    told = describe(store)
    assert [record["time"] for record in told["skipped"]] == ["2020-01-01T10:00:00", "2020-01-02T10:00:00"]
    assert [record["dropped"] for record in told["duplicates_dropped"]] == ["again.nc"]
    assert open_store(store).sizes["time"] == 22
    ingest(days[2], to=store, append=True, **options)
    assert len(describe(store)["skipped"]) == 2


def test_later_days_may_have_the_name_of_earlier_ones(days: list[Path], tmp_path: Path) -> None:
    """As where every year or month has a folder of its own."""
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        shutil.copy(days[number], tmp_path / str(number) / "day.nc")
    store = ingest(tmp_path / "0/day.nc", to=tmp_path / "s.zarr")
    both = [tmp_path / "0/day.nc", tmp_path / "1/day.nc"]
    ingest(both, to=store, append=True)
    assert ingest(both, to=store, append=True) == store
    np.testing.assert_array_equal(open_store(store)["zos"], np.concatenate([sea(12, 0), sea(12, 1)]))
