"""What every product gives: fields in our words and units, still along the source's own axes, read on demand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines.positions import Positions
from data_pipelines.sources.known import Known
from data_pipelines.times import Times
from oceanop.variables import Variable

SURFACE = 5.0  # m: a level deeper than this is not the surface
_NEAR = 0.1  # of the depth asked for (or SURFACE): how far the level may lie that stands for it

Values = NDArray[np.float32]
# (steps, levels, rows, columns) -> [t, z, y, x] in the canonical unit; a field without time or depth has sizes of 1
Fetch = Callable[[slice, list[int], slice, slice], Values]


@dataclass(frozen=True, eq=False)
class SourceField:
    """One canonical variable of one file.

    Attributes
    ----------
    name
        Canonical name.
    source_name, source_units
        How the file calls it and in which unit it keeps it.
    where
        File and variable in words, to begin an error with.
    times
        ``[T]``; None for a field without time.
    depths
        Metres, positive down, ``[Z]``; None for a field without depth.
    positions
        Where its cells are.
    along_grid
        True for a vector component along the grid's own axis.
    fetch
        Reads a block.
    attributes
        CF attributes worth keeping (``cell_methods``).
    at_depths
        For a field on terrain-following levels: the field at depths as asked for, ``surface``, ``all`` or metres.
    """

    name: str
    source_name: str
    source_units: str
    where: str
    times: Times | None
    depths: NDArray[np.float64] | None
    positions: Positions
    along_grid: bool
    fetch: Fetch
    attributes: dict[str, Any] = field(default_factory=dict)
    at_depths: "Callable[[str | list[float]], SourceField] | None" = None


@dataclass(frozen=True, eq=False)
class Source:
    """One file and the fields in it.

    Attributes
    ----------
    name
        File name, for errors and provenance.
    path
        Where it lies; text for a URL.
    fields
        By canonical name.
    attributes
        Global attributes of the file.
    is_grid
        Whether it tells about the grid of other files, so that it may hold no field of its own.
    close
        Lets go of the file; nothing can be fetched afterwards.
    """

    name: str
    path: Path | str
    fields: dict[str, SourceField]
    attributes: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None
    is_grid: bool = False


@dataclass(frozen=True)
class Given:
    """What comes along with a file when it is opened.

    Attributes
    ----------
    static
        Files of the grid, in which a model's masks, positions and sea floor are looked for first.
    neighbours
        The other files of the series, in which the centres of a model's cells are looked for last.
    wanted
        Canonical names; what else is in the file may be beyond understanding. None wants all.
    time_origin
        Date of the time zero of a file that names none.
    told_centres
        Neighbours that told the centres to a file before, to be asked first; grows as files are opened.
    known
        What files opened before had too.
    """

    static: Sequence[Path | str] = ()
    neighbours: Sequence[Path | str] = ()
    wanted: Sequence[str] | None = None
    time_origin: str | None = None
    told_centres: list[Path | str] = field(default_factory=list)
    known: Known = field(default_factory=Known)

    def wants(self, variable: Variable) -> bool:
        """Whether a file that has a variable must be able to give it."""
        names = (variable.name, variable.partner)
        return self.wanted is None or variable.role == "static" or any(name in self.wanted for name in names)


def near(depth: float) -> float:
    """How far from a depth the level may lie that stands for it, m."""
    return max(_NEAR * abs(depth), SURFACE)


def rotate(
    x_component: Values, y_component: Values, angle: NDArray[np.float64], side: int
) -> tuple[Values, Values]:
    """Vector along the grid's axes as true east and north components.

    Parameters
    ----------
    x_component, y_component
        ``[..., Y, X]``.
    angle
        Direction of the x axis, radians anticlockwise from east, ``[Y, X]``.
    side
        1 where the y axis lies to the left of the x axis, -1 where it lies to the right.
    """
    cosine, sine = np.cos(angle), side * np.sin(angle)
    east = x_component * cosine - y_component * sine
    north = x_component * (side * sine) + y_component * (side * cosine)
    return east.astype(np.float32), north.astype(np.float32)
