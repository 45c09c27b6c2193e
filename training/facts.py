"""What a run is made of, in words: for the ranks to agree on, and for the checkpoint to remember."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from oceanop.config import Run
from oceanop.edge import open_boundaries
from oceanop.layout import Layout
from training.parallel import Ranks


def common_facts(run: Run, ds: xr.Dataset, grid: str, ranks: Ranks, done: int) -> dict[str, str]:
    """What all ranks must have in common for their gradients to be those of one run, each fact in words."""
    facts = {
        f"{table}.{key}": json.dumps(value)
        for table, values in run.model_dump(mode="json").items()
        for key, value in values.items()
    }
    times = ds["time"].values
    digest = hashlib.sha256("\n".join(str(time) for time in times).encode()).hexdigest()[:8]
    facts["the store's grid"] = grid[:8]
    facts["the store's time axis"] = f"{times[0]} to {times[-1]} in {len(times)} steps ({digest})"
    for name in ("request", "sources", "splits"):
        words = str(ds.attrs.get(name, ""))
        facts[f"the digest of the store's {name}"] = hashlib.sha256(words.encode()).hexdigest()[:8]
    facts |= {f"the version of {name}": version(name) for name in ("oceanop", "torch")}
    facts["the kind of device"] = ranks.device.type
    facts["the step to go on from"] = str(done)
    return facts


def provenance(ds: xr.Dataset, store: Path, run: Run, ranks: Ranks) -> dict[str, Any]:
    """Where a checkpoint comes from: store, software, machine; plain JSON."""
    kept = ("title", "institution", "source", "sources", "request", "splits", "references", "license")
    return {
        "store": store.name,
        "store_attributes": {name: str(ds.attrs[name]) for name in kept if name in ds.attrs},
        "fit": list(run.data.fit),
        "open_boundaries": open_boundaries(
            ds, Layout.from_dataset(ds, run.data.state, run.data.forcing), run.data.edge_zone
        ),
        "software": {
            name: version(name) for name in ("oceanop", "torch", "neuraloperator", "xarray", "zarr")
        },
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "ranks": ranks.world_size,
        "device": (
            torch.cuda.get_device_name(ranks.device) if ranks.device.type == "cuda" else platform.machine()
        ),
    }
