"""The built-in ocean as a store: exact waves, the same bytes again, kills without a trace, splits that never meet."""

import contextlib
import errno
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import WindowDataset, describe, open_store, read_statistics, simulate
from data_pipelines.basins.air import drag_law
from data_pipelines.basins.domain import make_domain
from data_pipelines.basins.remote import RemoteLevel
from data_pipelines.basins.settings import Air, Basin, Signal, basins, load_basin, parse_basin
from data_pipelines.resumable import sole_writer
from data_pipelines.store import open_unchecked
from oceanop.cli import main
from oceanop.dynamics.drag import Charnock, LargePond, stress
from oceanop.dynamics.weather import Weather
from oceanop.waves import WaveChannel, free_waves, random_amplitudes, superpose

HOUR = 3600.0
DAYS = {"train": 2.0, "test": 1.0}


@pytest.fixture(scope="module")
def floor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bay of 12 x 14 cells, open to the west, with an island."""
    latitude, longitude = 57 + 0.25 * np.arange(12), 18 + 0.5 * np.arange(14)
    depth = 30 + 5 * np.hypot(*np.meshgrid(np.arange(12) - 6, np.arange(14) - 7, indexing="ij"))
    depth[[0, -1]] = depth[:, -1] = 0
    depth[5, 6:8] = 0
    path = tmp_path_factory.mktemp("floor") / "bay.nc"
    axes = {
        "latitude": ("latitude", latitude, {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": ("longitude", longitude, {"standard_name": "longitude", "units": "degrees_east"}),
    }
    attrs = {"standard_name": "sea_floor_depth_below_geoid", "units": "m"}
    xr.Dataset({"depth": (tuple(axes), depth, attrs)}, coords=axes).to_netcdf(path)
    return path


@pytest.fixture(scope="module")
def bay(floor: Path) -> Path:
    path = floor.with_name("bay.toml")
    path.write_text("""
title = "A bay"
[sea]
floor = "file"
path = "bay.nc"
[weather]
season = "winter"
drag = "charnock"
charnock_parameter = 0.02
spin_up = 1
[boundary]
side = "west"
[boundary.signal]
deviation = 0.1
shortest = 0.5
longest = 4
[splits]
train = 2
test = 1
""")
    return path


@pytest.fixture(scope="module")
def store(bay: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(bay, to=tmp_path_factory.mktemp("bay") / "bay.zarr", seed=3)


@pytest.fixture(scope="module")
def pair(bay: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(bay, to=tmp_path_factory.mktemp("pair") / "pair.zarr", seed=3, members=2)


def shipped(name: str, **changes: object) -> Basin:
    """A shipped basin with other settings of its sea."""
    data = load_basin(name).model_dump()
    data["sea"] |= changes
    return parse_basin(data, name)


def same_variables(one: Path, other: Path) -> bool:
    a, b = open_store(one), open_store(other)
    return set(a.variables) == set(b.variables) and all(
        a[name].to_numpy().tobytes() == b[name].to_numpy().tobytes() for name in a.variables
    )


def command(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["oceanop", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    bay: Path, store: Path, tmp_path: Path
) -> None:
    assert same_variables(simulate(bay, to=tmp_path / "again.zarr", seed=3), store)
    other = open_store(simulate(bay, to=tmp_path / "other.zarr", seed=4))
    for name in ("zos", "u10", "msl"):
        assert not np.array_equal(other[name], open_store(store)[name], equal_nan=True)


@pytest.mark.parametrize("name", ["channel", "rectangle"])
def test_waves_are_drawn_from_the_seed(name: str, tmp_path: Path) -> None:
    first = [
        open_store(simulate(name, to=tmp_path / f"{i}.zarr", days=0.125, seed=seed))["zos"][0]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert first[0].equals(first[1])
    assert not first[0].equals(first[2])


def test_a_kill_leaves_no_trace_in_any_byte(bay: Path, tmp_path: Path) -> None:
    words = ["--splits", "train=9,test=6", "--every", "30min", "--seed", "3", "--quiet"]

    restart = tmp_path / "killed.zarr.restart.npz"
    line = [sys.executable, "-m", "oceanop", "simulate", bay, "--to", tmp_path / "killed.zarr", *words]
    process = subprocess.Popen([str(word) for word in line])
    while not restart.exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not open_unchecked(tmp_path / "killed.zarr").attrs["complete"]
    with pytest.raises(ValueError, match="Run the same 'oceanop simulate' again"):
        open_store(tmp_path / "killed.zarr")
    place = np.load(restart)["place"]
    assert place[0] < 2
    assert command("simulate", bay, "--to", tmp_path / "killed.zarr", *words) == 0
    whole = simulate(bay, to=tmp_path / "whole.zarr", splits={"train": 9, "test": 6}, every=1800, seed=3)
    assert same_variables(tmp_path / "killed.zarr", whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.zarr", "whole.zarr"]
    assert not list((tmp_path / "killed.zarr").rglob("*.partial"))


def test_every_place_to_stop_at_gives_the_same_bytes(
    bay: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each block in turn: within a segment, at its end, and before the statistics."""
    monkeypatch.setattr(sys.modules["data_pipelines.simulate"], "BLOCK", 20)
    target = tmp_path / "stopped.zarr"
    restart = target.with_name("stopped.zarr.restart.npz")
    places = []

    def stop(what: str, done: int, total: int) -> None:
        place = np.load(restart)["place"].tolist() if restart.exists() else None
        if place is not None and place not in places:
            places.append(place)
            raise KeyboardInterrupt

    while not target.exists() or not open_unchecked(target).attrs["complete"]:
        with contextlib.suppress(KeyboardInterrupt):
            simulate(bay, to=target, seed=3, progress=stop)
    # Blocks of 20 in 48 hours and in 24: segment and step to go on with
    assert [place[:2] for place in places] == [[0, 20], [0, 40], [1, 0], [1, 20], [2, 0]]
    assert same_variables(target, store)


def test_a_second_writer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "sea.zarr"
    with sole_writer(target):
        assert command("simulate", "rectangle", "--days", 1, "--to", target) == 2
    assert "is being written by another process; wait for it" in capsys.readouterr().err
    assert not target.exists()
    assert command("simulate", "rectangle", "--days", 1, "--to", target, "--quiet") == 0


def test_a_profile_changes_no_value(bay: Path, store: Path, tmp_path: Path) -> None:
    compact = simulate(bay, to=tmp_path / "compact.zarr", seed=3, profile="compact")
    xr.testing.assert_identical(open_store(compact).drop_attrs(), open_store(store).drop_attrs())
    assert (describe(compact)["profile"], describe(store)["profile"]) == ("compact", "fast")
    assert open_store(compact).attrs["command"].endswith("--profile compact")
    with pytest.raises(ValueError, match=r'holds another store: profile was "compact" and is now "fast"'):
        simulate(bay, to=compact, seed=3)
    with pytest.raises(ValueError, match="profile 'small' is none of fast, compact"):
        simulate(bay, to=tmp_path / "none.zarr", profile="small")


def test_a_complete_simulation_is_left_as_it_is(bay: Path, store: Path) -> None:
    def stamps() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in store.rglob("*")}

    before = stamps()
    assert simulate(bay, to=store, seed=3) == store
    assert stamps() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"seed": 3, "days": 3}, "days was unset and is now 3"),
        ({"seed": 3, "splits": {"train": 1}}, "splits was unset and is now"),
        ({"seed": 3, "every": 1800.0}, "every was 3600.0 and is now 1800.0"),
        ({"seed": 3, "members": 2}, "members was 1 and is now 2"),
        ({"seed": 3, "profile": "compact"}, 'profile was "fast" and is now "compact"'),
    ],
)
def test_other_settings_are_refused_and_the_difference_is_told(
    bay: Path, store: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=f"holds another store: {words}.*give another path"):
        simulate(bay, to=store, **changes)  # type: ignore[arg-type]


def test_a_changed_basin_or_sea_floor_is_told(bay: Path, store: Path, tmp_path: Path) -> None:
    basin = load_basin(bay)
    rough = basin.model_copy(update={"water": basin.water.model_copy(update={"friction": 0.01})})
    with pytest.raises(ValueError, match=r"basin.water.friction was 0.0025 and is now 0.01"):
        simulate(rough, to=store, seed=3)
    closed = basin.model_copy(update={"boundary": None})
    with pytest.raises(ValueError, match=r"basin\.boundary"):
        simulate(closed, to=store, seed=3)
    deeper = xr.open_dataset(bay.with_name("bay.nc")) + 1
    deeper["depth"].attrs = {"standard_name": "sea_floor_depth_below_geoid", "units": "m"}
    deeper.to_netcdf(tmp_path / "bay.nc")
    sea = basin.sea.model_copy(update={"path": str(tmp_path / "bay.nc")})
    with pytest.raises(ValueError, match=r"the content of bay\.nc has changed"):
        simulate(basin.model_copy(update={"sea": sea}), to=store, seed=3)


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(ValueError, match="exists and is not a simulation"):
        simulate("rectangle", to=tmp_path / "letters", days=1)
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"


def test_xarray_opens_it_with_all_that_a_store_has(store: Path) -> None:
    ds = xr.open_zarr(store)
    assert ds["zos"].dims == ("time", "latitude", "longitude")
    assert ds["zos"].attrs["standard_name"] == "sea_surface_height_above_geoid"
    assert {"ubar", "vbar", "tauu", "tauv", "u10", "v10", "msl", "mask", "deptho", "cell_area"} <= set(
        ds.data_vars
    )
    wet = ds["mask"].values > 0.5
    for name in ("zos", "ubar", "vbar", "tauu", "tauv"):
        assert np.array_equal(np.isfinite(ds[name].values), np.broadcast_to(wet, ds[name].shape))
    assert np.isfinite(ds["u10"].values).all()
    assert ds.attrs["complete"]
    assert ds.attrs["seed"] == 3
    basin = json.loads(ds.attrs["basin"])
    assert basin["sea"]["path"] == "bay.nc"
    assert parse_basin(basin, "store").weather == load_basin(basin_path(store)).weather
    assert HOUR % ds.attrs["time_step"] == pytest.approx(0, abs=1e-6)
    assert str(store.parent) not in json.dumps(ds.attrs)


def basin_path(store: Path) -> Path:
    """The bay's TOML beside whatever folder the store is in."""
    return next(store.parents[1].glob("floor*/bay.toml"))


def test_inspect_tells_what_it_is(store: Path) -> None:
    told = describe(store)
    assert told["kind"] == "store"
    assert told["complete"]
    assert list(told["splits"]) == ["train", "test"]
    assert told["provenance"]["seed"] == "3"
    assert told["provenance"]["command"] == "oceanop simulate bay --seed 3"
    assert told["time"]["step_seconds"] == HOUR
    assert len(told["time"]["gaps"]) == 1


def test_splits_are_segments_that_no_window_crosses(store: Path) -> None:
    ds = open_store(store)
    assert ds.sizes["time"] == 24 * sum(DAYS.values())
    assert json.loads(ds.attrs["splits"]) == {
        "train": ["2001-01-02T00:00:00", "2001-01-03T23:00:00"],
        "test": ["2002-01-02T00:00:00", "2002-01-02T23:00:00"],
    }
    assert len(WindowDataset(ds, 6, 6, split=None)) == (48 - 11) + (24 - 11)
    train = read_statistics(store)["zos"]
    expected = ds["zos"][:48].where(ds["mask"] > 0).astype(np.float64)
    assert float(train.sel(statistic="mean")) == pytest.approx(float(expected.mean()), rel=1e-12)


def test_a_split_begins_the_same_however_long_the_others_are(bay: Path, store: Path, tmp_path: Path) -> None:
    other = open_store(
        simulate(bay, to=tmp_path / "other.zarr", seed=3, splits={"validation": 1, "test": 0.5, "train": 1})
    )
    ds = open_store(store)
    for name in ("zos", "ubar", "tauu"):
        assert np.array_equal(other[name][24:36], ds[name][48:60], equal_nan=True)
        assert np.array_equal(other[name][36:], ds[name][:24], equal_nan=True)
        assert not np.array_equal(other[name][:12], ds[name][48:60], equal_nan=True)


def test_days_make_one_series_split_in_time(bay: Path, store: Path, tmp_path: Path) -> None:
    one = open_store(simulate(bay, to=tmp_path / "one.zarr", days=2, seed=3))
    assert (np.diff(one["time"]) == np.timedelta64(1, "h")).all()
    assert np.array_equal(one["zos"], open_store(store)["zos"][:48], equal_nan=True)
    assert list(json.loads(one.attrs["splits"])) == ["train", "validation", "test"]


def test_fewer_states_are_some_of_the_hourly_ones(bay: Path, store: Path, tmp_path: Path) -> None:
    sparse = open_store(simulate(bay, to=tmp_path / "sparse.zarr", days=2, seed=3, every=3 * HOUR))
    assert sparse.sizes["time"] == 16
    for name in ("zos", "ubar", "vbar", "tauu", "msl"):
        assert np.array_equal(sparse[name], open_store(store)[name][:48:3], equal_nan=True)


def test_the_air_is_the_weather_of_the_seed_under_the_stated_drag(store: Path) -> None:
    ds = open_store(store)
    weather = Weather(3, 10, "winter", split="test")
    hours = 24 + np.arange(24)  # after a day of spin-up
    wind = weather.fields(hours * HOUR, ds["latitude"].values[:, None], ds["longitude"].values, mesh=0.5)
    test = ds.isel(time=slice(48, None))
    assert np.array_equal(test["u10"], wind.u10.astype(np.float32))
    assert np.array_equal(test["msl"], wind.msl.astype(np.float32))
    dragged, _ = stress(wind.u10, wind.v10, law=Charnock(0.02))
    assert drag_law(Air(season="winter")) == LargePond()
    wet = ds["mask"].values > 0
    assert np.array_equal(test["tauu"].values[:, wet], dragged.astype(np.float32)[:, wet])


def test_the_open_column_holds_inverse_barometer_and_slow_signal(store: Path) -> None:
    ds = open_store(store)
    column = ds.isel(longitude=0).where(ds["mask"][:, 0] > 0)
    weight = ds.attrs["gravity"] * ds.attrs["water_density"]
    signal = (column["zos"] + (column["msl"] - 101325.0) / weight).astype(np.float64)
    # One level along the column: what is left is float32's rounding of pressure (8e-3 Pa) and level
    assert float((signal.max("latitude") - signal.min("latitude")).max()) < 2e-6
    assert float(signal.mean("latitude").std()) > 0.01


def test_the_slow_signal_has_its_deviation_and_periods() -> None:
    seeds = [np.random.SeedSequence(seed) for seed in (0, 1, 2)]
    level = RemoteLevel(Signal(deviation=0.18, shortest=2, longest=60), seeds)
    hours = np.arange(0, 40 * 365 * 24, 6.0)
    record = level(hours * HOUR)[..., 0]
    # Two harmonics of nearly one period beat over years: a forty years' deviation is a few hundredths off
    np.testing.assert_allclose(record.std(0), 0.18, rtol=0.05)
    power = np.abs(np.fft.rfft(record * np.hanning(hours.size)[:, None], axis=0)) ** 2
    days = 24 * np.fft.rfftfreq(hours.size, 6.0)
    assert (power[(days < 1 / 61) | (days > 1 / 1.9)].sum(0) < 1e-6 * power.sum(0)).all()
    assert np.abs(np.corrcoef(record.T)[np.triu_indices(3, 1)]).max() < 0.2
    assert np.array_equal(level(hours[7:9] * HOUR)[..., 0], record[7:9])


def test_without_a_signal_it_is_the_inverse_barometer_alone(tmp_path: Path) -> None:
    ds = open_store(simulate("baltic", to=tmp_path / "baltic.zarr", days=0.25, seed=1))
    assert int((ds["mask"] > 0).sum()) == 1809
    column = ds.isel(longitude=0).where(ds["mask"][:, 0] > 0)
    level = -(column["msl"] - 101325.0) / (ds.attrs["gravity"] * ds.attrs["water_density"])
    assert float(abs(column["zos"] - level).max()) < 2e-6
    # Five days of weather have passed before the first state
    assert ds["time"].values[0] == np.datetime64("2001-01-06T00")
    assert float(ds["zos"][0].where(ds["mask"] > 0).std()) > 0.02


def test_members_are_series_of_their_own_and_the_first_is_that_of_one_alone(store: Path, pair: Path) -> None:
    ds, alone = open_store(pair), open_store(store)
    assert ds["zos"].dims == ("time", "member", "latitude", "longitude")
    for name in ("zos", "ubar", "tauv", "msl"):
        assert np.array_equal(ds[name][:, 0], alone[name], equal_nan=True)
        assert not np.array_equal(ds[name][:, 1], alone[name], equal_nan=True)
    values = ds["zos"][:48].where(ds["mask"] > 0).astype(np.float64)
    assert float(read_statistics(pair)["zos"].sel(statistic="std")) == pytest.approx(
        float(values.std()), rel=1e-9
    )


@pytest.mark.parametrize("limit", [2**31, 0])
def test_windows_of_members_are_those_of_each_alone(
    pair: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_pipelines.dataset.MEMORY_LIMIT", limit)
    ds = open_store(pair)
    together = WindowDataset(ds, 3, 2)
    apart = [WindowDataset(ds.isel(member=member), 3, 2) for member in (0, 1)]
    assert len(together) == 2 * len(apart[0])
    windows = [window for dataset in apart for window in (dataset[i] for i in range(len(dataset)))]
    for i in (0, 1, len(apart[0]) - 1, len(apart[0]), len(together) - 1):
        for name in ("history", "forcing", "target"):
            assert torch.equal(getattr(together[i], name), getattr(windows[i], name))
        assert together[i].start == windows[i].start


def test_one_ocean_is_asked_for_where_members_mean_nothing(pair: Path) -> None:
    ds = open_store(pair)
    with pytest.raises(ValueError, match=r"has 2 members and one ocean is needed here; choose one"):
        WindowDataset(ds, 3, 2).layout.pack(ds)


def test_standing_waves_swing_with_the_schemes_own_period_and_keep_the_water(tmp_path: Path) -> None:
    ds = open_store(simulate("rectangle", to=tmp_path / "sea.zarr", days=4, seed=2))
    level = ds["zos"].values[:, 1:-1, 1:-1].astype(np.float64)
    assert np.isnan(ds["zos"].values[:, 0]).all()
    volume = level.mean((1, 2))
    assert np.abs(volume - volume[0]).max() < 1e-6  # m; rounding of float32 states
    assert float(abs(ds["ubar"][0]).max()) == 0
    rows, columns = level.shape[1:]
    spacing, depth, step = ds.attrs["grid_spacing"], ds.attrs["depth"], ds.attrs["time_step"]
    speed = np.sqrt(ds.attrs["gravity"] * depth)
    time = np.arange(level.shape[0]) * HOUR
    for m, n in ((1, 0), (0, 1), (2, 1), (3, 3)):
        shape = np.outer(
            np.cos(np.pi * n * (np.arange(rows) + 0.5) / rows),
            np.cos(np.pi * m * (np.arange(columns) + 0.5) / columns),
        )
        amplitude = (level * shape).sum((1, 2)) / (shape**2).sum()
        sine = np.hypot(np.sin(np.pi * m / (2 * columns)), np.sin(np.pi * n / (2 * rows)))
        omega = 2 / step * np.arcsin(speed * step / spacing * sine)
        # Rounding of float32 over 1250 steps
        np.testing.assert_allclose(amplitude, amplitude[0] * np.cos(omega * time), atol=2e-5)


def channel_error(spacing: float, to: Path) -> float:
    """RMS error of the level after 12 h over the level's RMS."""
    ds = open_store(simulate(shipped("channel", spacing=spacing), to=to, days=0.5 + 1 / 24, seed=5))
    basin = load_basin("channel")
    channel = WaveChannel(1.2e6, 4e5, ds.attrs["depth"], ds.attrs["coriolis_parameter"])
    initial = basin.initial
    assert initial is not None
    assert initial.kind == "waves"
    waves = free_waves(channel, highest_mode=3, shortest_period=4.5 * HOUR)
    drawn = random_amplitudes(waves, energy=initial.energy, slope=initial.slope, seed=[5, 0, 0])
    level = ds["zos"].values[:, 1:-1]
    y, x = ((np.arange(size) + 0.5) * spacing for size in level.shape[1:])
    exact = superpose(waves, drawn, time=np.array([0.0, 12 * HOUR]), y=y, x=x)
    np.testing.assert_allclose(level[0], exact[0, 0], atol=1e-6)
    return float(np.sqrt(np.mean((level[-1] - exact[0, 1]) ** 2) / np.mean(exact[0, 1] ** 2)))


def test_waves_of_the_channel_travel_as_they_should_to_second_order(tmp_path: Path) -> None:
    coarse, fine = channel_error(2e4, tmp_path / "coarse.zarr"), channel_error(1e4, tmp_path / "fine.zarr")
    assert fine < 0.08
    assert 3.4 < coarse / fine < 4.6  # a quarter at half the spacing


def test_the_channel_keeps_its_energy(tmp_path: Path) -> None:
    ds = open_store(simulate("channel", to=tmp_path / "sea.zarr", days=10, seed=1))
    squares = ds.attrs["gravity"] * ds["zos"] ** 2 + ds.attrs["depth"] * (ds["ubar"] ** 2 + ds["vbar"] ** 2)
    energy = squares.mean(("latitude", "longitude")).values / 2
    # Means over a day: the instant value swings by what averaging currents to the centres takes
    first, last = energy[:24].mean(), energy[-24:].mean()
    assert last == pytest.approx(first, rel=0.01)


@pytest.mark.parametrize("name", basins())
def test_shipped_basins_are_whole_and_name_themselves(name: str) -> None:
    basin = load_basin(name)
    assert basin.name == name
    assert parse_basin(basin.model_dump(mode="json"), name) == basin


def test_the_commands_help_names_every_shipped_basin(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("simulate", "--help") == 0
    told = re.sub(r"\W+", " ", capsys.readouterr().out.replace("-", "_"))
    assert {name.replace("-", "_") for name in basins()} <= set(told.split())


def toml(**tables: str) -> str:
    whole = {
        "sea": 'floor = "baltic"',
        "weather": 'season = "winter"',
        "splits": "train = 1",
    } | tables
    return 'title = "x"\n' + "\n".join(f"[{name}]\n{text}" for name, text in whole.items() if text)


FLAT = 'floor = "flat"\nlength = 4e5\nwidth = 2e5\ndepth = 50\nspacing = 1e4'
SEICHES = 'kind = "seiches"\ndeviation = 0.1'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (toml(wether="season = 'winter'"), "unknown key 'wether'"),
        (toml(sea='floor = "baltic"\nrow = 2'), "unknown key 'sea.row'"),
        (toml(sea='floor = "lake"'), "'sea' is .*'baltic', 'file', 'flat'"),
        (toml(weather=""), r"give one of the tables \[weather\].* and \[initial\]"),
        (toml(initial=SEICHES), r"give one of the tables"),
        (toml(weather="", initial=SEICHES), "for a flat sea that is not periodic"),
        (toml(weather="", initial=SEICHES, sea=FLAT + "\nperiodic = true"), "for a flat sea that is not periodic"),
        (toml(weather="", initial=SEICHES, sea=FLAT, boundary='side = "west"'), "closed, linear basin"),
        (toml(weather="", initial=SEICHES, sea=FLAT, splits="train = 1\nextreme = 1"), "no split 'extreme' of a basin"),
        (toml(splits="train = 1\nfoo = 1"), "'splits.foo' is 'foo': input should be 'train', 'validation'"),
        (toml(splits="test = 1"), "statistics need one called 'train'"),
        (toml(weather='season = "winter"\ncharnock_parameter = 0.02'), "turns nothing with the drag law 'large-pond'"),
        (toml(weather='season = "spring"'), "'weather.season' is 'spring'"),
        (toml(weather='season = "winter"\nspin_up = 0.02'), "0.02 days, 0.48 hours; give days that are whole hours"),
        (toml(weather='season = "winter"\nspin_up = inf'), "'weather.spin_up' is inf: input should be a finite number"),
        (toml(weather='season = "winter"\nmesh = 90'), "'weather.mesh' is 90: input should be less than or equal to 1"),
        (toml(water="friction = inf"), "'water.friction' is inf: input should be a finite number"),
        (toml(boundary='side = "west"\nsignal = {deviation = 1, shortest = 3, longest = 2}'), "give the lesser first"),
        ("title = ", "not a TOML file"),
    ],
)  # fmt: skip
def test_a_basin_that_cannot_be_is_refused_in_a_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "basin.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        load_basin(path)
    assert str(refused.value).startswith(str(path))
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["atlantis", "--days", 1], "no such file or basin; shipped basins are baltic"),
        (["rectangle", "--days", 1, "--splits", "train=1"], "both a number of days and splits"),
        (["rectangle", "--days", -1], "-1 days are asked for"),
        (["rectangle", "--days", 0.03], "0.03 days hold no whole number of steps"),
        (["rectangle", "--splits", "train"], "expected NAME=DAYS"),
        (["rectangle", "--splits", "train=1,train=2"], "'train' is given twice"),
        (["rectangle", "--splits", "train=1,fast=1"], "no split 'fast' of a basin without weather"),
        (["rectangle", "--every", "50min"], "an hour divided or multiplied by a whole number"),
    ],
)
def test_a_request_that_cannot_be_met_ends_in_one_sentence(
    words: list[object], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("simulate", *words, "--to", tmp_path / "sea.zarr") == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "\n" not in error
    assert not (tmp_path / "sea.zarr").exists()


def test_a_sea_floor_that_is_none_is_refused(bay: Path, tmp_path: Path) -> None:
    sea = load_basin(bay).sea.model_copy(update={"path": str(tmp_path / "level.nc")})
    axes = {"latitude": [50.0, 51.0], "longitude": [1.0, 2.0]}
    held = xr.Dataset(coords=axes)
    held["zos"] = (
        tuple(axes),
        np.zeros((2, 2)),
        {"standard_name": "sea_surface_height_above_geoid", "units": "m"},
    )
    held = held.expand_dims(time=[np.datetime64("2001-01-01", "ns")])
    for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        held[name].attrs = {"standard_name": name, "units": units}
    held.to_netcdf(tmp_path / "level.nc")
    with pytest.raises(ValueError, match=r"level.nc holds zos and no sea floor; give a file with a depth"):
        simulate(load_basin(bay).model_copy(update={"sea": sea}), to=tmp_path / "sea.zarr")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda depth: -depth, "bay.nc: variable 'depth' has nothing below sea level; depth counts"),
        (lambda depth: 1000 * depth, "has depths up to .* m, and no sea is deeper than 12000 m; mend its unit"),
        (lambda depth: depth.where(depth["longitude"] > 19, 0.0), "open to the west, where the outermost cells"),
        (lambda depth: depth.assign_coords(latitude=depth["latitude"] - 50), "places from 7 to 9.75 degrees north"),
    ],
)  # fmt: skip
def test_a_sea_floor_that_cannot_be_leaves_nothing_behind(
    change: Callable[[xr.DataArray], xr.DataArray], words: str, bay: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(bay.with_name("bay.nc")) as floor, xr.set_options(keep_attrs=True):
        change(floor["depth"]).to_netcdf(tmp_path / "bay.nc")
    (tmp_path / "bay.toml").write_text(bay.read_text())
    with pytest.raises(ValueError, match=words):
        simulate(tmp_path / "bay.toml", to=tmp_path / "sea.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bay.nc", "bay.toml"]


def test_a_depth_that_is_no_number_is_land(bay: Path, tmp_path: Path) -> None:
    with xr.open_dataset(bay.with_name("bay.nc")) as floor:
        held = floor.load()
    held["depth"][3, 3:6] = [np.nan, np.inf, -np.inf]
    held.to_netcdf(tmp_path / "bay.nc")
    sea = load_basin(bay).sea.model_copy(update={"path": str(tmp_path / "bay.nc")})
    domain = make_domain(load_basin(bay).model_copy(update={"sea": sea}))
    assert np.array_equal(domain.cells.wet, held["depth"].where(np.isfinite(held["depth"])).values > 0)


@pytest.mark.parametrize("every", [0.0, -3600.0, np.nan, np.inf])
def test_an_interval_that_is_none_is_refused(every: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it has to be an hour divided or multiplied by a whole number"):
        simulate("rectangle", to=tmp_path / "sea.zarr", days=1, every=every)


def test_a_full_disk_is_told_and_gone_on_with(
    bay: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("data_pipelines.resumable.Restart.save", full)
        with pytest.raises(ValueError, match="the disk is full; free some of it"):
            simulate(bay, to=tmp_path / "sea.zarr", seed=3)
    assert same_variables(simulate(bay, to=tmp_path / "sea.zarr", seed=3), store)


@pytest.mark.parametrize("members", [1, 2])
def test_two_steps_of_training_on_it(members: int, bay: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.toml"
    run.write_text("""
[model]
name = "FNOtD"
history = 3
horizon = 3
modes = [3, 3, 3]
width = 4
layers = 1
[training]
steps = 2
batch_size = 2
threads = 1
""")
    sea = simulate(bay, to=tmp_path / "sea.zarr", splits={"train": 1, "validation": 0.5}, members=members)
    assert command("train", run, "--data", sea, "--to", tmp_path / "run", "--quiet") == 0
    assert (tmp_path / "run" / "checkpoints" / "best").exists()
