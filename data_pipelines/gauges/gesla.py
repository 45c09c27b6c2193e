"""Levels of the Global Extreme Sea Level Analysis, version 3 (Haigh et al., Geoscience Data Journal 10, 2023)."""

import re
from io import StringIO

import numpy as np
import pandas as pd

from data_pipelines.gauges.record import Facts, Record, number_of

USED = (0, 1, 2)  # unchecked, correct, interpolated; 3 is doubtful, 4 wrong, 5 missing
_HEADING = re.compile(
    r"#\s*(SITE NAME|LATITUDE|LONGITUDE|TIME ZONE HOURS|DATUM INFORMATION|NULL VALUE|PRECISION)\s+(.*?)\s*"
)
_UNKNOWN = re.compile(r"\?+|unspecified|unknown|null|none", re.IGNORECASE)


def is_gesla(content: str) -> bool:
    """Whether a file begins with the heading of version 3."""
    return re.match(r"#\s*FORMAT VERSION\s+3", content) is not None


def read_gesla(content: str, where: str) -> list[Record]:
    """The one series of a file: metres, hours from UTC as its heading says, levels flagged as doubtful rejected.

    Raises
    ------
    ValueError
        If the rows are not a date, a time, a level and a flag, or the heading's numbers are none.
    """
    said = {
        found[1]: found[2]
        for line in content.splitlines()[:60]
        if (found := _HEADING.fullmatch(line.strip()))
    }
    try:
        rows = pd.read_csv(
            StringIO(content), comment="#", sep=r"\s+", header=None, usecols=[0, 1, 2, 3],
            names=["date", "clock", "level", "flag"], dtype={"date": str, "clock": str},
        )  # fmt: skip
        times = pd.to_datetime(rows["date"] + " " + rows["clock"], format="%Y/%m/%d %H:%M:%S")
        levels = rows["level"].to_numpy(np.float64, copy=True)
        flags = pd.to_numeric(rows["flag"]).to_numpy()
        if not np.isfinite(flags).all():
            raise ValueError(f"row {int((~np.isfinite(flags)).argmax()) + 1} has no flag")
    except (ValueError, TypeError, pd.errors.ParserError) as error:
        raise ValueError(
            f"{where}: the rows are not date, time, level and flag ({str(error).splitlines()[0]}); fetch the file anew."
        ) from error
    absent = flags == 5
    if "NULL VALUE" in said:
        absent |= np.isclose(levels, number_of(said["NULL VALUE"], f"{where}: 'NULL VALUE'"))
    wrong = ~np.isin(flags, USED) & ~absent
    levels[absent | wrong] = np.nan
    datum = said.get("DATUM INFORMATION", "")
    latitude, longitude = (
        number_of(said[key], f"{where}: '{key}'") if key in said else None
        for key in ("LATITUDE", "LONGITUDE")
    )
    facts = Facts(
        name=said.get("SITE NAME"),
        latitude=latitude,
        longitude=longitude,
        time_zone=said.get("TIME ZONE HOURS"),
        units="m",
        datum=None if not datum or _UNKNOWN.fullmatch(datum) else datum,
    )
    return [Record(where, times.to_numpy(), levels, facts, int(wrong.sum()), "GESLA-3")]
