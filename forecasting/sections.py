"""Parts of the report that are there when their scores are: ensembles, thresholds, spectra, balances and any other."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from forecasting import findings
from forecasting.curves import Axis, Chart, chart
from forecasting.fields import unit_text
from forecasting.lines import Line
from forecasting.scores import OVER, SKILL
from oceanop.metrics import METRICS

CHARTS = 6  # in a section; a page is read, scores.csv holds the rest
COLUMNS = 7  # of a table
LABEL = 34  # letters along an axis
BAND = re.compile(
    r"(?:(?P<word>[a-z]+) )?(?P<low>\d[\d.e+]*)(?:-(?P<high>\d[\d.e+]*))?(?: (?P<unit>\D.*|of \d+))?"
)
FEW_BANDS = 4  # fewer make no curve
LETTERS = ("crps", "rms", "rmse", "mae", "acc", "csi", "edi")  # names that are initials
ALONG = {"km": "wavelength (km)", "h": "period (h)"}  # what bands of this unit are, on their axis

# Which section a metric belongs to, by how a word in its name begins; the first that fits.
SECTIONS = (
    ("ensemble", "Ensemble", ("crps", "spread", "rank", "outlier", "brier")),
    (
        "thresholds",
        "Levels exceeded",
        ("hit", "false_alarm", "critical", "csi", "edi", "extremal", "frequency_bias", "event", "threshold"),
    ),
    ("peaks", "Peaks and their timing", ("peak",)),
    (
        "dispersion",
        "Waves: energy by wavenumber and frequency",
        ("omega", "dispersion", "wave", "curve", "share_on", "share_by"),
    ),
    ("drift", "Drift of particles", ("drift", "separation", "lagrangian")),
    (
        "spectra",
        "Spectra and resolved scales",
        ("spectr", "log_spectr", "resol", "power", "coheren", "frequency", "period"),
    ),
    (
        "balances",
        "Energy, volume and balance of the flow",
        ("energy", "enstrophy", "volume", "geostrophic", "mean_level", "divergence", "vorticity"),
    ),
    ("health", "Health over long leads", ("health", "growth", "distance", "stable")),
    (
        "association",
        "Anomalies and efficiency",
        ("acc", "anomaly", "activity", "climatology", "useful", "nash", "kling", "correlation", "centred"),
    ),
)
OTHER = ("others", "Other scores")


@dataclass(frozen=True)
class Section:
    """What the template lays out: curves, how many more there are in the scores, tables, and what the metrics are."""

    key: str
    title: str
    styles: dict[str, Line]
    charts: list[Chart]
    tables: list[dict[str, Any]]
    notes: list[str]
    left: int


@dataclass(frozen=True)
class Naming:
    """What a metric is called, its unit for a variable, and where it is from."""

    methods: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, scores: xr.Dataset) -> "Naming":
        """As the attribute ``methods`` of the scores says, one JSON object a metric."""
        return cls(json.loads(scores.attrs.get("methods", "{}")))

    def words(self, metric: str) -> str:
        """In few words: its name."""
        words = [word.upper() if word in LETTERS else word for word in metric.split("_")]
        text = findings.METRIC_TEXT.get(metric, " ".join(words))
        return text[:1].upper() + text[1:]

    def unit(self, metric: str, variable: str) -> str:
        """As a reader writes it; ``1`` where there is none."""
        own = str(self.methods.get(metric, {}).get("units", "1"))
        known = findings.variable_units(variable)
        if own == "variable2":
            return f"({known})²" if known else "1"
        return (known if own == "variable" else unit_text(own)) or "1"

    def rows(self, metrics: Collection[str]) -> list[tuple[str, ...]]:
        """Name, words, unit, version and source of every metric that tells its method."""
        units = {"variable": "of the variable", "variable2": "of the variable, squared"}
        return [
            (
                metric,
                str(method.get("long_name", "")) or self.words(metric),
                units.get(str(method.get("units", "1")), unit_text(str(method.get("units", "1"))) or "1"),
                str(method.get("version", "")),
                str(method.get("source", "")),
            )
            for metric in metrics
            if (method := self.methods.get(metric))
        ]

    def note(self, metric: str) -> str:
        """What it is, where it is from, and its version; empty where nothing is told."""
        method = self.methods.get(metric, {})
        said = [str(method[key]) for key in ("long_name", "source", "version") if method.get(key)]
        return f"{self.words(metric)}: {'; '.join(said)}." if said else ""


def metric_sections(
    table: pd.DataFrame, naming: Naming, styles: Mapping[str, Line], *, apart: Collection[str] = ()
) -> list[Section]:
    """Sections for all metrics but those that have their own place in the page.

    Parameters
    ----------
    table
        Rows of the scores without the bands of gauges.
    naming
        What the metrics are called.
    styles
        By forecaster, in the order of the tables.
    apart
        Forecasters that are not shown.
    """
    shown = [
        metric
        for metric in dict.fromkeys(table["metric"])
        if metric not in METRICS and metric != SKILL and not metric.startswith(OVER)
    ]
    kept = {name: style for name, style in styles.items() if name not in apart}
    rows = table[table["metric"].isin(shown) & table["forecaster"].isin(list(kept))]
    # Bands of the ordinary scores, such as extreme cases, are a section of their own
    banded = table[table["metric"].isin(list(METRICS)) & (table["band"] != "all")]
    banded = banded[banded["forecaster"].isin(list(kept))]
    sections = []
    for key, title in [*((key, title) for key, title, _ in SECTIONS), OTHER]:
        own = [metric for metric in shown if _key(metric) == key]
        if own and (section := _section(key, title, rows[rows["metric"].isin(own)], naming, kept)):
            sections.append(section)
    if len(banded) and (section := _section("bands", "Scores by band", banded, naming, kept)):
        sections.append(section)
    return sections


def _key(metric: str) -> str:
    name = f"_{metric.lower()}"
    return next((key for key, _, stems in SECTIONS if any(f"_{stem}" in name for stem in stems)), OTHER[0])


def _section(
    key: str, title: str, rows: pd.DataFrame, naming: Naming, styles: Mapping[str, Line]
) -> Section | None:
    charts: list[Chart] = []
    columns: dict[str, pd.Series] = {}
    for (metric, variable), part in _whole(rows).groupby(["metric", "variable"], sort=False):
        words, unit = naming.words(metric), naming.unit(metric, variable)
        label, about = f"{words} ({unit})", _about(variable)
        # A long name would leave its axis, and stands above the plot anyway
        label = label if len(label) <= LABEL else f"({unit})"
        axis = band_axis(list(dict.fromkeys(part["band"])))
        if axis is not None:
            labels = list(dict.fromkeys(part["lead_hours"]))
            last = part[part["lead_hours"] == ("all" if "all" in labels else labels[-1])]
            last = last.assign(place=last["band"].map(axis[1]))
            words_along = ALONG.get(axis[0], axis[0] or "band")
            along = Axis(words_along, "place", log=bool(axis[0]) and min(axis[1].values()) > 0)
            positive = bool((last["value"] > 0).all())
            wide = positive and bool(last["value"].max() > 30 * last["value"].min())
            found = chart(last, dict(styles), label=label, title=f"{words}{about}", along=along, log=wide)
            charts += [found] if found is not None else []
            continue
        for band, lines in part.groupby("band", sort=False):
            within = "" if band == "all" else f", {band}"
            leads = lines[lines["lead_hours"] != "all"].astype({"lead_hours": float})
            if leads["lead_hours"].nunique() > 1:
                found = chart(leads, dict(styles), label=label, title=f"{words}{about}{within}")
                charts += [found] if found is not None else []
            whole = lines[lines["lead_hours"] == "all"]
            if leads["lead_hours"].nunique() == 1 and whole.empty:
                whole = leads
            if len(whole):
                columns[f"{words}{about}{within}" + (f", {unit}" if unit != "1" else "")] = whole.set_index(
                    "forecaster"
                )["value"]
    tables = _tables(columns, list(styles), title)
    notes = [note for metric in dict.fromkeys(rows["metric"]) if (note := naming.note(metric))]
    left = max(len(charts) - CHARTS, 0)
    drawn = {trace["name"] for each in charts[:CHARTS] for trace in each.data["traces"]}
    keys = {name: style for name, style in styles.items() if name in drawn}
    return Section(key, title, keys, charts[:CHARTS], tables, notes, left) if charts or tables else None


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the components of a current that has the same score as a whole."""
    pairs = {(metric, part) for metric, variable in zip(rows["metric"], rows["variable"], strict=True)
             if "+" in variable for part in variable.split("+")}  # fmt: skip
    own = zip(rows["metric"], rows["variable"], strict=True)
    return rows[[key not in pairs for key in own]]


def _about(variable: str) -> str:
    words = findings.variable_text(variable)
    return "" if words in ("", "energy") else f" of the {words}" if words != variable else f", {words}"


def band_axis(bands: list[str]) -> tuple[str, dict[str, float]] | None:
    """Label and place of bands that are numbers with one unit, such as ``50-100 km``; None where they are not."""
    found = [BAND.fullmatch(band) for band in bands]
    if len(bands) < FEW_BANDS or not all(found):
        return None
    units = {" ".join(filter(None, (match["word"], match["unit"]))) for match in found if match}
    if len(units) != 1:
        return None
    places = {}
    for band, match in zip(bands, found, strict=True):
        assert match is not None
        low = float(match["low"])
        high = float(match["high"]) if match["high"] else low
        # The middle of a range of scales is where both its ends are equally many times away
        places[band] = float(np.sqrt(low * high)) if match["high"] and low > 0 else (low + high) / 2
    return units.pop(), places


def _tables(columns: Mapping[str, pd.Series], names: list[str], title: str) -> list[dict[str, Any]]:
    headings = list(columns)
    tables = []
    for first in range(0, len(headings), COLUMNS):
        chosen = headings[first : first + COLUMNS]
        values = pd.DataFrame({heading: columns[heading] for heading in chosen}).reindex(names)
        values = values.dropna(how="all")
        tables.append(
            {
                "caption": f"{title}, all leads"
                + (f" ({first // COLUMNS + 1})" if len(headings) > COLUMNS else ""),
                "columns": chosen,
                "rows": [
                    findings.Row(
                        str(name),
                        False,
                        [f"{value:.3g}".replace("-", "−") if np.isfinite(value) else "–" for value in row],
                        [False] * len(chosen),
                    )
                    for name, row in zip(values.index, values.to_numpy(float), strict=True)
                ],
            }
        )
    return tables
