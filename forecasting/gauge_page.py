"""The part of the report about gauges: where they stand, how well each is forecast, and its highest water."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from forecasting import findings
from forecasting.curves import Chart, chart
from forecasting.gauge_scores import ALL_GAUGES, MEASURED, PERIODS, TRUTH
from forecasting.lines import DASHES, INK, Line, line_styles

COLUMNS = {
    "rmse": "RMSE",
    "bias": "bias",
    "centred_rmse": "centred RMSE",
    "correlation": "correlation",
    "nash_sutcliffe": "NSE",
    "kling_gupta": "KGE",
}
HIGHER_IS_BETTER = ("correlation", "nash_sutcliffe", "kling_gupta")
SERIES = 6  # gauges whose highest water is drawn
LEVELS = 3  # models in a drawing of levels, and one baseline: it holds no more lines
TRUTH_LINE = Line(INK, DASHES[1], 1.5)


@dataclass(frozen=True)
class GaugeSection:
    """What the template lays out.

    Attributes
    ----------
    stations
        ``(name, place, cell, datum, window, coverage)`` of every gauge, in words.
    tables
        Caption, columns and rows; that of all gauges by lead first, then all leads of all gauges and of each.
    curves, series
        Scores by lead, and levels.
    keys, styles
        Lines of the scores, and of the levels.
    when
        Which start the series are of.
    finding
        The sentence for the head of the page.
    """

    stations: list[tuple[str, ...]]
    tables: list[dict[str, Any]]
    curves: list[Chart]
    series: list[Chart]
    keys: dict[str, Line]
    styles: dict[str, Line]
    when: str
    finding: str


def gauge_section(
    scores: xr.Dataset, table: pd.DataFrame, models: list[str], series: pd.DataFrame | None
) -> GaugeSection | None:
    """The section, or None where there are no gauges.

    Parameters
    ----------
    scores
        With the attribute ``gauges``.
    table
        All their rows.
    models
        Who is no baseline.
    series
        Levels of one start, from :meth:`forecasting.gauge_scores.GaugeSums.highest_water`.
    """
    facts = json.loads(scores.attrs.get("gauges", "[]"))
    if not facts:
        return None
    seeds = findings.single_seeds(scores)
    shown = table[(table["band"] == ALL_GAUGES)].assign(band="all")
    columns = [*findings.chosen_hours(shown), "all"]
    by_lead = {
        "caption": f"RMSE of the level at {_number(len(facts))}, m",
        "columns": [f"{label} h" if label != "all" else "all leads" for label in columns],
        "rows": findings.score_rows(shown, "zos", "rmse", columns, models, seeds=[*seeds, TRUTH]),
    }
    bands = [ALL_GAUGES, *(each["name"] for each in facts)] if len(facts) > 1 else [facts[0]["name"]]
    tables = [by_lead, *(_table(table, band, models, [*seeds, TRUTH]) for band in bands)]
    styles = line_styles([*(name for name in dict.fromkeys(shown["forecaster"]) if name != TRUTH)], models)
    kept = {name: style for name, style in styles.items() if name not in seeds} | {TRUTH: TRUTH_LINE}
    curves = [
        _curve(shown, metric, words, unit, kept)
        for metric, words, unit in (
            ("centred_rmse", "Centred RMSE", "m"),
            ("correlation", "Correlation", "1"),
        )
    ]
    chosen = _best(shown, [name for name in kept if name in models])[:LEVELS]
    chosen += _best(shown, [name for name in kept if name not in models and name != TRUTH])[:1]
    levels = {MEASURED: Line(INK, "", 2.4)} | {name: kept[name] for name in [TRUTH, *chosen]}
    drawn = [] if series is None else _series(series, [each["name"] for each in facts], levels)
    return GaugeSection(
        stations=[_station(each) for each in facts],
        tables=tables,
        curves=[curve for curve in curves if curve is not None],
        series=drawn,
        keys=kept,
        styles=levels,
        when="" if series is None else str(series.attrs["start"]),
        finding=_finding(shown, _number(len(facts)), seeds),
    )


def _finding(shown: pd.DataFrame, gauges: str, seeds: list[str]) -> str:
    whole = shown[(shown["metric"] == "rmse") & (shown["lead_hours"] == "all")].set_index("forecaster")[
        "value"
    ]
    best = str(whole.drop(index=[TRUTH, *seeds]).idxmin())
    return (
        f"At {gauges} the level is forecast best by {best}, with a root mean square error of {whole[best]:.3f} m; that "
        f"of the store itself is {whole[TRUTH]:.3f} m."
    )


def _number(count: int) -> str:
    return "the gauge" if count == 1 else f"{count} gauges"


def _station(facts: dict[str, Any]) -> tuple[str, ...]:
    north, east = facts["latitude"], facts["longitude"]
    place = f"{abs(north):.3f} °{'N' if north >= 0 else 'S'}, {abs(east):.3f} °{'E' if east >= 0 else 'W'}"
    return (
        facts["name"],
        place,
        f"{facts['distance_m'] / 1e3:.1f} km",
        facts["datum"],
        facts["window"],
        f"{100 * facts['coverage']:.1f}\u00a0%",
    )


def _table(table: pd.DataFrame, band: str, models: list[str], apart: list[str]) -> dict[str, Any]:
    """All leads of one gauge, or of all: a column a score, then the RMSE of each band of periods."""
    whole = table[table["lead_hours"] == "all"]
    names = list(dict.fromkeys(whole[whole["band"] == band]["forecaster"]))
    values = whole[whole["band"] == band].pivot(index="forecaster", columns="metric", values="value")
    values = values.reindex(index=names, columns=list(COLUMNS))
    values.columns = list(COLUMNS.values())
    for period in PERIODS:
        slow = whole[(whole["band"] == f"{band} {period}") & (whole["metric"] == "rmse")]
        if len(slow):
            values[period] = slow.set_index("forecaster")["value"].reindex(names)
    better = [COLUMNS[metric] for metric in HIGHER_IS_BETTER]
    size = values.abs()
    size[better] = -values[better]
    least = size.drop(index=[name for name in apart if name in size.index]).min()
    counts = whole[(whole["band"] == band) & (whole["metric"] == "rmse")].set_index("forecaster")["count"]
    rows = [
        findings.Row(
            name,
            name in models,
            [
                *(f"{value:.3f}" if np.isfinite(value) else "–" for value in values.loc[name]),
                f"{counts[name]}",
            ],
            [
                *(
                    name not in apart and bool(np.isfinite(each) and round(each - least[column], 3) <= 0)
                    for column, each in size.loc[name].items()
                ),
                False,
            ],
        )
        for name in names
    ]
    caption = "All gauges" if band == ALL_GAUGES else band
    return {
        "caption": f"{caption}, all leads; errors in m",
        "columns": [*values.columns, "values"],
        "rows": rows,
    }


def _curve(table: pd.DataFrame, metric: str, words: str, unit: str, styles: dict[str, Line]) -> Chart | None:
    part = table[(table["metric"] == metric) & (table["lead_hours"] != "all")].astype({"lead_hours": float})
    return chart(part, styles, label=f"{words} ({unit})", title=f"{words} of the level at gauges")


def _best(shown: pd.DataFrame, names: list[str]) -> list[str]:
    """Some forecasters by their error at gauges, the smallest first."""
    whole = shown[(shown["metric"] == "rmse") & (shown["lead_hours"] == "all")].sort_values("value")
    return [str(name) for name in whole["forecaster"] if name in names]


def _series(series: pd.DataFrame, gauges: list[str], styles: dict[str, Line]) -> list[Chart]:
    drawn = []
    for gauge in gauges[:SERIES]:
        part = series[series["gauge"] == gauge].assign(low=np.nan, high=np.nan)
        title = f"Level at {gauge}, from {series.attrs['start']}"
        if (found := chart(part, styles, label="level (m)", title=title)) is not None:
            drawn.append(found)
    return drawn
