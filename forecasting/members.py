"""The members of a forecast: which operator and which perturbed start each of them has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting.ensemble import joint_name
from forecasting.forecaster import Forecaster, State
from forecasting.perturbation import Perturbation
from forecasting.windows import read_starts
from oceanop.layout import Layout


@dataclass(frozen=True, eq=False)
class Members:
    """Forecasters that take turns: the first round from the known start, later ones from perturbed starts.

    Attributes
    ----------
    forecasters
        Each of them one forecast, also where it is itself the mean of several operators.
    count
        Members; None for one forecast that is no ensemble.
    perturbation
        Of the starts; None where every member has a forecaster of its own.
    """

    forecasters: tuple[Forecaster, ...]
    count: int | None = None
    perturbation: Perturbation | None = None

    @property
    def name(self) -> str:
        """What scores call it: an ensemble of the names of its members."""
        return joint_name(self.forecasters[self.turn(i)[0]].name for i in range(self.count or 1))

    @property
    def history(self) -> int:
        """Past states needed: those of the forecaster that needs most."""
        return max(each.history for each in self.forecasters)

    def turn(self, member: int) -> tuple[int, int]:
        """Which forecaster a member has, and the number of its perturbation, 0 for none."""
        perturbation, forecaster = divmod(member, len(self.forecasters))
        return forecaster, perturbation

    def run(
        self,
        store: xr.Dataset,
        layout: Layout,
        starts: NDArray[np.int64],
        pending: Sequence[tuple[int, int]],
        leads: int,
    ) -> Iterator[tuple[int, int, State]]:
        """Run members from their starts, one after another: no more states are held than one member needs.

        Parameters
        ----------
        starts
            Steps of the store.
        pending
            Numbers of the starts and members to run, in order.

        Yields
        ------
        (start, member, state)
            Numbers, and a state; leads in order within a member.
        """
        grouped = {
            start: [member for _, member in runs] for start, runs in groupby(pending, lambda run: run[0])
        }
        given = read_starts(store, layout, starts[list(grouped)].tolist(), leads, self.history)
        for (start, members), (initial, forcing) in zip(grouped.items(), given, strict=True):
            for member in members:
                forecaster, number = self.turn(member)
                begin = initial
                if number:
                    assert self.perturbation is not None
                    begin = self.perturbation(initial, number)
                for state in self.forecasters[forecaster].forecast(begin, forcing, leads):
                    yield start, member, state
