"""A parent model's states, brought to the cells, levels and times of a regional domain whose open edge they drive."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.plan import Plan, is_state
from data_pipelines.positions import Positions, on_sphere
from data_pipelines.regrid import Regridder, bilinear_weights, bracket
from data_pipelines.series import Series, join
from data_pipelines.sources import Source
from data_pipelines.store import read_root
from data_pipelines.windows import time_step
from oceanop.constants import EARTH_RADIUS
from oceanop.edge import COVERED, edge_distance, open_edge
from oceanop.layout import cf_attributes
from oceanop.variables import boundary_name

REACH = 2.0  # cells of the parent: where it has land, the nearest of its ocean values stands in from no further away
BESIDE = 1.0  # cells of the parent: its domain ends so far outside its outermost centres
LEAST = 0.5  # of the open edge: with values on fewer of its cells a domain is as good as closed
READ_BYTES = 32 * 2**20  # of float32 read at once

Mask = NDArray[np.bool_]


def with_boundary(plan: Plan, sources: Sequence[Source], duplicates: str = "error") -> Plan:
    """The plan with the parent's series of every state variable that the child keeps and the parent holds.

    Parameters
    ----------
    duplicates
        Which of the parent's steps of one time stays; as for :func:`data_pipelines.series.join`.

    Raises
    ------
    ValueError
        If the parent is incomplete, holds none of them, lacks a level, or does not cover the child's time.
    """
    for source in sources:
        root = read_root(source.path) if Path(str(source.path)).is_dir() else None
        if root is not None and root.get("attributes", {}).get("complete") is False:
            raise ValueError(
                f"{source.name} is not complete: its build was interrupted. Run its 'oceanop ingest' again."
            )
    if not sources:
        return plan
    depths = {name: series.depths for series in plan.ocean if is_state(series) for name in series.names}
    wanted = [name for name in plan.kept if name in depths]
    held = [name for name in wanted if any(name in source.fields for source in sources)]
    if not held:
        raise ValueError(
            f"{sources[0].name} holds none of the states {', '.join(wanted) or 'that are forecast'}, only "
            f"{', '.join(sources[0].fields)}; give a parent model that has at least one of them with --boundary."
        )
    found: list[tuple[Series, NDArray[np.int64], NDArray[np.float64]]] = []
    for name in held:
        if any(name in series.names for series, _, _ in found):
            continue
        levels = depths[name]
        series = join(sources, name, "surface" if levels is None else levels.tolist(), duplicates)
        if levels is not None and series.depths is None:
            raise ValueError(
                f"{series.where} has no depths, and the domain keeps '{name}' on {len(levels)} levels; give a parent "
                "with these levels."
            )
        needed_by = plan.ocean[0].where
        found.append(
            (series, *bracket(series.times, plan.times, series.where, needed_by, kind="a parent model"))
        )
    dropped = [record for series, _, _ in found for record in series.dropped]
    return replace(plan, boundary=found, duplicates=plan.duplicates + dropped)


def boundary_variables(plan: Plan, mapping: str | None) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    """Name to dimensions after time, and attributes, of all boundary values in a plan."""
    variables: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {}
    for series, _, _ in plan.boundary:
        step = time_step(series.times)
        for part in series.fields[0]:
            if part.name not in plan.kept:
                continue
            attrs = cf_attributes(boundary_name(part.name)) | part.attributes
            attrs |= {"source_variable": part.source_name, "source_units": part.source_units}
            if mapping is not None:
                attrs["grid_mapping"] = mapping
            if step is not None:
                attrs["source_step_seconds"] = int(step.astype(np.int64)) / 1000
            levels = () if series.depths is None else ("depth",)
            if series.depths is not None:
                attrs["source_depths"] = series.depths.tolist()
            variables[boundary_name(part.name)] = ((*levels, *plan.target.dims), attrs)
    return variables


def make_bridges(plan: Plan, wet: Mask) -> "list[Bridge]":
    """How each of a plan's parent series comes to the child's cells.

    Parameters
    ----------
    wet
        Ocean mask of the child, ``[(Z,) Y, X]``.

    Raises
    ------
    ValueError
        If the child has no open edge, or the parent's domain or its sea does not cover it.
    """
    if not plan.boundary:
        return []
    surface = wet if wet.ndim == 2 else wet[0]
    grid = plan.target.grid(surface, plan.coarsening.area())
    edge, distance = open_edge(grid), edge_distance(grid)
    if not edge.any():
        raise ValueError(
            f"{plan.ocean[0].where}: no ocean cell lies on an open edge of the domain, so that boundary values would "
            "turn nothing; leave --boundary out."
        )
    bridges = []
    for series, first, fraction in plan.boundary:
        seas = [surface] if series.depths is None else list(wet)
        bridge = Bridge.between(
            series, np.unique(np.concatenate([first, first + (fraction > 0)])), plan, seas
        )
        covered = _covered(bridge, series, surface, edge, distance)
        attributes = {
            COVERED: covered,
            "regridding": "bilinear in space between the parent's ocean cells, else its nearest one within "
            f"{bridge.reach:.0f} m, linear in time",
            "open_edge_cells": int(edge.sum()),
            "open_edge_cells_filled_nearest": int((edge & bridge.known[0] & ~bridge.inside).sum()),
            "open_edge_cells_without_value": int((edge & ~bridge.known[0]).sum()),
        }
        bridges.append(replace(bridge, attributes=attributes))
    return bridges


def bring_boundary(
    parent: tuple[Series, NDArray[np.int64], NDArray[np.float64]], bridge: "Bridge", steps: slice
) -> dict[str, NDArray[np.float32]]:
    """A parent's states at some of the child's steps on the child's cells, ``[n, Z, Y, X]`` by their own names.

    NaN where the parent knows nothing.
    """
    series, first, fraction = parent
    after = first[steps] + (fraction[steps] > 0)
    needed = np.unique(np.concatenate([first[steps], after]))
    weight = fraction[steps].astype(np.float32).reshape(-1, 1, 1, 1)
    result = {}
    for name, block in series.read(needed.tolist(), bridge.rows, bridge.columns).items():
        here = bridge(block)
        before, behind = here[np.searchsorted(needed, first[steps])], here[np.searchsorted(needed, after)]
        # Where both steps are one, the parent's own bits stay
        result[name] = np.where(weight > 0, before + weight * (behind - before), before)
    return result


@dataclass(frozen=True, eq=False)
class Bridge:
    """From a block of the parent's grid to the child's, level by level.

    Attributes
    ----------
    rows, columns
        The block of the parent that is read.
    levels
        One regridder a level; None where the parent has no sea.
    known
        Ocean cells of the child that get a value, ``[Z, Y, X]``.
    inside
        Cells with a value between the parent's own, at the top level, ``[Y, X]``.
    domain
        Cells that lie in the parent's domain, sea or land, ``[Y, X]``.
    cell, reach
        Size of the parent's cells, and how far its values are carried over its land, m.
    attributes
        What a store says of it.
    """

    rows: slice
    columns: slice
    levels: list[Regridder | None]
    known: Mask
    inside: Mask
    domain: Mask
    cell: float
    reach: float
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def between(cls, series: Series, steps: NDArray[np.int64], plan: Plan, seas: list[Mask]) -> "Bridge":
        """The way for some of the parent's steps to the child's levels, whose seas are given."""
        target, near = plan.target, Regridder.between(series.positions, plan.target)
        margin = math.ceil(REACH) + 1
        rows, columns = (
            slice(max(used.start - margin, 0), used.stop + margin) for used in (near.rows, near.columns)
        )
        rows, columns = (
            slice(part.start, min(part.stop, size))
            for part, size in zip((rows, columns), series.positions.shape, strict=True)
        )
        parent = series.positions.crop(rows, columns)
        cell = cell_size(parent)
        valid = _always_valid(series, steps, rows, columns)
        domain = bilinear_weights(parent, target)[1] | (distance_to(parent, None, target) <= BESIDE * cell)
        levels: list[Regridder | None] = []
        known = []
        for usable, sea in zip(valid, seas, strict=True):
            if not usable.any():
                levels.append(None)
                known.append(np.zeros(target.shape, dtype=bool))
                continue
            levels.append(regridder := Regridder.between(parent, target, usable))
            near_enough = distance_to(parent, usable, target) <= REACH * cell
            known.append(sea & domain & (regridder.inside | near_enough))
        top = levels[0]
        inside = np.zeros(target.shape, dtype=bool) if top is None else top.inside
        return cls(rows, columns, levels, np.stack(known), inside, domain, cell, REACH * cell)

    def __call__(self, fields: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fields of the block ``[n, Z, rows, columns]`` on the child's cells, ``[n, Z, Y, X]``."""
        result = np.full((len(fields), *self.known.shape), np.nan, dtype=np.float32)
        for level, regridder in enumerate(self.levels):
            if regridder is not None:
                brought = regridder(fields[:, level, regridder.rows, regridder.columns])
                result[:, level] = np.where(self.known[level], brought, np.nan)
        return result


def _covered(bridge: Bridge, series: Series, surface: Mask, edge: Mask, distance: NDArray[np.float64]) -> int:
    """Cells from the open edge inward that lie in the parent's domain."""
    outside = surface & ~bridge.domain
    covered = int(min(distance[outside].min(), max(surface.shape))) if outside.any() else max(surface.shape)
    if covered < 1:
        raise ValueError(
            f"{series.where} does not reach the open edge of the domain: {int((outside & edge).sum())} of its "
            f"{int(edge.sum())} ocean cells lie more than a cell of the parent ({bridge.cell:.0f} m) outside the "
            "parent's grid; give a parent that covers them, or choose a smaller domain with --region."
        )
    share = float((edge & bridge.known[0]).sum() / edge.sum())
    if share < LEAST:
        raise ValueError(
            f"{series.where} holds values within {bridge.reach:.0f} m of only {100 * share:.0f} % of the "
            f"{int(edge.sum())} ocean cells on the open edge of the domain; at least {100 * LEAST:.0f} % are needed. "
            "Give a parent whose sea covers the edge, or choose another --region."
        )
    return covered


def _always_valid(series: Series, steps: NDArray[np.int64], rows: slice, columns: slice) -> Mask:
    """Cells of a block that hold every component at all given steps, ``[Z, rows, columns]``."""
    levels = 1 if series.depths is None else len(series.depths)
    shape = (levels, rows.stop - rows.start, columns.stop - columns.start)
    valid = np.ones(shape, dtype=bool)
    for part in _parts(steps, max(READ_BYTES // (4 * int(np.prod(shape)) * len(series.names)), 1)):
        for block in series.read(part, rows, columns).values():
            valid &= np.isfinite(block).all(0)
    return valid


def _parts(steps: NDArray[np.int64], size: int) -> Iterator[list[int]]:
    for begin in range(0, len(steps), size):
        yield steps[begin : begin + size].tolist()


def cell_size(positions: Positions) -> float:
    """Median distance of neighbouring cells along the coarser axis, m."""
    centres = on_sphere(positions.latitude, positions.longitude)
    along = [np.linalg.norm(np.diff(centres, axis=axis), axis=-1) for axis in (0, 1)]
    return EARTH_RADIUS * max(float(np.median(distance)) for distance in along if distance.size)


def distance_to(source: Positions, usable: Mask | None, target: Positions) -> NDArray[np.float64]:
    """Distance of each target from the nearest (usable) source cell, m, ``[Y, X]``."""
    points = on_sphere(source.latitude, source.longitude)
    tree = cKDTree(points.reshape(-1, 3) if usable is None else points[usable])
    chord = tree.query(on_sphere(target.latitude, target.longitude).reshape(-1, 3))[0]
    return np.asarray(EARTH_RADIUS * chord).reshape(target.shape)
