"""What one forecast is given, read from a store, and any forecaster run from many starts."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from torch import Tensor

from data_pipelines.times import text
from data_pipelines.windows import time_step
from forecasting import clock
from forecasting.forecaster import Forecaster, Initial, State
from oceanop.layout import Channel, Layout


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
    for number, (initial, forcing) in enumerate(
        read_starts(store, layout, starts, leads, forecaster.history)
    ):
        for state in forecaster.forecast(initial, forcing, leads):
            yield number, state


def read_starts(
    store: xr.Dataset, layout: Layout, starts: Sequence[int], leads: int, history: int
) -> Iterator[tuple[Initial, Tensor | None]]:
    """What a forecaster is given at each of some starts: ``history`` past states, and the forcing up to the last lead.

    Raises
    ------
    ValueError
        As :func:`run_forecaster`.
    """
    times = store["time"].values
    apart = time_step(times)
    step = 0 if apart is None else int(apart.astype(np.int64)) // 1000
    valid = clock.ahead(times, starts, leads, step) if step and len(starts) else None
    for number, start in enumerate(int(each) for each in starts):
        past = read_initial(store, layout, start, history)
        initial = Initial(past.history, past.times, None if valid is None else valid[number])
        forcing = None
        if layout.forcing:
            forcing = _read(store, layout, "forcing", slice(start - history + 1, start + leads + 1))
        yield initial, forcing


def read_initial(store: xr.Dataset, layout: Layout, start: int, history: int) -> Initial:
    """The last ``history`` states up to the step ``start``."""
    window = slice(start - history + 1, start + 1)
    return Initial(_read(store, layout, "state", window), store["time"].values[window])


def read_whole(store: xr.Dataset, layout: Layout, steps: slice) -> Tensor | None:
    """States of some steps, ``[channel, time, y, x]``; None where a value is missing at sea."""
    window = store[[*layout.names(), "mask"]].isel(time=steps).load()
    return layout.pack(window) if _missing(window, layout, "state") is None else None


def _read(store: xr.Dataset, layout: Layout, role: Literal["state", "forcing"], steps: slice) -> Tensor:
    names = layout.names(role)
    for name in names:
        if name not in store.data_vars:
            raise ValueError(
                f"{role} variable '{name}' is not in the store, which holds "
                f"{', '.join(str(held) for held in store.data_vars)}; ingest it too."
            )
    window = store[[*names, "mask"]].isel(time=steps).load()
    if (found := _missing(window, layout, role)) is not None:
        channel, first = found
        where = "" if channel.depth is None else f" at {channel.depth:g} m"
        raise ValueError(
            f"'{channel.variable}'{where} is missing at {text(first)}, which the forecast needs as {role}; start "
            "where the store has it, or ingest it."
        )
    return layout.pack(window, role)


def _missing(
    window: xr.Dataset, layout: Layout, role: Literal["state", "forcing"]
) -> tuple[Channel, Any] | None:
    """The first channel that lacks what a forecast needs, and the first time at which it does."""
    for channel in layout.state if role == "state" else layout.forcing:
        wet, field = window["mask"] > 0.5, window[channel.variable]
        if "depth" in wet.dims:
            wet = wet.sel(depth=channel.depth or 0.0, method="nearest", drop=True)
        if channel.depth is not None:
            field = field.sel(depth=channel.depth, drop=True)
        missing = field.isnull() & wet
        planes = [dim for dim in missing.dims if dim != "time"]
        # A state must be whole where the mask says so. Forcing may lack a rim of the domain, but not a whole field.
        lost = missing.any(planes) if role == "state" else (missing | ~wet).all(planes)
        if bool(lost.any()):
            return channel, window["time"].values[int(np.argmax(lost.to_numpy()))]
    return None
