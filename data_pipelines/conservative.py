"""The area that cells of two grids share on the sphere: bands of latitude, or polygons that are cut by one another."""

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from data_pipelines.overlap import shared_lengths
from data_pipelines.positions import Positions, on_sphere
from oceanop.constants import EARTH_RADIUS

Vectors = NDArray[np.float64]

_PAIRS = 100_000  # of polygons cut at once: bounds memory to some 200 MB
_SLIVER = 1e-13  # of the smaller of two cells: rounding between cells that only touch


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Convex polygons of four corners (of which two may be one), anticlockwise from outside, and whose they are."""

    corners: Vectors
    owner: NDArray[np.int64]
    centre: Vectors
    radius: NDArray[np.float64]
    area: NDArray[np.float64]


def shared_areas(source: Positions, target: Positions) -> scipy.sparse.csr_array:
    """Area that each target cell shares with each source cell, m2, ``[targets, source cells]``.

    Between two grids regular in latitude and longitude this is exact. Else cells are polygons whose sides are great
    circles between their corners; each source polygon is cut by the sides of the target's (Sutherland and Hodgman,
    Communications of the ACM 17, 1974, on the sphere). Cells tile the sphere, so that the parts of a source cell add
    up to it wherever the target covers it: what is carried over with these weights is conserved to first order (Jones,
    Monthly Weather Review 127, 1999).
    """
    if source.regular and target.regular:
        return _shared_bands(source, target)
    one, other = _pieces(source), _pieces(target)
    cells, goals = _neighbours(one, other)
    shared = np.empty(cells.size)
    for begin in range(0, cells.size, _PAIRS):
        part = slice(begin, begin + _PAIRS)
        shared[part] = _shared(one.corners[cells[part]], other.corners[goals[part]])
    kept = shared > _SLIVER * np.minimum(one.area[cells], other.area[goals])
    places = other.owner[goals[kept]], one.owner[cells[kept]]
    size = target.latitude.size, source.latitude.size
    once = np.ones(source.shape)
    if source.fold is not None and not source.fold.doubled:
        once[-1, source.fold.shared] = 0.5  # each half of a cell that is there twice
    return scipy.sparse.csr_array(
        (EARTH_RADIUS**2 * shared[kept] * once.ravel()[places[1]], places), shape=size
    )


def _shared_bands(source: Positions, target: Positions) -> scipy.sparse.csr_array:
    """Of cells between parallels and meridians."""
    bands, sectors = (
        [grid.corners[axis][:, 0] if axis == 0 else grid.corners[axis][0] for grid in (source, target)]
        for axis in (0, 1)
    )
    rows = shared_lengths(*(np.sin(np.deg2rad(edges)) for edges in bands))
    columns = sum(shared_lengths(sectors[0] + turn, sectors[1]) for turn in (-360.0, 0.0, 360.0))
    return scipy.sparse.csr_array(
        EARTH_RADIUS**2 * scipy.sparse.kron(scipy.sparse.csr_array(rows), np.deg2rad(columns), "csr")
    )


def _pieces(positions: Positions) -> _Pieces:
    corner = on_sphere(*positions.corners)
    quads = np.stack([corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]], 2).reshape(
        -1, 4, 3
    )
    quads = np.where((_area(quads) < 0)[:, None, None], quads[:, ::-1], quads)
    turns = [_turn(*(quads[:, (k + step) % 4] for step in range(3))) for k in range(4)]
    convex = np.min(turns, 0) >= -np.finfo(np.float64).eps
    owner = np.arange(len(quads))
    bent, numbers = quads[~convex], owner[~convex]
    # A corner that points inwards is an end of the diagonal that cuts its cell into two triangles
    first = np.argmin(np.stack(turns, 1)[~convex], 1) + 1 if len(bent) else np.zeros(0, dtype=np.int64)
    halves = [
        np.stack([bent[np.arange(len(bent)), (first + step) % 4] for step in steps], 1)
        for steps in ((0, 1, 2, 2), (0, 2, 3, 3))
    ]
    whole = np.concatenate([quads[convex], *halves])
    owner = np.concatenate([owner[convex], numbers, numbers])
    area = _area(whole)
    whole, owner, area = whole[area > 0], owner[area > 0], area[area > 0]
    centre = whole.sum(1)
    centre /= np.linalg.norm(centre, axis=-1, keepdims=True)
    radius = np.linalg.norm(whole - centre[:, None], axis=-1).max(1)
    return _Pieces(whole, owner, centre, radius, area)


def _neighbours(one: _Pieces, other: _Pieces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of polygons whose circles touch."""
    found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    # By size, or one large cell would make every search wide
    octave = np.floor(np.log2(one.radius)).astype(np.int64)
    for size in np.unique(octave):
        members = np.flatnonzero(octave == size)
        near = cKDTree(one.centre[members]).query_ball_point(
            other.centre, other.radius + one.radius[members].max()
        )
        count = np.fromiter(map(len, near), dtype=np.int64, count=len(near))
        goals = np.repeat(np.arange(len(near)), count)
        cells = members[np.fromiter(itertools.chain.from_iterable(near), dtype=np.int64, count=count.sum())]
        apart = np.linalg.norm(one.centre[cells] - other.centre[goals], axis=-1)
        touch = apart < one.radius[cells] + other.radius[goals]
        found.append((cells[touch], goals[touch]))
    cells, goals = (np.concatenate(part) for part in zip(*found, strict=True))
    return cells, goals


def _shared(polygons: Vectors, cutters: Vectors) -> NDArray[np.float64]:
    """Area on the unit sphere of polygons ``[n, 4, 3]`` inside others."""
    # Most candidates lie beyond one of the other's sides altogether
    meet = ~(_beyond(polygons, _sides(cutters)) | _beyond(cutters, _sides(polygons)))
    result = np.zeros(len(polygons))
    polygons, normals = polygons[meet], _sides(cutters[meet])
    some = np.ones(len(polygons), dtype=bool)
    for side in range(4):
        polygons, left = _cut(polygons, normals[:, side])
        some &= left
    result[meet] = np.where(some, np.maximum(_area(polygons), 0.0), 0.0)
    return result


def _sides(polygons: Vectors) -> Vectors:
    """Normals of the planes of the sides, inwards; of two near corners exact to rounding of their difference."""
    return np.cross(polygons, np.roll(polygons, -1, 1) - polygons)


def _beyond(polygons: Vectors, sides: Vectors) -> NDArray[np.bool_]:
    outside = np.asarray(polygons @ np.swapaxes(sides, 1, 2)) < 0
    return np.asarray(np.any(np.all(outside, axis=1), axis=1))


def _cut(polygons: Vectors, normal: Vectors) -> tuple[Vectors, NDArray[np.bool_]]:
    """The parts of polygons ``[n, k, 3]`` on the side of a plane to which its normal points, and whether there are any.

    A convex polygon gains one corner at most; slots that are not needed repeat the last one.
    """
    height = (polygons * normal[:, None]).sum(-1)
    after, height_after = np.roll(polygons, -1, 1), np.roll(height, -1, 1)
    inside, crosses = height >= 0, (height >= 0) != (height_after >= 0)
    crossing = polygons * np.abs(height_after)[..., None] + after * np.abs(height)[..., None]
    length = np.linalg.norm(crossing, axis=-1, keepdims=True)
    crossing /= np.where(length > 0, length, 1.0)
    slots = np.stack([polygons, crossing], 2).reshape(len(polygons), -1, 3)
    used = np.stack([inside, crosses], 2).reshape(len(polygons), -1)
    order = np.argsort(~used, axis=1, kind="stable")[:, : polygons.shape[1] + 2]
    count = used.sum(1)
    assert (count <= order.shape[1]).all()
    place = np.minimum(np.arange(order.shape[1]), np.maximum(count, 1)[:, None] - 1)
    chosen = np.take_along_axis(order, place, 1)
    return np.take_along_axis(slots, chosen[..., None], 1), count > 0


def _area(polygons: Vectors) -> NDArray[np.float64]:
    """Signed area on the unit sphere of polygons ``[n, k, 3]``, positive anticlockwise from outside."""
    start = polygons[:, 0]
    total = np.zeros(len(polygons))
    for k in range(1, polygons.shape[1] - 1):
        b, c = polygons[:, k], polygons[:, k + 1]
        # By differences, or small cells would lose half of their digits (Van Oosterom and Strackee 1983)
        volume = (start * np.cross(b - start, c - start)).sum(-1)
        cosines = (start * b).sum(-1) + (b * c).sum(-1) + (c * start).sum(-1)
        total += 2 * np.arctan2(volume, 1 + cosines)
    return total


def _turn(a: Vectors, b: Vectors, c: Vectors) -> NDArray[np.float64]:
    """Positive where the way from ``a`` over ``b`` to ``c`` turns left."""
    return np.asarray((b * np.cross(b - a, c - b)).sum(-1))
