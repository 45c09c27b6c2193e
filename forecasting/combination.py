"""Trained operators that forecast together, of which one alone is the simplest case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from data_pipelines.windows import TOLERANCE, time_step
from forecasting.ensemble import EnsembleMean, joint_name
from forecasting.fading import Fading, checked_share
from forecasting.forecaster import Forecaster
from forecasting.learned import LearnedForecaster
from forecasting.refinement import Refined, refine
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from oceanop.variables import BOUNDARIES


@dataclass(frozen=True, eq=False)
class Combination:
    """The mean of some operators, whose first leads may be those of others: ``share`` of their mean at each lead.

    Attributes
    ----------
    long
        Operators whose mean forecasts all leads.
    short
        Operators whose mean the first leads begin with, to fade out of; none where the mean of ``long`` is all.
    share
        Of ``short`` at leads 1, 2, ..., as :class:`forecasting.fading.Fading` takes them.
    share_fitted_on
        First and last time of the hours that the shares were fitted on, as text; None where nobody says.

    Raises
    ------
    ValueError
        If there is no operator in ``long``, two have other channels or another time step, one is given twice, or
        ``short`` and ``share`` do not come together.
    """

    long: tuple[Checkpoint, ...]
    short: tuple[Checkpoint, ...] = ()
    share: tuple[float, ...] = ()
    share_fitted_on: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.long:
            raise ValueError("no operator was given; give the checkpoint of one or more.")
        _require_alike(self.members)
        if self.short:
            checked_share(self.share, joint_name(each.name for each in self.short))
        elif self.share or self.share_fitted_on:
            raise ValueError(
                "there are shares and no 'short' operators to have them; name these, or leave the shares out."
            )

    @property
    def members(self) -> tuple[Checkpoint, ...]:
        """All operators."""
        return (*self.long, *self.short)

    @property
    def name(self) -> str:
        """What scores call it: the operators' names, ``-into-`` where one fades into the other."""
        parts = [part for part in (self.short, self.long) if part]
        names = "-into-".join("+".join(dict.fromkeys(each.name for each in part)) for part in parts)
        return names + ("-ensemble" if any(len(part) > 1 for part in parts) else "")

    @property
    def layout(self) -> Layout:
        """Channels of all operators."""
        return self.long[0].layout

    @property
    def history(self) -> int:
        """Past states that one forecast needs: those of the operator that needs most."""
        return max(each.history for each in self.members)

    @property
    def time_step(self) -> np.timedelta64:
        """Time from one lead to the next."""
        return self.long[0].time_step

    def on(self, store: xr.Dataset) -> "Placed":
        """Every operator brought to the grid of a store (:func:`forecasting.refinement.refine`).

        Raises
        ------
        ValueError
            If the store has another time step, lacks a variable or has a grid that one of the operators cannot run
            on, or their edge zones are not equally wide there.
        """
        _require_same_step(self, store)
        _require_variables(self.layout, store)
        placed = Placed(tuple(refine(each, store) for each in self.members), len(self.long), self.share)
        zones = [each.checkpoint.run.data.edge_zone for each in placed.members]
        if len({*zones}) > 1:
            raise ValueError(
                f"the edge zones of the operators are {', '.join(str(zone) for zone in zones)} cells of the store "
                "wide, and their mean would be driven by the parent model in part of them; combine operators whose "
                "edge zones are equally wide in metres."
            )
        return placed


@dataclass(frozen=True, eq=False)
class Placed:
    """A combination on the grid of a store: operators that fit it, the first ``long`` of them those for all leads."""

    members: tuple[Refined, ...]
    long: int
    share: tuple[float, ...]

    @property
    def short_forecaster(self) -> Forecaster:
        """What the first leads begin with."""
        return _mean([each.checkpoint for each in self.members[self.long :]])

    @property
    def long_forecaster(self) -> Forecaster:
        """What all leads end with."""
        return _mean([each.checkpoint for each in self.members[: self.long]])

    @property
    def forecaster(self) -> Forecaster:
        """All of them together."""
        if self.long == len(self.members):
            return self.long_forecaster
        return Fading(self.short_forecaster, self.long_forecaster, self.share)

    @property
    def longest(self) -> Checkpoint:
        """The operator that looks back furthest; what the open edge needs of the past it needs for all."""
        return max((each.checkpoint for each in self.members), key=lambda each: each.history)


def _mean(checkpoints: Sequence[Checkpoint]) -> Forecaster:
    forecasters = [LearnedForecaster(each) for each in checkpoints]
    return forecasters[0] if len(forecasters) == 1 else EnsembleMean(forecasters)


def require_members(given: Sequence[Combination]) -> None:
    """Refuse combinations that cannot be members of one ensemble.

    Raises
    ------
    ValueError
        If there is none, two have other channels or another time step, or one is given twice.
    """
    if not given:
        raise ValueError("no operator was given; give the checkpoint of one or more.")
    _require_distinct([tuple(part.sha256 for part in each.members) for each in given], given)
    _require_same_channels([each.long[0] for each in given])


def _require_alike(members: Sequence[Checkpoint]) -> None:
    _require_distinct([(each.sha256,) for each in members], members)
    _require_same_channels(members)


def _require_distinct(sums: Sequence[tuple[str, ...]], named: Sequence[Checkpoint | Combination]) -> None:
    seen: set[tuple[str, ...]] = set()
    for each, own in zip(named, sums, strict=True):
        if all(own) and own in seen:
            raise ValueError(
                f"the checkpoint {each.name} ({own[0][:12]}) is given twice; it would count double. Give it once."
            )
        seen.add(own)


def _require_same_channels(members: Sequence[Checkpoint]) -> None:
    first = members[0]
    for number, each in enumerate(members, start=1):
        if each.layout != first.layout:
            raise ValueError(
                f"the operators forecast other channels: number {number}, {each.name}, {_channels(each.layout)}, and "
                f"the first, {first.name}, {_channels(first.layout)}; combine operators trained with the same "
                "data.state, data.forcing and edge zone."
            )
        if each.time_step != first.time_step:
            raise ValueError(
                f"the operators have other time steps: number {number}, {each.name}, {_hours(each.time_step)}, and "
                f"the first, {first.name}, {_hours(first.time_step)}; combine operators of the same step."
            )


def _channels(layout: Layout) -> str:
    state, forcing = (", ".join(str(each) for each in part) for part in (layout.state, layout.forcing))
    return f"{state} from {forcing or 'no forcing'}"


def _hours(step: np.timedelta64) -> str:
    return f"{step / np.timedelta64(1, 'h'):g} h"


def _require_same_step(given: Combination, store: xr.Dataset) -> None:
    step = time_step(store["time"].values)
    if step is not None and abs(step / given.time_step - 1) > TOLERANCE:
        raise ValueError(
            f"the store has a time step of {_hours(step)}, the checkpoint {given.long[0].name} one of "
            f"{_hours(given.time_step)}; forecast on a store with that step."
        )


def _require_variables(layout: Layout, store: xr.Dataset) -> None:
    for role, names in (("state", layout.names()), ("forcing", layout.names("forcing"))):
        missing = [name for name in names if name not in store.data_vars]
        if missing:
            raise ValueError(
                f"the checkpoint needs the {role} {', '.join(missing)}, which the store does not hold; it has "
                f"{', '.join(str(name) for name in store.data_vars)}. "
                + (
                    "Ingest it with --boundary PARENT, the model around the domain."
                    if BOUNDARIES.keys() & {*missing}
                    else "Ingest what is missing."
                )
            )
