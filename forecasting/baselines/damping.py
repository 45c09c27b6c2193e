"""How fast a departure from the expected fades: a regression of later anomalies on earlier ones."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MOST_PAIRS = 2000  # a lead, taken evenly over the record; more would move the slope by less than its error


@dataclass(frozen=True, eq=False)
class Damping:
    """Share of an anomaly left after each lead.

    Attributes
    ----------
    rho
        float64, ``[channel, lead]``, the first one at lead 1; within -1 and 1.
    """

    rho: Tensor

    @classmethod
    def fit(cls, anomalies: Tensor, steps: NDArray[np.int64], wet: Tensor, leads: int) -> "Damping":
        """Slope through the origin of the anomaly at ``t + lead`` on that at ``t``, over all cells and pairs.

        Parameters
        ----------
        anomalies
            ``[channel, time, y, x]``.
        steps
            Number of the time step of each time, ``[time]``, increasing. Only times whose numbers differ by
            the lead make a pair, so that no pair lies across a gap with a wrong distance.
        wet
            ``[channel, y, x]``.
        leads
            Longest lead. It is cut to what half the record can show: beyond, fewer pairs than steps of lead
            are left, and they hardly differ from one another.
        """
        longest = max(1, min(leads, int(steps[-1] - steps[0] + 1) // 2))
        ocean = [field[:, mask] for field, mask in zip(anomalies, wet, strict=True)]
        rho: list[Tensor] = []
        for lead in range(1, longest + 1):
            later = np.searchsorted(steps, steps + lead)
            found = later < steps.size
            found[found] = steps[later[found]] == steps[found] + lead
            if not found.any():
                # Only a gap can do this; the lead before it, decayed, is the best guess
                rho.append(_decayed(torch.stack(rho, 1), 1) if rho else torch.zeros(len(wet)).double())
                continue
            early, late = np.flatnonzero(found), later[found]
            if early.size > MOST_PAIRS:
                kept = np.linspace(0, early.size - 1, MOST_PAIRS).astype(int)
                early, late = early[kept], late[kept]
            rho.append(torch.stack([_slope(field, early, late) for field in ocean]))
        return cls(torch.stack(rho, 1))

    def fading(self) -> "Damping":
        """The same without any return: never below 0, never more than at a lead before."""
        return Damping(self.rho.clamp(0, 1).cummin(1).values)

    def at(self, lead: int) -> Tensor:
        """Share left after ``lead`` steps, float32 ``[channel, 1, 1]``; past the fitted leads it decays on."""
        fitted = self.rho.shape[1]
        share = self.rho[:, lead - 1] if lead <= fitted else _decayed(self.rho, lead - fitted)
        return share.float()[:, None, None]


def _slope(anomaly: Tensor, early: NDArray[np.int64], late: NDArray[np.int64]) -> Tensor:
    product = torch.zeros((), dtype=torch.float64)
    square = torch.zeros((), dtype=torch.float64)
    # Pair by pair: float64 copies of the whole record would triple the memory
    for i, j in zip(early.tolist(), late.tolist(), strict=True):
        before = anomaly[i].double()
        product += before @ anomaly[j].double()
        square += before @ before
    return (product / square).clamp(-1, 1) if square > 0 else product


def _decayed(rho: Tensor, further: int) -> Tensor:
    """The last share, decaying on at its mean rate so far."""
    last = rho[:, -1]
    rate = last.abs() ** (1 / rho.shape[1])
    return last * rate**further
