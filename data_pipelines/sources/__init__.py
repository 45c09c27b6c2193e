"""One module for each kind of product: its odd names, axes and units end here."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from data_pipelines.schema import DamageError
from data_pipelines.sources.axes import set_origin
from data_pipelines.sources.cf import read_source
from data_pipelines.sources.curvilinear import is_curvilinear, read_curvilinear
from data_pipelines.sources.files import first_line, open_dataset
from data_pipelines.sources.mom6 import is_mom6, read_mom6
from data_pipelines.sources.nemo import is_nemo, read_nemo
from data_pipelines.sources.remote import network_errors
from data_pipelines.sources.roms import is_roms, read_roms
from data_pipelines.sources.source import Given, Source, SourceField
from data_pipelines.sources.wrf import is_wrf, read_wrf

PRODUCTS: dict[str, Callable[[xr.Dataset, Path | str, Given], Source]] = {
    "cf": read_source,
    "roms": read_roms,
    "nemo": read_nemo,
    "mom6": read_mom6,
    "wrf": read_wrf,
}
# What a file is, and how it is read then; the first that it looks like.
_SIGNS = (
    (is_roms, read_roms),
    (is_mom6, read_mom6),
    (is_nemo, read_nemo),
    (is_wrf, read_wrf),
    (is_curvilinear, read_curvilinear),
)

__all__ = ["PRODUCTS", "Given", "Source", "SourceField", "open_source", "require_product", "source_paths"]


def open_source(path: Path | str, product: str = "auto", along: Given | None = None) -> Source:
    """Open one file lazily, as the product it is.

    Parameters
    ----------
    product
        ``auto`` looks at the file; ``cf`` reads what the CF conventions describe; ``roms`` (CROCO too), ``nemo``,
        ``mom6`` and ``wrf`` are files as these models write them.
    along
        What comes along with it: files of its grid and of its series, what is wanted, the origin of its time.

    Raises
    ------
    ValueError
        If the product is not known, or the file is no NetCDF or Zarr data set or cannot be understood.
    FileNotFoundError
        If there is no such file.
    """
    require_product(product)
    along = along or Given()
    ds = open_dataset(path)
    try:
        if along.time_origin is not None:
            set_origin(ds, along.time_origin, Path(str(path)).name)
        if product == "auto":
            read = next((read for is_it, read in _SIGNS if is_it(ds)), read_source)
            return read(ds, path, along)
        return PRODUCTS[product](ds, path, along)
    except ValueError:
        ds.close()
        raise
    except network_errors() as error:
        ds.close()
        raise ValueError(
            f"{path}: its server cannot be reached, or broke off ({first_line(error)}); try again, or fetch the file."
        ) from error
    except (OSError, RuntimeError) as error:  # positions, times and masks are read here
        ds.close()
        raise DamageError(
            f"{Path(str(path)).name} cannot be read where its grid or times are ({first_line(error)}); the file is "
            "damaged or cut off. Fetch it anew."
        ) from error


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
