"""Damaged files and steps left out of a series, each with its reason: they become gaps, which no window crosses."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.remarks import Record
from data_pipelines.schema import DamageError
from data_pipelines.series import Series
from data_pipelines.sources.files import open_dataset
from data_pipelines.times import Times, milliseconds, text
from data_pipelines.windows import joined

READ_BYTES = 32 * 2**20  # of float32 read at once


def sound_files(paths: Sequence[Path | str]) -> tuple[list[Path | str], list[Record]]:
    """Files that open, and a record of each that does not.

    Raises
    ------
    ValueError
        If none does.
    """
    kept: list[Path | str] = []
    skipped: list[Record] = []
    for path in paths:
        try:
            open_dataset(path).close()
        except DamageError as error:
            skipped.append(skipped_file(path, error))
        else:
            kept.append(path)
    if paths and not kept:
        raise ValueError(skipped[0]["why"])
    return kept, skipped


def skipped_file(path: Path | str, error: DamageError) -> Record:
    """The record of a file that is left out."""
    return {"file": Path(str(path)).name, "time": None, "why": str(error)}


def sound_steps(found: Sequence[Series], rows: slice, columns: slice) -> tuple[list[Series], list[Record]]:
    """Series on the steps at which every one of them can be read and holds plausible values.

    Every field is read for it.

    Raises
    ------
    ValueError
        If no step is left.
    """
    skipped: list[Record] = []
    sound = []
    for series in found:
        bad = dict(_bad_steps(series, rows, columns))
        for step, error in bad.items():
            file = Path(str(error).partition(":")[0]).name
            skipped.append({"file": file, "time": text(series.times[step]), "why": str(error)})
        if len(bad) == len(series.times):
            raise ValueError(str(next(iter(bad.values()))))
        sound.append(only_steps(series, np.setdiff1d(np.arange(len(series.times)), list(bad))))
    told = {record["time"] for record in skipped}
    shared = milliseconds(sound[0].times)
    for series in sound[1:]:
        shared = np.intersect1d(shared, milliseconds(series.times))
    common = []
    for series in sound:
        stays = np.isin(milliseconds(series.times), shared)
        for time in series.times[~stays]:
            if text(time) not in told:
                told.add(text(time))
                lacking = next(
                    other for other in sound if not np.isin(milliseconds(time), milliseconds(other.times))
                )
                why = f"'{lacking.names[0]}' is missing at {text(time)}, where '{series.names[0]}' is given."
                skipped.append({"file": None, "time": text(time), "why": why})
        common.append(only_steps(series, np.flatnonzero(stays)))
    if not shared.size:
        raise ValueError(
            f"{found[0].where}: no time is left at which every variable is sound; choose fewer with --variables."
        )
    return common, sorted(skipped, key=lambda record: str(record["time"]))


def only_steps(series: Series, steps: NDArray[np.int64]) -> Series:
    """A series on some of its steps."""
    return replace(series, times=series.times[steps], origin=series.origin[steps])


def within(given: Times, asked: Times) -> NDArray[np.bool_]:
    """Which of the times asked for do not lie in a gap of those given, ``[T]``."""
    moments, goals = milliseconds(given), milliseconds(asked)
    first = np.clip(np.searchsorted(moments, goals, side="right") - 1, 0, len(moments) - 1)
    whole = np.append(joined(given), True)
    return np.asarray((moments[first] == goals) | whole[first])


def _bad_steps(series: Series, rows: slice, columns: slice) -> Iterator[tuple[int, DamageError]]:
    levels = 1 if series.depths is None else len(series.depths)
    field = 4 * levels * (rows.stop - rows.start) * (columns.stop - columns.start) * len(series.names)
    size = int(np.clip(READ_BYTES // field, 1, len(series.times)))
    for begin in range(0, len(series.times), size):
        part = range(begin, min(begin + size, len(series.times)))
        try:
            series.read(part, rows, columns)
        except DamageError:
            for step in part:
                try:
                    series.read([step], rows, columns)
                except DamageError as error:
                    yield step, error
