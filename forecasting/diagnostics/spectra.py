"""Forecast and truth scale by scale: by the basin's own modes, or by waves in its largest box of open water."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import currents_of, scalars_of
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.spectra import BasinModes, basin_modes
from oceanop.verification.crossing import effective_resolution
from oceanop.verification.scales import BandSums, Box, Octaves, largest_box, mode_sums

MODES, BOX = "spectra", "box-spectra"
LIMIT = 0.5
KILOMETRE = 1e3


@dataclass(frozen=True, eq=False)
class _InModes:
    modes: BasinModes
    octaves: Octaves

    def __call__(self, forecast: Tensor, truth: Tensor) -> BandSums:
        return mode_sums(self.modes, forecast.numpy(), truth.numpy(), self.octaves)


@dataclass(frozen=True, eq=False)
class _InBox:
    box: Box

    def __call__(self, forecast: Tensor, truth: Tensor) -> BandSums:
        return self.box.sums(forecast, truth)


@dataclass(frozen=True, eq=False)
class _Counter:
    kind: str
    sums: Callable[[Tensor, Tensor], BandSums]
    channels: dict[str, list[int]]
    wet: Tensor

    def __call__(self, block: Block) -> Iterator[Part]:
        for variable, channels in self.channels.items():
            truth = block.truth[channels]
            # A lead without a truth counts nothing; one that the truth holds in part would be another sea
            known = (truth.isfinite() | ~self.wet).flatten(-2).all(-1).all(0)
            if not known.any():
                continue
            for name, forecast in block.forecasts.items():
                found = self.sums(forecast[channels][:, known], truth[:, known]).values.sum(1)
                values = found.new_zeros(found.shape[0], found.shape[-1], len(known))
                values[..., known] = found.movedim(1, -1)
                yield Part(self.kind, name, variable, BandSums(values))


@dataclass(frozen=True)
class _Resolution:
    """Effective resolution in km by one of the scores of bands."""

    score: Callable[[BandSums], Tensor]
    middles: tuple[float, ...]

    def __call__(self, sums: BandSums) -> Tensor:
        found = effective_resolution(self.score(sums), self.middles, LIMIT)
        return found / KILOMETRE


def _methods(prefix: str, how: str, source: str, weighting: str) -> dict[str, Method]:
    base = Method("", source=source, weighting=weighting, interval=INTERVAL)
    told = {
        "power_ratio": (
            f"power of the forecast over that of the truth in an octave of wavelengths, {how}",
            "1",
        ),
        "coherence": (
            f"magnitude-squared coherence of forecast and truth in an octave of wavelengths, {how}",
            "1",
        ),
        "resolved_share": (
            f"one less the error's power over the truth's in an octave of wavelengths, {how}",
            "1",
        ),
        "effective_resolution": (
            f"wavelength down to which the resolved share stays at {LIMIT} or above, {how}; the shortest octave's "
            "middle where it never falls below, which means at least so short",
            "km",
        ),
        "coherent_resolution": (
            f"wavelength down to which the coherence stays at {LIMIT} or above, {how}; the shortest octave's middle "
            "where it never falls below, which means at least so short",
            "km",
        ),
    }
    sources = {
        "coherence": "Bendat and Piersol, Random Data, 2010, section 6.1; ",
        "effective_resolution": "Ballarotta et al., Ocean Science 15, 2019, section 3; ",
        "coherent_resolution": "Bendat and Piersol, Random Data, 2010, section 6.1; ",
    }
    return {
        prefix + metric: replace(
            base,
            version=f"{prefix}{metric}-1",
            units=units,
            long_name=words,
            source=sources.get(metric, "") + source,
        )
        for metric, (words, units) in told.items()
    }


def _kind(prefix: str, octaves: Octaves) -> Kind:
    middles = tuple(octaves.middles)
    return Kind(
        BandSums,
        {
            f"{prefix}power_ratio": BandSums.power_ratio,
            f"{prefix}coherence": BandSums.coherence,
            f"{prefix}resolved_share": BandSums.resolved,
        },
        tuple(octaves.labels("km", KILOMETRE)),
        over_bands={
            f"{prefix}effective_resolution": _Resolution(BandSums.resolved, middles),
            f"{prefix}coherent_resolution": _Resolution(BandSums.coherence, middles),
        },
    )


def _channels(scene: Scene) -> dict[str, list[int]]:
    """Surface channels by row of the table."""
    uppermost = {name: channels[:1] for name, channels in scalars_of(scene.layout).items()}
    return uppermost | {each.name: [each.east, each.north] for each in currents_of(scene.layout)}


class BasinSpectra:
    """Scores by octave of wavelength over the whole basin, by lead."""

    name = MODES
    whole_starts = False
    needs = "a basin that holds an octave of wavelengths"
    methods: Mapping[str, Method] = _methods(
        "",
        "by eigenmodes of the Laplacian of the scored cells without flux through the coast",
        "modes as in oceanop.spectra.basin_modes, on which no coast leaves a trace",
        "each mode alike, normalised by area; near the surface",
    )

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; it takes seconds, for the modes are found here."""
        cells = scene.wet.all(0)
        if int(cells.sum()) < 2:
            return None
        modes = basin_modes(replace(scene.grid, mask=cells.numpy()))
        wavy = modes.wavenumber[modes.wavenumber > 1e-9]
        if not wavy.size:
            return None  # ponds of one cell each
        # The shortest modes of a grid are its own and not the sea's
        shortest = max(1 / wavy[-1], 2 * max(scene.grid.spacing))
        if 1 / wavy[0] < 2 * shortest:
            return None
        octaves = Octaves.between(1 / wavy[0], shortest)
        counter = _Counter(MODES, _InModes(modes, octaves), _channels(scene), cells)
        return SumsTally(scene, {MODES: _kind("", octaves)}, counter)


class BoxSpectra:
    """Scores by octave of wavelength in the largest rectangle of open water, by lead."""

    name = BOX
    whole_starts = False
    needs = "a rectangle of open water, 16 cells or more along its shorter side"
    methods: Mapping[str, Method] = _methods(
        "box_",
        "by Fourier transform of the largest rectangle of scored cells, mean and slope taken away, under a Hann window",
        "window after Harris, Proc. IEEE 66, 1978",
        "each wave alike; near the surface",
    )

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None where no rectangle holds an octave of waves."""
        box = largest_box(scene.wet.all(0).numpy(), scene.grid.spacing)
        sides = [count * distance for count, distance in zip(box.shape, box.spacing, strict=True)]
        if min(sides) / 4 < 4 * max(box.spacing):
            return None
        inside = torch.zeros(scene.grid.shape, dtype=torch.bool)
        inside[box.rows, box.columns] = True
        counter = _Counter(BOX, _InBox(box), _channels(scene), inside)
        return SumsTally(scene, {BOX: _kind("box_", box.octaves)}, counter)
