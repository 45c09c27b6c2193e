"""What words on the command line mean, and how facts are told in lines."""

from glob import glob
from pathlib import Path
from typing import Any

from pydantic import ByteSize, TypeAdapter, ValidationError


def region(text: str | None) -> tuple[float, float, float, float] | None:
    """West, east, south and north of ``--region``; None where it is absent."""
    if text is None:
        return None
    try:
        west, east, south, north = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--region {text}: expected four numbers West,East,South,North, as in 4,6,59,61."
        ) from None
    return west, east, south, north


def memory(text: str | None, otherwise: int) -> int:
    """Bytes of ``--memory``."""
    if text is None:
        return otherwise
    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size < 1:
        raise ValueError(f"--memory {text}: expected a size with its unit, as in 512MB or 2GiB.")
    return size


def checkpoints(words: list[str]) -> list[Path]:
    """Paths as given, and those that globs find, in order."""
    found = []
    for word in words:
        paths = [Path(word)] if Path(word).exists() else [Path(each) for each in sorted(glob(word))]
        found += paths or [Path(word)]  # which loading tells to be missing
    return found


def places(words: list[str]) -> dict[str, tuple[float, float]]:
    """Latitude and longitude by name, from ``--at lon,lat`` or ``--at lon,lat:name``."""
    found: dict[str, tuple[float, float]] = {}
    for word in words:
        position, _, name = word.partition(":")
        try:
            east, north = (float(part) for part in position.split(","))
        except ValueError:
            raise ValueError(
                f"--at {word}: expected longitude,latitude and, if you like, a name, as in 4.5,61:Sognefjord."
            ) from None
        if not (-180 <= east <= 360 and -90 <= north <= 90):
            raise ValueError(
                f"--at {word}: there is no such place; give the longitude first, from -180 to 360, then the latitude, "
                "from -90 to 90."
            )
        name = name or f"{abs(north):g}{'N' if north >= 0 else 'S'} {abs(east):g}{'E' if east >= 0 else 'W'}"
        if name in found:
            raise ValueError(
                f"--at {word}: the name '{name}' is given twice; give every place one of its own."
            )
        found[name] = (north, east)
    return found


def leads(words: str) -> list[int | str]:
    """Leads of ``--lead``, separated by commas: numbers, counted from 1, or durations such as 6h."""
    parts = [word.strip() for word in words.split(",")]
    if not all(parts):
        raise ValueError(f"--lead {words}: expected leads separated by commas, as in 6 or 1,6,18 or 6h.")
    return [int(word) if word.isdigit() else word for word in parts]


def splits(words: list[str] | None) -> dict[str, tuple[str, str]] | None:
    """Periods by name of ``--split``, repeatable; None where it is absent."""
    if not words:
        return None
    periods = {}
    for word in words:
        name, equals, period = word.partition("=")
        first, slash, last = period.partition("/")
        if not (equals and slash and first and last):
            raise ValueError(
                f"--split {word}: expected NAME=START/END, as in train=2015-11-16T00/2015-11-17T07."
            )
        periods[name] = (first, last)
    return periods


def workers(word: str | None) -> int | str | None:
    """Processes or the address of a scheduler of ``--workers``; None where it is absent."""
    if word is None or "://" in word:
        return word
    if not word.isdigit() or int(word) < 1:
        raise ValueError(
            f"--workers {word}: expected a number from 1, or an address like tcp://localhost:8786."
        )
    return int(word)


def lines(facts: dict[str, Any], indent: int = 0) -> list[str]:
    """Nested facts, one a line, indented."""
    told: list[str] = []
    for key, value in facts.items():
        if isinstance(value, dict):
            told += [f"{'  ' * indent}{key}:", *lines(value, indent + 1)]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            rows = [", ".join(f"{name} {fact}" for name, fact in item.items()) for item in value]
            told += [f"{'  ' * indent}{key}:", *(f"{'  ' * (indent + 1)}{row}" for row in rows)]
        elif isinstance(value, list):
            told.append(f"{'  ' * indent}{key}: {', '.join(str(item) for item in value)}")
        else:
            told.append(f"{'  ' * indent}{key}: {value}")
    return told
