"""The lines of the tide: their frequencies, and which of them a record is long enough to tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass

# Speeds of the astronomical arguments, degrees per mean solar hour (Schureman, Manual of Harmonic Analysis
# and Prediction of Tides, 1958, table 1): the Moon's mean longitude, the Sun's, the lunar perigee's. The mean
# lunar day is the solar one less the Moon's motion relative to the Sun.
MOON = 0.54901653
SUN = 0.04106864
PERIGEE = 0.00464183
LUNAR_DAY = 15.0 - MOON + SUN


@dataclass(frozen=True)
class Constituent:
    """One line of the tide.

    Attributes
    ----------
    name
        Darwin's name.
    doodson
        Multiples of lunar day, Moon, Sun and perigee that make up its argument.
    parents
        Lines it is made of in shallow water; without them it means nothing.
    """

    name: str
    doodson: tuple[int, int, int, int]
    parents: tuple[str, ...] = ()

    @property
    def frequency(self) -> float:
        """Cycles per hour."""
        speeds = (LUNAR_DAY, MOON, SUN, PERIGEE)
        return sum(n * speed for n, speed in zip(self.doodson, speeds, strict=True)) / 360.0


# In the order in which a record is asked for them: by equilibrium amplitude (Schwiderski, Rev. Geophys. 18,
# 1980, table 1), but S2 and N2 before the diurnals, as on shelves, where the semidiurnal tide rules; then the
# shallow-water lines that M2 makes of itself and S2; then the small ones.
CONSTITUENTS = (
    Constituent("M2", (2, 0, 0, 0)),
    Constituent("S2", (2, 2, -2, 0)),
    Constituent("N2", (2, -1, 0, 1)),
    Constituent("K1", (1, 1, 0, 0)),
    Constituent("O1", (1, -1, 0, 0)),
    Constituent("M4", (4, 0, 0, 0), ("M2",)),
    Constituent("P1", (1, 1, -2, 0)),
    Constituent("K2", (2, 2, 0, 0)),
    Constituent("MS4", (4, 2, -2, 0), ("M2", "S2")),
    Constituent("M6", (6, 0, 0, 0), ("M2",)),
    Constituent("Q1", (1, -2, 0, 1)),
    Constituent("MN4", (4, -1, 0, 1), ("M2", "N2")),
    Constituent("NU2", (2, -1, 2, -1)),
    Constituent("MU2", (2, -2, 2, 0)),
    Constituent("2N2", (2, -2, 0, 2)),
    Constituent("L2", (2, 1, 0, -1)),
    Constituent("J1", (1, 2, 0, -1)),
)

RAYLEIGH = 2.0
"""Beats that two lines, or a line and the mean, must go through within the record.

One beat (the textbook's Rayleigh criterion) separates lines of a sea that knows nothing but the tide. Weather
has a red spectrum: within one beat a storm can pass as half a cycle of a slow line and is then repeated for
ever. Two beats let each half of the record separate the lines by itself, so that a line not there twice
cannot be fitted. It takes 15 days for M2 and S2 by one beat, 30 by two; 24 and 48 hours for K1 and the mean.
"""


def resolvable(
    duration: float,
    step: float,
    constituents: Sequence[Constituent] = CONSTITUENTS,
    rayleigh: float = RAYLEIGH,
) -> list[Constituent]:
    """Constituents that a record can tell apart, taken greedily in order of importance.

    Parameters
    ----------
    duration
        Hours the record covers, gaps not counted.
    step
        Hours between samples; a line needs more than two a cycle.
    rayleigh
        Beats asked for, between two lines and between a line and the mean (of frequency 0).
    """
    accepted: list[Constituent] = []
    for candidate in constituents:
        others = [0.0, *(line.frequency for line in accepted)]
        separated = all(abs(candidate.frequency - other) * duration >= rayleigh for other in others)
        complete = set(candidate.parents) <= {line.name for line in accepted}
        if separated and complete and candidate.frequency * step < 0.5:
            accepted.append(candidate)
    return accepted
