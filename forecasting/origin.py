"""Where a forecast comes from: which store fed it, and which hours its operator has learned from."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines.times import calendar_of, milliseconds, parse
from forecasting.combination import Combination, Placed
from forecasting.members import Members
from oceanop.checkpoint import Checkpoint
from oceanop.grid import Grid
from oceanop.layout import Layout

Period = tuple[str, str]  # first and last time, as text

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


def made_by(command: str, ds: xr.Dataset) -> str:
    """The history of what a command makes of a file: its own line, and those of the file below."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "\n".join([f"{now} written by {command}", *str(ds.attrs.get("history", "")).splitlines()])


def operator_attributes(given: Combination) -> dict[str, Any]:
    """Attributes that say which operators forecast, how they were trained, and what that took.

    Several operators are told as ``members``, JSON, and ``run`` holds the runs of all. ``checkpoint_sha256`` is then
    that of the list of their checksums and shares, and costs are sums; a cost that one of them does not tell is left
    out.
    """
    members = given.members
    costs = [each.provenance for each in members]
    told: dict[str, Any] = {
        "parameters": sum(each.parameters for each in members),
        "training_steps": sum(each.steps for each in members),
    }
    if all("training_seconds" in cost for cost in costs):
        told["training_seconds"] = round(sum(float(cost["training_seconds"]) for cost in costs), 1)
    threads = {int(cost["threads"]) if "threads" in cost else None for cost in costs}
    if len(threads) == 1 and (same := threads.pop()) is not None:
        told["training_threads"] = same
    if len(members) == 1:
        alone = members[0]
        return {"checkpoint_sha256": alone.sha256, "run": alone.run.model_dump_json(), **told}
    parts = {"long": given.long, "short": given.short}
    share = {"share": list(given.share)} if given.short else {}
    sums = {role: [each.sha256 for each in part] for role, part in parts.items()}
    runs = {role: [each.run.model_dump(mode="json") for each in part] for role, part in parts.items() if part}
    listed = [_member_facts(role, each) for role, part in parts.items() for each in part]
    return {
        "checkpoint_sha256": hashlib.sha256(json.dumps({**sums, **share}).encode()).hexdigest(),
        "run": json.dumps({**runs, **share}),
        "members": json.dumps(listed),
        **{name: json.dumps(value) for name, value in share.items()},
        **told,
    }


def ensemble_attributes(given: Sequence[Combination], members: Members) -> dict[str, Any]:
    """Attributes that say who forecasts, and of an ensemble which forecaster and which start each member has.

    What there is of several forecasters is told as :func:`operator_attributes` tells it of several operators:
    ``run`` lists the runs of all, ``checkpoint_sha256`` is that of the list of their checksums, and costs are sums.
    """
    told = [operator_attributes(each) for each in given]
    name = given[0].name if members.count is None else members.name
    attributes: dict[str, Any] = {"title": f"Ocean forecast by {name}", "model": name, **told[0]}
    if len(told) > 1:
        sums = [each["checkpoint_sha256"] for each in told]
        costs = {
            key: round(sum(float(each[key]) for each in told), 1)
            for key in ("parameters", "training_steps", "training_seconds")
            if all(key in each for each in told)
        }
        threads = {each.get("training_threads") for each in told}
        attributes = {
            **{key: attributes[key] for key in ("title", "model")},
            "checkpoint_sha256": hashlib.sha256(json.dumps(sums).encode()).hexdigest(),
            "run": json.dumps([json.loads(each["run"]) for each in told]),
            **{key: value if key == "training_seconds" else int(value) for key, value in costs.items()},
            **({"training_threads": threads.pop()} if len(threads) == 1 and None not in threads else {}),
        }
    if members.count is None:
        return attributes
    listed = []
    for member in range(members.count):
        forecaster, number = members.turn(member)
        listed.append(
            {
                "model": given[forecaster].name,
                "checkpoint_sha256": told[forecaster]["checkpoint_sha256"],
                "perturbation": number,
            }
        )
    attributes["ensemble"] = json.dumps(listed)
    if members.perturbation is not None:
        attributes["perturbation"] = members.perturbation.text
    return attributes


def _member_facts(role: str, checkpoint: Checkpoint) -> dict[str, Any]:
    seconds = checkpoint.provenance.get("training_seconds")
    return {
        "role": role,
        "model": checkpoint.name,
        "checkpoint_sha256": checkpoint.sha256,
        "parameters": checkpoint.parameters,
        "training_steps": checkpoint.steps,
        **({} if seconds is None else {"training_seconds": round(float(seconds), 1)}),
    }


def periods_of(checkpoint: Checkpoint) -> list[Period]:
    """First and last time of each split that the operator was fitted on; none where the checkpoint does not say."""
    names = checkpoint.provenance.get("fit")
    try:
        splits = json.loads(checkpoint.provenance["store_attributes"]["splits"])
        return sorted((str(splits[name][0]), str(splits[name][1])) for name in names or ())
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def fitted_attributes(*given: Combination) -> dict[str, str]:
    """Attributes that say which times operators and shares were fitted on; none where nobody says."""
    found = {period for one in given for each in one.members for period in periods_of(each)}
    periods = sorted(found | {one.share_fitted_on for one in given if one.share_fitted_on})
    if not periods:
        return {}
    return {
        "fitted_from": periods[0][0],
        "fitted_to": max(end for _, end in periods),
        PERIODS: json.dumps(periods),
    }


def grid_attributes(placed: Sequence[Placed], grid: Grid) -> dict[str, str | int]:
    """Attributes that say on which grids operators were trained, on which they run, and how much finer that one is.

    Where they were trained on several, all are named, and ``refinement`` is that of the coarsest.
    """
    operators = [each for one in placed for each in one.members]
    return {
        "training_grid": "; ".join(dict.fromkeys(_cells(each.training) for each in operators)),
        "forecast_grid": _cells(grid),
        "refinement": max(each.factor for each in operators),
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
    if None in ends:
        return 0
    try:
        periods = [
            (str(first), str(last)) for first, last in json.loads(ds.attrs.get(PERIODS, json.dumps([ends])))
        ]
        return times_inside(times, periods)
    except (TypeError, ValueError):
        # Another calendar, or an attribute that somebody else wrote: nothing can be said
        return 0


def times_inside(times: np.ndarray[Any, Any], periods: Iterable[Period]) -> int:
    """How many of some times lie in any of some periods, whose ends belong to them.

    Raises
    ------
    ValueError
        If an end is no time of their calendar.
    """
    if not times.size:
        return 0
    calendar, moments = calendar_of(times), milliseconds(times)
    inside = np.zeros(moments.size, dtype=bool)
    for first, last in periods:
        inside |= (moments >= parse(first, calendar)) & (moments <= parse(last, calendar, end=True))
    return int(inside.sum())
