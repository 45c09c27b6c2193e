"""Daily means in the layout of OceanBench, a Zarr of format 2 a start."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import text
from forecasting.exporters.shared import (
    Forecast,
    by_longitude,
    fields_of,
    open_written,
    opened,
    require_free,
    require_regular,
    write_zarr,
    written_whole,
)

OCEANBENCH = {  # what OceanBench scores, by its short names, which are ours
    "zos": "sea_surface_height_above_geoid",
    "thetao": "sea_water_potential_temperature",
    "so": "sea_water_salinity",
    "uo": "eastward_sea_water_velocity",
    "vo": "northward_sea_water_velocity",
}
OCEANBENCH_DAYS = 10  # a forecast there has the lead days 0 to 9
OCEANBENCH_CHUNK = (256, 512)  # of the horizontal plane, as its sample forecasts have it
LONGEST_INSTANT = 6  # hours between instants of a daily mean: fewer than four a day alias the tide
_DAY, _HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")


def to_oceanbench(ds: Forecast, path: str | Path | None = None) -> xr.Dataset:
    """Daily means of a forecast in the layout of OceanBench.

    A day's mean is that of the states from 00:00 to before 24:00 UTC, and only of days that are forecast whole: the
    day of the start is one of them only if its 00:00 is. Lead day 0 is the first such day. OceanBench itself scores
    regular grids of 1/12, 1/4 or 1 degree; the layout is the same on any.

    Parameters
    ----------
    ds
        A forecast, or its path; members are averaged.
    path
        A folder for one Zarr of format 2 a start, ``YYYYMMDD.zarr`` by its first day, with the dimensions ``time,
        depth, latitude, longitude``. None writes nothing.

    Returns
    -------
    xr.Dataset
        ``zos``, ``thetao``, ``so``, ``uo`` and ``vo``, those that there are, ``(first_day_datetime, lead_day_index,
        depth, latitude, longitude)``, the level without depth; with a path, opened from there as OceanBench does.

    Raises
    ------
    ValueError
        If the grid is not regular, no variable is one of these, a start holds no whole day or shares its first day
        with another, the steps do not divide a day, or they are instants too far apart for a mean.
    """
    ds = opened(ds)
    require_regular(ds, "OceanBench")
    names = [name for name in OCEANBENCH if name in fields_of(ds)]
    if not names:
        raise ValueError(
            f"the forecast holds {', '.join(fields_of(ds))}, and OceanBench scores {', '.join(OCEANBENCH)}; forecast "
            "one of these."
        )
    days = _whole_days(ds, names)
    if path is None:
        parts = [_day_means(ds, names, number, *each) for number, each in enumerate(days)]
    else:
        stamps = [np.datetime_as_string(first, "D").replace("-", "") for first, _, _ in days]
        files = [Path(path) / f"{stamp}.zarr" for stamp in stamps]
        require_free(files)
        rows, columns = OCEANBENCH_CHUNK
        for number, (file, each) in enumerate(zip(files, days, strict=True)):
            with written_whole(file) as partial:
                part = _day_means(ds, names, number, *each)
                write_zarr(part, partial, {"time": 1, "depth": 1, "latitude": rows, "longitude": columns})
        parts = [open_written(file, chunks={}) for file in files]  # joined without being read
    firsts = np.array([first for first, _, _ in days], dtype="datetime64[ns]")
    leads = [
        part.rename(time="lead_day_index").assign_coords(lead_day_index=_indices(part)) for part in parts
    ]
    out = xr.concat(leads, dim="first_day_datetime", join="exact", combine_attrs="override")
    out = out.assign_coords(first_day_datetime=firsts)
    out["first_day_datetime"].attrs = {"standard_name": "time", "long_name": "first day of the forecast"}
    del out.attrs["forecast_reference_time"]  # each start has its own
    return out


def _whole_days(ds: xr.Dataset, names: list[str]) -> list[tuple[np.datetime64, int, int]]:
    """First whole day of every start, its first lead, and how many leads a day has."""
    leads = ds["lead_time"].values
    step = leads[1] - leads[0] if leads.size > 1 else leads[0]
    even = leads.size == 1 or bool((np.diff(leads) == step).all())
    if not even or step > _DAY or _DAY % step != np.timedelta64(0):
        raise ValueError(
            f"the forecast's leads are {'uneven' if not even else f'{step / _HOUR:g} h apart'}, which does not divide "
            "a day; a daily mean needs a whole number of them."
        )
    point = [name for name in names if "point" in str(ds[name].attrs.get("cell_methods", ""))]
    if point and step > LONGEST_INSTANT * _HOUR:
        raise ValueError(
            f"'{point[0]}' holds instants {step / _HOUR:g} h apart, and the mean of fewer than four a day is none; "
            "forecast by a shorter step, or means."
        )
    count = int(_DAY // step)
    found = []
    for start in ds["init_time"].values:
        valid = start + leads
        days, places, numbers = np.unique(
            valid.astype("datetime64[D]"), return_index=True, return_counts=True
        )
        whole = numbers == count
        if not whole.any():
            raise ValueError(
                f"the forecast from {text(start)} with leads up to {leads[-1] / _HOUR:g} h holds no day from 00 to 24 "
                "UTC; forecast longer, or start shortly before midnight."
            )
        found.append((days[whole][0], int(places[whole][0]), int(whole.sum())))
    firsts = [first for first, _, _ in found]
    if len(set(firsts)) < len(firsts):
        twice = next(first for first in firsts if firsts.count(first) > 1)
        raise ValueError(
            f"several starts have {twice} as their first whole day, and OceanBench knows a forecast by its first day; "
            "keep one start a day."
        )
    shared = min(number for _, _, number in found)
    return [(first, place, min(shared, OCEANBENCH_DAYS) * count) for first, place, _ in found]


def _day_means(
    ds: xr.Dataset, names: list[str], number: int, first: np.datetime64, place: int, length: int
) -> xr.Dataset:
    """One start's days, as a file of OceanBench's has them."""
    leads = ds["lead_time"].values
    days = round(length * float((leads[1] - leads[0] if leads.size > 1 else leads[0]) / _DAY))
    start = ds["init_time"].values[number]
    chosen = ds.isel(init_time=number, lead_time=slice(place, place + length))
    deep = any("depth" in ds[name].dims for name in names)
    depths = ds["depth"].to_numpy().astype(np.float64) if deep else np.zeros(1)
    out = xr.Dataset(
        coords={
            "time": (
                "time",
                (first + np.arange(days) * _DAY).astype("datetime64[ns]"),
                {"standard_name": "time"},
            ),
            "latitude": ds["latitude"].variable,
            "longitude": ds["longitude"].variable,
        }
    )
    out["time"].attrs["long_name"] = "day of the mean"
    for name in names:
        array = chosen[name].mean("member") if "member" in chosen[name].dims else chosen[name]
        dims: list[str] = [dim for dim in ("depth", "latitude", "longitude") if dim in array.dims]
        values = array.transpose("lead_time", *dims).to_numpy()
        means = values.reshape(days, -1, *values.shape[1:]).mean(1, dtype=np.float64).astype(np.float32)
        if name != "zos":
            means, dims = _with_depth(means, dims, depths.size), ["depth", "latitude", "longitude"]
        attrs = {"standard_name": OCEANBENCH[name], "long_name": ds[name].attrs.get("long_name", name)}
        attrs |= {"units": ds[name].attrs.get("units", ""), "cell_methods": "time: mean"}
        out[name] = (("time", *dims), means, attrs)
    if any("depth" in out[name].dims for name in names):
        out = out.assign_coords(
            depth=("depth", depths, {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"})
        )
    out = by_longitude(out, -180.0).sortby("latitude")
    out.attrs = {
        "Conventions": "CF-1.8",
        "title": str(ds.attrs.get("title", "Ocean forecast")),
        "institution": str(ds.attrs.get("institution", "")),
        "source": str(ds.attrs.get("model", "")),
        "references": str(ds.attrs.get("references", "")),
        "contact": str(ds.attrs.get("contact", "")),
        "area": _area(out),
        "challenger": str(ds.attrs.get("model", "")),
        "forecast_reference_time": str(start.astype("datetime64[D]")),
    }
    return out


def _with_depth(means: NDArray[np.float32], dims: list[str], depths: int) -> NDArray[np.float32]:
    """A surface field as the uppermost of the depths, with nothing below."""
    if "depth" in dims:
        return means
    levels = np.full((means.shape[0], depths, *means.shape[1:]), np.nan, dtype=np.float32)
    levels[:, 0] = means
    return levels


def _area(ds: xr.Dataset) -> str:
    south, north = float(ds["latitude"].min()), float(ds["latitude"].max())
    west, east = float(ds["longitude"].min()), float(ds["longitude"].max())
    return f"{south:g} to {north:g} N, {west:g} to {east:g} E"


def _indices(part: xr.Dataset) -> NDArray[np.int64]:
    return np.arange(part.sizes["time"], dtype=np.int64)
