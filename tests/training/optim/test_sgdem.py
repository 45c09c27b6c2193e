"""Early momentum: plain descent at one end, the heavy ball at the other, and an exact switch between them."""

import io
import math

import pytest
import torch
from torch import Tensor, nn

from training.optim import SGDEM

RATE = (
    2.0**-5
)  # a power of two: scaling by it rounds nothing, so that two orders of the same products agree exactly


def problem(seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A small network and its input."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), torch.randn(11, 5)


def descend(module: nn.Module, data: Tensor, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        module(data).square().mean().backward()
        optimizer.step()


def assert_same(a: nn.Module, b: nn.Module) -> None:
    for one, other in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("until", "momentum"), [(0, 0.0), (25, 0.9), (1000, 0.9)])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_two_ends_are_gradient_descent_without_and_with_momentum(
    until: int, momentum: float, decay: float
) -> None:
    (ours, data), (theirs, _) = problem(), problem()
    descend(ours, data, SGDEM(ours.parameters(), RATE, 0.9, until, decay), 25)
    peer = torch.optim.SGD(theirs.parameters(), RATE, momentum=momentum, weight_decay=decay)
    descend(theirs, data, peer, 25)
    assert_same(ours, theirs)


def test_momentum_is_dropped_in_one_step() -> None:
    module, data = problem()
    optimizer = SGDEM(module.parameters(), RATE, 0.9, 4)
    descend(module, data, optimizer, 4)
    assert len(optimizer.state) == 4
    before = [p.detach().clone() for p in module.parameters()]
    descend(module, data, optimizer, 1)
    assert not optimizer.state
    for parameter, was in zip(module.parameters(), before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter, was - RATE * parameter.grad)


def test_a_quadratic_follows_the_closed_form() -> None:
    """With f = h w^2 / 2 the roots of r^2 - (1 + mu - a h) r + mu give every step, then powers of 1 - a h."""
    curvature, rate, momentum, until = 1.3, 0.2, 0.8, 30
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = SGDEM([weight], rate, momentum, until)
    path = [1.0]
    for _ in range(40):
        optimizer.zero_grad()
        (curvature * weight.square() / 2).sum().backward()
        optimizer.step()
        path.append(weight.item())
    half = (1 + momentum - rate * curvature) / 2
    first = complex(half, math.sqrt(momentum - half**2))  # the other root is its conjugate
    # w_t = Re(c r^t), with c from w_0 = 1 and w_1 = 1 - a h
    c = complex(1, (first.real - (1 - rate * curvature)) / first.imag)
    expected = [(c * first**t).real for t in range(until + 1)]
    expected += [expected[-1] * (1 - rate * curvature) ** n for n in range(1, 11)]
    assert path == pytest.approx(expected, rel=1e-10, abs=1e-14)  # 40 steps of rounding in float64


def test_a_new_rate_acts_on_the_new_gradient_alone() -> None:
    rates = [0.1, 0.1, 0.01, 0.4]
    weight = torch.tensor([2.0], dtype=torch.float64, requires_grad=True)
    peer = weight.detach().clone().requires_grad_()
    optimizer, other = SGDEM([weight], rates[0], 0.5, 10), torch.optim.SGD([peer], rates[0], momentum=0.5)
    path = [2.0, 2.0]
    for rate in rates:
        for parameter, its in ((weight, optimizer), (peer, other)):
            its.param_groups[0]["lr"] = rate
            parameter.grad = 3 * parameter.detach()
            its.step()
        path.append(path[-1] + 0.5 * (path[-1] - path[-2]) - rate * 3 * path[-1])
    assert weight.item() == pytest.approx(path[-1], rel=1e-14)
    assert abs(peer.item() - path[-1]) > 0.1  # the buffer form is another method once the rate changes


@pytest.mark.parametrize("stop", [2, 5, 6, 8])
def test_a_resumed_run_is_the_run_never_stopped(stop: int) -> None:
    (whole, data), (stopped, _), (resumed, _) = problem(), problem(), problem(1)
    descend(whole, data, SGDEM(whole.parameters(), 0.1, 0.9, 5, 0.01), 12)
    first = SGDEM(stopped.parameters(), 0.1, 0.9, 5, 0.01)
    descend(stopped, data, first, stop)
    file = io.BytesIO()
    torch.save({"module": stopped.state_dict(), "optimizer": first.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = SGDEM(resumed.parameters(), 7.0, 0.1, 1)
    resumed.load_state_dict(saved["module"])
    second.load_state_dict(saved["optimizer"])
    descend(resumed, data, second, 12 - stop)
    assert_same(whole, resumed)


def test_a_loaded_state_is_not_shared() -> None:
    (one, data), (two, _) = problem(), problem()
    first = SGDEM(one.parameters(), 0.1, 0.9, 10)
    descend(one, data, first, 2)
    saved = first.state_dict()
    second = SGDEM(two.parameters(), 0.1, 0.9, 10)
    second.load_state_dict(saved)
    kept = saved["state"][0]["displacement"].clone()
    descend(two, data, second, 1)
    assert torch.equal(saved["state"][0]["displacement"], kept)


def test_groups_end_their_momentum_each_at_its_own_step() -> None:
    early, late = (torch.zeros(1, requires_grad=True) for _ in "ab")
    groups = [{"params": [early], "momentum_until": 1}, {"params": [late]}]
    optimizer = SGDEM(groups, 1.0, 0.5, 3)
    for _ in range(4):
        early.grad = late.grad = torch.ones(1)
        optimizer.step()
    assert early.item() == -4
    assert late.item() == -(1 + 1.5 + 1.75 + 1)


def test_the_closure_is_called_and_a_parameter_without_gradient_stays() -> None:
    used, unused = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = SGDEM([used, unused], 0.5, 0.9, 10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    assert used.item() == 0
    assert unused.item() == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": -1.0}, "SGDEM: lr is -1.0, but must be finite and not negative"),
        ({"lr": math.nan}, "lr is nan"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, but must be finite and not negative"),
        ({"momentum": 1.0}, "momentum is 1.0, but must be at least 0 and below 1"),
        ({"momentum_until": -1}, "momentum_until is -1, but is a count of steps"),
        ({"momentum_until": 2.5}, "momentum_until is 2.5, but is a count of steps"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, words: str) -> None:
    given = {"lr": 0.1, "momentum": 0.9, "momentum_until": 10, **settings}
    with pytest.raises(ValueError, match=words):
        SGDEM([torch.zeros(1, requires_grad=True)], **given)
