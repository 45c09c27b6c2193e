"""Q-GenX: the generalised extra-gradient method with quantized gradients."""

import math

from torch import Tensor
from torch.optim.optimizer import ParamsT

from training.optim.two_phase import TwoPhase

VARIANTS = ("dual-averaging", "dual-extrapolation", "optimistic")


class QGenX(TwoPhase):
    r"""Extra-gradient steps for minimisation and for games, with a rate that adapts to the noise.

    Implemented is, with :math:`V_k` the (quantized) gradient of worker k of K, :math:`a` the ``lr``, :math:`Y_1 = 0`:

    .. math::

        X_{t+1/2} &= X_t - \frac{a\,g_t}{K} \sum_k V_{k,t}, \qquad
        Y_{t+1} = Y_t - \frac{1}{K} \sum_k V_{k,t+1/2}, \qquad
        X_{t+1} = X_1 + a\,g_{t+1} Y_{t+1}, \\
        g_t &= K \Big(1 + \sum_{i<t} \sum_k \|V_{k,i} - V_{k,i+1/2}\|^2\Big)^{-1/2}.

    The variants differ in :math:`V_{k,t}`, and so in the number that ``step(dispersion)`` takes:

    ======================  ====================================  ================================================
    variant                 :math:`V_{k,t}`                       ``dispersion``
    ======================  ====================================  ================================================
    ``dual-averaging``      0: no look ahead                      :math:`\sum_k \|V_{k,t+1/2}\|^2`
    ``dual-extrapolation``  gradient at :math:`X_t`, in ``.grad`` :math:`\sum_k \|V_{k,t} - V_{k,t+1/2}\|^2`
                            when ``extrapolate()`` is called
    ``optimistic``          :math:`V_{k,t-1/2}`, 0 at first       :math:`\sum_k \|V_{k,t-1/2} - V_{k,t+1/2}\|^2`
    ======================  ====================================  ================================================

    Dual extrapolation computes and exchanges gradients twice a step, the others once. In a game the gradient of whoever
    maximises is given with its sign changed. Dual averaging converges for convex losses, not for every game.

    Source: Ramezani-Kebrya et al., Distributed Extra-gradient with Optimal Complexity and Communication Guarantees,
    ICLR 2023, arXiv:2308.09187, Algorithm 1. The template is written there with :math:`X_{t+1} = g_{t+1} Y_{t+1}`, from
    the origin; networks begin elsewhere, so :math:`X_1` is added, and ``lr`` is added (1 in the paper).

    Parameters
    ----------
    params
        Parameters, or groups of them with their own ``lr``; float32 or wider.
    lr
        Scale of the path. It is no schedule's to change: all of the path from X_1 is scaled by it anew at every step.
    variant
        ``dual-averaging``, ``dual-extrapolation`` or ``optimistic``.
    workers
        K, the ranks whose gradients are averaged in ``.grad``.

    Raises
    ------
    ValueError
        If a setting is out of its range.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1.0, variant: str = "dual-extrapolation", workers: int = 1
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"QGenX: variant is {variant!r}, but must be one of {', '.join(VARIANTS)}.")
        self.variant = variant
        super().__init__(params, lr=lr, workers=workers, sums=("dispersion",))

    def extrapolation_rate(self) -> float:
        """g_t of the coming extrapolation (or of the present one between the phases), without ``lr``."""
        return self.workers / math.sqrt(1 + self.sums["dispersion"])

    def rate(self) -> float:
        """g_t of the point X_t that was reached last, without ``lr``: the same number."""
        return self.extrapolation_rate()

    def extrapolate(self) -> None:
        """Move the parameters from X_t to X_{t+1/2}; dual extrapolation reads ``.grad`` at X_t for it.

        Raises
        ------
        ValueError
            If they are there already, or dual extrapolation finds no gradients.
        """
        self._expect(leading=False)
        if self.variant == "dual-extrapolation":
            self._expect_gradients("extrapolate() of dual extrapolation, which follows the gradient at X_t,")
        super().extrapolate()

    def _method(self) -> str:
        return f"QGenX {self.variant} of {self.workers} workers"

    def _take(self, dispersion: float) -> None:
        self.sums["dispersion"] += dispersion

    def _leading_dual(self, parameter: Tensor) -> Tensor | None:
        if self.variant == "dual-extrapolation" and parameter.grad is not None:
            # A copy: the same memory receives the second gradient, and the distance to it is the dispersion.
            self.state[parameter]["dual"] = parameter.grad.clone()
        return self._reference(parameter)

    def _reference(self, parameter: Tensor) -> Tensor | None:
        return self.state[parameter].get("dual")

    def _keep(self, parameter: Tensor) -> None:
        self.state[parameter].pop("dual", None)
        if self.variant == "optimistic" and parameter.grad is not None:
            self.state[parameter]["dual"] = parameter.grad.clone()
