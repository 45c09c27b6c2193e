"""A table of scores of which most places are empty: what is there lies side by side, and looks like the whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

DIMS = ("forecaster", "variable", "metric", "band", "lead_hours")
NUMBERS = {"value": np.nan, "low": np.nan, "high": np.nan, "count": 0}  # and what stands where there is none

Places = NDArray[np.int64]
Labels = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Entries:
    """What a table holds, in its order.

    Metrics, bands and leads hardly ever go together: with every diagnostic and a thousand leads, 98 of 100 places of
    the table would be empty, and all of them gigabytes.

    Attributes
    ----------
    labels
        By dimension, those of ``DIMS``.
    places
        Where in the whole table, flattened, increasing, ``[entry]``.
    numbers
        ``value``, ``low``, ``high`` and ``count``, ``[entry]``.
    """

    labels: Labels
    places: Places
    numbers: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, tables: Sequence[xr.Dataset]) -> "Entries":
        """All that several tables hold, with every label of each; no entry is in two of them."""
        labels = {
            dim: list(dict.fromkeys(str(label) for ds in tables for label in ds[dim].values)) for dim in DIMS
        }
        shape = tuple(map(len, labels.values()))
        places: list[Places] = []
        numbers: dict[str, list[NDArray[Any]]] = {name: [] for name in NUMBERS}
        for ds in tables:
            own = {name: ds[name].transpose(*DIMS).to_numpy() for name in NUMBERS}
            there = np.nonzero(np.isfinite(own["value"]) | (own["count"] > 0))
            for name, array in own.items():
                numbers[name].append(array[there])
            codes = [
                np.array([labels[dim].index(str(label)) for label in ds[dim].values])[index]
                for dim, index in zip(DIMS, there, strict=True)
            ]
            places.append(np.ravel_multi_index(codes, shape))
        whole = np.concatenate(places)
        order = np.argsort(whole, kind="stable")
        whole = whole[order]
        assert (np.diff(whole) > 0).all(), "a score is in two tables"
        return cls(labels, whole, {name: np.concatenate(parts)[order] for name, parts in numbers.items()})

    def dataset(self, attributes: Mapping[str, Mapping[str, Any]]) -> xr.Dataset:
        """The table, whose empty places are made when they are asked for, and no sooner.

        Parameters
        ----------
        attributes
            Of dimensions and numbers, by name.
        """
        shape = tuple(map(len, self.labels.values()))
        variables = {
            name: (
                DIMS,
                indexing.LazilyIndexedArray(_Scattered(shape, self.places, self.numbers[name], empty)),
                dict(attributes.get(name, {})),
            )
            for name, empty in NUMBERS.items()
        }
        coords = {
            dim: (dim, list(labels), dict(attributes.get(dim, {}))) for dim, labels in self.labels.items()
        }
        return xr.Dataset(variables, coords)


def parts(scores: xr.Dataset) -> Iterator[tuple[tuple[int, int], dict[str, NDArray[Any]]]]:
    """A table forecaster by forecaster and variable by variable, in order, so that it never is in memory as a whole.

    Yields
    ------
    Numbers of both, and by name the numbers there, ``[metric, band, lead]``.
    """
    ordered = scores[list(NUMBERS)].transpose(*DIMS)
    for pair in np.ndindex(*(scores.sizes[dim] for dim in DIMS[:2])):
        part = ordered.isel(dict(zip(DIMS[:2], pair, strict=True)))
        yield pair, {name: part[name].to_numpy() for name in NUMBERS}


class _Scattered(BackendArray):
    """Numbers at some places of an array, and one and the same number everywhere else."""

    def __init__(self, shape: tuple[int, ...], places: Places, numbers: NDArray[Any], empty: float) -> None:
        self.shape, self.dtype = shape, numbers.dtype
        self.places, self.numbers, self.empty = places, numbers, empty

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._at)

    def _at(self, key: tuple[Any, ...]) -> NDArray[Any]:
        wanted = [np.atleast_1d(np.arange(size)[each]) for size, each in zip(self.shape, key, strict=True)]
        # An entry has one place, even where it is asked for twice
        kept, back = zip(*(np.unique(each, return_inverse=True) for each in wanted), strict=True)
        out = np.full(tuple(map(len, kept)), self.empty, self.dtype)
        near = self._near(kept)
        codes = np.unravel_index(self.places[near], self.shape)
        found = np.ones(len(codes[0]), dtype=bool)
        target = []
        for size, labels, code in zip(self.shape, kept, codes, strict=True):
            position = np.full(size, -1)
            position[labels] = np.arange(len(labels))
            target.append(position[code])
            found &= target[-1] >= 0
        out[tuple(each[found] for each in target)] = self.numbers[near][found]
        out = out[np.ix_(*back)]
        return out[tuple(0 if isinstance(each, int | np.integer) else slice(None) for each in key)]

    def _near(self, kept: Sequence[NDArray[Any]]) -> slice:
        """Entries between the first and the last place that is asked for."""
        if not all(map(len, kept)):
            return slice(0, 0)
        ends = [np.ravel_multi_index([int(each[i]) for each in kept], self.shape) for i in (0, -1)]
        first, last = np.searchsorted(self.places, ends)
        return slice(int(first), int(last) + 1)
