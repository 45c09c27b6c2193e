"""ROMS and CROCO as they write themselves: C-grid, terrain-following levels, currents along the grid."""

from pathlib import Path

import xarray as xr

from data_pipelines.sources.centres import Vocabulary
from data_pipelines.sources.native import read_native
from data_pipelines.sources.source import Given, Source

ROMS = Vocabulary(
    names={
        "zeta": "zos", "temp": "thetao", "salt": "so", "aice": "siconc", "h": "deptho",
        "u": "uo*", "v": "vo*", "ubar": "ubar*", "vbar": "vbar*",
        "u_eastward": "uo", "v_northward": "vo", "ubar_eastward": "ubar", "vbar_northward": "vbar",
        "uwind": "u10*", "vwind": "v10*", "uwind_eastward": "u10", "vwind_northward": "v10",
        "sustr": "tauu*", "svstr": "tauv*", "pair": "msl",
    },
    latitude=("lat_rho",),
    longitude=("lon_rho",),
    mask=("mask_rho",),
    face_masks=(("mask_u",), ("mask_v",)),
    floor=("h",),
    angle=("angle",),
    dims=("eta_rho", "xi_rho"),
    scalars="with zeta",
    units={"so": "1e-3"},  # practical salinity has none, and the model writes none
)  # fmt: skip


# CROCO's faces share one dimension with the cells.
_POINTS = (
    ("eta_rho", "xi_rho"),
    ("eta_u", "xi_u"),
    ("eta_v", "xi_v"),
    ("eta_rho", "xi_u"),
    ("eta_v", "xi_rho"),
)


def read_roms(ds: xr.Dataset, path: Path | str, along: Given | None = None) -> Source:
    """A history, average or grid file of ROMS or CROCO; parameters and errors as :func:`read_native`."""
    return read_native(ds, path, along, vocabulary=ROMS)


def is_roms(ds: xr.Dataset) -> bool:
    """Whether a data set has points of a ROMS grid, those of the cells or of one kind of face."""
    return any({eta, xi} <= set(ds.dims) for eta, xi in _POINTS)
