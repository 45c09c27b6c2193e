"""Which start steps give a whole window: the time step of a series, its gaps, and what lies between them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.times import Times, milliseconds, text

# Months of 28 to 31 days are one step; a lost or doubled step is at least a factor two away.
TOLERANCE = 0.1


def time_step(times: Times) -> np.timedelta64 | None:
    """Median distance of neighbouring times (ms); None for a single time.

    Parameters
    ----------
    times
        Strictly increasing ``[T]``.
    """
    if len(times) < 2:
        return None
    steps = np.sort(np.diff(milliseconds(times)))
    return np.timedelta64(int(steps[(len(steps) - 1) // 2]), "ms")


def joined(times: Times) -> NDArray[np.bool_]:
    """Whether each time is one step before the next, ``[T - 1]``."""
    step = time_step(times)
    if step is None:
        return np.zeros(0, dtype=bool)
    ratio = np.diff(milliseconds(times)) / step.astype(np.int64)
    return np.abs(ratio - 1) <= TOLERANCE


def is_irregular(times: Times) -> bool:
    """Whether any two neighbours that are no gap apart differ from the time step at all."""
    step = time_step(times)
    if step is None:
        return False
    distances = np.diff(milliseconds(times))
    length = int(step.astype(np.int64))
    return bool((distances[distances <= length * (1 + TOLERANCE)] != length).any())


def gaps(times: Times) -> list[dict[str, Any]]:
    """Places where steps are missing: last time before, first time after, and how many steps lack."""
    step = time_step(times)
    if step is None:
        return []
    ratio = np.diff(milliseconds(times)) / step.astype(np.int64)
    return [
        {
            "after": text(times[i]),
            "before": text(times[i + 1]),
            "missing_steps": max(round(float(ratio[i])) - 1, 1),
        }
        for i in np.flatnonzero(ratio > 1 + TOLERANCE)
    ]


def window_starts(times: Times, length: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """First steps of all windows of ``length`` steps that cross no gap and use allowed steps only.

    Parameters
    ----------
    times
        Strictly increasing ``[T]``.
    length
        Steps of a window, at least 1.
    allowed
        Which steps may be used, ``[T]``; None for all.

    Returns
    -------
    Increasing step numbers; empty where no window fits.
    """
    usable = np.ones(len(times), dtype=bool) if allowed is None else np.asarray(allowed, dtype=bool)
    if length > len(times):
        return np.zeros(0, dtype=np.int64)
    # Running counts: a window is whole if none of its steps is barred and none of its inner joints broken.
    barred = np.concatenate([[0], np.cumsum(~usable)])
    broken = np.concatenate([[0], np.cumsum(~joined(times))])
    first = np.arange(len(times) - length + 1)
    whole = (barred[first + length] == barred[first]) & (broken[first + length - 1] == broken[first])
    return first[whole].astype(np.int64)


def longest_run(times: Times, allowed: NDArray[np.bool_] | None = None) -> int:
    """Steps of the longest stretch without a gap among the allowed steps."""
    usable = np.ones(len(times), dtype=bool) if allowed is None else np.asarray(allowed, dtype=bool)
    connected = np.concatenate([[False], joined(times)])
    best = run = 0
    for use, link in zip(usable, connected, strict=True):
        run = (run + 1 if link else 1) if use else 0
        best = max(best, run)
    return best
