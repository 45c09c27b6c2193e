"""Depth and coast of a shipped basin on cells of several points of its relief."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

INNER_POINT = (58.5, 20.0)  # degrees north and east: the central Baltic, in the sea that is kept
FJORDS = (59.95, 15.0)  # degrees north and east: what lies north of the one and west of the other is Norway's


def baltic(rows: int = 2, columns: int = 3) -> xr.Dataset:
    """Sea floor of the Baltic, from 9 E in the Skagerrak on, on cells of ``rows`` by ``columns`` points.

    A cell is sea where at least half of its points lie below zero; its depth is the mean over those. Of the sea the
    part is kept that hangs together with the central Baltic through sides of cells, without Norwegian fjords. A relief
    of 5 arc-minutes has the Great Belt open and the Sound hardly, and draws straits wider than they are.

    Parameters
    ----------
    rows, columns
        Points of 5 arc-minutes along a meridian and a parallel: 2 and 3 give cells of 10' by 15' (1809 of them wet),
        1 and 2 cells of 5' by 10' (5459 wet).

    Returns
    -------
    Dataset
        ``deptho`` in m (0 on land) and ``mask`` (1 in the sea), both ``[latitude, longitude]``, positions in degrees,
        and the source in the attributes.

    Raises
    ------
    ValueError
        If a cell has no point, or so many that nothing is left of the sea.

    Source: ETOPO5, NOAA National Geophysical Data Center, 1988, public domain.
    """
    if rows < 1 or columns < 1:
        raise ValueError(
            f"a cell of {rows} by {columns} points of the relief was asked for; it needs at least one of each."
        )
    with xr.open_dataset(Path(str(files("data_pipelines") / "basins" / "baltic.nc"))) as relief:
        if relief.sizes["latitude"] < 2 * rows or relief.sizes["longitude"] < 2 * columns:
            raise _too_coarse(rows, columns)
        blocks = relief.load().coarsen(latitude=rows, longitude=columns, boundary="trim")
    pieces = blocks.construct(latitude=("latitude", "row"), longitude=("longitude", "column"))
    elevation = pieces["elevation"].astype(np.float64)
    latitude = pieces["latitude"].mean("row").to_numpy()
    longitude = pieces["longitude"].mean("column").to_numpy()
    below = elevation < 0
    parts, _ = ndimage.label((below.mean(("row", "column")) >= 0.5).to_numpy())
    inner = np.abs(latitude - INNER_POINT[0]).argmin(), np.abs(longitude - INNER_POINT[1]).argmin()
    if not parts[inner]:  # the number of land
        raise _too_coarse(rows, columns)
    fjords = (latitude[:, None] > FJORDS[0]) & (longitude < FJORDS[1])
    wet = (parts == parts[inner]) & ~fjords
    depth = -elevation.where(below).mean(("row", "column")).fillna(0.0).to_numpy()
    dims = ("latitude", "longitude")
    return xr.Dataset(
        {
            "deptho": (
                dims,
                np.where(wet, depth, 0.0),
                {"standard_name": "sea_floor_depth_below_geoid", "units": "m"},
            ),
            "mask": (dims, wet.astype(np.int8), {"standard_name": "sea_binary_mask", "units": "1"}),
        },
        coords={
            "latitude": ("latitude", latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ("longitude", longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={name: relief.attrs[name] for name in ("source", "license", "history")},
    )


def _too_coarse(rows: int, columns: int) -> ValueError:
    return ValueError(
        f"cells of {rows} by {columns} points of the relief leave nothing of the central Baltic; take fewer points."
    )
