"""Whether a forecast keeps its motion: energy, enstrophy and volume over those of the truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import Current, currents_of, level_of
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.cell_sums import Cells
from oceanop.metrics import Sums
from oceanop.verification.circulation import Corners
from oceanop.verification.flow import MotionSums, VolumeSums

KINETIC, WHOLE, ENSTROPHY, VOLUME = "kinetic", "whole", "enstrophy", "volume"
DEPTH_MEANS = "ubar+vbar"


def _energy_ratio(sums: Sums) -> Tensor:
    return sums.statistic("squared_forecast") / sums.statistic("squared_truth")


KINDS = {
    KINETIC: Kind(Sums, {"kinetic_energy_ratio": _energy_ratio}),
    WHOLE: Kind(MotionSums, {"energy_ratio": MotionSums.over_truth}),
    ENSTROPHY: Kind(MotionSums, {"enstrophy_ratio": MotionSums.over_truth}),
    VOLUME: Kind(
        VolumeSums,
        {"mean_level_bias": VolumeSums.mean_level_bias, "mean_level_error": VolumeSums.mean_level_error},
    ),
}


@dataclass(frozen=True, eq=False)
class _Counter:
    """Of one evaluation: the cells of every channel, corners of each current, and depth where all are held."""

    cells: Cells
    level: int | None
    currents: list[tuple[Current, Corners]]
    depth: Tensor | None
    weight: Tensor

    def __call__(self, block: Block) -> Iterator[Part]:
        turning = [self._vorticity(block.truth, *each) for each in self.currents]
        for name, forecast in block.forecasts.items():
            sums = self.cells.sums(forecast, block.truth).values[..., 0]
            for (current, corners), true in zip(self.currents, turning, strict=True):
                squares = Sums(sums[:, [current.east, current.north]].sum(1)[:, None])
                yield Part(KINETIC, name, current.name, squares)
                own = self._vorticity(forecast, current, corners)
                # Not the area of the cells around: a corner whose vorticity is not known has none
                weight = corners.area * own.isfinite() * true.isfinite()
                yield Part(ENSTROPHY, name, current.name, _banded(MotionSums.of(own, true, weight)))
                if self.depth is not None and current.name == DEPTH_MEANS and self.level is not None:
                    channels = [self.level, current.east, current.north]
                    whole = MotionSums.shallow_water(
                        forecast[channels], block.truth[channels], self.depth, self.weight[self.level]
                    )
                    yield Part(WHOLE, name, "+".join(["zos", current.name]), _banded(whole))
            if self.level is not None:
                known = sums[:, self.level]
                yield Part(VOLUME, name, "zos", _volume(Sums(known)))

    def _vorticity(self, fields: Tensor, current: Current, corners: Corners) -> Tensor:
        return corners.vorticity(fields[current.east], fields[current.north])


def _banded(sums: MotionSums) -> MotionSums:
    return MotionSums(sums.values[:, None])


def _volume(sums: Sums) -> VolumeSums:
    """The same sums as :meth:`VolumeSums.of` takes, from those of the cells, ``[statistic, 1, lead]``."""
    known = (sums.statistic("weight") > 0).double()
    above = sums.bias().nan_to_num(nan=0.0)
    return VolumeSums(torch.stack([known, known, above, above.square()])[:, None])


class Motion:
    """Energy, enstrophy and volume by lead."""

    name = "motion"
    whole_starts = False
    methods: Mapping[str, Method] = {
        "kinetic_energy_ratio": Method(
            "kinetic_energy_ratio-1",
            long_name="area mean of the squared current near the surface over that of the truth",
            source="Gill, Atmosphere-Ocean Dynamics, 1982, section 5.7, kinetic energy of a layer of one depth",
            interval=INTERVAL,
        ),
        "energy_ratio": Method(
            "energy_ratio-1",
            long_name="energy of level and depth-mean current, (g zos^2 + h (ubar^2 + vbar^2)) / 2, over that of the "
            "truth",
            source="Gill, Atmosphere-Ocean Dynamics, 1982, section 5.7",
            interval=INTERVAL,
        ),
        "enstrophy_ratio": Method(
            "enstrophy_ratio-1",
            long_name="area mean of the squared relative vorticity near the surface over that of the truth, at corners "
            "of cells with water in all four",
            source="Stokes' theorem around four centres; Pedlosky, Geophysical Fluid Dynamics, 1987, section 3.26",
            weighting="area between the centres of cells",
            interval=INTERVAL,
        ),
        "mean_level_bias": Method(
            "mean_level_bias-1",
            units="m",
            long_name="mean over starts of the forecast's mean level above the truth's",
            source="volume over area: conservation of mass in water of constant density",
            interval=INTERVAL,
        ),
        "mean_level_error": Method(
            "mean_level_error-1",
            units="m",
            long_name="root mean square over starts of the forecast's mean level above the truth's",
            source="volume over area: conservation of mass in water of constant density",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None where there is neither level nor current."""
        level, currents = level_of(scene.layout), currents_of(scene.layout)
        if level is None and not currents:
            return None
        known = [
            (current, Corners.of(scene.grid, (scene.wet[current.east] & scene.wet[current.north]).numpy()))
            for current in currents
        ]
        depth = None
        if "deptho" in scene.truth.data_vars:
            depth = torch.from_numpy(np.nan_to_num(scene.truth["deptho"].to_numpy().astype(np.float64)))
        counter = _Counter(Cells.of(scene.weight), level, known, depth, scene.weight)
        return SumsTally(scene, KINDS, counter)
