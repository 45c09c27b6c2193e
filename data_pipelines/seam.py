"""A grid around the Earth begins somewhere; a region that lies across that place is read as one piece."""

from dataclasses import replace
from functools import partial

import numpy as np

from data_pipelines.positions import Positions
from data_pipelines.series import Series
from data_pipelines.sources.source import Fetch, Values


def first_column(positions: Positions, region: tuple[float, float, float, float]) -> int:
    """Column with which a grid around the Earth has to begin for a region to be one piece of it; 0 where it is."""
    inside = np.asarray(positions.inside(*region).any(0))
    if not positions.closes or not (inside[0] and inside[-1]) or inside.all():
        return 0
    # Behind the widest stretch of columns outside of the region.
    edges = np.flatnonzero(np.diff(inside.astype(np.int8)))
    starts, stops = edges[::2] + 1, edges[1::2] + 1
    return int(stops[np.argmax(stops - starts)])


def begun_at(series: Series, column: int) -> Series:
    """The same series on the same grid, which begins with another of its columns."""
    positions = _begun_at(series.positions, column)
    width = series.positions.shape[1]
    fields = tuple(
        tuple(
            replace(field, positions=positions, fetch=partial(_fetch, field.fetch, column, width))
            for field in group
        )
        for group in series.fields
    )
    return replace(series, positions=positions, fields=fields)


def _begun_at(positions: Positions, column: int) -> Positions:
    latitude, longitude, angle = (
        None if part is None else np.roll(part, -column, 1)
        for part in (positions.latitude, positions.longitude, positions.x_angle)
    )
    assert latitude is not None
    assert longitude is not None
    if positions.regular:
        longitude = np.unwrap((longitude + 180) % 360 - 180, period=360, axis=1)
    return replace(positions, latitude=latitude, longitude=longitude, x_angle=angle)


def _fetch(
    fetch: Fetch, column: int, width: int, steps: slice, levels: list[int], rows: slice, columns: slice
) -> Values:
    first, last = columns.start + column, columns.stop + column
    parts = [slice(first, min(last, width)), slice(max(first, width) - width, last - width)]
    return np.concatenate(
        [fetch(steps, levels, rows, part) for part in parts if part.start < part.stop], axis=-1
    )
