"""What an ingest left out or found odd: kept in the store, and told at the end."""

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

SKIPPED, DUPLICATES = "skipped", "duplicates_dropped"  # root attributes, JSON text
Record = dict[str, Any]


class IngestWarning(UserWarning):
    """Something about a source that its user should know, and that did not stop the ingest."""


def remark_attributes(skipped: Sequence[Record], duplicates: Sequence[Record]) -> dict[str, str]:
    """Root attributes of a store from which something was left out; none where nothing was."""
    found = {SKIPPED: skipped, DUPLICATES: duplicates}
    return {key: json.dumps(list(records)) for key, records in found.items() if records}


def read_remarks(attributes: Mapping[Any, Any]) -> dict[str, list[Record]]:
    """What :func:`remark_attributes` wrote."""
    return {key: json.loads(attributes[key]) for key in (SKIPPED, DUPLICATES) if key in attributes}


def tell(skipped: Sequence[Record], duplicates: Sequence[Record]) -> None:
    """Warn of everything that was left out, a sentence each."""
    for record in skipped:
        what = record["file"] if record["time"] is None else f"the step {record['time']}"
        warnings.warn(f"{what} is left out: {record['why']}", IngestWarning, stacklevel=3)
    for record in duplicates:
        warnings.warn(
            f"{record['steps']} steps of {record['variables']} in {record['dropped']}, {record['first']} to "
            f"{record['last']}, are left out: {record['kept']} has the same times.",
            IngestWarning,
            stacklevel=3,
        )
