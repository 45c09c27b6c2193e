"""What the model cannot do it says in a sentence: where, what came, what was expected."""

import numpy as np
import pytest

from oceanop.dynamics.energy import budget
from oceanop.dynamics.forcing import Air, AirSeries
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.modes import modes, response
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.state import State
from tests.oceanop.dynamics.conftest import storm

HOUR = 3600.0


@pytest.mark.parametrize("engine", ["compiled", "torch"])
@pytest.mark.parametrize("every", [1.0, 6.0])
def test_a_run_that_breaks_says_when_and_where(engine: str, every: float, baltic_grid: CGrid) -> None:
    air = storm(baltic_grid.shape, 12, members=3)
    assert air.msl is not None
    row, column = np.argwhere(baltic_grid.wet)[900]
    air.msl[4, 1, row, column] = np.nan
    model = ShallowWaterModel(baltic_grid, engine=engine)  # type: ignore[arg-type]
    north, east = baltic_grid.latitude[row], baltic_grid.longitude[column]
    with pytest.raises(ValueError) as refusal:
        list(model.run(model.at_rest(3), 12 * HOUR, forcing=air, every=every * HOUR))
    words = str(refusal.value)
    # The air is on its way to the fourth hour from the third on: the first step breaks the current, the second the
    # level.
    assert "no number any more after 3.05 h" in words
    assert "member 1" in words
    assert "look at the forcing" in words
    place = [float(words.split("(")[1].split(" N")[0]), float(words.split(" N, ")[1].split(" E")[0])]
    assert np.allclose(place, [north, east], atol=0.3)


def test_a_sea_that_falls_dry_says_so() -> None:
    grid = CGrid.plane(np.full((4, 30), 4.0), dx=10e3, dy=10e3)
    model = ShallowWaterModel(grid, linear=False)
    with pytest.raises(ValueError, match=r"may have fallen dry.*deepen the cell or make the model linear"):
        list(model.run(model.at_rest(), 72 * HOUR, forcing=lambda _: Air(tauu=np.full(grid.shape, 2.0))))


def test_an_unstable_step_is_refused_with_a_stable_one(rough_basin: CGrid) -> None:
    longest = rough_basin.longest_time_step()
    for step in (longest, 2 * longest, 0.0):
        with pytest.raises(ValueError, match=r"is unstable: .* wants less than .* Leave time_step out, and"):
            ShallowWaterModel(rough_basin, time_step=step)


def test_intervals_that_the_step_does_not_divide_are_refused(rough_basin: CGrid) -> None:
    with pytest.raises(ValueError, match=r"forcing_interval is 3600 s, which a time step of 101 s"):
        ShallowWaterModel(rough_basin, time_step=101.0)
    model = ShallowWaterModel(rough_basin)
    with pytest.raises(ValueError, match="every is 100 s, which a time step of"):
        next(model.run(model.at_rest(), HOUR, every=100.0))
    with pytest.raises(ValueError, match="a run of 5400 s does not hold a whole number of steps of 3600 s"):
        next(model.run(model.at_rest(), 1.5 * HOUR))


def test_fields_of_another_shape_are_refused(rough_basin: CGrid) -> None:
    model = ShallowWaterModel(rough_basin)
    rest = model.at_rest(2)
    for field in (np.zeros((13, 9)), np.zeros((3, 9, 13))):
        with pytest.raises(
            ValueError, match=r"tauu at 0 h has shape .*; expected \(9, 13\), or with .* 2 members"
        ):
            list(model.run(rest, HOUR, forcing=lambda _, field=field: Air(tauu=field)))
    with pytest.raises(
        ValueError, match=r"state's u has shape \(1, 9, 13\); the model expects .* \(2, 9, 13\)"
    ):
        next(model.run(State(rest.zos, rest.u[:1], rest.v), HOUR))
    with pytest.raises(ValueError, match=r"ubar has shape \(4, 13\); expected \(9, 13\)"):
        model.state(np.zeros((9, 13)), np.zeros((4, 13)))
    broken = np.where(rough_basin.wet, np.nan, 0.0)
    with pytest.raises(ValueError, match="zos is not finite at row 0, column 0, a wet cell"):
        model.state(broken)
    with pytest.raises(
        ValueError, match=r"lengths \{'tauu': 2, 'msl': 3\}; give at least one, all equally long"
    ):
        AirSeries(tauu=np.zeros((2, 9, 13)), msl=np.zeros((3, 9, 13)))


def test_what_lies_on_land_is_left_out(rough_basin: CGrid) -> None:
    model = ShallowWaterModel(rough_basin)
    state = model.state(np.where(rough_basin.wet, 0.1, np.nan), np.where(rough_basin.wet, 0.1, np.nan))
    assert np.isfinite(state.u).all()
    assert not state.u[0][~rough_basin.east].any()
    (shown,) = model.run(state, HOUR)
    assert not shown.zos[0][~rough_basin.wet].any()


def test_options_without_effect_are_refused(rough_basin: CGrid) -> None:
    for options in ({"engine": "torch", "threads": 2}, {"engine": "compiled", "device": "cuda"}):
        with pytest.raises(ValueError, match="threads are the compiled engine's, devices those of 'torch'"):
            ShallowWaterModel(rough_basin, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine 'fortran' in float32; expected"):
        ShallowWaterModel(rough_basin, engine="fortran")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="friction is -1"):
        ShallowWaterModel(rough_basin, friction=-1.0)


def test_what_has_no_budget_and_no_modes_says_so(rough_basin: CGrid) -> None:
    model = ShallowWaterModel(rough_basin, linear=False)
    with pytest.raises(ValueError, match="energy budget is that of a linear model"):
        budget(model, model.at_rest(), HOUR)
    model = ShallowWaterModel(rough_basin)
    with pytest.raises(ValueError, match="has one step; it begins with the first and needs a second"):
        budget(model, model.at_rest(), model.time_step)
    open_wide = OpenBoundary.along(rough_basin, "west", kind="flather")
    with pytest.raises(ValueError, match="of kind 'flather', through which a basin's oscillations leave"):
        modes(rough_basin, near=HOUR, boundary=open_wide)
    with pytest.raises(ValueError, match="of kind 'flather'"):
        response(rough_basin, [HOUR], boundary=open_wide)


def test_air_that_does_not_reach_is_refused_by_the_differentiable_steps(rough_basin: CGrid) -> None:
    import torch

    model = ShallowWaterModel(rough_basin)
    rest = [torch.as_tensor(field) for field in model.at_rest().fields]
    with pytest.raises(ValueError, match=r"air for \[1, 2\] intervals"):
        model.differentiable(*rest, tauu=torch.zeros(2, 1, 9, 13), msl=torch.zeros(3, 1, 9, 13))
    with pytest.raises(ValueError, match=r"air for \[1\] intervals, 4 to go"):
        model.differentiable(*rest, tauu=torch.zeros(2, 1, 9, 13), intervals=4)
