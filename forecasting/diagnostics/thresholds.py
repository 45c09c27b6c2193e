"""Events over high quantiles of the training time: were they forecast, and was none that did not come?"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import currents_of, scalars_of
from forecasting.diagnostics.past import Past
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.verification.thresholds import THRESHOLD_METRICS, Contingency

SET = "thresholds"
SHARES = (0.9, 0.95, 0.99)  # of the training time below the level
WHAT = (
    "events above a quantile of up to 720 states drawn from the split train, at each cell; of currents, speed"
)


@dataclass(frozen=True, eq=False)
class _Watched:
    """One quantity: its channels, whether they are components whose speed counts, levels by band, and cells."""

    variable: str
    channels: list[int]
    speed: bool
    levels: Tensor  # [band, plane, y, x]
    weight: Tensor  # [plane, y, x]

    def of(self, fields: Tensor) -> Tensor:
        """``[plane, lead, y, x]``"""
        chosen = fields[self.channels]
        return chosen.square().sum(0, keepdim=True).sqrt() if self.speed else chosen


@dataclass(frozen=True, eq=False)
class _Counter:
    watched: list[_Watched]

    def __call__(self, block: Block) -> Iterator[Part]:
        for each in self.watched:
            truth = each.of(block.truth)
            weight = each.weight[:, None] * truth.isfinite()
            for name, forecast in block.forecasts.items():
                own = each.of(forecast)
                bands = [
                    Contingency.of(own, truth, level[:, None], weight).values.sum(1) for level in each.levels
                ]
                yield Part(SET, name, each.variable, Contingency(torch.stack(bands, 1)))


class Thresholds:
    """Scores of events, by variable, level and lead."""

    name = SET
    whole_starts = False
    needs = "the sea level, another scalar or a current, and a split 'train' of 50 states or more"
    methods: Mapping[str, Method] = {
        "hit_rate": Method(
            "hit_rate-1",
            long_name=f"share of events that were forecast: {WHAT}",
            source="Wilks, Statistical Methods in the Atmospheric Sciences, 2011, section 8.2",
            interval=INTERVAL,
        ),
        "false_alarm_rate": Method(
            "false_alarm_rate-1",
            long_name=f"share of other cases that were forecast as events: {WHAT}",
            source="Wilks, Statistical Methods in the Atmospheric Sciences, 2011, section 8.2",
            interval=INTERVAL,
        ),
        "false_alarm_ratio": Method(
            "false_alarm_ratio-1",
            long_name=f"share of forecast events that did not happen: {WHAT}",
            source="Wilks, Statistical Methods in the Atmospheric Sciences, 2011, section 8.2",
            interval=INTERVAL,
        ),
        "critical_success_index": Method(
            "critical_success_index-1",
            long_name=f"hits over hits, misses and false alarms: {WHAT}",
            source="Schaefer, Weather and Forecasting 5, 1990",
            interval=INTERVAL,
        ),
        "frequency_bias": Method(
            "frequency_bias-1",
            long_name=f"forecast over true events: {WHAT}",
            source="Wilks, Statistical Methods in the Atmospheric Sciences, 2011, section 8.2",
            interval=INTERVAL,
        ),
        "extremal_dependence_index": Method(
            "extremal_dependence_index-1",
            long_name=f"(log F - log H) / (log F + log H) of false alarm and hit rates: {WHAT}",
            source="Ferro and Stephenson, Weather and Forecasting 26, 2011",
            interval=INTERVAL,
        ),
        "events": Method(
            "events-1",
            long_name=f"number of true events, cells and times, by which to judge the other scores: {WHAT}",
            source="a plain count",
            weighting="none",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None where the training time is too short for a high quantile."""
        past = Past.drawn(scene)
        if past is None:
            return None
        watched, bands = [], []
        for variable, channels, speed in self._quantities(scene):
            levels = {}
            for share in SHARES:
                states = past.states[channels].double()
                values = states.square().sum(0, keepdim=True).sqrt() if speed else states
                level = past.quantile(values.movedim(1, 0), share)
                if level is not None:
                    levels[share] = level.nan_to_num(nan=0.0)
            if levels:
                weight = scene.weight[channels]
                weight = weight.amin(0, keepdim=True) if speed else weight
                watched.append(_Watched(variable, channels, speed, torch.stack([*levels.values()]), weight))
                bands = [f"over {100 * share:g} %" for share in levels]
        if not watched:
            return None
        scores = {**THRESHOLD_METRICS, "events": _events}
        return SumsTally(scene, {SET: Kind(Contingency, scores, tuple(bands))}, _Counter(watched))

    def _quantities(self, scene: Scene) -> Iterator[tuple[str, list[int], bool]]:
        for variable, channels in scalars_of(scene.layout).items():
            yield variable, channels, False
        for current in currents_of(scene.layout):
            yield current.name, [current.east, current.north], True


def _events(sums: Contingency) -> Tensor:
    return sums.statistic("counted_events")
