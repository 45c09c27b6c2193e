"""Laws both operators keep: one signature, land without influence, seeds, safe weights."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from oceanop import FNO, FNOtD

ROWS, COLUMNS, HISTORY, HORIZON = 9, 12, 3, 4


def make_fno(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return FNO(
        state_channels=2,
        forcing_channels=2,
        static_channels=3,
        history=HISTORY,
        horizon=HORIZON,
        modes=(4, 4),
        width=8,
        layers=2,
    )


def make_fnotd(seed: int = 0, *, gate: bool = True, padding: tuple[int, int, int] = (1, 2, 0)) -> nn.Module:
    torch.manual_seed(seed)
    return FNOtD(
        state_channels=2,
        forcing_channels=2,
        static_channels=3,
        history=HISTORY,
        horizon=HORIZON,
        modes=(3, 4, 4),
        width=8,
        layers=2,
        gate=gate,
        padding=padding,
    )


@pytest.fixture(params=[make_fno, make_fnotd], ids=["FNO", "FNOtD"])
def make(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    return request.param


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    history = torch.randn(2, 2, HISTORY, ROWS, COLUMNS, generator=generator)
    forcing = torch.randn(2, 2, HISTORY + HORIZON, ROWS, COLUMNS, generator=generator)
    static = torch.randn(3, ROWS, COLUMNS, generator=generator)
    static[0] = (torch.rand(ROWS, COLUMNS, generator=generator) > 0.4).float()
    return history, forcing, static


def test_one_window_has_the_shape_of_the_horizon(make: Callable[..., nn.Module], inputs: tuple) -> None:
    assert make()(*inputs).shape == (2, 2, HORIZON, ROWS, COLUMNS)


@pytest.mark.parametrize("junk", [1e6, float("nan"), float("inf")])
def test_land_never_reaches_the_ocean(make: Callable[..., nn.Module], inputs: tuple, junk: float) -> None:
    history, forcing, static = inputs
    model = make()
    changed = torch.where(static[0] > 0.5, history, junk)
    assert torch.equal(model(history, forcing, static), model(changed, forcing, static))


def test_land_is_zero(make: Callable[..., nn.Module], inputs: tuple) -> None:
    future = make()(*inputs)
    assert torch.equal(future[..., inputs[2][0] < 0.5], torch.zeros_like(future[..., inputs[2][0] < 0.5]))


def test_gradients_are_finite_with_nan_on_land(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    history = torch.where(static[0] > 0.5, history, torch.nan)
    model(history, forcing, static).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_every_weight_is_used(make: Callable[..., nn.Module], inputs: tuple) -> None:
    model = make()
    # Gates begin as exactly one: their first layer learns only once the second has moved.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model(*inputs).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_same_seed_same_weights_same_output(make: Callable[..., nn.Module], inputs: tuple) -> None:
    assert torch.equal(make(3)(*inputs), make(3)(*inputs))
    assert not torch.equal(make(3)(*inputs), make(4)(*inputs))


def test_weights_travel_through_safe_files(make: Callable[..., nn.Module], inputs: tuple) -> None:
    model, other = make(0), make(1)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(model(*inputs), other(*inputs))


def test_future_forcing_and_the_past_both_matter(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    base = model(history, forcing, static)
    later = forcing.clone()
    later[:, :, -1] += 1
    earlier = history.clone()
    earlier[:, :, 0] += 1
    assert not torch.equal(base, model(history, later, static))
    assert not torch.equal(base, model(earlier, forcing, static))


def test_batch_members_do_not_mix(make: Callable[..., nn.Module], inputs: tuple) -> None:
    history, forcing, static = inputs
    model = make()
    alone = model(history[:1], forcing[:1], static)
    # float32: a batch of another size may be summed in another order
    torch.testing.assert_close(model(history, forcing, static)[:1], alone, rtol=1e-4, atol=1e-5)


def test_another_grid_size_runs_with_the_same_weights(make: Callable[..., nn.Module]) -> None:
    static = torch.ones(3, 14, 17)
    future = make()(torch.randn(1, 2, HISTORY, 14, 17), torch.randn(1, 2, HISTORY + HORIZON, 14, 17), static)
    assert future.shape == (1, 2, HORIZON, 14, 17)
    assert torch.isfinite(future).all()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_wrong_shape_is_named(make: Callable[..., nn.Module], inputs: tuple, index: int) -> None:
    wrong = list(inputs)
    wrong[index] = wrong[index][:, :-1] if index < 2 else wrong[index][:-1]
    with pytest.raises(ValueError, match=f"{('history', 'forcing', 'static')[index]} has shape .* expects"):
        make()(*wrong)


def test_gates_open_at_one(inputs: tuple) -> None:
    gated, plain = make_fnotd(gate=True), make_fnotd(1, gate=False)
    weights = {name: value for name, value in gated.state_dict().items() if ".gate." not in name}
    plain.load_state_dict(weights)
    assert torch.equal(gated(*inputs), plain(*inputs))
