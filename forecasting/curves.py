"""Scores as curves: drawn, and as numbers for a program that tells them."""

import hashlib
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecasting.lines import Line, mark

MARKED = 7  # points of a curve that carry its marker, about
WIDTH, HEIGHT = 520, 310
LEFT, TOP, BOTTOM = 56, 14, 40
LETTER, MOST = 7.4, 176  # width of a bold letter, and the most that names may take
NAMED = 16  # curves whose names find room at their ends
POINTS = 6000  # of all curves of a plot together, so that a page of many long forecasts stays small
DRAWN = 160  # points of a drawn curve; there are no more pixels for them
FACTOR = (
    6.0  # a curve above this many times the median forecaster's largest value leaves the frame, and is named
)


@dataclass(frozen=True)
class Chart:
    """A plot twice: drawn, and as numbers for a program that lets a reader ask for values.

    Attributes
    ----------
    title
        Of the plot.
    svg
        The drawing, and a note of who left its frame.
    data
        Axes and traces.
    """

    title: str
    svg: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Axis:
    """What runs along one side of a plot.

    Attributes
    ----------
    label
        With the unit.
    column
        Of the table, for the level axis.
    log
        Whether equal steps are equal ratios.
    """

    label: str
    column: str = "lead_hours"
    log: bool = False


LEAD = Axis("lead (h)")


def chart(
    table: pd.DataFrame,
    styles: dict[str, Line],
    *,
    label: str,
    title: str,
    along: Axis = LEAD,
    log: bool = False,
    floor: float = -np.inf,
) -> Chart | None:
    """One score along one axis, for every forecaster; None where there is no value.

    Parameters
    ----------
    table
        Rows of one variable, metric and band: ``forecaster``, the axis' column as numbers, ``value, low, high``.
    styles
        By forecaster, from :func:`line_styles`.
    label
        Of the upright axis, with its unit.
    title
        Of the plot.
    along
        The level axis.
    log
        Whether the upright axis is logarithmic; values that are not positive are left out then.
    floor
        The frame reaches no lower: a skill has no lower end, and far below zero all of them say the same.
    """
    shown = table[np.isfinite(table["value"])]
    if along.log:
        shown = shown[shown[along.column] > 0]
    if log:
        shown = shown[shown["value"] > 0]
        shown = shown.assign(low=shown["low"].where(shown["low"] > 0))
    curves = {
        name: rows.sort_values(along.column)
        for name in styles
        if len(rows := shown[shown["forecaster"] == name])
    }
    if not curves:
        return None
    places = np.unique(np.concatenate([rows[along.column].to_numpy(float) for rows in curves.values()]))
    kept = _evenly(places, max(POINTS // len(curves), 2))
    curves = {name: rows[rows[along.column].isin(kept)] for name, rows in curves.items()}
    curves = {name: rows for name, rows in curves.items() if len(rows)}
    frame = _Frame.of(curves, along, log, floor)
    data = {
        "title": title,
        "x": along.label,
        "y": label,
        "leads": along.column == "lead_hours",
        "log": [along.log, log],
        # Of a logarithmic axis the round numbers are chosen here, as for the drawing
        "ticks": _numbers(_ticks(frame.first, frame.last, 7, log=True)) if along.log else [],
        "range": [_rounded(end) for end in (frame.low, frame.high)],
        "span": [_rounded(end) for end in (frame.first, frame.last)],
        "places": _numbers(kept),
        "traces": [_trace(name, rows, kept, along, styles[name]) for name, rows in curves.items()],
    }
    note = "" if kept.size == places.size else f"{kept.size} of {places.size} leads are drawn, evenly chosen."
    drawing = _svg(curves, styles, frame, label=label, title=title, along=along)
    return Chart(title, drawing + (f'<p class="note">{note}</p>' if note else ""), data)


def _trace(
    name: str, rows: pd.DataFrame, places: NDArray[np.float64], along: Axis, style: Line
) -> dict[str, Any]:
    """Values at all places of the plot, null where there is none; the interval only where there is one."""
    aligned = rows.drop_duplicates(along.column).set_index(along.column).reindex(places)
    trace = {"name": name, "y": _numbers(aligned["value"]), "style": style.as_json()}
    if np.isfinite(aligned[["low", "high"]].to_numpy(float)).all(1).any():
        trace |= {end: _numbers(aligned[end]) for end in ("low", "high")}
    return trace


def _evenly(places: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most so many of the places, the first and the last among them."""
    return places[np.unique(np.linspace(0, places.size - 1, min(most, places.size)).round().astype(int))]


@dataclass(frozen=True)
class _Frame:
    """Ends of both axes and who leaves them: one forecast that blew up must not flatten all the others."""

    first: float
    last: float
    low: float
    high: float
    log_x: bool
    log_y: bool
    right: float
    leaving: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, curves: dict[str, pd.DataFrame], along: Axis, log: bool, floor: float) -> "_Frame":
        places = np.unique(np.concatenate([rows[along.column].to_numpy(float) for rows in curves.values()]))
        first, last = float(places[0]), float(places[-1])
        if along.log:
            first, last = first / 1.05, last * 1.05
        else:
            first = min(0.0, first)
            last = last + 0.01 * (last - first) if last > first else first + 1.0
        furthest = {
            name: float(rows["value"].iloc[int(np.argmax(np.abs(rows["value"])))])
            for name, rows in curves.items()
        }
        cap = np.inf
        if not log and not np.isfinite(floor):
            cap = FACTOR * float(np.median(np.abs(list(furthest.values()))))
        leaving = {name: far for name, far in furthest.items() if abs(far) > cap or far < floor}
        kept = [rows for name, rows in curves.items() if name not in leaving] or list(curves.values())
        values = np.concatenate([rows[["value", "low", "high"]].to_numpy(float).ravel() for rows in kept])
        values = values[np.isfinite(values)]
        if log:
            low, high = float(values.min()) / 1.2, float(values.max()) * 1.2
        else:
            low, high = min(0.0, max(float(values.min()), floor)), max(0.0, float(values.max()))
            span = (high - low) or 1.0
            low, high = (low - 0.06 * span if low < 0 else 0.0), high + 0.06 * span
        longest = max(len(name) for name in curves) * LETTER + 24
        room = min(longest, MOST) if len(curves) <= NAMED else 14
        return cls(first, last, low, high, along.log, log, WIDTH - room - 8, leaving)

    def x(self, value: float) -> float:
        return LEFT + _share(value, self.first, self.last, self.log_x) * (self.right - LEFT)

    def y(self, value: float) -> float:
        return TOP + (1 - _share(value, self.low, self.high, self.log_y)) * (HEIGHT - TOP - BOTTOM)


def _svg(
    curves: dict[str, pd.DataFrame],
    styles: dict[str, Line],
    frame: _Frame,
    *,
    label: str,
    title: str,
    along: Axis,
) -> str:
    x, y, right = frame.x, frame.y, frame.right
    clip = "frame-" + hashlib.sha256(title.encode()).hexdigest()[:8]
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<clipPath id="{clip}"><rect x="{LEFT}" y="{TOP}" width="{right - LEFT:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
    ]
    for tick in _ticks(frame.low, frame.high, 5, log=frame.log_y):
        height = y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right:.1f}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{_signed(tick)}</text>'
        )
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{_signed(tick)}</text>'
        for tick in _ticks(frame.first, frame.last, 7, log=frame.log_x)
    ]
    if frame.low < 0 < frame.high and not frame.log_y:
        parts.append(f'<line class="zero" x1="{LEFT}" x2="{right:.1f}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="axis" x="{(LEFT + right) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f'{escape(along.label)}</text><text class="axis" transform="rotate(-90 12 {middle})" x="12" y="{middle}" '
        f'text-anchor="middle">{escape(label)}</text><g clip-path="url(#{clip})">'
    )
    # Bands first: no band may hide a line.
    few = _evenly(np.unique(np.concatenate([rows[along.column] for rows in curves.values()])), DRAWN)
    curves = {name: rows[rows[along.column].isin(few)] for name, rows in curves.items()}
    curves = {name: rows for name, rows in curves.items() if len(rows)}
    parts += [
        _band(rows, frame, along, styles[name].colour)
        for name, rows in curves.items()
        if name not in frame.leaving
    ]
    parts += [_curve(name, rows, frame, along, styles[name]) for name, rows in curves.items()]
    parts.append("</g>")
    if len(curves) <= NAMED:
        parts += _names(curves, styles, frame)
    parts.append("</svg>")
    if frame.leaving:
        said = "; ".join(f"{escape(name)} reaches {_signed(far)}" for name, far in frame.leaving.items())
        parts.append(f'<p class="note">Beyond the frame: {said}.</p>')
    return "".join(parts)


def _band(rows: pd.DataFrame, frame: _Frame, along: Axis, colour: str) -> str:
    inside = rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])]
    if len(inside) < 2:
        return ""
    ends = [
        [f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(inside[along.column], inside[end], strict=True)]
        for end in ("high", "low")
    ]
    points = " ".join([*ends[0], *reversed(ends[1])])
    return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.11"/>'


def _curve(name: str, rows: pd.DataFrame, frame: _Frame, along: Axis, style: Line) -> str:
    places = [(frame.x(a), frame.y(b)) for a, b in zip(rows[along.column], rows["value"], strict=True)]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    drawn = (
        f'<polyline points="{points}" fill="none" stroke="{style.colour}" stroke-width="{style.width}" '
        f'stroke-dasharray="{style.dashes or "none"}" stroke-linejoin="round">'
        f"<title>{escape(name)}</title></polyline>"
    )
    sign = style.marker or ("circle" if len(rows) == 1 else "")
    if sign:
        step = max(1, round(len(places) / MARKED))
        drawn += "".join(mark(sign, a, b, style.colour) for a, b in places[step // 2 :: step])
    return drawn


def _names(curves: dict[str, pd.DataFrame], styles: dict[str, Line], frame: _Frame) -> list[str]:
    ends = _apart(np.array([frame.y(float(rows["value"].iloc[-1])) for rows in curves.values()]), 13.0)
    parts, left = [], frame.right + 4
    for name, height in zip(curves, ends, strict=True):
        style = styles[name]
        long = len(name) * LETTER + 24 > MOST
        size = f' textLength="{MOST - 28}" lengthAdjust="spacingAndGlyphs"' if long else ""
        parts.append(
            f'<line x1="{left:.1f}" x2="{left + 12:.1f}" y1="{height:.1f}" y2="{height:.1f}" '
            f'stroke="{style.colour}" stroke-width="{max(style.width, 2)}"/>'
            f'<text class="name" x="{left + 16:.1f}" y="{height + 4:.1f}" fill="currentColor"{size}>'
            f"{escape(name)}</text>"
        )
    return parts


def _share(value: float, first: float, last: float, log: bool) -> float:
    if log:
        value, first, last = (float(np.log(each)) for each in (value, first, last))
    return (value - first) / (last - first)


def _ticks(low: float, high: float, count: int, *, log: bool = False) -> NDArray[np.float64]:
    if log:
        decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        sizes = (1, 2, 5) if high / low < 100 else (1,)
        ticks = np.sort(np.concatenate([10.0**decades * size for size in sizes]))
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        return ticks[:: max(1, int(np.ceil(ticks.size / (count + 2))))]
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = power * next(size for size in (1, 2, 3, 5, 10) if size * power >= raw * 0.999)
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return np.round(ticks, 12)


def _apart(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Labels moved as little as need be to stand clear of each other, within the frame."""
    order = np.argsort(heights, kind="stable")
    placed = heights[order].copy()
    for _ in range(200):
        short = gap - np.diff(placed)
        if (short <= 1e-6).all():
            break
        push = np.where(short > 0, short / 2, 0.0)
        placed[:-1] -= push
        placed[1:] += push
        placed = np.clip(placed, TOP, HEIGHT - BOTTOM)
        placed += np.arange(placed.size) * 1e-3
    result = np.empty_like(placed)
    result[order] = placed
    return result


def _signed(value: float) -> str:
    return (
        (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace(",", "\u202f").replace("-", "−")
    )


def _numbers(column: Any) -> list[float | None]:
    """Five figures of each value, and null where there is none: JSON knows no NaN."""
    return [
        float(f"{value:.5g}") if np.isfinite(value) else None
        for value in np.asarray(column, dtype=np.float64)
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
