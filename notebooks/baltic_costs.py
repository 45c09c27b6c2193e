"""What forecasts cost: one as it is made, its reading included, and several side by side."""

import statistics
import time

import numpy as np
import torch
import xarray as xr
from baltic_scores import Settled

from data_pipelines.basins.domain import make_model
from forecasting.baselines.shallow_water import ShallowWater
from forecasting.learned import LearnedForecaster
from forecasting.windows import run_forecaster
from oceanop.dynamics.forcing import AirSeries
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.rollout import rollout

MEMBERS = 8  # forecast together, where their cost is compared


def forecast_seconds(settled: Settled, ds: xr.Dataset, start: int, leads: int, repeats: int) -> float:
    """Processor time of one forecast, reading its past and its weather included, s: median, the first left out."""
    spent = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        for _ in run_forecaster(settled.forecaster, ds, settled.layout, [start], leads):
            pass
        spent.append(time.process_time() - begin)
    return statistics.median(spent[1:])


def members_seconds(settled: Settled, ds: xr.Dataset, start: int, leads: int, repeats: int) -> float | None:
    """Processor time of ``MEMBERS`` forecasts side by side, air in memory, s; None where there is no such way.

    Of operators and numerical models alike it is what these do themselves: reading and regridding are done before. A
    numerical model is timed in a calm, in which it takes the same steps.
    """
    forecaster = settled.forecaster
    if isinstance(forecaster, LearnedForecaster):
        first = start - forecaster.history + 1
        window = ds.isel(time=slice(first, start + leads + 1)).load()
        past = settled.layout.pack(window.isel(time=slice(forecaster.history)))
        forcing = settled.layout.pack(window, "forcing")
        given = [part.expand(MEMBERS, *part.shape) for part in (past, forcing)]

        def run() -> None:
            with torch.no_grad():
                for _ in rollout(forecaster.step, *given, horizon=forecaster.horizon, leads=leads):
                    pass

    elif isinstance(forecaster, ShallowWater):
        model = make_model(forecaster.basin, forecaster.domain)
        calm = np.zeros((leads + 1, *model.grid.shape), np.float32)
        air = AirSeries(calm, calm, calm + STANDARD_PRESSURE)

        def run() -> None:
            for _ in model.run(model.at_rest(MEMBERS), leads * 3600.0, forcing=air):
                pass

    else:
        return None
    spent = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        run()
        spent.append(time.process_time() - begin)
    return statistics.median(spent[1:])
