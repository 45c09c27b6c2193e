"""A NetCDF file a start."""

from pathlib import Path
from typing import Any

from data_pipelines.times import text
from forecasting.exporters.shared import Forecast, fields_of, opened, require_free, written_whole
from forecasting.netcdf import write_netcdf


def to_netcdf(ds: Forecast, path: str | Path) -> list[Path]:
    """Write one NetCDF file a start, each a forecast file of its own.

    Parameters
    ----------
    ds
        A forecast, or its path.
    path
        A folder, in which files are named by their start as ``20200104T0400.nc``, or the name of a file, ``.nc``, to
        which the start is added where there are several.

    Returns
    -------
    list of Path
        The files, in the order of the starts.

    Raises
    ------
    ValueError
        If one of the files exists.
    """
    ds, target = opened(ds), Path(path)
    count = ds.sizes["init_time"]
    stamps = [_stamp(start) for start in ds["init_time"].values]
    if target.suffix != ".nc":
        files = [target / f"{stamp}.nc" for stamp in stamps]
    else:
        files = [target if count == 1 else target.with_name(f"{target.stem}-{stamp}.nc") for stamp in stamps]
    require_free(files)
    for number, file in enumerate(files):
        part = ds.isel(init_time=slice(number, number + 1))
        with written_whole(file) as partial:
            write_netcdf(part, partial, compressed=fields_of(ds))
    return files


def _stamp(start: Any) -> str:
    """As 20200104T0400, with seconds only where the start has any."""
    stamp = text(start).replace("-", "").replace(":", "")
    return stamp.removesuffix("00") if len(stamp) == len("20200104T040000") else stamp
