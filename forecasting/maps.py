"""Maps of forecasts: the coast from our own mask, a unit on every bar, nothing fetched from anywhere."""

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from forecasting.fields import Field, field_of, limits, rounded_up, unit_text
from forecasting.projection import Cells, cells_of

LAND = "#c8cbd0"
COAST = "#3c4149"
INK = "#20242b"
MUTED = "#5b6470"
DPI = 150
ARROWS = 26  # along the longer side of a map; more are hatching, fewer miss the eddies
STYLE: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that a picture has the same bytes everywhere
    "font.size": 9,
    "axes.edgecolor": COAST,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.7,
}


def draw_map(
    ds: xr.Dataset,
    *,
    variable: str,
    lead: int | str | np.timedelta64,
    to: str | Path,
    start: Any = None,
    truth: xr.Dataset | None = None,
    depth: float | None = None,
) -> Path:
    """Draw one plane of a forecast file as a PNG; beside the truth and their difference where a truth is given.

    Parameters
    ----------
    ds
        A forecast file, ``(init_time, lead_time, ..., y, x)``.
    variable
        A variable of the file, ``speed`` for the speed of a current with arrows, or a pair such as ``uo+vo``.
    lead
        Which lead of the file, counted from 1; or its duration, such as ``"6h"``.
    to
        The PNG to write.
    start
        A start of the file; None takes the first.
    truth
        What happened, in the form of a forecast file.
    depth
        Metres; None takes the uppermost level.

    Raises
    ------
    ValueError
        If the file does not hold what is asked for, or the picture is no PNG.
    """
    path = Path(to)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"{path}: a map is written as .png, not '{path.suffix}'; give a path that ends in .png."
        )
    shown = field_of(ds, variable=variable, lead=lead, start=start, depth=depth)
    if truth is None:
        return save_png(map_figure(shown, cells_of(ds)), path)
    happened = field_of(truth, variable=variable, lead=lead, start=start, depth=depth)
    return save_png(comparison_figure(shown, happened, cells_of(ds)), path)


def map_figure(
    field: Field, cells: Cells, *, ends: tuple[float, float] | None = None, size: float = 42.0
) -> Any:
    """One map with its bar.

    Parameters
    ----------
    ends
        Of the colour scale; None fits them to the field.
    size
        Area of the map, square inches.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        page = _Page(cells, 1, size=size, bars=(0,))
        page.panel(0, field, ends or limits(field))
        page.title(f"{field.label}  ·  {field.who}" if field.who else field.label, field.when)
        return page.figure


def comparison_figure(
    forecast: Field,
    truth: Field,
    cells: Cells,
    *,
    ends: tuple[float, float] | None = None,
    difference_ends: tuple[float, float] | None = None,
    size: float = 17.0,
) -> Any:
    """Forecast, truth and their difference in a row; the first two share their limits, the third is centred at zero.

    The limits are fitted to the truth: a forecast that left its range saturates, and the bar's arrow says so.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        difference = forecast.minus(truth)
        shared = ends or limits(truth)
        page = _Page(cells, 3, size=size, bars=(1, 2))
        page.panel(0, forecast, shared, heading=forecast.who)
        page.panel(1, truth, shared, heading="truth")
        page.panel(2, difference, difference_ends or limits(difference), heading="forecast − truth")
        page.title(f"{forecast.label}  ·  {forecast.who}", forecast.when)
        return page.figure


def save_png(figure: Any, path: str | Path, *, dpi: int = DPI, colours: int | None = None) -> Path:
    """Write a figure whole, without a date in it: the same picture is the same bytes.

    Parameters
    ----------
    colours
        Size of the palette; None keeps all colours. A map has few, so 256 of them quarter the file unseen.
    """
    import matplotlib
    from PIL import Image

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    if colours is not None:
        with Image.open(buffer) as image:
            paletted = image.convert("RGB").quantize(
                colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
            )
        buffer = io.BytesIO()
        paletted.save(buffer, format="png", optimize=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(buffer.getvalue())
    os.replace(partial, path)
    return path


@dataclass(frozen=True)
class _Box:
    """Inches from the lower left corner of the page."""

    left: float
    bottom: float
    width: float
    height: float


class _Page:
    """A row of maps with bars, laid out in inches: exact, and far quicker than asking matplotlib to find room."""

    LEFT, RIGHT, BOTTOM, TOP, GAP, BAR, BAR_TEXT = 0.55, 0.15, 0.42, 0.72, 0.16, 0.13, 0.72

    def __init__(self, cells: Cells, count: int, *, size: float, bars: Sequence[int]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.cells, self.bars = cells, bars
        width = float(np.clip(np.sqrt(size / cells.aspect), 0.62 * np.sqrt(size), 1.9 * np.sqrt(size)))
        height = width * cells.aspect
        heading = 0.24 if count > 1 else 0.0
        self.boxes, left = [], self.LEFT
        for i in range(count):
            self.boxes.append(_Box(left, self.BOTTOM, width, height))
            left += width + (0.1 + self.BAR + self.BAR_TEXT if i in bars else self.GAP)
        self.width, self.height = left + self.RIGHT, self.BOTTOM + height + heading + self.TOP
        self.figure = Figure(figsize=(self.width, self.height))
        FigureCanvasAgg(self.figure)

    def panel(self, number: int, field: Field, ends: tuple[float, float], *, heading: str = "") -> None:
        """Draw one map, and its bar where it has one."""
        box = self.boxes[number]
        axes = self.figure.add_axes(self._share(box), projection=self.cells.crs)
        mesh = _draw(axes, field, self.cells, ends, inches=box.width, left=number == 0)
        if heading:
            axes.set_title(heading, loc="left", fontsize=9.5, fontweight="bold", pad=5)
        if number in self.bars:
            tall = min(box.height, 4.5)
            bar = _Box(box.left + box.width + 0.1, box.bottom + (box.height - tall) / 2, self.BAR, tall)
            caxes = self.figure.add_axes(self._share(bar))
            colorbar = self.figure.colorbar(mesh, cax=caxes, extend=_extend(field, ends))
            colorbar.outline.set_linewidth(0.5)
            unit = unit_text(field.units)
            text = field.label + (f" ({unit})" if unit else " (1)")
            # A label longer than its bar would leave the page
            colorbar.set_label(text, fontsize=min(8.5, 8.5 * tall * 14 / max(len(text), 1)))
            caxes.tick_params(labelsize=8, length=2.5, width=0.5)

    def title(self, head: str, below: str) -> None:
        """What, who and when, flush with the left edge of the first map."""
        left, top = self.boxes[0].left / self.width, self.height
        room = self.width - self.boxes[0].left - 0.1
        # 0.62 and 0.6 of the type size are the mean widths of this font's bold and regular letters
        large = min(12.5, 72 * room / (0.66 * max(len(head), 1)))
        small = min(8.5, 72 * room / (0.6 * max(len(below), 1)))
        self.figure.text(left, (top - 0.16) / top, head, fontsize=large, fontweight="bold", va="top")
        self.figure.text(left, (top - 0.42) / top, below, fontsize=small, color=MUTED, va="top")

    def _share(self, box: _Box) -> tuple[float, float, float, float]:
        return (
            box.left / self.width,
            box.bottom / self.height,
            box.width / self.width,
            box.height / self.height,
        )


def _draw(
    axes: Any, field: Field, cells: Cells, ends: tuple[float, float], *, inches: float, left: bool
) -> Any:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import ListedColormap

    hidden = cells.torn
    land = np.ma.masked_where(cells.wet | hidden, np.ones(cells.wet.shape))
    axes.pcolormesh(cells.x, cells.y, land, cmap=ListedColormap([LAND]), vmin=0, vmax=1, zorder=1)
    values = np.ma.masked_where(~np.isfinite(field.values) | ~cells.wet | hidden, field.values)
    colours = _colour_map(field.colours)
    mesh = axes.pcolormesh(cells.x, cells.y, values, cmap=colours, vmin=ends[0], vmax=ends[1], zorder=1)
    axes.add_collection(
        LineCollection(
            list(cells.coast), colors=COAST, linewidths=0.12 * inches**0.9, capstyle="round", zorder=3
        )
    )
    extent = cells.extent
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    _grid_lines(axes, inches=inches, left=left)
    if field.east is not None and field.north is not None:
        _arrows(axes, field, cells, ends, inches=inches)
    if abs(cells.north) > 10:
        _north_arrow(axes, cells.north)
    return mesh


def _colour_map(name: str) -> Any:
    with warnings.catch_warnings():
        # cmocean 4.0 builds its maps in a way that matplotlib 3.11 announces to drop
        warnings.simplefilter("ignore")
        import cmocean
    return getattr(cmocean.cm, name)


def _grid_lines(axes: Any, *, inches: float, left: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = axes.gridlines(
        draw_labels={"bottom": "x", "left": "y"} if left else {"bottom": "x"},
        x_inline=False,
        y_inline=False,
        linewidth=0.4,
        color=COAST,
        alpha=0.35,
        zorder=2,
        rotate_labels=False,
    )
    count = 5 if inches > 3.5 else 3
    lines.xlocator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])
    lines.ylocator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])
    lines.xlabel_style = lines.ylabel_style = {"size": 7.5, "color": MUTED}


def _arrows(axes: Any, field: Field, cells: Cells, ends: tuple[float, float], *, inches: float) -> None:
    import cartopy.crs as ccrs

    assert field.east is not None
    assert field.north is not None
    count = ARROWS * min(1.0, inches / 5.0)
    step = max(1, round(max(cells.wet.shape) / count))
    # Whole blocks from the middle of the first one: the arrows stand evenly inside the frame
    rows = slice(step // 2, None, step), slice(step // 2, None, step)
    east, north = field.east[rows], field.north[rows]
    shown = np.isfinite(east) & np.isfinite(north) & cells.wet[rows] & ~cells.torn[rows]
    if not shown.any():
        return
    place = cells.longitude[rows][shown], cells.latitude[rows][shown]
    # True east and north are no directions of the paper: they are turned into it, their length kept.
    u, v = cells.crs.transform_vectors(ccrs.PlateCarree(), *place, east[shown], north[shown])
    points = cells.crs.transform_points(ccrs.PlateCarree(), *place)
    # From the colour scale, so that maps that share their colours share their arrows too; errors of a vector are
    # larger than errors of its length
    typical = rounded_up(ends[1] * (1.5 if field.signed else 0.7))
    left, right, *_ = cells.extent
    spacing = (right - left) / count
    quiver = axes.quiver(
        points[:, 0],
        points[:, 1],
        u,
        v,
        color=INK,
        alpha=0.85,
        scale=typical / (1.35 * spacing),
        scale_units="x",
        angles="xy",
        width=0.0012 + 0.004 / max(inches, 1.0) ** 1.0,
        headwidth=3.6,
        headlength=4.2,
        headaxislength=3.8,
        minlength=0.4,
        zorder=4,
    )
    key = axes.quiverkey(
        quiver,
        0.985,
        -0.045 * 5 / max(inches * cells.aspect, 2.0),
        typical,
        f"{typical:g} {unit_text(field.units)}",
        labelpos="W",
        coordinates="axes",
        fontproperties={"size": 7.5},
        labelcolor=MUTED,
    )
    key.set_zorder(5)


def _north_arrow(axes: Any, degrees: float) -> None:
    """Small compass in the upper left corner: on its own projection a grid may lie on its side."""
    from matplotlib.patches import Circle, FancyArrowPatch
    from matplotlib.transforms import ScaledTranslation

    figure = axes.figure
    inches = figure.dpi_scale_trans + ScaledTranslation(0, 1, axes.transAxes)
    angle, reach = np.deg2rad(degrees), 0.2

    def place(share: float) -> tuple[float, float]:
        return 0.3 + share * reach * float(np.sin(angle)), -0.3 + share * reach * float(np.cos(angle))

    rim: dict[str, Any] = {"facecolor": "white", "edgecolor": COAST, "linewidth": 0.5, "alpha": 0.9}
    axes.add_patch(Circle(place(0), 0.24, transform=inches, zorder=6, **rim))
    needle: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 6, "linewidth": 0.9, "color": INK}
    axes.add_patch(
        FancyArrowPatch(place(-1), place(0.35), transform=inches, shrinkA=0, shrinkB=0, zorder=7, **needle)
    )
    words: dict[str, Any] = {"fontsize": 6.5, "fontweight": "bold", "ha": "center", "va": "center"}
    axes.text(*place(0.72), "N", transform=inches, zorder=8, **words)


def _extend(field: Field, ends: tuple[float, float]) -> str:
    values = field.values[np.isfinite(field.values)]
    if not values.size:
        return "neither"
    below, above = bool(values.min() < ends[0]), bool(values.max() > ends[1])
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
