"""From a checkpoint to numbers and pictures one can trust."""

from forecasting.baselines import (
    BASELINES,
    Climatology,
    DampedPersistence,
    DampedTides,
    Persistence,
    Tides,
    WindRegression,
    baseline,
)
from forecasting.evaluate import evaluate
from forecasting.fading import Fading, Fold, fitted_share
from forecasting.forecast import forecast
from forecasting.forecaster import Forecaster, Initial, State
from forecasting.learned import LearnedForecaster
from forecasting.maps import draw_map
from forecasting.product import open_forecast
from forecasting.report import write_report
from forecasting.truth import truth_of
from forecasting.windows import run_forecaster

__all__ = [
    "BASELINES",
    "Climatology",
    "DampedPersistence",
    "DampedTides",
    "Fading",
    "Fold",
    "Forecaster",
    "Initial",
    "LearnedForecaster",
    "Persistence",
    "State",
    "Tides",
    "WindRegression",
    "baseline",
    "draw_map",
    "evaluate",
    "fitted_share",
    "forecast",
    "open_forecast",
    "run_forecaster",
    "truth_of",
    "write_report",
]
