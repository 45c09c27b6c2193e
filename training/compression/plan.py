"""Who averages what: the pieces of a gradient buffer, each rank's share of them, and the messages they travel in."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from training.compression.codec import Codec

SEGMENT = (
    1 << 20
)  # numbers a message round carries: long enough for a link, short enough to work while it travels


@dataclass(frozen=True)
class Span:
    """A parameter's gradient inside a flat buffer.

    Attributes
    ----------
    parameter
        Number of the parameter in the model; with it random numbers do not depend on how buffers are cut.
    start, count
        Where the gradient lies, in numbers.
    up, down
        Codec to the rank that averages a share, and from it.
    """

    parameter: int
    start: int
    count: int
    up: Codec
    down: Codec


@dataclass(frozen=True)
class Share:
    """What one rank averages of a span: ``count`` numbers from ``start`` in the buffer, ``first`` in the parameter."""

    span: Span
    start: int
    first: int
    count: int

    @property
    def up_bucket(self) -> int:
        """Number, within the parameter, of the share's first bucket on the way up."""
        return self.first // self.span.up.granularity

    @property
    def down_bucket(self) -> int:
        """The same on the way down."""
        return self.first // self.span.down.granularity


@dataclass(frozen=True)
class Segment:
    """Shares that travel together: ``shares[rank]`` are the ones that a rank averages."""

    shares: tuple[tuple[Share, ...], ...]

    def up_bytes(self, rank: int) -> int:
        """Bytes of the message that each other rank sends to ``rank``."""
        return sum(share.span.up.nbytes(share.count) for share in self.shares[rank])

    def down_bytes(self, rank: int) -> int:
        """Bytes of the message that ``rank`` sends to each other rank."""
        return sum(share.span.down.nbytes(share.count) for share in self.shares[rank])

    def bytes_sent(self, rank: int) -> int:
        """Payload that ``rank`` sends in both directions."""
        others = [r for r in range(len(self.shares)) if r != rank]
        return sum(self.up_bytes(r) for r in others) + len(others) * self.down_bytes(rank)


def plan(spans: Sequence[Span], ranks: int, *, segment: int = SEGMENT) -> list[Segment]:
    """Cut spans into segments of about ``segment`` numbers, and each piece of a span evenly among the ranks.

    The cut of a span depends on its own size, the codecs and the number of ranks alone: what a rank owns does not
    change with the buffers that data parallelism happens to form.
    """
    segments: list[Segment] = []
    gathered: list[list[Share]] = [[] for _ in range(ranks)]
    size = 0
    for span in spans:
        for first, count in _pieces(span, ranks, segment):
            if size and size + count > segment:
                segments.append(Segment(tuple(map(tuple, gathered))))
                gathered, size = [[] for _ in range(ranks)], 0
            for rank, (begin, length) in enumerate(_shares(count, _granularity(span), ranks)):
                if length:
                    gathered[rank].append(Share(span, span.start + first + begin, first + begin, length))
            size += count
    if size:
        segments.append(Segment(tuple(map(tuple, gathered))))
    return segments


def _granularity(span: Span) -> int:
    # The codecs of a span share their bucket size; an exact direction has none of its own.
    return max(span.up.granularity, span.down.granularity)


def _pieces(span: Span, ranks: int, segment: int) -> list[tuple[int, int]]:
    """First number and count of the pieces of a span, each but the last a whole number of buckets for every rank."""
    row = ranks * _granularity(span)
    length = max(segment // row, 1) * row
    return [(first, min(length, span.count - first)) for first in range(0, span.count, length)]


def _shares(count: int, granularity: int, ranks: int) -> list[tuple[int, int]]:
    """Begin and length of each rank's share of ``count`` numbers, in whole buckets, as even as they go."""
    buckets = -(-count // granularity)
    edges = [min((buckets * rank // ranks) * granularity, count) for rank in range(ranks + 1)]
    return [(begin, end - begin) for begin, end in pairwise(edges)]
