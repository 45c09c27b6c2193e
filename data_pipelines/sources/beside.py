"""Where to look for the grid of a file: in what was given for it, in the file itself, in its neighbours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xarray as xr

from data_pipelines.sources.axes import set_origin
from data_pipelines.sources.files import open_dataset
from data_pipelines.sources.source import Given


@dataclass(eq=False)
class Beside:
    """Data sets in which to look for a grid: the files given for it, the file itself, and its neighbours; lazily."""

    path: Path | str
    ds: xr.Dataset
    along: Given
    opened: dict[str, xr.Dataset] = field(default_factory=dict)

    def given(self) -> Iterator[tuple[Path | str, xr.Dataset]]:
        """Files given for the grid."""
        for path in self.along.static:
            if str(path) != str(self.path):
                yield path, self._open(path)

    def series(self) -> Iterator[tuple[Path | str, xr.Dataset]]:
        """The file itself, and its neighbours; one that is asked no further is let go of when the next is asked for."""
        yield self.path, self.ds
        for path in dict.fromkeys((*self.along.told_centres, *self.along.neighbours)):
            if str(path) != str(self.path):
                yield path, self._open(path)
                self.opened.pop(str(path)).close()

    def remember(self, path: Path | str) -> None:
        """Ask a neighbour first from now on: a series of thousands of files has one grid."""
        if str(path) != str(self.path) and path not in self.along.told_centres:
            self.along.told_centres.append(path)

    def find(self, names: Sequence[str], shape: tuple[int, ...] | None = None) -> xr.DataArray | None:
        """First variable of one of these names in the grid files or the file itself; of a shape, if one is given."""
        for _, ds in (*self.given(), ("", self.ds)):
            for name in names:
                if name in ds.variables and (shape is None or ds[name].shape[-len(shape) :] == shape):
                    return ds[name]
        return None

    def _open(self, path: Path | str) -> xr.Dataset:
        if str(path) not in self.opened:
            ds = open_dataset(path)
            if path in self.along.neighbours and self.along.time_origin is not None:
                set_origin(ds, self.along.time_origin, Path(str(path)).name)
            self.opened[str(path)] = ds
        return self.opened[str(path)]

    def close(self) -> None:
        """Let go of all of them but the file itself."""
        for ds in self.opened.values():
            ds.close()
