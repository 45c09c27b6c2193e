"""A trained operator on a finer grid of the domain it was trained on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import xarray as xr

from data_pipelines.coarsen import Coarsening
from data_pipelines.positions import Positions
from data_pipelines.sources.cells import read_positions
from oceanop.checkpoint import Checkpoint
from oceanop.config import FNOtDConfig, Run
from oceanop.edge import open_boundaries, with_edge_zone
from oceanop.features import COAST_SCALES, static_fields
from oceanop.grid import Grid
from oceanop.layout import Layout
from oceanop.variables import BOUNDARIES


@dataclass(frozen=True, eq=False)
class Refined:
    """A checkpoint that fits the grid of a store.

    Attributes
    ----------
    checkpoint
        What was learned, with masks, static fields and edge zone of the store's grid; on the training grid itself the
        checkpoint as it was given.
    training
        The grid the operator was trained on.
    factor
        Cells of the store along each side of a training cell, 1 on the training grid itself.
    """

    checkpoint: Checkpoint
    training: Grid
    factor: int


def refine(checkpoint: Checkpoint, store: xr.Dataset) -> Refined:
    """Bring a trained operator to the grid of a store: its own, or a finer one of the same domain.

    An operator learns matrices of waves, counted by how often each fits into the domain, and functions of single cells;
    both hold on any grid that resolves the waves (Kovachki et al., Neural operator, JMLR 24, 2023). What belongs to the
    training grid alone is made anew from the store's: mask, coast, position, sea floor and edge zone. What is counted
    in cells keeps its width in metres: the zeros of ``model.padding`` along y and x, because they lengthen the domain
    that waves are counted in, and ``data.edge_zone``. Scaling is kept, the weights are learned with it.

    Parameters
    ----------
    checkpoint
        The operator.
    store
        Blocks of N x N of its cells are the training cells; rows and columns at the far edges that fill no block may
        be left over, as ``oceanop ingest --coarsen`` leaves them.

    Raises
    ------
    ValueError
        If the store's cells do not make up the training cells, training did not resolve all the waves that the
        operator has weights for, or the store lacks the sea floor or the boundary values the operator was trained with.
    """
    grid = Grid.from_dataset(store)
    if grid.fingerprint == checkpoint.grid_fingerprint:
        return Refined(checkpoint, grid, 1)
    factor, training = _training_grid(checkpoint, store, grid)
    _require_resolved(checkpoint, factor)
    run = _rescaled(checkpoint.run, factor)
    unknown = BOUNDARIES.keys() - {*checkpoint.layout.names("forcing")}
    store = store.drop_vars([name for name in unknown if name in store.data_vars])
    relaxation = _relaxation(checkpoint, run, store)
    static = static_fields(
        grid,
        store["deptho"].to_numpy() if _knows_depth(checkpoint, store) else None,
        position=run.model.position,
        relaxation=relaxation,
        refinement=factor,
    )
    weights = {**checkpoint.weights, "static": static, "wet": checkpoint.layout.wet(store)}
    provenance = dict(checkpoint.provenance)
    if relaxation is not None:
        weights["relaxation"] = relaxation
        provenance["open_boundaries"] = open_boundaries(store, checkpoint.layout, run.data.edge_zone)
    finer = replace(
        checkpoint,
        run=run,
        grid_fingerprint=grid.fingerprint,
        grid_shape=grid.shape,
        weights=weights,
        provenance=provenance,
        training=None,
    )
    return Refined(finer, training, factor)


def _training_grid(checkpoint: Checkpoint, store: xr.Dataset, grid: Grid) -> tuple[int, Grid]:
    """How many times finer the store is, and the grid of its blocks, proven by the training grid's fingerprint."""
    rows, columns = checkpoint.grid_shape
    mask = checkpoint.weights["static"][0].numpy() > 0.5
    positions = None
    for factor in _factors(checkpoint.grid_shape, grid.shape):
        positions = positions or _positions(checkpoint.layout, store, grid)
        blocks = Coarsening(factor, grid.cell_area)
        # The mask of training is its own: a block is ocean by the finest cells, which the store need not hold.
        training = blocks.positions(positions).grid(mask, blocks.area())
        if training.fingerprint == checkpoint.grid_fingerprint:
            return factor, training
    along_y, along_x = grid.spacing
    if grid.shape == checkpoint.grid_shape:
        why = "lie elsewhere or have another mask"
    else:
        why = "lie elsewhere" if positions else "do not make up its cells"
    raise ValueError(
        f"the checkpoint {checkpoint.name} was trained on another grid: {rows} x {columns} cells (fingerprint "
        f"{checkpoint.grid_fingerprint[:12]}), while the store has {grid.shape[0]} x {grid.shape[1]} cells of "
        f"{along_y:.0f} x {along_x:.0f} m (fingerprint {grid.fingerprint[:12]}), which {why}. An operator runs on its "
        "own grid, and on a finer one of which blocks of N x N cells, N from 2, are its own cells. Forecast on the "
        "store it was trained on or on one of the same region ingested with a --coarsen that divides its own, or train "
        "on this one."
    )


def _factors(coarse: tuple[int, int], fine: tuple[int, int]) -> Iterator[int]:
    for factor in range(2, min(fine) // 2 + 1):
        if all(many // factor == few for many, few in zip(fine, coarse, strict=True)):
            yield factor


def _positions(layout: Layout, store: xr.Dataset, grid: Grid) -> Positions:
    """Of the store's cells, with their projection where there is one: blocks are then centred as ingest does it."""
    if grid.dims == ("latitude", "longitude"):
        return Positions.from_axes(grid.latitude[:, 0], grid.longitude[0])
    found = read_positions(store, store[layout.names()[0]], *grid.dims, "the store")
    return found if found.projection is not None else Positions(grid.latitude, grid.longitude)


def _require_resolved(checkpoint: Checkpoint, factor: int) -> None:
    """A wave of two cells or less is seen in part or not at all: its weights were never learned as a whole."""
    model = checkpoint.run.model
    padding = model.padding[1:] if isinstance(model, FNOtDConfig) else (0, 0)
    sizes = [size + zeros for size, zeros in zip(checkpoint.grid_shape, padding, strict=True)]
    kept = model.modes[-2:]
    if any(2 * (modes // 2) >= size for modes, size in zip(kept, sizes, strict=True)):
        raise ValueError(
            f"the checkpoint {checkpoint.name} keeps {kept[0]} x {kept[1]} modes along y and x, and the "
            f"{sizes[0]} x {sizes[1]} cells of its training do not resolve them all, so that on a grid {factor} times "
            "finer weights would act that were never learned; forecast on the grid it was trained on, or train with "
            "fewer model.modes than cells."
        )


def _rescaled(run: Run, factor: int) -> Run:
    """The run with what it counts in cells of the plane counted in finer ones."""
    model = run.model
    if isinstance(model, FNOtDConfig):
        time, along_y, along_x = model.padding
        model = model.model_copy(update={"padding": (time, factor * along_y, factor * along_x)})
    data = run.data.model_copy(update={"edge_zone": factor * run.data.edge_zone})
    return run.model_copy(update={"model": model, "data": data})


def _relaxation(checkpoint: Checkpoint, run: Run, store: xr.Dataset) -> torch.Tensor | None:
    """Weight of the parent model on the store's grid, for the channels that it drove in training."""
    layout = checkpoint.layout
    try:
        _, relaxation = with_edge_zone(Layout(layout.state, layout.weather), store, run.data.edge_zone)
    except ValueError as error:
        raise ValueError(
            f"the edge zone of the checkpoint {checkpoint.name}, {checkpoint.run.data.edge_zone} cells of its training "
            f"grid, is {run.data.edge_zone} cells of the store's: {error}"
        ) from None
    return relaxation


def _knows_depth(checkpoint: Checkpoint, store: xr.Dataset) -> bool:
    """Whether the sea floor is among the static fields, of which all others can be counted."""
    others = 1 + len(COAST_SCALES) + 4 * checkpoint.run.model.position + ("relaxation" in checkpoint.weights)
    known = len(checkpoint.weights["static"]) > others
    if known and "deptho" not in store:
        raise ValueError(
            f"the checkpoint {checkpoint.name} was trained with the depth of the sea floor, 'deptho', which the store "
            "does not hold; ingest it with --static FILE."
        )
    return known
