"""Cells that are sea at some steps and land at others: counted for every variable, and told where they are many."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_pipelines.passes import find_values
from data_pipelines.plan import Plan
from data_pipelines.remarks import IngestWarning
from data_pipelines.series import Series
from data_pipelines.times import text

MASKS = ("static", "fixed", "dynamic")
CHANGING = "cells_sea_at_some_steps"  # attribute of a variable; one number a level where it has levels
_SHARE = 0.05  # of the cells that are ever sea: more that change are told

Mask = NDArray[np.bool_]


def require_mask(policy: str) -> None:
    """Refuse a policy that is none.

    Raises
    ------
    ValueError
        Naming those there are.
    """
    if policy not in MASKS:
        raise ValueError(f"mask '{policy}' is not known; choose one of {', '.join(MASKS)}.")


@dataclass(eq=False)
class Wetness:
    """Where one variable has had a value, ``[Z, Y, X]``: at every step so far, and at any."""

    always: Mask
    ever: Mask

    @classmethod
    def of(cls, block: NDArray[np.float32]) -> "Wetness":
        """Of steps ``[t, z, y, x]``."""
        always, ever = np.ones(block.shape[1:], bool), np.zeros(block.shape[1:], bool)
        find_values(block, always, ever)
        return cls(always, ever)

    def merge(self, other: "Wetness") -> "Wetness":
        """Of the steps of both, in any order."""
        return Wetness(self.always & other.always, self.ever | other.ever)

    @property
    def changing(self) -> list[int]:
        """Cells that are sea at some steps only, by level."""
        return [int(count) for count in (self.ever & ~self.always).sum((1, 2))]


def gathered(seen: dict[str, Wetness], blocks: Mapping[str, NDArray[np.float32]]) -> Mask:
    """Take in steps of some variables, ``[t, z, y, x]`` each; cells that hold every one at every step."""
    found = {name: Wetness.of(block) for name, block in blocks.items()}
    for name, here in found.items():
        seen[name] = seen[name].merge(here) if name in seen else here
    return np.asarray(np.logical_and.reduce([here.always for here in found.values()]))


def judged(seen: Mapping[str, Wetness], plan: Plan) -> dict[str, int | list[int]]:
    """How many cells of each variable change between sea and land, ``{}`` where none does.

    Raises
    ------
    ValueError
        If one does, and the plan's mask is ``fixed``.
    """
    counts: dict[str, int | list[int]] = {}
    for series in plan.ocean:
        for name in series.names:
            wetness = seen.get(name)
            if wetness is None or not any(wetness.changing):
                continue
            counts[name] = wetness.changing if series.depths is not None else wetness.changing[0]
            share = sum(wetness.changing) / int(wetness.ever.sum())
            if plan.mask == "fixed":
                raise ValueError(
                    f"{_first_change(series, name, plan)}; say --mask static to take such cells out of the ocean, or "
                    "leave the file out."
                )
            if plan.mask == "static" and share > _SHARE:
                warnings.warn(
                    f"{_first_change(series, name, plan)}; {100 * share:.0f} % of the sea's cells change and are taken "
                    "out of the ocean. --mask dynamic accepts that, --mask fixed refuses it.",
                    IngestWarning,
                    stacklevel=2,
                )
    return counts


def _first_change(series: Series, name: str, plan: Plan) -> str:
    """The first step at which cells are sea or land that were not so at the start, in words."""
    before = np.isfinite(series.read([0], plan.rows, plan.columns)[name][0])
    for step in range(1, len(series.times)):
        now = np.isfinite(series.read([step], plan.rows, plan.columns)[name][0])
        changed = now != before
        if not changed.any():
            continue
        drier = before & ~now
        what, was = ("land", "sea") if drier.any() else ("sea", "land")
        cells = drier if drier.any() else changed
        _, row, column = np.argwhere(cells)[0]
        place = f"{plan.fine.latitude[row, column]:.4g} N, {plan.fine.longitude[row, column]:.4g} E"
        there = series.fields[int(series.origin[step][0])]
        field = next(part for part in there if part.name == name)
        start = Path(series.fields[int(series.origin[0][0])][0].where.partition(":")[0]).name
        return (
            f"{field.where} at {text(series.times[step])} (step {int(series.origin[step][1])}): {int(cells.sum())} "
            f"cells became {what}, the first at {place}, that are {was} at {text(series.times[0])} in {start}"
        )
    raise AssertionError("cells change, but no step differs from the first")
