"""The shallow-water model's step as compiled loops over the sea, eight members side by side."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oceanop.dynamics import kernels
from oceanop.dynamics.geometry import Mask
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.dynamics.state import Fields
from oceanop.dynamics.stencil import Radiation, Sides, Stencil, framed

Array = NDArray[np.floating]
AirFields = Sequence[Array | None]

BLOCK = 8  # members that share a loop: a vector of float32, and their fields fit into a core's second cache
TINY = 1e-12  # m2 s-2, under the root of the speed, whose slope would be infinite at rest


@dataclass(frozen=True, eq=False)
class _Block:
    """Members that are advanced together, and what they are multiplied by; fields flat, ``[place x member]``."""

    members: slice
    level: Array
    east: Array
    north: Array
    head: Array
    before: tuple[Array, Array]
    cells: kernels.Runs
    sea: kernels.Runs
    of_east: kernels.Side
    of_north: kernels.Side
    air: tuple[Array, Array, Array]
    later: tuple[Array, Array, Array]

    @property
    def size(self) -> int:
        return self.members.stop - self.members.start


class CompiledRun:
    """Fields that are advanced in place, members in blocks of eight.

    Parameters
    ----------
    stencil
        Coefficients.
    fields
        To start from, ``[member, Y, X]`` each.
    dtype
        float32 or float64.
    threads
        That the blocks are shared among.
    """

    def __init__(self, stencil: Stencil, fields: Fields, *, dtype: np.dtype, threads: int = 1) -> None:
        self.stencil, self.dtype, self.threads = stencil, dtype, threads
        self._rows, self._columns = stencil.grid.shape
        self._sea = _neighbours(stencil)
        self._numbers = kernels.Numbers(
            *(dtype.type(value) for value in (stencil.time_step * stencil.drag, 0.5, 0.0625, TINY))
        )
        self._rate = stencil.rate.astype(dtype)
        members = fields.zos.shape[0]
        self._blocks = [
            self._block(fields, slice(start, min(start + BLOCK, members)))
            for start in range(0, members, BLOCK)
        ]

    def set_air(self, now: AirFields, later: AirFields) -> None:
        """Take in the air at the beginning and at the end of an interval, ``[1 or member, Y, X]`` each."""
        for block in self._blocks:
            self._load_air(block, now, block.air)
            self._load_air(block, later, block.later)

    def next_air(self, later: AirFields) -> None:
        """Go to the next interval, which begins with the air that the last one ended with."""
        for block in self._blocks:
            for now, then in zip(block.air, block.later, strict=True):
                now[:] = then
            self._load_air(block, later, block.later)

    def advance(self, first: int, shares: Array, level: Array, currents: tuple[Array, Array]) -> None:
        """Take a step for each of ``shares``: how far it lies between the two times of the air.

        Parameters
        ----------
        first
            Steps done before.
        level
            Beyond the boundary at the end of each step, ``[step, cell, member]``, m.
        currents
            External ones inward at eastern and at northern sides, ``[step, side, member]``, m s-1.
        """
        steps = shares.astype(self.dtype)

        def work(block: _Block) -> None:
            def mine(values: Array) -> Array:
                return np.array(values[..., block.members], self.dtype, order="C")

            block.before[0][:], block.before[1][:] = block.east, block.north
            kernels.advance(
                block.level,
                block.east,
                block.north,
                block.head,
                block.sea,
                block.cells,
                self._rate,
                block.of_east,
                block.of_north,
                block.air,
                block.later,
                steps,
                self.stencil.open_cells,
                mine(level),
                tuple(
                    _exit(of, mine(current), self.dtype)
                    for of, current in zip(self.stencil.radiation, currents, strict=True)
                ),
                self._numbers,
                self._columns,
                block.size,
                first,
                self.stencil.linear,
                self.stencil.grid.periodic,
            )

        if self.threads > 1 and len(self._blocks) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(work, self._blocks))
        else:
            for block in self._blocks:
                work(block)

    def fields(self) -> Fields:
        """Level and currents on the sides, ``[member, Y, X]`` each."""
        level, east, north = (
            np.concatenate([self._unframed(getattr(block, name), block.size) for block in self._blocks])
            for name in ("level", "east", "north")
        )
        return Fields(level, east, north)

    def before(self) -> tuple[Array, Array]:
        """Currents on the sides before the last call of :meth:`advance`, ``[member, Y, X]`` each."""
        east, north = (
            np.concatenate([self._unframed(block.before[side], block.size) for block in self._blocks])
            for side in (0, 1)
        )
        return east, north

    def centres(self) -> Fields:
        """Level and currents at the level's time at centres, after an :meth:`advance` of one step."""
        members = self._blocks[-1].members.stop
        out = [np.zeros((members, self._rows * self._columns), self.dtype) for _ in range(3)]
        for block in self._blocks:
            kernels.at_centres(
                (block.level, block.east, block.north),
                block.before,
                (out[0][block.members], out[1][block.members], out[2][block.members]),
                self._sea,
                self._columns + 2,
                block.size,
                self.dtype.type(0.25),
            )
        level, east, north = (field.reshape(-1, self._rows, self._columns) for field in out)
        return Fields(level, east, north)

    def finite(self) -> bool:
        """Whether all levels are numbers."""
        # 0 times a number is 0, and times anything else it is not.
        return all(np.dot(block.level, np.zeros_like(block.level)) == 0 for block in self._blocks)

    def _load_air(self, block: _Block, fields: AirFields, into: tuple[Array, Array, Array]) -> None:
        # Copies of one kind, whatever the caller's arrays are: the loops are compiled once.
        tauu, tauv, msl = (
            np.zeros((0, 1))
            if field is None
            else np.array(field if len(field) == 1 else field[block.members], np.float64).reshape(
                -1, self._rows * self._columns
            )
            for field in fields
        )
        kernels.load_air(
            tauu,
            tauv,
            msl,
            into,
            self._sea,
            (block.of_east.depth, block.of_north.depth),
            STANDARD_PRESSURE,
            self.stencil.pressure_factor,
            self.stencil.stress_factor,
            block.size,
        )

    def _block(self, fields: Fields, members: slice) -> _Block:
        size = members.stop - members.start
        stencil = self.stencil
        level, east, north = (
            self._flat(framed(field[members], periodic=stencil.grid.periodic)) for field in fields
        )
        block = _Block(
            members=members,
            level=level,
            east=east,
            north=north,
            head=np.zeros_like(level),
            before=(east.copy(), north.copy()),
            cells=_runs(stencil.cells, size),
            sea=_runs(framed(stencil.grid.wet), size),
            of_east=self._side(stencil.east, size),
            of_north=self._side(stencil.north, size),
            air=self._no_air(size),
            later=self._no_air(size),
        )
        if not stencil.linear:
            kernels.thicken(
                block.level,
                block.of_east,
                block.of_north,
                self._numbers.half,
                self._columns,
                size,
                stencil.grid.periodic,
            )
        return block

    def _no_air(self, size: int) -> tuple[Array, Array, Array]:
        first, second, third = (np.zeros(self.stencil.cells.size * size, self.dtype) for _ in range(3))
        return first, second, third

    def _side(self, of: Sides, size: int) -> kernels.Side:
        inner = framed(np.ones(self.stencil.grid.shape, np.bool_))
        weight = np.sqrt(of.depth * of.face) * of.free

        def each(plane: NDArray) -> Array:
            return self._flat(np.broadcast_to(plane, (size, *plane.shape)))

        return kernels.Side(
            free=_runs(of.free & inner, size),
            open=_runs(of.open & inner, size),
            **{name: getattr(of, name).astype(self.dtype) for name in ("length", "pull", "near", "far")},
            along=np.uint64(of.along * size),
            back=np.uint64(of.back * size),
            depth=each(of.depth),
            face=each(of.face),
            thickness=each(of.depth),
            weight=each(weight),
            inverse=each(np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)),
        )

    def _flat(self, fields: NDArray) -> Array:
        """``[member, Y + 2, X + 2]`` with members side by side."""
        return np.array(np.moveaxis(fields, 0, -1), self.dtype, order="C").reshape(-1)

    def _unframed(self, flat: Array, size: int) -> Array:
        return np.moveaxis(flat.reshape(*self.stencil.frame, size)[1:-1, 1:-1], -1, 0)


def _runs(mask: Mask, size: int) -> kernels.Runs:
    """Stretches of true places along the rows; places count members."""
    flat = mask.reshape(-1).astype(np.int8)
    edges = np.diff(flat, prepend=0, append=0)
    start, stop = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return kernels.Runs(
        *(part.astype(np.uint64) for part in (start * size, stop * size, start // mask.shape[1]))
    )


def _neighbours(stencil: Stencil) -> kernels.Sea:
    rows, columns = stencil.grid.shape
    row, column = np.nonzero(stencil.grid.wet)
    return kernels.Sea(
        place=(row + 1) * (columns + 2) + column + 1,
        centre=row * columns + column,
        east=row * columns + (column + 1) % columns,
        north=(row + 1) % rows * columns + column,
    )


def _exit(of: Radiation, current: Array, dtype: np.dtype) -> kernels.Exit:
    return kernels.Exit(
        of.side, of.inside, of.outside, of.outward.astype(dtype), of.speed.astype(dtype), current
    )
