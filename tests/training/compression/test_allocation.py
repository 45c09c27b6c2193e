"""Bits of each class: the exact optimum, the same for every rank."""

from itertools import product

import numpy as np
import pytest

from training.compression.allocation import allocate_bits

Errors = dict[str, dict[int, float]]
WIDTHS = (2, 3, 4, 6, 8)


def instance(seed: int, classes: int = 4) -> tuple[Errors, dict[str, int], list[float]]:
    """Errors that fall roughly fourfold with each bit, sizes over three decades, and budgets from tight to loose."""
    rng = np.random.default_rng(seed)
    names = [f"class {m}" for m in rng.permutation(classes)]
    errors = {
        name: {b: float(rng.lognormal() * rng.uniform(0.3, 3) * 4.0**-b) for b in WIDTHS} for name in names
    }
    sizes = {name: int(10 ** rng.uniform(3, 6)) for name in names}
    least = sum(min(each.values()) for each in errors.values())
    most = sum(max(each.values()) for each in errors.values())
    return errors, sizes, [float(b) for b in np.geomspace(1.01 * least, 1.01 * most, 8)]


def cost(bits: dict[str, int], sizes: dict[str, int]) -> int:
    return sum(sizes[name] * bits[name] for name in sizes)


def total_error(bits: dict[str, int], errors: Errors) -> float:
    return sum(errors[name][bits[name]] for name in sorted(errors))


def brute_force(errors: Errors, sizes: dict[str, int], budget: float) -> dict[str, int]:
    """Of all assignments in the budget the one of fewest bits; then of least error; then of the first by name."""
    names = sorted(errors)
    every = (dict(zip(names, bits, strict=True)) for bits in product(WIDTHS, repeat=len(names)))
    allowed = (bits for bits in every if total_error(bits, errors) <= budget)
    return min(allowed, key=lambda bits: (cost(bits, sizes), total_error(bits, errors), tuple(bits.values())))


@pytest.mark.parametrize("seed", range(15))
def test_four_classes_get_what_trying_everything_finds(seed):
    errors, sizes, budgets = instance(seed)
    for budget in budgets:
        assert allocate_bits(errors, sizes, budget) == brute_force(errors, sizes, budget)


@pytest.mark.parametrize("seed", range(5))
def test_ties_are_broken_as_announced(seed):
    """Equal sizes and errors of few values: many assignments of equal cost."""
    rng = np.random.default_rng(seed)
    errors = {name: {b: float(rng.integers(0, 3) + 8 - b) for b in WIDTHS} for name in "dbca"}
    sizes = dict.fromkeys("abcd", 10)
    for budget in (8.0, 12.0, 16.0, 20.0):
        assert allocate_bits(errors, sizes, budget) == brute_force(errors, sizes, budget)


@pytest.mark.parametrize("seed", range(10))
def test_the_budget_is_kept_and_more_of_it_never_costs_more_bits(seed):
    errors, sizes, budgets = instance(seed, classes=12)
    found = [allocate_bits(errors, sizes, budget) for budget in budgets]
    assert all(total_error(bits, errors) <= budget for bits, budget in zip(found, budgets, strict=True))
    costs = [cost(bits, sizes) for bits in found]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_the_optimum_of_many_classes_is_within_a_class_of_the_lagrangian_bound():
    """For any price, the least of cost + price * error, less price * budget, is below every cost in the budget."""
    errors, sizes, budgets = instance(0, classes=60)
    costs = np.array([[sizes[name] * b for b in WIDTHS] for name in sorted(sizes)])
    each = np.array([[errors[name][b] for b in WIDTHS] for name in sorted(sizes)])
    prices = np.geomspace(1e2, 1e14, 2000)
    cheapest = np.array([(costs + price * each).min(1).sum() for price in prices])
    for budget in budgets[1:-1]:
        found = cost(allocate_bits(errors, sizes, budget), sizes)
        bound = (cheapest - prices * budget).max()
        assert bound <= found <= bound + 8 * max(sizes.values())


@pytest.mark.parametrize("seed", range(5))
def test_every_order_of_the_classes_gives_the_same(seed):
    errors, sizes, budgets = instance(seed, classes=8)
    shuffled = np.random.default_rng(seed).permutation(sorted(errors)).tolist()
    other = {name: dict(reversed(errors[name].items())) for name in shuffled}
    for budget in budgets:
        first = allocate_bits(errors, sizes, budget)
        again = allocate_bits(other, dict(reversed(sizes.items())), budget)
        assert list(first.items()) == list(again.items())
        assert list(first) == sorted(errors)


def test_a_budget_without_limit_buys_the_fewest_bits_and_the_tightest_the_most():
    errors, sizes, _ = instance(1)
    assert set(allocate_bits(errors, sizes, np.inf).values()) == {2}
    tight = {name: {2: 1.0, 4: 0.5, 8: 0.25} for name in "ab"}
    assert allocate_bits(tight, {"a": 3, "b": 5}, 0.5) == {"a": 8, "b": 8}


def test_no_classes_need_no_bits():
    assert allocate_bits({}, {}, 0.0) == {}


@pytest.mark.parametrize("budget", [0.49, -1.0, np.nan])
def test_a_budget_that_cannot_be_kept_is_refused(budget):
    errors = {name: {2: 1.0, 8: 0.25} for name in "ab"}
    with pytest.raises(ValueError, match=r"the smallest errors of 2 classes sum to 0\.5, and the budget is"):
        allocate_bits(errors, {"a": 1, "b": 1}, budget)


@pytest.mark.parametrize(
    ("errors", "sizes", "words"),
    [
        ({"a": {2: 1.0}}, {"b": 1}, "give both for the same classes"),
        ({"a": {}}, {"a": 1}, "class 'a' has 1 elements"),
        ({"a": {2: np.nan}}, {"a": 1}, "finite error"),
        ({"a": {2: -1.0}}, {"a": 1}, "finite error"),
        ({"a": {2: 1.0}}, {"a": -1}, "a size is not negative"),
    ],
)
def test_classes_that_cannot_be_summed_are_refused(errors, sizes, words):
    with pytest.raises(ValueError, match=words):
        allocate_bits(errors, sizes, 10.0)
