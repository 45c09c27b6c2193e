"""One window step in physical units: normalise, apply the operator, return to physical units, keep land at zero."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oceanop.layout import Channel
from oceanop.normalise import Scaling
from oceanop.variables import VARIABLES


class WindowStep(nn.Module):
    """An operator wrapped so that only physical numbers come in and go out.

    Autocast reaches the operator's linear layers alone: scaling and the sum with the last state are float32 always,
    because a change of one hour is small beside the state that it is added to.

    Parameters
    ----------
    operator
        ``FNO`` or ``FNOtD``.
    state, forcing
        Scaling of the channels, from the training period.
    static
        Static input fields ``[static, y, x]``, the mask first.
    wet
        Ocean mask of each state channel, bool ``[state, y, x]``.
    winds
        Pairs of forcing channels (eastward, northward) that enter also as ``|W| W``, the form of wind stress.
    growth
        How far states part within the steps of a window, root mean square in standard deviations,
        ``[state, horizon]``: the operator's change is measured in it, so that the first hour, where little
        happens, is not drowned by the last.
    boundary
        State channels that a parent model drives along the open edge, and the forcing channels that hold its states,
        ``(state, forcing)``; these are the last ones of the forcing and are scaled as the state.
    relaxation
        Weight of the parent, ``[state, y, x]``; None where there is no edge zone.
    """

    mean: Tensor
    std: Tensor
    forcing_mean: Tensor
    forcing_std: Tensor
    static: Tensor
    wet: Tensor
    growth: Tensor
    relaxation: Tensor | None

    def __init__(
        self,
        operator: nn.Module,
        *,
        state: Scaling,
        forcing: Scaling,
        static: Tensor,
        wet: Tensor,
        growth: Tensor,
        winds: Sequence[tuple[int, int]] = (),
        boundary: Sequence[tuple[int, int]] = (),
        relaxation: Tensor | None = None,
    ) -> None:
        super().__init__()
        assert bool(boundary) == (relaxation is not None)
        self.operator = operator
        self.winds = tuple(winds)
        self.driven = [state for state, _ in boundary]
        self.parents = [forcing for _, forcing in boundary]
        for name, value in (
            ("mean", state.mean),
            ("std", state.std),
            ("forcing_mean", forcing.mean),
            ("forcing_std", forcing.std),
        ):
            self.register_buffer(name, value.reshape(-1, 1, 1, 1))
        self.register_buffer("static", static)
        self.register_buffer("wet", wet)
        self.register_buffer("growth", growth[:, :, None, None])
        self.register_buffer("relaxation", relaxation)

    def forward(self, history: Tensor, forcing: Tensor, noise: Tensor | None = None) -> Tensor:
        """Future states of one window.

        Parameters
        ----------
        history
            Physical units, ``[batch, state, history, y, x]``; what stands on land is ignored.
        forcing
            Physical units, ``[batch, forcing, history + horizon, y, x]``.
        noise
            Added to what the operator sees of the history, in standard deviations, shape of ``history``. The state
            that the change is added to stays clean: the operator shall learn not to trust details, not to remove
            noise that a forecast never has.

        Returns
        -------
        Tensor
            Physical units, land 0, ``[batch, state, horizon, y, x]``. In the edge zone a mean of what the operator says
            and what the parent does, at the open edge the parent's values themselves.
        """
        wet = self.wet[:, None]
        scaled = torch.where(wet, (history - self.mean) / self.std, 0.0)
        seen = scaled if noise is None else torch.where(wet, scaled + noise, 0.0)
        future = self.operator(seen, self._features(forcing), self.static)
        change = self.growth * (future - seen[:, :, -1:])
        free = torch.where(wet, (scaled[:, :, -1:] + change) * self.std + self.mean, 0.0)
        if self.relaxation is None:
            return free
        parent = free.clone()
        parent[:, self.driven] = forcing[:, self.parents, history.shape[2] :]
        # lerp gives its ends exactly: outside the zone nothing changes, and at the edge the parent's bits arrive
        return torch.lerp(free, parent, self.relaxation[:, None])

    def _features(self, forcing: Tensor) -> Tensor:
        weather = forcing[:, : len(self.forcing_mean)]
        features = [(weather - self.forcing_mean) / self.forcing_std]
        for east, north in self.winds:
            pair = forcing[:, [east, north]]
            speed = pair.square().sum(1, keepdim=True).sqrt()
            features.append(pair * speed / self.forcing_std[[east, north]].square().sum())
        if self.relaxation is not None:
            parent = (forcing[:, self.parents] - self.mean[self.driven]) / self.std[self.driven]
            features.append(torch.where(self.relaxation[self.driven][:, None] > 0, parent, 0.0))
        return torch.cat(features, dim=1)


def wind_pairs(channels: Sequence[Channel]) -> list[tuple[int, int]]:
    """Indices (eastward, northward) of the wind vectors among forcing channels; a stress is quadratic already."""
    position = {channel.variable: i for i, channel in enumerate(channels)}
    return [
        (i, position[partner])
        for name, i in position.items()
        if VARIABLES[name].standard_name == "eastward_wind"
        and (partner := VARIABLES[name].partner) in position
    ]
