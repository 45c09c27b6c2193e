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
    paths = [Path(each).resolve() for each in forecasts if not isinstance(each, xr.Dataset)]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise ValueError(f"{twice[0].name} is given twice, and would count double; give it once.")
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
            trained = [each for i in members for each in _trainings(opened[i])]
            if (
                len(members) > 1
                and len({*trained}) == len(trained)
                and all(seed is not None for _, seed in trained)
            ):
                pooled[label] = members
            for i in members:
                names[i] = label if len(members) == 1 else f"{label}-{_seeds_text(opened[i])}"
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


def _runs(ds: xr.Dataset) -> list[dict[str, Any]]:
    """The runs of all operators that made a forecast, one after another."""
    run = run_of(ds)
    return [*run["long"], *run.get("short", [])] if _is_of_several(run) else [run]


def _is_of_several(run: dict[str, Any]) -> bool:
    """Whether it holds the runs of operators that forecast together, by their role."""
    return isinstance(run.get("long"), list)


def _trainings(ds: xr.Dataset) -> list[tuple[str, Any]]:
    """Settings and seed of every training behind a forecast."""
    return [(_settings_of(run), _flat(run).get("training.seed")) for run in _runs(ds)]


def _seeds_text(ds: xr.Dataset) -> str:
    """Which seeds a forecast is of: ``seed3``, several in a row ``seeds0-3``, and any others ``seeds0+2``."""
    held = list(dict.fromkeys(seed for _, seed in _trainings(ds)))
    if len(held) == 1:
        return f"seed{held[0]}"
    in_a_row = all(isinstance(seed, int) for seed in held) and max(held) - min(held) == len(held) - 1
    return f"seeds{f'{min(held)}-{max(held)}' if in_a_row else '+'.join(str(seed) for seed in held)}"


def _settings_text(ds: xr.Dataset, number: int) -> str:
    """All settings but the seeds, to be compared; a forecast that keeps none is like no other.

    The grid an operator was trained on is one of them, and so are the shares of operators that forecast together.
    """
    run = run_of(ds)
    settings = json.loads(_settings_of(run))
    if _is_of_several(run):
        settings |= {role: sorted(map(_settings_of, run[role])) for role in ("long", "short") if role in run}
    if not settings:
        return str(number)
    if "training_grid" in ds.attrs:
        settings["grid"] = str(ds.attrs["training_grid"])
    return json.dumps(settings, sort_keys=True)


def _settings_of(run: dict[str, Any]) -> str:
    settings = {key: value for key, value in _flat(run).items() if key != "training.seed"}
    return json.dumps(settings, sort_keys=True)


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
    values = [[(key.split(".")[-1], _word(each.get(key))) for key in keys] for each in settings]
    if any(len(value) > LONGEST for each in values for _, value in each):
        return numbered
    labels = ["-".join([model, *(f"{key}{value}" for key, value in each)]) for each in values]
    return labels if len({*labels}) == len(labels) else numbered


def _word(value: Any) -> str:
    """A setting's value in a name; a grid is told by its rows and columns, as in 50x75."""
    return str(value).partition(" cells of ")[0].replace(" ", "")


def _require_distinct(forecasts: list[xr.Dataset]) -> None:
    seen = set()
    for ds in forecasts:
        attrs = ds.attrs
        if not attrs.get("checkpoint_sha256"):
            continue
        axes = [milliseconds(ds["init_time"].values).tobytes(), ds["lead_time"].values.tobytes()]
        # Ensembles of one checkpoint differ by their perturbed starts, whose size and seed are told there
        told = ("model", "checkpoint_sha256", "input_store_id", "perturbation")
        key = (*(attrs.get(name) for name in told), ds.sizes.get("member", 1), *axes)
        if key in seen:
            raise ValueError(
                f"the forecast of {attrs.get('model', 'one checkpoint')} (checkpoint "
                f"{str(attrs['checkpoint_sha256'])[:12]}) is given twice, with the same starts and leads; it would "
                "count double. Give it once."
            )
        seen.add(key)
