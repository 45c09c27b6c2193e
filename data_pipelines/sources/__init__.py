"""One module for each kind of product: its odd names, axes and units end here."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

from data_pipelines.sources.cf import open_cf
from data_pipelines.sources.files import open_dataset
from data_pipelines.sources.mom6 import is_mom6, open_mom6
from data_pipelines.sources.nemo import is_nemo, open_nemo
from data_pipelines.sources.roms import is_roms, open_roms
from data_pipelines.sources.source import Source, SourceField

Paths = Sequence[Path | str]

# (path, files of its grid, the other files of its series)
PRODUCTS: dict[str, Callable[[Path | str, Paths, Paths], Source]] = {
    "cf": open_cf,
    "roms": open_roms,
    "nemo": open_nemo,
    "mom6": open_mom6,
}
_SIGNS = {"roms": is_roms, "mom6": is_mom6, "nemo": is_nemo}

__all__ = ["PRODUCTS", "Source", "SourceField", "open_source", "require_product", "source_paths"]


def open_source(
    path: Path | str, product: str = "auto", static: Paths = (), neighbours: Paths = ()
) -> Source:
    """Open one file as the product it is.

    Parameters
    ----------
    product
        ``auto`` looks at the file; ``cf`` reads what the CF conventions describe; ``roms`` (CROCO too), ``nemo`` and
        ``mom6`` are files as these models write them.
    static
        Files of the grid, in which a model's masks, positions and sea floor are looked for first.
    neighbours
        The other files of the series, in which the centres of a model's cells are looked for last.

    Raises
    ------
    ValueError
        If the product is not known or the file cannot be understood.
    FileNotFoundError
        If there is no such file.
    """
    require_product(product)
    if product == "auto":
        with open_dataset(path) as ds:
            product = next((name for name, is_it in _SIGNS.items() if is_it(ds)), "cf")
    return PRODUCTS[product](path, static, neighbours)


def require_product(product: str) -> None:
    """Refuse a product that is none.

    Raises
    ------
    ValueError
        Naming those there are.
    """
    if product != "auto" and product not in PRODUCTS:
        raise ValueError(f"product '{product}' is not known; choose one of auto, {', '.join(PRODUCTS)}.")


def source_paths(sources: str | Path | Sequence[str | Path]) -> list[Path | str]:
    """Files that paths, globs and URLs stand for, each once, in the order given.

    Raises
    ------
    FileNotFoundError
        If a path does not exist or a glob matches nothing.
    """
    found: list[Path | str] = []
    for source in [sources] if isinstance(sources, str | Path) else sources:
        written = str(source)
        if "://" in written:
            found.append(written)
        elif Path(written).exists():
            found.append(Path(written))
        elif matches := sorted(glob.glob(written, recursive=True)):
            found.extend(Path(match) for match in matches)
        else:
            what = " matches no file" if any(sign in written for sign in "*?[") else ": no such file"
            raise FileNotFoundError(f"{written}{what}; give a NetCDF file, a Zarr store or a URL.")
    return list(dict.fromkeys(found))
