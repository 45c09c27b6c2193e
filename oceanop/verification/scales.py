"""Forecast and truth scale by scale: how much power, how much of it in the right place."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from oceanop.spectra import BasinModes
from oceanop.verification.statistics import Statistics

LEAST_WAVES = 4  # in a box's shorter side


@dataclass(frozen=True, eq=False)
class BandSums(Statistics):
    """Sums over the waves of each band, ``[statistic, ..., band]``.

    ``count`` and ``weight`` are numbers of waves. Power adds up over bands to mean squares of the fields, or of these
    under a window.
    """

    names: ClassVar[tuple[str, ...]] = (
        "count",
        "weight",
        "squared_forecast",
        "squared_truth",
        "product",
        "squared_error",
    )

    @classmethod
    def of(cls, forecast: Tensor, truth: Tensor, waves: Tensor, band: Tensor, bands: int) -> Self:
        """Sums by band of amplitudes.

        Parameters
        ----------
        forecast, truth
            Real or complex, ``[..., wave]``.
        waves
            How many waves an amplitude stands for, ``[wave]``: 2 where that of its mirror image is left out.
        band
            Band of each amplitude, ``[wave]``; those outside 0 to ``bands`` - 1 are left out.
        """
        inside = (band >= 0) & (band < bands)
        own, true, many = forecast[..., inside], truth[..., inside], waves[inside].double()
        into = torch.zeros(len(many), bands, dtype=torch.float64)
        into[torch.arange(len(many)), band[inside]] = many
        squares = (
            own.abs().square(),
            true.abs().square(),
            (own * true.conj()).real,
            (own - true).abs().square(),
        )
        number = torch.ones_like(squares[0])
        return cls(torch.stack([each @ into for each in (number, number, *squares)]))

    def power_ratio(self) -> Tensor:
        """Power of the forecast over that of the truth: below 1 it is too smooth; NaN where the truth has none."""
        return self.ratio("squared_forecast", "squared_truth")

    def coherence(self) -> Tensor:
        """Magnitude-squared coherence, ``|sum F T*|^2 / (sum |F|^2 sum |T|^2)``, 0 to 1.

        Bendat and Piersol, Random Data, 4th ed. 2010, section 6.1, with sums over the waves of a band and over starts
        as expectation; of very few waves it is near 1 by chance.
        """
        squares = self.statistic("squared_forecast") * self.statistic("squared_truth")
        return self.statistic("product").square() / squares

    def resolved(self) -> Tensor:
        """One less the power of the error over that of the truth: 1 perfect, 0 no better than saying nothing."""
        return 1 - self.ratio("squared_error", "squared_truth")


BAND_METRICS: dict[str, Callable[[BandSums], Tensor]] = {
    "power_ratio": BandSums.power_ratio,
    "coherence": BandSums.coherence,
    "resolved_share": BandSums.resolved,
}


@dataclass(frozen=True)
class Octaves:
    """Bands of one octave each.

    Attributes
    ----------
    longest
        Wavelength or period with which the first band begins.
    number
        Of bands; the last ends at ``longest / 2 ** number``.
    """

    longest: float
    number: int

    @classmethod
    def between(cls, longest: float, shortest: float) -> Self:
        """As many whole octaves as lie between, in any unit; at least one."""
        return cls(longest, max(int(np.log2(longest / shortest) + 1e-9), 1))

    @property
    def edges(self) -> list[float]:
        """Wavelengths or periods between and around the bands, decreasing, ``[band + 1]``."""
        return [self.longest / 2**i for i in range(self.number + 1)]

    @property
    def middles(self) -> list[float]:
        """Geometric middle of each band, ``[band]``."""
        return [float(np.sqrt(a * b)) for a, b in pairwise(self.edges)]

    def labels(self, unit: str, scale: float = 1.0) -> list[str]:
        """Words for each band, such as ``200-100 km``, with the edges divided by ``scale``."""
        ends = [
            f"{edge / scale:.0f}" if edge >= 100 * scale else f"{edge / scale:.3g}" for edge in self.edges
        ]
        return [f"{a}-{b} {unit}" for a, b in pairwise(ends)]

    def band(self, inverse: Any) -> Tensor:
        """Band of each wavenumber or frequency in cycles; -1 for those longer, ``number`` for those shorter than all.

        The longer edge belongs to a band, and to the last one the shorter edge as well.
        """
        edges = 1 / np.asarray(self.edges)
        edges[0] *= 1 - 1e-9  # a wave right on an edge is where it belongs, however it is rounded
        edges[1:] *= 1 + 1e-9
        return torch.from_numpy(np.searchsorted(edges, np.asarray(inverse, np.float64), side="right") - 1)


def mode_sums(modes: BasinModes, forecast: Any, truth: Any, octaves: Octaves) -> BandSums:
    """Sums by octave of wavelength (m) over the modes of a basin of any shape.

    Parameters
    ----------
    forecast, truth
        ``[..., Y, X]``; land is not looked at.
    """
    own, true = (torch.from_numpy(modes.coefficients(np.asarray(each))) for each in (forecast, truth))
    band = octaves.band(modes.wavenumber)
    return BandSums.of(own, true, torch.ones(band.shape), band, octaves.number)


@dataclass(frozen=True, eq=False)
class Box:
    """A rectangle of ocean alone, which may be transformed without asking what stands on land.

    Attributes
    ----------
    rows, columns
        Of the grid.
    spacing
        Distance of centres along y and x, m.
    """

    rows: slice
    columns: slice
    spacing: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def octaves(self) -> Octaves:
        """From waves that fit four times into the shorter side to twice the larger distance of centres.

        Of longer ones the window makes too much: it smears each by a wave more or less in the box, and in the steep
        spectra of the sea the longer neighbour has many times the power.
        """
        sides = [count * distance for count, distance in zip(self.shape, self.spacing, strict=True)]
        return Octaves.between(min(sides) / LEAST_WAVES, 2 * max(self.spacing))

    def amplitudes(self, fields: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Amplitudes of the box's waves, its mean and slope taken away, under a Hann window along both sides.

        The window is scaled to a mean square of 1, so that it keeps the variance of what fills the box evenly; under
        it the squares of the amplitudes, each times the waves it stands for, add up to the mean square exactly.

        Parameters
        ----------
        fields
            ``[..., Y, X]``, finite in the box.

        Returns
        -------
        Amplitudes ``[..., wave]``, waves each stands for ``[wave]``, wavenumbers in cycles per metre ``[wave]``.
        """
        field = torch.as_tensor(fields)[..., self.rows, self.columns].to(torch.float64)
        height, width = self.shape
        y, x = (torch.linspace(-1.0, 1.0, count, dtype=torch.float64) for count in self.shape)
        flat = field - field.mean((-2, -1), keepdim=True)
        # Straight lines along y and along x are orthogonal to each other and to the mean on a full rectangle
        for line in (y[:, None].expand(self.shape), x[None].expand(self.shape)):
            flat = flat - line * ((flat * line).sum((-2, -1), keepdim=True) / line.square().sum())
        window = _hann(height)[:, None] * _hann(width)[None]
        waves = torch.fft.rfft2(flat * window) / (height * width)
        ky, kx = np.fft.fftfreq(height, self.spacing[0]), np.fft.rfftfreq(width, self.spacing[1])
        return (
            waves.flatten(-2),
            _multiplicity(width).expand(height, -1).flatten(),
            torch.from_numpy(np.hypot(ky[:, None], kx[None]).ravel()),
        )

    def sums(self, forecast: Any, truth: Any, octaves: Octaves | None = None) -> BandSums:
        """Sums by octave of wavelength, of fields ``[..., Y, X]``."""
        bands = octaves or self.octaves
        own, many, wavenumber = self.amplitudes(forecast)
        true, _, _ = self.amplitudes(truth)
        return BandSums.of(own, true, many, bands.band(wavenumber), bands.number)


def largest_box(mask: Any, spacing: tuple[float, float]) -> Box:
    """The largest rectangle of ocean alone, the northernmost in the file of several; of no ocean none.

    Raises
    ------
    ValueError
        If there is no ocean.
    """
    wet = np.asarray(mask, bool)
    if not wet.any():
        raise ValueError(
            "the grid has no ocean, so no box of it could be transformed; give a grid with an ocean."
        )
    heights = np.zeros(wet.shape[1], dtype=np.int64)
    best, found = 0, (slice(0, 0), slice(0, 0))
    for row, line in enumerate(wet):
        heights = np.where(line, heights + 1, 0)
        open_: list[
            tuple[int, int]
        ] = []  # first column and height of rectangles that still grow to the right
        for column, height in enumerate([*heights.tolist(), 0]):
            first = column
            while open_ and open_[-1][1] >= height:
                first, tall = open_.pop()
                if tall * (column - first) > best:
                    best = tall * (column - first)
                    found = (slice(row + 1 - tall, row + 1), slice(first, column))
            open_.append((first, height))
    return Box(*found, spacing)


def series_sums(forecast: Any, truth: Any, weight: Any, *, time_step: float, octaves: Octaves) -> BandSums:
    """Sums by octave of period (s) over places, each by its weight.

    Parameters
    ----------
    forecast, truth
        ``[place, time]``, finite; mean and trend are taken away, and a Hann window of mean square 1 laid over.
    weight
        ``[place]``; shares of their sum are used.
    time_step
        s.

    Returns
    -------
    ``[statistic, band]``; ``weight`` counts waves.
    """
    share = torch.as_tensor(weight).to(torch.float64)
    own, true = (_series_waves(torch.as_tensor(each).to(torch.float64)) for each in (forecast, truth))
    steps = torch.as_tensor(truth).shape[-1]
    band = octaves.band(np.fft.rfftfreq(steps, time_step))
    root = (share / share.sum()).sqrt()[:, None]
    sums = BandSums.of(own * root, true * root, _multiplicity(steps), band, octaves.number)
    return BandSums(sums.values.sum(1))


def _series_waves(series: Tensor) -> Tensor:
    steps = series.shape[-1]
    line = torch.linspace(-1.0, 1.0, steps, dtype=torch.float64)
    flat = series - series.mean(-1, keepdim=True)
    flat = flat - line * ((flat * line).sum(-1, keepdim=True) / line.square().sum())
    return torch.fft.rfft(flat * _hann(steps)) / steps


def _hann(count: int) -> Tensor:
    """Hann window with a mean square of 1, symmetric about the middle."""
    window = 0.5 - 0.5 * torch.cos(2 * np.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return window / window.square().mean().sqrt()


def _multiplicity(count: int) -> Tensor:
    """Waves that each amplitude of a real transform of so many values stands for."""
    many = torch.full((count // 2 + 1,), 2.0, dtype=torch.float64)
    many[0] = 1.0
    if count % 2 == 0:
        many[-1] = 1.0
    return many
