"""How hard a wind at 10 m drags on the sea."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from oceanop.constants import GRAVITY

Array = NDArray[np.float64]

AIR_DENSITY = 1.22  # kg m-3, dry air at 1013 hPa and 16 degC by the law of ideal gases
VON_KARMAN = 0.4  # 1, as drag laws of the sea assume it (Charnock, Q. J. R. Meteorol. Soc. 81, 1955)
MEASURED_AT = 10.0  # m, height of the winds all these laws speak of
HIGHEST = 2.5e-3  # 1, about where drag levels off, above 30 m s-1 (Powell et al., Nature 422, 2003)
SEA = 0.018  # 1, Charnock's parameter as a rule (Wu, J. Phys. Oceanogr. 10, 1980, 0.0185)


class Law(Protocol):
    """A drag law: coefficient at a wind speed."""

    def coefficient(self, speed: ArrayLike) -> Array:
        """Drag coefficient, dimensionless, shape of ``speed`` (m s-1 at 10 m)."""
        ...


@dataclass(frozen=True)
class LargePond:
    """Drag that is constant up to 11 m/s and grows linearly beyond (Large and Pond, J. Phys. Oceanogr. 11, 1981).

    They measured from 4 to 25 m/s. Where their two pieces meet, the coefficient steps by 0.4 %.

    Attributes
    ----------
    highest
        The coefficient grows no further than this.
    """

    highest: float = HIGHEST

    def __post_init__(self) -> None:
        _require_positive("highest", self.highest)

    def coefficient(self, speed: ArrayLike) -> Array:
        """Drag coefficient, dimensionless, shape of ``speed`` (m s-1 at 10 m)."""
        wind = np.asarray(speed, dtype=np.float64)
        return np.minimum(np.where(wind < 11, 1.2e-3, (0.49 + 0.065 * wind) * 1e-3), self.highest)


@dataclass(frozen=True)
class Charnock:
    """Drag of a sea whose roughness grows with the stress, ``z0 = a u*^2 / g`` under a neutral logarithmic profile.

    With ``u* = kappa U / ln(10 m / z0)`` both depend on one another (Charnock, Q. J. R. Meteorol. Soc. 81, 1955);
    Newton's iteration solves for them.

    Attributes
    ----------
    parameter
        ``a``: 0.011 for an old sea, 0.018 as a rule, 0.03 for young waves and near coasts.
    highest
        The coefficient grows no further than this.
    """

    parameter: float = SEA
    highest: float = HIGHEST

    def __post_init__(self) -> None:
        _require_positive("parameter", self.parameter)
        _require_positive("highest", self.highest)

    def coefficient(self, speed: ArrayLike) -> Array:
        """Drag coefficient, dimensionless, shape of ``speed`` (m s-1 at 10 m); 0 where there is no wind."""
        wind = np.asarray(speed, dtype=np.float64)
        # Half the profile's logarithm, w = ln(10 / z0) / 2, obeys w exp(-w) = x: one unknown, one number a wind.
        x = 0.5 * VON_KARMAN * math.sqrt(self.parameter / (GRAVITY * MEASURED_AT)) * wind
        logarithm = _half_logarithm(np.ravel(x)).reshape(wind.shape)
        return np.minimum((VON_KARMAN / 2) ** 2 / logarithm**2, self.highest)


LAWS: dict[str, type[LargePond] | type[Charnock]] = {"large-pond": LargePond, "charnock": Charnock}


def stress(
    u10: ArrayLike, v10: ArrayLike, *, law: str | Law = "large-pond", air_density: float = AIR_DENSITY
) -> tuple[Array, Array]:
    """Wind stress on the sea, ``rho_a C_d |U| U``.

    Parameters
    ----------
    u10, v10
        Eastward and northward wind at 10 m, m s-1, any shapes that broadcast. NaN stays NaN.
    law
        A drag law, or the name of one of ``LAWS`` with its own parameters.
    air_density
        kg m-3.

    Returns
    -------
    tauu, tauv
        Eastward and northward stress, N m-2, parallel to the wind.

    Raises
    ------
    ValueError
        If there is no law of that name, or the density is not positive.
    """
    if isinstance(law, str):
        if law not in LAWS:
            raise ValueError(f"there is no drag law '{law}'; name one of {', '.join(LAWS)}.")
        law = LAWS[law]()
    _require_positive("air_density", air_density)
    u, v = np.asarray(u10, dtype=np.float64), np.asarray(v10, dtype=np.float64)
    speed = np.hypot(u, v)
    factor = air_density * law.coefficient(speed) * speed
    return factor * u, factor * v


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"drag: {name} is {value:g}; it has to be a positive number.")


@njit(nogil=True, error_model="numpy", cache=True)
def _half_logarithm(x: Any) -> Any:
    """The larger solution of ``w exp(-w) = x``; infinite at 0, and 1, its least, where no sea is smooth enough."""
    solutions = np.empty_like(x)
    limit = math.exp(-1.0)
    for i in range(x.size):
        if x[i] == 0.0:
            solutions[i] = np.inf
            continue
        if not x[i] < limit:
            solutions[i] = 1.0 if x[i] >= limit else np.nan
            continue
        logarithm = math.log(x[i])
        # Newton's steps on w - ln w + ln x, convex in w: from right of the solution they never pass it. This start
        # is never left of it (Chatzigeorgiou, IEEE Commun. Lett. 17, 2013, theorem 1).
        w = -logarithm + math.sqrt(-2.0 * (1.0 + logarithm))
        for _ in range(30):
            step = (w - math.log(w) + logarithm) / (1.0 - 1.0 / w) if w > 1.0 else 0.0
            w -= step
            if abs(step) <= 1e-13 * w:
                break
        solutions[i] = w
    return solutions
