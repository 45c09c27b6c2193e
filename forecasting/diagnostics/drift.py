"""Where water would go in the current of a forecast, and how far that is from where it goes in the truth's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import Current, currents_of
from forecasting.diagnostics.places import some
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.verification.drift import DriftSums, Tracer, Twins

SET = "drift"
RELEASED = 256
WHAT = (
    "particles released at up to 256 cells drawn from all, at the first lead of each start, carried by the current "
    "near the surface (Runge-Kutta, linear in time, bilinear between ocean cells) while those of the truth are afloat"
)


@dataclass(eq=False)
class _Counter:
    current: Current
    tracer: Tracer
    rows: Tensor
    columns: Tensor
    hours: np.ndarray
    twins: Twins | None = None

    def __call__(self, block: Block) -> Iterator[Part]:
        if block.leads.start == 0:
            self.twins = Twins(self.tracer, self.rows, self.columns)
        channels = [self.current.east, self.current.north]
        truth = block.truth[channels]
        for lead, place in enumerate(range(*block.leads.indices(len(self.hours)))):
            there = truth[:, lead]
            if self.twins is None or not there[:, self.tracer.wet].isfinite().all():
                # Nobody knows where particles are after a time without a truth
                self.twins = None
                return
            seconds = 3600 * float(self.hours[place] - self.hours[place - 1]) if place else 0.0
            own = {name: fields[channels][:, lead] for name, fields in block.forecasts.items()}
            for name, sums in self.twins.advance(there, own, seconds).items():
                values = sums.values.new_zeros(len(sums.names), 1, truth.shape[1])
                values[:, 0, lead] = sums.values
                yield Part(SET, name, self.current.name, DriftSums(values))


def _kilometres(sums: DriftSums) -> Tensor:
    return sums.separation() / 1e3


def _rms_kilometres(sums: DriftSums) -> Tensor:
    return sums.rms_separation() / 1e3


class Drift:
    """Separation and skill of drift, by lead."""

    name = SET
    whole_starts = True
    needs = "a current, and two leads or more"
    methods: Mapping[str, Method] = {
        "drift_separation": Method(
            "drift_separation-1",
            units="km",
            long_name=f"mean distance of twins: {WHAT}",
            source="Liu and Weisberg, J. Geophys. Res. 116, 2011, C09013",
            weighting="each particle alike",
            interval=INTERVAL,
        ),
        "drift_rms_separation": Method(
            "drift_rms_separation-1",
            units="km",
            long_name=f"root mean square distance of twins: {WHAT}",
            source="Liu and Weisberg, J. Geophys. Res. 116, 2011, C09013",
            weighting="each particle alike",
            interval=INTERVAL,
        ),
        "drift_skill": Method(
            "drift_skill-1",
            long_name="mean of one less the summed distance of twins over the summed length of the true path, 0 where "
            f"that is negative: {WHAT}",
            source="Liu and Weisberg, J. Geophys. Res. 116, 2011, C09013, equations 2 and 3, tolerance 1",
            weighting="each particle alike",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None without a current or with a single lead."""
        currents = currents_of(scene.layout)
        if not currents or len(scene.lead_hours) < 2 or min(scene.grid.shape) < 2:
            return None
        current = currents[0]
        wet = (scene.wet[current.east] & scene.wet[current.north]).numpy()
        rows, columns = some(wet, most=RELEASED)
        if not len(rows):
            return None
        counter = _Counter(current, Tracer.of(scene.grid, wet), rows, columns, np.asarray(scene.lead_hours))
        scores = {
            "drift_separation": _kilometres,
            "drift_rms_separation": _rms_kilometres,
            "drift_skill": DriftSums.skill,
        }
        return SumsTally(scene, {SET: Kind(DriftSums, scores)}, counter)
