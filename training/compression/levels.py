"""Sets of levels that normalised magnitudes are rounded to, and what is known of their error in advance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

UNIFORM, SHORT, LONG, HALVING = 0, 1, 2, 3  # how an encoder finds the bin of a ratio
SHORT_THRESHOLDS = 8
_BEYOND = 2.0  # a threshold no ratio reaches
_PREFIXES = 4096  # of the 13 leading bits of a float32 that is not negative, those a ratio can have


@dataclass(frozen=True)
class LevelSet:
    """Levels in [0, 1], increasing, the last one 1; with signs they are what a code can say.

    Attributes
    ----------
    levels
        Magnitudes, the first one 0 where the set has a zero.
    uniform
        True where level ``k`` is ``k / (count - 1)``: then no table is searched.

    Notes
    -----
    A set with zero has one code to spare (minus zero). A set without zero uses every code; a ratio below its first
    level is rounded to that level with one sign or the other.
    """

    levels: tuple[float, ...]
    uniform: bool = False

    def __post_init__(self) -> None:
        values = np.asarray(self.levels, dtype=np.float32)
        if len(values) < 2 or values[-1] != 1 or values[0] < 0 or not (np.diff(values) > 0).all():
            raise ValueError(
                f"levels are {list(self.levels)}; expected at least two, increasing within [0, 1] as float32 and "
                "ending at 1."
            )

    @property
    def zero(self) -> bool:
        """Whether 0 is a level."""
        return self.levels[0] == 0

    def variance_bound(self, entries: int) -> float:
        """Largest ``E||Q(v) - v||^2 / ||v||^2`` of a bucket of ``entries`` values, for either norm.

        ``max_j (rho_j - 1)^2 / (4 rho_j)`` over the ratios of neighbouring levels, and a term for the bin at zero: the
        bound of Faghri et al. 2020 (arXiv 2010.12460) with the constant that is tight for q >= 2. A set without zero
        has ``l_0^2 d`` in the place of that term, for every ratio below ``l_0`` becomes ``l_0`` or its negative.
        """
        levels = np.asarray(self.levels, dtype=np.float64)
        positive = levels[1:] if self.zero else levels
        ratio = positive[1:] / positive[:-1]
        inner = float(np.max((ratio - 1) ** 2 / (4 * ratio), initial=0.0))
        first = float(positive[0])
        if not self.zero:
            return inner + first**2 * entries
        if entries <= (2 / first) ** 2:
            return inner + first**2 * entries / 4
        return inner + first * entries**0.5 - 1

    def conditional_variance(self, ratios: ArrayLike) -> NDArray[np.float64]:
        """Variance of each rounded ratio in [0, 1]: ``(l_above - r)(r - l_below)``."""
        r = np.asarray(ratios, dtype=np.float64)
        levels = np.asarray(self.levels, dtype=np.float32).astype(np.float64)
        if not self.zero:
            levels = np.concatenate([[-levels[0]], levels])
        above = np.clip(np.searchsorted(levels, r, side="right"), 1, len(levels) - 1)
        return np.maximum((levels[above] - r) * (r - levels[above - 1]), 0.0)

    @cached_property
    def tables(self) -> "Tables":
        """What the encoders and decoders read."""
        return Tables.of(self)


@dataclass(frozen=True)
class Tables:
    """A level set as the kernels read it; all tensors are on the CPU.

    Attributes
    ----------
    kind
        ``UNIFORM``, ``SHORT`` or ``LONG``.
    halving
        Whether each level but 0 is half of the next, and there are few: then the exponent and the mantissa of a ratio
        say at once what ``SHORT`` finds by comparing, to the bit.
    first
        Number of the level below all thresholds: 0, or -1 for the first level with the other sign.
    at, low, inverse
        Thresholds; lower level of each bin; and one over the width of each bin, float32.
    guess
        For ``LONG``: the first bin that a ratio with the given leading 13 bits can lie in.
    signed
        Signed level of every code ``[2 * count]``, float32.
    """

    kind: int
    halving: bool
    first: int
    at: Tensor
    low: Tensor
    inverse: Tensor
    guess: Tensor
    signed: Tensor

    @staticmethod
    def of(levels: LevelSet) -> "Tables":
        """Tables of a level set."""
        values = np.asarray(levels.levels, dtype=np.float32)
        thresholds = values[1:] if levels.zero else values
        low = values if levels.zero else np.concatenate([-values[:1], values])
        kind = UNIFORM if levels.uniform else SHORT if len(thresholds) <= SHORT_THRESHOLDS else LONG
        size = max(len(thresholds) + 1, SHORT_THRESHOLDS)
        at = np.full(size, _BEYOND, np.float32)
        at[: len(thresholds)] = thresholds
        padded = np.zeros(size + 1, np.float32)
        padded[: len(low)] = low
        inverse = np.zeros(size + 1, np.float32)  # 0 behind the last level: nothing is rounded up from there
        inverse[: len(low) - 1] = np.float32(1) / np.diff(low)
        smallest = (np.arange(_PREFIXES, dtype=np.uint32) << 19).view(np.float32)
        with np.errstate(invalid="ignore"):
            guess = np.searchsorted(thresholds, smallest, side="right")
        return Tables(
            kind=kind,
            halving=kind == SHORT and levels.zero and bool((2 * values[1:-1] == values[2:]).all()),
            first=0 if levels.zero else -1,
            at=torch.from_numpy(at),
            low=torch.from_numpy(padded),
            inverse=torch.from_numpy(inverse),
            guess=torch.from_numpy(guess.astype(np.uint8)),
            signed=torch.from_numpy(np.concatenate([values, -values])),
        )

    def on(self, device: torch.device) -> "Tables":
        """The same tables on another device."""
        tensors = ("at", "low", "inverse", "guess", "signed")
        return Tables(
            self.kind, self.halving, self.first, *(getattr(self, name).to(device) for name in tensors)
        )


def uniform_levels(count: int) -> LevelSet:
    """``0, 1/s, ..., 1`` with ``s = count - 1`` (QSGD)."""
    steps = count - 1
    return LevelSet(tuple(k / steps for k in range(count)), uniform=True)


def symmetric_uniform_levels(count: int) -> LevelSet:
    """``1/m, 3/m, ..., 1`` with ``m = 2 count - 1``: with signs, ``2 count`` equal steps from -1 to 1, no zero."""
    return LevelSet(tuple((2 * k + 1) / (2 * count - 1) for k in range(count)))


def exponential_levels(count: int, p: float, *, zero: bool) -> LevelSet:
    """``(0,) p^s, ..., p, 1``: ``count`` magnitudes, of which the first one is 0 if asked for."""
    powers = [p**k for k in range(count - 1 - zero, -1, -1)]
    if powers[0] < np.finfo(np.float32).tiny:
        raise ValueError(
            f"{count} levels with the multiplier {p:g} begin at {powers[0]:g}, below what float32 holds in full; use "
            "fewer bits or a larger multiplier."
        )
    return LevelSet((0.0, *powers) if zero else tuple(powers))


def adapted_levels(inner: Sequence[float]) -> LevelSet:
    """0, levels in between, and 1."""
    return LevelSet((0.0, *(float(level) for level in inner), 1.0))
