"""Stochastic gradient descent with early momentum: a heavy ball whose momentum is switched off."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import ParamsT


class SGDEM(torch.optim.Optimizer):
    r"""Heavy ball for the first steps, plain gradient descent after them.

    Step ``t = 1, 2, ...`` of every parameter is

    .. math::  w_{t+1} = w_t + \mu_t (w_t - w_{t-1}) - a_t (\nabla f(w_t) + \lambda w_t),

    with :math:`\mu_t = \mu` for :math:`t \le t_d` and 0 afterwards, :math:`w_0 = w_1`. Kept is the last displacement
    :math:`w_t - w_{t-1}` as it was added, not a sum of gradients: a change of the rate acts on the new gradient
    alone, while ``torch.optim.SGD`` rescales its whole velocity. With a constant rate, ``momentum_until=0`` is
    ``torch.optim.SGD`` without momentum and ``momentum_until`` at or past the last step is the one with it. Parameters
    without a gradient are left as they are, as there.

    Source: Ramezani-Kebrya et al., On the Generalization of Stochastic Gradient Descent with Momentum, JMLR 25 (2024),
    arXiv:1809.04564; weight decay is not in the paper and enters as in ``torch.optim.SGD``.

    Parameters
    ----------
    params
        Parameters, or groups of them with their own ``lr``, ``momentum``, ``momentum_until`` and ``weight_decay``.
    lr
        Rate :math:`a_t`; a schedule may set it anew at any step.
    momentum
        :math:`\mu`, in [0, 1).
    momentum_until
        The last step with momentum, :math:`t_d`. The first step has no displacement to go on with, so that 0 and 1
        are the same.
    weight_decay
        :math:`\lambda`.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self, params: ParamsT, lr: float, momentum: float, momentum_until: int, weight_decay: float = 0.0
    ) -> None:
        settings = {
            "lr": lr,
            "momentum": momentum,
            "momentum_until": momentum_until,
            "weight_decay": weight_decay,
            "steps": 0,
        }
        super().__init__(params, settings)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; their steps are counted from here.

        Raises
        ------
        ValueError
            If a setting is out of its range.
        """
        super().add_param_group(param_group)
        try:
            _check(self.param_groups[-1])
        except ValueError:
            del self.param_groups[-1]
            raise

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, of which nothing is shared afterwards."""
        super().load_state_dict(copy.deepcopy(state_dict))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Parameters
        ----------
        closure
            Computes the loss and its gradients anew, where the caller has not done so.

        Returns
        -------
        Any
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            group["steps"] += 1
            rolling = group["momentum"] > 0 and group["steps"] <= group["momentum_until"]
            for parameter in group["params"]:
                if not rolling:
                    # Dropped, not damped: the next step is exactly -lr * gradient, and the memory is free again.
                    self.state.pop(parameter, None)
                if parameter.grad is not None:
                    self._move(parameter, group, rolling)
        return loss

    def _move(self, parameter: torch.Tensor, group: dict[str, Any], rolling: bool) -> None:
        gradient, rate = parameter.grad, group["lr"]
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if not rolling:
            parameter.add_(gradient, alpha=-rate)
            return
        state = self.state[parameter]
        if "displacement" in state:
            state["displacement"].mul_(group["momentum"]).add_(gradient, alpha=-rate)
        else:
            state["displacement"] = gradient.mul(-rate)
        parameter.add_(state["displacement"])


def _check(group: dict[str, Any]) -> None:
    for name in ("lr", "weight_decay"):
        if not (group[name] >= 0 and math.isfinite(group[name])):
            raise ValueError(
                f"SGDEM: {name} is {group[name]}, but must be finite and not negative; change it."
            )
    if not 0 <= group["momentum"] < 1:
        raise ValueError(
            f"SGDEM: momentum is {group['momentum']}, but must be at least 0 and below 1, or the ball never comes to "
            "rest; usual values are 0.9 and 0.99."
        )
    until = group["momentum_until"]
    if isinstance(until, bool) or not isinstance(until, int) or until < 0:
        raise ValueError(
            f"SGDEM: momentum_until is {until}, but is a count of steps, a whole number from 0 on; 0 gives plain "
            "gradient descent, the number of all steps gives momentum throughout."
        )
