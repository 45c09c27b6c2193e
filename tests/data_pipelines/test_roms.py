"""ROMS and CROCO files become fields at the centres of the cells, at depths, true east and north."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from scipy.io import netcdf_file

from data_pipelines import describe, ingest, open_store
from data_pipelines.positions import Positions
from data_pipelines.sources import open_source, terrain
from data_pipelines.sources.staggering import shift_of_masks

ROWS, COLUMNS, LEVELS, STEPS = 14, 17, 8, 3
ANGLE = 0.4  # rad
HC = 20.0

S = (np.arange(LEVELS) + 0.5) / LEVELS - 1
# Song and Haidvogel (1994) with theta 5, b 0.4
C = 0.6 * np.sinh(5 * S) / np.sinh(5) + 0.4 * (np.tanh(5 * (S + 0.5)) / (2 * np.tanh(2.5)) - 0.5)


class Ocean:
    """A turned grid with land, and fields on its points."""

    def __init__(self, seed: int = 0, faces: tuple[int, int] = (ROWS, COLUMNS), shift: int = 0) -> None:
        random = np.random.default_rng(seed)
        y, x = np.mgrid[0:ROWS, 0:COLUMNS] * 4000.0
        degree = 111194.93
        self.lat = 60 + (np.sin(ANGLE) * x + np.cos(ANGLE) * y) / degree
        self.lon = 5 + (np.cos(ANGLE) * x - np.sin(ANGLE) * y) / degree / np.cos(np.deg2rad(60))
        self.water = random.random((ROWS, COLUMNS)) > 0.25
        self.floor = random.uniform(30, 300, (ROWS, COLUMNS))
        self.shift, self.faces = shift, faces
        columns, rows = np.arange(faces[1]) + shift, np.arange(faces[0]) + shift
        first, last = np.clip(columns, 0, COLUMNS - 1), np.clip(columns + 1, 0, COLUMNS - 1)
        self.water_u = self.water[:, first] & self.water[:, last]
        first, last = np.clip(rows, 0, ROWS - 1), np.clip(rows + 1, 0, ROWS - 1)
        self.water_v = self.water[first] & self.water[last]
        self.zeta = random.normal(0, 0.3, (STEPS, ROWS, COLUMNS))
        self.u = random.normal(0, 0.5, (STEPS, LEVELS, ROWS, faces[1]))
        self.v = random.normal(0, 0.5, (STEPS, LEVELS, faces[0], COLUMNS))
        self.temp = random.normal(8, 2, (STEPS, LEVELS, ROWS, COLUMNS))

    def heights(self, transform: int) -> np.ndarray:
        """``[t, z, y, x]`` by the formulas of the ROMS manual."""
        s, c = S[:, None, None], C[:, None, None]
        h, zeta = self.floor, self.zeta[:, None]
        if transform == 1:
            rest = HC * s + (h - HC) * c
            return rest + zeta * (1 + rest / h)
        return zeta + (zeta + h) * (HC * s + h * c) / (HC + h)

    def centred(self, values: np.ndarray, water: np.ndarray, axis: int) -> np.ndarray:
        """Means over the wet faces of every cell, one by one."""
        count = (ROWS, COLUMNS)[axis]
        result = np.full((*values.shape[:-2], ROWS, COLUMNS), np.nan)
        for i in range(count):
            neighbours = [f for f in (i - self.shift - 1, i - self.shift) if 0 <= f < values.shape[axis - 2]]
            taken = np.take(values, neighbours, axis - 2)
            weight = np.broadcast_to(np.take(water, neighbours, axis), taken.shape)
            total, held = (taken * weight).sum(axis - 2), weight.sum(axis - 2)
            index = [slice(None)] * result.ndim
            index[axis - 2] = i
            result[tuple(index)] = np.where(held > 0, total / np.maximum(held, 1), np.nan)
        return np.where(self.water, result, np.nan)


def write(path: Path, ocean: Ocean, *, transform: int = 2, land: float = 0.0, masks: str = "rho u v",
          names: tuple[str, str] = ("s_rho", "Cs_r"), attributes: bool = False, levels: slice = slice(None),
          fields: str = "zeta u v temp", units: str | None = "seconds since 2020-01-01", grid: bool = True,
          angle: bool = True) -> Path:  # fmt: skip
    """A history file; ``attributes`` keeps the vertical parameters there, as CROCO does."""
    with netCDF4.Dataset(path, "w") as file:
        sizes = {"ocean_time": STEPS, names[0]: len(S[levels]), "eta_rho": ROWS, "xi_rho": COLUMNS}
        sizes |= {"eta_v": ocean.faces[0], "xi_u": ocean.faces[1], "eta_u": ROWS, "xi_v": COLUMNS}
        for name, size in sizes.items():
            file.createDimension(name, size)

        def put(name: str, dims: tuple[str, ...], values: Any, **attrs: Any) -> None:
            variable = file.createVariable(name, "f8", dims)
            variable.setncatts(attrs)
            variable[:] = values

        rho, u, v = ("eta_rho", "xi_rho"), ("eta_u", "xi_u"), ("eta_v", "xi_v")
        if fields:
            put(
                "ocean_time",
                ("ocean_time",),
                np.arange(STEPS) * 3600.0,
                **({"units": units} if units else {}),
            )
            put(
                names[0],
                (names[0],),
                S[levels],
                positive="up",
                standard_name=f"ocean_s_coordinate_g{transform}",
            )
            if attributes:
                file.setncatts({"hc": HC, "Vtransform": float(transform), names[1]: C})
            else:
                put(names[1], (names[0],), C[levels])
                put("hc", (), HC, units="meter")
                put("Vtransform", (), transform)
        if grid:
            put("lat_rho", rho, ocean.lat, units="degree_north", standard_name="latitude")
            put("lon_rho", rho, ocean.lon, units="degree_east", standard_name="longitude")
            put("h", rho, ocean.floor, units="meter", long_name="bathymetry at RHO-points")
            if angle:
                put("angle", rho, np.full((ROWS, COLUMNS), ANGLE), units="radians")
        for point, mask, dims in (
            ("rho", ocean.water, rho),
            ("u", ocean.water_u, u),
            ("v", ocean.water_v, v),
        ):
            if point in masks.split():
                put(f"mask_{point}", dims, mask.astype(float), option_0="land", option_1="water")
        for name, dims, values, water, unit in (
            ("zeta", rho, ocean.zeta, ocean.water, "meter"),
            ("u", u, ocean.u, ocean.water_u, "meter second-1"),
            ("v", v, ocean.v, ocean.water_v, "meter second-1"),
            ("temp", rho, ocean.temp, ocean.water, "Celsius"),
        ):
            if name in fields.split():
                deep = name != "zeta"
                stored = np.where(water, values[:, levels] if deep else values, land)
                put(name, ("ocean_time", *((names[0],) if deep else ()), *dims), stored, units=unit)
    return path


def turned(ocean: Ocean, level: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """True east and north of the currents, ``level`` taking the levels away."""
    u = level(ocean.centred(ocean.u, ocean.water_u, 1))
    v = level(ocean.centred(ocean.v, ocean.water_v, 0))
    return u * np.cos(ANGLE) - v * np.sin(ANGLE), u * np.sin(ANGLE) + v * np.cos(ANGLE)


@pytest.mark.parametrize(
    ("faces", "shift"),
    [
        ((ROWS - 1, COLUMNS - 1), 0),
        ((ROWS, COLUMNS), 0),
        ((ROWS, COLUMNS), -1),
        ((ROWS + 1, COLUMNS + 1), -1),
    ],
)
def test_currents_at_the_surface_whatever_faces_the_file_has(
    tmp_path: Path, faces: tuple[int, int], shift: int
) -> None:
    """Faces inside the domain, after or before their cells, or all around: found by the masks alone."""
    ocean = Ocean(faces=faces, shift=shift)
    store = open_store(ingest(write(tmp_path / "his.nc", ocean), to=tmp_path / "s.zarr"))
    for name, expected in zip(("uo", "vo"), turned(ocean, lambda values: values[:, -1]), strict=True):
        np.testing.assert_allclose(store[name], expected, atol=1e-6)  # float32 of about 1
        between = {0: "i and i+1", -1: "i-1 and i"}[shift]
        assert f"face i between the cells {between};" in store[name].attrs["source_points"]
    zeta = np.where(ocean.water, ocean.zeta, np.nan)
    np.testing.assert_array_equal(store["zos"], zeta.astype(np.float32))
    np.testing.assert_array_equal(store["deptho"].notnull(), store["mask"] == 1)
    floor = np.where(store["mask"] == 1, ocean.floor, np.nan)
    np.testing.assert_allclose(store["deptho"], floor, rtol=1e-6)
    np.testing.assert_allclose(store["latitude"], ocean.lat, atol=1e-12)


def test_the_grid_may_lie_in_another_file(tmp_path: Path) -> None:
    """Masks of the faces, angle and floor from ``--static``: the same store as from one file."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    whole = write(tmp_path / "whole.nc", ocean)
    bare = write(tmp_path / "bare.nc", ocean, masks="", grid=False)
    grid = write(tmp_path / "grid.nc", ocean, fields="")
    one = open_store(ingest(whole, to=tmp_path / "one.zarr", product="roms"))
    two = open_store(ingest(bare, to=tmp_path / "two.zarr", static=grid))
    for name in ("uo", "vo", "zos", "thetao", "mask", "deptho"):
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(
    ("faces", "land"), [((ROWS - 1, COLUMNS - 1), 0.0), ((ROWS, COLUMNS), 0.0), ((ROWS, COLUMNS), 0.341)]
)
def test_masks_of_faces_follow_from_those_of_the_cells(
    tmp_path: Path, faces: tuple[int, int], land: float
) -> None:
    """Which face is whose is seen in the values, whatever number stands for land."""
    ocean = Ocean(faces=faces)
    path = write(tmp_path / "his.nc", ocean, masks="rho", land=land)
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    for name, expected in zip(("uo", "vo"), turned(ocean, lambda values: values[:, -1]), strict=True):
        np.testing.assert_allclose(store[name], expected, atol=1e-6)  # float32 of about 1


def test_without_land_the_number_of_the_faces_tells(tmp_path: Path) -> None:
    """One face fewer than cells lies inside; as many may lie on either side, unless their positions say it."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    ocean.water[:] = ocean.water_u[:] = ocean.water_v[:] = True
    store = open_store(ingest(write(tmp_path / "his.nc", ocean, masks=""), to=tmp_path / "s.zarr"))
    for name, expected in zip(("uo", "vo"), turned(ocean, lambda values: values[:, -1]), strict=True):
        np.testing.assert_allclose(store[name], expected, atol=1e-6)  # float32 of about 1
    for shift in (0, -1):
        ocean = Ocean(shift=shift)
        ocean.water[:] = ocean.water_u[:] = ocean.water_v[:] = True
        path = write(tmp_path / f"{shift}.nc", ocean, masks="")
        with pytest.raises(ValueError, match=r"variable 'u': neither masks nor positions tell on which side"):
            ingest(path, to=tmp_path / f"{shift}.zarr")
        with netCDF4.Dataset(path, "a") as file:
            for point, axis in (("u", 1), ("v", 0)):
                for name, values, east in (("lat", ocean.lat, "north"), ("lon", ocean.lon, "east")):
                    variable = file.createVariable(f"{name}_{point}", "f8", (f"eta_{point}", f"xi_{point}"))
                    variable.units = f"degree_{east}"
                    half = 0.5 if shift == 0 else -0.5
                    variable[:] = values + half * np.gradient(values, axis=axis)
        store = open_store(ingest(path, to=tmp_path / f"{shift}.zarr"))
        for name, expected in zip(("uo", "vo"), turned(ocean, lambda values: values[:, -1]), strict=True):
            np.testing.assert_allclose(store[name], expected, atol=1e-6)


def test_the_angle_of_the_positions_stands_in_for_that_of_the_file(tmp_path: Path) -> None:
    """On a grid of straight rows in longitude and latitude the two differ by the bend of the sphere."""
    ocean = Ocean()
    stores = [
        open_store(ingest(write(tmp_path / f"{a}.nc", ocean, angle=a), to=tmp_path / f"{a}.zarr"))
        for a in (True, False)
    ]
    speed = [np.hypot(store["uo"], store["vo"]).to_numpy() for store in stores]
    np.testing.assert_allclose(*speed, atol=1e-6)  # turning keeps the length, to float32
    apart = np.angle(np.exp(1j * np.subtract(*[np.arctan2(store["vo"], store["uo"]) for store in stores])))
    assert np.nanmax(np.abs(apart)) < np.deg2rad(1)  # 60 km at 60 N: half a degree of convergence


def test_an_angle_that_contradicts_the_positions_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "his.nc", Ocean())
    with netCDF4.Dataset(path, "a") as file:
        file["angle"][:] = 0.0
    with pytest.raises(ValueError, match=r"^his\.nc: its 'angle' differs .* by 23 degrees"):
        ingest(path, to=tmp_path / "s.zarr")


def test_weather_in_the_same_file_is_at_the_centres_and_turned(tmp_path: Path) -> None:
    """Wind over land and sea has no coast that could place it, stress on the faces has one."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    path, grid = write(tmp_path / "his.nc", ocean, grid=False), write(tmp_path / "grid.nc", ocean, fields="")
    wind = np.random.default_rng(5).normal(0, 8, (2, STEPS, ROWS, COLUMNS))
    with netCDF4.Dataset(path, "a") as file:
        for name, values in zip(("Uwind", "Vwind"), wind, strict=True):
            variable = file.createVariable(name, "f8", ("ocean_time", "eta_rho", "xi_rho"))
            variable.units = "meter second-1"
            variable[:] = values
        for name, like, water in (("sustr", "u", ocean.water_u), ("svstr", "v", ocean.water_v)):
            dims = file[like].dimensions
            variable = file.createVariable(name, "f8", (dims[0], *dims[2:]))
            variable.units = "newton meter-2"
            variable[:] = np.where(water, 0.1 * file[like][:, -1], 0)
    store = open_store(ingest(path, to=tmp_path / "s.zarr", static=grid))
    u, v = wind
    np.testing.assert_allclose(
        store["u10"], u * np.cos(ANGLE) - v * np.sin(ANGLE), atol=1e-5
    )  # float32 of 20
    np.testing.assert_allclose(store["v10"], u * np.sin(ANGLE) + v * np.cos(ANGLE), atol=1e-5)
    east, north = turned(ocean, lambda values: values[:, -1])
    wet = np.isfinite(east)
    np.testing.assert_allclose(store["tauu"].to_numpy()[wet], 0.1 * east[wet], atol=1e-6)
    np.testing.assert_allclose(store["tauv"].to_numpy()[wet], 0.1 * north[wet], atol=1e-6)


@pytest.mark.parametrize("transform", [1, 2])
@pytest.mark.parametrize("attributes", [False, True])
def test_depths_are_those_of_the_levels_under_the_sea_level(
    tmp_path: Path, transform: int, attributes: bool
) -> None:
    """A temperature linear in height is met exactly between the outermost levels, at every step."""
    ocean = Ocean()
    heights = ocean.heights(transform)
    ocean.temp = 20 + 0.05 * heights
    names = ("s_rho", "Cs_rho") if attributes else ("s_rho", "Cs_r")
    path = write(tmp_path / "his.nc", ocean, transform=transform, names=names, attributes=attributes)
    depths = [2.0, 25.0, 60.0]
    store = open_store(ingest(path, to=tmp_path / "s.zarr", variables=["thetao"], depths=depths))
    np.testing.assert_array_equal(store["depth"], depths)
    for k, depth in enumerate(depths):
        clipped = np.clip(-depth, heights.min(1), heights.max(1))
        known = ocean.water & (ocean.floor >= depth) & (-depth <= heights.max(1) + 5)
        expected = np.where(known, 20 + 0.05 * clipped, np.nan)
        np.testing.assert_allclose(store["thetao"][:, k], expected, atol=2e-6)  # float32 of 20
    assert "follow the sea level" in store["thetao"].attrs["vertical_interpolation"]


def test_bands_of_rows_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "his.nc", Ocean())
    whole = open_store(ingest(path, to=tmp_path / "one.zarr", depths=[3.0, 50.0]))
    monkeypatch.setattr(terrain, "_BAND", 3 * LEVELS * COLUMNS)
    bands = open_store(ingest(path, to=tmp_path / "two.zarr", depths=[3.0, 50.0]))
    for name in ("thetao", "uo"):
        np.testing.assert_array_equal(bands[name], whole[name])


def test_a_cut_of_the_levels_has_no_surface(tmp_path: Path) -> None:
    """The three lowest levels, as their attribute of all levels shows: neither surface nor depths above them."""
    path = write(tmp_path / "his.nc", Ocean(), levels=slice(0, 3), names=("s_rho", "Cs_rho"), attributes=True)
    with pytest.raises(
        ValueError, match=r"uppermost level, s = -0.6875, lies .* from s = -0.9375 to -0.6875"
    ):
        ingest(path, to=tmp_path / "s.zarr")
    with pytest.raises(ValueError, match=r"at 10 m only \d+ % of the cells that are as deep have a level"):
        ingest(path, to=tmp_path / "s.zarr", depths=[10.0])
    with pytest.raises(ValueError, match="which have other depths in every cell"):
        ingest(path, to=tmp_path / "s.zarr", depths="all")
    with pytest.raises(ValueError, match="no ocean cell is 900 m deep"):
        ingest(path, to=tmp_path / "s.zarr", depths=[900.0])


def test_the_order_of_the_levels_does_not_matter(tmp_path: Path) -> None:
    ocean = Ocean()
    down = write(tmp_path / "down.nc", ocean, levels=slice(None, None, -1))
    up = write(tmp_path / "up.nc", ocean)
    for depths in ("surface", [3.0, 40.0]):
        one, two = (
            open_store(ingest(path, to=tmp_path / f"{path.stem}{depths}.zarr", depths=depths))
            for path in (down, up)
        )
        np.testing.assert_allclose(one["thetao"], two["thetao"], rtol=1e-6)
        np.testing.assert_allclose(one["uo"], two["uo"], atol=1e-6)


def packed(path: Path, ocean: Ocean, *, masks: bool = True) -> Path:
    """As repacking tools leave a file: everything int16, fill values of floats, positions of the faces zero."""
    # SciPy pads with the fill value, which its own check of the cast finds odd too.
    with np.errstate(invalid="ignore"), netcdf_file(path, "w") as file:
        sizes = {"ocean_time": STEPS, "s_rho": LEVELS, "eta_rho": ROWS, "xi_rho": COLUMNS}
        sizes |= {"eta_u": ROWS, "xi_u": COLUMNS, "eta_v": ROWS, "xi_v": COLUMNS}
        for name, size in sizes.items():
            file.createDimension(name, size)

        def put(
            name: str, dims: tuple[str, ...], values: np.ndarray, *, pack: bool = True, **attrs: Any
        ) -> None:
            variable = file.createVariable(name, "i2" if pack else "f8", dims)
            if pack:
                low, high = float(values.min()), float(values.max())
                scale = max(high - low, 1e-3) / 65000
                middle = 0.5 * (low + high)
                attrs |= {"scale_factor": scale, "add_offset": middle, "_FillValue": np.float32(1e37)}
                values = np.round((values - middle) / scale)
            variable[...] = values
            for key, value in attrs.items():
                setattr(variable, key, value)

        put(
            "ocean_time",
            ("ocean_time",),
            np.arange(STEPS) * 3600.0,
            pack=False,
            units="seconds since 2020-01-01",
        )
        put("s_rho", ("s_rho",), S, pack=False, standard_name="ocean_s_coordinate_g2")
        put("Cs_r", ("s_rho",), C)
        put("hc", (), np.array(HC), pack=False)
        rho, u, v = ("eta_rho", "xi_rho"), ("eta_u", "xi_u"), ("eta_v", "xi_v")
        put("lat_rho", rho, ocean.lat, units="degree_north")
        put("lon_rho", rho, ocean.lon, units="degree_east")
        put("lat_u", u, np.zeros((ROWS, COLUMNS)), units="degree_north")
        put("lon_u", u, np.zeros((ROWS, COLUMNS)), units="degree_east")
        put("h", rho, ocean.floor, units="meter")
        put(
            "angle",
            rho,
            np.linspace(ANGLE, ANGLE + 1e-6, ROWS * COLUMNS).reshape(ROWS, COLUMNS),
            units="radians",
        )
        if masks:
            two = ocean.water.astype(float)
            two[ocean.water & (np.indices(two.shape).sum(0) % 7 == 0)] = 2  # a mask of a slippery shore
            for name, dims, mask in (
                ("mask_rho", rho, two),
                ("mask_u", u, ocean.water_u),
                ("mask_v", v, ocean.water_v),
            ):
                put(name, dims, mask.astype(float))
        for name, dims, values, water, unit in (
            ("zeta", rho, ocean.zeta, ocean.water, "meter"),
            ("u", u, ocean.u, ocean.water_u, "meter second-1"),
            ("v", v, ocean.v, ocean.water_v, "meter second-1"),
        ):
            deep = () if name == "zeta" else ("s_rho",)
            put(name, ("ocean_time", *deep, *dims), np.where(water, values, 0.4), units=unit)
    return path


def test_masks_win_over_a_fill_value_that_can_never_match(tmp_path: Path) -> None:
    """Land is stored as a number: the mask takes it away, and no value in the sea changes."""
    ocean = Ocean()
    path = packed(tmp_path / "packed.nc", ocean)
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)

        def plain(name: str) -> np.ndarray:
            variable = file[name]
            return variable[:] * float(variable.scale_factor) + float(variable.add_offset)

        u, v, zeta = plain("u")[:, -1], plain("v")[:, -1], plain("zeta")
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(store["zos"], np.where(ocean.water, zeta, np.nan), atol=1e-7)
    assert int(store["zos"][0].isnull().sum()) == (~ocean.water).sum()
    u, v = ocean.centred(u, ocean.water_u, 1), ocean.centred(v, ocean.water_v, 0)
    np.testing.assert_allclose(
        store["uo"], u * np.cos(ANGLE) - v * np.sin(ANGLE), atol=3e-6
    )  # of the angle's packing
    bare = packed(tmp_path / "bare.nc", ocean, masks=False)
    with pytest.raises(
        ValueError, match=r"^bare\.nc: variable 'zeta' is stored as int16 but marks land with 1e\+37"
    ):
        ingest(bare, to=tmp_path / "bare.zarr")


def test_a_time_without_a_date_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "his.nc", Ocean(), units="second")
    with pytest.raises(ValueError, match=r"^his\.nc: time coordinate 'ocean_time': its unit is 'second'"):
        ingest(path, to=tmp_path / "s.zarr")
    store = open_store(ingest(path, to=tmp_path / "s.zarr", time_origin="2000-03-01"))
    assert str(store["time"].values[2]) == "2000-03-01T02:00:00.000000000"
    assert "--time-origin 2000-03-01" in store.attrs["command"]
    dated = write(tmp_path / "dated.nc", Ocean())
    with pytest.raises(
        ValueError, match=r"^dated\.nc: its times name their reference date; leave the time origin"
    ):
        ingest(dated, to=tmp_path / "d.zarr", time_origin="2000-03-01")


def test_salinity_has_no_unit_and_what_nobody_wants_may_be_odd(tmp_path: Path) -> None:
    path = write(tmp_path / "his.nc", Ocean())
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("salt", "f4", file["temp"].dimensions)[:] = 35
        file["temp"].units = "bananas"
    with pytest.raises(ValueError, match=r"^his\.nc: variable 'temp' has unit 'bananas'"):
        ingest(path, to=tmp_path / "s.zarr")
    store = open_store(ingest(path, to=tmp_path / "s.zarr", variables=["so", "uo"]))
    assert set(store.data_vars) >= {"so", "uo"}
    assert float(store["so"].max()) == 35
    assert store["so"].attrs["source_units"] == "none, read as 1e-3"


def test_a_file_that_is_only_a_grid_is_no_source(tmp_path: Path) -> None:
    path = tmp_path / "masks.nc"
    write(path, Ocean(), fields="")
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("h", "depth_of_something")
    with pytest.raises(ValueError, match=r"^masks\.nc holds the grid of a model and no field; give it"):
        describe(path)
    with pytest.raises(ValueError, match=r"^masks\.nc holds no series to keep, only the grid of a model"):
        ingest(path, to=tmp_path / "s.zarr")


def test_a_grid_of_another_size_is_refused(tmp_path: Path) -> None:
    other = write(tmp_path / "grid.nc", Ocean(), fields="")
    with netCDF4.Dataset(tmp_path / "cut.nc", "w") as cut, netCDF4.Dataset(other) as file:
        for name, size in (("eta_rho", ROWS - 3), ("xi_rho", COLUMNS)):
            cut.createDimension(name, size)
        for name in ("lat_rho", "lon_rho", "h"):
            variable = cut.createVariable(name, "f8", ("eta_rho", "xi_rho"))
            variable.units = file[name].units
            variable[:] = file[name][:-3]
    path = write(tmp_path / "his.nc", Ocean(), grid=False, masks="")
    with pytest.raises(
        ValueError,
        match=r"^his\.nc: variable 'zeta' has 14 x 17 points, and the grid of its model has another",
    ):
        ingest(path, to=tmp_path / "s.zarr", static=tmp_path / "cut.nc")


def test_values_on_centres_are_left_there() -> None:
    """A-grid currents under a ROMS name: their mask is that of the cells."""
    water = np.random.default_rng(3).random((30, 40)) > 0.3
    assert shift_of_masks(water, water, 1) == (None, True)
    assert shift_of_masks(water, np.ones_like(water), 0)[1] is False


def test_inspect_reads_a_history_file(tmp_path: Path) -> None:
    found = describe(write(tmp_path / "his.nc", Ocean()))
    assert set(found["variables"]) == {"zos", "uo", "vo", "thetao", "deptho"}
    assert found["grid"]["kind"] == "curvilinear"
    assert found["variables"]["uo"]["along_grid_axes"]


def test_blocks_are_parts_of_the_whole(tmp_path: Path) -> None:
    """Whatever block is read, its edges included, holds what the whole has there."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    source = open_source(write(tmp_path / "his.nc", ocean))
    for name in ("uo", "vo", "zos"):
        fetch = source.fields[name].fetch
        whole = fetch(slice(0, 3), [0], slice(0, ROWS), slice(0, COLUMNS))
        for rows, columns in (
            (slice(0, 5), slice(3, 4)),
            (slice(9, ROWS), slice(0, COLUMNS)),
            (slice(4, 6), slice(12, 17)),
        ):
            np.testing.assert_array_equal(
                fetch(slice(1, 2), [0], rows, columns), whole[1:2, :, rows, columns]
            )
    source.close()


@pytest.mark.parametrize("options", [{}, {"coarsen": 2}])
@pytest.mark.parametrize("depths", ["surface", [5.0, 30.0]])
def test_a_region_is_a_part_of_the_whole(tmp_path: Path, options: dict[str, Any], depths: Any) -> None:
    """Currents, depths and floor of a region, coarsened or not, are those of its cells in the whole."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    path = write(tmp_path / "his.nc", ocean)
    box = (4.6, 5.6, 60.15, 60.4)
    part = open_store(ingest(path, to=tmp_path / "p.zarr", depths=depths, region=box, **options))
    whole = open_store(ingest(path, to=tmp_path / "w.zarr", depths=depths))
    rows, columns = Positions(whole["latitude"].to_numpy(), whole["longitude"].to_numpy()).region(*box)
    cut = whole.isel(y=rows, x=columns)
    if not options:
        for name in ("uo", "vo", "thetao", "zos", "deptho"):
            np.testing.assert_allclose(
                part[name], cut[name], atol=1e-6
            )  # an angle of the file is the same in both
        return
    even = {"y": cut.sizes["y"] // 2 * 2, "x": cut.sizes["x"] // 2 * 2}
    cut = cut.isel({name: slice(0, size) for name, size in even.items()})
    wet = cut["mask"] == 1
    blocks = cut["thetao"].where(wet).coarsen(y=2, x=2)
    full = wet.coarsen(y=2, x=2).sum() == 4
    assert full.any()
    # Squares of one size to a hundredth: the mean by area is the mean to a hundredth of the temperatures
    np.testing.assert_allclose(
        part["thetao"].where(full.to_numpy()), blocks.mean().where(full.to_numpy()), atol=0.1
    )


def test_a_file_for_each_component(tmp_path: Path) -> None:
    """Files with the points of one kind of face alone are known by them."""
    ocean = Ocean(faces=(ROWS - 1, COLUMNS - 1))
    grid = write(tmp_path / "grid.nc", ocean, fields="")
    whole = write(tmp_path / "his.nc", ocean)
    parts = []
    for name in "uv":
        with xr.open_dataset(whole, decode_times=False) as ds:
            ds[[name, "Cs_r", "hc", "Vtransform"]].load().to_netcdf(tmp_path / f"{name}.nc")
        parts.append(tmp_path / f"{name}.nc")
    apart, together = (
        open_store(ingest(sources, to=tmp_path / f"{i}.zarr", static=grid, variables=["uo", "vo"]))
        for i, sources in enumerate((parts, whole))
    )
    for name in ("uo", "vo"):
        np.testing.assert_array_equal(apart[name], together[name])


def test_an_angle_that_leaves_land_out(tmp_path: Path) -> None:
    """Where it says nothing the positions do."""
    ocean = Ocean()
    path = write(tmp_path / "his.nc", ocean)
    with netCDF4.Dataset(path, "a") as file:
        file["angle"][:] = np.where(ocean.water, ANGLE, np.nan)
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    east, _ = turned(ocean, lambda values: values[:, -1])
    np.testing.assert_allclose(store["uo"], east, atol=1e-6)  # float32 of about 1


@pytest.mark.parametrize("land", [0.0, -HC, np.nan])
@pytest.mark.parametrize("transform", [1, 2])
def test_a_floor_that_no_formula_takes_is_land(tmp_path: Path, land: float, transform: int) -> None:
    """Neither a warning nor other values over the sea."""
    ocean = Ocean()
    ocean.floor = np.where(ocean.water, ocean.floor, land)
    path = write(tmp_path / "his.nc", ocean, transform=transform)
    store = open_store(ingest(path, to=tmp_path / "s.zarr", depths=[20.0]))
    ocean.floor = np.where(ocean.water, ocean.floor, 100.0)
    even = open_store(
        ingest(write(tmp_path / "even.nc", ocean, transform=transform), to=tmp_path / "e.zarr", depths=[20.0])
    )
    np.testing.assert_array_equal(store["thetao"], even["thetao"])


@pytest.mark.parametrize("unit", [None, "nondimensional", "1", "PSU"])
def test_salt_has_no_unit(tmp_path: Path, unit: str | None) -> None:
    ocean = Ocean()
    path = write(tmp_path / "his.nc", ocean)
    with netCDF4.Dataset(path, "a") as file:
        salt = file.createVariable("salt", "f8", file["temp"].dimensions)
        salt[:] = file["temp"][:] + 25
        if unit is not None:
            salt.units = unit
    store = open_store(ingest(path, to=tmp_path / "s.zarr"))
    np.testing.assert_allclose(store["so"], np.where(ocean.water, ocean.temp[:, -1] + 25, np.nan), rtol=1e-7)


def test_a_file_without_its_grid_is_told_with_what_it_needs(tmp_path: Path) -> None:
    """To look at a file nothing can be given along with it, so its fields and times are told as they are."""
    path = write(tmp_path / "his.nc", Ocean(), grid=False, masks="")
    found = describe(path)
    assert found["kind"] == "file"
    assert found["needs"].startswith("his.nc: variable 'zeta' has neither longitude and latitude")
    assert found["needs"].endswith("or give the grid file of its model with --static.")
    assert found["grid"] is None
    assert found["variables"]["u"]["dimensions"] == {
        "ocean_time": STEPS, "s_rho": LEVELS, "eta_u": ROWS, "xi_u": COLUMNS
    }  # fmt: skip
    assert found["variables"]["u"]["units"] == "meter second-1"
    assert found["time"]["first"] == "2020-01-01T00:00:00"
    assert found["time"]["steps"] == STEPS
    undated = describe(write(tmp_path / "croco.nc", Ocean(), units="second"))
    assert "--time-origin" in undated["needs"]
    assert undated["time"] is None
