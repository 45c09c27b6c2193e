"""How the gradients of the ranks become one, and what that costs."""

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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
        self._before = (0, 0.0)
        if ranks.world_size == 1:
            return
        options: dict[str, Any] = {_SYNC_BUFFERS: False}
        self.module = self._parallel = DistributedDataParallel(
            objective,
            device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
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

    def spent(self) -> dict[str, float]:
        """Since the last call: payload bytes that this rank has sent, and seconds that its exchanges took."""
        if self.ranks.world_size == 1:
            return {"bytes_sent": 0}
        now = self._exchange.bytes_sent, self._exchange.seconds
        sent, seconds = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        return {"bytes_sent": sent, "communication_seconds": seconds}

    def state_dict(self) -> dict[str, Any] | None:
        """The states of all ranks, on the first of them; all call it at the same point. None in one process."""
        if self.ranks.world_size == 1:
            return None
        states = self.ranks.gather_to_first(self._exchange.state_dict())
        return {"config": self._config.model_dump_json(), "ranks": states}
