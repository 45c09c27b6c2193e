"""Files as ocean models write them: currents on the faces of a C-grid, brought to the centres of its cells."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from data_pipelines.positions import Positions, on_sphere
from data_pipelines.sources.beside import Beside
from data_pipelines.sources.cells import read_positions
from data_pipelines.sources.centres import Centres, Vocabulary, find_centres, mask_planes
from data_pipelines.sources.files import NeedsMoreError
from data_pipelines.sources.names import is_upward, kept_attributes, left_aside, recognised, require_known
from data_pipelines.sources.repeated import without_halo
from data_pipelines.sources.source import SURFACE, Fetch, Given, Source, SourceField, Values
from data_pipelines.sources.staggering import (
    Faces,
    Mask,
    product,
    shift_of_masks,
    shift_of_positions,
    water_of,
)
from data_pipelines.sources.stored import Stored, stored_variable, unusable_fill
from data_pipelines.sources.terrain import is_terrain, on_terrain, terrain_levels
from oceanop.constants import EARTH_RADIUS
from oceanop.variables import Variable

_SAME_DEPTH = 0.01  # of a depth, and m: levels of a mask and of a field that are one
_SAME_POINTS = 0.25  # cells: half of the way to a face; positions kept in float32 are off by less


def read_native(
    ds: xr.Dataset, path: Path | str, along: Given | None = None, *, vocabulary: Vocabulary
) -> Source:
    """Find the fields in a file of an ocean model, and bring them all to the centres of its cells.

    Parameters
    ----------
    along
        What comes along with it: masks, positions, angle and sea floor of the grid's own files come before what the
        file says itself, and the cells' centres are looked for in its neighbours last.

    Raises
    ------
    ValueError
        If a field lacks time or a unit, or the grid cannot be made out.
    """
    around = Beside(path, ds, along or Given())
    try:
        return _read(ds, path, vocabulary, around)
    finally:
        around.close()


@dataclass(frozen=True, eq=False)
class _Model:
    """What the fields of one file share."""

    ds: xr.Dataset
    vocabulary: Vocabulary
    around: Beside
    centres: Centres | None
    sea_level: Fetch | None


def _read(ds: xr.Dataset, path: Path | str, vocabulary: Vocabulary, around: Beside) -> Source:
    name = Path(str(path)).name
    stored: list[tuple[Variable, bool, Stored]] = []
    for variable, source_name, along_grid in recognised(ds, name, vocabulary.names, around.along):
        with left_aside(around.along, variable):
            unit = vocabulary.units.get(variable.name)
            stored.append((variable, along_grid, stored_variable(ds, name, variable, source_name, unit)))
    centres = find_centres(around, vocabulary, on_faces=any(along_grid for _, along_grid, _ in stored))
    sea_level = next((part.read for variable, _, part in stored if variable.name == "zos"), None)
    model = _Model(ds, vocabulary, around, centres, sea_level)
    fields: dict[str, SourceField] = {}
    for variable, along_grid, part in stored:
        with left_aside(around.along, variable):
            fields[variable.name] = _field(model, variable, part, along_grid)
    is_grid = centres is not None and all(field.times is None for field in fields.values())
    if not is_grid:
        require_known(fields, ds, name)
    return Source(name, path, fields, dict(ds.attrs), ds.close, is_grid=is_grid)


def _field(model: _Model, variable: Variable, stored: Stored, along_grid: bool) -> SourceField:
    array, where, centres = stored.array, stored.where, model.centres
    known = model.around.along.known
    if variable.name == "deptho" and is_upward(array):
        stored = replace(stored, factor=-stored.factor, offset=-stored.offset)
    useless = unusable_fill(array) if variable.role != "static" else None
    if useless is not None and (centres is None or centres.mask is None):
        raise NeedsMoreError(
            f"{where} {useless}, so land looks like water; give the grid file with its mask with --static, or set its "
            "_FillValue."
        )
    kept = kept_attributes(array, along_grid)
    if along_grid:
        positions, fetch, points = _centred(model, variable, stored)
        kept |= {"source_points": points}
    elif centres is not None and stored.shape == centres.positions.shape:
        _require_at_centres(model, variable, stored)
        positions, fetch = centres.positions, stored.read
    elif centres is not None:
        raise ValueError(
            f"{where} has {stored.shape[0]} x {stored.shape[1]} points, and the grid of its model has another size; "
            "give the grid file that belongs to it with --static."
        )
    else:
        positions = known.positions(read_positions(model.ds, array, stored.y_dim, stored.x_dim, where))
        fetch = stored.read
    # Over land wind and pressure are as good as over water.
    if variable.role == "state" and centres is not None and centres.mask is not None:
        fetch = partial(_masked, fetch, _levelled(model, centres.mask, stored))
    whole = positions
    positions, fetch = without_halo(positions, fetch)
    if positions is not whole:
        positions = known.positions(positions)
    field = SourceField(
        variable.name,
        str(array.name),
        str(array.attrs.get("units", f"none, read as {model.vocabulary.units.get(variable.name)}")),
        where,
        stored.times,
        None,
        positions,
        along_grid,
        fetch,
        kept,
    )
    if not is_terrain(model.ds, stored.vertical):
        return replace(field, depths=stored.depths(model.ds))
    floor = model.around.find(model.vocabulary.floor, positions.shape)
    if floor is None:
        raise NeedsMoreError(
            f"{where} lies on terrain-following levels '{stored.vertical}', and the depth of the sea floor "
            f"({', '.join(model.vocabulary.floor) or 'which only ROMS and CROCO name'}) is in none of the files; give "
            "the grid file with --static, or a file on depth levels."
        )
    assert stored.vertical is not None
    # Some write the floor at every step.
    depth = known.array(floor.to_numpy().astype(np.float64).reshape(-1, *positions.shape)[0])
    levels = terrain_levels(model.ds, stored.vertical, depth, where)
    wet = known.array(levels.floor > 0) if centres is None or centres.mask is None else centres.mask[0]
    return on_terrain(field, levels, wet, model.sea_level)


def _centred(model: _Model, variable: Variable, stored: Stored) -> tuple[Positions, Fetch, str]:
    """A component along the grid at the centres of its cells, and where its points are, in words."""
    where, centres = stored.where, model.centres
    if centres is None and not model.vocabulary.needs_centres:
        own = read_positions(model.ds, stored.array, stored.y_dim, stored.x_dim, where)
        return model.around.along.known.positions(own), stored.read, "as the file has them"
    if centres is None:
        raise NeedsMoreError(
            f"{where} is along the grid's axes, and the centres of the cells between its points are in none of the "
            f"files; give the file {model.vocabulary.scalars} along with it, or the grid's own with --static."
        )
    assert variable.axis is not None
    axis = 1 - variable.axis
    stored_mask = model.around.find(model.vocabulary.face_masks[variable.axis], stored.shape)
    known = model.around.along.known
    water = None if stored_mask is None else known.array(mask_planes(stored_mask))
    shift = _shift(model, stored, axis, water)
    if shift is None:
        return centres.positions, stored.read, "centres of the cells"
    if water is None and centres.mask is not None:
        water = known.array(product(centres.mask, shift, axis, stored.shape[axis]))
    if water is not None:
        water = _levelled(model, water, stored)
    faces = Faces(stored.read, stored.shape, axis, shift, water, centres.positions.closes)
    first, second = (f"i{number:+d}" if number else "i" for number in (shift, shift + 1))
    points = f"faces of a C-grid, face i between the cells {first} and {second}; a cell has the mean of its wet faces"
    return centres.positions, faces.fetch, points


def _shift(model: _Model, stored: Stored, axis: int, water: Mask | None) -> int | None:
    """Shift of a component's points against the centres; None where it lies on them."""
    centres, where = model.centres, stored.where
    assert centres is not None
    shape = centres.positions.shape
    if stored.shape[1 - axis] != shape[1 - axis] or abs(stored.shape[axis] - shape[axis]) > 1:
        raise ValueError(
            f"{where} has {stored.shape[0]} x {stored.shape[1]} points, which are no faces of {shape[0]} x {shape[1]} "
            "cells; cut all points of the grid alike, or give the grid file that belongs to them with --static."
        )
    if centres.water is not None:
        faces = None if water is None else water[0]
        if faces is None and stored.times is not None:
            last = len(stored.times) - 1
            top = 0 if stored.vertical is None else stored.array.sizes[stored.vertical] - 1
            top = top if is_terrain(model.ds, stored.vertical) else 0
            whole = (slice(0, size) for size in stored.shape)
            faces = water_of(stored.read(slice(last, last + 1), [top], *whole)[0, 0])
        if faces is not None:
            shift, decided = shift_of_masks(faces, centres.water, axis)
            if decided:
                return shift
    try:
        own = read_positions(model.ds, stored.array, stored.y_dim, stored.x_dim, where)
    except ValueError:
        own = None  # its own points are nowhere; their number is left
    if own is not None and own.shape == stored.shape:
        shift, decided = shift_of_positions(own, centres.positions, axis)
        if decided:
            return shift
    if (stored.y_dim, stored.x_dim) == model.vocabulary.dims:
        return None  # weather, which no coast cuts
    if (shift := _shift_of_axes(model, stored, axis)) is not None:
        return shift
    excess = stored.shape[axis] - shape[axis]
    if excess == 0:
        raise NeedsMoreError(
            f"{where}: neither masks nor positions tell on which side of the cells its points lie; give the grid file "
            "with its masks with --static."
        )
    return 0 if excess < 0 else -1


def _shift_of_axes(model: _Model, stored: Stored, axis: int) -> int | None:
    """Shift by the axes of the model's own mesh, where faces and centres have one each; None where they have not."""
    if model.vocabulary.dims is None:
        return None
    faces, cells = (stored.y_dim, stored.x_dim)[axis], model.vocabulary.dims[axis]
    if faces == cells or any(
        name not in model.ds.variables or model.ds[name].size < 2 for name in (faces, cells)
    ):
        return None
    at, centres = (model.ds[name].to_numpy().astype(np.float64) for name in (faces, cells))
    apart = float((at[0] - centres[0]) / (centres[1] - centres[0]))
    return {0.5: 0, -0.5: -1}.get(round(apart, 1))


def _require_at_centres(model: _Model, variable: Variable, stored: Stored) -> None:
    """Refuse a field whose own points are not those of the grid that was found for it.

    Models that have one name for the positions of all kinds of points put them into every file of their own.
    """
    assert model.centres is not None
    if model.vocabulary.dims is not None:
        return
    try:
        own = read_positions(model.ds, stored.array, stored.y_dim, stored.x_dim, stored.where)
    except ValueError:
        return  # that is what the grid file is for
    centres, water = model.centres.positions, model.centres.water
    apart = on_sphere(own.latitude, own.longitude) - on_sphere(centres.latitude, centres.longitude)
    distance = EARTH_RADIUS * np.linalg.norm(apart, axis=-1)
    cells = float(np.median(distance if water is None else distance[water])) / centres.spacing
    if cells <= _SAME_POINTS:
        return
    if variable.axis is not None:
        raise ValueError(
            f"{stored.where} lies {cells:.2g} cells away from the centres of the cells, on their faces, where only a "
            "component along the grid's axes has its points, and its standard_name says that it is true east or north; "
            f"correct it ({variable.grid_standard_names[0]})."
        )
    raise ValueError(
        f"{stored.where} lies {cells:.2g} cells away, in the median, from the cells of its grid's file; give the grid "
        "file that belongs to it with --static."
    )


def _levelled(model: _Model, mask: Mask, stored: Stored) -> Mask:
    """A mask of one plane, or of as many as the field has levels: those of its depths where the mask has others."""
    if len(mask) == 1 or stored.vertical is None:
        return mask[:1]
    count = stored.array.sizes[stored.vertical]
    if count == 1 and abs(float(stored.array[stored.vertical][0])) <= SURFACE:
        return mask[:1]  # the top of a deep grid
    if len(mask) == count:
        return mask
    told = model.around.find(model.vocabulary.mask_depths)
    depths = np.zeros(0) if told is None else np.ravel(told.to_numpy()).astype(np.float64)
    # Some number their levels where others write depths
    if depths.size != len(mask) or np.array_equal(depths, np.arange(1, depths.size + 1)):
        raise ValueError(
            f"{stored.where} has {count} levels and the mask of its grid {len(mask)}, whose depths are not told; cut "
            "both to the same levels."
        )
    wanted = stored.depths(model.ds)
    assert wanted is not None
    nearest = np.abs(depths - wanted[:, None]).argmin(1)
    far = np.abs(depths[nearest] - wanted) > _SAME_DEPTH * np.abs(wanted) + _SAME_DEPTH
    if far.any():
        raise ValueError(
            f"{stored.where} has a level at {wanted[far][0]:g} m and the mask of its grid none, the nearest at "
            f"{depths[nearest][far][0]:g} m; give the grid file that belongs to it with --static."
        )
    return model.around.along.known.array(mask[nearest])


def _masked(fetch: Fetch, mask: Mask, steps: slice, levels: list[int], rows: slice, columns: slice) -> Values:
    planes = mask[levels if len(mask) > 1 else [0]][:, rows, columns]
    return np.where(planes, fetch(steps, levels, rows, columns), np.float32(np.nan))
