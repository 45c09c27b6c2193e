"""What a store was made from, so that it can be made again and is never mixed up."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_BLOCK = 2**22
_DEFAULTS = {"coarsen": 1, "depths": "surface", "product": "auto", "profile": "fast"}


def file_identity(path: Path | str, role: str) -> dict[str, Any]:
    """Name, size and SHA-256 of a source; of a folder, over its files in order; of a URL, the address alone."""
    if isinstance(path, str):
        return {"name": path, "role": role}
    digest, size = hashlib.sha256(), 0
    files = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode())
        with open(file, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    return {"name": path.name, "role": role, "size": size, "sha256": digest.hexdigest()}


class Identities:
    """Identities of files, remembered beside a store: one of the same size and time of change is not read again.

    Parameters
    ----------
    kept
        Where they are remembered.
    """

    def __init__(self, kept: Path) -> None:
        self.kept = kept
        self._known: dict[str, Any] = {}
        if kept.exists():
            try:
                self._known = json.loads(kept.read_text())
            except ValueError:  # torn by a kill: everything is read again
                self._known = {}

    def of(self, path: Path | str, role: str) -> dict[str, Any]:
        """As :func:`file_identity`."""
        if isinstance(path, str) or path.is_dir():
            return file_identity(path, role)
        held = path.stat()
        now = [held.st_size, held.st_mtime_ns]
        known = self._known.get(str(path.absolute()))
        if known is None or known["at"] != now:
            known = {"at": now, "sha256": file_identity(path, role)["sha256"]}
            self._known[str(path.absolute())] = known
        return {"name": path.name, "role": role, "size": held.st_size, "sha256": known["sha256"]}

    def save(self) -> None:
        """Remember what was found."""
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        draft = self.kept.with_name(f"{self.kept.name}.partial")
        draft.write_text(json.dumps(self._known))
        draft.replace(self.kept)


def command_of(files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """The command line that makes the same store, without anybody's folders."""
    words = ["oceanop", "ingest", *(file["name"] for file in files if file["role"] == "source")]
    for role in ("forcing", "static", "boundary", "grid"):
        named = [file["name"] for file in files if file["role"] == role]
        words += [word for name in named for word in (f"--{role}", name)]
    for key, value in options.items():
        if value is None or (key, value) in _DEFAULTS.items():
            continue
        if value is True:
            words.append(f"--{key.replace('_', '-')}")
        elif key == "splits":
            words += [word for name, (a, b) in value.items() for word in ("--split", f"{name}={a}/{b}")]
        else:
            said = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [f"--{key.replace('_', '-')}", said]
    return shlex.join(words)


def difference(old: str, files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str | None:
    """What differs between the request kept in a store and a new one, in words; None if nothing does."""
    try:
        kept = json.loads(old)
    except (TypeError, ValueError):
        return "it was not made by this command"
    found = []
    for key, value in options.items():
        before = kept.get("options", {}).get(key, _DEFAULTS.get(key))
        if before != json.loads(json.dumps(value)):
            found.append(f"{key} was {_said(before)} and is now {_said(value)}")
    before, now = kept.get("files", []), json.loads(json.dumps(list(files)))
    old_names, new_names = [file["name"] for file in before], [file["name"] for file in now]
    if old_names != new_names:
        found.append(f"it was made from {', '.join(old_names)} and now {', '.join(new_names)} are given")
    elif before != now:
        changed = [file["name"] for file, other in zip(now, before, strict=True) if file != other]
        found.append(f"the content of {', '.join(changed)} has changed")
    return ", ".join(found) or None


def request(files: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """The request as text for the store's root attribute."""
    return json.dumps({"files": list(files), "options": dict(options)})


def _said(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)
