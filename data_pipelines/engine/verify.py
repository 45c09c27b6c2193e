"""Whether every file of a store is there and holds what was written."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.engine.ledger import Ledger
from data_pipelines.engine.shards import fault, is_summed, sum_fault
from data_pipelines.plan import Progress
from data_pipelines.store import open_store, read_root


def verify(path: str | Path, *, progress: Progress | None = None) -> tuple[list[str], int]:
    """Read every file of a store, and compare it with the ledger of its ingest and with its own checksum.

    A store without a ledger, as :func:`data_pipelines.simulate` and :func:`data_pipelines.save_store` make them, is
    checked by the checksums that its files end with.

    Parameters
    ----------
    path
        A complete store.
    progress
        Called with what is done, files done, and files in all.

    Returns
    -------
    faults
        A sentence for each file that is missing or damaged; none of a sound store.
    files
        How many were looked at.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no complete store.
    """
    open_store(path).close()
    target, root = Path(path), read_root(path)
    assert root is not None
    held: dict[str, Any] = root["consolidated_metadata"]["metadata"]
    ledger = Ledger(target)
    expected = [
        (name, document, place)
        for name, document in held.items()
        if document["node_type"] == "array"
        for place in _places(document)
    ]
    faults = [
        f"{target / name / 'zarr.json'} is missing."
        for name in held
        if not (target / name / "zarr.json").is_file()
    ]
    tell = progress or (lambda what, done, total: None)
    for number, (name, document, place) in enumerate(expected, 1):
        found = _fault(target, ledger, name, document, place)
        if found is not None:
            faults.append(f"{target / name / place} {found}.")
        tell(name, number, len(expected))
    return faults, len(expected) + len(held)


def _fault(target: Path, ledger: Ledger, name: str, document: dict[str, Any], place: str) -> str | None:
    file = target / name / place
    entries = ledger.seen.get((name, int(place.split("/")[1])), []) if "/" in place else []
    if not entries:
        if not file.is_file():
            return "is missing"
        if not is_summed(document):
            return f"cannot be checked, as it is in no ledger ({ledger.path} is missing, or of another store)"
        return sum_fault(np.fromfile(file, np.uint8))
    # While days are appended a file is the one committed, or the longer one that takes its place.
    faults = [fault(file, entry) for entry in reversed(entries)]
    return None if None in faults else faults[0]


def _places(document: dict[str, Any]) -> Iterator[str]:
    """Paths of all files of an array within its folder."""
    shape, cut = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    counts = [range(math.ceil(size / part)) for size, part in zip(shape, cut, strict=True)]
    for index in itertools.product(*counts):
        yield "/".join(["c", *map(str, index)])
