"""From a checkpoint to numbers and pictures one can trust."""

from forecasting.animation import animate
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
from forecasting.baselines.numerical import NumericalForecast
from forecasting.baselines.shallow_water import ShallowWater
from forecasting.combination import Combination
from forecasting.combine import combine
from forecasting.ensemble import EnsembleMean
from forecasting.evaluate import evaluate
from forecasting.exporters import to_netcdf, to_oceanbench, to_weatherbench
from forecasting.fading import Fading, Fold, fitted_share
from forecasting.forecast import forecast
from forecasting.forecaster import Forecaster, Initial, State
from forecasting.forecaster_file import load_forecaster, write_forecaster
from forecasting.harmonics import predicted_tide, skew_surge, tidal_analysis, tidal_residual
from forecasting.health import health
from forecasting.hovmoeller import draw_hovmoeller
from forecasting.learned import LearnedForecaster
from forecasting.maps import draw_map
from forecasting.product import open_forecast
from forecasting.report import write_report
from forecasting.station_files import save_stations
from forecasting.stations import stations
from forecasting.truth import truth_of
from forecasting.windows import run_forecaster

__all__ = [
    "BASELINES",
    "Climatology",
    "Combination",
    "DampedPersistence",
    "DampedTides",
    "EnsembleMean",
    "Fading",
    "Fold",
    "Forecaster",
    "Initial",
    "LearnedForecaster",
    "NumericalForecast",
    "Persistence",
    "ShallowWater",
    "State",
    "Tides",
    "WindRegression",
    "animate",
    "baseline",
    "combine",
    "draw_hovmoeller",
    "draw_map",
    "evaluate",
    "fitted_share",
    "forecast",
    "health",
    "load_forecaster",
    "open_forecast",
    "predicted_tide",
    "run_forecaster",
    "save_stations",
    "skew_surge",
    "stations",
    "tidal_analysis",
    "tidal_residual",
    "to_netcdf",
    "to_oceanbench",
    "to_weatherbench",
    "truth_of",
    "write_forecaster",
    "write_report",
]
