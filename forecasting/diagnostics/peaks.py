"""High water along the coast: how high and when the forecasts had it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import LEVEL, level_of
from forecasting.diagnostics.past import Past
from forecasting.diagnostics.places import TRUTH, Series, coast, even, some
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, Score, SumsTally
from oceanop.verification.peaks import PeakSums

SET = "peaks"
SHARE = 0.99  # of the training time below a peak's threshold
APART = 72.0  # hours between events
WITHIN = 12.0  # hours in which the forecast is searched
LONGEST_STEP = 3.0  # hours: of longer ones a surge's height and time are not known
WHAT = (
    "peaks of the level over its 99 % quantile in the split train, at up to 256 cells beside land, the highest within "
    "72 hours; the forecast is searched within 12 hours of each"
)
PRACTICE = (
    "peaks over a threshold, declustered: Coles, Statistical Modeling of Extreme Values, 2001, section 5.3"
)


@dataclass(eq=False)
class _Counter:
    series: Series
    threshold: Tensor
    weight: Tensor
    apart: int
    within: int

    def __call__(self, block: Block) -> Iterator[Part]:
        whole = self.series.add(block)
        if whole is None:
            return
        truth = whole.pop(TRUTH)[0]
        for name, forecast in whole.items():
            sums = PeakSums.of(
                forecast[0], truth, self.threshold, self.weight, apart=self.apart, within=self.within
            )
            yield Part(SET, name, LEVEL, PeakSums(sums.values[:, None]))


@dataclass(frozen=True)
class _Hours:
    """A mean time in steps as hours."""

    metric: str
    step: float

    def __call__(self, sums: PeakSums) -> Tensor:
        return self.step * getattr(sums, self.metric)()


class Peaks:
    """Scores of high water, all leads of a start together."""

    name = SET
    whole_starts = True
    needs = "the sea level, leads at most 3 hours and evenly apart, and a split 'train' of 500 states or more"
    methods: Mapping[str, Method] = {
        f"peak_{metric}": Method(
            f"peak_{metric}-1",
            units=units,
            long_name=f"{words}: {WHAT}",
            source=source,
            weighting="cell area of each place",
            interval=INTERVAL,
        )
        for metric, units, words, source in (
            ("height_bias", "m", "mean of the forecast's height less the true one", PRACTICE),
            ("height_rmse", "m", "root mean square of the forecast's height less the true one", PRACTICE),
            ("time_bias", "hours", "mean of the forecast's time after the true one", PRACTICE),
            ("time_error", "hours", "mean of the time between forecast and true peak", PRACTICE),
            ("hit_rate", "1", "share of peaks at which the forecast is above the quantile too", PRACTICE),
            (
                "success_index",
                "1",
                "hits over peaks and false alarms, which are the forecast's peaks without a true level above the "
                "quantile",
                "Schaefer, Weather and Forecasting 5, 1990",
            ),
        )
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None without a level, in steps of more than 3 hours or in fewer than 3 of them."""
        level, step = level_of(scene.layout), scene.time_step / 3600
        hours = scene.lead_hours
        if level is None or step > LONGEST_STEP or len(hours) < 3 or not even(hours, step):
            return None
        cells = scene.wet[level].numpy()
        rows, columns = some(coast(cells) if coast(cells).any() else cells)
        past = Past.drawn(scene)
        threshold = (
            None if past is None else past.quantile(past.states[level][:, rows, columns].double(), SHARE)
        )
        if threshold is None:
            return None
        counter = _Counter(
            Series(rows, columns, [level]),
            threshold,
            scene.weight[level][rows, columns],
            apart=max(round(APART / step), 1),
            within=max(round(WITHIN / step), 1),
        )
        scores: dict[str, Score] = {
            "peak_height_bias": PeakSums.height_bias,
            "peak_height_rmse": PeakSums.height_rmse,
            "peak_time_bias": _Hours("time_bias", step),
            "peak_time_error": _Hours("time_error", step),
            "peak_hit_rate": PeakSums.hit_rate,
            "peak_success_index": PeakSums.critical_success_index,
        }
        return SumsTally(scene, {SET: Kind(PeakSums, scores, ("coast",), by_lead=False)}, counter)
