"""Spectra of fields on a basin of any shape: by the modes of its own Laplacian, which know its coast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from oceanop.grid import Grid, great_circle_distance

Array = NDArray[np.float64]

DENSE_CELLS = 3000  # all modes of so many cells take seconds; of more, only the longest are found
COUNT = 500  # modes of a larger basin


@dataclass(frozen=True, eq=False)
class BasinModes:
    """Standing waves of a basin: eigenvectors of the Laplacian of its ocean cells, no flux through the coast.

    A Fourier transform of a field filled up with zeros sees the coast as a jump, whose slope of -2 hides any steeper
    spectrum. These modes have no jump there: the mean square of a field is the sum over its modes, exactly.

    Attributes
    ----------
    wavenumber
        Cycles per metre, increasing, the mean over the basin first with 0, ``[mode]``.
    shapes
        With an area mean of their squares of 1, orthogonal to each other, ``[mode, cell]``.
    share
        Of the basin's area in each cell, ``[cell]``.
    mask
        Which cells of the plane these are, ``[Y, X]``.
    """

    wavenumber: Array
    shapes: Array
    share: Array
    mask: NDArray[np.bool_]

    def coefficients(self, fields: ArrayLike) -> Array:
        """Amplitudes of the modes in fields ``[..., Y, X]``, in their unit, ``[..., mode]``."""
        values = np.asarray(fields, np.float64)[..., self.mask]
        return (values * self.share) @ self.shapes.T

    def fields(self, coefficients: ArrayLike) -> Array:
        """Fields ``[..., Y, X]`` with these amplitudes ``[..., mode]``; land is 0."""
        values = np.asarray(coefficients, np.float64) @ self.shapes
        out = np.zeros((*values.shape[:-1], *self.mask.shape))
        out[..., self.mask] = values
        return out

    def band_power(self, fields: ArrayLike, edges: Sequence[float]) -> Array:
        """Mean square of fields by bands of wavenumber, unit squared, ``[..., band]``.

        The bands add up to the area mean of the square. What no mode holds, where not all are known, is shorter than
        all that are, and counts to the last band.

        Parameters
        ----------
        fields
            ``[..., Y, X]``; land is not looked at.
        edges
            Wavenumbers between neighbouring bands, increasing: one fewer than there are bands, the first of which
            begins with the mean and the last of which has no end.
        """
        values = np.asarray(fields, np.float64)[..., self.mask]
        power = ((values * self.share) @ self.shapes.T) ** 2
        band = np.searchsorted(np.asarray(edges, np.float64), self.wavenumber, side="right")
        into = np.zeros((self.wavenumber.size, len(edges) + 1))
        into[np.arange(band.size), band] = 1.0
        bands = power @ into
        # Rounding may leave a little less than nothing
        rest = np.maximum((values**2 @ self.share) - power.sum(-1), 0.0)
        bands[..., -1] += rest
        return bands


def basin_modes(grid: Grid, *, count: int | None = None) -> BasinModes:
    """Modes of a grid's ocean, with its true distances and areas.

    Parameters
    ----------
    grid
        Cells without ocean neighbours are modes of their own, of wavenumber 0.
    count
        How many, the longest; all up to ``DENSE_CELLS`` cells where None, and ``COUNT`` beyond.

    Raises
    ------
    ValueError
        If the grid has no ocean, or fewer cells of it than modes are asked for.
    """
    cells = int(grid.mask.sum())
    if not 0 < (count or 1) <= cells:
        raise ValueError(
            f"{count or 'all'} modes of a grid with {cells} ocean cells are asked for; give a grid with an ocean, and "
            "a number of modes up to that of its cells."
        )
    matrix, area = _laplacian(grid)
    if count is None and cells > DENSE_CELLS:
        count = COUNT
    if count is None or cells <= DENSE_CELLS:
        subset = None if count is None else (0, count - 1)
        values, vectors = linalg.eigh(matrix.toarray(), subset_by_index=subset)
    else:
        # Around a little less than 0, where the matrix itself has no inverse; from a fixed start for the same answer
        start = np.random.default_rng(0).standard_normal(cells)
        below = -1e-3 * matrix.diagonal().mean() / cells
        values, vectors = sparse_linalg.eigsh(matrix.tocsc(), k=count, sigma=below, v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
    share = area / area.sum()
    return BasinModes(
        wavenumber=np.sqrt(np.maximum(values, 0.0)) / (2 * np.pi),
        shapes=vectors.T / np.sqrt(share),
        share=share,
        mask=grid.mask,
    )


def _laplacian(grid: Grid) -> tuple[sparse.csr_array, Array]:
    """Minus the Laplacian in variables whose squares are area integrals, and the area of each cell, m2."""
    number = np.full(grid.shape, -1)
    number[grid.mask] = np.arange(grid.mask.sum())
    rows, columns, values = [], [], []
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        both = grid.mask[here] & grid.mask[there]
        distance = great_circle_distance(
            grid.latitude[here], grid.longitude[here], grid.latitude[there], grid.longitude[there]
        )
        # Length of the side between two cells over their distance: their area over the distance, once more
        weight = (0.5 * (grid.cell_area[here] + grid.cell_area[there]) / distance**2)[both]
        a, b = number[here][both], number[there][both]
        rows += [a, b, a, b]
        columns += [b, a, a, b]
        values += [-weight, -weight, weight, weight]
    area = grid.cell_area[grid.mask]
    size = (area.size, area.size)
    plain = sparse.coo_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), size)
    scale = sparse.diags_array(1 / np.sqrt(area))
    return (scale @ plain.tocsr() @ scale).tocsr(), area


def spectral_density(modes: BasinModes, fields: ArrayLike, edges: Sequence[float]) -> tuple[Array, Array]:
    """Mean square by wavenumber, per cycle per metre, in bands between neighbouring edges.

    Parameters
    ----------
    fields
        ``[..., Y, X]``.
    edges
        Of the bands, cycles per metre, ``[band + 1]``; what is longer or shorter is left out.

    Returns
    -------
    Geometric middles of the bands ``[band]`` and densities ``[..., band]``.
    """
    ends = np.asarray(edges, np.float64)
    inner = modes.band_power(fields, edges)[..., 1:-1]
    middles: Array = np.sqrt(ends[1:] * ends[:-1])
    return middles, inner / np.diff(ends)


def frequency_power(coefficients: ArrayLike, time_step: float) -> tuple[Array, Array]:
    """Mean square of each mode by frequency: a one-sided periodogram under a Hann window, its mean taken away.

    Parameters
    ----------
    coefficients
        Amplitudes over time, ``[time, mode]``.
    time_step
        s.

    Returns
    -------
    Frequencies in cycles per second ``[frequency]``, and power in the unit squared ``[frequency, mode]``.
    """
    series = np.asarray(coefficients, np.float64)
    steps = series.shape[0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(steps) + 0.5) / steps)
    anomaly = series - series.mean(0)
    waves = np.fft.rfft(anomaly * window[:, None], axis=0)
    power = np.abs(waves) ** 2 / (steps * np.sum(window**2))
    # All but the first, and the last of an even number, stand for a wave and its mirror image
    power[1 : (steps + 1) // 2] *= 2
    frequency: Array = np.asarray(np.fft.rfftfreq(steps, time_step), np.float64)
    return frequency, power


def shared_power(power: ArrayLike, reference: ArrayLike) -> float:
    """How much of two spectra lies at the same places: 1 where they are equal, 0 where they share none.

    The sum of the lesser of both over the larger of their sums, so that too much energy counts as too little does.
    """
    own, other = np.asarray(power, np.float64), np.asarray(reference, np.float64)
    return float(np.minimum(own, other).sum() / max(own.sum(), other.sum()))
