"""How a forecaster looks in every plot: colour, dashes and marker, told apart without colour too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# After Okabe and Ito, Color Universal Design, 2008: their sky blue and orange are darkened and their purple a little,
# so that every line has three times the luminance of a white page's or a third of it, and the same on a dark page.
COLOURS = ("#0072b2", "#d55e00", "#008f68", "#c56a9e", "#3f93c8", "#b37b00")
DASHES = ("7 3", "2 3", "9 3 2 3", "14 3", "5 2 2 2 2 2")
MARKERS = ("", "circle", "square", "diamond", "triangle-up", "cross", "x", "star")
INK = "currentColor"  # the page's own, black on white or white on black


@dataclass(frozen=True)
class Line:
    """How a forecaster looks in every plot: dashes and marker together are its own, whatever the colour."""

    colour: str
    dashes: str
    width: float
    marker: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the page's program."""
        return {"colour": self.colour, "dashes": self.dashes, "width": self.width, "marker": self.marker}

    def sample(self) -> str:
        """A short piece of the line, as SVG."""
        sign = mark(self.marker, 17, 6, self.colour) if self.marker else ""
        return (
            '<svg class="sample" viewBox="0 0 34 12" width="34" height="12" aria-hidden="true">'
            f'<line x1="1" x2="33" y1="6" y2="6" stroke="{self.colour}" stroke-width="{self.width}" '
            f'stroke-dasharray="{self.dashes or "none"}"/>{sign}</svg>'
        )


def line_styles(names: Sequence[str], models: Sequence[str]) -> dict[str, Line]:
    """Solid and broad for the models, broken and thin for what they are measured against."""
    own = [name for name in names if name in models]
    others = [name for name in names if name not in models]
    styles = {
        name: Line(COLOURS[i % len(COLOURS)], "", 2.4, MARKERS[i % len(MARKERS)])
        for i, name in enumerate(own)
    }
    # A ninth model is told from the first by a long dash, which no baseline has without a marker
    for i, name in enumerate(own[len(MARKERS) :]):
        styles[name] = Line(COLOURS[i % len(COLOURS)], "24 2", 2.4, MARKERS[i % len(MARKERS)])
    for i, name in enumerate(others):
        colour = INK if i == 0 else COLOURS[(len(own) + i - 1) % len(COLOURS)]
        marker = MARKERS[(i // len(DASHES)) % len(MARKERS)]
        styles[name] = Line(colour, DASHES[i % len(DASHES)], 1.5, marker)
    return styles


def mark(kind: str, x: float, y: float, colour: str) -> str:
    """A marker around a point, as SVG."""
    r = 3.2
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'
    if kind in ("cross", "x"):
        ends = [(-r, 0, r, 0), (0, -r, 0, r)] if kind == "cross" else [(-r, -r, r, r), (-r, r, r, -r)]
        path = "".join(f"M{x + a:.1f} {y + b:.1f}L{x + c:.1f} {y + d:.1f}" for a, b, c, d in ends)
        return f'<path d="{path}" stroke="{colour}" stroke-width="1.8" fill="none"/>'
    turns = {"square": (4, 45), "diamond": (4, 0), "triangle-up": (3, 90), "star": (10, 90)}[kind]
    angles = np.deg2rad(turns[1] + np.arange(turns[0]) * 360 / turns[0])
    radii = np.where(np.arange(turns[0]) % 2, 0.45, 1.0) if kind == "star" else np.ones(turns[0])
    points = " ".join(
        f"{x + 1.35 * r * size * np.cos(a):.1f},{y - 1.35 * r * size * np.sin(a):.1f}"
        for a, size in zip(angles, radii, strict=True)
    )
    return f'<polygon points="{points}" fill="{colour}"/>'
