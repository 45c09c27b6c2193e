"""Where water goes: particles in the current of a forecast and of the truth, and how far apart they end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oceanop.constants import EARTH_RADIUS
from oceanop.grid import Grid, great_circle_distance
from oceanop.verification.statistics import Statistics

TRUTH = ""  # among names of forecasts, which are never empty
COURANT = 0.5  # cells a particle may pass in one step of the scheme


class Particles(NamedTuple):
    """Where particles are, in rows and columns of cell centres, and whether they still swim, ``[particle]`` each."""

    row: Tensor
    column: Tensor
    afloat: Tensor


@dataclass(frozen=True, eq=False)
class Tracer:
    """Carries particles over a grid.

    Currents are linear in time and bilinear in space between the centres of ocean cells; next to land the ocean cells
    alone are asked. A particle that comes into a land cell or leaves the grid stays there.

    Attributes
    ----------
    wet
        bool ``[Y, X]``.
    latitude, longitude
        Degrees, ``[Y, X]``.
    turn
        What makes rows and columns a second of a current to east and north, ``[2, 2, Y, X]``, m-1.
    """

    wet: Tensor
    latitude: Tensor
    longitude: Tensor
    turn: Tensor

    @classmethod
    def of(cls, grid: Grid, wet: NDArray[np.bool_] | None = None) -> "Tracer":
        """Of a grid, or of some of its cells alone."""
        north = [np.deg2rad(each) * EARTH_RADIUS for each in np.gradient(grid.latitude)]
        east = [
            np.deg2rad(_turn_gradient(grid.longitude, axis))
            * EARTH_RADIUS
            * np.cos(np.deg2rad(grid.latitude))
            for axis in (0, 1)
        ]
        jacobian = np.stack([np.stack(east), np.stack(north)])  # [east or north, row or column, Y, X], m
        inverse = np.moveaxis(np.linalg.inv(np.moveaxis(jacobian, (0, 1), (-2, -1))), (-2, -1), (0, 1))
        mask = grid.mask if wet is None else wet
        planes = (mask, grid.latitude, grid.longitude, inverse)
        cells, latitude, longitude, turn = (torch.from_numpy(np.ascontiguousarray(each)) for each in planes)
        return cls(cells, latitude, longitude, turn)

    def release(self, rows: Any, columns: Any) -> Particles:
        """Particles at some places, in rows and columns, which may lie between centres."""
        row, column = (torch.as_tensor(each).to(torch.float64) for each in (rows, columns))
        return Particles(row, column, self._in_water(row, column))

    def rates(self, eastward: Any, northward: Any) -> Tensor:
        """Rows and columns a second of a current in m s-1, ``[2, Y, X]``; 0 on land."""
        flow = torch.stack([torch.as_tensor(each).to(torch.float64) for each in (eastward, northward)])
        return torch.einsum("ijyx,jyx->iyx", self.turn, torch.where(self.wet, flow, 0.0))

    def carry(self, particles: Particles, before: Tensor, after: Tensor, seconds: float) -> Particles:
        """Particles so much later, by the classical Runge-Kutta scheme of fourth order.

        Parameters
        ----------
        before, after
            :meth:`rates` at the beginning and at the end.
        seconds
            Between them, cut into steps in which nothing passes more than half a cell.
        """
        fastest = float(torch.maximum(before.abs().max(), after.abs().max()))
        steps = max(int(np.ceil(fastest * seconds / COURANT)), 1)
        row, column, afloat = (each.clone() for each in particles)
        places = (row.numpy(), column.numpy(), afloat.numpy())
        _carry(places, before.numpy(), after.numpy(), self.wet.numpy(), seconds / steps, steps)
        return Particles(row, column, afloat)

    def positions(self, particles: Particles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitude and longitude, degrees, ``[particle]``; outside the grid the nearest of its edge."""
        height, width = self.wet.shape
        row, column = particles.row.clamp(0, height - 1), particles.column.clamp(0, width - 1)
        top, left = row.long().clamp(max=height - 2), column.long().clamp(max=width - 2)
        down, right = row - top, column - left
        corners = [(top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)]
        share = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
        latitude = torch.stack([part * self.latitude[at] for at, part in zip(corners, share, strict=True)])
        first = self.longitude[corners[0]]
        # About the first corner, for two of them may lie on either side of the date line
        offset = torch.stack(
            [
                part * ((self.longitude[at] - first + 180.0) % 360.0 - 180.0)
                for at, part in zip(corners, share, strict=True)
            ]
        )
        return latitude.sum(0).numpy(), (first + offset.sum(0)).numpy()

    def _in_water(self, row: Tensor, column: Tensor) -> Tensor:
        height, width = self.wet.shape
        inside = (row >= -0.5) & (row <= height - 0.5) & (column >= -0.5) & (column <= width - 0.5)
        nearest = (row.round().long().clamp(0, height - 1), column.round().long().clamp(0, width - 1))
        return inside & self.wet[nearest]


@numba.njit(nogil=True, cache=True)
def _carry(places, before, after, wet, step, steps):  # type: ignore[no-untyped-def]
    rows, columns, afloat = places
    height, width = wet.shape
    for i in range(rows.size):
        y, x = rows[i], columns[i]
        for n in range(steps):
            if not afloat[i]:
                break
            v1, u1 = _between(before, after, wet, y, x, n / steps)
            v2, u2 = _between(before, after, wet, y + step / 2 * v1, x + step / 2 * u1, (n + 0.5) / steps)
            v3, u3 = _between(before, after, wet, y + step / 2 * v2, x + step / 2 * u2, (n + 0.5) / steps)
            v4, u4 = _between(before, after, wet, y + step * v3, x + step * u3, (n + 1) / steps)
            y += step / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            x += step / 6 * (u1 + 2 * u2 + 2 * u3 + u4)
            inside = -0.5 <= y <= height - 0.5 and -0.5 <= x <= width - 0.5
            row = min(max(int(np.rint(y)), 0), height - 1)
            column = min(max(int(np.rint(x)), 0), width - 1)
            afloat[i] = inside and wet[row, column]
        rows[i], columns[i] = y, x


@numba.njit(nogil=True, cache=True)
def _between(before, after, wet, y, x, share):  # type: ignore[no-untyped-def]
    height, width = wet.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    total = v = u = 0.0
    for j in range(2):
        for i in range(2):
            row, column = top + j, left + i
            if not wet[row, column]:
                continue
            near = (1.0 - abs(y - row)) * (1.0 - abs(x - column))
            total += near
            v += near * ((1.0 - share) * before[0, row, column] + share * after[0, row, column])
            u += near * ((1.0 - share) * before[1, row, column] + share * after[1, row, column])
    if total <= 0.0:
        return 0.0, 0.0
    return v / total, u / total


def _turn_gradient(longitude: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Gradient along an axis of angles in degrees that may jump by a whole turn."""
    return np.asarray(np.gradient(np.unwrap(longitude, axis=axis, period=360.0), axis=axis))


@dataclass(frozen=True, eq=False)
class DriftSums(Statistics):
    """Sums over particles that swim in the truth, of how far those of the forecast are from them."""

    names: ClassVar[tuple[str, ...]] = ("count", "weight", "separation", "squared_separation", "skill")

    @classmethod
    def of(cls, separation: Any, summed_separation: Any, summed_path: Any, afloat: Any) -> Self:
        """Sums at one time after release.

        Parameters
        ----------
        separation
            Of each particle from its twin, m, ``[..., particle]``.
        summed_separation
            The same added up over all times since release.
        summed_path
            Length of the true path up to each time, added up over all times.
        afloat
            Which of the true particles still swim.
        """
        apart, total, path = (
            torch.as_tensor(each).to(torch.float64) for each in (separation, summed_separation, summed_path)
        )
        counted = torch.as_tensor(afloat) & (path > 0)
        score = (1 - total / path.clamp(min=1e-12)).clamp(min=0.0)
        terms = (torch.ones_like(apart), torch.ones_like(apart), apart, apart.square(), score)
        return cls(torch.stack([torch.where(counted, term, 0.0).sum(-1) for term in terms]))

    def separation(self) -> Tensor:
        """Mean distance of the particles from their twins, m."""
        return self.ratio("separation")

    def rms_separation(self) -> Tensor:
        """Root mean square of the same, m."""
        return self.ratio("squared_separation").sqrt()

    def skill(self) -> Tensor:
        """Mean of ``1 - s``, 0 where s exceeds 1, with s the summed separations over the summed lengths of the path.

        Liu and Weisberg, J. Geophys. Res. 116, 2011, C09013, equations 2 and 3 with the tolerance n = 1.
        """
        return self.ratio("skill")


class Twins:
    """Particles in the truth and their twins in each forecast, carried on lead by lead from where they were released.

    Parameters
    ----------
    tracer
        Of the grid.
    rows, columns
        Where particles are released, ``[particle]``.
    """

    def __init__(self, tracer: Tracer, rows: Any, columns: Any) -> None:
        self.tracer = tracer
        self.released = tracer.release(rows, columns)
        self.particles: dict[str, Particles] = {}
        self.rates: dict[str, Tensor] = {}
        self.separation: dict[str, NDArray[np.float64]] = {}
        self.path, self.summed_path = np.zeros((2, len(self.released.row)))

    def advance(self, truth: Any, forecasts: Mapping[str, Any], seconds: float) -> dict[str, DriftSums]:
        """Carry all to the next time, when the currents are ``[component, Y, X]``; nothing yet at the release."""
        rates = {TRUTH: self.tracer.rates(*truth)}
        rates |= {name: self.tracer.rates(*current) for name, current in forecasts.items()}
        before, self.rates = self.rates, rates
        if not before:
            self.particles = dict.fromkeys(rates, self.released)
            self.separation = {name: np.zeros_like(self.path) for name in forecasts}
            return {}
        old = self.tracer.positions(self.particles[TRUTH])
        self.particles = {
            name: self.tracer.carry(self.particles[name], before[name], after, seconds)
            for name, after in rates.items()
        }
        true = self.tracer.positions(self.particles[TRUTH])
        self.path = self.path + great_circle_distance(*old, *true)
        self.summed_path = self.summed_path + self.path
        out = {}
        for name in forecasts:
            apart = great_circle_distance(*true, *self.tracer.positions(self.particles[name]))
            self.separation[name] = self.separation[name] + apart
            out[name] = DriftSums.of(
                apart, self.separation[name], self.summed_path, self.particles[TRUTH].afloat
            )
        return out
