"""What the folder of the Baltic experiment says of itself: its settings, and notes that are whole or not there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from norkyst_comparison import taken

Note = dict[str, Any]

SETTINGS = "settings.json"


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
    """Refuse a folder that keeps a note of other settings.

    Raises
    ------
    ValueError
        If a setting was another.
    """
    before = read_note(to / SETTINGS)
    # As a note gives them back, without tuples
    changed = "" if before is None else differences(before, json.loads(json.dumps(settings)))
    if changed:
        raise ValueError(
            f"{to}: was begun with other settings ({changed}), and what is done there would be mixed with what is not; "
            f"give another folder with --to, or delete its {SETTINGS} and all that was made with them."
        )


def keep_settings(to: Path, settings: Mapping[str, Any]) -> None:
    """Note the settings of a folder that keeps none yet."""
    with taken(to / "settings", wait=True):
        if read_note(to / SETTINGS) is None:
            write_note(to / SETTINGS, settings)


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
