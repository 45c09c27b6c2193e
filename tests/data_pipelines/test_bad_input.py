"""What is wrong with a file is said in one sentence that names the file and the cure."""

from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from data_pipelines import describe, ingest, open_store, read_statistics

Writer = Callable[..., Path]
LEVEL = "sea_surface_height_above_geoid"


def refused(error: type[Exception], words: str, sources: object, tmp_path: Path, **options: object) -> None:
    """Ingest raises the error, in one line that ends with a full stop, and leaves no complete store."""
    with pytest.raises(error, match=words) as caught:
        ingest(sources, to=tmp_path / "refused.zarr", **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    with pytest.raises((ValueError, FileNotFoundError)):
        open_store(tmp_path / "refused.zarr")


def test_no_such_file(tmp_path: Path) -> None:
    refused(FileNotFoundError, r"none\.nc: no such file; give a NetCDF", tmp_path / "none.nc", tmp_path)
    refused(FileNotFoundError, r"\*\.nc matches no file", str(tmp_path / "*.nc"), tmp_path)


def test_no_source(tmp_path: Path) -> None:
    refused(ValueError, "no source is given", [], tmp_path)


def test_no_netcdf(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("a letter")
    refused(ValueError, r"^a\.nc is not a data set that xarray can open", tmp_path / "a.nc", tmp_path)


def test_a_file_cut_off(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("cut.nc", {"zos": (LEVEL, "m", level)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(ValueError, r"^cut\.nc.* anew", path, tmp_path)


@pytest.mark.parametrize("version", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("unlimited", [False, True])
@pytest.mark.parametrize("companion", [False, True])
def test_a_classic_file_cut_off_does_not_read_as_zeros(
    tmp_path: Path, version: str, unlimited: bool, companion: bool
) -> None:
    path = tmp_path / "classic.nc"
    with netCDF4.Dataset(path, "w", format=version) as file:
        for name, size in (("time", None if unlimited else 4), ("lat", 5), ("lon", 7)):
            file.createDimension(name, size)
        hours = {"units": "hours since 2020-01-01", "standard_name": "time"}
        for name, values, attrs in (
            ("lat", np.linspace(50, 60, 5), {"units": "degrees_north", "standard_name": "latitude"}),
            ("lon", np.linspace(0, 9, 7), {"units": "degrees_east", "standard_name": "longitude"}),
            ("time", np.arange(4.0), hours),
        ):
            variable = file.createVariable(name, "f8", (name,))
            variable.setncatts(attrs)
            variable[:] = values
        if companion:  # three bytes a record, padded to four
            file.createVariable("flag", "i1", ("time",))[:] = np.arange(4, dtype=np.int8)
        variable = file.createVariable("zos", "i2", ("time", "lat", "lon"))
        variable.setncatts({"standard_name": LEVEL, "units": "m", "scale_factor": 0.1})
        variable[:] = np.full((4, 5, 7), 1.0)
    whole = path.read_bytes()
    store = open_store(ingest(path, to=tmp_path / "whole.zarr"))
    np.testing.assert_allclose(store["zos"], 1, rtol=1e-6)
    for cut in (4, 100, len(whole) - 60):
        path.write_bytes(whole[:-cut])
        refused(ValueError, r"^classic\.nc.* anew", path, tmp_path)


def test_nothing_known(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("plankton.nc", {"algae": ("mole_concentration_of_phytoplankton", "mmol m-3", level)})
    refused(ValueError, r"^plankton\.nc: none of its variables .*algae.* is known", path, tmp_path)


def test_a_variable_that_is_not_there(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    refused(
        ValueError,
        "variable 'thetao' is not in the files, which hold zos",
        path,
        tmp_path,
        variables=["thetao"],
    )


def test_a_variable_that_one_file_lacks(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    name = "sea_surface_temperature"
    one = write_file("one.nc", {"zos": (LEVEL, "m", level), "sst": (name, "degC", level)})
    two = write_file("two.nc", {"zos": (LEVEL, "m", level)}, hours=range(12, 24))
    refused(
        ValueError,
        "'tos' is missing at 2020-01-01T12:00:00, where 'zos' is given in two.nc",
        [one, two],
        tmp_path,
    )


def test_half_a_vector_along_the_grid(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("u.nc", {"u": ("x_sea_water_velocity", "m/s", level)})
    refused(ValueError, r"^u\.nc: variable 'u' is a component along .* lacks the other", path, tmp_path)


def test_duplicate_times(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    one = write_file("one.nc", {"zos": (LEVEL, "m", level)})
    two = write_file("two.nc", {"zos": (LEVEL, "m", level)}, hours=range(10, 22))
    refused(
        ValueError,
        r"one\.nc and two\.nc: time 2020-01-01T10:00:00 occurs twice, as do 1 more",
        [one, two],
        tmp_path,
    )
    same = write_file("same.nc", {"zos": (LEVEL, "m", level[:3])}, hours=[0, 1, 1])
    refused(ValueError, r"^same\.nc: time 2020-01-01T01:00:00 occurs twice", same, tmp_path)


def test_other_cells(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    one = write_file("one.nc", {"zos": (LEVEL, "m", level)})
    two = write_file(
        "two.nc", {"zos": (LEVEL, "m", level)}, hours=range(12, 24), latitude=np.linspace(57, 58, 6)
    )
    refused(ValueError, r"^two\.nc: variable 'zos' lies on other cells than one\.nc", [one, two], tmp_path)


def test_other_calendars(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    one = write_file("one.nc", {"zos": (LEVEL, "m", level)})
    two = write_file("two.nc", {"zos": (LEVEL, "m", level)}, hours=range(12, 24), calendar="noleap")
    refused(ValueError, r"one\.nc.* calendar proleptic_gregorian, two\.nc.* in noleap", [one, two], tmp_path)


def test_forcing_that_ends_before_the_ocean(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    ocean = write_file("ocean.nc", {"zos": (LEVEL, "m", level)})
    air = write_file("air.nc", {"u": ("eastward_wind", "m/s", level[:8])})
    refused(
        ValueError,
        r"^air\.nc.* covers 2020-01-01T00:00:00 to 2020-01-01T07:00:00, ocean\.nc.* to 2020-01-01T11:00:00",
        ocean,
        tmp_path,
        forcing=air,
    )


def test_forcing_of_another_place(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    ocean = write_file("ocean.nc", {"zos": (LEVEL, "m", level)})
    air = write_file("air.nc", {"u": ("eastward_wind", "m/s", level)}, longitude=np.linspace(-40, -38, 8))
    refused(ValueError, r"^air\.nc.* covers only 0 % of the ocean cells", ocean, tmp_path, forcing=air)


def test_forcing_that_is_none(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    ocean = write_file("ocean.nc", {"zos": (LEVEL, "m", level)})
    refused(ValueError, r"^ocean\.nc holds no forcing, only zos", ocean, tmp_path, forcing=ocean)


@pytest.mark.parametrize("unit", ["bananas", None, ""])
def test_unknown_or_absent_unit(
    write_file: Writer, tmp_path: Path, level: np.ndarray, unit: str | None
) -> None:
    path = write_file("f.nc", {"zos": (LEVEL, unit, level)})
    refused(ValueError, r"^f\.nc: variable 'zos' has (unit 'bananas'|no unit).* kept in m", path, tmp_path)


def test_time_without_a_reference_date(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    for units in ("second", None):
        path = write_file("f.nc", {"zos": (LEVEL, "m", level)}, units=units)
        refused(
            ValueError,
            r"^f\.nc: time coordinate 'time': its unit is .* names no reference date",
            path,
            tmp_path,
        )


def test_a_climatology_is_no_series(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)}, units="fortnights since 2020-01-01")
    refused(
        ValueError,
        r"^f\.nc: time coordinate 'time': unit 'fortnights since .* cannot be turned into dates",
        path,
        tmp_path,
    )


@pytest.mark.parametrize("words", ["20,30,50,55", "12,10,54,53"])
def test_a_region_without_cells(write_file: Writer, tmp_path: Path, level: np.ndarray, words: str) -> None:
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    box = [float(edge) for edge in words.split(",")]
    refused(ValueError, f"^region {words.split(',')[0]}", path, tmp_path, region=box)


def test_a_region_of_land(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    refused(ValueError, "holds no value at all", path, tmp_path, region=(9.9, 10.6, 54.9, 55.3))


def test_a_surface_that_is_not_there(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    deep = np.stack([level, level], 1)
    path = write_file("f.nc", {"temp": ("sea_water_potential_temperature", "degC", deep)}, depths=[50, 100])
    refused(ValueError, "level nearest the surface lies at 50 m, more than 5 m down", path, tmp_path)
    refused(
        ValueError, "no level of its own near 10 m; its levels are 50, 100 m", path, tmp_path, depths="10,50"
    )
    refused(ValueError, "depths 'bottom' is neither", path, tmp_path, depths="bottom")


def test_terrain_following_levels(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file(
        "f.nc", {"temp": ("sea_water_potential_temperature", "degC", level[:, None])}, depths=[-0.5]
    )
    with netCDF4.Dataset(path, "a") as file:
        file["depth"].standard_name = "ocean_s_coordinate_g2"
    refused(ValueError, "lies on terrain-following levels 'depth'", path, tmp_path)


def test_a_step_without_values(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    level[7] = np.nan
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    refused(
        ValueError, r"^f\.nc: variable 'zos' at 2020-01-01T07:00:00 holds no value at all", path, tmp_path
    )


def test_a_value_that_is_not_on_earth(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    level[4, 5, 5] = 9999
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    refused(
        ValueError,
        r"^f\.nc: variable 'zos' at 2020-01-01T04:00:00 reaches 9999 m; sea level lies between -20 and 20",
        path,
        tmp_path,
    )


def test_land_that_looks_like_water(tmp_path: Path, write_file: Writer, level: np.ndarray) -> None:
    """Repacking tools leave the fill value of the floats on the integers, which can never match."""
    path = write_file("f.nc", {"zos": (LEVEL, "m", level)})
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("zos", "old")
        del file["old"].standard_name
        packed = file.createVariable("zos", "i2", file["old"].dimensions)
        packed.setncatts(
            {
                "standard_name": LEVEL,
                "units": "m",
                "coordinates": "lat lon",
                "missing_value": np.float32(1e37),
            }
        )
        packed[:] = 1
    refused(
        ValueError, r"^f\.nc: variable 'zos' is stored as int16 but marks land with 1e\+37", path, tmp_path
    )


def test_two_candidates(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    path = write_file("f.nc", {"a": (LEVEL, "m", level), "b": (LEVEL, "m", level)})
    refused(
        ValueError, r"^f\.nc: variables 'a' and 'b' both are sea_surface_height_above_geoid", path, tmp_path
    )


def test_a_product_nobody_knows(write_file: Writer, tmp_path: Path, level: np.ndarray) -> None:
    refused(ValueError, "product 'fvcom' is not known; choose one of auto, cf",
            write_file("f.nc", {"zos": (LEVEL, "m", level)}), tmp_path, product="fvcom")  # fmt: skip


def test_what_is_no_store(tmp_path: Path, coarse_store: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_store(tmp_path / "none.zarr")
    (tmp_path / "folder").mkdir()
    for read in (open_store, read_statistics):
        with pytest.raises(ValueError, match="is not a Zarr v3 store"):
            read(tmp_path / "folder")
    with pytest.raises(ValueError, match="holds no statistics of split 'summer', only of train"):
        read_statistics(coarse_store, "summer")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        describe(tmp_path / "none.nc")


def test_an_address_that_cannot_be_opened(tmp_path: Path) -> None:
    where = "memory://nowhere/at_all.zarr"
    refused(
        ValueError,
        r"^memory://nowhere/at_all\.zarr cannot be opened by xarray \(.*\); give the",
        where,
        tmp_path,
    )
