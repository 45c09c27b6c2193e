"""Time axes: any CF calendar as numbers, as text and back."""

import datetime
import functools
import re
from typing import Any

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

Times = NDArray[Any]  # datetime64[ns], or cftime objects where the calendar is not the standard one

_STANDARD = ("standard", "gregorian", "proleptic_gregorian")


def calendar_of(times: Times) -> str:
    """CF name of the calendar a time axis is in."""
    if np.issubdtype(times.dtype, np.datetime64):
        return "proleptic_gregorian"
    return str(times[0].calendar) if times.size else "standard"


def milliseconds(times: Times) -> NDArray[np.int64]:
    """Milliseconds since 1970-01-01 in the axis' own calendar, int64 of the axis' shape."""
    times = np.asarray(times)
    if np.issubdtype(times.dtype, np.datetime64):
        return times.astype("datetime64[ms]").astype(np.int64)
    microseconds = cftime.date2num(
        times, "microseconds since 1970-01-01", calendar=calendar_of(times.ravel())
    )
    return np.round(np.asarray(microseconds, dtype=np.float64) / 1000).astype(np.int64)


def decode(numbers: xr.Variable, where: str) -> Times:
    """Dates of a CF time variable, rounded to the millisecond (days kept as floats are off by microseconds).

    Raises
    ------
    ValueError
        If the unit does not name a reference date.
    """
    units = str(numbers.attrs.get("units", ""))
    if " since " not in units:
        raise ValueError(
            f"{where}: its unit is '{units}', which names no reference date; a time axis needs a unit like "
            "'hours since 2015-11-16 00:00:00'. Set the attribute in the file (ncatted, xarray) and try again."
        )
    try:
        held = numbers.load().to_numpy()
        decoded = _dates(held.tobytes(), held.dtype, held.shape, units, numbers.attrs.get("calendar"))
    except (ValueError, OverflowError, TypeError) as error:
        advice = "write days, hours or seconds since a date of the calendar"
        if re.search(r" since 0+(\D|$)", units):
            advice = (
                "years that begin with 0 are those of a climatology, which is not a series. Give real dates"
            )
        raise ValueError(
            f"{where}: unit '{units}' with calendar '{numbers.attrs.get('calendar', 'standard')}' cannot be turned "
            f"into dates ({str(error).splitlines()[0].split('. ')[0]}); {advice}."
        ) from error
    if np.issubdtype(decoded.dtype, np.datetime64):
        if np.isnat(decoded).any():
            raise ValueError(
                f"{where}: a time is missing; every step needs a date. Repair or drop these steps."
            )
        return (decoded + np.timedelta64(500_000, "ns")).astype("datetime64[ms]").astype("datetime64[ns]")
    rounded = [
        (moment := time + datetime.timedelta(microseconds=500)).replace(
            microsecond=moment.microsecond // 1000 * 1000
        )
        for time in decoded.ravel()
    ]
    return np.array(rounded, dtype=object).reshape(decoded.shape)


@functools.lru_cache(maxsize=8)  # every variable of a file asks for the dates of the same axis
def _dates(
    numbers: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], units: str, calendar: str | None
) -> NDArray[Any]:
    attributes = {"units": units} if calendar is None else {"units": units, "calendar": calendar}
    values = np.frombuffer(numbers, dtype).reshape(shape)
    coded = xr.Variable([f"axis_{number}" for number in range(len(shape))], values, attributes)
    dates = np.asarray(xr.coders.CFDatetimeCoder(time_unit="ns").decode(coded).values)
    dates.setflags(write=False)
    return dates


def text(time: Any) -> str:
    """A time as ISO 8601 text, to the second (to the millisecond where it has any)."""
    if isinstance(time, np.datetime64):
        whole = time.astype("datetime64[s]")
        return str(whole if whole == time else time.astype("datetime64[ms]"))
    return str(time.isoformat()).removesuffix("000")


def as_text(value: Any) -> str:
    """A date, however it is given, as ISO 8601 text in UTC; text stays as it is.

    Raises
    ------
    ValueError
        If the value is no date.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, xr.DataArray | np.ndarray) and value.ndim == 0:
        value = np.asarray(value)[()]
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, np.datetime64 | datetime.date | cftime.datetime):
        return text(value)
    raise ValueError(f"{value!r} is not a date; give text like 2015-11-17T22:00:00 (UTC), or a datetime.")


def parse(value: Any, calendar: str, *, end: bool = False) -> int:
    """Milliseconds since 1970-01-01 of a date in a calendar.

    Parameters
    ----------
    value
        ISO 8601 text (UTC; ``2015-11-17``, ``2015-11-17T22``, ``2015-11-17 22:00:00Z``), or a date of datetime, NumPy,
        pandas, cftime or a scalar of xarray.
    end
        A bare day or month stands for its last millisecond instead of its first.

    Raises
    ------
    ValueError
        If the text is no date in the calendar.
    """
    value = as_text(value)
    match = re.fullmatch(
        r"(\d{4,})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,3})\d*)?)?)?)?)?)?"
        r"(?:Z|[+]00:?00)?",
        value.strip(),
    )
    if match is None:
        raise ValueError(f"'{value}' is not a date; write it as 2015-11-17 or 2015-11-17T22:00:00 (UTC).")
    year, month, day, *clock = match.groups()
    hour, minute, second = (int(part or 0) for part in clock[:3])
    fraction = int((clock[3] or "0").ljust(3, "0"))
    try:
        first = cftime.datetime(
            int(year),
            int(month or 1),
            int(day or 1),
            hour,
            minute,
            second,
            fraction * 1000,
            calendar=calendar,
        )
        moment = int(milliseconds(np.array([first], dtype=object))[0])
        if end and clock[0] is None:
            if day is not None:
                after = first + datetime.timedelta(days=1)
            else:
                ahead = int(month or 12) == 12
                after = cftime.datetime(
                    int(year) + ahead, 1 if ahead else int(month) + 1, 1, calendar=calendar
                )
            moment = int(milliseconds(np.array([after], dtype=object))[0]) - 1
    except ValueError as error:
        raise ValueError(
            f"'{value}' is not a date of the calendar {calendar} ({error}); write it as 2015-11-17T22:00:00 (UTC)."
        ) from error
    return moment
