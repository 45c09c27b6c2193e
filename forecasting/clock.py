"""Times as numbers, for ``datetime64`` and every calendar of ``cftime`` alike."""

from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.times import milliseconds


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
