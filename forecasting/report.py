"""One page that says how good the forecasts are: words, tables, curves and maps, whole in a single file."""

import datetime
import json
import os
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from data_pipelines.store import oceanop_version
from forecasting import findings
from forecasting.atlas import atlas_of
from forecasting.curves import Chart, chart
from forecasting.fields import time_text
from forecasting.gauge_page import GaugeSection, gauge_section
from forecasting.gauge_scores import ALL_GAUGES, PERIODS
from forecasting.lines import Line, line_styles
from forecasting.packing import deflated, script_json
from forecasting.projection import Cells, cells_of
from forecasting.scores import SKILL
from forecasting.sections import Naming, Section, metric_sections
from forecasting.tiles import drawn_variable, lead_maps, mapped
from forecasting.verdicts import Verdicts, verdicts

PAGE_METRICS = ("rmse", SKILL, "mae", "bias", "correlation")
UNITLESS = (SKILL, "correlation")
FLOOR = -1.0  # of the frame of those: worse than that is no use at all


def write_report(
    to: Path,
    *,
    scores: xr.Dataset,
    forecasts: dict[str, xr.Dataset],
    truth: xr.Dataset,
    runs: dict[str, dict[str, Any]],
    cost: dict[str, dict[str, Any]] | None = None,
    gauge_series: pd.DataFrame | None = None,
) -> Path:
    """Write ``report.html``, which needs no other file, and ``maps/*.png`` under a folder.

    Parameters
    ----------
    to
        The folder.
    scores
        As :func:`forecasting.scores.score_table` makes them.
    forecasts
        Fields of every forecaster, models and baselines, in the form of a forecast file.
    truth
        What happened, in the same form.
    runs
        Resolved run of each model; who has none is a baseline.
    cost
        By forecaster: ``training_seconds``, ``forecast_seconds``, ``parameters``, ``threads``, ...
    gauge_series
        Levels of one start at gauges, where ``scores`` hold gauges, from
        :meth:`forecasting.gauge_scores.GaugeSums.highest_water`.

    Returns
    -------
    Path
        Of the page.
    """
    import jinja2

    to.mkdir(parents=True, exist_ok=True)
    rows = findings.scores_table(scores)
    facts = json.loads(scores.attrs.get("gauges", "[]"))
    of_fields = rows[~rows["band"].isin(_gauge_bands(rows, [each["name"] for each in facts]))]
    table = of_fields[of_fields["band"] == "all"]
    names = list(dict.fromkeys(table["forecaster"]))
    models = [name for name in names if name in runs]
    cells = cells_of(truth)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("forecasting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = script_json
    # Of several seeds of a model the first is drawn, the others would only repeat it
    spare = [name for seeds in findings.seeds_of(scores).values() for name in seeds[1:]]
    drawable = [name for name in models if name not in spare]
    drawn = table[~table["forecaster"].isin(spare)]
    summary = findings.summarise(scores, models, int(cells.wet.sum()))
    gauges = gauge_section(scores, rows, models, gauge_series)
    if gauges is not None:
        summary.sentences.append(gauges.finding)
    seeds = findings.single_seeds(scores)
    judged = findings.without_seeds(table, scores)
    styles = {name: style for name, style in line_styles(names, models).items() if name not in seeds}
    compared = verdicts(judged, models)
    naming = Naming.of(scores)
    sections = metric_sections(of_fields, naming, styles)
    page = environment.get_template("report.html").render(
        title=f"Forecasts of the {findings.variable_text(findings.main_variable(table))}",
        summary=summary,
        contents=_contents(compared, gauges, sections, bool(models), bool(cost)),
        version=oceanop_version(),
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        verdicts=compared,
        styles=styles,
        data=_data_rows(scores, forecasts, truth, cells),
        sources=_sources(forecasts, truth, models),
        models=[
            _model_rows(
                name,
                runs[name],
                forecasts.get(name),
                (cost or {}).get(name, {}),
                findings.seeds_of(scores).get(name, []),
            )
            | {"single": name in seeds}
            for name in models
        ],
        cost=_cost_rows(names, cost),
        tables=_tables(table, models, seeds),
        curves=_curves(judged, styles),
        gauges=gauges,
        sections=sections,
        atlas=atlas_of(
            forecasts, truth, mapped(drawn, forecasts, drawable), cells, scored=len(_scored_leads(scores))
        ),
        pictures=lead_maps(to, drawn, forecasts, truth, drawable, cells, drawn_variable(truth)),
        started=_started(scores, truth),
        metrics=naming.rows(list(dict.fromkeys(rows["metric"]))),
        method=_method(scores, any(_uses_forcing(run, forecasts.get(name)) for name, run in runs.items())),
        warned=bool(scores.attrs.get("warning")),
        plotly=_plotly(),
    )
    path = to / "report.html"
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


@cache
def _plotly() -> str:
    """The library that draws the curves, deflated to two of its five megabytes."""
    from plotly.offline import get_plotlyjs

    return deflated(get_plotlyjs().encode())


def _tables(table: pd.DataFrame, models: list[str], seeds: list[str]) -> list[dict[str, Any]]:
    columns = [*findings.chosen_hours(table), "all"]
    headings = [f"{label} h" if label != "all" else "all leads" for label in columns]
    main = findings.main_variable(table)
    variables = [main, *(name for name in dict.fromkeys(table["variable"]) if name != main)]
    return [
        {
            "caption": f"RMSE of {findings.variable_text(name)} ({name}), {findings.variable_units(name) or '1'}",
            "columns": headings,
            "rows": findings.score_rows(table, name, "rmse", columns, models, seeds=seeds),
            "main": name == main,
        }
        for name in variables
    ]


def _curves(table: pd.DataFrame, styles: dict[str, Line]) -> list[Chart]:
    main = findings.main_variable(table)
    curves = []
    for metric in PAGE_METRICS:
        # A current has a bias in each direction and none as a whole
        for name in main.split("+") if metric == "bias" else [main]:
            part = table[(table["variable"] == name) & (table["metric"] == metric) & (table["band"] == "all")]
            part = part[part["lead_hours"] != "all"].astype({"lead_hours": float})
            unit = "1" if metric in UNITLESS else findings.variable_units(name) or "1"
            text, words = findings.METRIC_TEXT[metric], findings.variable_text(name)
            floor = FLOOR if metric in UNITLESS else -np.inf
            title = f"{text}, {words}" if metric == SKILL else f"{text} of the {words}"
            curves.append(chart(part, styles, label=f"{text} ({unit})", title=title, floor=floor))
    return [curve for curve in curves if curve is not None]


def _gauge_bands(rows: pd.DataFrame, gauges: list[str]) -> list[str]:
    """Bands of all gauges, of each, and of these with a band of periods behind."""
    own = [ALL_GAUGES, *gauges] if gauges else []
    return [
        band
        for band in dict.fromkeys(rows["band"])
        if any(band == name or band in [f"{name} {period}" for period in PERIODS] for name in own)
    ]


def _contents(
    compared: list[Verdicts], gauges: GaugeSection | None, sections: list[Section], models: bool, cost: bool
) -> list[tuple[str, str]]:
    """Key and words of every section that the page has."""
    found = [("verdict", "Against each baseline")] if compared else []
    found += [("errors", "Errors by lead"), ("maps", "Maps by lead")]
    found += [("gauges", "Tide gauges")] if gauges is not None else []
    found += [(section.key, section.title) for section in sections]
    found += [
        ("data", "Data"),
        *([("models", "Models")] if models else []),
        *([("cost", "Cost")] if cost else []),
    ]
    return [*found, ("method", "Method"), ("again", "Make it again")]


def _data_rows(
    scores: xr.Dataset, forecasts: dict[str, xr.Dataset], truth: xr.Dataset, cells: Cells
) -> list[tuple[str, str]]:
    attrs = {**next((ds.attrs for ds in forecasts.values() if "sources" in ds.attrs), {}), **truth.attrs}
    rows = [(key.capitalize(), str(attrs[key])) for key in ("institution", "license") if attrs.get(key)]
    latitude, longitude = cells.latitude, cells.longitude
    rows.append(
        (
            "Grid",
            f"{cells.wet.shape[0]} × {cells.wet.shape[1]} cells, {latitude.min():.2f} to {latitude.max():.2f} °N, "
            f"{longitude.min():.2f} to {longitude.max():.2f} °E",
        )
    )
    rows.append(("Ocean", f"{cells.wet.sum()} cells, {100 * cells.wet.mean():.1f} % of the grid"))
    if "mask_share_of_ocean" in scores.attrs:
        share = 100 * float(scores.attrs["mask_share_of_ocean"])
        rows.append(("Scored", f"{share:.1f} % of the ocean: {scores.attrs.get('mask', 'the common mask')}"))
    if "mask_sha256" in scores.attrs:
        rows.append(("Mask sha256", str(scores.attrs["mask_sha256"])[:16]))
    starts = truth["init_time"].values
    leads = _scored_leads(scores)
    period = (
        scores.attrs.get("starts") or f"{starts.size} from {time_text(starts[0])} to {time_text(starts[-1])}"
    )
    rows.append(("Starts", str(period)))
    rows.append(("Leads", f"{len(leads)}, {leads[0]} h to {leads[-1]} h"))
    if scores.attrs.get("left_out", "none") != "none":
        rows.append(("Left out", str(scores.attrs["left_out"])))
    splits = _json(attrs.get("splits"))
    for name, ends in splits.items() if isinstance(splits, dict) else ():
        rows.append((f"Split {name}", f"{ends[0]} to {ends[1]}"))
    if "baselines_fitted_on" in scores.attrs:
        rows.append(("Baselines fitted on", str(scores.attrs["baselines_fitted_on"])))
    if "diagnostics_left_out" in scores.attrs:
        rows.append(("Diagnostics left out", str(scores.attrs["diagnostics_left_out"])))
    if "baselines_left_out" in scores.attrs:
        rows.append(("Baselines left out", str(scores.attrs["baselines_left_out"])))
    return rows


def _scored_leads(scores: xr.Dataset) -> list[str]:
    """Hours of the leads: fields may be kept of fewer, of a forecast too large for memory."""
    return [str(label) for label in scores["lead_hours"].values if label != "all"]


def _sources(forecasts: dict[str, xr.Dataset], truth: xr.Dataset, models: list[str]) -> list[dict[str, str]]:
    held = [truth, *(forecasts[name] for name in models if name in forecasts)]
    listed = next((found for ds in held if isinstance(found := _json(ds.attrs.get("sources")), list)), [])
    rows = []
    for entry in listed:
        if isinstance(entry, dict):
            digest = next((str(value) for key, value in entry.items() if "sha" in key.lower()), "")
            size = next((value for key, value in entry.items() if "size" in key or "bytes" in key), None)
            name = str(next((entry[key] for key in ("name", "path", "file", "source") if key in entry), "?"))
            rows.append(
                {
                    "name": Path(name).name,
                    "role": str(entry.get("role", "")),
                    "size": f"{float(size) / 1e6:.1f} MB" if isinstance(size, Real) else "",
                    "sha256": digest[:16],
                }
            )
    return rows


def _model_rows(
    name: str, run: dict[str, Any], forecast: xr.Dataset | None, cost: dict[str, Any], pooled: list[str]
) -> dict[str, Any]:
    attrs = {} if forecast is None else forecast.attrs
    resolved = run.get("run", run) if isinstance(run.get("run", run), dict) else run
    facts = [
        ("Checkpoint sha256", str(run.get("checkpoint_sha256") or attrs.get("checkpoint_sha256", ""))[:16]),
        ("Parameters", _number(run.get("parameters") or cost.get("parameters") or attrs.get("parameters"))),
        ("Seed", "" if pooled else str(resolved.get("training", {}).get("seed", ""))),
        ("Pooled from", ", ".join(pooled)),
        ("Training", _seconds(run.get("training_seconds") or cost.get("training_seconds"))),
        ("Forcing", str(attrs.get("forcing", ""))),
        ("Open boundaries", str(attrs.get("open_boundaries", ""))),
        ("Trained on", _period(attrs)),
    ]
    settings = [
        (f"{table}.{key}", json.dumps(value))
        for table in ("data", "model", "training", "compression")
        for key, value in (resolved.get(table) or {}).items()
        if value is not None and not (pooled and key == "seed")
    ]
    return {"name": name, "facts": [fact for fact in facts if fact[1]], "settings": settings}


def _period(attrs: dict[str, Any]) -> str:
    ends = [str(attrs[name]) for name in ("fitted_from", "fitted_to") if name in attrs]
    return f"{ends[0]} to {ends[1]}" if len(ends) == 2 else ""


def _uses_forcing(run: dict[str, Any], forecast: xr.Dataset | None) -> bool:
    """As the forecast itself says; where it does not, as its run does."""
    said = None if forecast is None else forecast.attrs.get("forcing")
    return bool(run.get("data", {}).get("forcing")) if said is None else str(said) != "none"


def _cost_rows(names: list[str], cost: dict[str, dict[str, Any]] | None) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "training": _seconds(cost[name].get("training_seconds")) or "–",
            "forecast": _seconds(cost[name].get("forecast_seconds")) or "–",
            "parameters": _number(cost[name].get("parameters")) or "–",
            "threads": _number(cost[name].get("threads")) or "–",
        }
        for name in names
        if cost and name in cost
    ]


def _started(scores: xr.Dataset, truth: xr.Dataset) -> str:
    count = str(scores.attrs.get("starts", "1")).split(" ")[0]
    which = "The only start" if count == "1" else f"The first of {count} starts"
    return f"{which}, {time_text(truth['init_time'].values[0])}"


def _method(scores: xr.Dataset, forced: bool) -> list[str]:
    attrs = scores.attrs
    sentences = [
        "All forecasters are compared on the same starts, leads and cells: "
        f"{attrs.get('mask', 'the cells that every one of them forecasts')}. Each value is weighted by "
        f"{attrs.get('weighting', 'cell area')}.",
        f"Intervals: {attrs.get('intervals', 'none were computed')}.",
        "Skill is one minus the ratio of the mean square errors of a forecast and of persistence.",
    ]
    sizes = json.loads(attrs.get("members", "{}"))
    if several := [f"{name} ({size})" for name, size in sizes.items() if size > 1]:
        sentences.append(
            f"Forecasts with members, {', '.join(several)}, count by the mean of these; CRPS, spread and ranks are of "
            "all members. A mean is smoother than any of its members and has less energy."
        )
    if "members_note" in attrs:
        sentences.append(str(attrs["members_note"]))
    if "gauge_method" in attrs:
        sentences.append(str(attrs["gauge_method"]))
    if forced:
        sentences.append(
            "Forcing after the start is that of the store, as if the atmosphere had been forecast without error; "
            "with real weather forecasts the errors of models that use it are larger."
        )
    if "parent model" in str(attrs.get("mask", "")):
        sentences.append(
            "Boundary values after the start are those of the store; how good they are depends on how the parent was "
            "run."
        )
    if str(attrs.get("starts", "")).startswith("1 "):
        sentences.append(
            "There is a single start: the numbers describe this one window of time and say little about another season "
            "or another storm."
        )
    sentences.append(
        "The truth is a numerical model's output, not a measurement: an error here is a distance from that model."
    )
    return sentences


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _number(value: Any) -> str:
    return f"{value:,.0f}".replace(",", "\u202f") if isinstance(value, Real) else ""


def _seconds(value: Any) -> str:
    if not isinstance(value, Real):
        return ""
    value = float(value)
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
