"""Which days a simulation is of: stretches of time with weather of their own, on one axis with gaps between them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.basins.settings import Basin, require_splits
from data_pipelines.splits import Splits, checked_splits, default_splits
from data_pipelines.times import Times
from oceanop.dynamics.climate import DAY
from oceanop.dynamics.weather import SPLITS

FIRST_YEAR = 2001
_GAP = 30  # days at least between two segments, so that nothing takes them for one series


@dataclass(frozen=True, eq=False)
class Segment:
    """One run of the model.

    Attributes
    ----------
    split
        Which kind of weather and which seeds it has.
    first
        Number of its first step on the store's time axis.
    times
        Of its steps, ``[T]``.
    """

    split: str
    first: int
    times: NDArray[np.datetime64]

    @property
    def steps(self) -> int:
        """How many steps are kept."""
        return self.times.size

    def seed(self, seed: int, member: int) -> list[int]:
        """What numbers of a member are drawn from: no two splits or members share one."""
        return [seed, list(SPLITS).index(self.split), member]


@dataclass(frozen=True, eq=False)
class Calendar:
    """All segments, their times together, and the splits of a store."""

    segments: tuple[Segment, ...]
    times: Times
    splits: Splits


def make_calendar(
    basin: Basin, *, days: float | None, splits: Mapping[str, float] | None, every: float
) -> Calendar:
    """Lay out what is asked for: ``days`` in one piece, or a segment for each split.

    Every segment begins with a year, in January, or for a summer with July, and its spin-up.

    Parameters
    ----------
    days
        In one piece, of which the first 70 % are for training, 15 % for validation and 15 % for the test.
    splits
        Days of each split, each of a seed of its own; the basin's own where both are None.
    every
        Between two states, s.

    Raises
    ------
    ValueError
        If both are given, a split is unknown, or days are no whole number of steps.
    """
    if days is not None and splits is not None:
        raise ValueError(
            "both a number of days and splits are given; days make one series, splits one of each. Leave one out."
        )
    if days is not None and not 0 < days < float("inf"):
        raise ValueError(f"{days:g} days are asked for; it has to be a positive number.")
    wanted = {"train": days} if days is not None else dict(basin.splits if splits is None else splits)
    try:
        require_splits(wanted, forced=basin.weather is not None)
    except ValueError as error:
        raise ValueError(f"{error}.") from None
    spin_up = 0.0 if basin.weather is None else basin.weather.spin_up
    month = 7 if basin.weather is not None and basin.weather.season == "summer" else 1
    segments: list[Segment] = []
    first, year = 0, FIRST_YEAR
    for split, length in wanted.items():
        steps = round(length * DAY / every)
        if steps < 1 or abs(steps * every - length * DAY) > 1e-6 * every:
            raise ValueError(
                f"{length:g} days hold no whole number of steps of {every:g} s; give days, or an interval, that do."
            )
        begin = np.datetime64(f"{year}-{month:02d}-01", "ns") + _nanoseconds(spin_up * DAY)
        times = begin + np.arange(steps) * _nanoseconds(every)
        segments.append(Segment(split, first, times))
        first += steps
        after = times[-1] + np.timedelta64(_GAP, "D")
        while np.datetime64(f"{year}-{month:02d}-01", "ns") < after:
            year += 1
    times = np.concatenate([segment.times for segment in segments])
    if days is not None:
        return Calendar(tuple(segments), times, default_splits(times))
    ends = {segment.split: (segment.times[0], segment.times[-1]) for segment in segments}
    return Calendar(tuple(segments), times, checked_splits(ends, times))


def _nanoseconds(seconds: float) -> np.timedelta64:
    return np.timedelta64(round(seconds * 1e3), "ms").astype("timedelta64[ns]")
