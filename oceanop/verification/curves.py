"""How much of a forecast's wave energy keeps to the dispersion curves, beside the truth's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from oceanop.dispersion import HALF_WIDTH, Spectrum, near_curves, share_by_chance
from oceanop.verification.statistics import Statistics


@dataclass(frozen=True, eq=False)
class CurveSums(Statistics):
    """Sums over starts of energy near the curves and of all energy."""

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "near",
        "whole",
        "true_near",
        "true_whole",
        "chance",
    )

    @classmethod
    def of(
        cls, forecast: Spectrum, truth: Spectrum, curves: Sequence[ArrayLike], bins: float = HALF_WIDTH
    ) -> Self:
        """Of one start; the arguments are those of :func:`oceanop.dispersion.share_on_curves`."""
        near = near_curves(truth, curves, bins)
        values = [
            float(power) for each in (forecast, truth) for power in (each.power[near].sum(), each.power.sum())
        ]
        values.append(share_by_chance(truth, curves, bins))
        return cls(torch.tensor([1.0, 1.0, *values], dtype=torch.float64))

    def share(self) -> Tensor:
        """Share of the forecast's energy near the curves, 0 to 1."""
        return self.ratio("near", "whole")

    def true_share(self) -> Tensor:
        """The same of the truth."""
        return self.ratio("true_near", "true_whole")

    def chance(self) -> Tensor:
        """Share that white noise would have there."""
        return self.ratio("chance")
