"""What all exporters share: which forecast is meant, the grids others know, and files that are there when whole."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from forecasting.product import open_forecast

Forecast = xr.Dataset | str | Path


def opened(ds: Forecast) -> xr.Dataset:
    """A forecast, or the one at a path."""
    if not isinstance(ds, xr.Dataset):
        ds = open_forecast(ds)
    missing = [dim for dim in ("init_time", "lead_time") if dim not in ds.dims]
    if missing:
        raise ValueError(
            f"the data set has no dimension {' and '.join(missing)}; give a forecast, as forecast() or open_forecast() "
            "return it."
        )
    return ds


def fields_of(ds: xr.Dataset) -> list[str]:
    """Names of what is forecast."""
    return [str(name) for name, array in ds.data_vars.items() if "lead_time" in array.dims]


def require_regular(ds: xr.Dataset, whose: str) -> None:
    """Refuse other grids than of latitude and longitude, and calendars that are not the real one."""
    if "latitude" not in ds.dims or "longitude" not in ds.dims:
        raise ValueError(
            f"{whose} knows grids that are regular in latitude and longitude, and the forecast's cells lie along "
            f"{', '.join(str(dim) for dim in ds['mask'].dims)}; regrid it, or forecast on a regular grid."
        )
    if not isinstance(ds["init_time"].values[0], np.datetime64):
        raise ValueError(
            f"{whose} knows the real calendar, and the forecast keeps {ds['init_time'].values[0].calendar}; it cannot "
            "be exported."
        )


def by_longitude(ds: xr.Dataset, west: float) -> xr.Dataset:
    """Longitudes from ``west`` on, increasing; those that lie there already stay as they are to the last digit."""
    longitude = ds["longitude"]
    turned = longitude.where((longitude >= west) & (longitude < west + 360), (longitude - west) % 360 + west)
    return ds.assign_coords(longitude=turned.assign_attrs(longitude.attrs)).sortby("longitude")


def attributes_of(ds: xr.Dataset) -> dict[str, Any]:
    """Those of the forecast but the one that only a store can keep up."""
    return {key: value for key, value in ds.attrs.items() if key != "complete"}


def write_zarr(ds: xr.Dataset, path: Path, chunks: dict[str, int]) -> None:
    """Format 2, one array after the other in memory, each plane a chunk."""
    encoding = {
        str(name): {
            "chunks": tuple(min(chunks.get(str(dim), size), size) for dim, size in array.sizes.items())
        }
        for name, array in ds.data_vars.items()
    }
    ds.drop_encoding().to_zarr(path, mode="w-", zarr_format=2, consolidated=True, encoding=encoding)


def open_written(path: Path, chunks: dict[str, int] | None = None) -> xr.Dataset:
    """What was written, lazily; in chunks of Dask where asked for."""
    if path.suffix == ".nc":
        return xr.open_dataset(path, decode_timedelta=True)
    return xr.open_zarr(path, chunks=chunks, zarr_format=2, consolidated=True, decode_timedelta=True)


def require_free(targets: Sequence[Path]) -> None:
    """Refuse before anything is written, not between two files."""
    for target in targets:
        if target.exists():
            raise ValueError(f"{target} exists; give another path, or delete it.")


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path beside the target, renamed to it when what is written there is whole, removed when it is not."""
    require_free([target])
    partial = target.with_name(target.name + ".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)
    try:
        yield partial
        os.replace(partial, target)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
