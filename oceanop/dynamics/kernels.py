"""Loops of the shallow-water model, compiled when they are first called and kept on disk.

Fields are laid out flat, the members of a cell beside each other, and only the sea is visited: in runs of cells that
follow each other along a row. Places are unsigned, because a signed one could be negative, count from the end, and
keep a loop from being a vector's.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

_jit = njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"}, cache=True)


class Runs(NamedTuple):
    """Stretches of neighbouring places: first, one past the last, row, ``[run]``."""

    start: Any
    stop: Any
    row: Any


class Side(NamedTuple):
    """Eastern or northern sides: see :class:`oceanop.dynamics.stencil.Sides`; what changes with the level is last."""

    free: Runs
    open: Runs
    length: Any
    pull: Any
    near: Any
    far: Any
    along: Any
    back: Any
    depth: Any
    face: Any
    thickness: Any
    weight: Any
    inverse: Any


class Sea(NamedTuple):
    """Wet cells: place in the framed arrays, at the centres, and that of the eastern and the northern neighbour."""

    place: Any
    centre: Any
    east: Any
    north: Any


class Exit(NamedTuple):
    """Sides with a current after Flather: places, signs, ``sqrt(g / h)``, external current ``[step, side, member]``."""

    side: Any
    inside: Any
    outside: Any
    outward: Any
    speed: Any
    current: Any


class Numbers(NamedTuple):
    """Scalars in the precision of the fields: ``dt Cd``, 1/2, 1/16, and what keeps a root's slope finite."""

    drag: Any
    half: Any
    sixteenth: Any
    tiny: Any


@_jit
def _continuity(
    level: Any, east: Any, north: Any, cells: Any, rate: Any, of_east: Any, of_north: Any
) -> None:
    deep, high = of_east.thickness, of_north.thickness
    step, row_up = of_east.along, of_north.along
    for run in range(cells.start.size):
        row = cells.row[run]
        share = rate[row]
        side, upper, lower = of_east.length[row], of_north.length[row], of_north.length[row - np.uint64(1)]
        for here in range(cells.start[run], cells.stop[run]):
            out = side * (deep[here] * east[here] - deep[here - step] * east[here - step])
            out += upper * high[here] * north[here] - lower * high[here - row_up] * north[here - row_up]
            level[here] -= share * out


@_jit
def _momentum(
    own: Any, other: Any, head: Any, of: Any, crossing: Any, push: Any, later: Any, share: Any, numbers: Any
) -> None:
    thickness, inverse, weight = of.thickness, of.inverse, crossing.weight
    drag, sixteenth, tiny = numbers.drag, numbers.sixteenth, numbers.tiny
    for run in range(of.free.start.size):
        row = of.free.row[run]
        pull, near, far = of.pull[row], of.near[row], of.far[row]
        for here in range(of.free.start[run], of.free.stop[run]):
            beside, ahead = here - of.back, here + of.along
            corner = ahead - of.back
            a, b, c, d = other[here], other[beside], other[ahead], other[corner]
            turn = near * (weight[here] * a + weight[beside] * b)
            turn += far * (weight[ahead] * c + weight[corner] * d)
            across = a + b + c + d
            speed = np.sqrt(own[here] * own[here] + sixteenth * across * across + tiny)
            pushed = own[here] - pull * (head[ahead] - head[here]) + inverse[here] * turn
            stress = push[here] + share * (later[here] - push[here])
            own[here] = (thickness[here] * pushed + stress) / (thickness[here] + drag * speed)


@_jit
def _thicken(level: Any, of: Any, half: Any) -> None:
    for run in range(of.open.start.size):
        for here in range(of.open.start[run], of.open.stop[run]):
            of.thickness[here] = of.depth[here] + half * (level[here] + level[here + of.along])
    for run in range(of.free.start.size):
        for here in range(of.free.start[run], of.free.stop[run]):
            root = np.sqrt(of.thickness[here] * of.face[here])
            of.weight[here] = root
            of.inverse[here] = root / (of.thickness[here] * of.face[here])


@_jit
def _close(field: Any, columns: Any, members: Any) -> None:
    """Frame of a basin that is periodic along x."""
    width = (columns + 2) * members
    last = columns * members
    for start in range(0, field.size, width):
        for member in range(members):
            field[start + member] = field[start + last + member]
            field[start + last + members + member] = field[start + members + member]


@_jit
def _leave(current: Any, head: Any, through: Any, step: Any, members: Any) -> None:
    for number in range(through.side.size):
        for member in range(members):
            place = through.side[number] * members + member
            fall = (
                head[through.inside[number] * members + member]
                - head[through.outside[number] * members + member]
            )
            current[place] = through.outward[number] * (
                through.speed[number] * fall - through.current[step, number, member]
            )


@_jit
def advance(
    level: Any,
    east: Any,
    north: Any,
    head: Any,
    sea: Any,
    cells: Any,
    rate: Any,
    of_east: Any,
    of_north: Any,
    air: Any,
    later: Any,
    shares: Any,
    open_cells: Any,
    beyond: Any,
    exits: Any,
    numbers: Any,
    columns: Any,
    members: Any,
    first: Any,
    linear: Any,
    periodic: Any,
) -> None:
    """Take as many steps as there are ``shares``: how far each lies between ``air`` and ``later``.

    ``air`` holds the air's weight as a level and ``dt / rho`` times the stress at eastern and at northern sides;
    ``beyond`` is the level of the open cells, ``[step, cell, member]``; ``first`` counts the steps done before.
    """
    weight, weight_later = air[0], later[0]
    for step in range(shares.size):
        share = shares[step]
        _continuity(level, east, north, cells, rate, of_east, of_north)
        for number in range(open_cells.size):
            for member in range(members):
                level[open_cells[number] * members + member] = beyond[step, number, member]
        for run in range(sea.start.size):
            for here in range(sea.start[run], sea.stop[run]):
                head[here] = level[here] + weight[here] + share * (weight_later[here] - weight[here])
        if periodic:
            _close(level, columns, members)
            _close(head, columns, members)
        if not linear:
            thicken(level, of_east, of_north, numbers.half, columns, members, periodic)
        _leave(east, head, exits[0], step, members)
        _leave(north, head, exits[1], step, members)
        if periodic:
            _close(east, columns, members)
            _close(north, columns, members)
        for turn in range(2):
            # The one that comes second turns with the first's new current; they take it in turns. One call for both,
            # because each is a loop to compile.
            if (first + step + turn) % 2 == 0:
                own, other, of, crossing, push, push_later = east, north, of_east, of_north, air[1], later[1]
            else:
                own, other, of, crossing, push, push_later = north, east, of_north, of_east, air[2], later[2]
            _momentum(own, other, head, of, crossing, push, push_later, share, numbers)
            if periodic:
                _close(own, columns, members)


@_jit
def thicken(
    level: Any, of_east: Any, of_north: Any, half: Any, columns: Any, members: Any, periodic: Any
) -> None:
    """Thickness of the water at the sides, level included, and the weights that follow from it."""
    _thicken(level, of_east, half)
    _thicken(level, of_north, half)
    if periodic:
        for of in (of_east, of_north):
            _close(of.thickness, columns, members)
            _close(of.weight, columns, members)


@_jit
def load_air(
    tauu: Any,
    tauv: Any,
    msl: Any,
    air: Any,
    sea: Any,
    depths: Any,
    reference: Any,
    pressure_factor: Any,
    stress_factor: Any,
    members: Any,
) -> None:
    """Fields at centres, ``[1 or member, Y X]``, to what :func:`advance` wants of the air; empty ones are left out."""
    weight, push_east, push_north = air
    for cell in range(sea.place.size):
        centre, east, north = sea.centre[cell], sea.east[cell], sea.north[cell]
        for member in range(members):
            here = sea.place[cell] * members + member
            if msl.size > 0:
                mine = member if msl.shape[0] > 1 else 0
                weight[here] = pressure_factor * (msl[mine, centre] - reference)
            if tauu.size > 0 and depths[0][here] > 0:
                mine = member if tauu.shape[0] > 1 else 0
                push_east[here] = stress_factor * (tauu[mine, centre] + tauu[mine, east]) / 2
            if tauv.size > 0 and depths[1][here] > 0:
                mine = member if tauv.shape[0] > 1 else 0
                push_north[here] = stress_factor * (tauv[mine, centre] + tauv[mine, north]) / 2


@_jit
def at_centres(fields: Any, before: Any, out: Any, sea: Any, width: Any, members: Any, quarter: Any) -> None:
    """Level and currents at the level's time, ``[member, Y X]`` each; ``before`` are the currents one step ago."""
    level, east, north = fields
    zos, ubar, vbar = out
    for cell in range(sea.place.size):
        centre = sea.centre[cell]
        for member in range(members):
            here = sea.place[cell] * members + member
            west, south = here - members, here - width * members
            zos[member, centre] = level[here]
            ubar[member, centre] = quarter * (east[here] + east[west] + before[0][here] + before[0][west])
            vbar[member, centre] = quarter * (north[here] + north[south] + before[1][here] + before[1][south])
