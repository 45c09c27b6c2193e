"""What the files of a series have in common is held once, however many files there are."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.positions import Positions

_REMEMBERED = (
    16  # of each kind: the points of a grid are few; what differs from file to file is not looked for long
)


@dataclass(eq=False)
class Known:
    """Arrays and positions that files opened before had too."""

    arrays: list[NDArray[Any]] = field(default_factory=list)
    grids: list[Positions] = field(default_factory=list)

    def array(self, values: NDArray[Any]) -> NDArray[Any]:
        """The array of the same values that was given before, or this one."""
        for other in reversed(self.arrays):
            if _same(other, values):
                return other
        self.arrays = [*self.arrays[1 - _REMEMBERED :], values]
        return values

    def positions(self, found: Positions) -> Positions:
        """The same positions as given before, with all that was computed of them, or these."""
        for other in reversed(self.grids):
            if (
                found.regular == other.regular
                and found.projection == other.projection
                and found.mapping == other.mapping
                and found.remark == other.remark
                and all(
                    _same(getattr(found, part), getattr(other, part))
                    for part in ("latitude", "longitude", "y", "x", "x_angle")
                )
            ):
                return other
        self.grids = [*self.grids[1 - _REMEMBERED :], found]
        return found


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    if one is other:
        return True
    if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
        return False
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
