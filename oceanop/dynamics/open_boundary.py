"""Where a basin is open to the ocean beyond, and what that ocean does there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oceanop.dynamics.geometry import CGrid, Mask

Array = NDArray[np.float64]
External = Callable[[Array], NDArray[np.floating]]

STANDARD_PRESSURE = 101325.0  # Pa, ISO 2533:1975


@dataclass(frozen=True, eq=False)
class OpenBoundary:
    """Cells that hold the level of the ocean beyond instead of one of their own.

    Water passes between them and the basin. Where the level is *prescribed*, the slope drives it as anywhere else:
    waves from inside are turned back. A boundary after Flather lets long waves out: across the side between such a
    cell and the basin the current is ``u = u_ext + sqrt(g / h) (eta - eta_ext)``, outward (Flather, Mem. Soc. R. Sci.
    Liege 10, 1976), both levels counted from the inverse barometer. A wave ``eta_ext`` that comes in is let through
    without reflection if its own current inward, ``sqrt(g / h) eta_ext``, is given with it.

    Attributes
    ----------
    cells
        True where open, ``[Y, X]``.
    kind
        ``prescribed`` or ``flather``.
    level
        Level beyond at times in s, ``[T] -> [T]``, ``[T, cell]`` or ``[T, member, cell]``, m; the cells in the order of
        the rows. Rest if None. The inverse barometer is added to it wherever the air's pressure is known.
    current
        Current inward, ``u_ext``, across the sides between open cells and the basin, in the same forms, m s-1; eastern
        sides first, then northern ones, each in the order of the rows. ``flather`` alone asks for it; none if None.
    """

    cells: Mask
    kind: Literal["prescribed", "flather"] = "prescribed"
    level: External | None = None
    current: External | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("prescribed", "flather"):
            raise ValueError(f"a boundary of kind '{self.kind}'; expected 'prescribed' or 'flather'.")
        if self.kind == "prescribed" and self.current is not None:
            raise ValueError(
                "a prescribed level drives its own current; leave 'current' out, or say kind='flather'."
            )

    @classmethod
    def along(
        cls,
        grid: CGrid,
        *sides: Literal["west", "east", "south", "north"],
        kind: Literal["prescribed", "flather"] = "prescribed",
        level: External | None = None,
        current: External | None = None,
    ) -> "OpenBoundary":
        """Open all wet cells of the outermost row or column on some sides of the grid."""
        cells = np.zeros(grid.shape, np.bool_)
        for side in sides:
            axis, place = {"west": (1, 0), "east": (1, -1), "south": (0, 0), "north": (0, -1)}[side]
            np.moveaxis(cells, axis, 0)[place] = True
        return cls(cells & grid.wet, kind, level, current)

    def check(self, grid: CGrid) -> None:
        """Refuse a boundary that does not fit the basin.

        Raises
        ------
        ValueError
            If the cells have another shape than the basin, lie on land, are none, or leave no sea.
        """
        cells = np.asarray(self.cells)
        if cells.shape != grid.shape:
            raise ValueError(f"the open cells have shape {cells.shape}; the basin has {grid.shape}.")
        if (cells & ~grid.wet).any():
            row, column = np.argwhere(cells & ~grid.wet)[0]
            raise ValueError(
                f"the boundary is open at {grid.place(row, column)}, which is land; open wet cells."
            )
        if not cells.any() or not (grid.wet & ~cells).any():
            raise ValueError(
                f"{cells.sum()} of {grid.wet.sum()} wet cells are open; open some and leave some to the model."
            )


def external(of: External | None, times: Array, *, members: int, places: int, name: str) -> Array:
    """Values beyond the boundary, ``[T, place, member]``; arguments as in :class:`OpenBoundary`.

    Raises
    ------
    ValueError
        If they have another shape or are not finite.
    """
    shape = (times.size, members, places)
    if of is None:
        return np.zeros((times.size, places, members))
    values = np.asarray(of(times), np.float64)
    given = values.shape
    if values.ndim == 1:
        values = values[:, None, None]
    elif values.ndim == 2:
        values = values[:, None]
    if values.ndim != 3 or any(a not in (1, b) for a, b in zip(values.shape, shape, strict=True)):
        raise ValueError(
            f"the boundary's {name} has shape {given} at {times.size} times; expected [time], [time, place] or "
            f"[time, member, place] with {places} places and {members} members."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"the boundary's {name} is not finite between {times[0]:g} s and {times[-1]:g} s.")
    return np.broadcast_to(values, shape).transpose(0, 2, 1)
