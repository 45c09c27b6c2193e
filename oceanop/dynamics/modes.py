"""Free oscillations of a basin, and how it answers a wind that comes and goes: periods of its seiches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse import linalg

from oceanop.constants import GRAVITY
from oceanop.dynamics.geometry import Array, CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.stencil import WATER_DENSITY, Sides, Stencil, framed, make_stencil

Complex = NDArray[np.complex128]

ROUNDS = 200  # of Lanczos; what is to be found is found in tens
DAMPING = 3e-6  # s-1, a Baltic seiche falls to 1/e in a few days


@dataclass(frozen=True, eq=False)
class Mode:
    """A free oscillation ``zos exp(2 pi i t / period)``.

    Attributes
    ----------
    period
        s.
    zos
        Complex level, largest modulus 1, ``[Y, X]``.
    potential_share
        Of its energy: near one half for a seiche, below a tenth for the slow waves that rotation makes over a sloping
        bottom.
    """

    period: float
    zos: Complex
    potential_share: float


def modes(
    grid: CGrid,
    *,
    near: float,
    count: int = 6,
    boundary: OpenBoundary | None = None,
    gravity: float = GRAVITY,
) -> list[Mode]:
    """Free oscillations of the model's linear, frictionless operator, longest first.

    Parameters
    ----------
    grid
        The basin.
    near
        Period around which they are looked for, s.
    count
        How many at most: none that is farther from there, in frequency, than steady flows at 0 are.
    boundary
        Prescribed levels, kept at 0; closed if None.
    gravity
        m s-2.

    Raises
    ------
    ValueError
        If the boundary lets waves out.
    """
    system = _System(_at_rest(grid, boundary, gravity))
    shift = 2 * np.pi / near
    assert system.size > count + 1, (system.size, count)
    # From a fixed start, for the same answer each time, without steady flows, which are many and have no period.
    start = system.operator @ np.random.default_rng(0).standard_normal(system.size) + 0j
    matrix = (-1j * system.operator).tocsc()
    try:
        frequency, vectors = linalg.eigsh(matrix, k=count, sigma=shift, v0=start, maxiter=ROUNDS)
    except linalg.ArpackNoConvergence as stopped:
        # Steady flows came back by rounding: a space of them, which has no vectors of its own to settle on.
        frequency, vectors = stopped.eigenvalues.real, stopped.eigenvectors
    found = []
    for omega, vector in sorted(zip(frequency, vectors.T, strict=True), key=lambda pair: pair[0]):
        if omega < 1e-6 * shift:
            continue  # steady flow along lines of equal depth over f, which has no period
        level = vector[: system.cells.size]
        zos = system.level(level)
        largest = zos.reshape(-1)[np.abs(zos).argmax()]
        share = float(np.sum(np.abs(level) ** 2) / np.sum(np.abs(vector) ** 2))
        found.append(Mode(float(2 * np.pi / omega), zos / largest, share))
    return found


def response(
    grid: CGrid,
    periods: Sequence[float] | Array,
    *,
    stress: ArrayLike = (1.0, 0.0),
    damping: float = DAMPING,
    boundary: OpenBoundary | None = None,
    density: float = WATER_DENSITY,
    gravity: float = GRAVITY,
) -> Complex:
    """Level that a uniform wind stress ``exp(2 pi i t / period)`` keeps going in the model's linear operator.

    Parameters
    ----------
    grid
        The basin.
    periods
        s, ``[period]``.
    stress
        Towards east and north, N m-2, ``[2]``, or several winds ``[wind, 2]``.
    damping
        Of the currents, linear, s-1.
    boundary
        Prescribed levels, kept at 0; closed if None.
    density, gravity
        kg m-3 and m s-2.

    Returns
    -------
    Complex level, m, ``[period, Y, X]``, or ``[period, wind, Y, X]`` for several.

    Raises
    ------
    ValueError
        If the boundary lets waves out.
    """
    system = _System(_at_rest(grid, boundary, gravity))
    winds = np.atleast_2d(np.asarray(stress, np.float64))
    push = np.stack([system.push(east, north) for east, north in winds], axis=-1) / density
    currents = system.size - system.cells.size
    resistance = np.r_[np.zeros(system.cells.size), np.full(currents, damping)]
    out = []
    for period in np.asarray(periods, np.float64):
        matrix = sparse.diags_array(2j * np.pi / period + resistance) - system.operator
        answer = linalg.splu(matrix.tocsc()).solve(push)
        out.append(np.stack([system.level(one[: system.cells.size]) for one in answer.T]))
    levels = np.stack(out)
    return levels if np.ndim(stress) > 1 else levels[:, 0]


def _at_rest(grid: CGrid, boundary: OpenBoundary | None, gravity: float) -> Stencil:
    if boundary is not None:
        boundary.check(grid)
        if boundary.kind != "prescribed":
            raise ValueError(
                f"the boundary is of kind '{boundary.kind}', through which a basin's oscillations leave; "
                "give prescribed levels, or close it."
            )
    return make_stencil(grid, time_step=1.0, friction=0.0, boundary=boundary, gravity=gravity)


class _System:
    """The model's operator in variables whose squares are energy: ``sqrt(g A) eta`` and ``sqrt(h a) u``.

    In these it is antisymmetric: free oscillations have real periods and keep their energy.
    """

    def __init__(self, stencil: Stencil) -> None:
        self.stencil = stencil
        area = np.divide(1.0, stencil.rate)[:, None] * np.ones(stencil.frame)
        self._scale = np.sqrt(stencil.gravity * area).reshape(-1)
        self.cells = np.flatnonzero(stencil.cells)
        inner = framed(np.ones(stencil.grid.shape, np.bool_)).reshape(-1)
        sides = (stencil.east, stencil.north)
        self._places = [np.flatnonzero(of.free.reshape(-1) & inner) for of in sides]
        blocks = [self._slope(of, places) for of, places in zip(sides, self._places, strict=True)]
        turn = self._turn()
        self.operator = sparse.block_array(
            [[None, blocks[0].T, blocks[1].T], [-blocks[0], None, turn], [-blocks[1], -turn.T, None]]
        ).tocsc()
        self.size = self.operator.shape[0]

    def level(self, part: Complex) -> Complex:
        """Level in m at the cells, ``[Y, X]``."""
        plane = np.zeros(self._scale.size, np.complex128)
        plane[self.cells] = part / self._scale[self.cells]
        return plane.reshape(self.stencil.frame)[1:-1, 1:-1]

    def push(self, east: float, north: float) -> Complex:
        """What a uniform stress does to all variables, times the density."""
        parts: list[Complex] = [np.zeros(self.cells.size, np.complex128)]
        for of, places, stress in zip(
            (self.stencil.east, self.stencil.north), self._places, (east, north), strict=True
        ):
            face, depth = of.face.reshape(-1)[places], of.depth.reshape(-1)[places]
            parts.append((stress * np.sqrt(face / depth)).astype(np.complex128))
        return np.concatenate(parts)

    def _neighbour(self, places: NDArray[np.intp], step: int) -> NDArray[np.intp]:
        """Places so many steps away, those in a periodic basin's frame brought home."""
        width = self.stencil.frame[1]
        beyond = places + step
        if self.stencil.grid.periodic:
            column = beyond % width
            beyond = beyond + np.where(column == width - 1, 2 - width, np.where(column == 0, width - 2, 0))
        return beyond

    def _slope(self, of: Sides, places: NDArray[np.intp]) -> sparse.csr_array:
        distance = (of.face / np.where(of.length > 0, of.length, 1.0)[:, None]).reshape(-1)[places]
        length = np.broadcast_to(of.length[:, None], of.depth.shape).reshape(-1)[places]
        strength = self.stencil.gravity * np.sqrt(of.depth.reshape(-1)[places] * length / distance)
        number = np.full(self._scale.size, -1)
        number[self.cells] = np.arange(self.cells.size)
        rows, columns, values = [], [], []
        for ends, sign in ((self._neighbour(places, of.along), 1.0), (places, -1.0)):
            known = number[ends] >= 0  # an open cell's level stays at rest
            rows.append(np.flatnonzero(known))
            columns.append(number[ends[known]])
            values.append(sign * strength[known] / self._scale[ends[known]])
        return sparse.csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(places.size, self.cells.size),
        )

    def _turn(self) -> sparse.csr_array:
        """How northern sides' currents turn eastern sides': a quarter of the parameter of the cell they share."""
        east, north = self.stencil.east, self.stencil.north
        number = np.full(self._scale.size, -1)
        number[self._places[1]] = np.arange(self._places[1].size)
        width, places = self.stencil.frame[1], self._places[0]
        rows, columns, values = [], [], []
        for cell, parameter in ((places, east.near), (self._neighbour(places, 1), east.far)):
            for side in (cell, cell - north.along):
                known = number[side] >= 0
                rows.append(np.flatnonzero(known))
                columns.append(number[side[known]])
                values.append(parameter[places[known] // width])
        return sparse.csr_array(
            (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
            shape=(places.size, self._places[1].size),
        )
