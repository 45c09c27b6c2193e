"""The spectral convolution is the Fourier definition, on every grid size."""

import pytest
import torch
from torch import Tensor

from oceanop.operators.spectral import SpectralConv


def by_fft(conv: SpectralConv, x: Tensor) -> Tensor:
    """The definition: full FFT, a matrix at each kept mode, full inverse FFT."""
    sizes = x.shape[1:-1]
    axes = tuple(range(1, 1 + len(sizes)))
    spectrum = torch.fft.fftn(x, dim=axes, norm="forward")
    weight = torch.view_as_complex(conv.weight)
    out = spectrum.new_zeros(*x.shape[:1], *sizes[:-1], sizes[-1] // 2 + 1, conv.out_channels)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in weight.shape[: len(sizes)])).reshape(
        -1, len(sizes)
    ):
        kept = index.tolist()
        mode = [i - n // 2 for i, n in zip(kept[:-1], weight.shape, strict=False)] + kept[-1:]
        out[(slice(None), *mode)] = spectrum[(slice(None), *mode)] @ weight[tuple(kept)]
    return torch.fft.irfftn(out, s=sizes, dim=axes, norm="forward")


@pytest.mark.parametrize(
    ("sizes", "modes"),
    [
        ((5, 7, 9), (4, 5, 6)),
        ((6, 8, 10), (6, 8, 10)),
        ((7, 9, 8), (3, 4, 8)),
        ((11, 13), (4, 6)),
        ((9,), (4,)),
    ],
)
def test_convolution_equals_the_fft_definition(sizes: tuple[int, ...], modes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(3, 2, modes).double()
    x = torch.randn(2, *sizes, 3, dtype=torch.float64, requires_grad=True)
    ours, theirs = conv(x), by_fft(conv, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    probe = torch.randn_like(ours)
    for ours_grad, theirs_grad in zip(
        torch.autograd.grad((ours * probe).sum(), (x, conv.weight)),
        torch.autograd.grad((theirs * probe).sum(), (x, conv.weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("sizes", [(6, 7, 9), (7, 9, 11), (8, 10, 12)])
def test_a_shifted_field_gives_the_shifted_result(sizes: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(2, 2, (3, 5, 6)).double()
    x = torch.randn(1, *sizes, 2, dtype=torch.float64)
    shift = {"shifts": (1, 2, 3), "dims": (1, 2, 3)}
    torch.testing.assert_close(
        conv(torch.roll(x, **shift)), torch.roll(conv(x), **shift), rtol=1e-12, atol=1e-12
    )


def test_a_finer_grid_gives_the_same_function() -> None:
    # A band-limited field sampled at n and at 3n points: the result agrees at the points shared.
    torch.manual_seed(0)
    conv = SpectralConv(1, 1, (3, 4)).double()

    def field(rows: int, columns: int) -> Tensor:
        y = torch.arange(rows, dtype=torch.float64)[:, None] / rows * 2 * torch.pi
        x = torch.arange(columns, dtype=torch.float64)[None] / columns * 2 * torch.pi
        return (torch.sin(y + x) + 0.5 * torch.cos(2 * x) + 0.3)[None, ..., None]

    torch.testing.assert_close(conv(field(27, 33))[:, ::3, ::3], conv(field(9, 11)), rtol=1e-12, atol=1e-12)


def test_a_grid_coarser_than_the_modes_uses_the_central_ones() -> None:
    torch.manual_seed(0)
    wide = SpectralConv(2, 2, (9, 12)).double()
    narrow = SpectralConv(2, 2, (5, 6)).double()
    narrow.weight.data = wide.weight.data[2:7, :4].clone()
    x = torch.randn(1, 5, 7, 2, dtype=torch.float64)
    torch.testing.assert_close(wide(x), narrow(x), rtol=0, atol=0)


def test_convolution_equals_neuraloperators_layer_where_that_is_right() -> None:
    # Even sizes: on odd ones neuraloperator 2.0.0 shifts the spectrum wrongly.
    from neuralop.layers.spectral_convolution import SpectralConv as Theirs

    torch.manual_seed(0)
    theirs = Theirs(3, 2, n_modes=(4, 6, 6), bias=False)
    ours = SpectralConv(3, 2, (4, 6, 6))
    dense = torch.view_as_real(
        theirs.weight.to_tensor() if hasattr(theirs.weight, "to_tensor") else theirs.weight
    )
    ours.weight.data = dense.detach().permute(2, 3, 4, 0, 1, 5).contiguous()
    x = torch.randn(2, 3, 8, 10, 12)
    result = ours(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
    # float32, a few hundred terms a point
    torch.testing.assert_close(result, theirs(x), rtol=1e-4, atol=1e-6)


def test_no_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="keep at least one"):
        SpectralConv(1, 1, (0, 4))


def test_a_field_of_other_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="1 axes, the convolution 2"):
        SpectralConv(1, 1, (2, 2))(torch.zeros(1, 5, 1))
