"""The exponential moving average of the weights: what forecasts are made with."""

import torch
from torch import Tensor, nn


class MovingAverage:
    """Average of a module's parameters along training.

    The decay rises from 0.1 to ``decay`` over the first steps, so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.parameters = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after an optimizer step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, parameter in module.named_parameters():
            self.parameters[name].lerp_(parameter, 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Set the parameters of another module of the same kind."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.parameters[name])

    def state_dict(self) -> dict[str, object]:
        """Averages and the count of steps."""
        return {"steps": self.steps, "parameters": self.parameters}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Inverse of :meth:`state_dict`."""
        steps, parameters = state["steps"], state["parameters"]
        assert isinstance(steps, int)
        assert isinstance(parameters, dict)
        self.steps = steps
        held: dict[str, Tensor] = parameters
        for name, average in self.parameters.items():
            average.copy_(held[name])
