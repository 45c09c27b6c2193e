"""How far current and slope of a forecast are from geostrophic balance, beside the truth's own distance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forecasting.diagnostic import Block, Method, Scene
from forecasting.diagnostics.fields import Current, currents_of, level_of
from forecasting.diagnostics.tally import INTERVAL, Kind, Part, SumsTally
from oceanop.verification.circulation import Corners
from oceanop.verification.flow import BalanceSums

SET = "balance"
SOURCE = "Gill, Atmosphere-Ocean Dynamics, 1982, section 7.6"
WHERE = "at corners of cells with water in all four, farther than 5 degrees from the equator"


@dataclass(frozen=True, eq=False)
class _Counter:
    level: int
    current: Current
    corners: Corners

    def __call__(self, block: Block) -> Iterator[Part]:
        channels = [self.level, self.current.east, self.current.north]
        truth = block.truth[channels].double()
        for name, forecast in block.forecasts.items():
            sums = BalanceSums.of(forecast[channels].double(), truth, self.corners)
            yield Part(SET, name, f"zos+{self.current.name}", BalanceSums(sums.values[:, None]))


class Balance:
    """Geostrophic residual by lead."""

    name = SET
    whole_starts = False
    needs = "the sea level, a current, and corners of cells away from coast and equator"
    methods: Mapping[str, Method] = {
        "geostrophic_residual": Method(
            "geostrophic_residual-1",
            long_name="root mean square of Coriolis force and pressure gradient together over that of the Coriolis "
            f"force, {WHERE}",
            source=SOURCE,
            weighting="area between the centres of cells",
            interval=INTERVAL,
        ),
        "true_geostrophic_residual": Method(
            "true_geostrophic_residual-1",
            long_name=f"the same of the truth, which a forecast is to be compared with, {WHERE}",
            source=SOURCE,
            weighting="area between the centres of cells",
            interval=INTERVAL,
        ),
    }

    def begin(self, scene: Scene) -> SumsTally | None:
        """A tally of nothing yet; None without level and current, or where no corner is far from coast and equator."""
        level, currents = level_of(scene.layout), currents_of(scene.layout)
        if level is None or not currents or min(scene.grid.shape) < 2:
            return None
        current = currents[0]
        wet = scene.wet[[level, current.east, current.north]].all(0)
        counter = _Counter(level, current, Corners.of(scene.grid, wet.numpy()))
        scores = {
            "geostrophic_residual": BalanceSums.residual,
            "true_geostrophic_residual": BalanceSums.true_residual,
        }
        return SumsTally(scene, {SET: Kind(BalanceSums, scores)}, counter)
