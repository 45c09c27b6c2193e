"""Files as data services hand them out, CF with habits of their own, and stores and addresses instead of files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pyproj
import pytest
import xarray as xr

from data_pipelines import describe, ingest, open_store
from data_pipelines.sources import open_source, source_paths

Attributes = Mapping[str, Any]
PACKED = {"dtype": "int16", "_FillValue": np.int16(-32767)}


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, shape)


def packed_value(path: Path, name: str) -> np.ndarray:
    """Values of a variable by plain arithmetic, NaN where it has its fill value."""
    with netCDF4.Dataset(path) as file:
        variable = file[name]
        variable.set_auto_maskandscale(False)
        raw = variable[:]
        values = raw * float(getattr(variable, "scale_factor", 1.0)) + float(
            getattr(variable, "add_offset", 0.0)
        )
        return np.where(raw == getattr(variable, "_FillValue", None), np.nan, values)


def regular(
    sizes: Mapping[str, Any],
    fields: Mapping[str, tuple[tuple[str, ...], np.ndarray, Attributes]],
    **attrs: Attributes,
) -> xr.Dataset:
    return xr.Dataset(
        {name: (dims, values, dict(own)) for name, (dims, values, own) in fields.items()},
        coords={name: (name, axis, dict(attrs.get(name, {}))) for name, axis in sizes.items()},
    )


def test_glorys(tmp_path: Path) -> None:
    """Copernicus Marine: packed, depths from half a metre, a floor and a mixed layer that are not wanted."""
    deep, plane = ("time", "depth", "latitude", "longitude"), ("time", "latitude", "longitude")
    axes = {
        "time": np.array([609864.0, 609888.0, 609912.0]),
        "depth": np.array([0.494, 1.541, 9.573], np.float32),
        "latitude": np.arange(55, 56, 1 / 12, dtype=np.float32),
        "longitude": np.arange(3, 4.5, 1 / 12, dtype=np.float32),
    }
    shape = tuple(len(axes[name]) for name in deep)
    land = np.zeros(shape, bool)
    land[..., :3, :4] = land[:, 2, 5] = True

    def field(
        standard_name: str, unit: str, values: np.ndarray
    ) -> tuple[tuple[str, ...], np.ndarray, Attributes]:
        dry = land if values.ndim == 4 else land[:, 0]
        return (
            deep if values.ndim == 4 else plane,
            np.where(dry, np.nan, values),
            {"standard_name": standard_name, "units": unit},
        )

    ds = regular(axes, {
        "thetao": field("sea_water_potential_temperature", "degrees_C", 8 + random(*shape)),
        "so": field("sea_water_salinity", "1e-3", 34 + random(*shape)),
        "uo": field("eastward_sea_water_velocity", "m s-1", random(*shape, seed=1)),
        "vo": field("northward_sea_water_velocity", "m s-1", random(*shape, seed=2)),
        "zos": field("sea_surface_height_above_geoid", "m", random(shape[0], *shape[2:])),
        "bottomT": field("sea_water_potential_temperature_at_sea_floor", "degrees_C", 5 + random(shape[0], *shape[2:])),
        "mlotst": field("ocean_mixed_layer_thickness_defined_by_sigma_theta", "m", 30 + random(shape[0], *shape[2:])),
    }, time={"units": "hours since 1950-01-01", "calendar": "gregorian", "standard_name": "time", "axis": "T"},
       depth={"units": "m", "positive": "down", "standard_name": "depth", "axis": "Z", "unit_long": "Meters"},
       latitude={"units": "degrees_north", "standard_name": "latitude", "axis": "Y"},
       longitude={"units": "degrees_east", "standard_name": "longitude", "axis": "X"})  # fmt: skip
    encoding: dict[str, Any] = {
        name: PACKED | {"scale_factor": 0.000610370188951492, "add_offset": 21.0 if name == "thetao" else 0.0}
        for name in ("thetao", "uo", "vo", "zos")
    }
    encoding["so"] = PACKED | {"scale_factor": 0.00152592547237873, "add_offset": -0.00152592547237873}
    path = tmp_path / "mercatorglorys12v1.nc"
    ds.to_netcdf(path, encoding=encoding)
    store = open_store(ingest(path, to=tmp_path / "s.zarr", depths="all"))
    assert {"zos", "uo", "vo", "thetao", "so"} <= set(store.data_vars)
    for name in ("zos", "uo", "vo", "thetao", "so"):
        np.testing.assert_allclose(store[name], packed_value(path, name), rtol=1e-6, atol=1e-9)  # float32
    np.testing.assert_allclose(store["depth"], axes["depth"], rtol=1e-7)
    surface = open_store(ingest(path, to=tmp_path / "t.zarr"))
    np.testing.assert_array_equal(surface["uo"], store["uo"][:, 0])
    assert surface["uo"].attrs["source_depth"] == pytest.approx(0.494)


@pytest.mark.parametrize("standard_name", ["sea_surface_height_above_sea_level", None])
def test_the_baltic_calls_its_sea_level_sla(tmp_path: Path, standard_name: str | None) -> None:
    values = random(3, 4, 5)
    values[:, 0, 0] = np.nan
    named = {} if standard_name is None else {"standard_name": standard_name}
    ds = regular(
        {"time": np.arange(3), "lat": np.linspace(58, 59, 4), "lon": np.linspace(18, 20, 5)},
        {"sla": (("time", "lat", "lon"), values, {"units": "m", **named})},
        time={"units": "hours since 1900-01-01"}, lat={"units": "degrees_north"}, lon={"units": "degrees_east"},
    )  # fmt: skip
    ds.to_netcdf(tmp_path / "bal.nc")
    store = open_store(ingest(tmp_path / "bal.nc", to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(store["zos"], values.astype(np.float32))


def era5(path: Path, *, longitude: np.ndarray, time: str = "valid_time") -> tuple[Path, xr.Dataset]:
    """North to south, standard names 'unknown', a wind at 100 m beside that at 10 m, and numbers of no use."""
    axes = {
        time: np.arange(4) * 3600 + 1577836800,
        "latitude": np.arange(61, 53.9, -0.25),
        "longitude": longitude,
    }
    shape = tuple(len(axis) for axis in axes.values())
    dims = tuple(axes)
    unknown = {"units": "m s**-1", "standard_name": "unknown", "GRIB_gridType": "regular_ll"}
    ds = regular(axes, {
        "u10": (dims, 5 + random(*shape, seed=1), {**unknown, "long_name": "10 metre U wind component"}),
        "v10": (dims, random(*shape, seed=2), {**unknown, "long_name": "10 metre V wind component"}),
        "u100": (dims, 9 + random(*shape, seed=3), {**unknown, "long_name": "100 metre U wind component"}),
        "msl": (dims, 101325 + 100 * random(*shape, seed=4),
                {"units": "Pa", "standard_name": "air_pressure_at_mean_sea_level"}),
    }, **{time: {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "standard_name": "time"},
          "latitude": {"units": "degrees_north", "standard_name": "latitude", "stored_direction": "decreasing"},
          "longitude": {"units": "degrees_east", "standard_name": "longitude"}})  # fmt: skip
    ds = ds.assign_coords(number=0, expver=(time, np.array(["0001"] * 4)))
    ds.to_netcdf(path)
    return path, ds


@pytest.mark.parametrize("longitudes", ["0 to 360", "-180 to 180", "0 to 360 and the first again"])
def test_era5_over_a_sea_across_greenwich(tmp_path: Path, longitudes: str) -> None:
    """Whatever the axis, a global wind reaches a sea at 2 W to 2 E; on nodes of both grids its values are kept."""
    columns = np.arange(0, 360, 0.5) if longitudes.startswith("0") else np.arange(-180, 180, 0.5)
    if longitudes.endswith("again"):
        columns = np.append(columns, 360.0)
    path, ds = era5(tmp_path / "era5.nc", longitude=columns)
    if longitudes.endswith("again"):
        ds["u10"][..., -1], ds["v10"][..., -1], ds["msl"][..., -1] = (
            ds[name][..., 0] for name in ("u10", "v10", "msl")
        )
        ds.to_netcdf(path)
    sea = regular(
        {"time": np.arange(4), "lat": np.arange(55, 58, 0.25), "lon": np.arange(-2, 2.1, 0.5)},
        {"zos": (("time", "lat", "lon"), random(4, 12, 9),
                 {"units": "m", "standard_name": "sea_surface_height_above_geoid"})},
        time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"}, lon={"units": "degrees_east"},
    )  # fmt: skip
    sea.to_netcdf(tmp_path / "sea.nc")
    store = open_store(ingest(tmp_path / "sea.nc", to=tmp_path / "s.zarr", forcing=path))
    assert "u100" not in store
    wrapped = ds.assign_coords(longitude=(ds["longitude"] + 180) % 360 - 180).drop_duplicates("longitude")
    there = wrapped.sortby(["latitude", "longitude"]).sel(
        latitude=store["latitude"], longitude=store["longitude"]
    )
    for name, tolerance in (("u10", 2e-6), ("v10", 1e-6), ("msl", 0.02)):  # float32 of 5, 1 and 1e5
        np.testing.assert_allclose(store[name], there[name], atol=tolerance)


def test_a_repeated_column_that_differs_is_refused(tmp_path: Path) -> None:
    path, _ = era5(tmp_path / "era5.nc", longitude=np.linspace(0, 360, 181))
    with pytest.raises(
        ValueError, match=r"^era5\.nc: variable 'u10': its last 1 columns lie at the longitudes of the"
    ):
        open_source(path)


def test_an_atmosphere_on_heights_with_a_lying_long_name(tmp_path: Path) -> None:
    """The components are along the grid, whatever the long name says; packing with a negative scale is as good."""
    rows, columns = np.arange(-10, 10) * 2500.0, np.arange(-12, 12) * 2500.0
    names = {
        "x_wind_10m": ("x_wind", "Zonal 10 metre wind (U10M)"),
        "y_wind_10m": ("y_wind", "Meridional 10 metre wind"),
    }
    axis = {"standard_name": "projection_x_coordinate", "units": "m"}
    ds = regular(
        {"time": np.arange(3), "height7": np.array([10.0]), "y": rows, "x": columns},
        {name: (("time", "height7", "y", "x"), np.round(1000 * random(3, 1, 20, 24, seed=len(said))).astype(np.int16),
                {"standard_name": standard_name, "long_name": said, "units": "m/s", "grid_mapping": "projection",
                 "scale_factor": -0.001, "add_offset": 0.5})
         for name, (standard_name, said) in names.items()},
        time={"units": "seconds since 2016-02-01 00:00:00 +00:00", "standard_name": "time"},
        height7={"units": "m", "positive": "up", "standard_name": "height"},
        x=axis, y=axis | {"standard_name": "projection_y_coordinate"},
    )  # fmt: skip
    ds["projection"] = ((), 0, {"grid_mapping_name": "lambert_conformal_conic",
                                "proj4": "+proj=lcc +lat_0=63 +lon_0=15 +lat_1=63 +lat_2=63 +R=6371000"})  # fmt: skip
    path = tmp_path / "arome.nc"
    ds.to_netcdf(path, encoding={name: {"_FillValue": None} for name in names})
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    x, y = (packed_value(path, name)[:, 0] for name in names)
    np.testing.assert_allclose(np.hypot(store["u10"], store["v10"]), np.hypot(x, y), atol=1e-6)
    # At 15 E the axis of this projection points to the east.
    column = int(np.flatnonzero(columns == 0)[0])
    np.testing.assert_allclose(store["u10"][..., column], x[..., column], atol=1e-6)
    assert "its long_name, 'Zonal 10 metre wind (U10M)', says otherwise" in store["u10"].attrs["comment"]
    assert store["u10"].attrs["vector_frame"].startswith("true east and north, turned")


@pytest.mark.parametrize(("unit", "metres"), [("km", 1000), ("100 km", 100_000)])
def test_projection_axes_in_kilometres(tmp_path: Path, unit: str, metres: int) -> None:
    """The same cells as in metres, and the same area; the Arctic of Copernicus counts hundreds of them."""
    stores = []
    for written, size in (("m", 1), (unit, metres)):
        ds = regular(
            {"time": np.arange(2), "y": np.arange(5) * 20000.0 / size, "x": np.arange(6) * 20000.0 / size},
            {"zos": (("time", "y", "x"), random(2, 5, 6),
                     {"units": "m", "standard_name": "sea_surface_height", "grid_mapping": "crs"})},
            time={"units": "hours since 2020-01-01"},
            x={"standard_name": "projection_x_coordinate", "units": written},
            y={"standard_name": "projection_y_coordinate", "units": written},
        )  # fmt: skip
        ds["crs"] = ((), 0, {"grid_mapping_name": "polar_stereographic", "latitude_of_projection_origin": 90.0,
                             "straight_vertical_longitude_from_pole": 0.0, "standard_parallel": 60.0,
                             "earth_radius": 6371000.0})  # fmt: skip
        ds.to_netcdf(tmp_path / f"{size}.nc")
        stores.append(open_store(ingest(tmp_path / f"{size}.nc", to=tmp_path / f"{size}.zarr")))
    for name in ("latitude", "longitude", "cell_area"):
        np.testing.assert_allclose(stores[0][name], stores[1][name], rtol=1e-12)
    np.testing.assert_array_equal(stores[1]["x"], np.arange(6) * 20000.0)


@pytest.mark.parametrize("name", ["ROSE", "elevation", "z", "band"])
@pytest.mark.parametrize("longitudes", [(0, 359), (20, 380), (-180, 180)])
def test_a_relief_is_a_depth(tmp_path: Path, name: str, longitudes: tuple[int, int]) -> None:
    """Up-positive by its name or its standard name, on any axis around the Earth, with or without a column again."""
    lon = np.arange(longitudes[0], longitudes[1] + 1.0)
    lat = np.arange(50.0, 61.0)
    east, north = np.meshgrid(lon, lat)
    relief = -2000 + 1500 * np.cos(np.deg2rad(east)) + 10 * north
    named = {"z": {"standard_name": "height"}, "band": {"standard_name": "height_above_mean_sea_level"}}
    attrs = {"units": "METERS", **named.get(name, {})}
    regular({"lat": lat, "lon": lon}, {name: (("lat", "lon"), relief, attrs)}, lat={"units": "degrees_north"},
            lon={"units": "degrees_east", "modulo": " "}).to_netcdf(tmp_path / "etopo.nc")  # fmt: skip
    sea = regular(
        {"time": np.arange(3), "lat": np.arange(52, 58, 1.0), "lon": np.arange(25, 35, 1.0)},
        {"zos": (("time", "lat", "lon"), random(3, 6, 10), {"units": "m", "standard_name": "sea_surface_height"})},
        time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"}, lon={"units": "degrees_east"},
    )  # fmt: skip
    sea.to_netcdf(tmp_path / "sea.nc")
    store = open_store(ingest(tmp_path / "sea.nc", to=tmp_path / "s.zarr", static=tmp_path / "etopo.nc"))
    east, north = np.meshgrid(store["longitude"], store["latitude"])
    np.testing.assert_allclose(
        store["deptho"], 2000 - 1500 * np.cos(np.deg2rad(east)) - 10 * north, rtol=1e-6
    )
    source = open_source(tmp_path / "etopo.nc")
    assert source.fields["deptho"].positions.shape == (11, len(np.unique(lon % 360)))
    source.close()


def test_an_axis_across_the_date_line_goes_on(tmp_path: Path) -> None:
    values = random(2, 4, 6)
    lon = np.array([177.0, 178, 179, -180, -179, -178])
    regular({"time": np.arange(2), "lat": np.arange(4.0), "lon": lon},
            {"zos": (("time", "lat", "lon"), values, {"units": "m", "standard_name": "sea_surface_height"})},
            time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"},
            lon={"units": "degrees_east"}).to_netcdf(tmp_path / "fiji.nc")  # fmt: skip
    store = open_store(ingest(tmp_path / "fiji.nc", to=tmp_path / "s.zarr", region=(178.5, -178.5, 0.5, 3.5)))
    np.testing.assert_array_equal(store["longitude"], [179, 180, 181])
    np.testing.assert_array_equal(store["zos"], values[:, 1:, 2:5].astype(np.float32))


@pytest.mark.parametrize(
    ("first", "region", "longitude"),
    [
        (0, (-4, 5, -10, 10), np.arange(-4, 6, 2)),
        (-180, (174, -175, -10, 10), np.arange(174, 186, 2)),
        (-180, (-4, 5, -10, 10), np.arange(-4, 6, 2)),
        (20, (0, 30, -10, 10), np.arange(0, 32, 2)),
    ],
)
@pytest.mark.parametrize("curved", [False, True])
def test_a_region_across_the_seam_of_a_global_grid_is_one_piece(
    tmp_path: Path, first: int, region: tuple[float, ...], longitude: np.ndarray, curved: bool
) -> None:
    """Wherever the file begins: the columns of the region in their order, and no others."""
    lon, lat = first + np.arange(0, 360, 2.0), np.arange(-20, 21, 2.0)
    values = random(3, len(lat), len(lon))
    values[:, 10, 40] = np.nan
    dims = ("time", "y", "x") if curved else ("time", "lat", "lon")
    ds = regular({"time": np.arange(3)} | ({} if curved else {"lat": lat, "lon": lon}),
                 {"zos": (dims, values, {"units": "m", "standard_name": "sea_surface_height"})},
                 time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"},
                 lon={"units": "degrees_east"})  # fmt: skip
    if curved:
        for name, plane, unit in zip(
            ("lon", "lat"), np.meshgrid(lon, lat), ("degrees_east", "degrees_north"), strict=True
        ):
            ds[name] = (("y", "x"), plane, {"units": unit})
    ds.to_netcdf(tmp_path / "globe.nc")
    store = open_store(ingest(tmp_path / "globe.nc", to=tmp_path / "s.zarr", region=region))
    row = store["longitude"].values[0] if curved else store["longitude"].values
    np.testing.assert_array_equal(row, (longitude + 180) % 360 - 180 if curved else longitude)
    columns = [int(np.flatnonzero((lon - east) % 360 == 0)[0]) for east in longitude]
    np.testing.assert_array_equal(store["zos"], values[:, 5:16][..., columns].astype(np.float32))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("address", ["path", "file", "memory"])
def test_a_zarr_store_is_a_source_wherever_it_lies(tmp_path: Path, version: int, address: str) -> None:
    values = random(3, 4, 5)
    values[:, 0, 0] = np.nan
    ds = regular({"time": np.arange(3), "lat": np.linspace(58, 59, 4), "lon": np.linspace(18, 20, 5)},
                 {"zos": (("time", "lat", "lon"), values, {"units": "m", "standard_name": "sea_surface_height"})},
                 time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"},
                 lon={"units": "degrees_east"})  # fmt: skip
    name = f"{tmp_path.name}-{version}.zarr"
    where = {"path": f"{tmp_path}/{name}", "file": f"file://{tmp_path}/{name}", "memory": f"memory://{name}"}[
        address
    ]
    ds.to_zarr(where.removeprefix("file://"), zarr_format=version, consolidated=version == 2)
    assert source_paths(where) == [where if "://" in where else Path(where)]
    store = open_store(ingest(where, to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(store["zos"], values.astype(np.float32))
    assert describe(where)["variables"]["zos"]["source_units"] == "m"


def weather(folder: Path, **fields: Mapping[str, Any]) -> Path:
    """Fields along time, latitude and longitude; ``level`` of a field gives it an axis of one."""
    axes = {"time": np.arange(4), "latitude": np.arange(60, 54, -1.0), "longitude": np.arange(0, 8, 1.0)}
    dims = tuple(axes)
    shape = tuple(len(axis) for axis in axes.values())
    ds = regular(axes, {name: (dims, 5 + random(*shape, seed=number), attrs)
                        for number, (name, attrs) in enumerate(fields.items())},
                 time={"units": "hours since 2020-01-01", "standard_name": "time"},
                 latitude={"units": "degrees_north"}, longitude={"units": "degrees_east"})  # fmt: skip
    ds.to_netcdf(folder / "weather.nc")
    return folder / "weather.nc"


SPEED = {"units": "m s**-1"}


@pytest.mark.parametrize("names", [("uas", "vas"), ("ugrd10m", "vgrd10m"), ("10u", "10v")])
def test_winds_at_10_m_by_the_names_of_their_services(tmp_path: Path, names: tuple[str, str]) -> None:
    path = weather(tmp_path, **{names[0]: SPEED, names[1]: SPEED})
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    with netCDF4.Dataset(path) as file:
        for ours, theirs in zip(("u10", "v10"), names, strict=True):
            np.testing.assert_array_equal(store[ours], file[theirs][:, ::-1].astype(np.float32))


@pytest.mark.parametrize("name", ["u100", "100u", "u_component"])
def test_a_wind_at_100_m_is_none_at_10_m(tmp_path: Path, name: str) -> None:
    """Beside one at 10 m it is left aside, and alone it is not taken for one."""
    high = SPEED | {"standard_name": "eastward_wind", "long_name": "100 metre U wind component"}
    low = SPEED | {"standard_name": "eastward_wind", "long_name": "10 metre U wind component"}
    path = weather(tmp_path, **{name: high, "10u": low, "v10": SPEED})
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    assert store["u10"].attrs["source_variable"] == "10u"
    with pytest.raises(ValueError, match=rf"^weather\.nc: none of its variables \({name}\) is known"):
        ingest(weather(tmp_path, **{name: high}), to=tmp_path / "t.zarr")


@pytest.mark.parametrize(
    ("level", "attrs", "said"),
    [(850, {"units": "millibars"}, "850 millibars"), (100.0, {"units": "m", "standard_name": "height"}, "100 m")],
)  # fmt: skip
@pytest.mark.parametrize("scalar", [False, True])
def test_a_wind_on_another_level_is_refused(
    tmp_path: Path, level: float, attrs: Attributes, said: str, scalar: bool
) -> None:
    wind = SPEED | {"standard_name": "eastward_wind"}
    path = weather(tmp_path, u=wind, v=SPEED | {"standard_name": "northward_wind"})
    with xr.open_dataset(path, decode_times=False) as ds:
        ds = ds.load().assign_coords(level=((), level, dict(attrs)))
    ds = ds if scalar else ds.expand_dims("level", 1)
    ds.to_netcdf(path)
    with pytest.raises(ValueError, match=rf"^weather\.nc: variable 'u' is a wind at {said} \('level'\)"):
        ingest(path, to=tmp_path / "s.zarr")


def test_a_forecast_in_a_converted_grib_file_is_at_its_valid_time(tmp_path: Path) -> None:
    """``time`` is when the forecast started, ``valid_time`` six hours later is what the values are of."""
    path = weather(tmp_path, u10=SPEED, v10=SPEED)
    with xr.open_dataset(path, decode_times=False) as ds:
        ds = ds.load()
    ds["time"].attrs["long_name"] = "initial time of forecast"
    valid = {"units": "hours since 2020-01-01", "standard_name": "time", "long_name": "time"}
    ds.assign_coords(valid_time=("time", ds["time"].values + 6, valid)).to_netcdf(path)
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    assert store["time"].values[0] == np.datetime64("2020-01-01T06")


def test_what_else_is_in_weather_is_no_matter(tmp_path: Path) -> None:
    """Ice in a unit that nobody knows, in a file that is given for its wind; in the unit of ERA5 it is read."""
    ice = {"standard_name": "sea_ice_area_fraction", "units": "eighths"}
    values = random(4, 4, 5)
    values[:, 0, 0] = np.nan
    regular({"time": np.arange(4), "lat": np.linspace(56, 58, 4), "lon": np.linspace(1, 5, 5)},
            {"zos": (("time", "lat", "lon"), values, {"units": "m", "standard_name": "sea_surface_height"})},
            time={"units": "hours since 2020-01-01"}, lat={"units": "degrees_north"},
            lon={"units": "degrees_east"}).to_netcdf(tmp_path / "sea.nc")  # fmt: skip
    path = weather(tmp_path, u10=SPEED, v10=SPEED, siconc=ice)
    store = open_store(ingest(tmp_path / "sea.nc", to=tmp_path / "s.zarr", forcing=path))
    assert {"zos", "u10", "v10"} <= set(store.data_vars)
    with pytest.raises(ValueError, match=r"variable 'siconc' has unit 'eighths'"):
        ingest(path, to=tmp_path / "t.zarr")


@pytest.mark.parametrize(
    ("unit", "standard_name"),
    [("1", "sea_water_practical_salinity"), ("1e-3", "sea_water_salinity"), ("PSU", "sea_water_salinity")],
)
def test_practical_salinity_has_no_unit(tmp_path: Path, unit: str, standard_name: str) -> None:
    path = weather(tmp_path, salinity={"units": unit, "standard_name": standard_name})
    with netCDF4.Dataset(path) as file:
        written = file["salinity"][:, ::-1].astype(np.float32)
    np.testing.assert_array_equal(open_store(ingest(path, to=tmp_path / "s.zarr"))["so"], written)


def test_axes_of_a_rotated_pole(tmp_path: Path) -> None:
    """Longitude and latitude by the rotation of the sphere; wind along the axes turned by the angle it makes."""
    rlat, rlon = np.arange(-4, 2, 0.5), np.arange(-6, 3, 0.5)
    pole_latitude, pole_longitude = 35.0, -160.0
    ds = regular(
        {"time": np.arange(2), "rlat": rlat, "rlon": rlon},
        {name: (("time", "rlat", "rlon"), np.full((2, 12, 18), value),
                {"units": "m s-1", "standard_name": f"{name}_wind", "grid_mapping": "pole"})
         for name, value in (("x", 10.0), ("y", 0.0))},
        time={"units": "hours since 2020-01-01"},
        rlat={"standard_name": "grid_latitude", "units": "degrees"},
        rlon={"standard_name": "grid_longitude", "units": "degrees"},
    )  # fmt: skip
    ds["pole"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": pole_latitude,
                          "grid_north_pole_longitude": pole_longitude})  # fmt: skip
    ds.to_netcdf(tmp_path / "hirlam.nc")
    store = open_store(ingest(tmp_path / "hirlam.nc", to=tmp_path / "s.zarr"))
    columns, rows = (np.deg2rad(part) for part in np.meshgrid(rlon, rlat))
    north, east = np.deg2rad(pole_latitude), np.deg2rad(pole_longitude + 180)
    x, y, z = np.cos(rows) * np.cos(columns), np.cos(rows) * np.sin(columns), np.sin(rows)
    x, z = np.sin(north) * x - np.cos(north) * z, np.cos(north) * x + np.sin(north) * z
    latitude, longitude = np.rad2deg(np.arcsin(z)), np.rad2deg(np.arctan2(y, x) + east)
    np.testing.assert_allclose(store["latitude"], latitude, atol=1e-9)
    np.testing.assert_allclose(store["longitude"], longitude, atol=1e-9)
    # The angle between the two norths, by the sine rule in the triangle of the cell and both poles.
    sine = np.cos(north) * np.sin(np.deg2rad(longitude) - east) / np.cos(rows)
    inner = np.s_[
        :, 1:-1, 1:-1
    ]  # angles from central differences of the positions; at the rim one-sided ones
    expected = np.broadcast_to(-10 * sine, (2, *sine.shape))
    np.testing.assert_allclose(store["v10"].values[inner], expected[inner], atol=0.01)
    np.testing.assert_allclose(np.hypot(store["u10"], store["v10"]), 10.0, rtol=1e-6)


def wrfout(path: Path, *, moving: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A file as WRF writes it, on a Lambert cone; longitude, latitude and the angle of its x axis, radians."""
    cone = pyproj.Proj("+proj=lcc +lat_1=60 +lat_2=60 +lat_0=60 +lon_0=5 +R=6370000")
    longitude, latitude = cone(
        *np.meshgrid(np.arange(12) * 9000.0 + 4e5, np.arange(10) * 9000.0), inverse=True
    )
    dims = ("Time", "south_north", "west_east")
    planes = [np.stack([plane] * 3) for plane in (latitude, longitude)]
    planes[0][-1] += 0.1 * moving
    xr.Dataset({
        "Times": ("Time", np.array([f"2020-01-01_0{hour}:00:00".encode() for hour in range(3)])),
        "XTIME": ("Time", np.arange(3) * 60.0, {"units": "minutes since simulation start"}),
        "XLAT": (dims, planes[0], {"units": "degree_north"}), "XLONG": (dims, planes[1], {"units": "degree_east"}),
        "U10": (dims, np.full((3, 10, 12), 10.0), {"units": "m s-1", "coordinates": "XLONG XLAT XTIME"}),
        "V10": (dims, np.full((3, 10, 12), -3.0), {"units": "m s-1", "coordinates": "XLONG XLAT XTIME"}),
        "PSFC": (dims, np.full((3, 10, 12), 1e5), {"units": "Pa"}),
    }).to_netcdf(path)  # fmt: skip
    return longitude, latitude, -np.deg2rad(cone.get_factors(longitude, latitude).meridian_convergence)


def test_wrf(tmp_path: Path) -> None:
    """Dates from text, winds turned by the convergence of the meridians of its projection."""
    longitude, latitude, angle = wrfout(tmp_path / "wrfout_d01.nc")
    store = open_store(ingest(tmp_path / "wrfout_d01.nc", to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(store["longitude"], longitude, atol=1e-12)
    np.testing.assert_allclose(store["latitude"], latitude, atol=1e-12)
    assert store["time"].values[2] == np.datetime64("2020-01-01T02")
    assert set(store.data_vars) & {"u10", "v10", "msl"} == {"u10", "v10"}
    # The angle is found of the cells' positions, by differences over two cells of 9 km: one-sided at the rim.
    np.testing.assert_allclose(
        store["u10"], np.stack([10 * np.cos(angle) + 3 * np.sin(angle)] * 3), atol=0.02
    )
    np.testing.assert_allclose(
        store["v10"], np.stack([10 * np.sin(angle) - 3 * np.cos(angle)] * 3), atol=0.02
    )


def test_a_nest_that_moves_is_refused(tmp_path: Path) -> None:
    wrfout(tmp_path / "nest.nc", moving=True)
    with pytest.raises(
        ValueError, match=r"^nest\.nc: 'XLAT' moves in time; give the file of a domain that stays"
    ):
        ingest(tmp_path / "nest.nc", to=tmp_path / "s.zarr")


@pytest.mark.parametrize("flat", ["water_u_bottom", "water_u_15m"])
def test_a_current_at_the_sea_floor_is_none_at_the_surface(tmp_path: Path, flat: str) -> None:
    """HYCOM's standard names do not tell them apart; the one with levels has the surface."""
    deep, plane = ("time", "depth", "lat", "lon"), ("time", "lat", "lon")
    u = {"units": "m/s", "standard_name": "eastward_sea_water_velocity"}
    v = {"units": "m/s", "standard_name": "northward_sea_water_velocity"}
    values = random(2, 2, 4, 5)
    regular({"time": np.arange(2), "depth": np.array([0.0, 50.0]), "lat": np.linspace(58, 59, 4),
             "lon": np.linspace(358, 362, 5)},
            {flat: (plane, values[:, 0] + 1, u), "water_u": (deep, values, u), "water_v": (deep, values, v)},
            time={"units": "hours since 2000-01-01"}, depth={"units": "m", "positive": "down"},
            lat={"units": "degrees_north"}, lon={"units": "degrees_east"}).to_netcdf(tmp_path / "hycom.nc")  # fmt: skip
    store = open_store(ingest(tmp_path / "hycom.nc", to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(store["uo"], values[:, 0].astype(np.float32))
    np.testing.assert_array_equal(store["longitude"], np.linspace(-2, 2, 5))
