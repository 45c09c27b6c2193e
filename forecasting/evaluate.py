"""Forecasts beside baselines: one set of cells, starts and leads for all, scores with intervals, one report."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines import open_store
from data_pipelines.store import oceanop_version
from data_pipelines.times import milliseconds, text
from forecasting import bootstrap
from forecasting.blocks import MEMORY
from forecasting.boundary import prescribed_cells
from forecasting.diagnostic import Diagnostic, Scene
from forecasting.diagnostics import diagnostics_of
from forecasting.fitting import Baselines, fit_baselines
from forecasting.gauge_scores import METHOD, GaugeSums
from forecasting.gauges import Gauges, place_gauges, stations_json
from forecasting.matching import Match, match
from forecasting.naming import Forecasts, named, run_of
from forecasting.origin import baseline_warning, overlap_warning
from forecasting.scores import METHODS, joined, method_of, score_table, write_csv, write_netcdf
from forecasting.scoring import Scorer, Total, first_mask, smaller_mask
from forecasting.shown import Gallery, chosen
from forecasting.workers import share
from oceanop.grid import Grid

Progress = Callable[[str, int, int], None]


def evaluate(
    forecasts: Forecasts,
    truth: xr.Dataset | str | Path,
    *,
    baselines: str | Sequence[str] | None = None,
    gauges: Gauges | None = None,
    diagnostics: str | Sequence[str | Diagnostic] | None = None,
    to: str | Path | None = None,
    report: bool = True,
    seed: int = 0,
    memory: int = MEMORY,
    workers: int | str = 1,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Score forecasts beside baselines.

    All forecasters are compared on the starts and leads that the forecasts share and the truth covers, and on the
    cells that are ocean in the truth and finite in every forecast, without those on which a parent model prescribes
    what a regional forecast says. The baselines are fitted on the splits ``train``
    and ``validation`` of the truth and run from the same starts. Several forecasts of one model, whose runs
    differ in nothing but their seeds, are scored each and, under the model's name, pooled. A forecast or a baseline
    that was fitted on scored times is told in the attribute ``warning`` and at the head of the report.

    A forecast with members counts by their mean. Files are read once, some leads of one start at a time, so that they
    may be larger than memory. Scores do not depend on the number of workers, nor on how many leads these are, but for
    rounding in diagnostics that pool leads.

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
    diagnostics
        Names among ``forecasting.diagnostics.DIAGNOSTICS``, ``all`` of them, or diagnostics of one's own
        (:class:`forecasting.diagnostic.Diagnostic`), whose scores come beside; None takes the cheap ones. Of those and
        of ``all``, what has nothing to look at here is told in the attribute ``diagnostics_left_out``.
    to
        Folder for ``scores.nc``, ``scores.csv`` and, unless ``report`` is False, maps and ``report.html``.
    seed
        Of the bootstrap.
    memory
        Bytes of fields that each process holds at one time while it scores; pictures may keep as much again.
        Baselines keep what they learned beside it, and a forced one the forcing of one start.
    workers
        Number of processes, or the address of a Dask scheduler (:func:`forecasting.workers.share`).
    progress
        Called as ``progress(words, done, total)``.

    Returns
    -------
    xr.Dataset
        ``value``, ``low``, ``high`` and ``count`` of each ``(forecaster, variable, metric, band, lead_hours)``.

    Raises
    ------
    ValueError
        If there is nothing to compare: other grid, other variables, no shared start or lead, no truth, a lead without
        any value; a gauge on land, outside the domain or without levels at these times; too little memory for one
        lead; no such diagnostic, one that was named and has nothing to look at, or no such workers.
    """
    if not isinstance(truth, xr.Dataset):
        truth = open_store(truth)
    if isinstance(baselines, str):
        baselines = [baselines]
    asked, by_name = diagnostics_of(diagnostics), diagnostics not in (None, "all")
    given = named(forecasts)
    matched = match(given.forecasts, truth)
    cost = {name: _cost_of(ds) for name, ds in matched.forecasts.items()}
    fitted = fit_baselines(baselines, matched, truth)
    for name, each in fitted.by_name.items():
        cost[name] = {"training_seconds": each.seconds, "forecast_seconds": 0.0}
    grid = Grid.from_dataset(truth)
    ocean = matched.layout.wet(truth)
    names = [*matched.forecasts, *fitted.by_name]
    pictures = chosen(matched, len(names), grid.mask.size, memory=memory) if to and report else None
    wet = first_mask(matched, ocean, prescribed_cells(matched.forecasts.values(), grid), grid.dims)
    while True:
        gallery = None if pictures is None else Gallery(pictures, matched, truth, names)
        scene, words = _scene(matched, truth, fitted, grid, wet)
        at_gauges = None
        if gauges is not None:
            at_gauges = GaugeSums(place_gauges(gauges, matched, truth, wet), matched, scene.groups)
        begun = {each.name: tally for each in asked if (tally := each.begin(scene)) is not None}
        idle = [each for each in asked if each.name not in begun]
        if idle and by_name:
            raise ValueError(
                f"the diagnostic '{idle[0].name}' finds nothing to look at: it needs {idle[0].needs}; leave it out."
            )
        tallies = [*([] if at_gauges is None else [at_gauges]), *begun.values()]
        scorer = Scorer.of(matched, fitted.by_name, scene, tallies, pictures)
        whole = at_gauges is not None or any(each.whole_starts for each in asked if each.name in begun)
        tasks = scorer.tasks(memory, diagnostics=bool(begun), whole_starts=whole)
        total = Total(scorer)
        for done, part in enumerate(share(scorer, tasks, workers), 1):
            total.add(part)
            if gallery is not None and not total.lost:
                gallery.add(part)
            if progress is not None:
                progress("looking for missing cells" if total.lost else "", done, len(tasks))
        if not total.lost:
            break
        wet = smaller_mask(wet, total.lost, ocean)
    sums = total.table_sums()
    if not any(part.statistic("count").any() for part in sums.values()):
        raise ValueError(
            f"the truth has no value of {', '.join(matched.layout.names())} at any time that is forecast; give a truth "
            "with states there."
        )
    for name, seconds in total.seconds.items():
        cost[name]["forecast_seconds"] += seconds
    hours = (matched.leads * matched.time_step / 3600).tolist()
    seeds = given.pooled
    scores = score_table(
        sums,
        matched.layout,
        hours,
        seed=seed,
        blocks=scene.blocks,
        seeds=seeds,
        references=list(fitted.by_name),
    )
    tables = [table for each in tallies if (table := each.table(seed=seed, pooled=seeds)) is not None]
    scores = joined([scores, *tables])
    if seeds:
        words += f"; {bootstrap.SEEDS}"
    scores.attrs = _attributes(matched, truth, wet, words, fitted.period, seed)
    scores.attrs |= _methods(scores, [each for each in asked if each.name in begun])
    if scene.members:
        scores.attrs["members"] = json.dumps(scene.members)
    if lone := [name for name, size in scene.members.items() if size < 2]:
        scores.attrs["members_note"] = (
            f"{', '.join(lone)} has one member and is scored as a single forecast: CRPS, spread and ranks need two."
        )
    if at_gauges is not None:
        scores.attrs |= {"gauges": json.dumps(stations_json(at_gauges.stations)), "gauge_method": METHOD}
    if idle:
        scores.attrs["diagnostics_left_out"] = "; ".join(f"{each.name} needs {each.needs}" for each in idle)
    if fitted.left_out:
        scores.attrs["baselines_left_out"] = " ".join(fitted.left_out)
    if seeds:
        scores.attrs["pooled"] = json.dumps(seeds)
    if warning := _warning(matched, truth, fitted.learned):
        scores.attrs["warning"] = warning
    if to is not None:
        _write(Path(to), scores)
    if gallery is not None:
        from forecasting.report import write_report

        fields = gallery.datasets()
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


def _scene(
    matched: Match, truth: xr.Dataset, fitted: Baselines, grid: Grid, wet: Tensor
) -> tuple[Scene, str]:
    """What all blocks have in common on the cells of a mask, and how intervals come about, in words."""
    inits = matched.first["init_time"].values
    longest = int(matched.leads.max()) * matched.time_step * 1000
    groups, tiles = bootstrap.time_blocks(milliseconds(inits), longest), None
    if groups is not None:
        words = bootstrap.describe(groups, int(groups.max()) + 1)
    else:
        tile = bootstrap.tile_size(wet.any(0).numpy())
        tiles, count = bootstrap.space_blocks(wet.any(0).numpy(), tile)
        words = bootstrap.describe(None, count, tile)
    scene = Scene(
        layout=matched.layout,
        grid=grid,
        wet=wet,
        truth=truth,
        forecasters=(*matched.forecasts, *fitted.by_name),
        references=tuple(fitted.by_name),
        init_times=inits,
        lead_hours=(matched.leads * (matched.time_step / 3600)).astype(np.float64),
        time_step=matched.time_step,
        valid_steps=matched.valid_steps,
        groups=groups,
        tiles=tiles,
        members={name: ds.sizes["member"] for name, ds in matched.forecasts.items() if "member" in ds.dims},
    )
    return scene, words


def _methods(scores: xr.Dataset, asked: Sequence[Diagnostic]) -> dict[str, str]:
    """Version, unit and source of every metric of the table, as the attribute ``methods``."""
    known = {**METHODS, **{name: method for each in asked for name, method in each.methods.items()}}
    held = [str(name) for name in scores["metric"].values]
    told = {name: asdict(method_of(name, known)) for name in held}
    return {
        "methods": json.dumps({name: {k: v for k, v in words.items() if v} for name, words in told.items()})
    }


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
    write_netcdf(scores, to / "scores.nc")
    write_csv(scores, to / "scores.csv")
