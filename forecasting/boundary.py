"""What drives the open edge of a regional forecast: whether it is there, whose it is, and where nothing else counts."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import text
from oceanop.checkpoint import Checkpoint
from oceanop.edge import open_edge
from oceanop.grid import Grid
from oceanop.layout import Layout
from oceanop.variables import BOUNDARIES

BLOCK = 64  # steps looked at together


def require_boundary(
    checkpoint: Checkpoint, store: xr.Dataset, starts: Sequence[int] | NDArray[np.int64], leads: int
) -> None:
    """Refuse forecasts whose edge zone lacks values of the parent model, before the first of them begins.

    Parameters
    ----------
    starts
        Steps of the store.

    Raises
    ------
    ValueError
        If a value is missing in the edge zone from the history of a start to its last lead.
    """
    relaxation = checkpoint.weights.get("relaxation")
    if relaxation is None:
        return
    reach = np.arange(1 - checkpoint.history, leads + 1)
    steps = np.unique(np.asarray(starts)[:, None] + reach)
    driving = [checkpoint.layout.forcing[forcing] for _, forcing in checkpoint.layout.boundary]
    zones = [relaxation[state] > 0 for state, _ in checkpoint.layout.boundary]
    for part in np.array_split(steps, -(-len(steps) // BLOCK)):
        block = store.isel(time=part)
        fields = Layout((), tuple(driving)).pack(block, "forcing", missing=np.nan)
        for channel, field, zone in zip(driving, fields, zones, strict=True):
            lacking = (zone & ~torch.isfinite(field)).sum((-2, -1))
            if lacking.any():
                first = int(lacking.nonzero()[0])
                raise ValueError(
                    f"'{channel}' is missing at {text(block['time'].values[first])} on {int(lacking[first])} of "
                    f"{int(zone.sum())} cells of the edge zone that the parent model drives; forecast where the store "
                    "has it, or ingest the store with a parent that covers it."
                )


def boundary_attributes(checkpoint: Checkpoint, store: xr.Dataset) -> dict[str, Any]:
    """Attributes of a forecast file on its open edge; none where the checkpoint says nothing of it."""
    attributes: dict[str, Any] = {}
    if "open_boundaries" in checkpoint.provenance:
        attributes["open_boundaries"] = checkpoint.provenance["open_boundaries"]
    names = [name for name in checkpoint.layout.names("forcing") if name in BOUNDARIES]
    if names:
        attributes["edge_zone"] = checkpoint.run.data.edge_zone
        attributes["boundary"] = f"{' '.join(names)} of the input store, known up to the last lead"
        attributes["boundary_parent"] = json.dumps(_parents(store))
    return attributes


def prescribed_cells(forecasts: Iterable[xr.Dataset], grid: Grid) -> NDArray[np.bool_]:
    """Ocean cells on which a forecast repeats its parent model and forecasts nothing itself, ``[y, x]``."""
    driven = any(int(ds.attrs.get("edge_zone", 0)) > 0 for ds in forecasts)
    return open_edge(grid) if driven else np.zeros(grid.shape, dtype=bool)


def _parents(store: xr.Dataset) -> list[dict[str, Any]]:
    """Name, size and checksum of the parent's files, as far as the store says."""
    listed = json.loads(str(store.attrs.get("sources", "[]")))
    return [
        {key: entry[key] for key in ("name", "size", "sha256") if key in entry}
        for entry in listed
        if entry.get("role") == "boundary"
    ]
