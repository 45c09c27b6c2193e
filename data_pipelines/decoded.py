"""A compressed array decoded once on this machine, so that every later window is read at the speed of memory."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from filelock import FileLock

from data_pipelines.maps import Maps
from data_pipelines.profiles import FAST, block_steps
from data_pipelines.stored_fields import MappedFields, ShardedFields, file_reader
from data_pipelines.times import Times


def decoded_copy(
    source: ShardedFields, document: Mapping[str, Any], times: Times, maps: Maps, cache: Path
) -> MappedFields:
    """The same fields as plain numbers, from a copy in ``cache``; made there if this is the first to want it.

    Of the processes of a machine one makes the copy, and the others wait for it; where it is killed, another takes
    over. The name of a copy has a digest of the array's metadata and of size, time of writing and index of each of its
    files, so that a copy of another state of the array is never found. Copies stay until somebody deletes them.

    Parameters
    ----------
    source, document, times
        The array, its committed metadata, and the times of its steps ``[T]``.
    maps
        Where the files of the copy are opened.
    cache
        Folder on a disk of this machine.

    Raises
    ------
    ValueError
        If the disk lacks the room, or the array is damaged.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = source.folder
    copy = cache / f"{folder.parent.name}-{folder.name}-{_identity(source, document)}"
    if not copy.exists():
        with FileLock(copy.with_name(f"{copy.name}.lock")):
            if not copy.exists():  # another process may have made it meanwhile
                _make(source, document, copy)
    made = json.loads((copy / "zarr.json").read_text())
    reader = file_reader(
        copy, made, times, maps, cure="delete this copy, which is made again when it is asked for"
    )
    assert isinstance(reader, MappedFields)
    return reader


def _identity(source: ShardedFields, document: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=12)
    for file, index in source.files():
        status = file.stat()
        digest.update(
            f"{file.relative_to(source.folder)} {status.st_size} {status.st_mtime_ns} ".encode() + index
        )
    return digest.hexdigest()


def _make(source: ShardedFields, document: Mapping[str, Any], copy: Path) -> None:
    shape = document["shape"]
    needed, free = 4 * int(np.prod(shape)), shutil.disk_usage(copy.parent).free
    if needed > free:
        raise ValueError(
            f"{copy.parent}: a decoded copy of {source.folder} needs {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are "
            "free there; name another folder as data.cache, or leave it out and let every window be decoded."
        )
    partial = copy.with_name(f"{copy.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    array = zarr.create_array(partial, **FAST.keywords(shape, np.dtype(np.float32)), zarr_format=3)
    together = block_steps(array)
    for first in range(0, shape[0], together):
        stop = min(first + together, shape[0])
        fields = np.empty((stop - first, *shape[1:]), np.float32)
        for begin, block in source.blocks(first, stop):
            fields[begin - first : begin - first + len(block)] = block.reshape(len(block), *shape[1:])
        array[first:stop] = fields
    os.replace(partial, copy)
