"""The shallow-water model as a forecaster: from the same start and under the same air as all others."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.basins.air import drag_law
from data_pipelines.basins.domain import make_domain, make_model
from data_pipelines.basins.settings import Basin, FileSea, load_basin, parse_basin
from data_pipelines.grid_change import chosen_method
from data_pipelines.overlap import Overlap
from data_pipelines.positions import Positions
from data_pipelines.regrid import Regridder
from data_pipelines.sides import SideCurrents
from data_pipelines.windows import time_step
from forecasting.baselines.coverage import MOST, REACH, share_beyond
from forecasting.forecaster import Initial, State
from oceanop.dynamics.drag import Law, stress
from oceanop.dynamics.forcing import AirSeries
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.layout import Layout

STATE, STRESS, WIND, PRESSURE = ("zos", "ubar", "vbar"), ("tauu", "tauv"), ("u10", "v10"), "msl"
MODEL = "shallow-water"  # as a simulated store calls what made it
PREFIX = f"{MODEL}-"


class ShallowWater:
    """A numerical model of a basin, on its own grid and with its own physics, beside operators that learned another.

    Level and air are brought to the model's cells by means over the area that they share with the store's wet cells, or
    from the nearest where they share none, currents by the transport through their sides. States come back as means
    over the store's cells where these are no smaller than the model's, else by bilinear interpolation; from the nearest
    wet cell where there is none around. A store's currents are those of the level's time, the model takes them for
    those half a step later. At an open boundary the level follows the air pressure; what it is above that at the start
    it stays.

    Parameters
    ----------
    basin
        A shipped basin's name, a TOML file, or settings; None takes those that a simulated store states.
    store
        A store, or any data set in its schema, with ``zos``, ``ubar``, ``vbar`` and ``deptho``, on a regular grid; for
        a basin under weather with air pressure and the stress on the sea. Where the store states another drag law than
        the basin's, the stress is made of its wind.
    name
        ``shallow-water-`` and the basin's name unless said.

    Attributes
    ----------
    layout
        State and forcing that it reads.

    Raises
    ------
    ValueError
        If the store lacks a variable, or one of the basin and the store's sea does not cover the other.
    """

    history = 1

    def __init__(
        self, basin: Basin | str | Path | None, store: xr.Dataset, *, name: str | None = None
    ) -> None:
        stated = _stated(store)
        if basin is None:
            # Of a sea floor in a file a store knows no more than the name
            if stated is None or isinstance(stated.sea, FileSea):
                raise ValueError(
                    "the store does not state a basin that can be built again; name a shipped one or a TOML file."
                )
            basin = stated
        elif not isinstance(basin, Basin):
            basin = load_basin(basin)
        self.basin, self.name = basin, name or f"{PREFIX}{basin.name}"
        self._law = _other_law(basin, stated)
        self.layout = _layout(store, basin, wind=self._law is not None, name=self.name)
        self.domain = make_domain(basin)
        self.wet = self.layout.wet(store)
        positions = _positions(store, self.name)
        sea, cells = self.wet[0].numpy(), self.domain.cells.wet
        _require_covered(positions, sea, self.domain.positions, self.name)
        beyond = share_beyond(positions, sea, self.domain.positions, cells)
        if beyond > MOST:
            raise ValueError(
                f"{self.name}: {beyond:.0%} of its sea lie more than {REACH} cells away from the store's, and nothing "
                "is known of level and air there; name a basin that ends where the store does."
            )
        self._into = Overlap.between(positions, self.domain.positions, sea, cells)
        closes = self.domain.cells.periodic
        self._sides = SideCurrents(
            _cells(positions, np.nan_to_num(store["deptho"].to_numpy()), sea, periodic=closes),
            _cells(self.domain.positions, self.domain.cells.depth, cells, periodic=closes),
        )
        self._back = _way_back(self.domain.positions, positions, cells, sea)
        step = time_step(store["time"].values)
        if step is None:
            raise ValueError(f"{self.name}: the store holds a single time and tells no time step.")
        self._interval = float(step / np.timedelta64(1, "s"))
        self._model = make_model(basin, self.domain, interval=self._interval)
        stencil = self._model.stencil
        self._open = stencil.grid.wet & ~stencil.cells[1:-1, 1:-1]  # where a boundary holds the level

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the model's states at leads 1 to ``leads``.

        Raises
        ------
        ValueError
            If the forcing is missing, at sea cells or as a whole, or does not reach, or the model's level stops being a
            number.
        """
        level, *currents = initial.state.numpy()
        zos = self._into(level)
        air = self._air(initial, forcing, leads)
        model = self._model if not self._open.any() else self._open_model(zos, air)
        east, north = (side[None].astype(model.dtype) for side in self._sides(*currents))
        start = replace(model.state(zos), u=east, v=north)
        run = model.run(start, leads * self._interval, forcing=air, every=self._interval)
        for lead, snapshot in enumerate(run, start=1):
            planes = np.concatenate([snapshot.zos, snapshot.ubar, snapshot.vbar])
            values = torch.from_numpy(self._back(planes))
            yield State(lead, torch.where(self.wet, values, 0.0))

    def _air(self, initial: Initial, forcing: Tensor | None, leads: int) -> AirSeries | None:
        """The air from the start on, on the model's cells."""
        if not self.layout.forcing:
            return None
        past = initial.history.shape[1]
        if forcing is None or tuple(forcing.shape[:2]) != (len(self.layout.forcing), past + leads):
            came = "none" if forcing is None else f"{forcing.shape[0]} channels over {forcing.shape[1]} steps"
            raise ValueError(
                f"{self.name} is driven by {', '.join(self.layout.names('forcing'))} from the start to the last lead, "
                f"{past + leads} steps with the past; it was given {came}. Ask for fewer leads, or give the forcing."
            )
        ahead = forcing[:, past - 1 :].numpy()
        # A value that a store lacks comes as 0, and no air weighs nothing
        if lacking := int(((ahead[2] == 0) & self.wet[0].numpy()).any(0).sum()):
            raise ValueError(
                f"{self.name}: the store lacks '{PRESSURE}' on {lacking} sea cells; give one that holds it on "
                "all of them."
            )
        if self._law is not None:
            ahead = np.stack([*stress(ahead[0], ahead[1], law=self._law), ahead[2]])
        tauu, tauv, msl = self._into(ahead).astype(np.float32)
        return AirSeries(tauu, tauv, msl, interval=self._interval)

    def _open_model(self, zos: NDArray[np.float64], air: AirSeries | None) -> ShallowWaterModel:
        """The model under a level beyond that stays what it is at the start, above the inverse barometer."""
        level = zos[self._open]
        if air is not None and air.msl is not None:
            pressure = air.msl[0][self._open].astype(np.float64)
            level = level - self._model.stencil.pressure_factor * (STANDARD_PRESSURE - pressure)
        return make_model(
            self.basin,
            self.domain,
            interval=self._interval,
            level=lambda times: np.broadcast_to(level, (times.size, level.size)),
        )


def _way_back(
    model: Positions, store: Positions, cells: NDArray[np.bool_], sea: NDArray[np.bool_]
) -> Callable[[NDArray[np.floating]], NDArray[np.float32]]:
    """From fields on the model's cells to the store's.

    What a store holds is a cell's mean: a value at the centre would have all that is shorter than the cell in it, and
    the best of models would seem to err.
    """
    if chosen_method(model, store, None) == "conservative":
        means = Overlap.between(model, store, cells, sea)
        return lambda fields: means(fields).astype(np.float32)
    between = Regridder.between(model, store, cells)
    return lambda fields: between(fields[:, between.rows, between.columns])


def _stated(store: xr.Dataset) -> Basin | None:
    """The basin that a simulated store says it is of."""
    # Of other files an attribute of this name may be anything
    if store.attrs.get("model") != MODEL or "basin" not in store.attrs:
        return None
    return parse_basin(json.loads(store.attrs["basin"]), "the store's attribute 'basin'")


def _other_law(basin: Basin, stated: Basin | None) -> Law | None:
    """The basin's drag law where the store's stress is known to be another's."""
    if basin.weather is None or stated is None or stated.weather is None:
        return None
    law = drag_law(basin.weather)
    return None if law == drag_law(stated.weather) else law


def _layout(store: xr.Dataset, basin: Basin, *, wind: bool, name: str) -> Layout:
    driven = () if basin.weather is None else (*(WIND if wind else STRESS), PRESSURE)
    needed = (*STATE, *driven, "deptho")
    missing = [each for each in needed if each not in store.data_vars]
    if missing:
        raise ValueError(
            f"{name} needs {', '.join(needed)}, and the store lacks {', '.join(missing)}; give one that "
            "holds them, as 'oceanop simulate' makes, or leave this forecaster out."
        )
    return Layout.from_dataset(store, state=STATE, forcing=driven)


def _positions(store: xr.Dataset, name: str) -> Positions:
    latitude, longitude = store["latitude"], store["longitude"]
    if latitude.ndim != 1:
        raise ValueError(
            f"{name} needs a grid regular in latitude and longitude, and the store has another; leave it out."
        )
    return Positions.from_axes(
        latitude.to_numpy().astype(np.float64), longitude.to_numpy().astype(np.float64)
    )


def _cells(
    positions: Positions, depth: NDArray[np.floating], wet: NDArray[np.bool_], *, periodic: bool
) -> CGrid:
    axes = positions.latitude[:, 0], positions.longitude[0]
    # The store's depths as they are: its currents are means over all of it
    return CGrid.sphere(*axes, depth, wet=wet, minimum_depth=0.0, periodic=periodic)


def _require_covered(store: Positions, sea: NDArray[np.bool_], model: Positions, name: str) -> None:
    """Refuse a basin that ends before the store's sea does."""
    for axis, corners, here in (("latitude", 0, store.latitude), ("longitude", 1, store.longitude)):
        low, high = model.corners[corners].min(), model.corners[corners].max()
        step = (high - low) / model.shape[corners]
        if here[sea].min() < low - step or here[sea].max() > high + step:
            raise ValueError(
                f"{name} covers the {axis}s {low:.2f} to {high:.2f}, and the store's sea lies from "
                f"{here[sea].min():.2f} to {here[sea].max():.2f}; name a basin that covers it."
            )
