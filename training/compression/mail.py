"""Messages between ranks: who expects what is told before it is sent."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor


class Mail:
    """Non-blocking messages within a process group, told apart by tags.

    Over gloo a sender waits until the receiver has said that it is ready, and that word queues behind the data which
    the receiver itself is sending: on a slow link, tens of milliseconds for each message. So receivers say it for all
    messages of an exchange before the first one is sent. NCCL wants sends and receives of one round issued together,
    and what was expected is held back until then. That half is written for torch's documented semantics and has not run
    on several GPUs yet.

    Parameters
    ----------
    group
        Used by this object and one thread alone.
    device
        Where messages lie.
    """

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self.group = group
        self._together = device.type == "cuda"
        self._peers = [dist.get_global_rank(group, rank) for rank in range(dist.get_world_size(group))]
        self._expected: dict[int, Mapping[int, Tensor]] = {}
        self._arriving: dict[int, list[dist.Work]] = {}
        self._leaving: list[dist.Work] = []

    def expect(self, tag: int, messages: Mapping[int, Tensor]) -> None:
        """Receive into ``messages``, by rank; the same tag is sent from there."""
        messages = {rank: message for rank, message in messages.items() if message.numel()}
        if self._together:
            self._expected[tag] = messages
            return
        self._arriving[tag] = [
            _begun(dist.irecv(message, self._peers[rank], self.group, tag))
            for rank, message in messages.items()
        ]

    def send(self, tag: int, messages: Mapping[int, Tensor]) -> None:
        """Send ``messages``, by rank; they stay as they are until :meth:`flush`."""
        messages = {rank: message for rank, message in messages.items() if message.numel()}
        if self._together:
            operations = [
                dist.P2POp(dist.isend, message, self._peers[rank], self.group)
                for rank, message in messages.items()
            ] + [
                dist.P2POp(dist.irecv, message, self._peers[rank], self.group)
                for rank, message in self._expected.pop(tag).items()
            ]
            self._arriving[tag] = dist.batch_isend_irecv(operations) if operations else []
            return
        self._leaving += [
            _begun(dist.isend(message, self._peers[rank], self.group, tag))
            for rank, message in messages.items()
        ]

    def arrive(self, tag: int) -> None:
        """Wait until what was expected is here."""
        for work in self._arriving.pop(tag):
            work.wait()

    def flush(self) -> None:
        """Wait until all that was sent has left."""
        for work in self._leaving:
            work.wait()
        self._leaving = []


def _begun(work: dist.Work | None) -> dist.Work:
    assert work is not None  # None is for ranks outside the group
    return work
