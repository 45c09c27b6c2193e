"""A map as pixels: which cell of the grid each of them shows, and where meridians and parallels run over it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecasting.projection import Cells

PIXELS = 640  # along the longer side
LAND, OUTSIDE = 0, 1  # before the numbers of the wet cells, which are counted from 2
LINES = 5  # meridians and parallels across a map, about


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels of a map.

    Attributes
    ----------
    cells
        ``[row, column]``, the uppermost row first: :data:`LAND`, :data:`OUTSIDE`, or 2 + the number of a wet cell in
        the order of the grid.
    lines
        Meridians and parallels as paths of SVG, in pixels.
    labels
        ``[text, x, y, side]`` where a line meets the lower (``"x"``) or the left (``"y"``) edge.
    """

    cells: NDArray[np.uint32]
    lines: list[str]
    labels: list[list[Any]]


def raster_of(cells: Cells, stride: int = 1) -> Raster:
    """Each pixel shows the cell whose centre is nearest, where one is near enough to cover it.

    Parameters
    ----------
    stride
        Take every such cell only, in either direction, from the middle of the first block.
    """
    import cartopy.crs as ccrs
    from scipy.spatial import KDTree

    left, right, bottom, top = cells.extent
    size = PIXELS / max(right - left, top - bottom)
    width, height = (max(1, round(length * size)) for length in (right - left, top - bottom))
    chosen = slice(stride // 2, None, stride), slice(stride // 2, None, stride)
    centres = cells.crs.transform_points(ccrs.PlateCarree(), cells.longitude[chosen], cells.latitude[chosen])
    wet = cells.wet[chosen]
    # Half a diagonal reaches from the centre to a corner; a cell torn by the map's seam has none of that kind
    corner = np.hypot(np.diff(cells.x[:-1], axis=1), np.diff(cells.y[:-1], axis=1))
    side = np.hypot(np.diff(cells.x[:, :-1], axis=0), np.diff(cells.y[:, :-1], axis=0))
    reach = 0.5 * np.hypot(corner, side)[chosen] * stride * 1.05
    reach = np.minimum(reach, 3 * np.median(reach)).ravel()
    flat = centres[..., :2].reshape(-1, 2)
    # A projection may have no place for a cell, such as a pole
    placed = np.isfinite(flat).all(-1) & np.isfinite(reach)
    x = left + (np.arange(width) + 0.5) / width * (right - left)
    y = top - (np.arange(height) + 0.5) / height * (top - bottom)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    distance, nearest = KDTree(flat[placed]).query(points)
    number = np.where(wet, np.cumsum(wet).reshape(wet.shape) + 1, LAND).ravel()[placed]
    inside = distance <= reach[placed][nearest]
    if not cells.torn.any():
        inside &= _outline(cells).contains_points(points)
    shown = np.where(inside, number[nearest], OUTSIDE)
    lines, labels = _graticule(cells, width, height)
    return Raster(shown.reshape(height, width).astype(np.uint32), lines, labels)


def _outline(cells: Cells) -> Any:
    """Around the corners of the outermost cells."""
    from matplotlib.path import Path

    rim = [
        np.concatenate([plane[0, :-1], plane[:-1, -1], plane[-1, :0:-1], plane[:0:-1, 0]])
        for plane in (cells.x, cells.y)
    ]
    return Path(np.stack(rim, axis=-1), closed=False)


def _graticule(cells: Cells, width: int, height: int) -> tuple[list[str], list[list[Any]]]:
    import cartopy.crs as ccrs

    left, right, bottom, top = cells.extent
    lines, labels = [], []
    # Seen from the middle, so that no meridian is missed where the domain crosses the date line
    middle = float(cells.longitude.flat[cells.longitude.size // 2])
    longitude = (cells.longitude - middle + 180) % 360 - 180 + middle
    spans = (longitude.min(), longitude.max()), (cells.latitude.min(), cells.latitude.max())
    for axis, (low, high) in enumerate(spans):
        other = spans[1 - axis]
        ends = np.array([other[0] - 5, other[1] + 5])
        low_end, high_end = ends.clip(-89.9, 89.9) if axis == 0 else ends
        along = np.linspace(low_end, high_end, 120)
        for value in _round_values(low, high):
            fixed = np.full(along.size, value)
            points = cells.crs.transform_points(
                ccrs.PlateCarree(), *((fixed, along) if axis == 0 else (along, fixed))
            )
            x = (points[:, 0] - left) / (right - left) * width
            y = (top - points[:, 1]) / (top - bottom) * height
            inside = np.isfinite(x) & np.isfinite(y) & (x > -width) & (x < 2 * width)
            inside &= (y > -height) & (y < 2 * height)
            if inside.sum() < 2:
                continue
            x, y = x[inside], y[inside]
            lines.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)))
            place = _meeting(y, x, height) if axis == 0 else _meeting(x, y, 0.0)
            size = width if axis == 0 else height
            if place is not None and 0.03 * size < place < 0.97 * size:
                labels.append([_degrees(value, "EW" if axis == 0 else "NS"), round(place, 1), "xy"[axis]])
    return lines, labels


def _round_values(low: float, high: float) -> NDArray[np.float64]:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(LINES, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return np.array([tick for tick in ticks if low <= tick <= high])


def _meeting(across: NDArray[np.float64], along: NDArray[np.float64], edge: float) -> float | None:
    """Where a line crosses an edge of the map, along this edge; None where it does not."""
    beyond = across > edge
    crossing = np.flatnonzero(beyond[1:] != beyond[:-1])
    if not crossing.size:
        return None
    i = int(crossing[0])
    share = (edge - across[i]) / (across[i + 1] - across[i])
    return float(along[i] + share * (along[i + 1] - along[i]))


def _degrees(value: float, sides: str) -> str:
    value = (value + 180) % 360 - 180 if sides == "EW" else value
    side = "" if value == 0 else sides[0] if value > 0 else sides[1]
    return f"{abs(value):g}°{side}"
