"""MOM6 as it writes itself: C-grid with or without the outermost faces, nominal axes, the true positions elsewhere."""

from pathlib import Path

import xarray as xr

from data_pipelines.sources.centres import Vocabulary
from data_pipelines.sources.files import NeedsMoreError
from data_pipelines.sources.native import read_native
from data_pipelines.sources.source import Given, Source

MOM6 = Vocabulary(
    names={
        "ssh": "zos", "zos": "zos", "temp": "thetao", "thetao": "thetao", "salt": "so", "so": "so",
        "sst": "tos", "tos": "tos", "siconc": "siconc", "deptho": "deptho", "depth_ocean": "deptho",
        "u": "uo*", "uo": "uo*", "ssu": "uo*", "v": "vo*", "vo": "vo*", "ssv": "vo*",
        "tauuo": "tauu*", "taux": "tauu*", "tauvo": "tauv*", "tauy": "tauv*",
    },
    latitude=("geolat",),
    longitude=("geolon",),
    mask=("wet",),
    face_masks=(("wet_u",), ("wet_v",)),
    floor=("deptho", "depth_ocean"),
    dims=("yh", "xh"),
    scalars="of the tracer points, or ocean_static.nc,",
)  # fmt: skip


def read_mom6(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """A history or a static file; parameters and errors as :func:`read_native`.

    Raises
    ------
    ValueError
        If the true positions of the cells are in none of the files.
    """
    source = read_native(ds, path, along, vocabulary=MOM6)
    if any(field.positions.regular for field in source.fields.values()):
        raise NeedsMoreError(
            f"{source.name} has nominal axes ('xh', 'yh'), which on a turned grid are not where its cells lie; give "
            "ocean_static.nc, with geolon and geolat, with --static."
        )
    return source


def is_mom6(ds: xr.Dataset) -> bool:
    """Whether a data set has the points of a MOM6 grid."""
    return {"xh", "yh"} <= set(ds.dims) or {"xq", "yh"} <= set(ds.dims) or {"xh", "yq"} <= set(ds.dims)
