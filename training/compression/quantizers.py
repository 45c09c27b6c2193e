"""Quantizers with levels that are known beforehand: QSGD, NUQSGD, ternary."""

from typing import Literal

from training.compression.levels import exponential_levels, symmetric_uniform_levels, uniform_levels
from training.compression.quantizer import Norm, Quantizer, magnitudes


class QSGD(Quantizer):
    """Uniform levels ``k / s`` (Alistarh et al. 2017, arXiv 1610.02132).

    Parameters
    ----------
    bits, bucket_size, norm, norm_dtype
        See :class:`Quantizer`; ``norm="l2"`` is the paper's theorem, ``"linf"`` what is used in practice ("QSGDinf").
    zero
        False gives ``2^bits`` equal steps from -1 to 1 without a zero, the table that published code runs.
    """

    def __init__(
        self,
        bits: int = 4,
        bucket_size: int = 1024,
        norm: Norm = "linf",
        *,
        zero: bool = True,
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        count = magnitudes(bits, "QSGD")
        levels = uniform_levels(count) if zero else symmetric_uniform_levels(count)
        super().__init__(bits, bucket_size, norm, levels, norm_dtype)


class NUQSGD(Quantizer):
    """Exponential levels ``0, p^s, ..., p, 1`` (Ramezani-Kebrya et al., JMLR 22(114), 2021, arXiv 1908.06077).

    Fine near zero, where most of a gradient is; but its error does not fall below some 8 % (p = 1/2) however many bits
    are spent, so at 8 bits :class:`QSGD` is better.

    Parameters
    ----------
    bits, bucket_size, norm, norm_dtype
        See :class:`Quantizer`.
    p
        Ratio of neighbouring levels, between 0 and 1; the paper's is 1/2.
    zero
        False leaves zero out and uses all ``2^bits`` codes, the table that published code runs.
    """

    def __init__(
        self,
        bits: int = 4,
        bucket_size: int = 1024,
        norm: Norm = "linf",
        *,
        p: float = 0.5,
        zero: bool = True,
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        if not 0 < p < 1:
            raise ValueError(f"NUQSGD with p = {p}; the ratio of neighbouring levels lies between 0 and 1.")
        self.p = p
        levels = exponential_levels(magnitudes(bits, "NUQSGD"), p, zero=zero)
        super().__init__(bits, bucket_size, norm, levels, norm_dtype)


class Ternary(Quantizer):
    """-1, 0 or 1 times the norm, in two bits (TernGrad: Wen et al. 2017, arXiv 1705.07878).

    Its error exceeds the gradient itself; for links so slow that nothing else goes through.
    """

    def __init__(
        self,
        bucket_size: int = 512,
        norm: Norm = "linf",
        *,
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        super().__init__(2, bucket_size, norm, uniform_levels(2), norm_dtype)
