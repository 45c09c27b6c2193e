"""The slow level of the ocean beyond a basin's boundary, from a seed."""

import numpy as np
from numpy.typing import NDArray

from data_pipelines.basins.settings import Signal
from oceanop.dynamics.climate import DAY

Array = NDArray[np.float64]

HARMONICS = 24
REDNESS = 1.0  # power of the period with which the amplitude of a harmonic goes, as the background weather's


class RemoteLevel:
    """A sum of random harmonics of each member, the same along the boundary; a pure function of time.

    Parameters
    ----------
    signal
        Standard deviation and periods; periods are spread evenly on a logarithmic axis.
    seeds
        One a member.
    """

    def __init__(self, signal: Signal, seeds: list[np.random.SeedSequence]) -> None:
        drawn = [np.random.Generator(np.random.PCG64(seed)).random((2, HARMONICS)) for seed in seeds]
        place, turn = np.moveaxis(np.stack(drawn), 1, 0)
        period = DAY * signal.shortest * (signal.longest / signal.shortest) ** place
        self._frequency, self._phase = 2 * np.pi / period, 2 * np.pi * turn
        share = period**REDNESS
        square = np.sqrt((share**2).sum(-1, keepdims=True) / 2)
        self._amplitude = signal.deviation * share / square

    def __call__(self, times: Array) -> Array:
        """Level at times in s, m, ``[time, member, 1]``."""
        phase = self._frequency * np.asarray(times)[:, None, None] + self._phase
        return (self._amplitude * np.cos(phase)).sum(-1)[:, :, None]
