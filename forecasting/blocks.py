"""Which leads of a start are read together, and their fields as tensors."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from oceanop.layout import Layout

MEMORY = 2**29  # bytes of fields that a process holds at one time, unless told
# Of one forecaster's fields: memory as large as this is used again and again, larger pieces are asked of the system
# for each block anew, which takes as long as reading them
READ = 16 * 2**20


def spans(leads: int, plane: int, fields: int, *, memory: int, chunk: int = 1) -> list[slice]:
    """Leads that are read together, as places.

    Parameters
    ----------
    leads
        Their number.
    plane
        Bytes of one lead of one forecaster, all channels.
    fields
        How many such planes lie in memory for each lead.
    memory
        Bytes that all of them may take.
    chunk
        Leads that lie together in the file, which are not cut apart where it can be helped.

    Raises
    ------
    ValueError
        If one lead takes more.
    """
    most = memory // (plane * fields)
    if most < 1:
        raise ValueError(
            f"one lead of all that is compared takes {_megabytes(plane * fields)}, and {_megabytes(memory)} of memory "
            "are allowed; allow more, or compare fewer forecasts and baselines at a time."
        )
    size = max(min(most, max(READ // plane, chunk), leads), 1)
    if size < leads and size > chunk:
        size -= size % chunk
    return [slice(first, min(first + size, leads)) for first in range(0, leads, size)]


def selector(places: NDArray[np.integer[Any]]) -> slice | NDArray[np.integer[Any]]:
    """Increasing places as a slice where their steps are equal: files are read by slices several times faster."""
    steps = np.diff(places)
    if not places.size or (steps <= 0).any() or (steps != steps[:1]).any():
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]) if steps.size else 1)


def lead_chunk(ds: xr.Dataset, layout: Layout) -> int:
    """Leads that lie together in a forecast file; 1 where the file does not say."""
    name = layout.names()[0]
    return int(ds[name].encoding.get("preferred_chunks", {}).get("lead_time", 1))


def read_fields(ds: xr.Dataset, layout: Layout, along: str, dims: tuple[str, str]) -> Tensor:
    """Fields as they lie in a file, float32 ``[channel, along, y, x]``, with members ``[member, channel, ...]``.

    Parameters
    ----------
    ds
        What is to be read, and no more.
    along
        ``lead_time`` or ``time``.
    dims
        Names of the horizontal dimensions.
    """
    names = layout.names()
    out: NDArray[np.float32] | None = None
    for name in names:
        places = [i for i, channel in enumerate(layout.state) if channel.variable == name]
        array = _planes(ds[name], [layout.state[i].depth for i in places], along, dims)
        if len(names) == 1:
            return torch.from_numpy(np.ascontiguousarray(array))
        if out is None:
            out = np.empty((*array.shape[:-4], len(layout.state), *array.shape[-3:]), dtype=np.float32)
        out[..., places, :, :, :] = array
    assert out is not None
    return torch.from_numpy(out)


def read_steps(
    truth: xr.Dataset, layout: Layout, steps: NDArray[np.int64], dims: tuple[str, str], shape: tuple[int, int]
) -> Tensor:
    """States of a store at some steps, float32 ``[channel, step, y, x]``; NaN where the step is -1."""
    known = steps >= 0
    if not known.any():
        return torch.full((len(layout.state), steps.size, *shape), torch.nan)
    found = read_fields(truth[layout.names()].isel(time=selector(steps[known])), layout, "time", dims)
    if known.all():
        return found
    fields = torch.full((len(layout.state), steps.size, *shape), torch.nan)
    fields[:, torch.from_numpy(known)] = found
    return fields


def ensemble_mean(members: Tensor) -> Tensor:
    """Mean over members ``[member, ...]``; NaN where one of them is, for it has failed and is not to be forgotten."""
    # One after another: the order of a sum over a dimension is the library's choice and may change with the shape
    total = members[0].clone()
    for member in members[1:]:
        total += member
    return total.div_(members.shape[0])


def _planes(
    field: xr.DataArray, depths: list[float | None], along: str, dims: tuple[str, str]
) -> NDArray[np.float32]:
    """One variable, ``[(member,) depth, along, y, x]``."""
    if depths != [None]:
        levels = field.indexes["depth"].get_indexer(depths)
        assert (levels >= 0).all(), (field.name, depths)
        field = field.isel(depth=selector(levels))
    order = [dim for dim in ("member", "depth", along, *dims) if dim in field.dims]
    # Transposed after it was read: a file is not read faster for another order
    array = field.to_numpy().transpose([field.dims.index(dim) for dim in order])
    if "depth" not in order:
        array = np.expand_dims(array, -4)
    return array.astype(np.float32, copy=False)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
