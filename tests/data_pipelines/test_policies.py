"""What does not fit is refused, unless one says what shall be done with it; then the store says what was done."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from data_pipelines import describe, ingest, open_store
from data_pipelines.remarks import IngestWarning
from data_pipelines.windows import window_starts
from oceanop.cli import app

Writer = Callable[..., Path]
LEVEL, HOURS = "sea_surface_height_above_geoid", 12


@pytest.fixture
def overlapping(write_file: Writer, level: np.ndarray) -> tuple[Path, Path, np.ndarray]:
    """Hours 0 to 11 and 8 to 19, with equal values where both have them."""
    later = np.concatenate([level[8:], level[:8] + np.float32(0.01)])
    paths = [
        write_file("a.nc", {"zos": (LEVEL, "m", level)}),
        write_file("b.nc", {"zos": (LEVEL, "m", later)}, hours=range(8, 20)),
    ]
    return paths[0], paths[1], np.concatenate([level, later[4:]])


def test_an_overlap_of_equal_values_is_dropped_once_they_were_compared(
    overlapping: tuple[Path, Path, np.ndarray], tmp_path: Path
) -> None:
    *paths, whole = overlapping
    with pytest.warns(
        IngestWarning, match=r"^4 steps of zos in b\.nc, 2020-01-01T08:00:00 to .*T11:00:00, are left"
    ):
        store = ingest(paths, to=tmp_path / "s.zarr", duplicates="identical")
    np.testing.assert_array_equal(open_store(store)["zos"], whole)
    (record,) = describe(store)["duplicates_dropped"]
    assert (record["kept"], record["dropped"], record["steps"]) == ("a.nc", "b.nc", 4)
    with netCDF4.Dataset(paths[1], "a") as file:
        file["zos"][1, 5, 5] += 0.5
    words = (
        r"^b\.nc: variable 'zos' at 2020-01-01T09:00:00 differs from a\.nc: .* on 1 of 48 cells; choose one"
    )
    with pytest.raises(ValueError, match=words):
        ingest(paths, to=tmp_path / "t.zarr", duplicates="identical")


@pytest.mark.parametrize(("policy", "changed"), [("first", False), ("last", True)])
def test_the_file_given_first_or_last_wins(
    overlapping: tuple[Path, Path, np.ndarray], tmp_path: Path, policy: str, changed: bool
) -> None:
    *paths, whole = overlapping
    with netCDF4.Dataset(paths[1], "a") as file:
        file["zos"][:4, 5, 5] = 1.5
    if changed:
        whole[8:12, 5, 5] = 1.5
    with pytest.warns(IngestWarning):
        store = ingest(paths, to=tmp_path / "s.zarr", duplicates=policy)
    np.testing.assert_array_equal(open_store(store)["zos"], whole)
    assert f"--duplicates {policy}" in open_store(store).attrs["command"]


def compressed(
    write_file: Writer, name: str, hours: range, damaged: int | None = None, **spoilt: Any
) -> Path:
    """A file in chunks of a step, one of which may be torn; ``spoilt`` are values of single steps."""
    values = np.random.default_rng(hours.start).normal(0, 0.3, (len(hours), 20, 30)).astype(np.float32)
    values[:, :5, :5] = np.nan
    for step, value in spoilt.items():
        values[int(step.removeprefix("step"))] = value
    path = write_file(name, {"zos": (LEVEL, "m", values)}, hours=hours)
    with netCDF4.Dataset(path) as file:
        held = file["zos"][:]
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("zos", "raw")
        del file["raw"].standard_name
        packed = file.createVariable(
            "zos", "f4", ("time", "y", "x"), zlib=True, chunksizes=(1, 20, 30), fill_value=1e20
        )
        packed.setncatts({"standard_name": LEVEL, "units": "m", "coordinates": "lat lon"})
        packed[:] = held
    if damaged is not None:
        import h5py

        with h5py.File(path, "r") as file:
            start = file["zos"].id.get_chunk_info(damaged).byte_offset
        data = bytearray(path.read_bytes())
        data[start + 40 : start + 400] = bytes(360)
        path.write_bytes(bytes(data))
    return path


def test_damage_is_left_out_when_asked_and_becomes_a_gap(write_file: Writer, tmp_path: Path) -> None:
    """A torn chunk, an empty step, an infinite one, a file cut off: the other steps are untouched."""
    paths = [
        compressed(write_file, "a.nc", range(12), damaged=3),
        compressed(write_file, "b.nc", range(12, 24), step2=np.nan, step5=1e9),
        compressed(write_file, "c.nc", range(24, 36)),
        compressed(write_file, "d.nc", range(36, 48)),
    ]
    paths[2].write_bytes(paths[2].read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"^c\.nc has \d+ of the \d+ bytes"):
        ingest(paths, to=tmp_path / "s.zarr")
    with pytest.raises(
        ValueError, match=r"^a\.nc: variable 'zos' cannot be read at step 3 \(2020-01-01T03:00:00\)"
    ):
        ingest([paths[0]], to=tmp_path / "s.zarr")
    with pytest.warns(IngestWarning) as told:
        store = ingest(paths, to=tmp_path / "s.zarr", skip_bad=True)
    kept = [hour for hour in range(48) if hour not in (3, 14, 17, *range(24, 36))]
    ds = open_store(store)
    assert ((ds["time"].values - np.datetime64("2020-01-01")) // np.timedelta64(1, "h")).tolist() == kept
    values = np.concatenate(
        [netCDF4.Dataset(path)["raw"][:].filled(np.nan) for path in paths if path != paths[2]]
    )
    np.testing.assert_array_equal(ds["zos"], np.delete(values, [3, 14, 17], 0))
    facts = describe(store)
    assert [record["file"] for record in facts["skipped"]] == ["c.nc", "a.nc", "b.nc", "b.nc"]
    assert [record["time"] and record["time"][11:13] for record in facts["skipped"]] == [
        None,
        "03",
        "14",
        "17",
    ]
    assert len(told) == 4
    assert [gap["missing_steps"] for gap in facts["time"]["gaps"]] == [1, 1, 1, 12]
    starts = window_starts(ds["time"].values, 6)
    assert all(np.ptp(ds["time"].values[first : first + 6]) == np.timedelta64(5, "h") for first in starts)
    assert ingest(paths, to=tmp_path / "s.zarr", skip_bad=True) == store  # nothing is left to do, or to tell


def test_damage_of_all_is_no_damage(write_file: Writer, level: np.ndarray, tmp_path: Path) -> None:
    """A wrong unit makes every step impossible, and is told as without the option."""
    path = write_file("a.nc", {"zos": (LEVEL, "m", level * 1000)})
    with pytest.raises(
        ValueError, match=r"^a\.nc: variable 'zos' at 2020-01-01T00:00:00 reaches .* Check its unit"
    ):
        ingest(path, to=tmp_path / "s.zarr", skip_bad=True)


def test_ocean_steps_in_a_gap_of_the_forcing_go_with_it(
    write_file: Writer, level: np.ndarray, tmp_path: Path
) -> None:
    wind = np.full((HOURS, 6, 8), 5.0)
    wind[6] = np.nan
    ocean = write_file("a.nc", {"zos": (LEVEL, "m", level)})
    weather = write_file(
        "w.nc", {"u10": ("eastward_wind", "m s-1", wind), "v10": ("northward_wind", "m s-1", wind)}
    )
    with pytest.warns(IngestWarning, match=r"the step 2020-01-01T06:00:00 is left out: "):
        store = ingest(ocean, to=tmp_path / "s.zarr", forcing=weather, skip_bad=True)
    np.testing.assert_array_equal(open_store(store)["zos"], np.delete(level, 6, 0))


def test_cells_that_dry_are_counted_told_or_refused(
    write_file: Writer, level: np.ndarray, tmp_path: Path
) -> None:
    """Three of 42 sea cells, from hour 15 on; the first by rows lies at 55.6 N, 10.86 E."""
    drier = level.copy()
    drier[3:, 3, 3:6] = np.nan
    paths = [
        write_file("a.nc", {"zos": (LEVEL, "m", level)}),
        write_file("b.nc", {"zos": (LEVEL, "m", drier)}, hours=range(12, 24)),
    ]
    words = (r"^b\.nc: variable 'zos' at 2020-01-01T15:00:00 \(step 3\): 3 cells became land, the first at 55\.6 N, "
             r"10\.86 E, that are sea at 2020-01-01T00:00:00 in a\.nc; ")  # fmt: skip
    with pytest.warns(IngestWarning, match=words + "7 % of the sea's cells change"):
        store = ingest(paths, to=tmp_path / "s.zarr")
    assert open_store(store)["zos"].attrs["cells_sea_at_some_steps"] == 3
    assert describe(store)["variables"]["zos"]["cells_sea_at_some_steps"] == 3
    with pytest.raises(ValueError, match=words):
        ingest(paths, to=tmp_path / "t.zarr", mask="fixed")
    quiet = ingest(paths, to=tmp_path / "u.zarr", mask="dynamic")
    np.testing.assert_array_equal(open_store(quiet)["mask"], open_store(store)["mask"])


def test_each_level_has_a_mask_and_a_count_of_its_own(write_file: Writer, tmp_path: Path) -> None:
    deep = 8 + np.random.default_rng(0).normal(0, 1, (4, 2, 5, 6))
    deep[:, 1, :2] = np.nan
    deep[2, 1, 4, 4] = np.nan
    path = write_file("t.nc", {"temp": ("sea_water_potential_temperature", "degC", deep)}, depths=[0, 10])
    facts = describe(ingest(path, to=tmp_path / "s.zarr", depths="all"))
    assert facts["variables"]["thetao"]["cells_sea_at_some_steps"] == [0, 1]
    assert facts["masks"] == [
        {"depth": 0.0, "wet_cells": 30, "wet_share": 1.0},
        {"depth": 10.0, "wet_cells": 17, "wet_share": round(17 / 30, 6)},
    ]


@pytest.mark.parametrize("given", [{"duplicates": "both"}, {"mask": "wet"}])
def test_a_policy_nobody_knows(
    write_file: Writer, level: np.ndarray, tmp_path: Path, given: dict[str, str]
) -> None:
    (key, value), = given.items()  # fmt: skip
    with pytest.raises(ValueError, match=f"^{key} '{value}' is not known; choose one of "):
        ingest(write_file("a.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr", **given)


def test_the_command_lists_what_it_left_out(
    overlapping: tuple[Path, Path, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, _ = overlapping
    first.write_bytes(first.read_bytes()[:-1000])
    app(
        ["ingest", str(first), str(second), "--skip-bad", "--to", str(tmp_path / "s.zarr"), "--quiet"],
        standalone_mode=False,
    )
    shown = capsys.readouterr()
    assert re.search(r"^ingest: a\.nc is left out: a\.nc has \d+ of the \d+ bytes", shown.err, re.MULTILINE)
    assert json.loads(open_store(tmp_path / "s.zarr").attrs["skipped"])[0]["file"] == "a.nc"
    app(["inspect", str(tmp_path / "s.zarr")], standalone_mode=False)
    assert re.search(
        r"^skipped:\n  file a\.nc, time None, why a\.nc has", capsys.readouterr().out, re.MULTILINE
    )
