"""Where a regional domain is open to the sea outside, and how strongly a parent model drives it there."""

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from oceanop.grid import Grid, Plane
from oceanop.layout import Channel, Layout
from oceanop.variables import BOUNDARIES

COVERED = "edge_zone_covered"  # attribute of boundary values: cells from the open edge that the parent's domain covers

_NEIGHBOUR = 1.5  # cells: two that are no further apart are neighbours, wherever they stand in the array


def open_edge(grid: Grid) -> NDArray[np.bool_]:
    """Ocean cells on the outer rows and columns, past which the sea goes on, ``[y, x]``.

    A grid that closes around the Earth has no edge in the east and west, nor at a pole or along the fold of a tripolar
    grid, where its last row lies beside itself.
    """
    points = _on_sphere(grid)
    outer = np.zeros(grid.shape, dtype=bool)
    around = _closes(points)
    outer[:, [0, -1]] = not around
    for row, inner in ((0, 1), (-1, -2)):
        outer[row] = outer[row] | (not (around and _beside_itself(points[row], points[inner])))
    return outer & grid.mask


def edge_distance(grid: Grid) -> Plane:
    """Distance of each cell from the nearest ocean cell on the open edge, in cells, ``[y, x]``; infinite if none is."""
    edge = open_edge(grid)
    if not edge.any():
        return np.full(grid.shape, np.inf)
    if not _closes(_on_sphere(grid)):
        return np.asarray(distance_transform_edt(~edge))
    columns = grid.shape[1]
    return np.asarray(distance_transform_edt(~np.tile(edge, (1, 3))))[:, columns : 2 * columns]


def edge_weight(grid: Grid, cells: int) -> Plane:
    """Weight of the parent model, ``[y, x]``: 1 at the open edge, 0 from ``cells`` cells inward, between them a cosine.

    Relaxation towards an outer model in a zone along the edge is that of Davies (1976, Q. J. R. Meteorol. Soc. 102,
    405-418); the square of a cosine has no kink at either end of the zone.
    """
    depth = np.minimum(edge_distance(grid) / cells, 1.0)
    # cos(pi / 2) is not quite 0 in floating point, and beyond the zone nothing may be mixed in
    return np.where(depth < 1, np.cos(0.5 * np.pi * depth) ** 2, 0.0)


def boundary_cells(ds: xr.Dataset, channel: Channel) -> NDArray[np.bool_]:
    """Cells on which a store holds a parent's values of a channel, ``[y, x]``: those of the first step."""
    field = ds[channel.variable].isel(time=0)
    return np.isfinite((field if channel.depth is None else field.sel(depth=channel.depth)).to_numpy())


def with_edge_zone(layout: Layout, ds: xr.Dataset, cells: int) -> tuple[Layout, Tensor | None]:
    """Layout with the parent's channels, and the weight of the parent on each state channel.

    Parameters
    ----------
    layout
        Channels without boundary values.
    ds
        The store.
    cells
        Width of the edge zone; 0 for none, which changes nothing.

    Returns
    -------
    layout
        The parent's states are its last forcing channels.
    relaxation
        float32 ``[state, y, x]``: 0 outside the zone, on land, and where the parent knows nothing; None without a zone.

    Raises
    ------
    ValueError
        If the domain has no open edge, the store no boundary values, the parent's domain covers less than the zone, or
        the zone leaves no ocean inside.
    """
    if not cells:
        return layout, None
    grid = Grid.from_dataset(ds)
    zone = f"data.edge_zone is {cells}, and"
    if not open_edge(grid).any():
        raise ValueError(
            f"{zone} no ocean cell lies on an open edge of the domain, so that it would turn nothing; leave it out."
        )
    driven = layout.with_boundary(ds)
    if not driven.boundary:
        raise ValueError(
            f"{zone} the store holds no boundary values of {', '.join(layout.names())}; ingest it with --boundary "
            "PARENT, the model around it, or leave data.edge_zone out."
        )
    for name in (name for name in driven.names("forcing") if name in BOUNDARIES):
        covered = int(ds[name].attrs.get(COVERED, max(grid.shape)))
        if covered < cells:
            raise ValueError(
                f"{zone} '{name}' covers the outermost {covered} cells; choose at most {covered}, or ingest the store "
                "with a parent whose domain reaches further in."
            )
    weight, wet = edge_weight(grid, cells), driven.wet(ds).numpy()
    relaxation = np.zeros(wet.shape, dtype=np.float32)
    for state, forcing in driven.boundary:
        known = boundary_cells(ds, driven.forcing[forcing])
        relaxation[state] = np.where(wet[state] & known, weight, 0.0)
    if not (wet & (weight == 0)).any((1, 2)).all():
        raise ValueError(
            f"{zone} a zone of that width leaves no ocean cell of the {grid.shape[0]} x {grid.shape[1]} to forecast "
            "freely; choose a narrower one."
        )
    return driven, torch.from_numpy(relaxation)


def open_boundaries(ds: xr.Dataset, layout: Layout, cells: int) -> str:
    """How a run treats the open edge of a store's domain, in words for its provenance."""
    if not open_edge(Grid.from_dataset(ds)).any():
        return "none"
    if not cells:
        return "treated as closed"
    driven = layout.with_boundary(ds)
    free = [str(c) for i, c in enumerate(layout.state) if i not in {state for state, _ in driven.boundary}]
    names = ", ".join(name for name in driven.names("forcing") if name in BOUNDARIES)
    return f"driven along {cells} cells by {names}" + (f"; {', '.join(free)} is free there" if free else "")


def _on_sphere(grid: Grid) -> NDArray[np.float64]:
    phi, lam = np.deg2rad(grid.latitude), np.deg2rad(grid.longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def _closes(points: NDArray[np.float64]) -> bool:
    """Whether every row's last cell is a neighbour of its first one."""
    if points.shape[1] < 4:
        return False
    across = np.linalg.norm(points[:, 0] - points[:, -1], axis=-1)
    along = np.linalg.norm(np.diff(points, axis=1), axis=-1).max(axis=1)
    return bool((across <= _NEIGHBOUR * along).all())


def _beside_itself(row: NDArray[np.float64], inner: NDArray[np.float64]) -> bool:
    """Whether a row around the Earth is folded, or so near a pole that the cells across it are neighbours."""
    apart = _NEIGHBOUR * np.linalg.norm(row - inner, axis=-1).max()
    number = np.arange(len(row))
    # Folds of tripolar grids turn about a cell or about a face, with or without columns that are held twice
    partners = [(number + len(row) // 2) % len(row), *((s - number) % len(row) for s in range(-2, 3))]
    return any(bool((np.linalg.norm(row - row[other], axis=-1) <= apart).all()) for other in partners)
