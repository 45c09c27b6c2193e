"""Levels in a table: any CSV file with a time and a level, NOAA CO-OPS among them, and UHSLC's without a heading."""

import re
import warnings
from io import StringIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipelines.gauges.record import Facts, Record, factor_of, number_of, utc_offset

_LEVEL = ("verified", "preliminary", "water level", "waterlevel", "water_level", "sea level", "sea_level", "sealevel",
          "level", "height", "slev", "zos", "ssh", "value")  # fmt: skip
_FACTS = {"name": "name", "station": "name", "site": "name", "latitude": "latitude", "lat": "latitude",
          "longitude": "longitude", "lon": "longitude", "time zone": "time_zone", "timezone": "time_zone",
          "time_zone": "time_zone", "unit": "units", "units": "units", "datum": "datum",
          "missing": "missing"}  # fmt: skip
_NUMBERS = ("latitude", "longitude", "missing")
# Lengths that a gauge's table may hold beside the level, or in its place
_OTHER = re.compile(
    r"predict|astro|harmonic|residual|surge|wave|swell|anomal|error|sigma|std|flag|depth", re.IGNORECASE
)
_WITH_ZONE = re.compile(r"\d(Z|[+-]\d\d(?::?\d\d)?)$")
_WHEN = re.compile(r"(?<![a-z])(date|time|datetime|timestamp)(?![a-z])|^(date|time)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"^\s*([+-]?\d*),(\d+)\s*$")
_UHSLC = re.compile(r"\s*\d{4},\s*\d{1,2},\s*\d{1,2},\s*\d{1,2},\s*-?\d+\s*")
UHSLC_MISSING = -32767
_ASIDE = re.compile(r"[(\[](.*?)[)\]]|:\s*(\w+)\s*$|_(mm|cm|m|ft)$")  # level (m), level:m, level_m
_NAMES = ("name", "station", "site", "gauge", "station_name", "station name", "id")


def is_uhslc_table(content: str) -> bool:
    """Whether rows are year, month, day, hour and millimetres, with no heading."""
    return _UHSLC.fullmatch(content.split("\n", 1)[0]) is not None


def read_uhslc_table(content: str, where: str) -> list[Record]:
    """Hourly CSV of the University of Hawaii Sea Level Center: UTC, millimetres above the station's zero.

    Raises
    ------
    ValueError
        If a row is not year, month, day, hour and level.
    """
    try:
        table = pd.read_csv(StringIO(content), header=None, names=["year", "month", "day", "hour", "level"])
        levels = table["level"].to_numpy(np.float64, copy=True)
        dates = pd.to_datetime(table[["year", "month", "day", "hour"]])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: the rows are not year, month, day, hour and millimetres "
            f"({str(error).splitlines()[0].rstrip('.')}); fetch the file anew."
        ) from error
    levels[levels == UHSLC_MISSING] = np.nan
    facts = Facts(time_zone="UTC", units="mm", datum="station zero")
    return [Record(where, dates.to_numpy(), levels, facts, 0, "UHSLC table")]


def read_table(content: str, where: str) -> list[Record]:
    """A CSV file with a heading.

    The time stands in one column or in two, date and time; its zone in the heading, as in ``Time (GMT)``, in every
    time, as in ``2017-01-01T00:00Z``, or in a comment line ``# time zone: UTC``. The unit stands in the heading, as in
    ``Verified (ft)`` or ``level_m``, or in ``# units: cm``; ``# latitude``, ``# longitude``, ``# name``, ``# datum``
    and ``# missing`` are read as well. Columns ``latitude`` and ``longitude`` give the place, and a column ``name``
    tells several gauges of one table apart. NOAA's verified levels are completed by preliminary ones. Columns are
    parted by commas, tabs or semicolons; beside the latter two a comma is a decimal one.

    Raises
    ------
    ValueError
        If there is no time, no level, more than one column could be it, or comments and heading disagree.
    """
    table, comments = _table(content, where)
    stamps, headings = _stamps(table, where)
    columns = _level_columns(table, headings, where)
    levels = _numbers(table[columns[0]], where)
    for column in columns[1:]:
        levels = np.where(np.isfinite(levels), levels, _numbers(table[column], where))
    said = _said(comments, where)
    named = [zone for zone in (said.pop("time_zone", None), *map(_zone_of, headings)) if zone is not None]
    times, zone = _times(stamps, [str(each) for each in named], where)
    units = [unit for column in columns if (unit := _unit_of(column)) is not None]
    if len({factor_of(unit) for unit in units}) > 1:
        raise ValueError(f"{where}: the levels are in {' and in '.join(units)}; write them in one unit.")
    records = []
    for name, rows in _gauges(table, where):
        columned = {"units": units[0] if units else None, "name": name} | _place(table[rows], where)
        label = where if name is None else f"{where}: {name}"
        facts = Facts(time_zone=zone, **columned).over(Facts(**said), label, of="comments")  # type: ignore[arg-type]
        records.append(Record(label, times[rows], levels[rows], facts, 0, "table"))
    return records


def _table(content: str, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Cells as text, decimal points for commas, and the lines of comments."""
    lines = [line.strip(" \r") for line in content.splitlines()]
    comments = [line.lstrip("# \t") for line in lines if line.startswith("#")]
    rows = [line for line in lines if line and not line.startswith("#")]
    separator = max(",;\t", key=rows[0].count) if rows else ","
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row of more cells than the heading
            table = pd.read_csv(
                # Separators behind the last cell part nothing
                StringIO("\n".join(row.rstrip(separator + " ") for row in rows)), skipinitialspace=True,
                sep=separator, dtype=str, keep_default_na=False, index_col=False,
            ).fillna("")  # fmt: skip
    except pd.errors.ParserWarning as warning:
        raise ValueError(
            f"{where}: rows have more cells than the heading; part columns by semicolons where commas are decimal, and "
            "name every column."
        ) from warning
    except ValueError as error:
        reason = str(error).strip().rstrip(".").splitlines()[0] if str(error).strip() else "it is empty"
        raise ValueError(
            f"{where} is no table that can be read ({reason}); give a CSV file with a heading, a time and a level."
        ) from error
    table.columns = [str(column).strip() for column in table.columns]
    if separator != ",":
        table = table.apply(lambda column: column.str.replace(_DECIMAL_COMMA, r"\1.\2", regex=True))
    return table, comments


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
    named = [column for column in table.columns if _WHEN.search(column)]
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
    if others and all(_OTHER.search(column) for column in others):
        raise ValueError(
            f"{where}: {', '.join(others)} is no measured level; give the level of the water itself, in a column named "
            "'level'."
        )
    others = [column for column in others if not _OTHER.search(column)]
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


def _times(stamps: pd.Series, named: list[str], where: str) -> tuple[NDArray[np.datetime64], str | None]:
    """Times, and the zone that they are in: UTC where every one tells its own, else what is named, None if nothing."""
    offsets = {utc_offset(zone) for zone in named}
    if len(offsets) > 1:
        raise ValueError(
            f"{where}: comments and heading name the zones {' and '.join(named)}; keep the one that the times are in."
        )
    written = stamps.str.strip().str.replace("/", "-")
    zones = written.str.extract(_WITH_ZONE)[0]
    zoned = bool(zones.notna().all()) and len(zones) > 0
    own = {utc_offset(zone) for zone in zones.unique()} if zoned else set()
    if zoned and offsets and not offsets - {None} <= own:
        raise ValueError(
            f"{where}: the zone is named {named[0]}, and the times, such as '{stamps.iloc[0]}', tell another; keep one."
        )
    # Anything but a date is found below, with its row
    moments = pd.to_datetime(written, utc=True, format="ISO8601", errors="coerce")
    wrong = (moments.isna() & (written != "")).to_numpy() | (zones.notna() & (not zoned)).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{where}: the time of row {row + 1}, '{stamps.iloc[row]}', cannot be read; write times as 2017-09-11 "
            "10:00, and the zone in all of them or in none."
        )
    return moments.dt.tz_localize(None).to_numpy(), "UTC" if zoned else named[0] if named else None


def _zone_of(heading: str) -> str | None:
    """What stands in parentheses, as in ``Time (GMT)``, or UTC and GMT as words of their own, as in ``time_utc``."""
    aside = re.search(r"[(\[](.*?)[)\]]", heading)
    word = re.search(r"(?<![a-z])(utc|gmt)(?![a-z])", heading, re.IGNORECASE)
    return aside[1] if aside else word[1] if word else None


def _said(comments: list[str], where: str) -> dict[str, str | float]:
    said: dict[str, str | float] = {}
    for line in comments:
        key, colon, value = line.partition(":")
        name = _FACTS.get(key.strip().lower())
        if colon and name:
            said[name] = (
                number_of(value, f"{where}: '# {key.strip()}'") if name in _NUMBERS else value.strip()
            )
    return said
