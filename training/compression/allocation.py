"""How many bits each class of layers gets: fewest in all for an error that is allowed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Option:
    """One width for one class."""

    bits: int
    total: int  # elements times bits
    error: float


def allocate_bits(
    errors: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int], budget: float
) -> dict[str, int]:
    """Bits for each class that send the least and keep the sum of errors within a budget.

    Minimises ``sum_m sizes[m] * bits[m]`` subject to ``sum_m errors[m][bits[m]] <= budget`` exactly, by a dynamic
    programme over pairs of total and error that no other pair beats in both. (L-GreCo, Markov et al. 2022, arXiv
    2210.17357, solves the same problem on a grid of errors.) A Lagrangian bound discards pairs that cannot lead to the
    optimum, so that a hundred classes take about a second.

    Parameters
    ----------
    errors
        For each class, the error at each number of bits on offer; any unit that may be summed. For optimisers that
        scale each coordinate, the error relative to the squared norm of the class.
    sizes
        Elements of each class.
    budget
        Largest allowed sum of errors, added up in alphabetical order of the classes.

    Returns
    -------
    dict
        Bits of each class in alphabetical order. Among equal totals the smaller error wins, then the smaller number of
        bits in the class whose name comes first, so every rank finds the same whatever the order of its mappings.

    Raises
    ------
    ValueError
        If the mappings differ in their classes, a size or an error is negative or not finite, or no assignment is
        within the budget.
    """
    options = _options(errors, sizes)
    finest = _added([min(option.error for option in each) for each in options])
    if not finest <= budget:
        raise ValueError(
            f"the smallest errors of {len(options)} classes sum to {finest:.6g}, and the budget is {budget:.6g}; "
            "allow more error, or offer more bits."
        )
    price, best = _lagrangian(options, budget)
    # what the classes still to come cost at the least, in error and in total plus price times error
    least_error = _suffix(options, lambda option: option.error)
    least_cost = _suffix(options, lambda option: option.total + price * option.error)
    slack = 1e-9 * (best + price * budget)  # rounding of the bound must not discard the optimum or a tie

    front: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, ())]
    for m, each in enumerate(options, start=1):
        grown = sorted(
            (total + option.total, error + option.error, (*chosen, option.bits))
            for total, error, chosen in front
            for option in each
        )
        front, smallest = [], np.inf
        for total, error, chosen in grown:
            if error >= smallest or error + least_error[m] > budget * (1 + 1e-12):
                continue
            if total + least_cost[m] - price * (budget - error) > best + slack:
                continue
            front.append((total, error, chosen))
            smallest = error
    total, _, chosen = next(pair for pair in front if pair[1] <= budget)
    return dict(zip(sorted(errors), chosen, strict=True))


def _options(errors: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int]) -> list[list[_Option]]:
    """What each class may choose, in alphabetical order."""
    if errors.keys() != sizes.keys():
        raise ValueError(
            f"errors are of the classes {sorted(errors)} and sizes of {sorted(sizes)}; give both for the same classes."
        )
    for name, by_bits in errors.items():
        if sizes[name] < 0 or not by_bits or not all(0 <= error < np.inf for error in by_bits.values()):
            raise ValueError(
                f"class '{name}' has {sizes[name]} elements and errors {dict(by_bits)}; a size is not negative, and "
                "there is at least one number of bits, each with a finite error that is not negative."
            )
    return [
        [_Option(bits, int(sizes[name]) * bits, float(errors[name][bits])) for bits in sorted(errors[name])]
        for name in sorted(errors)
    ]


def _added(errors: list[float]) -> float:
    """Sum from the left, rounded as the dynamic programme rounds it."""
    total = 0.0
    for error in errors:
        total += error
    return total


def _suffix(options: list[list[_Option]], cost: Callable[[_Option], float]) -> list[float]:
    """Least sum of costs over the classes from each index on; 0 behind the last."""
    sums = [0.0]
    for each in reversed(options):
        sums.append(sums[-1] + min(cost(option) for option in each))
    return sums[::-1]


def _lagrangian(options: list[list[_Option]], budget: float) -> tuple[float, int]:
    """A price of error, and the total of an assignment within the budget.

    For any price, the least ``total + price * error`` less ``price * budget`` bounds the optimum from below; the bound
    is tightest at the smallest price whose choice keeps the budget, which bisection finds.
    """

    def chosen_at(price: float) -> tuple[int, float]:
        choice = [
            min(each, key=lambda option: (option.total + price * option.error, option.error))
            for each in options
        ]
        return sum(option.total for option in choice), _added([option.error for option in choice])

    finest = [min(each, key=lambda option: (option.error, option.total)) for each in options]
    best = sum(option.total for option in finest)
    total, error = chosen_at(0.0)
    if error <= budget:
        return 0.0, total
    low, high = 0.0, 1.0
    for _ in range(200):  # up to 1e60 bits for a unit of error
        total, error = chosen_at(high)
        if error <= budget:
            best = min(best, total)
            break
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        total, error = chosen_at(middle)
        if error <= budget:
            high, best = middle, min(best, total)
        else:
            low = middle
    return high, best
