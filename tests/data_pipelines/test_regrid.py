"""Interpolation is exact for linear fields, never leaves the range of its source, and never invents time."""

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.positions import Positions
from data_pipelines.regrid import Regridder, bilinear_weights, bracket

MERCATOR = "+proj=merc +lon_0=5 +R=6.371e+06 +units=m +no_defs"


def projected(rows: int, columns: int, side: float, corner: tuple[float, float] = (7.9e6, 0.0)) -> Positions:
    return Positions.from_projection(
        corner[0] + side * np.arange(rows), corner[1] + side * np.arange(columns), MERCATOR, {}
    )


def through(regridder: Regridder, field: np.ndarray) -> np.ndarray:
    return regridder(field[None, regridder.rows, regridder.columns])[0]


def test_linear_fields_come_through_exactly() -> None:
    """Linear in the source's own coordinates, on a finer grid that lies turned and shifted inside."""
    source = projected(30, 30, 5000.0)
    target = Positions(
        *(part[3:-3, 3:-3].T for part in _latlon(projected(60, 60, 2300.0, (7.9e6 + 3000, 2500.0))))
    )
    x, y = pyproj.Proj(MERCATOR)(target.longitude, target.latitude)
    field = (1 + 2e-6 * source.x[None, :] - 3e-6 * (source.y[:, None] - 7.9e6)).astype(np.float64)
    expected = 1 + 2e-6 * x - 3e-6 * (y - 7.9e6)
    found = through(Regridder.between(source, target), field)
    # Mercator's straight lines bend in the plane that touches at the target: by cell / 8 R of a cell; and float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=5000 / (8 * 6.371e6) * 5000 * 3e-6 + 2e-7)


def _latlon(positions: Positions) -> tuple[np.ndarray, np.ndarray]:
    return positions.latitude, positions.longitude


def test_the_own_grid_is_the_identity() -> None:
    grid = projected(12, 15, 3000.0)
    field = np.random.default_rng(0).normal(size=grid.shape)
    np.testing.assert_allclose(through(Regridder.between(grid, grid), field), field, rtol=0, atol=1e-5)


def test_a_constant_stays_and_weights_are_convex() -> None:
    source, target = projected(20, 20, 4000.0), projected(50, 50, 1900.0, (7.88e6, -9000.0))
    weights = Regridder.between(source, target).weights
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 0.9))
def test_the_range_is_never_exceeded(seed: int, share: float) -> None:
    """With any land mask, inside and outside the source's domain."""
    random = np.random.default_rng(seed)
    source, target = projected(12, 12, 4000.0), projected(20, 20, 3100.0, (7.895e6, -6000.0))
    valid = random.random(source.shape) < share
    valid[5, 5] = True
    field = np.where(valid, random.normal(size=source.shape), np.nan)
    found = through(Regridder.between(source, target, valid), field)
    assert np.isfinite(found).all()
    assert found.min() >= np.float32(np.nanmin(field)) - 1e-6
    assert found.max() <= np.float32(np.nanmax(field)) + 1e-6


def test_cells_outside_take_the_nearest_valid_one() -> None:
    source = projected(6, 6, 4000.0)
    target = projected(6, 2, 4000.0, (7.9e6, 7 * 4000.0))  # two columns east of the source's last
    regridder = Regridder.between(source, target)
    assert not regridder.inside.any()
    field = np.random.default_rng(0).normal(size=source.shape)
    np.testing.assert_allclose(through(regridder, field)[:, 0], field[:, -1], atol=1e-6)


def test_a_global_grid_has_no_seam() -> None:
    source = Positions.from_axes(np.arange(-60.0, 61.0, 2.0), np.arange(0.0, 360.0, 2.0))
    target = Positions.from_axes(np.arange(-50.0, 50.0, 7.0), np.array([359.0, -0.5, 0.5, 358.5]))
    weights, inside = bilinear_weights(source, target)
    assert inside.all()
    wave = np.cos(np.deg2rad(source.longitude))
    found = (weights @ wave.ravel()).reshape(target.shape)
    np.testing.assert_allclose(
        found, np.cos(np.deg2rad(target.longitude)), atol=2e-4
    )  # second order in 2 degrees


def test_error_falls_with_the_square_of_the_cell() -> None:
    target = projected(40, 40, 1130.0, (7.92e6, 21000.0))
    errors = []
    for side in (8000.0, 4000.0, 2000.0):
        source = projected(int(160000 / side), int(160000 / side), side)
        smooth = lambda p: np.sin(np.deg2rad(p.latitude) * 40) * np.cos(np.deg2rad(p.longitude) * 30)  # noqa: E731
        errors.append(
            np.abs(through(Regridder.between(source, target), smooth(source)) - smooth(target)).max()
        )
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.15)


def hours(*values: float) -> np.ndarray:
    return np.datetime64("2020-01-01", "ns") + (np.array(values) * 3600e9).astype("timedelta64[ns]")


def test_time_weights_reproduce_a_straight_line() -> None:
    given_times, asked = hours(0, 3, 6, 9), hours(0, 1, 2, 3, 4.5, 9)
    first, fraction = bracket(given_times, asked, "wind", "ocean")
    line = np.array([0.0, 3.0, 6.0, 9.0])
    after = np.minimum(first + 1, 3)
    np.testing.assert_allclose(line[first] + fraction * (line[after] - line[first]), [0, 1, 2, 3, 4.5, 9])


def test_nothing_is_extrapolated_in_time() -> None:
    with pytest.raises(
        ValueError,
        match=r"wind covers 2020-01-01T00:00:00 to 2020-01-01T05:00:00, ocean needs .* to 2020-01-01T06",
    ):
        bracket(hours(*range(6)), hours(*range(7)), "wind", "ocean")


def test_a_gap_in_the_forcing_is_not_bridged() -> None:
    with pytest.raises(ValueError, match="gap from 2020-01-01T02:00:00 to 2020-01-01T06:00:00"):
        bracket(hours(0, 1, 2, 6, 7, 8), hours(*range(9)), "wind", "ocean")
    first, _ = bracket(hours(0, 1, 2, 6, 7, 8), hours(0, 1, 2, 6), "wind", "ocean")
    assert first.tolist() == [0, 1, 2, 3]
