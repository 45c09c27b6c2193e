"""The forecast file: what is in it, how it is written as the forecast runs, and how it is read."""

import os
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.store import commit
from forecasting import clock
from forecasting.forecaster import State
from forecasting.netcdf import write_netcdf
from oceanop.grid import Grid
from oceanop.layout import Layout
from oceanop.variables import VARIABLES

Run = tuple[int, int]  # number of a start, and of a member

BOOKKEEPING = "leads_written"
# A file of thousands of small chunks is read ten times slower than its bytes allow. A chunk is rewritten with each of
# its leads, so that a lead is there as soon as it is forecast, and must not be large
CHUNK_BYTES, MOST_LEADS = 2**18, 16
SECONDS = "forecast_seconds"  # attribute: what the rollout and its writing took, all attempts together
# Equal in two files of the same forecast
IDENTITY = ("model", "checkpoint_sha256", "run", "input_store", "input_store_id", "ensemble", "perturbation")


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a forecast file but its numbers.

    Attributes
    ----------
    layout, grid
        Channels and cells of the states.
    mask
        Ocean mask as the file shows it, with its depth axis if the store has one.
    wet
        Ocean mask of each channel, bool ``[channel, y, x]``.
    init_times
        Starts, ``[init_time]``.
    leads, time_step
        Number of steps, and seconds of one.
    attributes
        Of the file.
    valid_times
        ``[init_time, lead_time]``; None where they follow from the time step.
    cell_methods
        By variable, where it is another than that of a plain instant.
    members
        Size of the dimension ``member``; None where the file has none.
    """

    layout: Layout
    grid: Grid
    mask: xr.DataArray
    wet: Tensor
    init_times: NDArray[Any]
    leads: int
    time_step: int
    attributes: dict[str, Any]
    valid_times: NDArray[Any] | None = None
    cell_methods: dict[str, str] = field(default_factory=dict)
    members: int | None = None

    @property
    def axes(self) -> dict[str, int]:
        """What lies before the axes of a state, and how much of it."""
        members = {} if self.members is None else {"member": self.members}
        return {"init_time": self.init_times.size, "lead_time": self.leads, **members}

    def place(self, start: int, lead: int, member: int) -> tuple[int, ...]:
        """Where a state stands along these axes; leads count from 1."""
        return (start, lead - 1) if self.members is None else (start, lead - 1, member)

    def frame(self) -> xr.Dataset:
        """Coordinates, mask, cell area and attributes: the file without its states."""
        ds = self.grid.to_dataset()
        ds["mask"] = self.mask.variable
        steps = np.arange(1, self.leads + 1)
        even = np.stack([clock.shift(time, steps, self.time_step) for time in self.init_times])
        valid = even if self.valid_times is None else self.valid_times
        nominal = {} if (valid == even).all() else {"comment": "nominal; valid_time holds the dates"}
        ds = ds.assign_coords(
            init_time=(
                "init_time",
                self.init_times,
                {"standard_name": "forecast_reference_time", "long_name": "start of the forecast"},
            ),
            lead_time=(
                "lead_time",
                (steps * self.time_step).astype("timedelta64[s]").astype("timedelta64[ns]"),
                {
                    "standard_name": "forecast_period",
                    "long_name": "time since the start of the forecast",
                    **nominal,
                },
            ),
            valid_time=(
                ("init_time", "lead_time"),
                valid,
                {"standard_name": "time", "long_name": "time the forecast is for"},
            ),
        )
        if self.members is not None:
            ds = ds.assign_coords(
                member=(
                    "member",
                    np.arange(self.members, dtype=np.int32),
                    {"standard_name": "realization", "long_name": "member of the ensemble", "units": "1"},
                )
            )
        ds.attrs = dict(self.attributes)
        return ds

    def fields(self, state: State) -> xr.Dataset:
        """One state as labelled planes, ``[lead_time=1, (depth,) y, x]``, NaN on land."""
        return self.layout.unpack(state.values[:, None], self.grid, "lead_time", [state.lead], self.wet)

    def blank(self, array: Any) -> xr.Dataset:
        """The frame with states made by ``array(shape, chunks)``, a chunk a plane, or several leads of a small one."""
        ds = self.frame()
        example = self.fields(State(1, self.wet.float()))
        if "depth" in example.coords:
            ds = ds.assign_coords(depth=example["depth"])
        for name in self.layout.names():
            _, *dims = (str(dim) for dim in example[name].dims)
            sizes = (*self.axes.values(), *(example.sizes[dim] for dim in dims))
            chunks = tuple(example.sizes[dim] if dim in self.grid.dims else 1 for dim in (*self.axes, *dims))
            leads = CHUNK_BYTES // (4 * int(np.prod(chunks)))
            chunks = (1, int(np.clip(leads, 1, min(self.leads, MOST_LEADS))), *chunks[2:])
            attrs = dict(example[name].attrs)
            if name in self.cell_methods:
                attrs["cell_methods"] = self.cell_methods[name]
            ds[name] = xr.Variable((*self.axes, *dims), array(sizes, chunks), attrs)
            ds[name].encoding["chunks"] = chunks
        return ds


class MemoryForecast:
    """A forecast file held in memory until it is whole."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ds = plan.blank(lambda shape, chunks: np.full(shape, np.nan, dtype=np.float32))
        for name in plan.layout.names():
            self.ds[name].encoding.pop("chunks")

    def pending(self) -> list[Run]:
        """Starts and members still to be run."""
        return list(np.ndindex(self.plan.init_times.size, self.plan.members or 1))

    def write(self, start: int, state: State, member: int = 0) -> None:
        """Put one state in its place."""
        fields = self.plan.fields(state)
        for name in self.plan.layout.names():
            self.ds[name].values[self.plan.place(start, state.lead, member)] = fields[name].values[0]

    def add_seconds(self, seconds: float) -> None:
        """Add to what the forecast has taken."""
        self.ds.attrs[SECONDS] = round(self.ds.attrs.get(SECONDS, 0.0) + seconds, 3)

    def discard(self) -> None:
        """Nothing was begun, and nothing is left behind."""

    def finish(self) -> xr.Dataset:
        """The whole forecast."""
        return self.ds


class ZarrForecast:
    """A forecast written to Zarr v3 state by state; the same forecast goes on where it was stopped.

    A member that was stopped half way is run again from its start: a rollout needs its own past.

    Raises
    ------
    ValueError
        If the path holds anything else.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path
        self.created = not path.exists()
        if self.created:
            self._create()
        else:
            _require_same(plan, path)
        self.group: Any = zarr.open_group(path, mode="r+")
        self.written: Any = self.group[BOOKKEEPING]

    def _create(self) -> None:
        import dask.array

        # One dask chunk, never computed: only its shape and type are used
        ds = self.plan.blank(
            lambda shape, chunks: dask.array.full(shape, np.nan, chunks=-1, dtype=np.float32)
        )
        runs = {dim: size for dim, size in self.plan.axes.items() if dim != "lead_time"}
        ds[BOOKKEEPING] = xr.Variable(
            tuple(runs),
            np.zeros(tuple(runs.values()), dtype=np.int32),
            {"long_name": "leads already written", "units": "1"},
            {"chunks": (1,) * len(runs)},
        )
        ds.attrs["complete"] = False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".partial")
        ds.to_zarr(partial, mode="w", compute=False, zarr_format=3, consolidated=False)
        # The frame appears whole, so that whatever lies at the path can be continued
        os.replace(partial, self.path)

    def pending(self) -> list[Run]:
        """Starts and members still to be run."""
        written = np.asarray(self.written[:]).reshape(self.plan.init_times.size, -1)
        return [(start, member) for start, member in np.argwhere(written < self.plan.leads).tolist()]

    def write(self, start: int, state: State, member: int = 0) -> None:
        """Write one state, then that it is written."""
        fields = self.plan.fields(state)
        for name in self.plan.layout.names():
            self.group[name][self.plan.place(start, state.lead, member)] = fields[name].values[0]
        self.written[start if self.plan.members is None else (start, member)] = state.lead

    def add_seconds(self, seconds: float) -> None:
        """Add to what the forecast has taken, unless it was whole before."""
        if not self.group.attrs["complete"]:
            self.group.attrs[SECONDS] = round(self.group.attrs.get(SECONDS, 0.0) + seconds, 3)

    def discard(self) -> None:
        """Remove a file that was made now and holds no state."""
        if self.created and not np.asarray(self.written[:]).any():
            shutil.rmtree(self.path)

    def finish(self) -> xr.Dataset:
        """Declare the forecast complete and open it."""
        if not self.group.attrs["complete"]:
            commit(self.path)
        return open_forecast(self.path)


class NetcdfForecast:
    """A forecast in NetCDF, whole or not there: until it is, its states are written to a Zarr beside it and resumed.

    Raises
    ------
    ValueError
        If the path holds anything but this forecast.
    """

    def __init__(self, plan: Plan, path: Path) -> None:
        self.plan = plan
        self.path = path
        self.beside: ZarrForecast | None = None
        if path.exists():
            _require_same(plan, path)
        else:
            self.beside = ZarrForecast(plan, path.with_name(path.name + ".partial.zarr"))

    def pending(self) -> list[Run]:
        """Starts and members still to be run; none where the file is there."""
        return [] if self.beside is None else self.beside.pending()

    def write(self, start: int, state: State, member: int = 0) -> None:
        """Write one state."""
        assert self.beside is not None
        self.beside.write(start, state, member)

    def add_seconds(self, seconds: float) -> None:
        """Add to what the forecast has taken, unless it was whole before."""
        if self.beside is not None:
            self.beside.add_seconds(seconds)

    def discard(self) -> None:
        """Remove what was made now and holds no state."""
        if self.beside is not None:
            self.beside.discard()

    def finish(self) -> xr.Dataset:
        """Turn the Zarr into NetCDF, beside the file and renamed, remove it and open the file."""
        if self.beside is not None:
            ds = self.beside.finish()
            names = self.plan.layout.names()
            # By chunks of the Zarr: a forecast may be larger than memory
            ds = ds.assign({name: ds[name].chunk(ds[name].encoding["preferred_chunks"]) for name in names})
            partial = self.path.with_name(self.path.name + ".partial")
            try:
                write_netcdf(ds, partial, compressed=names)
                os.replace(partial, self.path)
            finally:
                partial.unlink(missing_ok=True)
            shutil.rmtree(self.beside.path)
        return open_forecast(self.path)


Sink = MemoryForecast | ZarrForecast | NetcdfForecast


def open_sink(plan: Plan, to: str | Path | None) -> Sink:
    """Where a forecast goes: memory, ``.nc`` or ``.zarr``.

    Raises
    ------
    ValueError
        If the suffix is another one, or the path holds another forecast.
    """
    if to is None:
        return MemoryForecast(plan)
    path = Path(to)
    if path.suffix == ".zarr":
        return ZarrForecast(plan, path)
    if path.suffix == ".nc":
        return NetcdfForecast(plan, path)
    raise ValueError(
        f"{path}: a forecast is written as .zarr or .nc, not '{path.suffix}'; give one of these suffixes."
    )


def open_forecast(path: str | Path) -> xr.Dataset:
    """Open a forecast file.

    Raises
    ------
    ValueError
        If there is none, it is not a forecast, or it was interrupted.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; write a forecast with 'oceanop forecast'.")
    ds = _open_raw(path)
    if "init_time" not in ds.dims or "lead_time" not in ds.dims:
        raise ValueError(
            f"{path} has the dimensions {', '.join(str(dim) for dim in ds.dims)}; a forecast has init_time and "
            "lead_time. Give a file that 'oceanop forecast' wrote."
        )
    if ds.attrs.get("complete") in (False, 0):
        raise ValueError(
            f"{path} is not complete: its forecast was interrupted. Run the same 'oceanop forecast' again, which "
            "goes on where it stopped."
        )
    # A folder lists its arrays in no order
    known = [name for name in VARIABLES if name in ds.data_vars]
    rest = sorted(str(name) for name in ds.data_vars if name not in (*known, BOOKKEEPING))
    return ds[[*known, *rest]]


def _open_raw(path: Path) -> xr.Dataset:
    try:
        if path.is_dir():
            return xr.open_zarr(path, chunks=None, consolidated=False)
        return xr.open_dataset(path)
    except (OSError, ValueError, KeyError, zarr.errors.BaseZarrError) as error:
        why = str(error).splitlines()[0] if str(error) else "empty"
        if "IO backends" in why or "engine" in why:  # xarray's, at length, on what else might be installed
            why = "neither NetCDF nor Zarr"
        raise ValueError(
            f"{path} cannot be read as a forecast ({why}); give a file that 'oceanop forecast' wrote."
        ) from error


def _require_same(plan: Plan, path: Path) -> None:
    cure = "give another path, or delete it."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            there = _open_raw(path)
        except ValueError:
            raise ValueError(f"{path} exists and is no forecast; {cure}") from None
    with there:
        _require_same_content(plan, path, there, cure)


def _require_same_content(plan: Plan, path: Path, there: xr.Dataset, cure: str) -> None:
    if "init_time" not in there.dims or "lead_time" not in there.dims:
        raise ValueError(f"{path} exists and is no forecast; {cure}")
    frame = plan.frame()
    for name in IDENTITY:
        if there.attrs.get(name) != frame.attrs.get(name):
            raise ValueError(f"{path} holds another forecast (its attribute '{name}' differs); {cure}")
    for name in ("init_time", "lead_time", "member"):
        wanted, held = frame.coords.get(name), there.coords.get(name)
        if (wanted is None) != (held is None) or (wanted is not None and not wanted.equals(held)):
            raise ValueError(f"{path} holds a forecast of another {name}; {cure}")
    unkept = path.is_dir() and BOOKKEEPING not in there
    if unkept or any(name not in there for name in plan.layout.names()):
        raise ValueError(f"{path} holds a forecast of other variables; {cure}")
