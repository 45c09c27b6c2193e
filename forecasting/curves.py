"""Scores against lead as inline SVG: drawn by hand, so that the page's own type and colours hold in light and dark."""

import hashlib
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Okabe and Ito, Color Universal Design, 2008; its yellow is too pale for a line, black is left to the page's ink.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("", "7 3", "2 3", "9 3 2 3")  # a second sign beside colour
WIDTH, HEIGHT = 520, 310
LEFT, TOP, BOTTOM = 52, 14, 40
LETTER, MOST = 7.4, 176  # width of a bold letter, and the most that names may take
FACTOR = (
    6.0  # a curve above this many times the median forecaster's largest value leaves the frame, and is named
)


@dataclass(frozen=True)
class Line:
    """How a forecaster looks in every plot."""

    colour: str
    dashes: str
    width: float


def line_styles(names: list[str], models: list[str]) -> dict[str, Line]:
    """Solid and broad for the models, broken and thin for what they are measured against."""
    others = [name for name in names if name not in models]
    styles = {
        name: Line(OKABE_ITO[i % len(OKABE_ITO)], DASHES[0] if i < len(OKABE_ITO) else DASHES[3], 2.4)
        for i, name in enumerate(name for name in names if name in models)
    }
    for i, name in enumerate(others):
        colour = "currentColor" if i == 0 else OKABE_ITO[(len(models) + i - 1) % len(OKABE_ITO)]
        styles[name] = Line(colour, DASHES[1 + i % (len(DASHES) - 1)], 1.5)
    return styles


def curve_svg(table: pd.DataFrame, styles: dict[str, Line], *, label: str, title: str) -> str:
    """One score by lead for every forecaster, with its interval as a band and its name at its end.

    Parameters
    ----------
    table
        Rows of one variable, metric and band: ``forecaster, lead_hours, value, low, high`` (a number of hours).
    styles
        By forecaster, from :func:`line_styles`.
    label
        Of the upright axis, with its unit.
    title
        What a reader who does not see the plot is told.
    """
    curves = {
        name: rows.sort_values("lead_hours")
        for name in styles
        if len(rows := table[(table["forecaster"] == name) & np.isfinite(table["value"])])
    }
    if not curves:
        return ""
    hours = np.unique(np.concatenate([rows["lead_hours"].to_numpy(float) for rows in curves.values()]))
    low, high, leaving = _range(curves)
    right = WIDTH - min(14 + max(len(name) for name in curves) * LETTER, MOST)
    x0, x1 = (0.0, float(hours[-1])) if hours.size > 1 else (0.0, float(hours[0]) * 1.1 or 1.0)

    def x(value: float) -> float:
        return LEFT + (value - x0) / (x1 - x0) * (right - LEFT)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    frame = "frame-" + hashlib.sha256(title.encode()).hexdigest()[:8]
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<clipPath id="{frame}"><rect x="{LEFT}" y="{TOP}" width="{right - LEFT:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>',
    ]
    for tick in _ticks(low, high, 5):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    parts += [
        f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(x0, x1, 7)
    ]
    if low < 0 < high:
        parts.append(f'<line class="zero" x1="{LEFT}" x2="{right:.1f}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>')
    parts.append(
        f'<text class="axis" x="{(LEFT + right) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">lead (h)</text>'
        f'<text class="axis" transform="rotate(-90 12 {(TOP + HEIGHT - BOTTOM) / 2})" x="12" '
        f'y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle">{escape(label)}</text>'
    )
    parts.append(f'<g clip-path="url(#{frame})">')
    # Bands first: no band may hide a line.
    for name, rows in curves.items():
        inside = rows[np.isfinite(rows["low"]) & np.isfinite(rows["high"])]
        if len(inside) > 1 and name not in leaving:
            upper = [
                f"{x(h):.1f},{y(v):.1f}" for h, v in zip(inside["lead_hours"], inside["high"], strict=True)
            ]
            lower = [
                f"{x(h):.1f},{y(v):.1f}" for h, v in zip(inside["lead_hours"], inside["low"], strict=True)
            ]
            points = " ".join([*upper, *reversed(lower)])
            parts.append(f'<polygon points="{points}" fill="{styles[name].colour}" fill-opacity="0.11"/>')
    for name, rows in curves.items():
        style = styles[name]
        points = " ".join(
            f"{x(h):.1f},{y(v):.1f}" for h, v in zip(rows["lead_hours"], rows["value"], strict=True)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{style.colour}" stroke-width="{style.width}" '
            f'stroke-dasharray="{style.dashes or "none"}" stroke-linejoin="round">'
            f"<title>{escape(name)}</title></polyline>"
        )
        if len(rows) == 1:
            parts.append(
                f'<circle cx="{points.split(",")[0]}" cy="{points.split(",")[1]}" r="3" fill="{style.colour}"/>'
            )
    parts.append("</g>")
    ends = _apart(np.array([y(float(rows["value"].iloc[-1])) for rows in curves.values()]), 13.0)
    for (name, _), height in zip(curves.items(), ends, strict=True):
        style = styles[name]
        long = len(name) * LETTER + 14 > MOST
        size = f' textLength="{MOST - 16}" lengthAdjust="spacingAndGlyphs"' if long else ""
        parts.append(
            f'<text class="name" x="{right + 8:.1f}" y="{height + 4:.1f}" fill="{style.colour}"{size}>'
            f"{escape(name)}</text>"
        )
    parts.append("</svg>")
    if leaving:
        said = "; ".join(f"{escape(name)} reaches {top:.3g}" for name, top in leaving.items())
        parts.append(f'<p class="note">Beyond the frame: {said}.</p>')
    return "".join(parts)


def _range(curves: dict[str, pd.DataFrame]) -> tuple[float, float, dict[str, float]]:
    """Ends of the upright axis, and who leaves it: one forecast that blew up must not flatten all the others."""
    tops = {name: float(np.abs(rows["value"]).max()) for name, rows in curves.items()}
    cap = FACTOR * float(np.median(list(tops.values())))
    leaving = {name: top for name, top in tops.items() if top > cap}
    kept = [rows for name, rows in curves.items() if name not in leaving]
    values = np.concatenate([rows[["value", "low", "high"]].to_numpy(float).ravel() for rows in kept])
    values = values[np.isfinite(values)]
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    span = (high - low) or 1.0
    return (low - 0.06 * span if low < 0 else 0.0), high + 0.06 * span, leaving


def _ticks(low: float, high: float, count: int) -> NDArray[np.float64]:
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
