"""Stores of the shipped sample, made once, and a writer of small CF files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from data_pipelines import ingest, sample_paths

FileWriter = Callable[..., Path]


@pytest.fixture(scope="session")
def native_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NorKyst on its own 800 m cells with the wind over it."""
    sample = sample_paths()
    return ingest(sample.ocean, to=tmp_path_factory.mktemp("native") / "ocean.zarr", forcing=sample.wind)


@pytest.fixture(scope="session")
def coarse_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NorKyst on blocks of 4 x 4 cells with the wind over it."""
    sample = sample_paths()
    return ingest(
        sample.ocean, to=tmp_path_factory.mktemp("coarse") / "ocean.zarr", forcing=sample.wind, coarsen=4
    )


@pytest.fixture
def write_file(tmp_path: Path) -> FileWriter:
    """Writer of a CF file: ``write_file(name, {variable: (standard_name, unit, values[t, (z,) y, x])}, hours=...)``."""

    def write(
        name: str,
        fields: Mapping[str, tuple[str | None, str | None, Any]],
        *,
        hours: Sequence[float] | None = None,
        latitude: Any = None,
        longitude: Any = None,
        depths: Sequence[float] | None = None,
        units: str | None = "hours since 2020-01-01 00:00:00",
        calendar: str = "standard",
        packing: Mapping[str, Any] | None = None,
    ) -> Path:
        path = tmp_path / name
        shape = np.shape(next(iter(fields.values()))[2])
        latitude = np.linspace(55.0, 56.0, shape[-2]) if latitude is None else np.asarray(latitude)
        longitude = np.linspace(10.0, 12.0, shape[-1]) if longitude is None else np.asarray(longitude)
        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("time", shape[0])
            file.createDimension("y", shape[-2])
            file.createDimension("x", shape[-1])
            time = file.createVariable("time", "f8", ("time",))
            time[:] = np.arange(shape[0]) if hours is None else hours
            time.setncatts(
                {"standard_name": "time", "calendar": calendar} | ({"units": units} if units else {})
            )
            if depths is not None:
                file.createDimension("depth", len(depths))
                depth = file.createVariable("depth", "f8", ("depth",))
                depth[:] = depths
                depth.setncatts({"standard_name": "depth", "units": "m", "positive": "down", "axis": "Z"})
            for key, values, unit, dim in (
                ("lat", latitude, "degrees_north", ("y",)),
                ("lon", longitude, "degrees_east", ("x",)),
            ):
                position = file.createVariable(key, "f8", dim if values.ndim == 1 else ("y", "x"))
                position[:] = values
                position.setncatts(
                    {"standard_name": f"{key}itude" if key == "lat" else "longitude", "units": unit}
                )
            for key, (standard_name, unit, values) in fields.items():
                dims = ("time", *(("depth",) if np.ndim(values) == 4 else ()), "y", "x")
                options = dict(packing or {})
                fill = options.pop("fill_value", np.float32(1e20))
                variable = file.createVariable(key, options.pop("dtype", "f4"), dims, fill_value=fill)
                variable.setncatts(options | {"coordinates": "lat lon"})
                if standard_name:
                    variable.standard_name = standard_name
                if unit is not None:
                    variable.units = unit
                variable[:] = np.ma.masked_array(np.nan_to_num(values), ~np.isfinite(values))
        return path

    return write


def sea_level(steps: int = 12, rows: int = 6, columns: int = 8, seed: int = 0) -> np.ndarray:
    """Random sea level, m, with land in one corner that is NaN at every step."""
    values = np.random.default_rng(seed).normal(0, 0.3, (steps, rows, columns)).astype(np.float32)
    values[:, :2, :3] = np.nan
    return values


@pytest.fixture
def level() -> np.ndarray:
    """Twelve steps of a random sea level, m, with land in one corner."""
    return sea_level()
