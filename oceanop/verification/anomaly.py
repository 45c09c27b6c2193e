"""Scores of anomalies: what a forecast knows beyond what is usual at its place and season."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from oceanop.cell_sums import Cells
from oceanop.verification.passes import anomaly_sums
from oceanop.verification.statistics import Statistics

USEFUL = 0.6  # anomaly correlation below which a chart is held to be of no use (Hollingsworth et al., MWR 108, 1980)


@dataclass(frozen=True, eq=False)
class AnomalySums(Statistics):
    """Sums over cells of products of forecast and true anomalies."""

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "squared_forecast",
        "squared_truth",
        "product",
        "squared_error",
    )

    @classmethod
    def of(cls, forecast: Tensor, truth: Tensor, normal: Tensor, cells: Cells) -> Self:
        """Sums of every plane, ``[statistic, channel, plane]``.

        Parameters
        ----------
        forecast, truth
            float32 ``[channel, plane, y, x]``; cells at which the truth is not finite are left out.
        normal
            What is usual, float32 ``[channel, plane or 1, y, x]``.
        """
        return cls(anomaly_sums(cells, forecast, truth, normal))

    def correlation(self) -> Tensor:
        """Correlation of anomalies, not centred: ``sum w f' o' / sqrt(sum w f'^2 sum w o'^2)``.

        1 where the patterns are equal but for a factor; NaN where one of them has no anomaly at all. Wilks, Statistical
        Methods in the Atmospheric Sciences, 3rd ed. 2011, section 8.6.4.
        """
        squares = self.statistic("squared_forecast") * self.statistic("squared_truth")
        return self.statistic("product") / squares.sqrt()

    def skill(self) -> Tensor:
        """One less the mean square error over that of the climatology, ``1 - sum w (f - o)^2 / sum w o'^2``.

        Murphy, Monthly Weather Review 116, 1988. Below 0 the climatology is the better forecast; NaN where the truth
        has no anomaly.
        """
        return 1 - self.ratio("squared_error", "squared_truth")

    def activity_ratio(self) -> Tensor:
        """Root mean square of the forecast's anomalies over that of the truth's: below 1 a forecast is too calm.

        Thorpe, Bauer, Magnusson and Richardson, ECMWF Newsletter 137, 2013, who call it forecast activity.
        """
        return self.ratio("squared_forecast", "squared_truth").sqrt()


ANOMALY_METRICS: dict[str, Callable[[AnomalySums], Tensor]] = {
    "anomaly_correlation": AnomalySums.correlation,
    "climatology_skill": AnomalySums.skill,
    "activity_ratio": AnomalySums.activity_ratio,
}
