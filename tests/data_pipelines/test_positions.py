"""Areas add up to the Earth, angles agree with PROJ, and a turned vector keeps its length."""

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.positions import Positions, from_sphere, on_sphere
from data_pipelines.sources.source import rotate
from oceanop.constants import EARTH_RADIUS

STEREOGRAPHIC = "+proj=stere +lat_0=90 +lon_0=70 +lat_ts=60 +units=m +a=6.371e+06 +e=0 +no_defs"


def stereographic(rows: int = 30, columns: int = 40, side: float = 4000.0) -> Positions:
    return Positions.from_projection(
        -1.4e6 + side * np.arange(rows), -2.9e6 + side * np.arange(columns), STEREOGRAPHIC, {}
    )


def without_projection(positions: Positions) -> Positions:
    return Positions(positions.latitude, positions.longitude)


def test_a_global_grid_covers_the_sphere() -> None:
    grid = Positions.from_axes(np.arange(-89.0, 90.0, 2.0), np.arange(1.0, 360.0, 2.0))
    assert grid.cell_area.sum() == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)


def test_rows_on_the_poles_do_not_reach_beyond() -> None:
    grid = Positions.from_axes(np.linspace(-90, 90, 91), np.arange(0.0, 360.0, 2.0))
    assert grid.cell_area.sum() == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)


def test_projected_cells_have_the_area_of_the_map_scale() -> None:
    """An equal square on the map is smaller or larger on Earth by the projection's areal scale."""
    grid = stereographic()
    scale = pyproj.Proj(STEREOGRAPHIC).get_factors(grid.longitude, grid.latitude).areal_scale
    # spherical quadrilaterals of great circles against map squares: the bulge is (4 km / 6371 km)^2
    np.testing.assert_allclose(grid.cell_area, 4000.0**2 / scale, rtol=1e-6)


def test_areas_without_the_projection_agree_with_those_from_it() -> None:
    grid = stereographic()
    found = without_projection(grid).cell_area
    # midpoints of centres against true corners: second order in the cell size inside, first order on the edge
    np.testing.assert_allclose(found[1:-1, 1:-1], grid.cell_area[1:-1, 1:-1], rtol=1e-6)
    np.testing.assert_allclose(found, grid.cell_area, rtol=2e-4)


def test_angle_is_minus_the_meridian_convergence() -> None:
    grid = stereographic()
    convergence = pyproj.Proj(STEREOGRAPHIC).get_factors(grid.longitude, grid.latitude).meridian_convergence
    angle, side = grid.angle
    assert side == 1
    np.testing.assert_allclose(np.rad2deg(angle), -convergence, atol=1e-4)
    # from positions alone: exact inside, one-sided on the edge
    np.testing.assert_allclose(np.rad2deg(without_projection(grid).angle[0]), -convergence, atol=0.03)


def test_a_mirrored_grid_turns_its_vectors_alike() -> None:
    """Rows stored from north to south, v along the stored rows: the same flow comes out."""
    grid = without_projection(stereographic())
    mirrored = Positions(grid.latitude[::-1], grid.longitude[::-1])
    u, v = np.random.default_rng(0).normal(size=(2, *grid.shape)).astype(np.float32)
    straight = rotate(u, v, *grid.angle)
    flipped = rotate(u[::-1], -v[::-1], *mirrored.angle)
    assert mirrored.angle[1] == -1
    for one, other in zip(straight, flipped, strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-6)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-np.pi, np.pi), st.sampled_from([1, -1]))
def test_rotation_keeps_the_speed(u: float, v: float, angle: float, side: int) -> None:
    east, north = rotate(np.float32([[u]]), np.float32([[v]]), np.array([[angle]]), side)
    assert np.hypot(east, north)[0, 0] == pytest.approx(
        np.hypot(np.float32(u), np.float32(v)), rel=3e-7, abs=1e-30
    )


def test_flow_along_the_x_axis_points_where_the_next_column_lies() -> None:
    grid = stereographic()
    east, north = rotate(np.ones(grid.shape, np.float32), np.zeros(grid.shape, np.float32), *grid.angle)
    ahead = np.deg2rad(np.diff(grid.longitude, axis=1)) * np.cos(np.deg2rad(grid.latitude[:, :-1]))
    up = np.deg2rad(np.diff(grid.latitude, axis=1))
    length = np.hypot(ahead, up)
    np.testing.assert_allclose(east[:, :-1], ahead / length, atol=2e-3)  # forward against centred differences
    np.testing.assert_allclose(north[:, :-1], up / length, atol=2e-3)


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9))
def test_positions_survive_the_sphere(latitude: float, longitude: float) -> None:
    back = from_sphere(on_sphere(latitude, longitude))
    assert back[0] == pytest.approx(latitude, abs=1e-9)
    assert back[1] == pytest.approx(longitude, abs=1e-9)


def test_region_keeps_every_cell_inside_and_crosses_the_date_line() -> None:
    grid = Positions.from_axes(np.arange(-10.0, 11.0), np.arange(160.0, 200.0))
    rows, columns = grid.region(175, -175, -2.5, 2.5)
    assert grid.latitude[rows, 0].tolist() == [-2, -1, 0, 1, 2]
    assert grid.longitude[0, columns].tolist() == list(range(175, 186))


def test_region_without_cells_says_where_the_grid_lies() -> None:
    grid = Positions.from_axes(np.arange(50.0, 60.0), np.arange(0.0, 10.0))
    with pytest.raises(ValueError, match=r"region 20,30,50,55 .* holds no cell .* 0\.00 to 9\.00 E"):
        grid.region(20, 30, 50, 55)
    with pytest.raises(ValueError, match="south above its north"):
        grid.region(0, 5, 55, 50)
