"""High water at a place: how high and when the forecast had it."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional

from oceanop.verification.statistics import Statistics, doubles


def peaks_of(series: Tensor, threshold: Tensor, apart: int) -> Tensor:
    """Highest values of series above a threshold, one within so many steps.

    Parameters
    ----------
    series
        ``[..., time]``, finite.
    threshold
        ``[..., 1]`` or a number.
    apart
        Steps within which a higher value, or an earlier equal one, takes the peak away. First and last step are never
        one: the water may have been higher before or after.

    Returns
    -------
    bool ``[..., time]``.
    """
    steps = series.shape[-1]
    flat = series.reshape(-1, 1, steps)
    before = functional.pad(flat, (apart, 0), value=-torch.inf)[..., :-1]
    after = functional.pad(flat, (0, apart), value=-torch.inf)[..., 1:]
    earlier, later = (
        functional.max_pool1d(each, apart, stride=1).reshape(series.shape) for each in (before, after)
    )
    found = (series > threshold) & (series > earlier) & (series >= later)
    found[..., [0, -1]] = False
    return found


@dataclass(frozen=True, eq=False)
class PeakSums(Statistics):
    """Sums over true peaks of what the forecast made of them, each counted by the weight of its place.

    As in the practice of storm surge forecasting: peaks over a high quantile, declustered, and the forecast's highest
    value within some hours of each. Heights are in the variable's unit, times in steps, positive where the forecast is
    higher or late.
    """

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "height_error",
        "squared_height_error",
        "time_error",
        "absolute_time_error",
        "hits",
        "false_alarms",
    )

    @classmethod
    def of(cls, forecast: Any, truth: Any, threshold: Any, weight: Any, *, apart: int, within: int) -> Self:
        """Sums over all places and times.

        Parameters
        ----------
        forecast, truth
            Series, ``[place, time]``; a place where either is not finite throughout is left out.
        threshold
            Above which a highest value is a peak, ``[place]``.
        weight
            Of each place, ``[place]``; 0 leaves it out.
        apart
            Steps between peaks, at least.
        within
            Steps from a true peak in which the forecast is searched: its highest value there above the threshold is a
            hit. A forecast peak that is farther than this from any true value above the threshold is a false alarm.
        """
        own, true, limit, share = doubles(
            forecast, truth, *(torch.as_tensor(each)[..., None] for each in (threshold, weight))
        )
        whole = (own.isfinite() & true.isfinite()).all(-1) & (share[:, 0] > 0)
        own, true, limit, share = (each[whole] for each in (own, true, limit, share))
        place, time = peaks_of(true, limit, apart).nonzero(as_tuple=True)
        shifts = torch.arange(-within, within + 1)
        near = time[:, None] + shifts
        inside = (near >= 0) & (near < own.shape[-1])
        found = own[place[:, None], near.clamp(0, own.shape[-1] - 1)].where(inside, -torch.inf)
        highest, where = _nearest_highest(found, shifts)
        error = highest - true[place, time]
        late = shifts[where].double()
        terms = (
            error,
            error.square(),
            late,
            late.abs(),
            (highest > limit[place, time]).double(),
        )
        of_peak = share[place, time]
        sums = [torch.ones_like(of_peak), of_peak, *(term * of_peak for term in terms)]
        alarms = peaks_of(own, limit, apart) & ~_widened(true > limit, within)
        return cls(torch.stack([*(each.sum() for each in sums), (share * alarms).sum()]))

    def height_bias(self) -> Tensor:
        """Mean of the forecast's peak less the true one."""
        return self.ratio("height_error")

    def height_rmse(self) -> Tensor:
        """Root mean square of the same."""
        return self.ratio("squared_height_error").sqrt()

    def time_bias(self) -> Tensor:
        """Mean time of the forecast's peak after the true one, steps."""
        return self.ratio("time_error")

    def time_error(self) -> Tensor:
        """Mean time between the two, steps."""
        return self.ratio("absolute_time_error")

    def hit_rate(self) -> Tensor:
        """Share of the true peaks near which the forecast is above the threshold."""
        return self.ratio("hits")

    def critical_success_index(self) -> Tensor:
        """Hits over true peaks and false alarms together."""
        return self.statistic("hits") / (self.statistic("weight") + self.statistic("false_alarms"))


def _nearest_highest(found: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Highest value along the last dimension, and where: of equal ones the nearest to the middle."""
    order = shifts.abs().argsort(stable=True)
    highest, first = found[:, order].max(-1) if len(found) else (found.new_empty(0), shifts.new_empty(0))
    return highest, order[first]


def _widened(events: Tensor, within: int) -> Tensor:
    """True within so many steps of an event, ``[place, time]``."""
    spread = functional.max_pool1d(events.double()[:, None], 2 * within + 1, stride=1, padding=within)
    return spread[:, 0] > 0
