"""How water begins that moves freely: random waves whose form is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_pipelines.basins.settings import FlatSea, Seiches, Waves
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.state import Fields, State
from oceanop.waves import WaveChannel, free_waves, random_amplitudes, superpose

Array = NDArray[np.float64]
Seeds = Sequence[Sequence[int]]  # one a member


@dataclass(frozen=True, eq=False)
class Beginning:
    """Where a run starts from.

    Attributes
    ----------
    fields
        Level and currents at the centres at time 0, ``[member, Y, X]``.
    state
        The same as the model has it: currents through the sides, half a step later.
    """

    fields: Fields
    state: State


def rest(model: ShallowWaterModel, members: int) -> Beginning:
    """No level, no current."""
    state = model.at_rest(members)
    return Beginning(Fields(*(field.copy() for field in state.fields)), state)


def begin(initial: Waves | Seiches, sea: FlatSea, model: ShallowWaterModel, seeds: Seeds) -> Beginning:
    """Draw the waves of each member.

    Raises
    ------
    ValueError
        If the channel has no wave of the period asked for.
    """
    if isinstance(initial, Waves):
        return _waves(initial, sea, model, seeds)
    level = np.stack([_seiches(initial, sea, seed) for seed in seeds])
    whole = np.zeros((len(seeds), *model.grid.shape))
    whole[:, 1:-1, 1:-1] = level
    # Half a step of the model's own from rest: slope alone, since no current is turned yet.
    pull = model.time_step / 2 * model.stencil.gravity
    u = -pull * (np.roll(whole, -1, -1) - whole) / model.grid.dx[:, None] * model.grid.east
    v = -pull * (np.roll(whole, -1, -2) - whole) / model.grid.dy * model.grid.north
    still = np.zeros(whole.shape, model.dtype)
    zos, east, north = (field.astype(model.dtype) for field in (whole, u, v))
    return Beginning(Fields(zos, still, still.copy()), State(zos, east, north))


def _waves(initial: Waves, sea: FlatSea, model: ShallowWaterModel, seeds: Seeds) -> Beginning:
    channel = WaveChannel(
        length=sea.length,
        width=sea.width,
        depth=sea.depth,
        coriolis_parameter=sea.coriolis_parameter,
        gravity=model.stencil.gravity,
    )
    waves = free_waves(
        channel, highest_mode=initial.highest_mode, shortest_period=3600 * initial.shortest_period
    )
    rows, columns = model.grid.shape
    half, step = model.time_step / 2, sea.spacing
    # From the southern wall, north of the row of land
    y, x = (np.arange(rows - 2) + 0.5) * step, (np.arange(columns) + 0.5) * step

    def at(seed: Sequence[int], *, times: Sequence[float], north: float = 0.0, east: float = 0.0) -> Array:
        """Level and currents ``[3, time, Y, X]`` so far from the centres; the last north sides are wall."""
        drawn = random_amplitudes(waves, energy=initial.energy, slope=initial.slope, seed=list(seed))
        field = np.zeros((3, len(times), rows, columns))
        places = {"y": np.minimum(y + north, sea.width), "x": x + east}
        field[:, :, 1:-1] = superpose(waves, drawn, time=times, **places)
        return field

    level = np.stack([at(seed, times=[0.0])[0, 0] for seed in seeds])
    u = np.stack([at(seed, times=[-half, half], east=step / 2)[1] for seed in seeds]) * model.grid.east
    v = np.stack([at(seed, times=[-half, half], north=step / 2)[2] for seed in seeds]) * model.grid.north
    # At the centres as the model shows them: means over half a step before and after, and over both sides
    ubar, vbar = ((side + np.roll(side, 1, axis)).mean(1) / 2 for side, axis in ((u, -1), (v, -2)))
    zos, ubar, vbar, east, north = (
        field.astype(model.dtype) for field in (level, ubar, vbar, u[:, 1], v[:, 1])
    )
    return Beginning(Fields(zos, ubar, vbar), State(zos, east, north))


def _seiches(initial: Seiches, sea: FlatSea, seed: Sequence[int]) -> Array:
    """A sum of cosines with whole and half wavelengths along both walls, shorter ones weaker, ``[row, column]``."""
    numbers = np.arange(initial.highest_mode + 1)
    x, y = (
        np.cos(np.pi * np.outer(numbers, (np.arange(round(side / sea.spacing)) + 0.5) * sea.spacing / side))
        for side in (sea.length, sea.width)
    )
    m, n = np.meshgrid(numbers, numbers, indexing="ij")
    share = np.divide(1.0, m**2 + n**2, out=np.zeros(m.shape), where=m + n > 0)
    # The mean square of a cosine is a half, of a constant 1.
    square = (share**2 * np.where(m > 0, 0.5, 1.0) * np.where(n > 0, 0.5, 1.0)).sum()
    drawn = np.random.default_rng(list(seed)).standard_normal(m.shape)
    return np.einsum("mn,mx,ny->yx", initial.deviation / np.sqrt(square) * share * drawn, x, y)
