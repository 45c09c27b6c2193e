"""Ridge regression of many cells at once, its penalty chosen where the end of the record is forecast best."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PENALTIES = (1e-8, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Added to the variance of predictors scaled to 1, from as good as none to more than all."""

HELD_OUT = (
    0.25  # of the record, its end: weather is correlated over days, and rows drawn at random would know all
)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear function of the predictors for each cell and variable.

    Attributes
    ----------
    coefficients
        ``[predictor, channel, cell]``.
    constant
        ``[channel, cell]``.
    penalty
        Chosen for each channel, ``[channel]``.
    """

    coefficients: Array
    constant: Array
    penalty: Array

    @classmethod
    def fit(cls, parts: Iterable[tuple[Array, NDArray[np.floating]]], channels: int) -> "Ridge":
        """Least squares with a penalty that is the same for all cells of a channel.

        Parameters
        ----------
        parts
            Predictors ``[row, predictor, cell]`` and what they are to explain, ``[channel, row, cell]``, of some cells
            at a time. A predictor that never changes explains nothing and is left out.
        channels
            Number of them.
        """
        error = np.zeros((len(PENALTIES), channels))
        fitted: list[tuple[Array, Array, Array]] = []
        for predictors, targets in parts:
            x, y = predictors.transpose(2, 0, 1), targets.transpose(2, 1, 0).astype(np.float64)
            middle, mean = x.mean(1), y.mean(1)
            x = x - middle[:, None]
            scale = np.sqrt((x**2).mean(1))
            # Rounding makes a constant of size 1 vary by 1e-16; nothing real is that steady
            used = scale > 1e-12 * np.maximum(np.abs(middle), 1e-300)
            scale = np.where(used, scale, np.inf)
            x, y = x / scale[:, None], y - mean[:, None]
            kept = round((1 - HELD_OUT) * x.shape[1])
            error += _errors_ahead(x, y, kept)
            fitted.append((_solve(x, y) / scale[None, :, :, None], middle, mean))
        choice = error.argmin(0)
        coefficients = np.concatenate(
            [np.stack([each[choice[c], ..., c] for c in range(channels)]) for each, _, _ in fitted], axis=1
        )
        middle, mean = (np.concatenate([part[i] for part in fitted]) for i in (1, 2))
        return cls(
            coefficients=coefficients.transpose(2, 0, 1),
            constant=(mean.T - np.einsum("xp,cxp->cx", middle, coefficients)),
            penalty=np.array(PENALTIES)[choice],
        )


def _solve(x: Array, y: Array) -> Array:
    """Coefficients at every penalty, ``[penalty, cell, predictor, channel]``, from ``[cell, row, ...]``."""
    rows = x.shape[1]
    values, vectors = np.linalg.eigh(x.transpose(0, 2, 1) @ x / rows)
    along = vectors.transpose(0, 2, 1) @ (x.transpose(0, 2, 1) @ y / rows)
    return np.stack(
        [vectors @ (along / (np.maximum(values, 0.0) + penalty)[..., None]) for penalty in PENALTIES]
    )


def _errors_ahead(x: Array, y: Array, kept: int) -> Array:
    """Squared errors on the rows after the first ``kept``, fitted on these, ``[penalty, channel]``."""
    early = y[:, :kept].mean(1, keepdims=True)
    centre = x[:, :kept].mean(1, keepdims=True)
    found = _solve(x[:, :kept] - centre, y[:, :kept] - early)
    later = x[:, kept:] - centre
    return np.stack([((y[:, kept:] - early - later @ each) ** 2).sum((0, 1)) for each in found])
