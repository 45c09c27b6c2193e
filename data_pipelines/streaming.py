"""Fields of a store, written straight to where they are wanted: all that is used, or window by window."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.decoded import decoded_copy
from data_pipelines.maps import Maps
from data_pipelines.sea_copy import Crop, Fields, SeaCopy
from data_pipelines.store import read_root
from data_pipelines.stored_fields import LabelledFields, ShardedFields, StoredFields, file_reader
from data_pipelines.times import Times, text
from oceanop.layout import Layout

Role = Literal["state", "forcing"]
ROLES: tuple[Role, ...] = get_args(Role)


class StreamedFields:
    """The channels of a layout, any steps of them, from the files of a store.

    Parameters
    ----------
    ds
        What the store says of itself.
    path
        The store that ``ds`` is, unchanged, to be read straight from its files; None to read as xarray does.
    layout
        Which channels.
    sea
        Cells on which each channel must have values, bool ``[channel, Y, X]``, of both roles.
    horizontal
        Names of the dimensions of the grid.
    cache
        Folder on this machine for decoded copies of compressed arrays; None to decode every window.
    """

    def __init__(
        self,
        ds: xr.Dataset,
        path: Path | None,
        layout: Layout,
        sea: Mapping[Role, Tensor],
        horizontal: tuple[str, str],
        *,
        cache: Path | None = None,
    ) -> None:
        # Read of no step: channels that are not there are refused in the words that reading them would be.
        none = ds.isel(time=slice(0))
        for role in ROLES:
            layout.pack(none.isel(member=0) if "member" in none.dims else none, role)
        self._where = str(ds.encoding.get("source", "the data set"))
        self._times: Times = ds["time"].values
        self._maps, self._sea = Maps(), sea
        self._plans = {role: _plan(ds, layout, role, sea[role], horizontal) for role in ROLES}
        names = dict.fromkeys(entry.variable for plan in self._plans.values() for entry in plan)
        self._fields = {name: _reader(ds, path, name, self._maps, horizontal, cache) for name in names}

    def read(self, first: int, member: int, targets: Mapping[Role, Fields], crop: Crop | None = None) -> None:
        """Write some steps of both roles, ``[channel, t, rows, columns]``; any number of threads may do so.

        Raises
        ------
        ValueError
            If a value is missing at sea, or a file of the store is damaged.
        """
        for role, out in targets.items():
            # A chunk of several levels is decoded once for all of them: their channels follow each other.
            for name, entries in itertools.groupby(self._plans[role], lambda entry: entry.variable):
                wanted = list(entries)
                for begin, fields in self._fields[name].blocks(first, first + out.shape[1]):
                    steps = slice(begin - first, begin - first + len(fields))
                    for entry in wanted:
                        plane = entry.plane + member * entry.member_stride
                        target, whole = out[entry.channel, steps], entry.whole[member, begin:][: len(fields)]
                        if crop is None and whole.all():
                            entry.copy.again(fields, plane, target)
                            continue
                        lacking = entry.copy(fields, plane, target, crop)
                        if lacking.any():
                            step = int(np.flatnonzero(lacking)[0])
                            raise self._missing(role, entry, begin + step, int(lacking[step]), crop)
                        if crop is None:
                            whole[:] = entry.copy.is_whole(fields, plane)

    def close(self) -> None:
        """Close the files; they are opened again where needed."""
        self._maps.close()

    def _missing(self, role: Role, entry: "_Entry", step: int, lacking: int, crop: Crop | None) -> ValueError:
        sea = self._sea[role][entry.channel]
        cells = int((sea if crop is None else sea[crop.slices]).sum())
        return ValueError(
            f"{self._where}: {role} '{entry.name}' is missing at {text(self._times[step])} on {lacking} of {cells} "
            "ocean cells; drop such steps, choose splits without them, or ingest the source again, which takes cells "
            "that lack values out of the mask."
        )


@dataclass(frozen=True)
class _Entry:
    """A channel of a tensor, and the plane of its variable that it is."""

    channel: int
    name: str
    variable: str
    plane: int
    member_stride: int  # planes between two members; 0 where all share them
    copy: SeaCopy
    whole: NDArray[np.bool_]  # [member, t]: steps that were looked through and need not be again


def _reader(
    ds: xr.Dataset, path: Path | None, name: str, maps: Maps, horizontal: tuple[str, str], cache: Path | None
) -> StoredFields:
    """The fastest reader of a variable."""
    array = ds[name]
    root = None if path is None else read_root(path)
    # Lengths are those of the root document: an array under extension is longer than what was committed.
    held = ((root or {}).get("consolidated_metadata") or {}).get("metadata", {})
    found: StoredFields | None = None
    if path is not None and name in held and (array.dims[0], array.dims[-2:]) == ("time", horizontal):
        times = ds["time"].values
        found = file_reader(path / name, held[name], times, maps)
        if cache is not None and isinstance(found, ShardedFields):
            found = decoded_copy(found, held[name], times, maps, cache)
    return LabelledFields(array.transpose("time", ..., *horizontal)) if found is None else found


def _plan(
    ds: xr.Dataset, layout: Layout, role: Role, sea: Tensor, horizontal: tuple[str, str]
) -> list[_Entry]:
    """Where in its variable each channel lies, and how it is copied."""
    entries = []
    for number, (channel, cells) in enumerate(zip(getattr(layout, role), sea, strict=True)):
        strides = _strides(ds[channel.variable], horizontal)
        depth = 0 if channel.depth is None else int(ds.get_index("depth").get_loc(channel.depth))
        entries.append(
            _Entry(
                channel=number,
                name=str(channel),
                variable=channel.variable,
                plane=depth * strides.get("depth", 0),
                member_stride=strides.get("member", 0),
                copy=SeaCopy(cells.numpy(), keep_land=role == "forcing"),
                whole=np.zeros((ds.sizes.get("member", 1), ds.sizes["time"]), dtype=bool),
            )
        )
    return entries


def _strides(array: xr.DataArray, horizontal: tuple[str, str]) -> dict[str, int]:
    """Planes of a step from one index of a dimension to the next, in the order of the file."""
    strides, planes = {}, 1
    for dim in reversed([str(dim) for dim in array.dims if dim not in ("time", *horizontal)]):
        strides[dim], planes = planes, planes * array.sizes[dim]
    return strides
