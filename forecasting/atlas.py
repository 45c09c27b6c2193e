"""The maps of a report as numbers: all fields by lead, packed for a page that draws them itself and tells values."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from forecasting.fields import SIGNED, drawable, field_of, hours_text, limits, rounded_up, unit_text
from forecasting.packing import Scale, deflated, packed
from forecasting.projection import Cells
from forecasting.raster import Raster, raster_of

Planes = dict[str, NDArray[np.floating]]  # by forecaster, [lead, y, x]

TRUTH = "truth"
BYTES = 2_600_000  # of all packed fields in a page
LEADS = 48  # at most, evenly chosen: a slider on a phone has no room for more
FEW_LEADS = 8  # before there are fewer leads than this the cells are thinned
VARIABLES = 6  # at most: a current, its components, and three more
ARROWS = 18  # along the longer side
BEYOND = 2.0  # ranges of the truth that a forecast may leave it by, before its values are cut
PLACE_STEP = 0.001  # degrees


@dataclass(frozen=True)
class Atlas:
    """What the page draws from.

    Attributes
    ----------
    data
        For the page's program.
    notes
        What the reader is told of leads and cells left out.
    """

    data: dict[str, Any]
    notes: list[str]


def atlas_of(
    forecasts: Mapping[str, xr.Dataset],
    truth: xr.Dataset,
    names: list[str],
    cells: Cells,
    *,
    scored: int | None = None,
) -> Atlas:
    """Pack the first start's fields of the truth and of some forecasters.

    Parameters
    ----------
    forecasts
        In the form of a forecast file.
    truth
        In the same form.
    names
        Forecasters to be drawn, in their order.
    cells
        Of the grid.
    scored
        Leads that there were before some were kept for pictures; those of the truth where None.

    Returns
    -------
    Atlas
        At most about :data:`BYTES` of fields: leads are evenly chosen, and cells thinned, until they fit.
    """
    variables = drawable(truth)[:VARIABLES]
    components = list(dict.fromkeys(part for name in variables for part in _parts(name)))
    sets = {TRUTH: truth, **{name: forecasts[name] for name in names}}
    count = truth.sizes["lead_time"]
    sample = {name: _planes(sets, name, [max(1, count // 2)]) for name in components}
    stride, most = 1, min(count, LEADS)
    each = _bytes_a_lead(sample, cells.wet, stride)
    while each * min(FEW_LEADS, most) > BYTES and min(cells.wet.shape) // (stride + 1) > 8:
        stride += 1
        each = _bytes_a_lead(sample, cells.wet, stride)
    numbers = _evenly(count, int(np.clip(BYTES // each, 1, most)))
    raster = raster_of(cells, stride)
    wet = _thinned(cells.wet, stride)
    planes = {name: _planes(sets, name, numbers) for name in components}
    scales = {name: _scale(fields) for name, fields in planes.items()}
    fields = {
        f"{component}/{who}": [
            packed(scales[component].levels(_thinned(plane, stride)[wet])) for plane in held
        ]
        for component, fields in planes.items()
        for who, held in fields.items()
    }
    shown = [_variable(name, truth, planes) for name in variables]
    whole = scored or count
    notes = [] if len(numbers) == whole else [f"{len(numbers)} of {whole} leads are shown, evenly chosen."]
    if stride > 1:
        notes.append(
            f"Of the cells every {_ordinal(stride)} is shown in either direction, to keep the page small."
        )
    if len(variables) < len(drawable(truth)):
        left = ", ".join(drawable(truth)[VARIABLES:])
        notes.append(f"There are no maps here of {left}; 'oceanop map' draws them.")
    data = {
        "raster": _raster_json(raster),
        "places": [
            packed(np.rint((_thinned(plane, stride)[wet] + 360) / PLACE_STEP).astype(np.uint32))
            for plane in (cells.latitude, cells.longitude)
        ],
        "variables": shown,
        "colours": {name: _colour_table(name) for name in {one["colours"] for one in shown} | {SIGNED}},
        "scales": {name: scale.as_json() for name, scale in scales.items()},
        "forecasters": names,
        "leads": [_lead(truth, n) for n in numbers],
        "fields": fields,
        "arrows": _arrows(cells, stride) if any(one["arrow"] for one in shown) else [],
    }
    return Atlas(data, notes)


def _parts(variable: str) -> tuple[str, ...]:
    return ("uo", "vo") if variable == "speed" else tuple(variable.split("+"))


def _planes(sets: Mapping[str, xr.Dataset], component: str, numbers: list[int]) -> Planes:
    """The first start's uppermost level, of an ensemble the mean, by forecaster, ``[lead, y, x]``."""
    index = [number - 1 for number in numbers]
    found = {}
    for who, ds in sets.items():
        array = ds[component].isel(init_time=0, lead_time=index)
        if "member" in array.dims:
            array = array.mean("member")
        found[who] = (array.isel(depth=0) if "depth" in array.dims else array).to_numpy()
    return found


def _thinned(plane: NDArray[Any], stride: int) -> NDArray[Any]:
    return plane[stride // 2 :: stride, stride // 2 :: stride]


def _evenly(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(count if most == 1 else 1, count, most).round().astype(int)).tolist()


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def _scale(planes: Planes) -> Scale:
    """Levels over the truth's range and some beyond: one forecast that blew up must not coarsen all the others."""
    low, high = _ends([planes[TRUTH]])
    reach = BEYOND * max(high - low, 1e-9)
    least, most = _ends(planes.values())
    return Scale.over(low - reach, high + reach, least=least, most=most)


def _ends(held: Iterable[NDArray[np.floating]]) -> tuple[float, float]:
    finite = [each[np.isfinite(each)] for each in held]
    finite = [each for each in finite if each.size]
    if not finite:
        return 0.0, 1.0
    return min(float(each.min()) for each in finite), max(float(each.max()) for each in finite)


def _bytes_a_lead(sample: Mapping[str, Planes], wet: NDArray[np.bool_], stride: int) -> int:
    shown = _thinned(wet, stride)
    return sum(
        len(packed(_scale(planes).levels(_thinned(plane, stride)[shown])))
        for planes in sample.values()
        for (plane,) in planes.values()
    )


def _variable(name: str, truth: xr.Dataset, planes: Mapping[str, Planes]) -> dict[str, Any]:
    """What a map of it says, and the ends of its colours: the same for all leads and forecasters."""
    about = field_of(truth, variable=name, lead=1)
    parts = _parts(name)

    def size(who: str) -> NDArray[np.float64]:
        held = [planes[part][who].astype(np.float64) for part in parts]
        return np.hypot(*held) if len(held) == 2 else held[0]

    happened = size(TRUTH)
    ends = limits(replace(about, values=happened))
    # The middle forecaster sets the scale of errors: the best would drown in that of one that blew up
    signed = replace(about, colours=SIGNED)
    reach = [
        limits(replace(signed, values=size(who) - happened))[1] for who in planes[parts[0]] if who != TRUTH
    ]
    wrong = rounded_up(float(np.median(reach))) if reach else 1.0
    return {
        "name": name,
        "label": about.label,
        "unit": unit_text(about.units),
        "parts": list(parts),
        "colours": about.colours,
        "ends": list(ends),
        "wrong": wrong,
        "arrow": [rounded_up(0.65 * ends[1]), rounded_up(wrong)] if about.east is not None else None,
    }


def _lead(truth: xr.Dataset, number: int) -> dict[str, Any]:
    lead = truth["lead_time"].values[number - 1]
    name = drawable(truth)[0]
    return {
        "label": hours_text(lead),
        "hours": float(lead / np.timedelta64(1, "s")) / 3600,
        "when": field_of(truth, variable=name, lead=number).when.split(" · ")[0],
    }


def _raster_json(raster: Raster) -> dict[str, Any]:
    return {
        "height": raster.cells.shape[0],
        "width": raster.cells.shape[1],
        "cells": packed(raster.cells),
        "lines": raster.lines,
        "labels": raster.labels,
    }


def _colour_table(name: str) -> str:
    """Red, green and blue of 256 colours from the lowest to the highest value, packed."""
    with warnings.catch_warnings():
        # cmocean 4.0 builds its maps in a way that matplotlib 3.11 announces to drop
        warnings.simplefilter("ignore")
        import cmocean
    colours = getattr(cmocean.cm, name)(np.linspace(0, 1, 256))[:, :3]
    return deflated(np.rint(colours * 255).astype(np.uint8).tobytes())


def _arrows(cells: Cells, stride: int) -> list[list[float]]:
    """Wet cell, place on the picture (shares) and paper's directions of east and north, of each arrow."""
    import cartopy.crs as ccrs

    wet = _thinned(cells.wet, stride)
    number = np.cumsum(wet).reshape(wet.shape) - 1
    step = max(1, round(max(wet.shape) / ARROWS))
    rows = slice(step // 2, None, step), slice(step // 2, None, step)
    shown = wet[rows]
    longitude, latitude = (
        _thinned(plane, stride)[rows][shown] for plane in (cells.longitude, cells.latitude)
    )
    geographic = ccrs.PlateCarree()
    points = cells.crs.transform_points(geographic, longitude, latitude)
    left, right, bottom, top = cells.extent
    one, none = np.ones(longitude.size), np.zeros(longitude.size)
    east = cells.crs.transform_vectors(geographic, longitude, latitude, one, none)
    north = cells.crs.transform_vectors(geographic, longitude, latitude, none, one)
    columns = [
        number[rows][shown],
        (points[:, 0] - left) / (right - left),
        (top - points[:, 1]) / (top - bottom),
        *east,
        *north,
    ]
    return [
        [int(row[0]), *(round(float(value), 4) for value in row[1:])] for row in zip(*columns, strict=True)
    ]
