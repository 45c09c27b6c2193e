"""One module for each kind of product: its odd names, axes and units end here."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

from data_pipelines.sources import cf
from data_pipelines.sources.source import Source, SourceField

PRODUCTS: dict[str, Callable[[Path | str], Source]] = {"cf": cf.open_cf}

__all__ = ["PRODUCTS", "Source", "SourceField", "open_source", "source_paths"]


def open_source(path: Path | str, product: str = "auto") -> Source:
    """Open one file as the product it is.

    Parameters
    ----------
    product
        ``auto`` looks at the file; ``cf`` reads what the CF conventions describe.

    Raises
    ------
    ValueError
        If the product is not known or the file cannot be understood.
    FileNotFoundError
        If there is no such file.
    """
    if product == "auto":
        product = "cf"
    if product not in PRODUCTS:
        raise ValueError(f"product '{product}' is not known; choose one of auto, {', '.join(PRODUCTS)}.")
    return PRODUCTS[product](path)


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
