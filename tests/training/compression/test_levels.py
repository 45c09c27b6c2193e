"""Sets of levels: their closed forms, the variance of rounding to them, and bounds that are reached but not passed."""

import numpy as np
import pytest
import torch

from training.compression import cpu
from training.compression.levels import (
    LONG,
    SHORT,
    UNIFORM,
    LevelSet,
    adapted_levels,
    exponential_levels,
    symmetric_uniform_levels,
    uniform_levels,
)

SETS = {
    "uniform 2": uniform_levels(2),
    "uniform 8": uniform_levels(8),
    "symmetric 8": symmetric_uniform_levels(8),
    "powers of 1/2": exponential_levels(8, 0.5, zero=True),
    "powers of 0.3": exponential_levels(4, 0.3, zero=True),
    "powers without zero": exponential_levels(8, 0.5, zero=False),
    "any": adapted_levels([0.001, 0.0012, 0.1, 0.11, 0.4, 0.9]),
}
each_set = pytest.mark.parametrize("name", SETS)


def test_levels_are_those_of_the_papers():
    assert uniform_levels(4).levels == (0, 1 / 3, 2 / 3, 1)
    assert symmetric_uniform_levels(2).levels == (1 / 3, 1)  # -1, -1/3, 1/3, 1: three equal steps
    assert exponential_levels(4, 0.5, zero=True).levels == (0, 0.25, 0.5, 1)
    assert exponential_levels(4, 0.5, zero=False).levels == (0.125, 0.25, 0.5, 1)
    assert adapted_levels([0.2, 0.7]).levels == (0, 0.2, 0.7, 1)
    assert [held.zero for held in (uniform_levels(4), symmetric_uniform_levels(4))] == [True, False]


def test_symmetric_levels_have_one_step_through_zero():
    positive = np.asarray(symmetric_uniform_levels(8).levels)
    steps = np.diff(np.concatenate([-positive[::-1], positive]))
    np.testing.assert_allclose(steps, 2 / 15, rtol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        (1.0,),
        (0.0, 0.5),
        (0.0, 0.5, 0.5, 1.0),
        (-0.1, 1.0),
        (0.0, 0.5, 0.5 + 1e-9, 1.0),
        (0.0, float("nan"), 1.0),
    ],
)
def test_what_is_no_set_of_levels_is_refused(wrong: tuple[float, ...]):
    with pytest.raises(ValueError, match="expected at least two, increasing within"):
        LevelSet(wrong)


def test_levels_smaller_than_float32_are_refused_with_a_cure():
    with pytest.raises(
        ValueError, match=r"128 levels with the multiplier 0\.5 begin at 5\.\d*e-39.*use fewer bits"
    ):
        exponential_levels(128, 0.5, zero=False)


@each_set
def test_the_variance_is_nil_on_levels_and_a_quarter_of_the_squared_step_between(name: str):
    held = SETS[name]
    values = np.asarray(held.levels, np.float32).astype(float)
    assert (held.conditional_variance(values) == 0).all()
    middle = (values[1:] + values[:-1]) / 2
    np.testing.assert_allclose(held.conditional_variance(middle), np.diff(values) ** 2 / 4, rtol=1e-12)
    if not held.zero:  # below the first level l: between -l and l
        small = np.linspace(0, values[0], 5)
        np.testing.assert_allclose(held.conditional_variance(small), values[0] ** 2 - small**2, atol=1e-15)


def relative_error(held: LevelSet, vector: np.ndarray, order: float) -> float:
    norm = np.linalg.norm(vector, order)
    return float(norm**2 * held.conditional_variance(np.abs(vector) / norm).sum() / (vector**2).sum())


@each_set
@pytest.mark.parametrize("order", [2, np.inf])
def test_no_vector_passes_the_bound(name: str, order: float):
    held, rng = SETS[name], np.random.default_rng(0)
    for size in (1, 2, 64, 1024, 20_000):
        for tail in (0, 1, 3):
            vector = rng.standard_normal(size) * np.exp(tail * rng.standard_normal(size))
            vector[rng.random(size) < 0.3] = 0
            vector[0] = 1
            assert relative_error(held, vector, order) <= held.variance_bound(size) * (
                1 + 1e-6
            )  # float32 levels


@pytest.mark.parametrize("name", ["powers of 1/2", "powers of 0.3", "uniform 8", "any"])
def test_between_levels_the_bound_is_reached(name: str):
    """By ratios of 2 a c / (a + c) in the worst bin; the largest element, which sets the norm, weighs nothing."""
    held, count = SETS[name], 10**7
    positive = np.asarray(held.levels)[1:]
    bin_of = int(np.argmax(positive[1:] / positive[:-1]))
    a, c = positive[bin_of], positive[bin_of + 1]
    ratio = 2 * a * c / (a + c)
    error, size = count * held.conditional_variance([ratio])[0], count * ratio**2 + 1
    inner = held.variance_bound(1) - positive[0] ** 2 / 4
    assert error / size == pytest.approx(
        inner, rel=0.02
    )  # 1 beside count * ratio^2, at most a hundredth where reached
    assert error / size <= inner


@each_set
def test_in_the_bin_at_zero_the_bound_is_reached_but_for_the_other_bins(name: str):
    held = SETS[name]
    first = held.levels[0] or held.levels[1]
    size = round((2 / first) ** 2) if held.zero else 100
    worst = np.full(
        size, first / 2 if held.zero else 1e-9
    )  # half of the first level is hardest, or nearly nothing
    error = held.conditional_variance(worst).sum()
    assert error <= held.variance_bound(size)
    inner = held.variance_bound(1) - first**2 / (4 if held.zero else 1)
    assert held.variance_bound(size) == pytest.approx(error + inner, rel=1e-6)


@pytest.mark.parametrize("count", [2, 4, 8, 128])
def test_uniform_levels_keep_the_bound_of_qsgd(count: int):
    """``min(d / s^2, sqrt(d) / s)``: Alistarh et al. 2017, Lemma 3.1."""
    held, s, rng = uniform_levels(count), count - 1, np.random.default_rng(1)
    for size in (1, 16, 300, 5_000):
        for vector in (rng.standard_normal(size), np.ones(size), rng.standard_normal(size) ** 5):
            assert relative_error(held, vector, 2) <= min(size / s**2, size**0.5 / s) + 1e-6


@pytest.mark.parametrize("name", [name for name, held in SETS.items() if held.zero])
def test_a_finer_set_has_less_variance_everywhere(name: str):
    held = SETS[name]
    values = np.asarray(held.levels)
    finer = LevelSet(tuple(np.sort(np.concatenate([values, (values[1:] + values[:-1]) / 2]))))
    ratios = np.random.default_rng(2).random(10_000)
    assert (finer.conditional_variance(ratios) <= held.conditional_variance(ratios) + 1e-15).all()


def test_the_search_fits_the_set():
    assert uniform_levels(128).tables.kind == UNIFORM
    assert exponential_levels(8, 0.5, zero=True).tables.kind == SHORT
    assert exponential_levels(128, 0.9, zero=True).tables.kind == LONG


@each_set
def test_a_short_and_a_long_search_find_the_same_bins(name: str):
    tables, bits = SETS[name].tables, {2: 2, 4: 3, 8: 4}[len(SETS[name].levels)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3_000, generator=generator) * torch.randn(3_000, generator=generator).mul(3).exp()
    x[:8] = torch.tensor(SETS[name].levels).repeat(4)[:8]
    messages = []
    for kind in (SHORT, LONG):
        message = np.zeros(3 * 4 + 3_000 * bits // 8, np.uint8)
        search = (np.asarray(t) for t in (tables.at, tables.low, tables.inverse, tables.guess))
        cpu.encode(x.numpy(), message, 1024, bits, kind, tables.first, *search, False, 4, np.uint64(5), 0)
        messages.append(message.tobytes())
    assert messages[0] == messages[1]


def test_every_code_has_its_signed_level():
    for held in SETS.values():
        signed = held.tables.signed
        assert torch.equal(signed[: len(held.levels)], torch.tensor(held.levels))
        assert torch.equal(signed[len(held.levels) :], -torch.tensor(held.levels))
