"""An operator is a map between fields: on a finer grid it is the same map, better resolved."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from oceanop.build import build_step
from oceanop.config import parse_run
from oceanop.features import static_fields
from oceanop.grid import Grid
from oceanop.layout import Channel, Layout
from oceanop.normalise import Scaling
from oceanop.operators.fno import FNO
from oceanop.operators.fnotd import FNOtD
from oceanop.step import WindowStep

HISTORY, HORIZON = 2, 2
COARSEST = 8
MODES = {"FNO": [4, 4], "FNOtD": [3, 4, 4]}
LAYOUT = Layout((Channel("uo"), Channel("vo")), (Channel("u10"), Channel("v10")))


def step_of(name: str, size: int, *, gate: bool = True, padding: int = 0) -> WindowStep:
    """A step of random weights, always the same ones, on ``size`` x ``size`` cells of sea, in double precision."""
    model = {
        "name": name,
        "history": HISTORY,
        "horizon": HORIZON,
        "modes": MODES[name],
        "width": 6,
        "layers": 3,
        "gate": gate,
    }
    if padding:
        model["padding"] = [0, padding, padding]
    torch.manual_seed(0)
    step = build_step(
        parse_run({"model": model}),
        LAYOUT,
        static=torch.ones(1, size, size),
        wet=torch.ones(2, size, size, dtype=torch.bool),
        state=Scaling(torch.tensor([0.1, -0.1]), torch.tensor([0.4, 0.3])),
        forcing=Scaling(torch.zeros(2), torch.full((2,), 8.0)),
    )
    return step.double().eval()


def smooth(channels: int, times: int, size: int, *, turn: float = 0.0) -> Tensor:
    """Periodic fields of the two longest waves, at the points ``i / size``, ``[1, channel, time, y, x]``."""
    c, t, y, x = torch.meshgrid(
        torch.arange(channels, dtype=torch.float64),
        torch.arange(times, dtype=torch.float64),
        *2 * (2 * torch.pi * torch.arange(size, dtype=torch.float64) / size,),
        indexing="ij",
    )
    field = torch.cos(x - 0.7 * t + c + turn) + 0.5 * torch.sin(x + y + 0.3 * t - c) + 0.2 * torch.cos(y)
    return field[None]


def future(name: str, size: int, **options: bool | int) -> Tensor:
    """What a step makes of the same sea, seen at ``size`` x ``size`` points."""
    step = step_of(name, size, **options)
    history = 0.4 * smooth(2, HISTORY, size)
    forcing = 8.0 * smooth(2, HISTORY + HORIZON, size, turn=1.0)
    with torch.no_grad():
        return step(history, forcing)


def apart(coarse: Tensor, fine: Tensor) -> float:
    """Root mean square distance at the points that both have."""
    return float((coarse - fine[..., ::2, ::2]).square().mean().sqrt())


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("name", ["FNO", "FNOtD"])
def test_on_a_smooth_periodic_sea_refinement_changes_less_and_less(name: str, gate: bool) -> None:
    coarse, middle, fine = (future(name, size, gate=gate) for size in (COARSEST, 16, 32))
    first, second = apart(coarse, middle), apart(middle, fine)
    # What differs is aliasing alone, which falls faster than any power of the spacing on a smooth sea; a map that
    # counted cells would keep the ratio near 1, a scheme of second order brings 4.
    assert first > 5 * second
    # double precision: far above rounding, else the ratio would say nothing
    assert first > 1e-9
    assert float((fine - fine.mean()).square().mean().sqrt()) > 1e3 * first


def test_zeros_beside_the_domain_keep_their_width_when_their_number_grows_with_the_grid() -> None:
    kept = [future("FNOtD", size, padding=size // 4) for size in (COARSEST, 16, 32, 64)]
    distances = [apart(a, b) for a, b in pairwise(kept)]
    # The edge between sea and zeros is a jump, met by the grid to first order: a factor near 2 a doubling
    assert all(before > 1.5 * after for before, after in pairwise(distances))
    shrunk = [future("FNOtD", 32, padding=8), future("FNOtD", 64, padding=8)]
    assert apart(*shrunk) > 5 * distances[-1]


@pytest.mark.parametrize("name", ["FNO", "FNOtD"])
def test_a_projection_of_zeros_leaves_the_last_state_on_every_grid(name: str) -> None:
    for size in (COARSEST, 16):
        step = step_of(name, size)
        operator = step.operator
        assert isinstance(operator, FNO | FNOtD)
        last = operator.network.projection.fcs[-1] if isinstance(operator, FNO) else operator.projection[-1]
        for parameter in last.parameters():
            torch.nn.init.zeros_(parameter)
        history = 0.4 * smooth(2, HISTORY, size)
        with torch.no_grad():
            made = step(history, 8.0 * smooth(2, HISTORY + HORIZON, size))
        # scaled and scaled back: a rounding or two of numbers of about 1
        torch.testing.assert_close(made, history[:, :, -1:].expand_as(made), rtol=0, atol=1e-15)


def sea(rows: int, columns: int) -> Grid:
    """A sea on the square of one degree, all ocean."""
    latitude = 55 + (np.arange(rows) + 0.5) / rows
    longitude = 15 + (np.arange(columns) + 0.5) / columns
    a, b = np.meshgrid(latitude, longitude, indexing="ij")
    return Grid(a, b, np.ones((rows, columns), dtype=bool), np.ones((rows, columns)))


def angles(static: Tensor) -> tuple[Tensor, Tensor]:
    """Positions along both axes from their sines and cosines, -1 to 1 over the training grid's centres."""
    sine_y, cosine_y, sine_x, cosine_x = static[3:7].double()
    return tuple(torch.atan2(s, c) / (torch.pi / 2) for s, c in ((sine_y, cosine_y), (sine_x, cosine_x)))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_position_of_a_training_cell_is_the_mean_of_its_cells_positions(factor: int) -> None:
    coarse = angles(static_fields(sea(5, 7)))
    # a row and a column more, as a finer grid may have at its far edges
    fine = angles(static_fields(sea(5 * factor + 1, 7 * factor + 1), refinement=factor))
    for trained, made in zip(coarse, fine, strict=True):
        blocks = made[:-1, :-1].reshape(5, factor, 7, factor).mean((1, 3))
        # sine and cosine are float32
        torch.testing.assert_close(blocks, trained, rtol=0, atol=1e-6)


def test_without_refinement_positions_run_from_end_to_end() -> None:
    along_y, along_x = angles(static_fields(sea(5, 7)))
    torch.testing.assert_close(along_y[:, 0], torch.linspace(-1, 1, 5).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(along_x[0], torch.linspace(-1, 1, 7).double(), rtol=0, atol=1e-6)
