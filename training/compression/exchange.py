"""The mean of a gradient over ranks: scatter, reduce, gather, in codes, as a pipeline of segments.

Each rank owns a share of every segment. The others send it their part of that share (up), it adds them to its own,
which stays exact, and sends the mean to all (down). While one segment travels the next is encoded. Messages are issued
from one thread in one order on every rank; what is issued in the callback of something else is ordered differently on
different ranks, and hangs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from training.compression.codec import Cast
from training.compression.feedback import Feedback
from training.compression.keys import stream_key
from training.compression.mail import Mail
from training.compression.plan import Segment, Share

UP, DOWN = 0, 1


@dataclass(frozen=True)
class Messages:
    """Memory of one segment's messages, used again in each step: fresh pages cost more than the codes in them.

    Attributes
    ----------
    up_send, up_receive, down_receive
        Messages to and from each other rank.
    down_send
        The one message to all others.
    """

    up_send: dict[int, Tensor]
    up_receive: dict[int, Tensor]
    down_send: Tensor
    down_receive: dict[int, Tensor]


class Exchange:
    """Averages flat float32 buffers in place over the ranks of a group, all of which end with identical bits.

    Parameters
    ----------
    group
        A process group of its own: two threads must not order collectives on one.
    device
        Where the buffers lie.
    seed
        Of the rounding.
    feedback
        Keeps what rounding lost for the next step, or None.
    """

    def __init__(
        self,
        group: dist.ProcessGroup,
        device: torch.device,
        *,
        seed: int,
        feedback: Feedback | None = None,
    ) -> None:
        self.device, self.seed, self.feedback = device, seed, feedback
        self.rank, self.ranks = dist.get_rank(group), dist.get_world_size(group)
        self._others = [rank for rank in range(self.ranks) if rank != self.rank]
        self._mail = Mail(group, device)

    def messages(self, segment: Segment) -> Messages:
        """Memory for the messages of a segment."""

        def empty(size: int) -> Tensor:
            return torch.zeros(size, dtype=torch.uint8, device=self.device)

        return Messages(
            up_send={rank: empty(segment.up_bytes(rank)) for rank in self._others},
            up_receive={rank: empty(segment.up_bytes(self.rank)) for rank in self._others},
            down_send=empty(segment.down_bytes(self.rank)),
            down_receive={rank: empty(segment.down_bytes(rank)) for rank in self._others},
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
        pairs = list(zip(segments, messages, strict=True))
        for way in (UP, DOWN):
            for number, (_, message) in enumerate(pairs):
                expected = message.up_receive if way == UP else message.down_receive
                self._mail.expect(2 * number + way, expected)
        for number, (segment, message) in enumerate(pairs):
            for rank in self._others:
                self._write(segment.shares[rank], UP, buffer, message.up_send[rank], step)
            self._mail.send(2 * number + UP, message.up_send)
        for number, (segment, message) in enumerate(pairs):
            self._mail.arrive(2 * number + UP)
            self._reduce(segment.shares[self.rank], message, buffer, step)
            self._mail.send(2 * number + DOWN, dict.fromkeys(self._others, message.down_send))
        for number, (segment, message) in enumerate(pairs):
            self._mail.arrive(2 * number + DOWN)
            for rank in self._others:
                read(segment.shares[rank], DOWN, message.down_receive[rank], buffer)
        self._mail.flush()
        return sum(segment.bytes_sent(self.rank) for segment in segments)

    def _reduce(self, own: Sequence[Share], message: Messages, buffer: Tensor, step: int) -> None:
        """Average this rank's shares, and write what goes down."""
        for rank in self._others:  # in the order of ranks: sums do not depend on who was fast
            read(own, UP, message.up_receive[rank], buffer, add=True)
        for share in own:
            _part(buffer, share).mul_(1.0 / self.ranks)
        self._write(own, DOWN, buffer, message.down_send, step)
        # The owner takes what it tells the others, or replicas would drift apart.
        read(own, DOWN, message.down_send, buffer)

    def _write(self, shares: Sequence[Share], way: int, buffer: Tensor, message: Tensor, step: int) -> None:
        place = 0
        for share in shares:
            up = way == UP
            codec, bucket = (share.span.up, share.up_bucket) if up else (share.span.down, share.down_bucket)
            key = stream_key(self.seed, step, self.rank, way, share.span.parameter)
            out = message[place : place + codec.nbytes(share.count)]
            if self.feedback is None or isinstance(codec, Cast):
                codec.encode(_part(buffer, share), out, key=key, first_bucket=bucket)
            else:
                self.feedback.encode(
                    share, way, codec, _part(buffer, share), out, key=key, first_bucket=bucket
                )
            place += out.numel()


def read(shares: Sequence[Share], way: int, message: Tensor, buffer: Tensor, *, add: bool = False) -> None:
    """Put what a message says of ``shares`` into their places in a buffer, or add it there."""
    place = 0
    for share in shares:
        codec = share.span.up if way == UP else share.span.down
        size = codec.nbytes(share.count)
        codec.decode(message[place : place + size], _part(buffer, share), add=add)
        place += size


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
