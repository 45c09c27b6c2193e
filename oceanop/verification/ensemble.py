"""How well members, taken together, tell how sure one can be: CRPS, spread and ranks."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from oceanop.verification.statistics import Statistics, doubles, sums_over_cells


@dataclass(frozen=True, eq=False)
class EnsembleSums(Statistics):
    """Sums over cells of an ensemble's distances from the truth and between its members.

    Sums of ensembles of one size may be added, and of no other: ``members`` is a sum as well, so that their mean over
    the cells is known again.
    """

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "distance",  # mean over members of |x_i - y|
        "half_difference",  # sum over all ordered pairs |x_i - x_j| / (2 M^2)
        "squared_error",  # of the members' mean
        "variance",  # of the members, divided by M - 1
        "members",
    )

    @classmethod
    def of(cls, forecast: Any, truth: Any, weight: Any) -> Self:
        """Sums over the last two dimensions.

        Parameters
        ----------
        forecast
            ``[member, ..., y, x]``.
        truth
            ``[..., y, x]``.
        weight
            Cell area times mask, broadcast against the truth; where it is 0 nothing is looked at.

        Raises
        ------
        ValueError
            If there are fewer than two members.
        """
        members, truth, weight = _of_one_shape(forecast, truth, weight)
        number = members.shape[0]
        if number < 2:
            raise ValueError(
                f"an ensemble of {number} member has no spread; give two or more, or score it as one forecast."
            )
        ordered = members.sort(0).values
        # In order of size member i stands above i others and below the rest: no pair has to be formed
        rank = torch.arange(1, number + 1, dtype=torch.float64)
        between = torch.einsum("m,m...->...", 2 * rank - number - 1, ordered)
        terms = (
            (members - truth).abs().mean(0),
            between / number**2,
            (members.mean(0) - truth).square(),
            members.var(0),
            torch.full_like(truth, number),
        )
        return cls(sums_over_cells(weight, terms))

    def size(self) -> Tensor:
        """Number of members, ``[...]``."""
        return self.ratio("members")

    def crps(self) -> Tensor:
        """Continuous ranked probability score of the members' own distribution, in the variable's unit.

        Gneiting and Raftery, JASA 102, 2007, equation 21, with the expectations over the members: each counts as an
        equal step of the distribution, which is unfair to few of them.
        """
        return self.ratio("distance") - self.ratio("half_difference")

    def fair_crps(self) -> Tensor:
        """The CRPS that ensembles of any size drawn from one distribution have on average, in the variable's unit.

        Ferro, Richardson and Weigel, Meteorological Applications 15, 2008; named so by Ferro, Q. J. R. Meteorol. Soc.
        140, 2014. The mean difference of members divides by M (M - 1) in place of M^2.
        """
        size = self.size()
        return self.ratio("distance") - self.ratio("half_difference") * size / (size - 1)

    def spread(self) -> Tensor:
        """Standard deviation of the members, root of the mean variance (Fortin et al., J. Hydromet. 15, 2014)."""
        return self.ratio("variance").sqrt()

    def ensemble_rmse(self) -> Tensor:
        """Root mean square error of the members' mean."""
        return self.ratio("squared_error").sqrt()

    def spread_over_error(self) -> Tensor:
        """Spread, with the finite ensemble's factor ``sqrt((M + 1) / M)``, over the error of the members' mean.

        1 where truth and members are drawn from one distribution; below 1 the ensemble is too sure of itself. Fortin,
        Abaza, Anctil and Turcotte, J. Hydrometeorology 15, 2014.
        """
        size = self.size()
        return ((size + 1) / size).sqrt() * self.spread() / self.ensemble_rmse()


@dataclass(frozen=True, eq=False)
class RankSums(Statistics):
    """Cells by the number of members below the truth, ``[statistic, rank, ...]``.

    Flat where truth and members are drawn alike; filled at both ends where members are too much alike (Hamill, Monthly
    Weather Review 129, 2001).
    """

    names: ClassVar[tuple[str, ...]] = ("count", "weight")

    @classmethod
    def of(cls, forecast: Any, truth: Any, weight: Any, *, seed: int) -> Self:
        """Sums over the last two dimensions, for 0 to M members below; arguments as :meth:`EnsembleSums.of`.

        Parameters
        ----------
        seed
            Where members equal the truth its rank among them is drawn, so that calm water or ice does not fill the
            lowest rank. Parts that are counted apart need each their own, the same at any time, so that they add up to
            the same counts in any order.
        """
        members, truth, weight = _of_one_shape(forecast, truth, weight)
        below, equal = (members < truth).sum(0), (members == truth).sum(0)
        generator = torch.Generator().manual_seed(seed)
        draw = torch.rand(truth.shape, dtype=torch.float64, generator=generator)
        rank = below + torch.minimum((draw * (equal + 1)).long(), equal)
        sums = [
            [each.sum((-2, -1)) for each in ((rank == i) & (weight > 0), weight * (rank == i))]
            for i in range(members.shape[0] + 1)
        ]
        return cls(torch.stack([torch.stack([each[k].double() for each in sums]) for k in (0, 1)]))

    def share(self) -> Tensor:
        """Share of the area with each rank, ``[rank, ...]``; 1 / (M + 1) each where flat."""
        return self.statistic("weight") / self.statistic("weight").sum(0)

    def outliers(self) -> Tensor:
        """Share of the area in which the truth lies outside all members, over that of a flat histogram, ``[...]``."""
        share = self.share()
        return (share[0] + share[-1]) * share.shape[0] / 2


def _of_one_shape(forecast: Any, truth: Any, weight: Any) -> tuple[Tensor, Tensor, Tensor]:
    members = torch.as_tensor(forecast).to(torch.float64)
    truth, weight, _ = doubles(truth, weight, members[0])
    return members, truth, weight
