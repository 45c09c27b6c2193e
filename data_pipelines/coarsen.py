"""Fewer, larger cells: means over blocks of wet cells, each counted by its area."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.positions import Positions, from_sphere, on_sphere
from oceanop.grid import Plane

_WET_SHARE = 0.5  # a block is ocean if at least half of its cells are


@dataclass(frozen=True, eq=False)
class Coarsening:
    """Blocks of ``size`` x ``size`` cells; rows and columns at the far edges that fill no block are dropped.

    Attributes
    ----------
    size
        Cells along a block's side; 1 changes nothing.
    cell_area
        Of the fine cells, m2, ``[Y, X]``.
    """

    size: int
    cell_area: Plane

    def __post_init__(self) -> None:
        if self.size < 1 or min(self.cell_area.shape) // self.size < 2:
            raise ValueError(
                f"coarsen {self.size} does not fit a grid of {self.cell_area.shape[0]} x {self.cell_area.shape[1]} "
                f"cells, of which at least 2 x 2 blocks must remain; choose a whole number from 1 to "
                f"{min(self.cell_area.shape) // 2}."
            )

    @property
    def changes(self) -> bool:
        """Whether the store's cells are others than the source's."""
        return self.size > 1

    @property
    def words(self) -> str:
        """What is done to values, for the store's attributes."""
        return f"mean of the sea in blocks of {self.size} x {self.size} cells by area" if self.changes else ""

    @property
    def cell_method(self) -> str:
        """What CF says of a value."""
        return "area: mean where sea" if self.changes else ""

    @property
    def area_words(self) -> str:
        """What is added to the account of how areas were found."""
        return f", summed over blocks of {self.size} x {self.size}" if self.changes else ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the coarse grid."""
        return self.cell_area.shape[0] // self.size, self.cell_area.shape[1] // self.size

    def blocks(self, fields: NDArray[Any]) -> NDArray[Any]:
        """Fields ``[..., Y, X]`` seen as ``[..., rows, size, columns, size]``."""
        rows, columns = self.shape
        cut = fields[..., : rows * self.size, : columns * self.size]
        return cut.reshape(*fields.shape[:-2], rows, self.size, columns, self.size)

    def area(self) -> Plane:
        """Area of the coarse cells, m2: all their fine cells together, wet or not."""
        return self.blocks(self.cell_area).sum((-3, -1))

    def mask(self, wet: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which coarse cells are ocean, ``[..., rows, columns]``."""
        return self.blocks(wet).mean((-3, -1)) >= _WET_SHARE

    def mean(self, fields: NDArray[Any], wet: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Mean over the wet cells of each block by area; NaN where the coarse cell is land.

        Parameters
        ----------
        fields
            ``[..., Y, X]``, valid wherever ``wet``.
        wet
            ``[Y, X]`` or ``[Z, Y, X]`` to go with ``fields``.
        """
        weight = self.blocks(np.where(wet, self.cell_area, 0.0))
        total = weight.sum((-3, -1))
        # where, not times: land holds NaN
        summed = (self.blocks(np.where(wet, fields, 0.0)) * weight).sum((-3, -1))
        result = summed / np.where(total > 0, total, 1.0)
        return np.where(self.mask(wet), result, np.nan).astype(np.float32)

    def positions(self, fine: Positions) -> Positions:
        """Centres of the blocks: means of the axes, or of the positions on the sphere where there is no axis."""
        rows, columns = self.shape
        if fine.regular:
            latitude = fine.latitude[: rows * self.size, 0].reshape(rows, self.size).mean(1)
            longitude = fine.longitude[0, : columns * self.size].reshape(columns, self.size).mean(1)
            return Positions.from_axes(latitude, longitude)
        if fine.y is not None and fine.x is not None and fine.projection is not None:
            y = fine.y[: rows * self.size].reshape(rows, self.size).mean(1)
            x = fine.x[: columns * self.size].reshape(columns, self.size).mean(1)
            return Positions.from_projection(y, x, fine.projection, fine.mapping)
        vectors = np.moveaxis(on_sphere(fine.latitude, fine.longitude), -1, 0)
        return Positions(*from_sphere(np.moveaxis(self.blocks(vectors).mean((-3, -1)), 0, -1)))
