"""The store: Zarr v3, one array a variable, whole fields in chunks, incomplete until its last byte is written."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from data_pipelines.profiles import FAST, Profile, block_steps, whole_keywords
from data_pipelines.times import Times, calendar_of, milliseconds
from oceanop.layout import DEPTH_ATTRIBUTES

CONVENTIONS = "CF-1.11"
TIME_CHUNK = 4096  # steps of the time axis in a file: half a year of hours are 32 kB


class StoreWriter:
    """A store under construction: its sizes are fixed at the start, blocks of steps come in any order.

    Parameters
    ----------
    path
        Where the store goes; an unfinished store there is removed.
    coordinates
        Grid coordinates (from :meth:`oceanop.grid.Grid.to_dataset`), ``mask``, ``cell_area`` and other static fields.
    times
        Strictly increasing ``[T]``.
    depths
        m, positive down, ``[Z]``; None without a depth axis.
    variables
        Name to dimensions after ``time`` and attributes.
    attributes
        Of the root; ``complete`` is added.
    profile
        How the variables are cut and coded; coordinates and static fields are one plain chunk in each.
    """

    def __init__(
        self,
        path: Path,
        *,
        coordinates: xr.Dataset,
        times: Times,
        depths: NDArray[np.float64] | None,
        variables: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]],
        attributes: Mapping[str, Any],
        profile: Profile = FAST,
    ) -> None:
        if path.exists():
            shutil.rmtree(path)
        self.path = path
        self._group = zarr.open_group(
            path, mode="w", zarr_format=3, attributes={**attributes, "complete": False}
        )
        sizes = dict(coordinates.sizes) | {"time": len(times)}
        moments, units = encoded_times(times)
        # Files of a fixed length: a longer axis can be written under the eyes of those who read the shorter one
        cut = {**whole_keywords(moments.shape, moments.dtype), "chunks": (TIME_CHUNK,)}
        _create_array(self._group, "time", ("time",), units, cut)[...] = moments
        if depths is not None:
            sizes["depth"] = len(depths)
            write_array(self._group, "depth", ("depth",), depths, DEPTH_ATTRIBUTES)
        auxiliary = " ".join(
            str(name)
            for name in coordinates.coords
            if name not in coordinates.dims and coordinates[name].ndim
        )
        for key, variable in coordinates.variables.items():
            held = {str(name): value for name, value in variable.attrs.items()}
            if auxiliary and key in coordinates.data_vars and variable.ndim:
                held["coordinates"] = auxiliary
            write_array(self._group, str(key), [str(dim) for dim in variable.dims], variable.to_numpy(), held)
        for name, (dims, attrs) in variables.items():
            shape = (len(times), *(sizes[dim] for dim in dims))
            _create_array(
                self._group,
                name,
                ("time", *dims),
                {**attrs, **({"coordinates": auxiliary} if auxiliary else {})},
                profile.keywords(shape, np.dtype(np.float32)),
            )

    @classmethod
    def resume(cls, path: Path) -> "StoreWriter":
        """Go on with an unfinished store."""
        for torn in path.rglob("*.partial"):  # of a write that was killed
            torn.unlink()
        writer = cls.__new__(cls)
        writer.path, writer._group = path, zarr.open_group(path, mode="r+", zarr_format=3)
        return writer

    def steps_per_chunk(self, name: str) -> int:
        """How many steps one file of a variable holds: blocks of so many are written whole."""
        return block_steps(self._array(name))

    def write(self, name: str, first: int, values: NDArray[np.float32]) -> None:
        """Write steps ``first`` onwards of a variable, ``[n, (Z,) Y, X]``."""
        self._array(name)[first : first + len(values)] = values

    def set_static(self, name: str, values: NDArray[Any]) -> None:
        """Overwrite a static field."""
        self._array(name)[...] = values

    def annotate(self, name: str, **attributes: Any) -> None:
        """Add attributes that are known late."""
        self._array(name).update_attributes(attributes)

    def finish(self) -> Path:
        """Declare the store complete."""
        commit(self.path)
        return self.path

    def _array(self, name: str) -> Any:
        return self._group[name]


def commit(path: Path) -> None:
    """Consolidate the metadata of a Zarr v3 group and declare it complete, by one rename of its root document."""
    root = json.loads((path / "zarr.json").read_text())
    replace_root(path, {**root["attributes"], "complete": True})


def replace_root(path: Path, attributes: Mapping[str, Any]) -> None:
    """Let readers see the arrays as their own documents are now, with new root attributes, by one rename."""
    nodes = sorted(path.rglob("zarr.json"))
    held = {node.parent.relative_to(path).as_posix(): json.loads(node.read_text()) for node in nodes}
    root = held.pop(".")
    root["attributes"] = dict(attributes)
    # Consolidated metadata is read by every Zarr v3 library we know, if not yet in the specification.
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": held}
    draft = path / "zarr.json.partial"
    with open(draft, "w") as file:
        json.dump(root, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path / "zarr.json")


def open_store(path: str | Path) -> xr.Dataset:
    """Open a complete store.

    Parameters
    ----------
    path
        Folder that :func:`data_pipelines.ingest` (or any writer of the same schema) made.

    Returns
    -------
    Lazily read data set, without Dask.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is not a store, or its build has not ended.
    """
    # Told by the root alone: of the rest there may be anything after a kill
    attributes = (read_root(path) or {}).get("attributes", {})
    if attributes.get("complete") is False:
        raise ValueError(
            f"{path} is not complete: its build was interrupted. Run the same 'oceanop "
            f"{'simulate' if 'seed' in attributes else 'ingest'}' again."
        )
    ds = open_unchecked(path)
    if "complete" in ds.attrs:
        # 1, not True: NetCDF has no booleans, and what is cut from a store should be writable there.
        ds.attrs["complete"] = 1
    return ds


def open_unchecked(path: str | Path) -> xr.Dataset:
    """Open a store whether it is complete or not, for inspection.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`open_store`, but not for an incomplete store.
    """
    root = read_root(path)
    if root is None:
        raise ValueError(f"{path} is not a Zarr v3 store; make one with 'oceanop ingest SOURCE --to STORE'.")
    ds = xr.open_zarr(path, chunks=None, consolidated=root.get("consolidated_metadata") is not None)
    if "time" not in ds.dims:
        raise ValueError(
            f"{path} has no dimension 'time' and is no ocean store; make one with 'oceanop ingest SOURCE --to STORE'."
        )
    return netcdf_ready(ds)


def netcdf_ready(ds: xr.Dataset) -> xr.Dataset:
    """A data set whose copy in NetCDF follows the conventions too.

    JSON keeps no type of the values of flags, which is that of their variable (CF 3.5), and xarray marks missing values
    in every float, of which a coordinate has none (CF 2.5.1).
    """
    for name, variable in ds.variables.items():
        if "flag_values" in variable.attrs:
            variable.attrs["flag_values"] = np.asarray(variable.attrs["flag_values"], dtype=variable.dtype)
        if name in ds.coords and np.issubdtype(variable.dtype, np.floating):
            variable.encoding["_FillValue"] = None
    return ds


def read_root(path: str | Path) -> dict[str, Any] | None:
    """Root document of a Zarr v3 group; None where there is no such group.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"{path} does not exist; make a store with 'oceanop ingest SOURCE --to STORE'."
        )
    document = Path(path) / "zarr.json"
    if not document.is_file():
        return None
    try:
        root = json.loads(document.read_text())
    except ValueError:
        return None
    return root if isinstance(root, dict) and root.get("node_type") == "group" else None


def oceanop_version() -> str:
    """Version of the installed package."""
    try:
        return metadata.version("oceanop")
    except metadata.PackageNotFoundError:
        return "unknown"


def encoded_times(times: Times) -> tuple[NDArray[np.int64], dict[str, str]]:
    """Whole numbers since 1970 and the CF attributes that say so."""
    moments = milliseconds(times)
    unit, scale = ("seconds", 1000) if not (moments % 1000).any() else ("milliseconds", 1)
    attributes = {
        "standard_name": "time",
        "long_name": "time",
        "axis": "T",
        "units": f"{unit} since 1970-01-01 00:00:00",
        "calendar": (calendar := calendar_of(times)),
    }
    if (
        calendar == "proleptic_gregorian"
    ):  # only real dates could count leap seconds, and models do not (CF 4.4.1)
        attributes["units_metadata"] = "leap_seconds: none"
    return moments // scale, attributes


def write_array(
    group: zarr.Group, name: str, dims: Sequence[str], values: NDArray[Any], attributes: Mapping[str, Any]
) -> None:
    """Write a small array as one chunk; one of this name and shape gets new values."""
    held: Any = group.get(name)
    if held is not None and held.shape == values.shape:
        held[...] = values
        return
    array = _create_array(group, name, dims, attributes, whole_keywords(values.shape, values.dtype))
    array[...] = values


def _create_array(
    group: zarr.Group,
    name: str,
    dims: Sequence[str],
    attributes: Mapping[str, Any],
    keywords: Mapping[str, Any],
) -> Any:
    return group.create_array(
        name,
        dimension_names=tuple(dims),
        attributes={key: _plain(value) for key, value in attributes.items()},
        **keywords,
    )


def _plain(value: Any) -> Any:
    """An attribute as JSON can hold it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
