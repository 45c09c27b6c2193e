"""FNOtD: a Fourier neural operator whose kernel is learned jointly over time and space."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from oceanop.operators.inputs import check_inputs, land_free, window_channels
from oceanop.operators.layer import Gate, Pointwise, alone, linear_weights, perceptron, spectral_layer
from oceanop.operators.spectral import SpectralConv


class FNOtD(nn.Module):
    """Forecast one window on the time axis that joins past and future.

    Each layer convolves over (t, y, x) with one complex matrix per frequency and wavenumber pair, so that the kernel
    can lie on the dispersion surface of the waves (arXiv 2510.09792). The coast enters by gates: static fields scale
    the features before and after each convolution, because a spectral kernel alone cannot know where it is.
    Under autocast the linear layers run in its precision, the convolutions and the sum over layers in float32, and so
    is the result.

    Parameters
    ----------
    state_channels, forcing_channels, static_channels
        Channels of the three inputs; ``static[0]`` is the ocean mask.
    history, horizon
        Past and future steps of one window.
    modes
        Kept modes along (t, y, x), see :class:`SpectralConv`.
    width
        Channels inside.
    layers
        Number of spectral layers.
    gate
        Scale features by learned functions of the static fields in each layer.
    padding
        Zeros added behind the time axis (points of it, where there are patches), the rows and the columns inside the
        network, because neither a window in time nor a regional sea is periodic.
    patch
        Steps that one point of the time axis inside the network holds in its channels; history and horizon are
        multiples of it. The transform then resolves frequencies up to one period in ``2 * patch`` steps, those above
        are left to lifting and projection, and a layer costs ``patch`` times less.
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
        modes: Sequence[int] = (8, 16, 16),
        width: int = 24,
        layers: int = 4,
        gate: bool = True,
        padding: Sequence[int] = (0, 0, 0),
        patch: int = 1,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        if len(modes) != 3 or len(padding) != 3:
            raise ValueError(
                f"FNOtD takes modes and padding along (t, y, x); got {tuple(modes)} and {tuple(padding)}."
            )
        if patch < 1 or history % patch or horizon % patch:
            raise ValueError(
                f"FNOtD's patch is {patch}, and a window has {history} past and {horizon} future steps; both must be "
                "multiples of the patch. Give another patch or window."
            )
        self.state_channels, self.forcing_channels = state_channels, forcing_channels
        self.static_channels = static_channels
        self.history, self.horizon, self.patch = history, horizon, patch
        self.padding = tuple(padding)
        self.checkpoint_activations = checkpoint_activations
        channels = patch * (state_channels + forcing_channels) + static_channels + 2
        self.lifting = nn.Sequential(nn.Linear(channels, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.blocks = nn.ModuleList(
            _Block(width, modes, static_channels if gate else 0) for _ in range(layers)
        )
        self.projection = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, patch * state_channels)
        )

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        """Future states of one window.

        Parameters
        ----------
        history
            Normalised states ``[batch, state, history, y, x]``; what stands on land is ignored.
        forcing
            Normalised forcing, known ahead, ``[batch, forcing, history + horizon, y, x]``.
        static
            ``[static, y, x]``, the mask first.

        Returns
        -------
        Tensor
            ``[batch, state, horizon, y, x]``: the last state plus the learned change, 0 on land.
        """
        check_inputs(self, history, forcing, static)
        tokens = (self.history + self.horizon) // self.patch
        with alone(history, history.shape[0] * tokens * static[0].numel()):
            return self._future(history, forcing, static)

    def _future(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        wet, history = land_free(history, static)
        # Layers add small changes to x: under autocast, bfloat16 would round them away, so the sum stays in float32.
        channels = window_channels(history, forcing, static, self.horizon, self.patch)
        x = perceptron(channels, self.lifting[0], self.lifting[2])
        x = x.to(history.dtype)
        t, y, x_size = x.shape[1:4]
        pad_t, pad_y, pad_x = self.padding
        if any(self.padding):
            x = functional.pad(x, (0, 0, 0, pad_x, 0, pad_y, 0, pad_t))
        fields = functional.pad(static, (0, pad_x, 0, pad_y)).permute(1, 2, 0)
        for number, block in enumerate(self.blocks, start=1):
            # What the last layer would make of the past is never read.
            wanted = slice(self.history // self.patch, t) if number == len(self.blocks) else slice(None)
            x = block(x, fields, wanted, recompute=self.training and self.checkpoint_activations)
        change = perceptron(x[:, :, :y, :x_size], self.projection[0], self.projection[2])
        # [batch, patch, y, x, step of the patch * state] to [batch, state, step, y, x]
        change = (
            change.unflatten(-1, (self.patch, self.state_channels)).permute(0, 5, 1, 4, 2, 3).flatten(2, 3)
        )
        return (history[:, :, -1:] + change) * wet


class _Block(nn.Module):
    """``x + MLP(GELU(g2 * S(g1 * x) + W x))`` with gates ``g = 1 + MLP(static)``."""

    def __init__(self, width: int, modes: Sequence[int], static_channels: int) -> None:
        super().__init__()
        self.spectral = SpectralConv(width, width, modes)
        self.pointwise = nn.Linear(width, width)
        self.mixing = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.gate = Gate(static_channels, width) if static_channels else None

    def forward(self, x: Tensor, static: Tensor, wanted: slice, *, recompute: bool) -> Tensor:
        widen, narrow = linear_weights(self.mixing[0]), linear_weights(self.mixing[2])
        return spectral_layer(
            x,
            self.spectral,
            Pointwise(*linear_weights(self.pointwise), *widen, *narrow),
            gates=None if self.gate is None else self.gate.factors(static),
            wanted=wanted,
            recompute=recompute,
        )
