"""What forecasts are called beside each other, and which of them differ by their seed alone."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import xarray as xr

from data_pipelines.times import milliseconds
from forecasting.product import open_forecast

Forecasts = xr.Dataset | str | Path | Sequence[xr.Dataset | str | Path]

TELLING = 2  # settings in a name; where more differ, a number tells models apart
LONGEST = 12  # letters of a setting's value in a name


@dataclass(frozen=True, eq=False)
class Named:
    """Forecasts by name, and the names of those that are pooled, by the name they have together."""

    forecasts: dict[str, xr.Dataset]
    pooled: dict[str, list[str]]


def named(forecasts: Forecasts) -> Named:
    """Forecasts by the name of their model.

    Runs that are equal but for their seeds, all distinct, are one model: each is named by its seed, and they are
    pooled under the model's name. Other models of an equal name are told apart by the settings in which they differ,
    or by a number, and are not pooled.

    Raises
    ------
    ValueError
        If there is no forecast, or one is given twice.
    """
    if isinstance(forecasts, xr.Dataset | str | Path):
        forecasts = [forecasts]
    if not forecasts:
        raise ValueError("no forecast was given; give at least one.")
    opened = [ds if isinstance(ds, xr.Dataset) else open_forecast(ds) for ds in forecasts]
    _require_distinct(opened)
    kinds: dict[str, dict[str, list[int]]] = {}  # by model, then by all settings but the seed
    for i, ds in enumerate(opened):
        model = str(ds.attrs.get("model", "forecast"))
        kinds.setdefault(model, {}).setdefault(_settings_text(ds, i), []).append(i)
    names = [""] * len(opened)
    pooled: dict[str, list[int]] = {}
    for model, groups in kinds.items():
        for label, members in zip(_labels(model, list(groups)), groups.values(), strict=True):
            seeds = [_seed(opened[i]) for i in members]
            if len(members) > 1 and len({*seeds}) == len(seeds) and None not in seeds:
                pooled[label] = members
            for i, seed in zip(members, seeds, strict=True):
                names[i] = label if len(members) == 1 else f"{label}-seed{seed}"
    unique = _numbered(names, taken=pooled)
    together = {label: [unique[i] for i in members] for label, members in pooled.items()}
    return Named(dict(zip(unique, opened, strict=True)), together)


def _numbered(names: list[str], taken: Iterable[str]) -> list[str]:
    """Names made unique: who shares one, or has one that is taken, gets a number."""
    unique: list[str] = []
    used = {*taken}
    for name in names:
        free = (f"{name}-{n}" for n in count(1))
        wanted = (
            name if names.count(name) == 1 and name not in used else next(n for n in free if n not in used)
        )
        unique.append(wanted)
        used.add(wanted)
    return unique


def run_of(ds: xr.Dataset) -> dict[str, Any]:
    """The run a forecast keeps in its attribute; empty where it keeps none."""
    try:
        run = json.loads(ds.attrs.get("run", "{}"))
    except (TypeError, ValueError):
        return {}
    return run if isinstance(run, dict) else {}


def _seed(ds: xr.Dataset) -> Any:
    training = run_of(ds).get("training")
    return training.get("seed") if isinstance(training, dict) else None


def _settings_text(ds: xr.Dataset, number: int) -> str:
    """All settings but the seed, to be compared; a forecast that keeps none is like no other."""
    settings = {key: value for key, value in _flat(run_of(ds)).items() if key != "training.seed"}
    return json.dumps(settings, sort_keys=True) if settings else str(number)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _labels(model: str, kinds: list[str]) -> list[str]:
    """A name for each set of settings of one model."""
    if len(kinds) == 1:
        return [model]
    numbered = [f"{model}-{i + 1}" for i in range(len(kinds))]
    settings = [json.loads(kind) for kind in kinds]
    if not all(isinstance(each, dict) for each in settings):
        return numbered
    keys = [key for key in settings[0] if len({json.dumps(each.get(key)) for each in settings}) > 1]
    keys += [key for key in dict.fromkeys(key for each in settings for key in each) if key not in settings[0]]
    if len(keys) > TELLING:
        return numbered
    values = [[(key.split(".")[-1], str(each.get(key))) for key in keys] for each in settings]
    if any(len(value) > LONGEST for each in values for _, value in each):
        return numbered
    return ["-".join([model, *(f"{key}{value}" for key, value in each)]) for each in values]


def _require_distinct(forecasts: list[xr.Dataset]) -> None:
    seen = set()
    for ds in forecasts:
        attrs = ds.attrs
        if not attrs.get("checkpoint_sha256"):
            continue
        axes = [milliseconds(ds["init_time"].values).tobytes(), ds["lead_time"].values.tobytes()]
        key = (*(attrs.get(name) for name in ("model", "checkpoint_sha256", "input_store_id")), *axes)
        if key in seen:
            raise ValueError(
                f"the forecast of {attrs.get('model', 'one checkpoint')} (checkpoint "
                f"{str(attrs['checkpoint_sha256'])[:12]}) is given twice, with the same starts and leads; it would "
                "count double. Give it once."
            )
        seen.add(key)
