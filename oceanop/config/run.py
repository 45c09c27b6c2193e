"""A run: its tables together, read from a file or a shipped preset, changed by words, written again."""

import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from oceanop.config.compression import CompressionConfig
from oceanop.config.data import DataConfig
from oceanop.config.model import MODELS, FNOtDConfig, ModelConfig
from oceanop.config.tables import Table
from oceanop.config.training import TrainingConfig


class Run(Table):
    """One training run, as its TOML file states it."""

    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    compression: CompressionConfig = CompressionConfig()

    @model_validator(mode="after")
    def _validation_has_an_effect(self) -> "Run":
        if "validation" in self.data.fit:
            for name in ("validate_every", "validation_leads", "validation_starts", "patience"):
                if getattr(self.training, name) is not None:
                    raise ValueError(
                        f"'training.{name}' turns nothing while 'validation' is in data.fit; leave one of the two out"
                    )
        return self

    @model_validator(mode="before")
    @classmethod
    def _model_has_a_name(cls, values: Any) -> Any:
        model = values.get("model", {}) if isinstance(values, dict) else {}
        if isinstance(model, dict) and "name" not in model:
            raise ValueError("[model] has no 'name'; choose FNO or FNOtD")
        return values


def load_run(source: str | Path, changes: Sequence[str] = ()) -> Run:
    """Read a run from a TOML file or a shipped preset.

    Parameters
    ----------
    source
        Path of a TOML file, or the name of a preset.
    changes
        ``table.key=value`` each, the value in TOML, or a bare word for a string.

    Raises
    ------
    ValueError
        If there is no such file or preset, the file is not TOML, or a key or value does not fit; the sentence says
        which and what would.
    """
    name, text = _run_text(source)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: not a TOML file: {error}. Mend the line it names.") from None
    for change in changes:
        _apply(data, change)
    return parse_run(data, name)


def parse_run(data: dict[str, Any], name: str = "run") -> Run:
    """Check plain data against the schema; errors as in :func:`load_run`."""
    try:
        return Run.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{name}: {'; '.join(_sentence(item) for item in error.errors())}.") from None


def run_to_toml(run: Run) -> str:
    """The resolved run as TOML; absent values stay absent."""
    lines = []
    for table, values in run.model_dump(mode="json", exclude_none=True).items():
        lines.append(f"[{table}]")
        # JSON writes strings, numbers, booleans and flat lists as TOML does.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def presets() -> list[str]:
    """Names of the shipped runs."""
    folder = resources.files("oceanop") / "presets"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _run_text(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}: not a TOML file: it is not text. Give the run as UTF-8 text."
            ) from None
    if str(source) in presets():
        return str(source), (resources.files("oceanop") / "presets" / f"{source}.toml").read_text(
            encoding="utf-8"
        )
    raise ValueError(f"{source}: no such run file or preset; presets are {', '.join(presets())}.")


def _apply(data: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) != 2:
        raise ValueError(f"--set {change}: expected table.key=value, as in training.steps=100.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = data.setdefault(parts[0], {})
    if not isinstance(table, dict):
        raise ValueError(f"--set {change}: '{parts[0]}' is not a table; expected table.key=value.")
    table[parts[1]] = value


def _sentence(item: Any) -> str:
    # pydantic inserts the name of a chosen union member into the path; the file does not hold it.
    path = [str(part) for part in item["loc"] if part not in MODELS]
    model = next((MODELS[part] for part in item["loc"] if part in MODELS), FNOtDConfig)
    where = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{where}' (value {item['input']!r}); {_known(path, model)}"
    if item["type"] == "union_tag_invalid":
        return f"'{where}.name' is {item['input'].get('name')!r}; choose FNO or FNOtD"
    message = item["msg"].removeprefix("Value error, ")
    # what a table says of itself as a whole names its keys already
    if not where or (item["type"] == "value_error" and isinstance(item["input"], dict)):
        return message
    return f"'{where}' is {item['input']!r}: {message[0].lower()}{message[1:]}"


def _known(path: list[str], model: type[BaseModel]) -> str:
    if len(path) == 1:
        return f"tables are {', '.join(Run.model_fields)}"
    known: dict[str, type[BaseModel]] = {
        "data": DataConfig,
        "model": model,
        "training": TrainingConfig,
        "compression": CompressionConfig,
    }
    return f"[{path[0]}] knows {', '.join(known[path[0]].model_fields)}"
