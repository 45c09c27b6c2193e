"""What words on the command line mean, and how facts are told in lines."""

from glob import glob
from pathlib import Path
from typing import Any


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


def checkpoints(words: list[str]) -> list[Path]:
    """Paths as given, and those that globs find, in order."""
    found = []
    for word in words:
        paths = [Path(word)] if Path(word).exists() else [Path(each) for each in sorted(glob(word))]
        found += paths or [Path(word)]  # which loading tells to be missing
    return found


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
