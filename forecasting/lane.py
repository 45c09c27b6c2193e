"""Fields of one start, lead after lead, and what happened then: read one at a time, however long the forecast is."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from data_pipelines import open_store
from forecasting.fields import Field, field_of, parts_of, start_number
from forecasting.truth import truth_of

Ends = tuple[float, float]
Pair = tuple[Field, Field | None]


class Lane:
    """One variable of a forecast from one start, and the truth beside it where a store of it is given.

    Parameters
    ----------
    ds
        A forecast file.
    variable, start, depth
        As :func:`forecasting.fields.field_of` takes them.
    truth
        A store on the same grid, or its path. A lead after its end has a truth without values.

    Raises
    ------
    ValueError
        If the forecast does not hold what is asked for, or the truth has none of its times.
    """

    def __init__(
        self,
        ds: xr.Dataset,
        *,
        variable: str,
        start: Any = None,
        depth: float | None = None,
        truth: xr.Dataset | str | Path | None = None,
    ) -> None:
        parts = parts_of(ds, variable)
        row = start_number(ds, start)
        self.ds, self.depth, self.variable = ds.isel(init_time=[row]), depth, variable
        self.truth = open_store(truth) if isinstance(truth, str | Path) else truth
        self.known = np.zeros(ds.sizes["lead_time"], dtype=bool)
        if self.truth is not None:
            missing = [name for name in parts if name not in self.truth.data_vars]
            if missing:
                raise ValueError(
                    f"the truth does not hold {', '.join(missing)}, which is drawn; give a store with what was "
                    "forecast."
                )
            self.known = self.ds["valid_time"].isin(self.truth["time"]).to_numpy()[0]
            if not self.known.any():
                truth_of(self.ds, self.truth)  # says which times there are

    def __len__(self) -> int:
        return int(self.ds.sizes["lead_time"])

    def at(self, column: int) -> Pair:
        """Forecast and truth of one lead, counted from 0."""
        part = self.ds.isel(lead_time=[column])
        words: dict[str, Any] = {"variable": self.variable, "lead": 1, "depth": self.depth}
        field = field_of(part, **words)
        if self.truth is None:
            return field, None
        if self.known[column]:
            return field, field_of(truth_of(part, self.truth), **words)
        return field, replace(
            field,
            values=_nothing(field.values),
            east=_nothing(field.east),
            north=_nothing(field.north),
            who="truth",
        )

    def pairs(self, columns: Sequence[int]) -> Iterator[Pair]:
        """Forecast and truth of some leads, one after another."""
        return (self.at(column) for column in columns)


def _nothing(values: Any) -> Any:
    return None if values is None else np.full_like(values, np.nan)


def joint(ends: Sequence[Ends]) -> Ends:
    """Ends that hold all others; of a scale centred at zero they stay centred."""
    return min(low for low, _ in ends), max(high for _, high in ends)
