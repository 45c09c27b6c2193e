"""What the scores say: tables, and the sentences at the head of the report, all computed, none written beforehand."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from forecasting.bootstrap import CONFIDENCE
from forecasting.entries import DIMS, parts
from forecasting.fields import unit_text
from forecasting.scores import COLUMNS, OVER, REFERENCE, SKILL
from oceanop.variables import VARIABLES

PREFERRED_HOURS = (1, 3, 6, 12, 18, 21)
LONG = 48  # hours beyond which leads are chosen by ratio
TOLD = 3  # models that have a sentence of their own
METRIC_TEXT = {
    "rmse": "RMSE",
    "mae": "Mean absolute error",
    "bias": "Bias",
    "correlation": "Correlation",
    SKILL: "Skill over persistence",
    "csi": "Critical success index",
    "edi": "Extremal dependence index",
    "crps": "CRPS",
    "nash_sutcliffe": "Nash–Sutcliffe efficiency",
    "kling_gupta": "Kling–Gupta efficiency",
}


@dataclass(frozen=True)
class Row:
    """One forecaster in the table: its cells by column, and which of them are the best of their column."""

    name: str
    model: bool
    cells: list[str]
    best: list[bool]


@dataclass(frozen=True)
class Summary:
    """The minute of reading at the head of the page.

    Attributes
    ----------
    sentences
        What was found.
    figures
        ``(number, what it is)`` to be seen from afar.
    """

    sentences: list[str]
    figures: list[tuple[str, str]]


def scores_table(scores: xr.Dataset) -> pd.DataFrame:
    """Scores as rows ``forecaster,variable,metric,band,lead_hours,value,low,high,count``, those that exist only."""
    labels = [scores[dim].values.astype(str).astype(object) for dim in DIMS]
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
    for pair, numbers in parts(scores):
        there = np.nonzero(np.isfinite(numbers["value"]))
        codes = (*(np.full(len(there[0]), each) for each in pair), *there)
        for dim, names, code in zip(DIMS, labels, codes, strict=True):
            columns[dim].append(names[code])
        for name, values in numbers.items():
            columns[name].append(values[there])
    return pd.DataFrame({name: np.concatenate(held) for name, held in columns.items()})


def main_variable(table: pd.DataFrame) -> str:
    """What the headline is about: a whole current where there is one, else the first variable."""
    names = list(dict.fromkeys(table["variable"]))
    return next((name for name in names if "+" in name), names[0])


def variable_text(name: str) -> str:
    """A variable of the scores in words."""
    if "+" in name:
        known = VARIABLES.get(name.split("+")[0])
        return "depth-mean current" if known and known.name == "ubar" else "current"
    return VARIABLES[name].long_name if name in VARIABLES else name


def variable_units(name: str) -> str:
    """Its unit, as a reader writes it."""
    known = VARIABLES.get(name.split("+")[0])
    return unit_text(known.units) if known else ""


def chosen_hours(table: pd.DataFrame) -> list[str]:
    """Leads for the table: the preferred ones where all are there, else six, spread by ratio over days.

    Over more than two days round hours and days are taken where there are such leads.
    """
    labels = [label for label in dict.fromkeys(table["lead_hours"]) if label != "all"]
    hours = np.array([float(label) for label in labels])
    wanted = [label for label, hour in zip(labels, hours, strict=True) if hour in PREFERRED_HOURS]
    if len(labels) and hours.max() > LONG:
        whole = np.where(hours <= 6, hours % 1, np.where(hours <= 24, hours % 6, hours % 24)) == 0
        known = np.flatnonzero(whole) if whole.sum() >= len(PREFERRED_HOURS) else np.arange(hours.size)
        aims = np.geomspace(max(hours.min(), 1.0), hours.max(), len(PREFERRED_HOURS))
        found = {int(known[np.abs(np.log(hours[known] / aim)).argmin()]) for aim in aims}
        return [labels[i] for i in sorted(found, key=lambda i: hours[i])]
    if len(wanted) < min(len(PREFERRED_HOURS), len(labels)):
        index = np.unique(np.linspace(0, len(labels) - 1, min(6, len(labels))).round().astype(int))
        wanted = [labels[i] for i in index]
    elif hours.max() > PREFERRED_HOURS[-1]:
        wanted[-1] = labels[int(hours.argmax())]  # a forecast is judged at its end, too
    return wanted


def score_rows(
    table: pd.DataFrame,
    variable: str,
    metric: str,
    columns: list[str],
    models: Collection[str],
    *,
    seeds: Collection[str] = (),
) -> list[Row]:
    """Table of one metric: forecasters by lead, the best of each lead marked; single seeds do not compete."""
    part = table[(table["variable"] == variable) & (table["metric"] == metric) & (table["band"] == "all")]
    names = list(dict.fromkeys(table["forecaster"]))
    values = part.pivot(index="forecaster", columns="lead_hours", values="value")
    values = values.reindex(index=names, columns=columns)
    size = {"correlation": -values, "bias": values.abs()}.get(metric, values)
    digits = _digits(values.to_numpy(float))
    least = size.drop(index=[name for name in seeds if name in size.index]).min()
    return [
        Row(
            name,
            name in models,
            [f"{value:.{digits}f}" if np.isfinite(value) else "–" for value in values.loc[name]],
            # Ties to the last shown digit are all best: the reader sees no difference, and neither should we
            [
                name not in seeds
                and bool(
                    np.isfinite(size.loc[name, c])
                    and _shown(size.loc[name, c], digits) <= _shown(least[c], digits)
                )
                for c in columns
            ],
        )
        for name in names
    ]


def _shown(value: float, digits: int) -> float:
    return float(f"{value:.{digits}f}")


def seeds_of(scores: xr.Dataset) -> dict[str, list[str]]:
    """Models of several seeds and the names of these: the model is judged by all of them, never by its luckiest."""
    return dict(json.loads(scores.attrs.get("pooled", "{}")))


def single_seeds(scores: xr.Dataset) -> list[str]:
    """Names of the single seeds of pooled models."""
    return [name for names in seeds_of(scores).values() for name in names]


def without_seeds(table: pd.DataFrame, scores: xr.Dataset) -> pd.DataFrame:
    """The table without the single seeds of pooled models."""
    return table[~table["forecaster"].isin(single_seeds(scores))]


def summarise(scores: xr.Dataset, models: list[str], cells: int) -> Summary:
    """Who wins, who loses, by how much and how sure."""
    table = without_seeds(scores_table(scores), scores)
    variable = main_variable(table)
    # A number, its unit and its sign stay on one line
    unit = f" {variable_units(variable)}".rstrip().replace(" ", "\u00a0")
    rmse = table[(table["variable"] == variable) & (table["metric"] == "rmse") & (table["band"] == "all")]
    whole = rmse[rmse["lead_hours"] == "all"].set_index("forecaster").sort_values("value")
    hours = [float(label) for label in dict.fromkeys(rmse["lead_hours"]) if label != "all"]
    if whole.empty:
        return Summary(["The scores hold no error over all leads together, so there is nothing to rank."], [])
    digits = _digits(whole["value"].to_numpy(float))

    def said(name: str) -> str:
        row = whole.loc[name]
        ends = (
            f" ({row['low']:.{digits}f} to {row['high']:.{digits}f})" if np.isfinite([row["low"], row["high"]]).all()
            else ""
        )  # fmt: skip
        return f"{row['value']:.{digits}f}{unit}{ends}"

    winner, loser = str(whole.index[0]), str(whole.index[-1])
    warning = str(scores.attrs.get("warning", ""))
    sentences = [*([warning] if warning else [])]
    sentences += [
        f"Over leads from {hours[0]:g} to {hours[-1]:g} h the {variable_text(variable)} is forecast best by {winner}, "
        f"with a root mean square error of {said(winner)}."
    ]
    if loser != winner:
        sentences.append(f"The largest error, {said(loser)}, is that of {loser}.")
    ratios = table[
        (table["variable"] == variable) & (table["lead_hours"] == "all") & (table["band"] == "all")
    ]
    ranked = [str(name) for name in whole.index if name in models]
    sentences += [_beside(name, whole, models, ratios) for name in ranked[:TOLD]]
    if len(ranked) > TOLD:
        sentences.append(f"The other {len(ranked) - TOLD} models are in the tables below.")
    skill = table[
        (table["variable"] == variable) & (table["metric"] == "skill") & (table["lead_hours"] == "all")
    ]
    skill = skill.set_index("forecaster")
    figures = [(f"{whole.loc[winner, 'value']:.{digits}f}{unit}", f"smallest error, {winner}")]
    best = next((name for name in whole.index if name in models), None)
    if best is not None and best in skill.index and best != REFERENCE:
        row = skill.loc[best]
        figures.append((f"{100 * row['value']:.0f} %", f"skill of {best} over persistence"))
        sure = (
            f" (interval {100 * row['low']:.0f} to {100 * row['high']:.0f} %)"
            if np.isfinite(row["low"])
            else ""
        )
        sentences.append(
            f"{best} removes {100 * row['value']:.0f} % of persistence's mean square error{sure}."
            if row["value"] > 0
            else f"{best} has no skill over persistence: its mean square error is {100 * (1 - row['value']):.0f} % of "
            "persistence's."
        )
    starts = str(scores.attrs.get("starts", "")).split(" ")[0]
    number = f"{cells:,}".replace(",", "\u202f")
    sentences.append(
        f"All this rests on {starts or 'an unknown number of'} start{'' if starts == '1' else 's'}, {len(hours)} leads "
        f"and {number} ocean cells; numbers in brackets are {100 * CONFIDENCE:g} % intervals (see Method)."
    )
    figures.append((f"{starts or '?'} × {len(hours)}", f"start{'' if starts == '1' else 's'} × leads scored"))
    figures.append((number, "ocean cells a map"))
    return Summary([sentence.replace(" %", "\u00a0%") for sentence in sentences], figures)


def _beside(name: str, whole: pd.DataFrame, models: list[str], ratios: pd.DataFrame) -> str:
    others = [str(other) for other in whole.index if other not in models]
    mine = whole.loc[name, "value"]
    if not others:
        return f"{name} was compared with no baseline."
    better = [other for other in others if whole.loc[other, "value"] > mine]
    worse = [other for other in others if other not in better]
    best = others[0]
    number = "all" if not worse else f"{len(better)} of"
    sentence = f"{name} beats {number} {len(others)} baselines" if better else f"{name} beats no baseline"
    if worse:
        sentence += f" and loses to {', '.join(worse)}"
    if whole.loc[best, "value"] == 0:  # the truth itself under another name
        return f"{sentence}; the best of them, {best}, has no error."
    change = 100 * (mine / whole.loc[best, "value"] - 1)
    return (
        f"{sentence}; its error is {_change_text(change)} that of the best of them, {best}"
        f"{_sureness(ratios[(ratios['forecaster'] == name) & (ratios['metric'] == OVER + best)])}."
    )


def _change_text(change: float) -> str:
    return f"{abs(change):.0f} % {'above' if change > 0 else 'below'}"


def _sureness(ratio: pd.DataFrame) -> str:
    """Interval of the ratio of two errors, which were resampled together."""
    ends = [100 * (float(ratio[end].iloc[0]) - 1) for end in ("low", "high")] if len(ratio) else [np.nan]
    if not np.isfinite(ends).all():
        return ""
    if ends[0] * ends[1] > 0:
        low, high = sorted(abs(end) for end in ends)
        return f" (interval {low:.0f} to {high:.0f} %)"
    return f" (interval {_change_text(ends[0])} to {_change_text(ends[1])}, so that the two cannot be told apart)"


def _digits(values: Any) -> int:
    finite = np.abs(values[np.isfinite(values)])
    finite = finite[finite > 0]
    # Three figures of the typical value: more is noise, fewer hide what differs
    return int(np.clip(2 - np.floor(np.log10(np.median(finite))), 0, 6)) if finite.size else 2
