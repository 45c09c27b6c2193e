"""What the model keeps, balances and owes to symmetry, on real and on rough sea floors."""

from dataclasses import replace

import numpy as np
import pytest

from oceanop.constants import GRAVITY
from oceanop.dynamics.energy import budget, energy, volume
from oceanop.dynamics.forcing import Air, AirSeries
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import Engine, ShallowWaterModel
from oceanop.dynamics.state import State
from oceanop.dynamics.stencil import WATER_DENSITY
from tests.oceanop.dynamics.conftest import storm

HOUR = 3600.0


def tilt(grid: CGrid) -> np.ndarray:
    """Half a metre over the basin from west to east."""
    return np.broadcast_to(np.linspace(-0.25, 0.25, grid.shape[1]), grid.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rotation_over_the_baltics_sea_floor_does_no_work_in_ten_days(dtype: str, baltic_grid: CGrid) -> None:
    """A stencil that divides transports by their own depth gains 1300 % here, and nothing on a flat bottom."""
    model = ShallowWaterModel(baltic_grid, friction=0, dtype=dtype)
    total = np.array(
        [energy(model, shown).total[0] for shown in model.run(model.state(tilt(baltic_grid)), 240 * HOUR)]
    )
    assert abs(total[-24:].mean() / total[:24].mean() - 1) < 2e-5  # asked for is 2e-3; measured 3e-6
    # And it swaps between the two kinds all the while, so that there is something to lose.
    assert np.ptp(total) < 1e-3 * total.mean()


def test_without_rotation_energy_is_kept_to_rounding(baltic_grid: CGrid) -> None:
    grid = replace(baltic_grid, coriolis_parameter=0 * baltic_grid.coriolis_parameter)
    model = ShallowWaterModel(grid, friction=0, dtype="float64")
    total = np.array(
        [energy(model, shown).total[0] for shown in model.run(model.state(tilt(grid)), 48 * HOUR)]
    )
    np.testing.assert_allclose(total, total[0], rtol=1e-11)  # 2000 steps of rounding


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("linear", [True, False])
def test_a_closed_basin_keeps_its_water(dtype: str, limit: float, linear: bool, baltic_grid: CGrid) -> None:
    model = ShallowWaterModel(baltic_grid, linear=linear, dtype=dtype)
    days = 10
    *_, last = model.run(
        model.at_rest(), days * 24 * HOUR, forcing=storm(baltic_grid.shape, days * 24), every=24 * HOUR
    )
    area = (baltic_grid.area[:, None] * baltic_grid.wet).sum()
    assert np.abs(last.zos).max() > 0.3
    assert abs(volume(model, last)[0]) / area < limit  # m


def test_a_wind_piles_up_the_slope_that_balances_it() -> None:
    """``g d(eta)/dx = tau / (rho h)`` at each side, also where the depth changes: no step moves anything."""
    tau, dx = 0.25, 10e3
    depth = 50 + 30 * np.sin(np.arange(40.0))
    grid = CGrid.plane(np.broadcast_to(depth, (3, 40)), dx=dx, dy=dx)
    model = ShallowWaterModel(grid, dtype="float64")
    slope = tau / (WATER_DENSITY * GRAVITY * (depth[1:] + depth[:-1]) / 2)
    level = np.concatenate([[0.0], np.cumsum(slope * dx)])
    assert np.polyfit(np.arange(40.0) * dx, level, 1)[0] == pytest.approx(5.1e-7, rel=0.2)
    wind = Air(tauu=np.full(grid.shape, tau))
    *_, last = model.run(model.state(np.broadcast_to(level, grid.shape)), 48 * HOUR, forcing=lambda _: wind)
    np.testing.assert_allclose(last.zos[0], np.broadcast_to(level, grid.shape), atol=1e-13)


def test_water_begun_at_rest_swings_around_that_slope() -> None:
    """Without friction about the balance, from 0 to twice as much: its mean over the slowest seiches is the slope."""
    tau, dx = 0.25, 10e3
    grid = CGrid.plane(np.full((2, 40), 50.0), dx=dx, dy=dx)
    model = ShallowWaterModel(grid, friction=0, dtype="float64")
    wind = Air(tauu=np.full(grid.shape, tau))
    period = 2 * 400e3 / np.sqrt(GRAVITY * 50)
    hours = 10 * period / HOUR
    shown = list(model.run(model.at_rest(), round(hours) * HOUR, forcing=lambda _: wind))
    mean = np.mean([s.zos[0, 0] for s in shown], axis=0)
    slope = np.polyfit((np.arange(40) + 0.5) * dx, mean, 1)[0]
    # The record ends a third of an hour from ten whole periods of ten hours.
    assert slope == pytest.approx(tau / (WATER_DENSITY * GRAVITY * 50), rel=0.01)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("kind", [None, "prescribed", "flather"])
def test_the_inverse_barometer_is_rest(linear: bool, kind: str | None, baltic_grid: CGrid) -> None:
    y, x = np.meshgrid(*(np.linspace(0, 3, size) for size in baltic_grid.shape), indexing="ij")
    pressure = 101325 + 1500 * np.sin(2 * x + y)
    level = -(pressure - 101325) / (WATER_DENSITY * GRAVITY)
    boundary = OpenBoundary.along(baltic_grid, "west", kind=kind) if kind else None
    model = ShallowWaterModel(baltic_grid, linear=linear, boundary=boundary, dtype="float64")
    *_, last = model.run(model.state(level), 24 * HOUR, forcing=lambda _: Air(msl=pressure))
    assert np.ptp(level[baltic_grid.wet]) > 0.2
    np.testing.assert_allclose(last.zos[0][baltic_grid.wet], level[baltic_grid.wet], atol=1e-12)
    assert np.abs(last.ubar).max() < 1e-12


@pytest.mark.parametrize("kind", [None, "prescribed", "flather"])
def test_the_energy_budget_closes(kind: str | None, baltic_grid: CGrid) -> None:
    boundary = (
        OpenBoundary.along(baltic_grid, "west", kind=kind, level=lambda t: 0.3 * np.sin(t / 7000))
        if kind
        else None
    )
    model = ShallowWaterModel(baltic_grid, boundary=boundary, dtype="float64")
    terms = budget(model, model.at_rest(), 24 * HOUR, forcing=storm(baltic_grid.shape, 24))
    assert terms.wind[0] > 0
    assert terms.friction[0] < -0.3 * terms.wind[0]
    assert (terms.boundary[0] != 0) == (kind is not None)
    assert abs(terms.residual[0]) < 1e-4 * terms.wind[0]  # asked for is 1e-2; measured 5e-6


def test_without_rotation_it_closes_to_rounding(rough_basin: CGrid) -> None:
    grid = replace(rough_basin, coriolis_parameter=0 * rough_basin.coriolis_parameter)
    boundary = OpenBoundary.along(grid, "west", level=lambda t: 0.3 * np.sin(t / 7000))
    model = ShallowWaterModel(grid, boundary=boundary, dtype="float64")
    terms = budget(model, model.at_rest(3), 12 * HOUR, forcing=storm(grid.shape, 12, members=3))
    # What keeps the root of the speed smooth, (1e-6 m/s)^2, is all that the budget does not know.
    assert np.all(np.abs(terms.residual) < 1e-9 * np.abs(terms.wind))


def test_friction_takes_energy_at_any_step_and_strength(rough_basin: CGrid) -> None:
    for friction in (1e-3, 1.0, 1e3):
        model = ShallowWaterModel(rough_basin, friction=friction)
        shown = model.run(model.state(tilt(rough_basin)), 48 * HOUR)
        total = np.array([energy(model, snapshot).total[0] for snapshot in shown])
        # Rotation's exchange swings by a thousandth while it turns.
        assert np.all(np.diff(total) < 2e-3 * total[0])
        assert total[-1] < 0.95 * total[0]


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_a_current_dies_by_the_law_of_quadratic_drag(engine: Engine) -> None:
    """``u' = -Cd u^2 / h`` has ``1 / u = 1 / u0 + Cd t / h``, and so do the semi-implicit steps."""
    depth = 30.0
    grid = CGrid.plane(np.full((3, 8), depth), dx=1e4, dy=1e4, periodic=True)
    model = ShallowWaterModel(grid, friction=4e-3, engine=engine, dtype="float64")
    start = State(np.zeros((1, 3, 8)), np.array([[[0.9], [-0.5], [0.1]]]) * np.ones(8), np.zeros((1, 3, 8)))
    *_, last = model.run(start, 6 * HOUR)
    # What keeps the root of the speed smooth, (1e-6 m/s)^2, is a part in 10^10 of the least current's square
    np.testing.assert_allclose(
        1 / np.abs(last.state.u), 1 / np.abs(start.u) + 4e-3 * 6 * HOUR / depth, rtol=1e-9
    )
    assert np.array_equal(np.sign(last.state.u), np.sign(start.u))


def final(grid: CGrid, state: State, forcing: AirSeries, **options: object) -> State:
    model = ShallowWaterModel(grid, dtype="float64", forcing_interval=HOUR, **options)  # type: ignore[arg-type]
    *_, last = model.run(state, 12 * HOUR, forcing=forcing)
    return last.state


@pytest.mark.parametrize("linear", [True, False])
def test_a_basin_turned_by_a_quarter_or_a_half_does_the_same_turned(linear: bool, rough_basin: CGrid) -> None:
    """And as the components take turns, a quarter turn is told apart by a step."""
    grid, air = rough_basin, storm(rough_basin.shape, 13)
    assert air.tauu is not None
    assert air.tauv is not None
    assert air.msl is not None
    model = ShallowWaterModel(grid, dtype="float64", linear=linear)
    level = 0.3 * np.random.default_rng(1).normal(size=grid.shape)
    start = model.state(level)
    here = final(grid, start, air, linear=linear, time_step=model.time_step)

    def turned(field: np.ndarray, times: int) -> np.ndarray:
        return np.rot90(field, times, axes=(-2, -1))

    half = CGrid.plane(turned(grid.depth, 2), dx=8e3, dy=6e3, coriolis_parameter=1.2e-4)
    there = final(
        half,
        State(turned(start.zos, 2), 0 * start.u, 0 * start.v),
        AirSeries(turned(-air.tauu, 2), turned(-air.tauv, 2), turned(air.msl, 2)),
        linear=linear,
        time_step=model.time_step,
    )
    np.testing.assert_allclose(turned(there.zos, 2), here.zos, atol=1e-12)
    # Rows are counted from south to north: this turns x into y and y into -x, counter-clockwise.
    quarter = CGrid.plane(turned(grid.depth, -1), dx=6e3, dy=8e3, coriolis_parameter=1.2e-4)
    step = model.time_step
    shifted = AirSeries(turned(-air.tauv, -1), turned(air.tauu, -1), turned(air.msl, -1), start=step)
    side = ShallowWaterModel(quarter, dtype="float64", linear=linear, time_step=step, forcing_interval=step)
    begun = State(turned(start.zos, -1).copy(), *np.zeros((2, 1, *quarter.shape)), steps=1)
    *_, last = side.run(begun, 12 * HOUR, forcing=shifted)
    np.testing.assert_allclose(turned(last.state.zos, 1), here.zos, atol=1e-12)
    assert np.abs(here.zos).max() > 0.05


def test_a_periodic_channel_does_not_know_where_its_seam_is() -> None:
    rng = np.random.default_rng(2)
    depth = 20 + 60 * rng.random((7, 12))
    depth[2, 3:5] = 0
    level, wind = rng.normal(size=(7, 12)), storm((7, 12), 12)
    assert wind.tauu is not None
    assert wind.tauv is not None
    results = []
    for shift in (0, 5):
        grid = CGrid.plane(np.roll(depth, shift, 1), dx=8e3, dy=6e3, coriolis_parameter=1.2e-4, periodic=True)
        model = ShallowWaterModel(grid, dtype="float64", linear=False)
        air = AirSeries(np.roll(wind.tauu, shift, -1), np.roll(wind.tauv, shift, -1))
        *_, last = model.run(model.state(0.1 * np.roll(level, shift, 1)), 12 * HOUR, forcing=air)
        results.append(np.roll(last.zos, -shift, -1))
    np.testing.assert_allclose(results[1], results[0], atol=1e-13)
