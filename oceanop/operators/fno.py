"""FNO: the standard Fourier neural operator, with the time of a window folded into channels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from oceanop.operators.inputs import check_inputs, land_free


class FNO(nn.Module):
    """neuraloperator's ``FNO`` over (y, x) behind the project's signature (Li et al. 2021, arXiv 2010.08895).

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
    dropout
        Share of the hidden channels that training silences in the channel mixing of each layer.
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
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        # neuralop imports an experiment tracker and takes a second: only those who use FNO pay.
        from neuralop.models import FNO as NeuralopFNO

        if len(modes) != 2:
            raise ValueError(f"FNO takes modes along (y, x); got {tuple(modes)}.")
        self.state_channels, self.forcing_channels = state_channels, forcing_channels
        self.static_channels = static_channels
        self.history, self.horizon = history, horizon
        channels = history * state_channels + (history + horizon) * forcing_channels + static_channels
        self.network = NeuralopFNO(
            n_modes=tuple(modes),
            in_channels=channels,
            out_channels=horizon * state_channels,
            hidden_channels=width,
            n_layers=layers,
            positional_embedding=None,
            channel_mlp_dropout=dropout,
        )
        self.register_state_dict_post_hook(_tensors_only)

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        """Future states of one window; shapes as :meth:`FNOtD.forward`."""
        check_inputs(self, history, forcing, static)
        wet, history = land_free(history, static)
        fixed = static[None].expand(history.shape[0], -1, -1, -1)
        x = torch.cat([history.flatten(1, 2), forcing.flatten(1, 2), fixed], dim=1)
        rows = x.shape[-2]
        # neuraloperator 2.0.0 shifts the spectrum wrongly on odd sizes of every axis but the last.
        if rows % 2:
            x = functional.pad(x, (0, 0, 0, 1), mode="replicate")
        change = self.network(x)[..., :rows, :]
        change = change.unflatten(1, (self.state_channels, self.horizon))
        return (history[:, :, -1:] + change) * wet


def _tensors_only(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    # neuraloperator 2.0.0 puts a plain object among the tensors of its state dict, which strict loading, averaging
    # and safe unpickling all refuse.
    for key in [key for key, value in state.items() if not isinstance(value, Tensor)]:
        del state[key]
