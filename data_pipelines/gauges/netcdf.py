"""Levels in NetCDF: Copernicus Marine's in-situ files, those of UHSLC, and our own."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.gauges.record import Facts, Record
from data_pipelines.sources.files import open_dataset
from data_pipelines.times import decode

LEVELS = {"SLEV": "Copernicus in-situ", "sea_level": "UHSLC", "level": "oceanop"}
USED = (1, 2)  # good and probably good, of the flags of Copernicus' in-situ service
WRONG = 4


def read_netcdf(path: Path, where: str) -> list[Record]:
    """Every gauge of a file.

    Raises
    ------
    ValueError
        If it holds no level by time.
    """
    with open_dataset(path) as ds:
        name = next((name for name in LEVELS if name in ds.data_vars), None)
        time = next((name for name in ("TIME", "time") if name in ds.variables), None)
        if name is None or time is None or time not in ds[name].dims:
            held = ", ".join(str(held) for held in ds.data_vars) or "nothing"
            raise ValueError(
                f"{where} holds {held} and no level by time ({', '.join(LEVELS)}); give the file of a tide gauge."
            )
        times = decode(ds[time].variable, f"{where}, '{time}'")
        if not np.issubdtype(times.dtype, np.datetime64):
            raise ValueError(
                f"{where}: its times are of the calendar {times[0].calendar}; a gauge keeps the real one."
            )
        levels = ds[name].transpose(..., time).to_numpy().astype(np.float64)
        flags = ds[f"{name}_QC"].transpose(..., time).to_numpy() if f"{name}_QC" in ds else None
        if flags is not None and f"{time}_QC" in ds:  # a level at a wrong time is a wrong level
            flags = np.where(_usable(ds[f"{time}_QC"].to_numpy()), flags, WRONG)
        stations = [str(dim) for dim in ds[name].dims if dim not in (time, "DEPTH")]
        if "DEPTH" in ds[name].dims:  # sensors of one gauge, of which one holds the level
            levels, flags = _one_sensor(levels, flags, where)
        rows = levels.reshape(-1, levels.shape[-1])
        marks = None if flags is None else flags.reshape(rows.shape)
        return [
            _record(ds, name, stations, i, times, row, None if marks is None else marks[i], where, len(rows))
            for i, row in enumerate(rows)
        ]


def _usable(flags: NDArray[Any]) -> NDArray[np.bool_]:
    return np.isin(np.nan_to_num(flags.astype(np.float64), nan=WRONG), USED)


def _one_sensor(levels: NDArray[Any], flags: NDArray[Any] | None, where: str) -> tuple[Any, Any]:
    held = [i for i in range(len(levels)) if np.isfinite(levels[i]).any()]
    if len(held) > 1:
        raise ValueError(f"{where}: levels of {len(held)} sensors (DEPTH) are in it; keep one.")
    keep = held[0] if held else 0
    return levels[keep], None if flags is None else flags[keep]


def _record(
    ds: xr.Dataset,
    name: str,
    stations: list[str],
    number: int,
    times: NDArray[np.datetime64],
    levels: NDArray[np.float64],
    flags: NDArray[Any] | None,
    where: str,
    count: int,
) -> Record:
    levels, rejected = levels.copy(), 0
    if flags is not None:
        used = _usable(flags)
        rejected = int((np.isfinite(levels) & ~used).sum())
        levels[~used] = np.nan
    called = next(
        (found for key in ("station_name", "name") if (found := _text(ds, key, stations, number))), None
    ) or next(
        (str(ds.attrs[key]) for key in ("platform_name", "platform_code", "name") if key in ds.attrs), None
    )
    datum = next(
        (
            str(attrs[key])
            for attrs in (ds[name].attrs, ds.attrs)
            for key in ("sea_level_datum", "datum")
            if attrs.get(key)
        ),
        None,
    )
    facts = Facts(
        name=called,
        latitude=_number(ds, ("LATITUDE", "latitude", "lat"), stations, number),
        longitude=_number(ds, ("LONGITUDE", "longitude", "lon"), stations, number),
        time_zone="UTC",  # as CF and both services say
        units=ds[name].attrs.get("units"),
        datum="station zero" if datum is None and LEVELS[name] == "UHSLC" else datum,
    )
    label = f"{where}: {called or number}" if count > 1 else where
    return Record(label, times, levels, facts, rejected, LEVELS[name])


def _number(ds: xr.Dataset, names: tuple[str, ...], stations: list[str], number: int) -> float | None:
    """A position: of the station, or the one that a moored gauge keeps at every time."""
    name = next((name for name in names if name in ds.variables), None)
    if name is None:
        return next((float(ds.attrs[key]) for key in names if key in ds.attrs), None)
    values = ds[name].to_numpy().astype(np.float64)
    if ds[name].dims and list(ds[name].dims) == stations:
        return float(values.ravel()[number])
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size and np.ptp(values) < 0.01 else None


def _text(ds: xr.Dataset, name: str, stations: list[str], number: int) -> str | None:
    if name not in ds.variables or list(ds[name].dims) != stations:
        return None
    value = ds[name].to_numpy().ravel()[number]
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip() or None
