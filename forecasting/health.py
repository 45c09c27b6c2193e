"""Health of a long forecast: whether it stays an ocean, fades into its mean, or leaves what an ocean can be."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines import open_store, read_statistics
from data_pipelines.splits import steps_of_splits
from data_pipelines.store import CONVENTIONS, oceanop_version
from data_pipelines.times import text
from forecasting.clock import hours
from forecasting.origin import made_by
from forecasting.vitals import Vitals, attributes_of, split_name, state_at
from oceanop.grid import Grid
from oceanop.variables import VARIABLES

Array = NDArray[np.float64]

STABLE, DAMPING, EXPLODING = "stable", "damping", "exploding"
VERDICTS = (STABLE, DAMPING, EXPLODING)
SPLIT = "train"
SAMPLED = 64  # states of the training split, evenly chosen
LOWEST = 0.05  # quantile of them that is the lower end of what they do; their largest is the upper one
LATE = 0.25  # of the leads, the last ones, over whose mean a forecast is judged
MARGIN = 0.5  # of the width of the training range, by which a value may lie beyond it
GROWTH = 4.0  # of an energy or small-scale power, over its upper end: twice the amplitude
AWAY = 2.0  # of the distance from climatology, over its upper end
DECAY = 0.25  # of an energy, of its lower end: half the amplitude
FADED = 0.5  # of the distance from climatology, of its lower end
BLUR = 0.1  # of the small-scale power, of its lower end
LIMITS = {
    "late_share_of_leads": LATE,
    "range_margin": MARGIN,
    "energy_growth": GROWTH,
    "distance_growth": AWAY,
    "energy_decay": DECAY,
    "distance_decay": FADED,
    "small_scale_decay": BLUR,
}


@dataclass(frozen=True, eq=False)
class _Reference:
    """What is usual, in words and shortly: ends of every measure, and of every variable's values."""

    words: str
    short: str
    ends: dict[str, tuple[float, float]]
    values: dict[str, tuple[float, float]]


def health(ds: xr.Dataset, *, truth: xr.Dataset | str | Path | None = None) -> xr.Dataset:
    """Measure a forecast lead by lead and say of each start and member whether it is stable, damping or exploding.

    The measures are those of :class:`forecasting.vitals.Vitals`. A forecast is judged by their means over the last
    quarter of its leads against what ``SAMPLED`` states of the training split do, from the 5 % quantile to the
    largest of them; without a truth, against its own first lead. It is *exploding* if an ocean value is no number, one
    lies beyond the range of training by more than half its width (without a truth: beyond what is possible on Earth),
    an energy or a small-scale power is more than 4 times the upper end, the distance from climatology more than twice,
    or an area mean has left its ends by more than their width. Else it is *damping* if an energy is less than a quarter
    of the lower end, the distance from climatology less than half, or a small-scale power less than a tenth. Without a
    truth there is no distance from climatology, and no area mean is judged.

    Parameters
    ----------
    ds
        A forecast file; one state is in memory at a time.
    truth
        A store on the same grid, or its path, whose training split is the reference.

    Returns
    -------
    xr.Dataset
        Measures, ``(init_time, [member,] lead_time)``, and ``verdict``, ``(init_time[, member])``, 0 to 2 as its
        ``flag_meanings`` say; the attribute ``reasons``, JSON, holds a list of sentences for each.

    Raises
    ------
    ValueError
        If the truth is on another grid or holds no state of the forecast's variables.
    """
    names = tuple(str(name) for name, array in ds.data_vars.items() if "lead_time" in array.dims)
    vitals = Vitals.of(ds, names)
    reference = None
    if truth is not None:
        vitals, reference = _training(vitals, ds, truth)
    runs: dict[str, int] = {dim: ds.sizes[dim] for dim in ("init_time", "member") if dim in ds[names[0]].dims}
    series: dict[str, Array] = {}
    leads = ds.sizes["lead_time"]
    for run in np.ndindex(*runs.values()):
        place = dict(zip(runs, run, strict=True))
        for lead in range(leads):
            for measure, value in vitals.measure(state_at(ds, names, lead_time=lead, **place)).items():
                series.setdefault(measure, np.full((*runs.values(), leads), np.nan))[(*run, lead)] = value
    verdicts = np.zeros(tuple(runs.values()), dtype=np.int8)
    reasons = []
    for run in np.ndindex(*runs.values()):
        own = {measure: values[run] for measure, values in series.items()}
        units = {measure: attributes_of(measure, ds)["units"] for measure in own}
        verdict, why = _judge(vitals, own, reference or _first_lead(own), units)
        verdicts[run] = VERDICTS.index(verdict)
        reasons.append(why)
    words = reference.words if reference else "the first lead of each forecast"
    return _dataset(ds, runs, series, verdicts, reasons, words)


def verdict_of(report: xr.Dataset) -> str:
    """The worst verdict of all forecasts of a report."""
    return VERDICTS[int(report["verdict"].max())]


def health_json(report: xr.Dataset) -> dict[str, Any]:
    """A report as plain data: verdicts, reasons, limits, and every measure by lead."""
    reasons = json.loads(report.attrs["reasons"])
    runs = [dim for dim in ("init_time", "member") if dim in report["verdict"].dims]
    forecasts = []
    for number, run in enumerate(np.ndindex(*report["verdict"].shape)):
        place = dict(zip(runs, run, strict=True))
        measures = {
            str(name): {
                "units": array.attrs.get("units", "1"),
                "values": [
                    float(f"{value:.6g}") if np.isfinite(value) else None for value in array.values[run]
                ],
            }
            for name, array in report.data_vars.items()
            if name != "verdict"
        }
        forecasts.append(
            {
                "start": text(report["init_time"].values[run[0]]),
                **({"member": int(report["member"][place["member"]])} if "member" in place else {}),
                "verdict": VERDICTS[int(report["verdict"].values[run])],
                "reasons": reasons[number],
                "measures": measures,
            }
        )
    return {
        "model": report.attrs.get("model", ""),
        "verdict": verdict_of(report),
        "reference": report.attrs["reference"],
        "limits": json.loads(report.attrs["limits"]),
        "lead_hours": (report["lead_time"].values / np.timedelta64(1, "h")).tolist(),
        "forecasts": forecasts,
    }


def health_lines(report: xr.Dataset) -> list[str]:
    """A report in lines for a reader: each forecast's verdict and why, and its measures at the first and last lead."""
    told = health_json(report)
    last = told["lead_hours"][-1]
    lines = [f"{told['verdict']}: {told['model']}, to a lead of {last:g} h, against {told['reference']}"]
    for each in told["forecasts"]:
        member = f", member {each['member']}" if "member" in each else ""
        why = "; ".join(each["reasons"]) or "all measures stay inside their limits"
        lines.append(f"  {each['start']}{member}: {each['verdict']}: {why}")
    lines.append("measures of the first forecast, first and last lead:")
    for name, held in told["forecasts"][0]["measures"].items():
        first, final = (
            "none" if value is None else f"{value:.4g}" for value in (held["values"][0], held["values"][-1])
        )
        lines.append(f"  {name}: {first} to {final} {held['units']}")
    return lines


def _training(vitals: Vitals, ds: xr.Dataset, truth: xr.Dataset | str | Path) -> tuple[Vitals, _Reference]:
    store = open_store(truth) if isinstance(truth, str | Path) else truth
    if Grid.from_dataset(store).fingerprint != Grid.from_dataset(ds).fingerprint:
        raise ValueError("the truth lies on another grid than the forecast; give the store it was made from.")
    missing = [name for name in vitals.names if name not in store.data_vars]
    if missing:
        raise ValueError(
            f"the truth does not hold {', '.join(missing)}; give a store with what was forecast."
        )
    steps = np.flatnonzero(steps_of_splits(store, SPLIT))
    steps = steps[np.unique(np.linspace(0, steps.size - 1, SAMPLED).round().astype(int))]
    sums = {name: np.zeros_like(vitals.weight[name]) for name in vitals.names}
    counts = {name: np.zeros_like(vitals.weight[name]) for name in vitals.names}
    for step in steps.tolist():
        for name, values in state_at(store, vitals.names, time=step).items():
            known = np.isfinite(values)
            sums[name] += np.where(known, values, 0.0)
            counts[name] += known
    for name in vitals.names:
        if not (counts[name] * vitals.weight[name]).any():
            raise ValueError(
                f"the training split of the truth holds no value of '{name}'; give another store."
            )
    climate = {name: sums[name] / np.maximum(counts[name], 1.0) for name in vitals.names}
    vitals = replace(vitals, climate=climate)
    measured = [vitals.measure(state_at(store, vitals.names, time=step)) for step in steps.tolist()]
    ends = {}
    for measure in measured[0]:
        values = np.array([each.get(measure, np.nan) for each in measured])
        ends[measure] = (float(np.nanquantile(values, LOWEST)), float(np.nanmax(values)))
    if isinstance(truth, str | Path):
        table = read_statistics(truth, SPLIT)
        values_of = {
            name: (
                float(table[name].sel(statistic="min").min()),
                float(table[name].sel(statistic="max").max()),
            )
            for name in vitals.names
        }
    else:
        low, high = (
            {
                name: [each[f"{name}_{end}"] for each in measured if f"{name}_{end}" in each]
                for name in vitals.names
            }
            for end in ("lowest", "highest")
        )
        values_of = {name: (min(low[name]), max(high[name])) for name in vitals.names}
    times = store["time"].values[steps]
    words = f"{steps.size} states of the training split, {hours(times)[-1] - hours(times)[0]:.0f} h"
    wider = {name: (a - MARGIN * (b - a), b + MARGIN * (b - a)) for name, (a, b) in values_of.items()}
    return vitals, _Reference(words, "of the training states", ends, wider)


def _first_lead(series: dict[str, Array]) -> _Reference:
    # The mean of one state says nothing of how far means go, as with a tide
    ends = {
        measure: (float(values[0]), float(values[0]))
        for measure, values in series.items()
        if split_name(measure)[1] != "mean"
    }
    possible = {split_name(measure)[0] for measure in series if measure.endswith("_missing")}
    values = {name: VARIABLES[name].valid_range for name in possible if name in VARIABLES}
    return _Reference("the first lead", "at the first lead", ends, values)


def _judge(
    vitals: Vitals, series: dict[str, Array], reference: _Reference, units: dict[str, str]
) -> tuple[str, list[str]]:
    exploding, damping = [], []
    for name in vitals.names:
        missing = series[f"{name}_missing"]
        if missing.any():
            exploding.append(
                f"{name} has ocean values that are no numbers from lead {int(np.argmax(missing > 0)) + 1}"
            )
        for end, beyond in (("lowest", np.less), ("highest", np.greater)):
            limit = reference.values.get(name, (-np.inf, np.inf))[end == "highest"]
            outside = beyond(series.get(f"{name}_{end}", np.zeros(1)), limit)
            if outside.any():
                exploding.append(
                    f"the {end} {name} passes {limit:.3g} from lead {int(np.argmax(outside)) + 1}"
                )
    for measure, values in series.items():
        kind = vitals.judged(measure)
        if not kind or measure not in reference.ends:
            continue
        late = values[-max(1, round(LATE * values.size)) :]
        if np.isnan(late).all():
            continue  # there is no value left to measure, which was told above
        value = float(np.nanmean(late))
        low, high = reference.ends[measure]
        said = f"{measure} is {value:.3g} {units[measure]} in the mean of the last quarter of the leads"
        if kind == "mean":
            if value < low - (high - low) or value > high + (high - low):
                exploding.append(
                    f"{said}, further from the {low:.3g} to {high:.3g} {reference.short} than these are apart"
                )
            continue
        growth = AWAY if kind == "distance" else GROWTH
        decay = {"energy": DECAY, "distance": FADED, "small scale": BLUR}[kind]
        if value > high * growth:
            exploding.append(f"{said}, more than {growth:g} times the {high:.3g} {reference.short}")
        elif value < low * decay:
            damping.append(f"{said}, less than {decay:g} of the {low:.3g} {reference.short}")
    if exploding:
        return EXPLODING, exploding
    return (DAMPING, damping) if damping else (STABLE, [])


def _dataset(
    ds: xr.Dataset,
    runs: dict[str, int],
    series: dict[str, Array],
    verdicts: NDArray[np.int8],
    reasons: list[list[str]],
    words: str,
) -> xr.Dataset:
    kept = [name for name in ("init_time", "member", "lead_time", "valid_time") if name in ds.coords]
    out = xr.Dataset(coords={name: ds[name].variable for name in kept})
    for measure, values in series.items():
        out[measure] = ((*runs, "lead_time"), values, attributes_of(measure, ds))
    out["verdict"] = (
        tuple(runs),
        verdicts,
        {
            "long_name": "health of the forecast",
            "flag_values": np.arange(len(VERDICTS), dtype=np.int8),
            "flag_meanings": " ".join(VERDICTS),
        },
    )
    carried = ("model", "checkpoint_sha256", "input_store", "institution", "license")
    out.attrs = {
        "Conventions": CONVENTIONS,
        "title": f"Health of {ds.attrs.get('title', 'an ocean forecast')}",
        "history": made_by("oceanop health", ds),
        "oceanop_version": oceanop_version(),
        **{name: ds.attrs[name] for name in carried if name in ds.attrs},
        "reference": words,
        "limits": json.dumps(LIMITS),
        "reasons": json.dumps(reasons),
    }
    return out
