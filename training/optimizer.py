"""The optimizer that a run names: its rate, its phases, and what it asks of the ranks."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from oceanop.config import TrainingConfig
from training.compression.dispersion import Reference
from training.optim import QODA, SGDEM, QGenX, TwoPhase
from training.schedule import learning_rate


@dataclass(frozen=True)
class Gradient:
    """What is known of the gradient of a batch of all ranks; the gradient itself lies in ``.grad``.

    Attributes
    ----------
    loss, norm
        Of the batch, at the weights that the gradient was taken at.
    dispersion
        Sum over the ranks of what :attr:`Descent.reference` asks for; None where nothing was exchanged.
    stop
        Whether a rank was asked to stop.
    """

    loss: float
    norm: float
    dispersion: float | None
    stop: bool


class Descent:
    """Moves weights by gradients as the optimizer of a run does.

    Parameters
    ----------
    parameters
        What is moved.
    training
        Names the optimizer and its settings.
    ranks
        How many average their gradients; Q-GenX and QODA count them as workers.

    Attributes
    ----------
    reference
        What the ranks are to measure of the vectors that go into the mean, see
        :class:`training.compression.dispersion.Dispersion`; None for nothing.
    largest_norm
        What gradients are clipped to; infinite where steps adapt by themselves.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], training: TrainingConfig, *, ranks: int) -> None:
        self._training, self._ranks = training, ranks
        self.optimizer = _optimizer(list(parameters), training, ranks)
        self.reference = _reference(training)
        self.largest_norm = math.inf if isinstance(self.optimizer, TwoPhase) else training.gradient_clip

    def step(self, number: int, gradient: Callable[[], Gradient]) -> tuple[Gradient, float]:
        """Take a step.

        Parameters
        ----------
        number
            Which, from 0.
        gradient
            Puts the gradient of this step's batch, at the weights as they are, into ``.grad``. Dual extrapolation asks
            twice: batch and noise are then the same both times, so that the two differ by the place where they are
            taken and by rounding alone.

        Returns
        -------
        Gradient
            The one that moved the weights; of the optimizers that look ahead it was taken there.
        float
            The learning rate: of the schedule, or what the scale was made at the end of an adaptive step.
        """
        optimizer, training = self.optimizer, self._training
        if isinstance(optimizer, TwoPhase):
            if self.reference == "pair":
                gradient()
            optimizer.extrapolate()
            found = gradient()
            optimizer.step(found.dispersion)
            return found, training.learning_rate * optimizer.rate()
        rate = learning_rate(training, number)
        for group in optimizer.param_groups:
            group["lr"] = rate
        found = gradient()
        optimizer.step()
        return found, rate

    def state_dict(self) -> dict[str, Any]:
        """State of the optimizer."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any], *, ranks: int) -> None:
        """Go on from a state that so many ranks have saved.

        Raises
        ------
        ValueError
            If these are not as many, and the optimizer depends on it.
        """
        if isinstance(self.optimizer, TwoPhase) and ranks != self._ranks:
            raise ValueError(
                f"training.optimizer '{self._training.optimizer}' makes its steps of what each rank sends, and the run "
                f"was begun with {ranks} ranks, not {self._ranks}; resume with as many ranks."
            )
        self.optimizer.load_state_dict(state)


def _optimizer(parameters: list[nn.Parameter], training: TrainingConfig, ranks: int) -> torch.optim.Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "adamw":
            # Fused: one pass over weights and moments instead of a dozen, which at small fields is a tenth of a step
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        case "sgdem":
            until = training.steps if training.momentum_steps is None else training.momentum_steps
            return SGDEM(parameters, rate, training.momentum, until, weight_decay=decay)
        case "qgenx":
            return QGenX(parameters, rate, training.variant, workers=ranks)
        case "qoda":
            return QODA(parameters, rate, training.rates, workers=ranks)


def _reference(training: TrainingConfig) -> Reference | None:
    """What the dispersion of an optimizer measures vectors from."""
    match training.optimizer:
        case "qgenx":
            of_variant: dict[str, Reference] = {
                "dual-averaging": "zero",
                "dual-extrapolation": "pair",
                "optimistic": "last",
            }
            return of_variant[training.variant]
        case "qoda":
            return "last" if training.rates == "adaptive" else "zero"
        case _:
            return None
