"""Was it forecast that a level would be exceeded? Hits, misses, false alarms, and the scores of rare events."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from oceanop.verification.statistics import Statistics, doubles, sums_over_cells


@dataclass(frozen=True, eq=False)
class Contingency(Statistics):
    """The table of forecast and true events, each cell and time counted by its weight.

    Rates are of weights; ``counted_events`` is the plain number of true events, by which to judge how much the rates
    can say.
    """

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "hits",
        "misses",
        "false_alarms",
        "correct_negatives",
        "counted_events",
    )

    @classmethod
    def of(cls, forecast: Any, truth: Any, threshold: Any, weight: Any) -> Self:
        """Sums over the last two dimensions.

        Parameters
        ----------
        forecast, truth
            ``[..., y, x]``.
        threshold
            An event is a value above it; one number, or one for each cell. A NaN has no events and is an error here.
        weight
            Cell area times mask; where it is 0 nothing is looked at.
        """
        forecast, truth, threshold, weight = doubles(forecast, truth, threshold, weight)
        wet = weight > 0
        assert not threshold[wet].isnan().any()
        said, happened = ((each > threshold).double() for each in (forecast, truth))
        count, total, hits, alarms, events = sums_over_cells(weight, (said * happened, said, happened))
        counted = (happened * wet).sum((-2, -1))
        table = (hits, events - hits, alarms - hits, total - events - alarms + hits)
        return cls(torch.stack([count, total, *table, counted]))

    def hit_rate(self) -> Tensor:
        """Share of the events that were forecast, H; NaN where there was no event."""
        return self.statistic("hits") / (self.statistic("hits") + self.statistic("misses"))

    def false_alarm_rate(self) -> Tensor:
        """Share of the other cases that were forecast as events, F; NaN where there was no such case."""
        alarms = self.statistic("false_alarms")
        return alarms / (alarms + self.statistic("correct_negatives"))

    def false_alarm_ratio(self) -> Tensor:
        """Share of the forecast events that did not happen; NaN where none was forecast."""
        alarms = self.statistic("false_alarms")
        return alarms / (alarms + self.statistic("hits"))

    def critical_success_index(self) -> Tensor:
        """Hits over all cases in which an event was forecast or happened (Schaefer, Wea. Forecasting 5, 1990)."""
        hits = self.statistic("hits")
        return hits / (hits + self.statistic("misses") + self.statistic("false_alarms"))

    def frequency_bias(self) -> Tensor:
        """Forecast events over true ones; NaN where there was no event."""
        hits = self.statistic("hits")
        return (hits + self.statistic("false_alarms")) / (hits + self.statistic("misses"))

    def extremal_dependence_index(self) -> Tensor:
        """``(log F - log H) / (log F + log H)``: 1 perfect, 0 chance, and no limit forced upon it by rarity.

        Ferro and Stephenson, Weather and Forecasting 26, 2011, who take H and F between 0 and 1; at the
        ends it has the limits 1 (no false alarm, some hit) and -1 (no hit, some false alarm). NaN where it has none:
        neither hits nor false alarms, every case forecast as an event, no event, or nothing else.
        """
        hit, alarm = self.hit_rate(), self.false_alarm_rate()
        own, other = hit.log(), alarm.log()
        index = (other - own) / (other + own)
        index = index.where(~((alarm == 0) & (hit > 0)), 1.0)
        return index.where(~((hit == 0) & (alarm > 0)), -1.0)


THRESHOLD_METRICS: dict[str, Callable[[Contingency], Tensor]] = {
    "hit_rate": Contingency.hit_rate,
    "false_alarm_rate": Contingency.false_alarm_rate,
    "false_alarm_ratio": Contingency.false_alarm_ratio,
    "critical_success_index": Contingency.critical_success_index,
    "frequency_bias": Contingency.frequency_bias,
    "extremal_dependence_index": Contingency.extremal_dependence_index,
}
