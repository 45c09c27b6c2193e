"""What one forecast is given, read from a store, and any forecaster run from many starts."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from torch import Tensor

from data_pipelines.times import text
from forecasting.forecaster import Forecaster, Initial, State
from oceanop.layout import Layout


def run_forecaster(
    forecaster: Forecaster, store: xr.Dataset, layout: Layout, starts: Sequence[int], leads: int
) -> Iterator[tuple[int, State]]:
    """Run a forecaster from many starts, one after another.

    Parameters
    ----------
    store
        The store; past a start nothing but its forcing is read.
    layout
        Channels of the forecaster. One without forcing gives it None.
    starts
        Steps of the store (:func:`forecasting.starts.find_starts`).
    leads
        Steps to forecast.

    Yields
    ------
    (number, state)
        Number of the start, counted from 0, and a state; leads in order within a start.

    Raises
    ------
    ValueError
        If a state of the past, or the forcing of a step, is missing in the store.
    """
    for number, start in enumerate(int(step) for step in starts):
        initial = read_initial(store, layout, start, forecaster.history)
        forcing = None
        if layout.forcing:
            window = slice(start - forecaster.history + 1, start + leads + 1)
            forcing = _read(store, layout, "forcing", window)
        for state in forecaster.forecast(initial, forcing, leads):
            yield number, state


def read_initial(store: xr.Dataset, layout: Layout, start: int, history: int) -> Initial:
    """The last ``history`` states up to the step ``start``."""
    window = slice(start - history + 1, start + 1)
    return Initial(_read(store, layout, "state", window), store["time"].values[window])


def _read(store: xr.Dataset, layout: Layout, role: Literal["state", "forcing"], steps: slice) -> Tensor:
    names = layout.names(role)
    for name in names:
        if name not in store.data_vars:
            raise ValueError(
                f"{role} variable '{name}' is not in the store, which holds "
                f"{', '.join(str(held) for held in store.data_vars)}; ingest it too."
            )
    window = store[[*names, "mask"]].isel(time=steps).load()
    wet = window["mask"] > 0.5
    if "depth" in wet.dims:
        wet = wet.isel(depth=0)
    for name in names:
        missing = window[name].isnull() & wet
        if "depth" in missing.dims:
            missing = missing.isel(depth=0)
        planes = [dim for dim in missing.dims if dim != "time"]
        # A state must be whole where the mask says so. Forcing may lack a rim of the domain, but not a whole field.
        lost = missing.any(planes) if role == "state" else (missing | ~wet).all(planes)
        if bool(lost.any()):
            first = window["time"].values[int(np.argmax(lost.to_numpy()))]
            raise ValueError(
                f"'{name}' is missing at {text(first)}, which the forecast needs as {role}; start where the store "
                "has it, or ingest it."
            )
    return layout.pack(window, role)
