"""A forecast that any numerical model left in a file, brought to the cells and times of a store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from data_pipelines.conservative import shared_areas
from data_pipelines.grid_change import chosen_method
from data_pipelines.positions import Positions
from data_pipelines.regrid import Regridder, bracket
from data_pipelines.series import Series, join
from data_pipelines.sources import Source, open_source
from data_pipelines.sources.cf import read_source
from data_pipelines.sources.files import open_dataset
from data_pipelines.sources.source import SURFACE
from data_pipelines.times import Times, calendar_of, milliseconds, text
from data_pipelines.windows import time_step
from forecasting.baselines.coverage import MOST, REACH, share_beyond
from forecasting.forecaster import Initial, State
from oceanop.grid import Grid
from oceanop.layout import Channel, Layout

REFERENCE, PERIOD = "forecast_reference_time", "forecast_period"


class NumericalForecast:
    """A stored run of a numerical model, or its stored forecasts from many starts, as a forecaster.

    Fields are found by their CF standard names, converted and turned to true east and north as by 'oceanop ingest'.
    They come to the store's cells as means where these are no smaller than the file's, else by bilinear interpolation,
    from the nearest wet cell where there is none around, and to its times by linear interpolation. Of a file with many
    starts a forecast takes the latest that is not after its own; members count by their mean, where all have a value.

    Parameters
    ----------
    path
        NetCDF or Zarr: a forecast file with ``init_time`` and ``lead_time`` (or axes of their standard names), or any
        CF file with time.
    store
        Store whose cells and times are wanted.
    layout
        Channels to give; None takes the store's states that the file holds.
    name
        The file's attribute ``model``, or else its name, unless said.

    Attributes
    ----------
    layout
        Channels that it gives.

    Raises
    ------
    ValueError, FileNotFoundError
        If the file cannot be read or lacks a variable.
    """

    history = 1

    def __init__(
        self,
        path: str | Path,
        store: xr.Dataset,
        *,
        layout: Layout | None = None,
        name: str | None = None,
    ) -> None:
        self._file = Path(path).name
        self._runs = _open(path)
        self.name = name or self._runs.model or Path(path).stem
        first = self._runs.source(0)
        if layout is None:
            shared = [each for each in Layout.from_dataset(store).names() if each in first.fields]
            if not shared:
                raise ValueError(
                    f"{self._file} holds {', '.join(first.fields)} and none of the store's states, "
                    f"{', '.join(Layout.from_dataset(store).names())}; give a file with one of them."
                )
            layout = Layout.from_dataset(store, state=shared)
        self.layout = Layout(layout.state)
        self.wet = self.layout.wet(store)
        self._sea = self.wet.any(0).numpy()
        self._series = _series(first, self.layout)
        self._number = 0
        grid = Grid.from_dataset(store)
        self._cells = Positions(grid.latitude, grid.longitude, regular=grid.dims[0] == "latitude")
        step = time_step(store["time"].values)
        if step is None:
            raise ValueError(f"{self._file}: the store holds a single time and tells no time step.")
        self._step = int(step.astype(np.int64)) // 1000
        self._regridders: dict[Channel, Regridder] = {}
        self._shared: list[tuple[Positions, csr_array]] = []

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the file's states at the valid times of leads 1 to ``leads``.

        Raises
        ------
        ValueError
            If the file does not reach from the first lead to the last one, has a gap there, lacks values at sea, or is
            of another sea.
        """
        number = self._latest(initial.start)
        if number != self._number:
            self._series, self._number = _series(self._runs.source(number), self.layout), number
        held, valid = self._series, initial.valid_times(np.arange(1, leads + 1), self._step)
        steps = {}
        for name, series in held.items():
            self._require_reach(series.times, valid, initial.start)
            steps[name] = bracket(series.times, valid, self._file, "the forecast", kind="a run")
        for lead in range(1, leads + 1):
            planes = [
                self._plane(
                    channel, held[channel.variable], *(each[lead - 1] for each in steps[channel.variable])
                )
                for channel in self.layout.state
            ]
            values = torch.from_numpy(np.stack(planes))
            lacking = (self.wet & ~values.isfinite()).flatten(1).sum(1)
            if lacking.any():
                worst = int(lacking.argmax())
                raise ValueError(
                    f"{self._file} lacks '{self.layout.state[worst]}' at {text(valid[lead - 1])} on "
                    f"{int(lacking[worst])} sea cells where it has values at other times; fill them or leave these "
                    "hours out."
                )
            yield State(lead, torch.where(self.wet, values, 0.0))

    def _latest(self, start: Any) -> int:
        """Number of the file's latest start that is not after the forecast's."""
        if self._runs.starts is None:
            return 0
        before = np.flatnonzero(milliseconds(self._runs.starts) <= milliseconds(np.array([start]))[0])
        if not before.size:
            raise ValueError(
                f"{self._file} has no forecast that starts at {text(start)} or before; its first starts at "
                f"{text(self._runs.starts.min())}. Start later, or give an earlier file."
            )
        return int(before[milliseconds(self._runs.starts)[before].argmax()])

    def _require_reach(self, held: Times, valid: Times, start: Any) -> None:
        if calendar_of(held) != calendar_of(valid):
            return  # which bracket tells
        ends, wanted = milliseconds(held[[0, -1]]), milliseconds(valid[[0, -1]])
        if wanted[0] < ends[0] or wanted[1] > ends[1]:
            which = (
                ""
                if self._runs.starts is None
                else f", from its start {text(self._runs.starts[self._number])},"
            )
            raise ValueError(
                f"{self._file}{which} reaches from {text(held[0])} to {text(held[-1])}, and a forecast from "
                f"{text(start)} needs {text(valid[0])} to {text(valid[-1])}; ask for fewer leads, start within it, or "
                "give a longer run."
            )

    def _plane(self, channel: Channel, series: Series, first: int, fraction: float) -> NDArray[np.float32]:
        """A channel between two steps of the file, on the store's cells."""
        level = 0
        if channel.depth is not None and series.depths is not None:
            level = int(np.abs(series.depths - channel.depth).argmin())
        if channel not in self._regridders:
            everywhere = (slice(0, size) for size in series.positions.shape)
            plane = series.read([int(first)], *everywhere)[channel.variable][0, level]
            self._regridders[channel] = self._regridder(channel, series.positions, np.isfinite(plane))
        regridder = self._regridders[channel]
        needed = [int(first), int(first) + 1] if fraction > 0 else [int(first)]
        blocks = series.read(needed, regridder.rows, regridder.columns)[channel.variable][:, level]
        here = regridder(blocks)
        return here[0] if fraction == 0 else here[0] + np.float32(fraction) * (here[1] - here[0])

    def _regridder(self, channel: Channel, positions: Positions, known: NDArray[np.bool_]) -> Regridder:
        beyond = share_beyond(positions, known, self._cells, self._sea)
        if beyond > MOST:
            raise ValueError(
                f"{self._file} has no '{channel}' within {REACH} cells of {beyond:.0%} of the store's sea; give a "
                "forecast of this region, or leave it out."
            )
        # What a store holds is a cell's mean: a value at the centre would have all that is shorter than the cell in it
        cells = self._cells
        same = positions.shape == cells.shape and np.allclose(
            [positions.latitude, positions.longitude], [cells.latitude, cells.longitude], rtol=0, atol=1e-9
        )
        if same or chosen_method(positions, cells, None) != "conservative":
            return Regridder.between(positions, cells, known)
        shared = next((areas for held, areas in self._shared if held is positions), None)
        if shared is None:
            shared = shared_areas(positions, cells)
            self._shared.append((positions, shared))
        return Regridder.means(positions, cells, shared, known)


@dataclass(frozen=True, eq=False)
class _Runs:
    """A file's runs: one that is a series, or one from each of many starts."""

    path: Path
    model: str
    starts: Times | None = None
    forecasts: xr.Dataset | None = None  # (start, time since start, ...)

    def source(self, number: int) -> Source:
        """Fields of one run over time."""
        if self.starts is None or self.forecasts is None:
            return open_source(self.path)
        begin = int(milliseconds(self.starts)[number])
        ds = self.forecasts.isel(start=number)
        if "member" in ds.dims:
            ds = ds.mean("member", keep_attrs=True, skipna=False)
        times = begin + (ds["lead"].to_numpy() / np.timedelta64(1, "ms")).round().astype(np.int64)
        attrs = {
            "standard_name": "time",
            "units": "milliseconds since 1970-01-01",
            "calendar": calendar_of(self.starts),
        }
        return read_source(
            ds.drop_vars(["start", "lead"]).rename(lead="time").assign_coords(time=("time", times, attrs)),
            self.path,
        )


def _open(path: str | Path) -> _Runs:
    ds = open_dataset(path, decode_times=True)
    model = str(ds.attrs.get("model", ""))
    start, lead = (_axis(ds, *words) for words in ((REFERENCE, "init_time"), (PERIOD, "lead_time")))
    if lead is None:
        ds.close()
        return _Runs(Path(path), model)
    if start is None or not np.issubdtype(ds[lead].dtype, np.timedelta64):
        ds.close()
        raise ValueError(
            f"{Path(path).name} has leads along '{lead}' that are no durations, or of starts that it does not name; "
            f"give '{lead}' a unit like hours, and the starts the standard_name {REFERENCE}."
        )
    if start not in ds.dims:
        ds = ds.expand_dims(start)
    others = [
        name
        for name, variable in ds.variables.items()
        if name not in (start, lead) and variable.attrs.get("standard_name") == "time"
    ]
    member = _axis(ds, "realization", "member")
    ds = ds.drop_vars(others).rename({start: "start", lead: "lead"})
    if member in ds.dims:
        ds = ds.rename({member: "member"})
    return _Runs(Path(path), model, ds["start"].values, ds)


def _axis(ds: xr.Dataset, standard_name: str, name: str) -> str | None:
    """The coordinate of a standard name, or of our own; None where there is none."""
    found = [
        str(key) for key, value in ds.variables.items() if value.attrs.get("standard_name") == standard_name
    ]
    return found[0] if found else name if name in ds.variables else None


def _series(source: Source, layout: Layout) -> dict[str, Series]:
    """Series of each variable of a layout."""
    found: dict[str, Series] = {}
    for name in layout.names():
        if name not in found:
            depths = [each.depth for each in layout.state if each.variable == name and each.depth is not None]
            series = join([source], name, depths or "surface")
            if series.depths is None and any(depth > SURFACE for depth in depths):
                raise ValueError(
                    f"{source.name} holds '{name}' without depths, and the store has it at "
                    f"{', '.join(f'{depth:g}' for depth in depths)} m; give a file with these levels."
                )
            found |= dict.fromkeys(series.names, series)
    return found
