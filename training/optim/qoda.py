"""QODA: optimistic dual averaging with quantized gradients, one exchange a step."""

import math

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from training.optim.two_phase import TwoPhase

RATES = ("adaptive", "alternative")


class QODA(TwoPhase):
    r"""Optimistic steps for minimisation and for games: the last gradient stands in for the look ahead.

    Implemented is, with :math:`V_k` the (quantized) gradient of worker k of K, :math:`V_{k,1/2} = 0`, :math:`a` the
    ``lr``, :math:`Y_1 = 0`:

    .. math::

        X_{t+1/2} = X_t - \frac{a\,g_t}{K} \sum_k V_{k,t-1/2}, \qquad
        Y_{t+1} = Y_t - \frac{1}{K} \sum_k V_{k,t+1/2}, \qquad
        X_{t+1} = X_1 + a\,\eta_{t+1} Y_{t+1}.

    Rates ``adaptive``, where ``step(dispersion)`` takes :math:`D_t = \sum_k \|V_{k,t+1/2} - V_{k,t-1/2}\|^2`:

    .. math::  \eta_t = g_t = \Big(1 + \sum_{s<t} D_s / K^2\Big)^{-1/2}.

    Rates ``alternative``, where ``step(dispersion)`` takes :math:`D_t = \sum_k \|V_{k,t+1/2}\|^2`:

    .. math::

        g_t = \Big(1 + \sum_{s \le t-2} D_s / K^2\Big)^{q - 1/2}, \qquad
        \eta_t = \Big(1 + \sum_{s \le t-2} \big(D_s / K^2 + \|X_s - X_{s+1}\|^2\big)\Big)^{-1/2}.

    With one worker and adaptive rates it is :class:`QGenX`'s optimistic variant. In a game the gradient of whoever
    maximises is given with its sign changed.

    Source: Nguyen et al., Layer-wise Quantization for Quantized Optimistic Dual Averaging, ICML 2025, arXiv:2505.14371;
    ``lr`` is added (1 in the paper).

    Parameters
    ----------
    params
        Parameters, or groups of them with their own ``lr``; float32 or wider.
    lr
        Scale of the path. It is no schedule's to change: all of the path from X_1 is scaled by it anew at every step.
    rates
        ``adaptive``, or ``alternative``, which does without a bound on the gradients.
    q
        In (0, 1/4], for alternative rates; 1/4 unless given.
    workers
        K, the ranks whose gradients are averaged in ``.grad``.

    Raises
    ------
    ValueError
        If a setting is out of its range or without effect.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1.0,
        rates: str = "adaptive",
        q: float | None = None,
        workers: int = 1,
    ) -> None:
        if rates not in RATES:
            raise ValueError(f"QODA: rates is {rates!r}, but must be one of {', '.join(RATES)}.")
        if rates == "adaptive" and q is not None:
            raise ValueError(
                f"QODA: q is {q}, but adaptive rates have no q; leave it out, or choose rates='alternative'."
            )
        if q is not None and not 0 < q <= 0.25:
            raise ValueError(f"QODA: q is {q}, but must be above 0 and at most 1/4.")
        self.rates = rates
        self.q = q if q is not None else 0.25 if rates == "alternative" else 0.0
        sums = (
            "dispersion",
            "last_dispersion",
            "moves",
            "last_move",
        )  # what the rates know, and what they will
        super().__init__(params, lr=lr, workers=workers, sums=sums)

    def extrapolation_rate(self) -> float:
        """g_t of the coming extrapolation (or of the present one between the phases), without ``lr``."""
        known = 1 + self.sums["dispersion"] / self.workers**2
        return known**self.q / math.sqrt(known)

    def rate(self) -> float:
        """eta_t of the point X_t that was reached last, without ``lr``."""
        return 1 / math.sqrt(1 + self.sums["dispersion"] / self.workers**2 + self.sums["moves"])

    def _method(self) -> str:
        return f"QODA {self.rates}{f' q={self.q}' * (self.rates == 'alternative')} of {self.workers} workers"

    def _take(self, dispersion: float) -> None:
        sums = self.sums
        if self.rates == "adaptive":
            sums["dispersion"] += dispersion
            return
        # One step late: the rates of t + 1 know the steps up to t - 1.
        sums["dispersion"] += sums["last_dispersion"]
        sums["moves"] += sums["last_move"]
        sums["last_dispersion"], sums["last_move"] = (
            dispersion,
            0.0,
        )  # the move is added once it has been made

    def _leading_dual(self, parameter: Tensor) -> Tensor | None:
        state = self.state[parameter]
        if self.rates == "alternative":
            state["point"] = parameter.detach().clone()
        return state.get("dual")

    def _reference(self, parameter: Tensor) -> Tensor | None:
        return self.state[parameter].get("dual") if self.rates == "adaptive" else None

    def _keep(self, parameter: Tensor) -> None:
        state = self.state[parameter]
        state.pop("dual", None)
        if parameter.grad is not None:
            state["dual"] = parameter.grad.clone()
        if self.rates == "alternative":
            move = torch.linalg.vector_norm(parameter - state.pop("point")).item()
            self.sums["last_move"] += move**2
