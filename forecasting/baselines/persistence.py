"""Tomorrow as today: the last state, held."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from forecasting.forecaster import Initial, State


class Persistence:
    """The last known state at every lead.

    Parameters
    ----------
    wet
        Ocean mask of each channel, bool ``[channel, y, x]``; None trusts the history to be 0 on land.
    """

    name = "persistence"
    history = 1

    def __init__(self, wet: Tensor | None = None) -> None:
        self.wet = wet

    @classmethod
    def fit(cls, states: Tensor, times: Any, wet: Tensor, **_: Any) -> "Persistence":
        """Nothing to learn; there so that every baseline is made in the same way."""
        return cls(wet)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the state of the start at leads 1 to ``leads``."""
        state = initial.state if self.wet is None else torch.where(self.wet, initial.state, 0.0)
        for lead in range(1, leads + 1):
            yield State(lead, state)
