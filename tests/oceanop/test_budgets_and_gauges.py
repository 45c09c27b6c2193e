"""Water, energy and gauges of a basin are counted as they are."""

import numpy as np
import pytest

from oceanop.budgets import basin_energy, mean_level
from oceanop.constants import GRAVITY
from oceanop.gauges import gauge_cells
from oceanop.grid import Grid

AREA = np.array([[1.0, 2.0, 0.0]])


def test_a_standing_wave_s_energy_is_all_potential_and_then_all_kinetic() -> None:
    x = (np.arange(400) + 0.5) / 400
    shape, area, depth = np.cos(np.pi * x)[None], np.full((1, 400), 2.5), 40.0
    level = basin_energy(0.1 * shape, 0 * shape, 0 * shape, depth=np.full_like(shape, depth), area=area)
    speed = 0.1 * np.sqrt(GRAVITY / depth)
    moving = basin_energy(
        0 * shape, speed * np.sin(np.pi * x)[None], 0 * shape, depth=np.full_like(shape, depth), area=area
    )
    assert level.kinetic == 0
    assert moving.potential == 0
    assert moving.total == pytest.approx(level.total, rel=1e-12)
    assert level.total == pytest.approx(0.25 * GRAVITY * 0.1**2 * 1000, rel=1e-12)


def test_the_mean_level_is_by_area_and_blind_to_land() -> None:
    levels = np.array([[[3.0, 0.0, 7.0]], [[0.0, 3.0, -7.0]]])
    np.testing.assert_allclose(mean_level(levels, area=AREA), [1.0, 2.0])


@pytest.fixture
def grid() -> Grid:
    latitude, longitude = np.meshgrid(60.0 + np.arange(3), 20.0 + 2.0 * np.arange(3), indexing="ij")
    mask = np.array([[True, True, False], [True, False, False], [True, True, True]])
    return Grid(latitude, longitude, mask, np.where(mask, 1.0, 1.0))


def test_a_gauge_on_land_is_read_in_the_nearest_water(grid: Grid) -> None:
    # 61 N, 22 E is land; a degree of latitude is 111 km and two of longitude 108 km there
    assert gauge_cells(grid, {"on land": (61.0, 22.0)}, farthest=112e3) == {"on land": (1, 0)}
    assert gauge_cells(grid, {"at sea": (62.1, 23.8)}) == {"at sea": (2, 2)}


def test_a_gauge_far_from_any_water_is_refused(grid: Grid) -> None:
    with pytest.raises(ValueError, match=r"gauge inland at 61 N, 22 E lies 108 km .* 60 km are allowed"):
        gauge_cells(grid, {"inland": (61.0, 22.0)})


def test_a_gauge_outside_the_domain_is_told_from_one_on_land(grid: Grid) -> None:
    with pytest.raises(
        ValueError, match=r"harbour at 64 N, 20 E lies 2\d\d km outside the domain, which spans 60.0 to 62"
    ):
        gauge_cells(grid, {"harbour": (64.0, 20.0)}, farthest=1e6)
    # Within the diagonal of a cell of the outermost row: the cell's own water
    assert gauge_cells(grid, {"pier": (62.4, 20.0)}) == {"pier": (2, 0)}
