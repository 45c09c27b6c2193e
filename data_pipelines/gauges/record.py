"""What a gauge file says, what its reader is told beside it, and the labelled series that both make."""

import re
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import text
from data_pipelines.units import normalised

FARTHEST = 20.0  # m from the median; the highest tide on Earth, in the Bay of Fundy, reaches 9 m from it
NOT_STATED = "not stated"
# Words that headings of gauges have for a length, and no others: a library of units takes "in" or "pt" for one too
_LENGTHS = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("ft", "feet", "foot"), 0.3048),
    **dict.fromkeys(("cm", "centimeters", "centimetres", "centimeter", "centimetre"), 0.01),
    **dict.fromkeys(("mm", "millimeters", "millimetres", "millimeter", "millimetre"), 0.001),
}
# One offset throughout the year; names of summer time or of places, which change theirs, are not among them
_ZONES = {
    "utc": 0.0,
    "gmt": 0.0,
    "z": 0.0,
    "ut": 0.0,
    "wet": 0.0,
    "met": 1.0,
    "mez": 1.0,
    "cet": 1.0,
    "eet": 2.0,
}
_STANDARD = ("lst", "local standard time", "standard time")


@dataclass(frozen=True)
class Facts:
    """What is known of a gauge beside its levels; None where it is not.

    Attributes
    ----------
    name
        Of the place.
    latitude, longitude
        Degrees north and east.
    time_zone
        Of the written times: ``UTC``, ``MET``, ``+01:00``, ``-5``.
    units
        Of the written levels.
    datum
        What the levels are measured from.
    missing
        Number that stands where no level is.
    """

    name: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str | None = None
    units: str | None = None
    datum: str | None = None
    missing: float | None = None

    def over(self, written: "Facts", where: str, *, of: str = "file") -> "Facts":
        """These facts, and what a file, or its comments, write where they say nothing.

        Raises
        ------
        ValueError
            If both say something, and not the same.
        """
        merged: dict[str, Any] = {}
        for field in fields(self):
            told, found = getattr(self, field.name), getattr(written, field.name)
            if told is not None and found is not None and not _same(field.name, told, found):
                key = field.name.replace("_", " ")
                sides = (
                    f"the file says {key} {found} and {told} was given; leave out what the file says itself, or"
                    if of == "file"
                    else f"the {of} say {key} {found} and the columns {told};"
                )
                raise ValueError(f"{where}: {sides} correct the file.")
            merged[field.name] = found if told is None else told
        return Facts(**merged)


def _same(name: str, told: Any, found: Any) -> bool:
    if name in ("latitude", "longitude"):
        return abs((float(told) - float(found) + 180) % 360 - 180) < 1e-3  # a hundred metres
    if name == "time_zone":
        # Standard time of a place has one offset, which its name does not tell
        return utc_offset(str(told)) == utc_offset(str(found)) or str(found).strip().lower() in _STANDARD
    if name == "units":
        return factor_of(str(told)) == factor_of(str(found))
    return name in ("name", "datum") or bool(told == found)  # words differ, and those given are meant


@dataclass(frozen=True, eq=False)
class Record:
    """One gauge of a file, as it is written there.

    Attributes
    ----------
    where
        File, and gauge where it holds several, for errors.
    times
        As written, ``[time]``.
    levels
        In the written unit, NaN where the file says that there is none, ``[time]``.
    facts
        What the file says of the gauge.
    rejected
        Levels that the file itself flags as wrong, already NaN.
    layout
        Name of the file's form.
    """

    where: str
    times: NDArray[np.datetime64]
    levels: NDArray[np.float64]
    facts: Facts
    rejected: int
    layout: str


def labelled(record: Record, told: Facts) -> xr.Dataset:
    """The series in UTC and metres.

    Raises
    ------
    ValueError
        If zone, unit or position is not known, or the times are no series.
    """
    where = record.where
    facts = told.over(record.facts, where)
    levels, factor = record.levels.copy(), _factor(facts, where)
    if facts.missing is not None:
        levels[np.isclose(levels, facts.missing)] = np.nan
    latitude, longitude = _position(facts, where)
    zone, offset = _zone(facts, where)
    _require_series(record.times, where)
    held = np.isfinite(levels)
    if held.sum() < 2:
        raise ValueError(
            f"{where}: {held.sum()} of {levels.size} rows hold a level, and {record.rejected} are flagged as not to be "
            "used; give a file with levels."
        )
    heights = factor * levels[held]
    _require_possible(heights, levels[held], facts, where)
    times = _moments(record.times, where)[held] - np.timedelta64(round(offset * 3600), "s")
    steps = np.diff(times) / np.timedelta64(1, "s")
    step = float(np.median(steps))
    place = {"latitude": latitude, "longitude": longitude}
    return xr.Dataset(
        {
            "level": (
                "time",
                heights,
                {
                    "standard_name": "water_surface_height_above_reference_datum",
                    "long_name": "sea level at the gauge",
                    "units": "m",
                    "coordinates": "latitude longitude",
                },
            )
        },
        coords={
            "time": ("time", times, {"standard_name": "time", "axis": "T", "long_name": "time, UTC"}),
            "latitude": ((), latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ((), longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={
            **place,
            "name": facts.name or where.split(":")[0],
            "datum": facts.datum or NOT_STATED,
            "source": where,
            "source_layout": record.layout,
            "source_time_zone": zone,
            "source_units": str(facts.units),
            "time_step_seconds": step,
            "rejected": record.rejected,
            "gaps": int((steps > 1.5 * step).sum()),
            "longest_gap_hours": float(steps.max() / 3600) if (steps > 1.5 * step).any() else 0.0,
        },
    )


def utc_offset(zone: str) -> float | None:
    """Hours by which a clock is ahead of UTC; None where the name is of no one offset."""
    named = zone.strip().lower()
    if named in _ZONES:
        return _ZONES[named]
    match = re.fullmatch(r"(?:utc|gmt)?\s*([+-]?\d{1,2})(?::?(\d\d))?", named)
    if match is None:
        return float(named) if re.fullmatch(r"[+-]?\d{1,2}\.\d*", named) else None
    hours = float(match[1])
    minutes = float(match[2] or 0) / 60
    return hours - minutes if match[1].startswith("-") else hours + minutes


def factor_of(units: str) -> float | None:
    """Metres in one of a unit; None where it is no length."""
    return _LENGTHS.get(normalised(units))


def _factor(facts: Facts, where: str) -> float:
    if facts.units is None or not facts.units.strip():
        raise ValueError(f'{where}: the unit of the levels is not known; give it, as in units = "m" or "cm".')
    factor = factor_of(facts.units)
    if factor is None:
        raise ValueError(
            f"{where}: the unit of the levels is '{facts.units}', which is no length; give m, cm, mm or ft."
        )
    return factor


def _zone(facts: Facts, where: str) -> tuple[str, float]:
    if facts.time_zone is None:
        raise ValueError(
            f"{where}: the time zone is not known, and an hour of the wrong one turns the tide by 29 degrees; give it, "
            'as in time_zone = "UTC" or "+01:00".'
        )
    offset = utc_offset(facts.time_zone)
    if offset is None or not -14 <= offset <= 14:
        raise ValueError(
            f"{where}: the time zone is '{facts.time_zone}', which is no one offset from UTC; write the times in UTC, "
            'or in standard time with hours from it, as in time_zone = "+01:00".'
        )
    return facts.time_zone, offset


def _position(facts: Facts, where: str) -> tuple[float, float]:
    if facts.latitude is None or facts.longitude is None:
        raise ValueError(
            f"{where}: the position is not known; give latitude and longitude, degrees north and east, in a listing "
            "(.toml) of gauges or in comment lines of a CSV file."
        )
    latitude, longitude = float(facts.latitude), (float(facts.longitude) + 180) % 360 - 180
    if not -90 <= latitude <= 90 or not -180 <= float(facts.longitude) <= 360:
        raise ValueError(
            f"{where}: {facts.latitude:g} N, {facts.longitude:g} E is no place on Earth; give degrees north and east."
        )
    return latitude, round(longitude, 9)


def _require_series(times: NDArray[np.datetime64], where: str) -> None:
    if np.isnat(times).any():
        row = int(np.isnat(times).argmax()) + 1
        raise ValueError(f"{where}: row {row} has no time; every level needs one. Drop the row or repair it.")
    steps = np.diff(times) / np.timedelta64(1, "s")
    if (steps < 0).any():
        row = int((steps < 0).argmax()) + 1
        raise ValueError(
            f"{where}: row {row + 1}, {text(times[row])}, is earlier than the row before it, {text(times[row - 1])}; "
            "sort the rows by time."
        )
    if (steps == 0).any():
        row = int((steps == 0).argmax()) + 1
        raise ValueError(
            f"{where}: the time {text(times[row])} comes twice (rows {row} and {row + 1}, {int((steps == 0).sum())} "
            "such pairs in all); drop one of each, or give times without summer time, whose end repeats an hour."
        )


def _require_possible(
    heights: NDArray[np.float64], written: NDArray[np.float64], facts: Facts, where: str
) -> None:
    wrong = np.abs(heights - np.median(heights)) > FARTHEST
    if wrong.any():
        example = f"{written[wrong][0]:g}"
        raise ValueError(
            f"{where}: {_count(wrong)} more than {FARTHEST:g} m from the median, such as {example} {facts.units}; "
            f"correct the unit, or give the number that stands for no level, as in missing = {example}."
        )
    for value in (written.min(), written.max()):
        if re.fullmatch(r"-?9\.?9[9.]*", f"{value:g}") is None:
            continue
        others = heights[written != value]
        reach = np.ptp(others) if others.size > 1 else 0.0
        apart = np.abs(heights[written == value][0] - others).min(initial=np.inf)
        # A level among the others is one; -999 cm or 9.999 m alone outside of them is a filler below 20 m
        if apart > max(reach, 1.0) and facts.missing is None:
            raise ValueError(
                f"{where}: {_count(written == value)} {value:g} {facts.units}, apart from all others and all nines; "
                f"give missing = {value:g} where that stands for no level, or any other number where it is one."
            )


def _count(which: NDArray[np.bool_]) -> str:
    number = int(which.sum())
    return f"{number} {'level lies at' if number == 1 else 'levels lie at'}"


def number_of(words: str, what: str) -> float:
    """A number that a file says of itself.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return float(words)
    except ValueError as error:
        raise ValueError(f"{what} says '{words.strip()}', which is no number; correct the file.") from error


def _moments(times: NDArray[np.datetime64], where: str) -> NDArray[np.datetime64]:
    """Times to the nanosecond, beyond whose reach they would silently become others."""
    moments = times.astype("datetime64[s]")
    outside = (moments < np.datetime64("1678-01-01")) | (moments >= np.datetime64("2262-01-01"))
    if outside.any():
        raise ValueError(
            f"{where}: the time {text(moments[outside][0])} is none of a tide gauge; correct the times."
        )
    return times.astype("datetime64[ns]")
