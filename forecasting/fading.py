"""Two forecasters as one: the first hours of one of them, fading into the other as validation says."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.times import text
from forecasting.forecaster import Forecaster, Initial, State
from forecasting.windows import run_forecaster
from oceanop.grid import Grid
from oceanop.layout import Layout

Progress = Callable[[str, int, int], None]  # what is done, starts done, starts in all


class Fading:
    """The sum ``share * short + (1 - share) * long``, with a share of each lead.

    A one-step operator is best in the first hours, and one that forecasts windows later on. Both must read the same
    channels; where the share is 0 the short forecast is not made any further.

    Parameters
    ----------
    short, long
        The forecasters that the leads begin and end with.
    share
        Of ``short`` at leads 1, 2, ..., from 0 to 1 and never growing, ``[lead]``; later leads keep the last one.

    Raises
    ------
    ValueError
        If a share is outside 0 to 1, grows, or there is none.
    """

    def __init__(self, short: Forecaster, long: Forecaster, share: Sequence[float]) -> None:
        self.share = checked_share(share, short.name)
        self.short, self.long = short, long
        self.name = f"{short.name} into {long.name}"
        self.history = max(short.history, long.history)

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the states at leads 1 to ``leads``."""
        # A forecaster may cut the last window by its leads: both are asked for all, and the short one is left early.
        early = self.short.forecast(initial, forcing, leads)
        for late in self.long.forecast(initial, forcing, leads):
            share = self.share[min(late.lead, len(self.share)) - 1]
            if share == 0.0:
                yield late
                continue
            values = next(early).values
            if values.shape != late.values.shape:
                raise ValueError(
                    f"{self.short.name} forecasts states of shape {tuple(values.shape)} and {self.long.name} of "
                    f"{tuple(late.values.shape)}; fade between forecasters of the same channels on the same cells."
                )
            yield State(late.lead, torch.lerp(late.values, values, share))


def checked_share(share: Sequence[float], name: str) -> tuple[float, ...]:
    """Shares of the forecaster ``name``, which lie in 0 to 1 and never grow.

    Raises
    ------
    ValueError
        If one does not, or there is none.
    """
    parts = tuple(float(part) for part in share)
    if not parts or not all(now >= after for now, after in pairwise((1.0, *parts, 0.0))):
        said = ", ".join(f"{part:g}" for part in parts) or "missing"
        raise ValueError(
            f"the shares of {name} are {said}; give one or more from 1 to 0, none larger than the one before, as "
            "fitted_share returns them."
        )
    return parts


@dataclass(frozen=True, eq=False)
class Fold:
    """Hours that two forecasters were not fitted on.

    Attributes
    ----------
    short, long
        The forecasters that the leads shall begin and end with.
    store
        The past, the forcing and, unlike for a forecast, what happened; it ends where the held-out hours end.
    starts
        Steps of the store to forecast from (:func:`forecasting.starts.find_starts`).
    """

    short: Forecaster
    long: Forecaster
    store: xr.Dataset
    starts: Sequence[int]


def fitted_share(
    folds: Iterable[Fold], layout: Layout, *, leads: int, progress: Progress | None = None
) -> list[float]:
    """Shares with the least squared error among all that lie in 0 to 1 and never grow, in closed form.

    At each lead the squared error is a parabola of the share, with its minimum at
    ``sum(e_long (e_long - e_short)) / sum((e_long - e_short)^2)``. The best sequence that never grows pools leads that
    violate the order (Ayer et al., Ann. Math. Stat. 26, 1955), and clipping it to 0 and 1 keeps it the best.
    Errors are weighted by cell area; channels count alike, in their physical units.

    Parameters
    ----------
    folds
        Hours that no forecaster has learned from: what it knows by heart it forecasts too well.
    layout
        Channels of all forecasters.
    leads
        How many leads get a share; a start closer than that to the end of its store counts for the leads it has.
    progress
        Called after each start as ``progress(words, done, total)``.

    Returns
    -------
    list of float
        Share of the short one at leads 1 to ``leads``; 0 where the two forecasts were the same throughout.

    Raises
    ------
    ValueError
        If no start has all leads, or the truth is missing at sea.
    """
    agreement, distance = torch.zeros(2, leads, dtype=torch.float64)
    longest = done = 0
    folds = list(folds)
    total = sum(start + 1 < fold.store.sizes["time"] for fold in folds for start in fold.starts)
    for fold in folds:
        store = fold.store
        weight = layout.wet(store) * torch.from_numpy(Grid.from_dataset(store).cell_area)
        for start in fold.starts:
            known = min(leads, store.sizes["time"] - 1 - start)
            longest = max(longest, known)
            if known < 1:
                continue
            truth = _truth(store, layout, slice(start + 1, start + known + 1))
            both = [run_forecaster(each, store, layout, [start], known) for each in (fold.short, fold.long)]
            for (_, early), (_, late) in zip(*both, strict=True):
                error = (late.values - truth[:, late.lead - 1]).double()
                apart = (late.values - early.values).double()
                agreement[late.lead - 1] += (weight * error * apart).sum()
                distance[late.lead - 1] += (weight * apart.square()).sum()
            done += 1
            if progress is not None:
                progress("", done, total)
    if longest < leads:
        raise ValueError(
            f"the longest forecast of the held-out hours has {longest} leads, and shares are asked for {leads}; ask "
            "for fewer, or start earlier."
        )
    return never_growing(agreement.numpy(), distance.numpy())


def never_growing(agreement: NDArray[np.float64], distance: NDArray[np.float64]) -> list[float]:
    """The sequence within 0 to 1 that never grows and makes ``sum(distance * share^2 - 2 * agreement * share)`` least.

    Parameters
    ----------
    agreement, distance
        Coefficients at each lead, ``[lead]``, ``distance`` not negative; where it is 0 so is ``agreement``.
    """
    blocks: list[tuple[float, float, int]] = []
    for one, other in zip(agreement.tolist(), distance.tolist(), strict=True):
        blocks.append((one, other, 1))
        # Compared as products, which a lead without any distance joins without a special case
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] <= blocks[-1][0] * blocks[-2][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    share: list[float] = []
    for one, other, count in blocks:
        share += count * [min(max(one / other, 0.0), 1.0) if other else 0.0]
    return share


def _truth(store: xr.Dataset, layout: Layout, steps: slice) -> Tensor:
    block = store[[*layout.names(), "mask"]].isel(time=steps).load()
    truth = layout.pack(block, missing=np.nan)
    wet = layout.wet(store)[:, None]
    lost = (wet & ~torch.isfinite(truth)).flatten(2).any(2).any(0)
    if lost.any():
        when = block["time"].values[int(lost.nonzero()[0])]
        raise ValueError(
            f"the truth is missing at {text(when)} on ocean cells, and shares are fitted to it; choose starts and "
            "leads that end before it."
        )
    return torch.where(wet, truth, 0.0)
