"""A layer a few rows at a time in the cache is the chain of its operations, forward and backward, bit for bit again."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from oceanop import FNO, FNOtD
from oceanop.operators import fused, workers
from oceanop.operators.gelu import gelu, gelu_and_slope
from oceanop.operators.layer import Gate, Pointwise, perceptron, spectral_layer
from oceanop.operators.spectral import SpectralConv
from oceanop.operators.workers import share, without_teams


@pytest.fixture(autouse=True)
def no_field_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oceanop.operators.layer.FEW_POINTS", 0)


@pytest.fixture(params=[1, 2, 3], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def chained(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def switch() -> None:
        monkeypatch.setattr("oceanop.operators.layer.FEW_POINTS", 10**9)

    return switch


def make_layer(dimensions: int, *, gated: bool, skip: bool, dtype: torch.dtype) -> dict[str, Any]:
    torch.manual_seed(0)
    width, hidden = 6, 4
    weights = [
        torch.randn(*shape, dtype=dtype, requires_grad=True)
        for shape in ((width, width), (width,), (hidden, width), (hidden,), (width, hidden), (width,))
    ]
    if skip:
        weights.append(torch.randn(width, dtype=dtype, requires_grad=True))
    plane = (7, 9)
    return {
        "x": torch.randn(
            2, *((5, *plane) if dimensions == 3 else plane), width, dtype=dtype
        ).requires_grad_(),
        "convolution": SpectralConv(width, width, (3, 4, 5)[3 - dimensions :]).to(dtype),
        "pointwise": Pointwise(*weights),
        "gates": tuple(torch.rand(*plane, width, dtype=dtype, requires_grad=True) for _ in range(2))
        if gated
        else None,
    }


def run(layer: dict[str, Any], **options: Any) -> list[Tensor]:
    """Result and all gradients."""
    y = spectral_layer(**layer, **options)
    probe = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    weights = [part for part in vars(layer["pointwise"]).values() if part is not None]
    leaves = [layer["x"], *layer["convolution"].parameters(), *weights, *(layer["gates"] or ())]
    return [y.detach(), *torch.autograd.grad((y * probe).sum(), leaves)]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("active", [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("wanted", [slice(None), slice(2, 4)], ids=["all", "some"])
def test_a_layer_in_the_cache_is_the_chain_of_its_operations(
    dimensions: int,
    gated: bool,
    active: tuple[bool, bool],
    skip: bool,
    wanted: slice,
    monkeypatch: pytest.MonkeyPatch,
    chained: Callable[[], None],
) -> None:
    if dimensions == 2 and wanted != slice(None):
        wanted = slice(None)
    monkeypatch.setattr(fused, "CACHED", 150)  # pieces of two or three of the seven rows
    layer = make_layer(dimensions, gated=gated, skip=skip, dtype=torch.float64)
    options = {"active": active, "wanted": wanted}
    result = run(layer, **options)
    chained()
    for ours, expected in zip(result, run(layer, **options), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("windows", "threads", "cached"),
    [(7, 1, False), (8, 1, True), (14, 2, False), (15, 2, True), (14, 3, False), (15, 3, True)],
)
def test_only_fields_of_many_points_are_done_in_the_cache(
    windows: int, threads: int, cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oceanop.operators.layer.FEW_POINTS", 5 * 7 * 9 * 7)
    monkeypatch.setattr("oceanop.operators.layer.threads", lambda: threads)
    layer = make_layer(3, gated=True, skip=False, dtype=torch.float32)
    layer["x"] = torch.randn(windows, 5, 7, 9, 6)
    calls: list[int] = []
    monkeypatch.setattr("oceanop.operators.layer._in_cache", lambda *_: calls.append(1) or torch.zeros(1))
    spectral_layer(**layer)
    assert bool(calls) is cached


def test_a_layer_returns_a_tensor_of_its_own() -> None:
    # Sharded parallelism hangs its hooks on what a layer returns, which an operation in place on a view would drop.
    assert not spectral_layer(**make_layer(3, gated=True, skip=False, dtype=torch.float32))._is_view()
    large = make_layer(2, gated=False, skip=False, dtype=torch.float32)
    large["x"] = torch.randn(1, 500, 400, 6)
    assert not spectral_layer(**large)._is_view()


def test_float32_is_float64_to_its_rounding(threads: int) -> None:
    single = make_layer(3, gated=True, skip=True, dtype=torch.float32)
    double = make_layer(3, gated=True, skip=True, dtype=torch.float64)
    for name in ("x", "gates"):
        double[name] = _double(single[name])
    double["convolution"].load_state_dict(single["convolution"].state_dict())
    double["pointwise"] = Pointwise(*_double(tuple(vars(single["pointwise"]).values())))
    for ours, expected in zip(run(single), run(double), strict=True):
        # Sums of some thousand terms: a few hundred roundings of the largest entry
        tolerance = 2e-5 * expected.abs().max().item()
        torch.testing.assert_close(ours.double(), expected, rtol=0, atol=tolerance)


def _double(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(_double(one) for one in part)
    return part.detach().double().requires_grad_()


def test_the_same_again_is_the_same_bit_for_bit(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "CACHED", 150)
    first, second = (run(make_layer(3, gated=True, skip=False, dtype=torch.float32)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_number_of_threads_shows_in_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "CACHED", 150)
    before, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(make_layer(2, gated=True, skip=True, dtype=torch.float64)))
    torch.set_num_threads(before)
    for other in results[1:]:
        for ours, expected in zip(other, results[0], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    layer = make_layer(2, gated=True, skip=True, dtype=torch.float64)
    weights = tuple(vars(layer["pointwise"]).values())

    def forward(x: Tensor, before: Tensor, after: Tensor, *weights: Tensor) -> Tensor:
        return spectral_layer(x, layer["convolution"], Pointwise(*weights), gates=(before, after))

    assert torch.autograd.gradcheck(forward, (layer["x"], *layer["gates"], *weights), fast_mode=True)


def test_a_perceptron_in_the_cache_is_two_linear_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "CACHED", 40)
    torch.manual_seed(0)
    widen, narrow = nn.Linear(3, 8).double(), nn.Conv1d(8, 2, 1).double()
    x = torch.randn(2, 5, 7, 3, dtype=torch.float64, requires_grad=True)
    leaves = [x, *widen.parameters(), *narrow.parameters()]
    ours = perceptron(x, widen, narrow)
    expected = functional.linear(functional.gelu(widen(x)), narrow.weight[..., 0], narrow.bias)
    probe = torch.randn_like(ours)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((y * probe).sum(), leaves) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gelu_and_its_slope_are_the_definition_to_rounding() -> None:
    x = torch.linspace(-14, 14, 200_001)
    exact = x.double().requires_grad_()
    value = functional.gelu(exact)
    (slope,) = torch.autograd.grad(value.sum(), exact)
    ours = x.clone()
    both = gelu_and_slope(ours)
    assert torch.equal(gelu(x), both)
    # half a unit in the last place of 14 is 5e-7, of the largest slope, 1.13, 6e-8: taken twice and thrice
    torch.testing.assert_close(both.double(), value.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.double(), slope, rtol=0, atol=2e-7)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_visible(value: float) -> None:
    x = torch.zeros(37)
    x[5] = value
    assert torch.isfinite(gelu(x)).sum() == 36
    assert torch.isfinite(gelu_and_slope(x)).sum() == 36


def test_parts_come_back_in_order_and_leave_the_callers_threads_alone(threads: int) -> None:
    parts = share(lambda items: (list(items), torch.get_num_threads(), torch.is_grad_enabled()), range(7))
    assert [item for part, _, _ in parts for item in part] == list(range(7))
    assert len(parts) == threads
    assert {inner for _, inner, _ in parts} == {1}
    assert not any(grad for *_, grad in parts)
    assert torch.get_num_threads() == threads


def test_outside_of_teams_torch_is_single_threaded_and_sharing_is_not(threads: int) -> None:
    with without_teams():
        with without_teams():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        assert len(share(list, range(7))) == threads
    assert torch.get_num_threads() == threads


def test_no_product_makes_a_team_outside_of_teams() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        x = torch.randn(1000, 1000)
        with without_teams():
            alone = len(os.listdir("/proc/self/task"))
            torch.mm(x, x)  # by MKL, which keeps a number of threads of its own
            torch.bmm(x[None], x[None])
            fused.linear(x, x)
            functional.gelu(x)
            assert len(os.listdir("/proc/self/task")) == alone
        torch.mm(x, x)
        assert len(os.listdir("/proc/self/task")) > alone
    finally:
        torch.set_num_threads(before)


def test_a_thread_that_begins_beside_or_after_has_as_many_as_any(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_pools", {})  # to be made anew
    found = []

    def begin() -> None:
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()

    with without_teams():
        begin()
        share(list, range(7))
        begin()
    begin()
    assert found == [threads] * 3


@pytest.mark.skipif(workers._pause() is None, reason="torch's threads are not those of libgomp on Linux")
def test_an_idle_team_is_let_go_and_comes_back() -> None:
    x = torch.randn(1_000_000)
    before = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        expected = x.sum()
        several = len(os.listdir("/proc/self/task"))
        with without_teams():
            alone = len(os.listdir("/proc/self/task"))
        again = x.sum()
        assert len(os.listdir("/proc/self/task")) == several == alone + 6
        assert torch.equal(again, expected)
    finally:
        torch.set_num_threads(before)


def test_what_fails_in_a_part_is_raised(threads: int) -> None:
    def fail(items: Any) -> None:
        raise ValueError(f"no {items[-1]}")

    with pytest.raises(ValueError, match="no "):
        share(fail, range(3))


def test_no_part_writes_any_more_when_a_failure_is_raised(threads: int) -> None:
    done = []

    def fail_first(items: Any) -> None:
        if items[0] == 0:
            raise ValueError("the first part")
        time.sleep(0.05)  # long after the first has failed
        done.append(items[0])

    with pytest.raises(ValueError, match="the first part"):
        share(fail_first, range(threads))
    assert len(done) == threads - 1
    assert torch.get_num_threads() == threads


def test_parts_within_parts_are_done_too(threads: int) -> None:
    parts = share(lambda items: [item for part in share(list, items) for item in part], range(7))
    assert [item for part in parts for item in part] == list(range(7))


def test_threads_that_share_at_once_get_what_each_gets_alone(threads: int) -> None:
    layers = [make_layer(3, gated=True, skip=True, dtype=torch.float32) for _ in range(3)]
    for number, each in enumerate(layers):
        each["x"] = torch.randn_like(each["x"]).add_(number).requires_grad_()
    expected, found = [run(each) for each in layers], [[] for _ in layers]

    def several_times(number: int) -> None:
        found[number] = [run(layers[number]) for _ in range(5)]

    callers = [threading.Thread(target=several_times, args=(number,)) for number in range(len(layers))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for alone, together in zip(expected, found, strict=True):
        assert len(together) == 5
        assert all(torch.equal(a, b) for again in together for a, b in zip(again, alone, strict=True))


def _in_a_child(answer: Any) -> None:
    torch.set_num_threads(2)
    answer.put([list(part) for part in share(list, range(4))])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is what is tried here
def test_a_forked_child_has_threads_of_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    share(list, range(4))
    assert (
        torch.ones(1_000_000).sum() == 1_000_000
    )  # a team, of which the child has the books but not the members
    torch.set_num_threads(before)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_in_a_child, args=(answer,), daemon=True)
    with workers._lock:  # as another thread may hold it that makes a pool just then
        child.start()
    try:
        assert answer.get(timeout=60) == [[0, 1], [2, 3]]
    finally:
        child.kill()
        child.join()


def make_operator(kind: type[nn.Module], **options: Any) -> tuple[nn.Module, tuple[Tensor, Tensor, Tensor]]:
    """A small operator and what it takes."""
    torch.manual_seed(0)
    sizes = {"state_channels": 2, "forcing_channels": 1, "static_channels": 2, "history": 2, "horizon": 2}
    modes = (4, 4) if kind is FNO else (3, 4, 4)
    operator = kind(**sizes, width=8, layers=2, gate=True, modes=modes, **options)
    return operator, (torch.randn(1, 2, 2, 8, 10), torch.randn(1, 1, 4, 8, 10), torch.rand(2, 8, 10).round())


@pytest.mark.parametrize("kind", [FNO, FNOtD])
def test_an_operator_in_inference_mode_is_itself(kind: type[nn.Module], threads: int) -> None:
    operator, inputs = make_operator(kind)
    with torch.inference_mode():
        inferred = operator(*inputs)
    assert inferred.is_inference()
    assert torch.equal(inferred, operator(*inputs))


@pytest.mark.parametrize("kind", [FNO, FNOtD])
def test_autocast_around_the_backward_pass_alone_rounds_nothing(kind: type[nn.Module], threads: int) -> None:
    operator, inputs = make_operator(kind)
    expected, found = [], []
    for gradients, rounded in ((expected, False), (found, True)):
        loss = operator(*inputs).square().sum()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
            gradients += torch.autograd.grad(loss, list(operator.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FNO, FNOtD])
def test_an_operator_compiles_as_one_graph(kind: type[nn.Module]) -> None:
    operator, inputs = make_operator(kind)
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    # float32, two layers: the chain of operations rounds elsewhere
    torch.testing.assert_close(compiled(*inputs), operator(*inputs), rtol=1e-4, atol=1e-5)
    compiled(*inputs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in operator.parameters())


def test_a_gate_is_one_factor_before_and_one_behind() -> None:
    before, after = Gate(3, 4).factors(torch.randn(5, 6, 3))
    assert torch.equal(before, torch.ones(5, 6, 4))
    assert torch.equal(after, torch.ones(5, 6, 4))
