"""One way from NetCDF files to Zarr in a process of its own: its processor seconds and its peak memory as JSON."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from deflate import zlib_decompress
from zarr.codecs import Crc32cCodec

from data_pipelines import ingest

STEPS = 24  # of a file, and of a chunk of the tuned call


def ours(files: list[Path], to: Path) -> None:
    """A store with its checks, mask and statistics, by one process."""
    ingest(files, to=to / "ours.zarr")


def tuned(files: list[Path], to: Path) -> None:
    """What a careful user of xarray writes: as many bytes as ours with the same checksums, chunks as large as a file.

    Our own chunks go over the ends of files, which would cost this way another copy. It checks and measures nothing.
    """
    ds = xr.open_mfdataset(
        files,
        chunks={"time": STEPS},
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
    )
    plain = {str(name): {"compressors": Crc32cCodec()} for name in ds.data_vars}
    ds.drop_encoding().to_zarr(to / "tuned.zarr", encoding=plain, consolidated=False)


def naive(files: list[Path], to: Path) -> None:
    """What everybody writes first."""
    xr.open_mfdataset(files).to_zarr(to / "naive.zarr", consolidated=False)


def inflate(files: list[Path], to: Path) -> None:
    """Nothing but inflating every chunk, by the fastest decoder there is here."""
    for path in files:
        with h5py.File(path) as file:
            for name in ("zos", "tos", "uo", "vo"):
                variable, size = file[name].id, 4 * int(np.prod(file[name].chunks))
                for number in range(variable.get_num_chunks()):
                    place = variable.get_chunk_info(number).chunk_offset
                    zlib_decompress(variable.read_direct_chunk(place)[1], size)


def peak() -> float:
    """Most memory this process has taken, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Do what the words say."""
    way, to, *files = sys.argv[1:]
    work = {"ours": ours, "tuned": tuned, "naive": naive, "inflate": inflate}[way]
    paths = [Path(file) for file in files]
    with tempfile.TemporaryDirectory() as folder:  # every library that is needed is loaded by the first file
        work(paths[:1], Path(folder))
    before, began, used = peak(), time.monotonic(), time.process_time()
    work(paths, Path(to))
    told: dict[str, Any] = {
        "cpu_seconds": time.process_time() - used,
        "seconds": time.monotonic() - began,
        "peak_mb": peak(),
        "before_mb": before,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
