"""Levels in a table: any CSV file with a time and a level, NOAA CO-OPS among them, and UHSLC's without a heading."""

import re
from io import StringIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.gauges.record import Facts, Record, factor_of

_LEVEL = ("verified", "preliminary", "water level", "waterlevel", "water_level", "sea level", "sea_level", "sealevel",
          "level", "height", "slev", "zos", "ssh", "value")  # fmt: skip
_FACTS = {"name": "name", "station": "name", "site": "name", "latitude": "latitude", "lat": "latitude",
          "longitude": "longitude", "lon": "longitude", "time zone": "time_zone", "timezone": "time_zone",
          "time_zone": "time_zone", "unit": "units", "units": "units", "datum": "datum",
          "missing": "missing"}  # fmt: skip
_NUMBERS = ("latitude", "longitude", "missing")
_WITH_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_UHSLC = re.compile(r"\s*\d{4},\s*\d{1,2},\s*\d{1,2},\s*\d{1,2},\s*-?\d+\s*")
UHSLC_MISSING = -32767
_ASIDE = re.compile(r"[(\[](.*?)[)\]]|:\s*(\w+)\s*$|_(mm|cm|m|ft)$")  # level (m), level:m, level_m
_NAMES = ("name", "station", "site", "gauge", "station_name", "station name", "id")


def is_uhslc_table(content: str) -> bool:
    """Whether rows are year, month, day, hour and millimetres, with no heading."""
    return _UHSLC.fullmatch(content.split("\n", 1)[0]) is not None


def read_uhslc_table(content: str, where: str) -> list[Record]:
    """Hourly or daily CSV of the University of Hawaii Sea Level Center: UTC, millimetres above the station's zero."""
    table = pd.read_csv(StringIO(content), header=None, names=["year", "month", "day", "hour", "level"])
    times = pd.to_datetime(table[["year", "month", "day", "hour"]]).to_numpy().astype("datetime64[ns]")
    levels = table["level"].to_numpy(np.float64)
    levels[levels == UHSLC_MISSING] = np.nan
    facts = Facts(time_zone="UTC", units="mm", datum="station zero")
    return [Record(where, times, levels, facts, 0, "UHSLC table")]


def read_table(content: str, where: str) -> list[Record]:
    """A CSV file with a heading.

    The time stands in one column or in two, date and time; its zone in the heading, as in ``Time (GMT)``, in every
    time, as in ``2017-01-01T00:00Z``, or in a comment line ``# time zone: UTC``. The unit stands in the heading, as in
    ``Verified (ft)`` or ``level_m``, or in ``# units: cm``; ``# latitude``, ``# longitude``, ``# name``, ``# datum``
    and ``# missing`` are read as well. Columns ``latitude`` and ``longitude`` give the place, and a column ``name``
    tells several gauges of one table apart. NOAA's verified levels are completed by preliminary ones.

    Raises
    ------
    ValueError
        If there is no time, no level, or more than one column could be it.
    """
    comments = [line.lstrip("# \t") for line in content.splitlines() if line.startswith("#")]
    heading = next((line for line in content.splitlines() if line.strip() and not line.startswith("#")), "")
    separator = max(",;\t", key=heading.count)
    try:
        table = pd.read_csv(
            StringIO(content), comment="#", skipinitialspace=True, sep=separator, dtype=str, keep_default_na=False,
            index_col=False,
        )  # fmt: skip
    except ValueError as error:
        reason = str(error).strip().rstrip(".").splitlines()[0] if str(error).strip() else "it is empty"
        raise ValueError(
            f"{where} is no table that can be read ({reason}); give a CSV file with a heading, a time and a level."
        ) from error
    table.columns = [str(column).strip() for column in table.columns]
    stamps, headings = _stamps(table, where)
    columns = _level_columns(table, headings, where)
    levels = _numbers(table[columns[0]], where)
    for column in columns[1:]:
        levels = np.where(np.isfinite(levels), levels, _numbers(table[column], where))
    said = _said(comments)
    times, zone = _times(stamps, headings, where)
    units = next((unit for column in columns if (unit := _unit_of(column)) is not None), None)
    records = []
    for name, rows in _gauges(table, where):
        known = {"time_zone": zone, "units": units} | said | _place(table[rows], where)
        facts = Facts(**(known if name is None else known | {"name": name}))  # type: ignore[arg-type]
        label = where if name is None else f"{where}: {name}"
        records.append(Record(label, times[rows], levels[rows], facts, 0, "table"))
    return records


def _gauges(table: pd.DataFrame, where: str) -> list[tuple[str | None, NDArray[np.bool_]]]:
    """Name and rows of every gauge of a table; no name where no column has one."""
    column = next((column for column in table.columns if column.lower() in _NAMES), None)
    if column is None:
        return [(None, np.ones(len(table), dtype=bool))]
    names = table[column].str.strip()
    if (names == "").any():
        raise ValueError(
            f"{where}: some rows name no gauge in column '{column}'; name each, or drop the column."
        )
    return [(str(name), (names == name).to_numpy()) for name in dict.fromkeys(names)]


def _place(table: pd.DataFrame, where: str) -> dict[str, float]:
    """Position in columns, one for all rows of a gauge."""
    found = {}
    for column in table.columns:
        name = _FACTS.get(column.lower())
        if name in ("latitude", "longitude"):
            values = np.unique(_numbers(table[column], where))
            if values.size != 1 or not np.isfinite(values[0]):
                raise ValueError(
                    f"{where}: column '{column}' holds {values.size} values for one gauge; give each gauge one place, "
                    "and several gauges a column 'name'."
                )
            found[name] = float(values[0])
    return found


def _stamps(table: pd.DataFrame, where: str) -> tuple[pd.Series, list[str]]:
    named = [column for column in table.columns if re.search(r"date|time", column, re.IGNORECASE)]
    both = [column for column in named if re.search(r"date", column, re.IGNORECASE)]
    if not named:
        raise ValueError(
            f"{where}: no column is named like a time ({', '.join(table.columns)}); name it 'time' in the heading."
        )
    if len(named) == 1 or (both and re.search(r"time", both[0], re.IGNORECASE)):
        return table[named[0]], named[:1]
    if not both:
        return table[named[0]], named[:1]
    clock = next(column for column in named if column not in both[:1])
    return table[both[0]] + " " + table[clock], [both[0], clock]


def _level_columns(table: pd.DataFrame, headings: list[str], where: str) -> list[str]:
    others = [
        column
        for column in table.columns
        if column not in headings and column.lower() not in ("latitude", "longitude", "lat", "lon", *_NAMES)
    ]
    if {"verified", "preliminary"} & {_bare(column) for column in others}:
        return [name for kind in ("verified", "preliminary") for name in others if _bare(name) == kind]
    known = [column for column in others if any(word in column.lower() for word in _LEVEL)]
    found = known if known else others
    exact = [column for column in found if _bare(column) in _LEVEL]
    found = exact if len(exact) == 1 else found
    if len(found) != 1:
        raise ValueError(
            f"{where}: {'several columns' if found else 'no column'} could be the level "
            f"({', '.join(found) or ', '.join(table.columns)}); keep a time and one level, named 'level'."
        )
    return found


def _bare(column: str) -> str:
    return _ASIDE.sub("", column).strip().lower()


def _unit_of(column: str) -> str | None:
    """What stands in parentheses or behind a colon, if it is a length."""
    found = _ASIDE.search(column)
    unit = None if found is None else found[1] or found[2] or found[3]
    return unit if unit and factor_of(unit) is not None else None


def _numbers(column: pd.Series, where: str) -> NDArray[np.float64]:
    written = column.str.strip()
    empty = written.str.lower().isin(["", "-", "nan", "na", "n/a", "null", "none"])
    numbers = pd.to_numeric(written.where(~empty), errors="coerce")
    wrong = numbers.isna() & ~empty
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise ValueError(
            f"{where}: row {row + 1} of column '{column.name}' holds '{written.iloc[row]}', which is no number; leave "
            "the cell empty where there is no level."
        )
    return numbers.to_numpy(np.float64, copy=True)


def _times(stamps: pd.Series, headings: list[str], where: str) -> tuple[NDArray[np.datetime64], str | None]:
    zone = next((said for name in headings if (said := _zone_of(name)) is not None), None)
    told = stamps.str.contains(_WITH_ZONE).to_numpy()
    try:
        if told.all() and told.size:
            moments = pd.to_datetime(stamps, utc=True, format="ISO8601").dt.tz_localize(None)
            return moments.to_numpy().astype("datetime64[ns]"), "UTC"
        moments = pd.to_datetime(stamps.str.replace("/", "-"), format="ISO8601")
        return moments.to_numpy().astype("datetime64[ns]"), zone
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: the times, such as '{stamps.iloc[0]}', cannot be read; write them as 2017-09-11 10:00, and the "
            "zone in all of them or in none."
        ) from error


def _zone_of(heading: str) -> str | None:
    """What stands in parentheses, as in ``Time (GMT)``, or UTC and GMT as words of their own, as in ``time_utc``."""
    aside = re.search(r"[(\[](.*?)[)\]]", heading)
    word = re.search(r"(?<![a-z])(utc|gmt)(?![a-z])", heading, re.IGNORECASE)
    return aside[1] if aside else word[1] if word else None


def _said(comments: list[str]) -> dict[str, str | float]:
    said: dict[str, str | float] = {}
    for line in comments:
        key, colon, value = line.partition(":")
        name = _FACTS.get(key.strip().lower())
        if colon and name:
            said[name] = float(value) if name in _NUMBERS else value.strip()
    return said
