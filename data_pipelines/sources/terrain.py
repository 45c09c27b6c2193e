"""Terrain-following levels of the ROMS family: where they lie, and their values at depths.

Formulas: Shchepetkin and McWilliams, Ocean Modelling 9 (2005), as https://www.myroms.org/wiki/Vertical_S-coordinate
numbers them: ``Vtransform`` 1 and 2.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.sources.source import SURFACE, Fetch, SourceField, Values, near

_WHOLE = 0.51  # of two levels' distance: the outermost one lies half of it from the surface or the sea floor
_ENOUGH = (
    10_000  # cells that a share is counted on: all levels of all cells are too many to look at for every file
)
_BAND = 2**22  # heights held at once


@dataclass(frozen=True, eq=False)
class TerrainLevels:
    """Levels between sea floor and surface.

    Attributes
    ----------
    s
        Position between the floor (-1) and the surface (0), ``[Z]``, in the file's order.
    stretching
        ``C(s)``, ``[Z]``.
    critical_depth
        ``hc``, m: above it levels are near even.
    transform
        1 or 2.
    floor
        Depth of the sea floor, m, ``[Y, X]``.
    """

    s: NDArray[np.float64]
    stretching: NDArray[np.float64]
    critical_depth: float
    transform: int
    floor: NDArray[np.float64]

    @property
    def top(self) -> int:
        """Number of the uppermost level."""
        return int(np.argmax(self.s))

    def heights(self, surface: Any, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Heights of the levels above the resting surface, m, ``[Z, Y, X]``.

        Parameters
        ----------
        surface
            Sea level, m, ``[Y, X]`` of the block.
        """
        return self._heights(self.floor[rows, columns], surface)

    def _heights(self, floor: NDArray[np.float64], surface: Any) -> NDArray[np.float64]:
        """The same over any cells: ``[Z, ...]`` from the floor and the sea level ``[...]`` there."""
        across = (slice(None), *(None,) * floor.ndim)
        s, c = self.s[across], self.stretching[across]
        if self.transform == 1:
            rest = self.critical_depth * (s - c) + floor * c
            return np.asarray(rest + surface * (1 + rest / np.where(floor == 0, np.nan, floor)))
        deep = self.critical_depth + floor
        share = (self.critical_depth * s + floor * c) / np.where(deep == 0, np.nan, deep)
        return np.asarray(surface + (surface + floor) * share)

    def surface_depth(self, wet: NDArray[np.bool_], where: str) -> float:
        """Median depth of the uppermost level over the wet cells, m.

        Raises
        ------
        ValueError
            If it is not near the surface.
        """
        depth = float(-np.median(self._heights(self._some(wet), 0.0)[self.top]))
        if depth > SURFACE:
            raise ValueError(
                f"{where}: its uppermost level, s = {self.s.max():g}, lies {depth:.0f} m down in the median, more than "
                f"{SURFACE:g} m, so it has no surface level ({self.span}); name depths with --depths."
            )
        return depth

    def require(self, depths: Sequence[float], wet: NDArray[np.bool_], where: str) -> None:
        """Refuse depths that the levels do not reach in half of the cells that are as deep.

        Raises
        ------
        ValueError
            Naming the depth and the range of the levels.
        """
        for depth in depths:
            deep = wet & (self.floor >= depth)
            if not deep.any():
                raise ValueError(
                    f"{where}: no ocean cell is {depth:g} m deep; the deepest is {self.floor[wet].max():g} m. Choose "
                    "other depths."
                )
            floor = self._some(deep)
            reached = self._within(np.sort(self._heights(floor, 0.0), 0), depth, floor).mean()
            if reached < 0.5:
                raise ValueError(
                    f"{where}: at {depth:g} m only {100 * reached:.0f} % of the cells that are as deep have a level; "
                    f"the file holds {self.span}. Choose depths among them, or a file with all levels."
                )

    def _some(self, cells: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Floor of some cells in an even choice: a share of them is that of all to a hundredth."""
        floor = self.floor[cells]
        return floor[:: max(1, floor.size // _ENOUGH)]

    @property
    def span(self) -> str:
        """The range of the levels, in words."""
        return f"{len(self.s)} levels from s = {self.s.min():g} to {self.s.max():g}"

    def at_depths(
        self,
        values: Values,
        depths: Sequence[float],
        heights: NDArray[np.float64],
        rows: slice,
        columns: slice,
    ) -> Values:
        """Values on the levels ``[Z, Y, X]`` at depths, linear in height: ``[depth, Y, X]``.

        The outermost levels stand for what lies between them and the surface or the sea floor; NaN below the floor,
        and where the file's levels end before.
        """
        order = np.argsort(self.s)
        heights, values = heights[order], values[order]
        floor = self.floor[rows, columns]
        planes = []
        for depth in depths:
            below = (heights < -depth).sum(0)
            low, high = np.clip(below - 1, 0, len(order) - 1)[None], np.clip(below, 0, len(order) - 1)[None]
            low_height, high_height = (
                np.take_along_axis(heights, low, 0),
                np.take_along_axis(heights, high, 0),
            )
            gap = high_height - low_height
            weight = np.clip(np.where(gap > 0, (-depth - low_height) / np.where(gap > 0, gap, 1), 0), 0, 1)
            low_value, high_value = np.take_along_axis(values, low, 0), np.take_along_axis(values, high, 0)
            plane = (low_value + weight * (high_value - low_value))[0]
            planes.append(np.where(self._within(heights, depth, floor), plane, np.nan))
        return np.stack(planes).astype(np.float32)

    def _within(
        self, heights: NDArray[np.float64], depth: float, floor: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Cells whose levels, sorted upward, say what is at a depth."""
        s = np.sort(self.s)
        spacing = np.diff(s).min() if len(s) > 1 else 0.0
        reach = near(depth)
        lowest = np.full_like(floor, -np.inf) if s[0] + 1 <= _WHOLE * spacing else heights[0] - reach
        # Under a sea level below zero the surface stands for what lies above it.
        highest = heights[-1] + reach
        return (floor >= depth) & (-depth >= lowest) & (-depth <= highest)


def terrain_levels(ds: xr.Dataset, dim: Hashable, floor: NDArray[np.float64], where: str) -> TerrainLevels:
    """The levels of a vertical dimension, from variables or attributes of a ROMS or CROCO file.

    Raises
    ------
    ValueError
        If the stretching, the critical depth or the transform is nowhere in it.
    """
    attrs = ds[dim].attrs if dim in ds.variables else {}
    terms = dict(re.findall(r"(\w+)\s*:\s*(\S+)", str(attrs.get("formula_terms", ""))))
    point = "w" if str(dim).endswith("w") else "r"
    size = ds.sizes[dim]
    s = _values(ds, (str(dim), f"sc_{point}", "s_rho"), size)
    if s is None:
        raise ValueError(
            f"{where} lies on terrain-following levels '{dim}' without values; add the variable '{dim}'."
        )
    names = tuple(name for name in (terms.get("C"), f"Cs_{point}", "Cs_rho") if name is not None)
    stretching = _values(ds, names, size, among=s)
    critical = _number(ds, tuple(name for name in (terms.get("depth_c"), "hc") if name is not None))
    transform = _transform(ds, attrs)
    for what, found in (
        (f"the stretching of its levels (Cs_{point})", stretching),
        ("their critical depth (hc)", critical),
        ("their transform (Vtransform, 1 or 2)", transform),
    ):
        if found is None:
            raise ValueError(
                f"{where} lies on terrain-following levels '{dim}', and the file does not tell {what}; give the file "
                "as the model wrote it, or add the variable."
            )
    assert stretching is not None
    assert critical is not None
    assert transform is not None
    return TerrainLevels(s, stretching, critical, transform, floor)


def _values(
    ds: xr.Dataset, names: Sequence[str], size: int, among: NDArray[np.float64] | None = None
) -> NDArray[np.float64] | None:
    """A vertical profile from a variable or an attribute; from one of all levels, those whose ``s`` is kept."""
    for name in names:
        if name in ds.variables and ds[name].shape == (size,):
            return ds[name].to_numpy().astype(np.float64)
        if name in ds.attrs:
            whole = np.atleast_1d(np.asarray(ds.attrs[name], dtype=np.float64))
            if whole.shape == (size,):
                return whole
            if among is not None:
                # A file cut to some levels keeps the attribute of all: level k of N has s = (k + 1/2) / N - 1.
                numbers = (among + 1) * len(whole) - 0.5
                if np.allclose(numbers, np.round(numbers), atol=0.01):
                    return whole[np.round(numbers).astype(int)]
    return None


def _number(ds: xr.Dataset, names: Sequence[str]) -> float | None:
    for name in names:
        held = ds[name].to_numpy() if name in ds.variables else ds.attrs.get(name)
        if held is not None and np.size(held) == 1:
            return float(np.ravel(held)[0])
    return None


def _transform(ds: xr.Dataset, attrs: dict[Hashable, Any]) -> int | None:
    number = _number(ds, ("Vtransform",))
    if number is None and "Vtransform" in attrs:
        number = float(attrs["Vtransform"])
    if number is None:
        kind = str(ds.attrs.get("VertCoordType", ""))  # CROCO before it wrote a number
        standard_name = str(attrs.get("standard_name", ""))
        if kind in ("NEW", "SM09") or standard_name == "ocean_s_coordinate_g2":
            number = 2
        elif kind in ("OLD", "SONG") or standard_name in ("ocean_s_coordinate_g1", "ocean_s_coordinate"):
            number = 1
    return int(number) if number in (1, 2) else None


def is_terrain(ds: xr.Dataset, dim: Hashable | None) -> bool:
    """Whether a vertical dimension follows the sea floor."""
    if dim is None:
        return False
    standard_name = str(ds[dim].attrs.get("standard_name", "")) if dim in ds.variables else ""
    return standard_name.startswith(("ocean_s", "ocean_sigma")) or str(dim).startswith("s_")


def on_terrain(
    field: SourceField, levels: TerrainLevels, wet: NDArray[np.bool_], sea_level: Fetch | None
) -> SourceField:
    """A field on terrain-following levels that can be asked for depths.

    Parameters
    ----------
    field
        Fetches by numbers of the levels.
    wet
        Ocean cells, ``[Y, X]``.
    sea_level
        Fetches the height of the surface, m; None takes it at rest.
    """
    return replace(field, at_depths=partial(_chosen, field, levels, wet, sea_level))


def _chosen(
    field: SourceField,
    levels: TerrainLevels,
    wet: NDArray[np.bool_],
    sea_level: Fetch | None,
    depths: str | list[float],
) -> SourceField:
    if depths == "all":
        raise ValueError(
            f"{field.where} lies on terrain-following levels, which have other depths in every cell ({levels.span}); "
            "name depths in m with --depths."
        )
    if isinstance(depths, str):
        depth = levels.surface_depth(wet, field.where)
        return replace(
            field,
            depths=np.array([depth]),
            fetch=partial(_top, field.fetch, levels.top),
            at_depths=None,
            attributes=field.attributes | {"source_level": f"s = {levels.s.max():g}, the uppermost"},
        )
    levels.require(depths, wet, field.where)
    how = "linear in height between terrain-following levels, whose heights follow the sea level"
    if sea_level is None:
        how = "linear in height between terrain-following levels under a sea level at rest, as the file holds none"
    return replace(
        field,
        depths=np.sort(np.asarray(depths, dtype=np.float64)),
        fetch=partial(_at_depths, field.fetch, levels, sorted(depths), sea_level),
        at_depths=None,
        attributes=field.attributes | {"vertical_interpolation": how},
    )


def _top(fetch: Fetch, top: int, steps: slice, levels: list[int], rows: slice, columns: slice) -> Values:
    assert levels == [0]
    return fetch(steps, [top], rows, columns)


def _at_depths(
    fetch: Fetch,
    terrain: TerrainLevels,
    depths: list[float],
    sea_level: Fetch | None,
    steps: slice,
    levels: list[int],
    rows: slice,
    columns: slice,
) -> Values:
    """Step by step, so that one step on all levels is held at once."""
    wanted = [depths[level] for level in levels]
    first, last, _ = rows.indices(terrain.floor.shape[0])
    size = max(1, _BAND // (len(terrain.s) * terrain.floor.shape[1]))
    planes = []
    for step in range(steps.start, steps.stop):
        one = slice(step, step + 1)
        values = fetch(one, list(range(len(terrain.s))), rows, columns)[0]
        surface = np.zeros(values.shape[1:])
        if sea_level is not None:
            surface = np.nan_to_num(sea_level(one, [0], rows, columns)[0, 0])
        bands = []
        for start in range(first, last, size):
            band = slice(start, min(start + size, last))
            here = slice(band.start - first, band.stop - first)
            heights = terrain.heights(surface[here], band, columns)
            bands.append(terrain.at_depths(values[:, here], wanted, heights, band, columns))
        planes.append(np.concatenate(bands, 1))
    return np.stack(planes)
