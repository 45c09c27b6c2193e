"""FNO: the standard Fourier neural operator, with the time of a window folded into channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from oceanop.operators.inputs import check_inputs, land_free
from oceanop.operators.layer import Gate, Pointwise, alone, linear_weights, perceptron, spectral_layer
from oceanop.operators.spectral import SpectralConv


class FNO(nn.Module):
    """neuraloperator's ``FNO`` over (y, x) behind the project's signature (Li et al. 2021, arXiv 2010.08895).

    neuraloperator makes its weights; layers run as FNOtD's do, channels last. The spectral convolutions are
    :class:`SpectralConv`: the same function of the same weights on even grids, right on odd ones too, with real,
    mode-major weights, and the precision that is said there. It returns what ``history`` came in, float32, under
    autocast too.

    Parameters
    ----------
    state_channels, forcing_channels, static_channels
        Channels of the three inputs; ``static[0]`` is the ocean mask.
    history, horizon
        Past and future steps of one window; ``horizon=1`` is the one-step FNO.
    modes
        Kept modes along (y, x), neuraloperator's ``n_modes``.
    width
        Hidden channels.
    layers
        Number of spectral layers.
    gate
        Scale features by learned functions of the static fields in each layer, as FNOtD does; the standard FNO has
        none.
    checkpoint_activations
        While training, recompute each layer in the backward pass instead of keeping its activations, where layers do
        not do so anyway (:func:`oceanop.operators.layer.spectral_layer`).
    """

    def __init__(
        self,
        *,
        state_channels: int,
        forcing_channels: int,
        static_channels: int,
        history: int,
        horizon: int,
        modes: Sequence[int] = (20, 20),
        width: int = 48,
        layers: int = 4,
        gate: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        # neuralop imports an experiment tracker and takes a second: only those who use FNO pay.
        from neuralop.models import FNO as NeuralopFNO

        if len(modes) != 2:
            raise ValueError(f"FNO takes modes along (y, x); got {tuple(modes)}.")
        self.state_channels, self.forcing_channels = state_channels, forcing_channels
        self.static_channels = static_channels
        self.history, self.horizon = history, horizon
        self.checkpoint_activations = checkpoint_activations
        channels = history * state_channels + (history + horizon) * forcing_channels + static_channels
        self.network = NeuralopFNO(
            n_modes=tuple(modes),
            in_channels=channels,
            out_channels=horizon * state_channels,
            hidden_channels=width,
            n_layers=layers,
            positional_embedding=None,
            conv_module=ChannelsFirstConv,
        )
        self.gates = nn.ModuleList(Gate(static_channels, width) for _ in range(layers if gate else 0))
        self.register_state_dict_post_hook(_tensors_only)

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        """Future states of one window; shapes as :meth:`FNOtD.forward`."""
        check_inputs(self, history, forcing, static)
        with alone(history, history.shape[0] * static[0].numel()):
            return self._future(history, forcing, static)

    def _future(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        wet, history = land_free(history, static)
        fixed = static[None].expand(history.shape[0], -1, -1, -1)
        x = torch.cat([history.flatten(1, 2), forcing.flatten(1, 2), fixed], dim=1).permute(0, 2, 3, 1)
        x = perceptron(x, *self.network.lifting.fcs).to(history.dtype)
        for layer in range(self.network.n_layers):
            x = self._layer(layer, x, static)
        change = perceptron(x, *self.network.projection.fcs).permute(0, 3, 1, 2)
        return (history[:, :, -1:] + change.unflatten(1, (self.state_channels, self.horizon))) * wet

    def _layer(self, number: int, x: Tensor, static: Tensor) -> Tensor:
        blocks: Any = self.network.fno_blocks
        convolution, mixing = blocks.convs[number], blocks.channel_mlp[number]
        widen, narrow = (linear_weights(module) for module in mixing.fcs)
        gate = self.gates[number] if self.gates else None
        inner = number < self.network.n_layers - 1  # the last layer is linear but for its perceptron
        return spectral_layer(
            x,
            convolution.spectral,
            Pointwise(
                blocks.fno_skips[number].conv.weight.flatten(1),
                convolution.bias.flatten(),
                *widen,
                *narrow,
                blocks.channel_mlp_skips[number].weight.flatten(),
            ),
            gates=gate.factors(static.permute(1, 2, 0)) if isinstance(gate, Gate) else None,
            active=(inner, inner),
            recompute=self.training and self.checkpoint_activations,
        )


class ChannelsFirstConv(nn.Module):
    """:class:`SpectralConv` with a bias where neuraloperator's blocks expect their own convolution.

    Parameters
    ----------
    in_channels, out_channels
        Sizes of axis 1 before and after.
    n_modes
        Modes along each axis, see :class:`SpectralConv`.
    options
        What else neuraloperator hands to a convolution.

    Raises
    ------
    ValueError
        If an option asks for anything but a dense convolution in full precision at the resolution of its input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, n_modes: Sequence[int], **options: object
    ) -> None:
        super().__init__()
        for name, value in options.items():
            if name not in _SUPPORTED or value != _SUPPORTED[name]:
                known = f"only {_SUPPORTED[name]!r} works" if name in _SUPPORTED else "it is not known"
                raise ValueError(
                    f"FNO's spectral convolution got {name}={value!r}; {known} here. Leave it out."
                )
        self.spectral = SpectralConv(in_channels, out_channels, n_modes)
        # neuraloperator 2.0.0, SpectralConv, init_std="auto": weights and bias have the standard deviation
        # sqrt(2 / (in + out)); a complex weight has it in both parts together, as SpectralConv's.
        scale = (2 / (in_channels + out_channels)) ** 0.5
        self.bias = nn.Parameter(scale * torch.randn(out_channels, *(1 for _ in n_modes)))

    @property
    def n_modes(self) -> tuple[int, ...]:
        """Modes along each axis."""
        return self.spectral.modes

    @n_modes.setter
    def n_modes(self, modes: Sequence[int]) -> None:
        raise ValueError(f"FNO's modes stay {self.n_modes}; got {tuple(modes)}. Build another FNO.")

    def forward(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """Convolve ``[batch, in, *axes]`` to ``[batch, out, *axes]``, float32 under autocast too."""
        convolved = self.spectral(self.transform(x, output_shape).movedim(1, -1)).movedim(-1, 1)
        # Channels first in memory as well: as a mere view, it slows the whole block down by a tenth.
        return convolved.contiguous() + self.bias

    def transform(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """What neuraloperator passes its skip connections through: nothing changes, the resolution is kept."""
        if output_shape is not None and tuple(output_shape) != tuple(x.shape[2:]):
            raise ValueError(
                f"FNO's spectral convolution got a field of {tuple(x.shape[2:])} and the output shape "
                f"{tuple(output_shape)}; it keeps the shape. Interpolate outside the network."
            )
        return x


_SUPPORTED: dict[str, object] = {
    "resolution_scaling_factor": None,
    "max_n_modes": None,
    "separable": False,
    "factorization": None,
    "fno_block_precision": "full",
    "complex_data": False,
    # These four turn nothing without a factorization; the values are those the blocks hand on.
    "rank": 1.0,
    "fixed_rank_modes": False,
    "implementation": "factorized",
    "decomposition_kwargs": {},
}


def _tensors_only(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    # neuraloperator 2.0.0 puts a plain object among the tensors of its state dict, which strict loading, averaging
    # and safe unpickling all refuse.
    for key in [key for key, value in state.items() if not isinstance(value, Tensor)]:
        del state[key]
