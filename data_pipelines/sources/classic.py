"""NetCDF files: whether all the bytes are there that the header promises.

The NetCDF library reads the missing end of a NetCDF 3 file that was cut off as zeros, without a word; of a NetCDF 4
file it says that it cannot be opened, and not why.
Layouts: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html and the superblock in
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import math
from pathlib import Path
from typing import BinaryIO

from data_pipelines.schema import DamageError

_TYPE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = 0xFFFFFFFF  # the number of records of a file whose writer did not know it


_HDF5 = b"\x89HDF\r\n\x1a\n"
# Of the superblock's versions: where the base address stands, and where the address of the end of the file.
_ADDRESSES = {0: (24, 40), 1: (28, 44), 2: (12, 28), 3: (12, 28)}


def promised_bytes(path: Path) -> int:
    """Bytes a NetCDF file has to have; 0 where its header does not say, or it is another kind of file.

    Raises
    ------
    ValueError
        If the header itself is cut off.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        if magic == _HDF5[:4]:
            return _promised_by_superblock(magic + file.read(60))
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            return 0
        try:
            return _promised(file, magic[3])
        except (EOFError, KeyError, IndexError) as error:
            raise DamageError(f"{path.name}: its header is cut off; fetch the file anew.") from error


def _promised(file: BinaryIO, version: int) -> int:
    """Offset of the last byte that any variable has in the file."""
    count_size, offset_size = (8 if version == 5 else 4), (4 if version == 1 else 8)

    def number(size: int = count_size) -> int:
        raw = file.read(size)
        if len(raw) < size:
            raise EOFError
        return int.from_bytes(raw, "big")

    def skip(size: int) -> None:
        if len(file.read(size + -size % 4)) < size:
            raise EOFError

    def skip_attributes() -> None:
        number(4)
        for _ in range(number()):
            skip(number())
            kind = number(4)
            skip(_TYPE_SIZE[kind] * number())

    records = number()
    number(4)
    lengths = []
    for _ in range(number()):
        skip(number())
        lengths.append(number())
    skip_attributes()
    number(4)
    fixed_ends, record_parts = [0], []
    for _ in range(number()):
        skip(number())
        dims = [lengths[number()] for _ in range(number())]
        skip_attributes()
        item = _TYPE_SIZE[number(4)]
        number()  # the size of a slab, which overflows for large ones: computed instead
        begin = number(offset_size)
        if dims and dims[0] == 0:
            record_parts.append((begin, item * math.prod(dims[1:])))
        else:
            fixed_ends.append(begin + item * math.prod(dims))
    if record_parts and 0 < records < _STREAMING:
        slabs = [size for _, size in record_parts]
        # A single record variable is packed without the padding to four bytes.
        record = slabs[0] if len(slabs) == 1 else sum(size + -size % 4 for size in slabs)
        fixed_ends += [begin + (records - 1) * record + size for begin, size in record_parts]
    return max(fixed_ends)


def _promised_by_superblock(head: bytes) -> int:
    """End of an HDF5 file by its superblock; 0 where it is of a kind that this does not read."""
    if head[:8] != _HDF5 or len(head) < 52 or head[8] not in _ADDRESSES:
        return 0
    size_of_addresses = head[13] if head[8] < 2 else head[9]
    if size_of_addresses != 8:
        return 0
    base, end = (int.from_bytes(head[start : start + 8], "little") for start in _ADDRESSES[head[8]])
    return 0 if end == 2**64 - 1 else base + end
