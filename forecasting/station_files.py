"""Time series at places as a picture, a table or NetCDF."""

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import text
from forecasting.fields import time_text, unit_text
from forecasting.netcdf import write_netcdf
from forecasting.page import INK, MUTED, STYLE, save_png
from forecasting.stations import long_name

Array = NDArray[np.float64]
SUFFIXES = (".png", ".csv", ".nc")
COLUMNS = (
    *("station", "longitude", "latitude", "distance_m", "variable", "units", "lead_hours", "valid_time"),
    *("forecast", "spread", "truth", "gauge"),
)
PANELS = 40  # of one picture
BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by every eye (Okabe and Ito, 2008)


def save_stations(ds: xr.Dataset, path: str | Path) -> Path:
    """Write time series at places as a picture, a table or NetCDF, by the suffix: .png, .csv or .nc.

    Raises
    ------
    ValueError
        If the suffix is another one, or a picture would have too many panels.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path}: time series are written as {', '.join(SUFFIXES)}, not '{path.suffix}'; give one of these."
        )
    if path.suffix.lower() == ".png":
        return save_png(_figure(ds), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        if path.suffix.lower() == ".nc":
            write_netcdf(ds, partial)
        else:
            _write_table(ds, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _shown(ds: xr.Dataset) -> list[str]:
    added = ("_spread", "_truth", "_gauge")
    return [str(name) for name in ds.data_vars if name != "distance" and not str(name).endswith(added)]


def _write_table(ds: xr.Dataset, path: Path) -> None:
    """One row a station, variable and lead; a cell is empty where there is no value."""
    hours = ds["lead_time"].values / np.timedelta64(1, "h")
    times = [text(time) for time in ds["time"].values]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, station in enumerate(ds["station_name"].values.tolist()):
            place = [f"{float(ds[key][i]):.6g}" for key in ("longitude", "latitude", "distance")]
            for name in _shown(ds):
                columns = [ds[key].values[i] if key in ds else None for key in (name, *_beside(name))]
                for j, time in enumerate(times):
                    numbers = [_cell(None if column is None else column[j]) for column in columns]
                    unit = ds[name].attrs.get("units", "1")
                    writer.writerow([station, *place, name, unit, f"{hours[j]:g}", time, *numbers])


def _beside(name: str) -> tuple[str, str, str]:
    return f"{name}_spread", f"{name}_truth", f"{name}_gauge"


def _cell(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{float(value):.7g}"


def _figure(ds: xr.Dataset) -> Any:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names, places = _shown(ds), ds["station_name"].values.tolist()
    if len(names) * len(places) > PANELS:
        raise ValueError(
            f"{len(places)} places and {len(names)} variables are {len(places) * len(names)} panels, and a picture has "
            f"up to {PANELS}; name fewer of them, or write .csv or .nc."
        )
    hours = ds["lead_time"].values / np.timedelta64(1, "h")
    with matplotlib.rc_context(STYLE):
        rows = len(places)
        figure = Figure(figsize=(1.2 + 4.6 * len(names), 0.9 + 2.0 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, len(names), sharex=True, sharey="col", squeeze=False)
        for i, place in enumerate(places):
            for j, name in enumerate(names):
                _curves(axes[i, j], ds.isel(station=i), name, hours)
                if j == 0:
                    far = f"  {float(ds['distance'][i]) / 1e3:.1f} km from its cell"
                    axes[i, j].set_title(place + far, loc="left", fontsize=9, fontweight="bold")
                if i == 0 and len(names) > 1:
                    axes[i, j].set_title(_heading(ds[name], name), loc="right", fontsize=9)
                axes[i, j].set_ylabel(
                    f"{_heading(ds[name], name) if len(names) == 1 else name} ({_unit(ds[name])})"
                )
        for each in axes[-1]:
            each.set_xlabel("Lead (hours)")
            each.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 3, 6, 10]))
        # A gauge is in the panels of the level alone
        lines = {
            text: line
            for each in axes.flat
            for line, text in zip(*each.get_legend_handles_labels(), strict=True)
        }
        axes[0, -1].legend(lines.values(), lines, loc="best", fontsize=7.5, frameon=False)
        figure.suptitle(
            f"{ds.attrs.get('model', 'forecast')}  ·  start {time_text(ds['forecast_reference_time'].values[()])}",
            x=0.01,
            ha="left",
            fontweight="bold",
        )
        return figure


def _curves(axes: Any, ds: xr.Dataset, name: str, hours: Array) -> None:
    spread, truth, gauge = _beside(name)
    if truth in ds:
        axes.plot(hours, ds[truth], color=INK, linewidth=1.2, linestyle=(0, (4, 1.5)), label="truth")
    if gauge in ds and bool(ds[gauge].notnull().any()):
        axes.plot(hours, ds[gauge], "o", color=ORANGE, markersize=3, label="gauge")
    if spread in ds:
        low, high = ds[name] - ds[spread], ds[name] + ds[spread]
        axes.fill_between(hours, low, high, color=BLUE, alpha=0.25, linewidth=0, label="± spread of members")
    label = "forecast, mean of members" if spread in ds else "forecast"
    axes.plot(hours, ds[name], color=BLUE, linewidth=1.6, label=label)
    axes.grid(color=MUTED, alpha=0.25, linewidth=0.4)
    axes.margins(x=0)


def _heading(array: xr.DataArray, name: str) -> str:
    words = long_name(array, name)
    return words[:1].upper() + words[1:]


def _unit(array: xr.DataArray) -> str:
    return unit_text(str(array.attrs.get("units", "1"))) or "1"
