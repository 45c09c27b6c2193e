"""What a run leaves behind to be read: one JSON object a line."""

import json
from pathlib import Path
from typing import Any, TextIO


class RunLog:
    """Append rows to ``metrics.jsonl``; a resumed run first drops what it will write again.

    Without a path nothing is written: of many ranks, one keeps the log.
    """

    def __init__(self, path: Path | None, *, after_step: int = 0) -> None:
        self._file: TextIO | None = None
        if path is None:
            return
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= after_step]
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(kept), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, **row: Any) -> None:
        """Append one row; it is in the file when the call returns."""
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _whole_lines(path: Path) -> list[str]:
    """Lines that were written to their end: a kill can tear the last one."""
    if not path.exists():
        return []
    return [
        line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")
    ]
