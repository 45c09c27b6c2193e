"""The metadata of a store, written before its first field, and its fields that do not change in time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from data_pipelines.boundary import boundary_variables
from data_pipelines.grid_change import GridChange
from data_pipelines.plan import Plan, is_state
from data_pipelines.profiles import Profile
from data_pipelines.regrid import Regridder
from data_pipelines.schema import check_values
from data_pipelines.series import Series
from data_pipelines.sources.source import SourceField
from data_pipelines.store import StoreWriter
from oceanop.layout import cf_attributes
from oceanop.variables import VARIABLES

Mask = NDArray[np.bool_]


def lay_out(target: Path, plan: Plan, attributes: Mapping[str, Any], profile: Profile) -> StoreWriter:
    """Write the metadata of a store in place of an unfinished one."""
    area = plan.coarsening.area()
    levels = () if plan.depths is None else (len(plan.depths),)
    coordinates = plan.target.grid(np.zeros(plan.target.shape, dtype=bool), area).to_dataset()
    deep_mask = any(is_state(series) and series.depths is not None for series in plan.ocean)
    if deep_mask:
        dims = ("depth", *plan.target.dims)
        zeros = np.zeros((*levels, *plan.target.shape), dtype=np.int8)
        coordinates["mask"] = xr.Variable(dims, zeros, coordinates["mask"].attrs)
    measured = plan.target if isinstance(plan.coarsening, GridChange) else plan.fine
    coordinates["cell_area"].attrs["method"] = measured.area_method + plan.coarsening.area_words
    mapping = coordinates["cell_area"].attrs.get("grid_mapping")
    if plan.static:
        attrs = _variable_attributes(plan.static[0], mapping, plan)
        coordinates["deptho"] = xr.Variable(
            plan.target.dims, np.full(plan.target.shape, np.nan, dtype=np.float32), attrs
        )
    every = [*plan.ocean, *(series for series, _, _ in plan.weather)]
    return StoreWriter(
        target,
        coordinates=coordinates,
        times=plan.times,
        depths=plan.depths,
        variables={
            name: (
                (*(() if series.depths is None else ("depth",)), *plan.target.dims),
                _variable_attributes(_field(series, name), mapping, plan, series),
            )
            for series in every
            for name in series.names
            if name in plan.kept
        }
        | boundary_variables(plan, mapping),
        attributes=attributes,
        profile=profile,
    )


def sea_floor(plan: Plan, wet: Mask) -> NDArray[np.float32]:
    """Depth of the sea floor at wet cells, NaN on land."""
    field = plan.static[0]
    everything = slice(0, field.positions.shape[0]), slice(0, field.positions.shape[1])
    plane = field.fetch(slice(0, 1), [0], *everything)[0, 0]
    whole = plan.ocean[0].positions
    if field.positions.agrees(whole):
        fine = plane[plan.rows, plan.columns]
        depth = plan.coarsening.mean(fine, np.isfinite(fine)) if plan.coarsening.changes else fine
    else:
        regridder = Regridder.between(field.positions, plan.target, np.isfinite(plane))
        depth = regridder(plane[None, regridder.rows, regridder.columns])[0]
        if not regridder.inside[wet].all():
            share = 100 * float(regridder.inside[wet].mean())
            raise ValueError(
                f"{field.where} covers only {share:.0f} % of the ocean cells; give one that covers all."
            )
    depth = np.where(wet, depth, np.nan).astype(np.float32)
    check_values(depth[None, None], "deptho", None, field.where)
    return depth


def _field(series: Series, name: str) -> SourceField:
    return next(field for field in series.fields[0] if field.name == name)


def _variable_attributes(
    field: SourceField, mapping: str | None, plan: Plan, series: Series | None = None
) -> dict[str, Any]:
    """CF attributes of a variable, and how it came to be."""
    attrs: dict[str, Any] = cf_attributes(field.name) | field.attributes
    if plan.coarsening.changes and (series is None or series in plan.ocean):
        attrs["cell_methods"] = f"{attrs.get('cell_methods', '')} {plan.coarsening.cell_method}".strip()
        attrs["regridding"] = plan.coarsening.words
    if mapping is not None:
        attrs["grid_mapping"] = mapping
    attrs |= {"source_variable": field.source_name, "source_units": field.source_units}
    if VARIABLES[field.name].axis is not None:
        attrs["vector_frame"] = (
            "true east and north, turned from the source grid's axes"
            if field.along_grid
            else "true east and north"
        )
    if series is not None and series.level is not None:
        attrs["source_depth"] = series.level
    return attrs
