"""NEMO and MOM6 files become fields at the centres of the cells, in the calendar of the model."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines import ingest, open_store
from data_pipelines.positions import Positions
from data_pipelines.sources import Given, Source, beside, open_source
from data_pipelines.sources.files import open_dataset
from data_pipelines.times import calendar_of
from oceanop.constants import EARTH_RADIUS

ORCA1 = Path(__file__).parent / "nemo_orca1"
ROWS, COLUMNS = 12, 20
Variables = Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]


def write(path: Path, sizes: Mapping[str, int], variables: Variables) -> Path:
    with netCDF4.Dataset(path, "w") as file:
        for name, size in sizes.items():
            file.createDimension(name, size)
        for name, (dims, values, attrs) in variables.items():
            fill = {"fill_value": attrs["_FillValue"]} if "_FillValue" in attrs else {}
            variable = file.createVariable(name, np.asarray(values).dtype, dims, **fill)
            variable.setncatts({key: value for key, value in attrs.items() if key != "_FillValue"})
            variable[...] = values
    return path


def ring(columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitude and longitude of a grid around a pole that lies at 40 N, 30 E; columns go all around it."""
    turn, away = np.meshgrid(np.deg2rad(columns), np.deg2rad(rows))
    x, y, z = np.sin(away) * np.cos(turn), np.sin(away) * np.sin(turn), np.cos(away)
    tilt = np.deg2rad(50)
    x, z = np.cos(tilt) * x + np.sin(tilt) * z, -np.sin(tilt) * x + np.cos(tilt) * z
    return np.rad2deg(np.arcsin(z)), np.rad2deg(np.arctan2(y, x)) + 30


class Globe:
    """A cyclic C-grid around a displaced pole, east of its cells the faces of u, after them those of v."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        step = 360 / COLUMNS
        columns, rows = np.arange(COLUMNS) * step, 20 + 4.0 * np.arange(ROWS)
        self.t, self.u_at = ring(columns, rows), ring(columns + step / 2, rows)
        self.v_at = ring(columns, rows + 2)
        self.water = random.random((ROWS, COLUMNS)) > 0.2
        self.water_u = self.water & np.roll(self.water, -1, 1)
        self.water_v = self.water & np.concatenate([self.water[1:], self.water[-1:]])
        self.sea = random.normal(0, 0.3, (2, ROWS, COLUMNS))
        self.u, self.v = random.normal(0, 0.4, (2, 2, 2, ROWS, COLUMNS))

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """``[t, z, y, x]`` along the grid, the first column beside the last."""
        wu, wv = np.where(self.water_u, self.u, 0), np.where(self.water_v, self.v, 0)
        nu = self.water_u.astype(int) + np.roll(self.water_u, 1, 1)
        u = wu + np.roll(wu, 1, -1)
        south = np.zeros_like(wv)
        south[..., 1:, :] = wv[..., :-1, :]
        nv = self.water_v.astype(int)
        nv[1:] += self.water_v[:-1]
        with np.errstate(invalid="ignore"):
            return np.where(nu > 0, u / nu, np.nan), np.where(nv > 0, (wv + south) / nv, np.nan)

    def write(self, folder: Path, *, missing: float | None = 1e20, halo: bool = False) -> dict[str, Path]:
        """Files of T, U and V points and a mesh mask; land holds ``missing``, or zero where that is None."""

        def wide(values: np.ndarray) -> np.ndarray:
            values = np.asarray(values)
            return np.concatenate([values[..., -1:], values, values[..., :1]], -1) if halo else values

        sizes = {"time_counter": 2, "y": ROWS, "x": COLUMNS + 2 * halo}
        zero = {"axis": "T"}
        dated = {"standard_name": "time", "calendar": "360_day", "units": "seconds since 1900-01-01"}
        days = 86400.0 * (360 * 100 + np.array([15.0, 45.0]))
        mark = {} if missing is None else {"_FillValue": np.float32(missing)}

        def field(values: np.ndarray, water: np.ndarray, **attrs: str) -> tuple[tuple[str, ...], Any, Any]:
            stored = np.where(water, values, 0.0 if missing is None else missing).astype(np.float32)
            depth = (attrs.pop("depth"),) if "depth" in attrs else ()
            attrs["coordinates"] = "time_centered nav_lat nav_lon"
            return ("time_counter", *depth, "y", "x"), wide(stored), attrs | mark

        def file(point: str, at: tuple[np.ndarray, np.ndarray], fields: Variables, depth: bool) -> Path:
            levels = {f"depth{point}": 2} if depth else {}
            return write(folder / f"grid_{point.upper()}.nc", sizes | levels, {
                "time_counter": (("time_counter",), np.zeros(2), zero),
                "time_centered": (("time_counter",), days, dated),
                "nav_lat": (("y", "x"), wide(at[0]).astype(np.float32), {"units": "degrees_north"}),
                "nav_lon": (("y", "x"), wide(at[1]).astype(np.float32), {"units": "degrees_east"}),
                **({f"depth{point}": ((f"depth{point}",), np.array([0.5, 10.0]),
                                      {"units": "m", "positive": "down"})} if depth else {}),
                **fields,
            })  # fmt: skip

        both = np.broadcast_to
        shape = (1, 2, ROWS, COLUMNS + 2 * halo)
        return {
            "T": file("t", self.t, {"sossheig": field(self.sea, self.water, units="m")}, False),
            "U": file("u", self.u_at, {"vozocrtx": field(self.u, self.water_u, units="m/s", depth="depthu")}, True),
            "V": file("v", self.v_at, {"vomecrty": field(self.v, self.water_v, units="m/s", depth="depthv")}, True),
            "mesh": write(folder / "mesh_mask.nc", {"t": 1, "z": 2, "y": ROWS, "x": COLUMNS + 2 * halo}, {
                "glamt": (("t", "y", "x"), wide(self.t[1])[None], {}),
                "gphit": (("t", "y", "x"), wide(self.t[0])[None], {}),
                **{f"{name}mask": (("t", "z", "y", "x"), both(wide(water), shape).astype(np.int8), {})
                   for name, water in (("t", self.water), ("u", self.water_u), ("v", self.water_v))},
            }),
        }  # fmt: skip


def turned(globe: Globe) -> tuple[np.ndarray, np.ndarray]:
    u, v = globe.centred()
    latitude, longitude = (np.concatenate([part] * 3, 1) for part in globe.t)  # the seam in the middle
    angle, side = Positions(latitude, longitude).angle
    angle = angle[:, COLUMNS : 2 * COLUMNS]
    assert side in (1, -1)
    return u * np.cos(angle) - side * v * np.sin(angle), u * np.sin(angle) + side * v * np.cos(angle)


def test_months_in_a_calendar_of_360_days(tmp_path: Path) -> None:
    """The real files, given backwards: dates of ``time_centered``, by time, not by name."""
    files = sorted(ORCA1.glob("*.nc"))
    store = open_store(ingest(files[::-1], to=tmp_path / "s.zarr"))
    assert calendar_of(store["time"].values) == "360_day"
    expected = [cftime.datetime(2015, month, 16, calendar="360_day") for month in (1, 2, 3)]
    assert store["time"].values.tolist() == expected
    for step, path in enumerate(files):
        with netCDF4.Dataset(path) as file:
            assert file["time_counter"][0] == 0
            np.testing.assert_array_equal(store["tos"][step], np.ma.filled(file["tos"][0], np.nan))
            np.testing.assert_allclose(store["latitude"], file["nav_lat"][:], atol=1e-12)
            np.testing.assert_allclose(store["longitude"], file["nav_lon"][:], atol=1e-12)
    assert store["tos"].attrs["cell_methods"].startswith("time: mean")


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("halo", [False, True])
def test_currents_of_u_and_v_files_meet_at_the_t_points(tmp_path: Path, mesh: bool, halo: bool) -> None:
    """The T points from the sea level's file or the mesh mask; around the seam as inside; a halo is left out."""
    globe = Globe()
    files = globe.write(tmp_path, halo=halo)
    sources = [files[name] for name in ("V", "U", *(() if mesh else ("T",)))]
    store = open_store(
        ingest(sources, to=tmp_path / "s.zarr", static=[files["mesh"]] if mesh else [], depths="surface")
    )
    east, north = turned(globe)
    np.testing.assert_allclose(store["latitude"], globe.t[0], atol=1e-5)  # float32 of degrees
    tolerance = {"atol": 3e-6}  # of angles from positions in float32
    np.testing.assert_allclose(store["uo"], east[:, 0], **tolerance)
    np.testing.assert_allclose(store["vo"], north[:, 0], **tolerance)
    if not mesh:
        np.testing.assert_array_equal(
            store["zos"], np.where(globe.water, globe.sea, np.nan).astype(np.float32)
        )


def test_masks_of_the_mesh_win_over_zeros_on_land(tmp_path: Path) -> None:
    globe = Globe()
    files = globe.write(tmp_path, missing=None)
    store = open_store(
        ingest(
            [files["T"], files["U"], files["V"]], to=tmp_path / "s.zarr", static=files["mesh"], depths=[10.0]
        )
    )
    np.testing.assert_array_equal(store["zos"].notnull().all("time"), globe.water)
    speed = np.hypot(*(part[:, 1] for part in globe.centred()))
    np.testing.assert_allclose(np.hypot(store["uo"][:, 0], store["vo"][:, 0]), speed, atol=2e-6)


def climate(folder: Path, globe: Globe) -> dict[str, Path]:
    """A file a variable, as CMIP has them: standard names, positions of each kind of point, no word of the model."""
    sizes = {"time": 2, "j": ROWS, "i": COLUMNS}
    files = {}
    for name, standard_name, values, water, at in (
        ("zos", "sea_surface_height_above_geoid", globe.sea, globe.water, globe.t),
        ("uo", "sea_water_x_velocity", globe.u[:, 0], globe.water_u, globe.u_at),
        ("vo", "sea_water_y_velocity", globe.v[:, 0], globe.water_v, globe.v_at),
    ):
        attrs = {"units": "m" if name == "zos" else "m s-1", "standard_name": standard_name,
                 "coordinates": "latitude longitude", "_FillValue": np.float32(1e20)}  # fmt: skip
        files[name] = write(folder / f"{name}_Omon.nc", sizes, {
            "time": (("time",), np.array([15.5, 45.0]), {"units": "days since 1850-01-01", "calendar": "noleap"}),
            "latitude": (("j", "i"), at[0], {"units": "degrees_north", "standard_name": "latitude"}),
            "longitude": (("j", "i"), at[1] % 360, {"units": "degrees_east", "standard_name": "longitude"}),
            name: (("time", "j", "i"), np.where(water, values, 1e20).astype(np.float32), attrs),
        })  # fmt: skip
    return files


def test_climate_models_hand_out_a_file_a_variable(tmp_path: Path) -> None:
    globe = Globe()
    files = climate(tmp_path, globe)
    store = open_store(ingest(list(files.values()), to=tmp_path / "s.zarr"))
    east, north = turned(globe)
    np.testing.assert_allclose(store["uo"], east[:, 0], atol=1e-6)  # float32 of about 1
    np.testing.assert_allclose(store["vo"], north[:, 0], atol=1e-6)
    np.testing.assert_array_equal(store["zos"], np.where(globe.water, globe.sea, np.nan).astype(np.float32))
    assert calendar_of(store["time"].values) == "noleap"
    with pytest.raises(ValueError, match=r"^vo_Omon\.nc: variable 'vo' lies on other cells than uo_Omon\.nc"):
        ingest([files["uo"], files["vo"]], to=tmp_path / "t.zarr")


def test_currents_on_the_scalars_points_stay_there(tmp_path: Path) -> None:
    """Along a curvilinear grid, on the points of the sea level: turned, not averaged; alone, the same."""
    globe = Globe()
    globe.u_at = globe.v_at = globe.t
    globe.water_u = globe.water_v = globe.water
    files = climate(tmp_path, globe)
    with_level = open_store(ingest(list(files.values()), to=tmp_path / "s.zarr"))
    alone = open_store(ingest([files["uo"], files["vo"]], to=tmp_path / "t.zarr"))
    speed = np.where(globe.water, np.hypot(globe.u[:, 0], globe.v[:, 0]), np.nan)
    for store in (with_level, alone):
        np.testing.assert_allclose(np.hypot(store["uo"], store["vo"]), speed, atol=1e-6)
    inner = slice(1, -1)  # alone nothing is known of what lies beyond the seam
    np.testing.assert_allclose(with_level["uo"][..., inner], alone["uo"][..., inner], atol=1e-6)


def test_many_files_ask_one_neighbour_for_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file of currents asks them all, those after it the one that knew: opens grow as the files do."""
    files = Globe().write(tmp_path)
    paths: list[Path | str] = []
    for name in "UVT":
        for number in range(5):
            paths.append(tmp_path / f"{number}" / files[name].name)
            paths[-1].parent.mkdir(exist_ok=True)
            shutil.copy(files[name], paths[-1])
    opened: list[Path | str] = []

    def count(path: Path | str) -> xr.Dataset:
        opened.append(path)
        return open_dataset(path)

    monkeypatch.setattr(beside, "open_dataset", count)
    along = Given(neighbours=paths)
    for path in paths:
        open_source(path, "auto", along).close()
    assert len(opened) == 10 + 9  # 4 of U, 5 of V and the first of T; then that one by the other nine
    assert opened[10:] == [paths[10]] * 9


@pytest.mark.parametrize("mesh", [False, True])
def test_many_files_hold_their_grid_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mesh: bool) -> None:
    """Positions and masks are one object for all files that an ingest opens, and so are the angles found of them."""
    files = Globe().write(tmp_path)
    paths = []
    for name in "TUV":
        for number in range(4):
            paths.append(tmp_path / f"{name}{number}.nc")
            shutil.copy(files[name], paths[-1])
            with netCDF4.Dataset(paths[-1], "a") as file:
                file["time_centered"][:] = file["time_centered"][:] + 86400.0 * 60 * number
    opened: list[Source] = []

    def keep(*given: Any) -> Source:
        opened.append(open_source(*given))
        return opened[-1]

    monkeypatch.setattr(sys.modules["data_pipelines.ingest"], "open_source", keep)
    ingest(paths, to=tmp_path / "s.zarr", static=[files["mesh"]] if mesh else [])
    sources = opened[: len(paths)]
    assert len({id(field.positions) for source in sources for field in source.fields.values()}) == 1
    fetches = [source.fields["uo"].fetch for source in sources if "uo" in source.fields]
    faces = [getattr(fetch, "args", (fetch,))[0].__self__ for fetch in fetches]  # a mask wraps them once more
    assert len(faces) == 4
    assert all(part.water is faces[0].water for part in faces)
    assert (faces[0].water is not None) == mesh


def test_the_top_alone_goes_with_the_mask_of_all_levels(tmp_path: Path) -> None:
    files = Globe().write(tmp_path, missing=None)
    with (
        xr.open_dataset(files["U"], decode_times=False) as u,
        xr.open_dataset(files["V"], decode_times=False) as v,
    ):
        u.isel(depthu=[0]).to_netcdf(tmp_path / "u.nc")
        v.isel(depthv=[0]).to_netcdf(tmp_path / "v.nc")
        u.isel(depthu=[1]).to_netcdf(tmp_path / "deep_u.nc")
    one, two = (
        open_store(ingest(sources, to=tmp_path / f"{i}.zarr", static=files["mesh"]))
        for i, sources in enumerate(([files["U"], files["V"]], [tmp_path / "u.nc", tmp_path / "v.nc"]))
    )
    np.testing.assert_array_equal(one["uo"], two["uo"])
    with pytest.raises(
        ValueError, match=r"^deep_u\.nc: variable 'vozocrtx' has 1 levels and the mask of its grid 2"
    ):
        ingest([tmp_path / "deep_u.nc", files["V"]], to=tmp_path / "s.zarr", static=files["mesh"])


def test_a_mask_of_more_levels_goes_by_their_depths(tmp_path: Path) -> None:
    """Five levels of mesh for two of data, which lie at the second and the fourth."""
    globe = Globe()
    files = globe.write(tmp_path, missing=None)
    exact = open_store(
        ingest([files[name] for name in "TUV"], to=tmp_path / "s.zarr", static=files["mesh"], depths="all")
    )
    with xr.open_dataset(files["mesh"]) as mesh:
        wide = mesh.load().isel(z=[0, 0, 0, 1, 1])
    for name in ("tmask", "umask", "vmask"):
        wide[name][:, [2, 4]] = 0
    wide["gdept_1d"] = (("t", "z"), [[0.1, 0.5, 4.0, 10.0, 30.0]])
    wide.to_netcdf(tmp_path / "wide.nc")
    store = open_store(
        ingest(
            [files[name] for name in "TUV"], to=tmp_path / "t.zarr", static=tmp_path / "wide.nc", depths="all"
        )
    )
    for name in ("uo", "vo", "mask"):
        np.testing.assert_array_equal(store[name], exact[name])
    with netCDF4.Dataset(tmp_path / "wide.nc", "a") as file:
        file["gdept_1d"][0, 3] = 11.0
    with pytest.raises(
        ValueError, match=r"has a level at 10 m and the mask of its grid none, the nearest at 11 m"
    ):
        ingest(
            [files[name] for name in "TUV"], to=tmp_path / "u.zarr", static=tmp_path / "wide.nc", depths="all"
        )


def test_currents_without_their_centres_are_refused(tmp_path: Path) -> None:
    files = Globe().write(tmp_path)
    with pytest.raises(
        ValueError, match=r"^grid_U\.nc: variable 'vozocrtx' is along .* none of the files; give the"
    ):
        ingest([files["U"], files["V"]], to=tmp_path / "s.zarr")
    with pytest.raises(
        ValueError, match=r"^grid_U\.nc.* lacks the other one, as does every file of the same times"
    ):
        ingest([files["U"], files["T"]], to=tmp_path / "s.zarr")


def test_one_field_without_dimensions_of_time_and_depth(tmp_path: Path) -> None:
    """Anonymous dimensions, a scalar time in the year 1 and a scalar depth."""
    latitude, longitude = ring(np.arange(8) * 3.0, 20 + 2.0 * np.arange(6))
    values = np.random.default_rng(0).normal(10, 3, (6, 8)).astype(np.float32)

    def path(depth: float) -> Path:
        return write(tmp_path / f"{depth}.nc", {"dim0": 6, "dim1": 8}, {
            "nav_lat": (("dim0", "dim1"), latitude, {"units": "degrees"}),
            "nav_lon": (("dim0", "dim1"), longitude, {"units": "degrees"}),
            "time_counter": ((), 1296000.0, {"units": "seconds since 0001-01-01", "calendar": "360_day"}),
            "deptht": ((), depth, {"units": "m", "positive": "down", "standard_name": "depth"}),
            "votemper": (("dim0", "dim1"), values,
                         {"units": "degC", "coordinates": "time_counter deptht nav_lat nav_lon"}),
        })  # fmt: skip

    store = open_store(ingest(path(4.999), to=tmp_path / "s.zarr"))
    assert store["thetao"].attrs["source_depth"] == 4.999
    np.testing.assert_array_equal(store["thetao"], values[None])
    assert store["time"].values[0] == cftime.datetime(1, 1, 16, calendar="360_day")
    with pytest.raises(ValueError, match="nearest the surface lies at 80 m"):
        ingest(path(80.0), to=tmp_path / "d.zarr")


def mom6(folder: Path, globe: Globe, *, symmetric: bool) -> tuple[Path, Path]:
    """A history and a static file; faces of u after each cell, or around them all."""
    more = int(symmetric)
    u = np.concatenate([np.zeros((2, ROWS, more)), globe.u[:, 0]], -1)
    v = np.concatenate([np.zeros((2, more, COLUMNS)), globe.v[:, 0]], -2)
    wet_u, wet_v = globe.water_u.copy(), globe.water_v.copy()
    wet_u[:, -1] = globe.water[:, -1]
    wet_u = np.concatenate([np.zeros((ROWS, more), bool), wet_u], 1)
    wet_v = np.concatenate([np.zeros((more, COLUMNS), bool), wet_v], 0)
    sizes = {"time": 2, "yh": ROWS, "xh": COLUMNS, "yq": ROWS + more, "xq": COLUMNS + more}
    degrees = {"units": "degrees_east", "axis": "X"}, {"units": "degrees_north", "axis": "Y"}
    fill = {"_FillValue": np.float32(1e20)}

    def stored(values: np.ndarray, water: np.ndarray) -> np.ndarray:
        return np.where(water, values, 1e20).astype(np.float32)

    history = write(folder / f"history{more}.nc", sizes, {
        "time": (("time",), np.array([0.5, 1.5]), {"units": "days since 2000-01-01", "calendar": "NOLEAP"}),
        "xh": (("xh",), np.arange(COLUMNS) * 1.0, {**degrees[0], "long_name": "h point nominal longitude"}),
        "yh": (("yh",), np.arange(ROWS) * 1.0, {**degrees[1], "long_name": "h point nominal latitude"}),
        "xq": (("xq",), np.arange(COLUMNS + more) + 0.5 - more, degrees[0]),
        "yq": (("yq",), np.arange(ROWS + more) + 0.5 - more, degrees[1]),
        "SSH": (("time", "yh", "xh"), stored(globe.sea, globe.water), {"units": "m", **fill}),
        "SSU": (("time", "yh", "xq"), stored(u, wet_u), {"units": "m s-1", **fill}),
        "SSV": (("time", "yq", "xh"), stored(v, wet_v), {"units": "m s-1", **fill}),
    })  # fmt: skip
    static = write(folder / f"static{more}.nc", sizes, {
        "geolat": (("yh", "xh"), globe.t[0], {"units": "degrees_north"}),
        "geolon": (("yh", "xh"), globe.t[1], {"units": "degrees_east"}),
        "wet": (("yh", "xh"), globe.water.astype(np.float32), {}),
        "deptho": (("yh", "xh"), np.full((ROWS, COLUMNS), 1000.0), {"units": "m"}),
    })  # fmt: skip
    return history, static


@pytest.mark.parametrize("symmetric", [False, True])
def test_mom6_with_and_without_the_outermost_faces(tmp_path: Path, symmetric: bool) -> None:
    globe = Globe()
    history, static = mom6(tmp_path, globe, symmetric=symmetric)
    store = open_store(ingest(history, to=tmp_path / "s.zarr", static=static))
    assert calendar_of(store["time"].values) == "noleap"
    np.testing.assert_array_equal(store["zos"], np.where(globe.water, globe.sea, np.nan).astype(np.float32))
    np.testing.assert_allclose(store["latitude"], globe.t[0], atol=1e-12)
    speed = np.hypot(*(part[:, 0] for part in globe.centred()))
    inner = slice(1, -1)  # the outermost columns of this grid have faces of their own
    np.testing.assert_allclose(np.hypot(store["uo"], store["vo"])[..., inner], speed[..., inner], atol=2e-6)
    with pytest.raises(ValueError, match=r"^history\d\.nc has nominal axes .* give ocean_static\.nc"):
        ingest(history, to=tmp_path / "n.zarr")


def test_the_area_of_a_ring_is_that_of_the_sphere_between_two_circles(tmp_path: Path) -> None:
    """Without ``area`` in the file: 15 cells around the circle miss its rim by the share of a polygon, under 3 %."""
    globe = Globe()
    store = open_store(ingest(globe.write(tmp_path)["T"], to=tmp_path / "s.zarr"))
    rim = np.cos(np.deg2rad([18.0, 18.0 + 4 * ROWS]))
    exact = 2 * np.pi * EARTH_RADIUS**2 * (rim[0] - rim[1])
    assert float(store["cell_area"].sum()) == pytest.approx(exact, rel=0.03)
    assert "midway between centres" in store["cell_area"].attrs["method"]


@pytest.mark.parametrize("at", [0.0, -1.0])
def test_positions_that_stop_at_land_are_no_positions(tmp_path: Path, at: float) -> None:
    """Runs that leave land out write one number there; the mesh mask knows better."""
    globe = Globe()
    globe.water[:3, :5] = False
    files = globe.write(tmp_path)
    with netCDF4.Dataset(files["T"], "a") as file:
        for name in ("nav_lat", "nav_lon"):
            file[name][:] = np.where(globe.water, file[name][:], at)
    with pytest.raises(
        ValueError, match=r"^grid_T\.nc: variable 'sossheig': by its long.* lie at one place, .* --static\.$"
    ):
        ingest(files["T"], to=tmp_path / "s.zarr")
    store = open_store(ingest(files["T"], to=tmp_path / "t.zarr", static=files["mesh"]))
    np.testing.assert_allclose(store["latitude"], globe.t[0], atol=1e-12)


def test_a_mesh_mask_of_other_cells_is_refused(tmp_path: Path) -> None:
    """Of the same number of cells, so that only their places tell."""
    globe = Globe()
    files = globe.write(tmp_path)
    with netCDF4.Dataset(files["mesh"], "a") as file:
        file["gphit"][:] = file["gphit"][:] - 2.0
    with pytest.raises(
        ValueError,
        match=r"^grid_T\.nc: variable 'sossheig' lies \S+ cells away.* give the grid file that belongs",
    ):
        ingest(files["T"], to=tmp_path / "s.zarr", static=files["mesh"])


def test_a_current_on_the_faces_is_not_true_east(tmp_path: Path) -> None:
    """Its standard name says so, and taken at its word it would be half a cell off and not turned."""
    files = Globe().write(tmp_path)
    with netCDF4.Dataset(files["U"], "a") as file:
        file["vozocrtx"].standard_name = "eastward_sea_water_velocity"
    words = r"^grid_U\.nc: variable 'vozocrtx' lies \S+ cells away .* correct it \(x_sea_water_velocity\)\.$"
    with pytest.raises(ValueError, match=words):
        ingest([files[name] for name in "TUV"], to=tmp_path / "s.zarr")


def test_files_of_two_calendars_name_them(tmp_path: Path) -> None:
    files = Globe().write(tmp_path)
    with netCDF4.Dataset(files["U"], "a") as one, netCDF4.Dataset(files["V"], "a") as other:
        one["time_centered"].calendar = other["time_centered"].calendar = "365_day"
    with pytest.raises(
        ValueError, match=r"^grid_T\.nc.* calendar 360_day, grid_U\.nc: .* in noleap; use files"
    ):
        ingest([files[name] for name in "TUV"], to=tmp_path / "s.zarr")


def test_levels_along_the_floor_need_it(tmp_path: Path) -> None:
    """Of a model that has no names of its own for its floor."""
    files = climate(tmp_path, Globe())
    for name in ("uo", "vo"):
        with xr.open_dataset(files[name], decode_times=False) as ds:
            ds = ds.load()
        ds = ds.expand_dims({"sigma": [-0.9, -0.1]}, 1)
        ds["sigma"].attrs = {"standard_name": "ocean_sigma_coordinate", "positive": "up"}
        ds.to_netcdf(files[name])
    with pytest.raises(
        ValueError, match=r"^uo_Omon\.nc: variable 'uo' lies on terrain-following levels 'sigma', and"
    ):
        ingest(list(files.values()), to=tmp_path / "s.zarr")


def test_faces_by_the_nominal_axes_where_no_coast_tells(tmp_path: Path) -> None:
    """An ocean without land, and as many faces as cells: the mesh's own axes have the faces after the cells."""
    globe = Globe()
    globe.water[:] = globe.water_u[:] = globe.water_v[:] = True
    history, static = mom6(tmp_path, globe, symmetric=False)
    store = open_store(ingest(history, to=tmp_path / "s.zarr", static=static))
    speed = np.hypot(*(part[:, 0] for part in globe.centred()))
    np.testing.assert_allclose(np.hypot(store["uo"], store["vo"]), speed, atol=2e-6)
