"""What forecasts, read from a path: a checkpoint, or a file that names checkpoints that forecast together."""

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from forecasting.combination import Combination
from oceanop.checkpoint import Checkpoint, load_checkpoint
from oceanop.config.tables import Table

Operator = Checkpoint | str | Path
Given = Combination | Operator | Sequence[Operator]

HEAD = """\
# A forecaster, which 'oceanop forecast' takes as it takes a checkpoint. Paths are relative to this file.
# The mean of the checkpoints 'long' forecasts all leads{short}.
"""
SHORT = """; that of 'short' has the share of each lead in it, and
# later leads keep the last share"""


class _File(Table):
    long: list[str] = Field(min_length=1)
    short: list[str] = Field([])
    share: list[float] = Field([])
    share_fitted_on: tuple[str, str] | None = None


def combination_of(given: Given) -> Combination:
    """What is to forecast: a combination, or what one is made of.

    Parameters
    ----------
    given
        A combination, a checkpoint, several of them to take the mean of, or the path of a checkpoint or of a
        forecaster file.
    """
    if isinstance(given, Combination):
        return given
    return load_forecaster(given) if isinstance(given, str | Path) else Combination(operators_of(given))


def operators_of(given: Operator | Sequence[Operator]) -> tuple[Checkpoint, ...]:
    """One checkpoint or several, read where they are given by their paths."""
    listed = [given] if isinstance(given, Checkpoint | str | Path) else given
    return tuple(each if isinstance(each, Checkpoint) else load_checkpoint(each) for each in listed)


def load_forecaster(path: str | Path) -> Combination:
    """Read a forecaster file, TOML, or a checkpoint.

    Raises
    ------
    ValueError
        If there is neither, the file has a key that is unknown or a value that does not fit, or one of the
        checkpoints it names is not there or does not go with the others.
    """
    path = Path(path)
    if not is_forecaster_file(path):
        return Combination((load_checkpoint(path),))
    held = _read(path)
    try:
        return Combination(
            long=tuple(load_checkpoint(path.parent / name) for name in held.long),
            short=tuple(load_checkpoint(path.parent / name) for name in held.short),
            share=tuple(held.share),
            share_fitted_on=held.share_fitted_on,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_forecaster(
    path: str | Path,
    *,
    long: Sequence[str | Path],
    short: Sequence[str | Path] = (),
    share: Sequence[float] = (),
    share_fitted_on: tuple[str, str] | None = None,
) -> Path:
    """Write a forecaster file, whole or not at all; another forecaster file is replaced.

    Parameters
    ----------
    path
        Ends in ``.toml``.
    long, short
        Paths of checkpoints; the file names them as they lie from it, so that both can be moved together.
    share, share_fitted_on
        As :class:`forecasting.combination.Combination` has them.

    Raises
    ------
    ValueError
        If no forecaster file may be written there (:func:`require_free`).
    """
    path = Path(path)
    require_free(path)
    entries = {
        "long": [_relative(each, path.parent) for each in long],
        "short": [_relative(each, path.parent) for each in short],
        "share": [round(float(part), 4) for part in share],
        "share_fitted_on": list(share_fitted_on or ()),
    }
    # JSON writes strings and flat lists as TOML does.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in entries.items() if value]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    head = HEAD.format(short=SHORT if short else "")
    partial.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def require_free(path: str | Path) -> None:
    """Refuse a path at which no forecaster file may be written.

    Raises
    ------
    ValueError
        If it has another suffix than ``.toml``, or anything but a forecaster file lies there.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise ValueError(f"{path}: a forecaster is written as .toml, not '{path.suffix}'; give this suffix.")
    if path.exists():
        try:
            _read(path)
        except (ValueError, OSError):
            raise ValueError(
                f"{path} exists and is no forecaster file; give another path, or delete it."
            ) from None


def is_forecaster_file(path: str | Path) -> bool:
    """Whether a path is a TOML file; whether it is one of ours, loading tells."""
    return Path(path).suffix == ".toml" and Path(path).is_file()


def describe_forecaster(path: str | Path) -> dict[str, Any]:
    """What a forecaster file is, as plain data for ``oceanop inspect``."""
    held, found = _read(Path(path)), load_forecaster(path)
    return {
        "kind": "forecaster",
        "model": found.name,
        "parameters": sum(each.parameters for each in found.members),
        "history": found.history,
        "time_step": str(found.time_step),
        "state": [str(channel) for channel in found.layout.state],
        "forcing": [str(channel) for channel in found.layout.forcing],
        "share": list(found.share),
        "share_fitted_on": list(found.share_fitted_on or ()),
        **{
            role: {name: _member(each) for name, each in zip(names, part, strict=True)}
            for role, names, part in (("long", held.long, found.long), ("short", held.short, found.short))
        },
    }


def _member(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "model": checkpoint.name,
        "seed": checkpoint.run.training.seed,
        "steps": checkpoint.steps,
        "history": checkpoint.history,
        "horizon": checkpoint.horizon,
        "grid": {"shape": list(checkpoint.grid_shape), "fingerprint": checkpoint.grid_fingerprint},
        "sha256": checkpoint.sha256,
    }


def _read(path: Path) -> _File:
    cure = (
        "a forecaster file names checkpoints, long = ['RUN/checkpoints/best'], as 'oceanop combine' writes it"
    )
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a TOML file: {error}; {cure}.") from None
    except ValidationError as error:
        said = "; ".join(_sentence(item) for item in error.errors())
        raise ValueError(f"{path}: {said}; {cure}.") from None


def _sentence(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key '{where}'; a forecaster file knows {', '.join(_File.model_fields)}"
    if item["type"] == "missing":
        return f"it has no '{where}'"
    return f"'{where}' is {item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _relative(checkpoint: str | Path, folder: Path) -> str:
    path = Path(checkpoint)
    # Folders as they are on disk, so that '..' leads where it says; the file itself by its own name, if it is a link
    return Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve())).as_posix()
