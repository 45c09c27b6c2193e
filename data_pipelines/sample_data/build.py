"""How the two sample files were made from the files that the OpenDrift source package distributes.

Run ``python -m data_pipelines.sample_data.build OCEAN.nc WIND.nc FOLDER``. The ocean file is copied without loss and
only compressed better. The wind file keeps the rows that cover the ocean and is packed to steps of 2 cm/s.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import netCDF4
import numpy as np
import pyproj

OCEAN_NAME = "norkyst800_surface_20151116.nc"
WIND_NAME = "arome_wind_20151116.nc"
WIND_SCALE = 0.02  # m s-1: a tenth of what a 10 m wind is known to, at most; int16 then reaches 650 m s-1
CHUNK = 34  # cells: tall narrow chunks in time compress 3 % better than whole fields
CREDIT = {"institution": "MET Norway", "license": "CC BY 4.0 (Data from MET Norway)"}
POSITIONS = ("latitude", "longitude")  # in float32, good to half a metre: the projection has them exactly


def copy_attributes(source: netCDF4.Variable, target: netCDF4.Variable) -> None:
    """Copy all attributes but the fill value, which netCDF4 sets when it makes the variable."""
    target.setncatts({name: source.getncattr(name) for name in source.ncattrs() if name != "_FillValue"})


def chunks(dims: tuple[str, ...], shape: Sequence[int]) -> list[int] | None:
    """Chunk sizes of a variable: all times of a small square of cells for fields, else the whole variable."""
    if len(shape) < 3:
        return list(shape) or None
    return [
        min(CHUNK, size) if dim.lower() in ("x", "y") else size for dim, size in zip(dims, shape, strict=True)
    ]


def build_ocean(original: Path, target: Path) -> None:
    """Copy the ocean file bit for bit in its values, with stronger compression and one chunk a variable."""
    with netCDF4.Dataset(original) as old, netCDF4.Dataset(target, "w") as new:
        old.set_auto_maskandscale(False)
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()} | CREDIT)
        for name, dimension in old.dimensions.items():
            new.createDimension(name, dimension.size)
        for name, variable in old.variables.items():
            fill = getattr(variable, "_FillValue", None)
            copy = new.createVariable(
                name,
                variable.dtype,
                variable.dimensions,
                fill_value=fill,
                zlib=variable.ndim > 0,
                complevel=9,
                shuffle=variable.ndim > 0,
                chunksizes=chunks(variable.dimensions, variable.shape),
            )
            copy.set_auto_maskandscale(False)
            copy_attributes(variable, copy)
            copy[...] = variable[...]


def rows_over_ocean(wind: netCDF4.Dataset, ocean: netCDF4.Dataset) -> tuple[slice, slice]:
    """Rows and columns of the wind's grid that surround every ocean cell it can surround."""
    column, row = np.meshgrid(ocean["X"][:], ocean["Y"][:])
    longitude, latitude = pyproj.Proj(ocean["projection_stere"].proj4)(column, row, inverse=True)
    x, y = pyproj.Proj(wind["projection_lambert"].proj4)(longitude, latitude)

    def around(axis: np.ndarray, positions: np.ndarray) -> slice:
        first = max(int(np.searchsorted(axis, positions.min())) - 2, 0)
        return slice(first, int(np.searchsorted(axis, positions.max())) + 2)

    return around(np.asarray(wind["y"][:]), y), around(np.asarray(wind["x"][:]), x)


def build_wind(original: Path, ocean: Path, target: Path) -> None:
    """Crop the wind file to the ocean's domain and pack the two components as int16."""
    with (
        netCDF4.Dataset(original) as old,
        netCDF4.Dataset(ocean) as grid,
        netCDF4.Dataset(target, "w") as new,
    ):
        rows, columns = rows_over_ocean(old, grid)
        new.setncatts({name: old.getncattr(name) for name in old.ncattrs()} | CREDIT)
        for name, dimension in old.dimensions.items():
            kept = {"y": rows, "x": columns}.get(name, slice(None))
            new.createDimension(name, len(range(*kept.indices(dimension.size))))
        for name, variable in old.variables.items():
            part = tuple({"y": rows, "x": columns}.get(dim, slice(None)) for dim in variable.dimensions)
            packed = name in ("x_wind_10m", "y_wind_10m")
            copy = new.createVariable(
                name,
                "i2" if packed else "f4" if name in POSITIONS else variable.dtype,
                variable.dimensions,
                fill_value=np.int16(-32767) if packed else None,
                zlib=variable.ndim > 0,
                complevel=9,
                shuffle=variable.ndim > 0,
                chunksizes=chunks(
                    variable.dimensions, [new.dimensions[dim].size for dim in variable.dimensions]
                ),
            )
            copy_attributes(variable, copy)
            if packed:
                copy.scale_factor = WIND_SCALE
            if variable.ndim:
                copy[...] = variable[part]


def main() -> None:
    """Build both files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ocean", type=Path, help="norkyst800_subset_16Nov2015.nc")
    parser.add_argument("wind", type=Path, help="arome_subset_16Nov2015.nc")
    parser.add_argument("folder", type=Path, help="where the two sample files go")
    arguments = parser.parse_args()
    build_ocean(arguments.ocean, arguments.folder / OCEAN_NAME)
    build_wind(arguments.wind, arguments.ocean, arguments.folder / WIND_NAME)


if __name__ == "__main__":
    main()
