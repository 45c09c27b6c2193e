"""Windows of a store as tensors: what the model sees, what it is driven by, and what it should find."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from data_pipelines.sea_copy import Crop, Fields
from data_pipelines.splits import steps_of_splits
from data_pipelines.store import open_store
from data_pipelines.streaming import ROLES, Role, StreamedFields
from data_pipelines.times import Times
from data_pipelines.windows import longest_run, time_step, window_starts
from oceanop.edge import boundary_cells
from oceanop.grid import Grid
from oceanop.layout import Layout
from oceanop.variables import BOUNDARIES

MEMORY_LIMIT = 2 * 2**30  # bytes of fields kept in memory; where windows need more, they are read one by one


@dataclass(frozen=True)
class Window:
    """A stretch of time in physical units, float32.

    Attributes
    ----------
    history
        State, ``[C, Tin, Y, X]``; 0 on land.
    forcing
        ``[F, Tin + Tout, Y, X]``; 0 where missing (wind over land stays). A parent model's states, where the layout
        has them, are the last channels.
    target
        State that follows, ``[C, Tout, Y, X]``; 0 on land.
    start
        Time of the last history state: the start of the forecast.
    """

    history: Tensor
    forcing: Tensor
    target: Tensor
    start: Any


class WindowDataset:
    """All whole windows of a store, or of some of its splits.

    Where the steps that windows use take too much memory, windows are read one by one: of a store given by its path and
    written in one of our profiles straight from its files, of any other as xarray reads it.

    Parameters
    ----------
    store
        Path of a complete store, or a data set in its schema.
    history, horizon
        Steps known and steps asked for.
    split
        Name, or several names taken together; None takes all of the time.
    layout
        Which channels, in which order; None takes every state and forcing variable.
    cache
        Folder on a disk of this machine where compressed arrays of a store too large for memory are decoded once, for
        all processes and runs, instead of window by window; takes what the profile ``fast`` would.

    Attributes
    ----------
    layout, grid
        Channels and cells.
    times
        Time axis of the store, ``[T]``.
    starts
        First step of every window, int64; window ``i`` begins at ``times[starts[i]]``.
    members
        Which member of a simulation every window is of, int64: members are series of their own, one after another.
    time_step
        timedelta64.
    wet
        Ocean mask of each state channel, bool ``[C, Y, X]``.
    in_memory
        Whether all fields are kept in memory, so that windows are views of them.

    Raises
    ------
    ValueError
        If no window fits, a split or channel is not there, the store is incomplete, or a value is missing at sea in a
        step that a window uses (of a store too large for memory: when that window is read).
    """

    def __init__(
        self,
        store: str | Path | xr.Dataset,
        history: int,
        horizon: int,
        split: str | Sequence[str] | None = "train",
        layout: Layout | None = None,
        *,
        cache: str | Path | None = None,
    ) -> None:
        if history < 1 or horizon < 1:
            raise ValueError(f"history is {history} and horizon {horizon} steps; both need at least 1.")
        if cache is not None and isinstance(store, xr.Dataset):
            raise ValueError(
                f"a decoded copy in {cache} is made of a store's files; give its path, or no cache."
            )
        ds = store if isinstance(store, xr.Dataset) else open_store(store)
        where = self._where = str(ds.encoding.get("source", "the data set"))
        self.history, self.horizon, self.split = history, horizon, split
        self.layout = Layout.from_dataset(ds) if layout is None else layout
        if not self.layout.state:
            raise ValueError(f"{where} holds no state variable to forecast; ingest an ocean source.")
        self.grid = Grid.from_dataset(ds)
        self.times: Times = ds["time"].values
        self.wet = self.layout.wet(ds)
        self._sea: dict[Role, Tensor] = {"state": self.wet, "forcing": self._forced_sea(ds)}
        # A store too short for any window is told before one asks which of its splits are there.
        self._allowed = np.ones(len(self.times), dtype=bool)
        if window_starts(self.times, history + horizon).size:
            try:
                self._allowed = steps_of_splits(ds, split)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        self._members = ds.sizes.get("member", 0)
        self._find_windows()
        used = self._used
        self._first = int(used.argmax())
        steps = slice(self._first, len(used) - int(used[::-1].argmax()))
        channels, count = len(self.layout.state) + len(self.layout.forcing), max(self._members, 1)
        needed = 4 * channels * count * (steps.stop - steps.start) * self.grid.mask.size
        self.in_memory = needed <= MEMORY_LIMIT
        streamed = StreamedFields(
            ds,
            None if isinstance(store, xr.Dataset) else Path(store),
            self.layout,
            self._sea,
            self.grid.dims,
            cache=None if cache is None or self.in_memory else Path(cache),
        )
        self._held: list[tuple[Tensor, Tensor]] = []
        self._streamed: StreamedFields | None = None
        if self.in_memory:
            self._held = [self._read(streamed, steps, member) for member in range(count)]
            streamed.close()
        else:
            self._streamed = streamed

    def extended(self, horizon: int) -> "WindowDataset":
        """The data set with more steps after the history, which shares the fields and files of this one.

        Raises
        ------
        ValueError
            If no window fits, or windows would be shorter than they are.
        """
        if horizon < self.horizon:
            raise ValueError(
                f"horizon is {horizon} steps and the data set, of {self.horizon}, holds only what these need; begin "
                "with the shortest one."
            )
        longer = copy.copy(self)
        longer.horizon = horizon
        longer._find_windows()
        return longer

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Window:
        """Window ``index``; its tensors may share memory with others and are not to be written to."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        first = int(self.starts[index])
        middle, last = first + self.history, first + self.history + self.horizon
        if not self.in_memory:
            state, forcing = (
                torch.empty(len(getattr(self.layout, role)), last - first, *self.grid.shape) for role in ROLES
            )
            self.fill(index, state.numpy(), forcing.numpy())
        else:
            begin, end = first - self._first, last - self._first
            state, forcing = (part[:, begin:end] for part in self._held[self.members[index]])
        return Window(state[:, : self.history], forcing, state[:, self.history :], self.times[middle - 1])

    def fill(self, index: int, state: Fields, forcing: Fields, crop: Crop | None = None) -> None:
        """Write a window that is not in memory to where it is wanted; any number of threads may do so.

        Parameters
        ----------
        index
            Of the window, from 0.
        state, forcing
            float32 ``[C, Tin + Tout, rows, columns]`` and ``[F, Tin + Tout, rows, columns]``, C-contiguous; all of it
            is written.
        crop
            Which cells; None for all.

        Raises
        ------
        ValueError
            If a value is missing at sea, or a file of the store is damaged.
        """
        assert self._streamed is not None
        first, member = int(self.starts[index]), int(self.members[index])
        self._streamed.read(first, member, {"state": state, "forcing": forcing}, crop)

    def states(self, first: int, stop: int, member: int) -> Tensor:
        """States of consecutive steps that windows use, ``[C, stop - first, Y, X]``; 0 on land.

        They may share memory with others and are not to be written to.

        Raises
        ------
        ValueError
            If a value is missing at sea, or a file of the store is damaged.
        """
        assert self._used[first:stop].all()
        if self._streamed is None:
            return self._held[member][0][:, first - self._first : stop - self._first]
        fields = torch.empty(len(self.layout.state), stop - first, *self.grid.shape)
        self._streamed.read(first, member, {"state": fields.numpy()})
        return fields

    def close(self) -> None:
        """Close the files of a store that is read window by window; they are opened again where needed."""
        if self._streamed is not None:
            self._streamed.close()

    def _find_windows(self) -> None:
        """Where windows begin, and which steps they use."""
        length, times = self.history + self.horizon, self.times
        each, step = window_starts(times, length, self._allowed), time_step(times)
        if not each.size or step is None:
            taken = self.split if window_starts(times, length).size else None
            allowed = np.ones_like(self._allowed) if taken is None else self._allowed
            raise ValueError(
                f"{self._where}: a window needs {length} steps without a gap (history {self.history} and "
                f"{self.horizon} following steps), and {_named(taken)} has at most {longest_run(times, allowed)} of "
                f"{int(allowed.sum())} steps in one piece; ingest a longer series, choose other splits, or fewer steps "
                "of history and after it."
            )
        self.time_step, count = step, max(self._members, 1)
        self.starts, self.members = np.tile(each, count), np.repeat(np.arange(count), each.size)
        self._used = np.zeros(len(times), dtype=bool)
        self._used[each[:, None] + np.arange(length)] = True

    def _forced_sea(self, ds: xr.Dataset) -> Tensor:
        """Cells on which each forcing channel must have values: all the sea, or what the parent model knows of it."""
        planes = [
            self.grid.mask & (boundary_cells(ds, channel) if channel.variable in BOUNDARIES else True)
            for channel in self.layout.forcing
        ]
        return (
            torch.from_numpy(np.stack(planes))
            if planes
            else torch.zeros(0, *self.grid.shape, dtype=torch.bool)
        )

    def _read(self, streamed: StreamedFields, steps: slice, member: int) -> tuple[Tensor, Tensor]:
        """State and forcing of some steps; 0 where no window uses them, for they need not be whole."""
        fields = {
            role: torch.empty(len(getattr(self.layout, role)), steps.stop - steps.start, *self.grid.shape)
            for role in ROLES
        }
        unused = torch.from_numpy(~self._used[steps])
        for held in fields.values():
            held[:, unused] = 0.0
        edges = np.flatnonzero(np.diff(np.pad(self._used.astype(np.int8), 1)))
        for begin, end in edges.reshape(-1, 2).tolist():
            part = slice(begin - steps.start, end - steps.start)
            streamed.read(begin, member, {role: held[:, part].numpy() for role, held in fields.items()})
        return fields["state"], fields["forcing"]


def _named(split: str | Sequence[str] | None) -> str:
    if split is None:
        return "the store"
    return f"split {split}" if isinstance(split, str) else f"the splits {', '.join(split)} together"
