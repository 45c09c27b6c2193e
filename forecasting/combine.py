"""Operators brought together, with shares fitted to hours that none of them has learned from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines import open_store
from data_pipelines.splits import steps_of_splits
from data_pipelines.times import text
from data_pipelines.windows import joined
from forecasting.combination import Combination, Placed
from forecasting.fading import Fold, fitted_share
from forecasting.forecaster_file import Operator, operators_of
from forecasting.origin import periods_of, times_inside
from oceanop.checkpoint import Checkpoint

Progress = Callable[[str, int, int], None]  # what is done, starts done, starts in all

MOST_LEADS = 24  # that get a share of their own where nobody says how many
MOST_STARTS = 100  # of the shares' forecasts; more hours are started from evenly


@dataclass(frozen=True, eq=False)
class _Piece:
    """Hours of a split without a gap: the last of them, and the steps that forecasts of them start from."""

    last: int
    starts: NDArray[np.int64]

    @property
    def leads(self) -> int:
        """Of the longest forecast."""
        return self.last - int(self.starts[0])


def combine(
    long: Operator | Sequence[Operator],
    short: Operator | Sequence[Operator],
    store: xr.Dataset | str | Path,
    *,
    split: str = "validation",
    leads: int | None = None,
    progress: Progress | None = None,
) -> Combination:
    """Let the mean of some operators fade into the mean of others, with the shares that are best on held-out hours.

    One-step operators are best in the first hours and operators that forecast windows later on
    (:class:`forecasting.fading.Fading`). The forecasts start from every step of the split, up to a hundred of them, and
    end where it ends. Their past lies in the split, too: an operator may know better how a past goes on that it was
    trained on than a new one.

    Parameters
    ----------
    long, short
        One operator or several each: the forecasters that the leads end and begin with.
    store
        The held-out hours, on the grid that is to be forecast on: that of training or a finer one.
    split
        The hours. A run that keeps its best validation has seen that split a little, too.
    leads
        How many leads get a share of their own, later ones keep the last; None takes all that the split holds, up
        to 24.
    progress
        Called after each forecast as ``progress(words, done, total)``.

    Raises
    ------
    ValueError
        If an operator was fitted on hours of the split or does not say on which, the operators do not go together
        or cannot run on the store, or the split is too short.
    """
    if not isinstance(store, xr.Dataset):
        store = open_store(store)
    operators = operators_of(long), operators_of(short)
    if not operators[1]:
        raise ValueError("no operator was given for the first leads; give one or more as 'short'.")
    given = Combination(*operators, share=(1.0,))
    held_out = steps_of_splits(store, split)
    _require_unseen(given, store["time"].values[held_out], split)
    placed = given.on(store)
    pieces = _pieces(store["time"].values, held_out, given.history)
    if not pieces:
        raise ValueError(
            f"the split '{split}' has {int(held_out.sum())} steps and nowhere {given.history + 1} without a gap, which "
            f"the {given.history} past states that the operators need and one to forecast take; fit the shares on a "
            "longer split."
        )
    most = min(MOST_LEADS, max(piece.leads for piece in pieces))
    share = fitted_share(
        _folds(placed, store, pieces), given.layout, leads=most if leads is None else leads, progress=progress
    )
    hours = store["time"].values[held_out]
    return replace(given, share=tuple(share), share_fitted_on=(text(hours[0]), text(hours[-1])))


def _pieces(times: NDArray[np.generic], held_out: NDArray[np.bool_], history: int) -> list[_Piece]:
    """Stretches of the split that can be forecast, each with the starts in it."""
    whole = joined(times)
    # At each step, how many states of the split up to it follow each other without a gap
    past = held_out.astype(np.int64)
    for step in np.flatnonzero(whole & held_out[:-1] & held_out[1:]):
        past[step + 1] = past[step] + 1
    starts = np.flatnonzero(whole & held_out[1:] & (past[:-1] >= history))
    if not starts.size:
        return []
    every = -(-starts.size // MOST_STARTS)
    ends = np.flatnonzero(np.diff(starts) > 1) + 1
    # Thinned over all stretches together: each for itself would keep one start, however many there are
    taken = np.split(np.arange(starts.size) % every == 0, ends)
    return [
        _Piece(int(each[-1]) + 1, each[keep])
        for each, keep in zip(np.split(starts, ends), taken, strict=True)
        if keep.any()
    ]


def _folds(placed: Placed, store: xr.Dataset, pieces: Sequence[_Piece]) -> list[Fold]:
    short, long = placed.short_forecaster, placed.long_forecaster
    return [
        Fold(short, long, store.isel(time=slice(0, piece.last + 1)), piece.starts.tolist())
        for piece in pieces
    ]


def _require_unseen(given: Combination, times: NDArray[np.generic], split: str) -> None:
    """Refuse hours that an operator knows by heart: it would get too large a share."""
    for each in given.members:
        periods = periods_of(each)
        if not periods:
            raise ValueError(
                f"{_who(each)} does not say which hours it was fitted on, so that nobody knows whether the split "
                f"'{split}' is new to it; give checkpoints that 'oceanop train' wrote."
            )
        seen = times_inside(times, periods)
        if seen:
            raise ValueError(
                f"{_who(each)} was fitted on {seen} of the {times.size} times of the split '{split}', which it "
                "forecasts too well for shares to be fitted there; give a split that it has not learned from, or "
                'operators trained with data.fit = ["train"].'
            )


def _who(checkpoint: Checkpoint) -> str:
    return f"the checkpoint {checkpoint.name} ({checkpoint.sha256[:12] or 'in memory'})"
