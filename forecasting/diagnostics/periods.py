"""Forecast and truth period by period: how much power, how much of it in step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.places import TRUTH, Series, even, some
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from forecasting.scores import variable_groups
from oceanop.verification.scales import BandSums, Octaves, series_sums

SET = "periods"
LEAST_PERIODS = 3  # that a record must hold of the longest
LEAST_LEADS = 12
WHAT = "octave of periods of the series over the leads of a start, mean and trend taken away, under a Hann window"


@dataclass(eq=False)
class _Counter:
    series: Series
    groups: dict[str, list[int]]
    weight: Tensor
    octaves: Octaves
    time_step: float

    def __call__(self, block: Block) -> Iterator[Part]:
        whole = self.series.add(block)
        if whole is None:
            return
        truth = whole.pop(TRUTH)
        for variable, channels in self.groups.items():
            # One gap takes a series away, and a start without any whole one has nothing to tell
            known = [truth[i].isfinite().all(-1) & (self.weight[i] > 0) for i in channels]
            for name, forecast in whole.items():
                parts = [
                    series_sums(
                        forecast[i, places],
                        truth[i, places],
                        self.weight[i, places],
                        time_step=self.time_step,
                        octaves=self.octaves,
                    ).values
                    for i, places in zip(channels, known, strict=True)
                    if places.any()
                ]
                if parts:
                    yield Part(SET, name, variable, BandSums(torch.stack(parts).sum(0)))


class Periods:
    """Scores by octave of period, all leads of a start together."""

    name = SET
    whole_starts = True
    needs = "12 leads or more, evenly apart"
    methods: Mapping[str, Method] = {
        "period_power_ratio": Method(
            "period_power_ratio-1",
            long_name=f"power of the forecast over that of the truth in an {WHAT}",
            source="Welch, IEEE Trans. Audio Electroacoustics 15, 1967, one segment a start",
            weighting="cell area of up to 256 places drawn from all",
            interval=INTERVAL,
        ),
        "period_coherence": Method(
            "period_coherence-1",
            long_name=f"magnitude-squared coherence of forecast and truth in phase, in an {WHAT}",
            source="Bendat and Piersol, Random Data, 2010, section 6.1, the part in phase",
            weighting="cell area of up to 256 places drawn from all",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None of few or uneven leads."""
        step, hours = scene.time_step / 3600, scene.lead_hours
        if len(hours) < LEAST_LEADS or not even(hours, step):
            return None
        octaves = Octaves.between(len(hours) * step / LEAST_PERIODS, 2 * step)
        rows, columns = some(scene.wet.any(0).numpy())
        channels = list(range(len(scene.layout.state)))
        counter = _Counter(
            Series(rows, columns, channels),
            variable_groups(scene.layout),
            scene.weight[:, rows, columns],
            Octaves(3600 * octaves.longest, octaves.number),
            float(scene.time_step),
        )
        scores = {"period_power_ratio": BandSums.power_ratio, "period_coherence": BandSums.coherence}
        kind = Kind(BandSums, scores, tuple(octaves.labels("h")), by_lead=False)
        return SumsTally(scene, {SET: kind}, counter)
