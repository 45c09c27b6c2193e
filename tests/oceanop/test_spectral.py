"""The spectral convolution is the Fourier definition, on every grid size."""

import copy

import pytest
import torch
from torch import Tensor, nn

from oceanop import FNO
from oceanop.operators.fno import ChannelsFirstConv
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


@pytest.mark.parametrize(
    ("sizes", "modes"),
    [
        ((5, 7, 9), (4, 5, 6)),
        ((3, 4, 4), (8, 9, 12)),  # too coarse for the modes
        ((1, 1, 1), (3, 3, 3)),
        ((11, 13), (4, 6)),
        ((6, 7), (1, 1)),
        ((9,), (4,)),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_modes_mixed_by_threads_are_those_mixed_at_once(
    sizes: tuple[int, ...], modes: tuple[int, ...], threads: int
) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(3, 2, modes).double()
    x = torch.randn(2, *sizes, 3, dtype=torch.float64)
    rows = torch.matmul(conv.row_basis(x)[0], x).requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        apart, at_once = conv.mix_rows_apart(rows, sizes), conv.mix_rows(rows, sizes)
        probe = torch.randn_like(at_once)
        ours, again, expected = (
            torch.autograd.grad((mixed * probe).sum(), (rows, conv.weight), retain_graph=True)
            for mixed in (apart, apart, at_once)
        )
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(apart, at_once, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


@pytest.mark.parametrize("frozen", ["weights", "rows"])
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(frozen: str) -> None:
    torch.manual_seed(0)
    conv = SpectralConv(3, 2, (4, 5)).double()
    rows = torch.randn(2, 7, 6, 3, dtype=torch.float64, requires_grad=True)
    conv.mix_rows_apart(rows, (7, 9)).square().sum().backward()
    free = rows if frozen == "weights" else conv.weight
    expected = free.grad.clone()
    rows.grad = conv.weight.grad = None
    (conv.weight if frozen == "weights" else rows).requires_grad_(False)
    conv.mix_rows_apart(rows, (7, 9)).square().sum().backward()
    assert torch.equal(free.grad, expected)
    assert [rows.grad is None, conv.weight.grad is None] == [frozen == "rows", frozen == "weights"]


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


@pytest.mark.parametrize("modes", [(4, 6), (5, 6), (8, 10)])
def test_the_channels_first_convolution_equals_neuraloperators_with_bias_and_gradients(
    modes: tuple[int, int],
) -> None:
    # Even sizes: on odd ones neuraloperator 2.0.0 shifts the spectrum wrongly.
    from neuralop.layers.spectral_convolution import SpectralConv as Theirs

    torch.manual_seed(0)
    theirs, ours = Theirs(3, 2, n_modes=modes), ChannelsFirstConv(3, 2, modes)
    ours.spectral.weight.data = (
        torch.view_as_real(theirs.weight.tensor.detach()).permute(2, 3, 0, 1, 4).clone()
    )
    ours.bias.data = theirs.bias.detach().clone()
    x = torch.randn(2, 3, 8, 10, requires_grad=True)
    probe = torch.randn(2, 2, 8, 10)
    results = ours(x), theirs(x)
    # float32, sums of some hundred terms of order one
    tolerance = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(*results, **tolerance)
    of_ours = torch.autograd.grad((results[0] * probe).sum(), (x, ours.bias, ours.spectral.weight))
    of_theirs = torch.autograd.grad((results[1] * probe).sum(), (x, theirs.bias, theirs.weight.tensor))
    for mine, peer in zip(of_ours[:2], of_theirs[:2], strict=True):
        torch.testing.assert_close(mine, peer, **tolerance)
    torch.testing.assert_close(
        of_ours[2], torch.view_as_real(of_theirs[2]).permute(2, 3, 0, 1, 4), **tolerance
    )


def test_weights_and_bias_begin_as_neuraloperators_do() -> None:
    from neuralop.layers.spectral_convolution import SpectralConv as Theirs

    torch.manual_seed(0)
    theirs, ours = Theirs(4, 4096, n_modes=(4, 4)), ChannelsFirstConv(4, 4096, (4, 4))
    weights = ours.spectral.weight, torch.view_as_real(theirs.weight.tensor)
    for mine, peer, expected in (
        (weights[0][..., 0], weights[1][..., 0], (1 / 4100) ** 0.5),
        (weights[0][..., 1], weights[1][..., 1], (1 / 4100) ** 0.5),
        (ours.bias, theirs.bias, (2 / 4100) ** 0.5),
    ):
        assert mine.numel() == peer.numel()
        # The standard deviation of n normal numbers is uncertain by 1 / sqrt(2 n); five times that.
        tolerance = 5 / (2 * mine.numel()) ** 0.5
        assert mine.std().item() == pytest.approx(expected, rel=tolerance)
        assert peer.std().item() == pytest.approx(expected, rel=tolerance)
        assert abs(mine.mean().item()) < 5 * expected / mine.numel() ** 0.5


class _ByDefinition(nn.Module):
    """The convolution of an FNO's layer by full FFTs."""

    def __init__(self, conv: ChannelsFirstConv) -> None:
        super().__init__()
        self.conv = conv

    def transform(self, x: Tensor, output_shape: None = None) -> Tensor:
        return x

    def forward(self, x: Tensor, output_shape: None = None) -> Tensor:
        return by_fft(self.conv.spectral, x.movedim(1, -1)).movedim(-1, 1).contiguous() + self.conv.bias


@pytest.mark.parametrize("plane", [(9, 11), (9, 12), (8, 11)])
def test_the_whole_fno_is_its_fft_definition_on_odd_grids(plane: tuple[int, int]) -> None:
    torch.manual_seed(0)
    fno = FNO(
        state_channels=2,
        forcing_channels=1,
        static_channels=1,
        history=2,
        horizon=2,
        modes=(5, 6),
        width=6,
        layers=3,
    ).double()
    reference = copy.deepcopy(fno)
    blocks = reference.network.fno_blocks
    blocks.convs = nn.ModuleList(_ByDefinition(conv) for conv in blocks.convs)
    history, forcing = torch.randn(2, 2, 2, *plane).double(), torch.randn(2, 1, 4, *plane).double()
    static = torch.ones(1, *plane, dtype=torch.float64)
    joined = torch.cat([history.flatten(1, 2), forcing.flatten(1, 2), static.expand(2, 1, -1, -1)], dim=1)
    expected = history[:, :, -1:] + reference.network(joined).unflatten(1, (2, 2))
    torch.testing.assert_close(fno(history, forcing, static), expected, rtol=1e-12, atol=1e-12)


def test_autocast_never_reaches_the_spectrum() -> None:
    torch.manual_seed(0)
    conv = SpectralConv(3, 2, (3, 4, 4))
    x = torch.randn(2, 5, 7, 9, 3)
    plain = conv(x)
    plain_gradient = torch.autograd.grad(plain.square().sum(), conv.weight)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = conv(x)
        rounded = conv(x.bfloat16())
    assert mixed.dtype == rounded.dtype == torch.float32
    assert torch.equal(mixed, plain)
    assert torch.equal(torch.autograd.grad(mixed.square().sum(), conv.weight)[0], plain_gradient)
    assert torch.equal(rounded, conv(x.bfloat16().float()))


def test_no_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="keep at least one"):
        SpectralConv(1, 1, (0, 4))


def test_a_field_of_other_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="1 axes, the convolution 2"):
        SpectralConv(1, 1, (2, 2))(torch.zeros(1, 5, 1))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"factorization": "tucker"}, "factorization='tucker'; only None works"),
        ({"separable": True}, "separable=True; only False works"),
        ({"fno_block_precision": "half"}, "fno_block_precision='half'; only 'full' works"),
        ({"complex_data": True}, "complex_data=True; only False works"),
        ({"max_n_modes": (8, 8)}, "max_n_modes=\\(8, 8\\); only None works"),
        ({"resolution_scaling_factor": [2.0, 2.0]}, "resolution_scaling_factor=.*; only None works"),
        ({"kernel": 3}, "kernel=3; it is not known"),
    ],
)
def test_options_the_channels_first_convolution_would_ignore_are_refused(option: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ChannelsFirstConv(2, 2, (4, 4), **option)


def test_the_resolution_and_the_modes_of_the_channels_first_convolution_stay() -> None:
    conv = ChannelsFirstConv(2, 2, (4, 4))
    x = torch.zeros(1, 2, 6, 8)
    assert conv(x, output_shape=(6, 8)).shape == x.shape
    for apply in (conv, conv.transform):
        with pytest.raises(ValueError, match=r"field of \(6, 8\) and the output shape \(12, 16\)"):
            apply(x, output_shape=(12, 16))
    with pytest.raises(ValueError, match=r"modes stay \(4, 4\); got \(2, 2\)"):
        conv.n_modes = (2, 2)
