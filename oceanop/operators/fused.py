"""An operator's work on the CPU, a few rows at a time in the cache: nothing but what enters a layer is stored.

Backward passes compute the inside of a layer again. That costs a fifth more products, and saves the memory, and with
it the page faults and the traffic, of six fields a layer (Chen et al. 2016, arXiv 1604.06174).
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from oceanop.operators.gelu import gelu, gelu_and_slope
from oceanop.operators.memory import new_field
from oceanop.operators.workers import share, threads, without_teams

CACHED = (
    150_000  # entries of a field that are worked on at once: a handful of such pieces fill a core's cache
)

Gradients = tuple[Tensor | None, ...]


class Piece(NamedTuple):
    """Some rows of a plane, or all rows of some planes: one piece of memory in each field."""

    planes: slice  # of the layer's input
    wanted: slice  # the same among the planes that are kept
    rows: slice

    def of(self, field: Tensor, *, wanted: bool = False) -> Tensor:
        """``[row, ...]`` of a field ``[plane, y, ...]``."""
        return field[self.wanted if wanted else self.planes, self.rows].flatten(0, 1)

    def gate(self, gate: Tensor | None) -> Tensor | None:
        """The rows of a gate ``[y, x, channel]``, once for each plane."""
        if gate is None:
            return None
        planes = self.planes.stop - self.planes.start
        rows = gate[self.rows]
        return rows if planes == 1 else rows.expand(planes, -1, -1, -1).reshape(-1, *gate.shape[1:])


class RowAnalysis(torch.autograd.Function):
    """Coefficients along x of ``gate * x``, and ``x`` handed on, so that all its gradients meet in here.

    ``x [plane, y, x, channel]``, ``gate [y, x, channel]`` or None, ``analysis [coefficient, x]``; returns
    ``[plane, y, coefficient, channel]`` and ``x``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor | None, analysis: Tensor) -> tuple[Tensor, Tensor]:
        planes, rows, _, channels = x.shape
        coefficients = new_field(x, planes, rows, len(analysis), channels)

        def work(jobs: Sequence[list[Piece]]) -> None:
            for piece in chain.from_iterable(jobs):
                part, factor = piece.of(x), piece.gate(gate)
                if factor is not None:
                    part = part * factor
                torch.bmm(_repeated(analysis, part), part, out=piece.of(coefficients))

        share(work, _jobs(range(planes), x.shape))
        ctx.save_for_backward(x, gate, analysis)
        return coefficients, x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, coefficients: Tensor, handed_on: Tensor) -> Gradients:
        x, gate, analysis = ctx.saved_tensors
        coefficients, transposed = coefficients.contiguous(), analysis.t().contiguous()
        # What was handed on goes to the pointwise half alone, which made this gradient for us: it may be added to.
        to_x = handed_on

        def work(jobs: Sequence[list[Piece]]) -> list[Tensor | None]:
            to_gate = _GateSum(gate)
            for piece in chain.from_iterable(jobs):
                given, to_rows, factor = piece.of(coefficients), piece.of(to_x), piece.gate(gate)
                repeated = _repeated(transposed, given)
                if factor is None:
                    to_rows.baddbmm_(repeated, given)
                    continue
                to_gated = torch.bmm(repeated, given)
                to_rows.addcmul_(to_gated, factor)
                to_gate.add(piece, to_gated.mul_(piece.of(x)))
            return [to_gate.total]

        (to_gate,) = _totals(share(work, _jobs(range(len(x)), x.shape)))
        return to_x, to_gate, None


class PointwiseHalf(torch.autograd.Function):
    """``last(narrow(GELU(widen(first(gate * synthesis(coefficients) + W x + b)))) + skip * x)``.

    ``x [plane, y, x, channel]``, ``coefficients [kept plane, y, coefficient, channel]``, ``gate [y, x, channel]`` or
    None, ``synthesis [x, coefficient]``; ``kept`` names the planes of ``x`` that are wanted, ``active`` says whether
    ``first`` and ``last`` are GELU or nothing; the weights are those of :class:`oceanop.operators.layer.Pointwise`, in
    its order. Returns ``[*lead, y, x, channel]``, where ``lead`` are the axes that kept planes are numbered along.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        coefficients: Tensor,
        gate: Tensor | None,
        synthesis: Tensor,
        kept: Sequence[int],
        lead: Sequence[int],
        active: tuple[bool, bool],
        *weights: Tensor | None,
    ) -> Tensor:
        y, coefficients = new_field(x, *lead, *x.shape[1:]), coefficients.contiguous()
        planes = y.view(-1, *x.shape[1:])

        def work(jobs: Sequence[list[Piece]]) -> None:
            for piece in chain.from_iterable(jobs):
                inside = _Inside(piece.of(x), active, weights, gelu)
                inside.begin(piece.of(coefficients, wanted=True), piece.gate(gate), synthesis)
                result = piece.of(planes, wanted=True)
                if active[1]:
                    result.copy_(gelu(inside.mixed()))
                else:
                    inside.mixed(out=result)

        share(work, _jobs(kept, x.shape))
        ctx.save_for_backward(x, coefficients, gate, synthesis, *weights)
        ctx.kept, ctx.active = kept, active
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_y: Tensor) -> Gradients:
        x, coefficients, gate, synthesis, *weights = ctx.saved_tensors
        with without_teams():
            to_y, transposed = to_y.contiguous().view(-1, *x.shape[1:]), synthesis.t().contiguous()
        to_x, to_coefficients = new_field(x, *x.shape), torch.empty_like(coefficients)
        for plane in set(range(len(x))).difference(ctx.kept):
            to_x[plane] = 0

        def work(jobs: Sequence[list[Piece]]) -> list[Tensor | None]:
            sums = [None if weight is None else torch.zeros_like(weight) for weight in weights]
            # Products with a matrix on the right are fastest where it lies transposed.
            across = [weights[n].t().contiguous() for n in (0, 2, 4)]
            to_gate = _GateSum(gate)
            for piece in chain.from_iterable(jobs):
                inside = _Inside(piece.of(x), ctx.active, weights, gelu_and_slope)
                factor = piece.gate(gate)
                inside.begin(piece.of(coefficients, wanted=True), factor, synthesis)
                to_sum = inside.back(piece.of(to_y, wanted=True), piece.of(to_x), across, sums)
                if factor is not None:
                    to_gate.add(piece, inside.convolved.mul_(to_sum))
                    to_sum.mul_(factor)
                torch.bmm(_repeated(transposed, to_sum), to_sum, out=piece.of(to_coefficients, wanted=True))
            return [to_gate.total, *sums]

        to_gate, *sums = _totals(share(work, _jobs(ctx.kept, x.shape)))
        return to_x, to_coefficients, to_gate, None, None, None, None, *sums


class _GateSum:
    """Gradient of a gate, summed over planes; the rows that a thread has no part of are zeros."""

    def __init__(self, gate: Tensor | None) -> None:
        self.total = None if gate is None else torch.zeros_like(gate)

    def add(self, piece: Piece, towards: Tensor) -> None:
        assert self.total is not None
        rows = self.total[piece.rows]
        rows.add_(towards.view(-1, *rows.shape).sum(0) if len(towards) > len(rows) else towards)


class PointwiseMLP(torch.autograd.Function):
    """``narrow(GELU(widen(x)))`` at each point of ``x [point, channel]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        widen, widen_bias, narrow, narrow_bias = weights
        y = new_field(x, len(x), len(narrow))

        def work(ranges: Sequence[tuple[int, int]]) -> None:
            for first, last in ranges:
                widened = gelu(linear(x[first:last], widen, widen_bias))
                y[first:last] = linear(widened, narrow, narrow_bias)

        share(work, _pieces(len(x), len(widen)))
        ctx.save_for_backward(x, *weights)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_y: Tensor) -> Gradients:
        x, widen, widen_bias, narrow, _ = weights = ctx.saved_tensors
        with without_teams():
            to_y = to_y.contiguous()
        to_x = new_field(x, *x.shape) if ctx.needs_input_grad[0] else None

        def work(ranges: Sequence[tuple[int, int]]) -> list[Tensor]:
            sums = [torch.zeros_like(weight) for weight in weights[1:]]
            across_widen, across_narrow = widen.t().contiguous(), narrow.t().contiguous()
            for first, last in ranges:
                slope = linear(x[first:last], widen, widen_bias)
                widened = gelu_and_slope(slope)
                _add_linear(sums[2], sums[3], to_y[first:last], widened)
                towards = linear(to_y[first:last], across_narrow).mul_(slope)
                _add_linear(sums[0], sums[1], towards, x[first:last])
                if to_x is not None:
                    to_x[first:last] = linear(towards, across_widen)
            return sums

        return to_x, *_totals(share(work, _pieces(len(x), len(widen))))


class _Inside:
    """What a layer computes between its transforms for some rows ``x [y, x, channel]``.

    With :func:`gelu_and_slope` to activate, slopes take the place of what was activated.
    """

    def __init__(
        self,
        x: Tensor,
        active: tuple[bool, bool],
        weights: Sequence[Any],
        activate: Callable[[Tensor], Tensor],
    ) -> None:
        self.x, self.activate = x, activate
        self.first_active, self.last_active = active
        self.weight, self.bias, self.widen, self.widen_bias, self.narrow, self.narrow_bias, self.skip = (
            weights
        )

    def begin(self, coefficients: Tensor, gate: Tensor | None, synthesis: Tensor) -> None:
        """Up to the second GELU."""
        repeated = _repeated(synthesis, coefficients)
        self.before = linear(self.x, self.weight, self.bias)
        if gate is None:
            self.before.baddbmm_(repeated, coefficients)
        else:
            self.convolved = torch.bmm(repeated, coefficients)
            self.before.addcmul_(self.convolved, gate)
        self.after = self.activate(self.before) if self.first_active else self.before
        self.opened = linear(self.after, self.widen, self.widen_bias)
        self.widened = self.activate(self.opened)

    def mixed(self, out: Tensor | None = None) -> Tensor:
        """What the last function is applied to."""
        narrowed = linear(self.widened, self.narrow, self.narrow_bias)
        out = narrowed if out is None else out
        if self.skip is None:
            return torch.add(narrowed, self.x, out=out)
        return torch.addcmul(narrowed, self.x, self.skip, out=out)

    def back(self, to_y: Tensor, to_x: Tensor, across: Sequence[Tensor], sums: Sequence[Any]) -> Tensor:
        """Write what reaches x past the transforms; return what reaches the sum that the first function takes.

        ``across`` are the three matrices transposed; to ``sums`` the gradients of all weights are added.
        """
        to_weight, to_bias, to_widen, to_widen_bias, to_narrow, to_narrow_bias, to_skip = sums
        weight, widen, narrow = across
        if self.last_active:
            slope = self.mixed()
            gelu_and_slope(slope)
            to_y = slope.mul_(to_y)
        _add_linear(to_narrow, to_narrow_bias, to_y, self.widened)
        to_opened = linear(to_y, narrow).mul_(self.opened)
        _add_linear(to_widen, to_widen_bias, to_opened, self.after)
        to_sum = linear(to_opened, widen)
        if self.first_active:
            to_sum.mul_(self.before)
        _add_linear(to_weight, to_bias, to_sum, self.x)
        along = linear(to_sum, weight)
        if to_skip is None:
            torch.add(along, to_y, out=to_x)
        else:
            torch.addcmul(along, to_y, self.skip, out=to_x)
            to_skip.add_((to_y * self.x).sum((0, 1)))
        return to_sum


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` along the last axis of a contiguous ``x``.

    By oneDNN where torch has it: with some tens of channels it takes half of the time of the BLAS behind
    ``torch.matmul`` on processors that this does not know (measured on an AMD EPYC with AVX-512).
    """
    if x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return functional.linear(x, weight, bias)


def _jobs(kept: Sequence[int], shape: Sequence[int]) -> list[list[Piece]]:
    """Jobs for threads: of large planes some rows each, in all planes, of small ones some whole planes each."""
    rows, columns, channels = shape[1:]
    if rows * columns * channels > CACHED:
        return [
            [Piece(slice(plane, plane + 1), slice(n, n + 1), slice(*part)) for n, plane in enumerate(kept)]
            for part in _pieces(rows, columns * channels)
        ]
    jobs: list[list[Piece]] = []
    for first, last in _pieces(len(kept), rows * columns * channels):
        # Planes that are kept may have others between them: a piece is of neighbours.
        begin = first
        for n in range(first, last):
            if n + 1 == last or kept[n + 1] != kept[n] + 1:
                jobs.append([Piece(slice(kept[begin], kept[n] + 1), slice(begin, n + 1), slice(0, rows))])
                begin = n + 1
    return jobs


def _pieces(rows: int, entries: int) -> list[tuple[int, int]]:
    """Ranges of rows of about :data:`CACHED` entries, ``entries`` to a row, as alike in length as can be."""
    if rows * entries < 2 * CACHED:  # a second thread takes longer to wake than it would save
        return [(0, rows)]
    count = max(threads(), -(-rows * entries // CACHED))
    count = min(rows, -(-count // threads()) * threads())  # as many for each thread
    return [(n * rows // count, (n + 1) * rows // count) for n in range(count)]


def _repeated(matrix: Tensor, rows: Tensor) -> Tensor:
    return matrix.expand(len(rows), -1, -1)


def _add_linear(to_weight: Tensor, to_bias: Tensor, towards: Tensor, given: Tensor) -> None:
    """Add to the gradients of the weights of ``linear(given)``."""
    towards, given = towards.view(-1, towards.shape[-1]), given.view(-1, given.shape[-1])
    if (
        given.shape[1] < 16 < towards.shape[1]
    ):  # a tall product, of few columns, takes four times as long as a wide one
        to_weight.add_(torch.mm(given.t(), towards).t())
    else:
        to_weight.addmm_(towards.t(), given)
    to_bias.add_(towards.sum(0))


def _totals(parts: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """Sum of each weight's gradient over the threads."""
    return [
        None if of_weight[0] is None else torch.stack([part for part in of_weight if part is not None]).sum(0)
        for of_weight in zip(*parts, strict=True)
    ]
