"""Where water goes: particles in the current of a forecast and of the truth, and how far apart they end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

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
        step = seconds / steps
        place = torch.stack([particles.row, particles.column])
        afloat = particles.afloat
        for i in range(steps):

            def rate(at: Tensor, part: float, i: int = i) -> Tensor:
                share = (i + part) / steps
                return self._between((1 - share) * before + share * after, at)

            first = rate(place, 0.0)
            second = rate(place + step / 2 * first, 0.5)
            third = rate(place + step / 2 * second, 0.5)
            fourth = rate(place + step * third, 1.0)
            moved = place + step / 6 * (first + 2 * second + 2 * third + fourth)
            place = torch.where(afloat, moved, place)
            afloat = afloat & self._in_water(*place)
        return Particles(place[0], place[1], afloat)

    def positions(self, particles: Particles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latitude and longitude, degrees, ``[particle]``; outside the grid the nearest of its edge."""
        corner, weights = self._corners(particles.row, particles.column)
        latitude = (self.latitude[corner] * weights).sum(0)
        longitude = self.longitude[corner]
        # About the first corner, for two of them may lie on either side of the date line
        offset = (longitude - longitude[0] + 180.0) % 360.0 - 180.0
        return latitude.numpy(), (longitude[0] + (offset * weights).sum(0)).numpy()

    def _in_water(self, row: Tensor, column: Tensor) -> Tensor:
        height, width = self.wet.shape
        inside = (row >= -0.5) & (row <= height - 0.5) & (column >= -0.5) & (column <= width - 0.5)
        nearest = (row.round().long().clamp(0, height - 1), column.round().long().clamp(0, width - 1))
        return inside & self.wet[nearest]

    def _between(self, rates: Tensor, place: Tensor) -> Tensor:
        corner, weights = self._corners(*place)
        weights = weights * self.wet[corner]
        total = weights.sum(0)
        found = (rates[:, *corner] * weights).sum(1)
        return torch.where(total > 0, found / total.clamp(min=1e-12), 0.0)

    def _corners(self, row: Tensor, column: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Cells around places and the share of each, ``[4, particle]``."""
        height, width = self.wet.shape
        row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
        top, left = row.floor().long().clamp(max=height - 2), column.floor().long().clamp(max=width - 2)
        down, right = row - top, column - left
        rows = torch.stack([top, top, top + 1, top + 1])
        columns = torch.stack([left, left + 1, left, left + 1])
        share = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
        return (rows, columns), share


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
