"""The centres of a model's cells: where they lie, which are water, and which way the grid runs there."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import xarray as xr

from data_pipelines.positions import Positions
from data_pipelines.sources.beside import Beside
from data_pipelines.sources.cells import read_positions
from data_pipelines.sources.names import recognised
from data_pipelines.sources.staggering import Mask, water_of
from data_pipelines.sources.stored import stored_variable

_ANGLE_AGREES = 5.0  # degrees: an angle further from what the positions say is another thing


@dataclass(frozen=True)
class Vocabulary:
    """How a model calls things.

    Attributes
    ----------
    names
        Its variables to ours, small letters; a star marks a component along the grid's own axis.
    latitude, longitude
        Of the cells' centres, where a variable of that name can be nothing else.
    mask
        Of the cells.
    face_masks
        Of the faces along x and along y.
    floor
        Depth of the sea floor, m.
    angle
        Of the grid's x axis, from east.
    dims
        Dimensions of the centres, where those of the faces have names of their own.
    scalars
        The file in which the centres are found, in words.
    mask_depths
        Depths of the levels of the masks, m, where a grid file tells them.
    units
        Of quantities, by our names, that it writes without one.
    needs_centres
        Whether its currents are on faces for sure, so that points of their own are no centres.
    """

    names: Mapping[str, str]
    latitude: tuple[str, ...]
    longitude: tuple[str, ...]
    mask: tuple[str, ...]
    face_masks: tuple[tuple[str, ...], tuple[str, ...]]
    floor: tuple[str, ...]
    angle: tuple[str, ...] = ()
    dims: tuple[str, str] | None = None
    mask_depths: tuple[str, ...] = ()
    scalars: str = "of temperature or sea level"
    units: Mapping[str, str] = field(default_factory=dict)
    needs_centres: bool = True


@dataclass(frozen=True, eq=False)
class Centres:
    """Centres of the cells of a C-grid.

    Attributes
    ----------
    positions
        Where they lie, and which way the grid's x axis runs there.
    mask
        True where there is water, ``[Z or 1, Y, X]``; None where no mask is given.
    seen
        Water as the values of a scalar show it, ``[Y, X]``; None where a mask is given, or nothing shows it.
    """

    positions: Positions
    mask: Mask | None
    seen: Mask | None

    @property
    def water(self) -> Mask | None:
        """Water at the surface, ``[Y, X]``, from whatever tells it."""
        return self.seen if self.mask is None else self.mask[0]


def find_centres(around: Beside, vocabulary: Vocabulary, *, on_faces: bool) -> Centres | None:
    """Centres from the first data set that tells them; None where none does.

    Parameters
    ----------
    on_faces
        Whether water is needed to place what lies on the faces; where no mask tells, values are read for it.

    Raises
    ------
    ValueError
        If the grid's angle contradicts the positions, or there are no positions where a mask is.
    """
    for path, ds in around.given():
        file = Path(str(path)).name
        if (found := _centres(file, ds, around, vocabulary, by_scalars=False, on_faces=on_faces)) is not None:
            return found
    for path, ds in around.series():
        file = Path(str(path)).name
        if (found := _centres(file, ds, around, vocabulary, by_scalars=True, on_faces=on_faces)) is not None:
            around.remember(path)
            return found
    return None


def mask_planes(array: xr.DataArray) -> Mask:
    """A stored mask ``[Z or 1, Y, X]``: water where it is at least one half, however it is packed."""
    values = array.to_numpy()
    if values.ndim == 4:
        values = values[0]
    return np.asarray((values if values.ndim == 3 else values[None]) > 0.5)


def _centres(
    file: str, ds: xr.Dataset, around: Beside, vocabulary: Vocabulary, *, by_scalars: bool, on_faces: bool
) -> Centres | None:
    """Centres by name, or else those of a scalar; a file given for the grid may hold scalars of another grid."""
    seen = None
    named = [next((name for name in names if name in ds.variables), None)
             for names in (vocabulary.latitude, vocabulary.longitude)]  # fmt: skip
    if named[0] is not None and named[1] is not None:
        planes = [_plane(ds[name]) for name in named]
        if planes[0].ndim == 1:
            planes = list(np.meshgrid(*planes, indexing="ij"))
        if not all(np.isfinite(plane).all() and np.ptp(plane) > 0 for plane in planes):
            raise ValueError(
                f"{file}: '{named[0]}' and '{named[1]}' have no value on some or all cells; every cell needs its "
                "position, on land too. Give the grid file with --static."
            )
        positions = Positions(planes[0], (planes[1] + 180) % 360 - 180)
    held = recognised(ds, file, vocabulary.names, around.along) if by_scalars else []
    scalar = next((entry for entry in held if entry[0].axis is None), None)
    if scalar is not None:
        stored = stored_variable(ds, file, scalar[0], scalar[1], vocabulary.units.get(scalar[0].name))
        if named[0] is None or named[1] is None:
            positions = read_positions(ds, stored.array, stored.y_dim, stored.x_dim, stored.where)
        mask = around.find(vocabulary.mask, positions.shape)
        if mask is None and on_faces and stored.times is not None and stored.shape == positions.shape:
            last = len(stored.times) - 1
            whole = (slice(0, size) for size in stored.shape)
            seen = water_of(stored.read(slice(last, last + 1), [0], *whole)[0, 0])
    elif named[0] is None or named[1] is None:
        return None
    else:
        mask = around.find(vocabulary.mask, positions.shape)
    known = around.along.known
    positions = known.positions(positions)
    if (angle := around.find(vocabulary.angle, positions.shape)) is not None:
        positions = known.positions(_with_angle(positions, angle, file))
    return Centres(
        positions,
        None if mask is None else known.array(mask_planes(mask)),
        None if seen is None else known.array(seen),
    )


def _with_angle(positions: Positions, angle: xr.DataArray, file: str) -> Positions:
    radians = _plane(angle)
    along_rows = positions.angle[0]
    if str(angle.attrs.get("units", "radians")).lower().startswith("deg"):
        radians = np.deg2rad(radians)
    told = np.isfinite(radians)  # some leave land out
    if not told.any():
        return positions
    apart = np.rad2deg(np.abs(np.angle(np.exp(1j * (radians - along_rows)[told]))))
    if np.median(apart) > _ANGLE_AGREES:
        raise ValueError(
            f"{file}: its '{angle.name}' differs from the direction of the rows of cells by {np.median(apart):.0f} "
            "degrees in the median; correct it, or leave it out and the positions are used."
        )
    return replace(positions, x_angle=np.where(told, radians, along_rows))


def _plane(array: xr.DataArray) -> np.ndarray:
    values = array.to_numpy().astype(np.float64)
    return values.reshape(values.shape[-2:]) if values.ndim > 2 else values
