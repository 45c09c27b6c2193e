"""What the folder of the Baltic experiment says of itself: its settings, and notes that are whole or not there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from norkyst_comparison import taken

Note = dict[str, Any]


def read_note(path: Path) -> Note | None:
    """What a note says; None where there is none, or one whose writer was stopped in the middle."""
    try:
        note: Note = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return note


def write_note(path: Path, content: Mapping[str, Any]) -> None:
    """Write a note, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(partial, path)


def require_settings(to: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder that was begun with other settings; one without a note of them takes these.

    Raises
    ------
    ValueError
        If a setting was another.
    """
    with taken(to / "settings", wait=True):
        before = read_note(to / "settings.json")
        if before is None:
            write_note(to / "settings.json", settings)
            return
    changed = differences(
        before, json.loads(json.dumps(settings))
    )  # as a note gives them back, without tuples
    if changed:
        raise ValueError(
            f"{to}: was begun with other settings ({changed}), and what is done there would be mixed with what is not; "
            "give another folder with --to, or delete its settings.json and all that was made with them."
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What was and is otherwise in nested settings; empty where they are the same."""
    old, new = flat(before), flat(now)
    return ", ".join(
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    )


def flat(settings: Any, name: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(settings, dict):
        return {name: settings}
    return {
        key: value
        for part, inner in settings.items()
        for key, value in flat(inner, f"{name}.{part}" if name else str(part)).items()
    }
