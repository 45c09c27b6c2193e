"""Opening a file, whatever it is, with an error that a person can act on."""

import warnings
from pathlib import Path
from typing import Any

import xarray as xr

from data_pipelines.schema import DamageError
from data_pipelines.sources.classic import promised_bytes
from data_pipelines.sources.remote import network_errors, open_remote


class NeedsMoreError(ValueError):
    """A file that is sound, and that another file or an option given along with it makes readable."""


def open_dataset(path: Path | str, *, decode_times: bool = False) -> xr.Dataset:
    """Open any file xarray opens, lazily: values decoded on reading, times left as numbers unless asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is cut off or no NetCDF or Zarr data set.
    """
    written = str(path)
    if "://" in written:
        return _open_address(
            written, decode_times=decode_times, decode_timedelta=decode_times, chunks=None, cache=False
        )
    if not Path(written).exists():
        raise FileNotFoundError(f"{written}: no such file; give a NetCDF file, a Zarr store or a URL.")
    is_zarr = written.rstrip("/").endswith(".zarr") or Path(written).is_dir()
    if Path(written).is_file():
        held, promised = Path(written).stat().st_size, promised_bytes(Path(written))
        if held < promised:
            raise DamageError(
                f"{Path(written).name} has {held} of the {promised} bytes that its header says; it was cut off on its "
                "way, fetch it anew."
            )
    try:
        with warnings.catch_warnings():
            if is_zarr:  # a store without consolidated metadata is slower to open, and no reason to stop
                warnings.simplefilter("ignore", RuntimeWarning)
            return xr.open_dataset(
                path,
                engine="zarr" if is_zarr else None,
                decode_times=decode_times,
                decode_timedelta=decode_times,
                chunks=None,
                cache=False,
                create_default_indexes=False,  # looked up by nobody here, and a third of what opening costs
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError, ImportError) as error:
        reason = "its format is not known" if "did not find a match" in str(error) else first_line(error)
        # xarray hands on whatever the engine of a file stumbles over, and the engines agree on no type.
        raise DamageError(
            f"{Path(written).name} is not a data set that xarray can open ({reason}); give a NetCDF file "
            "or a Zarr store, and fetch it anew if its copy was cut off."
        ) from error


def _open_address(address: str, **options: Any) -> xr.Dataset:
    try:
        return open_remote(address, **options)
    except network_errors() as error:
        raise ValueError(
            f"{address}: its server cannot be reached, or broke off ({first_line(error)}); try again, or fetch the "
            "file."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError, ImportError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "its server has no such file or store" if missing else first_line(error)
        raise ValueError(
            f"{address} cannot be opened by xarray ({reason}); give the address of an OPeNDAP service, of a NetCDF "
            "file, or of a Zarr store that ends in .zarr, or fetch the file."
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, short enough to stand inside a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(" .:")
