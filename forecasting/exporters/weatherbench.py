"""Forecasts for WeatherBench 2 and WeatherBench-X."""

from pathlib import Path

import xarray as xr

from forecasting.exporters.shared import (
    Forecast,
    attributes_of,
    by_longitude,
    fields_of,
    open_written,
    opened,
    require_regular,
    write_zarr,
    written_whole,
)
from forecasting.netcdf import write_netcdf


def to_weatherbench(ds: Forecast, path: str | Path | None = None) -> xr.Dataset:
    """A forecast with the names and axes of WeatherBench 2 and WeatherBench-X.

    Dimensions are ``time`` (the start), ``prediction_timedelta``, ``number`` where there are members, ``level`` where
    there are depths, ``longitude`` from 0 to 360 and ``latitude`` from south to north, both increasing; variables keep
    their names. Land is NaN, and the coordinate ``mask`` is true at sea, which WeatherBench-X honours with ``masked``
    for variables that have all its dimensions; for a level beside fields of depth, let its loader of the truth
    ``add_nan_mask``. WeatherBench 2 takes no mask, has NaN for a mean over land unless it skips them, and weights the
    outermost latitudes as if their cells reached the poles: score regions with X.

    Parameters
    ----------
    ds
        A forecast, or its path.
    path
        Where to write it: Zarr of format 2, which their tools read, or NetCDF by the suffix ``.nc``. None writes
        nothing.

    Returns
    -------
    xr.Dataset
        The forecast in that form, opened from ``path`` if it was written.

    Raises
    ------
    ValueError
        If the grid is not regular in latitude and longitude, or something is at the path.
    """
    ds = opened(ds)
    require_regular(ds, "WeatherBench")
    names = fields_of(ds)
    out = ds[names].reset_coords(drop=True).assign_coords(mask=ds["mask"] > 0.5)
    out = by_longitude(out, 0.0).sortby("latitude")
    renamed = {"init_time": "time", "lead_time": "prediction_timedelta", "member": "number", "depth": "level"}
    out = out.rename({old: new for old, new in renamed.items() if old in out.dims})
    out = out.transpose(
        "time", "prediction_timedelta", "number", "level", "longitude", "latitude", missing_dims="ignore"
    )
    for name in names:
        out[name].attrs.pop("grid_mapping", None)
    out.attrs = attributes_of(ds)
    if path is None:
        return out
    target = Path(path)
    with written_whole(target) as partial:
        if target.suffix == ".nc":
            write_netcdf(out, partial)
        else:
            chunks = {"time": 1, "prediction_timedelta": 1, "number": 1, "level": 1}
            # A start at a time: the whole of a forecast need not fit into memory
            write_zarr(out.chunk({"time": 1}), partial, chunks)
    return open_written(target)
