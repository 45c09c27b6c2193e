"""The catalogue of bad input: each is told in one sentence with the file, the variable and the time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines import describe, ingest, open_store

Writer = Callable[..., Path]
Spoil = Callable[[Path], None]
LEVEL, TEMPERATURE = "sea_surface_height_above_geoid", "sea_water_potential_temperature"
HOURS = 12


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def with_time(**attrs: Any) -> Spoil:
    def spoil(path: Path) -> None:
        with netCDF4.Dataset(path, "a") as file:
            file["time"].setncatts(attrs)

    return spoil


def with_value(value: float, step: int = 4, cells: Any = (5, 5)) -> Spoil:
    def spoil(path: Path) -> None:
        with netCDF4.Dataset(path, "a") as file:
            file["zos"][(step, *cells)] = value

    return spoil


def times(values: Sequence[float]) -> Spoil:
    def spoil(path: Path) -> None:
        with netCDF4.Dataset(path, "a") as file:
            file["time"][: len(values)] = values

    return spoil


def masked(path: Path) -> None:
    with netCDF4.Dataset(path, "a") as file:
        file["zos"][7] = np.ma.masked


def unmarked(path: Path) -> None:
    """Land that is zero, and no fill value."""
    with xr.open_dataset(path, decode_times=False) as ds:
        ds = ds.load()
    ds["zos"] = ds["zos"].fillna(0)
    ds.to_netcdf(path, encoding={"zos": {"_FillValue": None}})


def without_unit(path: Path) -> None:
    with netCDF4.Dataset(path, "a") as file:
        file["zos"].delncattr("units")


def flat(path: Path) -> None:
    """A projection on an Earth of unknown shape, and no position to check it."""
    with netCDF4.Dataset(path, "a") as file:
        for name, size in (("lat", "y"), ("lon", "x")):
            file.renameVariable(name, size)
            file[size].setncatts({"standard_name": f"projection_{size}_coordinate", "units": "km"})
        file.createVariable("crs", "i4").setncatts(
            {
                "grid_mapping_name": "polar_stereographic",
                "latitude_of_projection_origin": 90.0,
                "straight_vertical_longitude_from_pole": 0.0,
                "standard_parallel": 60.0,
            }
        )
        file["zos"].grid_mapping = "crs"


def changed(change: Callable[[xr.Dataset], xr.Dataset], **options: Any) -> Spoil:
    """A file written anew after a change."""

    def spoil(path: Path) -> None:
        with xr.open_dataset(path, decode_times=False) as ds:
            ds = change(ds.load())
        ds.to_netcdf(path, **options)

    return spoil


def unmarked_in_one_step(path: Path) -> None:
    unmarked(path)
    changed(lambda ds: ds.isel(time=[0]))(path)


ROWS: list[tuple[str, Spoil, str]] = [
    ("cut off", cut_off, r"^a\.nc has \d+ of the \d+ bytes that its header says; it was cut off"),
    ("no date", with_time(units="second"), r"^a\.nc: time coordinate 'time': its unit is 'second', which names no"),
    ("no time", with_time(units="1"), r"^a\.nc: time coordinate 'time': its unit is '1', which names no reference"),
    ("Ferret's climatology", with_time(modulo=" "), r"^a\.nc: time coordinate 'time' says that .* is a clim"),
    ("CF's climatology", with_time(climatology="bounds"), r"^a\.nc: time coordinate 'time' .* one year for all"),
    ("twelve months of the year 1", with_time(units="days since 0001-01-01", calendar="360_day"),
     r"^a\.nc: time coordinate 'time' of variable 'zos' has twelve steps in the year 1, as only a climatology"),
    ("months since the year 0", with_time(units="months since 0000-01-01"), r"^a\.nc: time coordinate .* climatology"),
    ("months", with_time(units="months since 2000-01-01"),
     r"^a\.nc: time .* into dates .*; write days, hours or seconds"),
    ("no step", changed(lambda ds: ds.isel(time=slice(0, 0)), unlimited_dims=["time"]),
     r"^a\.nc: variable 'zos' has no step along 'time', as where a run ended"),
    ("rows out of order", changed(lambda ds: ds.isel(y=[0, 2, 1, 3, 4, 5])),
     r"^a\.nc: variable 'zos': its latitudes, 55 to 56, do not run one way"),
    ("a single column", changed(lambda ds: ds.isel(x=[5])),
     r"^a\.nc: variable 'zos': its longitudes, .* over two cells"),
    ("land that is zero in one step", unmarked_in_one_step,
     r"^a\.nc: variable 'zos' has no missing value and holds 0 on \d+\.\d % of its cells in its one step, as land"),
    ("a time twice", times([0, 1, 1]), r"^a\.nc: time 2020-01-01T01:00:00 occurs twice"),
    ("a time missing", times([0, np.nan]), r"^a\.nc: time coordinate 'time': a time is missing"),
    ("an infinite value", with_value(np.inf), r"^a\.nc: variable 'zos' at 2020-01-01T04:00:00 reaches inf m"),
    ("a fill value of another file", with_value(1e19), r"^a\.nc: variable 'zos' at .*T04:00:00 reaches 1e\+19 m"),
    ("a negative one", with_value(-9999), r"^a\.nc: variable 'zos' at .*T04:00:00 reaches -9999 m; sea level"),
    ("a step without values", masked, r"^a\.nc: variable 'zos' at 2020-01-01T07:00:00 holds no value at all"),
    ("land that nobody marked", unmarked, r"^a\.nc: variable 'zos' has no missing value and holds 0 on 12\.5 % of its"),
    ("no unit", without_unit, r"^a\.nc: variable 'zos' has no unit; sea level is kept in m"),
    ("an Earth of unknown shape", flat, r"^a\.nc: variable 'zos': its grid mapping 'crs' does not tell the shape of"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_is_wrong_is_said(
    write_file: Writer, tmp_path: Path, level: np.ndarray, spoil: Spoil, words: str
) -> None:
    """And a store beside it stays as it was, and the good file alone makes its own."""
    path = write_file("a.nc", {"zos": (LEVEL, "m", level)})
    good = ingest(path, to=tmp_path / "good.zarr")
    before = {file: file.read_bytes() for file in good.rglob("*") if file.is_file()}
    spoil(path)
    with pytest.raises(ValueError, match=words) as caught:
        ingest(path, to=tmp_path / "bad.zarr")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    with pytest.raises(ValueError, match=r"holds another store|a\.nc"):
        ingest(path, to=good)
    assert {file: file.read_bytes() for file in good.rglob("*") if file.is_file()} == before
    with pytest.raises((ValueError, FileNotFoundError)):
        open_store(tmp_path / "bad.zarr")


def test_flipped_bytes_are_told_with_the_step(write_file: Writer, tmp_path: Path) -> None:
    """In compressed chunks of a step each, which fill the file in their order: its middle is near step 6 of 12."""
    values = np.random.default_rng(0).normal(0, 0.3, (HOURS, 60, 80)).astype(np.float32)
    values[:, :10, :10] = np.nan
    path = write_file("a.nc", {"zos": (LEVEL, "m", values)})
    with xr.open_dataset(path, decode_times=False) as ds:
        ds = ds.load()
    ds.to_netcdf(path, encoding={"zos": {"zlib": True, "shuffle": True, "chunksizes": (1, 60, 80)}})
    open_store(ingest(path, to=tmp_path / "good.zarr"))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 + 2000
    data[middle : middle + 64] = bytes(byte ^ 0xFF for byte in data[middle : middle + 64])
    path.write_bytes(bytes(data))
    words = r"^a\.nc: variable 'zos' cannot be read at step [567] \(2020-01-01T0[567]:00:00\) \(NetCDF: .*the file is"
    with pytest.raises(ValueError, match=words):
        ingest(path, to=tmp_path / "s.zarr")


def two(write_file: Writer, level: np.ndarray, **second: Any) -> list[Path]:
    options = {"hours": range(HOURS, 2 * HOURS)} | second
    fields = options.pop("fields", {"zos": (LEVEL, "m", level)})
    return [
        write_file("a.nc", {"zos": (LEVEL, "m", level)}),
        write_file("b.nc", fields, **options),
    ]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"hours": range(HOURS)}, r"^a\.nc and b\.nc: time 2020-01-01T00:00:00 occurs twice, as do 11 more"),
        ({"hours": range(11, 23)}, r"^a\.nc and b\.nc: time 2020-01-01T11:00:00 occurs twice; give every step once"),
        ({"calendar": "noleap"}, r"^a\.nc: variable 'zos' is in the calendar proleptic_gregorian, b\.nc.* in noleap"),
        ({"longitude": np.linspace(10.0, 12.1, 8)}, r"^b\.nc: variable 'zos' lies on other cells than a\.nc"),
    ],
    ids=["the same file twice", "files that overlap", "two calendars", "two grids"],
)  # fmt: skip
def test_two_files_that_do_not_go_together_are_both_named(
    write_file: Writer, tmp_path: Path, level: np.ndarray, second: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ingest(two(write_file, level, **second), to=tmp_path / "s.zarr")


def test_a_gap_is_stored_and_listed(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    files = two(write_file, level, hours=range(HOURS + 5, 2 * HOURS + 5))
    store = ingest(files, to=tmp_path / "s.zarr")
    np.testing.assert_array_equal(open_store(store)["zos"], np.concatenate([level, level]))
    (gap,) = describe(store)["time"]["gaps"]
    assert gap["after"] == "2020-01-01T11:00:00"


def test_units_of_one_file_that_differ_are_converted(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    files = two(write_file, level, fields={"zos": (LEVEL, "0.1 dm", level * 100)}, units="minutes since 2020-01-01",
                hours=60 * np.arange(HOURS, 2 * HOURS))  # fmt: skip
    store = open_store(ingest(files, to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(store["zos"], np.concatenate([level, level]), rtol=1e-6)  # float32


def test_a_mask_that_changes_is_that_of_the_cells_that_are_always_wet(
    write_file: Writer, tmp_path: Path, level: np.ndarray
) -> None:
    drier = level.copy()
    drier[3:, 4, 4] = np.nan
    store = open_store(
        ingest(two(write_file, level, fields={"zos": (LEVEL, "m", drier)}), to=tmp_path / "s.zarr")
    )
    np.testing.assert_array_equal(store["mask"] == 1, np.isfinite(drier).all(0))
    np.testing.assert_array_equal(store["zos"], np.concatenate([level, drier]))  # values elsewhere stay


def test_positions_win_over_a_projection_that_contradicts_them(tmp_path: Path, level: np.ndarray) -> None:
    """By 14 km on cells of 4: the file's own longitude and latitude are kept, and the store says so."""
    x, y = np.arange(8) * 4000.0, np.arange(6) * 4000.0 - 3e6
    radius, phi = 6.371e6, np.deg2rad(60)
    distance = np.hypot(*np.meshgrid(x, y))
    latitude = 90 - 2 * np.rad2deg(np.arctan(distance / (radius * (1 + np.sin(phi))))) + 14 / 111.195
    longitude = np.rad2deg(np.arctan2(x[None], -y[:, None]))
    ds = xr.Dataset(
        {"zos": (("time", "y", "x"), level, {"standard_name": LEVEL, "units": "m", "grid_mapping": "crs"})},
        coords={"time": ("time", np.arange(HOURS), {"units": "hours since 2020-01-01"}),
                "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "m"}),
                "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "m"}),
                "lat": (("y", "x"), latitude, {"standard_name": "latitude", "units": "degrees_north"}),
                "lon": (("y", "x"), longitude, {"standard_name": "longitude", "units": "degrees_east"})},
    )  # fmt: skip
    ds["crs"] = ((), 0, {"proj4": f"+proj=stere +lat_0=90 +lon_0=0 +lat_ts=60 +R={radius}"})
    ds.to_netcdf(tmp_path / "shifted.nc")
    store = open_store(ingest(tmp_path / "shifted.nc", to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(store["latitude"], latitude, atol=1e-12)
    assert "projection is up to 14 km, 3." in store["zos"].attrs["comment"]


def test_deep_fields_name_their_own_file_and_time(write_file: Writer, tmp_path: Path) -> None:
    deep = 8 + np.random.default_rng(0).normal(0, 1, (4, 3, 5, 6))
    deep[2, 1, 3, 3] = 77.0
    path = write_file("t.nc", {"temp": (TEMPERATURE, "degC", deep)}, depths=[0, 10, 20])
    with pytest.raises(ValueError, match=r"^t\.nc: variable 'temp' at 2020-01-01T02:00:00 reaches 77 degC"):
        ingest(path, to=tmp_path / "s.zarr", depths="all")
    open_store(ingest(path, to=tmp_path / "top.zarr"))  # the surface alone is sound
