"""Weather that is known past the end of a store, so that a forecast can start from the last state there is."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr

from data_pipelines import ingest, open_store, save_store
from data_pipelines.times import text
from data_pipelines.windows import time_step
from forecasting import clock
from oceanop.grid import Grid
from oceanop.layout import Layout, cf_attributes
from oceanop.variables import BOUNDARIES

Files = str | Path | Sequence[str | Path]
STILL = "zos"  # the state of a sea at rest that stands for the times ahead


def with_weather(
    store: xr.Dataset, weather: Files, layout: Layout, *, history: int, leads: int
) -> tuple[xr.Dataset, str]:
    """The end of a store, continued by weather alone.

    The weather comes to the store's cells and times by the same ingest that brought the weather of the store there.

    Parameters
    ----------
    weather
        Files, globs or stores of the forcing, as :func:`data_pipelines.ingest` takes them. They begin at the store's
        last step or before, and reach ``leads`` steps further.
    layout
        Its forcing is what the weather must hold.
    history
        Past states that a forecast needs.

    Returns
    -------
    The last ``history + leads`` steps, and ``leads`` more without a state, in memory; and a SHA-256 of the weather.

    Raises
    ------
    ValueError
        If the weather does not cover these times or lacks a variable, no forcing is needed, or a parent model's values
        are, which no weather holds.
    """
    names = layout.names("forcing")
    driven = [name for name in names if name in BOUNDARIES]
    if not names or driven:
        why = (
            f"needs {', '.join(driven)} of a parent model ahead, which is no weather"
            if names
            else "needs none"
        )
        raise ValueError(f"weather was given as forcing, and the checkpoint {why}; leave --forcing out.")
    times = store["time"].values
    step = time_step(times)
    if step is None:
        raise ValueError("the store has a single step and no time step; give a store with a past.")
    new = clock.ahead(times, [times.size - 1], leads, int(step.astype(np.int64)) // 1000)[0]
    files = [weather] if isinstance(weather, str | Path) else list(weather)
    ahead = _at_times(Grid.from_dataset(store), np.concatenate([times[-1:], new]), files)
    missing = [name for name in names if name not in ahead.data_vars]
    if missing:
        raise ValueError(
            f"the weather {', '.join(str(file) for file in files)} does not hold {', '.join(missing)}, which the "
            "checkpoint needs as forcing; give files that do."
        )
    tail = store.isel(time=slice(-(history + leads), None))
    moving = [name for name in (*layout.names(), *names) if name in tail.data_vars]
    out = tail.drop_vars([str(name) for name, array in tail.data_vars.items() if "time" in array.dims])
    out = out.drop_vars("time").assign_coords(time=("time", np.concatenate([tail["time"].values, new])))
    digest = hashlib.sha256()
    for name in moving:
        known = tail[name].to_numpy()
        if name in names:
            values = ahead[name].transpose(*tail[name].dims).to_numpy()[1:]
            digest.update(np.ascontiguousarray(values).tobytes())
        else:
            values = np.full((leads, *known.shape[1:]), np.nan, dtype=known.dtype)
        out[name] = (tail[name].dims, np.concatenate([known, values]), tail[name].attrs)
    return out.assign_attrs(store.attrs), digest.hexdigest()


def weather_text(store: xr.Dataset, weather: Files) -> str:
    """Which files the weather ahead is from, and from when on."""
    files = [weather] if isinstance(weather, str | Path) else list(weather)
    return f"{', '.join(Path(file).name for file in files)} after {text(store['time'].values[-1])}"


def _at_times(grid: Grid, times: np.ndarray, files: list[str | Path]) -> xr.Dataset:
    """Forcing on a grid at some times."""
    still = grid.to_dataset().assign_coords(time=("time", times, {"standard_name": "time", "axis": "T"}))
    rest = np.where(grid.mask, np.float32(0), np.float32(np.nan))
    attributes = cf_attributes(STILL)
    if grid.grid_mapping is not None:
        attributes["grid_mapping"] = grid.grid_mapping
    still[STILL] = (("time", *grid.dims), np.repeat(rest[None], len(times), 0), attributes)
    with TemporaryDirectory() as folder:
        sea = save_store(still, Path(folder) / "the-times-ahead.zarr")
        try:
            made = ingest([sea], to=Path(folder) / "weather.zarr", forcing=files)
        except ValueError as error:
            # The sea at rest is ours, and no reader has heard of it
            told = str(error).replace(
                f"{sea.name}: variable '{STILL}'", "the forecast from the store's last state"
            )
            raise ValueError(told.replace("less ocean", "fewer leads")) from error
        return open_store(made).load()
