"""What every quantizer shares: five names, and a set of levels behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from training.compression.codec import NORM_BYTES, Buckets
from training.compression.levels import LevelSet

Norm = Literal["linf", "l2"]
BITS = (2, 3, 4, 8)


@dataclass(frozen=True)
class Codes:
    """A quantized tensor.

    Attributes
    ----------
    payload
        What travels: norms and packed codes, uint8.
    shape, dtype
        Of the tensor that was quantized.
    codec
        Codec that wrote the payload; both sides of a link have it.
    """

    payload: Tensor
    shape: torch.Size
    dtype: torch.dtype
    codec: Buckets

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return self.payload.numel()


class Quantizer:
    """Unbiased stochastic rounding, bucket by bucket, of a tensor to a few levels.

    A bucket ``v`` becomes ``||v|| sign(v_i) h(|v_i| / ||v||)``, with ``h`` one of the two neighbouring levels, drawn so
    that its mean is the ratio itself (Alistarh et al. 2017, arXiv 1610.02132, equation 1).

    Parameters
    ----------
    bits
        Bits of a code, its sign among them: 2, 3, 4 or 8.
    bucket_size
        Values that share one norm, a multiple of 64.
    norm
        ``"linf"``: the largest magnitude, which loses least. ``"l2"``: the Euclidean norm of the papers' theorems.
    norm_dtype
        ``"float32"``, or ``"bfloat16"``, which spares two bytes a bucket and, because norms are then rounded up, no
        longer gives the largest value of a bucket back exactly.

    Notes
    -----
    A bucket of zeros stays one; a bucket with NaN or an infinity comes out as NaN, so that it is seen.
    """

    def __init__(
        self,
        bits: int,
        bucket_size: int,
        norm: Norm,
        levels: LevelSet,
        norm_dtype: Literal["float32", "bfloat16"],
    ) -> None:
        magnitudes(bits, type(self).__name__)
        if bucket_size < 64 or bucket_size % 64:
            raise ValueError(
                f"{type(self).__name__} with buckets of {bucket_size}; choose a multiple of 64, 1024 for example."
            )
        if norm not in ("linf", "l2"):
            raise ValueError(f"{type(self).__name__} with the norm {norm!r}; choose 'linf' or 'l2'.")
        if norm_dtype not in NORM_BYTES:
            raise ValueError(
                f"{type(self).__name__} with norms in {norm_dtype!r}; choose 'float32' or 'bfloat16'."
            )
        self.bits, self.bucket_size, self.norm = bits, bucket_size, norm
        self.norm_dtype = norm_dtype
        self._set_levels(levels)

    def _set_levels(self, levels: LevelSet) -> None:
        self.level_set = levels
        self.codec = Buckets(
            levels, self.bits, self.bucket_size, self.norm == "l2", NORM_BYTES[self.norm_dtype]
        )

    @property
    def levels(self) -> Tensor:
        """Magnitudes in [0, 1], float32 ``[2^(bits - 1)]``; the first one is 0 where the set has a zero."""
        return torch.tensor(self.level_set.levels, dtype=torch.float32)

    def quantize(self, x: Tensor, generator: torch.Generator | None = None) -> Codes:
        """Quantize a tensor of any shape.

        Parameters
        ----------
        x
            Floating point; what is not float32 is converted to it and back.
        generator
            A CPU generator, from which one key is drawn; torch's own where absent.

        Raises
        ------
        ValueError
            If the tensor is not real floating point.
        """
        if not x.dtype.is_floating_point:
            raise ValueError(
                f"a tensor of {x.dtype} cannot be quantized; give floating point (torch.view_as_real for complex)."
            )
        values = flat(x)
        payload = torch.empty(self.codec.nbytes(values.numel()), dtype=torch.uint8, device=x.device)
        payload[-8:] = 0  # bytes of alignment, if any, are the same each time
        key = int(torch.randint(2**63 - 1, (), generator=generator))
        self.codec.encode(values, payload, key=key)
        return Codes(payload, x.shape, x.dtype, self.codec)

    def dequantize(self, codes: Codes) -> Tensor:
        """The tensor that codes stand for, in the shape and type of the original."""
        count = codes.shape.numel()
        values = torch.empty(count, dtype=torch.float32, device=codes.payload.device)
        codes.codec.decode(codes.payload, values)
        return values.reshape(codes.shape).to(codes.dtype)

    def variance_bound(self, d: int) -> float:
        """Bound of ``E||y - x||^2 / ||x||^2`` for one bucket of ``d`` entries.

        Exact arithmetic is assumed; norms in bfloat16 are up to 1/128 too large, which adds as much to the bound.
        """
        widening = 1.0 if self.norm_dtype == "float32" else (1 + 2**-7) ** 2
        # A norm c times too large leaves ratios of neighbours as they are and scales the bin at zero.
        return self.level_set.variance_bound(d) * widening

    def expected_error(self, x: Tensor) -> Tensor:
        """Exact variance of each element of ``x`` when it is quantized: ``N^2 (l_above - r)(r - l_below)``, float64."""
        values = flat(x)
        norms = self.norms(values).double().repeat_interleave(self.bucket_size)[: values.numel()]
        ratio = torch.where(norms > 0, values.abs().double() / norms, 0.0)
        variance = torch.from_numpy(self.level_set.conditional_variance(ratio.clamp(max=1.0).numpy()))
        return (norms.square() * variance).reshape(x.shape)

    def norms(self, values: Tensor) -> Tensor:
        """Norm of each bucket of a flat float32 tensor on the CPU, as the encoder uses it."""
        from training.compression import cpu

        out = np.empty(-(-values.numel() // self.bucket_size), np.float32)
        cpu.norms(values.numpy(), self.bucket_size, self.norm == "l2", NORM_BYTES[self.norm_dtype], out)
        return torch.from_numpy(out)

    def update(self, x: Tensor) -> None:
        """Learn levels from a gradient; these levels are fixed, so nothing happens."""

    def state_dict(self) -> dict[str, Any]:
        """What was learned."""
        return {"levels": list(self.level_set.levels)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If the levels are not those of this quantizer, or not as many as its bits can say.
        """
        self._set_levels(self._checked(state["levels"]))

    def _checked(self, levels: Sequence[float]) -> LevelSet:
        # Levels that were learned may be any; these are fixed, and an encoder of equal steps would misread others.
        if tuple(levels) != self.level_set.levels:
            raise ValueError(
                f"the saved levels are {list(levels)} and those of {type(self).__name__} with {self.bits} bits are "
                f"{list(self.level_set.levels)}; resume with the quantizer that saved them."
            )
        return self.level_set


def magnitudes(bits: int, name: str) -> int:
    """Magnitudes that a code of so many bits, its sign among them, can say; bits not in :data:`BITS` are refused."""
    if bits not in BITS:
        raise ValueError(f"{name} with {bits} bits; choose 2, 3, 4 or 8.")
    return 2 ** (bits - 1)


def flat(x: Tensor) -> Tensor:
    """A tensor of any shape, type and strides as contiguous float32 ``[n]``."""
    return x.detach().to(torch.float32).resolve_neg().contiguous().flatten()
