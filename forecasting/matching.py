"""Which forecasts can be compared: same variables, same grid, same starts and leads, and a truth for them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import milliseconds, text
from data_pipelines.windows import TOLERANCE, is_irregular, time_step
from forecasting.blocks import selector
from oceanop.grid import Grid
from oceanop.layout import Layout


@dataclass(frozen=True, eq=False)
class Match:
    """What is compared with what.

    Attributes
    ----------
    forecasts
        By name, cut to the common starts and leads.
    layout
        The variables all of them hold.
    init_steps
        Step of the truth that each start is, -1 where the truth does not reach back to it, ``[init_time]``.
    valid_steps
        Step of the truth that each start and lead is forecast for, -1 where there is none, ``[init_time, lead_time]``.
    leads
        Leads in time steps of the truth, ``[lead_time]``.
    time_step
        Of the truth, seconds.
    left_out
        In words, how many starts and leads are not compared, and why.
    """

    forecasts: dict[str, xr.Dataset]
    layout: Layout
    init_steps: NDArray[np.int64]
    valid_steps: NDArray[np.int64]
    leads: NDArray[np.int64]
    time_step: int
    left_out: str = "none"

    @property
    def first(self) -> xr.Dataset:
        """Any of the forecasts: they share starts and leads."""
        return next(iter(self.forecasts.values()))


def match(forecasts: Mapping[str, xr.Dataset], truth: xr.Dataset) -> Match:
    """Cut forecasts to what they share and find the truth of it.

    Raises
    ------
    ValueError
        If a forecast lies on another grid than the truth, nothing is shared, or the truth has members.
    """
    if "member" in truth.dims:
        raise ValueError(
            f"the truth has {truth.sizes['member']} members and one ocean is needed here; choose one, as xarray's "
            "ds.isel(member=0) does, or simulate with one member."
        )
    grid = Grid.from_dataset(truth)
    for name, ds in forecasts.items():
        _require_same_positions(name, Grid.from_dataset(ds), grid)
    layouts = {name: Layout.from_dataset(ds, forcing=[]) for name, ds in forecasts.items()}
    first = next(iter(layouts.values()))
    there = Layout.from_dataset(truth, forcing=[]).state
    shared = tuple(
        channel
        for channel in first.state
        if channel in there and all(channel in layout.state for layout in layouts.values())
    )
    if not shared:
        held = "; ".join(f"{name}: {', '.join(layout.names()) or 'none'}" for name, layout in layouts.items())
        raise ValueError(
            f"the forecasts and the truth share no variable ({held}); compare forecasts of the same ones."
        )
    layout = Layout(shared)
    inits = _shared([milliseconds(ds["init_time"].values) for ds in forecasts.values()], "start")
    leads = _shared([_lead_milliseconds(ds) for ds in forecasts.values()], "lead")
    step = time_step(truth["time"].values)
    if step is None:
        raise ValueError(
            "the truth holds a single time; a forecast is compared with the times that follow its start."
        )
    length = int(step.astype(np.int64))
    irregular = is_irregular(truth["time"].values)
    # A lead between two steps of the truth has no truth; months only tell where they are by their own times
    whole = np.abs(leads / length - np.rint(leads / length)) <= (np.inf if irregular else TOLERANCE)
    moments = milliseconds(truth["time"].values)
    wanted = inits[:, None] + leads[whole][None]
    if irregular:
        wanted = _valid_moments(next(iter(forecasts.values())), inits, leads[whole], wanted)
    valid = _nearest(moments, wanted, length)
    covered, followed = (np.flatnonzero((valid >= 0).any(axis)) for axis in (1, 0))
    if not covered.size:
        times = truth["time"].values
        example = next(iter(forecasts.values()))
        raise ValueError(
            f"the truth, from {text(times[0])} to {text(times[-1])}, and the forecasts, with {inits.size} start(s) "
            f"from {text(example['init_time'].values.min())} and leads up to {leads.max() / 3.6e6:g} h, do not "
            "overlap; give a truth that covers the time after a start."
        )
    left_out = _left_out(forecasts, inits.size, leads.size, valid[covered][:, followed])
    inits, leads, valid = inits[covered], leads[whole][followed], valid[covered][:, followed]
    starts = _nearest(moments, inits, length, tolerance=0.0)
    return Match(
        forecasts={name: _cut(ds, inits, leads) for name, ds in forecasts.items()},
        layout=layout,
        init_steps=starts,
        valid_steps=valid,
        leads=_lead_numbers(leads / length, starts, valid)
        if irregular
        else np.rint(leads / length).astype(int),
        time_step=length // 1000,
        left_out=left_out,
    )


def _valid_moments(
    ds: xr.Dataset, inits: NDArray[np.int64], leads: NDArray[np.int64], else_: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Valid times as a forecast file tells them, ``[init_time, lead_time]``."""
    if "valid_time" not in ds.coords:
        return else_
    return milliseconds(_cut(ds, inits, leads)["valid_time"].transpose("init_time", "lead_time").values)


def _lead_numbers(
    ratio: NDArray[np.float64], starts: NDArray[np.int64], valid: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Leads in steps of an irregular axis: as many as lie between start and valid time."""
    both = (starts[:, None] >= 0) & (valid >= 0)
    numbers = np.rint(ratio).astype(np.int64)
    for i in np.flatnonzero(both.any(0)):
        numbers[i] = int(np.median((valid[:, i] - starts)[both[:, i]]))
    return numbers


def _left_out(
    forecasts: Mapping[str, xr.Dataset],
    starts: int,
    leads: int,
    valid: NDArray[np.int64],
) -> str:
    """In words, what of ``starts`` and ``leads`` is not among the compared, ``valid [init_time, lead_time]``."""
    parts = []
    for what, dim, shared in (("starts", "init_time", starts), ("leads", "lead_time", leads)):
        held = max(ds.sizes[dim] for ds in forecasts.values())
        if held > shared:
            parts.append(f"{held - shared} of {held} {what}, which not every forecast has")
    lost = [
        f"{all_ - kept} of {all_} {what}"
        for what, all_, kept in (("starts", starts, valid.shape[0]), ("leads", leads, valid.shape[1]))
        if all_ > kept
    ]
    if (valid < 0).any():
        lost.append(f"{int((valid < 0).sum())} of the {valid.size} remaining pairs of a start and a lead")
    if lost:
        parts.append(f"{' and '.join(lost)}, for which the truth holds no state")
    return "; ".join(parts) or "none"


def _lead_milliseconds(ds: xr.Dataset) -> NDArray[np.int64]:
    return (ds["lead_time"].values / np.timedelta64(1, "ms")).round().astype(np.int64)


def _shared(axes: list[NDArray[np.int64]], what: str) -> NDArray[np.int64]:
    common = axes[0]
    for axis in axes[1:]:
        common = np.intersect1d(common, axis)
    if not common.size:
        raise ValueError(f"the forecasts share no {what}; compare forecasts made with the same {what}s.")
    return np.unique(common)


def _cut(ds: xr.Dataset, inits: NDArray[np.int64], leads: NDArray[np.int64]) -> xr.Dataset:
    rows, columns = (
        np.array([np.flatnonzero(held == each)[0] for each in wanted])
        for held, wanted in ((milliseconds(ds["init_time"].values), inits), (_lead_milliseconds(ds), leads))
    )
    return ds.isel(init_time=selector(rows), lead_time=selector(columns))


def _nearest(
    moments: NDArray[np.int64], wanted: NDArray[np.int64], step: int, tolerance: float = TOLERANCE
) -> NDArray[np.int64]:
    right = np.searchsorted(moments, wanted).clip(1, moments.size - 1)
    nearest = np.where(wanted - moments[right - 1] <= moments[right] - wanted, right - 1, right)
    return np.where(np.abs(moments[nearest] - wanted) <= tolerance * step, nearest, -1)


def _require_same_positions(name: str, grid: Grid, truth: Grid) -> None:
    if grid.shape == truth.shape and all(
        np.allclose(a, b, rtol=0, atol=1e-4)
        for a, b in ((grid.latitude, truth.latitude), (grid.longitude, truth.longitude))
    ):
        return
    sizes = [
        f"{g.shape[0]} x {g.shape[1]} cells of {g.spacing[0]:.0f} x {g.spacing[1]:.0f} m"
        for g in (grid, truth)
    ]
    raise ValueError(
        f"the forecast {name} lies on another grid than the truth: {sizes[0]} against {sizes[1]}; compare on the same "
        "cells, with the store the forecast was made from."
    )
