"""What a file, a store or a forecast is, in numbers that JSON can hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from data_pipelines.positions import Positions
from data_pipelines.profiles import profile_of
from data_pipelines.remarks import read_remarks
from data_pipelines.sources import Source, open_source
from data_pipelines.sources.axes import is_time, read_times
from data_pipelines.sources.files import NeedsMoreError, open_dataset
from data_pipelines.splits import read_splits
from data_pipelines.statistics import moving_variables, read_statistics
from data_pipelines.store import open_unchecked, read_root
from data_pipelines.times import Times, calendar_of, text
from data_pipelines.wetness import CHANGING
from data_pipelines.windows import gaps, is_irregular, time_step
from oceanop.edge import COVERED, open_edge
from oceanop.grid import Grid
from oceanop.variables import BOUNDARIES, STORED, VARIABLES

_PROVENANCE = ("title", "institution", "source", "history", "command", "oceanop_version", "created", "model",
               "checkpoint_sha256", "members", "share", "training_grid", "run", "input_store", "forcing",
               "open_boundaries", "edge_zone", "boundary", "boundary_parent", "license", "references", "time_step",
               "basin", "seed", "coriolis_parameter", "gravity", "depth")  # fmt: skip
_WORDS = ("standard_name", "long_name", "units")


def describe(path: str | Path) -> dict[str, Any]:
    """Say what lies at a path.

    Parameters
    ----------
    path
        NetCDF or Zarr file of any source, a store (complete or not), or a forecast file.

    Returns
    -------
    ``kind`` is ``store``, ``forecast`` or ``file``; of a store ``profile`` tells how it is coded, None where in several
    ways or another; ``grid``, ``variables``, ``time``, ``wet_share``, ``statistics`` and ``provenance`` say the rest. A
    file that needs another one to be read, as of its model's grid, has a sentence on it under ``needs``, and no
    ``grid``. Only text, numbers, booleans, lists, dictionaries and None.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is nothing at the path, or it is no data set that the project can read.
    """
    if "://" not in str(path) and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist; give a file, a store or a forecast.")
    root = read_root(path) if Path(path).is_dir() else None
    with open_dataset(path) as ds:
        is_forecast = "lead_time" in ds.dims
    if is_forecast:
        found = _forecast(path)
    elif root is not None and "complete" in root.get("attributes", {}):
        found = _store(path, root)
    else:
        try:
            source = open_source(path)
        except NeedsMoreError as need:
            found = _held(path, str(need))
        else:
            found = _file(source)
            source.close()
    return {"path": str(path), **found}


def describe_times(times: Times) -> dict[str, Any]:
    """Range, step, calendar and gaps of a time axis."""
    step = time_step(times)
    return {
        "first": text(times[0]),
        "last": text(times[-1]),
        "steps": len(times),
        "calendar": calendar_of(times),
        "step_seconds": None if step is None else int(step.astype(np.int64)) / 1000,
        "irregular": is_irregular(times),
        "gaps": gaps(times),
    }


def _store(path: str | Path, root: dict[str, Any]) -> dict[str, Any]:
    ds = open_unchecked(path)
    complete = bool(root["attributes"]["complete"])
    found: dict[str, Any] = {
        "kind": "store",
        "complete": complete,
        "profile": _profile(path, ds),
        "grid": _grid(ds),
        "variables": _variables(ds),
        "time": describe_times(ds["time"].values),
        "wet_share": _wet_share(ds) if complete else None,
        "masks": _masks(ds) if complete else None,
        **read_remarks(ds.attrs),
        "open_boundaries": _open_boundaries(ds) if complete else None,
        "splits": {name: list(ends) for name, ends in read_splits(ds).items()},
        "statistics": {},
        "provenance": _provenance(ds),
    }
    if complete and (Path(path) / "statistics" / "train").is_dir():
        statistics = read_statistics(path)
        found["statistics"]["train"] = {
            "time_start": statistics.attrs["time_start"],
            "time_end": statistics.attrs["time_end"],
            "variables": {
                str(name): {
                    str(key): _numbers(statistics[name].sel(statistic=key).to_numpy())
                    for key in statistics["statistic"].to_numpy()
                }
                for name in statistics.data_vars
            },
        }
    return found


def _profile(path: str | Path, ds: xr.Dataset) -> str | None:
    """The one that all variables in time are in; else None."""
    group = zarr.open_group(path, mode="r")
    found = {profile_of(group[name]) for name in moving_variables(ds)}
    return found.pop() if len(found) == 1 else None


def _forecast(path: str | Path) -> dict[str, Any]:
    with open_dataset(path, decode_times=True) as ds:
        starts, leads = np.atleast_1d(ds["init_time"].values), ds["lead_time"].values
        hours = [float(lead / np.timedelta64(1, "s")) / 3600 for lead in leads]
        return {
            "kind": "forecast",
            "grid": _grid(ds),
            "variables": _variables(ds),
            "time": {
                "starts": [text(start) for start in starts],
                "leads": len(leads),
                "first_lead_hours": hours[0],
                "last_lead_hours": hours[-1],
                "members": ds.sizes.get("member"),
            },
            "wet_share": _wet_share(ds),
            "provenance": _provenance(ds),
        }


def _file(source: Source) -> dict[str, Any]:
    fields = list(source.fields.values())
    if not fields:
        raise ValueError(
            f"{source.name} holds the grid of a model and no field; give it to 'oceanop ingest' with --static."
        )
    first = fields[0]
    series = [field.times for field in fields if field.times is not None]
    return {
        "kind": "file",
        "grid": _positions(first.positions),
        "variables": {
            field.name: {
                "source_name": field.source_name,
                "source_units": field.source_units,
                "units": VARIABLES[field.name].units,
                "standard_name": VARIABLES[field.name].standard_name,
                "role": VARIABLES[field.name].role,
                "along_grid_axes": field.along_grid,
                "depths": None if field.depths is None else field.depths.tolist(),
            }
            for field in fields
        },
        "time": describe_times(series[0]) if series else None,
        "wet_share": _first_share(source),
        "provenance": {key: str(source.attributes[key]) for key in _PROVENANCE if key in source.attributes},
    }


def _held(path: str | Path, need: str) -> dict[str, Any]:
    """What a file holds that cannot be read on its own, and what it needs."""
    with open_dataset(path) as ds:
        return {
            "kind": "file",
            "needs": need,
            "grid": None,
            "variables": {
                str(name): {
                    "dimensions": {str(dim): size for dim, size in array.sizes.items()},
                    **{key: str(array.attrs[key]) for key in _WORDS if key in array.attrs},
                }
                for name, array in ds.data_vars.items()
                if array.ndim >= 2
            },
            "time": _dates(ds, Path(path).name),
            "wet_share": None,
            "provenance": _provenance(ds),
        }


def _dates(ds: xr.Dataset, file: str) -> dict[str, Any] | None:
    """Times of the first field that has any that can be told."""
    for name, array in ds.data_vars.items():
        dim = next((dim for dim in array.dims if is_time(ds, dim)), None)
        if dim is not None and array.ndim >= 2:
            try:
                return describe_times(read_times(ds, array, dim, file, str(name)))
            except NeedsMoreError:
                return None
    return None


def _first_share(source: Source) -> float:
    """Share of cells that hold a value in the first step of the first field."""
    field = next(iter(source.fields.values()))
    rows, columns = (slice(0, size) for size in field.positions.shape)
    return round(float(np.isfinite(field.fetch(slice(0, 1), [0], rows, columns)).mean()), 6)


def _positions(positions: Positions) -> dict[str, Any]:
    mapping = positions.mapping.get("grid_mapping_name")
    return {
        "rows": positions.shape[0],
        "columns": positions.shape[1],
        "kind": "regular" if positions.regular else str(mapping) if mapping else "curvilinear",
        "longitude": [round(float(positions.longitude.min()), 4), round(float(positions.longitude.max()), 4)],
        "latitude": [round(float(positions.latitude.min()), 4), round(float(positions.latitude.max()), 4)],
        "spacing_m": round(positions.spacing, 1),
    }


def _grid(ds: xr.Dataset) -> dict[str, Any]:
    latitude, longitude = ds["latitude"].to_numpy(), ds["longitude"].to_numpy()
    if latitude.ndim == 1:
        return _positions(Positions.from_axes(latitude, longitude))
    mapping = dict(ds["crs"].attrs) if "crs" in ds.variables else {}
    return _positions(Positions(latitude, longitude, mapping=mapping))


def _wet_share(ds: xr.Dataset) -> float | None:
    """Share of ocean cells, by count."""
    return (
        round(float(Grid.from_dataset(ds).mask.mean()), 6)
        if "mask" in ds.variables and "cell_area" in ds
        else None
    )


def _masks(ds: xr.Dataset) -> list[dict[str, Any]] | None:
    """Ocean cells of each level; None where the mask has none."""
    if "mask" not in ds.variables or "depth" not in ds["mask"].dims:
        return None
    wet = ds["mask"].to_numpy() > 0.5
    return [
        {"depth": float(depth), "wet_cells": int(plane.sum()), "wet_share": round(float(plane.mean()), 6)}
        for depth, plane in zip(ds["depth"].to_numpy(), wet, strict=True)
    ]


def _open_boundaries(ds: xr.Dataset) -> dict[str, Any] | str | None:
    """Ocean cells on the outer edge of the domain, and what a store holds to drive them."""
    if "mask" not in ds.variables or "cell_area" not in ds:
        return None
    edge = open_edge(Grid.from_dataset(ds))
    if not edge.any():
        return "none"
    sides = {
        "first row": edge[0],
        "last row": edge[-1],
        "first column": edge[:, 0],
        "last column": edge[:, -1],
    }
    held = [str(name) for name in ds.data_vars if name in BOUNDARIES]
    return {
        "cells": int(edge.sum()),
        "sides": {side: int(cells.sum()) for side, cells in sides.items() if cells.any()},
        "boundary_values": held or "none, so that runs treat them as closed",
        "edge_zone_covered": {
            name: int(ds[name].attrs[COVERED]) for name in held if COVERED in ds[name].attrs
        },
    }


def _variables(ds: xr.Dataset) -> dict[str, Any]:
    return {
        str(name): {
            "dimensions": [str(dim) for dim in array.dims],
            "shape": list(array.shape),
            "units": array.attrs.get("units"),
            "standard_name": array.attrs.get("standard_name"),
            "role": STORED[str(name)].role,
            "depths": ds["depth"].to_numpy().tolist() if "depth" in array.dims else None,
            **({CHANGING: np.asarray(array.attrs[CHANGING]).tolist()} if CHANGING in array.attrs else {}),
        }
        for name, array in ds.data_vars.items()
        if name in STORED
    }


def _provenance(ds: xr.Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {key: str(ds.attrs[key]) for key in _PROVENANCE if key in ds.attrs}
    if "sources" in ds.attrs:
        found["sources"] = json.loads(ds.attrs["sources"])
    if "depths_without_sea" in ds.attrs:
        found["depths_without_sea"] = np.atleast_1d(ds.attrs["depths_without_sea"]).tolist()
    return found


def _numbers(values: Any) -> Any:
    """Numbers as JSON has them: NaN becomes None."""
    if np.ndim(values):
        return [_numbers(value) for value in values]
    return None if np.isnan(values) else float(values)
