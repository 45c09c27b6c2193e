"""The shipped files hold what they say, and ingest brings out what plain arithmetic finds in them."""

from pathlib import Path

import netCDF4
import numpy as np
import pyproj
import pytest

from data_pipelines import open_store, read_statistics, sample_paths
from data_pipelines.sources import open_source


def raw(component: str) -> np.ndarray:
    """A current component along the grid, m/s, float64, NaN on land: scaled by hand from the stored integers."""
    with netCDF4.Dataset(sample_paths().ocean) as file:
        file.set_auto_maskandscale(False)
        stored = file[component][:, 0]
        return np.where(stored == -32767, np.nan, stored * 0.001)


def test_sample_is_small_and_says_where_it_comes_from() -> None:
    paths = sample_paths()
    assert sum(path.stat().st_size for path in (paths.ocean, paths.wind)) <= 8 * 2**20
    source = (paths.ocean.parent / "SOURCE.md").read_text()
    assert all(word in source for word in ("MET Norway", "CC BY 4.0", "NLOD", "OpenDrift"))


def test_ocean_file_is_in_its_distributed_form() -> None:
    with netCDF4.Dataset(sample_paths().ocean) as file:
        assert file["u"].dtype == np.int16
        assert file["u"].dimensions == ("time", "depth", "Y", "X")
        assert file["u"].shape == (67, 1, 201, 301)
        assert "lon" not in file.variables
        assert "+proj=stere" in file["projection_stere"].proj4


def test_components_have_different_land(native_store: Path) -> None:
    """1946 cells hold only one component; none of them is ocean."""
    u, v = np.isfinite(raw("u")).all(0), np.isfinite(raw("v")).all(0)
    assert (u != v).sum() == 1946
    np.testing.assert_array_equal(open_store(native_store)["mask"].to_numpy() == 1, u & v)


def test_current_turns_as_the_meridian_convergence_says(native_store: Path) -> None:
    """The stored east and north components are the grid's, turned by PROJ's own convergence, cell by cell."""
    ds = open_store(native_store)
    projection = pyproj.Proj(ds["crs"].attrs["proj4"])
    longitude, latitude = ds["longitude"].to_numpy(), ds["latitude"].to_numpy()
    angle = np.deg2rad(-projection.get_factors(longitude, latitude).meridian_convergence)
    u, v = raw("u"), raw("v")
    # float32 of numbers up to 2 m/s, and PROJ's numerical derivatives (1e-5 rad)
    for name, expected in (
        ("uo", u * np.cos(angle) - v * np.sin(angle)),
        ("vo", u * np.sin(angle) + v * np.cos(angle)),
    ):
        np.testing.assert_allclose(ds[name].to_numpy(), expected, rtol=0, atol=3e-5)


def test_mean_flow_of_the_coast(native_store: Path) -> None:
    """(0.209, 0.051) m/s along the grid is (0.040, 0.211) east and north: the Norwegian Coastal Current runs north."""
    ds = open_store(native_store)
    wet = ds["mask"].to_numpy() == 1
    along = [raw(name)[:, wet].mean() for name in ("u", "v")]
    true = [ds[name].to_numpy()[:, wet].mean(dtype=np.float64) for name in ("uo", "vo")]
    assert along == pytest.approx([0.2086, 0.0506], abs=5e-5)
    assert true == pytest.approx([0.0403, 0.2114], abs=5e-5)


def test_rotation_keeps_the_speed(native_store: Path) -> None:
    ds = open_store(native_store)
    before = np.hypot(raw("u"), raw("v"))
    after = np.hypot(ds["uo"].to_numpy(), ds["vo"].to_numpy())
    np.testing.assert_allclose(
        after, before, rtol=0, atol=2e-7 * 2
    )  # two roundings to float32 of at most 2 m/s


def test_grids_of_ocean_and_wind_lie_56_degrees_apart() -> None:
    paths = sample_paths()
    ocean, _ = open_source(paths.ocean).fields["uo"].positions.angle
    wind, _ = open_source(paths.wind).fields["u10"].positions.angle
    assert np.rad2deg(wind.mean() - ocean.mean()) == pytest.approx(-56.3, abs=0.1)


def test_wind_is_what_pyproj_and_scipy_find(native_store: Path) -> None:
    """Turned by PROJ's convergence and interpolated on the Lambert plane by scipy: the same wind."""
    from scipy.interpolate import RegularGridInterpolator

    ds = open_store(native_store)
    with netCDF4.Dataset(sample_paths().wind) as file:
        projection = pyproj.Proj(file["projection_lambert"].proj4)
        longitude, latitude = np.asarray(file["longitude"][:]), np.asarray(file["latitude"][:])
        angle = np.deg2rad(-projection.get_factors(longitude, latitude).meridian_convergence)
        u, v = (np.asarray(file[name][30], dtype=np.float64) for name in ("x_wind_10m", "y_wind_10m"))
        axes = np.asarray(file["y"][:], dtype=np.float64), np.asarray(file["x"][:], dtype=np.float64)
    x, y = projection(ds["longitude"].to_numpy(), ds["latitude"].to_numpy())
    inside = (x > axes[1][0]) & (x < axes[1][-1]) & (y > axes[0][0]) & (y < axes[0][-1])
    assert (~inside).mean() == pytest.approx(0.0733, abs=5e-4)  # the AROME file misses 7 % of the grid
    for name, field in (
        ("u10", u * np.cos(angle) - v * np.sin(angle)),
        ("v10", u * np.sin(angle) + v * np.cos(angle)),
    ):
        expected = RegularGridInterpolator(axes, field)(np.stack([y[inside], x[inside]], -1))
        # positions in float32 on the Lambert axes are good to 0.03 m of 2500 m, times gradients of 10 m/s a cell
        np.testing.assert_allclose(ds[name].to_numpy()[30][inside], expected, rtol=0, atol=1e-3)


def test_share_of_cells_without_wind_is_reported(native_store: Path) -> None:
    ds = open_store(native_store)
    assert ds["u10"].attrs["share_filled_nearest"] == pytest.approx(0.09, abs=0.005)  # of the ocean cells
    assert np.isfinite(ds["u10"].to_numpy()).all()


def test_statistics_of_the_sample_are_plain_numpy(coarse_store: Path) -> None:
    """Against float64 over the training hours, wet cells only."""
    ds, found = open_store(coarse_store), read_statistics(coarse_store)
    assert found.attrs["time_start"] == "2015-11-16T00:00:00"
    assert found.attrs["time_end"] == "2015-11-17T22:00:00"
    wet = ds["mask"].to_numpy() == 1
    for name in ("uo", "vo", "u10", "v10"):
        values = ds[name].to_numpy()[:47, wet].astype(np.float64)
        change = np.diff(values, axis=0)
        expected = [
            values.mean(),
            values.std(),
            values.min(),
            values.max(),
            values.size,
            change.mean(),
            change.std(),
        ]
        np.testing.assert_allclose(found[name].to_numpy(), expected, rtol=1e-11, atol=1e-14)
