"""What comes in through an open boundary, what leaves, and what is turned back."""

from collections.abc import Callable

import numpy as np
import pytest

from oceanop.constants import GRAVITY
from oceanop.dynamics.energy import energy
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.state import State

HOUR = 3600.0
DEPTH, CELL, COLUMNS = 50.0, 5e3, 120
SPEED = float(np.sqrt(GRAVITY * DEPTH))


@pytest.fixture
def canal() -> CGrid:
    return CGrid.plane(np.full((3, COLUMNS), DEPTH), dx=CELL, dy=CELL)


def pulse(grid: CGrid) -> np.ndarray:
    x = (np.arange(COLUMNS) + 0.5) * CELL
    return np.broadcast_to(np.exp(-(((x - 300e3) / 40e3) ** 2)), grid.shape)


@pytest.mark.parametrize(
    ("kind", "left", "reason"),
    [
        # level and current are half a cell and half a step apart, 1 % of this pulse's height
        ("flather", 3e-4, "it is let out"),
        ("prescribed", None, "it is turned back"),
    ],
)
def test_a_pulse_leaves_through_flathers_boundary_alone(
    kind: str, left: float | None, reason: str, canal: CGrid
) -> None:
    boundary = OpenBoundary.along(canal, "west", "east", kind=kind)
    model = ShallowWaterModel(canal, friction=0, boundary=boundary, dtype="float64")
    start = model.state(pulse(canal))
    first, *_ = model.run(start, model.time_step, every=model.time_step)
    *_, last = model.run(start, round(600e3 / SPEED / HOUR) * HOUR)
    share = float((energy(model, last).total / energy(model, first).total)[0])
    if left is None:
        assert share == pytest.approx(1, abs=1e-3), reason
    else:
        assert share < left, reason


def test_a_tide_stands_in_a_bay_as_the_textbook_says() -> None:
    """Prescribed at the mouth: ``eta = A cos(k (L - x)) / cos(k L) cos(omega t)`` (Proudman 1953, section 116)."""
    omega, height = 2 * np.pi / (12.42 * HOUR), 0.5
    grid = CGrid.plane(np.full((3, 41), DEPTH), dx=CELL, dy=CELL)
    k, wall = omega / SPEED, 40.5 * CELL  # counted from the middle of the open cells
    x = np.arange(41) * CELL
    shape = height * np.cos(k * (wall - x)) / np.cos(k * wall)
    current = -SPEED / DEPTH * height * np.sin(k * (wall - x - CELL / 2)) / np.cos(k * wall)
    boundary = OpenBoundary.along(grid, "west", level=lambda t: height * np.cos(omega * t))
    model = ShallowWaterModel(grid, friction=0, boundary=boundary, dtype="float64")
    rest = model.state(np.broadcast_to(shape, grid.shape))
    start = State(rest.zos, rest.u + current * np.sin(omega * model.time_step / 2), rest.v)
    for snapshot in model.run(start, 50 * HOUR):
        exact = shape * np.cos(omega * snapshot.time)
        # (k dx)^2 / 24 = 4e-5 of the wavenumber, ten times as much in a bay so near to resonance
        np.testing.assert_allclose(snapshot.zos[0, 1], exact, atol=1e-3 * shape.max())
    assert shape[-1] / height == pytest.approx(3.57, abs=0.05)


def incoming(side: str) -> tuple[Callable, Callable]:
    omega = 2 * np.pi / (6 * HOUR)

    def level(t: np.ndarray) -> np.ndarray:
        # Only the cells on the side from which it comes: rows in order, western cell first in each.
        wave = 0.3 * np.sin(omega * t) * np.minimum(t / (12 * HOUR), 1)
        place = np.array([1.0, 0.0] * 3 if side == "west" else [0.0, 1.0] * 3)
        return wave[:, None] * place

    def current(t: np.ndarray) -> np.ndarray:
        return level(t) * np.sqrt(GRAVITY / DEPTH)

    return level, current


@pytest.mark.parametrize("side", ["west", "east"])
def test_a_wave_that_is_let_in_on_one_side_leaves_on_the_other(side: str, canal: CGrid) -> None:
    level, current = incoming(side)
    boundary = OpenBoundary.along(canal, "west", "east", kind="flather", level=level, current=current)
    model = ShallowWaterModel(canal, friction=0, boundary=boundary, dtype="float64")
    late = [s for s in model.run(model.at_rest(), 72 * HOUR) if s.time > 48 * HOUR]
    heights = np.max([np.abs(s.zos[0, 1, 1:-1]) for s in late], axis=0)
    # The hour samples a wave of six hours at up to sin(60 deg) off its crest; a wave that came back would make nodes.
    amplitude = np.sqrt(2 * np.mean([s.zos[0, 1, 1:-1] ** 2 for s in late], axis=0))
    np.testing.assert_allclose(amplitude, 0.3, rtol=0.01)
    assert heights.max() < 0.31
    sign = 1 if side == "west" else -1
    for snapshot in late:
        np.testing.assert_allclose(
            snapshot.ubar[0, 1, 2:-2],
            sign * np.sqrt(GRAVITY / DEPTH) * snapshot.zos[0, 1, 2:-2],
            atol=0.02 * 0.3 * np.sqrt(GRAVITY / DEPTH),
        )


@pytest.mark.parametrize("side", ["west", "east", "south", "north"])
@pytest.mark.parametrize("kind", ["prescribed", "flather"])
def test_all_sides_are_open_alike(side: str, kind: str) -> None:
    """A level beyond that rises fills a square basin from each side, to the same level as from any other."""
    grid = CGrid.plane(np.full((12, 12), DEPTH), dx=CELL, dy=CELL)
    boundary = OpenBoundary.along(grid, side, kind=kind, level=lambda t: 0.4 * np.minimum(t / HOUR, 1))
    model = ShallowWaterModel(grid, boundary=boundary, dtype="float64")
    *_, last = model.run(model.at_rest(), 96 * HOUR)
    turns = {"west": 0, "south": 1, "east": 2, "north": 3}[side]
    west = OpenBoundary.along(grid, "west", kind=kind, level=boundary.level)
    reference = ShallowWaterModel(grid, boundary=west, dtype="float64")
    *_, expected = reference.run(reference.at_rest(), 96 * HOUR)
    np.testing.assert_allclose(np.rot90(last.zos[0], turns), expected.zos[0], atol=1e-9)
    if kind == "flather":
        np.testing.assert_allclose(last.zos, 0.4, atol=1e-3)


def test_members_may_have_their_own_ocean_beyond(canal: CGrid) -> None:
    heights = np.array([0.1, 0.3])

    def level(t: np.ndarray) -> np.ndarray:
        return (heights[:, None] * np.minimum(t / HOUR, 1)[:, None, None]) * np.ones((1, 1, 3))

    boundary = OpenBoundary.along(canal, "west", kind="flather", level=level)
    model = ShallowWaterModel(canal, boundary=boundary, dtype="float64", friction=0)
    *_, last = model.run(model.at_rest(2), 12 * HOUR)
    np.testing.assert_allclose(last.zos[1], 3 * last.zos[0], atol=1e-12)
    assert last.zos[0].max() > 0.1


def test_boundaries_that_do_not_fit_are_refused_in_a_sentence(canal: CGrid, rough_basin: CGrid) -> None:
    with pytest.raises(ValueError, match="kind 'sponge'; expected 'prescribed' or 'flather'"):
        OpenBoundary.along(canal, "west", kind="sponge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drives its own current; leave 'current' out"):
        OpenBoundary.along(canal, "west", current=lambda t: 0 * t)
    with pytest.raises(ValueError, match=r"shape \(9, 13\); the basin has \(3, 120\)"):
        ShallowWaterModel(canal, boundary=OpenBoundary.along(rough_basin, "west"))
    land = ~rough_basin.wet
    with pytest.raises(ValueError, match="which is land; open wet cells"):
        ShallowWaterModel(rough_basin, boundary=OpenBoundary(land))
    for cells in (np.zeros(canal.shape, bool), canal.wet):
        with pytest.raises(ValueError, match="of 360 wet cells are open; open some and leave some"):
            ShallowWaterModel(canal, boundary=OpenBoundary(cells))
    for level, words in (
        (lambda t: np.zeros((t.size, 7)), r"level has shape \(\d+, 7\) at \d+ times; expected \[time\]"),
        (lambda t: np.full(t.size, np.nan), "level is not finite between"),
    ):
        model = ShallowWaterModel(canal, boundary=OpenBoundary.along(canal, "west", level=level))
        with pytest.raises(ValueError, match=words):
            list(model.run(model.at_rest(), HOUR))
