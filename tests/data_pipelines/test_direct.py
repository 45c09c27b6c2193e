"""Read from the file's own bytes or by its library, a field is the same to the last bit."""

from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

from data_pipelines.sources.direct import read_direct

SHAPE, DIMS = (7, 3, 5, 6), ("t", "z", "y", "x")
PACKED = {"dtype": "i2", "fill_value": np.int16(-32767), "zlib": True}
KINDS: dict[str, tuple[bool, dict[str, Any]]] = {
    "shuffled": (True, {"zlib": True, "chunksizes": (1, 3, 5, 6)}),
    "unshuffled": (True, {"zlib": True, "shuffle": False, "chunksizes": (1, 3, 5, 6)}),
    "a chunk a level": (True, {"zlib": True, "chunksizes": (1, 1, 5, 6)}),
    "some steps a chunk": (True, {"zlib": True, "chunksizes": (2, 2, 5, 6)}),
    "double": (True, {"dtype": "f8", "zlib": True, "chunksizes": (1, 3, 5, 6)}),
    "uncompressed": (True, {"chunksizes": (1, 3, 5, 6)}),
    "contiguous": (True, {"contiguous": True}),
    "packed": (
        True,
        PACKED | {"chunksizes": (1, 3, 5, 6), "scale": np.float64(-0.001), "offset": np.float64(0.5)},
    ),
    "packed in single": (True, PACKED | {"chunksizes": (1, 3, 5, 6), "scale": np.float32(0.001)}),
    "bytes": (True, {"dtype": "u1", "fill_value": np.uint8(255), "zlib": True, "chunksizes": (1, 3, 5, 6)}),
    "parts of planes": (False, {"zlib": True, "chunksizes": (1, 3, 5, 3)}),
    "all steps a chunk": (False, {"zlib": True, "chunksizes": (7, 3, 5, 6)}),
    "summed": (False, {"zlib": True, "fletcher32": True, "chunksizes": (1, 3, 5, 6)}),
    "big-endian": (False, {"zlib": True, "dtype": ">f4", "endian": "big", "chunksizes": (1, 3, 5, 6)}),
    "other codec": (False, {"compression": "zstd", "chunksizes": (1, 3, 5, 6)}),
    "classic": (False, {"format": "NETCDF3_64BIT_OFFSET"}),
}


def write(path: Path, options: dict[str, Any]) -> Path:
    options = {"dtype": "f4", "fill_value": np.float32(1e20)} | options
    dtype, fill = np.dtype(options.pop("dtype")), options.pop("fill_value")
    scale, offset = options.pop("scale", None), options.pop("offset", None)
    values = np.random.default_rng(0).normal(100, 30, SHAPE)
    with netCDF4.Dataset(path, "w", format=options.pop("format", "NETCDF4")) as file:
        for name, size in zip(DIMS, SHAPE, strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("v", dtype, DIMS, fill_value=dtype.type(fill), **options)
        variable.set_auto_maskandscale(False)
        if scale is not None:
            variable.scale_factor = scale
        if offset is not None:
            variable.add_offset = offset
        variable[:] = np.where(values > 130, dtype.type(fill), values.astype(dtype))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_give_the_same_bits(tmp_path: Path, kind: str) -> None:
    direct, options = KINDS[kind]
    path = write(tmp_path / "f.nc", dict(options))
    with xr.open_dataset(path, decode_times=False, chunks=None, cache=False) as ds:
        for steps, levels in ((slice(2, 5), [0, 1, 2]), (slice(1, 4), [2, 0]), (slice(0, 0), [1])):
            expected = ds["v"].isel(t=steps, z=levels).to_numpy()
            found = read_direct(ds["v"], DIMS, steps, levels)
            assert (found is not None) == direct or not expected.size
            if found is not None:
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)
        # What is no longer the file's own variable is not read past what was done to it.
        assert read_direct(ds["v"].isel(z=0, drop=True), ("t", "y", "x"), slice(0, 2), None) is None
        assert read_direct(ds["v"].isel(t=slice(1, 5)), DIMS, slice(0, 2), [0]) is None


def test_a_damaged_chunk_is_left_to_the_library(tmp_path: Path) -> None:
    path = write(tmp_path / "f.nc", dict(KINDS["shuffled"][1]))
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        place = file["v"].id.get_chunk_info(3).byte_offset
    content[place + 100] ^= 255
    path.write_bytes(content)
    with xr.open_dataset(path, decode_times=False, chunks=None, cache=False) as ds:
        blocks = [read_direct(ds["v"], DIMS, slice(step, step + 1), [0, 1, 2]) for step in range(7)]
    assert sum(block is None for block in blocks) == 1
