"""What a current carries: enstrophy, kinetic energy, and how far it is from balance with the slope."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from oceanop.budgets import basin_energy
from oceanop.constants import GRAVITY
from oceanop.verification.circulation import Corners
from oceanop.verification.passes import vorticity_sums
from oceanop.verification.statistics import Statistics, doubles, sums_over_cells

LEAST_LATITUDE = 5.0  # degrees: nearer to the equator rotation does not hold a slope


@dataclass(frozen=True, eq=False)
class MotionSums(Statistics):
    """Sums over cells of squares of forecast and true motion, whose ratio says whether it dies or grows."""

    names: ClassVar[tuple[str, ...]] = ("count", "weight", "squared_forecast", "squared_truth")

    @classmethod
    def of(cls, forecast: Any, truth: Any, weight: Any) -> Self:
        """Of the components of a current, ``[..., y, x]``: squares of speed, m2 s-2."""
        own, true, cells = doubles(forecast, truth, weight)
        return cls(sums_over_cells(cells, (own.square(), true.square())))

    @classmethod
    def enstrophy(cls, forecast: Tensor, truth: Tensor, corners: Corners) -> Self:
        """Of currents, float32 ``[2, plane, Y, X]``: squares of relative vorticity, s-2, ``[statistic, plane]``.

        Corners are counted by their area where the vorticity of both is known.
        """
        return cls(vorticity_sums(corners, forecast, truth))

    @classmethod
    def shallow_water(cls, forecast: Any, truth: Any, depth: Any, weight: Any) -> Self:
        """Of level and depth-mean current, ``[3, ..., y, x]``: energy over the density of water, m5 s-2.

        Parameters
        ----------
        forecast, truth
            ``zos, ubar, vbar``.
        depth
            At rest, m, ``[y, x]``.
        weight
            Area times mask, m2, ``[y, x]``.
        """
        cells = torch.as_tensor(weight)
        energies = []
        for state in (forecast, truth):
            level, east, north = torch.where(cells > 0, torch.as_tensor(state), 0.0).double().numpy()
            energies.append(
                torch.from_numpy(np.asarray(basin_energy(level, east, north, depth=depth, area=cells).total))
            )
        known = torch.ones_like(energies[0])
        return cls(torch.stack([(cells > 0).sum() * known, cells.sum() * known, *energies]))

    def over_truth(self) -> Tensor:
        """Energy or enstrophy of the forecast over that of the truth; NaN where the truth does not move."""
        return self.ratio("squared_forecast", "squared_truth")


@dataclass(frozen=True, eq=False)
class VolumeSums(Statistics):
    """Sums over states of what a forecast's mean level is above the truth's: water made from nothing or lost."""

    names: ClassVar[tuple[str, ...]] = ("count", "weight", "error", "squared_error")

    @classmethod
    def of(cls, forecast: Any, truth: Any, weight: Any) -> Self:
        """Of levels ``[..., y, x]``, m; each state counts once."""
        own, true, cells = doubles(forecast, truth, weight)
        held = sums_over_cells(cells, (own - true,))
        known = (held[1] > 0).double()
        above = (held[2] / held[1]).nan_to_num(nan=0.0)
        return cls(torch.stack([known, known, above, above.square()]))

    def mean_level_bias(self) -> Tensor:
        """Mean of forecast less truth, m."""
        return self.ratio("error")

    def mean_level_error(self) -> Tensor:
        """Root mean square over states of the same, m."""
        return self.ratio("squared_error").sqrt()


@dataclass(frozen=True, eq=False)
class BalanceSums(Statistics):
    """Sums over corners of what Coriolis force and pressure gradient leave of each other, of forecast and truth."""

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "squared_residual",
        "squared_rotation",
        "true_squared_residual",
        "true_squared_rotation",
    )

    @classmethod
    def of(cls, forecast: Any, truth: Any, corners: Corners) -> Self:
        """Sums over all corners farther than ``LEAST_LATITUDE`` from the equator.

        Parameters
        ----------
        forecast, truth
            Level in m, eastward and northward current in m s-1, ``[3, ..., Y, X]``.
        """
        squares = [*_forces(forecast, corners), *_forces(truth, corners)]
        away = corners.normal[2].abs() > np.sin(np.deg2rad(LEAST_LATITUDE))
        known = torch.stack([each.isfinite() for each in squares]).all(0)
        return cls(sums_over_cells((known & away) * corners.area, squares))

    def residual(self) -> Tensor:
        """``|f k x u + g grad zos| / |f k x u|``, roots of area means of squares: 0 in balance.

        Gill, Atmosphere-Ocean Dynamics, 1982, section 7.6. A sea with wind and waves is not in balance: a forecast is
        to be compared with the truth's own value and not with 0.
        """
        return self.ratio("squared_residual", "squared_rotation").sqrt()

    def true_residual(self) -> Tensor:
        """The same of the truth."""
        return self.ratio("true_squared_residual", "true_squared_rotation").sqrt()


def _forces(state: Any, corners: Corners) -> tuple[Tensor, Tensor]:
    """Squares of the residual of the balance, and of the Coriolis force, m2 s-4."""
    level, *currents = torch.as_tensor(state).unbind(0)
    current = corners.current(*currents)
    turned = torch.linalg.cross(corners.normal.expand_as(current), current, dim=-3)
    rotation = corners.coriolis_parameter * turned
    residual = rotation + GRAVITY * corners.gradient(level)
    return residual.square().sum(-3), rotation.square().sum(-3)
