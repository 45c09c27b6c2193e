"""The exchange of gradients once more, in one process, bucket by bucket: what every rank must end with, and send."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from training.compression import ALQ, AMQ, NUQSGD, QSGD, Cast, Ternary
from training.compression.codec import Buckets, Codec
from training.compression.keys import stream_key
from training.compression.plan import Span

UP, DOWN = 0, 1


def owners(span: Span, ranks: int, segment: int) -> Tensor:
    """Rank that averages each number of a span.

    A span is cut into pieces of as many whole rows of buckets, one for each rank, as fit into a segment; of the ``n``
    buckets of a piece, rank ``r`` averages those from ``n r / ranks``, rounded down.
    """
    bucket = max(span.up.granularity, span.down.granularity)
    piece = max(segment // (bucket * ranks), 1) * bucket * ranks
    number = torch.arange(span.count)
    within = number % piece // bucket
    last = span.count // piece
    buckets = torch.where(number // piece == last, -(-(span.count % piece) // bucket), piece // bucket)
    owner = torch.zeros(span.count, dtype=torch.long)
    for rank in range(1, ranks):
        owner += within >= buckets * rank // ranks
    return owner


def passed(values: Tensor, codec: Codec, *, key: int, first: int) -> Tensor:
    """Numbers as they come out at the other end, each bucket sent by itself."""
    out = torch.empty_like(values)
    size = codec.granularity if isinstance(codec, Buckets) else max(len(values), 1)
    for begin in range(0, len(values), size):
        part = values[begin : begin + size]
        message = torch.zeros(codec.nbytes(len(part)), dtype=torch.uint8)
        codec.encode(part, message, key=key, first_bucket=(first + begin) // size)
        codec.decode(message, out[begin : begin + size])
    return out


def runs(owner: Tensor) -> list[tuple[int, int, int]]:
    """Rank, begin and end of each run of numbers that one rank averages."""
    edges = [0, *(torch.nonzero(owner.diff()).flatten() + 1).tolist(), len(owner)]
    return [(int(owner[b]), b, e) for b, e in pairwise(edges) if e > b]


def averaged(
    gradients: Sequence[Tensor], spans: Sequence[Span], *, seed: int, step: int, segment: int
) -> Tensor:
    """What all ranks end with, of the flat gradients of each."""
    ranks = len(gradients)
    mean = torch.zeros_like(gradients[0])
    for span in spans:
        local = [gradient[span.start : span.start + span.count] for gradient in gradients]
        for owner, begin, end in runs(owners(span, ranks, segment)):
            total = local[owner][begin:end].clone()
            for rank in range(ranks):
                if rank != owner:
                    key = stream_key(seed, step, rank, UP, span.parameter)
                    total += passed(local[rank][begin:end], span.up, key=key, first=begin)
            key = stream_key(seed, step, owner, DOWN, span.parameter)
            told = passed(total * (1 / ranks), span.down, key=key, first=begin)
            mean[span.start + begin : span.start + end] = told
    return mean


def message_bytes(codec: Codec, count: int) -> int:
    """Norms and codes, or numbers; whole eights of bytes."""
    if isinstance(codec, Cast):
        size = count * torch.finfo(codec.dtype).bits // 8
    else:
        assert isinstance(codec, Buckets)
        size = -(-count // codec.granularity) * codec.norm_bytes + -(-count // 8) * codec.bits
    return -(-size // 8) * 8


def bytes_sent(spans: Sequence[Span], ranks: int, rank: int, segment: int) -> int:
    """Payload of one rank: to each owner its part, and what it owns to all others."""
    sent = 0
    for span in spans:
        bucket = max(span.up.granularity, span.down.granularity)
        piece = max(segment // (bucket * ranks), 1) * bucket * ranks
        owner = owners(span, ranks, segment)
        for first in range(0, span.count, piece):
            for other, begin, end in runs(owner[first : first + piece]):
                if other == rank:
                    sent += (ranks - 1) * message_bytes(span.down, end - begin)
                else:
                    sent += message_bytes(span.up, end - begin)
    return sent


def gradient_of(rank: int, count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(100 * seed + rank)
    return torch.randn(count, generator=generator) * torch.randn(count, generator=generator).exp()


def adapted(quantizer: ALQ | AMQ) -> Codec:
    quantizer.update(gradient_of(9, 5_000))
    return quantizer.codec


def spans_of(*parts: tuple[int, Codec, Codec]) -> list[Span]:
    """Spans of the given sizes and codecs, one behind the other; parameters are numbered from the last to the first."""
    spans, start = [], 0
    for number, (count, up, down) in enumerate(parts):
        spans.append(Span(len(parts) - number, start, count, up, down))
        start += count
    return spans


def cases() -> dict[str, tuple[list[Span], int]]:
    """Spans and length of a segment: odd sizes, every codec, ways up and down alike and not."""
    exact, half, brain = Cast(), Cast(torch.float16), Cast(torch.bfloat16)
    uniform = {bits: QSGD(bits, 128).codec for bits in (2, 3, 4, 8)}
    powers = NUQSGD(4, 64, "l2", norm_dtype="bfloat16").codec
    free = QSGD(4, 192, zero=False, norm_dtype="bfloat16").codec
    levels, multiplier = adapted(ALQ(3, 256)), adapted(AMQ(4, 64))
    short = 1 << 12
    return {
        "float32": (spans_of((1, exact, exact), (9_999, exact, exact)), short),
        "16 bits": (spans_of((3, half, half), (5_001, half, half), (777, brain, brain)), short),
        **{
            f"{bits} bits": (spans_of((12_345, codec, codec), (1, codec, codec), (128, codec, codec)), short)
            for bits, codec in uniform.items()
        },
        "up unlike down": (
            spans_of((20_011, powers, QSGD(8, 64).codec), (513, powers, exact), (0, powers, powers)),
            short,
        ),
        "learned": (spans_of((7_000, levels, levels), (4_321, multiplier, multiplier)), short),
        "all together": (
            spans_of(
                (17, exact, exact),
                (4_097, uniform[4], uniform[8]),
                (5, exact, exact),
                (700, free, free),
                (2_049, levels, QSGD(8, 256).codec),
                (63, powers, powers),
                (4_000, Ternary(512).codec, exact),
            ),
            1 << 20,
        ),
        "a bucket for each segment": (spans_of((1_000, uniform[3], uniform[8]), (300, exact, exact)), 1),
    }
