"""A basin knows its coast, its size and its longest time step, and refuses sea floors that are none."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import xarray as xr

from data_pipelines.basins.sea_floor import baltic
from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.stencil import make_stencil
from oceanop.dynamics.tensors import TensorEngine

HOUR = 3600.0


@pytest.mark.parametrize(("rows", "columns", "wet"), [(1, 1, 10515), (1, 2, 5459), (2, 3, 1809)])
def test_the_baltic_has_as_many_wet_cells_as_its_relief_says(rows: int, columns: int, wet: int) -> None:
    floor = baltic(rows, columns)
    assert int(floor["mask"].sum()) == wet
    assert np.array_equal(floor["mask"] > 0, floor["deptho"] > 0)


def test_the_baltic_has_its_area_and_volume(baltic_grid: CGrid, fine_baltic_grid: CGrid) -> None:
    whole = baltic(1, 1)
    for grid in (
        CGrid.sphere(whole["latitude"], whole["longitude"], whole["deptho"]),
        baltic_grid,
        fine_baltic_grid,
    ):
        # 415 000 km2 and 21 700 km3 within Kattegat (Leppäranta and Myrberg 2009), and the Skagerrak from 9 E
        assert (grid.area[:, None] * grid.wet).sum() == pytest.approx(475e9, rel=0.03)
        assert (grid.area[:, None] * grid.depth).sum() == pytest.approx(24.85e12, rel=0.01)


def test_the_shipped_relief_is_small_and_names_its_source() -> None:
    file = files("data_pipelines") / "basins" / "baltic.nc"
    assert len(file.read_bytes()) < 150e3
    with xr.open_dataset(str(file)) as relief:
        assert "NOAA" in relief.attrs["source"]
        assert "Public domain" in relief.attrs["license"]
        assert relief["elevation"].attrs["units"] == "m"


def test_the_baltics_fastest_waves_are_those_of_its_deepest_cells(
    baltic_grid: CGrid, fine_baltic_grid: CGrid
) -> None:
    # 149 s and 83.8 s is what the deepest cell alone wants without rotation; sides are a little less deep
    assert 149 < np.sqrt(2) * baltic_grid.longest_time_step() < 155
    assert 83.8 < np.sqrt(2) * fine_baltic_grid.longest_time_step() < 87
    assert baltic_grid.time_step() == pytest.approx(HOUR / 38)


def test_on_a_flat_sea_the_longest_step_is_the_textbooks() -> None:
    sizes = {"length": 80e3, "width": 60e3, "depth": 40.0, "spacing": 5e3}
    still = CGrid.rectangle(**sizes)
    assert still.longest_time_step() == pytest.approx(5e3 / np.sqrt(2 * 9.81 * 40), rel=1e-12)
    turning = CGrid.rectangle(**sizes, coriolis_parameter=1e-4)
    assert turning.longest_time_step() == pytest.approx(still.longest_time_step() / np.sqrt(2), rel=1e-12)
    step = turning.time_step(HOUR)
    assert step <= 0.9 * turning.longest_time_step()
    assert HOUR / step == pytest.approx(round(HOUR / step), rel=1e-12)


def turning_seas() -> list[CGrid]:
    """One that gravity waves cross in a few steps, one where rotation sets the step, and both at once."""
    return [
        CGrid.rectangle(
            length=15 * spacing,
            width=12 * spacing,
            depth=depth,
            spacing=spacing,
            coriolis_parameter=1.4e-4,
            periodic=True,
        )
        for spacing, depth in ((1e4, 50.0), (4e5, 4.0), (1e5, 25.0))
    ]


def loudness(grid: CGrid, share: float) -> float:
    """How much noise has grown after 6000 steps of a share of the longest."""
    step = share * grid.longest_time_step()
    engine = TensorEngine(make_stencil(grid, time_step=step, friction=0.0), dtype=np.dtype("float64"))
    noise = np.random.default_rng(0).normal(size=(1, *grid.shape))
    state, none = engine.load((noise, 0 * noise, 0 * noise)), engine.air((None, None, None))
    for number in range(6000):
        state = engine.step(state, air=none, number=number)
    return float(state.level.std() / noise.std())


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_noise_does_not_grow_below_the_longest_step(share: float, rough_basin: CGrid) -> None:
    for grid in [rough_basin, *turning_seas()]:
        step = share * grid.longest_time_step()
        model = ShallowWaterModel(
            grid, friction=0, time_step=step, forcing_interval=100 * step, dtype="float64"
        )
        noise = np.random.default_rng(0).normal(size=grid.shape)
        shown = model.run(model.state(noise), 6000 * step, every=1000 * step)
        assert max(snapshot.zos.std() for snapshot in shown) < 1.5 * noise.std()


def test_beyond_it_noise_grows_though_without_rotation_it_would_not() -> None:
    sea = turning_seas()[0]
    # 1.27 of the longest step is 0.9 of what gravity waves alone allow.
    assert loudness(sea, 1.27) > 1e3
    assert loudness(replace(sea, coriolis_parameter=0 * sea.coriolis_parameter), 0.9) < 1.5


def test_the_sphere_has_the_area_of_its_zone() -> None:
    latitude, longitude = np.linspace(-87.5, 87.5, 36), np.linspace(2.5, 357.5, 72)
    grid = CGrid.sphere(latitude, longitude, np.full((36, 72), 100.0), periodic=True)
    assert grid.area.sum() * 72 == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)
    assert grid.coriolis_parameter == pytest.approx(2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude)))
    # Cells of a row go once around the circle of their centres, their northern sides around that of these
    circles = 2 * np.pi * EARTH_RADIUS * np.cos(np.deg2rad(latitude)), 72 * grid.dx
    np.testing.assert_allclose(*circles, rtol=1e-12)
    circles = 2 * np.pi * EARTH_RADIUS * np.cos(np.deg2rad(latitude + 2.5)), 72 * grid.dx_north
    np.testing.assert_allclose(*circles, atol=1e-6)  # m; there is none around the pole
    assert grid.dy * 36 == pytest.approx(np.pi * EARTH_RADIUS, rel=1e-12)
    assert grid.east.all()
    assert not grid.north[-1].any()


def test_the_coast_is_where_a_side_has_land(rough_basin: CGrid) -> None:
    for row, column in np.argwhere(rough_basin.east):
        assert rough_basin.wet[row, column]
        assert rough_basin.wet[row, column + 1]
        assert rough_basin.east_depth[row, column] == rough_basin.depth[row, column : column + 2].mean()
    assert np.array_equal(rough_basin.north_depth > 0, rough_basin.north)


def test_shallow_sea_is_deepened_and_land_stays_land() -> None:
    depth = np.array([[0.0, 1.0, 30.0], [-5.0, 2.0, 40.0]])
    grid = CGrid.sphere([58.0, 58.5], [10.0, 10.5, 11.0], depth)
    assert grid.depth.tolist() == [[0.0, 4.0, 30.0], [0.0, 4.0, 40.0]]


def test_sea_floors_that_are_none_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="no wet cell; depth counts positive down"):
        CGrid.plane(np.full((3, 4), -10.0), dx=1e3, dy=1e3)
    with pytest.raises(ValueError, match="depth is -10 m at row 0, column 0, a wet cell"):
        CGrid.plane(np.full((3, 4), -10.0), dx=1e3, dy=1e3, wet=np.ones((3, 4), bool))
    with pytest.raises(ValueError, match=r"shape \(3, 4\) and the sea \(3, 4\); expected .* \(3, 5\)"):
        CGrid.sphere([1, 2, 3], [1, 2, 3, 4, 5], np.ones((3, 4)))
    with pytest.raises(ValueError, match="latitude is not evenly spaced and increasing"):
        CGrid.sphere([3, 2, 1], [1, 2, 3, 4], np.ones((3, 4)))
    with pytest.raises(ValueError, match="cells of 7000 m do not fill"):
        CGrid.rectangle(length=20e3, width=14e3, depth=10, spacing=7e3)
    with pytest.raises(ValueError, match="needs at least one of each"):
        baltic(0, 2)
    for rows, columns in ((1000, 3), (2, 200), (20, 67)):
        with pytest.raises(
            ValueError, match=f"cells of {rows} by {columns} points .* leave nothing of the central"
        ):
            baltic(rows, columns)
    with pytest.raises(ValueError, match="from 89 to 90 degrees north, so that cells reach over a pole"):
        CGrid.sphere([89, 89.5, 90], [1, 2, 3], np.ones((3, 3)))
