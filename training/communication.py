"""How the gradients of the ranks become one, and what that costs."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from oceanop.config import CompressionConfig
from training.compression.choose import exchange_for, resolve
from training.compression.dispersion import Dispersion, Reference
from training.compression.hook import Traffic
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
    dispersion
        What the optimizer asks of the vectors that the ranks exchange; None for nothing. With ``pair`` a step has two
        exchanges, and the first steps of the run that are sent in float32 twice as many.

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
        dispersion: Reference | None = None,
    ) -> None:
        self.ranks, self.module = ranks, objective
        self.choice: dict[str, Any] | None = None
        self._traffic = Traffic()
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
        counted = self._config  # an exchange counts itself, not steps
        if dispersion == "pair":
            counted = counted.model_copy(update={"warmup_steps": 2 * counted.warmup_steps})
        self._exchange = exchange_for(counted, self._parallel, seed=seed)
        self._exchange.dispersion = None if dispersion is None else Dispersion(dispersion)
        if saved is not None:
            states = saved["ranks"]
            try:
                self._exchange.load_state_dict(states[ranks.rank % len(states)])
            except ValueError as error:
                raise ranks.agreed_error(str(error)) from error

    @contextmanager
    def part(self, *, last: bool) -> Iterator[None]:
        """Around the passes of one part of a batch: gradients add up on each rank and travel with the last part."""
        if self.ranks.world_size == 1:
            yield
        elif last:
            yield
            self._traffic += self._exchange.last
        else:
            with self._parallel.no_sync():
                yield

    def dispersion(self) -> float | None:
        """Of this rank in the last exchange, see :class:`training.compression.dispersion.Dispersion`.

        None where nothing is exchanged or no optimizer asks for it.
        """
        if self.ranks.world_size == 1 or self._exchange.dispersion is None:
            return None
        return self._exchange.dispersion.total()

    def close(self) -> None:
        """End what exchanges gradients beside the main thread."""
        if self.ranks.world_size > 1:
            self._exchange.close()

    def measure_modes(self) -> None:
        """Let the next step tell how much of each Fourier mode its codes lose."""
        if self.ranks.world_size > 1:
            self._exchange.measure_mode_errors()

    def spent(self) -> dict[str, Any]:
        """What was sent since the last call, for the row of a step in the log.

        ``bytes_sent``: payload of this rank. ``communication_seconds``: time its exchanges took, most of it beside the
        backward pass. ``effective_bits``: of a gradient number on the wire. After :meth:`measure_modes`,
        ``mode_error``: median and 90th percentile, over all modes (and rows of other matrices), of the relative squared
        error of one encoding.
        """
        if self.ranks.world_size == 1:
            return {"bytes_sent": 0}
        traffic, self._traffic = self._traffic, Traffic()
        row: dict[str, Any] = {
            "bytes_sent": traffic.bytes_sent,
            "communication_seconds": traffic.seconds,
            "effective_bits": traffic.effective_bits(self.ranks.world_size),
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
