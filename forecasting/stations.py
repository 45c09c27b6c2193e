"""A forecast at single places, as time series beside the truth and tide gauges."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines import open_store, read_gauges
from data_pipelines.store import CONVENTIONS
from data_pipelines.times import milliseconds, text
from forecasting.fields import at_depth, start_number
from forecasting.gauges import LEVEL, SMOOTHED, farthest, levels_at
from forecasting.origin import made_by
from forecasting.truth import require_same_sea, require_times
from oceanop.gauges import gauge_cells
from oceanop.grid import Grid, great_circle_distance
from oceanop.variables import VARIABLES

Places = Mapping[str, tuple[float, float]]  # latitude and longitude by name
Array = NDArray[np.float64]


def stations(
    ds: xr.Dataset,
    places: Places,
    *,
    variables: Sequence[str] | None = None,
    start: Any = None,
    depth: float | None = None,
    truth: xr.Dataset | str | Path | None = None,
    gauges: Sequence[str | Path] = (),
) -> xr.Dataset:
    """Time series of one forecast at places, each from the nearest ocean cell.

    Parameters
    ----------
    ds
        A forecast file.
    places
        Latitude and longitude by name, degrees.
    variables
        Of the forecast; all where None.
    start, depth
        As :func:`forecasting.fields.field_of` takes them.
    truth
        A store that holds what happened, or its path.
    gauges
        Files of tide gauges, which are places too. A gauge's zero is its own: with a truth its levels are brought to
        the mean of the truth's at its cell over all times both have; without one they stay as they were measured.

    Returns
    -------
    xr.Dataset
        CF time series, ``(station, time)``: the forecast, of members the mean with ``_spread``, their standard
        deviation; ``_truth`` and ``zos_gauge`` where there are such.

    Raises
    ------
    ValueError
        If there is no place, one lies outside the domain or too far from its sea, the forecast holds no such variable
        or depth, or no level for a gauge, or the truth is on another grid, lacks a variable or holds none of the times.
    """
    held = [str(name) for name, array in ds.data_vars.items() if "lead_time" in array.dims]
    names = list(variables or held)
    for name in names:
        if name not in held:
            raise ValueError(
                f"variable '{name}' is not in the forecast, which holds {', '.join(held)}; name one of these."
            )
    if depth is not None and not any("depth" in ds[name].dims for name in names):
        raise ValueError(
            f"{', '.join(names)} of the forecast have no depths, and {depth:g} m is asked for; leave the depth out."
        )
    series = [each for path in gauges for each in read_gauges(path)]
    if series and LEVEL not in names:
        raise ValueError(
            f"gauges measure the sea level ({LEVEL}), and {', '.join(names)} are asked for; leave gauges out, or give "
            f"a forecast of {LEVEL}."
        )
    measured = {str(each.attrs["name"]): each for each in series}
    where = {
        **places,
        **{name: (float(g["latitude"]), float(g["longitude"])) for name, g in measured.items()},
    }
    if len(where) < len(places) + len(series):
        raise ValueError("two stations have one name; give every place and gauge a name of its own.")
    if not where:
        raise ValueError("no place was given; give one as lon,lat or lon,lat:name, or the file of a gauge.")
    grid = Grid.from_dataset(ds)
    cells = {
        **gauge_cells(grid, places, farthest=farthest(grid), called="place"),
        **gauge_cells(grid, {name: where[name] for name in measured}, farthest=farthest(grid)),
    }
    row = start_number(ds, start)
    out = _frame(ds, grid, where, cells, row)
    index = tuple(np.transpose(list(cells.values())))
    store = open_store(truth) if isinstance(truth, str | Path) else truth
    if store is not None:
        _require_truth(ds.isel(init_time=[row]), store, names, measured=bool(measured))
    for name in names:
        out.update(_forecast(ds[name].isel(init_time=row), index, depth))
        if store is not None:
            steps = _steps(store, out["time"].values)
            happened = _at(store[name], "time", steps, index, depth)
            attrs = {
                **_attributes(ds[name], name),
                "long_name": f"{long_name(ds[name], name)}, what happened",
            }
            out[f"{name}_truth"] = (("station", "time"), happened.T.astype(np.float32), attrs)
    if measured:
        out[f"{LEVEL}_gauge"] = _gauges(out, measured, store, cells)
    return out


def _require_truth(ds: xr.Dataset, store: xr.Dataset, names: Sequence[str], *, measured: bool) -> None:
    require_same_sea(ds, store)
    missing = [name for name in names if name not in store.data_vars]
    if missing:
        raise ValueError(
            f"the truth does not hold {', '.join(missing)}, which is asked for; name variables that it holds, or leave "
            "the truth out."
        )
    if not measured:  # the level of gauges is found from a truth before the start, too
        require_times(ds, store)


def _frame(
    ds: xr.Dataset, grid: Grid, where: Places, cells: Mapping[str, tuple[int, int]], row: int
) -> xr.Dataset:
    latitude, longitude = (np.array([place[i] for place in where.values()]) for i in (0, 1))
    rows, columns = np.transpose(list(cells.values()))
    distance = great_circle_distance(
        latitude, longitude, grid.latitude[rows, columns], grid.longitude[rows, columns]
    )
    kept = (
        "institution",
        "license",
        "references",
        "model",
        "checkpoint_sha256",
        "input_store",
        "oceanop_version",
    )
    out = xr.Dataset(
        coords={
            "time": ("time", ds["valid_time"].values[row], {"standard_name": "time", "axis": "T"}),
            "lead_time": ("time", ds["lead_time"].values, {"standard_name": "forecast_period"}),
            "forecast_reference_time": (
                (),
                ds["init_time"].values[row],
                {"standard_name": "forecast_reference_time"},
            ),
            "station_name": (
                "station",
                list(where),
                {"long_name": "name of the place", "cf_role": "timeseries_id"},
            ),
            "latitude": ("station", latitude, {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ("station", longitude, {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={
            "Conventions": CONVENTIONS,
            "featureType": "timeSeries",
            "title": f"{ds.attrs.get('title', 'Ocean forecast')} at {len(where)} place(s)",
            "history": made_by("oceanop stations", ds),
            **{name: ds.attrs[name] for name in kept if name in ds.attrs},
        },
    )
    out["distance"] = (
        "station",
        distance,
        {"long_name": "from the place to the middle of its cell", "units": "m"},
    )
    return out


def _forecast(array: xr.DataArray, index: tuple[Any, ...], depth: float | None) -> dict[str, Any]:
    name = str(array.name)
    values = _at(array, "lead_time", np.arange(array.sizes["lead_time"]), index, depth)
    attrs = _attributes(array, name)
    if "member" not in array.dims:
        return {name: (("station", "time"), values.T.astype(np.float32), attrs)}
    mean, spread = values.mean(1), values.std(1)
    methods = str(attrs.get("cell_methods", "time: point"))
    return {
        name: (
            ("station", "time"),
            mean.T.astype(np.float32),
            {**attrs, "cell_methods": f"{methods} realization: mean"},
        ),
        f"{name}_spread": (
            ("station", "time"),
            spread.T.astype(np.float32),
            {
                **attrs,
                "long_name": f"{long_name(array, name)}, standard deviation of the members",
                "cell_methods": f"{methods} realization: standard_deviation",
            },
        ),
    }


def _at(
    array: xr.DataArray, dim: str, steps: NDArray[Any], index: tuple[Any, ...], depth: float | None
) -> Array:
    """Values at some cells, ``[step, (member,) station]``, one step in memory at a time; NaN where one is negative."""
    array = at_depth(array, depth if "depth" in array.dims else None)
    rows: list[Array] = []
    for step in steps.tolist():
        plane = array.isel({dim: max(step, 0)}).to_numpy() if step >= 0 or not rows else None
        picked = rows[0] * np.nan if plane is None else plane[..., index[0], index[1]].astype(np.float64)
        rows.append(picked if step >= 0 else picked * np.nan)
    return np.stack(rows)


def _steps(store: xr.Dataset, times: NDArray[Any]) -> NDArray[np.int64]:
    """Steps of a store at some times, -1 where it has none."""
    found: NDArray[np.int64] = np.asarray(store["time"].to_index().get_indexer(times), dtype=np.int64)
    return found


def _gauges(
    out: xr.Dataset,
    measured: Mapping[str, xr.Dataset],
    store: xr.Dataset | None,
    cells: Mapping[str, tuple[int, int]],
) -> tuple[tuple[str, str], NDArray[np.float32], dict[str, str]]:
    levels = np.full((out.sizes["station"], out.sizes["time"]), np.nan)
    moments = milliseconds(out["time"].values)
    half = int(min(SMOOTHED, np.diff(moments).min() // 2 if moments.size > 1 else SMOOTHED))
    names = out["station_name"].values.tolist()
    moved = []
    for name, gauge in measured.items():
        times, heights = milliseconds(gauge["time"].values), gauge["level"].to_numpy()
        shift = 0.0
        if store is not None and LEVEL in store.data_vars:
            shift = _offset(store, cells[name], times, heights, half, name)
            moved.append(f"{name} {shift:+.3f} m")
        levels[names.index(name)] = levels_at(times, heights, moments, half) + shift
    comment = (
        f"brought to the mean of the truth over all common times: {', '.join(moved)}"
        if moved
        else "as measured, from the zero of each gauge: "
        + ", ".join(f"{name} {gauge.attrs['datum']}" for name, gauge in measured.items())
    )
    attrs = {
        "standard_name": "water_surface_height_above_reference_datum",
        "long_name": "sea level at the gauge",
        "units": "m",
        "comment": comment,
    }
    return ("station", "time"), levels.astype(np.float32), attrs


def _offset(
    store: xr.Dataset, cell: tuple[int, int], times: NDArray[np.int64], heights: Array, half: int, name: str
) -> float:
    moments = milliseconds(store["time"].values)
    observed = levels_at(times, heights, moments, half)
    index = tuple(np.array([part]) for part in cell)
    modelled = _at(
        store[LEVEL], "time", np.where(np.isfinite(observed), np.arange(moments.size), -1), index, None
    )[:, 0]
    both = np.isfinite(observed) & np.isfinite(modelled)
    if not both.any():
        raise ValueError(
            f"the gauge {name} and the truth, from {text(store['time'].values[0])} to "
            f"{text(store['time'].values[-1])}, share no time; give levels of these times, or leave "
            "the gauge or the truth out."
        )
    return float(modelled[both].mean() - observed[both].mean())


def _attributes(array: xr.DataArray, name: str) -> dict[str, Any]:
    kept = ("standard_name", "long_name", "units", "cell_methods")
    return {key: array.attrs[key] for key in kept if key in array.attrs}


def long_name(array: xr.DataArray, name: str) -> str:
    """What a variable is called in words."""
    return str(array.attrs.get("long_name", VARIABLES[name].long_name if name in VARIABLES else name))
