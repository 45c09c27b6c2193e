"""CF files of currents along a curvilinear grid, as climate models hand them out: a file a variable, often a C-grid."""

from pathlib import Path

import xarray as xr

from data_pipelines.sources.cells import is_degrees
from data_pipelines.sources.centres import Vocabulary
from data_pipelines.sources.names import recognised
from data_pipelines.sources.native import read_native
from data_pipelines.sources.source import Given, Source

CURVILINEAR = Vocabulary(
    names={},
    latitude=(),
    longitude=(),
    mask=(),
    face_masks=((), ()),
    floor=(),
    needs_centres=False,
)


def read_curvilinear(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """A file of currents, between the cells of the scalars' files beside it; parameters and errors as read_native."""
    return read_native(ds, path, along, vocabulary=CURVILINEAR)


def is_curvilinear(ds: xr.Dataset) -> bool:
    """Whether a data set has ocean currents along a grid whose positions are planes and that no projection makes."""
    planes = any(
        variable.ndim == 2
        and (variable.attrs.get("standard_name") == "latitude" or is_degrees(variable, "latitude"))
        for variable in ds.variables.values()
    )
    return planes and any(
        along_grid
        and variable.role == "state"
        and "grid_mapping" not in {**ds[name].attrs, **ds[name].encoding}
        for variable, name, along_grid in recognised(ds, "the file")
    )
