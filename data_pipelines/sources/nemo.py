"""NEMO as it writes itself: a file for each kind of point, often on a tripolar grid."""

from pathlib import Path

import xarray as xr

from data_pipelines.sources.centres import Vocabulary
from data_pipelines.sources.native import read_native
from data_pipelines.sources.source import Given, Source

NEMO = Vocabulary(
    names={
        "sossheig": "zos", "ssh": "zos", "zos": "zos", "sosstsst": "tos", "sst": "tos", "tos": "tos",
        "votemper": "thetao", "toce": "thetao", "toce_pot": "thetao", "thetao": "thetao",
        "vosaline": "so", "soce": "so", "soce_pra": "so", "so": "so",
        "vozocrtx": "uo*", "uoce": "uo*", "uo": "uo*", "u3d": "uo*",
        "vomecrty": "vo*", "voce": "vo*", "vo": "vo*", "v3d": "vo*",
        "ubar": "ubar*", "u2d": "ubar*", "vbar": "vbar*", "v2d": "vbar*",
        "sozotaux": "tauu*", "tauuo": "tauu*", "utau": "tauu*",
        "sometauy": "tauv*", "tauvo": "tauv*", "vtau": "tauv*",
        "soicecov": "siconc", "siconc": "siconc", "ileadfra": "siconc",
        "bathymetry": "deptho", "bathy_meter": "deptho", "deptho": "deptho", "ht_0": "deptho",
    },
    latitude=("gphit",),
    longitude=("glamt",),
    mask=("tmask", "tmaskutil"),
    face_masks=(("umask",), ("vmask",)),
    floor=("bathy_meter", "Bathymetry", "deptho"),
    mask_depths=("gdept_1d", "gdept_0", "deptht", "nav_lev"),
    scalars="of the T points",
)  # fmt: skip

_SIGNS = {
    "nav_lat",
    "nav_lon",
    "glamt",
    "gphit",
    "time_counter",
    "deptht",
    "depthu",
    "depthv",
    "time_centered",
}


def read_nemo(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """A file of T, U or V points, or a mesh mask; parameters and errors as :func:`read_native`."""
    return read_native(ds, path, along, vocabulary=NEMO)


def is_nemo(ds: xr.Dataset) -> bool:
    """Whether a data set speaks as NEMO does."""
    return bool(_SIGNS & {str(name) for name in (*ds.variables, *ds.dims)})
