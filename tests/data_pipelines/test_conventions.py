"""A store, copied to NetCDF, breaks no rule of the CF conventions by the word of their checker."""

from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from data_pipelines import ingest, open_store
from tests.conventions import breaches

ORCA1 = Path(__file__).parent / "nemo_orca1"


def copied(store: Path, to: Path) -> Path:
    open_store(store).to_netcdf(to)
    return to


def test_a_projected_store_with_currents_and_wind(coarse_store: Path, tmp_path: Path) -> None:
    path = copied(coarse_store, tmp_path / "copy.nc")
    assert breaches(path) == []
    with netCDF4.Dataset(path, "a") as file:  # and the checker sees what is wrong
        file["uo"].units = "degC"
        file["y"].standard_name = "y_of_the_projection"
    assert len(breaches(path)) >= 2


def test_months_of_360_days_on_a_curvilinear_grid(tmp_path: Path) -> None:
    store = ingest(sorted(ORCA1.glob("*.nc")), to=tmp_path / "s.zarr")
    assert breaches(copied(store, tmp_path / "copy.nc")) == []


def test_levels_ice_stress_pressure_and_a_sea_floor(tmp_path: Path) -> None:
    deep = 8 + np.random.default_rng(0).normal(0, 1, (4, 2, 5, 6)).astype(np.float32)
    deep[:, 1, :2] = np.nan
    flat, plane = ("time", "lat", "lon"), deep[:, 0]
    ds = xr.Dataset(
        {
            "temp": (
                ("time", "depth", *flat[1:]),
                deep,
                {"standard_name": "sea_water_potential_temperature"},
            ),
            "salt": (("time", "depth", *flat[1:]), deep + 25, {"standard_name": "sea_water_salinity"}),
            "ice": (flat, np.clip(plane, 0, 1), {"standard_name": "sea_ice_area_fraction"}),
            "tx": (flat, plane / 40, {"standard_name": "surface_downward_eastward_stress"}),
            "ty": (flat, plane / 40, {"standard_name": "surface_downward_northward_stress"}),
            "p": (flat, 1e5 + plane, {"standard_name": "air_pressure_at_mean_sea_level"}),
            "h": (flat[1:], 100 + plane[0], {"standard_name": "sea_floor_depth_below_geoid"}),
        },
        coords={
            "time": ("time", np.arange(4.0), {"units": "days since 2000-01-01"}),
            "depth": ("depth", [0.0, 10.0], {"standard_name": "depth", "units": "m", "positive": "down"}),
            "lat": ("lat", np.arange(5.0), {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", np.arange(6.0), {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    for name, unit in zip(ds.data_vars, ("degC", "psu", "%", "N m-2", "N m-2", "hPa", "m"), strict=True):
        ds[name].attrs["units"] = unit
    ds["p"] = ds["p"].copy(data=ds["p"] / 100)
    ds.to_netcdf(tmp_path / "deep.nc")
    store = ingest(tmp_path / "deep.nc", to=tmp_path / "s.zarr", depths="all")
    assert breaches(copied(store, tmp_path / "copy.nc")) == []
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "copy.nc"), open_store(store))
