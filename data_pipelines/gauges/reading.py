"""Which form a gauge's file has, and listings of gauges that say what their files do not."""

import gzip
import tomllib
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import xarray as xr

from data_pipelines.gauges.dia import is_dia, read_dia
from data_pipelines.gauges.gesla import is_gesla, read_gesla
from data_pipelines.gauges.netcdf import read_netcdf
from data_pipelines.gauges.noos import is_noos, read_noos
from data_pipelines.gauges.record import Facts, Record, labelled
from data_pipelines.gauges.table import is_uhslc_table, read_table, read_uhslc_table

_GZIP, _NETCDF = b"\x1f\x8b", (b"CDF", b"\x89HDF")


def read_gauge(
    path: str | Path,
    *,
    name: str | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    time_zone: str | None = None,
    units: str | None = None,
    datum: str | None = None,
    missing: float | None = None,
) -> xr.Dataset:
    """The levels of one gauge in UTC and metres.

    Read are CSV (a time and a level), NOAA CO-OPS, NOOS, DIA of Rijkswaterstaat (in MET, whatever else its reader
    may expect), UHSLC (CSV and NetCDF), GESLA-3 and Copernicus Marine's in-situ NetCDF, compressed by gzip or not.

    Parameters
    ----------
    path
        The file.
    name, latitude, longitude, time_zone, units, datum, missing
        What the file does not say of itself: degrees north and east; ``UTC``, ``MET`` or an offset such as ``+01:00``;
        the number that stands for no level.

    Returns
    -------
    xr.Dataset
        ``level(time)``, m, without the missing ones; ``name``, ``latitude``, ``longitude``, ``datum`` and how it was
        read in the attributes, ``gaps`` and ``rejected`` counted there.

    Raises
    ------
    ValueError
        If zone, unit or position is not known, the rows are not sorted or come twice, the levels are none, the form is
        not known, or the file holds several gauges.
    """
    told = Facts(name, latitude, longitude, time_zone, units, datum, missing)
    found = [labelled(record, told) for record in _records(Path(path))]
    if len(found) != 1:
        raise ValueError(f"{path} holds {len(found)} gauges; read it with read_gauges, or keep one.")
    return found[0]


def read_gauges(path: str | Path) -> list[xr.Dataset]:
    """All gauges of a file, or of the files of a listing, each as :func:`read_gauge` gives it.

    A listing is a TOML file with a table a gauge, whose ``file`` is seen from the listing's folder::

        [Mayport]
        file = "mayport_2017.csv"
        latitude = 30.3967
        longitude = -81.43
        time_zone = "UTC"
        units = "m"
        datum = "MSL"

    Raises
    ------
    ValueError
        As :func:`read_gauge`; if a listing is none; if two gauges have one name.
    """
    path = Path(path)
    if path.suffix == ".toml":
        found = [
            labelled(record, facts) for file, facts in _listed(path) for record in _records(file, facts.name)
        ]
    else:
        found = [labelled(record, Facts()) for record in _records(path)]
    names = [str(ds.attrs["name"]) for ds in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{path.name}: two series are of {', '.join(twice)}; give one file a gauge, which holds one series, and "
            "each gauge a name of its own."
        )
    return found


def _records(path: Path, gauge: str | None = None) -> list[Record]:
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist or is no file; give the file of a tide gauge, or a listing (.toml)."
        )
    raw = path.read_bytes()
    where = f"{path.name} ({gauge})" if gauge else path.name
    if raw.startswith(_NETCDF):
        return read_netcdf(path, where)
    try:
        raw = gzip.decompress(raw) if raw.startswith(_GZIP) else raw
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{where} cannot be decompressed ({error}); fetch it anew.") from error
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError:  # names of places as Western European services write them
        content = raw.decode("latin-1")
    if "\0" in content or not content.strip():
        raise ValueError(
            f"{where} is {'empty' if not content.strip() else 'no text'}; give CSV, NOOS, DIA or GESLA-3 in UTF-8, or "
            "NetCDF that is not compressed once more."
        )
    for known, read in (
        (is_dia, read_dia),
        (is_gesla, read_gesla),
        (is_noos, read_noos),
        (is_uhslc_table, read_uhslc_table),
    ):
        if known(content):
            return read(content, where)
    return read_table(content, where)


def _listed(path: Path) -> list[tuple[Path, Facts]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(
            f"{path.name} is no listing of gauges ({error}); write a TOML table a gauge."
        ) from error
    known = [field.name for field in fields(Facts) if field.name != "name"]
    listed = []
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("file"), str):
            raise ValueError(
                f"{path.name}: '{name}' names no file; write a table a gauge, with file = \"...\"."
            )
        for key, value in table.items():
            if key not in ("file", *known):
                raise ValueError(f"{path.name}: '{name}.{key}' is not known; say file, {', '.join(known)}.")
            _require_kind(path, name, key, value)
        facts = Facts(name=name, **{key: value for key, value in table.items() if key != "file"})
        listed.append((path.parent / table["file"], facts))
    if not listed:
        raise ValueError(f'{path.name} lists no gauge; write a TOML table a gauge, with file = "...".')
    return listed


def _require_kind(path: Path, name: str, key: str, value: Any) -> None:
    number = key in ("latitude", "longitude", "missing")
    if isinstance(value, bool) or not isinstance(value, int | float if number else str):
        raise ValueError(
            f"{path.name}: '{name}.{key}' is {value!r}; it is written as {'a number' if number else 'text in quotes'}."
        )
