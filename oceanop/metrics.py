"""How well a forecast fits: sums that can be added up in any order, and the scores that follow from them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STATISTICS = (
    "count",
    "weight",
    "error",
    "squared_error",
    "absolute_error",
    "forecast",
    "truth",
    "squared_forecast",
    "squared_truth",
    "product",
)


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums over cells from which every score is derived.

    Two of them add up to the sums over both sets of cells, so that scores can be gathered step by step, rank
    by rank or block by block, and come out as if everything had been there at once.

    Attributes
    ----------
    values
        float64, ``[statistic, ...]`` in the order of ``STATISTICS``; ``count`` is the number of cells, all
        others are weighted.
    """

    values: Tensor

    @classmethod
    def of(cls, forecast: Any, truth: Any, weight: Any, blocks: Tensor | None = None) -> "Sums":
        """Sums over the last two dimensions.

        Parameters
        ----------
        forecast, truth
            ``[..., y, x]``; what they hold where the weight is 0 is never looked at, NaN included.
        weight
            Cell area times mask, not negative, broadcast against the fields.
        blocks
            Number of the block each cell belongs to, ``[y, x]``, counted from 0. The sums are then kept
            apart, ``[statistic, ..., block]``.
        """
        forecast, truth, weight = torch.broadcast_tensors(
            *(torch.as_tensor(value).to(torch.float64) for value in (forecast, truth, weight))
        )
        wet = weight > 0
        # where, not times: 0 * NaN is NaN, and truth is NaN on land
        forecast, truth = (torch.where(wet, field, 0.0) for field in (forecast, truth))
        error = forecast - truth
        terms = (
            error,
            error.square(),
            error.abs(),
            forecast,
            truth,
            forecast.square(),
            truth.square(),
            forecast * truth,
        )
        summed = [wet.double(), weight, *(term * weight for term in terms)]
        if blocks is None:
            return cls(torch.stack([term.sum((-2, -1)) for term in summed]))
        index = blocks.flatten().long()
        sums = torch.zeros(len(summed), *weight.shape[:-2], int(index.max()) + 1, dtype=torch.float64)
        for target, term in zip(sums, summed, strict=True):
            target.index_add_(-1, index, term.flatten(-2))
        return cls(sums)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.values + other.values)

    def sum(self, *dims: int) -> "Sums":
        """Sums over further dimensions, named by negative numbers."""
        assert all(dim < 0 for dim in dims)
        return Sums(self.values.sum(dims))

    def statistic(self, name: str) -> Tensor:
        """One of ``STATISTICS``, ``[...]``."""
        return self.values[STATISTICS.index(name)]

    def _mean(self, name: str) -> Tensor:
        # No cell at all gives 0 / 0, a NaN, as the mean of nothing should
        return self.statistic(name) / self.statistic("weight")

    def mse(self) -> Tensor:
        """Mean square error, unit squared."""
        return self._mean("squared_error")

    def rmse(self) -> Tensor:
        """Root of the mean square error."""
        return self.mse().sqrt()

    def bias(self) -> Tensor:
        """Mean of forecast minus truth."""
        return self._mean("error")

    def mae(self) -> Tensor:
        """Mean absolute error."""
        return self._mean("absolute_error")

    def centred_rmse(self) -> Tensor:
        """Root mean square error without the bias."""
        return (self.mse() - self.bias().square()).clamp(min=0).sqrt()

    def correlation(self) -> Tensor:
        """Pearson correlation over all cells pooled; NaN where forecast or truth is constant."""
        covariance = self._mean("product") - self._mean("forecast") * self._mean("truth")
        return covariance / self._variances().prod(0).sqrt()

    def nash_sutcliffe(self) -> Tensor:
        """One less the mean square error over the truth's variance: 0 is the skill of the truth's own mean.

        Nash and Sutcliffe, J. Hydrol. 10, 1970. NaN where the truth is constant.
        """
        return 1 - self.mse() / self._variances()[1]

    def kling_gupta(self) -> Tensor:
        """One less the distance of correlation, ratio of standard deviations and bias from those of the truth itself.

        The bias is counted in standard deviations of the truth (Tang, Clark and Papalexiou, J. Climate 34, 2021),
        for levels have no zero that a ratio of means could refer to.
        """
        forecast, truth = self._variances().sqrt()
        parts = (self.correlation() - 1, forecast / truth - 1, self.bias() / truth)
        return 1 - torch.stack(parts).square().sum(0).sqrt()

    def _variances(self) -> Tensor:
        """Of forecast and truth, ``[2, ...]``; NaN where constant."""
        squares = torch.stack([self._mean("squared_forecast"), self._mean("squared_truth")])
        means = torch.stack([self._mean("forecast"), self._mean("truth")])
        variances = squares - means.square()
        # A constant field leaves rounding errors of its square in place of a variance
        return torch.where(variances > 1e-12 * squares, variances, torch.nan)


METRICS: dict[str, Callable[[Sums], Tensor]] = {
    "rmse": Sums.rmse,
    "bias": Sums.bias,
    "mae": Sums.mae,
    "correlation": Sums.correlation,
}

# Of a series at one place, where the mean and the variance in time are the place's own
SERIES_METRICS: dict[str, Callable[[Sums], Tensor]] = {
    **METRICS,
    "centred_rmse": Sums.centred_rmse,
    "nash_sutcliffe": Sums.nash_sutcliffe,
    "kling_gupta": Sums.kling_gupta,
}


def rmse(forecast: Any, truth: Any, weight: Any) -> Tensor:
    """Root mean square error over the last two dimensions, each cell counted by its weight."""
    return Sums.of(forecast, truth, weight).rmse()


def bias(forecast: Any, truth: Any, weight: Any) -> Tensor:
    """Mean of forecast minus truth over the last two dimensions, each cell counted by its weight."""
    return Sums.of(forecast, truth, weight).bias()


def mae(forecast: Any, truth: Any, weight: Any) -> Tensor:
    """Mean absolute error over the last two dimensions, each cell counted by its weight."""
    return Sums.of(forecast, truth, weight).mae()


def correlation(forecast: Any, truth: Any, weight: Any) -> Tensor:
    """Pearson correlation over the last two dimensions, each cell counted by its weight."""
    return Sums.of(forecast, truth, weight).correlation()
