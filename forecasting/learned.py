"""A trained operator as a forecaster."""

from collections.abc import Iterator

import torch
from torch import Tensor

from forecasting.forecaster import Initial, State
from oceanop.checkpoint import Checkpoint
from oceanop.rollout import rollout


class LearnedForecaster:
    """The operator of a checkpoint, rolled out window by window.

    Parameters
    ----------
    checkpoint
        As ``oceanop.load_checkpoint`` reads it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.name: str = checkpoint.name
        self.history: int = checkpoint.history
        self.horizon: int = checkpoint.horizon
        self.step = checkpoint.step

    # Not a block in the body: it would last while the caller goes on, and outlast the forecast of two in turns.
    @torch.no_grad()
    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        """Yield the states at leads 1 to ``leads``; land is 0, as the step leaves it.

        Raises
        ------
        ValueError
            If the past lies on another grid than the checkpoint.
        """
        given, own = tuple(initial.history.shape[-2:]), tuple(self.step.wet.shape[-2:])
        if given != own:
            raise ValueError(
                f"{self.name} is given a past of {given[0]} x {given[1]} cells, and its checkpoint holds the mask of "
                f"{own[0]} x {own[1]}; give one on its own grid, or bring the checkpoint to a finer grid with "
                "forecasting.refinement.refine."
            )
        past = initial.history[None, :, -self.history :]
        if forcing is None:
            forcing = past.new_zeros((0, past.shape[2] + leads, *past.shape[3:]))
        else:
            # A longer past than the operator's own brings a longer past of the forcing with it
            forcing = forcing[:, initial.history.shape[1] - past.shape[2] :]
        lead = 0
        for window in rollout(self.step, past, forcing[None], horizon=self.horizon, leads=leads):
            for values in window[0].unbind(1):
                lead += 1
                yield State(lead, values)
