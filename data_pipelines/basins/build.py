"""How the shipped sea floor of the Baltic was cut from ETOPO5.

Run ``python -m data_pipelines.basins.build RELIEF.nc FOLDER``. The relief holds ``elevation(latitude, longitude)`` in
whole metres, positive up, every 5 arc-minutes, and covers 9-30.5 E, 53.5-66 N. No value is changed.
"""

import argparse
from pathlib import Path

import netCDF4
import numpy as np

NAME = "baltic.nc"
WEST, EAST, SOUTH, NORTH = 9.0, 30.5, 53.5, 66.0
HALF_STEP = 1 / 24  # degree: edges are drawn between points, whatever rounding their positions went through
ATTRIBUTES = {
    "Conventions": "CF-1.11",
    "title": "Relief of the Baltic Sea, Belt Sea, Kattegat and eastern Skagerrak at 5 arc-minutes",
    "source": "ETOPO5, Data Announcement 88-MGG-02, Digital relief of the Surface of the Earth, NOAA, National "
    "Geophysical Data Center, Boulder, Colorado, 1988",
    "license": "Public domain (United States government work)",
    "history": "cut to 9-30.5 E, 53.5-66 N by data_pipelines.basins.build; no value changed",
}
CF = {
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
    "elevation": {
        "standard_name": "height_above_mean_sea_level",
        "long_name": "height of land or sea floor above mean sea level",
        "units": "m",
    },
}


def build(relief: Path, target: Path) -> None:
    """Cut the Baltic out of a relief and write it compressed.

    Parameters
    ----------
    relief
        netCDF file with ``elevation(latitude, longitude)``, m, both axes increasing.
    target
        File to write.
    """
    with netCDF4.Dataset(relief) as old, netCDF4.Dataset(target, "w") as new:
        axes = {name: np.asarray(old[name][:], np.float64) for name in ("latitude", "longitude")}
        within = {
            name: np.flatnonzero((axes[name] > low - HALF_STEP) & (axes[name] < high - edge))
            # 30.5 E itself would be half a pair of columns
            for name, low, high, edge in (
                ("latitude", SOUTH, NORTH, -HALF_STEP),
                ("longitude", WEST, EAST, HALF_STEP),
            )
        }
        new.setncatts(ATTRIBUTES)
        for name, rows in within.items():
            new.createDimension(name, rows.size)
            axis = new.createVariable(name, "f8", (name,), zlib=True)
            axis.setncatts(CF[name])
            axis[:] = axes[name][rows]
        elevation = new.createVariable("elevation", "i2", tuple(within), zlib=True, complevel=9, shuffle=True)
        elevation.setncatts(CF["elevation"])
        elevation[:] = np.asarray(old["elevation"][:])[np.ix_(within["latitude"], within["longitude"])]


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("relief", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    build(arguments.relief, arguments.folder / NAME)


if __name__ == "__main__":
    main()
