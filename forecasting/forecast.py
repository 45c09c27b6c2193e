"""From a checkpoint and a store to a forecast file."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines import open_store
from data_pipelines.store import CONVENTIONS, oceanop_version
from forecasting import clock
from forecasting.boundary import boundary_attributes, require_boundary
from forecasting.forecaster import Forecaster
from forecasting.forecaster_file import Given, combination_of
from forecasting.origin import (
    fitted_attributes,
    grid_attributes,
    operator_attributes,
    store_id,
    store_name,
)
from forecasting.product import Plan, open_sink
from forecasting.starts import find_starts
from forecasting.windows import run_forecaster
from oceanop.grid import Grid
from oceanop.layout import Layout

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


def forecast(
    checkpoint: Given,
    store: xr.Dataset | str | Path,
    *,
    start: Any,
    leads: int,
    to: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Roll a trained operator, or several together, out from one start or many.

    Parameters
    ----------
    checkpoint
        The operator, the path of its checkpoint or of a forecaster file, several operators to take the mean of, or a
        combination of them (:func:`forecasting.forecaster_file.load_forecaster`, :func:`forecasting.combine.combine`).
    store
        The past and what is known ahead, forcing and boundary values: a data set or the path of a store. No state of
        the domain itself after a start is read. Its grid is the one an operator was trained on, or a finer one of
        the same domain (:func:`forecasting.refinement.refine`).
    start
        A time (the last known state), ``latest``, ``FIRST/LAST/STEP`` with a step like ``3h`` or ``PT3H``, or a list
        of times; text, ``datetime``, ``datetime64``, ``pandas.Timestamp`` and ``cftime`` are times.
    leads
        Steps to forecast.
    to
        Where the file goes, ``.zarr`` or ``.nc``, written as it runs and resumed by the same call; None keeps the
        forecast in memory.
    progress
        Called as ``progress(words, done, total)``.

    Returns
    -------
    xr.Dataset
        ``(init_time, lead_time, [depth,] y, x)``, NaN on land.

    Raises
    ------
    ValueError
        If an operator cannot run on the store's grid or does not go with the others, the store has another time step
        or lacks a variable, or a start lacks its past, its forcing or its boundary values.
    """
    given = combination_of(checkpoint)
    origin = store_name(store)
    if not isinstance(store, xr.Dataset):
        store = open_store(store)
    layout = given.layout
    placed = given.on(store)
    starts = find_starts(store, start, layout=layout, history=given.history, leads=leads)
    require_boundary(placed.longest, store, starts, leads)
    words = " ".join(dict.fromkeys(channel.variable for channel in layout.weather))
    return produce(
        placed.forecaster,
        store,
        layout,
        starts,
        leads,
        time_step=int(given.time_step / np.timedelta64(1, "s")),
        to=to,
        attributes={
            "title": f"Ocean forecast by {given.name}",
            "model": given.name,
            **operator_attributes(given),
            **fitted_attributes(given),
            "input_store": origin,
            "input_store_id": store_id(store, layout),
            "forcing": f"{words} of the input store, known up to the last lead" if words else "none",
            **grid_attributes(placed, Grid.from_dataset(store)),
            **boundary_attributes(placed.longest, store),
        },
        progress=progress,
    )


def produce(
    forecaster: Forecaster,
    store: xr.Dataset,
    layout: Layout,
    starts: Sequence[int] | np.ndarray[Any, Any],
    leads: int,
    *,
    time_step: int,
    to: str | Path | None = None,
    attributes: dict[str, Any],
    progress: Progress | None = None,
) -> xr.Dataset:
    """Run any forecaster into a forecast file.

    Parameters
    ----------
    starts
        Steps of the store (:func:`forecasting.starts.find_starts`).
    time_step
        Seconds from one lead to the next.
    attributes
        Of the file, beside those that every forecast has.
    """
    grid = Grid.from_dataset(store)
    steps = np.asarray(starts, dtype=np.int64)
    carried = ("sources", "institution", "license", "references")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    plan = Plan(
        layout=layout,
        grid=grid,
        mask=_mask(store, layout, grid),
        wet=layout.wet(store),
        init_times=store["time"].values[steps],
        leads=leads,
        time_step=time_step,
        attributes={
            "Conventions": CONVENTIONS,
            "title": f"Ocean forecast by {forecaster.name}",
            "history": f"{now} written by oceanop forecast",
            "model": forecaster.name,
            "oceanop_version": oceanop_version(),
            **{name: store.attrs[name] for name in carried if name in store.attrs},
            **attributes,
        },
        valid_times=clock.ahead(store["time"].values, steps, leads, time_step),
        cell_methods={
            name: str(store[name].attrs["cell_methods"])
            for name in layout.names()
            if "cell_methods" in store[name].attrs
        },
    )
    sink = open_sink(plan, to)
    pending = sink.pending()
    total = steps.size * leads
    done = total - len(pending) * leads
    begin = time.perf_counter()
    try:
        for number, state in run_forecaster(forecaster, store, layout, steps[pending].tolist(), leads):
            sink.write(pending[number], state)
            done += 1
            if progress is not None:
                progress("", done, total)
    finally:
        sink.add_seconds(time.perf_counter() - begin)
        if done == 0:
            sink.discard()
    return sink.finish()


def _mask(store: xr.Dataset, layout: Layout, grid: Grid) -> xr.DataArray:
    mask = grid.to_dataset()["mask"]
    depths = [channel.depth for channel in layout.state if channel.depth is not None]
    if "depth" not in store["mask"].dims or not depths:
        return mask
    kept = store["mask"].sel(depth=sorted(set(depths))).transpose("depth", *grid.dims)
    return kept.astype(np.int8).assign_attrs(mask.attrs)
