"""Numerical models as forecasters: a model that forecasts itself, coarser and other physics, and forecasts in files."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import open_store, simulate
from data_pipelines.basins.settings import Basin, parse_basin
from data_pipelines.coarsen import Coarsening
from data_pipelines.positions import Positions
from forecasting import (
    Forecaster,
    Initial,
    NumericalForecast,
    Persistence,
    ShallowWater,
    evaluate,
    open_forecast,
    run_forecaster,
)
from forecasting.baselines.coverage import share_beyond
from forecasting.findings import summarise
from forecasting.forecast import produce
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.grid import Grid
from oceanop.layout import Layout

LEADS, START = 12, 30


def bay(folder: Path, *, blocks: int = 1, **tables: object) -> Basin:
    """A bay of 24 x 28 cells with an island and a sloping floor, or on blocks of these cells."""
    size = np.array([24, 28])
    latitude, longitude = (
        first + 0.1 * step * np.arange(n) for first, step, n in zip((57, 18), (1, 2), size, strict=True)
    )
    rows, columns = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    depth = 60 + 2.0 * columns - 1.5 * np.abs(rows - 12)
    depth[:2] = depth[-2:] = depth[:, -2:] = 0
    depth[10:14, 12:16] = 0
    shape = (size[0] // blocks, blocks, size[1] // blocks, blocks)
    path = folder / f"floor{blocks}.nc"
    axes = {
        name: (name, axis.reshape(-1, blocks).mean(1), {"standard_name": name, "units": units})
        for name, axis, units in (
            ("latitude", latitude, "degrees_north"),
            ("longitude", longitude, "degrees_east"),
        )
    }
    attrs = {"standard_name": "sea_floor_depth_below_geoid", "units": "m"}
    mean = depth.reshape(shape).mean((1, 3))
    if not path.exists():
        xr.Dataset({"depth": (tuple(axes), mean, attrs)}, coords=axes).to_netcdf(path)
    settings = {
        "name": f"bay{blocks}",
        "title": "A bay",
        "sea": {"floor": "file", "path": str(path)},
        "weather": {"season": "winter", "spin_up": 1},
        "splits": {"train": 2.5},
    }
    return parse_basin(settings | tables, "bay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bays")


@pytest.fixture(scope="module")
def closed(folder: Path) -> xr.Dataset:
    return open_store(
        simulate(bay(folder), to=folder / "closed.zarr", seed=1, splits={"train": 2, "test": 1})
    )


@pytest.fixture(scope="module")
def opened(folder: Path) -> xr.Dataset:
    tables = {"boundary": {"side": "west", "signal": {"deviation": 0.1, "shortest": 4, "longest": 40}}}
    return open_store(simulate(bay(folder, **tables), to=folder / "opened.zarr", seed=1, days=3))


def states(
    forecaster: Forecaster, ds: xr.Dataset, layout: Layout, start: int = START, leads: int = LEADS
) -> torch.Tensor:
    return torch.stack([each.values for _, each in run_forecaster(forecaster, ds, layout, [start], leads)])


def truth(ds: xr.Dataset, start: int = START, leads: int = LEADS) -> torch.Tensor:
    window = ds.isel(time=slice(start + 1, start + leads + 1))
    fields = Layout.from_dataset(ds, state=["zos", "ubar", "vbar"]).pack(window)
    return torch.where(torch.from_numpy(ds["mask"].values > 0), fields, 0.0).swapaxes(0, 1)


def error(values: torch.Tensor, ds: xr.Dataset, start: int = START) -> np.ndarray:
    """RMS over the sea, ``[lead, channel]``."""
    wet = torch.from_numpy(ds["mask"].values > 0)
    return ((values - truth(ds, start, len(values)))[..., wet] ** 2).mean(-1).sqrt().numpy()


# The shallow-water model


def test_it_forecasts_itself_from_rest_to_rounding(folder: Path) -> None:
    still = bay(folder, weather={"season": "winter", "spin_up": 0})
    ds = open_store(simulate(still, to=folder / "still.zarr", seed=2, days=1))
    forecaster = ShallowWater(still, ds)
    found = states(forecaster, ds, forecaster.layout, start=0, leads=23)
    # float32 over 23 hours, levels up to 0.3 m
    assert float((found - truth(ds, 0, 23)).abs().max()) < 2e-6


def test_in_motion_it_loses_a_fiftieth_at_most(closed: xr.Dataset, folder: Path) -> None:
    """A store keeps centred currents at the level's time: about 1 mm here, 0.4 mm in the Baltic."""
    forecaster = ShallowWater(bay(folder), closed)
    lost = error(states(forecaster, closed, forecaster.layout), closed)
    spread = truth(closed)[..., torch.from_numpy(closed["mask"].values > 0)].std((0, 2)).numpy()
    assert (lost < 0.02 * spread).all()


def test_nothing_but_the_start_and_the_air_up_to_a_lead_is_read(closed: xr.Dataset, folder: Path) -> None:
    forecaster = ShallowWater(bay(folder), closed)
    found = states(forecaster, closed, forecaster.layout)
    other = closed.copy(deep=True)
    for name in ("zos", "ubar", "vbar"):
        other[name][START + 1 :] = np.nan
        other[name] = other[name].where(other["mask"] > 0, 77.0)
    for name in ("tauu", "tauv", "msl"):
        other[name][START + LEADS + 1 :] += 1.0
        other[name][: START - 1] += 1.0
    assert torch.equal(states(forecaster, other, forecaster.layout), found)
    assert torch.equal(states(forecaster, closed, forecaster.layout, leads=4), found[:4])
    other["msl"][START + LEADS, 5, :9] -= 900.0
    assert not torch.equal(states(forecaster, other, forecaster.layout)[-1], found[-1])


def test_what_the_level_outside_is_at_the_start_it_stays(opened: xr.Dataset, folder: Path) -> None:
    plain = bay(folder, boundary={"side": "west"})
    forecaster = ShallowWater(plain, opened)
    found = states(forecaster, opened, forecaster.layout)
    weight = opened.attrs["gravity"] * opened.attrs["water_density"]
    column = opened["mask"].values[:, 0] > 0
    msl = opened["msl"].values[START : START + LEADS + 1, column, 0]
    outside = opened["zos"].values[START, column, 0] - (msl[1:] - msl[0]) / weight
    np.testing.assert_allclose(found[:, 0, column, 0], outside, atol=3e-6)  # float32 of level and pressure
    # A slow signal hardly changes in an hour
    assert (error(found, opened)[0, 0]) < 0.01


def test_a_coarser_grid_and_other_physics_err_more_than_the_same(closed: xr.Dataset, folder: Path) -> None:
    rough = bay(folder, water={"friction": 0.02}).model_copy(update={"name": "rough"})
    charnock = {"season": "winter", "drag": "charnock", "charnock_parameter": 0.03}
    forecasters = {
        "same": ShallowWater(bay(folder), closed),
        "coarse": ShallowWater(bay(folder, blocks=2), closed),
        "rough": ShallowWater(rough, closed),
        "charnock": ShallowWater(bay(folder, weather=charnock), closed),
        "persistence": Persistence(),
    }
    layout = forecasters["same"].layout  # type: ignore[union-attr]
    last = {
        name: error(states(each, closed, getattr(each, "layout", Layout(layout.state))), closed)[-1, 0]
        for name, each in forecasters.items()
    }
    assert last["same"] < 0.2 * min(last[name] for name in ("coarse", "rough", "charnock"))
    assert all(last[name] < 0.5 * last["persistence"] for name in ("coarse", "rough", "charnock"))


def on_larger_cells(closed: xr.Dataset) -> xr.Dataset:
    """A store as means over blocks of four by four cells."""
    blocks = Coarsening(4, Grid.from_dataset(closed).cell_area)
    wet = closed["mask"].to_numpy() > 0
    axes = (closed[axis].to_numpy() for axis in ("latitude", "longitude"))
    larger = blocks.positions(Positions.from_axes(*axes)).grid(blocks.mask(wet), blocks.area())
    coarse = larger.to_dataset().assign_coords(time=closed["time"])
    for name in ("deptho", "zos", "ubar", "vbar", "tauu", "tauv", "msl"):
        dims = (*closed[name].dims[:-2], *coarse["mask"].dims)
        coarse[name] = (dims, blocks.mean(closed[name].to_numpy(), wet), closed[name].attrs)
    return coarse


def test_on_larger_cells_it_gives_their_means(
    closed: xr.Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = on_larger_cells(closed)
    forecaster = ShallowWater(bay(folder), coarse)
    # A model that makes no error
    fields = {name: closed[name].to_numpy()[START + 1][None] for name in ("zos", "ubar", "vbar")}
    monkeypatch.setattr(ShallowWaterModel, "run", lambda *_, **__: iter([SimpleNamespace(**fields)]))
    found = states(forecaster, coarse, forecaster.layout, leads=1)
    np.testing.assert_allclose(found, truth(coarse, leads=1), atol=1e-6)  # float32, levels of some tenths


def test_the_stated_basin_of_a_store_is_taken_and_other_drag_laws_read_the_wind(
    closed: xr.Dataset, folder: Path
) -> None:
    channel = open_store(simulate("rectangle", to=folder / "rectangle.zarr", days=0.5, seed=3))
    forecaster = ShallowWater(None, channel)
    assert forecaster.name == "shallow-water-rectangle"
    assert forecaster.layout.forcing == ()
    found = states(forecaster, channel, forecaster.layout, start=0, leads=11)
    spread = float(channel["zos"].where(channel["mask"] > 0).std())
    # Half a time step of 277 s late: its share of the fastest wave's radian, 2 h
    assert error(found, channel, 0)[:, 0].max() < 0.25 * spread
    assert ShallowWater(bay(folder), closed).layout.names("forcing") == ["tauu", "tauv", "msl"]
    law = {"season": "winter", "drag": "charnock"}
    assert ShallowWater(bay(folder, weather=law), closed).layout.names("forcing") == ["u10", "v10", "msl"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda ds: ds.drop_vars("tauu"),
            "needs zos, ubar, vbar, tauu, tauv, msl, deptho, and the store lacks tauu",
        ),
        (lambda ds: ds.drop_vars("deptho"), "the store lacks deptho"),
        (lambda ds: ds.isel(time=[0]), "holds a single time"),
        (lambda ds: ds.assign_coords(longitude=ds["longitude"] + 40), "covers the longitudes 17.90 to 23.50"),
        # All but three of the 14 columns to the west, of 26 with sea
        (
            lambda ds: ds.isel(longitude=slice(14, None)),
            "shallow-water-bay1: 46% of its sea lie more than 3 cells away",
        ),
    ],
)
def test_a_store_that_it_cannot_run_on_is_refused(
    closed: xr.Dataset, folder: Path, change: object, words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ShallowWater(bay(folder), change(closed))  # type: ignore[operator]


def test_a_basin_that_the_store_is_a_corner_of_is_refused(closed: xr.Dataset) -> None:
    """Level and air of the whole Baltic would be those of the nearest shore of the bay."""
    with pytest.raises(
        ValueError, match=r"shallow-water-baltic: \d\d% of its sea lie more than 3 cells away from"
    ):
        ShallowWater("baltic", closed)


def test_air_that_a_store_lacks_at_some_cells_is_no_air_without_weight(
    closed: xr.Dataset, folder: Path
) -> None:
    rim = closed.copy(deep=True)
    rim["msl"][:, 12, :3] = np.nan
    forecaster = ShallowWater(bay(folder), rim)
    with pytest.raises(ValueError, match="shallow-water-bay1: the store lacks 'msl' on 3 sea cells"):
        states(forecaster, rim, forecaster.layout)


def test_missing_forcing_is_told(closed: xr.Dataset, folder: Path) -> None:
    forecaster = ShallowWater(bay(folder), closed)
    initial = Initial(torch.zeros(3, 1, *closed["mask"].shape), closed["time"].values[:1])
    with pytest.raises(ValueError, match=r"driven by tauu, tauv, msl .* it was given none"):
        next(forecaster.forecast(initial, None, 3))
    with pytest.raises(ValueError, match="it was given 3 channels over 2 steps"):
        next(forecaster.forecast(initial, torch.zeros(3, 2, *closed["mask"].shape), 3))


def test_a_store_that_states_no_basin_needs_a_name(closed: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="does not state a basin"):
        ShallowWater(None, closed.drop_attrs(deep=False))
    # It states one whose sea floor is in a file, and knows no folder
    assert "floor1.nc" in closed.attrs["basin"]
    with pytest.raises(ValueError, match="does not state a basin that can be built again"):
        ShallowWater(None, closed)


# Forecasts in files


def as_file(ds: xr.Dataset, path: Path, names: tuple[str, ...] = ("zos", "ubar", "vbar")) -> Path:
    """States of a store as a CF file of a numerical model."""
    kept = ds[list(names)].drop_attrs(deep=False)
    kept.to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def hindcast(closed: xr.Dataset, folder: Path) -> Path:
    return as_file(closed, folder / "hindcast.nc")


def test_a_run_on_the_same_cells_and_times_comes_back_as_it_is(closed: xr.Dataset, hindcast: Path) -> None:
    forecaster = NumericalForecast(hindcast, closed)
    assert forecaster.name == "hindcast"
    assert isinstance(forecaster, Forecaster)
    found = states(forecaster, closed, forecaster.layout)
    np.testing.assert_allclose(found, truth(closed), atol=1e-6)  # weights of a cell on itself, to rounding
    assert (found[:, :, closed["mask"].values == 0] == 0).all()


def test_on_larger_cells_a_file_gives_their_means(closed: xr.Dataset, hindcast: Path) -> None:
    coarse = on_larger_cells(closed)
    forecaster = NumericalForecast(hindcast, coarse)
    found = states(forecaster, coarse, forecaster.layout)
    np.testing.assert_allclose(found, truth(coarse), atol=1e-6)  # float32, levels of some tenths


def test_between_its_times_it_is_linear(closed: xr.Dataset, folder: Path) -> None:
    sparse = closed.isel(time=slice(0, 48, 2))
    forecaster = NumericalForecast(as_file(sparse, folder / "sparse.nc"), closed)
    found, exact = (states(forecaster, closed, forecaster.layout), truth(closed))
    np.testing.assert_allclose(found[1::2], exact[1::2], atol=1e-6)
    np.testing.assert_allclose(found[2::2], (exact[1:-1:2] + exact[3::2]) / 2, atol=1e-6)


def test_from_other_cells_a_plane_comes_exactly_and_the_coast_from_the_nearest(
    closed: xr.Dataset, folder: Path
) -> None:
    latitude, longitude = np.arange(56.5, 60, 0.25), np.arange(17.5, 24.5, 0.3)
    plane = 0.1 * latitude[:, None] + 0.02 * longitude
    other = xr.Dataset(
        {"h": (("time", "latitude", "longitude"), np.broadcast_to(100 * plane, (72, *plane.shape)).copy())},
        coords={"time": closed["time"], "latitude": latitude, "longitude": longitude},
    )
    other["h"].attrs = {"standard_name": "sea_surface_height_above_geoid", "units": "cm"}
    for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        other[name].attrs = {"standard_name": name, "units": units}
    other.to_netcdf(folder / "plane.nc")
    forecaster = NumericalForecast(folder / "plane.nc", closed)
    assert forecaster.layout.names() == ["zos"]
    found = states(forecaster, closed, forecaster.layout)[0, 0]
    wet = closed["mask"].values > 0
    exact = 0.1 * closed["latitude"].values[:, None] + 0.02 * closed["longitude"].values
    # Bilinear in the plane that touches the sphere: cells of 28 km depart from it by 1e-5 of themselves
    np.testing.assert_allclose(found[wet], exact[wet], atol=2e-5)


@pytest.fixture(scope="module")
def forecasts(closed: xr.Dataset, folder: Path) -> Path:
    """A forecast file of the shallow-water model from two starts."""
    forecaster = ShallowWater(bay(folder, blocks=2), closed)
    produce(
        forecaster,
        closed,
        forecaster.layout,
        [20, 26],
        LEADS,
        time_step=3600,
        to=folder / "coarse.nc",
        attributes={},
    )
    return folder / "coarse.nc"


def test_a_forecast_file_gives_its_own_states(closed: xr.Dataset, forecasts: Path) -> None:
    forecaster = NumericalForecast(forecasts, closed)
    assert forecaster.name == "shallow-water-bay2"
    stored = open_forecast(forecasts)
    for number, start in enumerate((20, 26)):
        found = states(forecaster, closed, forecaster.layout, start)
        kept = np.stack([stored[name][number].fillna(0).values for name in ("zos", "ubar", "vbar")], 1)
        np.testing.assert_allclose(found, kept, atol=1e-6)


def test_between_starts_the_latest_one_before_counts(closed: xr.Dataset, forecasts: Path) -> None:
    forecaster = NumericalForecast(forecasts, closed)
    late = states(forecaster, closed, forecaster.layout, 28, LEADS - 2)
    assert torch.equal(late, states(forecaster, closed, forecaster.layout, 26)[2:])


def test_members_count_by_their_mean(closed: xr.Dataset, forecasts: Path, folder: Path) -> None:
    one = open_forecast(forecasts)
    moved = one.copy(deep=True)
    moved["zos"] += 0.2
    both = xr.concat(
        [one, moved], xr.DataArray([0, 1], dims="member", name="member"), data_vars=["zos", "ubar", "vbar"]
    )
    both.to_netcdf(folder / "members.nc")
    alone, mean = (NumericalForecast(path, closed) for path in (forecasts, folder / "members.nc"))
    wet = closed["mask"].values > 0
    apart = states(mean, closed, mean.layout, 20) - states(alone, closed, alone.layout, 20)
    np.testing.assert_allclose(apart[:, 0][:, wet], 0.1, atol=1e-6)


def test_a_member_without_a_value_leaves_no_mean_of_the_others(
    closed: xr.Dataset, forecasts: Path, folder: Path
) -> None:
    one = open_forecast(forecasts)
    lost = one.copy(deep=True)
    lost["zos"][:, 5:] = np.nan
    number = xr.DataArray([0, 1], dims="number", name="number", attrs={"standard_name": "realization"})
    xr.concat([one, lost], number, data_vars=["zos", "ubar", "vbar"]).to_netcdf(folder / "lost_member.nc")
    forecaster = NumericalForecast(folder / "lost_member.nc", closed)
    whole = NumericalForecast(forecasts, closed)
    found = states(forecaster, closed, forecaster.layout, 20, 5)
    np.testing.assert_allclose(found, states(whole, closed, whole.layout, 20, 5), atol=1e-6)
    with pytest.raises(ValueError, match=r"'zos' at .* holds no value at all"):
        states(forecaster, closed, forecaster.layout, 20)


@pytest.mark.parametrize(("east", "share"), [(40.0, "100%"), (3.0, "49%")])
def test_a_file_of_another_sea_is_refused(east: float, share: str, closed: xr.Dataset, folder: Path) -> None:
    """All of its cells would have the value of the nearest shore."""
    moved = closed.assign_coords(longitude=closed["longitude"] + east)
    forecaster = NumericalForecast(as_file(moved, folder / "moved.nc"), closed)
    with pytest.raises(
        ValueError, match=f"moved.nc has no 'zos' within 3 cells of {share} of the store's sea"
    ):
        states(forecaster, closed, forecaster.layout)


def test_a_file_that_does_not_reach_is_refused_in_a_sentence(
    closed: xr.Dataset, hindcast: Path, forecasts: Path
) -> None:
    run, many = NumericalForecast(hindcast, closed), NumericalForecast(forecasts, closed)
    initial = Initial(torch.zeros(3, 1, *closed["mask"].shape), closed["time"].values[70:71])
    with pytest.raises(
        ValueError, match=r"hindcast.nc reaches from .* to 2002-01-02T23:00:00, and a forecast from 2002"
    ):
        next(run.forecast(initial, None, 4))
    with pytest.raises(ValueError, match=r"coarse.nc, from its start 2001-01-03T02:00:00, reaches from"):
        states(many, closed, many.layout, 26, LEADS + 1)
    with pytest.raises(
        ValueError, match=r"no forecast that starts at 2001-01-02T10:00:00 or before; its first"
    ):
        states(many, closed, many.layout, 10)
    gap = Initial(torch.zeros(3, 1, *closed["mask"].shape), closed["time"].values[47:48])
    with pytest.raises(ValueError, match=r"hindcast.nc has a gap from 2001-01-03T23:00:00"):
        next(run.forecast(gap, None, 4))


def test_a_file_without_the_store_s_states_is_refused(closed: xr.Dataset, folder: Path) -> None:
    with pytest.raises(ValueError, match="the store holds a single time and tells no time step"):
        NumericalForecast(as_file(closed, folder / "all.nc"), closed.isel(time=[3]))
    path = as_file(closed, folder / "wind.nc", ("u10", "v10"))
    with pytest.raises(
        ValueError, match=r"wind.nc holds u10, v10 and none of the store's states, zos, ubar, vbar"
    ):
        NumericalForecast(path, closed)
    with pytest.raises(ValueError, match="variable 'ubar' is in none of"):
        NumericalForecast(
            as_file(closed, folder / "level.nc", ("zos",)), closed, layout=Layout.from_dataset(closed)
        )


def test_a_flat_field_is_not_taken_for_every_depth(closed: xr.Dataset, folder: Path) -> None:
    attrs = {"standard_name": "sea_water_potential_temperature", "units": "degC"}
    water = closed.assign(thetao=closed["zos"].expand_dims(depth=[0.0, 50.0], axis=1).assign_attrs(attrs))
    flat = water[["thetao"]].isel(depth=0, drop=True)
    path = as_file(flat, folder / "flat.nc", ("thetao",))
    surface = Layout.from_dataset(water.isel(depth=[0]), state=["thetao"])
    found = states(NumericalForecast(path, water, layout=surface), water, surface)
    np.testing.assert_allclose(found[:, 0], truth(closed)[:, 0], atol=1e-6)
    with pytest.raises(
        ValueError, match=r"flat\.nc holds 'thetao' without depths, and the store has it at 0, 50 m"
    ):
        NumericalForecast(path, water, layout=Layout.from_dataset(water, state=["thetao"]))


def test_what_lies_beyond_is_farther_than_three_cells_of_the_coarser_grid() -> None:
    """Half a degree of latitude is the longer side of its cells: three are 1.5 degrees."""
    fine, coarse = (
        Positions.from_axes(50 + step * np.arange(n), step * np.arange(n))
        for step, n in ((0.1, 41), (0.5, 9))
    )
    for source, target, last in ((fine, coarse, 1.0), (coarse, fine, 0.5)):
        every = np.ones(target.shape, bool)
        far = np.cos(np.deg2rad(target.latitude)) * (target.longitude - last) > 1.5
        share = share_beyond(source, source.longitude < last + 0.01, target, every)
        assert share == pytest.approx(far.mean(), abs=0.01)  # great circles are a little shorter
        assert share_beyond(source, np.ones(source.shape, bool), target, every) == 0


# Beside others in an evaluation


def test_both_are_baselines_by_name(
    closed: xr.Dataset, hindcast: Path, forecasts: Path, folder: Path
) -> None:
    toml = folder / "coarse.toml"
    toml.write_text(
        'title = "x"\n[sea]\nfloor = "file"\npath = "floor2.nc"\n[weather]\nseason = "winter"\n[splits]\ntrain = 1\n'
    )
    scores = evaluate(
        open_forecast(forecasts)[["zos", "mask", "cell_area"]],
        closed,
        baselines=["persistence", str(hindcast), f"shallow-water-{toml}"],
    )
    error = scores.sel(variable="zos", metric="rmse", lead_hours="all", band="all")["value"]
    assert float(error.sel(forecaster="hindcast")) < 1e-6
    told = summarise(scores, ["shallow-water-bay2"], 1).sentences
    assert any(words.endswith("; the best of them, hindcast, has no error.") for words in told), told
    assert float(error.sel(forecaster="shallow-water-coarse")) == pytest.approx(
        float(error.sel(forecaster="shallow-water-bay2")), rel=1e-5
    )


@pytest.mark.parametrize("name", ["shallow-water", "shallow-water-atlantis", "lost.nc"])
def test_a_baseline_that_is_none_is_told(name: str, closed: xr.Dataset, forecasts: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file or basin|there is no baseline"):
        evaluate(open_forecast(forecasts), closed, baselines=[name])


def test_two_baselines_of_one_name_are_told(closed: xr.Dataset, hindcast: Path, folder: Path) -> None:
    forecast = open_forecast(folder / "coarse.nc")
    (folder / "other").mkdir()
    twin = as_file(closed, folder / "other" / "hindcast.nc")
    with pytest.raises(ValueError, match=r"other/hindcast\.nc: another baseline is called 'hindcast', too"):
        evaluate(forecast, closed, baselines=[str(hindcast), str(twin)])


def test_a_baseline_with_the_name_of_a_forecast_is_never_scored_as_it(
    closed: xr.Dataset, forecasts: Path
) -> None:
    forecast = open_forecast(forecasts)[["zos", "mask", "cell_area"]]
    with pytest.raises(ValueError, match="a forecast is called 'shallow-water-bay2', as a baseline is"):
        evaluate(forecast, closed, baselines=[str(forecasts)])
    still = forecast.assign_attrs(model="persistence")
    with pytest.raises(ValueError, match="a forecast is called 'persistence'"):
        evaluate(still, closed, baselines=["persistence"])
    # Of all there are, it is left out and told
    scores = evaluate(still, closed)
    assert "a forecast is called 'persistence'" in scores.attrs["baselines_left_out"]
    assert "damped-persistence" in scores["forecaster"]


def test_a_coarser_baltic_is_a_fair_rival_of_the_finer_one(tmp_path: Path) -> None:
    """A day of the 10' x 5' Baltic: within 0.04 m, where persistence is far off (numerical models err by 0.03)."""
    ds = open_store(simulate("baltic-fine", to=tmp_path / "fine.zarr", days=1.25, seed=3))
    forecaster = ShallowWater("baltic", ds)
    leads = 24
    found = error(states(forecaster, ds, forecaster.layout, 5, leads), ds, 5)[:, 0]
    still = error(states(Persistence(), ds, Layout(forecaster.layout.state), 5, leads), ds, 5)[:, 0]
    assert found.max() < 0.03
    assert found[-1] < 0.3 * still[-1]
