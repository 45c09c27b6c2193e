"""Loops and tensors, one member and many, one run and two: the same sea."""

import numpy as np
import pytest
import torch

from oceanop.dynamics.forcing import Air, AirSeries
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import Engine, ShallowWaterModel
from oceanop.dynamics.state import Snapshot, State
from tests.oceanop.dynamics.conftest import storm

HOUR = 3600.0
SHOWN = ("zos", "ubar", "vbar", "u_before", "v_before")


def distance(one: Snapshot, other: Snapshot) -> float:
    return max(float(np.abs(getattr(one, name) - getattr(other, name)).max()) for name in SHOWN)


def test_the_two_engines_agree_over_a_day_on_the_baltic(baltic_grid: CGrid) -> None:
    boundary = OpenBoundary.along(baltic_grid, "west")
    air, ends = storm(baltic_grid.shape, 24), []
    for engine in ("compiled", "torch"):
        model = ShallowWaterModel(baltic_grid, boundary=boundary, engine=engine)
        *_, last = model.run(model.at_rest(), 24 * HOUR, forcing=air)
        ends.append(last)
    assert np.abs(ends[0].zos).max() > 0.3
    assert distance(*ends) < 1e-5  # rounding of float32 after 900 steps; measured 1e-6


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_what_the_air_holds_on_land_is_left_out(engine: Engine, rough_basin: CGrid) -> None:
    """A store has no stress there."""
    air, ends = storm(rough_basin.shape, 3), []
    for land in (0.0, np.nan):
        there = AirSeries(
            *(np.where(rough_basin.wet, field, land) for field in (air.tauu, air.tauv, air.msl))
        )
        model = ShallowWaterModel(rough_basin, engine=engine)
        *_, last = model.run(model.at_rest(), 3 * HOUR, forcing=there)
        ends.append(last)
    assert np.abs(ends[0].zos).max() > 0.02
    assert distance(*ends) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("linear", [True, False])
def test_a_gpu_agrees_with_the_loops(linear: bool, baltic_grid: CGrid) -> None:
    boundary = OpenBoundary.along(baltic_grid, "west", kind="flather")
    air, ends = storm(baltic_grid.shape, 24, members=3), []
    for options in ({"engine": "compiled"}, {"engine": "torch", "device": "cuda"}):
        model = ShallowWaterModel(baltic_grid, boundary=boundary, linear=linear, **options)  # type: ignore[arg-type]
        *_, last = model.run(model.at_rest(3), 24 * HOUR, forcing=air)
        ends.append(last)
    assert np.abs(ends[0].zos).max() > 0.3
    assert distance(*ends) < 1e-5  # rounding of float32 after 900 steps


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("kind", [None, "prescribed", "flather"])
@pytest.mark.parametrize("periodic", [False, True])
def test_they_agree_to_rounding_in_every_kind_of_basin(
    linear: bool, kind: str | None, periodic: bool
) -> None:
    rng = np.random.default_rng(5)
    depth = 20 + 60 * rng.random((8, 11))
    depth[rng.random((8, 11)) < 0.1] = 0.0
    depth[[0, -1]] = 60.0
    grid = CGrid.plane(depth, dx=8e3, dy=6e3, coriolis_parameter=1.2e-4, periodic=periodic)
    sides = ("south", "north") if periodic else ("south", "north", "east")
    boundary = (
        OpenBoundary.along(
            grid,
            *sides,
            kind=kind,
            level=lambda t: 0.3 * np.sin(t / 9000),
            current=(lambda t: 0.01 * np.cos(t / 9000)) if kind == "flather" else None,
        )
        if kind
        else None
    )
    level, ends = 0.2 * rng.normal(size=(3, 8, 11)), []
    for engine in ("compiled", "torch"):
        model = ShallowWaterModel(grid, boundary=boundary, linear=linear, engine=engine, dtype="float64")
        *_, last = model.run(model.state(level), 6 * HOUR, forcing=storm(grid.shape, 6, members=3))
        ends.append(last)
    assert np.abs(ends[0].zos).max() > 0.05
    assert distance(*ends) < 1e-12


@pytest.mark.parametrize("engine", ["compiled", "torch"])
def test_members_do_not_feel_each_other(engine: Engine, rough_basin: CGrid) -> None:
    """Eleven: a whole block of the compiled engine and a part of one."""
    air = storm(rough_basin.shape, 6, members=11)
    model = ShallowWaterModel(rough_basin, engine=engine, dtype="float64")
    level = 0.2 * np.random.default_rng(6).normal(size=(11, *rough_basin.shape))
    *_, together = model.run(model.state(level), 6 * HOUR, forcing=air)
    for member in (0, 4, 10):
        alone = AirSeries(*(field[:, member] for field in (air.tauu, air.tauv, air.msl) if field is not None))
        *_, single = model.run(model.state(level[member]), 6 * HOUR, forcing=alone)
        # Lanes of a vector may round differently from single numbers.
        np.testing.assert_allclose(single.zos[0], together.zos[member], atol=1e-13)
        np.testing.assert_allclose(single.vbar[0], together.vbar[member], atol=1e-13)


def test_one_air_over_all_members_is_that_air_over_each(rough_basin: CGrid) -> None:
    air = storm(rough_basin.shape, 6)
    model = ShallowWaterModel(rough_basin)
    *_, last = model.run(model.at_rest(9), 6 * HOUR, forcing=air)
    assert np.array_equal(last.zos[1:8], np.broadcast_to(last.zos[0], (7, *rough_basin.shape)))
    np.testing.assert_allclose(last.zos[8], last.zos[0], atol=1e-6)  # alone in a block; float32


def test_threads_change_nothing(rough_basin: CGrid) -> None:
    ends = []
    for threads in (1, 2):
        model = ShallowWaterModel(rough_basin, threads=threads)
        *_, last = model.run(model.at_rest(20), 6 * HOUR, forcing=storm(rough_basin.shape, 6, members=20))
        ends.append(last)
    assert np.array_equal(ends[0].zos, ends[1].zos)


@pytest.mark.parametrize("engine", ["compiled", "torch"])
@pytest.mark.parametrize("linear", [True, False])
def test_a_run_continued_from_a_stored_state_is_the_run_that_never_stopped(
    engine: Engine, linear: bool, rough_basin: CGrid, tmp_path
) -> None:
    """Bit for bit, in the middle of an hour, after an odd number of steps."""
    air = storm(rough_basin.shape, 8, members=2)
    boundary = OpenBoundary.along(rough_basin, "east", kind="flather", level=lambda t: 0.1 * np.sin(t / 9000))
    model = ShallowWaterModel(rough_basin, boundary=boundary, linear=linear, engine=engine)
    step = model.time_step
    whole = round(7 * HOUR / step)
    *_, through = model.run(model.at_rest(2), whole * step, forcing=air, every=whole * step)
    first = whole // 2 - 1 + whole // 2 % 2
    assert first % 2
    assert first * step % HOUR
    *_, part = model.run(model.at_rest(2), first * step, forcing=air, every=first * step)
    np.savez(tmp_path / "restart.npz", zos=part.state.zos, u=part.state.u, v=part.state.v)
    with np.load(tmp_path / "restart.npz") as stored:
        state = State(stored["zos"], stored["u"], stored["v"], steps=part.state.steps)
    *_, rest = model.run(state, (whole - first) * step, forcing=air, every=step)
    assert rest.time == through.time
    for name in SHOWN:
        assert np.array_equal(getattr(rest, name), getattr(through, name)), name


def test_how_often_it_is_shown_changes_nothing(rough_basin: CGrid) -> None:
    air = storm(rough_basin.shape, 6)
    model = ShallowWaterModel(rough_basin)
    ends = []
    for every in (model.time_step, HOUR, 6 * HOUR):
        *_, last = model.run(model.at_rest(), 6 * HOUR, forcing=air, every=every)
        ends.append(last)
    assert distance(ends[0], ends[1]) == distance(ends[0], ends[2]) == 0


def test_a_series_of_fields_is_the_line_between_them(rough_basin: CGrid) -> None:
    """Fields of every third hour, asked for each hour, are the fields of all hours on those lines."""
    coarse = storm(rough_basin.shape, 2)
    series = AirSeries(coarse.tauu, coarse.tauv, coarse.msl, interval=3 * HOUR)
    for hour in range(7):
        low, share = divmod(hour, 3)
        for name in Air._fields:
            field = getattr(coarse, name)
            expected = field[low] if share == 0 else field[low] + share / 3 * (field[low + 1] - field[low])
            np.testing.assert_allclose(getattr(series(hour * HOUR), name), expected, rtol=1e-14)
    with pytest.raises(ValueError, match="covers 0 h to 6 h and was asked for 7 h"):
        series(7 * HOUR)
    whole = AirSeries(msl=np.array([[[101000]], [[101600]]]))
    assert whole(HOUR / 2).msl == 101300


def test_a_snapshot_is_the_callers_own(rough_basin: CGrid) -> None:
    for engine in ("compiled", "torch"):
        model = ShallowWaterModel(rough_basin, engine=engine)
        shown = model.run(model.at_rest(), 3 * HOUR, forcing=storm(rough_basin.shape, 3))
        first = next(shown)
        kept = first.zos.copy()
        first.ubar[:] = np.nan
        second = next(shown)
        assert np.array_equal(first.zos, kept)
        assert np.isfinite(second.zos).all()


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("kind", [None, "prescribed", "flather"])
def test_the_differentiable_steps_are_the_runs(linear: bool, kind: str | None, rough_basin: CGrid) -> None:
    air = storm(rough_basin.shape, 5, members=2)
    boundary = OpenBoundary.along(rough_basin, "west", kind=kind) if kind else None
    model = ShallowWaterModel(rough_basin, boundary=boundary, linear=linear, dtype="float64")
    start = model.state(0.2 * np.random.default_rng(8).normal(size=(2, *rough_basin.shape)))
    shown = list(model.run(start, 5 * HOUR, forcing=air))
    fields = {name: torch.as_tensor(getattr(air, name)) for name in Air._fields}
    levels, east, north = model.differentiable(*map(torch.as_tensor, start.fields), **fields)
    for hour, snapshot in enumerate(shown):
        np.testing.assert_allclose(levels[hour], snapshot.zos, atol=1e-12)
        np.testing.assert_allclose(east[hour], snapshot.ubar, atol=1e-12)
        np.testing.assert_allclose(north[hour], snapshot.vbar, atol=1e-12)


@pytest.mark.parametrize("linear", [True, False])
def test_gradients_through_168_steps_are_those_of_differences(linear: bool) -> None:
    """Of a forced bay in float64: to the start, to the stress and to the pressure."""
    rng = np.random.default_rng(9)
    depth = 20 + 30 * rng.random((6, 8))
    depth[2, 3] = 0.0
    grid = CGrid.plane(depth, dx=40e3, dy=40e3, coriolis_parameter=1.2e-4)
    model = ShallowWaterModel(grid, time_step=900.0, linear=linear, dtype="float64")
    shape = (43, 1, 6, 8)
    fields = {
        "tauu": torch.as_tensor(0.2 * rng.normal(size=shape)),
        "tauv": torch.as_tensor(0.2 * rng.normal(size=shape)),
        "msl": torch.as_tensor(101325 + 300 * rng.normal(size=shape)),
    }
    # From rest, where the slope of the speed's root would be infinite.
    fields |= {name: torch.zeros((1, 6, 8), dtype=torch.float64) for name in ("zos", "u", "v")}
    scales = {"tauu": 0.1, "tauv": 0.1, "msl": 100.0, "zos": 0.1, "u": 0.05, "v": 0.05}
    directions = {
        name: torch.as_tensor(scales[name] * rng.normal(size=tuple(field.shape)))
        for name, field in fields.items()
    }
    goal = torch.as_tensor(rng.normal(size=(3, 6, 8)))

    def loss(at: dict[str, torch.Tensor]) -> torch.Tensor:
        series = model.differentiable(
            at["zos"], at["u"], at["v"], tauu=at["tauu"], tauv=at["tauv"], msl=at["msl"]
        )
        return sum((goal[n] * field[-1]).sum() for n, field in enumerate(series))  # type: ignore[return-value]

    leaves = {name: field.clone().requires_grad_() for name, field in fields.items()}
    loss(leaves).backward()
    for name, direction in directions.items():
        gradient = leaves[name].grad
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        small = 1e-5
        ends = [float(loss(fields | {name: fields[name] + s * direction})) for s in (small, -small)]
        along = float((gradient * direction).sum())
        # Two-sided differences: their own error is of the order of 1e-5 squared and of rounding over 1e-5.
        assert (ends[0] - ends[1]) / (2 * small) == pytest.approx(along, rel=1e-6, abs=1e-9), name
