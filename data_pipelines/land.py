"""Land that is stored as a number: it looks like water, and nothing in the file says otherwise."""

import numpy as np

from data_pipelines.series import Series

_SHARE = 0.05  # of the cells: fewer that hold one and the same number are a chance of the packing
_CONSTANT = {"siconc"}  # open water and closed ice are one number over wide seas


def require_land_marked(series: Series) -> None:
    """Refuse a state without a missing value that holds one number on a part of its cells, first step to last.

    In a series of one step that number is zero.

    Raises
    ------
    ValueError
        Naming the number and the share of the cells.
    """
    rows, columns = (slice(0, size) for size in series.positions.shape)
    (first_file, first_step), (last_file, last_step) = series.origin[0], series.origin[-1]
    for number, name in enumerate(series.names):
        if name in _CONSTANT:
            continue
        level = series.levels[first_file][:1], series.levels[last_file][:1]
        before = series.fields[first_file][number].fetch(
            slice(int(first_step), int(first_step) + 1), level[0], rows, columns
        )
        if not np.isfinite(before).all():
            continue
        after = series.fields[last_file][number].fetch(
            slice(int(last_step), int(last_step) + 1), level[1], rows, columns
        )
        still = before[before == after]
        if not np.isfinite(after).all() or still.size == 0:
            continue
        values, counts = np.unique(still, return_counts=True)
        if len(series.times) == 1:  # in a single step any number but zero may be the sea's own
            counts = np.where(values == 0, counts, 0)
        steps = "its one step" if len(series.times) == 1 else "its first and its last step"
        share = counts.max() / before.size
        if _SHARE < share < 1:  # one number everywhere is a state at rest
            raise ValueError(
                f"{series.fields[first_file][number].where} has no missing value and holds {values[counts.argmax()]:g} "
                f"on {100 * share:.1f} % of its cells in {steps}, as land does that nobody marked; "
                "set its _FillValue, or give the grid file with its mask with --static."
            )
