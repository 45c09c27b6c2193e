"""How fast shallow-water waves turn at each wavenumber, and how much of a field's energy keeps to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oceanop.constants import GRAVITY

Array = NDArray[np.float64]

HALF_WIDTH = (
    2  # bins from the centre of a Hann window's main lobe to its first zero (Harris, Proc. IEEE 66, 1978)
)


def kelvin_frequency(wavenumber: ArrayLike, *, depth: float, gravity: float = GRAVITY) -> Array:
    """Frequency of a Kelvin wave, ``omega = c |k|`` with ``c = sqrt(g H)``.

    It runs along a wall, which in the northern hemisphere lies to its right, and knows no rotation along it (Gill,
    Atmosphere-Ocean Dynamics, 1982, section 10.4).

    Parameters
    ----------
    wavenumber
        Along the wall, rad m-1, any shape.
    depth
        m.
    gravity
        m s-2.

    Returns
    -------
    rad s-1, shape of ``wavenumber``.
    """
    return np.sqrt(gravity * depth) * np.abs(np.asarray(wavenumber, dtype=np.float64))


def poincare_frequency(
    wavenumber: ArrayLike,
    mode: int,
    *,
    depth: float,
    width: float,
    coriolis_parameter: float,
    gravity: float = GRAVITY,
) -> Array:
    """Frequency of a Poincare wave in a channel, ``omega^2 = f^2 + g H (k^2 + (n pi / L)^2)``.

    Between two walls the flow across the channel has ``n`` half waves (Gill, Atmosphere-Ocean Dynamics, 1982,
    section 10.5).

    Parameters
    ----------
    wavenumber
        Along the channel, rad m-1, any shape.
    mode
        Number of half waves across, from 1.
    depth, width
        m.
    coriolis_parameter
        rad s-1.
    gravity
        m s-2.

    Returns
    -------
    rad s-1, shape of ``wavenumber``.

    Raises
    ------
    ValueError
        If there is no such mode.
    """
    if mode < 1:
        raise ValueError(
            f"Poincare mode is {mode}; they count from 1, and the Kelvin wave stands in for mode 0."
        )
    across = mode * np.pi / width
    along = np.asarray(wavenumber, dtype=np.float64)
    return np.sqrt(coriolis_parameter**2 + gravity * depth * (along**2 + across**2))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power of a field by frequency and wavenumber along x.

    Attributes
    ----------
    power
        In the field's unit squared; sums up to its mean square, ``[frequency, wavenumber]``.
    frequency
        rad s-1, from 0 on, ``[frequency]``.
    wavenumber
        rad m-1, increasing, ``[wavenumber]``: positive where crests move towards increasing x.
    noise
        Power in each bin of white noise with mean square 1, ``[frequency]``.
    """

    power: Array
    frequency: Array
    wavenumber: Array
    noise: Array

    def __add__(self, other: "Spectrum") -> "Spectrum":
        assert np.array_equal(self.frequency, other.frequency)
        assert np.array_equal(self.wavenumber, other.wavenumber)
        return replace(self, power=self.power + other.power)

    def __mul__(self, factor: float) -> "Spectrum":
        return replace(self, power=factor * self.power)

    __rmul__ = __mul__


def spectrum(field: ArrayLike, *, time_step: float, spacing: float) -> Spectrum:
    """Power by frequency and wavenumber of a field that is periodic along x.

    A Hann window in time keeps a wave within :data:`HALF_WIDTH` bins of its frequency however it fits the record; the
    power is divided by the window's mean square, so that a record in which the energy is the same throughout keeps it.
    Nothing is taken off the field: what does not move stands at frequency 0.

    Parameters
    ----------
    field
        ``[time, x]`` or ``[time, y, x]``; rows are averaged.
    time_step
        s.
    spacing
        Of the cells along x, m.

    Returns
    -------
    Spectrum
        Its sum is the mean square of the field, each time counted by the square of the window.

    Raises
    ------
    ValueError
        If the field has other dimensions, fewer than four times, or holds a number that is not finite.
    """
    values = np.asarray(field, dtype=np.float64)
    if values.ndim not in (2, 3) or values.shape[0] < 4:
        raise ValueError(
            f"the field has shape {values.shape}; expected [time, x] or [time, y, x] with at least 4 times."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            "the field holds numbers that are not finite; leave out land rows and broken forecasts."
        )
    rows = values[:, None] if values.ndim == 2 else values
    steps, _, columns = rows.shape
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(steps) / steps)
    window /= np.sqrt(np.mean(window**2))
    transform = np.fft.fft(np.fft.rfft(window[:, None, None] * rows, axis=0), axis=-1) / (steps * columns)
    # A real field has each wave twice, once with both signs turned; the first and an even record's last frequency once.
    waves = np.full(len(transform), 2.0)
    waves[0] = 1.0
    if steps % 2 == 0:
        waves[-1] = 1.0
    # The transform's waves are exp(i (k x + omega t)): crests that move towards increasing x have k < 0 there.
    number = -np.fft.fftfreq(columns, 1 / columns)
    order = np.argsort(number)
    return Spectrum(
        power=(waves[:, None] * np.mean(np.abs(transform) ** 2, axis=1))[:, order],
        frequency=np.asarray(2 * np.pi * np.fft.rfftfreq(steps, time_step), dtype=np.float64),
        wavenumber=number[order] * 2 * np.pi / (columns * spacing),
        noise=waves / (steps * columns),
    )


def energy_spectrum(
    level: ArrayLike,
    eastward: ArrayLike,
    northward: ArrayLike,
    *,
    depth: float,
    time_step: float,
    spacing: float,
    gravity: float = GRAVITY,
) -> Spectrum:
    """Energy of shallow water by frequency and wavenumber, ``(g eta^2 + H (u^2 + v^2)) / 2`` in m3 s-2.

    Times the density of water it is the energy over a unit of area (Gill, 1982, section 5.7).

    Parameters
    ----------
    level
        Height of the surface over rest, m, ``[time, y, x]``.
    eastward, northward
        Depth-mean current, m s-1, shape of ``level``.
    depth
        At rest, m.
    time_step, spacing
        See :func:`spectrum`.
    gravity
        m s-2.
    """
    of = [spectrum(field, time_step=time_step, spacing=spacing) for field in (level, eastward, northward)]
    return 0.5 * gravity * of[0] + 0.5 * depth * (of[1] + of[2])


def near_curves(of: Spectrum, curves: Sequence[ArrayLike], bins: float = HALF_WIDTH) -> NDArray[np.bool_]:
    """Which bins lie on a dispersion curve.

    Parameters
    ----------
    curves
        Frequency of each at the wavenumbers of the spectrum, rad s-1, ``[wavenumber]``; NaN where there is none.
    bins
        How far from a curve a bin may lie, in steps of frequency.

    Returns
    -------
    ``[frequency, wavenumber]``
    """
    reach = bins * of.frequency[1] * (1 + 1e-9)  # a bin right on the edge is inside, however it is rounded
    distance = [np.abs(of.frequency[:, None] - np.asarray(curve)[None]) for curve in curves]
    return np.logical_or.reduce([np.nan_to_num(away, nan=np.inf) <= reach for away in distance])


def share_on_curves(of: Spectrum, curves: Sequence[ArrayLike], bins: float = HALF_WIDTH) -> float:
    """Share of the power within so many bins of the dispersion curves, 0 to 1; arguments as :func:`near_curves`.

    Raises
    ------
    ValueError
        If there is no power at all.
    """
    total = of.power.sum()
    if not total > 0:
        raise ValueError(
            "the spectrum holds no power, so that no share of it lies anywhere; give a field that moves."
        )
    return float(of.power[near_curves(of, curves, bins)].sum() / total)


def share_by_chance(of: Spectrum, curves: Sequence[ArrayLike], bins: float = HALF_WIDTH) -> float:
    """Share that white noise would have near the curves: how much of the plane is near them.

    The share of a forecast means something by how far it lies above this one. Arguments as :func:`near_curves`.
    """
    return float((of.noise[:, None] * near_curves(of, curves, bins)).sum())


def kernel_norm(weight: ArrayLike, *, window: float, length: float) -> tuple[Array, Array, Array]:
    """Norm of a kernel over space and time at each frequency and wavenumber along x.

    Parameters
    ----------
    weight
        Of a :class:`oceanop.operators.spectral.SpectralConv` over (t, y, x), ``[t, y, x, in, out, 2]``.
    window, length
        Period of the convolution in time, s, and along x, m.

    Returns
    -------
    norm
        Root of the sum of squares over channels and wavenumbers across, ``[frequency, wavenumber]``.
    frequency
        rad s-1, from 0 on.
    wavenumber
        rad m-1, increasing, signed as in a :class:`Spectrum`.
    """
    square = np.square(np.asarray(weight, dtype=np.float64)).sum((1, 3, 4, 5))
    middle, highest = len(square) // 2, square.shape[1] - 1
    # Kept waves are exp(i (k x + omega t)) with k >= 0: crests move towards increasing x where omega < 0.
    forward, backward = square[middle::-1], square[middle:]
    kept = min(len(forward), len(backward))
    forward, backward = forward[:kept], backward[:kept]
    # Wavenumber 0 has no direction: both signs of its frequency are one wave.
    still = (forward[:, :1] + backward[:, :1]) / 2
    norm = np.sqrt(np.concatenate([backward[:, :0:-1], still, forward[:, 1:]], axis=1))
    frequency = 2 * np.pi / window * np.arange(kept, dtype=np.float64)
    wavenumber = 2 * np.pi / length * np.arange(-highest, highest + 1, dtype=np.float64)
    return norm, frequency, wavenumber
