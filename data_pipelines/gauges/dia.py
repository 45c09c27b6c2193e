"""Levels of Rijkswaterstaat in DIA files, which keep Middle European Time all year and do not say so."""

import re
from dataclasses import replace

import numpy as np
import pyproj
from numpy.typing import NDArray

from data_pipelines.gauges.record import Facts, Record

TIME_ZONE = "MET"  # UTC+1, without summer time
MEASURED = "WATHTE"  # WATHTBRKD is the astronomical tide, WATHTEVERWACHT a forecast
DOUBTFUL = 50  # quality from which a level is not used: 0 is good, 25 interpolated, 50 doubtful, 99 a gap
_VALUE = re.compile(r"\s*([+-]?\d*(?:[.,]\d*)?(?:[eE][+-]?\d+)?)/(\d+)\s*")  # 27/0, 2,75/0 and ,275E+02/0
_NETHERLANDS = (50.0, 57.0), (1.0, 9.0)  # degrees north and east within which the Dutch grid is a place
_MINUTES = {"min": 1, "uur": 60, "u": 60, "h": 60}


def is_dia(content: str) -> bool:
    """Whether a file begins with the identification of a DIA."""
    return content.lstrip().startswith("[IDT;")


def read_dia(content: str, where: str) -> list[Record]:
    """Every equidistant series of water levels of a file; blocks of one place and datum that follow each other are one.

    Raises
    ------
    ValueError
        If a series is of another quantity, has no even step, ends early, or holds what is no level.
    """
    blocks = content.split("[W3H]")[1:]
    if not blocks:
        raise ValueError(f"{where} has the heading of a DIA file and no series; fetch it anew.")
    found: list[Record] = []
    for record in (_record(block, where, len(blocks)) for block in blocks):
        before = next((i for i, each in enumerate(found) if each.facts == record.facts), None)
        if before is not None and found[before].times[-1] < record.times[0]:
            found[before] = _joined(found[before], record)
        else:
            found.append(record)
    return found


def _joined(first: Record, second: Record) -> Record:
    return replace(
        first,
        times=np.concatenate([first.times, second.times]),
        levels=np.concatenate([first.levels, second.levels]),
        rejected=first.rejected + second.rejected,
    )


def _record(block: str, where: str, count: int) -> Record:
    heading, _, values = block.partition("[WRD]")
    entries = {line.split(";")[0]: line.strip().split(";") for line in heading.splitlines() if ";" in line}
    place = entries.get("LOC", ["", ""])
    where = f"{where}: {place[1]}" if count > 1 else where
    quantity = entries.get("PAR", ["", "?"])[1]
    if quantity != MEASURED:
        raise ValueError(
            f"{where}: the series is of '{quantity}'; a gauge's is of {MEASURED}, the measured water level; leave it "
            "out."
        )
    if len(entries.get("TYD", [])) < 7:
        raise ValueError(
            f"{where}: the series has no even time step; give one that has (TYD with start, end and step), not "
            "extremes."
        )
    times = _times(entries["TYD"], where)
    written = [value for value in values.partition("[")[0].split(":") if value.strip()]
    if len(written) != times.size:
        raise ValueError(
            f"{where}: the heading tells of {times.size} levels and {len(written)} follow; the file was cut off, fetch "
            "it anew."
        )
    levels, quality = _values(written, where)
    gap = (quality >= 99) | (np.abs(levels) >= 999999999)
    levels[gap | (quality >= DOUBTFUL)] = np.nan
    latitude, longitude = _degrees(place)
    datum = next(iter(entries.get("HDH", [])[1:]), None) or None
    facts = Facts(
        name=place[2] if len(place) > 2 else place[1],
        latitude=latitude,
        longitude=longitude,
        time_zone=TIME_ZONE,
        units=next(iter(entries.get("EHD", [])[2:]), None) or None,
        datum=datum,
    )
    return Record(where, times, levels, facts, int(((quality >= DOUBTFUL) & ~gap).sum()), "DIA")


def _values(written: list[str], where: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels and their quality, of ``level/quality`` with a decimal point or comma."""
    found = [_VALUE.fullmatch(value) for value in written]
    try:
        pairs = [(float(each[1].replace(",", ".")), float(each[2])) for each in found if each is not None]
    except ValueError:
        pairs = []
    if len(pairs) < len(written):
        wrong = next((value for value, each in zip(written, found, strict=True) if each is None), written[0])
        raise ValueError(
            f"{where}: '{wrong.strip()[:40]}' is no level and quality, such as 127/0; fetch the file anew."
        )
    levels, quality = np.array(pairs).T
    return levels.copy(), quality.copy()


def _times(entry: list[str], where: str) -> NDArray[np.datetime64]:
    minutes = _MINUTES.get(entry[6].strip())
    if minutes is None:
        raise ValueError(f"{where}: the time step is in '{entry[6]}'; minutes and hours (min, uur) are read.")
    try:
        first, last = (
            np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:8]}T{clock[:2]}:{clock[2:4]}", "m")
            for day, clock in ((entry[1], entry[2]), (entry[3], entry[4]))
        )
        step = np.timedelta64(int(entry[5]) * minutes, "m")
        times = np.arange(first, last + step, step).astype("datetime64[s]")
    except ValueError as error:
        raise ValueError(
            f"{where}: its times are '{';'.join(entry)}', which are no first date, last date and step, as in "
            "TYD;20200101;0100;20200131;2350;10;min; correct the file."
        ) from error
    return times


def _degrees(place: list[str]) -> tuple[float | None, float | None]:
    """Latitude and longitude from centimetres of the Dutch grid or millionths of a degree; None where neither."""
    if len(place) < 7 or not re.fullmatch(r"-?\d+", place[5]) or not re.fullmatch(r"-?\d+", place[6]):
        return None, None
    x, y = float(place[5]), float(place[6])
    if place[4] == "W84":
        return y / 1e6, x / 1e6
    if place[4] != "RD":
        return None, None
    longitude, latitude = pyproj.Transformer.from_crs(28992, 4326, always_xy=True).transform(x / 100, y / 100)
    (south, north), (west, east) = _NETHERLANDS
    if not (south <= latitude <= north and west <= longitude <= east):
        return None, None
    return round(float(latitude), 5), round(float(longitude), 5)
