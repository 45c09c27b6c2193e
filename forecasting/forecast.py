"""From a checkpoint and a store to a forecast file."""

import hashlib
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr

from data_pipelines import open_store
from data_pipelines.store import CONVENTIONS, oceanop_version
from forecasting import clock
from forecasting.boundary import boundary_attributes, require_boundary
from forecasting.combination import Combination, require_members
from forecasting.forecaster import Forecaster
from forecasting.forecaster_file import Given, combination_of
from forecasting.members import Members
from forecasting.origin import (
    ensemble_attributes,
    fitted_attributes,
    grid_attributes,
    store_id,
    store_name,
)
from forecasting.outlook import Files, weather_text, with_weather
from forecasting.perturbation import AMPLITUDE, Perturbation
from forecasting.product import Plan, open_sink
from forecasting.starts import find_starts
from oceanop.grid import Grid
from oceanop.layout import Layout

Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


def forecast(
    checkpoint: Given | Sequence[Given],
    store: xr.Dataset | str | Path,
    *,
    start: Any,
    leads: int,
    forcing: Files | None = None,
    members: int | None = None,
    perturbation: float | None = None,
    seed: int | None = None,
    to: str | Path | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Roll a trained operator, or several together, out from one start or many.

    Parameters
    ----------
    checkpoint
        The operator, the path of its checkpoint or of a forecaster file, several operators to take the mean of, or a
        combination of them (:func:`forecasting.forecaster_file.load_forecaster`, :func:`forecasting.combine.combine`).
        With ``members``, several are members of an ensemble, each with a forecast of its own.
    store
        The past and what is known ahead, forcing and boundary values: a data set or the path of a store. No state of
        the domain itself after a start is read. Its grid is the one an operator was trained on, or a finer one of
        the same domain (:func:`forecasting.refinement.refine`).
    start
        A time (the last known state), ``latest``, ``FIRST/LAST/STEP`` with a step like ``3h`` or ``PT3H``, or a list
        of times; text, ``datetime``, ``datetime64``, ``pandas.Timestamp`` and ``cftime`` are times.
    leads
        Steps to forecast.
    forcing
        Files of weather that goes on where the store ends, so that a forecast can start from its last state
        (:func:`forecasting.outlook.with_weather`); None where the store's own forcing reaches the last lead.
    members
        Size of the dimension ``member``; None for one forecast without it. The operators given take turns: the first
        of each starts from the store's own past, and those beyond from perturbed ones.
    perturbation
        Amplitude of perturbed starts, in standard deviations of what the sea changes in one step
        (:class:`forecasting.perturbation.Perturbation`), 1 where None.
    seed
        Of perturbed starts, 0 where None.
    to
        Where the file goes, ``.zarr`` or ``.nc``, written as it runs and resumed by the same call; None keeps the
        forecast in memory.
    progress
        Called as ``progress(words, done, total)``.

    Returns
    -------
    xr.Dataset
        ``(init_time, lead_time, [member,] [depth,] y, x)``, NaN on land.

    Raises
    ------
    ValueError
        If an operator cannot run on the store's grid or does not go with the others, the store has another time step
        or lacks a variable, a start lacks its past, its forcing or its boundary values, or there are fewer members
        than operators to be one.
    """
    given = _members_of(checkpoint, members)
    first = given[0]
    origin = store_name(store)
    if not isinstance(store, xr.Dataset):
        store = open_store(store)
    layout = first.layout
    placed = [each.on(store) for each in given]
    longest = max((each.longest for each in placed), key=lambda each: each.history)
    words = " ".join(dict.fromkeys(channel.variable for channel in layout.weather))
    weather = f"{words} of the input store, known up to the last lead" if words else "none"
    known, identity = store, store_id(store, layout)
    if forcing is not None:
        known, digest = with_weather(store, forcing, layout, history=longest.history, leads=leads)
        identity = hashlib.sha256(f"{identity} {digest}".encode()).hexdigest()
        weather = f"{words} of the input store, and of {weather_text(store, forcing)}"
    starts = find_starts(known, start, layout=layout, history=longest.history, leads=leads)
    require_boundary(longest, known, starts, leads)
    perturbed = _perturbation(store, layout, members, len(given), amplitude=perturbation, seed=seed)
    if perturbed is not None:
        perturbed.require(known["time"].values[min(starts)], longest.history)
    run = Members(tuple(each.forecaster for each in placed), members, perturbed)
    return produce(
        run,
        known,
        layout,
        starts,
        leads,
        time_step=int(first.time_step / np.timedelta64(1, "s")),
        to=to,
        attributes={
            **ensemble_attributes(given, run),
            **fitted_attributes(*given),
            "input_store": origin,
            "input_store_id": identity,
            "forcing": weather,
            **grid_attributes(placed, Grid.from_dataset(store)),
            **boundary_attributes(longest, store),
        },
        progress=progress,
    )


def produce(
    forecaster: Forecaster | Members,
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
    """Run any forecaster, or the members of an ensemble, into a forecast file.

    Parameters
    ----------
    starts
        Steps of the store (:func:`forecasting.starts.find_starts`).
    time_step
        Seconds from one lead to the next.
    attributes
        Of the file, beside those that every forecast has.
    """
    run = forecaster if isinstance(forecaster, Members) else Members((forecaster,))
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
            "title": f"Ocean forecast by {run.name}",
            "history": f"{now} written by oceanop forecast",
            "model": run.name,
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
        members=run.count,
    )
    sink = open_sink(plan, to)
    pending = sink.pending()
    total = steps.size * (run.count or 1) * leads
    done = total - len(pending) * leads
    begin = time.perf_counter()
    try:
        for number, member, state in run.run(store, layout, steps, pending, leads):
            sink.write(number, state, member)
            done += 1
            if progress is not None:
                progress("", done, total)
    finally:
        sink.add_seconds(time.perf_counter() - begin)
        if done == 0:
            sink.discard()
    return sink.finish()


def _members_of(given: Given | Sequence[Given], members: int | None) -> tuple[Combination, ...]:
    """What forecasts, each of them once from the store's own past."""
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    if members is None:
        return (combination_of(cast(Given, given)),)
    each = tuple(
        combination_of(one) for one in (cast(Sequence[Given], given) if listed else [cast(Given, given)])
    )
    if members < max(len(each), 1):
        raise ValueError(
            f"{members} members were asked for and {len(each)} checkpoints given to be one each; ask for "
            f"{len(each)} or more, or give fewer checkpoints."
        )
    require_members(each)
    return each


def _perturbation(
    store: xr.Dataset,
    layout: Layout,
    members: int | None,
    forecasters: int,
    *,
    amplitude: float | None,
    seed: int | None,
) -> Perturbation | None:
    if members is not None and members > forecasters:
        return Perturbation(
            store, layout, amplitude=AMPLITUDE if amplitude is None else amplitude, seed=seed or 0
        )
    for name, value in (("amplitude of a perturbation", amplitude), ("seed of perturbations", seed)):
        if value is not None:
            raise ValueError(
                f"the {name} was given ({value:g}), and every member starts from the store's own past; ask for more "
                f"members than the {forecasters} given checkpoint(s), or leave it out."
            )
    return None


def _mask(store: xr.Dataset, layout: Layout, grid: Grid) -> xr.DataArray:
    mask = grid.to_dataset()["mask"]
    depths = [channel.depth for channel in layout.state if channel.depth is not None]
    if "depth" not in store["mask"].dims or not depths:
        return mask
    kept = store["mask"].sel(depth=sorted(set(depths))).transpose("depth", *grid.dims)
    return kept.astype(np.int8).assign_attrs(mask.attrs)
