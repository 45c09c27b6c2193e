"""One layer of either operator: a spectral convolution beside a pointwise map, then a pointwise perceptron."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from oceanop.operators.allocator import settle_allocator
from oceanop.operators.fused import PointwiseHalf, PointwiseMLP, RowAnalysis
from oceanop.operators.recompute import run_layer
from oceanop.operators.spectral import SpectralConv
from oceanop.operators.workers import threads, without_teams

# Points of all windows together, for each thread that works on them: on fewer, at some 32 channels, single tensor
# operations are faster than rows in the cache, whose many small pieces of work each cost a call.
FEW_POINTS = 25_000
# More threads than these do not bring single operations more
THREADS_COUNTED = 2


@dataclass(frozen=True)
class Pointwise:
    """Weights of a layer's pointwise half, ``[out, in]`` as of linear layers; ``skip [channel]``, None for 1."""

    weight: Tensor
    bias: Tensor
    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor
    skip: Tensor | None = None


class Gate(nn.Sequential):
    """``1 + MLP(static)``, one factor before and one behind a convolution: how a spectral kernel knows the coast."""

    def __init__(self, static_channels: int, width: int) -> None:
        opening = nn.Linear(width, 2 * width)
        # Gates open as 1: the network begins as the ungated one.
        nn.init.zeros_(opening.weight)
        nn.init.zeros_(opening.bias)
        super().__init__(nn.Linear(static_channels, width), nn.GELU(), opening)

    def factors(self, static: Tensor) -> tuple[Tensor, Tensor]:
        """``[y, x, static]`` to two fields ``[y, x, width]``."""
        first, second = linear_weights(self[0]), linear_weights(self[2])
        opening = (part.chunk(2) for part in (second[0], 1 + second[1]))
        before, after = (
            _perceptron(static, *first, weight, bias) for weight, bias in zip(*opening, strict=True)
        )
        return before, after


def spectral_layer(
    x: Tensor,
    convolution: SpectralConv,
    pointwise: Pointwise,
    *,
    gates: tuple[Tensor, Tensor] | None = None,
    active: tuple[bool, bool] = (True, False),
    wanted: slice = slice(None),
    recompute: bool = False,
) -> Tensor:
    r"""``last(narrow(GELU(widen(first(g2 * S(g1 * x) + W x + b)))) + skip * x)``.

    On the CPU in plain precision the layer of a large field runs a few rows at a time (:mod:`oceanop.operators.fused`)
    and always recomputes its inside in the backward pass; a small one's and elsewhere it is a chain of tensor
    operations, which ``torch.compile`` can take as a whole.

    Parameters
    ----------
    x
        ``[batch, *axes, channel]``.
    convolution
        ``S``.
    gates
        ``g1`` and ``g2``, ``[y, x, channel]`` each; None for 1.
    active
        Whether ``first`` and ``last`` are GELU; else they leave what they are given.
    wanted
        Steps of time to return, over (t, y, x); past the convolution, the others need no work.
    recompute
        Compute the inside of the layer again in the backward pass instead of keeping it.
    """
    if runs_in_cache(x):
        return _in_cache(x, convolution, pointwise, gates, active, wanted)
    layer = partial(_chain, convolution=convolution, gates=gates, active=active, wanted=wanted)
    return run_layer(layer, x, pointwise, recompute=recompute)


def perceptron(x: Tensor, widen: nn.Module, narrow: nn.Module) -> Tensor:
    """``narrow(GELU(widen(x)))`` at each point, ``[..., in]`` to ``[..., out]``.

    Both are linear layers or convolutions of one point.
    """
    return _perceptron(x, *(part for module in (widen, narrow) for part in linear_weights(module)))


def _perceptron(x: Tensor, widen: Tensor, widen_bias: Tensor, narrow: Tensor, narrow_bias: Tensor) -> Tensor:
    if runs_in_cache(x):
        points = x.reshape(-1, x.shape[-1])
        y: Tensor = PointwiseMLP.apply(points, widen, widen_bias, narrow, narrow_bias)
        return y.unflatten(0, x.shape[:-1])
    return functional.linear(functional.gelu(functional.linear(x, widen, widen_bias)), narrow, narrow_bias)


def runs_in_cache(x: Tensor, points: int | None = None) -> bool:
    """Whether work on ``x`` is done a few rows at a time: on the CPU, without autocast, outside of compilation.

    And on many points, those of ``x [..., channel]`` where they are not given.
    """
    if (
        x.device.type != "cpu"
        or x.dtype not in (torch.float32, torch.float64)
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    ):
        return False
    count = x.shape[:-1].numel() if points is None else points
    return count > FEW_POINTS * min(threads(), THREADS_COUNTED)


def alone(x: Tensor, points: int) -> AbstractContextManager[None]:
    """Where layers work on so many points in the cache: no teams of threads beside (:func:`workers.without_teams`)."""
    if not torch.compiler.is_compiling() and x.device.type == "cpu":
        settle_allocator()
    return without_teams() if runs_in_cache(x, points) else nullcontext()


def _in_cache(
    x: Tensor,
    convolution: SpectralConv,
    pointwise: Pointwise,
    gates: tuple[Tensor, Tensor] | None,
    active: tuple[bool, bool],
    wanted: slice,
) -> Tensor:
    before, after = (None, None) if gates is None else (gate.contiguous() for gate in gates)
    batch, sizes = x.shape[0], x.shape[1:-1]
    analysis, synthesis = convolution.row_basis(x)
    planes = x.contiguous().view(-1, *x.shape[-3:])
    rows, planes = RowAnalysis.apply(planes, before, analysis)
    rows = convolution.mix_rows_apart(rows.view(*x.shape[:-2], *rows.shape[-2:]), sizes)[:, wanted]
    # Over (t, y, x) a plane is a step of a window; over (y, x) it is a window, and all its rows are wanted.
    assert len(sizes) == 3 or (len(sizes) == 2 and wanted == slice(None))
    steps = range(sizes[0])[wanted] if len(sizes) == 3 else range(1)
    per_window = sizes[0] if len(sizes) == 3 else 1
    kept = [window * per_window + step for window in range(batch) for step in steps]
    weights = (getattr(pointwise, field.name) for field in fields(pointwise))
    lead = (batch, len(steps)) if len(sizes) == 3 else (batch,)
    rows = rows.reshape(-1, *rows.shape[-3:])
    y: Tensor = PointwiseHalf.apply(planes, rows, after, synthesis, kept, lead, active, *weights)
    return y


def _chain(
    x: Tensor,
    pointwise: Pointwise,
    convolution: SpectralConv,
    gates: tuple[Tensor, Tensor] | None,
    active: tuple[bool, bool],
    wanted: slice,
) -> Tensor:
    before, after = (1.0, 1.0) if gates is None else gates
    first, last = (functional.gelu if on else _same for on in active)
    convolved = after * convolution(before * x)[:, wanted]
    x = x[:, wanted]
    opened = first(convolved + functional.linear(x, pointwise.weight, pointwise.bias))
    opened = functional.gelu(functional.linear(opened, pointwise.widen, pointwise.widen_bias))
    mixed = functional.linear(opened, pointwise.narrow, pointwise.narrow_bias)
    result: Tensor = last(mixed + (x if pointwise.skip is None else pointwise.skip * x))
    return result


def _same(x: Tensor) -> Tensor:
    return x


def linear_weights(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Matrix ``[out, in]`` and bias of a linear layer or of a convolution of one point."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight.flatten(1), bias
