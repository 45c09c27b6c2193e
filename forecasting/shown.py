"""Fields of some starts and leads that are kept for pictures: every forecaster and the truth in one form."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting import clock
from forecasting.forecaster import State
from forecasting.matching import Match
from forecasting.product import MemoryForecast, Plan
from forecasting.scoring import Part, Shown
from oceanop.grid import Grid

SHOWN_BYTES = 2**30  # of fields kept, all forecasters together


def chosen(matched: Match, forecasters: int, cells: int, *, memory: int = SHOWN_BYTES) -> Shown:
    """Starts, evenly chosen, as many as fit into memory; where not even one does, leads of it, evenly chosen.

    Parameters
    ----------
    forecasters
        Their number; the truth is kept beside them.
    cells
        Of a plane.
    """
    plane = 4 * len(matched.layout.state) * cells * (forecasters + 1)
    starts, leads = matched.init_steps.size, matched.leads.size
    return Shown(_evenly(starts, memory // (plane * leads)), _evenly(leads, memory // plane))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    number = int(np.clip(most, 1, count))
    # A single lead is the last one: it is what a forecast is made for
    places = [count - 1] if number == 1 < count else np.linspace(0, count - 1, number)
    return np.round(places).astype(np.int64)


class Gallery:
    """Gathers the fields that parts bring.

    Parameters
    ----------
    shown
        Which they are.
    names
        Of the forecasters.
    """

    def __init__(self, shown: Shown, matched: Match, truth: xr.Dataset, names: list[str]) -> None:
        self.shown = shown
        grid = Grid.from_dataset(truth)
        leads = matched.leads[shown.leads]
        self._lead_times = (leads * matched.time_step).astype("timedelta64[s]").astype("timedelta64[ns]")
        first = matched.first.isel(init_time=shown.starts, lead_time=shown.leads)
        starts = first["init_time"].values
        valid: NDArray[Any] = (
            first["valid_time"].transpose("init_time", "lead_time").values
            if "valid_time" in first.coords
            else np.stack([clock.shift(time, leads, matched.time_step) for time in starts])
        )
        self._sinks = {}
        for name in ["truth", *names]:
            attributes = dict(matched.forecasts[name].attrs) if name in matched.forecasts else {}
            plan = Plan(
                layout=matched.layout,
                grid=grid,
                mask=grid.to_dataset()["mask"],
                wet=matched.layout.wet(truth),
                init_times=starts,
                leads=leads.size,
                time_step=matched.time_step,
                attributes={**attributes, "model": name},
                valid_times=valid,
            )
            self._sinks[name] = MemoryForecast(plan)

    def add(self, part: Part) -> None:
        """Put the fields that a part brings into their places."""
        for name, pieces in part.shown.items():
            start = int(np.flatnonzero(self.shown.starts == part.task.start)[0])
            for places, fields in pieces:
                for place, values in zip(places.tolist(), fields.unbind(1), strict=True):
                    self._sinks[name].write(start, State(place + 1, values))

    def datasets(self) -> dict[str, xr.Dataset]:
        """The data sets, their leads named by what they are."""
        return {
            name: (ds := sink.finish()).assign_coords(lead_time=ds["lead_time"].copy(data=self._lead_times))
            for name, sink in self._sinks.items()
        }
