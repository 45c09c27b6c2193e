"""Baselines fitted on the past of a truth, and run from the starts of forecasts as far as its forcing goes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.basins.settings import basins
from data_pipelines.splits import read_splits, steps_of_splits
from data_pipelines.times import milliseconds, text
from data_pipelines.windows import joined
from forecasting.baselines import BASELINES, CannotFit, baseline, forcing_of
from forecasting.baselines.numerical import NumericalForecast
from forecasting.baselines.shallow_water import PREFIX, ShallowWater
from forecasting.forecaster import Forecaster
from forecasting.matching import Match
from forecasting.windows import run_forecaster
from oceanop.grid import Grid
from oceanop.layout import Channel, Layout

FIT_BYTES = 2 * 2**30  # of training states in memory; a longer record is cut to its latest part


@dataclass(frozen=True)
class Fitted:
    """One baseline, ready to run.

    Attributes
    ----------
    forecaster
        The baseline.
    layout
        Its channels, forcing included.
    seconds
        What the fit took.
    given
        Which channels of a numerical model are asked for; None for others, which have no more.
    """

    forecaster: Forecaster
    layout: Layout
    seconds: float
    given: list[int] | None = None

    def run(self, truth: xr.Dataset, start: int, leads: NDArray[np.int64], known: int) -> Iterator[Tensor]:
        """Forecast from a step of the truth: a state ``[channel, y, x]`` for each of some increasing leads.

        Parameters
        ----------
        known
            Last lead with a truth. A forced baseline and a numerical model stop there, as forcing and file may, and are
            NaN beyond, where nothing is scored.
        """
        ends = self.layout.forcing or self.given is not None
        last = int(min(leads.max(), known) if ends else leads.max())
        wanted = {*leads.tolist()}
        values = None
        for _, state in run_forecaster(self.forecaster, truth, self.layout, [start], last):
            if state.lead in wanted:
                values = state.values if self.given is None else state.values[self.given]
                yield values
        for _ in leads[leads > last]:
            assert values is not None
            yield torch.full_like(values, torch.nan)


@dataclass(frozen=True)
class Baselines:
    """Baselines by name, and what they were fitted on.

    Attributes
    ----------
    by_name
        Fitted ones.
    period
        In words, what they were fitted on.
    learned
        The same as steps of the truth.
    left_out
        Why some of all baselines are not among them, a sentence each.
    """

    by_name: dict[str, Fitted] = field(default_factory=dict)
    period: str = "no baseline"
    learned: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    left_out: tuple[str, ...] = ()


def fit_baselines(names: Sequence[str] | None, matched: Match, truth: xr.Dataset) -> Baselines:
    """Fit baselines on the splits ``train`` and ``validation`` of a truth.

    Parameters
    ----------
    names
        None takes all that the truth has the record and the forcing for.

    Raises
    ------
    ValueError
        If a start is not in the truth, there are too few states to learn from, or one of the named baselines cannot
        be fitted on the truth or run from the starts, or has the name of a forecast or of another.
    """
    if names is not None and not names:
        return Baselines()
    if (matched.init_steps < 0).any():
        raise ValueError(
            "a start of the forecasts is not in the truth, so no baseline can start there; give a truth that holds "
            "the starts, or baselines=[]."
        )
    kept = [name for name in ("train", "validation") if name in read_splits(truth)]
    steps = np.flatnonzero(steps_of_splits(truth, kept))
    plane = len(matched.layout.state) * int(np.prod(Grid.from_dataset(truth).shape)) * 4
    most = max(FIT_BYTES // plane, 2)
    cut = "" if steps.size <= most else f", of which the latest {most} steps fit into memory"
    wet = matched.layout.wet(truth)
    states = matched.layout.pack(truth.isel(time=steps[-most:]), missing=np.nan)
    # The mask promises whole states; a store that was extended by forcing alone has steps without any
    whole = torch.stack(
        [(~each.isnan() | ~mask).flatten(1).all(1) for each, mask in zip(states, wet, strict=True)]
    )
    kept_steps = whole.all(0)
    learned = steps[-most:][kept_steps.numpy()]
    times = truth["time"].values[learned]
    if times.size < 2:
        raise ValueError(
            f"the splits {' and '.join(kept)} of the truth hold {times.size} whole state(s), too few for a baseline; "
            "give a truth with the training period, or baselines=[]."
        )
    if not kept_steps.all():
        states = states[:, kept_steps]
    states = torch.where(wet[:, None], states, 0.0)
    fitted, left_out = {}, []
    for name in BASELINES if names is None else names:
        try:
            if name in BASELINES:
                _require_free(name, matched)
                fitted[name] = _fit(name, states, learned, matched, truth)
            else:
                model = _numerical(name, matched, truth)
                called = model.forecaster.name
                _require_free(called, matched)
                if called in fitted or called in BASELINES:
                    raise ValueError(
                        f"{name}: another baseline is called '{called}', too; give its file another name, or the "
                        "attribute 'model'."
                    )
                fitted[called] = model
        except CannotFit as reason:
            if names is not None:
                raise
            left_out.append(str(reason))
    period = (
        f"splits {' and '.join(kept)}{cut}: {times.size} steps from {text(times[0])} to {text(times[-1])}"
    )
    if (milliseconds(matched.first["init_time"].values) < milliseconds(times[-1:])).any():
        period += "; some starts lie inside this period, where the baselines have seen the truth"
    return Baselines(fitted, period, learned, tuple(left_out))


def _require_free(called: str, matched: Match) -> None:
    """Refuse a baseline that scores could not tell from a forecast."""
    if called in matched.forecasts:
        raise CannotFit(
            f"a forecast is called '{called}', as a baseline is, and one's scores would be taken for the other's; give "
            "the forecast's file another attribute 'model', or leave the baseline out."
        )


def _fit(name: str, states: Tensor, learned: NDArray[np.int64], matched: Match, truth: xr.Dataset) -> Fitted:
    begin = time.perf_counter()
    variables = forcing_of(name, [str(held) for held in truth.data_vars])
    layout = Layout(matched.layout.state, tuple(Channel(variable) for variable in variables))
    options: dict[str, Any] = {"time_step": matched.time_step, "leads": int(matched.leads.max())}
    if variables:
        forcing = layout.pack(truth.isel(time=learned), "forcing", missing=np.nan)
        there = forcing.isfinite().flatten(2).any(2).all(0)
        states, learned, forcing = states[:, there], learned[there.numpy()], forcing[:, there]
        options |= {"forcing": forcing.nan_to_num(nan=0.0), "variables": variables}
    times = truth["time"].values[learned]
    forecaster = baseline(name, states, times, layout.wet(truth), **options)
    _require_weather(forecaster, layout, matched, truth)
    return Fitted(forecaster, layout, time.perf_counter() - begin)


def _numerical(name: str, matched: Match, truth: xr.Dataset) -> Fitted:
    """A numerical model that learns nothing: ``shallow-water-BASIN``, or the path of a file with its forecast."""
    begin = time.perf_counter()
    forecaster: ShallowWater | NumericalForecast
    if name.startswith(PREFIX):
        forecaster = ShallowWater(name.removeprefix(PREFIX), truth)
    elif Path(name).suffix and Path(name).exists():
        forecaster = NumericalForecast(name, truth, layout=matched.layout)
    else:
        raise ValueError(
            f"there is no baseline '{name}'; name one of {', '.join(BASELINES)}, or {PREFIX}BASIN with one of "
            f"{', '.join(basins())} or a basin's TOML file, or the path of a numerical forecast."
        )
    held = forecaster.layout.state
    lacking = [str(channel) for channel in matched.layout.state if channel not in held]
    if lacking:
        raise ValueError(f"{forecaster.name} does not forecast {', '.join(lacking)}; leave it out.")
    _require_weather(forecaster, forecaster.layout, matched, truth)
    given = [held.index(channel) for channel in matched.layout.state]
    return Fitted(forecaster, forecaster.layout, time.perf_counter() - begin, given)


def _require_weather(forecaster: Forecaster, layout: Layout, matched: Match, truth: xr.Dataset) -> None:
    """Refuse starts whose past, or whose weather up to the last lead with a truth, the truth does not hold whole."""
    if not layout.forcing:
        return
    whole = joined(truth["time"].values)
    for start, valid in zip(matched.init_steps.tolist(), matched.valid_steps, strict=True):
        first = start - forecaster.history + 1
        if first < 0 or not whole[first : int(valid.max())].all():
            raise CannotFit(
                f"{forecaster.name} needs {', '.join(layout.names('forcing'))} without a gap from "
                f"{forecaster.history - 1} steps before a start to its last lead, which the truth does not hold around "
                f"{text(truth['time'].values[start])}; give a truth that does, start later, or name other baselines."
            )
