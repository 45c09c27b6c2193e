"""The window step in physical units, and its repetition."""

import pytest
import torch
from torch import Tensor, nn

from oceanop.build import build_operator
from oceanop.config import parse_run
from oceanop.layout import Channel
from oceanop.normalise import Scaling
from oceanop.rollout import rollout
from oceanop.step import WindowStep, wind_pairs


class _Remember(nn.Module):
    """Predict persistence and keep what was seen."""

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        self.seen = history, forcing
        return history[:, :, -1:].expand(-1, -1, 2, -1, -1)


class _OneHigher(nn.Module):
    """One standard deviation above the last state seen, at both leads."""

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        return history[:, :, -1:].expand(-1, -1, 2, -1, -1) + 1


def make_step(operator: nn.Module, winds: list[tuple[int, int]] | None = None) -> WindowStep:
    wet = torch.tensor([[True, False], [True, True]])
    return WindowStep(
        operator,
        state=Scaling(torch.tensor([1.0]), torch.tensor([2.0])),
        forcing=Scaling(torch.tensor([1.0, -1.0]), torch.tensor([3.0, 4.0])),
        static=wet[None].float(),
        wet=wet[None],
        growth=torch.tensor([[0.25, 0.5]]),
        winds=winds or [],
    )


def test_physical_numbers_come_back_where_the_operator_changes_nothing() -> None:
    step = make_step(_Remember())
    history = torch.rand(1, 1, 3, 2, 2) + 5
    future = step(history, torch.rand(1, 2, 5, 2, 2))
    wet = step.wet[0]
    torch.testing.assert_close(future[..., wet], history[:, :, -1:].expand(-1, -1, 2, -1, -1)[..., wet])
    assert (future[..., ~wet] == 0).all()


def test_the_operator_sees_scaled_numbers_and_no_land() -> None:
    operator = _Remember()
    step = make_step(operator)
    step(torch.full((1, 1, 3, 2, 2), 5.0), torch.full((1, 2, 5, 2, 2), 7.0))
    history, forcing = operator.seen
    assert history[0, 0, 0].tolist() == [[2.0, 0.0], [2.0, 2.0]]
    torch.testing.assert_close(forcing[0, :, 0, 0, 0], torch.tensor([2.0, 2.0]))


def test_changes_are_measured_in_the_growth_of_their_lead() -> None:
    history = torch.zeros(1, 1, 3, 2, 2)
    future = make_step(_OneHigher())(history, torch.zeros(1, 2, 5, 2, 2))
    # standard deviation 2, growth 0.25 and 0.5
    assert future[0, 0, :, 0, 0].tolist() == [0.5, 1.0]


def test_noise_is_seen_and_never_forecast() -> None:
    operator = _Remember()
    step = make_step(operator)
    history, forcing = torch.rand(1, 1, 3, 2, 2), torch.rand(1, 2, 5, 2, 2)
    noise = torch.randn(1, 1, 3, 2, 2)
    clean, noisy = step(history, forcing), step(history, forcing, noise)
    torch.testing.assert_close(clean, noisy)
    seen = operator.seen[0]
    torch.testing.assert_close(seen, torch.where(step.wet[:, None], (history - 1) / 2 + noise, 0.0))


def test_wind_enters_also_as_its_stress() -> None:
    operator = _Remember()
    step = make_step(operator, winds=[(0, 1)])
    wind = torch.tensor([3.0, -4.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 5, 2, 2)
    step(torch.zeros(1, 1, 3, 2, 2), wind)
    stress = operator.seen[1][0, 2:, 0, 0, 0]
    # |W| W = 5 (3, -4), in units of the mean square wind 3^2 + 4^2
    torch.testing.assert_close(stress, torch.tensor([15.0, -20.0]) / 25)


def test_wind_pairs_are_winds_not_stresses() -> None:
    channels = [Channel("msl"), Channel("v10"), Channel("u10"), Channel("tauu"), Channel("tauv")]
    assert wind_pairs(channels) == [(2, 1)]


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("name", ["FNO", "FNOtD"])
def test_the_run_says_whether_activations_are_recomputed(name: str, flag: bool) -> None:
    run = parse_run(
        {"model": {"name": name, "width": 2, "layers": 1}, "training": {"checkpoint_activations": flag}}
    )
    operator = build_operator(run, state_channels=1, forcing_channels=1, static_channels=1)
    assert operator.checkpoint_activations is flag


class _Doubled(nn.Module):
    """A linear layer of weight two, which autocast would run in its own precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.layer.weight, 2.0)

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        last = history[:, :, -1:].expand(-1, -1, 2, -1, -1)
        return last + self.layer(torch.ones(2, 2, 1)).reshape(2, 2)


@pytest.mark.parametrize("make", [_Remember, _Doubled])
def test_physical_units_stay_float32_under_autocast(make: type[nn.Module]) -> None:
    # Neither operator loses anything in bfloat16, so that any difference would be the step's own.
    step = make_step(make(), winds=[(0, 1)])
    history, forcing = torch.rand(1, 1, 3, 2, 2) + 1000, torch.rand(1, 2, 5, 2, 2) + 7
    plain = step(history, forcing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = step(history, forcing)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)


def _count(history: Tensor, forcing: Tensor) -> Tensor:
    """Each state is the one before plus the forcing of its own hour."""
    states = []
    last = history[:, :, -1]
    for lead in range(history.shape[2], forcing.shape[2]):
        last = last + forcing[:, :, lead]
        states.append(last)
    return torch.stack(states, dim=2)


@pytest.mark.parametrize("leads", [1, 3, 4, 7, 9])
@pytest.mark.parametrize("past", [1, 2, 5])
def test_every_lead_meets_the_forcing_of_its_own_hour(leads: int, past: int) -> None:
    forcing = torch.arange(1.0, past + leads + 1).reshape(1, 1, -1, 1, 1)
    history = torch.zeros(1, 1, past, 1, 1)
    parts = list(rollout(_count, history, forcing, horizon=3, leads=leads))
    out = torch.cat(parts, dim=2).flatten()
    torch.testing.assert_close(out, torch.cumsum(torch.arange(past + 1.0, past + leads + 1), 0))
    assert all(part.shape[2] == 3 for part in parts[:-1])


def test_forcing_after_the_last_lead_is_never_read() -> None:
    def last_hour(history: Tensor, forcing: Tensor) -> Tensor:
        return forcing[:, :, -3:]

    forcing = torch.arange(6.0).reshape(1, 1, -1, 1, 1)
    out = torch.cat(list(rollout(last_hour, torch.zeros(1, 1, 2, 1, 1), forcing, horizon=3, leads=4)), dim=2)
    assert out.flatten().tolist() == [2.0, 3.0, 4.0, 5.0]


def test_gradients_flow_through_the_windows() -> None:
    history = torch.zeros(1, 1, 2, 1, 1, requires_grad=True)
    out = list(rollout(_count, history, torch.ones(1, 1, 8, 1, 1), horizon=3, leads=6))
    out[-1].sum().backward()
    assert history.grad is not None
    assert history.grad[0, 0, -1].item() == 3.0
