"""What looks at forecasts beside the scores of cells, block by block, and gives rows of the same table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from oceanop.grid import Grid
from oceanop.layout import Layout


@dataclass(frozen=True)
class Method:
    """How a number of the table came about, for whoever wants the same number again.

    Attributes
    ----------
    version
        The metric's name and a number that grows whenever its values would change: ``crps-1``.
    units
        ``variable`` stands for the unit of the variable the row is of, ``variable2`` for its square.
    long_name
        What it is, in a few words.
    source
        Paper and equation.
    weighting
        What each value counted is weighted by.
    interval
        In words, where it is another than that of the scores over cells; ``none`` where there is no interval.
    """

    version: str
    units: str = "1"
    long_name: str = ""
    source: str = ""
    weighting: str = "cell area"
    interval: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """What all blocks of one evaluation have in common.

    Attributes
    ----------
    layout, grid
        Channels and cells of all fields.
    wet
        Cells that are scored, bool ``[channel, y, x]``: ocean in the truth, finite in every forecast.
    truth
        The store that holds what happened, forcing, bathymetry and splits; not to be read lead by lead, for the
        blocks hold it.
    forecasters
        Names of all that is scored: forecasts, then baselines.
    references
        Those of them that are baselines.
    init_times
        Starts, ``[start]``.
    lead_hours
        Hours of the leads, increasing, ``[lead]``.
    time_step
        Of the truth, s.
    valid_steps
        Step of the truth that each start and lead is for, -1 where there is none, ``[start, lead]``.
    groups
        Number of the resampling block of each start, ``[start]``; None where starts make too few blocks.
    tiles
        Number of the resampling block of each cell where ``groups`` is None, ``[y, x]``.
    members
        Number of members of the forecasts that are ensembles, by name.
    """

    layout: Layout
    grid: Grid
    wet: Tensor
    truth: xr.Dataset
    forecasters: tuple[str, ...]
    references: tuple[str, ...]
    init_times: NDArray[Any]
    lead_hours: NDArray[np.float64]
    time_step: int
    valid_steps: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    tiles: NDArray[np.int64] | None
    members: Mapping[str, int] = field(default_factory=dict)

    @property
    def weight(self) -> Tensor:
        """Area of the cells that are scored, m2, 0 elsewhere, float64 ``[channel, y, x]``."""
        return torch.from_numpy(self.grid.cell_area) * self.wet

    @property
    def blocks(self) -> int:
        """Number of resampling blocks, of starts or of cells."""
        numbers = self.tiles if self.groups is None else self.groups
        return 1 if numbers is None else int(numbers.max()) + 1


@dataclass(frozen=True, eq=False)
class Block:
    """Some leads of one start: what happened and every forecast of it.

    Attributes
    ----------
    start
        Number of the start, from 0.
    leads
        Places of the leads in :attr:`Scene.lead_hours`.
    last
        Whether the start ends here.
    truth
        Physical units, float32 ``[channel, lead, y, x]``, NaN on land and where the store has nothing.
    forecasts
        By forecaster, in the same form; of an ensemble the mean of its members.
    members
        Of ensembles alone: ``[member, channel, lead, y, x]``.
    """

    start: int
    leads: slice
    last: bool
    truth: Tensor
    forecasts: Mapping[str, Tensor]
    members: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Tally(Protocol):
    """What a diagnostic gathers: blocks are added, what was gathered is taken out and merged into a total.

    Every process that works has a tally of its own, which blocks are added to; after each piece of work what it
    gathered is taken, sent and merged into the tally of the process that makes the table, always in the order of
    starts and leads, so that the table does not depend on the number of processes. A tally can be pickled.
    """

    def add(self, block: Block) -> None:
        """Gather what one block gives. The blocks of one start come in the order of leads, without others between."""
        ...

    def take(self) -> Any:
        """What was gathered since the last time, small and to be pickled; the tally has gathered nothing then."""
        ...

    def merge(self, gathered: Any) -> None:
        """Add what a tally of the same scene gathered to the total."""
        ...

    def table(self, *, seed: int, pooled: Mapping[str, Sequence[str]]) -> xr.Dataset | None:
        """Scores of the total.

        Parameters
        ----------
        seed
            Of the bootstrap (:mod:`forecasting.bootstrap`).
        pooled
            Names of several trainings of one model, and of those that are pooled under each.

        Returns
        -------
        xr.Dataset
            ``value``, ``low``, ``high`` and ``count``, each ``(forecaster, variable, metric, band, lead_hours)``, NaN
            and 0 where there is no such score, labels as :func:`forecasting.scores.score_table` has them
            (:func:`forecasting.ratios.rows_to_dataset` makes one of rows); None where there is no row at all.
        """
        ...


@runtime_checkable
class Diagnostic(Protocol):
    """A set of metrics that can be asked for.

    Attributes
    ----------
    name
        What it is asked for by.
    whole_starts
        Whether a tally must see all blocks of a start before :meth:`Tally.take`. Memory holds a block, not a start: who
        needs a whole start keeps of each block what it needs - some cells, a box - until the last one.
    needs
        Without what it has nothing to look at, in words that go on after "it needs".
    methods
        Of every metric that its rows may have.
    """

    name: str
    whole_starts: bool
    needs: str
    methods: Mapping[str, Method]

    def begin(self, scene: Scene) -> Tally | None:
        """A tally of nothing yet; None where the scene has nothing that it could look at.

        It may be slow, for it is called once, or once more where a cell turns out to be missing in a later lead.

        Raises
        ------
        ValueError
            If it was set up for something that the scene does not have.
        """
        ...
