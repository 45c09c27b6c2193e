"""Rows and columns that a file has twice, as where a model closes its grid by a halo: left out."""

from dataclasses import replace
from functools import partial

from data_pipelines.positions import Positions
from data_pipelines.sources.source import Fetch, Values


def without_halo(positions: Positions, fetch: Fetch) -> tuple[Positions, Fetch]:
    """Positions and values without the columns and rows of a curvilinear grid that are there twice.

    The first two columns may be the last two once more, and the last row those before it, mirrored, where the grid is
    folded in the north.
    """
    if positions.regular or positions.projection is not None:
        return positions, fetch
    if positions.has_halo:
        inner = slice(1, positions.shape[1] - 1)
        # Angles are found with the halo, which holds the neighbours of the outermost cells
        positions = replace(positions, x_angle=positions.angle[0]).crop(slice(None), inner)
        fetch = partial(_shifted, fetch)
    if positions.fold is not None and positions.fold.doubled:
        kept = slice(0, positions.shape[0] - positions.fold.doubled)
        positions = replace(positions, x_angle=positions.angle[0]).crop(kept, slice(None))
    return positions, fetch


def _shifted(fetch: Fetch, steps: slice, levels: list[int], rows: slice, columns: slice) -> Values:
    return fetch(steps, levels, rows, slice(columns.start + 1, columns.stop + 1))
