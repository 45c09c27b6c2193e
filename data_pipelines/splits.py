"""Which part of the time is for training, which for choosing, which for the final verdict."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import Times, calendar_of, milliseconds, parse, text

SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}

Splits = dict[str, tuple[str, str]]


def default_splits(times: Times) -> Splits:
    """The first 70 % of the steps to train, the next 15 % to validate, the last 15 % to test.

    A series of one or two steps leaves the later ones out.
    """
    edges = np.round(np.cumsum([0.0, *SHARES.values()]) * len(times)).astype(int)
    edges[1:] = np.maximum(edges[1:], 1)
    return {
        name: (text(times[first]), text(times[last - 1]))
        for name, first, last in zip(SHARES, edges[:-1], edges[1:], strict=True)
        if last > first
    }


def checked_splits(splits: Mapping[str, Sequence[Any]], times: Times) -> Splits:
    """Given splits with their ends moved to the first and last step inside.

    Raises
    ------
    ValueError
        If a split is upside down, holds no step, overlaps another, or none is called ``train``.
    """
    if "train" not in splits:
        raise ValueError(
            f"the splits are {', '.join(splits) or 'empty'}; statistics need one called 'train'. Name it so."
        )
    calendar, moments = calendar_of(times), milliseconds(times)
    taken: dict[str, tuple[int, int]] = {}
    result: Splits = {}
    for name, ends in splits.items():
        if isinstance(ends, str) or len(ends) != 2:
            raise ValueError(
                f"split '{name}' is {ends!r}; give its first and last time, like ('2015-11-16', '2015-11-17')."
            )
        first, last = parse(ends[0], calendar), parse(ends[1], calendar, end=True)
        inside = np.flatnonzero((moments >= first) & (moments <= last))
        if not inside.size:
            raise ValueError(
                f"split '{name}' from {ends[0]} to {ends[1]} holds no step of the series, which runs from "
                f"{text(times[0])} to {text(times[-1])}; move its ends inside."
            )
        for other, (other_first, other_last) in taken.items():
            if inside[0] <= other_last and other_first <= inside[-1]:
                raise ValueError(
                    f"split '{name}' ({ends[0]} to {ends[1]}) overlaps split '{other}'; a score on steps seen in "
                    "training says nothing. Move one of them."
                )
        taken[name] = (int(inside[0]), int(inside[-1]))
        result[name] = (text(times[inside[0]]), text(times[inside[-1]]))
    return result


def split_numbers(splits: Splits, times: Times) -> NDArray[np.int64]:
    """Number of the split that each step is in, in their order; -1 of none, ``[T]``."""
    numbers, moments = np.full(len(times), -1), milliseconds(times)
    for number, ends in enumerate(splits.values()):
        first, last = (parse(end, calendar_of(times)) for end in ends)
        numbers[(moments >= first) & (moments <= last)] = number
    return numbers


def read_splits(ds: xr.Dataset) -> Splits:
    """Splits that a store keeps in its root attribute, or the default ones where it keeps none."""
    kept = ds.attrs.get("splits")
    if kept is None:
        return default_splits(ds["time"].values)
    decoded = json.loads(kept) if isinstance(kept, str) else kept
    return {name: (str(ends[0]), str(ends[1])) for name, ends in decoded.items()}


def steps_of_splits(ds: xr.Dataset, names: str | Sequence[str] | None) -> NDArray[np.bool_]:
    """Which steps lie in the named splits, ``[T]``; None is every step.

    Raises
    ------
    ValueError
        If the store has no split of that name.
    """
    times: Times = ds["time"].values
    if names is None:
        return np.ones(len(times), dtype=bool)
    splits, moments = read_splits(ds), milliseconds(times)
    allowed = np.zeros(len(times), dtype=bool)
    for name in [names] if isinstance(names, str) else names:
        if name not in splits:
            raise ValueError(
                f"split '{name}' is not in the store, which has {', '.join(splits)}; name one of these."
            )
        first, last = (parse(end, calendar_of(times)) for end in splits[name])
        allowed |= (moments >= first) & (moments <= last)
    return allowed
