"""What forecasts know beyond what is usual: anomaly correlation, skill over the climatology, useful lead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from forecasting.baselines.climatology import Climatology
from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.past import Past, usual
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from forecasting.scores import variable_groups
from oceanop.cell_sums import Cells
from oceanop.verification.anomaly import ANOMALY_METRICS, USEFUL, AnomalySums
from oceanop.verification.crossing import useful_lead

SET = "anomalies"
# States: the mean square error of their mean is that of the climate and 0.3 % of it, of one of 12 months 3 %; more take
# as long to read as a short evaluation
DRAWN = 360
OF = "from the mean, by season where there is one, of up to 360 states drawn from the split train"


@dataclass(frozen=True, eq=False)
class _Counter:
    scene: Scene
    climatology: Climatology
    cells: Cells

    def __call__(self, block: Block) -> Iterator[Part]:
        normal = usual(self.climatology, self.scene, block.start, block.leads)
        groups = variable_groups(self.scene.layout)
        for name, forecast in block.forecasts.items():
            values = AnomalySums.of(forecast, block.truth, normal, self.cells).values
            for variable, channels in groups.items():
                yield Part(SET, name, variable, AnomalySums(values[:, channels].sum(1)[:, None]))


class Anomalies:
    """Scores of anomalies from the climatology of the training time, by variable and lead."""

    name = SET
    whole_starts = False
    needs = "a split 'train' of two states or more in the truth"
    methods: Mapping[str, Method] = {
        "anomaly_correlation": Method(
            "anomaly_correlation-1",
            long_name=f"correlation, not centred, of anomalies {OF}",
            source="Wilks, Statistical Methods in the Atmospheric Sciences, 2011, section 8.6.4, uncentred form",
            interval=INTERVAL,
        ),
        "climatology_skill": Method(
            "climatology_skill-1",
            long_name=f"one less the mean square error over that of the climatology; anomalies {OF}",
            source="Murphy, Monthly Weather Review 116, 1988, with the climatology of each cell as reference",
            interval=INTERVAL,
        ),
        "activity_ratio": Method(
            "activity_ratio-1",
            long_name=f"root mean square of forecast over that of true anomalies {OF}",
            source="Thorpe et al., ECMWF Newsletter 137, 2013: forecast activity, as a ratio",
            interval=INTERVAL,
        ),
        "useful_lead_correlation": Method(
            "useful_lead_correlation-1",
            units="hours",
            long_name=f"lead up to which the anomaly correlation stays at {USEFUL} or above; 0 where the first lead "
            "does not, and the longest lead where all do, which means at least so long",
            source="Hollingsworth et al., Monthly Weather Review 108, 1980, for the limit; linear between leads",
            interval=INTERVAL,
        ),
        "useful_lead_skill": Method(
            "useful_lead_skill-1",
            units="hours",
            long_name="lead up to which the climatology is no better; 0 where it is at the first lead already, and the "
            "longest lead where it never is, which means at least so long",
            source="climatology_skill of 0; linear between leads",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None without a training time."""
        past = Past.drawn(scene, most=DRAWN)
        if past is None:
            return None
        kind = Kind(
            AnomalySums,
            scores=ANOMALY_METRICS,
            over_leads={"useful_lead_correlation": _useful_correlation, "useful_lead_skill": _useful_skill}
            if len(scene.lead_hours) > 1
            else {},
        )
        counter = _Counter(scene, past.climatology(scene), Cells.of(scene.weight))
        return SumsTally(scene, {SET: kind}, counter)


def _useful_correlation(sums: AnomalySums, hours: Tensor) -> Tensor:
    return useful_lead(torch.movedim(sums.correlation(), 1, 0), hours, USEFUL)


def _useful_skill(sums: AnomalySums, hours: Tensor) -> Tensor:
    return useful_lead(torch.movedim(sums.skill(), 1, 0), hours, 0.0)
