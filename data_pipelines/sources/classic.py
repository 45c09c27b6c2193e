"""NetCDF 3 files: whether all the bytes are there that the header promises.

The NetCDF library reads the missing end of a file that was cut off as zeros, without a word.
Layout: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
"""

import math
from pathlib import Path
from typing import BinaryIO

_TYPE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = 0xFFFFFFFF  # the number of records of a file whose writer did not know it


def missing_bytes(path: Path) -> int:
    """Bytes a NetCDF 3 file lacks at its end; 0 for a whole one and for any other kind of file.

    Raises
    ------
    ValueError
        If the header itself is cut off.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            return 0
        try:
            return max(0, _promised(file, magic[3]) - path.stat().st_size)
        except (EOFError, KeyError, IndexError) as error:
            raise ValueError(f"{path.name}: its header is cut off; fetch the file anew.") from error


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
