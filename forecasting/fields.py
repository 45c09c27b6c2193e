"""What a map shows: one plane out of a forecast file, what it is called, and in which colours it is read."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import calendar_of, milliseconds, parse
from oceanop.variables import VARIABLES, vector_pairs

Plane = NDArray[np.float64]

# Colour maps of cmocean (Thyng et al., Oceanography 29, 2016): perceptually even, one quantity one map.
COLOURS = {"speed": "speed", "thetao": "thermal", "tos": "thermal", "so": "haline", "siconc": "ice"}
SIGNED = "balance"
QUANTILE = 0.995  # of what is drawn lies inside the colour scale; a few spikes must not bleach the rest


@dataclass(frozen=True, eq=False)
class Field:
    """One plane to be drawn.

    Attributes
    ----------
    values
        ``[y, x]``, NaN on land.
    east, north
        Components to be drawn as arrows, ``[y, x]``; None for a scalar.
    label, units
        What the bar says.
    colours
        Name of the colour map in cmocean.
    who
        The forecaster, or ``truth``.
    when
        Valid time, start and lead in words.
    start, lead
        Each alone.
    """

    values: Plane
    label: str
    units: str
    colours: str
    who: str = ""
    when: str = ""
    start: str = ""
    lead: str = ""
    east: Plane | None = None
    north: Plane | None = None

    @property
    def signed(self) -> bool:
        """Whether zero is the middle of its colours."""
        return self.colours == SIGNED

    def minus(self, truth: "Field") -> "Field":
        """Forecast minus truth; the arrows are the difference of the vectors."""
        arrows: dict[str, Any] = (
            {}
            if self.east is None or truth.east is None or self.north is None or truth.north is None
            else {"east": self.east - truth.east, "north": self.north - truth.north}
        )
        return replace(
            self,
            values=self.values - truth.values,
            label=f"{self.label}: forecast − truth",
            colours=SIGNED,
            **arrows,
        )


def drawable(ds: xr.Dataset) -> list[str]:
    """Names a map can be asked for: currents' speeds first, then every variable of the forecast."""
    names = [
        str(name) for name, array in ds.data_vars.items() if "lead_time" in array.dims and array.ndim >= 4
    ]
    pairs = vector_pairs(names)
    speeds = ["speed" if pair == ("uo", "vo") else "+".join(pair) for pair in pairs]
    return [*speeds, *names]


def field_of(
    ds: xr.Dataset,
    *,
    variable: str,
    lead: int | str | np.timedelta64,
    start: Any = None,
    depth: float | None = None,
) -> Field:
    """Pick one plane of a forecast file.

    Parameters
    ----------
    variable
        A variable of the file, ``speed`` for the speed of a current with arrows, or a pair such as ``uo+vo``.
    lead
        Which lead of the file, counted from 1; or its duration, such as ``"6h"`` or a ``timedelta64``.
    start
        A start of the file; None takes the first.
    depth
        Metres; None takes the uppermost level.

    Raises
    ------
    ValueError
        If the file does not hold it; the sentence lists what it holds.
    """
    parts = parts_of(ds, variable)
    row, column = start_number(ds, start), _lead(ds, lead)
    planes, below = [], ""
    for name in parts:
        array = at_depth(ds[name].isel(init_time=row, lead_time=column), depth)
        if "member" in array.dims:
            array = array.mean("member", keep_attrs=True)
        if "depth" in array.coords:
            below = f" at {float(array['depth']):g} m"
        planes.append(array.to_numpy().astype(np.float64))
    attrs = ds[parts[0]].attrs
    known = VARIABLES.get(parts[0])
    units = str(attrs.get("units", known.units if known else "1"))
    who = str(ds.attrs.get("model", "forecast")) + (
        ", mean of members" if "member" in ds[parts[0]].dims else ""
    )
    said: dict[str, Any] = {
        "units": units,
        "who": who,
        "when": _when(ds, row, column),
        "start": time_text(ds["init_time"].values[row]),
        "lead": hours_text(ds["lead_time"].values[column]),
    }
    if len(parts) == 2:
        label = "Depth-mean current speed" if parts[0] == "ubar" else "Current speed"
        return Field(
            np.hypot(*planes), label + below, colours="speed", east=planes[0], north=planes[1], **said
        )
    label = str(attrs.get("long_name", known.long_name if known else parts[0])) + below
    return Field(planes[0], label[:1].upper() + label[1:], colours=COLOURS.get(parts[0], SIGNED), **said)


def at_depth(array: xr.DataArray, depth: float | None) -> xr.DataArray:
    """The level nearest to a depth, the uppermost where it is None; what has no depths stays as it is.

    Raises
    ------
    ValueError
        If a depth is asked for and there is none, or it lies beyond the deepest level by more than half a layer.
    """
    if "depth" not in array.dims:
        if depth is not None:
            raise ValueError(
                f"'{array.name}' has no depths, and {depth:g} m is asked for; leave the depth out."
            )
        return array
    levels = array["depth"].to_numpy().astype(np.float64)
    level = int(np.abs(levels - (depth or 0.0)).argmin())
    reach = 0.5 * float(np.abs(np.diff(levels)).max()) if levels.size > 1 else max(float(levels[0]), 1.0)
    if depth is not None and not abs(levels[level] - depth) <= reach:
        raise ValueError(
            f"{depth:g} m is not in the forecast, whose levels of '{array.name}' lie at "
            f"{', '.join(f'{each:g}' for each in levels)} m; give one of these."
        )
    return array.isel(depth=level)


def limits(*fields: Field) -> tuple[float, float]:
    """Ends of one colour scale for all the fields: zero in the middle of a signed one, round numbers elsewhere."""
    values = np.concatenate([field.values[np.isfinite(field.values)] for field in fields] or [np.zeros(0)])
    if not values.size:
        return (-1.0, 1.0) if fields[0].signed else (0.0, 1.0)
    if fields[0].signed:
        end = rounded_up(float(np.quantile(np.abs(values), QUANTILE)))
        return -end, end
    if fields[0].colours == "speed":
        return 0.0, rounded_up(float(np.quantile(values, QUANTILE)))
    if fields[0].colours == "ice":
        return 0.0, 1.0
    low, high = np.quantile(values, [1 - QUANTILE, QUANTILE])
    step = rounded_up(max(float(high - low), 1e-6)) / 20
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


def rounded_up(value: float) -> float:
    """The next number with at most two figures, the second one even or a five."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 1.2, 1.4, 1.5, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9, 10])
    # A hair of tolerance, or 0.3 / 0.1 would be more than 3
    return float(f"{steps[np.searchsorted(steps, value / power - 1e-9)] * power:.3g}")


def unit_text(units: str) -> str:
    """A unit as a reader writes it: ``m s-1`` becomes m s⁻¹."""
    known = {"degC": "°C", "1e-3": "10⁻³", "1": ""}
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    parts = []
    for part in known.get(units, units).split(" "):
        stem = part.rstrip("-0123456789")
        parts.append(stem + part[len(stem) :].translate(raised) if stem else part)
    return " ".join(parts)


def hours_text(lead: np.timedelta64) -> str:
    """A lead in hours, or minutes where it is shorter."""
    minutes = float(lead / np.timedelta64(1, "s")) / 60
    return f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"


def time_text(time: Any) -> str:
    """A time to the minute, UTC."""
    if isinstance(time, np.datetime64):
        return str(np.datetime_as_string(time, unit="m")).replace("T", " ") + " UTC"
    return f"{time.strftime('%Y-%m-%d %H:%M')} UTC"


def parts_of(ds: xr.Dataset, variable: str) -> tuple[str, ...]:
    """Variables of the file that one word asks for: one, or the two components of a current.

    Raises
    ------
    ValueError
        If the file does not hold it.
    """
    offered = drawable(ds)
    pairs = vector_pairs(offered)
    if variable == "speed" and pairs:
        return pairs[0]
    for pair in pairs:
        if variable == "+".join(pair):
            return pair
    if variable not in offered or variable not in ds.data_vars:
        raise ValueError(
            f"variable '{variable}' is not in the forecast, which can draw {', '.join(offered) or 'nothing'}; "
            "name one of these."
        )
    return (variable,)


def _lead(ds: xr.Dataset, lead: int | str | np.timedelta64) -> int:
    leads = ds["lead_time"].values.astype("timedelta64[ns]")
    texts = [hours_text(value) for value in leads]
    if isinstance(lead, int | np.integer):
        if 1 <= lead <= leads.size:
            return int(lead) - 1
    else:
        wanted = hours_text(lead) if isinstance(lead, np.timedelta64) else str(lead).replace(" ", "")
        for i, text in enumerate(texts):
            if wanted.replace(" ", "") == text.replace(" ", ""):
                return i
    raise ValueError(
        f"lead {lead} is not in the forecast, which has {leads.size} ({texts[0]} to {texts[-1]}); give a number from "
        f"1 to {leads.size}."
    )


def start_number(ds: xr.Dataset, start: Any) -> int:
    """Which start of a forecast file is meant, counted from 0; None means the first.

    Raises
    ------
    ValueError
        If the file has no such start.
    """
    starts = ds["init_time"].values
    if start is None:
        return 0
    try:
        wanted = parse(str(start), calendar_of(starts))
    except ValueError:
        wanted = None
    found = [] if wanted is None else np.flatnonzero(milliseconds(starts) == wanted).tolist()
    if not found:
        shown = [time_text(time).removesuffix(" UTC") for time in starts]
        listed = ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", shown[-1]])
        raise ValueError(
            f"start {start} is not in the forecast, which starts at {listed}; give one of these."
        )
    return int(found[0])


def _when(ds: xr.Dataset, row: int, column: int) -> str:
    start, lead = ds["init_time"].values[row], ds["lead_time"].values[column]
    if "valid_time" in ds.variables:
        valid = ds["valid_time"].values[row, column]
    else:
        valid = start + (lead if isinstance(start, np.datetime64) else lead.astype("timedelta64[us]").item())
    return f"valid {time_text(valid)} · start {time_text(start)} · lead {hours_text(lead)}"
