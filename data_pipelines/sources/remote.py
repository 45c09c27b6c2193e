"""Data sets on a server: Zarr stores, NetCDF files and OPeNDAP services by their address."""

import sys
import warnings
from typing import Any

import fsspec
import xarray as xr

_HDF5, _CLASSIC = b"\x89HDF", b"CDF"


def network_errors() -> tuple[type[Exception], ...]:
    """What is raised when a server does not answer, or not with what was asked for."""
    # Of a library that takes long to load and that files on a disk do without
    loaded = sys.modules.get("aiohttp")
    return (ConnectionError, TimeoutError, *(() if loaded is None else (loaded.ClientError,)))


def read_errors() -> tuple[type[Exception], ...]:
    """What is raised where a file or a server cannot be read."""
    return (OSError, RuntimeError, ValueError, *network_errors())


def open_remote(address: str, **options: Any) -> xr.Dataset:
    """Open an address lazily: what ends in ``.zarr`` as a store, a file by its first bytes, the rest as OPeNDAP.

    Every variable's encoding tells the address. A file is read in ranges where its server sends them; else it is
    fetched whole, to a folder that goes when the process ends.

    Raises
    ------
    FileNotFoundError
        If the server has no such thing.
    OSError, RuntimeError, ValueError, aiohttp.ClientError
        If it cannot be reached, or what it has cannot be read.
    """
    ds = _opened(address, **options)
    for variable in ds.variables.values():
        variable.encoding["source"] = address
    return ds


def _opened(address: str, **options: Any) -> xr.Dataset:
    if address.rstrip("/").endswith(".zarr"):
        with warnings.catch_warnings():
            # A store without consolidated metadata is slower to open, and no reason to stop
            warnings.simplefilter("ignore", RuntimeWarning)
            return xr.open_dataset(address, engine="zarr", **options)
    if address.split("://")[0] not in ("http", "https"):
        return _open_file(address, *_begin(address), **options)
    from aiohttp import ClientResponseError

    try:
        files, begin = _begin(address)
    except FileNotFoundError as error:  # whatever went wrong, by fsspec's word
        reason = error.__cause__
        if isinstance(reason, ClientResponseError) and reason.status != 404:
            begin = b""  # an OPeNDAP service may refuse its bare address
        elif isinstance(reason, network_errors()) and not isinstance(reason, ClientResponseError):
            raise reason from error
        else:
            raise
    if begin[:4] == _HDF5 or begin[:3] == _CLASSIC:
        return _open_file(address, files, begin, **options)
    return xr.open_dataset(address, engine="netcdf4", **options)


def is_remote(array: xr.DataArray) -> bool:
    """Whether a variable comes from a server."""
    return "://" in str(array.encoding.get("source", ""))


def _begin(address: str) -> tuple[fsspec.AbstractFileSystem, bytes]:
    """The file system of an address, and its first bytes without the rest."""
    files, path = fsspec.core.url_to_fs(address)
    streamed = {"block_size": 0} if _is_http(files) else {}  # or a server without ranges would send it all
    with files.open(path, "rb", **streamed) as file:
        return files, file.read(8)


def _open_file(address: str, files: fsspec.AbstractFileSystem, begin: bytes, **options: Any) -> xr.Dataset:
    _, path = fsspec.core.url_to_fs(address)
    in_ranges = not _is_http(files) or bool(files.info(path).get("partial"))
    if in_ranges and begin[:4] == _HDF5:
        return xr.open_dataset(files.open(path, "rb"), engine="h5netcdf", **options)
    return xr.open_dataset(fsspec.open_local(f"simplecache::{address}"), engine="netcdf4", **options)


def _is_http(files: fsspec.AbstractFileSystem) -> bool:
    return "http" in files.protocol
