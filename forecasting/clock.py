"""Times as numbers, for ``datetime64`` and every calendar of ``cftime`` alike."""

from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.times import milliseconds
from data_pipelines.windows import is_irregular, joined

MONTH = (27, 32)  # days; an irregular step of this length is a calendar month


def hours(times: Any) -> NDArray[np.float64]:
    """Hours since 1970-01-01 00:00 in the calendar of the times, ``[time]``."""
    return milliseconds(np.atleast_1d(np.asarray(times))) / 3.6e6


def time_step(times: Any) -> int:
    """Step of a training record in seconds: the smallest distance between neighbours.

    Raises
    ------
    ValueError
        If there are fewer than two times.
    """
    if np.size(times) < 2:
        raise ValueError(
            f"{np.size(times)} training state(s) show no time step; a baseline needs at least 2."
        )
    return int(np.diff(milliseconds(np.asarray(times))).min()) // 1000


def shift(time: Any, steps: Any, step: int) -> NDArray[Any]:
    """Times ``steps`` steps of ``step`` seconds after ``time``, an array shaped as ``steps``."""
    count = np.asarray(steps)
    if isinstance(time, np.datetime64):
        return (time + (count * step).astype("timedelta64[s]")).astype("datetime64[ns]")
    shifted = np.empty(count.shape, dtype=object)
    shifted[...] = np.reshape([time + timedelta(seconds=int(n) * step) for n in count.ravel()], count.shape)
    return shifted


def ahead(times: Any, starts: Any, leads: int, step: int) -> NDArray[Any]:
    """Times of the ``leads`` steps after each of some steps of a time axis, ``[start, lead]``.

    Where the axis is irregular, as months are, its own times hold as far as it goes without a gap; beyond, calendar
    months follow where the step is one, else steps of ``step`` seconds.
    """
    axis, first = np.asarray(times), np.asarray(starts, dtype=np.int64)
    if not is_irregular(axis):
        rows = [shift(axis[start], np.arange(1, leads + 1), step) for start in first]
    else:
        whole = joined(axis)
        rows = [_along(axis, whole[start : start + leads], start, leads, step) for start in first.tolist()]
    return np.stack(rows)


def _along(axis: NDArray[Any], whole: NDArray[np.bool_], start: int, leads: int, step: int) -> NDArray[Any]:
    known = whole.size if whole.all() else int(np.argmin(whole))
    count = np.arange(1, leads - known + 1)
    beyond = _months_after if MONTH[0] <= step / 86400 <= MONTH[1] else _steps_after
    held = axis[start + 1 : start + known + 1]
    return np.concatenate([held, beyond(axis, axis[start + known], count, step)]) if count.size else held


def _steps_after(axis: NDArray[Any], time: Any, count: NDArray[np.int64], step: int) -> NDArray[Any]:
    return shift(time, count, step)


def _months_after(axis: NDArray[Any], time: Any, count: NDArray[np.int64], step: int) -> NDArray[Any]:
    """The place in the month is the axis' own: equally far from its start, from its end, or the same share of it."""
    parts = [_in_month(each) for each in axis]
    month, since, length = _in_month(time)
    from_start = len({offset for _, offset, _ in parts}) == 1
    from_end = len({size - offset for _, offset, size in parts}) == 1
    later = []
    for n in count.tolist():
        first = _first_of(month + n, time)
        size = _in_month(first)[2]
        offset = (
            since if from_start else size - (length - since) if from_end else round(since / length * size)
        )
        later.append(shift(first, np.array(1), offset)[()])
    return np.array(later, dtype=axis.dtype)


def _in_month(time: Any) -> tuple[int, int, int]:
    """Months since year 0, seconds since the start of the month, seconds in it."""
    if isinstance(time, np.datetime64):
        month = time.astype("datetime64[M]")
        first, after = month.astype("datetime64[s]"), (month + 1).astype("datetime64[s]")
        since, length = time.astype("datetime64[s]") - first, after - first
        return (
            int(month.astype(np.int64)) + 1970 * 12,
            int(since.astype(np.int64)),
            int(length.astype(np.int64)),
        )
    since = ((time.day - 1) * 24 + time.hour) * 3600 + time.minute * 60 + time.second
    return time.year * 12 + time.month - 1, since, time.daysinmonth * 86400


def _first_of(month: int, like: Any) -> Any:
    if isinstance(like, np.datetime64):
        return np.datetime64(month - 1970 * 12, "M").astype("datetime64[ns]")
    year, number = divmod(month, 12)
    return like.replace(year=year, month=number + 1, day=1, hour=0, minute=0, second=0, microsecond=0)


def months(times: Any) -> NDArray[np.float64]:
    """Phase of the year in months, 0 at the start of January to 12 at the end of December, ``[time]``."""
    array = np.atleast_1d(np.asarray(times))
    if array.dtype.kind == "M":
        month = array.astype("datetime64[M]")
        first = month.astype("datetime64[s]")
        length = (month + 1).astype("datetime64[s]") - first
        return month.astype(np.int64) % 12 + (array.astype("datetime64[s]") - first) / length
    return np.array(
        [
            time.month - 1 + (time.day - 1 + (time.hour + time.minute / 60) / 24) / time.daysinmonth
            for time in array.ravel()
        ]
    )
