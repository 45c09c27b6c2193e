"""Series of whole starts at some places, kept block by block until a start has ended."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecasting.diagnostic import Block

MOST = 256  # places: neighbours say the same, and memory holds their series of every forecaster
TRUTH = ""


def coast(wet: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ocean cells beside land, ``[y, x]``; the edge of the grid is no land."""
    land = np.pad(~wet, 1)
    beside = land[:-2, 1:-1] | land[2:, 1:-1] | land[1:-1, :-2] | land[1:-1, 2:]
    return wet & beside


def some(cells: NDArray[np.bool_], *, most: int = MOST, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows and columns of some of the cells, drawn without replacement; all where there are fewer."""
    places = np.flatnonzero(cells)
    if places.size > most:
        places = np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
    rows, columns = np.unravel_index(places, cells.shape)
    return torch.from_numpy(rows), torch.from_numpy(columns)


def even(hours: NDArray[np.float64], step: float) -> bool:
    """Whether leads are one step apart throughout."""
    return bool(np.allclose(np.diff(hours), step))


@dataclass(eq=False)
class Series:
    """Collects the series of one start.

    Attributes
    ----------
    rows, columns
        Places.
    channels
        Which are kept.
    """

    rows: Tensor
    columns: Tensor
    channels: list[int]
    held: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, block: Block) -> dict[str, Tensor] | None:
        """Series ``[channel, place, lead]`` by forecaster, the truth's under ``TRUTH``, once the start has ended."""
        if block.leads.start == 0:
            self.held = {}
        for name, fields in {TRUTH: block.truth, **block.forecasts}.items():
            self.held.setdefault(name, []).append(self._at(fields))
        if not block.last:
            return None
        whole = {name: torch.cat(parts, -1) for name, parts in self.held.items()}
        self.held = {}
        return whole

    def _at(self, fields: Any) -> Tensor:
        return fields[self.channels][..., self.rows, self.columns].double().movedim(1, -1)
