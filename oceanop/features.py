"""What an operator may know that does not change in time: the mask, the coast, the place, the depth."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from oceanop.grid import Grid, Plane

COAST_SCALES = (5e3, 20e3)  # m; a few cells of a coastal model, and the width of a coastal current
WIDE = 10e3  # m; where cells are larger, the scales grow with them
DEPTH_SCALE = 1000.0  # m; gravity-wave speed enters as sqrt(depth / DEPTH_SCALE)
SHELF = 100.0  # m; what wind does to a column goes with 1 / depth, whose logarithm tells shallow water apart
SHALLOWEST = 1.0  # m


def static_fields(
    grid: Grid,
    depth: Plane | None = None,
    *,
    position: bool = True,
    relaxation: Tensor | None = None,
    refinement: int = 1,
) -> Tensor:
    """Static input fields, float32 ``[static, y, x]``, the mask first; all are of order one.

    The mask, nearness to land on two scales, where asked for sine and cosine of the position within the domain along
    both axes, where the sea floor is known, the square root of its depth (the speed of long waves) and its logarithm
    (what the wind does to shallow water), and where a parent model drives the domain's edge, its weight.

    Parameters
    ----------
    depth
        Sea floor depth, m, ``[y, x]``; NaN on land.
    position
        False leaves the position out: what is learned is then free of the place it was learned at.
    relaxation
        Weight of the parent on each state channel, ``[state, y, x]``; the largest is given.
    refinement
        Cells along a side that make one cell of the grid an operator was trained on: what it is told of a place is
        then what it was told of this place in training.
    """
    eta, xi = np.meshgrid(*(_positions(size, refinement) for size in grid.shape), indexing="ij")
    near = wide = grid.mask * 0.0  # a basin without land is everywhere far from it
    if not grid.mask.all():
        distance = distance_transform_edt(grid.mask, sampling=grid.spacing)  # to the nearest land cell
        near, wide = (np.exp(-distance / scale) for scale in _coast_scales(refinement * max(grid.spacing)))
    fields = [grid.mask.astype(float), near, wide]
    if position:
        fields += [wave(np.pi / 2 * axis) for axis in (eta, xi) for wave in (np.sin, np.cos)]
    if depth is not None:
        water = np.nan_to_num(depth)
        fields.append(np.sqrt(np.clip(water, 0, None) / DEPTH_SCALE))
        fields.append(np.where(grid.mask, np.log10(np.clip(water, SHALLOWEST, None) / SHELF), 0.0))
    if relaxation is not None:
        fields.append(relaxation.amax(0).numpy())
    return torch.from_numpy(np.stack(fields).astype(np.float32))


def _coast_scales(cell: float) -> tuple[float, float]:
    """Of nearness to land, m: a cell and four where it is large, without a jump between grids of about one size."""
    shorter, longer = COAST_SCALES
    scale = max(shorter, min(cell, shorter * (cell / WIDE) ** 2))
    return scale, scale * longer / shorter


def _positions(size: int, refinement: int) -> NDArray[np.float64]:
    """Where the cells lie along an axis on which the training grid's first centre is at -1 and its last one at 1."""
    first, last = ((cell + 0.5) / refinement - 0.5 for cell in (0, size - 1))  # counted in training cells
    end = size // refinement - 1
    return np.linspace(2 * first / end - 1, 2 * last / end - 1, size)
