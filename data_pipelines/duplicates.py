"""Times that occur twice, as where files overlap or a forecast replaces an earlier one: which of them stays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_pipelines.remarks import Record
from data_pipelines.schema import check_increasing
from data_pipelines.sources.source import SourceField
from data_pipelines.times import Times, milliseconds, text

POLICIES = ("error", "identical", "first", "last")


def require_policy(policy: str) -> None:
    """Refuse a policy that is none.

    Raises
    ------
    ValueError
        Naming those there are.
    """
    if policy not in POLICIES:
        raise ValueError(f"duplicates '{policy}' is not known; choose one of {', '.join(POLICIES)}.")


def without_duplicates(
    times: Times,
    origin: NDArray[np.int64],
    policy: str,
    *,
    files: Sequence[str],
    fields: Sequence[Sequence[SourceField]],
    levels: Sequence[list[int]],
) -> tuple[NDArray[np.int64], list[Record]]:
    """Which steps of a sorted time axis stay.

    Parameters
    ----------
    times
        Sorted ``[T]``, of equal ones those first that were given first.
    origin
        File and step in the file of each, ``[T, 2]``.
    policy
        ``error`` refuses equal times; ``identical`` keeps the first of steps with equal values, and refuses others;
        ``first`` and ``last`` keep the step of the file that was given first or last.
    files, fields, levels
        Of each file its name, its fields (one a component) and the levels that are read.

    Returns
    -------
    kept
        Increasing step numbers.
    dropped
        One record for each pair of files.

    Raises
    ------
    ValueError
        If two steps have one time and the policy allows for neither.
    """
    names = [files[file] for file in origin[:, 0]]
    if policy == "error":
        check_increasing(times, names)
        return np.arange(len(times)), []
    moments = milliseconds(times)
    starts = np.flatnonzero(np.diff(moments, prepend=moments[:1] - 1))
    stops = np.append(starts[1:], len(times))
    kept = stops - 1 if policy == "last" else starts
    found: dict[tuple[str, str], Record] = {}
    for start, stop, stays in zip(starts, stops, kept, strict=True):
        for step in range(start, stop):
            if step == stays:
                continue
            if policy == "identical":
                _require_equal(times[step], origin[[stays, step]], fields, levels)
            when, pair = text(times[step]), (names[stays], names[step])
            record = found.setdefault(
                pair,
                {"variables": ", ".join(field.name for field in fields[0]), "kept": pair[0], "dropped": pair[1],
                 "first": when, "last": when, "steps": 0},
            )  # fmt: skip
            record["last"], record["steps"] = when, record["steps"] + 1
    return kept, list(found.values())


def _require_equal(
    time: object,
    origin: NDArray[np.int64],
    fields: Sequence[Sequence[SourceField]],
    levels: Sequence[list[int]],
) -> None:
    """Refuse two steps of one time whose values differ."""
    (one, first), (other, second) = origin.tolist()
    for here, there in zip(fields[one], fields[other], strict=True):
        rows, columns = (slice(0, size) for size in here.positions.shape)
        a = here.fetch(slice(first, first + 1), levels[one], rows, columns)
        b = there.fetch(slice(second, second + 1), levels[other], rows, columns)
        differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        if differ.any():
            raise ValueError(
                f"{there.where} at {text(time)} differs from {here.where} at the same time on {int(differ.sum())} "
                f"of {differ.size} cells; choose one of them with --duplicates first or last (the order the files are "
                "given in), or leave one file out."
            )
