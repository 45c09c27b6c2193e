"""Whether a forecast keeps its eddies: enstrophy over that of the truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import Current, currents_of
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.verification.circulation import Corners
from oceanop.verification.flow import MotionSums

SET = "vorticity"


@dataclass(frozen=True, eq=False)
class _Counter:
    currents: list[tuple[Current, Corners]]

    def __call__(self, block: Block) -> Iterator[Part]:
        for current, corners in self.currents:
            channels = [current.east, current.north]
            truth = block.truth[channels]
            for name, forecast in block.forecasts.items():
                values = MotionSums.enstrophy(forecast[channels], truth, corners).values
                yield Part(SET, name, current.name, MotionSums(values[:, None]))


class Vorticity:
    """Enstrophy by lead."""

    name = SET
    whole_starts = False
    needs = "a current, on a grid of two rows and columns or more"
    methods: Mapping[str, Method] = {
        "enstrophy_ratio": Method(
            "enstrophy_ratio-1",
            long_name="area mean of the squared relative vorticity near the surface over that of the truth, at corners "
            "of cells with water in all four",
            source="Stokes' theorem around four centres; Pedlosky, Geophysical Fluid Dynamics, 1987, section 3.26",
            weighting="area between the centres of cells",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None without a current or on a grid of one row or column."""
        currents = currents_of(scene.layout)
        if not currents or min(scene.grid.shape) < 2:
            return None
        known = []
        for current in currents:
            wet = (scene.wet[current.east] & scene.wet[current.north]).numpy()
            known.append((current, Corners.of(scene.grid, wet)))
        kind = Kind(MotionSums, {"enstrophy_ratio": MotionSums.over_truth})
        return SumsTally(scene, {SET: kind}, _Counter(known))
