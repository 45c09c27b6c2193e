"""Scores of the Baltic experiment: forecasts are met lead by lead with the truth, and none is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting.forecaster import Forecaster
from forecasting.ratios import SPECTRUM, Collector, Key, StartSums
from forecasting.windows import run_forecaster
from oceanop import Grid
from oceanop.budgets import basin_energy, mean_level
from oceanop.gauges import FARTHEST, gauge_cells
from oceanop.layout import Layout
from oceanop.spectra import BasinModes, basin_modes

Array = NDArray[np.float64]

STATE = ("zos", "ubar", "vbar")
CURRENT = "ubar+vbar"
ENERGY: Key = ("energy_ratio", "energy", "all")
WAVELENGTHS = (800, 400, 200, 100, 60)  # km, between bands; those near or below the grid's own are left out
SPECTRAL_LEADS = (1, 6, 24, 50, 100, 240)  # h
LONG_MODES = 48  # of which amplitudes are kept over long forecasts: longer than some 250 km
LEAST_PEAK = 0.01  # of the highest power at any frequency: the window's own ripples are ten times lower
BLOCK = 120  # hours of truth in memory


@dataclass(frozen=True)
class Settled:
    """A forecaster and what it reads."""

    forecaster: Forecaster
    layout: Layout


@dataclass(frozen=True, eq=False)
class Sea:
    """What scores are taken on.

    Attributes
    ----------
    area, depth
        m2 and m, ``[Y, X]``, land 0.
    gauges
        Rows and columns by name.
    modes
        Of the Laplacian.
    edges, bands
        Between bands of wavenumber, cycles per metre, and what the bands are called.
    """

    area: Array
    depth: Array
    gauges: Mapping[str, tuple[int, int]]
    modes: BasinModes
    edges: tuple[float, ...]
    bands: tuple[str, ...]

    @classmethod
    def of(cls, ds: xr.Dataset, gauges: Mapping[str, tuple[float, float]]) -> "Sea":
        """Of a store, with gauges at some places, degrees north and east."""
        grid = Grid.from_dataset(ds)
        modes = basin_modes(grid)
        # A band that no mode lies in would be a ratio of nothing
        shortest = 1e-3 / modes.wavenumber[-1]
        lengths = [each for each in WAVELENGTHS if each > 1.2 * shortest]
        ends = [f"over {lengths[0]} km", *(f"{b}-{a} km" for a, b in pairwise(lengths))]
        return cls(
            area=np.where(grid.mask, grid.cell_area, 0.0),
            depth=np.where(grid.mask, np.nan_to_num(ds["deptho"].to_numpy()), 0.0),
            gauges=gauge_cells(grid, gauges, farthest=max(FARTHEST, float(np.hypot(*grid.spacing)))),
            modes=modes,
            edges=tuple(1e-3 / length for length in lengths),
            bands=(*ends, f"under {lengths[-1]} km"),
        )

    def levels(self, zos: NDArray[Any]) -> Array:
        """At the gauges, ``[..., gauge]``."""
        rows, columns = np.transpose(list(self.gauges.values()))
        return np.asarray(zos[..., rows, columns], np.float64)


@dataclass
class Truth:
    """States of a store by step, a stretch of them in memory."""

    ds: xr.Dataset
    first: int = 0
    held: Array = field(default_factory=lambda: np.zeros((len(STATE), 0, 0, 0)))

    def at(self, step: int) -> Array:
        """``[variable, Y, X]``, land 0."""
        if not self.first <= step < self.first + self.held.shape[1]:
            part = self.ds[list(STATE)].isel(time=slice(step, step + BLOCK)).load()
            self.first = step
            self.held = np.nan_to_num(np.stack([part[name].to_numpy() for name in STATE]))
        return self.held[:, step - self.first].astype(np.float64)


@dataclass(frozen=True)
class Scored:
    """Sums by start and lead, and where asked for what stays of each forecast.

    Attributes
    ----------
    series
        ``gauges`` and ``amplitudes`` of the level, m, ``[start, lead, gauge or mode]``, and the truth's as
        ``true_gauges`` and ``true_amplitudes``.
    """

    sums: StartSums
    series: dict[str, Array] | None = None


def score(
    settled: Settled, ds: xr.Dataset, starts: NDArray[np.int64], leads: int, sea: Sea, *, series: bool = False
) -> Scored:
    """Run a forecaster from some steps of a store, and count."""
    collector = Collector(len(starts), [float(lead) for lead in range(1, leads + 1)])
    truth = Truth(ds)
    few = BasinModes(sea.modes.wavenumber, sea.modes.shapes[:LONG_MODES], sea.modes.share, sea.modes.mask)
    kept: dict[str, Array] = {}
    for number, state in run_forecaster(settled.forecaster, ds, settled.layout, starts.tolist(), leads):
        own = ordered(state.values.numpy(), settled.layout)
        true = truth.at(int(starts[number]) + state.lead)
        # A forecast that diverges meets numbers too large to square; they count as such and end the row
        with np.errstate(over="ignore", invalid="ignore"):
            for key, (above, below) in counted(own, true, sea, spectra=state.lead in SPECTRAL_LEADS).items():
                collector.add(key, number, state.lead, above, below)
            if series:
                for side, fields in (("", own), ("true_", true)):
                    for name, values in (
                        ("gauges", sea.levels(fields[0])),
                        ("amplitudes", few.coefficients(fields[0])),
                    ):
                        held = kept.setdefault(side + name, np.zeros((len(starts), leads, values.size)))
                        held[number, state.lead - 1] = values
    return Scored(collector.done(), kept if series else None)


def ordered(values: NDArray[Any], layout: Layout) -> Array:
    """Level and current in that order, ``[variable, Y, X]``."""
    names = [channel.variable for channel in layout.state]
    return values[[names.index(name) for name in STATE]].astype(np.float64)


def counted(own: Array, true: Array, sea: Sea, *, spectra: bool) -> dict[Key, tuple[float, float]]:
    """What one state adds above and below the line of each ratio."""
    square = ((own - true) ** 2 * sea.area).sum((-2, -1))
    area = float(sea.area.sum())
    at_gauges = (sea.levels(own[0]) - sea.levels(true[0])) ** 2
    energies = [basin_energy(*fields, depth=sea.depth, area=sea.area).total for fields in (own, true)]
    drift = mean_level(own[0] - true[0], area=sea.area)
    out: dict[Key, tuple[float, float]] = {
        ("rmse", "zos", "all"): (square[0], area),
        ("rmse", CURRENT, "all"): (square[1] + square[2], 2 * area),
        ("rmse", "zos", "gauges"): (at_gauges.sum(), at_gauges.size),
        **{("rmse", "zos", name): (each, 1.0) for name, each in zip(sea.gauges, at_gauges, strict=True)},
        ENERGY: (float(energies[0]), float(energies[1])),
        ("mean_level_error", "zos", "all"): (float(drift**2), 1.0),
    }
    if spectra:
        bands = [sea.modes.band_power(fields, sea.edges) for fields in (own, true)]
        for i, band in enumerate(sea.bands):
            out[SPECTRUM, "zos", band] = (bands[0][0, i], bands[1][0, i])
            out[SPECTRUM, CURRENT, band] = (bands[0][1:, i].sum(), bands[1][1:, i].sum())
    return out


def dominant_periods(
    levels: Array, *, shortest: float = 10.0, longest: float = 50.0, finer: int = 8
) -> Sequence[float]:
    """Period of the highest peak of each gauge's hourly series ``[time, gauge]``, h; NaN where no peak is inside.

    A Hann window, and frequencies between those of the window's length by zeros behind it.
    """
    steps = levels.shape[0]
    window = np.hanning(steps + 2)[1:-1, None]
    power = np.abs(np.fft.rfft((levels - levels.mean(0)) * window, n=finer * steps, axis=0)) ** 2
    frequency = np.fft.rfftfreq(finer * steps)
    peak = np.zeros(power.shape, dtype=bool)
    peak[1:-1] = (power[1:-1] > power[:-2]) & (power[1:-1] > power[2:])
    peak &= ((frequency >= 1 / longest) & (frequency <= 1 / shortest))[:, None]
    peak &= power > LEAST_PEAK * power.max(0)
    highest = np.where(peak, power, 0.0).argmax(0)
    return [float(1 / frequency[place]) if place else np.nan for place in highest]
