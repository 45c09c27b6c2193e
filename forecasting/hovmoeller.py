"""Hovmoeller diagrams: how a forecast moves along a latitude, a longitude or a line across the sea."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import KDTree

from data_pipelines.positions import from_sphere, on_sphere
from forecasting.fields import Field, limits, unit_text
from forecasting.lane import Lane
from forecasting.page import (
    DASHES,
    INK,
    LAND,
    MUTED,
    STYLE,
    colour_map,
    extend_of,
    halo,
    save_png,
    sign_levels,
)
from oceanop.constants import EARTH_RADIUS
from oceanop.grid import Grid

Array = NDArray[np.float64]
AXES = {
    "latitude": "Latitude (degrees north), mean over longitudes",
    "longitude": "Longitude (degrees east), mean over latitudes",
}


@dataclass(frozen=True, eq=False)
class Section:
    """Places in a row, and the cells that make the value of each.

    Attributes
    ----------
    edges
        Between neighbouring places: degrees, or kilometres from the first end of a line, ``[place + 1]``.
    label
        Of this axis.
    place
        Number of the place a cell belongs to, -1 for none, ``[cell]``.
    cell
        Which cells of the flattened plane these are, ``[cell]``.
    weight
        m2, 0 on land, ``[cell]``.
    """

    edges: Array
    label: str
    place: NDArray[np.int64]
    cell: NDArray[np.int64]
    weight: Array

    def mean(self, plane: Array) -> Array:
        """Mean over the ocean cells of each place, each counted by its area; NaN where there is none, ``[place]``."""
        values = plane.ravel()[self.cell]
        counted = np.isfinite(values) & (self.weight > 0)
        place, weight = self.place[counted], self.weight[counted]
        size = self.edges.size - 1
        total = np.bincount(place, weight, size)
        summed = np.bincount(place, weight * values[counted], size)
        return np.divide(summed, total, out=np.full(size, np.nan), where=total > 0)


def section_of(grid: Grid, along: str) -> Section:
    """The cells along an axis or a line.

    Parameters
    ----------
    along
        ``latitude`` or ``longitude``: means over all cells of the same, in steps of a cell; or
        ``longitude,latitude:longitude,latitude``, the nearest cell of points on the great circle from one end to the
        other.

    Raises
    ------
    ValueError
        If the words are neither, or the line meets no ocean cell.
    """
    words = along.strip()
    return _axis(grid, words) if words in AXES else _line(grid, words)


def _axis(grid: Grid, name: str) -> Section:
    positions = grid.latitude if name == "latitude" else _continuous(grid.longitude)
    along, regular = int(name == "longitude"), "latitude" in grid.dims
    if regular:
        centres = np.unique(positions.take(0, axis=1 - along))
        edges = _edges(centres)
    else:
        # Cells of a turned grid share no longitude: bins as wide as a cell
        spacing = np.hypot(*(np.median(np.abs(np.diff(positions, axis=axis))) for axis in (0, 1)))
        count = max(1, int(np.ceil(np.ptp(positions) / spacing)))
        edges = np.linspace(positions.min(), positions.max(), count + 1)
    place = np.clip(np.searchsorted(edges, positions.ravel(), side="right") - 1, 0, edges.size - 2)
    weight = np.where(grid.mask, grid.cell_area, 0.0).ravel()
    return Section(edges, AXES[name], place, np.arange(place.size), weight)


def _line(grid: Grid, words: str) -> Section:
    try:
        ends = np.array([[float(part) for part in end.split(",")] for end in words.split(":")])
        if ends.shape != (2, 2) or not ((np.abs(ends) <= [360, 90]).all()):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"along '{words}' is neither latitude nor longitude nor a line; write a line as lon,lat:lon,lat, as in "
            "3,60:5,60."
        ) from None
    first, last = on_sphere(ends[:, 1], ends[:, 0])
    angle = float(np.arctan2(np.linalg.norm(np.cross(first, last)), first @ last))
    length = EARTH_RADIUS * angle
    if np.pi - angle < 1e-6:
        raise ValueError(
            f"the ends of the line {words} are antipodes, between which every way is shortest; move one of them."
        )
    count = int(length / min(grid.spacing)) + 1
    if count < 2:
        raise ValueError(
            f"the line {words} is {length / 1e3:.1f} km long, less than a cell; give ends further apart."
        )
    share = np.linspace(0.0, 1.0, count)[:, None]
    points = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
    tree = KDTree(on_sphere(grid.latitude, grid.longitude).reshape(-1, 3))
    points = on_sphere(*from_sphere(points))
    distance, cell = tree.query(points)
    reach = np.hypot(*grid.spacing) / EARTH_RADIUS
    weight = np.where(grid.mask, grid.cell_area, 0.0).ravel()[cell] * (distance <= reach)
    if not weight.any():
        raise ValueError(f"the line {words} meets no ocean cell of the forecast; give ends inside its sea.")
    edges = _edges(share[:, 0] * length / 1e3)
    label = f"From {_place(ends[0])} to {_place(ends[1])} (km)"
    return Section(edges, label, np.arange(count), np.asarray(cell), weight)


def draw_hovmoeller(
    ds: xr.Dataset,
    *,
    variable: str,
    along: str,
    to: str | Path,
    start: Any = None,
    truth: xr.Dataset | str | Path | None = None,
    depth: float | None = None,
) -> Path:
    """Draw one variable over place and lead as a PNG; beside the truth and their difference where a truth is given.

    Fields are read lead by lead, and only their section is kept.

    Parameters
    ----------
    ds
        A forecast file.
    variable, start, depth
        As :func:`forecasting.maps.draw_map` takes them.
    along
        ``latitude``, ``longitude`` or ``lon,lat:lon,lat`` (:func:`section_of`).
    truth
        A store that holds what happened, or its path.

    Raises
    ------
    ValueError
        If the forecast does not hold what is asked for, there is no such section, or the picture is no PNG.
    """
    path = Path(to)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"{path}: a Hovmoeller diagram is written as .png, not '{path.suffix}'; give a path that ends in .png."
        )
    section = section_of(Grid.from_dataset(ds), along)
    lane = Lane(ds, variable=variable, start=start, truth=truth, depth=depth)
    rows: list[list[Array]] = []
    first: tuple[Field, Field | None] | None = None
    for pair in lane.pairs(range(len(lane))):
        first = first or pair
        rows.append([section.mean(field.values) for field in pair if field is not None])
    assert first is not None
    drawn = [
        _flat(field, np.stack([row[i] for row in rows]))
        for i, field in enumerate(field for field in first if field is not None)
    ]
    figure = _figure(drawn, section, ds["lead_time"].values / np.timedelta64(1, "h"), first[0])
    return save_png(figure, path)


def _flat(field: Field, values: Array) -> Field:
    """A field of place and lead; arrows have no direction there."""
    return Field(values, field.label, field.units, field.colours, field.who, field.when)


def _figure(drawn: Sequence[Field], section: Section, hours: Array, first: Field) -> Any:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    days = hours.size > 1 and hours[-1] > 96
    leads = _edges(hours / 24 if days else hours)
    shared = limits(drawn[-1])
    panels = [(field, shared, field.who) for field in drawn]
    if len(drawn) == 2:
        difference = drawn[0].minus(drawn[1])
        panels.append((difference, limits(difference), "forecast − truth"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(panels) + 0.9, 5.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for number, (field, ends, heading) in enumerate(panels):
            mesh = _panel(axes[number], field, section.edges, leads, ends)
            axes[number].set_title(heading, loc="left", fontweight="bold", fontsize=9.5)
            axes[number].set_xlabel(section.label)
            if len(panels) == 1 or number > 0:
                shown = [field] if number == 2 else drawn
                unit = unit_text(field.units)
                bar = figure.colorbar(mesh, ax=axes[number], extend=extend_of(shown, ends), pad=0.02)
                bar.set_label(field.label + (f" ({unit})" if unit else " (1)"))
                for level, dashes in zip(sign_levels(field, ends), (DASHES, "-"), strict=False):
                    bar.ax.axhline(level, color=INK, linewidth=0.7, linestyle=dashes)
        if not days:
            axes[0].yaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 3, 6, 10]))
        axes[0].set_ylabel("Lead (days)" if days else "Lead (hours)")
        figure.suptitle(
            f"{first.label}  ·  {first.who}  ·  start {first.start}", x=0.01, ha="left", fontweight="bold"
        )
        return figure


def _panel(axes: Any, field: Field, places: Array, leads: Array, ends: tuple[float, float]) -> Any:
    axes.set_facecolor(LAND)
    values = np.ma.masked_invalid(field.values)
    mesh = axes.pcolormesh(
        places, leads, values, cmap=colour_map(field.colours), vmin=ends[0], vmax=ends[1], rasterized=True
    )
    levels = [
        level for level in sign_levels(field, ends) if values.count() and values.min() < level < values.max()
    ]
    if levels and min(values.shape) > 1:
        lines = axes.contour(
            (places[1:] + places[:-1]) / 2,
            (leads[1:] + leads[:-1]) / 2,
            values,
            levels,
            colors=INK,
            linewidths=0.7,
            linestyles=[DASHES if level < 0 else "-" for level in levels],
        )
        lines.set_path_effects(halo())
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.4)
    return mesh


def _edges(centres: Array) -> Array:
    """Between neighbours, and half a step beyond the ends."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _continuous(longitude: Array) -> Array:
    """Longitudes without a jump at the date line, around the middle of the domain."""
    radians = np.deg2rad(longitude)
    middle = float(np.rad2deg(np.arctan2(np.sin(radians).mean(), np.cos(radians).mean())))
    return (longitude - middle + 180) % 360 - 180 + middle


def _place(end: Array) -> str:
    east, north = end
    return f"{abs(north):g}°{'N' if north >= 0 else 'S'} {abs(east):g}°{'E' if east >= 0 else 'W'}"
