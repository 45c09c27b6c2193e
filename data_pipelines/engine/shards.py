"""One file of a store: encoded in memory, written beside its place, and put there when the ledger knows it."""

import errno
import json
import mmap
import os
import threading
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from data_pipelines.engine.ledger import Entry, digest

_BLOCK = 4096  # bytes: no disk has larger blocks, no machine smaller pages
_PAST_CACHE = getattr(os, "O_DIRECT", 0)  # Linux alone has it

Document = Mapping[str, Any]  # the zarr.json of an array


class Room(threading.local):
    """Memory of one thread for one file after another: the system need not find and clear new pages for each."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BLOCK)

    def of(self, size: int) -> NDArray[np.uint8]:
        """At least so many bytes in whole blocks, beginning with a page; the same as the last time."""
        padded = -(-size // _BLOCK) * _BLOCK
        if len(self._memory) < padded:
            self._memory = mmap.mmap(-1, padded)
        return np.frombuffer(self._memory, np.uint8, padded)


_ROOM = Room()


def steps_of(document: Document) -> int:
    """Steps in one file of an array."""
    return int(document["chunk_grid"]["configuration"]["chunk_shape"][0])


def file_of(name: str, document: Document, shard: int) -> str:
    """Path of a shard within its store; its fields are whole, so that it is cut along time alone."""
    return "/".join([name, "c", str(shard), *["0"] * (len(document["shape"]) - 1)])


def is_summed(document: Document) -> bool:
    """Whether a file of an array ends with the checksum of all that is before it."""
    return bool(document["codecs"]) and document["codecs"][-1]["name"] == "crc32c"


def encode(document: Document, block: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bytes of the file that holds a block ``[n, ...]`` of an array's steps, as Zarr itself would write it.

    They are overwritten when this thread encodes the next one.
    """
    shape = (steps_of(document), *document["shape"][1:])
    if [codec["name"] for codec in document["codecs"]] == ["bytes", "crc32c"]:
        size = 4 * int(np.prod(shape)) + 4
        content = _ROOM.of(size)[:size]
        fields = content[:-4].view("<f4").reshape(shape)
        fields[: len(block)], fields[len(block) :] = block, np.nan
        content[-4:] = np.frombuffer(_crc32c(content[:-4]), np.uint8)
        return content
    prototype = default_buffer_prototype()
    held = {"zarr.json": prototype.buffer.from_bytes(json.dumps({**document, "shape": shape}).encode())}
    # Of a block that is NaN everywhere a file is kept too: an absent one always means "never written".
    with zarr.config.set({"array.write_empty_chunks": True}):
        store = MemoryStore(held)
        zarr.open_array(store, mode="r+", zarr_format=3)[: len(block)] = block
    (written,) = (content for key, content in store._store_dict.items() if key != "zarr.json")
    coded = np.asarray(written.as_numpy_array()).view(np.uint8)
    content = _ROOM.of(coded.nbytes)[: coded.nbytes]
    content[:] = coded
    return content


def write_aside(target: Path, name: str, document: Document, shard: int, block: NDArray[np.float32]) -> Entry:
    """Write a shard under a name of its own, down to the disk; what the ledger has to know of it."""
    file = file_of(name, document, shard)
    content = encode(document, block)
    # A name that no other process has: one whose parent was killed may still be writing.
    partial = f"{file}.{uuid.uuid4().hex}.partial"
    path = target / partial
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_down(path, _ROOM.of(content.nbytes), content.nbytes)
    except OSError:
        path.unlink(missing_ok=True)  # a full disk has no place for what is half written
        raise
    return {
        "variable": name,
        "shard": shard,
        "file": file,
        "partial": partial,
        "bytes": int(content.nbytes),
        "checksum": _sum_of(content, is_summed(document)),
    }


def write_down(path: Path, padded: NDArray[np.uint8], size: int) -> None:
    """Write a file down to the disk, past the page cache where its file system allows that.

    Filling the cache costs several times what writing does, and drives out the files that are read next.

    Parameters
    ----------
    padded
        The content and what comes after it up to whole blocks, in memory that begins with a page.
    size
        Bytes of the content.
    """
    create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        handle = os.open(path, create | _PAST_CACHE, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        handle = os.open(path, create, 0o666)
    with os.fdopen(handle, "wb", buffering=0) as stream:
        written = 0
        while written < len(padded):
            written += stream.write(padded[written:].data)
        stream.truncate(size)
        os.fsync(stream.fileno())


def put_in_place(target: Path, entry: Entry) -> None:
    """Let a recorded shard take its place, in one step."""
    os.replace(target / entry["partial"], target / entry["file"])


def settle(target: Path, entries: Iterable[Entry]) -> None:
    """After a kill: put in place what was recorded and not yet moved, and remove what was not recorded."""
    recorded = {entry["partial"]: entry for entry in entries}
    for path in target.rglob("*.partial"):
        entry = recorded.get(path.relative_to(target).as_posix())
        if entry is not None and fault(path, entry) is None:
            put_in_place(target, entry)
        else:
            path.unlink()


def fault(path: Path, entry: Entry) -> str | None:
    """What is wrong with the file of an entry, in words; None if it is as it was written."""
    if not path.is_file():
        return "is missing"
    content = np.fromfile(path, np.uint8)
    if content.nbytes != entry["bytes"]:
        return f"has {content.nbytes} of {entry['bytes']} bytes"
    summed = entry["checksum"].startswith("crc32c:")
    if summed and (wrong := sum_fault(content)):
        return wrong
    return (
        None
        if _sum_of(content, summed) == entry["checksum"]
        else "is not what was written: its checksum differs"
    )


def sum_fault(content: NDArray[np.uint8]) -> str | None:
    """What is wrong with a file that ends with its own checksum, in words."""
    if content.nbytes < 4:
        return "is cut off"
    if _crc32c(content[:-4]) != content[-4:].tobytes():
        return "is damaged: its bytes do not have the checksum at their end"
    return None


def _sum_of(content: NDArray[np.uint8], summed: bool) -> str:
    if summed:
        return f"crc32c:{content[-4:].tobytes().hex()}"
    return f"blake2b:{digest(content.data)}"


def _crc32c(content: NDArray[np.uint8]) -> bytes:
    """Checksum as Zarr's codec writes it."""
    return int(google_crc32c.value(content)).to_bytes(4, "little")
