"""The truth of the Baltic experiment: what the numerical ocean simulates, as it is or as means over larger cells."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from baltic_folder import read_note, write_note
from norkyst_comparison import taken

from data_pipelines import open_store, simulate
from data_pipelines.basins.settings import Basin, ReliefSea, load_basin
from data_pipelines.coarsen import Coarsening
from data_pipelines.positions import Positions
from data_pipelines.save import save_store
from data_pipelines.splits import read_splits
from oceanop import Grid

STATE = ("zos", "ubar", "vbar")
FORCING = ("tauu", "tauv", "msl")
WIND = ("u10", "v10")
BLOCK = 240  # hours that are averaged at once

# A basin by its name, and how many points of the relief make a cell where these are not its own
Solver = tuple[str, tuple[int, int] | None]


def basin_of(solver: Solver) -> Basin:
    """A shipped basin, on other cells where asked for, which its name then tells."""
    name, relief = solver
    basin = load_basin(name)
    if relief is None:
        return basin
    rows, columns = relief
    sea = ReliefSea(floor="baltic", rows=rows, columns=columns)
    cells = f"{5 * columns}' by {5 * rows}'"
    title = ", ".join(
        [basin.title.split(",")[0], cells, *(part.strip() for part in basin.title.split(",")[2:])]
    )
    return basin.model_copy(update={"name": f"{name}-{5 * columns}x{5 * rows}", "title": title, "sea": sea})


def build_truth(basin: Basin, days: Mapping[str, float], coarsen: int, store: Path) -> None:
    """Simulate the truth, unless it is there; what it cost is kept beside it, in seconds of the processor.

    Raises
    ------
    ValueError
        If another sea, or other weather, is there.
    """
    note, before = store.parent / "truth.json", store.parent / "truth-begun.json"
    simulated = store if coarsen == 1 else store.parent / "simulated.zarr"
    with taken(store.parent / "truth", wait=True):
        if read_note(note) is not None:
            if simulated.exists():
                simulate(basin, to=simulated, splits=days)  # leaves its own as it is, and refuses another
            return
        spent = (read_note(before) or {"seconds": 0.0})["seconds"]  # by those that were stopped
        begin = time.process_time()

        def seconds() -> dict[str, float]:
            return {"seconds": spent + time.process_time() - begin}

        simulate(
            basin, to=simulated, splits=days, progress=lambda what, done, total: write_note(before, seconds())
        )
        if coarsen > 1:
            write_note(before, seconds())
            coarse, splits = coarsened(open_store(simulated), coarsen)
            if store.exists():  # of one that was stopped
                shutil.rmtree(store)
            save_store(coarse, store, splits=splits)
        write_note(note, seconds())
        before.unlink()


def coarsened(ds: xr.Dataset, size: int) -> tuple[xr.Dataset, dict[str, Sequence[Any]]]:
    """A simulated sea as means over blocks of cells, of those at sea where land has no values; and its splits."""
    fine, times = Grid.from_dataset(ds), ds["time"]
    blocks = Coarsening(size, fine.cell_area)
    positions = blocks.positions(Positions.from_axes(ds["latitude"].to_numpy(), ds["longitude"].to_numpy()))
    wet = blocks.mask(fine.mask)
    axes = {
        name: (name, axis, ds[name].attrs)
        for name, axis in (("latitude", positions.latitude[:, 0]), ("longitude", positions.longitude[0]))
    }
    grid = Grid(
        positions.latitude,
        positions.longitude,
        mask=wet,
        cell_area=blocks.area(),
        dims=("latitude", "longitude"),
        coordinates=xr.Dataset(coords=axes),
    )
    out = grid.to_dataset().assign_coords(time=times)
    out["deptho"] = (grid.dims, blocks.mean(ds["deptho"].to_numpy(), fine.mask), ds["deptho"].attrs)
    for name in (*STATE, *FORCING, *WIND):
        there = np.isfinite(ds[name].isel(time=0).to_numpy())  # a state and a stress at sea alone
        means = np.concatenate(
            [
                blocks.mean(ds[name].isel(time=slice(first, first + BLOCK)).to_numpy(), there)
                for first in range(0, times.size, BLOCK)
            ]
        )
        out[name] = (("time", *grid.dims), means, ds[name].attrs)
    out.attrs = {**ds.attrs, "history": f"means over blocks of {size} x {size} cells"}
    return out, {name: tuple(ends) for name, ends in read_splits(ds).items()}
