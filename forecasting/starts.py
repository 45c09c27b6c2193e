"""When a forecast can start: from the words of a request to steps of a store that have what a forecast needs."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import calendar_of, milliseconds, parse, text
from data_pipelines.windows import joined
from oceanop.layout import Layout

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def find_starts(
    store: xr.Dataset, start: Any, *, layout: Layout, history: int, leads: int
) -> NDArray[np.int64]:
    """Steps of the store at which the forecasts of a request start.

    Parameters
    ----------
    store
        The store with the past and the forcing.
    start
        A time, ``latest``, ``FIRST/LAST/STEP`` with a step like ``3h`` or ``PT3H``, or several times.
    layout
        Variables the forecaster needs; only forcing is needed past the start.
    history
        Past states needed, the start among them.
    leads
        Steps to forecast.

    Raises
    ------
    ValueError
        If a start is not in the store, or the past or the forcing it needs is not.
    """
    if leads < 1:
        raise ValueError(f"{leads} leads were asked for; a forecast has at least 1.")
    times = store["time"].values
    if isinstance(start, str) and start.strip() == "latest":
        steps = [_latest(store, layout, leads)]
    elif isinstance(start, str) and "/" in start:
        steps = [_step_of(times, moment) for moment in _series(start, calendar_of(times))]
    else:
        moments = sorted({parse(_words(each), calendar_of(times)) for each in _several(start)})
        steps = [_step_of(times, moment) for moment in moments]
    for step in steps:
        _check(times, step, layout=layout, history=history, leads=leads)
    return np.array(steps, dtype=np.int64)


def parse_step(words: str) -> int:
    """Milliseconds of a time step like ``3h``, ``30min``, ``1d`` or ``PT3H``.

    Raises
    ------
    ValueError
        If the words are neither form, or the step is not positive.
    """
    iso = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", words.strip())
    plain = re.fullmatch(r"(\d+) ?(s|min|m|h|d)", words.strip())
    length = 0
    if iso is not None:
        length = sum(int(n or 0) * unit for n, unit in zip(iso.groups(), (86400, 3600, 60, 1), strict=True))
    elif plain is not None:
        length = int(plain[1]) * _UNITS[plain[2]]
    if not length:
        raise ValueError(f"'{words}' is no time step; write it as 3h, 30min, 1d or PT3H.")
    return length * 1000


def _several(start: Any) -> list[Any]:
    """One time or many as a list."""
    if isinstance(start, str | date) or np.ndim(start) == 0:
        return [start[()] if isinstance(start, np.ndarray) else start]
    # Not through an array where it can be helped: one of Timestamps forgets that they are times
    times = start.ravel() if isinstance(start, np.ndarray) else getattr(start, "values", start)
    if not len(times):
        raise ValueError("no start was given; give a time, a list of times, 'latest' or FIRST/LAST/STEP.")
    return list(times)


def _words(time: Any) -> str:
    """A time of any kind as ISO 8601 text, UTC."""
    if isinstance(time, str):
        return time
    if isinstance(time, xr.DataArray):
        time = time.values[()]
    if isinstance(time, np.datetime64):
        return str(time.astype("datetime64[ms]"))
    if isinstance(time, datetime) and time.tzinfo is not None:
        time = time.astimezone(UTC).replace(tzinfo=None)
    if isinstance(time, date | cftime.datetime):  # a datetime and a Timestamp are dates
        return str(time.isoformat())
    raise ValueError(
        f"start {time!r} is a {type(time).__name__} and no time; give text like 2015-11-17T22, a datetime, a "
        "datetime64, a Timestamp, a cftime date, or a list of them."
    )


def _series(words: str, calendar: str) -> list[int]:
    parts = words.split("/")
    if len(parts) != 3:
        raise ValueError(
            f"start '{words}' has {len(parts)} parts; write FIRST/LAST/STEP, as 2015-11-17T00/2015-11-17T21/3h."
        )
    first, last, step = parse(parts[0], calendar), parse(parts[1], calendar), parse_step(parts[2])
    if last < first:
        raise ValueError(
            f"start '{words}' ends before it begins; write FIRST/LAST/STEP with FIRST before LAST."
        )
    return list(range(first, last + 1, step))


def _step_of(times: NDArray[Any], moment: int) -> int:
    moments = milliseconds(times)
    nearest = int(np.abs(moments - moment).argmin())
    if moments[nearest] == moment:
        return nearest
    asked = _moment_text(times, moment)
    if not moments[0] <= moment <= moments[-1]:
        raise ValueError(
            f"start {asked} lies outside the store, which runs from {text(times[0])} to {text(times[-1])}; "
            "start inside it, or ingest that time."
        )
    raise ValueError(
        f"start {asked} is not a time step of the store; the nearest one is {text(times[nearest])}. Start there."
    )


def _moment_text(times: NDArray[Any], moment: int) -> str:
    away = moment - int(milliseconds(times[:1])[0])
    if times.dtype.kind == "M":
        return text(times[0] + np.timedelta64(away, "ms"))
    return text(times[0] + timedelta(milliseconds=away))


def _latest(store: xr.Dataset, layout: Layout, leads: int) -> int:
    """The last step with a state from which the forcing reaches the last lead."""
    last = store.sizes["time"] - 1 - (leads if layout.forcing else 0)
    wet = store["mask"] > 0.5
    for step in range(last, -1, -1):
        state = store[layout.names()].isel(time=step).where(wet)
        if all(bool(field.notnull().any()) for field in state.data_vars.values()):
            return step
    times = store["time"].values
    raise ValueError(
        f"no start of the store, which has {times.size} steps from {text(times[0])} to {text(times[-1])}, has a "
        f"state and forcing for {leads} leads; ask for fewer leads or ingest more."
    )


def _check(times: NDArray[Any], step: int, *, layout: Layout, history: int, leads: int) -> None:
    whole = joined(times)
    start = text(times[step])
    before = int(np.argmin(whole[:step][::-1])) if not whole[:step].all() else step
    if before < history - 1:
        why = (
            f"the store begins at {text(times[0])}"
            if before == step
            else f"a gap before {text(times[step - before])} interrupts them"
        )
        raise ValueError(
            f"the forecaster needs {history} states up to the start {start}, and {why}, which leaves "
            f"{before + 1}; start later."
        )
    if not layout.forcing:
        return
    after = int(np.argmin(whole[step:])) if not whole[step:].all() else times.size - 1 - step
    if after < leads:
        raise ValueError(
            f"the forcing {', '.join(layout.names('forcing'))} ends without a gap at {text(times[step + after])}, "
            f"{after} of {leads} leads after the start {start}; ask for at most {after} leads, start earlier, or "
            "ingest more forcing."
        )
