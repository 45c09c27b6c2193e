"""Water and energy of the shallow-water model, and where the energy comes from and goes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oceanop.dynamics.forcing import Air, Forcing, check_air
from oceanop.dynamics.geometry import Array
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.state import Snapshot, State
from oceanop.dynamics.stencil import Sides, framed


class Energy(NamedTuple):
    """Of the water under a basin's closed surface, J, ``[member]`` each."""

    kinetic: Array
    potential: Array

    @property
    def total(self) -> Array:
        """Both together."""
        return self.kinetic + self.potential


@dataclass(frozen=True)
class Budget:
    """Change of a basin's energy over a run and what did it, J, ``[member]`` each.

    Attributes
    ----------
    change
        Of kinetic and potential energy.
    wind, friction, air_pressure, boundary
        Work done on the water by each.
    """

    change: Array
    wind: Array
    friction: Array
    air_pressure: Array
    boundary: Array

    @property
    def residual(self) -> Array:
        """What the four do not explain."""
        return self.change - (self.wind + self.friction + self.air_pressure + self.boundary)


def volume(model: ShallowWaterModel, state: State | Snapshot) -> Array:
    """Water above rest in the cells whose level is the model's own, m3, ``[member]``."""
    return np.sum(_area(model) * state.zos.astype(np.float64), axis=(-2, -1))


def energy(model: ShallowWaterModel, snapshot: Snapshot) -> Energy:
    """Energy at the snapshot's time.

    The currents half a step before and after it make one kinetic energy, ``h u_before u / 2``: with it the scheme
    keeps the energy of a sea without rotation to rounding.
    """
    stencil = model.stencil
    square = np.sum(_area(model) * snapshot.zos.astype(np.float64) ** 2, axis=(-2, -1))
    potential = stencil.density * stencil.gravity / 2 * square
    kinetic = np.zeros_like(potential)
    for of, before, after in (
        (stencil.east, snapshot.u_before, snapshot.state.u),
        (stencil.north, snapshot.v_before, snapshot.state.v),
    ):
        mass = _own(of.face * of.free) * _thickness(model, of, snapshot.zos)
        product = before.astype(np.float64) * after
        kinetic += stencil.density / 2 * np.sum(mass * product, axis=(-2, -1))
    return Energy(kinetic, potential)


def budget(
    model: ShallowWaterModel, state: State, duration: float, *, forcing: Forcing | None = None
) -> Budget:
    """Run a linear model and say where its energy came from, from the end of the first step on.

    Parameters
    ----------
    model, state, duration, forcing
        As of :meth:`oceanop.dynamics.shallow_water.ShallowWaterModel.run`, two steps at least.

    Raises
    ------
    ValueError
        If there is one step, or the model is not linear: without advection of momentum, a changing thickness makes
        energy of its own.
    """
    if not model.stencil.linear:
        raise ValueError(
            "the energy budget is that of a linear model; without advection of momentum, a changing thickness makes "
            "energy of its own. Build the model with linear=True."
        )
    members, terms = state.zos.shape[0], []
    begin = end = None
    for snapshot in model.run(state, duration, forcing=forcing, every=model.time_step):
        air = _air(model, forcing, snapshot.state.steps, members)
        terms.append(_powers(model, snapshot, air))
        end = energy(model, snapshot).total
        begin = end if begin is None else begin
    if len(terms) < 2:
        raise ValueError(
            f"a budget over {duration:g} s has one step; it begins with the first and needs a second."
        )
    assert begin is not None
    assert end is not None
    powers = np.stack(terms)
    # The currents between two snapshots feel half of the forces of each, which makes the sum exact without rotation.
    work = model.time_step / 2 * (powers[1:, 0].sum(0) + powers[:-1, 1].sum(0))
    return Budget(end - begin, *work)


def _powers(model: ShallowWaterModel, snapshot: Snapshot, air: list[NDArray | None]) -> Array:
    """Work per time of wind, friction, air pressure and boundary, W, ``[before or after, term, member]``.

    The forces are those of the snapshot's time, the currents those half a step before and after it.
    """
    stencil = model.stencil
    tauu, tauv, msl = air
    zos = snapshot.zos.astype(np.float64)
    opened = np.zeros(stencil.cells.size, np.bool_)
    opened[stencil.open_cells] = True
    beyond = _own(opened.reshape(stencil.frame))
    after = (snapshot.state.u.astype(np.float64), snapshot.state.v.astype(np.float64))
    before = (snapshot.u_before.astype(np.float64), snapshot.v_before.astype(np.float64))
    out = np.zeros((2, 4, zos.shape[0]))
    for side, (of, stress) in enumerate(((stencil.east, tauu), (stencil.north, tauv))):
        axis = -1 if side == 0 else -2
        forces = np.zeros((4, *zos.shape))
        free = _own(of.face * of.free)
        if stress is not None:
            forces[0] = free * _mean(stress, axis)
        # As the step has it: the other component is the old one for the side whose turn it was to be first.
        first = (snapshot.state.steps - 1 + side) % 2 == 0
        across = _across((before if first else after)[1 - side], axis, periodic=stencil.grid.periodic)
        speed = np.sqrt(before[side] ** 2 + across**2)
        forces[1] = -stencil.density * stencil.drag * free * speed * after[side]
        section = _own(of.length[:, None] * of.depth)
        if msl is not None:
            forces[2] = -section * _own(of.free) * (np.roll(msl, -1, axis) - msl)
        other = np.roll(beyond, -1, axis)
        # A prescribed level pushes at the side; a current after Flather carries the basin's own level out.
        leaves = _own(of.open & ~of.free)
        level = np.where(leaves == beyond, np.roll(zos, -1, axis), zos)
        outward = other.astype(np.float64) - beyond
        forces[3] = -stencil.density * stencil.gravity * section * outward * level
        for when, currents in enumerate((before, after)):
            out[when] += np.sum(forces * currents[side], axis=(-2, -1))
    return out


def _area(model: ShallowWaterModel) -> Array:
    """Of the cells whose level is the model's own, m2, ``[Y, X]``."""
    return model.grid.area[:, None] * _own(model.stencil.cells)


def _thickness(model: ShallowWaterModel, of: Sides, zos: NDArray) -> Array:
    depth = _own(of.depth)
    if model.stencil.linear:
        return depth
    return depth + _mean(zos.astype(np.float64), -1 if of.along == 1 else -2)


def _air(model: ShallowWaterModel, forcing: Forcing | None, steps: int, members: int) -> list[NDArray | None]:
    """The air at the end of a step, linear between the times at which the model asks for it."""
    if forcing is None:
        return check_air(Air(), model.grid, members, 0.0)
    number, share = divmod(steps * model.time_step / model.forcing_interval, 1.0)
    times = [number * model.forcing_interval, (number + 1) * model.forcing_interval]
    ends = [check_air(forcing(time), model.grid, members, time) for time in times[: 2 if share > 1e-9 else 1]]
    return [
        None if now is None or later is None else now + share * (later - now)
        for now, later in zip(ends[0], ends[-1], strict=True)
    ]


def _own(framed_plane: NDArray) -> NDArray:
    return framed_plane[..., 1:-1, 1:-1]


def _mean(field: NDArray, axis: int) -> Array:
    return (field + np.roll(field, -1, axis)) / 2


def _across(current: Array, axis: int, *, periodic: bool) -> Array:
    """The other component at a side, mean of four."""
    wide = framed(current, periodic=periodic)
    if axis == -1:
        four = wide[..., 1:-1, 1:-1] + wide[..., 1:-1, 2:] + wide[..., :-2, 1:-1] + wide[..., :-2, 2:]
    else:
        four = wide[..., 1:-1, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2] + wide[..., 2:, :-2]
    return four / 4
