"""Q-GenX and QODA step by step: the printed formulas, exact resumes, copies instead of aliases, and refusals."""

import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from training.optim import QODA, QGenX, TwoPhase

METHODS: dict[str, Callable[..., TwoPhase]] = {
    "dual averaging": lambda p, **words: QGenX(p, variant="dual-averaging", **words),
    "dual extrapolation": QGenX,
    "optimistic": lambda p, **words: QGenX(p, variant="optimistic", **words),
    "adaptive": QODA,
    "alternative": lambda p, **words: QODA(p, rates="alternative", q=0.1, **words),
}
LEADING = ("dual extrapolation",)

every_method = pytest.mark.parametrize("name", METHODS)


def squares(vectors: list[Tensor]) -> float:
    return sum(vector.square().sum().item() for vector in vectors)


def by_the_formulas(name: str, draws: Tensor, lr: float) -> tuple[list[Tensor], list[Tensor]]:
    """X_{t+1/2} and X_t as the papers print them, every sum anew from all of the past; ``draws[2 t + half, k]``."""
    workers = draws.shape[1]
    start = torch.zeros(draws.shape[2], dtype=draws.dtype)
    points, middles = [start], []
    first, second = [], []  # V_{k,t} and V_{k,t+1/2}
    none = torch.zeros_like(draws[0])
    for t in range(len(draws) // 2):
        last = second[-1] if second else none
        leading = {"dual averaging": none, "dual extrapolation": draws[2 * t] + points[t]}.get(name, last)
        first.append(leading)
        differences = [a - b for a, b in zip(first[:t], second[:t], strict=True)]
        if name in ("dual averaging", "dual extrapolation", "optimistic"):
            g = workers / math.sqrt(1 + squares(differences))
        elif name == "adaptive":
            g = 1 / math.sqrt(1 + squares(differences) / workers**2)
        else:
            g = (1 + squares(second[: max(t - 1, 0)]) / workers**2) ** (0.1 - 0.5)
        middles.append(points[t] - lr * g * leading.mean(0))
        second.append(draws[2 * t + 1] + middles[t])
        differences.append(first[t] - second[t])
        if name in ("dual averaging", "dual extrapolation", "optimistic"):
            eta = workers / math.sqrt(1 + squares(differences))
        elif name == "adaptive":
            eta = 1 / math.sqrt(1 + squares(differences) / workers**2)
        else:
            moves = [points[s] - points[s + 1] for s in range(t)]
            eta = 1 / math.sqrt(1 + squares(second[:t]) / workers**2 + squares(moves))
        points.append(start - lr * eta * sum(v.mean(0) for v in second))
    return middles, points


@every_method
@pytest.mark.parametrize("workers", [1, 3])
def test_the_path_is_the_one_that_the_formulas_print(name: str, workers: int) -> None:
    """The gradient of worker k is the point plus noise of its own."""
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(24, workers, 4, generator=generator, dtype=torch.float64)
    middles, points = by_the_formulas(name, draws, lr=0.3)
    point = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = METHODS[name]([point], lr=0.3, workers=workers)
    last = torch.zeros_like(draws[0])
    # equal up to the order of summation in float64
    near = {"rtol": 1e-11, "atol": 1e-12}
    for t in range(12):
        torch.testing.assert_close(point.detach(), points[t], **near)
        if name in LEADING:
            last = draws[2 * t] + point.detach()
            point.grad = last.mean(0)
        optimizer.extrapolate()
        torch.testing.assert_close(point.detach(), middles[t], **near)
        duals = draws[2 * t + 1] + point.detach()
        point.grad = duals.mean(0)
        reference = last if name not in ("dual averaging", "alternative") else 0.0
        # a tensor, as an all-reduce leaves it, or nothing where there is nobody to ask
        optimizer.step(dispersion=(duals - reference).square().sum() if workers > 1 else None)
        last = duals
    torch.testing.assert_close(optimizer.ergodic_mean()[0], torch.stack(middles).mean(0), **near)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def groups(module: nn.Module) -> list[dict]:
    return [{"params": module[0].parameters(), "lr": 0.5}, {"params": module[2].parameters()}]


class Run:
    """Training in single phases, each with data of its own."""

    def __init__(self, name: str, module: nn.Module, spoil: bool = False, **words: int) -> None:
        self.name, self.module, self.spoil = name, module, spoil
        self.optimizer = METHODS[name](groups(module), **words)
        self.phase = 0

    def backward(self) -> None:
        generator = torch.Generator().manual_seed(self.phase)
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()  # the same memory is used again, as by DDP's buckets
        data = torch.randn(6, 3, generator=generator)
        (self.module(data) - data[:, :2]).square().mean().backward()

    def advance(self, phases: int) -> None:
        for _ in range(phases):
            if self.phase % 2 == 0:
                if self.name in LEADING:
                    self.backward()
                self.optimizer.extrapolate()
            else:
                self.backward()
                self.optimizer.step()
            self.phase += 1
            if self.spoil:
                for parameter in self.module.parameters():
                    if parameter.grad is not None:
                        parameter.grad.fill_(1e6)

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.module.parameters()] + self.optimizer.ergodic_mean()


def assert_equal(a: list[Tensor], b: list[Tensor]) -> None:
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one, other)


@every_method
@pytest.mark.parametrize("stop", [0, 1, 6, 7])
def test_a_resumed_run_is_the_run_never_stopped_between_the_phases_too(name: str, stop: int) -> None:
    whole, stopped = Run(name, network()), Run(name, network())
    whole.advance(20)
    stopped.advance(stop)
    file = io.BytesIO()
    saved = {"module": stopped.module.state_dict(), "optimizer": stopped.optimizer.state_dict()}
    torch.save(saved, file)
    stopped.advance(3)  # what was saved is not what goes on
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = Run(name, network(seed=1))
    resumed.module.load_state_dict(saved["module"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    resumed.phase = stop
    resumed.advance(20 - stop)
    assert_equal(resumed.weights(), whole.weights())
    assert resumed.optimizer.rate() == whole.optimizer.rate()


@every_method
def test_gradients_are_copied_so_that_their_memory_may_be_used_again(name: str) -> None:
    kept, spoiled = Run(name, network()), Run(name, network(), spoil=True)
    kept.advance(20)
    spoiled.advance(20)
    assert_equal(spoiled.weights(), kept.weights())


@every_method
def test_a_loaded_state_is_not_shared(name: str) -> None:
    one, two = Run(name, network()), Run(name, network())
    one.advance(5)
    two.optimizer.load_state_dict(one.optimizer.state_dict())
    two.phase = 5
    two.advance(5)
    before = one.optimizer.state_dict()["state"][0]["sum"].clone()
    two.advance(2)
    assert torch.equal(one.optimizer.state_dict()["state"][0]["sum"], before)
    assert one.optimizer.steps == 2


@every_method
def test_rates_never_rise(name: str) -> None:
    run = Run(name, network())
    rates, extrapolations = [run.optimizer.rate()], [run.optimizer.extrapolation_rate()]
    assert rates == extrapolations == [1.0]
    for _ in range(30):
        run.advance(2)
        rates.append(run.optimizer.rate())
        extrapolations.append(run.optimizer.extrapolation_rate())
    assert rates == sorted(rates, reverse=True)
    assert extrapolations == sorted(extrapolations, reverse=True)
    assert rates[-1] < rates[2] < 1


def test_with_one_worker_qoda_and_optimistic_q_genx_are_one() -> None:
    qoda, qgenx = Run("adaptive", network()), Run("optimistic", network())
    for _ in range(60):
        qoda.advance(1)
        qgenx.advance(1)
        assert_equal(list(qoda.module.parameters()), list(qgenx.module.parameters()))


def test_dual_averaging_looks_nowhere() -> None:
    run = Run("dual averaging", network())
    run.advance(4)
    before = [p.detach().clone() for p in run.module.parameters()]
    run.advance(1)
    assert_equal(before, list(run.module.parameters()))


@every_method
def test_complex_parameters_move_as_their_two_parts(name: str) -> None:
    whole = torch.zeros(3, dtype=torch.complex128, requires_grad=True)
    parts = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    one, two = METHODS[name]([whole]), METHODS[name]([parts])
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for phase in ("extrapolate", "step"):
            parts.grad = torch.randn(3, 2, generator=generator, dtype=torch.float64)
            whole.grad = torch.view_as_complex(parts.grad)
            getattr(one, phase)()
            getattr(two, phase)()
            torch.testing.assert_close(torch.view_as_real(whole.detach()), parts.detach())
    torch.testing.assert_close(torch.view_as_real(one.ergodic_mean()[0]), two.ergodic_mean()[0])


@every_method
def test_no_gradient_counts_as_a_zero_one(name: str) -> None:
    def path(missing: Tensor | None) -> list[Tensor]:
        used, seldom = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
        optimizer = METHODS[name]([used, seldom])
        for t in range(6):
            for phase in (optimizer.extrapolate, optimizer.step):
                used.grad = used.detach().clone()
                seldom.grad = missing if t % 2 else seldom.detach().clone()
                phase()
        return [used.detach(), seldom.detach(), *optimizer.ergodic_mean()]

    for one, other in zip(path(None), path(torch.zeros(2)), strict=True):
        torch.testing.assert_close(one, other)


@every_method
def test_a_refused_step_changes_nothing(name: str) -> None:
    run, whole = Run(name, network()), Run(name, network())
    run.advance(5)
    run.backward()
    with pytest.raises(ValueError, match=r"step 3: the dispersion is nan.*must be finite"):
        run.optimizer.step(dispersion=math.nan)
    for parameter in run.module.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(math.inf)
    with pytest.raises(ValueError, match=r"the dispersion is (inf|nan)"):
        run.optimizer.step()
    run.advance(5)
    whole.advance(10)
    assert_equal(run.weights(), whole.weights())


@every_method
def test_phases_out_of_turn_and_missing_numbers_are_told(name: str) -> None:
    point = torch.zeros(2, requires_grad=True)
    optimizer = METHODS[name]([point], workers=2)
    with pytest.raises(ValueError, match=r"step 1: step\(\) was called where extrapolate\(\) is due"):
        optimizer.step(1.0)
    with pytest.raises(ValueError, match="no mean before the first step"):
        optimizer.ergodic_mean()
    if name in LEADING:
        with pytest.raises(ValueError, match=r"found no gradient on any parameter; call backward\(\)"):
            optimizer.extrapolate()
        point.grad = torch.ones(2)
    optimizer.extrapolate()
    with pytest.raises(ValueError, match=r"extrapolate\(\) was called where step\(\) is due"):
        optimizer.extrapolate()
    point.grad = None
    with pytest.raises(ValueError, match=r"step\(\) found no gradient on any parameter"):
        optimizer.step(1.0)
    point.grad = torch.ones(2)
    with pytest.raises(
        ValueError, match=r"the dispersion is missing. Of 2 workers the mean gradient alone is known"
    ):
        optimizer.step()
    with pytest.raises(ValueError, match=r"the dispersion is -1\.0"):
        optimizer.step(-1.0)
    with pytest.raises(
        ValueError, match="parameters cannot be added, because all are counted from one start"
    ):
        optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda p: QGenX(p, variant="extra"),
            "variant is 'extra', but must be one of dual-averaging, dual-extrap",
        ),
        (lambda p: QODA(p, rates="fast"), "rates is 'fast', but must be one of adaptive, alternative"),
        (lambda p: QODA(p, q=0.1), "q is 0.1, but adaptive rates have no q; leave it out"),
        (lambda p: QODA(p, rates="alternative", q=0.5), "q is 0.5, but must be above 0 and at most 1/4"),
        (lambda p: QODA(p, rates="alternative", q=0.0), "q is 0.0, but must be above 0"),
        (lambda p: QODA(p, workers=0), "QODA: workers is 0, but is the number of ranks"),
        (lambda p: QGenX(p, lr=0.0), "QGenX: lr is 0.0, but must be finite and positive"),
        (
            lambda p: QGenX([p[0].detach().bfloat16().requires_grad_()]),
            "a parameter is torch.bfloat16, too coarse",
        ),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make([torch.zeros(1, requires_grad=True)])


def test_the_state_of_another_method_is_refused() -> None:
    point = [torch.zeros(1, requires_grad=True)]
    saved = QODA(point, rates="alternative", workers=2).state_dict()
    with pytest.raises(
        ValueError, match=r"belongs to QODA alternative q=0\.25 of 2 workers, this .* is QODA adaptive"
    ):
        QODA(point, workers=2).load_state_dict(saved)
    with pytest.raises(ValueError, match="belongs to another optimizer"):
        QODA(point).load_state_dict(torch.optim.SGD(point).state_dict())
