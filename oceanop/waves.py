"""Exact waves of the linear shallow-water equations in a walled channel on an f-plane, periodic along x."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.constants import GRAVITY
from oceanop.dispersion import kelvin_frequency, poincare_frequency

Array = NDArray[np.float64]

SOUTH, NORTH = "south", "north"


@dataclass(frozen=True)
class WaveChannel:
    """Water of one depth between a southern wall at y = 0 and a northern one at y = ``width``.

    Attributes
    ----------
    length, width
        Along x, where it closes upon itself, and across, m.
    depth
        At rest, m.
    coriolis_parameter
        s-1, the same everywhere.
    gravity
        m s-2.
    """

    length: float
    width: float
    depth: float
    coriolis_parameter: float
    gravity: float = GRAVITY

    @property
    def wave_speed(self) -> float:
        """Speed of long waves without rotation, ``sqrt(g H)``, m s-1."""
        return float(np.sqrt(self.gravity * self.depth))

    def frequencies(self, wavenumber: ArrayLike, highest_mode: int) -> list[Array]:
        """Dispersion curves: Kelvin waves, then Poincare waves from mode 1 to the highest, rad s-1.

        Parameters
        ----------
        wavenumber
            rad m-1; a Kelvin wave along the southern wall has positive ones, along the northern one negative ones.
        """
        poincare = [
            poincare_frequency(
                wavenumber,
                mode,
                depth=self.depth,
                width=self.width,
                coriolis_parameter=self.coriolis_parameter,
                gravity=self.gravity,
            )
            for mode in range(1, highest_mode + 1)
        ]
        return [kelvin_frequency(wavenumber, depth=self.depth, gravity=self.gravity), *poincare]


@dataclass(frozen=True)
class Wave:
    """One free wave of a channel, in units of the square root of its mean energy.

    Attributes
    ----------
    channel
        Where it runs.
    kind
        The wall a Kelvin wave leans on, ``south`` or ``north``, or the number of a Poincare mode.
    number
        Wavelengths in the channel's length; negative where crests move towards decreasing x.
    """

    channel: WaveChannel
    kind: str | int
    number: int

    @property
    def wavenumber(self) -> float:
        """rad m-1, signed as ``number``."""
        return 2 * np.pi * self.number / self.channel.length

    @property
    def frequency(self) -> float:
        """rad s-1, positive."""
        mode = self.kind if isinstance(self.kind, int) else 0
        return float(self.channel.frequencies(self.wavenumber, mode)[mode])

    def structure(self, y: ArrayLike) -> NDArray[np.complex128]:
        """Level (m), eastward and northward current (m s-1) across the channel, ``[3, y]``.

        They go with ``exp(i (k x - omega t))``. The real part has an energy of 1 m3 s-2, averaged over the channel
        and multiplied by no density: ``(g eta^2 + H (u^2 + v^2)) / 2``.

        Parameters
        ----------
        y
            Distance from the southern wall, m.
        """
        # Gauss's points integrate sines, cosines and exponentials of a few waves across exactly to rounding.
        points, weights = np.polynomial.legendre.leggauss(64)
        whole = self._shape(self.channel.width * (points + 1) / 2)
        g, depth = self.channel.gravity, self.channel.depth
        square = np.abs(whole) ** 2 @ (weights / 2)
        # The mean square of Re(a exp(i phase)) is half of |a|^2.
        energy = (g * square[0] + depth * (square[1] + square[2])) / 4
        return self._shape(np.asarray(y, dtype=np.float64)) / np.sqrt(energy)

    def _shape(self, y: Array) -> NDArray[np.complex128]:
        channel, k, omega = self.channel, self.wavenumber, self.frequency
        f, g, depth, c = channel.coriolis_parameter, channel.gravity, channel.depth, channel.wave_speed
        if self.kind in (SOUTH, NORTH):
            # Along the wall the current is that of a wave without rotation; across it, slope balances rotation.
            sign = 1 if self.kind == SOUTH else -1
            level = np.exp(-sign * f * y / c)
            return np.stack([level, sign * g / c * level, 0 * y]).astype(np.complex128)
        assert isinstance(self.kind, int)
        across = self.kind * np.pi / channel.width
        v, slope = np.sin(across * y), across * np.cos(across * y)
        # Gill, Atmosphere-Ocean Dynamics, 1982, section 10.5: momentum along x and continuity, solved for u and eta.
        level = 1j * depth * (k * f * v - omega * slope) / (omega**2 - (c * k) ** 2)
        return np.stack([level, (1j * f * v + g * k * level) / omega, v.astype(np.complex128)])


def free_waves(channel: WaveChannel, *, highest_mode: int, shortest_period: float) -> list[Wave]:
    """All waves of a channel whose period is long enough to be told apart by a given sampling.

    Parameters
    ----------
    highest_mode
        Of the Poincare waves; 0 leaves the Kelvin waves alone.
    shortest_period
        s.

    Raises
    ------
    ValueError
        If there is none.
    """
    # No wave is slower than the Kelvin wave at its wavenumber.
    most = int(channel.length / (channel.wave_speed * shortest_period))
    waves = [
        Wave(channel, kind, sign * n) for kind, sign in ((SOUTH, 1), (NORTH, -1)) for n in range(1, most + 1)
    ]
    waves += [Wave(channel, mode, n) for mode in range(1, highest_mode + 1) for n in range(-most, most + 1)]
    kept = [wave for wave in waves if wave.frequency * shortest_period <= 2 * np.pi * (1 + 1e-12)]
    if not kept:
        raise ValueError(
            f"the channel, {channel.length / 1e3:g} km long and {channel.width / 1e3:g} km wide, has no wave with a "
            f"period of {shortest_period / 3600:g} h or more; make it longer, shallower, or allow shorter periods."
        )
    return kept


def random_amplitudes(
    waves: Sequence[Wave], *, energy: float, slope: float, seed: int | Sequence[int]
) -> NDArray[np.complex128]:
    """Normal complex amplitudes with independent phases, ``[wave]``.

    Parameters
    ----------
    energy
        Mean over many draws of the energy of all waves together, see :meth:`Wave.structure`, m3 s-2.
    slope
        Of the mean energy of a wave over its frequency: it goes with ``omega^slope``; 0 gives all waves the same.
    seed
        The same seed gives the same amplitudes.
    """
    share = np.array([wave.frequency for wave in waves]) ** slope
    share *= energy / share.sum()
    real, imaginary = np.random.default_rng(seed).standard_normal((2, len(waves)))
    return np.sqrt(share / 2) * (real + 1j * imaginary)


def superpose(
    waves: Sequence[Wave], amplitudes: ArrayLike, *, time: ArrayLike, y: ArrayLike, x: ArrayLike
) -> Array:
    """Level (m), eastward and northward current (m s-1) of several waves, ``[3, time, y, x]``.

    Parameters
    ----------
    amplitudes
        Complex, ``[wave]``; the energy of a wave is the square of its amplitude's modulus.
    time
        s, ``[time]``.
    y, x
        Distance from the southern wall, and along the channel, m, ``[y]`` and ``[x]``.
    """
    time, x = np.asarray(time, dtype=np.float64), np.asarray(x, dtype=np.float64)
    frequency = np.array([wave.frequency for wave in waves])
    wavenumber = np.array([wave.wavenumber for wave in waves])
    turn = np.asarray(amplitudes) * np.exp(-1j * np.outer(time, frequency))
    across = np.stack([wave.structure(y) for wave in waves], axis=-1)
    along = np.exp(1j * np.outer(wavenumber, x))
    parts = turn[None, :, None] * across[:, None]
    return np.ascontiguousarray(np.real(parts @ along))
