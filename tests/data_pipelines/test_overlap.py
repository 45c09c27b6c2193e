"""From one regular grid to another: what is in the sea stays in it, and water flows as it did."""

import numpy as np

from data_pipelines.overlap import Overlap
from data_pipelines.positions import Positions
from data_pipelines.sides import SideCurrents
from oceanop.dynamics.geometry import CGrid


def axes(rows: int, columns: int, step: float) -> Positions:
    return Positions.from_axes(
        50 + step / 2 + step * np.arange(rows), 10 + step / 2 + step * np.arange(columns)
    )


def test_means_over_other_cells_keep_what_is_in_the_sea() -> None:
    fine, coarse = axes(12, 18, 0.1), axes(8, 6, 0.15)
    coarse = Positions.from_axes(coarse.latitude[:, 0], 10.15 + 0.3 * np.arange(6))
    field = np.random.default_rng(0).standard_normal((3, 12, 18))
    every = np.ones((12, 18), bool), np.ones((8, 6), bool)
    mean = Overlap.between(fine, coarse, *every)(field)
    np.testing.assert_allclose(
        (mean * coarse.cell_area).sum((1, 2)), (field * fine.cell_area).sum((1, 2)), rtol=1e-9
    )


def test_land_never_reaches_a_mean_and_a_cell_without_sea_takes_the_nearest() -> None:
    fine, coarse = axes(6, 6, 0.1), axes(3, 3, 0.2)
    wet = np.ones((6, 6), bool)
    wet[:2, :2] = False
    wet[0, 2] = False
    field = np.where(wet, 2.0, np.nan)
    mean = Overlap.between(fine, coarse, wet, np.ones((3, 3), bool))(field)
    np.testing.assert_allclose(mean, 2.0, rtol=1e-12)
    dry = np.ones((3, 3), bool)
    dry[1, 1] = False
    assert Overlap.between(fine, coarse, wet, dry)(field)[1, 1] == 0


def test_a_grid_on_itself_is_untouched() -> None:
    grid, field = axes(7, 9, 0.1), np.random.default_rng(1).standard_normal((7, 9))
    wet = field > -1
    here = Overlap.between(grid, grid, wet, wet)(field)
    np.testing.assert_allclose(here, np.where(wet, field, 0), rtol=1e-12, atol=1e-12)


def basin_cells(step: int) -> CGrid:
    depth = np.full((24 // step, 24 // step), 50.0)
    depth[[0, -1]] = depth[:, [0, -1]] = 0
    centre = (step - 1) / 2 * 0.1
    axis = np.arange(24 // step) * 0.1 * step + centre
    return CGrid.sphere(55 + axis, 15 + 2 * axis, depth)


def test_sides_are_found_back_from_their_means() -> None:
    grid = basin_cells(1)
    generator = np.random.default_rng(2)
    u, v = (generator.standard_normal(grid.shape) * side for side in (grid.east, grid.north))
    centred = (u + np.roll(u, 1, 1)) / 2, (v + np.roll(v, 1, 0)) / 2
    found = SideCurrents(grid, grid)(*centred)
    # The prior costs a little where the alternation that centres hardly show is strong, as in noise
    for side, exact in zip(found, (u, v), strict=True):
        assert np.sqrt(np.mean((side - exact) ** 2)) < 0.05
    smooth = np.sin(np.linspace(0, np.pi, 24))[None, :-1] * np.ones((24, 1))
    u = np.pad(smooth, ((0, 0), (0, 1))) * grid.east
    side, _ = SideCurrents(grid, grid)((u + np.roll(u, 1, 1)) / 2, 0 * u)
    np.testing.assert_allclose(side, u, atol=2e-2)


def test_transports_fill_coarse_cells_as_they_do_the_fine_ones() -> None:
    """The divergence of a coarse cell, times its area, is that of its fine cells together."""
    fine, coarse = basin_cells(1), basin_cells(2)
    wet = np.kron(coarse.wet, np.ones((2, 2))) > 0
    fine = CGrid.sphere(fine.latitude, fine.longitude, np.where(wet, 50.0, 0.0))
    rows, columns = np.indices(fine.shape)
    psi = np.sin(np.pi * rows / 12) * np.cos(np.pi * columns / 8)
    u, v = 0.1 * psi * fine.east, 0.2 * psi[::-1] * fine.north

    def filled(grid: CGrid, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        along_x, along_y = u * grid.east_depth * grid.dy, v * grid.north_depth * grid.dx_north[:, None]
        return np.roll(along_x, 1, 1) - along_x + np.roll(along_y, 1, 0) - along_y

    change = SideCurrents(fine, coarse)
    # The exact sides of the fine grid, not those found back from the centres
    change._solve = [lambda field: field, lambda field: field]  # type: ignore[list-item]
    whole = filled(fine, u, v).reshape(12, 2, 12, 2).sum((1, 3))
    np.testing.assert_allclose(filled(coarse, *change(u, v)), whole, atol=1e-6 * np.abs(whole).max())
