"""Whether a forecast keeps its motion and its water: energy and volume beside those of the truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import Current, currents_of, level_of
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.cell_sums import Cells
from oceanop.verification.flow import MotionSums, VolumeSums
from oceanop.verification.passes import square_sums

KINETIC, WHOLE, VOLUME = "kinetic", "whole", "volume"
DEPTH_MEANS = "ubar+vbar"


KINDS = {
    KINETIC: Kind(MotionSums, {"kinetic_energy_ratio": MotionSums.over_truth}),
    WHOLE: Kind(MotionSums, {"energy_ratio": MotionSums.over_truth}),
    VOLUME: Kind(
        VolumeSums,
        {"mean_level_bias": VolumeSums.mean_level_bias, "mean_level_error": VolumeSums.mean_level_error},
    ),
}


@dataclass(frozen=True, eq=False)
class _Counter:
    """Of one evaluation: the cells of every channel, currents, and depth where all are held."""

    cells: Cells
    level: int | None
    currents: list[Current]
    depth: Tensor | None
    weight: Tensor

    def __call__(self, block: Block) -> Iterator[Part]:
        for name, forecast in block.forecasts.items():
            for current in self.currents:
                channels = [current.east, current.north]
                east, north = (self._squares(i, forecast, block.truth)[:4] for i in channels)
                squares = east + north
                yield Part(KINETIC, name, current.name, _banded(squares))
                if self.depth is not None and current.name == DEPTH_MEANS and self.level is not None:
                    channels = [self.level, *channels]
                    whole = MotionSums.shallow_water(
                        forecast[channels], block.truth[channels], self.depth, self.weight[self.level]
                    )
                    yield Part(WHOLE, name, "+".join(["zos", current.name]), _banded(whole.values))
            if self.level is not None:
                yield Part(VOLUME, name, "zos", _volume(self._squares(self.level, forecast, block.truth)))

    def _squares(self, channel: int, forecast: Tensor, truth: Tensor) -> Tensor:
        return square_sums(self.cells, channel, forecast[channel], truth[channel])


def _banded(values: Tensor) -> MotionSums:
    return MotionSums(values[:, None])


def _volume(sums: Tensor) -> VolumeSums:
    """The same as :meth:`VolumeSums.of` gives, from the sums of the cells, ``[statistic, lead]``."""
    known = (sums[1] > 0).double()
    above = (sums[4] / sums[1]).nan_to_num(nan=0.0)
    return VolumeSums(torch.stack([known, known, above, above.square()])[:, None])


class Motion:
    """Energy and volume by lead."""

    name = "motion"
    whole_starts = False
    needs = "the sea level or a current"
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
        depth = None
        if "deptho" in scene.truth.data_vars:
            depth = torch.from_numpy(np.nan_to_num(scene.truth["deptho"].to_numpy().astype(np.float64)))
        counter = _Counter(Cells.of(scene.weight), level, currents, depth, scene.weight)
        return SumsTally(scene, KINDS, counter)
