"""Numbers and programs inside a page: deflated, in letters that HTML lets pass, and read back without a loss."""

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVELS = 4095  # of a quantised field: a difference a tenth as large as the field still has 400 steps
MISSING = 65535  # the level that stands for no value


@dataclass(frozen=True)
class Scale:
    """Sixteen-bit levels of a quantity: its value is ``low + step * level``.

    Attributes
    ----------
    low, step
        In the quantity's unit.
    cut_low, cut_high
        Whether values lie below the lowest and above the highest level, so that these stand for all of them.
    """

    low: float
    step: float
    cut_low: bool = False
    cut_high: bool = False

    @classmethod
    def over(cls, low: float, high: float, *, least: float, most: float) -> "Scale":
        """Levels from ``low`` to ``high`` for values that reach from ``least`` to ``most``, and no wider than these."""
        ends = float(max(low, least)), float(min(high, most))
        return cls(
            ends[0], max(ends[1] - ends[0], 1e-9) / LEVELS, bool(least < ends[0]), bool(most > ends[1])
        )

    def levels(self, values: ArrayLike) -> NDArray[np.uint16]:
        """Nearest levels; :data:`MISSING` where there is no value."""
        given = np.asarray(values, dtype=np.float64)
        known = np.isfinite(given)
        level = np.clip(np.rint((np.where(known, given, self.low) - self.low) / self.step), 0, LEVELS)
        return np.where(known, level, MISSING).astype(np.uint16)

    def values(self, levels: NDArray[np.uint16]) -> NDArray[np.float64]:
        """What a reader gets back."""
        return np.where(levels == MISSING, np.nan, self.low + self.step * levels)

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {"low": self.low, "step": self.step, "cut": [self.cut_low, self.cut_high]}


def packed(numbers: NDArray[np.unsignedinteger]) -> str:
    """Differences of neighbours, their bytes sorted by weight, deflated, in base 64: a smooth field becomes small."""
    flat = np.ascontiguousarray(numbers).ravel()
    differences = np.diff(
        flat, prepend=flat.dtype.type(0)
    )  # wraps around, and so does the sum that undoes it
    planes = differences.astype(differences.dtype.newbyteorder("<")).view(np.uint8).reshape(flat.size, -1).T
    return deflated(planes.tobytes())


def unpacked(text: str, dtype: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """The numbers that :func:`packed` was given, flat, as the page finds them."""
    data = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
    planes = data.reshape(np.dtype(dtype).itemsize, -1).T
    differences = np.ascontiguousarray(planes).view(np.dtype(dtype).newbyteorder("<")).ravel()
    return np.cumsum(differences, dtype=dtype)


def deflated(data: bytes) -> str:
    """Bytes as zlib deflates them, in base 64."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element: no name in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
