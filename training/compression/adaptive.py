"""Quantizers that learn their levels from gradients: ALQ and AMQ."""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.compression.adapt import (
    expected_variance,
    expected_variance_zero_free,
    solve_levels,
    solve_multiplier,
)
from training.compression.distribution import Distribution, Histogram, TruncatedNormals, count
from training.compression.levels import LevelSet, adapted_levels, exponential_levels
from training.compression.quantizer import Norm, Quantizer, flat, magnitudes

Model = Literal["histogram", "truncated-normal"]
Weight = Literal["norm2", "norm", "none"]
KEPT_BUCKETS = 350  # of largest norm, for the truncated normals: the published code keeps 50 to 350
_SLICE = 1 << 20  # numbers counted at once


class Adaptive(Quantizer):
    """A quantizer that models the distribution of ratios, and moves its levels to where the variance is least.

    Statistics of a gradient are tensors of one size, so that ranks exchange them and all solve the same problem.

    Parameters
    ----------
    model
        ``"histogram"``: counts in 2048 bins of constant ratio, which any distribution fits. ``"truncated-normal"``: one
        normal for each bucket, as published; gradients of spectral weights have far heavier tails than it.
    weight
        Weight of a bucket: ``"norm2"``, its squared norm, which makes the objective the variance itself; ``"norm"``, as
        the published code has it; ``"none"``: all alike (ALQ-N).
    """

    def __init__(
        self,
        bits: int,
        bucket_size: int,
        norm: Norm,
        levels: LevelSet,
        norm_dtype: Literal["float32", "bfloat16"],
        model: Model,
        weight: Weight,
    ) -> None:
        super().__init__(bits, bucket_size, norm, levels, norm_dtype)
        if model not in ("histogram", "truncated-normal"):
            raise ValueError(
                f"{type(self).__name__} with the model {model!r}; choose 'histogram' or 'truncated-normal'."
            )
        if weight not in ("norm2", "norm", "none"):
            raise ValueError(
                f"{type(self).__name__} with the weight {weight!r}; choose 'norm2', 'norm' or 'none'."
            )
        self.model, self.weight = model, weight

    def update(self, x: Tensor) -> None:
        """Learn levels from a gradient; the variance expected under its statistics never rises."""
        self.learn([self.statistics(x)])

    def statistics(self, x: Tensor, *, bucket_size: int | None = None) -> Tensor:
        """What a gradient tells of its ratios, float64, one size whatever the gradient.

        Buckets that are zero or not finite are left out. ``bucket_size`` is that of the codec it will travel in, where
        this differs from the quantizer's own.
        """
        if bucket_size is not None and bucket_size != self.bucket_size:
            other = copy.copy(self)
            other.bucket_size = bucket_size
            return other.statistics(x)
        values = flat(x).cpu()
        norms = self.norms(values)
        kept = torch.isfinite(norms) & (norms > 0)
        if self.model == "histogram":
            return torch.from_numpy(self._histogram(values, norms, kept))
        return self._moments(values, norms, kept)

    def learn(self, statistics: Sequence[Tensor]) -> None:
        """Move the levels to fit statistics of several gradients or ranks; the order does not matter to the sum."""
        distribution = self._distribution(statistics)
        if distribution is not None:
            self._fit(distribution)

    def error_of(self, statistics: Sequence[Tensor]) -> float | None:
        """Relative variance that the present levels would have on gradients with these statistics; None if all 0."""
        distribution = self._distribution(statistics)
        if distribution is None:
            return None
        variance = expected_variance if self.level_set.zero else expected_variance_zero_free
        levels = np.asarray(self.level_set.levels)
        return float(variance(levels, distribution)) / float(distribution.second(0.0, 1.0))

    def _checked(self, levels: Sequence[float]) -> LevelSet:
        found = LevelSet(tuple(levels))
        if len(found.levels) != len(self.level_set.levels) or found.zero != self.level_set.zero:
            raise ValueError(
                f"the saved levels are {list(levels)}; {type(self).__name__} with {self.bits} bits has "
                f"{len(self.level_set.levels)} levels {'from' if self.level_set.zero else 'without'} 0. Resume with "
                "the quantizer that saved them."
            )
        return found

    def _fit(self, distribution: Distribution) -> None:
        raise NotImplementedError

    def _weights(self, norms: Tensor) -> Tensor:
        power = {"norm2": 2, "norm": 1, "none": 0}[self.weight]
        return norms.double().pow(power)

    def _histogram(self, values: Tensor, norms: Tensor, kept: Tensor) -> NDArray[np.float64]:
        weights = torch.where(kept, self._weights(norms), 0.0)
        safe = torch.where(kept, norms, 1.0)
        total = count(np.zeros(0))
        step = max(_SLICE // self.bucket_size, 1)
        for b in range(0, len(norms), step):
            part = values[b * self.bucket_size : (b + step) * self.bucket_size]
            each = torch.arange(len(part)) // self.bucket_size + b
            ratio = torch.where(kept[each], part.abs() / safe[each], 0.0)
            total = total + count(ratio.numpy(), weights[each].numpy())
        return total

    def _moments(self, values: Tensor, norms: Tensor, kept: Tensor) -> Tensor:
        """Norm, mean and deviation of ``v / norm`` in the buckets of largest norm, ``[KEPT_BUCKETS, 3]``; rest 0."""
        found = torch.zeros(KEPT_BUCKETS, 3, dtype=torch.float64)
        order = torch.argsort(torch.where(kept, norms, 0.0), descending=True, stable=True)[:KEPT_BUCKETS]
        for row, b in enumerate(order[kept[order]].tolist()):
            ratio = values[b * self.bucket_size : (b + 1) * self.bucket_size].double() / norms[b].double()
            found[row] = torch.stack([norms[b].double(), ratio.mean(), ratio.std(correction=0)])
        return found

    def _distribution(self, statistics: Sequence[Tensor]) -> Distribution | None:
        if self.model == "histogram":
            counts = torch.stack(list(statistics)).sum(0).numpy()
            # With zeros alone there is nothing to learn.
            return Histogram(counts) if counts[1:].sum() > 0 else None
        rows = torch.cat(list(statistics))
        rows = rows[rows[:, 0] > 0]
        if len(rows) == 0:
            return None
        weight = self._weights(rows[:, 0])
        return TruncatedNormals(rows[:, 1].numpy(), rows[:, 2].numpy(), (weight / weight.sum()).numpy())


class ALQ(Adaptive):
    """Adaptive levels (Faghri et al., NeurIPS 2020, arXiv 2010.12460), by coordinate descent; 0 and 1 stay levels.

    It begins with the levels of :class:`NUQSGD`.

    Parameters
    ----------
    bits, bucket_size, norm, norm_dtype
        See :class:`Quantizer`.
    model, weight
        See :class:`Adaptive`.
    """

    def __init__(
        self,
        bits: int = 4,
        bucket_size: int = 1024,
        norm: Norm = "linf",
        *,
        model: Model = "histogram",
        weight: Weight = "norm2",
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        levels = exponential_levels(magnitudes(bits, "ALQ"), 0.5, zero=True)
        super().__init__(bits, bucket_size, norm, levels, norm_dtype, model, weight)

    def _fit(self, distribution: Distribution) -> None:
        held = np.asarray(self.level_set.levels)
        if len(held) == 2:  # two bits have no level between 0 and 1
            return
        found = solve_levels(distribution, len(held) - 2, previous=held)
        new = adapted_levels(_apart(found[1:-1]).tolist())
        # The levels travel as float32: compared as they will be used.
        if expected_variance(np.asarray(new.levels), distribution) <= expected_variance(held, distribution):
            self._set_levels(new)


class AMQ(Adaptive):
    """Adaptive multiplier (Faghri et al. 2020): levels ``p^s, ..., p, 1`` without zero, with the best ``p``.

    Parameters
    ----------
    bits, bucket_size, norm, norm_dtype
        See :class:`Quantizer`.
    model, weight
        See :class:`Adaptive`.

    Attributes
    ----------
    p
        The multiplier, 1/2 at first.
    """

    def __init__(
        self,
        bits: int = 4,
        bucket_size: int = 1024,
        norm: Norm = "linf",
        *,
        model: Model = "histogram",
        weight: Weight = "norm2",
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        self.p = 0.5 if bits < 8 else 0.9  # 0.5^127 is no float32
        levels = exponential_levels(magnitudes(bits, "AMQ"), self.p, zero=False)
        super().__init__(bits, bucket_size, norm, levels, norm_dtype, model, weight)

    def _fit(self, distribution: Distribution) -> None:
        count = len(self.level_set.levels)
        p = float(solve_multiplier(distribution, count - 1, previous=self.p))
        new = exponential_levels(count, p, zero=False)
        held = np.asarray(self.level_set.levels)
        if expected_variance_zero_free(np.asarray(new.levels), distribution) <= expected_variance_zero_free(
            held, distribution
        ):
            self.p = p
            self._set_levels(new)

    def state_dict(self) -> dict[str, Any]:
        """The levels and their ratio."""
        return {**super().state_dict(), "p": self.p}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`."""
        super().load_state_dict(state)
        self.p = state["p"]


def _apart(inner: NDArray[np.float64]) -> NDArray[np.float32]:
    """Levels as float32, each larger than the one before: rounding may have made two of them one."""
    levels = np.asarray(inner, dtype=np.float32)
    low = np.float32(0)
    for i in range(len(levels)):
        levels[i] = low = max(levels[i], np.nextafter(low, np.float32(1)))
    high = np.float32(1)
    for i in reversed(range(len(levels))):
        levels[i] = high = min(levels[i], np.nextafter(high, np.float32(0)))
    return levels
