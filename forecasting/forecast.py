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
from data_pipelines.windows import TOLERANCE, time_step
from forecasting import clock
from forecasting.boundary import boundary_attributes, require_boundary
from forecasting.forecaster import Forecaster
from forecasting.learned import LearnedForecaster
from forecasting.origin import fitted_attributes, grid_attributes, store_id, store_name
from forecasting.product import Plan, open_sink
from forecasting.refinement import refine
from forecasting.starts import find_starts
from forecasting.windows import run_forecaster
from oceanop.checkpoint import Checkpoint, load_checkpoint
from oceanop.grid import Grid
from oceanop.layout import Layout
from oceanop.variables import BOUNDARIES

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


def forecast(
    checkpoint: Checkpoint | str | Path,
    store: xr.Dataset | str | Path,
    *,
    start: Any,
    leads: int,
    to: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Roll a trained operator out from one start or many.

    Parameters
    ----------
    checkpoint
        The operator, or the path of its checkpoint.
    store
        The past and what is known ahead, forcing and boundary values: a data set or the path of a store. No state of
        the domain itself after a start is read. Its grid is the one the operator was trained on, or a finer one of
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
        If the operator cannot run on the store's grid, the store has another time step or lacks a variable, or a
        start lacks its past, its forcing or its boundary values.
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = load_checkpoint(checkpoint)
    origin = store_name(store)
    if not isinstance(store, xr.Dataset):
        store = open_store(store)
    layout = checkpoint.layout
    _require_same_step(checkpoint, store)
    _require_variables(layout, store)
    refined = refine(checkpoint, store)
    starts = find_starts(store, start, layout=layout, history=checkpoint.history, leads=leads)
    require_boundary(refined.checkpoint, store, starts, leads)
    words = " ".join(dict.fromkeys(channel.variable for channel in layout.weather))
    return produce(
        LearnedForecaster(refined.checkpoint),
        store,
        layout,
        starts,
        leads,
        time_step=int(checkpoint.time_step / np.timedelta64(1, "s")),
        to=to,
        attributes={
            "title": f"Ocean forecast by {checkpoint.name}",
            "checkpoint_sha256": checkpoint.sha256,
            "run": checkpoint.run.model_dump_json(),
            "parameters": checkpoint.parameters,
            "training_steps": checkpoint.steps,
            **_training_cost(checkpoint),
            **fitted_attributes(checkpoint),
            "input_store": origin,
            "input_store_id": store_id(store, layout),
            "forcing": f"{words} of the input store, known up to the last lead" if words else "none",
            **grid_attributes(refined.training, Grid.from_dataset(store), refined.factor),
            **boundary_attributes(refined.checkpoint, store),
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


def _training_cost(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the training took, as far as the checkpoint says."""
    said = checkpoint.provenance
    cost: dict[str, Any] = {}
    if "training_seconds" in said:
        cost["training_seconds"] = round(float(said["training_seconds"]), 1)
    if "threads" in said:
        cost["training_threads"] = int(said["threads"])
    return cost


def _mask(store: xr.Dataset, layout: Layout, grid: Grid) -> xr.DataArray:
    mask = grid.to_dataset()["mask"]
    depths = [channel.depth for channel in layout.state if channel.depth is not None]
    if "depth" not in store["mask"].dims or not depths:
        return mask
    kept = store["mask"].sel(depth=sorted(set(depths))).transpose("depth", *grid.dims)
    return kept.astype(np.int8).assign_attrs(mask.attrs)


def _require_same_step(checkpoint: Checkpoint, store: xr.Dataset) -> None:
    step = time_step(store["time"].values)
    expected = checkpoint.time_step / np.timedelta64(1, "h")
    if step is not None and abs(step / checkpoint.time_step - 1) > TOLERANCE:
        raise ValueError(
            f"the store has a time step of {step / np.timedelta64(1, 'h'):g} h, the checkpoint {checkpoint.name} "
            f"one of {expected:g} h; forecast on a store with that step."
        )


def _require_variables(layout: Layout, store: xr.Dataset) -> None:
    for role, names in (("state", layout.names()), ("forcing", layout.names("forcing"))):
        missing = [name for name in names if name not in store.data_vars]
        if missing:
            raise ValueError(
                f"the checkpoint needs the {role} {', '.join(missing)}, which the store does not hold; it has "
                f"{', '.join(str(name) for name in store.data_vars)}. "
                + (
                    "Ingest it with --boundary PARENT, the model around the domain."
                    if BOUNDARIES.keys() & {*missing}
                    else "Ingest what is missing."
                )
            )
