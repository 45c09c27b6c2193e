"""Spectral convolution: a learned complex matrix for every kept (frequency and) wavenumber, by pruned transforms."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from oceanop.operators.memory import new_field
from oceanop.operators.workers import share

FEW = 300_000  # numbers, rows and weights together, that one thread has mixed before a second is awake


class SpectralConv(nn.Module):
    r"""Convolution ``F^-1(R . F v)`` in which only the kept modes are ever computed.

    The integral kernel of Li et al. 2021 (Fourier neural operator, arXiv 2010.08895, equation 4) over one, two or
    three axes; over ``(t, y, x)`` it is the joint kernel :math:`R(\omega, k_y, k_x)` of FNOtD (arXiv 2510.09792).
    Transforms are products with truncated Fourier matrices, which are exact on any grid size, odd ones too, and
    cost less than an FFT while few modes are kept.

    Parameters
    ----------
    in_channels, out_channels
        Sizes of the last axis before and after.
    modes
        Modes kept along each axis. Along all but the last, ``m`` modes are the frequencies ``-(m // 2)`` to
        ``(m - 1) // 2``; along the last, ``0`` to ``m // 2`` (the field is real). This is the convention of
        neuraloperator's ``n_modes``.

    Notes
    -----
    Weights are real numbers, mode-major, ``[*modes, in, out, 2]``: optimizers, casts and gradient buckets treat
    them like any other tensor, and one mode's matrix lies in one piece. The forward transform carries the factor
    ``1 / N``, so that weights keep their meaning when the grid is refined.

    Under autocast, the pointwise half of an operator (linear layers, 1 x 1 convolutions) may run in bfloat16; this
    half, transforms and mode mixing, runs in float32, takes any float and returns float32. Complex bfloat16 does not
    exist, and a sum over all points in 8 bits of precision loses the small modes beside the large ones.
    """

    def __init__(self, in_channels: int, out_channels: int, modes: Sequence[int]) -> None:
        super().__init__()
        if any(m < 1 for m in modes):
            raise ValueError(f"modes are {tuple(modes)}; keep at least one along each axis.")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.modes = tuple(modes)
        kept = (*self.modes[:-1], self.modes[-1] // 2 + 1)
        # Half of the variance in each of the two parts, together that of a Xavier matrix.
        scale = (1.0 / (in_channels + out_channels)) ** 0.5
        self.weight = nn.Parameter(scale * torch.randn(*kept, in_channels, out_channels, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[batch, *axes, in]`` to ``[batch, *axes, out]``, channels last, in float32 or better."""
        sizes = x.shape[1:-1]
        if len(sizes) != len(self.modes):
            raise ValueError(f"the field has {len(sizes)} axes, the convolution {len(self.modes)}.")
        with torch.autocast(x.device.type, enabled=False):
            return self._convolve(x.to(torch.promote_types(x.dtype, torch.float32)))

    def _convolve(self, x: Tensor) -> Tensor:
        analysis, synthesis = self.row_basis(x)
        return torch.matmul(synthesis, self.mix_rows(torch.matmul(analysis, x), x.shape[1:-1]))

    def row_basis(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Analysis ``[coefficient, x]`` and synthesis ``[x, coefficient]`` along the last axis of a field."""
        return _once(_real_basis)(x.shape[-2], self.modes[-1], x.dtype, x.device)

    def mix_rows(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """What lies between analysis and synthesis of rows: the other axes' transforms, and the modes' matrices.

        Parameters
        ----------
        rows
            Coefficients along the last axis, cosines before sines, ``[batch, *axes but the last, coefficient, in]``.
        sizes
            Points along all axes of the field.
        """
        pair, basis = self._axes(rows, sizes)
        return _mixed(rows, self._kept(rows, pair, basis), pair, basis)

    def mix_rows_apart(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """:meth:`mix_rows` by threads of their own, each some wavenumbers along the rows; not for a compiler."""
        pair, basis = self._axes(rows, sizes)
        mixed: Tensor = _MixRows.apply(rows, self._kept(rows, pair, basis), pair, basis)
        return mixed

    def mode_weights(self) -> Tensor:
        """Matrices of all modes, ``[*modes, in, out, 2]``; what makes them otherwise has a method of its own."""
        return self.weight

    def _axes(self, rows: Tensor, sizes: Sequence[int]) -> tuple["Pair", list[Tensor]]:
        """Transforms of all axes but the rows': the one next to them, and those before."""
        dtype, device, modes = rows.dtype, rows.device, self.modes
        basis = [_once(_basis)(sizes[axis], modes[axis], dtype, device) for axis in range(len(modes) - 2)]
        return _once(_pair_basis)(sizes[-2], modes[-2], dtype, device) if len(modes) > 1 else None, basis

    def _kept(self, rows: Tensor, pair: "Pair", basis: list[Tensor]) -> Tensor:
        """Weights of the modes that the grid resolves: too coarse for all of them, it uses the central ones."""
        kept = [len(matrix) for matrix in basis] + ([] if pair is None else [len(pair[0]) // 2])
        weight = self.mode_weights()
        for axis, want in enumerate(kept):
            have = weight.shape[axis]
            if have != want:
                weight = weight.narrow(axis, have // 2 - want // 2, want)
        along_rows = rows.shape[-2] // 2
        return weight if weight.shape[-4] == along_rows else weight.narrow(-4, 0, along_rows)


Pair = tuple[Tensor, Tensor] | None


def _mixed(rows: Tensor, weight: Tensor, pair: Pair, basis: list[Tensor]) -> Tensor:
    """Transform the other axes, multiply each mode's channels by its matrix, transform back."""
    spectrum = _analyse(rows, pair, basis)
    return _synthesise(_times(spectrum, _matrices(weight)), pair, basis)


def _matrices(weight: Tensor) -> Tensor:
    """Complex ``[mode, in, out]`` of weights ``[*modes, in, out, 2]``."""
    return torch.view_as_complex(weight).flatten(0, -3)


def _times(spectrum: Tensor, matrices: Tensor) -> Tensor:
    """Each mode's channels ``[batch, *modes, in]`` by its matrix."""
    mixed = torch.bmm(_by_mode(spectrum), matrices).transpose(0, 1)
    return mixed.reshape(*spectrum.shape[:-1], -1)


def _by_mode(spectrum: Tensor) -> Tensor:
    """``[mode, batch, channel]`` of ``[batch, *modes, channel]``."""
    return spectrum.flatten(1, -2).transpose(0, 1)


class _MixRows(torch.autograd.Function):
    """:func:`_mixed` of some wavenumbers along the rows in each thread, which never meet before they are done.

    Between the passes it keeps the kept modes alone. Both transforms are linear maps of complex fields, and each is
    the other's adjoint but for the number of points that analysis divides by.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, pair: Pair, basis: list[Tensor]) -> Tensor:
        mixed = new_field(rows, *rows.shape[:-1], weight.shape[-2])

        def work(wavenumbers: Sequence[int]) -> tuple[slice, Tensor]:
            part = slice(wavenumbers[0], wavenumbers[-1] + 1)
            spectrum = _analyse(_part(rows, part).flatten(-3, -2), pair, basis)
            made = _synthesise(_times(spectrum, _matrices(weight[..., part, :, :, :])), pair, basis)
            _part(mixed, part).copy_(made.unflatten(-2, (2, -1)))
            return part, spectrum

        few = rows.numel() + weight.numel() < FEW
        parts, spectra = zip(*share(work, range(rows.shape[-2] // 2), alone=few), strict=True)
        ctx.save_for_backward(weight, *spectra)
        ctx.axes, ctx.parts = (pair, basis), parts
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_mixed: Tensor) -> tuple[Tensor | None, ...]:
        weight, *spectra = ctx.saved_tensors
        for_rows, for_weight, *_ = ctx.needs_input_grad
        points = math.prod(to_mixed.shape[1:-2])  # of the axes that are transformed here
        to_rows = new_field(to_mixed, *to_mixed.shape[:-1], weight.shape[-3]) if for_rows else None
        to_weight = torch.empty_like(weight) if for_weight else None

        def work(given: Sequence[tuple[slice, Tensor]]) -> None:
            for part, spectrum in given:
                towards = _analyse(_part(to_mixed, part).flatten(-3, -2), *ctx.axes) * points
                if to_weight is not None:
                    to_matrices = torch.bmm(_by_mode(spectrum).mH, _by_mode(towards))
                    of_part = to_weight[..., part, :, :, :]
                    of_part.copy_(torch.view_as_real(to_matrices).view(of_part.shape))
                if to_rows is not None:
                    to_spectrum = _times(towards, _matrices(weight[..., part, :, :, :]).mH)
                    to_given = _synthesise(to_spectrum, *ctx.axes) / points
                    _part(to_rows, part).copy_(to_given.unflatten(-2, (2, -1)))

        share(work, list(zip(ctx.parts, spectra, strict=True)))
        return to_rows, to_weight, None, None


def _part(rows: Tensor, wavenumbers: slice) -> Tensor:
    """Cosines and sines of some wavenumbers, ``[..., 2, wavenumber, channel]``, of all of them."""
    return rows.unflatten(-2, (2, -1))[..., wavenumbers, :]


def _analyse(rows: Tensor, pair: Pair, basis: list[Tensor]) -> Tensor:
    """Kept Fourier coefficients of a real field, ``[batch, *modes, channel]``, from those of its rows.

    The axis next to the rows is summed in real arithmetic: only what it leaves, some modes of many rows, is ever
    written as complex numbers.
    """
    wavenumbers, channels = rows.shape[-2] // 2, rows.shape[-1]
    halves = rows.unflatten(-2, (2, wavenumbers)).flatten(-2)
    if pair is None:
        real, imaginary = halves.unbind(-2)
    else:
        sums = torch.matmul(pair[0], halves.flatten(-2)).unflatten(-1, (2, -1))
        (cos_real, cos_imaginary), (sin_real, sin_imaginary) = (
            half.unbind(-2) for half in sums.chunk(2, dim=-3)
        )
        real, imaginary = cos_real + sin_imaginary, cos_imaginary - sin_real
    spectrum = torch.complex(real, imaginary).unflatten(-1, (wavenumbers, channels))
    for axis in range(len(basis), 0, -1):
        spectrum = _along(basis[axis - 1].conj(), spectrum, axis) / basis[axis - 1].shape[1]
    return spectrum


def _synthesise(spectrum: Tensor, pair: Pair, basis: list[Tensor]) -> Tensor:
    """Coefficients of the rows of a real field from all its kept ones.

    As ``irfftn``, what is made of them takes the real part at zero wavenumber along x.
    """
    for axis, matrix in enumerate(basis, start=1):
        spectrum = _along(matrix.transpose(0, 1), spectrum, axis)
    real, imaginary = spectrum.real, spectrum.imag
    rows = torch.cat([real, imaginary], dim=-2)
    if pair is None:
        return rows
    turned = torch.cat([-imaginary, real], dim=-2)
    both = torch.cat([rows, turned], dim=-3).flatten(-2)
    return torch.matmul(pair[1], both).unflatten(-1, rows.shape[-2:])


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Apply ``matrix [m, n]`` along one axis of ``x``, all later axes at once."""
    rest = x.shape[axis + 1 :]
    product = torch.matmul(matrix, x.reshape(*x.shape[: axis + 1], -1))
    return product.reshape(*x.shape[:axis], matrix.shape[0], *rest)


def _basis(size: int, modes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``exp(2 pi i k n / size)`` for the kept frequencies, complex ``[modes, size]``."""
    kept = min(modes, size)
    k = torch.arange(kept, device=device) - kept // 2
    angle = _angle(k, size, device)
    return torch.complex(torch.cos(angle).to(dtype), torch.sin(angle).to(dtype))


def _pair_basis(size: int, modes: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Analysis ``[2 kept, size]`` and synthesis ``[size, 2 kept]`` of the axis next to rows: cosines, then sines."""
    kept = min(modes, size)
    angle = _angle(torch.arange(kept, device=device) - kept // 2, size, device)
    waves = torch.cat([torch.cos(angle), torch.sin(angle)])
    return (waves / size).to(dtype), waves.transpose(0, 1).to(dtype).contiguous()


def _real_basis(size: int, modes: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Analysis ``[2 kept, size]`` and synthesis ``[size, 2 kept]`` of a real axis: cosine rows, then sine rows."""
    kept = min(modes // 2, size // 2) + 1
    k = torch.arange(kept, device=device)
    angle = _angle(k, size, device)
    # A mode and its conjugate are one real wave, but the mean and the shortest wave are their own conjugates.
    twice = torch.where((k == 0) | (2 * k == size), 1.0, 2.0)[:, None]
    analysis = torch.cat([torch.cos(angle), -torch.sin(angle)]) / size
    synthesis = torch.cat([twice * torch.cos(angle), -twice * torch.sin(angle)]).transpose(0, 1)
    return analysis.to(dtype), synthesis.to(dtype).contiguous()


def _remembering(make: Callable[..., Any]) -> Callable[..., Any]:
    @lru_cache(maxsize=64)
    def made(*arguments: Any) -> Any:
        # What is made in inference mode can never be trained with, and training may be next to ask for it.
        with torch.inference_mode(False):
            return make(*arguments)

    return made


_remembered = {make: _remembering(make) for make in (_basis, _pair_basis, _real_basis)}


def _once(make: Callable[..., Any]) -> Callable[..., Any]:
    """``make`` with a memory of what it has made; a compiler sees through the arithmetic, not through a memory."""
    return make if torch.compiler.is_compiling() else _remembered[make]


def _angle(k: Tensor, size: int, device: torch.device) -> Tensor:
    """Phase ``2 pi k n / size`` of the Fourier matrix, in float64: the product k n is reduced before it is scaled."""
    n = torch.arange(size, device=device)
    return torch.remainder(k[:, None] * n, size).to(torch.float64) * (2 * torch.pi / size)
