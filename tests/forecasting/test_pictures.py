"""Films, panels, Hovmoeller diagrams and time series show what plain arithmetic finds, in colours everybody reads."""

import csv
import shutil
import tracemalloc
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

from forecasting import animate, draw_hovmoeller, draw_map, save_stations, station_files, stations
from forecasting.animation import DPI, _Film
from forecasting.fields import COLOURS, SIGNED, field_of
from forecasting.hovmoeller import section_of
from forecasting.lane import Lane
from forecasting.maps import panels_figure
from forecasting.page import colour_map
from forecasting.projection import cells_of
from oceanop.grid import Grid
from tests.forecasting.conftest import oceanop
from tests.forecasting.synthetic import COLUMNS, LEADS, product

HOUR = np.timedelta64(1, "h")


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE 1976 L* of sRGB colours, D65."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def colours_of(name: str, count: int = 64) -> np.ndarray:
    return np.asarray(colour_map(name)(np.linspace(0, 1, count)))[:, :3]


def as_truth(ds: xr.Dataset) -> xr.Dataset:
    """A store of what a forecast from one start holds."""
    store = ds.isel(init_time=0, drop=True).drop_vars("valid_time").rename(lead_time="time")
    return store.assign_coords(time=ds["valid_time"].values[0])


@pytest.mark.parametrize("name", sorted({*COLOURS.values(), "speed"}))
def test_a_sequential_map_is_read_in_grey(name: str) -> None:
    steps = np.diff(lightness(colours_of(name)))
    assert (steps > 0).all() or (steps < 0).all()


def test_a_map_centred_at_zero_is_read_in_grey_and_by_the_colour_blind() -> None:
    light = lightness(colours_of(SIGNED))
    middle = light.size // 2
    assert (np.diff(light[:middle]) > 0).all()
    assert (np.diff(light[middle:]) < 0).all()
    # Sight without red or green receptors: Machado, Oliveira and Fernandes, IEEE TVCG 15, 2009, severity 1
    blind = np.array(
        [
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ]
    )
    colours = colours_of(SIGNED)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for matrix in blind:
        seen = np.clip(linear @ matrix.T, 0, 1)
        # Blueness decides: below zero more blue than yellow, above zero less, from a quarter of the range on
        blueness = seen[:, 2] - seen[:, :2].mean(1)
        assert blueness[: middle * 3 // 4].min() > 0.03
        assert blueness[middle + middle // 4 :].max() < 0.0


def test_half_the_ends_of_a_difference_are_drawn_whole_above_zero_and_broken_below() -> None:
    ds = product(error=0.05)
    shown, happened = (
        [field_of(each, variable="vo", lead=lead) for lead in (3, 6)] for each in (ds, product("truth"))
    )
    figure = panels_figure(shown, cells_of(ds), truth=happened)
    maps = [axes for axes in figure.axes if hasattr(axes, "projection")]
    assert len(maps) == 6
    clims = [axes.collections[1].get_clim() for axes in maps]
    assert clims[0] == clims[1] == clims[3] == clims[4]
    assert clims[2] == clims[5]
    assert clims[2][0] == -clims[2][1] < 0
    (lines,) = (each for each in maps[5].collections if isinstance(each, matplotlib.contour.ContourSet))
    assert lines.levels.tolist() == [clims[5][0] / 2, clims[5][1] / 2]
    assert [dashes is None for _, dashes in lines.get_linestyle()] == [False, True]


def test_every_frame_of_a_film_shows_the_values_of_its_lead_in_one_scale(tmp_path: Path) -> None:
    ds = product(regular=True)
    path = animate(ds, variable="zos", to=tmp_path / "a.gif", rate=5)
    film = _Film(Lane(ds, variable="zos"), list(range(LEADS)))
    film.figure.set_dpi(DPI)
    film.figure.canvas.draw()
    axes, cells = film.panels[0].axes, film.panels[0].cells
    norm = matplotlib.colors.Normalize(*film.panels[0].ends)
    places = [
        (row, column) for row in range(14, 23, 4) for column in range(3, 24, 5)
    ]  # sea, off the grid lines
    points = [
        cells.crs.transform_point(cells.longitude[p], cells.latitude[p], matplotlib_geographic())
        for p in places
    ]
    found = []
    with Image.open(path) as film_file:
        assert film_file.n_frames == LEADS
        for lead in range(LEADS):
            film_file.seek(lead)
            assert film_file.info["duration"] == 200
            pixels = np.asarray(film_file.convert("RGB"), dtype=float)
            height = pixels.shape[0]
            for place, (x, y) in zip(places, axes.transData.transform(points), strict=True):
                expected = np.asarray(colour_map(SIGNED)(norm(ds["zos"].values[0, lead][place])))[:3] * 255
                found.append(np.abs(pixels[height - 1 - round(y), round(x)] - expected).max())
    # 227 of the map's 256 colours are in the palette; lines of sign and grid cross a few of the cells
    assert np.mean(np.array(found) < 8) > 0.9


def matplotlib_geographic():
    import cartopy.crs as ccrs

    return ccrs.PlateCarree()


def test_a_film_beside_the_truth_goes_on_where_the_truth_ends(tmp_path: Path) -> None:
    truth = as_truth(product("truth")).isel(time=slice(0, 4))
    seen: list[int] = []
    path = animate(
        product(error=0.02),
        variable="speed",
        truth=truth,
        to=tmp_path / "a.gif",
        every=2,
        progress=lambda words, done, total: seen.append(done),
    )
    assert seen == [1, 2, 3]
    with Image.open(path) as film:
        assert film.n_frames == 3
    assert [each.name for each in tmp_path.iterdir()] == ["a.gif"]
    with pytest.raises(ValueError, match="holds none of the forecast's times"):
        animate(product(), variable="uo", truth=truth.assign_coords(time=truth["time"] + 99 * HOUR), to=path)


def test_a_film_without_ffmpeg_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        ValueError, match=r"a.mp4: an MP4 is made by the program 'ffmpeg', which is not installed"
    ):
        animate(product(), variable="uo", to=tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"written as .gif or .mp4, not '.avi'"):
        animate(product(), variable="uo", to=tmp_path / "a.avi")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_long_film_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for leads in (3, 3, 24):  # the first pays for what is imported once
        ds = product(regular=True).isel(lead_time=np.arange(leads) % LEADS)
        ds = ds.assign_coords(lead_time=np.arange(1, leads + 1) * HOUR)
        tracemalloc.start()
        animate(ds, variable="uo", to=tmp_path / "a.gif")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 21 more frames of half a million pixels, had they been kept in one byte each
    assert peaks[2] - peaks[1] < 5e6


@pytest.mark.parametrize("axis", ["latitude", "longitude"])
def test_a_hovmoeller_diagram_is_the_area_mean_over_the_other_axis(axis: str) -> None:
    ds = product(regular=True)
    ds["cell_area"] = ds["cell_area"] * np.cos(np.deg2rad(ds["latitude"]))
    field = field_of(ds, variable="vo", lead=2).values
    area = ds["cell_area"].values * ds["mask"].values
    found = section_of(Grid.from_dataset(ds), axis).mean(field)
    over = 1 if axis == "latitude" else 0
    with np.errstate(invalid="ignore"):
        expected = np.nansum(field * area, over) / area.sum(over)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)  # sums of cancelling numbers
    assert np.isnan(found).sum() == (3 if axis == "longitude" else 0)  # three columns of land


def test_a_line_has_the_nearest_cells_and_land_where_it_meets_it() -> None:
    ds = product(regular=True)
    row = ds["latitude"].values[8]
    ends = f"{ds['longitude'].values[0]},{row}:{ds['longitude'].values[-1]},{row}"
    grid = Grid.from_dataset(ds)
    section = section_of(grid, ends)
    field = field_of(ds, variable="uo", lead=4).values
    found = section.mean(field)
    assert np.isin(found[np.isfinite(found)], field[7:10]).all()  # a great circle bulges by less than a cell
    assert np.isnan(found[0]) == np.isnan(field[8, 0])
    assert np.isnan(found).any()  # the island
    length = section.edges[-1] - section.edges[0]
    expected = 6371 * np.deg2rad(np.ptp(ds["longitude"].values)) * np.cos(np.deg2rad(row))
    assert length == pytest.approx(expected, rel=2 / COLUMNS)  # half a cell beyond either end
    with pytest.raises(ValueError, match=r"along '3;60' is neither latitude nor longitude nor a line; write"):
        section_of(grid, "3;60")
    with pytest.raises(ValueError, match="meets no ocean cell"):
        section_of(grid, "30,10:32,10")


def test_a_turned_grid_is_cut_along_latitude_too(tmp_path: Path) -> None:
    ds = product()
    section = section_of(Grid.from_dataset(ds), "latitude")
    # The mean of the latitudes themselves is that of each band, to half its width
    found = section.mean(np.where(ds["mask"] > 0, ds["latitude"], np.nan))
    middle = (section.edges[1:] + section.edges[:-1]) / 2
    known = np.isfinite(found)
    assert np.abs(found - middle)[known].max() <= np.diff(section.edges).max() / 2
    path = draw_hovmoeller(
        ds, variable="speed", along="latitude", truth=as_truth(product("truth")), to=tmp_path / "h.png"
    )
    with Image.open(path) as image:
        assert min(image.size) > 500
    with pytest.raises(ValueError, match=r"written as .png, not '.pdf'"):
        draw_hovmoeller(ds, variable="speed", along="latitude", to=tmp_path / "h.pdf")


def members() -> xr.Dataset:
    ds = xr.concat([product(error=error) for error in (0.0, 0.02, -0.05)], dim="member", join="exact")
    for name in ("mask", "cell_area"):
        ds[name] = ds[name].isel(member=0)
    return ds.assign_coords(member=[0, 1, 2])


def test_time_series_are_those_of_the_nearest_cell_with_mean_and_spread_of_members(tmp_path: Path) -> None:
    ds = members()
    row, column = 15, 10
    place = float(ds["latitude"][row, column]) + 0.005, float(ds["longitude"][row, column])
    found = stations(ds, {"buoy": place}, variables=["zos", "uo"], truth=as_truth(product("truth")))
    values = (
        ds["zos"].isel(init_time=0, y=row, x=column).transpose("lead_time", "member").values.astype(float)
    )
    np.testing.assert_allclose(found["zos"][0], values.mean(1), rtol=1e-6)  # float32
    np.testing.assert_allclose(found["zos_spread"][0], values.std(1), rtol=1e-5)
    np.testing.assert_allclose(found["uo_truth"][0], product("truth")["uo"].values[0, :, row, column])
    assert 500 < float(found["distance"][0]) < 600  # 0.005 degrees
    assert found["zos"].attrs["cell_methods"] == "time: point realization: mean"
    save_stations(found, tmp_path / "s.nc")
    with xr.open_dataset(tmp_path / "s.nc") as held:
        assert held.attrs["featureType"] == "timeSeries"
        assert held["station_name"].attrs["cf_role"] == "timeseries_id"
        assert {"latitude", "longitude", "station_name", "lead_time"} <= set(held["zos"].coords)
        np.testing.assert_array_equal(held["zos"], found["zos"])
    save_stations(found, tmp_path / "s.csv")
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert len(rows) == 2 * LEADS
    assert float(rows[2]["forecast"]) == pytest.approx(float(found["zos"][0, 2]), rel=1e-6)
    assert rows[2]["gauge"] == ""
    assert [rows[0][key] for key in ("station", "variable", "lead_hours")] == ["buoy", "zos", "1"]
    with Image.open(save_stations(found, tmp_path / "s.png")) as image:
        assert min(image.size) > 300
    # The last panel, of the current, has the legend, and no gauge is in it
    found["zos_gauge"] = found["zos"] + 0.1
    legend = station_files._figure(found).axes[-1].get_legend()
    assert {words.get_text() for words in legend.get_texts()} == {
        "± spread of members",
        "forecast, mean of members",
        "gauge",
        "truth",
    }


def test_a_gauge_is_brought_to_the_mean_of_the_truth(tmp_path: Path) -> None:
    ds, truth = product(), as_truth(product("truth"))
    row, column = 12, 8
    latitude, longitude = (float(ds[name][row, column]) for name in ("latitude", "longitude"))
    level = truth["zos"].values[:, row, column].astype(float)
    times = pd.DatetimeIndex(truth["time"].values).strftime("%Y-%m-%dT%H:%M:%SZ")
    head = f"# name: pier\n# latitude: {latitude}\n# longitude: {longitude}\n# units: m\ntime,level\n"
    body = "\n".join(f"{time},{value + 3.25:.6f}" for time, value in zip(times, level, strict=True))
    (tmp_path / "pier.csv").write_text(head + body + "\n")
    found = stations(ds, {}, gauges=[tmp_path / "pier.csv"], truth=truth)
    np.testing.assert_allclose(found["zos_gauge"][0], level, atol=2e-6)  # six figures in the file
    assert "pier -3.250 m" in found["zos_gauge"].attrs["comment"]
    alone = stations(ds, {}, gauges=[tmp_path / "pier.csv"])
    np.testing.assert_allclose(alone["zos_gauge"][0], level + 3.25, atol=2e-6)
    assert alone["zos_gauge"].attrs["comment"].startswith("as measured, from the zero of each gauge: pier")
    with pytest.raises(ValueError, match=r"gauges measure the sea level \(zos\), and uo are asked for"):
        stations(ds, {}, variables=["uo"], gauges=[tmp_path / "pier.csv"])


def test_a_truth_of_another_sea_gives_no_series() -> None:
    """Rows and columns of one grid are other places on another: they would be drawn as the truth of the place."""
    ds, here = product(regular=True), {"a": (59.2, 3.5)}
    truth = as_truth(product("truth", regular=True))
    assert "uo_truth" in stations(ds, here, truth=truth)
    moved = truth.assign_coords(longitude=truth["longitude"] + 1)
    for wrong, said in (
        (moved, "the truth lies on another grid than the forecast"),
        (truth.drop_vars("uo"), "the truth does not hold uo, which is asked for"),
        (
            truth.assign_coords(time=truth["time"] + np.timedelta64(9, "D")),
            "holds none of the forecast's times",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            stations(ds, here, truth=wrong)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"places": {}}, "no place was given; give one as lon,lat"),
        (
            {"places": {"a": (60.0, 4.0)}, "depth": 5.0},
            "uo, vo, zos of the forecast have no depths, and 5 m is",
        ),
        ({"places": {"far": (10.0, 10.0)}}, "the place far at 10 N, 10 E lies .* km outside the domain"),
        (
            {"places": {"a": (60.0, 4.0)}, "variables": ["so"]},
            "'so' is not in the forecast, which holds uo, vo, zos",
        ),
    ],
)
def test_places_that_cannot_be_are_refused(words: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stations(product(regular=True), **words)


@pytest.mark.parametrize(
    ("along", "said"),
    [
        ("nan,60:3,60", "neither latitude nor longitude nor a line"),
        ("3,60:3,160", "neither latitude nor longitude nor a line"),
        ("3,60:183,-60", "antipodes, between which every way is shortest"),
    ],
)
def test_a_line_that_cannot_be_is_refused(along: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        section_of(Grid.from_dataset(product(regular=True)), along)


def test_a_map_at_a_depth_is_of_the_nearest_level_and_none_is_made_up() -> None:
    ds = product()
    ds["zos"] = ds["zos"].expand_dims(depth=[5.0, 15.0, 40.0], axis=2) * xr.DataArray(
        [1.0, 2.0, 3.0], dims="depth"
    )
    field = field_of(ds, variable="zos", lead=1, depth=14.0)
    assert field.label.endswith(" at 15 m")
    np.testing.assert_array_equal(field.values, ds["zos"].isel(init_time=0, lead_time=0, depth=1))
    with pytest.raises(
        ValueError, match=r"1000 m is not in the forecast, whose levels .* lie at 5, 15, 40 m"
    ):
        field_of(ds, variable="zos", lead=1, depth=1000.0)
    with pytest.raises(ValueError, match="'uo' has no depths, and 5 m is asked for"):
        field_of(ds, variable="uo", lead=1, depth=5.0)


def test_the_verbs_draw_what_they_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "f.nc"
    product(regular=True).isel(lead_time=slice(0, 2)).to_netcdf(file)
    assert oceanop("map", file, "--variable", "zos", "--lead", "1,2h", "--to", tmp_path / "m.png") == 0
    assert oceanop("animate", file, "--variable", "zos", "--to", tmp_path / "a.gif", "--quiet") == 0
    words = ("--variable", "vo", "--along", "longitude", "--to", tmp_path / "h.png")
    assert oceanop("hovmoeller", file, *words) == 0
    assert (
        oceanop("stations", file, "--at", "3.5,59.2:here", "--at", "3.3,59.3", "--to", tmp_path / "s.csv")
        == 0
    )
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["a.gif", "f.nc", "h.png", "m.png", "s.csv"]
    assert "59.3N 3.3E" in (tmp_path / "s.csv").read_text()
    capsys.readouterr()
    assert oceanop("stations", file, "--at", "here", "--to", tmp_path / "s.csv") == 2
    assert "--at here: expected longitude,latitude" in capsys.readouterr().err
    for place in ("nan,59.2", "59.2,103.5"):
        assert oceanop("stations", file, "--at", place, "--to", tmp_path / "s.csv") == 2
        assert f"--at {place}: there is no such place; give the longitude first" in capsys.readouterr().err
    assert oceanop("map", file, "--variable", "zos", "--lead", "1,", "--to", tmp_path / "m.png") == 2
    assert "--lead 1,: expected leads separated by commas" in capsys.readouterr().err
    assert (
        oceanop("map", tmp_path / "m.png", "--variable", "zos", "--lead", "1", "--to", tmp_path / "n.png")
        == 2
    )
    assert (
        "m.png cannot be read as a forecast (neither NetCDF nor Zarr); give a file" in capsys.readouterr().err
    )
    with pytest.raises(ValueError, match="25 leads were asked for, and a page has 1 to 24"):
        draw_map(product(), variable="uo", lead=[1] * 25, to=tmp_path / "m.png")
