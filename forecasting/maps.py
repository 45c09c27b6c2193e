"""Maps of forecasts: the coast from our own mask, a unit on every bar, nothing fetched from anywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from forecasting.fields import Field, field_of, limits
from forecasting.page import LAND, STYLE, Page, save_png
from forecasting.projection import Cells, cells_of

__all__ = ["LAND", "comparison_figure", "draw_map", "map_figure", "panels_figure", "save_png"]

Lead = int | str | np.timedelta64
MOST = 24  # leads on one page; more are an animation


def draw_map(
    ds: xr.Dataset,
    *,
    variable: str,
    lead: Lead | Sequence[Lead],
    to: str | Path,
    start: Any = None,
    truth: xr.Dataset | None = None,
    depth: float | None = None,
) -> Path:
    """Draw planes of a forecast file as a PNG; beside the truth and their difference where a truth is given.

    Parameters
    ----------
    ds
        A forecast file, ``(init_time, lead_time, ..., y, x)``.
    variable
        A variable of the file, ``speed`` for the speed of a current with arrows, or a pair such as ``uo+vo``.
    lead
        Which lead of the file, counted from 1; or its duration, such as ``"6h"``. Several are panels of one page with
        the same limits.
    to
        The PNG to write.
    start
        A start of the file; None takes the first.
    truth
        What happened, in the form of a forecast file.
    depth
        Metres; None takes the uppermost level.

    Raises
    ------
    ValueError
        If the file does not hold what is asked for, or the picture is no PNG.
    """
    path = Path(to)
    if path.suffix.lower() != ".png":
        raise ValueError(
            f"{path}: a map is written as .png, not '{path.suffix}'; give a path that ends in .png."
        )
    leads = list(lead) if isinstance(lead, Sequence) and not isinstance(lead, str) else [lead]
    if not 1 <= len(leads) <= MOST:
        raise ValueError(
            f"{len(leads)} leads were asked for, and a page has 1 to {MOST} of them; name fewer, or draw an animation."
        )
    shown, happened = (
        None
        if source is None
        else [field_of(source, variable=variable, lead=each, start=start, depth=depth) for each in leads]
        for source in (ds, truth)
    )
    assert shown is not None
    cells = cells_of(ds)
    if len(leads) > 1:
        figure = panels_figure(shown, cells, truth=happened)
    else:
        figure = (
            map_figure(shown[0], cells)
            if happened is None
            else comparison_figure(shown[0], happened[0], cells)
        )
    return save_png(figure, path)


def map_figure(
    field: Field, cells: Cells, *, ends: tuple[float, float] | None = None, size: float = 42.0
) -> Any:
    """One map with its bar.

    Parameters
    ----------
    ends
        Of the colour scale; None fits them to the field.
    size
        Area of the map, square inches.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        page = Page(cells, 1, size=size, bars=(0,))
        page.panel(0, field, ends or limits(field))
        page.title(f"{field.label}  ·  {field.who}" if field.who else field.label, field.when)
        return page.figure


def comparison_figure(
    forecast: Field,
    truth: Field,
    cells: Cells,
    *,
    ends: tuple[float, float] | None = None,
    difference_ends: tuple[float, float] | None = None,
    size: float = 17.0,
) -> Any:
    """Forecast, truth and their difference in a row; the first two share their limits, the third is centred at zero.

    The limits are fitted to the truth: a forecast that left its range saturates, and the bar's arrow says so.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        difference = forecast.minus(truth)
        shared = ends or limits(truth)
        page = Page(cells, 3, size=size, bars=(1, 2))
        page.panel(0, forecast, shared, heading=forecast.who)
        page.panel(1, truth, shared, heading="truth", of=[forecast, truth])
        page.panel(2, difference, difference_ends or limits(difference), heading="forecast − truth")
        page.title(f"{forecast.label}  ·  {forecast.who}", forecast.when)
        return page.figure


def panels_figure(
    forecast: Sequence[Field], cells: Cells, *, truth: Sequence[Field] | None = None, size: float = 9.0
) -> Any:
    """Maps of several leads in the same colours: side by side, or a row for each where there is a truth.

    Parameters
    ----------
    forecast, truth
        One field a lead.
    size
        Area of one map, square inches.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        ends = limits(*(truth or forecast))
        if truth is None:
            columns = min(3, len(forecast))
            page = Page(cells, columns, size=size, bars=(columns - 1,), rows=-(-len(forecast) // columns))
            for number, field in enumerate(forecast):
                page.panel(number, field, ends, heading=f"lead {field.lead}", of=forecast)
        else:
            differences = [each.minus(happened) for each, happened in zip(forecast, truth, strict=True)]
            difference_ends = limits(*differences)
            both = [*forecast, *truth]
            page = Page(cells, 3, size=size, bars=(1, 2), rows=len(forecast))
            for row, fields in enumerate(zip(forecast, truth, differences, strict=True)):
                lead = f"lead {fields[0].lead}: "
                headings = (lead + fields[0].who, "truth", "forecast − truth")
                for column, (field, heading) in enumerate(zip(fields, headings, strict=True)):
                    shared = difference_ends if column == 2 else ends
                    page.panel(
                        3 * row + column,
                        field,
                        shared,
                        heading=heading,
                        of=differences if column == 2 else both,
                    )
        first = forecast[0]
        page.title(
            f"{first.label}  ·  {first.who}",
            f"start {first.start} · leads {forecast[0].lead} to {forecast[-1].lead}",
        )
        return page.figure
