"""Mean, spread and one-step change of every variable over the wet cells of the training time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from data_pipelines.profiles import block_steps
from data_pipelines.splits import read_splits, steps_of_splits
from data_pipelines.store import open_store, open_unchecked, read_root, write_array
from data_pipelines.windows import joined
from oceanop.variables import STORED

STATISTICS = ("mean", "std", "min", "max", "count", "difference_mean", "difference_std")


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a stream of numbers, in float64 (Chan, Golub, LeVeque 1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = field(default=np.inf)
    high: float = field(default=-np.inf)

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in a block; missing values do not count."""
        values = values[np.isfinite(values)]
        if not values.size:
            return
        mean = float(values.mean())
        shift, total = mean - self.mean, self.count + values.size
        self.squares += float(np.square(values - mean).sum()) + shift**2 * self.count * values.size / total
        self.mean += shift * values.size / total
        self.count = total
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    @property
    def std(self) -> float:
        """Population standard deviation; NaN of nothing."""
        return float(np.sqrt(self.squares / self.count)) if self.count else np.nan


def compute_statistics(path: str | Path, split: str = "train") -> None:
    """Walk once over a split of a store and write the group ``statistics/<split>``.

    Only wet cells count. One-step differences do not cross gaps and stay inside the split.
    """
    ds = open_unchecked(path)
    used = steps_of_splits(ds, split)
    linked = joined(ds["time"].values)
    wet = ds["mask"].to_numpy() > 0.5
    names = [str(name) for name in ds.data_vars if name in STORED and "time" in ds[name].dims]
    root = zarr.open_group(path, mode="r+", zarr_format=3)
    group = root.require_group("statistics").create_group(split, overwrite=True)
    first, last = read_splits(ds)[split]
    group.attrs.update({"split": split, "time_start": first, "time_end": last, "steps": int(used.sum()),
                        "cells": "wet cells only, every cell counted once"})  # fmt: skip
    write_array(
        group,
        "statistic",
        ("statistic",),
        np.arange(len(STATISTICS), dtype=np.int8),
        {"flag_values": list(range(len(STATISTICS))), "flag_meanings": " ".join(STATISTICS)},
    )
    if "depth" in ds.coords:
        write_array(group, "depth", ("depth",), ds["depth"].to_numpy(), ds["depth"].attrs)
    for name in names:
        deep = "depth" in ds[name].dims
        cells = wet_levels(wet, deep)
        if "member" in ds[name].dims:  # members are more cells of one ocean
            cells = np.broadcast_to(cells[:, None], (len(cells), *ds[name].shape[1:]))
        table = _of_variable(root[name], used, linked, cells, deep)
        write_array(
            group,
            name,
            ("statistic", "depth") if deep else ("statistic",),
            table,
            {"units": STORED[name].units},
        )


def read_statistics(path: str | Path, split: str = "train") -> xr.Dataset:
    """Statistics of a store: one variable each, dimensions ``statistic[, depth]``.

    Parameters
    ----------
    path
        A complete store.
    split
        Whose; ``train`` is always there.

    Returns
    -------
    float64; ``statistic`` is labelled ``mean, std, min, max, count, difference_mean, difference_std``; the attributes
    ``time_start`` and ``time_end`` tell the exact range.

    Raises
    ------
    FileNotFoundError, ValueError
        If the store cannot be opened or has no statistics of that split.
    """
    open_store(path).close()
    folder = Path(path) / "statistics" / split
    if not (folder.exists() and read_root(folder) is not None):
        held = sorted(part.name for part in (Path(path) / "statistics").glob("*") if part.is_dir())
        raise ValueError(
            f"{path} holds no statistics of split '{split}', only of {', '.join(held) or 'none'}; ingest it again."
        )
    ds = xr.open_zarr(folder, chunks=None, consolidated=False).load()
    return ds.assign_coords(statistic=list(STATISTICS))


def wet_levels(wet: NDArray[np.bool_], deep: bool) -> NDArray[np.bool_]:
    """The mask ``[(Z,) Y, X]`` as it goes with a variable: ``[Z or 1, Y, X]``, the top level without a depth axis."""
    if deep:
        return wet if wet.ndim == 3 else wet[None]
    return wet[:1] if wet.ndim == 3 else wet[None]


def _of_variable(
    array: Any, used: NDArray[np.bool_], linked: NDArray[np.bool_], wet: NDArray[np.bool_], deep: bool
) -> NDArray[np.float64]:
    """Table ``[statistic, (depth)]`` of one array, read file by file."""
    levels = array.shape[1] if deep else 1
    values = [Moments() for _ in range(levels)]
    changes = [Moments() for _ in range(levels)]
    before: list[NDArray[np.float64] | None] = [None] * levels
    together = block_steps(array)
    for start in range(0, array.shape[0], together):
        stop = min(start + together, array.shape[0])
        if not used[start:stop].any():
            before = [None] * levels
            continue
        block = array[start:stop].reshape(stop - start, levels, *wet.shape[1:])
        for level in range(levels):
            cells = np.broadcast_to(wet, (levels, *wet.shape[1:]))[level]
            for step in range(start, stop):
                if not used[step]:
                    before[level] = None
                    continue
                now = block[step - start, level][cells].astype(np.float64)
                values[level].add(now)
                earlier = before[level]
                if earlier is not None and linked[step - 1]:
                    changes[level].add(now - earlier)
                before[level] = now
    table = np.array(
        [
            [a.mean if a.count else np.nan, a.std, a.low if a.count else np.nan, a.high if a.count else np.nan,
             float(a.count), b.mean if b.count else np.nan, b.std]
            for a, b in zip(values, changes, strict=True)
        ]
    ).T  # fmt: skip
    return table if deep else table[:, 0]
