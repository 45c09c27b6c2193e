"""Where a forecast comes from: which store fed it, and which hours its operator has learned from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines.times import calendar_of, milliseconds, parse
from oceanop.checkpoint import Checkpoint
from oceanop.grid import Grid
from oceanop.layout import Layout

IN_MEMORY = "a data set in memory"
LOOKED_AT = 16  # steps of a store that does not say what it was made from
PERIODS = "fitted_periods"  # attribute: first and last time of each split that was fitted, JSON


def store_name(store: xr.Dataset | str | Path) -> str:
    """Name of the store's folder alone: the same from wherever the path is looked at, and nobody's folders."""
    return IN_MEMORY if isinstance(store, xr.Dataset) else Path(store).resolve().name


def store_id(store: xr.Dataset, layout: Layout) -> str:
    """SHA-256 that changes with the content of a store, whatever its path.

    A store that was ingested tells what it was made from, and when. Any other is known by its time axis and what
    some of its steps hold, evenly chosen.
    """
    kept = {name: str(store.attrs[name]) for name in ("request", "splits", "created") if name in store.attrs}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    if "created" not in kept:
        digest.update(milliseconds(store["time"].values).tobytes())
        held = store[[*layout.names(), *layout.names("forcing")]]
        for step in np.unique(np.linspace(0, store.sizes["time"] - 1, LOOKED_AT).astype(int)):
            for field in held.isel(time=step).data_vars.values():
                digest.update(np.ascontiguousarray(field.to_numpy()).tobytes())
    return digest.hexdigest()


def fitted_attributes(checkpoint: Checkpoint) -> dict[str, str]:
    """Attributes that say which times the operator was fitted on; none where the checkpoint does not say."""
    names = checkpoint.provenance.get("fit")
    try:
        splits = json.loads(checkpoint.provenance["store_attributes"]["splits"])
        periods = sorted([str(splits[name][0]), str(splits[name][1])] for name in names or ())
    except (KeyError, IndexError, TypeError, ValueError):
        return {}
    if not periods:
        return {}
    return {
        "fitted_from": periods[0][0],
        "fitted_to": max(end for _, end in periods),
        PERIODS: json.dumps(periods),
    }


def grid_attributes(training: Grid, grid: Grid, refinement: int) -> dict[str, str | int]:
    """Attributes that say on which grid the operator was trained, on which it runs, and how much finer that one is."""
    return {
        "training_grid": _cells(training),
        "forecast_grid": _cells(grid),
        "refinement": refinement,
    }


def _cells(grid: Grid) -> str:
    along_y, along_x = grid.spacing
    return f"{grid.shape[0]} x {grid.shape[1]} cells of {along_y:.0f} x {along_x:.0f} m"


def overlap_warning(forecasts: dict[str, xr.Dataset], times: np.ndarray[Any, Any]) -> str:
    """A sentence for the operators that were fitted on scored times, empty where none was.

    Parameters
    ----------
    forecasts
        By name, with the attributes of :func:`fitted_attributes`.
    times
        Times that are scored, ``[time]``.
    """
    found: dict[tuple[int, str, str], list[str]] = {}
    for name, ds in forecasts.items():
        if seen := _seen(ds, times):
            key = (seen, str(ds.attrs.get("fitted_from")), str(ds.attrs.get("fitted_to")))
            found.setdefault(key, []).append(name)
    return " ".join(
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} trained on times scored here: {seen} of "
        f"{times.size} scored times lie in the training period, {first} to {last}, so that these errors show what was "
        "learned by heart and not how well the unknown is forecast."
        for (seen, first, last), names in found.items()
    )


def baseline_warning(seen: int, count: int) -> str:
    """The same for the baselines, of which ``seen`` of ``count`` scored times were in the fit."""
    if not seen:
        return ""
    return (
        f"The baselines were fitted on times scored here: {seen} of {count} scored times lie in their training period, "
        "so that they have seen the truth there."
    )


def _seen(ds: xr.Dataset, times: np.ndarray[Any, Any]) -> int:
    ends = [ds.attrs.get("fitted_from"), ds.attrs.get("fitted_to")]
    if None in ends or not times.size:
        return 0
    calendar, moments = calendar_of(times), milliseconds(times)
    inside = np.zeros(moments.size, dtype=bool)
    try:
        for first, last in json.loads(ds.attrs.get(PERIODS, json.dumps([ends]))):
            inside |= (moments >= parse(str(first), calendar)) & (
                moments <= parse(str(last), calendar, end=True)
            )
    except (TypeError, ValueError):
        # Another calendar, or an attribute that somebody else wrote: nothing can be said
        return 0
    return int(inside.sum())
