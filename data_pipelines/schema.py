"""What a labelled ocean is: names, units, ranges, and a time that moves forward."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.times import Times, milliseconds, text
from oceanop.variables import STORED, VARIABLES


class DamageError(ValueError):
    """A file, or a step of it, that is damaged and that one may choose to leave out."""


def check_values(values: NDArray[np.float32], name: str, times: Times | None, where: str) -> None:
    """Refuse values that cannot be on Earth, and steps that hold none.

    Parameters
    ----------
    values
        ``[t, z, y, x]`` in the canonical unit.
    times
        ``[t]``, for the error; None for a static field.
    where
        File and variable in words.

    Raises
    ------
    DamageError
        If a value is infinite or outside the variable's range, or a step has no value at all.
    """
    variable = VARIABLES[name]
    low, high = variable.valid_range
    for step, plane in enumerate(values):
        when = "" if times is None else f" at {text(times[step])}"
        # NaN drops out of fmin and fmax; an all-NaN plane leaves NaN
        least, most = np.fmin.reduce(plane, axis=None), np.fmax.reduce(plane, axis=None)
        if np.isnan(least):
            raise DamageError(f"{where}{when} holds no value at all; remove this step or repair the file.")
        if least < low or most > high:
            worst = least if least < low else most
            raise DamageError(
                f"{where}{when} reaches {worst:g} {variable.units}; {variable.long_name} lies between {low:g} and "
                f"{high:g}. Check its unit, scale_factor and fill value."
            )


def check_increasing(times: Times, wheres: list[str]) -> None:
    """Refuse two equal times; ``wheres`` names the file of each."""
    equal = np.flatnonzero(np.diff(milliseconds(times)) == 0)
    if equal.size:
        first = int(equal[0])
        files = list(dict.fromkeys(wheres[first : first + 2]))
        raise ValueError(
            f"{' and '.join(files)}: time {text(times[first])} occurs twice"
            f"{f', as do {equal.size - 1} more' if equal.size > 1 else ''}; give every step once, or say "
            "which one stays with --duplicates identical, first or last."
        )


def validate(ds: xr.Dataset, where: str = "the data set") -> None:
    """Accept a labelled ocean, or say what it lacks.

    Raises
    ------
    ValueError
        If a known variable has another unit or standard name than the table, odd dimensions, or time does not increase.
    """
    horizontal = ("latitude", "longitude") if "latitude" in ds.dims else ("y", "x")
    held = [str(name) for name in ds.data_vars if name in STORED]
    if not any(STORED[name].role != "static" for name in held):
        raise ValueError(f"{where} holds none of {', '.join(VARIABLES)}; ingest a source that does.")
    for name in held:
        array, variable = ds[name], STORED[name]
        lead = ("time",) if variable.role != "static" else ()
        if array.dims not in ((*lead, *horizontal), (*lead, "depth", *horizontal)):
            raise ValueError(
                f"{where}: '{name}' has dimensions ({', '.join(map(str, array.dims))}); expected "
                f"({', '.join((*lead, '[depth]', *horizontal))}). Transpose or rename them."
            )
        for key, expected in (("units", variable.units), ("standard_name", variable.standard_name)):
            found: Any = array.attrs.get(key)
            if found != expected:
                raise ValueError(
                    f"{where}: '{name}' has {key} {found!r}; the project keeps {expected!r}. Convert it with "
                    "'oceanop ingest'."
                )
    if (np.diff(milliseconds(ds["time"].values)) <= 0).any():
        raise ValueError(f"{where}: time does not increase from step to step; sort it and drop doubles.")
