"""Forecasts beside baselines: one set of cells, starts and leads for all, scores with intervals, one report."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines import open_store
from data_pipelines.store import oceanop_version
from data_pipelines.times import milliseconds, text
from forecasting import bootstrap, clock
from forecasting.boundary import prescribed_cells
from forecasting.fitting import Fitted, fit_baselines
from forecasting.forecaster import State
from forecasting.gauge_scores import METHOD, GaugeSums, beside
from forecasting.gauges import Gauges, place_gauges, stations_json
from forecasting.matching import Match, match
from forecasting.naming import Forecasts, named, run_of
from forecasting.origin import baseline_warning, overlap_warning
from forecasting.product import MemoryForecast, Plan
from forecasting.scores import score_table, write_csv
from oceanop.grid import Grid
from oceanop.metrics import Sums

Progress = Callable[[str, int, int], None]

SHOWN_BYTES = 2**30  # of fields kept for the maps, all forecasters together


@dataclass(frozen=True, eq=False)
class _Case:
    """One start: the truth, and every forecast of it, ``[channel, lead, y, x]``, NaN where there is none."""

    number: int
    truth: Tensor
    forecasts: dict[str, Tensor]


def evaluate(
    forecasts: Forecasts,
    truth: xr.Dataset | str | Path,
    *,
    baselines: str | Sequence[str] | None = None,
    gauges: Gauges | None = None,
    to: str | Path | None = None,
    report: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Score forecasts beside baselines.

    All forecasters are compared on the starts and leads that the forecasts share and the truth covers, and on the
    cells that are ocean in the truth and finite in every forecast, without those on which a parent model prescribes
    what a regional forecast says. The baselines are fitted on the splits ``train``
    and ``validation`` of the truth and run from the same starts. Several forecasts of one model, whose runs
    differ in nothing but their seeds, are scored each and, under the model's name, pooled. A forecast or a baseline
    that was fitted on scored times is told in the attribute ``warning`` and at the head of the report.

    Parameters
    ----------
    forecasts
        One forecast or several, data sets or paths.
    truth
        The store that holds what happened, and the past the baselines learn from.
    baselines
        One or more names among ``forecasting.baselines.BASELINES``, ``shallow-water-BASIN`` with a shipped basin or a
        TOML file, or paths of numerical forecasts; None takes all of the first that the truth has the record and the
        forcing for, and tells of others in the attribute ``baselines_left_out``.
    gauges
        Tide gauges to score the sea level at, files or listings of :func:`data_pipelines.read_gauges` or series of
        :func:`data_pipelines.read_gauge`; their scores have the bands ``gauges`` (all of them), the gauges' names, and
        each of these with a band of periods behind it; the forecaster ``truth`` is the store itself.
    to
        Folder for ``scores.nc``, ``scores.csv`` and, unless ``report`` is False, maps and ``report.html``.
    seed
        Of the bootstrap.
    progress
        Called as ``progress(words, done, total)``.

    Returns
    -------
    xr.Dataset
        ``value``, ``low``, ``high`` and ``count`` of each ``(forecaster, variable, metric, band, lead_hours)``.

    Raises
    ------
    ValueError
        If there is nothing to compare: other grid, other variables, no shared start or lead, no truth; a gauge on
        land, outside the domain or without levels at these times.
    """
    if not isinstance(truth, xr.Dataset):
        truth = open_store(truth)
    if isinstance(baselines, str):
        baselines = [baselines]
    given = named(forecasts)
    matched = match(given.forecasts, truth)
    cost = {name: _cost_of(ds) for name, ds in matched.forecasts.items()}
    fitted = fit_baselines(baselines, matched, truth)
    for name, each in fitted.by_name.items():
        cost[name] = {"training_seconds": each.seconds, "forecast_seconds": 0.0}
    wet = _common_mask(matched, truth)
    shown = _Shown(matched, truth, list(fitted.by_name)) if to is not None and report else None
    total = matched.init_steps.size
    groups, blocks, words = _blocks(matched, wet)
    at_gauges = None
    if gauges is not None:
        at_gauges = GaugeSums(place_gauges(gauges, matched, truth, wet), matched, groups)
    sums: dict[str, Sums] = {}
    area = torch.from_numpy(Grid.from_dataset(truth).cell_area)
    for case in _cases(matched, truth, fitted.by_name, cost):
        weight = area * wet[:, None] * case.truth.isfinite()
        for name, field in case.forecasts.items():
            part = Sums.of(field, case.truth, weight, None if groups is not None else blocks)
            _add(
                sums, name, part, None if groups is None else int(groups[case.number]), int(blocks.max()) + 1
            )
        if at_gauges is not None:
            at_gauges.add(case.number, case.forecasts)
        if shown is not None:
            shown.keep(case)
        if progress is not None:
            progress("", case.number + 1, total)
    number = int(blocks.max()) + 1
    hours = (matched.leads * matched.time_step / 3600).tolist()
    seeds = given.pooled
    scores = score_table(
        sums, matched.layout, hours, seed=seed, blocks=number, seeds=seeds, references=list(fitted.by_name)
    )
    if at_gauges is not None:
        scores = beside(scores, at_gauges.table(hours, seed=seed, seeds=seeds))
    if seeds:
        words += f"; {bootstrap.SEEDS}"
    scores.attrs = _attributes(matched, truth, wet, words, fitted.period, seed)
    if at_gauges is not None:
        scores.attrs |= {"gauges": json.dumps(stations_json(at_gauges.stations)), "gauge_method": METHOD}
    if fitted.left_out:
        scores.attrs["baselines_left_out"] = " ".join(fitted.left_out)
    if seeds:
        scores.attrs["pooled"] = json.dumps(seeds)
    if warning := _warning(matched, truth, fitted.learned):
        scores.attrs["warning"] = warning
    if to is not None:
        _write(Path(to), scores)
    if shown is not None:
        from forecasting.report import write_report

        fields = shown.datasets()
        happened = fields.pop("truth")
        told = ("institution", "license", "references", "source", "sources", "splits")
        happened.attrs |= {name: truth.attrs[name] for name in told if name in truth.attrs}
        runs = {name: run_of(ds) for name, ds in matched.forecasts.items()}
        # The seeds together have no field of their own, and the settings of any one
        runs = {model: runs[names[0]] for model, names in seeds.items()} | runs
        series = None if at_gauges is None else at_gauges.highest_water(hours)
        write_report(
            Path(str(to)),
            scores=scores,
            forecasts=fields,
            truth=happened,
            runs=runs,
            cost=cost,
            gauge_series=series,
        )
    return scores


def _cost_of(ds: xr.Dataset) -> dict[str, Any]:
    """What a forecast file says of its cost."""
    names = {"threads": "training_threads"}
    wanted = ("parameters", "training_seconds", "forecast_seconds", "threads")
    held = {name: ds.attrs[key] for name in wanted if (key := names.get(name, name)) in ds.attrs}
    # NetCDF gives numbers back as NumPy's
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in held.items()}


def _warning(matched: Match, truth: xr.Dataset, learned: NDArray[np.int64]) -> str:
    """What was fitted on times that are scored; empty where nothing was."""
    scored = np.unique(matched.valid_steps[matched.valid_steps >= 0])
    said = (
        overlap_warning(matched.forecasts, truth["time"].values[scored]),
        baseline_warning(int(np.isin(scored, learned).sum()), scored.size),
    )
    return " ".join(words for words in said if words)


def _cases(
    matched: Match, truth: xr.Dataset, baselines: dict[str, Fitted], cost: dict[str, dict[str, Any]]
) -> Iterator[_Case]:
    """All starts, one at a time, so that memory holds one; what the baselines take is added to ``cost``."""
    for number, start in enumerate(matched.init_steps.tolist()):
        fields = {name: _fields(ds.isel(init_time=number), matched) for name, ds in matched.forecasts.items()}
        known = int(matched.leads[matched.valid_steps[number] >= 0].max())
        for name, each in baselines.items():
            begin = time.perf_counter()
            fields[name] = each.run(truth, start, matched.leads, known)
            cost[name]["forecast_seconds"] += time.perf_counter() - begin
        yield _Case(number, _truth(truth, matched, number), fields)


def _fields(ds: xr.Dataset, matched: Match) -> Tensor:
    planes = []
    for channel in matched.layout.state:
        field = ds[channel.variable]
        planes.append((field if channel.depth is None else field.sel(depth=channel.depth)).to_numpy())
    return torch.from_numpy(np.stack(planes).astype(np.float32))


def _truth(truth: xr.Dataset, matched: Match, number: int) -> Tensor:
    steps = matched.valid_steps[number]
    found = truth[matched.layout.names()].isel(time=steps.clip(0))
    fields = _fields(found, matched)
    fields[:, torch.from_numpy(steps < 0)] = torch.nan
    return fields


def _common_mask(matched: Match, truth: xr.Dataset) -> Tensor:
    """Cells scored: ocean in the truth, finite in every forecast and prescribed in none, ``[channel, y, x]``."""
    prescribed = prescribed_cells(matched.forecasts.values(), Grid.from_dataset(truth))
    wet = matched.layout.wet(truth) & ~torch.from_numpy(prescribed)
    for name, ds in matched.forecasts.items():
        finite = wet.clone()
        for number, steps in enumerate(matched.valid_steps):
            fields = _fields(ds.isel(init_time=number), matched)
            finite &= fields[:, torch.from_numpy(steps >= 0)].isfinite().all(1)
        if not finite.any():
            raise ValueError(
                f"the forecast {name} is finite at all starts and leads in none of the truth's "
                f"{int(wet.any(0).sum())} ocean cells; it may have diverged, or its mask is another one. Draw it with "
                "'oceanop map', or leave it out."
            )
        wet &= finite
    if not wet.any():
        raise ValueError("no ocean cell is finite in every forecast; compare forecasts that share a mask.")
    return wet


def _blocks(matched: Match, wet: Tensor) -> tuple[np.ndarray[Any, Any] | None, Tensor, str]:
    """Block of each start (None: by space), numbers of all blocks, and the method in words."""
    inits = milliseconds(matched.first["init_time"].values)
    in_time = bootstrap.time_blocks(inits, int(matched.leads.max()) * matched.time_step * 1000)
    if in_time is not None:
        numbers = torch.from_numpy(in_time)
        return in_time, numbers, bootstrap.describe(in_time, int(numbers.max()) + 1)
    tiles, count = bootstrap.space_blocks(wet.any(0).numpy())
    return None, torch.from_numpy(tiles), bootstrap.describe(None, count)


def _add(sums: dict[str, Sums], name: str, part: Sums, block: int | None, blocks: int) -> None:
    """Add the sums of one start, which are kept by tile already or all belong to one block."""
    if block is not None:
        spread = part.values.new_zeros(*part.values.shape, blocks)
        spread[..., block] = part.values
        part = Sums(spread)
    sums[name] = sums[name] + part if name in sums else part


class _Shown:
    """Fields of some starts, evenly chosen, for maps: every forecaster and the truth in one form."""

    def __init__(self, matched: Match, truth: xr.Dataset, baselines: list[str]) -> None:
        grid = Grid.from_dataset(truth)
        names = ["truth", *matched.forecasts, *baselines]
        count = matched.init_steps.size
        bytes_a_start = (
            4 * len(matched.layout.state) * matched.leads.size * int(np.prod(grid.shape)) * len(names)
        )
        most = int(np.clip(SHOWN_BYTES // bytes_a_start, 1, count))
        self.numbers = np.linspace(0, count - 1, most).round().astype(int).tolist()
        self.leads, self.time_step = matched.leads, matched.time_step
        inits = matched.first["init_time"].values[self.numbers]
        self.sinks = {}
        for name in names:
            attributes = dict(matched.forecasts[name].attrs) if name in matched.forecasts else {}
            plan = Plan(
                layout=matched.layout,
                grid=grid,
                mask=grid.to_dataset()["mask"],
                wet=matched.layout.wet(truth),
                init_times=inits,
                leads=matched.leads.size,
                time_step=matched.time_step,
                attributes={**attributes, "model": name},
                valid_times=self._valid(matched),
            )
            self.sinks[name] = MemoryForecast(plan)

    def keep(self, case: _Case) -> None:
        """Keep the fields of a start if it is one of the chosen."""
        if case.number not in self.numbers:
            return
        place = self.numbers.index(case.number)
        for name, fields in {"truth": case.truth, **case.forecasts}.items():
            for i, values in enumerate(fields.unbind(1)):
                self.sinks[name].write(place, State(i + 1, values))

    def datasets(self) -> dict[str, xr.Dataset]:
        """The data sets, their leads named by what they are."""
        lead_times = (self.leads * self.time_step).astype("timedelta64[s]").astype("timedelta64[ns]")
        return {
            name: (ds := sink.finish()).assign_coords(lead_time=ds["lead_time"].copy(data=lead_times))
            for name, sink in self.sinks.items()
        }

    def _valid(self, matched: Match) -> NDArray[Any]:
        first = matched.first.isel(init_time=self.numbers)
        if "valid_time" in first.coords:
            return first["valid_time"].transpose("init_time", "lead_time").values
        starts = first["init_time"].values
        return np.stack([clock.shift(time, self.leads, self.time_step) for time in starts])


def _attributes(
    matched: Match, truth: xr.Dataset, wet: Tensor, method: str, period: str, seed: int
) -> dict[str, Any]:
    ocean = matched.layout.wet(truth)
    edge = prescribed_cells(matched.forecasts.values(), Grid.from_dataset(truth))
    inits = matched.first["init_time"].values
    return {
        "title": "Scores of ocean forecasts",
        "history": f"{datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')} written by oceanop evaluate",
        "oceanop_version": oceanop_version(),
        "weighting": "cell area; current components pooled, depths pooled",
        "intervals": method,
        "bootstrap_seed": seed,
        "baselines_fitted_on": period,
        "starts": f"{inits.size} from {text(inits[0])} to {text(inits[-1])}",
        "left_out": matched.left_out,
        "mask": "cells that are ocean in the truth and finite in every forecast"
        + (
            f", without {int(edge.sum())} on the open edge, which a parent model prescribes"
            if edge.any()
            else ""
        ),
        "mask_sha256": hashlib.sha256(np.packbits(wet.numpy()).tobytes()).hexdigest(),
        "mask_share_of_ocean": float(wet.sum() / ocean.sum()),
        "forecasts": json.dumps(
            {
                name: {
                    key: str(ds.attrs.get(key, ""))
                    for key in ("model", "checkpoint_sha256", "input_store", "fitted_from", "fitted_to")
                }
                for name, ds in matched.forecasts.items()
            }
        ),
    }


def _write(to: Path, scores: xr.Dataset) -> None:
    to.mkdir(parents=True, exist_ok=True)
    partial = to / "scores.nc.partial"
    scores.to_netcdf(partial, engine="netcdf4")
    os.replace(partial, to / "scores.nc")
    write_csv(scores, to / "scores.csv")
