"""What is refused before the first field is written: a disk that is too small, and files of another region."""

import math
import shutil
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data_pipelines.boundary import cell_size, distance_to
from data_pipelines.engine.shards import steps_of
from data_pipelines.engine.tasks import Site, Task
from data_pipelines.plan import Plan

_NEAR = (
    2.0  # cells of the source: an ocean cell farther away from all of them lies in none of its quadrilaterals
)
_LEAST = (
    0.5  # of the ocean cells: fewer near ones are refused, and how many lie inside is counted with the mask
)


def require_space(site: Site, tasks: Iterable[Task]) -> None:
    """Refuse to begin what cannot fit on the disk.

    Raises
    ------
    ValueError
        Naming what is needed and what is free.
    """
    needed = 0
    for task in tasks:
        for name in task.names:
            document = site.documents[name]
            whole = 4 * steps_of(document) * int(np.prod(document["shape"][1:]))
            # How far fields can be squeezed is not known before; to a third is far
            needed += whole if document["codecs"][0]["name"] != "sharding_indexed" else whole // 3
    free = shutil.disk_usage(site.target).free
    if needed > free:
        raise ValueError(
            f"{site.target} needs {math.ceil(needed / 1e6)} MB more, and its disk has {free // 10**6} MB free; free "
            "some of it, give a path on another disk with --to, or keep less with --variables, --depths, --region or "
            "--coarsen."
        )


def require_near(plan: Plan, sea: NDArray[np.bool_]) -> None:
    """Refuse weather and sea floors of another region, which would be found out when all states are written.

    Parameters
    ----------
    sea
        Cells that may be ocean, ``[Y, X]``.

    Raises
    ------
    ValueError
        If most of these cells are far from a source's own.
    """
    if not sea.any():
        return  # which has an error of its own
    for where, positions in (
        *((field.where, field.positions) for field in plan.static),
        *((series.where, series.positions) for series, _, _ in plan.weather),
    ):
        if positions.agrees(plan.ocean[0].positions):
            continue
        reach = _NEAR * cell_size(positions)
        far = float((distance_to(positions, None, plan.target)[sea] > reach).mean())
        if far > 1 - _LEAST:
            raise ValueError(
                f"{where} covers only {100 * (1 - far):.0f} % of the ocean cells, and the others lie more than "
                f"{reach / 1000:.3g} km away from its own; give a file for this region, or choose a smaller one with "
                "--region."
            )
