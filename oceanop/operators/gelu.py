"""GELU and its slope in one pass, for pieces of a field that lie in the cache."""

import math
from typing import Any

import numpy as np
import torch
from numba import float32, int32, njit
from torch import Tensor
from torch.nn import functional

# erfc(z) exp(z^2) = t p(t), t = 1 / (1 + 0.45 z): the form of Abramowitz and Stegun 1964, 7.1.26, with seven
# coefficients fitted to |error| exp(-z^2) < 1.1e-9, a hundredth of the rounding of float32.
_ROOT_HALF = math.sqrt(0.5)
_NEARNESS = float32(0.45 * _ROOT_HALF)
_P1, _P2, _P3, _P4, _P5, _P6, _P7 = (
    float32(value)
    for value in (0.25898978, 0.20100866, 0.46017295, -0.37580673, 0.8571715, -0.49410619, 0.09257003)
)
_LOG2_E = float32(math.log2(math.e))
# ln 2 in two parts (Cody and Waite 1980): the first has so few bits that its multiples are exact.
_LN2_FIRST, _LN2_REST = float32(0.693359375), float32(math.log(2) - 0.693359375)
_E2, _E3, _E4, _E5, _E6, _E7 = (float32(1 / math.factorial(n)) for n in range(2, 8))
_DENSITY = float32(1 / math.sqrt(2 * math.pi))
_ONE, _HALF, _ZERO = float32(1), float32(0.5), float32(0)
_SMALLEST_EXPONENT = float32(87.0)  # exp(-87) is the last normal number of float32

_inline = njit(inline="always")
# Contraction lets a product and a sum round once; without signed zeros a selection needs no branch.
_jit = njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"}, cache=True)


@_inline
def _normal(x: Any) -> Any:
    """Distribution and ``exp(-x^2 / 2)`` of the standard normal."""
    s = min(x * x * _HALF, _SMALLEST_EXPONENT)
    n = np.floor(s * _LOG2_E + _HALF)
    r = n * _LN2_FIRST - s
    r = r + n * _LN2_REST
    series = ((((((_E7 * r + _E6) * r + _E5) * r + _E4) * r + _E3) * r + _E2) * r + _ONE) * r + _ONE
    gauss = series * np.int32((int32(127) - int32(n)) << int32(23)).view(np.float32)
    t = _ONE / (_ONE + _NEARNESS * abs(x))
    tail = _HALF * gauss * t * ((((((_P7 * t + _P6) * t + _P5) * t + _P4) * t + _P3) * t + _P2) * t + _P1)
    return (_ONE - tail if x >= _ZERO else tail), gauss


@_jit
def _value(x: Any, value: Any) -> None:
    for i in range(x.size):
        below, _ = _normal(x[i])
        value[i] = x[i] * below


@_jit
def _value_and_slope(x: Any, value: Any) -> None:
    # The slope replaces x: an argument of its own that is the same memory would keep the loop from being a vector's.
    for i in range(x.size):
        here = x[i]
        below, gauss = _normal(here)
        value[i] = here * below
        x[i] = below + here * gauss * _DENSITY


def gelu(x: Tensor) -> Tensor:
    """``x Phi(x)`` of a contiguous tensor (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    float32 within 1e-6 of the definition, and not finite where ``x`` is not; float64 by torch.
    """
    if x.dtype != torch.float32:
        return functional.gelu(x)
    value = torch.empty_like(x)
    _value(_entries(x), _entries(value))
    return value


def gelu_and_slope(x: Tensor) -> Tensor:
    """The same, with ``x`` overwritten by the derivative there."""
    if x.dtype != torch.float32:
        below = 0.5 * (1 + torch.erf(x * _ROOT_HALF))
        value = x * below
        x.mul_(torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)).add_(below)
        return value
    value = torch.empty_like(x)
    _value_and_slope(_entries(x), _entries(value))
    return value


def _entries(x: Tensor) -> Any:
    return x.view(-1).numpy()
