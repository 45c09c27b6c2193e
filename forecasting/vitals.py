"""What is measured of a sea to see whether it lives: how much there is, how it moves, and how fine its features are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from oceanop.constants import GRAVITY
from oceanop.grid import Grid
from oceanop.variables import vector_pairs

Array = NDArray[np.float64]
LEVEL = "zos"
ENERGIES = ("kinetic_energy", "potential_energy", "variance")
LABELS = {
    "mean": ("area mean", "{u}"),
    "lowest": ("lowest value", "{u}"),
    "highest": ("highest value", "{u}"),
    "variance": ("variance over the area", "({u})2"),
    "small_scale_power": ("mean square of what differs from the mean of a cell and its neighbours", "({u})2"),
    "distance": ("root mean square distance from the training mean of each cell", "{u}"),
    "volume": ("volume above the level zero", "m3"),
    "kinetic_energy": ("area mean of the kinetic energy per mass", "m2 s-2"),
    "potential_energy": ("area mean of the potential energy of the level, per density", "m3 s-2"),
    "missing": ("ocean values that are no numbers", "1"),
}


@dataclass(frozen=True, eq=False)
class Vitals:
    """Measures of single states on one grid.

    Attributes
    ----------
    names
        Variables that are looked at.
    weight
        Cell area, m2, 0 on land, ``[(depth,) y, x]`` by variable.
    climate
        Mean over the training split by variable, ``[(depth,) y, x]``; without one no distance is measured.
    """

    names: tuple[str, ...]
    weight: dict[str, Array]
    climate: dict[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, ds: xr.Dataset, names: tuple[str, ...]) -> "Vitals":
        """Measures on the grid of a forecast."""
        grid = Grid.from_dataset(ds)
        mask = (
            ds["mask"].transpose(*[dim for dim in ("depth", *grid.dims) if dim in ds["mask"].dims]).to_numpy()
            > 0.5
        )
        weight = {}
        for name in names:
            deep = "depth" in ds[name].dims
            wet = mask if deep or mask.ndim == 2 else mask[0]
            weight[name] = np.where(wet, grid.cell_area, 0.0)
        return cls(names, weight)

    def measure(self, state: Mapping[str, Array]) -> dict[str, float]:
        """All measures of a state, ``[(depth,) y, x]`` by variable, named as ``variable_measure``."""
        found: dict[str, float] = {}
        for name in self.names:
            values, weight = state[name], self.weight[name]
            wet = weight > 0
            known = wet & np.isfinite(values)
            found[f"{name}_missing"] = float(wet.sum() - known.sum())
            if not known.any():
                continue
            # What is no number is counted above; the rest is still measured
            plane, counted = np.where(known, values, 0.0), np.where(known, weight, 0.0)
            with np.errstate(over="ignore", invalid="ignore"):  # an exploding field may leave even float64
                mean = _mean(plane, counted)
                found[f"{name}_mean"] = mean
                found[f"{name}_lowest"], found[f"{name}_highest"] = (
                    float(values[known].min()),
                    float(values[known].max()),
                )
                found[f"{name}_variance"] = _mean((plane - mean) ** 2, counted)
                found[f"{name}_small_scale_power"] = _mean(_fine(plane, known) ** 2, counted)
                if name in self.climate:
                    away = np.where(known, plane - self.climate[name], 0.0)
                    found[f"{name}_distance"] = float(np.sqrt(_mean(away**2, counted)))
                if name == LEVEL:
                    found[f"{name}_volume"] = float((plane * counted).sum())
                    found[f"{name}_potential_energy"] = 0.5 * GRAVITY * _mean((plane - mean) ** 2, counted)
        for pair in vector_pairs(list(self.names)):
            squares = [state[name] ** 2 for name in pair]
            known = (self.weight[pair[0]] > 0) & np.isfinite(squares[0] + squares[1])
            if known.any():
                energy = np.where(known, 0.5 * (squares[0] + squares[1]), 0.0)
                found["_".join(pair) + "_kinetic_energy"] = _mean(
                    energy, np.where(known, self.weight[pair[0]], 0.0)
                )
        return found

    def judged(self, measure: str) -> str:
        """What a measure counts as: ``energy``, ``small scale``, ``distance``, ``mean``, or nothing."""
        vectors = {name for pair in vector_pairs(list(self.names)) for name in pair}
        name, kind = split_name(measure)
        if kind == "kinetic_energy" or (kind == "variance" and name not in vectors):
            return "energy"
        return {"small_scale_power": "small scale", "distance": "distance", "mean": "mean"}.get(kind, "")


def split_name(measure: str) -> tuple[str, str]:
    """Variable, or variables joined by an underscore, and kind of a measure."""
    kind = next(kind for kind in LABELS if measure.endswith(f"_{kind}"))
    return measure.removesuffix(f"_{kind}"), kind


def attributes_of(measure: str, ds: xr.Dataset) -> dict[str, str]:
    """Long name and unit of a measure of a forecast's variables."""
    name, kind = split_name(measure)
    words, unit = LABELS[kind]
    own = str(ds[name].attrs.get("units", "1")) if name in ds else ""
    called = str(ds[name].attrs.get("long_name", name)) if name in ds else name.replace("_", " and ")
    squared = own if own == "1" else " ".join(_squared(part) for part in own.split())
    return {"long_name": f"{called}: {words}", "units": unit.format(u=own).replace(f"({own})2", squared)}


def state_at(ds: xr.Dataset, names: tuple[str, ...], **place: Any) -> dict[str, Array]:
    """One state of a data set, ``[(depth,) y, x]`` by variable."""
    chosen = {
        name: ds[name].isel({dim: at for dim, at in place.items() if dim in ds[name].dims}) for name in names
    }
    return {name: array.to_numpy().astype(np.float64) for name, array in chosen.items()}


def _squared(part: str) -> str:
    stem = part.rstrip("-0123456789")
    power = part[len(stem) :]
    return f"{stem}{2 * int(power or 1)}" if stem else f"{float(part) ** 2:g}"


def _mean(values: Array, weight: Array) -> float:
    return float((values * weight).sum() / weight.sum())


def _fine(plane: Array, known: NDArray[np.bool_]) -> Array:
    """A field less the mean of each cell and its four neighbours at sea: what is shorter than about four cells."""
    total, count = plane * known, known.astype(np.float64)
    summed, number = total.copy(), count.copy()
    for axis in (-2, -1):
        for step in (1, -1):
            here, there = [slice(None)] * plane.ndim, [slice(None)] * plane.ndim
            here[axis], there[axis] = (slice(1, None), slice(None, -1))[::step]
            summed[tuple(here)] += total[tuple(there)]
            number[tuple(here)] += count[tuple(there)]
    return np.where(known, plane - summed / np.maximum(number, 1.0), 0.0)
