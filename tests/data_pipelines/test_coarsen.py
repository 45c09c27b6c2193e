"""Block means conserve what they average."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.coarsen import Coarsening
from data_pipelines.positions import Positions


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10_000))
def test_whole_wet_blocks_conserve_the_area_mean(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    fine = Positions.from_axes(np.linspace(50, 60, 4 * size), np.linspace(0, 9, 3 * size))
    coarsening = Coarsening(size, fine.cell_area)
    field = random.normal(size=(2, *fine.shape))
    wet = np.ones(fine.shape, dtype=bool)
    coarse = coarsening.mean(field, wet).astype(np.float64)
    np.testing.assert_allclose(
        (coarse * coarsening.area()).sum((-2, -1)), (field * fine.cell_area).sum((-2, -1)), rtol=0,
        atol=1e-6 * fine.cell_area.sum(),
    )  # fmt: skip
    assert coarsening.area().sum() == pytest.approx(fine.cell_area.sum(), rel=1e-12)


def test_land_never_reaches_the_mean() -> None:
    area = np.ones((4, 4))
    wet = np.ones((4, 4), dtype=bool)
    wet[0, 0] = False
    field = np.where(wet, 2.0, np.nan)
    np.testing.assert_array_equal(Coarsening(2, area).mean(field, wet), np.full((2, 2), 2.0, np.float32))
    field[0, 0] = 1e30
    np.testing.assert_array_equal(Coarsening(2, area).mean(field, wet), np.full((2, 2), 2.0, np.float32))


def test_half_wet_is_ocean_and_less_is_land() -> None:
    wet = np.ones((4, 4), dtype=bool)
    wet[:2, 0] = False  # block (0, 0): half
    wet[:2, 2:] = [[False, False], [False, True]]  # block (0, 1): a quarter
    coarsening = Coarsening(2, np.ones((4, 4)))
    np.testing.assert_array_equal(coarsening.mask(wet), [[True, False], [True, True]])
    assert np.isnan(coarsening.mean(np.ones((4, 4)), wet)[0, 1])


def test_rows_that_fill_no_block_are_dropped() -> None:
    fine = Positions.from_axes(np.arange(50.0, 57.0), np.arange(0.0, 10.0))
    coarsening = Coarsening(3, fine.cell_area)
    coarse = coarsening.positions(fine)
    assert coarsening.shape == coarse.shape == (2, 3)
    assert coarse.latitude[:, 0].tolist() == [51, 54]
    assert coarse.longitude[0].tolist() == [1, 4, 7]


def test_block_centres_lie_where_the_projection_has_them() -> None:
    projection = "+proj=stere +lat_0=90 +lon_0=70 +lat_ts=60 +R=6.371e+06"
    fine = Positions.from_projection(
        -1.4e6 + 800.0 * np.arange(8), -2.9e6 + 800.0 * np.arange(12), projection, {}
    )
    coarsening = Coarsening(4, fine.cell_area)
    with_axes = coarsening.positions(fine)
    np.testing.assert_allclose(with_axes.y, [-1.4e6 + 1200, -1.4e6 + 4400])
    without = coarsening.positions(Positions(fine.latitude, fine.longitude))
    assert without.agrees(with_axes)
    # a block's area is that of the cell around its centre, to second order
    np.testing.assert_allclose(coarsening.area(), with_axes.cell_area, rtol=1e-6)


@pytest.mark.parametrize("size", [0, 3, 50])
def test_too_large_blocks_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"coarsen {size} does not fit a grid of 5 x 9 cells.* from 1 to 2"):
        Coarsening(size, np.ones((5, 9)))
