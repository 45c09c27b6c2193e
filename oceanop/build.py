"""From the words of a run to an operator wrapped in physical units."""

import torch
from torch import Tensor, nn

from oceanop.config import FNOConfig, Run
from oceanop.layout import Layout
from oceanop.normalise import Scaling
from oceanop.operators.fno import FNO
from oceanop.operators.fnotd import FNOtD
from oceanop.step import WindowStep, wind_pairs


def build_step(
    run: Run,
    layout: Layout,
    *,
    static: Tensor,
    wet: Tensor,
    state: Scaling | None = None,
    forcing: Scaling | None = None,
    growth: Tensor | None = None,
    relaxation: Tensor | None = None,
) -> WindowStep:
    """The window step of a run; weights are drawn from torch's generator.

    Parameters
    ----------
    static
        Static fields ``[static, y, x]``, the mask first.
    wet
        Ocean mask of each state channel ``[state, y, x]``.
    state, forcing, growth
        Scaling of the channels, and growth of the changes ``[state, horizon]``; None where a checkpoint's weights
        will bring them. The forcing is without the parent's states, which are scaled as the state.
    relaxation
        Weight of the parent model, ``[state, y, x]``; None without an edge zone.
    """
    winds = wind_pairs(layout.weather) if run.model.quadratic_wind else []
    operator = build_operator(
        run,
        state_channels=len(layout.state),
        forcing_channels=len(layout.forcing) + 2 * len(winds),
        static_channels=static.shape[0],
    )
    return WindowStep(
        operator,
        state=state or _unscaled(len(layout.state)),
        forcing=forcing or _unscaled(len(layout.weather)),
        static=static,
        wet=wet,
        growth=torch.ones(len(layout.state), run.model.horizon) if growth is None else growth,
        winds=winds,
        boundary=layout.boundary,
        relaxation=relaxation,
    )


def build_operator(
    run: Run, *, state_channels: int, forcing_channels: int, static_channels: int
) -> nn.Module:
    """The operator that ``[model]`` names, for the given channels, with the memory ``[training]`` allows it."""
    options = run.model.model_dump(exclude={"name", "position", "quadratic_wind"})
    kind = FNO if isinstance(run.model, FNOConfig) else FNOtD
    return kind(
        state_channels=state_channels,
        forcing_channels=forcing_channels,
        static_channels=static_channels,
        checkpoint_activations=run.training.checkpoint_activations,
        **options,
    )


def _unscaled(channels: int) -> Scaling:
    return Scaling(torch.zeros(channels), torch.ones(channels))
