"""How the gradients of the ranks become one, and what that costs."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from oceanop.config import CompressionConfig
from training.compression.choose import exchange_for, resolve
from training.parallel import Ranks

# Buffers here never change. Newer versions of torch have another name for not sending them with every forward pass.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
)

# A gradient travels when its bucket is full. With torch's 25 MB a model of some millions of weights waits for most of
# the backward pass; the spectral weights of one layer fill this.
BUCKET_MEGABYTES = 4


class Communication:
    """A module whose gradients are those of the batch of all ranks.

    All ranks make it at the same point; in one process nothing is exchanged.

    Parameters
    ----------
    objective
        Gives the loss of a rank's share of a batch; it has the weights of the first rank from here on.
    config, seed
        How gradients travel, and the seed of what is random in it.
    saved
        What :meth:`state_dict` gave; None at the start.

    Attributes
    ----------
    module
        To be called in place of ``objective``.
    choice
        What ``compression.method = "auto"`` has measured and chosen just now; None for other methods, and for a
        resumed run, which keeps its choice.

    Raises
    ------
    AgreedError
        If the saved state is one of as many ranks as it was saved by, and these are not as many.
    """

    def __init__(
        self,
        objective: nn.Module,
        ranks: Ranks,
        config: CompressionConfig,
        *,
        seed: int,
        saved: dict[str, Any] | None = None,
    ) -> None:
        self.ranks, self.module = ranks, objective
        self.choice: dict[str, Any] | None = None
        if ranks.world_size == 1:
            return
        options: dict[str, Any] = {_SYNC_BUFFERS: False}
        self.module = self._parallel = DistributedDataParallel(
            objective,
            device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            bucket_cap_mb=BUCKET_MEGABYTES,
            **options,
        )
        if saved is None:
            self._config, self.choice = resolve(config, self._parallel)
        else:
            self._config = CompressionConfig.model_validate_json(saved["config"])
        self._exchange = exchange_for(self._config, self._parallel, seed=seed)
        if saved is not None:
            states = saved["ranks"]
            try:
                self._exchange.load_state_dict(states[ranks.rank % len(states)])
            except ValueError as error:
                raise ranks.agreed_error(str(error)) from error

    def part(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around the passes of one part of a batch: gradients add up on each rank and travel with the last part."""
        if self.ranks.world_size == 1 or last:
            return nullcontext()
        return self._parallel.no_sync()

    def measure_modes(self) -> None:
        """Let the next step tell how much of each Fourier mode its codes lose."""
        if self.ranks.world_size > 1:
            self._exchange.measure_mode_errors()

    def spent(self) -> dict[str, Any]:
        """What the last step cost, for its row in the log.

        ``bytes_sent``: payload of this rank. ``communication_seconds``: time its exchanges took, most of it beside the
        backward pass. ``effective_bits``: of a gradient number on the wire. After :meth:`measure_modes`,
        ``mode_error``: median and 90th percentile, over all modes (and rows of other matrices), of the relative squared
        error of one encoding.
        """
        if self.ranks.world_size == 1:
            return {"bytes_sent": 0}
        last = self._exchange.last
        row: dict[str, Any] = {
            "bytes_sent": last.bytes_sent,
            "communication_seconds": last.seconds,
            "effective_bits": last.effective_bits(self.ranks.world_size),
        }
        if self._exchange.mode_errors:
            errors = torch.cat([each.cpu() for each in self._exchange.mode_errors.values()])
            if errors.numel():
                row["mode_error"] = {
                    "median": errors.median().item(),
                    "p90": errors.quantile(0.9).item(),
                }
            self._exchange.mode_errors = {}
        return row

    def state_dict(self) -> dict[str, Any] | None:
        """The states of all ranks, on the first of them; all call it at the same point. None in one process."""
        if self.ranks.world_size == 1:
            return None
        states = self.ranks.gather_to_first(self._exchange.state_dict())
        return {"config": self._config.model_dump_json(), "ranks": states}
