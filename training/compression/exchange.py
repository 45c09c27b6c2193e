"""The mean of a gradient over ranks: scatter, reduce, gather, in codes, as a pipeline of segments.

Each rank owns a share of every segment. The others send it their part of that share (up), it adds them to its own,
which stays exact, and sends the mean to all (down). While one segment travels the next is encoded. Every rank issues
the same collectives in the same order from one thread; a collective issued in the callback of another is ordered
differently on different ranks, and hangs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from training.compression.feedback import Feedback
from training.compression.keys import stream_key
from training.compression.plan import Segment, Share

UP, DOWN = 0, 1


@dataclass
class Messages:
    """Memory of one segment's messages, used again in each step: fresh pages cost more than the codes in them."""

    up_send: Tensor
    up_receive: Tensor
    down_own: Tensor
    down_send: Tensor
    down_receive: Tensor


class Exchange:
    """Averages flat float32 buffers in place over the ranks of a group, all of which end with identical bits.

    Parameters
    ----------
    group
        A process group of its own: two threads must not order collectives on one.
    seed
        Of the rounding.
    feedback
        Keeps what rounding lost for the next step, or None.
    """

    def __init__(self, group: dist.ProcessGroup, *, seed: int, feedback: Feedback | None = None) -> None:
        self.group, self.seed, self.feedback = group, seed, feedback
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        self._others = [rank for rank in range(self.ranks) if rank != self.rank]

    def messages(self, segment: Segment, device: torch.device) -> Messages:
        """Memory for the messages of a segment."""

        def empty(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.uint8, device=device)

        own = segment.down_bytes(self.rank)
        down_own = empty(own)
        return Messages(
            up_send=empty(sum(segment.up_bytes(rank) for rank in self._others)),
            up_receive=empty(len(self._others) * segment.up_bytes(self.rank)),
            down_own=down_own,
            # One receiver gets the message itself; more get copies, for a collective reads one buffer.
            down_send=down_own if self.ranks == 2 else empty(len(self._others) * own),
            down_receive=empty(sum(segment.down_bytes(rank) for rank in self._others)),
        )

    def average(
        self, buffer: Tensor, segments: Sequence[Segment], messages: Sequence[Messages], *, step: int
    ) -> int:
        """Replace ``buffer`` by its mean over the ranks.

        Parameters
        ----------
        segments
            From :func:`training.compression.plan.plan`, the same on every rank.
        messages
            From :meth:`messages`, one for each segment.
        step
            Which exchange this is: the rounding of each is drawn anew.

        Returns
        -------
        int
            Payload bytes that this rank sent.
        """
        rising = [self._send_up(*pair, buffer, step) for pair in zip(segments, messages, strict=True)]
        falling = []
        for segment, message, work in zip(segments, messages, rising, strict=True):
            work.wait()
            falling.append(self._reduce_and_send_down(segment, message, buffer, step))
        for segment, message, work in zip(segments, messages, falling, strict=True):
            work.wait()
            self._take_down(segment, message, buffer)
        return sum(segment.bytes_sent(self.rank) for segment in segments)

    def _send_up(self, segment: Segment, message: Messages, buffer: Tensor, step: int) -> dist.Work:
        place = 0
        for rank in self._others:
            for share in segment.shares[rank]:
                place = self._encode(share, UP, buffer, message.up_send, place, step)
        up = [segment.up_bytes(rank) for rank in range(self.ranks)]
        return dist.all_to_all_single(
            message.up_receive,
            message.up_send,
            [0 if rank == self.rank else up[self.rank] for rank in range(self.ranks)],
            [0 if rank == self.rank else up[rank] for rank in range(self.ranks)],
            group=self.group,
            async_op=True,
        )

    def _reduce_and_send_down(
        self, segment: Segment, message: Messages, buffer: Tensor, step: int
    ) -> dist.Work:
        own = segment.shares[self.rank]
        place = 0
        for _ in self._others:  # in the order of ranks: sums do not depend on who was fast
            for share in own:
                size = share.span.up.nbytes(share.count)
                share.span.up.decode(message.up_receive[place : place + size], _part(buffer, share), add=True)
                place += size
        place = 0
        for share in own:
            _part(buffer, share).mul_(1.0 / self.ranks)
            begin = place
            place = self._encode(share, DOWN, buffer, message.down_own, place, step)
            # The owner takes what it tells the others, or replicas would drift apart.
            share.span.down.decode(message.down_own[begin:place], _part(buffer, share))
        if self.ranks > 2:
            message.down_send.view(len(self._others), -1).copy_(message.down_own)
        down = [segment.down_bytes(rank) for rank in range(self.ranks)]
        return dist.all_to_all_single(
            message.down_receive,
            message.down_send,
            [0 if rank == self.rank else down[rank] for rank in range(self.ranks)],
            [0 if rank == self.rank else down[self.rank] for rank in range(self.ranks)],
            group=self.group,
            async_op=True,
        )

    def _take_down(self, segment: Segment, message: Messages, buffer: Tensor) -> None:
        place = 0
        for rank in self._others:
            for share in segment.shares[rank]:
                size = share.span.down.nbytes(share.count)
                share.span.down.decode(message.down_receive[place : place + size], _part(buffer, share))
                place += size

    def _encode(self, share: Share, way: int, buffer: Tensor, message: Tensor, place: int, step: int) -> int:
        """Encode a share of the buffer at ``place``; the place behind it."""
        codec, bucket = (
            (share.span.up, share.up_bucket) if way == UP else (share.span.down, share.down_bucket)
        )
        key = stream_key(self.seed, step, self.rank, way, share.span.parameter)
        part = _part(buffer, share)
        out = message[place : place + codec.nbytes(share.count)]
        if self.feedback is None or codec.granularity == 1:
            codec.encode(part, out, key=key, first_bucket=bucket)
        else:
            self.feedback.encode(share, way, codec, part, out, key=key, first_bucket=bucket)
        return place + out.numel()


def _part(buffer: Tensor, share: Share) -> Tensor:
    return buffer[share.start : share.start + share.count]


def predicted_error(up: float, down: float, ranks: int) -> float:
    """Relative squared error of the mean of independent gradients of equal size.

    ``up`` and ``down`` are the relative variances of the two codecs. The first stage averages the errors of P - 1
    ranks; the second quantizes their mean, and no further average makes that error smaller: for independent gradients
    of norm g, ``|mean|^2 = g^2 / P``, the first stage adds ``(P - 1) / P^2 up g^2``, the second ``down`` times the sum
    of both.
    """
    first = (ranks - 1) / ranks * up
    return first + down * (1 + first)
