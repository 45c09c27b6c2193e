"""Which forecaster beats which baseline, at which leads: words and a table for the head of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from forecasting import findings
from forecasting.scores import OVER

BETTER, WORSE, EVEN = "better", "worse", "undecided"
SIGNS = {BETTER: "▼", WORSE: "▲", EVEN: "≈"}  # of the error: below, above, about that of the baseline
RUNS = 4  # stretches of leads that a sentence can hold


@dataclass(frozen=True)
class Cell:
    """One lead: ``▼ 23 %``, whether that is better, worse or undecided, and its interval in words."""

    text: str
    kind: str
    interval: str


@dataclass(frozen=True)
class Verdict:
    """One model beside one baseline."""

    baseline: str
    words: str
    cells: list[Cell]


@dataclass(frozen=True)
class Verdicts:
    """One model beside all baselines, as a table with a column for some leads and one for all of them."""

    model: str
    columns: list[str]
    rows: list[Verdict]


def verdicts(table: pd.DataFrame, models: Sequence[str]) -> list[Verdicts]:
    """Every model beside every baseline, the best model first, the hardest baseline first.

    A model is better at a lead where the whole interval of the ratio of the two errors, resampled together, is below
    one; where there is no interval the ratio alone decides.

    Parameters
    ----------
    table
        All scores of fields, from :func:`forecasting.findings.scores_table`.
    models
        Who is no baseline.
    """
    variable = findings.main_variable(table)
    part = table[(table["variable"] == variable) & (table["band"] == "all")]
    whole = part[(part["metric"] == "rmse") & (part["lead_hours"] == "all")].sort_values("value")
    ranked = [str(name) for name in whole["forecaster"]]
    columns = [*findings.chosen_hours(part), "all"]
    found = []
    for model in (name for name in ranked if name in models):
        own = part[part["forecaster"] == model]
        rows = [
            _verdict(baseline, own[own["metric"] == OVER + baseline], columns)
            for baseline in ranked
            if baseline not in models and (own["metric"] == OVER + baseline).any()
        ]
        if rows:
            headings = [f"{label} h" if label != "all" else "all leads" for label in columns]
            found.append(Verdicts(model, headings, rows))
    return found


def _verdict(baseline: str, ratios: pd.DataFrame, columns: list[str]) -> Verdict:
    ratios = ratios.set_index("lead_hours")[["value", "low", "high"]]
    by_lead = ratios.drop(index="all", errors="ignore")
    hours = by_lead.index.astype(float)
    kinds = [kind_of(*by_lead.iloc[i]) for i in np.argsort(hours.to_numpy(), kind="stable")]
    words = in_words(sorted(hours), kinds)
    return Verdict(
        baseline,
        words[:1].upper() + words[1:],
        [_cell(ratios.loc[label]) if label in ratios.index else Cell("–", "none", "") for label in columns],
    )


def kind_of(value: float, low: float, high: float) -> str:
    """Better, worse or undecided, of a ratio to a baseline's error and its interval, NaN where there is none."""
    if not np.isfinite([low, high]).all():
        low = high = value
    return BETTER if high < 1 else WORSE if low > 1 else EVEN


def in_words(hours: Sequence[float], kinds: Sequence[str]) -> str:
    """``better from 1 to 6 h, undecided from 7 to 9 h``; counts of leads where that is too long."""
    if not kinds:
        return "not compared by lead"
    if len(set(kinds)) == 1:
        return f"{kinds[0]} at all leads" if len(kinds) > 1 else f"{kinds[0]} at {hours[0]:g}\u00a0h"
    runs = []
    for kind, group in groupby(range(len(kinds)), key=lambda i: kinds[i]):
        numbers = list(group)
        first, last = hours[numbers[0]], hours[numbers[-1]]
        runs.append(
            f"{kind} at {first:g}\u00a0h"
            if len(numbers) == 1
            else f"{kind} from {first:g} to {last:g}\u00a0h"
        )
    if len(runs) <= RUNS:
        return ", ".join(runs)
    counts = {kind: kinds.count(kind) for kind in (BETTER, EVEN, WORSE) if kind in kinds}
    said = ", ".join(f"{kind} at {count}" for kind, count in counts.items())
    return f"{said} of {len(kinds)} leads"


def _cell(ratio: pd.Series) -> Cell:
    value, low, high = (float(ratio[name]) for name in ("value", "low", "high"))
    kind = kind_of(value, low, high)
    interval = ""
    if np.isfinite([low, high]).all():
        ends = " to ".join(f"{100 * (end - 1):+.0f}".replace("-", "−") for end in (low, high))
        interval = f"interval {ends} %"
    return Cell(f"{SIGNS[kind]}\u2009{100 * (value - 1):+.0f}\u00a0%".replace("-", "−"), kind, interval)
