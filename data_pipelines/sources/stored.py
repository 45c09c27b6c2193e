"""One variable as its file holds it: which axis is what, and blocks of it decoded, in our unit, on reading."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.schema import DamageError
from data_pipelines.sources.axes import (
    is_time,
    is_vertical,
    read_depths,
    read_times,
    require_at_10_metres,
    row_and_column,
    scalar_depth,
)
from data_pipelines.sources.direct import read_direct
from data_pipelines.sources.files import first_line
from data_pipelines.sources.remote import is_remote, read_errors
from data_pipelines.sources.source import Values
from data_pipelines.times import Times, text
from data_pipelines.units import conversion
from oceanop.variables import Variable

_PLANES_BYTES = 8 * 2**20  # of float32 inflated at once where a part of every plane is wanted
_NO_UNIT = {"1", "1.0", "", "-", "nondimensional", "dimensionless", "none"}


@dataclass(frozen=True, eq=False)
class Stored:
    """A variable of a file along the file's own axes.

    Attributes
    ----------
    array
        The variable, opened lazily.
    where
        File and variable in words, to begin an error with.
    time_dim, vertical, y_dim, x_dim
        Its dimensions; None for those it lacks.
    times
        Dates of its steps; None for a static field.
    depth
        Of the one level it lies on, m, where a scalar coordinate says so.
    factor, offset
        What turns its unit into ours.
    """

    array: xr.DataArray
    where: str
    time_dim: Hashable | None
    vertical: Hashable | None
    y_dim: Hashable
    x_dim: Hashable
    times: Times | None
    depth: float | None
    factor: float
    offset: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.array.sizes[self.y_dim], self.array.sizes[self.x_dim]

    def depths(self, ds: xr.Dataset) -> NDArray[np.float64] | None:
        """Depths of its levels, m, positive down; None for a field on no level.

        Raises
        ------
        ValueError
            If the vertical axis has no depths.
        """
        if self.vertical is not None:
            return read_depths(ds, self.vertical, self.where)
        return None if self.depth is None else np.array([self.depth])

    def read(self, steps: slice, levels: list[int], rows: slice, columns: slice) -> Values:
        """A block ``[t, z, y, x]`` in our unit; levels of a field without a vertical axis are one.

        Raises
        ------
        ValueError
            If the file is damaged there, naming the first step that cannot be read.
        """
        values = self._read_direct(steps, levels, rows, columns)
        if values is None:
            values = self._read_by_library(steps, levels, rows, columns)
        for axis, dim in enumerate((self.time_dim, self.vertical)):
            if dim is None:
                values = np.expand_dims(values, axis)
        if (self.factor, self.offset) != (1.0, 0.0):
            values = values * np.float64(self.factor) + np.float64(self.offset)
        return np.asarray(values, dtype=np.float32)

    def _read_direct(
        self, steps: slice, levels: list[int], rows: slice, columns: slice
    ) -> NDArray[Any] | None:
        """A block ``[(t,) (z,) y, x]`` from the file's own bytes; None where these are not laid out for it."""
        if self.time_dim is None:
            return None
        vertical = [] if self.vertical is None else [self.vertical]
        dims = [self.time_dim, *vertical, self.y_dim, self.x_dim]
        first, stop, _ = steps.indices(self.array.sizes[self.time_dim])
        # Whole planes are inflated, and of a small region of large ones no more may be held than of a large region
        most = max(_PLANES_BYTES // (4 * len(levels) * self.shape[0] * self.shape[1]), 1)
        if stop - first <= most or (rows, columns) == tuple(slice(0, size) for size in self.shape):
            most = max(stop - first, 1)
        parts = []
        for begin in range(first, stop, most):
            part = slice(begin, min(begin + most, stop))
            whole = read_direct(self.array, dims, part, levels if vertical else None)
            if whole is None:
                return None
            parts.append(whole[..., rows, columns] if part == steps else whole[..., rows, columns].copy())
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else None

    def _read_by_library(self, steps: slice, levels: list[int], rows: slice, columns: slice) -> NDArray[Any]:
        """A block ``[(t,) (z,) y, x]`` as xarray reads it."""
        block = self.array.isel({self.y_dim: rows, self.x_dim: columns})
        if self.time_dim is not None:
            block = block.isel({self.time_dim: steps})
        if self.vertical is not None:
            block = block.isel({self.vertical: levels})
        dims = [self.time_dim, self.vertical, self.y_dim, self.x_dim]
        block = block.transpose(*[dim for dim in dims if dim is not None])
        try:
            return np.asarray(block.to_numpy())
        except read_errors() as error:
            if is_remote(self.array):
                raise ValueError(
                    f"{self.where} cannot be read from its server ({first_line(error)}); try again, or fetch the file."
                ) from error
            raise DamageError(
                f"{self.where} cannot be read{self._damaged(block, steps)} ({first_line(error)}); the file is damaged "
                "or cut off. Fetch it anew."
            ) from error

    def _damaged(self, block: xr.DataArray, steps: slice) -> str:
        """The first step of a block that cannot be read, in words."""
        if self.time_dim is None or self.times is None:
            return ""
        numbers = range(len(self.times))[steps]
        for i, number in enumerate(numbers):
            try:
                block.isel({self.time_dim: slice(i, i + 1)}).to_numpy()
            except read_errors():
                return f" at step {number} ({text(self.times[number])})"
        return f" from step {numbers[0]} ({text(self.times[numbers[0]])}) on"


def stored_variable(
    ds: xr.Dataset, file: str, variable: Variable, source_name: str, default_unit: str | None = None
) -> Stored:
    """What a variable of a data set is in our words.

    Parameters
    ----------
    default_unit
        Of a quantity that its model writes without one.

    Raises
    ------
    ValueError
        If it lacks a time or a unit, or has other dimensions than time, depth and two horizontal ones.
    """
    array, where = ds[source_name], f"{file}: variable '{source_name}'"
    time_dim = next((dim for dim in array.dims if is_time(ds, dim)), None)
    times = None if variable.role == "static" else read_times(ds, array, time_dim, file, source_name)
    if times is None and time_dim is not None:
        # A sea floor written once a step is the same in all.
        array, time_dim = array.isel({time_dim: 0}, drop=True), None
    vertical = next((dim for dim in array.dims if dim != time_dim and is_vertical(ds, dim)), None)
    if variable.name in ("u10", "v10"):
        named = str(array.attrs.get("coordinates", array.encoding.get("coordinates", ""))).split()
        for axis in (vertical, *(name for name in named if name in ds.variables and is_vertical(ds, name))):
            if axis is not None:
                require_at_10_metres(ds, axis, where)
    # The atmosphere's height axis of a 10 m wind is no axis of ours.
    if vertical is not None and variable.role != "state" and array.sizes[vertical] == 1:
        array, vertical = array.isel({vertical: 0}, drop=True), None
    horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) > 2:
        array = array.isel({dim: 0 for dim in horizontal if array.sizes[dim] == 1}, drop=True)
        horizontal = [dim for dim in array.dims if dim not in (time_dim, vertical)]
    if len(horizontal) != 2:
        raise ValueError(
            f"{where} has dimensions ({', '.join(map(str, array.dims))}); expected time, depth and two horizontal "
            "ones. Select one member or level first."
        )
    y_dim, x_dim = row_and_column(ds, horizontal)
    units = array.attrs.get("units", default_unit)
    if (
        variable.name == "so"
        and str(units).strip().lower() in _NO_UNIT
        and _is_practical(array, default_unit)
    ):
        units = "psu"
    factor, offset = conversion(variable.name, units, where)
    depth = scalar_depth(ds, array) if vertical is None and variable.role == "state" else None
    return Stored(array, where, time_dim, vertical, y_dim, x_dim, times, depth, factor, offset)


def _is_practical(array: xr.DataArray, default_unit: str | None) -> bool:
    """Whether a salinity without a unit is one that has none: by its name, or as its model writes it."""
    return default_unit is not None or array.attrs.get("standard_name") == "sea_water_practical_salinity"


def unusable_fill(array: xr.DataArray) -> str | None:
    """Why a variable's fill value can mark nothing, in words; None where it can."""
    dtype = np.dtype(array.encoding.get("dtype", np.float32))
    fills = [float(array.encoding[key]) for key in ("_FillValue", "missing_value") if key in array.encoding]
    if not fills or not np.issubdtype(dtype, np.integer):
        return None
    limits: Any = np.iinfo(dtype)
    # A fill value that fits beside one that does not still marks the land.
    if any(limits.min <= fill <= limits.max for fill in fills):
        return None
    return f"is stored as {dtype} but marks land with {fills[0]:g}, which {dtype} cannot hold"
