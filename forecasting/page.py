"""A page of maps: laid out in inches, drawn with our own coast, and changed in place for the next picture of a film."""

import io
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.fields import Field, rounded_up, unit_text
from forecasting.projection import Cells

LAND = "#c8cbd0"
COAST = "#3c4149"
INK = "#20242b"
MUTED = "#5b6470"
DPI = 150
DASHES: Any = (0, (2.0, 1.3))  # of lines below zero: shorter than the small closed lines of a noisy field
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


class Page:
    """Rows of maps with bars, laid out in inches: exact, and far quicker than asking matplotlib to find room."""

    LEFT, RIGHT, BOTTOM, TOP, GAP, BAR, BAR_TEXT = 0.55, 0.15, 0.42, 0.72, 0.16, 0.13, 0.72

    def __init__(
        self,
        cells: Cells,
        columns: int,
        *,
        size: float,
        bars: Sequence[int],
        rows: int = 1,
        heading: bool = True,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.cells, self.bars, self.columns, self.rows = cells, bars, columns, rows
        width = float(np.clip(np.sqrt(size / cells.aspect), 0.62 * np.sqrt(size), 1.9 * np.sqrt(size)))
        height = width * cells.aspect
        above = 0.24 if heading and columns * rows > 1 else 0.0
        self.boxes: list[_Box] = []
        for row in range(rows):
            left, bottom = self.LEFT, self.BOTTOM + (rows - 1 - row) * (height + above + self.BOTTOM)
            for column in range(columns):
                self.boxes.append(_Box(left, bottom, width, height))
                left += width + (0.1 + self.BAR + self.BAR_TEXT if column in bars else self.GAP)
        self.width = left + self.RIGHT
        self.height = self.boxes[0].bottom + height + above + self.TOP
        self.figure = Figure(figsize=(self.width, self.height))
        FigureCanvasAgg(self.figure)
        self.words: list[Any] = []

    def panel(
        self,
        number: int,
        field: Field,
        ends: tuple[float, float],
        *,
        heading: str = "",
        of: Sequence[Field] = (),
    ) -> "Panel":
        """Draw one map, counted along rows, and its bar where its column has one.

        The bar's arrows say that some of the fields ``of`` all pictures that share it go beyond its ends.
        """
        box, column = self.boxes[number], number % self.columns
        axes = self.figure.add_axes(self._share(box), projection=self.cells.crs)
        panel = Panel(axes, field, self.cells, ends, inches=box.width, left=column == 0)
        if heading:
            axes.set_title(heading, loc="left", fontsize=9.5, fontweight="bold", pad=5)
        if column in self.bars:
            tall = min(box.height, 4.5)
            bar = _Box(box.left + box.width + 0.1, box.bottom + (box.height - tall) / 2, self.BAR, tall)
            caxes = self.figure.add_axes(self._share(bar))
            colorbar = self.figure.colorbar(panel.mesh, cax=caxes, extend=_extend(of or [field], ends))
            colorbar.outline.set_linewidth(0.5)
            for level, dashes in zip(sign_levels(field, ends), (DASHES, "-"), strict=False):
                caxes.axhline(level, color=INK, linewidth=0.7, linestyle=dashes)
            unit = unit_text(field.units)
            text = field.label + (f" ({unit})" if unit else " (1)")
            # A label longer than its bar would leave the page
            colorbar.set_label(text, fontsize=min(8.5, 8.5 * tall * 14 / max(len(text), 1)))
            caxes.tick_params(labelsize=8, length=2.5, width=0.5)
        return panel

    def title(self, head: str, below: str) -> None:
        """What, who and when, flush with the left edge of the first map; a second call changes the words."""
        left, top = self.boxes[0].left / self.width, self.height
        room = self.width - self.boxes[0].left - 0.1
        # 0.62 and 0.6 of the type size are the mean widths of this font's bold and regular letters
        large = min(12.5, 72 * room / (0.66 * max(len(head), 1)))
        small = min(8.5, 72 * room / (0.6 * max(len(below), 1)))
        if self.words:
            for words, text in zip(self.words, (head, below), strict=True):
                words.set_text(text)
            return
        self.words = [
            self.figure.text(left, (top - 0.16) / top, head, fontsize=large, fontweight="bold", va="top"),
            self.figure.text(left, (top - 0.42) / top, below, fontsize=small, color=MUTED, va="top"),
        ]

    def _share(self, box: _Box) -> tuple[float, float, float, float]:
        return (
            box.left / self.width,
            box.bottom / self.height,
            box.width / self.width,
            box.height / self.height,
        )


class Panel:
    """One map: land, coast, colours and what makes them readable without colour, and arrows of a current.

    The two halves of a map centred at zero are equally dark in grey: lines at half the ends, broken below zero and
    whole above it, tell them apart.
    """

    def __init__(
        self, axes: Any, field: Field, cells: Cells, ends: tuple[float, float], *, inches: float, left: bool
    ) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.colors import ListedColormap

        self.axes, self.cells, self.ends = axes, cells, ends
        land = np.ma.masked_where(cells.wet | cells.torn, np.ones(cells.wet.shape))
        axes.pcolormesh(cells.x, cells.y, land, cmap=ListedColormap([LAND]), vmin=0, vmax=1, zorder=1)
        self.mesh = axes.pcolormesh(
            cells.x,
            cells.y,
            self._shown(field),
            cmap=colour_map(field.colours),
            vmin=ends[0],
            vmax=ends[1],
            zorder=1,
        )
        self.lines: Any = None
        self._sign_lines(field)
        axes.add_collection(
            LineCollection(
                list(cells.coast), colors=COAST, linewidths=0.12 * inches**0.9, capstyle="round", zorder=3
            )
        )
        extent = cells.extent
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        _grid_lines(axes, inches=inches, left=left)
        self.arrows = _Arrows(axes, field, cells, ends, inches=inches) if field.east is not None else None
        if abs(cells.north) > 10:
            _north_arrow(axes, cells.north)

    def update(self, field: Field) -> None:
        """Show another field of the same kind in the same colours."""
        self.mesh.set_array(self._shown(field))
        self._sign_lines(field)
        if self.arrows is not None:
            self.arrows.update(field)

    def _shown(self, field: Field) -> Any:
        hidden = ~np.isfinite(field.values) | ~self.cells.wet | self.cells.torn
        return np.ma.masked_where(hidden, field.values)

    def _sign_lines(self, field: Field) -> None:
        if self.lines is not None:
            self.lines.remove()
            self.lines = None
        values, levels = self._shown(field), sign_levels(field, self.ends)
        crossed = [level for level in levels if values.count() and values.min() < level < values.max()]
        if not crossed or min(values.shape) < 2:
            return
        x, y = ((c[:-1, :-1] + c[1:, :-1] + c[:-1, 1:] + c[1:, 1:]) / 4 for c in (self.cells.x, self.cells.y))
        dashes = [DASHES if level < 0 else "-" for level in crossed]
        self.lines = self.axes.contour(
            x, y, values, crossed, colors=INK, linewidths=0.7, linestyles=dashes, zorder=2
        )


def sign_levels(field: Field, ends: tuple[float, float]) -> list[float]:
    """Where lines tell the sign of a field whose colours are centred at zero; none of others."""
    return [ends[0] / 2, ends[1] / 2] if field.signed else []


def colour_map(name: str) -> Any:
    """A colour map of cmocean."""
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


class _Arrows:
    """A current's direction, on points that stand evenly inside the frame."""

    def __init__(
        self, axes: Any, field: Field, cells: Cells, ends: tuple[float, float], *, inches: float
    ) -> None:
        import cartopy.crs as ccrs

        self.cells = cells
        count = ARROWS * min(1.0, inches / 5.0)
        step = max(1, round(max(cells.wet.shape) / count))
        # Whole blocks from the middle of the first one: the arrows stand evenly inside the frame
        self.rows = slice(step // 2, None, step), slice(step // 2, None, step)
        self.wet = cells.wet[self.rows] & ~cells.torn[self.rows]
        self.place = cells.longitude[self.rows][self.wet], cells.latitude[self.rows][self.wet]
        self.quiver: Any = None
        if not self.wet.any():
            return
        points = cells.crs.transform_points(ccrs.PlateCarree(), *self.place)
        # From the colour scale, so that maps that share their colours share their arrows too; errors of a vector are
        # larger than errors of its length
        typical = rounded_up(ends[1] * (1.5 if field.signed else 0.7))
        left, right, *_ = cells.extent
        spacing = (right - left) / count
        self.quiver = axes.quiver(
            points[:, 0],
            points[:, 1],
            *self._on_paper(field),
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
            self.quiver,
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

    def update(self, field: Field) -> None:
        if self.quiver is not None:
            self.quiver.set_UVC(*self._on_paper(field))

    def _on_paper(self, field: Field) -> tuple[Any, Any]:
        """True east and north are no directions of the paper: they are turned into it, their length kept."""
        import cartopy.crs as ccrs

        assert field.east is not None
        assert field.north is not None
        east, north = field.east[self.rows][self.wet], field.north[self.rows][self.wet]
        known = np.isfinite(east) & np.isfinite(north)
        u, v = self.cells.crs.transform_vectors(
            ccrs.PlateCarree(), *self.place, np.where(known, east, 0.0), np.where(known, north, 0.0)
        )
        return np.ma.masked_where(~known, u), np.ma.masked_where(~known, v)


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


def _extend(fields: Sequence[Field], ends: tuple[float, float]) -> str:
    known = [field.values[np.isfinite(field.values)] for field in fields]
    below = any(bool((values < ends[0]).any()) for values in known)
    above = any(bool((values > ends[1]).any()) for values in known)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
