"""What of a store is written: one line of JSON for every shard, flushed to the disk before the shard is put in place.

The ledger lies beside the store, in ``STORE.ingest/ledger.jsonl``. Its lines are

- ``begin``: a build or an append, the digest of its request, and how many steps the store will have;
- ``layout``: the store's metadata are written;
- ``mask``: cells that hold every state over some steps, before means over blocks of cells can be taken;
- ``block``: a shard, its checksum, its statistics, and the name under which it was written before it was put in place;
- ``whole``: a build has all of its files, and the mask that it found;
- ``commit``: the steps that readers see from here on, and the mask that they have.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Entry = dict[str, Any]
Key = tuple[str, int]  # variable and number of the shard


class Ledger:
    """The ledger of a store, read back as far as it is whole.

    Parameters
    ----------
    target
        The store.

    Attributes
    ----------
    folder
        Where the ledger lies, and the masks that it names.
    begun
        The last ``begin``; None of an empty ledger.
    laid_out
        Whether the store's metadata are written.
    blocks
        By variable and shard, what was written last.
    fresh
        Shards written since the last ``begin``.
    masks
        Name of the mask by series and shard.
    whole
        The last ``whole``; None before a build has ended.
    committed
        The last ``commit``; None before the first one.
    seen
        Every entry that a shard may have: the committed one, and those after it.

    Raises
    ------
    ValueError
        If a line before the last one is damaged.
    """

    def __init__(self, target: Path) -> None:
        self.folder = folder_of(target)
        self.path = self.folder / "ledger.jsonl"
        self._forget()
        if self.path.exists():
            self._read()

    def begin(self, kind: str, request: str, steps: int) -> None:
        """Begin a build, which forgets everything, or an append."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if kind == "build":
            self.path.unlink(missing_ok=True)
            self._forget()
        self.record({"begin": {"kind": kind, "request": request, "steps": steps}})

    def record(self, line: Mapping[str, Any]) -> None:
        """Write a line, down to the disk."""
        self._take(line)
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def is_going_on(self, kind: str, request: str) -> bool:
        """Whether what was begun last is this, and is not committed yet."""
        begun = self.begun
        return begun is not None and (begun["kind"], begun["request"]) == (kind, request)

    def _forget(self) -> None:
        self.begun: Entry | None = None
        self.laid_out = False
        self.blocks: dict[Key, Entry] = {}
        self.fresh: set[Key] = set()
        self.masks: dict[tuple[int, int], str] = {}
        self.whole: Entry | None = None
        self.committed: Entry | None = None
        self.seen: dict[Key, list[Entry]] = {}

    def _read(self) -> None:
        text = self.path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):  # the last line was torn by a kill
            with open(self.path, "r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(text[:whole].splitlines(), 1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"{self.path}: line {number} is damaged; delete the store and its ledger, and ingest it again."
                ) from error

    def _take(self, line: Mapping[str, Any]) -> None:
        ((kind, content),) = line.items()
        if kind == "begin":
            self.begun, self.fresh = content, set()
        elif kind == "layout":
            self.laid_out = True
        elif kind == "mask":
            self.masks[content["series"], content["shard"]] = content["finite"]
        elif kind == "block":
            key = content["variable"], content["shard"]
            self.blocks[key] = content
            self.fresh.add(key)
            self.seen.setdefault(key, []).append(content)
        elif kind == "whole":
            self.whole = content
        elif kind == "commit":
            self.begun, self.committed = None, content
            self.seen = {key: entries[-1:] for key, entries in self.seen.items()}
        else:
            raise KeyError(kind)


def folder_of(target: Path) -> Path:
    """Folder beside a store with all that its ingest has to remember."""
    return target.with_name(f"{target.name}.ingest")


def save_mask(folder: Path, cells: NDArray[np.bool_]) -> str:
    """Keep a mask by its content, once however often it comes; its name."""
    packed = np.packbits(cells).tobytes()
    name = digest(packed)
    path = folder / "masks" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{name}.{os.getpid()}.partial")
        with open(draft, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    return name


def load_mask(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of a shape by its name.

    Raises
    ------
    ValueError
        If it is not there any more, or not of that shape.
    """
    path, size = folder / "masks" / name, int(np.prod(shape))
    held = np.fromfile(path, np.uint8) if path.exists() else np.zeros(0, np.uint8)
    if held.size != -(-size // 8):
        raise ValueError(
            f"{path} is missing or cut off, and the store cannot go on without it; ingest it again to a new path."
        )
    return np.unpackbits(held, count=size).astype(bool).reshape(shape)


def digest(content: bytes | memoryview) -> str:
    """Name of some bytes by what they are (BLAKE2b, 16 bytes)."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
