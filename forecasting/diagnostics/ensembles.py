"""How well the members of an ensemble tell how sure one can be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from forecasting.scores import variable_groups
from oceanop.verification.ensemble import EnsembleSums, RankSums

SCORES, RANKS = "ensemble", "ranks"
RANK_SEED = 7919  # apart from other uses of small numbers as seeds


@dataclass(frozen=True, eq=False)
class _Counter:
    scene: Scene
    groups: dict[str, list[int]]

    def __call__(self, block: Block) -> Iterator[Part]:
        places = range(len(self.scene.lead_hours))[block.leads]
        weight = self.scene.weight[:, None] * block.truth.isfinite()
        for name, members in block.members.items():
            if members.shape[0] < 2:
                continue
            sums = EnsembleSums.of(members, block.truth, weight).values
            # Each lead is drawn for by itself, so that how leads are cut into blocks does not matter
            ranks = torch.stack(
                [
                    RankSums.of(
                        members[:, :, i], block.truth[:, i], weight[:, i], seed=_seed(block.start, lead)
                    ).values
                    for i, lead in enumerate(places)
                ],
                -1,
            )
            for variable, channels in self.groups.items():
                yield Part(SCORES, name, variable, EnsembleSums(sums[:, channels].sum(1)[:, None]))
                counts = ranks[:, :, channels].sum(2)
                yield Part(f"{RANKS}-{members.shape[0]}", name, variable, RankSums(counts))


def _seed(start: int, lead: int) -> int:
    return RANK_SEED + start * 1_000_003 + lead


_CRPS = Method(
    "crps-1",
    units="variable",
    long_name="continuous ranked probability score of the members' own distribution",
    source="Gneiting and Raftery, JASA 102, 2007, equation 21",
    interval=INTERVAL,
)
_FORTIN = "Fortin, Abaza, Anctil and Turcotte, J. Hydrometeorology 15, 2014"
_HAMILL = "Hamill, Monthly Weather Review 129, 2001"


class Ensembles:
    """CRPS, spread and ranks of every forecast with members, by variable and lead."""

    name = "ensembles"
    whole_starts = False
    needs = "a forecast with two members or more"
    methods: Mapping[str, Method] = {
        "crps": _CRPS,
        "fair_crps": replace(
            _CRPS,
            version="fair_crps-1",
            long_name="continuous ranked probability score, fair to ensembles of any size",
            source="Ferro, Richardson and Weigel, Meteorological Applications 15, 2008",
        ),
        "spread": replace(
            _CRPS,
            version="spread-1",
            long_name="root of the mean variance of the members, divided by M - 1",
            source=_FORTIN,
        ),
        "spread_over_error": Method(
            "spread_over_error-1",
            long_name="spread times sqrt((M + 1) / M) over the root mean square error of the members' mean",
            source=_FORTIN,
            interval=INTERVAL,
        ),
        "rank_share": Method(
            "rank_share-1",
            long_name="share of the area in which so many members lie below the truth; equal ones drawn by lot",
            source=_HAMILL,
            interval=INTERVAL,
        ),
        "outlier_ratio": Method(
            "outlier_ratio-1",
            long_name="share of the area in which the truth lies outside all members, over that of a flat histogram",
            source=_HAMILL,
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None where no forecast has two members."""
        sizes = {size for size in scene.members.values() if size > 1}
        if not sizes:
            return None
        scores = {
            "crps": EnsembleSums.crps,
            "fair_crps": EnsembleSums.fair_crps,
            "spread": EnsembleSums.spread,
            "spread_over_error": EnsembleSums.spread_over_error,
        }
        kinds = {SCORES: Kind(EnsembleSums, scores)}
        for size in sorted(sizes):
            bands = tuple(f"rank {i} of {size}" for i in range(size + 1))
            kinds[f"{RANKS}-{size}"] = Kind(
                RankSums,
                {"rank_share": RankSums.share},
                bands,
                over_bands={"outlier_ratio": RankSums.outliers},
            )
        return SumsTally(scene, kinds, _Counter(scene, variable_groups(scene.layout)))
