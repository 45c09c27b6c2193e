"""Spectral convolution: a learned complex matrix for every kept (frequency and) wavenumber, by pruned transforms."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn


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
        sizes = x.shape[1:-1]
        basis = [_basis(n, m, x.dtype, x.device) for n, m in zip(sizes[:-1], self.modes[:-1], strict=True)]
        analysis, synthesis = _real_basis(sizes[-1], self.modes[-1], x.dtype, x.device)
        return _synthesise(self._mix(_analyse(x, analysis, basis)), synthesis, basis)

    def _mix(self, spectrum: Tensor) -> Tensor:
        """Multiply each mode's channels ``[batch, *modes, in]`` by its matrix."""
        kept = spectrum.shape[1:-1]
        weight = torch.view_as_complex(self.weight)
        for axis, (have, want) in enumerate(zip(weight.shape[: len(kept)], kept, strict=True)):
            if have != want:  # a grid too coarse for all modes uses the central ones
                first = 0 if axis == len(kept) - 1 else have // 2 - want // 2
                weight = weight.narrow(axis, first, want)
        flat = spectrum.flatten(1, -2).transpose(0, 1)
        mixed = torch.bmm(flat, weight.reshape(-1, self.in_channels, self.out_channels))
        return mixed.transpose(0, 1).reshape(spectrum.shape[0], *kept, self.out_channels)


def _analyse(x: Tensor, analysis: Tensor, basis: list[Tensor]) -> Tensor:
    """Kept Fourier coefficients of a real field, ``[batch, *modes, channel]``."""
    halves = torch.matmul(analysis, x)
    spectrum = torch.complex(*halves.chunk(2, dim=-2))
    for axis in range(len(basis), 0, -1):
        spectrum = _along(basis[axis - 1].conj(), spectrum, axis) / basis[axis - 1].shape[1]
    return spectrum


def _synthesise(spectrum: Tensor, synthesis: Tensor, basis: list[Tensor]) -> Tensor:
    """The real field of kept coefficients; as ``irfftn``, it takes the real part at zero wavenumber along x."""
    for axis, matrix in enumerate(basis, start=1):
        spectrum = _along(matrix.transpose(0, 1), spectrum, axis)
    return torch.matmul(synthesis, torch.cat([spectrum.real, spectrum.imag], dim=-2))


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Apply ``matrix [m, n]`` along one axis of ``x``, all later axes at once."""
    rest = x.shape[axis + 1 :]
    product = torch.matmul(matrix, x.reshape(*x.shape[: axis + 1], -1))
    return product.reshape(*x.shape[:axis], matrix.shape[0], *rest)


@lru_cache(maxsize=64)
def _basis(size: int, modes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``exp(2 pi i k n / size)`` for the kept frequencies, complex ``[modes, size]``."""
    kept = min(modes, size)
    k = torch.arange(kept, device=device) - kept // 2
    return torch.polar(*_unit(k, size, device)).to(dtype.to_complex())


@lru_cache(maxsize=64)
def _real_basis(size: int, modes: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Analysis ``[2 kept, size]`` and synthesis ``[size, 2 kept]`` of a real axis: cosine rows, then sine rows."""
    kept = min(modes // 2, size // 2) + 1
    k = torch.arange(kept, device=device)
    _, angle = _unit(k, size, device)
    # A mode and its conjugate are one real wave, but the mean and the shortest wave are their own conjugates.
    twice = torch.where((k == 0) | (2 * k == size), 1.0, 2.0)[:, None]
    analysis = torch.cat([torch.cos(angle), -torch.sin(angle)]) / size
    synthesis = torch.cat([twice * torch.cos(angle), -twice * torch.sin(angle)]).transpose(0, 1)
    return analysis.to(dtype), synthesis.to(dtype).contiguous()


def _unit(k: Tensor, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Modulus and phase of the Fourier matrix, in float64: the product k n is reduced before it is scaled."""
    n = torch.arange(size, device=device)
    phase = torch.remainder(k[:, None] * n, size).to(torch.float64) * (2 * torch.pi / size)
    return torch.ones_like(phase), phase
