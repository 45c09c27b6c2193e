"""Mean, spread and one-step change of every variable over the wet cells of each split."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from data_pipelines.passes import change_sums, sums
from data_pipelines.profiles import block_steps
from data_pipelines.splits import Splits, read_splits, split_numbers
from data_pipelines.store import open_store, open_unchecked, read_root, write_array
from data_pipelines.windows import joined
from oceanop.layout import DEPTH_ATTRIBUTES
from oceanop.variables import STORED

STATISTICS = ("mean", "std", "min", "max", "count", "difference_mean", "difference_std")
_SHARE_LOST = 0.5  # of a sum of squares: what the distance of the mean may make of it, one bit of 53


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a stream of numbers, in float64 (Chan, Golub, LeVeque 1979)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = field(default=np.inf)
    high: float = field(default=-np.inf)

    @classmethod
    def of(
        cls,
        now: NDArray[np.floating],
        cells: NDArray[np.bool_],
        before: NDArray[np.floating] | None = None,
        *,
        count: int | None = None,
        about: float = 0.0,
    ) -> "Moments":
        """Of some cells of a plane, or of their changes; missing values do not count.

        Parameters
        ----------
        now, before, cells
            ``[n]``; values, those that they have changed from, and which count.
        count
            How many do; None counts them.
        about
            What the mean may be like: deviations from it are summed in one pass.
        """
        count = int(cells.sum()) if count is None else count
        if not count:
            return cls()
        take = partial(sums, now, cells) if before is None else partial(change_sums, now, before, cells)
        total, squares, low, high = take(float(about))
        if not np.isfinite(total):
            held = np.isfinite(now) if before is None else np.isfinite(now) & np.isfinite(before)
            return cls.of(now, cells & held, before, about=about)
        if (
            total * total / count > _SHARE_LOST * squares
        ):  # the mean is elsewhere: digits are lost in what follows
            about += total / count
            total, squares, _, _ = take(float(about))
        mean = total / count
        return cls(count, float(about + mean), float(squares - mean * total), float(low), float(high))

    def merge(self, other: "Moments") -> None:
        """Take in the numbers that another one has seen."""
        if not other.count:
            return
        shift, total = other.mean - self.mean, self.count + other.count
        self.squares += other.squares + shift**2 * self.count * other.count / total
        self.mean += shift * other.count / total
        self.count = total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    @property
    def std(self) -> float:
        """Population standard deviation; NaN of nothing."""
        return float(np.sqrt(self.squares / self.count)) if self.count else np.nan


@dataclass
class Measured:
    """Moments of the values of one level, and of their changes from step to step."""

    values: Moments = field(default_factory=Moments)
    changes: Moments = field(default_factory=Moments)

    def merge(self, other: "Measured") -> None:
        """Take in what another one has seen."""
        self.values.merge(other.values)
        self.changes.merge(other.changes)

    def to_json(self) -> dict[str, dict[str, float]]:
        """As JSON can hold it, to the last bit."""
        return {
            name: {key: number for key, number in asdict(part).items() if part.count}
            for name, part in (("values", self.values), ("changes", self.changes))
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Mapping[str, Any]]) -> "Measured":
        """What :meth:`to_json` gave."""
        return cls(Moments(**kept["values"]), Moments(**kept["changes"]))


# By number of a split, one entry a level.
Tables = dict[int, list[Measured]]


def measure(
    block: NDArray[np.floating],
    cells: NDArray[np.bool_],
    member: NDArray[np.integer],
    linked: NDArray[np.bool_],
    before: NDArray[np.floating] | None = None,
) -> Tables:
    """Moments of consecutive steps, by the split that a step is in.

    Parameters
    ----------
    block
        ``[n, Z, ...]``.
    cells
        Those that count, ``[Z or 1, ...]``.
    member
        Number of the split of each step, with that of the step before the first one in front, ``[n + 1]``; -1 of none.
    linked
        Whether each step is one time step after that before it, ``[n]``.
    before
        The step before the first one, ``[Z, ...]``; None where there is none.
    """
    tables: Tables = {}
    steps, levels = block.shape[:2]
    for level in range(levels):
        plane = cells[min(level, len(cells) - 1)].ravel()
        count = int(plane.sum())
        earlier: NDArray[np.floating] | None = None
        for step in range(-1, steps):
            split = int(member[step + 1])
            field_now = before if step < 0 else block[step]
            if split < 0 or field_now is None:
                earlier = None
                continue
            now = field_now[level].ravel()
            if step >= 0:
                table = tables.setdefault(split, [Measured() for _ in range(levels)])[level]
                table.values.merge(Moments.of(now, plane, count=count, about=table.values.mean))
                if earlier is not None and linked[step] and member[step] == split:
                    changes = Moments.of(now, plane, earlier, count=count, about=table.changes.mean)
                    table.changes.merge(changes)
            earlier = now
    return tables


def merge(parts: Sequence[Tables]) -> Tables:
    """Moments of blocks together, in the order given: another order differs in the last bits."""
    whole: Tables = {}
    for part in parts:
        for split, levels in part.items():
            held = whole.setdefault(split, [Measured() for _ in levels])
            for one, other in zip(held, levels, strict=True):
                one.merge(other)
    return whole


def compute_statistics(path: str | Path) -> None:
    """Walk once over a store and write the groups ``statistics/<split>``.

    Only wet cells count. One-step differences do not cross gaps and stay inside a split.
    """
    ds = open_unchecked(path)
    splits, times = read_splits(ds), ds["time"].values
    numbers, linked = split_numbers(splits, times), np.concatenate([[False], joined(times)])
    wet = ds["mask"].to_numpy() > 0.5
    root: Any = zarr.open_group(path, mode="r+", zarr_format=3)
    found = {}
    for name in moving_variables(ds):
        deep = "depth" in ds[name].dims
        cells = wet_levels(wet, deep)
        if "member" in ds[name].dims:  # members are more cells of one ocean
            cells = np.broadcast_to(cells[:, None], (len(cells), *ds[name].shape[1:]))
        array, parts, before = root[name], [], None
        for start in range(0, array.shape[0], block_steps(array)):
            stop = min(start + block_steps(array), array.shape[0])
            block = levelled(array[start:stop], deep)
            member = np.concatenate([numbers[[start - 1]] if start else [-1], numbers[start:stop]])
            parts.append(measure(block, cells, member, linked[start:stop], before))
            before = block[-1]
        found[name] = merge(parts)
    write_statistics(root, splits, numbers, found, ds["depth"].to_numpy() if "depth" in ds.coords else None)


def write_statistics(
    root: Any,
    splits: Splits,
    numbers: NDArray[np.int64],
    found: Mapping[str, Tables],
    depths: NDArray[np.float64] | None,
    only: Sequence[str] | None = None,
) -> None:
    """Write the groups ``statistics/<split>`` of a store.

    Parameters
    ----------
    root
        Zarr group of the store.
    splits
        First and last time of each.
    numbers
        Of the split of every step, ``[T]``.
    found
        By variable.
    depths
        Levels of the store, m; None without any.
    only
        Splits to write; None writes all.
    """
    group = root.require_group("statistics")
    for number, (split, (first, last)) in enumerate(splits.items()):
        if only is not None and split not in only:
            continue
        part = group.require_group(split)
        part.attrs.update({"split": split, "time_start": first, "time_end": last,
                           "steps": int((numbers == number).sum()),
                           "cells": "wet cells only, every cell counted once"})  # fmt: skip
        write_array(
            part,
            "statistic",
            ("statistic",),
            np.arange(len(STATISTICS), dtype=np.int8),
            {"flag_values": list(range(len(STATISTICS))), "flag_meanings": " ".join(STATISTICS)},
        )
        if depths is not None:
            write_array(part, "depth", ("depth",), depths, DEPTH_ATTRIBUTES)
        for name, tables in found.items():
            deep = depths is not None and "depth" in root[name].metadata.dimension_names
            levels = root[name].shape[1] if deep else 1
            table = _table(tables.get(number, [Measured() for _ in range(levels)]))
            write_array(
                part,
                name,
                ("statistic", "depth") if deep else ("statistic",),
                table if deep else table[:, 0],
                {"units": STORED[name].units},
            )


def moving_variables(ds: xr.Dataset) -> list[str]:
    """Known variables of a store that have a time."""
    return [str(name) for name in ds.data_vars if name in STORED and "time" in ds[name].dims]


def levelled(block: NDArray[Any], deep: bool) -> NDArray[Any]:
    """A block ``[n, (Z,) ...]`` with a level axis, whether its variable has one or not."""
    return block if deep else block[:, None]


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
    with open_store(path) as ds:
        splits = read_splits(ds)
    folder = Path(path) / "statistics" / split
    if not (folder.exists() and read_root(folder) is not None):
        held = [name for name in splits if (Path(path) / "statistics" / name).is_dir()]
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


def _table(levels: Sequence[Measured]) -> NDArray[np.float64]:
    """Numbers ``[statistic, level]`` as stores keep them."""
    return np.array(
        [
            [a.mean if a.count else np.nan, a.std, a.low if a.count else np.nan, a.high if a.count else np.nan,
             float(a.count), b.mean if b.count else np.nan, b.std]
            for a, b in ((level.values, level.changes) for level in levels)
        ]
    ).T  # fmt: skip
