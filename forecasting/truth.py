"""What happened, in the form of a forecast: the same starts and leads, read from a store."""

from pathlib import Path

import xarray as xr

from data_pipelines import open_store
from data_pipelines.times import text
from oceanop.grid import Grid
from oceanop.variables import VARIABLES


def truth_of(forecast: xr.Dataset, store: xr.Dataset | str | Path) -> xr.Dataset:
    """The states of a store at the valid times of a forecast.

    Parameters
    ----------
    forecast
        A forecast file, ``(init_time, lead_time, ..., y, x)``.
    store
        A store on the same grid, or its path.

    Returns
    -------
    xr.Dataset
        The variables both hold, ``(init_time, lead_time, ..., y, x)``, without members; NaN at valid times after the
        store's end.

    Raises
    ------
    ValueError
        If the store is on another grid, shares no variable, or holds none of the valid times.
    """
    if not isinstance(store, xr.Dataset):
        store = open_store(store)
    shared, names = require_same_sea(forecast, store)
    require_times(forecast, store)
    valid = forecast["valid_time"]
    steps = store["time"].to_index().get_indexer(valid.to_numpy().ravel())
    happened = store[shared].isel(time=("valid", steps.clip(0))).where(xr.DataArray(steps >= 0, dims="valid"))
    arrays = {
        name: (
            [dim for dim in forecast[name].dims if dim != "member"],
            happened[name].to_numpy().reshape(*valid.shape, *happened[name].shape[1:]),
            store[name].attrs,
        )
        for name in shared
    }
    return forecast.drop_vars([*names, "member"], errors="ignore").assign(arrays).assign_attrs(model="truth")


def require_same_sea(forecast: xr.Dataset, store: xr.Dataset) -> tuple[list[str], list[str]]:
    """Names that a forecast and a store share, and those of the forecast.

    Raises
    ------
    ValueError
        If the store is on another grid or shares no variable.
    """
    if Grid.from_dataset(store).fingerprint != Grid.from_dataset(forecast).fingerprint:
        raise ValueError("the truth lies on another grid than the forecast; give the store it was made from.")
    names = [name for name in VARIABLES if name in forecast.data_vars and "lead_time" in forecast[name].dims]
    shared = [name for name in names if name in store.data_vars]
    if not shared:
        raise ValueError(f"the truth holds none of {', '.join(names)}; give a store with what was forecast.")
    return shared, names


def require_times(forecast: xr.Dataset, store: xr.Dataset) -> None:
    """Refuse a store that holds none of a forecast's valid times."""
    if not forecast["valid_time"].isin(store["time"]).any():
        times = store["time"].values
        raise ValueError(
            f"the truth, from {text(times[0])} to {text(times[-1])}, holds none of the forecast's times; give a store "
            "that covers the time after a start."
        )
