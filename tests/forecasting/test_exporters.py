"""Exports have the names, axes and means that other tools expect, and lose no number on the way."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from forecasting import evaluate, forecast, open_forecast, to_netcdf, to_oceanbench, to_weatherbench
from oceanop.checkpoint import Checkpoint
from oceanop.layout import cf_attributes
from tests.forecasting.synthetic import product

HOUR, DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
LATITUDE = np.arange(-85.0, 90.0, 10.0)
LONGITUDE = np.arange(-175.0, 180.0, 20.0)
DEPTHS = np.array([0.5, 50.0])


def planet(hours: int = 24 * 8, *, seed: int = 0) -> xr.Dataset:
    """A store of the whole globe: level and temperature at two depths, hourly from 2024-01-01, some land."""
    generator = np.random.default_rng(seed)
    shape = (LATITUDE.size, LONGITUDE.size)
    wet = generator.random(shape) > 0.3
    time = np.datetime64("2024-01-01T00", "ns") + np.arange(hours) * HOUR
    ends = np.sin(np.deg2rad(np.stack([LATITUDE - 5, LATITUDE + 5])))
    area = 6.371e6**2 * np.deg2rad(20.0) * (ends[1] - ends[0])  # of a cell between two latitudes, exactly
    plane = ("latitude", "longitude")
    level = generator.standard_normal((hours, *shape))
    warmth = 10 + generator.standard_normal((hours, DEPTHS.size, *shape))
    ds = xr.Dataset(
        {
            "zos": (("time", *plane), np.where(wet, level, np.nan).astype(np.float32), cf_attributes("zos")),
            "thetao": (
                ("time", "depth", *plane),
                np.where(wet, warmth, np.nan).astype(np.float32),
                cf_attributes("thetao"),
            ),
            "mask": (("depth", *plane), np.broadcast_to(wet, (2, *shape)).astype(np.int8)),
            "cell_area": (plane, np.broadcast_to(area[:, None], shape).copy()),
        },
        coords={
            "time": time,
            "depth": ("depth", DEPTHS, {"units": "m", "positive": "down"}),
            "latitude": ("latitude", LATITUDE, {"standard_name": "latitude", "units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )
    return ds.assign_attrs(splits='{"train": ["2024-01-01", "2024-01-03"]}')


def made(
    store: xr.Dataset,
    starts: list[str],
    leads: int,
    *,
    step: int = 1,
    error: float = 0.3,
    means: bool = False,
) -> xr.Dataset:
    """A forecast file over the store's times, wrong by noise."""
    generator = np.random.default_rng(1)
    inits = np.array(starts, dtype="datetime64[ns]")
    lead = np.arange(1, leads + 1) * step * HOUR
    valid = inits[:, None] + lead
    out = store[["mask", "cell_area"]].assign_coords(
        init_time=inits, lead_time=lead, valid_time=(("init_time", "lead_time"), valid)
    )
    for name in ("zos", "thetao"):
        true = np.stack([store[name].sel(time=row).values for row in valid])
        values = (true + error * generator.standard_normal(true.shape)).astype(np.float32)
        attrs = cf_attributes(name) | ({"cell_methods": "time: mean"} if means else {})
        out[name] = (("init_time", "lead_time", *store[name].dims[1:]), values, attrs)
    return out.assign_attrs(
        model="FNOtD", title="Ocean forecast by FNOtD", institution="a school", complete=True
    )


@pytest.fixture(scope="module")
def store() -> xr.Dataset:
    return planet()


@pytest.fixture(scope="module")
def hourly(store: xr.Dataset) -> xr.Dataset:
    return made(store, ["2024-01-02T23", "2024-01-03T12"], 72)


def test_weatherbench_s_layout_name_by_name(hourly: xr.Dataset, tmp_path: Path) -> None:
    out = to_weatherbench(hourly, tmp_path / "wb.zarr")
    assert dict(out["thetao"].sizes) == {
        "time": 2,
        "prediction_timedelta": 72,
        "level": 2,
        "longitude": LONGITUDE.size,
        "latitude": LATITUDE.size,
    }
    assert out["zos"].dims == ("time", "prediction_timedelta", "longitude", "latitude")
    assert set(out.variables) == {
        "zos",
        "thetao",
        "time",
        "prediction_timedelta",
        "level",
        "longitude",
        "latitude",
        "mask",
    }
    assert out["time"].dtype.kind == "M"
    assert out["prediction_timedelta"].dtype.kind == "m"
    assert out["mask"].dtype == bool
    for name, low, high in (("longitude", 0.0, 360.0), ("latitude", -90.0, 90.0)):
        assert (np.diff(out[name]) > 0).all()
        assert low <= out[name].min() < out[name].max() <= high
    assert out["zos"].attrs["standard_name"] == "sea_surface_height_above_geoid"


def test_weatherbench_s_numbers_are_the_forecast_s(hourly: xr.Dataset, tmp_path: Path) -> None:
    for out in (
        to_weatherbench(hourly),
        to_weatherbench(hourly, tmp_path / "x.nc"),
        to_weatherbench(hourly, tmp_path / "x"),
    ):
        for longitude in (-175.0, 5.0, 165.0):
            np.testing.assert_array_equal(
                out["thetao"].sel(longitude=longitude % 360, latitude=35.0, level=50.0).values,
                hourly["thetao"].sel(longitude=longitude, latitude=35.0, depth=50.0).values,
            )
        np.testing.assert_array_equal(out["time"], hourly["init_time"])
        np.testing.assert_array_equal(out["prediction_timedelta"], hourly["lead_time"])
        np.testing.assert_array_equal(
            out["mask"].isel(level=0), np.isfinite(out["zos"]).isel(time=0, prediction_timedelta=0)
        )


@pytest.mark.parametrize("rows", [slice(None), slice(5, 12)], ids=["globe", "region"])
def test_weatherbench_s_definition_gives_our_rmse(
    rows: slice, hourly: xr.Dataset, store: xr.Dataset, tmp_path: Path
) -> None:
    """Root of the mean over starts of the spatial mean of squares, weighted by differences of the sine of latitude."""
    hourly, store = hourly.isel(latitude=rows), store.isel(latitude=rows)
    out = to_weatherbench(hourly, tmp_path / "wb.zarr")
    truth = store.assign_coords(longitude=store["longitude"] % 360).sortby("longitude")
    ours = evaluate(hourly, store, baselines=[])
    latitude = out["latitude"].values
    # As WeatherBench-X bounds cells: half way between, and half a spacing beyond the outermost
    edges = np.concatenate([latitude[:1] - 5, (latitude[1:] + latitude[:-1]) / 2, latitude[-1:] + 5])
    weight = xr.DataArray(np.diff(np.sin(np.deg2rad(edges))), dims="latitude", coords={"latitude": latitude})
    valid = out["time"] + out["prediction_timedelta"]
    for lead in (0, 35, 71):
        moments = valid.isel(prediction_timedelta=lead).values
        happened = truth["zos"].sel(time=moments).assign_coords(time=out["time"])
        square = (out["zos"].isel(prediction_timedelta=lead).astype(float) - happened) ** 2
        rmse = np.sqrt(square.weighted(weight).mean(["latitude", "longitude"]).mean("time"))
        at = {"forecaster": "FNOtD", "variable": "zos", "metric": "rmse", "band": "all"}
        assert float(ours["value"].sel(at | {"lead_hours": str(lead + 1)})) == pytest.approx(
            float(rmse), rel=1e-6
        )


def test_longitudes_that_need_no_turn_are_kept_to_the_last_digit(hourly: xr.Dataset) -> None:
    """Other files of the same grid must still join; 10.1 + 180 - 180 is another number."""
    own = np.array([-179.9, -10.1, 0.1, 10.1, 179.9])
    for dtype in (np.float32, np.float64):
        part = hourly.isel(longitude=slice(5)).assign_coords(longitude=own.astype(dtype))
        np.testing.assert_array_equal(to_oceanbench(part)["longitude"], own.astype(dtype))
        np.testing.assert_array_equal(to_weatherbench(part)["longitude"][:3], own.astype(dtype)[2:])


def test_a_mask_of_depths_covers_the_fields_of_depth_and_no_level(hourly: xr.Dataset) -> None:
    out = to_weatherbench(hourly)
    assert "mask" in out["thetao"].coords
    assert "mask" not in out["zos"].coords
    assert (
        "mask" in to_weatherbench(hourly.assign(mask=hourly["mask"].isel(depth=0, drop=True)))["zos"].coords
    )


def test_members_become_numbers(hourly: xr.Dataset) -> None:
    several = xr.concat([hourly, hourly + 0], "member").assign_coords(member=[0, 1])
    several["mask"] = hourly["mask"]
    out = to_weatherbench(several[["zos", "mask"]])
    assert out["zos"].dims == ("time", "prediction_timedelta", "number", "longitude", "latitude")


def test_oceanbench_s_layout_name_by_name(hourly: xr.Dataset, tmp_path: Path) -> None:
    out = to_oceanbench(hourly, tmp_path / "ob")
    assert out["zos"].dims == ("first_day_datetime", "lead_day_index", "latitude", "longitude")
    assert out["thetao"].dims == ("first_day_datetime", "lead_day_index", "depth", "latitude", "longitude")
    assert out["lead_day_index"].values.tolist() == [0, 1]
    np.testing.assert_array_equal(
        out["first_day_datetime"], np.array(["2024-01-03", "2024-01-04"], "datetime64[ns]")
    )
    assert set(out.data_vars) == {"zos", "thetao"}
    assert out["thetao"].attrs["standard_name"] == "sea_water_potential_temperature"
    assert out["thetao"].attrs["units"] == "degC"
    assert out["depth"].attrs["positive"] == "down"
    assert (np.diff(out["longitude"]) > 0).all()
    assert -180 <= out["longitude"].min() < out["longitude"].max() < 180
    assert sorted(path.name for path in (tmp_path / "ob").iterdir()) == ["20240103.zarr", "20240104.zarr"]


def test_files_open_by_the_recipe_that_oceanbench_opens_its_challengers_by(
    hourly: xr.Dataset, tmp_path: Path
) -> None:
    """Days renamed to lead days and counted, files joined one after the other, and their first days put beside."""
    expected = to_oceanbench(hourly, tmp_path)
    opened = xr.open_mfdataset(
        sorted(tmp_path.glob("*.zarr")),
        engine="zarr",
        preprocess=lambda ds: ds.rename(time="lead_day_index").assign(lead_day_index=range(2)),
        combine="nested",
        concat_dim="first_day_datetime",
    ).assign(first_day_datetime=expected["first_day_datetime"].values)
    xr.testing.assert_equal(opened, expected)


def test_files_of_oceanbench_are_of_zarr_2_with_codecs_that_it_knows(
    hourly: xr.Dataset, tmp_path: Path
) -> None:
    to_oceanbench(hourly, tmp_path)
    folder = tmp_path / "20240103.zarr"
    assert (folder / ".zmetadata").is_file()
    assert not (folder / "zarr.json").exists()
    for name, dims in (
        ("zos", ["time", "latitude", "longitude"]),
        ("thetao", ["time", "depth", "latitude", "longitude"]),
    ):
        array = json.loads((folder / name / ".zarray").read_text())
        assert array["zarr_format"] == 2
        assert array["dtype"] == "<f4"
        assert array["filters"] is None
        assert array["compressor"] is None or array["compressor"]["id"] in ("zstd", "blosc", "zlib", "lz4")
        assert array["chunks"][: len(dims) - 2] == [1] * (len(dims) - 2)
        assert json.loads((folder / name / ".zattrs").read_text())["_ARRAY_DIMENSIONS"] == dims
    attrs = json.loads((folder / ".zattrs").read_text())
    expected = {
        "Conventions",
        "title",
        "institution",
        "source",
        "references",
        "contact",
        "area",
        "challenger",
    }
    assert set(attrs) == expected | {"forecast_reference_time"}
    assert (
        attrs["forecast_reference_time"] == "2024-01-02"
    )  # the day of the analysis, one before the first day
    assert attrs["challenger"] == "FNOtD"


def test_daily_means_are_of_whole_days_alone(hourly: xr.Dataset) -> None:
    """23:00 on the 2nd and 72 h: the 3rd and 4th whole, of the 5th 24 values too; 12:00 on the 3rd: the 4th and 5th."""
    out = to_oceanbench(hourly)
    for number, first in enumerate(("2024-01-03", "2024-01-04")):
        for day in (0, 1):
            begin = np.datetime64(first, "ns") + day * DAY
            valid = hourly["valid_time"].values[number]
            inside = (valid >= begin) & (valid < begin + DAY)
            assert inside.sum() == 24
            for name in ("zos", "thetao"):
                mean = hourly[name].values[number, inside].astype(np.float64).mean(0)
                got = out[name].isel(first_day_datetime=number, lead_day_index=day).values
                np.testing.assert_allclose(got, mean, rtol=1e-6)


def test_what_is_written_is_what_is_returned(hourly: xr.Dataset, tmp_path: Path) -> None:
    written, held = to_oceanbench(hourly, tmp_path), to_oceanbench(hourly)
    xr.testing.assert_equal(written, held)


def test_a_surface_field_lies_at_the_uppermost_depth(store: xr.Dataset) -> None:
    both = made(store, ["2024-01-02T23"], 24).assign(
        uo=lambda ds: ds["zos"].assign_attrs(cf_attributes("uo"))
    )
    out = to_oceanbench(both)
    assert np.isfinite(out["uo"].isel(depth=0)).any()
    assert np.isnan(out["uo"].isel(depth=1)).all()
    alone = to_oceanbench(both[["uo", "mask", "cell_area"]])
    assert alone["uo"].sizes["depth"] == 1
    assert (
        "depth"
        not in to_oceanbench(both[["zos", "mask", "cell_area"]].drop_vars("depth", errors="ignore"))[
            "zos"
        ].dims
    )


def test_daily_means_stay_as_they_are_and_ten_days_are_the_most(store: xr.Dataset) -> None:
    longer = planet(24 * 14, seed=2)
    daily = made(longer, ["2024-01-02T00"], 12, step=24, means=True)
    out = to_oceanbench(daily)
    assert out.sizes["lead_day_index"] == 10
    np.testing.assert_array_equal(out["zos"].values[0], daily["zos"].values[0, :10])
    with pytest.raises(
        ValueError, match=r"'zos' holds instants 24 h apart, and the mean of fewer than four a day"
    ):
        to_oceanbench(made(store, ["2024-01-02T00"], 3, step=24))


def test_a_netcdf_file_a_start_and_together_the_forecast(hourly: xr.Dataset, tmp_path: Path) -> None:
    files = to_netcdf(hourly, tmp_path / "out")
    assert [file.name for file in files] == ["20240102T2300.nc", "20240103T1200.nc"]
    again = xr.concat([open_forecast(file) for file in files], "init_time", data_vars="minimal")
    for name in ("zos", "thetao", "valid_time", "lead_time", "init_time", "mask"):
        np.testing.assert_array_equal(again[name], hourly[name])
    assert open_forecast(files[0]).attrs["model"] == "FNOtD"
    named = to_netcdf(hourly, tmp_path / "f.nc")
    assert [file.name for file in named] == ["f-20240102T2300.nc", "f-20240103T1200.nc"]
    assert to_netcdf(hourly.isel(init_time=[0]), tmp_path / "one.nc") == [tmp_path / "one.nc"]


def test_a_learned_forecast_goes_through_every_exporter(
    ocean: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "f.zarr"
    forecast(checkpoint, ocean, start="2020-01-03T20", leads=27, to=path)
    [file] = to_netcdf(path, tmp_path / "f.nc")
    assert open_forecast(file)["uo"].equals(open_forecast(path)["uo"])
    out = to_oceanbench(path, tmp_path / "ob")
    assert out["uo"].dims == ("first_day_datetime", "lead_day_index", "depth", "latitude", "longitude")
    assert out["first_day_datetime"].values[0] == np.datetime64("2020-01-04")
    assert to_weatherbench(path, tmp_path / "wb.zarr").sizes["prediction_timedelta"] == 27


def test_what_cannot_be_exported_is_refused_in_a_sentence(
    hourly: xr.Dataset, store: xr.Dataset, tmp_path: Path
) -> None:
    for export in (to_weatherbench, to_oceanbench):
        with pytest.raises(
            ValueError, match="knows grids that are regular in latitude and longitude, and the"
        ):
            export(product())
        with pytest.raises(ValueError, match="no dimension init_time and lead_time; give a forecast"):
            export(store)
    with pytest.raises(
        ValueError, match=r"from 2024-01-02T06:00:00 .* up to 20 h holds no day from 00 to 24 UTC"
    ):
        to_oceanbench(made(store, ["2024-01-02T06"], 20))
    with pytest.raises(ValueError, match="several starts have 2024-01-03 as their first whole day"):
        to_oceanbench(made(store, ["2024-01-02T12", "2024-01-02T18"], 48))
    with pytest.raises(ValueError, match="leads are 5 h apart, which does not divide a day"):
        to_oceanbench(made(store, ["2024-01-02T12"], 12, step=5))
    with pytest.raises(ValueError, match="the forecast holds siconc, and OceanBench scores zos, thetao"):
        to_oceanbench(hourly[["zos", "mask", "cell_area"]].rename(zos="siconc"))
    to_oceanbench(hourly, tmp_path)
    to_weatherbench(hourly, tmp_path / "wb.zarr")
    to_netcdf(hourly, tmp_path)
    (tmp_path / "20240104.zarr").rename(tmp_path / "20240106.zarr")
    (tmp_path / "20240103.zarr").rename(tmp_path / "20240104.zarr")  # the second of two files is there
    for export, path in (
        (to_oceanbench, tmp_path),
        (to_weatherbench, tmp_path / "wb.zarr"),
        (to_netcdf, tmp_path),
    ):
        with pytest.raises(ValueError, match="exists; give another path, or delete it"):
            export(hourly, path)
    assert not list(tmp_path.glob("*.partial"))
    assert not (tmp_path / "20240103.zarr").exists()
