"""Sums that add up over cells, starts and ranks in any order, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sums from which scores follow: two of them added are the sums over both sets.

    Attributes
    ----------
    values
        float64, ``[statistic, ...]`` in the order of ``names``.
    """

    names: ClassVar[tuple[str, ...]] = ()

    values: Tensor

    def __post_init__(self) -> None:
        assert self.values.shape[0] == len(self.names), (self.values.shape, self.names)

    def __add__(self, other: Self) -> Self:
        return type(self)(self.values + other.values)

    def sum(self, *dims: int) -> Self:
        """Sums over further dimensions, named by negative numbers."""
        assert all(dim < 0 for dim in dims)
        return type(self)(self.values.sum(dims))

    def statistic(self, name: str) -> Tensor:
        """One of ``names``, ``[...]``."""
        return self.values[self.names.index(name)]

    def ratio(self, above: str, below: str = "weight") -> Tensor:
        """One sum over another; 0 over 0, a score of nothing, is NaN."""
        return self.statistic(above) / self.statistic(below)


def doubles(*fields: Any) -> tuple[Tensor, ...]:
    """Fields as float64 tensors of one common shape."""
    return torch.broadcast_tensors(*(torch.as_tensor(field).to(torch.float64) for field in fields))


def sums_over_cells(weight: Tensor, terms: Sequence[Tensor]) -> Tensor:
    """Number of cells, their weight, and weighted sums of terms over the last two dimensions, ``[2 + term, ...]``.

    Parameters
    ----------
    weight
        Cell area times mask, not negative, ``[..., y, x]``.
    terms
        Of the same shape; what they hold where the weight is 0 is never looked at, NaN included.
    """
    wet = weight > 0
    # where, not times: 0 * NaN is NaN
    summed = [wet.double(), weight, *(torch.where(wet, term, 0.0) * weight for term in terms)]
    return torch.stack([term.sum((-2, -1)) for term in summed])
