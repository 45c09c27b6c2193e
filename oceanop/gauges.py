"""Which cell of a grid stands for a gauge on the coast."""

from collections.abc import Mapping

import numpy as np

from oceanop.grid import Grid, great_circle_distance

FARTHEST = 60e3  # m; the water there is another than at the gauge


def gauge_cells(
    grid: Grid,
    places: Mapping[str, tuple[float, float]],
    *,
    farthest: float = FARTHEST,
    called: str = "gauge",
) -> dict[str, tuple[int, int]]:
    """The nearest ocean cell of each place, row and column.

    Parameters
    ----------
    places
        Latitude and longitude by name, degrees north and east.
    farthest
        From a place to the centre of its cell, m.
    called
        What a place is, in errors.

    Raises
    ------
    ValueError
        If a place lies outside the domain, or the grid has no ocean as near as that.
    """
    cells = {}
    _require_inside(grid, places, called)
    for name, (latitude, longitude) in places.items():
        distance = great_circle_distance(grid.latitude, grid.longitude, latitude, longitude)
        distance = np.where(grid.mask, distance, np.inf)
        row, column = np.unravel_index(distance.argmin(), grid.shape)
        if not distance[row, column] <= farthest:
            raise ValueError(
                f"the {called} {name} at {latitude:g} N, {longitude:g} E lies {distance[row, column] / 1e3:.0f} km "
                f"from the nearest ocean cell, and {farthest / 1e3:g} km are allowed; correct its place, or leave it "
                "out."
            )
        cells[name] = (int(row), int(column))
    return cells


def _require_inside(grid: Grid, places: Mapping[str, tuple[float, float]], called: str) -> None:
    """A place is inside if some cell, of land or ocean, is within the diagonal of a cell, or not on the outer edge."""
    for name, (latitude, longitude) in places.items():
        distance = great_circle_distance(grid.latitude, grid.longitude, latitude, longitude)
        row, column = np.unravel_index(distance.argmin(), grid.shape)
        on_edge = row in (0, grid.shape[0] - 1) or column in (0, grid.shape[1] - 1)
        if on_edge and distance[row, column] > np.hypot(*grid.spacing):
            ends = [
                f"{positions.min():.1f} to {positions.max():.1f}"
                for positions in (grid.latitude, grid.longitude)
            ]
            raise ValueError(
                f"the {called} {name} at {latitude:g} N, {longitude:g} E lies {distance[row, column] / 1e3:.0f} km "
                f"outside the domain, which spans {ends[0]} N, {ends[1]} E; correct its place, or leave it out."
            )
