"""The shallow-water model's step in tensors: on any device, members side by side, differentiable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from oceanop.dynamics.compiled import TINY, AirFields
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.dynamics.state import Fields
from oceanop.dynamics.stencil import Sides, Stencil, framed

Array = NDArray[np.floating]


class AirTensors(NamedTuple):
    """The air's weight as a level (m), ``[1 or member, place]``, and ``dt / rho`` times its stress on the sides."""

    weight: Tensor
    east: Tensor
    north: Tensor


class _Water(NamedTuple):
    """Thickness at the sides, weights of the currents there, and what momentum divides by."""

    thickness: Tensor
    weight: Tensor
    divisor: Tensor  # thickness, 1 where there is no momentum equation
    inverse: Tensor  # of the weight, 0 there


@dataclass(frozen=True, eq=False)
class TensorState:
    """Framed fields laid out flat, ``[member, place]``, and what the next steps ask for beside them.

    Attributes
    ----------
    level, east, north
        Level and currents through the sides, m and m s-1.
    before
        The currents before the last step.
    water
        Thickness at eastern and northern sides, which follows from the level.
    """

    level: Tensor
    east: Tensor
    north: Tensor
    before: tuple[Tensor, Tensor]
    water: tuple[_Water, _Water]


@dataclass(frozen=True, eq=False)
class _Side:
    """As :class:`oceanop.dynamics.stencil.Sides`; all but the length without the frame's rows."""

    along: int
    back: int
    length: Tensor
    depth: Tensor
    face: Tensor
    open: Tensor
    free: Tensor
    pull: Tensor
    near: Tensor
    far: Tensor
    drag: Tensor


class TensorEngine:
    """Advances fields by making new ones, so that gradients flow through; works on what is asked of it alone.

    Parameters
    ----------
    stencil
        Coefficients.
    dtype
        float32 or float64.
    device
        Where the tensors live.
    """

    def __init__(self, stencil: Stencil, *, dtype: np.dtype, device: str | torch.device = "cpu") -> None:
        self.stencil, self.dtype = stencil, dtype
        self.device = torch.device(device)
        self._width = stencil.frame[1]
        self._east, self._north = self._side(stencil.east), self._side(stencil.north)
        self._rate = self._inner(self._plane(np.where(stencil.cells, stencil.rate[:, None], 0.0)))
        self._wet = self._plane(framed(stencil.grid.wet, periodic=stencil.grid.periodic))
        self._open = torch.as_tensor(stencil.open_cells, device=self.device)
        self._exits = [
            (
                *(torch.as_tensor(place, device=self.device) for place in (of.side, of.inside, of.outside)),
                self._tensor(of.outward),
                self._tensor(of.speed),
            )
            for of in stencil.radiation
        ]
        rest = torch.zeros_like(self._wet)
        self._at_rest = self._at_side(self._east, rest), self._at_side(self._north, rest)

    def load(self, fields: Sequence[Array | Tensor]) -> TensorState:
        """Take in level and currents on the sides, arrays or tensors, ``[member, Y, X]`` each."""
        level, east, north = (self.framed(torch.as_tensor(field)) for field in fields)
        return TensorState(level, east, north, (east, north), self._water(level))

    def air(self, fields: Sequence[Array | Tensor | None]) -> AirTensors:
        """What a step wants of stress towards east and north and of pressure, ``[1 or member, Y, X]`` each."""
        tauu, tauv, msl = (None if field is None else torch.as_tensor(field) for field in fields)
        weight = torch.zeros_like(self._wet)[None]
        if msl is not None:
            # Before the precision is lowered: a millimetre of water is 1e-4 of the pressure.
            weight = self._at_sea((msl - STANDARD_PRESSURE) * self.stencil.pressure_factor)
        pushes = []
        for stress, side in ((tauu, self._east), (tauv, self._north)):
            if stress is None:
                pushes.append(torch.zeros_like(self._rate)[None])
                continue
            wide = self._at_sea(stress)
            both = self._inner(wide) + self._inner(wide, side.along)
            pushes.append(both * (self.stencil.stress_factor / 2) * side.free)
        return AirTensors(weight, pushes[0], pushes[1])

    def step(
        self,
        state: TensorState,
        *,
        air: AirTensors,
        number: int,
        level: Tensor | None = None,
        currents: tuple[Tensor, Tensor] | None = None,
    ) -> TensorState:
        """One step, differentiable in the state and the air.

        Parameters
        ----------
        number
            Steps done before.
        level
            Beyond the boundary, ``[member, open cell]``, m.
        currents
            External ones inward at eastern and at northern sides, ``[member, side]``, m s-1.
        """
        sides, current = (self._east, self._north), [state.east, state.north]
        flow = [
            side.length * water.thickness * of
            for side, water, of in zip(sides, state.water, current, strict=True)
        ]
        out = self._inner(flow[0]) - self._inner(flow[0], -1)
        out = out + (self._inner(flow[1]) - self._inner(flow[1], -self._width))
        height = self._whole(torch.addcmul(self._inner(state.level), self._rate, out, value=-1))
        if level is not None and self._open.numel():
            height = self._closed(height.index_copy(-1, self._open, level))
        water, head = self._water(height), height + air.weight
        if currents is not None:
            for side, inward in enumerate(currents):
                place, inside, outside, outward, speed = self._exits[side]
                if place.numel():
                    fall = head[..., inside] - head[..., outside]
                    leaving = outward * (speed * fall - inward)
                    current[side] = self._closed(current[side].index_copy(-1, place, leaving))
        for turn in range(2):
            # The one that comes second turns with the first's new current; they take it in turns.
            side = (number + turn) % 2
            current[side] = self._momentum(
                current[side],
                current[1 - side] * water[1 - side].weight,
                current[1 - side],
                head,
                sides[side],
                water[side],
                air[1 + side],
            )
        return TensorState(height, current[0], current[1], (state.east, state.north), water)

    def advance(
        self,
        state: TensorState,
        *,
        air: AirTensors,
        later: AirTensors,
        first: int,
        shares: Array,
        level: Array,
        currents: tuple[Array, Array],
    ) -> TensorState:
        """Take steps; arguments as of :meth:`oceanop.dynamics.compiled.CompiledRun.advance`."""
        change = [b - a for a, b in zip(air, later, strict=True)]
        beyond, east, north = (self._tensor(values.swapaxes(1, 2)) for values in (level, *currents))
        for step, share in enumerate(shares):
            weight, push_east, push_north = (
                torch.add(a, d, alpha=float(share)) for a, d in zip(air, change, strict=True)
            )
            state = self.step(
                state,
                air=AirTensors(weight, push_east, push_north),
                number=first + step,
                level=beyond[step],
                currents=(east[step], north[step]),
            )
        return state

    def centres(self, state: TensorState) -> tuple[Tensor, Tensor, Tensor]:
        """Level and currents at the level's time at centres, ``[member, Y, X]`` each."""
        means = []
        for current, before, back in (
            (state.east, state.before[0], 1),
            (state.north, state.before[1], self._width),
        ):
            both = current + before
            means.append(self._whole((self._inner(both) + self._inner(both, -back)) / 4) * self._wet)
        return self.unframed(state.level), self.unframed(means[0]), self.unframed(means[1])

    def framed(self, field: Tensor) -> Tensor:
        """Fields ``[..., Y, X]`` in their frame and flat, ``[..., place]``."""
        inner = field.to(device=self.device, dtype=self._wet.dtype)
        return self._closed(functional.pad(inner, (1, 1, 1, 1)).flatten(-2))

    def _at_sea(self, field: Tensor) -> Tensor:
        """Fields in their frame, whatever they hold on land."""
        return torch.where(self._wet > 0, self.framed(field), 0.0)

    def unframed(self, flat: Tensor) -> Tensor:
        """Fields ``[..., place]`` without their frame, ``[..., Y, X]``."""
        return flat.unflatten(-1, self.stencil.frame)[..., 1:-1, 1:-1]

    def _momentum(
        self,
        own: Tensor,
        weighted: Tensor,
        other: Tensor,
        head: Tensor,
        side: _Side,
        water: _Water,
        push: Tensor,
    ) -> Tensor:
        first = weighted[..., side.back :] + weighted[..., : -side.back]
        begin, size = self._width - side.back, self._rate.numel()
        turn = side.near * first[..., begin : begin + size]
        turn = turn + side.far * first[..., begin + side.along : begin + side.along + size]
        now = self._inner(own)
        fall = self._inner(head, side.along) - self._inner(head)
        pushed = torch.addcmul(now, side.pull, fall, value=-1)
        pushed = torch.addcmul(pushed, water.inverse, turn)
        divisor = water.divisor
        if self.stencil.drag > 0:
            pair = other[..., side.back :] + other[..., : -side.back]
            across = (
                pair[..., begin : begin + size] + pair[..., begin + side.along : begin + side.along + size]
            )
            speed = torch.sqrt(torch.addcmul(now * now + TINY, across, across, value=1 / 16))
            divisor = torch.addcmul(divisor, side.drag, speed)
        return self._whole(torch.addcmul(push, water.divisor, pushed) / divisor)

    def _water(self, level: Tensor) -> tuple[_Water, _Water]:
        if self.stencil.linear:
            return self._at_rest
        return self._at_side(self._east, level), self._at_side(self._north, level)

    def _at_side(self, side: _Side, level: Tensor) -> _Water:
        deep = side.depth + (self._inner(level) + self._inner(level, side.along)) / 2 * side.open
        # The root's slope at 0 is infinite and would spoil gradients even where it is masked.
        divisor = torch.where(side.free > 0, deep, 1.0)
        root = torch.sqrt(divisor * side.face)
        return _Water(self._whole(deep), self._whole(root * side.free), divisor, side.free / root)

    def _side(self, of: Sides) -> _Side:
        def inner(plane: NDArray) -> Tensor:
            return self._inner(self._plane(np.broadcast_to(plane, of.free.shape)))

        return _Side(
            along=of.along,
            back=of.back,
            length=self._plane(np.broadcast_to(of.length[:, None], of.free.shape)),
            depth=inner(of.depth),
            face=inner(np.where(of.free, of.face, 1.0)),
            open=inner(of.open),
            free=inner(of.free),
            pull=inner(of.pull[:, None] * of.free),
            near=inner(of.near[:, None]),
            far=inner(of.far[:, None]),
            drag=inner(self.stencil.time_step * self.stencil.drag * of.free),
        )

    def _inner(self, field: Tensor, offset: int = 0) -> Tensor:
        """The places of all rows but the frame's, so many steps away."""
        return field[..., self._width + offset : field.shape[-1] - self._width + offset]

    def _whole(self, inner: Tensor) -> Tensor:
        return self._closed(functional.pad(inner, (self._width, self._width)))

    def _closed(self, flat: Tensor) -> Tensor:
        """The frame of a basin that is periodic along x."""
        if not self.stencil.grid.periodic:
            return flat
        rows = flat.unflatten(-1, self.stencil.frame)
        return torch.cat((rows[..., -2:-1], rows[..., 1:-1], rows[..., 1:2]), dim=-1).flatten(-2)

    def _plane(self, plane: NDArray) -> Tensor:
        return self._tensor(plane).flatten()

    def _tensor(self, values: NDArray) -> Tensor:
        return torch.as_tensor(np.array(values, self.dtype, order="C"), device=self.device)


class TensorRun:
    """Fields that an engine advances, with the interface of :class:`oceanop.dynamics.compiled.CompiledRun`."""

    def __init__(self, engine: TensorEngine, fields: Fields) -> None:
        self.engine, self.state = engine, engine.load(fields)
        self.air = self.later = engine.air((None, None, None))

    def set_air(self, now: AirFields, later: AirFields) -> None:
        """As of a compiled run."""
        self.air, self.later = self.engine.air(now), self.engine.air(later)

    def next_air(self, later: AirFields) -> None:
        """As of a compiled run."""
        self.air, self.later = self.later, self.engine.air(later)

    def advance(self, first: int, shares: Array, level: Array, currents: tuple[Array, Array]) -> None:
        """As of a compiled run."""
        self.state = self.engine.advance(
            self.state,
            air=self.air,
            later=self.later,
            first=first,
            shares=shares,
            level=level,
            currents=currents,
        )

    def fields(self) -> Fields:
        """As of a compiled run."""
        level, east, north = map(self._array, (self.state.level, self.state.east, self.state.north))
        return Fields(level, east, north)

    def before(self) -> tuple[Array, Array]:
        """As of a compiled run, but before the last step."""
        return self._array(self.state.before[0]), self._array(self.state.before[1])

    def centres(self) -> Fields:
        """As of a compiled run."""
        level, east, north = (field.cpu().numpy() for field in self.engine.centres(self.state))
        # Not a view of the state: what is shown is the caller's.
        return Fields(level.copy(), east.copy(), north.copy())

    def finite(self) -> bool:
        """As of a compiled run."""
        return bool(torch.isfinite(self.state.level).all())

    def _array(self, flat: Tensor) -> Array:
        return self.engine.unframed(flat).cpu().numpy().copy()
