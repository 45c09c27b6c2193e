"""Codes of variable length, Elias omega and Huffman: references for the theorems on message length, not fast paths."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bits = NDArray[np.uint8]  # one element a bit, 0 or 1
Integers = NDArray[np.int64]

NORM_BITS = 32


def elias_length(values: ArrayLike) -> Integers:
    """Length in bits of the Elias omega code of each positive integer.

    Raises
    ------
    ValueError
        If a value is less than 1.
    """
    rest = _positive(values).copy()
    length = np.ones_like(rest)
    while (rest > 1).any():
        # frexp is exact for integers below 2^53: its exponent is the number of binary digits
        digits = np.frexp(rest.astype(np.float64))[1].astype(np.int64)
        length += np.where(rest > 1, digits, 0)
        rest = np.where(rest > 1, digits - 1, 1)
    return length


def elias_encode(values: ArrayLike) -> Bits:
    """Elias omega codes of positive integers, one after another (Elias 1975, IEEE Trans. Inf. Theory 21, 194-203).

    The binary digits of the number, preceded by the code of their count less one, and so on down to 1; then a 0.

    Raises
    ------
    ValueError
        If a value is less than 1 or not less than 2^53.
    """
    return _bits("".join(_omega(value) for value in _positive(values).ravel().tolist()))


def elias_decode(bits: Bits, count: int) -> tuple[Integers, int]:
    """First ``count`` integers of a string of Elias omega codes, and the number of bits that they took.

    Raises
    ------
    ValueError
        If the bits end within a code.
    """
    reader = _Reader(bits)
    values = np.array([reader.elias() for _ in range(count)], dtype=np.int64)
    return values, reader.position


def encode_sparse(norm: float, levels: ArrayLike) -> Bits:
    """QSGD's code of a vector with few nonzeros: norm, then distance, sign and level of each nonzero.

    ``Code_s`` of Alistarh et al., QSGD (NeurIPS 2017, arXiv 1610.02132): the norm in 32 bits; then for
    each nonzero Elias of its distance from the one before (the first counts from 1), a sign bit, Elias of its level.

    Parameters
    ----------
    norm
        Kept as float32.
    levels
        ``[d]``, signed integers ``sign(v_i) * s * h_i``.
    """
    integers = _integers(levels)
    places = np.flatnonzero(integers)
    gaps = np.diff(places, prepend=-1).tolist()
    body = (
        f"{_omega(gap)}{int(level < 0)}{_omega(abs(level))}"
        for gap, level in zip(gaps, integers[places].tolist(), strict=True)
    )
    return np.concatenate([_norm_bits(norm), _bits("".join(body))])


def decode_sparse(bits: Bits, size: int) -> tuple[np.float32, Integers]:
    """Norm and levels ``[size]`` of a whole message of :func:`encode_sparse`.

    Raises
    ------
    ValueError
        If the bits end within a code, or a nonzero lies beyond ``size``.
    """
    reader = _Reader(bits)
    norm = reader.norm()
    levels = np.zeros(size, dtype=np.int64)
    place = -1
    while reader.position < len(bits):
        place += reader.elias()
        if place >= size:
            raise ValueError(
                f"the message has a nonzero at {place} of a vector of {size}; give the length it was made of."
            )
        negative = reader.take(1)
        levels[place] = -reader.elias() if negative else reader.elias()
    return norm, levels


def encode_dense(norm: float, levels: ArrayLike) -> Bits:
    """QSGD's code of a vector with many nonzeros: norm, then for every coordinate its level, and its sign if not 0.

    ``Code'_s`` of the paper's dense regime (its appendix): the norm in 32 bits; then Elias of the level plus one, and a
    sign bit after each nonzero level.

    Parameters
    ----------
    norm
        Kept as float32.
    levels
        ``[d]``, signed integers ``sign(v_i) * s * h_i``.
    """
    body = (
        f"{_omega(abs(level) + 1)}{int(level < 0) if level else ''}" for level in _integers(levels).tolist()
    )
    return np.concatenate([_norm_bits(norm), _bits("".join(body))])


def decode_dense(bits: Bits, size: int) -> tuple[np.float32, Integers]:
    """Norm and levels ``[size]`` of a message of :func:`encode_dense`.

    Raises
    ------
    ValueError
        If the bits end before ``size`` coordinates.
    """
    reader = _Reader(bits)
    norm = reader.norm()
    levels = np.zeros(size, dtype=np.int64)
    for i in range(size):
        level = reader.elias() - 1
        levels[i] = -level if level and reader.take(1) else level
    return norm, levels


@dataclass(frozen=True)
class HuffmanCode:
    """Canonical Huffman code of symbols 0, 1, ...: the lengths alone determine the code words.

    Parameters
    ----------
    lengths
        Bits of each symbol's code word; 0 for a symbol that does not occur.

    Raises
    ------
    ValueError
        If no prefix code has these lengths.
    """

    lengths: tuple[int, ...]
    _words: dict[int, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        used = sorted((length, symbol) for symbol, length in enumerate(self.lengths) if length)
        longest = used[-1][0] if used else 0
        if not used or sum(1 << (longest - length) for length, _ in used) > 1 << longest:
            raise ValueError(
                f"code lengths are {list(self.lengths)}; of a prefix code, 2^-length sums to at most 1 over one symbol "
                "or more (Kraft). Build the code from frequencies."
            )
        words: dict[int, str] = {}
        word, before = 0, used[0][0]
        for length, symbol in used:
            word <<= length - before
            words[symbol] = format(word, f"0{length}b")
            word, before = word + 1, length
        object.__setattr__(self, "_words", words)

    @classmethod
    def of(cls, frequencies: Sequence[float] | NDArray[np.floating]) -> Self:
        """Code of least expected length; ties are broken by the smallest symbol, a lone symbol takes one bit.

        Raises
        ------
        ValueError
            If frequencies are negative, not finite, or all zero.
        """
        weights = np.asarray(frequencies, dtype=np.float64)
        if not ((weights >= 0) & np.isfinite(weights)).all() or not (weights > 0).any():
            raise ValueError(
                f"frequencies are {weights.tolist()}; give finite numbers that are not negative and not all zero."
            )
        heap = [(weight, symbol, [symbol]) for symbol, weight in enumerate(weights.tolist()) if weight > 0]
        lengths = [0] * len(weights)
        if len(heap) == 1:
            lengths[heap[0][1]] = 1
        heapq.heapify(heap)
        while len(heap) > 1:
            lighter, heavier = heapq.heappop(heap), heapq.heappop(heap)
            merged = lighter[2] + heavier[2]
            for symbol in merged:
                lengths[symbol] += 1
            heapq.heappush(heap, (lighter[0] + heavier[0], min(merged), merged))
        return cls(tuple(lengths))

    def length(self, symbols: ArrayLike) -> int:
        """Bits that :meth:`encode` would give; its errors."""
        return sum(len(word) for word in self._spelled(symbols))

    def encode(self, symbols: ArrayLike) -> Bits:
        """Code words of symbols, one after another.

        Raises
        ------
        ValueError
            If a symbol has no code word.
        """
        return _bits("".join(self._spelled(symbols)))

    def decode(self, bits: Bits, count: int) -> tuple[Integers, int]:
        """First ``count`` symbols of a string of code words, and the number of bits that they took.

        Raises
        ------
        ValueError
            If the bits end within a code word, or hold one that is not of this code.
        """
        symbols = {word: symbol for symbol, word in self._words.items()}
        longest = max(self.lengths)
        reader = _Reader(bits)
        values = np.empty(count, dtype=np.int64)
        for i in range(count):
            word = ""
            while word not in symbols:
                if len(word) == longest:
                    raise ValueError(
                        f"'{word}' begins no code word; decode with the code the message was made with."
                    )
                word += str(reader.take(1))
            values[i] = symbols[word]
        return values, reader.position

    def _spelled(self, symbols: ArrayLike) -> list[str]:
        wanted = _integers(symbols).tolist()
        unknown = sorted(set(wanted) - self._words.keys())
        if unknown:
            raise ValueError(
                f"symbols {unknown} have no code word; build the code from frequencies that include them."
            )
        return [self._words[symbol] for symbol in wanted]


class _Reader:
    """A place in a string of bits."""

    def __init__(self, bits: Bits) -> None:
        self.bits = bits
        self.position = 0

    def take(self, count: int) -> int:
        """Next bits as a number, the first one the most significant."""
        end = self.position + count
        if end > len(self.bits):
            raise ValueError(
                f"the message ends at bit {len(self.bits)} within a code; it was cut, or of fewer numbers."
            )
        number = 0
        for bit in self.bits[self.position : end].tolist():
            number = number << 1 | bit
        self.position = end
        return number

    def elias(self) -> int:
        number = 1
        while self.take(1):
            number = 1 << number | self.take(number)
        return number

    def norm(self) -> np.float32:
        return np.uint32(self.take(NORM_BITS)).view(np.float32)


def _omega(number: int) -> str:
    word = "0"
    while number > 1:
        digits = format(number, "b")
        word = digits + word
        number = len(digits) - 1
    return word


def _bits(text: str) -> Bits:
    return np.frombuffer(text.encode(), dtype=np.uint8) - ord("0")


def _norm_bits(norm: float) -> Bits:
    return _bits(format(int(np.float32(norm).view(np.uint32)), f"0{NORM_BITS}b"))


def _integers(values: ArrayLike) -> Integers:
    integers = np.asarray(values)
    if integers.ndim != 1 or not np.issubdtype(integers.dtype, np.integer):
        raise ValueError(
            f"values have shape {integers.shape} and dtype {integers.dtype}; give a vector of integers."
        )
    return integers.astype(np.int64)


def _positive(values: ArrayLike) -> Integers:
    integers = np.asarray(values)
    if not np.issubdtype(integers.dtype, np.integer) or not ((integers >= 1) & (integers < 2**53)).all():
        raise ValueError(
            f"values are {integers!r}; Elias codes are of integers from 1 to 2^53 - 1. Add one to what may be zero."
        )
    return integers.astype(np.int64)
