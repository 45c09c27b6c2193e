"""From sums to a table of scores with intervals: by forecaster, variable, metric and lead."""

import csv
import os
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path

import netCDF4
import numpy as np
import torch
import xarray as xr
from torch import Tensor

from forecasting import bootstrap
from forecasting.diagnostic import Method
from forecasting.entries import DIMS, NUMBERS, Entries, parts
from oceanop.layout import Layout
from oceanop.metrics import METRICS, STATISTICS, Sums
from oceanop.variables import vector_pairs

REFERENCE = "persistence"
SKILL = "skill"  # against the same resample of persistence
OVER = "rmse_over_"  # before a baseline's name: ratio to its RMSE in the same resample
COLUMNS = ("forecaster", "variable", "metric", "band", "lead_hours", "value", "low", "high", "count")

METHODS = {
    "rmse": Method("rmse-1", "variable", "root mean square error, the root taken last"),
    "bias": Method("bias-1", "variable", "mean of forecast minus truth"),
    "mae": Method("mae-1", "variable", "mean absolute error"),
    "correlation": Method("correlation-1", "1", "Pearson correlation of all values pooled"),
    "centred_rmse": Method("centred_rmse-1", "variable", "root mean square error without the bias"),
    "nash_sutcliffe": Method(
        "nash_sutcliffe-1", "1", "Nash-Sutcliffe efficiency", "Nash and Sutcliffe, J. Hydrol. 10, 1970, eq. 3"
    ),
    "kling_gupta": Method(
        "kling_gupta-1",
        "1",
        "Kling-Gupta efficiency, its bias in standard deviations of the truth",
        "Tang, Clark and Papalexiou, J. Climate 34, 2021",
    ),
    SKILL: Method("skill-1", "1", "one less the mean square error over that of persistence"),
    OVER: Method("rmse_over-1", "1", "root mean square error over that of the baseline named"),
}


def method_of(metric: str, methods: Mapping[str, Method]) -> Method:
    """The method of a metric, or of the longest beginning of its name that has one, as of ``rmse_over_tides``.

    Raises
    ------
    KeyError
        If there is none.
    """
    known = [name for name in methods if metric == name or (name.endswith("_") and metric.startswith(name))]
    if not known:
        raise KeyError(f"the metric '{metric}' has no method; add it to those of its diagnostic")
    return methods[max(known, key=len)]


def score_table(
    sums: Mapping[str, Sums],
    layout: Layout,
    lead_hours: Sequence[float],
    *,
    seed: int,
    blocks: int,
    seeds: Mapping[str, Sequence[str]] | None = None,
    references: Sequence[str] = (REFERENCE,),
) -> xr.Dataset:
    """Scores of all forecasters.

    Parameters
    ----------
    sums
        By forecaster, ``[statistic, channel, lead, block]``; the same blocks for all, so that they can be compared
        resample by resample.
    layout
        Which channel is which variable; depths of a variable and components of a current are pooled.
    lead_hours
        Hours of the leads, ``[lead]``.
    seed, blocks
        Of the bootstrap, and the number of blocks.
    seeds
        Forecasters that are several pooled, and the names of these among ``sums``; they come first in the table, and
        their intervals draw seeds as well as blocks.
    references
        Baselines whose RMSE others are divided by, resample by resample; those not in ``sums`` are left out.

    Returns
    -------
    xr.Dataset
        ``value``, ``low``, ``high``, ``count``, each ``(forecaster, variable, metric, band, lead_hours)``;
        ``lead_hours`` are labels, the last one ``all``, and ``hours`` the same as numbers.
    """
    groups = variable_groups(layout)
    against = [name for name in dict.fromkeys(references) if name in sums]
    metrics = [*METRICS, *((SKILL,) if REFERENCE in against else ()), *(f"{OVER}{name}" for name in against)]
    rows = {
        **{name: list(members) for name, members in (seeds or {}).items()},
        **{name: [name] for name in sums},
    }
    shape = (len(rows), len(groups), len(metrics), 1, len(lead_hours) + 1)
    value, low, high = (np.full(shape, np.nan) for _ in range(3))
    count = np.zeros(shape, dtype=np.int64)
    drawn = bootstrap.draw(blocks, seed=seed)
    held = len(against) + 1 + max(map(len, rows.values()))
    spans = bootstrap.lead_spans(len(lead_hours) + 1, held * len(STATISTICS))
    for v, (variable, channels) in enumerate(groups.items()):
        pooled = {name: pooled_over(part, channels) for name, part in sums.items()}
        for span in spans:
            near = {name: Sums(part.values[:, span]) for name, part in pooled.items()}
            whole = {name: part.sum(-1) for name, part in near.items()}
            references_again = {name: redrawn(near[name], drawn) for name in against}
            for f, members in enumerate(rows.values()):
                total = reduce(add, (whole[name] for name in members))
                again = of_seeds([redrawn(near[name], drawn) for name in members], seed)
                found = _metrics(total, {name: whole[name] for name in against})
                resampled = _metrics(again, references_again)
                for m, metric in enumerate(metrics):
                    count[f, v, m, 0, span] = total.statistic("count").numpy()
                    if metric == "bias" and "+" in variable:
                        # Components of opposite sign would cancel: a current has no one bias
                        continue
                    value[f, v, m, 0, span] = found[metric].numpy()
                    ends = bootstrap.interval(resampled[metric], blocks)
                    low[f, v, m, 0, span], high[f, v, m, 0, span] = (end.numpy() for end in ends)
    labels = [*(f"{hours:g}" for hours in lead_hours), "all"]
    return xr.Dataset(
        {
            "value": (
                DIMS,
                value,
                {"long_name": "score; unit of the variable for rmse, centred_rmse, bias and mae, else 1"},
            ),
            "low": (DIMS, low, {"long_name": "lower end of the interval"}),
            "high": (DIMS, high, {"long_name": "upper end of the interval"}),
            "count": (DIMS, count, {"long_name": "number of values scored"}),
        },
        coords={
            "forecaster": list(rows),
            "variable": list(groups),
            "metric": metrics,
            "band": ["all"],
            "lead_hours": (
                "lead_hours",
                labels,
                {"long_name": "hours since the start, or all leads together"},
            ),
            "hours": (
                "lead_hours",
                [*lead_hours, np.nan],
                {"long_name": "hours since the start", "units": "hours"},
            ),
        },
    )


def joined(tables: Sequence[xr.Dataset]) -> xr.Dataset:
    """Several tables as one, with the attributes of the first; what none of them has is NaN, its count 0.

    Parameters
    ----------
    tables
        With leads among those of the first, and no score in two of them.
    """
    first = tables[0]
    entries = Entries.of(tables)
    leads = [str(label) for label in first["lead_hours"].values]
    assert entries.labels["lead_hours"] == leads, entries.labels["lead_hours"]
    whole = entries.dataset({str(name): each.attrs for name, each in first.variables.items()})
    return whole.assign_coords(hours=first["hours"].variable).assign_attrs(first.attrs)


def variable_groups(layout: Layout) -> dict[str, list[int]]:
    """Channels of each variable, then of each pair of components pooled, as ``uo+vo``."""
    names = layout.names()
    groups = {
        name: [i for i, channel in enumerate(layout.state) if channel.variable == name] for name in names
    }
    pairs = {f"{east}+{north}": [*groups[east], *groups[north]] for east, north in vector_pairs(names)}
    return {**groups, **pairs}


def write_csv(scores: xr.Dataset, path: Path) -> None:
    """Write one row a score, in the order of the table; scores that do not exist are left out."""
    partial = path.with_name(path.name + ".partial")
    labels = [[str(label) for label in scores[dim].values] for dim in DIMS]
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for pair, numbers in parts(scores):
            there = np.nonzero(~np.isnan(numbers["value"]))
            columns = [numbers[name][there].tolist() for name in NUMBERS]
            for *index, value, low, high, count in zip(*there, *columns, strict=True):
                words = [names[i] for names, i in zip(labels, (*pair, *index), strict=True)]
                ends = ["" if np.isnan(end) else f"{end:.7g}" for end in (low, high)]
                writer.writerow([*words, f"{value:.7g}", *ends, int(count)])
    os.replace(partial, path)


def write_netcdf(scores: xr.Dataset, path: Path) -> None:
    """Write the whole table, as NetCDF-4 that keeps no room for metrics which a forecaster and variable lack."""
    partial = path.with_name(path.name + ".partial")
    scores.drop_vars(list(NUMBERS)).to_netcdf(partial, engine="netcdf4")
    with netCDF4.Dataset(partial, "a") as file:
        chunks = tuple(1 if i < 3 else scores.sizes[dim] for i, dim in enumerate(DIMS))
        for name, empty in NUMBERS.items():
            kind = scores[name].dtype.str[1:]
            made = file.createVariable(
                name, kind, DIMS, fill_value=empty, chunksizes=chunks, compression="zlib", complevel=1
            )
            made.setncatts({**scores[name].attrs, "coordinates": "hours"})
            if name == "count":
                # What was never written is still read as 0, and no longer taken for missing, which a number cannot be
                made.delncattr("_FillValue")
        for pair, numbers in parts(scores):
            held = np.isfinite(numbers["value"]) | (numbers["count"] > 0)
            for metric in np.flatnonzero(held.any((1, 2))).tolist():
                for name, values in numbers.items():
                    file[name][(*pair, metric)] = values[metric]
    os.replace(partial, path)


def pooled_over(sums: Sums, channels: list[int]) -> Sums:
    """Sums over some channels, and behind the leads the sum over all of them, ``[statistic, lead + 1, block]``."""
    by_lead = sums.values[:, channels].sum(1)
    return Sums(torch.cat([by_lead, by_lead.sum(1, keepdim=True)], dim=1))


def redrawn(sums: Sums, drawn: Tensor) -> Sums:
    """Sums of every resample, ``drawn [block, resample]``."""
    return Sums(sums.values @ drawn)


def of_seeds(resampled: Sequence[Sums], seed: int) -> Sums:
    """Resamples of seeds pooled, the seeds of each drawn again too."""
    if len(resampled) == 1:
        return resampled[0]
    weights = bootstrap.draw_seeds(len(resampled), seed=seed)
    return reduce(add, (Sums(part.values * weight) for part, weight in zip(resampled, weights, strict=True)))


def _metrics(sums: Sums, references: Mapping[str, Sums]) -> dict[str, Tensor]:
    scores = {name: metric(sums) for name, metric in METRICS.items()}
    for name, reference in references.items():
        ratio = sums.mse() / reference.mse()
        scores[f"{OVER}{name}"] = ratio.sqrt()
        if name == REFERENCE:
            scores[SKILL] = 1 - ratio
    return scores
