"""Any CF files become one store whose numbers are those of the files."""

import json
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

from data_pipelines import (
    WindowDataset,
    describe,
    ingest,
    open_store,
    read_statistics,
    sample_paths,
    save_store,
)
from data_pipelines.store import commit
from oceanop.constants import EARTH_RADIUS
from oceanop.grid import Grid
from oceanop.normalise import Scaling

Writer = Callable[..., Path]
LEVEL = "sea_surface_height_above_geoid"
EAST, NORTH = "eastward_sea_water_velocity", "northward_sea_water_velocity"


def test_xarray_alone_opens_the_store(coarse_store: Path) -> None:
    ds = xr.open_zarr(coarse_store)
    assert ds["uo"].dims == ("time", "y", "x")
    assert ds["uo"].dtype == np.float32
    assert set(ds.coords) >= {"time", "y", "x", "latitude", "longitude"}
    assert ds["mask"].dtype == np.int8
    assert ds["uo"].attrs["standard_name"] == EAST
    assert ds["u10"].attrs["units"] == "m s-1"
    assert ds["uo"].attrs["grid_mapping"] in ds.variables
    assert ds.attrs["Conventions"] == "CF-1.11"
    assert ds["cell_area"].attrs["units"] == "m2"
    assert "method" in ds["cell_area"].attrs
    ds.close()


def test_a_store_becomes_netcdf_without_help(coarse_store: Path, tmp_path: Path) -> None:
    ds = open_store(coarse_store).isel(time=slice(0, 2))
    ds.to_netcdf(tmp_path / "part.nc")
    with xr.open_dataset(tmp_path / "part.nc") as back:
        np.testing.assert_array_equal(back["vo"].to_numpy(), ds["vo"].to_numpy())


def test_provenance_names_files_but_no_folders(coarse_store: Path) -> None:
    attributes = json.loads((coarse_store / "zarr.json").read_text())["attributes"]
    sample = sample_paths()
    assert [file["name"] for file in json.loads(attributes["sources"])] == [
        sample.ocean.name,
        sample.wind.name,
    ]
    assert json.loads(attributes["sources"])[0]["size"] == sample.ocean.stat().st_size
    assert attributes["command"].startswith("oceanop ingest norkyst800")
    assert "--coarsen 4" in attributes["command"]
    assert str(sample.ocean.parent) not in json.dumps(attributes)
    assert str(coarse_store.parent) not in json.dumps(attributes)


def test_the_command_makes_the_same_store(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    """Read back as a shell reads it, the command's splits are the request: the store is left as it is."""
    file, target = write_file("sea level.nc", {"zos": (LEVEL, "m", level)}), tmp_path / "s.zarr"
    splits = {
        "train": (datetime(2020, 1, 1), np.datetime64("2020-01-01T06")),
        "test": ("2020-01-01 07:00", pd.Timestamp("2020-01-01T10")),
    }
    store = ingest(file, to=target, splits=splits, coarsen=2)
    words = shlex.split(open_store(store).attrs["command"])
    assert words[:3] == ["oceanop", "ingest", "sea level.nc"]
    given = [words[i + 1].split("=") for i, word in enumerate(words) if word == "--split"]
    again = {name: tuple(period.split("/")) for name, period in given}
    assert list(again) == ["train", "test"]
    before = (store / "zarr.json").stat().st_mtime_ns
    assert ingest(file, to=target, splits=again, coarsen=2) == store
    assert (store / "zarr.json").stat().st_mtime_ns == before
    assert json.loads(open_store(store).attrs["splits"])["train"] == [
        "2020-01-01T00:00:00",
        "2020-01-01T06:00:00",
    ]


def test_the_projection_is_no_coordinate_of_the_fields(coarse_store: Path, tmp_path: Path) -> None:
    """CF keeps grid mappings out of ``coordinates``; a store saved again from any opening names both apart."""
    with xr.open_zarr(coarse_store, chunks=None, decode_coords="all") as ds:
        again = save_store(ds.isel(time=slice(0, 3)), tmp_path / "s.zarr")
    for store in (coarse_store, again):
        for name in ("uo", "u10", "mask", "cell_area"):
            attributes = json.loads((store / name / "zarr.json").read_text())["attributes"]
            assert attributes["coordinates"] == "latitude longitude"
            assert attributes["grid_mapping"] == "crs"


def test_coarsening_the_store_is_coarsening_the_numbers(native_store: Path, coarse_store: Path) -> None:
    """Means over whole-wet blocks of the fine store, by area, are the coarse store's values."""
    fine, coarse = open_store(native_store), open_store(coarse_store)

    def blocks(values: np.ndarray) -> np.ndarray:
        return values[..., :200, :300].reshape(*values.shape[:-2], 50, 4, 75, 4)

    wet = blocks(fine["mask"].to_numpy() == 1)
    area = blocks(fine["cell_area"].to_numpy())
    whole = wet.all((1, 3))
    np.testing.assert_array_equal(coarse["mask"].to_numpy() == 1, wet.mean((1, 3)) >= 0.5)
    np.testing.assert_allclose(coarse["cell_area"].to_numpy(), area.sum((1, 3)), rtol=1e-12)
    for name in ("uo", "vo"):
        values = blocks(fine[name].to_numpy()[:5].astype(np.float64))
        mean = (values * area).sum((-3, -1)) / area.sum((1, 3))
        np.testing.assert_allclose(coarse[name].to_numpy()[:5, whole], mean[:, whole], atol=2e-7)


def test_files_in_any_order_and_packing_make_one_series(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    """Three files, given backwards, in m, in cm and packed by two scales: the values of each file, by time."""
    parts = [
        write_file("c.nc", {"zeta": (LEVEL, "m", level[8:])}, hours=range(8, 12)),
        write_file("a.nc", {"zeta": (LEVEL, "cm", level[:4] * 100)}, hours=range(4),
                   packing={"dtype": "i2", "scale_factor": 0.1, "fill_value": np.int16(-32768)}),
        write_file("b.nc", {"ssh": (LEVEL, "m", level[4:8])}, hours=np.arange(4, 8) / 24,
                   units="days since 2020-01-01", packing={"dtype": "i2", "scale_factor": -0.001,
                                                           "fill_value": np.int16(-32768)}),
    ]  # fmt: skip
    ds = open_store(ingest(parts, to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(ds["zos"].to_numpy(), level, rtol=0, atol=0.00051)  # half a packing step
    np.testing.assert_allclose(ds["zos"].to_numpy()[8:], level[8:], rtol=0, atol=0)
    assert ds["zos"].attrs["units"] == "m"
    assert (np.diff(ds["time"].values) == np.timedelta64(1, "h")).all()


def test_kelvin_and_celsius_give_the_same_field(write_file: Writer, tmp_path: Path) -> None:
    celsius = np.random.default_rng(0).uniform(-1, 20, (3, 5, 6))
    name = "sea_surface_temperature"
    stores = [
        open_store(
            ingest(write_file(f"{unit}.nc", {"sst": (name, unit, values)}), to=tmp_path / f"{unit}.zarr")
        )
        for unit, values in (("degC", celsius), ("K", celsius + 273.15))
    ]
    np.testing.assert_allclose(stores[0]["tos"], stores[1]["tos"], atol=3e-5)  # float32 of 290


def test_one_variable_a_file_joins_on_time(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    files = [
        write_file("zos.nc", {"zos": (LEVEL, "m", level)}),
        write_file("uo.nc", {"uo": (EAST, "m/s", level * 2)}),
        write_file("vo.nc", {"vo": (NORTH, "m/s", level * 3)}),
    ]
    ds = open_store(ingest(files, to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(ds["uo"], (level * 2).astype(np.float32))
    assert {"zos", "uo", "vo"} <= set(ds.data_vars)


def test_the_mask_is_where_everything_is_valid_at_every_step(write_file: Writer, tmp_path: Path) -> None:
    """Values off the mask are kept as they came."""
    one, two = np.random.default_rng(0).normal(0, 0.2, (2, 6, 5, 6)).astype(np.float32)
    one[:, 0, 0] = np.nan
    two[3, 2, 2] = np.nan  # dry once
    flow = "barotropic_eastward_sea_water_velocity"
    file = write_file("f.nc", {"a": (LEVEL, "m", one), "b": (flow, "m/s", two)})
    ds = open_store(ingest(file, to=tmp_path / "s.zarr"))
    expected = np.ones((5, 6), bool)
    expected[0, 0] = expected[2, 2] = False
    np.testing.assert_array_equal(ds["mask"] == 1, expected)
    np.testing.assert_array_equal(ds["ubar"], two)
    np.testing.assert_array_equal(ds["zos"], one)


def test_north_to_south_files_come_out_south_to_north(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    latitude = np.linspace(55, 56, level.shape[1])
    south = write_file("s.nc", {"zos": (LEVEL, "m", level)}, latitude=latitude)
    north = write_file("n.nc", {"zos": (LEVEL, "m", level[:, ::-1])}, latitude=latitude[::-1])
    region = (10.2, 11.8, 55.1, 55.7)
    one, other = (
        open_store(ingest(file, to=tmp_path / f"{file.stem}.zarr", region=region)) for file in (south, north)
    )
    assert (np.diff(one["latitude"]) > 0).all()
    xr.testing.assert_equal(one.drop_attrs(), other.drop_attrs())
    assert one["latitude"].min() >= 55.1


def test_regular_grids_keep_their_one_dimensional_axes(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    ds = open_store(ingest(write_file("f.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr"))
    assert ds["zos"].dims == ("time", "latitude", "longitude")
    grid = Grid.from_dataset(ds)
    # the box between the outer cell edges, on the sphere
    latitude, longitude = ds["latitude"].to_numpy(), ds["longitude"].to_numpy()
    half_y, half_x = (latitude[1] - latitude[0]) / 2, (longitude[1] - longitude[0]) / 2
    band = np.diff(np.sin(np.deg2rad([latitude[0] - half_y, latitude[-1] + half_y])))[0]
    box = EARTH_RADIUS**2 * band * np.deg2rad(longitude[-1] - longitude[0] + 2 * half_x)
    assert grid.cell_area.sum() == pytest.approx(box, rel=1e-12)


def test_levels_are_chosen_by_depth(write_file: Writer, tmp_path: Path) -> None:
    """Stored from the bottom up; land grows with depth; the store counts from the surface."""
    depths = [100.0, 30.0, 10.0, 0.5]
    values = np.random.default_rng(0).normal(10, 1, (4, 4, 5, 6)).astype(np.float32)
    values[:, 0, :3] = np.nan
    values[:, 1, 0] = np.nan
    flat = np.random.default_rng(1).normal(0, 0.1, (4, 5, 6)).astype(np.float32)
    file = write_file(
        "t.nc",
        {"temp": ("sea_water_potential_temperature", "degC", values), "zeta": (LEVEL, "m", flat)},
        depths=depths,
    )
    everything = open_store(ingest(file, to=tmp_path / "all.zarr", depths="all"))
    assert everything["depth"].to_numpy().tolist() == [0.5, 10, 30, 100]
    np.testing.assert_array_equal(everything["thetao"], values[:, ::-1])
    assert everything["zos"].dims == ("time", "latitude", "longitude")
    np.testing.assert_array_equal(everything["mask"] == 1, np.isfinite(values[0, ::-1]))
    surface = open_store(ingest(file, to=tmp_path / "surface.zarr"))
    np.testing.assert_array_equal(surface["thetao"], values[:, 3])
    assert surface["thetao"].attrs["source_depth"] == 0.5
    some = open_store(ingest(file, to=tmp_path / "some.zarr", depths="0,30"))
    assert some["depth"].to_numpy().tolist() == [0.5, 30]
    statistics = read_statistics(tmp_path / "all.zarr")
    assert statistics["thetao"].dims == ("statistic", "depth")
    wet = values[:3, 0][:, np.isfinite(values[0, 0])].astype(np.float64)  # train: the first 3 of 4 steps
    assert statistics["thetao"].sel(statistic="mean").to_numpy()[3] == pytest.approx(wet.mean(), rel=1e-12)


def test_levels_without_sea_are_left_out_and_named(write_file: Writer, tmp_path: Path) -> None:
    """The region's sea is 30 m deep: what the product has below is not stored, and one can train on the rest."""
    values = np.random.default_rng(0).normal(10, 1, (6, 4, 5, 6)).astype(np.float32)
    values[:, 2:] = np.nan
    file = write_file(
        "t.nc", {"temp": ("sea_water_potential_temperature", "degC", values)}, depths=[0, 30, 500, 2000]
    )
    store = ingest(file, to=tmp_path / "all.zarr", depths="all")
    ds = open_store(store)
    assert ds["depth"].to_numpy().tolist() == [0, 30]
    assert ds["mask"].shape == (2, 5, 6)
    np.testing.assert_array_equal(ds["thetao"], values[:, :2])
    assert ds.attrs["depths_without_sea"] == [500, 2000]
    assert describe(store)["provenance"]["depths_without_sea"] == [500, 2000]
    assert np.isfinite(read_statistics(store)["thetao"]).all()
    dataset = WindowDataset(store, history=2, horizon=1)
    channels = dataset.layout.state
    assert torch.isfinite(Scaling.from_statistics(read_statistics(store), channels).std).all()
    ds.isel(time=slice(1)).to_netcdf(tmp_path / "part.nc")
    with pytest.raises(ValueError, match=r"^t\.nc: .* has no sea at 500 m in this region; leave .* --depths"):
        ingest(file, to=tmp_path / "some.zarr", depths="0,500")


def test_a_level_on_which_no_cell_is_whole_is_refused(write_file: Writer, tmp_path: Path) -> None:
    """Each half of the cells holds one variable only: there are values to lose, so it is for the user to say."""
    warm, salt = np.random.default_rng(0).normal(10, 1, (2, 6, 2, 5, 6)).astype(np.float32)
    warm[:, 1, :, :3] = np.nan
    salt[:, 1, :, 3:] = np.nan
    file = write_file(
        "t.nc",
        {
            "temp": ("sea_water_potential_temperature", "degC", warm),
            "salt": ("sea_water_salinity", "1e-3", salt),
        },
        depths=[0, 30],
    )
    with pytest.raises(
        ValueError, match=r"no cell holds every state variable at every step at 30 m; .* --depths 0\."
    ):
        ingest(file, to=tmp_path / "s.zarr", depths="all")


def test_coarse_levels_without_a_whole_block_are_left_out(write_file: Writer, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(10, 1, (3, 2, 6, 8)).astype(np.float32)
    values[:, 1, np.indices((6, 8)).sum(0) > 0] = np.nan  # one cell of the deep level is left
    file = write_file("t.nc", {"temp": ("sea_water_potential_temperature", "degC", values)}, depths=[0, 50])
    ds = open_store(ingest(file, to=tmp_path / "s.zarr", depths="all", coarsen=2))
    assert ds["depth"].to_numpy().tolist() == [0]
    assert ds.attrs["depths_without_sea"] == [50]
    assert open_store(ingest(file, to=tmp_path / "fine.zarr", depths="all")).sizes["depth"] == 2


def test_coarse_levels_go_by_their_own_mask(write_file: Writer, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(10, 1, (3, 2, 6, 8)).astype(np.float32)
    values[:, 1, :2, :2] = np.nan
    file = write_file("t.nc", {"temp": ("sea_water_potential_temperature", "degC", values)}, depths=[0, 50])
    ds = open_store(ingest(file, to=tmp_path / "s.zarr", depths="all", coarsen=2))
    assert ds["mask"].to_numpy()[:, 0, 0].tolist() == [1, 0]
    assert np.isfinite(ds["thetao"].to_numpy()[:, 0]).all()
    assert np.isnan(ds["thetao"].to_numpy()[:, 1, 0, 0]).all()


def test_steps_of_another_calendar_keep_it(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    file = write_file("f.nc", {"zos": (LEVEL, "m", level)}, hours=np.arange(12) * 30 + 45, calendar="360_day",
                      units="days since 2020-01-01")  # fmt: skip
    ds = open_store(ingest(file, to=tmp_path / "s.zarr"))
    assert [str(time) for time in ds["time"].values[:2]] == ["2020-02-16 00:00:00", "2020-03-16 00:00:00"]
    assert ds["time"].dt.calendar == "360_day"


def test_gaps_are_kept_and_a_single_step_may_be_stored(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    gap = open_store(
        ingest(write_file("g.nc", {"zos": (LEVEL, "m", level[:3])}, hours=[0, 1, 7]), to=tmp_path / "g.zarr")
    )
    assert (np.diff(gap["time"].values) / np.timedelta64(1, "h")).tolist() == [1, 6]
    single = ingest(write_file("s.nc", {"zos": (LEVEL, "m", level[:1])}), to=tmp_path / "s.zarr")
    assert open_store(single).sizes["time"] == 1
    assert np.isnan(read_statistics(single)["zos"].sel(statistic="difference_std"))


def test_an_atmosphere_alone_keeps_its_grid(tmp_path: Path) -> None:
    ds = open_store(ingest(sample_paths().wind, to=tmp_path / "w.zarr"))
    assert ds.sizes == {"time": 67, "y": 120, "x": 81}
    assert (ds["mask"] == 1).all()
    with netCDF4.Dataset(sample_paths().wind) as file:
        speed = np.hypot(file["x_wind_10m"][:], file["y_wind_10m"][:])
    np.testing.assert_allclose(np.hypot(ds["u10"], ds["v10"]), speed, atol=5e-6)  # float32 of 30 m/s


def test_forcing_between_its_steps_is_a_straight_line(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    """Wind every third hour that grows evenly in time and along longitude, brought to every hour of another grid."""
    hours = np.arange(0, 13, 3)
    longitude = np.linspace(9, 13, 9)
    wind = 0.5 * hours[:, None, None] + 2 * (longitude - 9)[None, None, :] + np.zeros((1, 7, 1))
    ocean = write_file("ocean.nc", {"zos": (LEVEL, "m", level)})
    air = write_file("air.nc", {"u": ("eastward_wind", "m/s", wind), "v": ("northward_wind", "m/s", -wind)},
                     hours=hours, latitude=np.linspace(54, 57, 7), longitude=longitude)  # fmt: skip
    ds = open_store(ingest(ocean, to=tmp_path / "s.zarr", forcing=air))
    expected = 0.5 * np.arange(12)[:, None, None] + 2 * (ds["longitude"].to_numpy() - 9) + np.zeros((1, 6, 1))
    # parallels bend in the plane that touches at the target, by (0.5 deg)^2 / 8 R * sin(lat): 4e-4 of 2 m/s per degree
    np.testing.assert_allclose(ds["u10"], expected, rtol=0, atol=2e-3)
    np.testing.assert_allclose(ds["v10"], -ds["u10"], rtol=0, atol=1e-6)
    assert ds["u10"].attrs["share_filled_nearest"] == 0


def test_a_relief_becomes_depth_below_the_sea(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    ocean = write_file("ocean.nc", {"zos": (LEVEL, "m", level)})
    path = tmp_path / "relief.nc"
    relief = np.where(np.isnan(level[0]), 300.0, -50.0)
    xr.Dataset(
        {"z": (("lat", "lon"), relief, {"standard_name": "height_above_mean_sea_level", "units": "m"})},
        coords={"lat": ("lat", np.linspace(55, 56, 6), {"standard_name": "latitude", "units": "degrees_north"}),
                "lon": ("lon", np.linspace(10, 12, 8), {"standard_name": "longitude", "units": "degrees_east"})},
    ).to_netcdf(path)  # fmt: skip
    ds = open_store(ingest(ocean, to=tmp_path / "s.zarr", static=path))
    np.testing.assert_array_equal(ds["deptho"], np.where(np.isnan(level[0]), np.nan, 50.0).astype(np.float32))


def test_a_complete_store_is_left_as_it_is(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    file = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    store = ingest(file, to=tmp_path / "s.zarr")
    before = (store / "zarr.json").stat().st_mtime_ns
    assert ingest(str(file), to=str(store)) == store
    assert (store / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="holds another store: coarsen was 1 and is now 2"):
        ingest(file, to=store, coarsen=2)
    write_file("f.nc", {"zos": (LEVEL, "m", level + 1)})
    with pytest.raises(ValueError, match=r"the content of f\.nc has changed"):
        ingest(file, to=store)
    everything = (
        r'profile was "fast" and is now "compact", coarsen was 1 and is now 2, the content of f\.nc has'
    )
    with pytest.raises(ValueError, match=everything):
        ingest(file, to=store, coarsen=2, profile="compact")


def test_an_interrupted_build_is_refused_and_rebuilt(
    write_file: Writer, tmp_path: Path, level: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, store = write_file("f.nc", {"zos": (LEVEL, "m", level)}), tmp_path / "s.zarr"

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    module = sys.modules["data_pipelines.build"]

    with monkeypatch.context() as patch:
        patch.setattr(module, "put_statistics", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(file, to=store)
    with pytest.raises(ValueError, match="is not complete"):
        open_store(store)
    np.testing.assert_array_equal(open_store(ingest(file, to=store))["zos"], level)


def test_nothing_else_is_overwritten(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    file = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("kept")
    with pytest.raises(ValueError, match="exists and is not a store"):
        ingest(file, to=tmp_path / "notes")
    assert (tmp_path / "notes" / "diary.txt").read_text() == "kept"


def test_a_flipped_bit_is_an_error_and_no_value(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    store = ingest(write_file("f.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr")
    chunk = next(part for part in (store / "zos" / "c").rglob("*") if part.is_file())
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        open_store(store)["zos"].to_numpy()


def test_every_chunk_is_on_disk_even_where_all_is_land(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    store = ingest(write_file("f.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr")
    group = zarr.open_group(store, mode="r")
    for _, array in group.arrays():
        assert array.nchunks_initialized == array.nchunks


def test_small_blocks_and_large_ones_give_the_same_store(
    coarse_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and writing in other portions changes nothing but the chunks."""
    sample = sample_paths()
    monkeypatch.setattr(sys.modules["data_pipelines.profiles"], "CHUNK_BYTES", 200_000)
    monkeypatch.setattr(sys.modules["data_pipelines.engine.tasks"], "READ_BYTES", 1_000_000)
    small = ingest(sample.ocean, to=tmp_path / "s.zarr", forcing=sample.wind, coarsen=4)
    xr.testing.assert_equal(open_store(small).drop_attrs(), open_store(coarse_store).drop_attrs())
    xr.testing.assert_allclose(read_statistics(small), read_statistics(coarse_store), rtol=1e-12)


def test_a_store_saved_from_memory_is_the_same_store(coarse_store: Path, tmp_path: Path) -> None:
    ds = open_store(coarse_store)
    again = save_store(ds, tmp_path / "s.zarr")
    xr.testing.assert_equal(open_store(again).drop_attrs(), ds.drop_attrs())
    xr.testing.assert_identical(
        read_statistics(again)["uo"].drop_attrs(), read_statistics(coarse_store)["uo"].drop_attrs()
    )
    assert Grid.from_dataset(open_store(again)).fingerprint == Grid.from_dataset(ds).fingerprint
    with pytest.raises(ValueError, match="exists already"):
        save_store(ds, again)
    with pytest.raises(ValueError, match="'uo' has units 'cm s-1'; the project keeps 'm s-1'"):
        save_store(ds.assign(uo=ds["uo"].assign_attrs(units="cm s-1")), tmp_path / "t.zarr")


def test_a_state_missing_at_sea_is_not_saved(coarse_store: Path, tmp_path: Path) -> None:
    ds = open_store(coarse_store).isel(time=slice(0, 6)).load()
    ds["uo"][3] = np.nan
    with pytest.raises(
        ValueError,
        match=r"state 'uo' is missing at 2015-11-16T03:00:00 on 2440 cells where its mask says sea",
    ):
        save_store(ds, tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="is not complete"):
        open_store(tmp_path / "s.zarr")
    # Out of the mask it may be missing, and what was refused is replaced.
    ds["uo"][3] = ds["uo"][2].where(ds["uo"][2] > 0)
    mask = ds["mask"].where(ds["uo"].notnull().all("time"), 0).astype(np.int8)
    assert 0 < int(mask.sum()) < 2440
    assert open_store(save_store(ds.assign(mask=mask), tmp_path / "s.zarr")).sizes["time"] == 6


def test_a_single_step_is_saved_and_described_without_a_warning(coarse_store: Path, tmp_path: Path) -> None:
    """Warnings are errors here; one step is all training, and has no step to differ by."""
    store = save_store(
        open_store(coarse_store).isel(time=slice(1)).drop_attrs(deep=False), tmp_path / "s.zarr"
    )
    found = describe(store)
    assert found["splits"] == {"train": ["2015-11-16T00:00:00", "2015-11-16T00:00:00"]}
    assert found["time"]["steps"] == 1
    assert np.isnan(read_statistics(store)["uo"].sel(statistic="difference_std"))


def test_a_group_is_complete_once_committed(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=3, attributes={"complete": False})
    group.create_array("time", shape=(1,), dtype="i8")
    commit(tmp_path / "s.zarr")
    root = json.loads((tmp_path / "s.zarr" / "zarr.json").read_text())
    assert root["attributes"]["complete"] is True
    assert "time" in root["consolidated_metadata"]["metadata"]
    assert not list(tmp_path.glob("s.zarr/*.partial"))


def test_a_store_is_a_source_again(coarse_store: Path, tmp_path: Path) -> None:
    """Our own store, ingested as a CF source: true east and north stay, nothing is turned twice."""
    again = open_store(ingest(coarse_store, to=tmp_path / "s.zarr", variables=["uo", "vo"]))
    ds = open_store(coarse_store)
    for name in ("uo", "vo", "mask"):
        np.testing.assert_array_equal(again[name], ds[name])


def test_progress_reaches_its_end(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    seen: list[tuple[str, int, int]] = []
    ingest(write_file("f.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr",
           progress=lambda what, done, total: seen.append((what, done, total)))  # fmt: skip
    assert seen[-1] == ("statistics", 12, 12)
    assert ("zos", 12, 12) in seen
