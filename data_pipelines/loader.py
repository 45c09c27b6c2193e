"""Batches in an order that depends on seed and epoch alone, and that a stopped run takes up where it left."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_pipelines.dataset import WindowDataset
from data_pipelines.prefetch import Prefetcher, Request
from data_pipelines.sea_copy import Crop


@dataclass(frozen=True)
class Batch:
    """Windows stacked: the tensors of :class:`data_pipelines.Window` with a leading dimension ``B``.

    Attributes
    ----------
    history, forcing, target
        ``[B, C, Tin, Y, X]``, ``[B, F, Tin + Tout, Y, X]``, ``[B, C, Tout, Y, X]``.
    start
        Time of the last history state of each window, ``[B]``.
    rows, columns
        First row and column of each window on the grid, int64 ``[B]``, where windows are crops of it; else None.
    """

    history: Tensor
    forcing: Tensor
    target: Tensor
    start: NDArray[Any]
    rows: NDArray[np.int64] | None = None
    columns: NDArray[np.int64] | None = None

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

    Of a data set that is not in memory, threads read the next batches while one is in use, into memory that is used
    again once nothing refers to its tensors: a consumer keeps a batch as long as it likes, and need not copy it. Order
    and contents depend neither on threads nor on how far they are ahead, and a stopped loader goes on after the last
    batch given.

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
    threads, ahead
        Threads that read, and batches they fill beyond the one in use; of a data set in memory nothing is read.
    crop
        Rows and columns of a rectangle that each window is cut to, in each epoch at another place drawn among those
        with at least one cell of sea; None for the whole grid. ``Batch.rows`` and ``Batch.columns`` tell the places,
        for a consumer to cut its static fields alike.
    device
        Where batches are put; to a CUDA device from pinned memory, while the batch before is in use.

    Attributes
    ----------
    epoch, position
        Epoch under way, and batches of it already given.
    wait_seconds
        What the last batch given was waited for: until it was filled and, for a CUDA device, its copy was queued.

    Raises
    ------
    ValueError
        If there is not one whole batch for each rank, the rank does not exist, a number is below 1, or the crop does
        not fit the grid.
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
        *,
        threads: int = 2,
        ahead: int = 2,
        crop: tuple[int, int] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not one of {world_size} ranks, which count from 0.")
        if batch_size < 1:
            raise ValueError(f"batch size is {batch_size}; a batch needs at least one window.")
        if threads < 1 or ahead < 1:
            raise ValueError(f"{threads} threads read {ahead} batches ahead; both need to be at least 1.")
        share = len(dataset) // world_size
        if share < (batch_size if drop_last else 1):
            raise ValueError(
                f"the data hold {len(dataset)} windows, {share} for each of {world_size} ranks, and a batch needs "
                f"{batch_size}; choose a smaller batch size, fewer ranks, or ingest a longer series."
            )
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world_size, self.drop_last, self.shuffle = rank, world_size, drop_last, shuffle
        self.epoch = self.position = 0
        self.wait_seconds = 0.0
        self.device, self.crop = torch.device(device), crop
        self._corners = None if crop is None else _wet_corners(dataset, crop)
        self._orders: dict[int, tuple[NDArray[np.int64], NDArray[np.int64] | None]] = {}
        self._prefetcher: Prefetcher | None = None
        if not dataset.in_memory:
            self._prefetcher = Prefetcher(
                dataset,
                batch_size,
                dataset.grid.shape if crop is None else crop,
                threads=threads,
                ahead=ahead,
                device=self.device,
            )

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
        while self.position < len(self):
            begin = time.perf_counter()
            batch = self._batch()
            # Counted before it is given: a state saved while the batch is in use says that it was given.
            self.position += 1
            self.wait_seconds = time.perf_counter() - begin
            yield batch
            del batch  # or its memory could not be used for the next one
        self.epoch, self.position = self.epoch + 1, 0

    def close(self) -> None:
        """End the threads; they begin again where another batch is asked for."""
        if self._prefetcher is not None:
            self._prefetcher.close()

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, for a checkpoint."""
        return {"epoch": self.epoch, "position": self.position, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where another loader over the same windows stood.

        The number of ranks may be another one, as long as they share batches of the same size.

        Raises
        ------
        ValueError
            If seed, windows, crop or the batch over all ranks differ, so that batches would not be the same.
        """
        saved, own = dict(state), self._identity()
        if self.drop_last:
            for shares in (saved, own):
                shares["batch_size"] *= shares.pop("world_size")
        for key, value in own.items():
            if saved.get(key) != value:  # a state of before there were crops has none
                raise ValueError(
                    f"the saved loader has {key.replace('_', ' ')} {saved.get(key)}, this one {value}; the "
                    "batches would differ. Resume with the same settings and data."
                )
        self.epoch, self.position = state["epoch"], state["position"]

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "world_size": self.world_size,
            "windows": len(self.dataset),
            "crop": None if self.crop is None else list(self.crop),
        }

    def _batch(self) -> Batch:
        """The batch at the place where the loader stands."""
        request = self._request(self.epoch, self.position)
        chosen, history = np.asarray(request.windows), self.dataset.history
        if self._prefetcher is None:
            windows = [self.dataset[index] for index in request.windows]
            past, forcing, future = (
                torch.stack(
                    [
                        part if request.crops is None else part[(..., *request.crops[row].slices)]
                        for row, part in enumerate(getattr(window, name) for window in windows)
                    ]
                ).to(self.device)
                for name in ("history", "forcing", "target")
            )
        else:
            state, forcing = self._prefetcher.take(self._coming())
            past, future = state[:, :, :history], state[:, :, history:]
        start = self.dataset.times[self.dataset.starts[chosen] + history - 1]
        if request.crops is None:
            return Batch(past, forcing, future, start)
        rows, columns = np.array([[crop.row, crop.column] for crop in request.crops], dtype=np.int64).T
        return Batch(past, forcing, future, start, rows, columns)

    def _coming(self) -> Iterator[Request]:
        """What will be asked for from here on, over the ends of epochs."""
        position = self.position
        for epoch in itertools.count(self.epoch):
            for number in range(position, len(self)):
                yield self._request(epoch, number)
            position = 0

    def _request(self, epoch: int, position: int) -> Request:
        if epoch not in self._orders:
            # The next epoch is looked into while this one is under way.
            self._orders = {held: order for held, order in self._orders.items() if abs(held - epoch) == 1}
            self._orders[epoch] = self.order(epoch), self._places(epoch)
        order, places = self._orders[epoch]
        chosen = order[position * self.batch_size : (position + 1) * self.batch_size]
        if places is None or self.crop is None:
            return Request((epoch, position), chosen.tolist(), None)
        crops = [Crop(row, column, *self.crop) for row, column in places[chosen].tolist()]
        return Request((epoch, position), chosen.tolist(), crops)

    def _places(self, epoch: int) -> NDArray[np.int64] | None:
        """First row and column of every window of the data set in an epoch, ``[n, 2]``, whichever rank takes it."""
        if self._corners is None:
            return None
        # A third number: the order of the epoch is drawn from the first two.
        draw = np.random.default_rng([self.seed, epoch, 1])
        return self._corners[draw.integers(len(self._corners), size=len(self.dataset))]


def _wet_corners(dataset: WindowDataset, crop: tuple[int, int]) -> NDArray[np.int64]:
    """First row and column of every rectangle with sea in it, ``[n, 2]``."""
    rows, columns = crop
    if not (1 <= rows <= dataset.grid.shape[0] and 1 <= columns <= dataset.grid.shape[1]):
        raise ValueError(
            f"a crop of {rows} x {columns} cells does not fit the grid of {dataset.grid.shape[0]} x "
            f"{dataset.grid.shape[1]}; choose a smaller one."
        )
    # Sums over all rectangles from those that begin at the first cell.
    total = np.pad(dataset.grid.mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sea = (
        total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    )
    return np.argwhere(sea > 0)
