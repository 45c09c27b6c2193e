"""Files joined along time into one series of a variable, or of the two components of a vector."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_pipelines.duplicates import without_duplicates
from data_pipelines.positions import Positions
from data_pipelines.remarks import Record
from data_pipelines.schema import check_values
from data_pipelines.sources.source import SURFACE, Source, SourceField, Values, near, rotate
from data_pipelines.times import Times, calendar_of, milliseconds
from oceanop.variables import VARIABLES

Depths = str | Sequence[float]


@dataclass(frozen=True, eq=False)
class Series:
    """One variable, or a vector's two components, over all files.

    Attributes
    ----------
    names
        Canonical names; two where the components must be turned together.
    times
        Strictly increasing ``[T]``.
    positions
        Cells of every file.
    depths
        Levels kept, m, ``[Z]``; None for a field on one level.
    level
        Depth of the one level where ``depths`` is None and the source has depths.
    fields
        One entry a file, each with one field a name.
    origin
        ``[T, 2]``: file and step in the file of each time.
    levels
        Level numbers read from each file.
    dropped
        What was left out because its times occur twice.
    """

    names: tuple[str, ...]
    times: Times
    positions: Positions
    depths: NDArray[np.float64] | None
    level: float | None
    fields: tuple[tuple[SourceField, ...], ...]
    origin: NDArray[np.int64]
    levels: tuple[list[int], ...]
    dropped: list[Record] = field(default_factory=list)

    @property
    def rotated(self) -> bool:
        """Whether the components are turned from the grid's axes to east and north."""
        return self.fields[0][0].along_grid

    @property
    def where(self) -> str:
        """First and last file and the variables, to begin an error with."""
        return self.fields[0][0].where

    def read(self, steps: Sequence[int], rows: slice, columns: slice) -> dict[str, Values]:
        """Given steps on a block of cells: true east and north, canonical units, checked.

        Returns
        -------
        By name, ``[n, z, y, x]``.

        Raises
        ------
        ValueError
            If a value is implausible, a step empty, or the file damaged.
        """
        parts: dict[str, list[Values]] = {name: [] for name in self.names}
        for start, stop in _runs(self.origin[np.asarray(steps)]):
            file, first = self.origin[steps[start]]
            inside = slice(int(first), int(first) + stop - start)
            blocks = []
            for part in self.fields[file]:
                block = part.fetch(inside, self.levels[file], rows, columns)
                check_values(block, part.name, self.times[np.asarray(steps)[start:stop]], part.where)
                blocks.append(block)
            if self.rotated:
                angle, side = self.positions.angle
                blocks = list(rotate(blocks[0], blocks[1], angle[rows, columns], side))
            for name, block in zip(self.names, blocks, strict=True):
                parts[name].append(block)
        return {
            name: blocks[0] if len(blocks) == 1 else np.concatenate(blocks) for name, blocks in parts.items()
        }


def join(sources: Sequence[Source], name: str, depths: Depths, duplicates: str = "error") -> Series:
    """Series of a canonical variable over all files that hold it, sorted by time.

    A component along the grid's axes brings its partner with it.

    Parameters
    ----------
    duplicates
        Which of two steps of one time stays; as for :func:`data_pipelines.duplicates.without_duplicates`.

    Raises
    ------
    ValueError
        If no file holds it, times occur twice, calendars or grids differ, or a component lacks its partner.
    """
    holders = [source for source in sources if name in source.fields]
    if not holders:
        held = dict.fromkeys(key for source in sources for key in source.fields)
        raise ValueError(
            f"variable '{name}' is in none of {', '.join(source.name for source in sources)}, which hold "
            f"{', '.join(held) or 'none that is known'}; name one of these or give the file that has it."
        )
    frames = {source.fields[name].along_grid for source in holders}
    if len(frames) > 1:
        raise ValueError(
            f"'{name}' is along the grid's axes in one of {', '.join(source.name for source in holders)} and true east "
            "and north in another; ingest them apart."
        )
    names: tuple[str, ...] = (name,)
    if frames == {True}:
        names = _pair(name)
    wanted = parsed_depths(depths)
    fields = tuple(
        tuple(_at_depths(_component(sources, source, name, part), wanted) for part in names)
        for source in holders
    )
    first = fields[0][0]
    for group in fields:
        for member in group:
            if not member.positions.agrees(first.positions):
                raise ValueError(
                    f"{member.where} lies on other cells than {first.where}; files of one series, and the components "
                    "of one current, share one grid. Ingest them apart or bring them to one grid first."
                )
    axes = [group[0].times for group in fields]
    assert all(axis is not None for axis in axes)
    calendars = {
        calendar_of(axis): group[0].where
        for axis, group in zip(axes, fields, strict=True)
        if axis is not None
    }
    if len(calendars) > 1:
        (one, here), (other, there) = list(calendars.items())[:2]
        raise ValueError(f"{here} is in the calendar {one}, {there} in {other}; use files of one calendar.")
    times = np.concatenate([axis for axis in axes if axis is not None])
    origin = np.array(
        [(file, step) for file, axis in enumerate(axes) if axis is not None for step in range(len(axis))],
        dtype=np.int64,
    )
    order = np.argsort(milliseconds(times), kind="stable")
    times, origin = times[order], origin[order]
    chosen = [_levels(group[0], depths) for group in fields]
    for group, (_, kept, _) in zip(fields, chosen, strict=True):
        if not _same(kept, chosen[0][1]):
            raise ValueError(
                f"{group[0].where} has other depths than {first.where}; use files on the same levels."
            )
    stays, dropped = without_duplicates(
        times,
        origin,
        duplicates,
        files=[holder.name for holder in holders],
        fields=fields,
        levels=[levels for levels, _, _ in chosen],
    )
    times, origin = times[stays], origin[stays]
    return Series(
        names=names,
        times=times,
        positions=first.positions,
        depths=chosen[0][1],
        level=chosen[0][2],
        fields=fields,
        origin=origin,
        levels=tuple(levels for levels, _, _ in chosen),
        dropped=dropped,
    )


def parsed_depths(depths: Depths) -> str | list[float]:
    """``surface``, ``all``, or depths in metres, from a list or from text like ``0,10,50``.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    if isinstance(depths, str):
        if depths in ("surface", "all"):
            return depths
        try:
            return [float(part) for part in depths.split(",")]
        except ValueError as error:
            raise ValueError(
                f"depths '{depths}' is neither surface, all, nor metres like 0,10,50."
            ) from error
    return [float(depth) for depth in depths]


def _component(sources: Sequence[Source], source: Source, name: str, part: str) -> SourceField:
    """A variable of a file, or the other half of its vector: from the file itself, or from one of the same times."""
    field = source.fields[name]
    if part == name:
        return field
    assert field.times is not None
    for other in (source, *sources):
        half = other.fields.get(part)
        if half is None or not half.along_grid or half.times is None or len(half.times) != len(field.times):
            continue
        if (milliseconds(half.times) == milliseconds(field.times)).all():
            return half
    raise ValueError(
        f"{field.where} is a component along the grid's own axis, and the file lacks the other one, as does every "
        "file of the same times, so it cannot be turned to east and north; give both."
    )


def _at_depths(field: SourceField, wanted: str | list[float]) -> SourceField:
    return field if field.at_depths is None else field.at_depths(wanted)


def _pair(name: str) -> tuple[str, str]:
    variable = VARIABLES[name]
    assert variable.partner is not None
    return (name, variable.partner) if variable.axis == 0 else (variable.partner, name)


def _levels(field: SourceField, depths: Depths) -> tuple[list[int], NDArray[np.float64] | None, float | None]:
    """Level numbers to read, the depth axis that stays, and the depth of a single level that loses its axis."""
    if field.depths is None:
        return [0], None, None
    wanted = parsed_depths(depths)
    if wanted == "surface":
        top = int(np.argmin(np.abs(field.depths)))
        if abs(field.depths[top]) > SURFACE:
            raise ValueError(
                f"{field.where}: its level nearest the surface lies at {field.depths[top]:g} m, more than {SURFACE:g} "
                "m down, so it has no surface level; name depths with --depths."
            )
        return [top], None, float(field.depths[top])
    if wanted == "all":
        order = np.argsort(field.depths)
        return order.tolist(), field.depths[order], None
    levels = []
    for depth in wanted:
        assert not isinstance(depth, str)
        nearest = int(np.argmin(np.abs(field.depths - depth)))
        if abs(field.depths[nearest] - depth) > near(depth) or nearest in levels:
            raise ValueError(
                f"{field.where} has no level of its own near {depth:g} m; its levels are "
                f"{', '.join(f'{value:g}' for value in field.depths)} m. Choose among them."
            )
        levels.append(nearest)
    levels = sorted(levels, key=lambda level: float(field.depths[level]) if field.depths is not None else 0.0)
    return levels, field.depths[levels], None


def _same(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=0.01))


def _runs(origin: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches of steps that follow one another in one file."""
    new = np.any(np.diff(origin, axis=0) != [0, 1], axis=1)
    edges = [0, *(np.flatnonzero(new) + 1).tolist(), len(origin)]
    return list(itertools.pairwise(edges))
