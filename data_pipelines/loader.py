"""Batches in an order that depends on seed and epoch alone, and that a stopped run takes up where it left."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.dataset import WindowDataset


@dataclass(frozen=True)
class Batch:
    """Windows stacked: the tensors of :class:`data_pipelines.Window` with a leading dimension ``B``.

    Attributes
    ----------
    history, forcing, target
        ``[B, C, Tin, Y, X]``, ``[B, F, Tin + Tout, Y, X]``, ``[B, C, Tout, Y, X]``.
    start
        Time of the last history state of each window, ``[B]``.
    """

    history: Tensor
    forcing: Tensor
    target: Tensor
    start: NDArray[Any]

    def __len__(self) -> int:
        return len(self.history)


class WindowLoader:
    """One rank's share of the windows, epoch after epoch.

    Every iteration is one epoch and the next one is the next epoch. An epoch visits every window at most once over all
    ranks, the same number on each; so that ranks stay in step, the remainder that does not fill a round is left out,
    another one each epoch. An iteration left in the middle is taken up there by the next one, also in another process
    through :meth:`state_dict`.

    Whole batches are the same over all ranks together, however many ranks share them: window ``i`` of rank ``r``'s
    part of a batch is window ``r + i * world_size`` of the whole one.

    Parameters
    ----------
    dataset
        Where the windows come from.
    batch_size
        Windows of one rank's batch.
    seed
        Of the order.
    rank, world_size
        This rank takes positions ``rank::world_size`` of the order.
    drop_last
        True leaves out a last batch smaller than the others; False gives it.
    shuffle
        False keeps the order of time.

    Attributes
    ----------
    epoch, position
        Epoch under way, and batches of it already given.

    Raises
    ------
    ValueError
        If there is not one whole batch for each rank, or the rank does not exist.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
        shuffle: bool = True,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size} ranks, which count from 0.")
        if batch_size < 1:
            raise ValueError(f"batch size is {batch_size}; a batch needs at least one window.")
        share = len(dataset) // world_size
        if share < (batch_size if drop_last else 1):
            raise ValueError(
                f"the data hold {len(dataset)} windows, {share} for each of {world_size} ranks, and a batch needs "
                f"{batch_size}; choose a smaller batch size, fewer ranks, or ingest a longer series."
            )
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world_size, self.drop_last, self.shuffle = rank, world_size, drop_last, shuffle
        self.epoch = self.position = 0

    def __len__(self) -> int:
        """Batches of one epoch on this rank."""
        share = len(self.dataset) // self.world_size
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Windows of this rank in an epoch, in the order of use."""
        count = len(self.dataset)
        everything = (
            np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else np.arange(count)
        )
        return everything[: count // self.world_size * self.world_size][self.rank :: self.world_size]

    def __iter__(self) -> Iterator[Batch]:
        order = self.order(self.epoch)
        while self.position < len(self):
            first = self.position * self.batch_size
            chosen = order[first : first + self.batch_size]
            # Counted before it is given: a state saved while the batch is in use says that it was given.
            self.position += 1
            yield self._batch(chosen)
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands, for a checkpoint."""
        return {"epoch": self.epoch, "position": self.position, **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on exactly where another loader over the same windows stood.

        The number of ranks may be another one, as long as they share batches of the same size.

        Raises
        ------
        ValueError
            If seed, windows or the batch over all ranks differ, so that the order would not be the same.
        """
        saved, own = dict(state), self._identity()
        if self.drop_last:
            for shares in (saved, own):
                shares["batch_size"] *= shares.pop("world_size")
        for key, value in own.items():
            if saved[key] != value:
                raise ValueError(
                    f"the saved loader has {key.replace('_', ' ')} {saved[key]}, this one {value}; the order of "
                    "batches would differ. Resume with the same settings and data."
                )
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "windows": len(self.dataset),
        }

    def _batch(self, chosen: NDArray[np.int64]) -> Batch:
        windows = [self.dataset[int(index)] for index in chosen]
        start = np.array([window.start for window in windows])
        history, forcing, target = (
            torch.stack([getattr(window, name) for window in windows])
            for name in ("history", "forcing", "target")
        )
        return Batch(history, forcing, target, start)
