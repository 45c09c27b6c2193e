"""Levels in the exchange format of the North West Shelf Operational Oceanographic System, as Matroos writes it."""

import re

import numpy as np

from data_pipelines.gauges.record import Facts, Record

_ROW = re.compile(r"(\d{12})(\d\d)?\s+([+-]?\d*\.?\d+\.?(?:[eE][+-]?\d+)?|nan|NaN|N/A)\s*([A-Za-z]*)")
_HEADING = re.compile(r"#\s*(Location|Position|Source|Unit|Time ?zone)\s*:\s*(.*?)\s*", re.IGNORECASE)


def is_noos(content: str) -> bool:
    """Whether a heading of comment lines has a location and rows begin with twelve digits of a date."""
    lines = [line for line in content.splitlines()[:40] if line.strip()]
    headed = any(re.match(r"#\s*Location\s*:", line, re.IGNORECASE) for line in lines)
    return headed and any(_ROW.fullmatch(line.strip()) for line in lines)


def read_noos(content: str, where: str) -> list[Record]:
    """Every series of a file: metres, in the zone that its heading names; values with a flag behind them are rejected.

    Raises
    ------
    ValueError
        If a row cannot be read, or a series is of anything but a water level.
    """
    blocks: list[tuple[dict[str, str], list[re.Match[str]]]] = []
    for number, line in enumerate(content.splitlines(), 1):
        heading = _HEADING.fullmatch(line.strip())
        if heading:
            key = heading[1].lower().replace(" ", "")
            # Of a series without rows the heading alone is there, and the next one's must not complete it
            if not blocks or blocks[-1][1] or key in blocks[-1][0]:
                blocks.append(({}, []))
            blocks[-1][0][key] = heading[2]
        elif line.strip() and not line.strip().startswith("#"):
            row = _ROW.fullmatch(line.strip())
            if row is None or not blocks:
                raise ValueError(
                    f"{where}: line {number}, '{line.strip()[:40]}', is no date and level; a row reads "
                    "201709111000 1.66."
                )
            blocks[-1][1].append(row)
    return [_record(heading, rows, where, len(blocks)) for heading, rows in blocks if rows]


def _record(heading: dict[str, str], rows: list[re.Match[str]], where: str, count: int) -> Record:
    name = heading.get("location")
    where = f"{where}: {name}" if count > 1 and name else where
    quantity = heading.get("unit", "waterlevel").lower()
    if quantity not in ("waterlevel", "water level", "m"):
        raise ValueError(
            f"{where}: the series is of '{quantity}'; a gauge's is of 'waterlevel'. Leave it out."
        )
    stamps = [f"{r[1][:4]}-{r[1][4:6]}-{r[1][6:8]}T{r[1][8:10]}:{r[1][10:12]}:{r[2] or '00'}" for r in rows]
    try:
        times = np.array(stamps, dtype="datetime64[s]")
    except ValueError as error:
        raise ValueError(
            f"{where}: a date is none ({error}); a row reads 201709111000 1.66. Correct the file."
        ) from error
    flagged = np.array([bool(row[4]) for row in rows])
    levels = np.array([np.nan if row[3].lower() in ("nan", "n/a") else float(row[3]) for row in rows])
    levels[flagged] = np.nan
    longitude, latitude = _degrees(heading.get("position", ""))
    zone = heading.get("timezone") or None
    facts = Facts(
        name=name,
        latitude=latitude,
        longitude=longitude,
        time_zone=None if zone in (None, "None") else zone,
        units="m",
    )
    return Record(where, times, levels, facts, int(flagged.sum()), "NOOS")


def _degrees(position: str) -> tuple[float | None, float | None]:
    """Longitude and latitude; None where the position is in metres of a projection, or absent."""
    found = re.match(r"\(\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)", position)
    if found is None:
        return None, None
    longitude, latitude = float(found[1]), float(found[2])
    return (longitude, latitude) if abs(longitude) <= 360 and abs(latitude) <= 90 else (None, None)
