"""How sure a score is: whole blocks of the evaluation are drawn again with replacement."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

CONFIDENCE = 0.95
RESAMPLES = 1000
LEAST_BLOCKS = 8  # fewer blocks say next to nothing about the next one
TILE = 8  # cells; about the correlation length of currents on the grids of coastal models
RESAMPLED = (
    2**26
)  # bytes of resampled sums at one time: those of a thousand leads would be larger than the fields
MOST_TILES = 512  # more of them change no interval, and each has sums of its own at every lead


def draw(blocks: int, *, seed: int, resamples: int = RESAMPLES) -> Tensor:
    """How often each block is drawn in each resample, float64 ``[block, resample]``; columns sum to ``blocks``."""
    generator = np.random.default_rng(seed)
    return torch.from_numpy(
        generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).T.astype(float)
    )


def draw_seeds(count: int, *, seed: int, of: str = "", resamples: int = RESAMPLES) -> Tensor:
    """Weight of each of several trainings in each resample, float64 ``[training, resample]``.

    One fewer than there are is drawn, with replacement: drawing as many as there are would leave the variance of
    their mean too small by ``(n - 1) / n``, half of it where there are two (Rao and Wu, JASA 83, 1988).

    Parameters
    ----------
    of
        Whose trainings they are: where forecasters are compared each has a draw of its own, since the first training
        of one has no more to do with the first of another than with its second.
    """
    generator = np.random.default_rng([seed, 1, *of.encode()])  # apart from the draw of blocks
    drawn = generator.multinomial(count - 1, np.full(count, 1 / count), size=resamples).T
    return torch.from_numpy(drawn * (count / (count - 1)))


def lead_spans(leads: int, sums: int, *, resamples: int = RESAMPLES) -> list[slice]:
    """Leads whose sums are resampled together, as places.

    Parameters
    ----------
    leads
        Their number.
    sums
        Numbers of one lead in one resample: of all forecasters, statistics and bands that are there at a time.
    """
    size = max(RESAMPLED // (8 * sums * resamples), 1)
    return [slice(first, min(first + size, leads)) for first in range(0, leads, size)]


def interval(samples: Tensor, blocks: int, confidence: float = CONFIDENCE) -> tuple[Tensor, Tensor]:
    """Ends of the expanded percentile interval of resampled scores ``[..., resample]``.

    The plain percentile interval of few blocks is too short: it divides by n, not n - 1, and takes the normal
    for Student's distribution. The percentiles are moved outwards by both (Hesterberg, The American Statistician 69,
    2015, section 4.1). A single block has no interval: NaN.
    """
    if blocks < 2:
        nothing = torch.full(samples.shape[:-1], torch.nan, dtype=samples.dtype)
        return nothing, nothing.clone()
    quantile = stats.t.ppf((1 - confidence) / 2, blocks - 1) * np.sqrt(blocks / (blocks - 1))
    tail = float(stats.norm.cdf(quantile))
    low, high = torch.quantile(samples, torch.tensor([tail, 1 - tail], dtype=samples.dtype), dim=-1)
    return low, high


def time_blocks(init_times: NDArray[np.int64], longest_lead: int) -> NDArray[np.int64] | None:
    """Block of each start, in runs of consecutive starts; None where fewer than ``LEAST_BLOCKS`` come out.

    A block spans at least the longest lead, so that forecasts of two blocks hardly share a valid time.

    Parameters
    ----------
    init_times
        Starts, increasing, in any unit of time, ``[init_time]``.
    longest_lead
        In the same unit.
    """
    count = init_times.size
    if count < LEAST_BLOCKS:
        return None
    apart = max(int(np.median(np.diff(init_times))), 1)
    length = max(-(-longest_lead // apart), 1)
    blocks = count // length
    if blocks < LEAST_BLOCKS:
        return None
    return np.minimum(np.arange(count) // length, blocks - 1)


def tile_size(wet: NDArray[np.bool_]) -> int:
    """Cells along the side of a tile: ``TILE``, doubled until there are at most ``MOST_TILES`` with ocean."""
    size = TILE
    while space_blocks(wet, size)[1] > MOST_TILES:
        size *= 2
    return size


def space_blocks(wet: NDArray[np.bool_], tile: int = TILE) -> tuple[NDArray[np.int64], int]:
    """Tile each cell lies in, ``[y, x]``, and the number of tiles; those without ocean are not counted."""
    rows, columns = np.indices(wet.shape) // tile
    tiles = rows * (columns.max() + 1) + columns
    ocean, numbers = np.unique(tiles[wet], return_inverse=True)
    blocks = np.zeros(wet.shape, dtype=np.int64)
    blocks[wet] = numbers
    return blocks, len(ocean)


SEEDS = (
    "of trainings pooled, the seeds are drawn again in each resample as well as the blocks, one fewer than there are, "
    "so that these intervals hold what another seed would change"
)


def describe(blocks: Sequence[int] | NDArray[np.int64] | None, count: int, tile: int = TILE) -> str:
    """The method in words, for whoever reads the scores."""
    percent = f"{100 * CONFIDENCE:g} % expanded percentile intervals, {RESAMPLES} resamples"
    if blocks is not None:
        length = int(np.bincount(np.asarray(blocks)).min())
        return (
            f"block bootstrap over time: {count} blocks of at least {length} consecutive starts, each at least as long "
            f"as the longest lead; {percent}"
        )
    return (
        f"block bootstrap over space: {count} tiles of {tile} x {tile} cells, all starts kept together, because the "
        f"starts make fewer than {LEAST_BLOCKS} independent blocks; {percent}. The intervals measure sampling over "
        "space only, not how the scores would differ at another time"
    )
