"""Which variable and depth is which channel: the only bridge between labelled data and tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from oceanop.grid import Grid
from oceanop.variables import BOUNDARIES, STORED, VARIABLES, boundary_name


@dataclass(frozen=True)
class Channel:
    """One plane of one variable: ``depth`` in metres, positive down, None for a variable without depth."""

    variable: str
    depth: float | None = None

    def __str__(self) -> str:
        return self.variable if self.depth is None else f"{self.variable} at {self.depth:g} m"


@dataclass(frozen=True)
class Layout:
    """The order of channels in every tensor of a run.

    Attributes
    ----------
    state, forcing
        The channels of state and forcing tensors, ``[channel, time, y, x]``. A parent model's states, which drive the
        edge of a regional domain, are the last ones of the forcing: they are known ahead as weather is.
    """

    state: tuple[Channel, ...]
    forcing: tuple[Channel, ...] = ()

    @classmethod
    def from_dataset(
        cls, ds: xr.Dataset, state: Sequence[str] | None = None, forcing: Sequence[str] | None = None
    ) -> "Layout":
        """Layout of the named variables; None takes all that the data set holds, in the table's order.

        Raises
        ------
        ValueError
            If a variable is missing in the data set or is not of the role asked for.
        """
        return cls(_channels(ds, state, "state"), _channels(ds, forcing, "forcing"))

    @property
    def weather(self) -> tuple[Channel, ...]:
        """The forcing without the parent model's states."""
        return tuple(channel for channel in self.forcing if channel.variable not in BOUNDARIES)

    @property
    def boundary(self) -> tuple[tuple[int, int], ...]:
        """State channels that a parent model drives, and where the forcing holds the parent's, ``(state, forcing)``."""
        place = {channel: i for i, channel in enumerate(self.forcing)}
        driving = [Channel(boundary_name(channel.variable), channel.depth) for channel in self.state]
        return tuple((i, place[channel]) for i, channel in enumerate(driving) if channel in place)

    def with_boundary(self, ds: xr.Dataset) -> "Layout":
        """The layout with the parent's values of every state channel that the data set holds."""
        held = [name for name in self.names() if boundary_name(name) in ds.data_vars]
        driving = [Channel(boundary_name(c.variable), c.depth) for c in self.state if c.variable in held]
        return Layout(self.state, (*self.weather, *driving))

    def names(self, role: Literal["state", "forcing"] = "state") -> list[str]:
        """Variables of a role, each once, in channel order."""
        return list(dict.fromkeys(channel.variable for channel in getattr(self, role)))

    def pack(
        self, ds: xr.Dataset, role: Literal["state", "forcing"] = "state", *, missing: float = 0.0
    ) -> Tensor:
        """Fields of one role as a float32 tensor ``[channel, time, y, x]``; NaN (land, too) becomes ``missing``."""
        fields = [_plane(ds, channel).to_numpy() for channel in getattr(self, role)]
        if not fields:
            grid = [size for dim, size in ds["mask"].sizes.items() if dim != "depth"]
            return torch.zeros((0, ds.sizes["time"], *grid))
        stacked = np.stack(fields).astype(np.float32, copy=False)
        if not np.isnan(missing):
            stacked[np.isnan(stacked)] = missing  # infinity stays visible
        return torch.from_numpy(stacked)

    def wet(self, ds: xr.Dataset) -> Tensor:
        """Ocean mask of each state channel, bool ``[channel, y, x]``; deeper channels have less ocean."""
        mask = ds["mask"]
        planes = [
            (
                mask if "depth" not in mask.dims else mask.sel(depth=channel.depth or 0.0, method="nearest")
            ).to_numpy()
            > 0.5
            for channel in self.state
        ]
        return torch.from_numpy(np.stack(planes))

    def unpack(
        self, values: Tensor, grid: Grid, dim: str, coordinate: Any, wet: Tensor | None = None
    ) -> xr.Dataset:
        """State tensor ``[channel, n, y, x]`` as a labelled data set along ``dim``, land NaN, CF attributes set.

        Parameters
        ----------
        values
            Physical units.
        dim, coordinate
            Name and values of the leading dimension (``time`` or ``lead_time``).
        wet
            Mask of each channel ``[channel, y, x]``; the grid's mask where None.
        """
        mask: NDArray[np.bool_] = np.broadcast_to(
            grid.mask if wet is None else wet.cpu().numpy(), (len(self.state), *grid.shape)
        )
        array = np.where(mask[:, None], values.detach().cpu().numpy(), np.float32(np.nan)).astype(np.float32)
        ds = grid.coordinates.assign_coords({dim: coordinate})
        if grid.grid_mapping is not None:
            # A plain variable: xarray would list it as a place under CF's ``coordinates``
            ds = ds.reset_coords(grid.grid_mapping)
        for name in self.names():
            index = [i for i, channel in enumerate(self.state) if channel.variable == name]
            depths = [self.state[i].depth for i in index]
            attrs = cf_attributes(name)
            if grid.grid_mapping is not None:
                attrs["grid_mapping"] = grid.grid_mapping
            if depths == [None]:
                ds[name] = xr.Variable((dim, *grid.dims), array[index[0]], attrs)
            else:
                ds = ds.assign_coords(depth=("depth", depths, DEPTH_ATTRIBUTES))
                ds[name] = xr.Variable((dim, "depth", *grid.dims), np.moveaxis(array[index], 0, 1), attrs)
        return ds

    def to_dict(self) -> dict[str, list[list[Any]]]:
        """Plain lists, for a checkpoint's JSON."""
        return {
            role: [[channel.variable, channel.depth] for channel in getattr(self, role)]
            for role in ("state", "forcing")
        }

    @classmethod
    def from_dict(cls, data: dict[str, list[list[Any]]]) -> "Layout":
        """Inverse of :meth:`to_dict`."""
        return cls(
            *(tuple(Channel(name, depth) for name, depth in data[role]) for role in ("state", "forcing"))
        )


DEPTH_ATTRIBUTES = {"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"}


def cf_attributes(name: str) -> dict[str, Any]:
    """CF attributes of a variable that a store may hold: standard name, long name, units and cell methods."""
    variable = STORED[name]
    attrs: dict[str, Any] = {
        "standard_name": variable.standard_name,
        "long_name": variable.long_name,
        "units": variable.units,
    }
    if variable.units == "degC":  # a temperature, not a difference of two (CF 3.1.2)
        attrs["units_metadata"] = "temperature: on_scale"
    if variable.role != "static":
        attrs["cell_methods"] = "time: point"
    return attrs


def _channels(ds: xr.Dataset, names: Sequence[str] | None, role: str) -> tuple[Channel, ...]:
    held = [name for name, variable in VARIABLES.items() if variable.role == role and name in ds.data_vars]
    for name in names or ():
        if name not in held:
            raise ValueError(
                f"{role} variable '{name}' is not in the store, which holds {', '.join(held) or 'none'} as {role}; "
                "name one of these, or ingest it."
            )
    chosen = held if names is None else list(names)
    return tuple(
        Channel(name, depth)
        for name in chosen
        for depth in (ds["depth"].to_numpy().tolist() if "depth" in ds[name].dims else [None])
    )


def _plane(ds: xr.Dataset, channel: Channel) -> xr.DataArray:
    if channel.variable not in ds.data_vars:
        raise ValueError(
            f"variable '{channel.variable}' is not in the store, which holds "
            f"{', '.join(str(name) for name in ds.data_vars)}; ingest it, or use a checkpoint trained without it."
        )
    array = ds[channel.variable]
    if "member" in array.dims:
        raise ValueError(
            f"'{channel.variable}' has {ds.sizes['member']} members and one ocean is needed here; choose one, as "
            "xarray's ds.isel(member=0) does, or simulate with one member."
        )
    return array if channel.depth is None else array.sel(depth=channel.depth)
