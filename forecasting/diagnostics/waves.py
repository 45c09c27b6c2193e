"""Whether a forecast's waves keep to the dispersion curves of a channel whose depth and rotation are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import currents_of, level_of
from forecasting.diagnostics.places import TRUTH, even
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.dispersion import HALF_WIDTH, energy_spectrum
from oceanop.verification.curves import CurveSums
from oceanop.waves import WaveChannel

SET = "waves"
HIGHEST_MODE = 3
LEAST_LEADS = 24
TELLING = 0.5  # curves near which half of the plane lies tell nothing
DEPTH_MEANS = "ubar+vbar"
NEEDED = ("coriolis_parameter", "gravity", "depth", "grid_spacing")
WHAT = (
    f"within {HALF_WIDTH} bins of frequency of the Kelvin wave or of Poincare modes 1 to {HIGHEST_MODE} of a channel "
    "periodic along x, Hann window over the leads of each start"
)


@dataclass(eq=False)
class _Counter:
    channel: WaveChannel
    rows: Tensor
    channels: list[int]
    spacing: float
    time_step: float
    held: dict[str, list[Tensor]] = field(default_factory=dict)

    def __call__(self, block: Block) -> Iterator[Part]:
        if block.leads.start == 0:
            self.held = {}
        for name, fields in {TRUTH: block.truth, **block.forecasts}.items():
            self.held.setdefault(name, []).append(fields[self.channels][:, :, self.rows])
        if not block.last:
            return
        states = {name: torch.cat(parts, 1).double().numpy() for name, parts in self.held.items()}
        self.held = {}
        if not np.isfinite(states[TRUTH]).all():
            return
        spectra = {
            name: energy_spectrum(
                *state,
                depth=self.channel.depth,
                time_step=self.time_step,
                spacing=self.spacing,
                gravity=self.channel.gravity,
            )
            for name, state in states.items()
        }
        truth = spectra.pop(TRUTH)
        curves = self.channel.frequencies(truth.wavenumber, HIGHEST_MODE)
        for name, spectrum in spectra.items():
            sums = CurveSums.of(spectrum, truth, curves)
            yield Part(SET, name, f"zos+{DEPTH_MEANS}", CurveSums(sums.values[:, None]))


class Waves:
    """Share of the energy on the dispersion curves, all leads of a start together."""

    name = SET
    whole_starts = True
    needs = (
        "a truth that is a channel, periodic along x and of one depth, with sea level "
        "and depth-mean current, and 24 leads or more"
    )
    methods: Mapping[str, Method] = {
        metric: Method(
            f"{metric}-1",
            long_name=f"{words} {WHAT}",
            source="Gill, Atmosphere-Ocean Dynamics, 1982, sections 10.4 and 10.5",
            weighting="each wave alike",
            interval=INTERVAL,
        )
        for metric, words in (
            ("share_on_curves", "share of the energy"),
            ("true_share_on_curves", "share of the truth's energy"),
            ("share_by_chance", "share of white noise"),
        )
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None but for a periodic channel of one depth, with level and depth-mean currents."""
        told = {name: scene.truth.attrs.get(name) for name in NEEDED}
        level = level_of(scene.layout)
        currents = [each for each in currents_of(scene.layout) if each.name == DEPTH_MEANS]
        step = float(scene.time_step)
        if None in told.values() or level is None or not currents or len(scene.lead_hours) < LEAST_LEADS:
            return None
        channels = [level, currents[0].east, currents[0].north]
        rows = scene.wet[channels].all(0).all(1)
        if not rows.any() or not even(scene.lead_hours, step / 3600):
            return None
        # A row with ocean and land is the coast of another sea than a channel
        if scene.wet[channels].all(0).any(1).sum() != rows.sum():
            return None
        # The cells are squares of a plane: positions on the globe are nominal
        numbers = {name: float(value) for name, value in told.items() if value is not None}
        spacing = numbers.pop("grid_spacing")
        channel = WaveChannel(
            length=scene.grid.shape[1] * spacing, width=int(rows.sum()) * spacing, **numbers
        )
        counter = _Counter(channel, rows, channels, spacing, step)
        if _chance(scene, counter) > TELLING:
            return None
        scores = {
            "share_on_curves": CurveSums.share,
            "true_share_on_curves": CurveSums.true_share,
            "share_by_chance": CurveSums.chance,
        }
        return SumsTally(scene, {SET: Kind(CurveSums, scores, by_lead=False)}, counter)


def _chance(scene: Scene, counter: _Counter) -> float:
    """Share of the plane of frequency and wavenumber that lies near the curves."""
    still = np.zeros((3, len(scene.lead_hours), 1, scene.grid.shape[1]))
    spectrum = energy_spectrum(
        *still, depth=counter.channel.depth, time_step=counter.time_step, spacing=counter.spacing
    )
    curves = counter.channel.frequencies(spectrum.wavenumber, HIGHEST_MODE)
    return CurveSums.of(spectrum, spectrum, curves).statistic("chance").item()
