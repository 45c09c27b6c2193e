"""Optimizers of two phases: look ahead, take the gradient there, then move as far from the start as it says."""

import copy
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT


class TwoPhase(torch.optim.Optimizer, ABC):
    r"""The skeleton that :class:`QGenX` and :class:`QODA` share.

    With :math:`\bar V` a mean over workers, :math:`a` the ``lr`` and :math:`Y_1 = 0`, step ``t = 1, 2, ...`` is

    .. math::

        X_{t+1/2} &= X_t - a\, g_t \bar W_t               &&\text{extrapolate()} \\
        Y_{t+1}   &= Y_t - \bar V_{t+1/2}                 &&\text{step(): .grad, taken at } X_{t+1/2} \\
        X_{t+1}   &= X_1 + a\, \eta_{t+1} Y_{t+1}

    What is followed (:math:`\bar W_t`) and how far (:math:`g_t`, :math:`\eta_t`) is what a method adds. The answer of
    these methods is the mean of the :math:`X_{t+1/2}`, :meth:`ergodic_mean`. Copies of gradients are kept, so that
    the caller may use their memory again. A parameter without a gradient counts as one whose gradient is zero.

    Beside every parameter lie the start, the sum, the mean, and for most methods the last gradient.
    """

    def __init__(self, params: ParamsT, *, lr: float, workers: int, sums: tuple[str, ...]) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(
                f"{type(self).__name__}: workers is {workers}, but is the number of ranks whose gradients are "
                "averaged; give a whole number from 1 on."
            )
        self.workers = workers
        self.steps = 0  # that are done
        self.leading = False  # whether the parameters are at X_{t+1/2}
        self.sums = dict.fromkeys(sums, 0.0)  # over all workers and steps, of which the rates are made
        super().__init__(params, {"lr": lr})

    def extrapolate(self) -> None:
        """Move the parameters from X_t to X_{t+1/2}, where the next gradients are to be taken.

        Raises
        ------
        ValueError
            If they are there already, or the method needs gradients at X_t and there are none.
        """
        self._expect(leading=False)
        self._extrapolate()
        self.leading = True

    def step(self, dispersion: float | Tensor | None = None) -> None:  # type: ignore[override]
        """Move the parameters from X_{t+1/2} to X_{t+1} by the gradients in ``.grad``, the mean over workers.

        Parameters
        ----------
        dispersion
            One number, the same on every worker: the sum over workers that the class names, of the vectors as they
            went into the mean. None has it computed from ``.grad``, which is possible with one worker only.

        Raises
        ------
        ValueError
            If the parameters are not at X_{t+1/2}, no gradient has been computed, or the dispersion is missing or not
            a finite number from 0 on. Nothing has been changed then.
        """
        self._expect(leading=True)
        self._expect_gradients("step()")
        value = self._dispersion() if dispersion is None else float(dispersion)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"{self._place()}: the dispersion is {value}, but is a sum of squares and must be finite; look for "
                "gradients that are not, lower lr, and compute them again before step()."
            )
        self.steps += 1
        self.leading = False
        self._move(value)

    @torch.no_grad()
    def ergodic_mean(self) -> list[Tensor]:
        """Mean of X_{t+1/2} over the steps that are done, a copy for each parameter in the order of the groups.

        Raises
        ------
        ValueError
            If no step is done.
        """
        if not self.steps:
            raise ValueError(
                f"{self._place()}: there is no mean before the first step; call extrapolate(), compute gradients, and "
                "call step()."
            )
        return [self.state[parameter]["mean"].clone() for _, parameter in self._parameters()]

    @abstractmethod
    def extrapolation_rate(self) -> float:
        """g_t of the coming extrapolation (or of the present one between the phases), without ``lr``."""

    @abstractmethod
    def rate(self) -> float:
        """eta_t of the point X_t that was reached last, without ``lr``."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with an ``lr`` of their own, before the first step.

        Raises
        ------
        ValueError
            If the run has begun, ``lr`` is out of its range, or the parameters are of half precision.
        """
        if self.steps or self.leading:
            raise ValueError(
                f"{self._place()}: parameters cannot be added, because all are counted from one start X_1; make a new "
                "optimizer."
            )
        super().add_param_group(param_group)
        try:
            self._check(self.param_groups[-1])
        except ValueError:
            del self.param_groups[-1]
            raise

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` goes on from; tensors are the optimizer's own, as with every optimizer."""
        path = {
            "method": self._method(),
            "steps": self.steps,
            "leading": self.leading,
            "sums": dict(self.sums),
        }
        return {**super().state_dict(), "path": path}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, of which nothing is shared afterwards; between the phases too.

        The parameters are saved with their module and must be those of the same moment.

        Raises
        ------
        ValueError
            If the state was saved by another number of workers or another method.
        """
        path = state_dict.get("path", {"method": "another optimizer"})
        if path["method"] != self._method():
            raise ValueError(
                f"{type(self).__name__}: the saved state belongs to {path['method']}, this optimizer is "
                f"{self._method()}; make it with the settings the run was begun with."
            )
        super().load_state_dict(copy.deepcopy(state_dict))
        self.steps, self.leading, self.sums = path["steps"], path["leading"], dict(path["sums"])

    @torch.no_grad()
    def _extrapolate(self) -> None:
        self._begin()
        rate = self.extrapolation_rate()
        for group, parameter in self._parameters():
            dual = self._leading_dual(parameter)
            if dual is not None:
                parameter.add_(dual, alpha=-group["lr"] * rate)

    @torch.no_grad()
    def _move(self, dispersion: float) -> None:
        self._take(dispersion)
        rate, steps = self.rate(), self.steps
        for group, parameter in self._parameters():
            state = self.state[parameter]
            state["mean"].lerp_(parameter, 1 / steps)
            if parameter.grad is not None:
                state["sum"].sub_(parameter.grad)
            # From the start, not from X_t: a falling rate shortens all steps taken so far.
            torch.add(state["start"], state["sum"], alpha=group["lr"] * rate, out=parameter)
            self._keep(parameter)

    @abstractmethod
    def _method(self) -> str:
        """The settings that a saved state depends on, in words."""

    @abstractmethod
    def _take(self, dispersion: float) -> None:
        """Add to the sums that the rates of the next step are made of."""

    @abstractmethod
    def _leading_dual(self, parameter: Tensor) -> Tensor | None:
        """The vector that is followed to X_{t+1/2}; None is zero."""

    @abstractmethod
    def _reference(self, parameter: Tensor) -> Tensor | None:
        """What the dispersion measures the gradient's distance from; None is zero."""

    @abstractmethod
    def _keep(self, parameter: Tensor) -> None:
        """Keep what the next step needs of the gradient and of X_{t+1}."""

    def _begin(self) -> None:
        if self.steps:
            return
        # At the first phase, not when made: the weights may have been loaded or broadcast in between.
        for _, parameter in self._parameters():
            self.state[parameter] = {
                "start": parameter.detach().clone(),
                "sum": torch.zeros_like(parameter),
                "mean": torch.zeros_like(parameter),
            }

    def _parameters(self) -> list[tuple[dict[str, Any], Tensor]]:
        return [(group, parameter) for group in self.param_groups for parameter in group["params"]]

    def _dispersion(self) -> float:
        if self.workers > 1:
            raise ValueError(
                f"{self._place()}: the dispersion is missing. Of {self.workers} workers the mean gradient alone is "
                "known here; compute the sum of squares of each worker, all-reduce it as one scalar, and give it to "
                "step()."
            )
        total = 0.0
        for _, parameter in self._parameters():
            gradient, reference = parameter.grad, self._reference(parameter)
            if gradient is not None and reference is not None:
                total += _square(gradient - reference)
            elif gradient is not None:
                total += _square(gradient)
            elif reference is not None:
                total += _square(reference)
        return total

    def _expect(self, *, leading: bool) -> None:
        if leading != self.leading:
            called, missing = ("step()", "extrapolate()") if leading else ("extrapolate()", "step()")
            raise ValueError(
                f"{self._place()}: {called} was called where {missing} is due; a step is extrapolate(), gradients "
                "at the point it leads to, then step()."
            )

    def _expect_gradients(self, phase: str) -> None:
        if all(parameter.grad is None for _, parameter in self._parameters()):
            raise ValueError(
                f"{self._place()}: {phase} found no gradient on any parameter; call backward() before it."
            )

    def _place(self) -> str:
        return f"{type(self).__name__}, step {self.steps + 1}"

    def _check(self, group: dict[str, Any]) -> None:
        if not (group["lr"] > 0 and math.isfinite(group["lr"])):
            raise ValueError(
                f"{type(self).__name__}: lr is {group['lr']}, but must be finite and positive; 1 gives the rates of "
                "the paper."
            )
        for parameter in group["params"]:
            if parameter.dtype in (torch.float16, torch.bfloat16):
                # The mean and the sum over thousands of steps stand still in 8 to 11 bits.
                raise ValueError(
                    f"{type(self).__name__}: a parameter is {parameter.dtype}, too coarse for sums over all steps; "
                    "keep parameters in float32 and use autocast for the forward pass."
                )


def _square(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor).item() ** 2
