"""Cells, channels, and the bridge between labels and tensors."""

import numpy as np
import pytest
import torch
import xarray as xr

from oceanop.constants import EARTH_RADIUS
from oceanop.features import _coast_scales, static_fields
from oceanop.grid import Grid, great_circle_distance
from oceanop.layout import Channel, Layout
from oceanop.normalise import Scaling
from oceanop.variables import VARIABLES, variable_of_standard_name, vector_pairs


def test_a_quarter_of_the_equator_is_a_quarter_circle() -> None:
    assert great_circle_distance(0.0, 0.0, 0.0, 90.0) == pytest.approx(np.pi / 2 * EARTH_RADIUS)
    # the shortest way over the pole and over the date line
    assert great_circle_distance(89.0, 0.0, 89.0, 180.0) == pytest.approx(np.deg2rad(2) * EARTH_RADIUS)
    assert great_circle_distance(0.0, 179.0, 0.0, -179.0) == pytest.approx(np.deg2rad(2) * EARTH_RADIUS)


def test_coriolis_is_one_pendulum_day_at_thirty_degrees(grid: Grid) -> None:
    # f = 2 Omega sin(lat): at 30 degrees the inertial period is one sidereal day
    at_thirty = Grid(np.full((1, 1), 30.0), np.zeros((1, 1)), np.ones((1, 1), bool), np.ones((1, 1)))
    assert 2 * np.pi / at_thirty.coriolis_parameter.item() == pytest.approx(86164.1, rel=1e-5)


def test_fingerprint_tells_grids_apart(sea: xr.Dataset, grid: Grid) -> None:
    assert Grid.from_dataset(sea.isel(time=slice(2))).fingerprint == grid.fingerprint
    other = sea.copy(deep=True)
    other["mask"][4, 4] = 0
    assert Grid.from_dataset(other).fingerprint != grid.fingerprint
    assert (
        Grid.from_dataset(sea.assign_coords(longitude=sea.longitude + 0.01)).fingerprint != grid.fingerprint
    )


def test_grid_survives_being_written(grid: Grid) -> None:
    again = Grid.from_dataset(grid.to_dataset())
    assert again.fingerprint == grid.fingerprint
    np.testing.assert_array_equal(again.cell_area, grid.cell_area)


def test_a_regular_grid_keeps_its_one_dimensional_axes() -> None:
    ds = xr.Dataset(
        {
            "mask": (("latitude", "longitude"), np.ones((2, 3), np.int8)),
            "cell_area": (("latitude", "longitude"), np.ones((2, 3))),
        },
        coords={"latitude": [54.0, 55.0], "longitude": [10.0, 11.0, 12.0]},
    )
    grid = Grid.from_dataset(ds)
    assert grid.dims == ("latitude", "longitude")
    assert grid.latitude.shape == (2, 3)
    assert grid.to_dataset()["latitude"].dims == ("latitude",)


def test_a_data_set_without_mask_is_refused(sea: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"no 'mask'.*oceanop ingest"):
        Grid.from_dataset(sea.drop_vars("mask"))


def test_unpack_is_the_inverse_of_pack(sea: xr.Dataset, grid: Grid) -> None:
    layout = Layout.from_dataset(sea)
    assert [str(channel) for channel in layout.state] == ["uo", "vo"]
    again = layout.unpack(layout.pack(sea), grid, "time", sea["time"].to_numpy())
    for name in ("uo", "vo"):
        np.testing.assert_array_equal(again[name], sea[name])
        assert again[name].attrs["standard_name"] == VARIABLES[name].standard_name


def test_depths_become_channels_and_return(sea: xr.Dataset, grid: Grid) -> None:
    deep = sea[["mask", "cell_area"]].copy()
    levels = np.stack([sea["uo"].to_numpy(), 2 * sea["uo"].to_numpy()], axis=1)
    deep["thetao"] = (("time", "depth", "y", "x"), levels)
    deep = deep.assign_coords(depth=[0.0, 10.0])
    mask = np.stack([sea["mask"], sea["mask"]])
    mask[1, 4, 4] = 0
    deep["mask"] = (("depth", "y", "x"), mask)
    layout = Layout.from_dataset(deep)
    assert layout.state == (Channel("thetao", 0.0), Channel("thetao", 10.0))
    wet = layout.wet(deep)
    assert wet.sum(dim=(1, 2)).tolist() == [29, 28]
    again = layout.unpack(layout.pack(deep), grid, "time", sea["time"].to_numpy(), wet)
    assert again["thetao"].dims == ("time", "depth", "y", "x")
    np.testing.assert_array_equal(again["thetao"].isel(depth=0), deep["thetao"].isel(depth=0))
    assert np.isnan(again["thetao"][:, 1, 4, 4]).all()


def test_land_is_zero_in_tensors(sea: xr.Dataset) -> None:
    packed = Layout.from_dataset(sea).pack(sea)
    assert packed.dtype == torch.float32
    assert (packed[:, :, :2, :3] == 0).all()


def test_what_is_missing_is_told_from_zero_where_asked(sea: xr.Dataset) -> None:
    """Infinity is never hidden."""
    sea["u10"][2, 4, 4] = np.inf
    layout = Layout.from_dataset(sea)
    raw, filled = layout.pack(sea, missing=np.nan), layout.pack(sea)
    np.testing.assert_array_equal(raw, np.stack([sea["uo"], sea["vo"]]))
    torch.testing.assert_close(filled, raw.nan_to_num(0.0), rtol=0, atol=0)
    assert layout.pack(sea, "forcing")[0, 2, 4, 4] == np.inf


def test_the_projection_is_listed_as_grid_mapping_only(sea: xr.Dataset) -> None:
    for name in ("uo", "vo", "mask"):
        sea[name].attrs["grid_mapping"] = "crs"
    sea["crs"] = ((), 0, {"grid_mapping_name": "polar_stereographic"})
    grid, layout = Grid.from_dataset(sea), Layout.from_dataset(sea)
    fields = layout.unpack(layout.pack(sea), grid, "time", sea["time"].to_numpy())
    assert fields["uo"].attrs["grid_mapping"] == "crs"
    encoded, attributes = xr.conventions.encode_dataset_coordinates(fields)
    assert encoded["uo"].attrs["coordinates"] == "latitude longitude"
    assert "coordinates" not in attributes


def test_layout_survives_json(sea: xr.Dataset) -> None:
    layout = Layout.from_dataset(sea)
    assert Layout.from_dict(layout.to_dict()) == layout


def test_no_forcing_is_an_empty_tensor(sea: xr.Dataset) -> None:
    layout = Layout.from_dataset(sea, forcing=[])
    assert layout.pack(sea, "forcing").shape == (0, 6, 5, 7)


def test_a_missing_variable_is_named_with_what_there_is(sea: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"'zos' is not in the store, which holds uo, vo as state"):
        Layout.from_dataset(sea, state=["zos"])


def test_the_two_halves_of_a_vector_share_one_scale() -> None:
    names = ["mean", "std"]
    statistics = xr.Dataset(
        {"uo": ("statistic", [0.1, 0.3]), "vo": ("statistic", [-0.1, 0.4])}, coords={"statistic": names}
    )
    scaling = Scaling.from_statistics(statistics, [Channel("uo"), Channel("vo")])
    torch.testing.assert_close(scaling.std, torch.full((2,), 0.125**0.5))
    torch.testing.assert_close(scaling.mean, torch.tensor([0.1, -0.1]))


def test_a_constant_field_cannot_be_scaled() -> None:
    statistics = xr.Dataset({"zos": ("statistic", [1.0, 0.0])}, coords={"statistic": ["mean", "std"]})
    with pytest.raises(ValueError, match=r"'zos' has standard deviation 0 .* Leave it out"):
        Scaling.from_statistics(statistics, [Channel("zos")])


def test_a_level_without_sea_is_not_taken_for_a_constant() -> None:
    """NaN says that nothing was there; 0 that it never changed."""
    table = [[10.0, np.nan], [1.0, np.nan]]
    statistics = xr.Dataset(
        {"thetao": (("statistic", "depth"), table)},
        coords={"statistic": ["mean", "std"], "depth": [0.0, 2000.0]},
    )
    assert Scaling.from_statistics(statistics, [Channel("thetao", 0.0)]).std.item() == 1
    with pytest.raises(
        ValueError, match=r"'thetao at 2000 m' has no value on any ocean cell .* --depths .*\.$"
    ):
        Scaling.from_statistics(statistics, [Channel("thetao", 0.0), Channel("thetao", 2000.0)])


def test_static_fields_open_with_the_mask_and_stay_small(grid: Grid) -> None:
    fields = static_fields(grid, np.full(grid.shape, 90.0))
    assert torch.equal(fields[0] > 0.5, torch.from_numpy(grid.mask))
    assert fields.abs().max() <= 1.0 + 1e-6
    # nearness to land falls with distance and is one on land
    assert (fields[1][~torch.from_numpy(grid.mask)] == 1).all()
    assert fields[1][1, 3] > fields[1][4, 6]


def test_depth_enters_as_wave_speed_and_as_the_order_of_what_the_wind_moves(grid: Grid) -> None:
    depth = np.where(grid.mask, 1000.0, np.nan)
    depth[grid.mask.nonzero()[0][0], grid.mask.nonzero()[1][0]] = 10.0
    speed, order = static_fields(grid, depth)[-2:].numpy()
    np.testing.assert_allclose(speed[grid.mask] ** 2 * 1000, depth[grid.mask], rtol=1e-5)
    np.testing.assert_allclose(order[grid.mask], np.log10(depth[grid.mask]) - 2, atol=1e-6)
    assert (order[~grid.mask] == 0).all()


def test_large_cells_see_the_coast_on_scales_of_their_own() -> None:
    latitude, longitude = np.meshgrid(np.linspace(55.0, 59.0, 5), np.linspace(10.0, 18.0, 9), indexing="ij")
    mask = np.ones((5, 9), dtype=bool)
    mask[:, 0] = False
    grid = Grid(latitude, longitude, mask, np.ones((5, 9)))
    near, wide = static_fields(grid)[1:3].numpy()
    # one cell is 1 degree of latitude or longitude; the larger of the two is the scale
    assert 0.3 < near[2, 1] < 0.75
    assert near[2, 8] < 0.05
    assert np.all(wide[:, 1:] > near[:, 1:])
    # finer cells of the same training grid are told the same
    finer = static_fields(grid, refinement=2)[1].numpy()
    np.testing.assert_allclose(finer[2, 1:], np.sqrt(near[2, 1:]), rtol=1e-5)


def test_scales_of_the_coast_are_those_of_large_cells_and_never_jump() -> None:
    cells = np.geomspace(100.0, 200e3, 2000)  # m
    shorter, longer = np.transpose([_coast_scales(cell) for cell in cells])
    np.testing.assert_allclose(longer, 4 * shorter)
    assert (shorter[cells <= 10e3] == 5e3).all()
    np.testing.assert_allclose(shorter[cells >= 20e3], cells[cells >= 20e3])
    # between 10 and 20 km it goes as the square of the cell, and nowhere faster
    ratio = shorter[1:] / shorter[:-1]
    assert (ratio >= 1).all()
    assert (ratio <= (cells[1:] / cells[:-1]) ** 2 * (1 + 1e-12)).all()


def test_a_sea_without_land_is_far_from_the_coast_everywhere() -> None:
    grid = Grid(np.zeros((3, 4)), np.zeros((3, 4)), np.ones((3, 4), bool), np.ones((3, 4)))
    assert (static_fields(grid)[1:3] == 0).all()


def test_standard_names_lead_to_one_variable_each() -> None:
    assert variable_of_standard_name("x_sea_water_velocity") == (VARIABLES["uo"], True)
    assert variable_of_standard_name("sea_surface_elevation") == (VARIABLES["zos"], False)
    assert variable_of_standard_name("air_temperature") is None
    every = [n for v in VARIABLES.values() for n in (v.standard_name, *v.aliases, *v.grid_standard_names)]
    assert len(every) == len(set(every))


def test_vectors_are_found_only_complete() -> None:
    assert vector_pairs(["vo", "uo", "u10"]) == [("uo", "vo")]
    assert all(VARIABLES[v.partner].partner == v.name for v in VARIABLES.values() if v.partner)
