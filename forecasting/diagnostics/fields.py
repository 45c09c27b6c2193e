"""Which of a layout's channels a diagnostic looks at: the level, the currents at the surface."""

from typing import NamedTuple

from oceanop.layout import Layout
from oceanop.variables import VARIABLES, vector_pairs

LEVEL = "zos"


class Current(NamedTuple):
    """Components of a current near the surface: its name in the table, and the two channels."""

    name: str
    east: int
    north: int


def level_of(layout: Layout) -> int | None:
    """Channel of the sea level."""
    names = [channel.variable for channel in layout.state]
    return names.index(LEVEL) if LEVEL in names else None


def currents_of(layout: Layout) -> list[Current]:
    """Each current's uppermost pair of channels, the currents at depths before depth means."""
    found = []
    for east, north in vector_pairs(layout.names()):
        if VARIABLES[east].role == "state":
            found.append(Current(f"{east}+{north}", _uppermost(layout, east), _uppermost(layout, north)))
    return found


def _uppermost(layout: Layout, variable: str) -> int:
    held = [
        (channel.depth or 0.0, i) for i, channel in enumerate(layout.state) if channel.variable == variable
    ]
    return min(held)[1]


def scalars_of(layout: Layout) -> dict[str, list[int]]:
    """Channels of every variable that is no component of a vector."""
    names = [name for name in layout.names() if VARIABLES[name].axis is None]
    return {name: [i for i, channel in enumerate(layout.state) if channel.variable == name] for name in names}
