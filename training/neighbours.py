"""Differences between neighbouring ocean cells: the small scales of a field, as the coast lets them be seen.

A transform of fields whose land is filled with zeros shows the coast. Pairs of ocean cells have none: the sum of their
squared differences is the quadratic form of the Laplacian with walls at the coast, so that a wave of wavenumber k
counts k^2 times its power.
"""

import torch
from torch import Tensor

ALONG = (-2, -1)  # dimensions y and x


def pair_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean weight of the two cells of each pair along y and along x, 0 where one of them is land.

    Parameters
    ----------
    weight
        Cell area at ocean cells and 0 on land, ``[state, y, x]``.

    Returns
    -------
    tuple of Tensor
        ``[state, y - 1, x]`` and ``[state, y, x - 1]``.
    """
    pairs = []
    for dim in ALONG:
        count = weight.shape[dim] - 1
        one, other = weight.narrow(dim, 0, count), weight.narrow(dim, 1, count)
        pairs.append(torch.where((one > 0) & (other > 0), (one + other) / 2, 0.0))
    return pairs[0], pairs[1]


def square_differences(field: Tensor, weight: Tensor) -> Tensor:
    """Sum over ocean pairs of the squared difference times the weight of the pair.

    Parameters
    ----------
    field
        ``[..., state, time, y, x]``; what it holds on land does not matter.
    weight
        As in :func:`pair_weights`.

    Returns
    -------
    Tensor
        Along y and along x, ``[2, ..., state, time]``.
    """
    sums = [
        (torch.where(pairs[:, None] > 0, field.diff(dim=dim), 0.0).square() * pairs[:, None]).sum((-2, -1))
        for dim, pairs in zip(ALONG, pair_weights(weight), strict=True)
    ]
    return torch.stack(sums)
