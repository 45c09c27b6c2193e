"""From the grid of a source to the one that a store shall have: weights, mask and area; kept beside it once made."""

import hashlib
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.conservative import shared_areas
from data_pipelines.positions import Positions, on_sphere
from data_pipelines.regrid import bilinear_weights
from data_pipelines.sources import open_source
from oceanop.grid import Plane

METHODS = ("conservative", "bilinear")
_WET_SHARE = 0.5  # a cell is ocean if at least half of its area, or of its weights, is
_WIDEST = 45.0  # degrees: beyond it a cell's sides, great circles, are far from its parallels
_FORMAT = b"grid change 1"  # of what is kept: another one is made anew


@dataclass(frozen=True, eq=False)
class GridChange:
    """Weights from a block of a source's cells to all cells of a target.

    Attributes
    ----------
    weights
        ``[targets, cells of the block]``: areas shared, m2, or bilinear weights.
    whole
        Sum of weights of a target that lies wholly in the source's domain, ``[targets]``.
    target
        Cells of the store.
    rows, columns
        The block of the source's grid.
    method
        ``conservative`` or ``bilinear``.
    """

    weights: scipy.sparse.csr_array
    whole: NDArray[np.float64]
    target: Positions
    rows: slice
    columns: slice
    method: str

    changes = True

    @classmethod
    def between(cls, source: Positions, target: Positions, method: str, cache: Path) -> "GridChange":
        """Weights between two grids, from the cache where they are there.

        Raises
        ------
        ValueError
            If the grids do not meet.
        """
        file = cache / f"{_identity(source, target, method)}.npz"
        weights = _kept(file)
        if weights is None:
            weights = (
                shared_areas(source, target)
                if method == "conservative"
                else bilinear_weights(source, target)[0]
            )
            _keep(file, weights)
        if not weights.nnz:
            raise ValueError(
                f"the grid asked for, {_span(target)}, does not meet that of the source, {_span(source)}; give another "
                "one with --grid."
            )
        used_rows, used_columns = np.divmod(np.unique(weights.indices), source.shape[1])
        rows = slice(int(used_rows.min()), int(used_rows.max()) + 1)
        columns = slice(int(used_columns.min()), int(used_columns.max()) + 1)
        block = np.arange(source.latitude.size).reshape(source.shape)[rows, columns].ravel()
        whole = target.cell_area.ravel() if method == "conservative" else np.ones(target.latitude.size)
        return cls(scipy.sparse.csr_array(weights[:, block]), whole, target, rows, columns, method)

    @property
    def words(self) -> str:
        """What is done to values, for the store's attributes."""
        if self.method == "conservative":
            return "first-order conservative: mean of the sea by the area that each cell shares with the source's"
        return "bilinear between the centres of the source's cells that are sea"

    @property
    def cell_method(self) -> str:
        """What CF says of a value; empty for one that stands for a point."""
        return "area: mean where sea" if self.method == "conservative" else ""

    @property
    def area_words(self) -> str:
        """What is added to the account of how areas were found."""
        return ""

    def area(self) -> Plane:
        """Area of the target's cells, m2, ``[rows, columns]``."""
        return self.target.cell_area

    def mask(self, wet: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which target cells are ocean, ``[..., rows, columns]``, from the block's ``[..., Y, X]``."""
        return self._carried(wet) >= _WET_SHARE * self.whole.reshape(self.target.shape)

    def mean(self, fields: NDArray[Any], wet: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Fields ``[..., Y, X]`` on the target's cells, of wet cells alone; NaN where the target is land.

        Parameters
        ----------
        wet
            ``[Y, X]`` or ``[Z, Y, X]`` to go with ``fields``, which are valid there.
        """
        held = self._carried(wet)
        # where, not times: land holds NaN
        carried = self._carried(np.where(wet, fields, 0.0))
        mean = carried / np.where(held > 0, held, 1.0)
        return np.where(self.mask(wet) & (held > 0), mean, np.nan).astype(np.float32)

    def positions(self, fine: Positions) -> Positions:
        """The target's cells."""
        return self.target

    def _carried(self, fields: NDArray[Any]) -> NDArray[np.float64]:
        flat = fields.reshape(-1, self.weights.shape[1]).astype(np.float64)
        return np.asarray((self.weights @ flat.T).T).reshape(*fields.shape[:-2], *self.target.shape)


@dataclass(frozen=True, eq=False)
class GridAsked:
    """The grid that a store shall have, how to come to it (None chooses), and where weights are kept."""

    target: Positions
    method: str | None
    cache: Path

    def change(self, source: Positions) -> GridChange:
        """The change from a source's grid to it."""
        return GridChange.between(
            source, self.target, chosen_method(source, self.target, self.method), self.cache
        )


def read_grid(grid: str | Path | Sequence[float]) -> Positions:
    """Cells of a grid as it is asked for: a box with the sides of its cells, a store, or a file.

    Parameters
    ----------
    grid
        ``west, east, south, north, dx, dy`` in degrees, as numbers or text, or the path of a file on the grid.

    Raises
    ------
    FileNotFoundError, ValueError
        If the box holds no whole number of cells, or the file cannot be read or holds no field.
    """
    if (edges := box_of(grid)) is not None:
        return _box(edges)
    assert isinstance(grid, str | Path)
    source = open_source(grid)
    try:
        if not source.fields:
            raise ValueError(
                f"{source.name} holds no field whose grid could be taken; give a store or a file of data."
            )
        return next(iter(source.fields.values())).positions
    finally:
        source.close()


def box_of(grid: str | Path | Sequence[float]) -> list[float] | None:
    """The six numbers of a box; None for a path."""
    if isinstance(grid, Path):
        return None
    parts = grid.split(",") if isinstance(grid, str) else list(grid)
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 6:
        if isinstance(grid, str) and len(numbers) < 2:
            return None
        raise ValueError(f"grid {grid} has {len(numbers)} numbers; give W,E,S,N,DX,DY in degrees, or a file.")
    return numbers


def chosen_method(source: Positions, target: Positions, method: str | None) -> str:
    """The method asked for; else means over larger cells, and values between the centres of smaller ones.

    Raises
    ------
    ValueError
        If it is not known.
    """
    if method is not None:
        if method not in METHODS:
            raise ValueError(f"regridding '{method}' is not known; choose one of {', '.join(METHODS)}.")
        return method
    tree = cKDTree(on_sphere(source.latitude, source.longitude).reshape(-1, 3))
    nearest = tree.query(on_sphere(target.latitude, target.longitude).reshape(-1, 3))[1]
    ratio = np.median(target.cell_area.ravel() / source.cell_area.ravel()[nearest])
    return "conservative" if ratio >= 1 else "bilinear"


def _box(edges: Sequence[float]) -> Positions:
    west, east, south, north, dx, dy = edges
    east = east if east > west else east + 360
    said = ",".join(f"{edge:g}" for edge in edges)
    if not (-90 <= south < north <= 90 and 0 < dx <= _WIDEST and 0 < dy <= _WIDEST and east - west <= 360):
        raise ValueError(
            f"grid {said} is no box on the sphere; write W,E,S,N,DX,DY with S below N, and cells of at most "
            f"{_WIDEST:g} degrees."
        )
    axes = []
    for low, high, step in ((south, north, dy), (west, east, dx)):
        count = round((high - low) / step)
        if abs(count * step - (high - low)) > 1e-6 * step or count < 2:
            raise ValueError(
                f"grid {said}: {high - low:g} degrees hold no whole number of cells, two or more, of {step:g}; choose "
                "edges or sides that fit."
            )
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    return Positions.from_axes(*axes)


def _identity(source: Positions, target: Positions, method: str) -> str:
    digest = hashlib.sha256(_FORMAT + method.encode())
    for positions in (source, target):
        digest.update(str((positions.shape, positions.regular, positions.projection)).encode())
        for plane in (positions.latitude, positions.longitude):
            digest.update(np.ascontiguousarray(plane, dtype="<f8").tobytes())
    return digest.hexdigest()[:32]


def _kept(file: Path) -> scipy.sparse.csr_array | None:
    """Weights from the cache; None where they are not there, or not whole."""
    try:
        with open(file, "rb") as stream:
            return scipy.sparse.csr_array(scipy.sparse.load_npz(stream))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _keep(file: Path, weights: scipy.sparse.csr_array) -> None:
    """Write weights whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.stem}.{os.getpid()}.partial")
    with open(partial, "wb") as stream:
        scipy.sparse.save_npz(stream, weights)
    os.replace(partial, file)


def _span(positions: Positions) -> str:
    longitude, latitude = positions.longitude, positions.latitude
    return (
        f"{longitude.min():.2f} to {longitude.max():.2f} E and {latitude.min():.2f} to {latitude.max():.2f} N"
    )
