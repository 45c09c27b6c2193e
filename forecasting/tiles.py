"""The maps of a report as pictures: files beside the page, and a few in it for where no program runs."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from forecasting import findings
from forecasting.atlas import TRUTH
from forecasting.fields import Field, drawable, field_of, hours_text, limits
from forecasting.maps import map_figure, save_png
from forecasting.projection import Cells
from forecasting.scores import REFERENCE

TILES = 36  # files beside a page, at most
PICTURED = 2  # leads whose maps are pictures in the page too, at 30 to 60 kB a map
TILE_SIZE = 8.0  # square inches; small, so that its letters are read at the width of a phone
TILE_DPI = 140
TILE_COLOURS = 255
TILE_NAME = re.compile(r"[\w-]+-[\d.e+]+(h|min)-.+\.png")  # of this page's maps, and of an earlier page's
BASELINE_MAPS = 2  # baselines mapped beside the models, persistence first


@dataclass(frozen=True)
class Tile:
    """One map in the page."""

    source: str
    alt: str


@dataclass(frozen=True)
class Lead:
    """Maps of one lead: the truth, the first forecaster and the difference."""

    label: str
    tiles: list[Tile]


def drawn_variable(truth: xr.Dataset) -> str:
    """Which field is mapped: a whole current where there is one, else the first."""
    names = drawable(truth)
    if not names:
        raise ValueError(
            "the truth holds no field by lead, so there is nothing to map; give fields of a forecast."
        )
    return names[0]


def lead_maps(
    to: Path,
    table: pd.DataFrame,
    forecasts: dict[str, xr.Dataset],
    truth: xr.Dataset,
    models: list[str],
    cells: Cells,
    variable: str,
) -> list[Lead]:
    """Draw truth, forecasts and their differences at some leads of the first start; one scale for all of them.

    Returns
    -------
    list[Lead]
        The pictures of a few leads, to stand in the page.
    """
    numbers = _lead_numbers(table, truth)
    shown = mapped(table, forecasts, models)
    each = 1 + 2 * len(shown)
    if len(numbers) * each > TILES:
        keep = np.linspace(0, len(numbers) - 1, max(TILES // each, 1)).round().astype(int)
        numbers = [numbers[i] for i in np.unique(keep)]
    happened = {n: field_of(truth, variable=variable, lead=n) for n in numbers}
    fields = {
        (n, name): field_of(forecasts[name], variable=variable, lead=n) for n in numbers for name in shown
    }
    wrong = {key: field.minus(happened[key[0]]) for key, field in fields.items()}
    ends = limits(*happened.values())
    # The middle forecaster sets the scale of errors: the best would drown in that of one that blew up
    reach = [max(limits(wrong[n, name])[1] for n in numbers) for name in shown]
    error_ends = (-float(np.median(reach)), float(np.median(reach))) if reach else (-1.0, 1.0)
    (to / "maps").mkdir(parents=True, exist_ok=True)
    for old in (to / "maps").glob("*.png"):
        if TILE_NAME.fullmatch(old.name):
            old.unlink()
    leads = []
    for n in numbers:
        label = hours_text(truth["lead_time"].values[n - 1])
        prefix = to / "maps" / f"{variable.replace('+', '-')}-{label.replace(' ', '').zfill(5)}"

        def tile(field: Field, scale: tuple[float, float], name: str, prefix: Path = prefix) -> Tile:
            figure = map_figure(field, cells, ends=scale, size=TILE_SIZE)
            path = prefix.with_name(f"{prefix.name}-{_safe(name)}.png")
            save_png(figure, path, dpi=TILE_DPI, colours=TILE_COLOURS)
            data = base64.b64encode(path.read_bytes()).decode()
            return Tile(f"data:image/png;base64,{data}", f"Map: {field.label}, {field.who}, {field.when}")

        tiles = [tile(happened[n], ends, TRUTH)]
        for name in shown:
            tiles.append(tile(fields[n, name], ends, name))
            tiles.append(tile(wrong[n, name], error_ends, f"{name}-difference"))
        leads.append(Lead(label, tiles[:3]))
    keep = np.unique(np.linspace(0, len(leads) - 1, min(PICTURED, len(leads))).round().astype(int))
    return [leads[i] for i in keep]


def _lead_numbers(table: pd.DataFrame, truth: xr.Dataset) -> list[int]:
    hours = truth["lead_time"].values / np.timedelta64(1, "s") / 3600
    wanted = [float(label) for label in findings.chosen_hours(table)]
    found = [int(np.abs(hours - hour).argmin()) + 1 for hour in wanted if np.abs(hours - hour).min() < 1e-3]
    return list(dict.fromkeys(found)) or [1]


def mapped(table: pd.DataFrame, forecasts: dict[str, xr.Dataset], models: list[str]) -> list[str]:
    """Who is drawn: every model from the best, then persistence and the best other baselines."""
    variable = findings.main_variable(table)
    whole = table[
        (table["variable"] == variable) & (table["metric"] == "rmse") & (table["lead_hours"] == "all")
    ].sort_values("value")
    best = [str(name) for name in whole["forecaster"]]
    first = [*(name for name in best if name in models), *(name for name in models if name not in best)]
    ranked = [name for name in best if name not in models]
    baselines = [
        *(name for name in ranked if name == REFERENCE),
        *(name for name in ranked if name != REFERENCE),
    ]
    return [name for name in [*first, *baselines[:BASELINE_MAPS]] if name in forecasts]


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
