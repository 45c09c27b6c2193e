"""Scores of anomalies: what a forecast knows beyond what is usual at its place and season."""

from collections.abc import Callable

from torch import Tensor

from oceanop.metrics import Sums

USEFUL = 0.6  # anomaly correlation below which a chart is held to be of no use (Hollingsworth et al., MWR 108, 1980)


def anomaly_correlation(sums: Sums) -> Tensor:
    """Correlation of forecast and true anomalies, not centred: ``sum w f' o' / sqrt(sum w f'^2 sum w o'^2)``.

    Parameters
    ----------
    sums
        Of anomalies, forecast less climatology and truth less climatology, the same for both.

    Returns
    -------
    1 where the patterns are equal but for a factor; NaN where one of them has no anomaly at all. Wilks, Statistical
    Methods in the Atmospheric Sciences, 3rd ed. 2011, section 8.6.4.
    """
    squares = sums.statistic("squared_forecast") * sums.statistic("squared_truth")
    return sums.statistic("product") / squares.sqrt()


def climatology_skill(sums: Sums) -> Tensor:
    """One less the mean square error over that of the climatology, ``1 - sum w (f' - o')^2 / sum w o'^2``.

    Murphy, Monthly Weather Review 116, 1988. Of anomalies, as :func:`anomaly_correlation`. Below 0 the
    climatology is the better forecast; NaN where the truth has no anomaly.
    """
    return 1 - sums.statistic("squared_error") / sums.statistic("squared_truth")


def activity_ratio(sums: Sums) -> Tensor:
    """Root mean square of the forecast's anomalies over that of the truth's: below 1 a forecast is too calm.

    Thorpe, Bauer, Magnusson and Richardson, ECMWF Newsletter 137, 2013, who call it forecast activity.
    """
    return (sums.statistic("squared_forecast") / sums.statistic("squared_truth")).sqrt()


ANOMALY_METRICS: dict[str, Callable[[Sums], Tensor]] = {
    "anomaly_correlation": anomaly_correlation,
    "climatology_skill": climatology_skill,
    "activity_ratio": activity_ratio,
}
