"""Laws of the invented weather: wind in balance with its pressure, and numbers that only place and time decide."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import gamma, norm

from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dynamics.climate import (
    DAY,
    MIDWINTER,
    NORTH_SEA_AND_BALTIC,
    YEAR,
    BackgroundClimate,
    Climate,
    MesoscaleClimate,
    StormClimate,
)
from oceanop.dynamics.diversity import Diversity, diversity
from oceanop.dynamics.drag import AIR_DENSITY
from oceanop.dynamics.gradient_wind import ANTICYCLONIC_LIMIT, Fields, Layers
from oceanop.dynamics.storms import Storms, frame
from oceanop.dynamics.weather import SPLITS, Weather

Array = NDArray[np.float64]

HOUR = 3600.0
LATITUDE, LONGITUDE = np.arange(54.0, 66.5, 1.5), np.arange(9.0, 30.5, 1.5)
NO_STORMS = StormClimate(arrivals=(1e-30, 1e-30))
NO_BACKGROUND = BackgroundClimate(mean=(0.0, 0.0), deviation=0.0, level_deviation=0.0)
NO_MESOSCALE = MesoscaleClimate(deviation=0.0)


@pytest.fixture(scope="module")
def weather() -> Weather:
    return Weather(7, 40, "winter")


def grid(weather: Weather, time: Array, **options: float) -> Fields:
    return weather.fields(time, LATITUDE[:, None], LONGITUDE, **options)


def moved(latitude: Array, longitude: Array, east: Array, north: Array) -> tuple[Array, Array]:
    """Where a great circle leads after some metres eastwards and northwards."""
    up, eastward, northward = frame(latitude, longitude)
    length = np.hypot(east, north)
    direction = (east[:, None] * eastward + north[:, None] * northward) / length[:, None]
    place = np.cos(length / EARTH_RADIUS)[:, None] * up + np.sin(length / EARTH_RADIUS)[:, None] * direction
    return np.rad2deg(np.arcsin(place[:, 2])), np.rad2deg(np.arctan2(place[:, 1], place[:, 0]))


def slope_and_bend(weather: Weather, time: float, latitude: Array, longitude: Array) -> tuple[Array, Array]:
    """Pressure's slope, eastwards and northwards, and its second derivative along the isobar, by differences."""
    distance = np.full_like(latitude, 500.0)
    here = weather.fields(time, latitude, longitude).msl

    def along(east: Array, north: Array) -> tuple[Array, Array]:
        ahead = weather.fields(time, *moved(latitude, longitude, east, north)).msl
        behind = weather.fields(time, *moved(latitude, longitude, -east, -north)).msl
        return (ahead - behind) / (2 * distance), (ahead - 2 * here + behind) / distance**2

    slope = np.stack([along(distance, 0 * distance)[0], along(0 * distance, distance)[0]])
    across = slope / np.hypot(*slope)
    return slope, along(-across[1] * distance, across[0] * distance)[1]


@pytest.mark.parametrize("seed", range(4))
def test_wind_and_pressure_are_in_gradient_balance(seed: int) -> None:
    weather = Weather(seed, 30, "winter", split="extreme")
    generator = np.random.default_rng(seed)
    latitude, longitude = generator.uniform(50, 70, 300), generator.uniform(0, 35, 300)
    coriolis = 2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude))
    for time in generator.uniform(0, 30 * DAY, 5):
        slope, bend = slope_and_bend(weather, time, latitude, longitude)
        u, v, _ = weather.fields(time, latitude, longitude)
        speed = np.hypot(u, v) / NORTH_SEA_AND_BALTIC.surface_ratio
        steepness = np.hypot(*slope)
        curvature = bend / steepness  # of the isobar, 1 m-1, positive around a low
        number = bend / (AIR_DENSITY * coriolis**2)
        force = steepness / AIR_DENSITY
        imbalance = speed**2 * curvature + coriolis * speed - force
        free = number > ANTICYCLONIC_LIMIT
        # Differences over 500 m of waves of 250 km are wrong by (2 pi 0.5 / 250)^2 / 6 = 3e-5 of what each wave adds; a
        # slope that waves nearly cancel carries the same error, so the typical force is the scale
        scale = force + np.median(force)
        assert (np.abs(imbalance) < 1e-4 * scale)[free].all()
        assert 0.5 < free.mean() < 1
        limited = (np.abs(speed - 10 / 9 * force / coriolis) < 1e-4 * scale / coriolis)[~free]
        assert limited.all()


def test_the_wind_blows_along_isobars_turned_towards_low_pressure(weather: Weather) -> None:
    latitude, longitude = (a.ravel() for a in np.meshgrid(LATITUDE, LONGITUDE, indexing="ij"))
    slope, _ = slope_and_bend(weather, 9.3 * DAY, latitude, longitude)
    u, v, _ = weather.fields(9.3 * DAY, latitude, longitude)
    along = (-u * slope[1] + v * slope[0]) / np.hypot(u, v) / np.hypot(*slope)
    down = -(u * slope[0] + v * slope[1]) / np.hypot(u, v) / np.hypot(*slope)
    clear = np.hypot(*slope) > 2e-4  # a flatter slope has no direction that differences find
    assert clear.mean() > 0.9
    assert np.rad2deg(np.arctan2(down, along))[clear] == pytest.approx(17.0, abs=0.02)


def single_low(**changes: float) -> Layers:
    """A low of 50 hPa and 400 km that crosses 60 N 20 E at time 0, at its deepest, and nothing else."""
    climate = Climate(mesoscale=NO_MESOSCALE, background=NO_BACKGROUND)
    values = {
        "passage": 0.0,
        "latitude": 60.0,
        "longitude": 20.0,
        "heading": 30.0,
        "speed": 15.0,
        "depth": 5000.0,
        "radius": 400e3,
        "elongation": 1.0,
        "peak": 0.0,
        "life": 40 * HOUR,
    } | changes
    layers = Weather(0, 1, "winter", climate=climate)
    storms = Storms(**{name: np.array([value]) for name, value in values.items()})
    return Layers(climate, storms, layers.background, layers.mesoscale)


def test_a_round_low_has_the_wind_of_the_closed_form() -> None:
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    here = np.full(8, 60.0), np.full(8, 20.0)
    latitude, longitude = moved(*here, 400e3 * np.cos(angle), 400e3 * np.sin(angle))
    u, v, pressure = (field[0] for field in single_low().evaluate(np.zeros(1), latitude, longitude))
    # The chord of 400 km on the Earth is shorter by (400 / 6371)^2 / 24, 2e-4
    assert pressure == pytest.approx(101500 - 5000 * np.exp(-0.5), abs=1.0)
    coriolis = 2 * EARTH_ROTATION * np.sin(np.deg2rad(latitude))
    geostrophic = 5000 / 400e3 * np.exp(-0.5) / (AIR_DENSITY * coriolis)
    assert geostrophic.mean() == pytest.approx(49.5, abs=1)
    # Gradient wind, V / Vg = 2 / (1 + sqrt(1 + 4 Vg / (f r)))
    expected = 2 * geostrophic / (1 + np.sqrt(1 + 4 * geostrophic / (coriolis * 400e3)))
    assert np.hypot(u, v) / 0.7 == pytest.approx(expected, rel=2e-3)
    assert expected.mean() == pytest.approx(31, abs=0.5)
    # Counter-clockwise, and inwards by 17 degrees, seen from the place
    _, east, north = frame(latitude, longitude)
    centre = frame(*here)[0]
    outwards = -np.stack([(centre * east).sum(-1), (centre * north).sum(-1)])
    inflow = np.arctan2(-(u * outwards[0] + v * outwards[1]), v * outwards[0] - u * outwards[1])
    assert np.rad2deg(inflow) == pytest.approx(17.0, abs=1e-6)


def test_lows_travel_great_circles_at_their_speed_and_live_as_long_as_they_are_said_to() -> None:
    storms = single_low(peak=-3 * HOUR, elongation=1.44).storms
    begin, middle, end = (storms.at(hours * HOUR)[0] for hours in (-10, 0, 8))
    assert EARTH_RADIUS * np.arccos(begin[:3] @ end[:3]) == pytest.approx(15.0 * 18 * HOUR, rel=1e-9)
    up, east, north = frame(np.array(60.0), np.array(20.0))
    assert middle[:3] == pytest.approx(up, abs=1e-15)
    assert middle[3:6] == pytest.approx(np.cos(np.pi / 6) * east + np.sin(np.pi / 6) * north, abs=1e-15)
    for low in (begin, middle, end):
        axes = low[:9].reshape(3, 3)
        assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-15)
    assert begin[6:9] == pytest.approx(end[6:9], abs=1e-15)
    assert begin[9] == pytest.approx(5000 * np.exp(-((7 / 40) ** 2) / 2))
    assert begin[10] / begin[11] == pytest.approx(1.44)
    assert begin[10] * begin[11] == pytest.approx(400e3**2)
    # Six widths of 40 h after its peak it is no more
    assert len(storms.at(236.9 * HOUR)) == 1
    assert len(storms.at(237.1 * HOUR)) == 0


def test_an_elongated_low_is_wider_along_its_track() -> None:
    layers = single_low(elongation=4.0, heading=0.0)
    latitude, longitude = moved(
        np.full(2, 60.0), np.full(2, 20.0), np.array([800e3, 1e-9]), np.array([0.0, 200e3])
    )
    pressure = layers.evaluate(np.zeros(1), latitude, longitude).msl[0]
    # At one radius of either axis, 800 and 200 km: the first lies 50 km below the plane that touches the Earth at the
    # centre, which an eighth of a radius makes 1 % of the exponent and 0.5 % of the depth
    assert pressure == pytest.approx(101500 - 5000 * np.exp(-0.5), abs=25)


def test_the_background_is_the_geostrophic_wind_it_says_it_is() -> None:
    climate = Climate(storms=NO_STORMS, mesoscale=NO_MESOSCALE, surface_ratio=1.0, inflow=0.0)
    weather = Weather(5, 20, "winter", climate=climate)
    for time in np.linspace(0, 20 * DAY, 7):
        u, v, pressure = weather.fields(time, 60.0, 20.0)
        # No curvature at the place where it is told: wind and slope are geostrophic to rounding
        assert (float(u), float(v)) == pytest.approx(tuple(weather.background.wind(time)), rel=1e-9)
        assert pressure == pytest.approx(101500 + weather.background.level(time))


def test_harmonics_have_the_variance_of_their_climate() -> None:
    weather = Weather(2, 10, "winter")
    # A cosine of random phase has half the square of its amplitude
    assert (weather.background.share**2).sum() / 2 == pytest.approx(1)
    assert (weather.mesoscale.amplitude**2).sum() / 2 == pytest.approx(60.0**2)
    level = [weather.background.level(time) for time in np.linspace(0, 4e9, 4000)]
    # 24 lines of 4e9 s leave hardly a beat unfinished; 4000 samples of them know their deviation to 1.6 %
    assert np.std(level) == pytest.approx(800.0, rel=0.05)


def test_mesoscale_waves_have_their_length_and_speed() -> None:
    climate = Climate(
        storms=NO_STORMS, background=NO_BACKGROUND, mesoscale=MesoscaleClimate(waves=1, deviation=100.0)
    )
    weather = Weather(3, 2, "winter", climate=climate)
    wave = weather.mesoscale
    up, east, north = frame(np.array([60.0]), np.array([20.0]))
    vector = np.array([wave.vector[0] @ east[0], wave.vector[0] @ north[0]]) / EARTH_RADIUS
    wavelength = 2 * np.pi / np.hypot(*vector)
    assert 250e3 <= wavelength <= 900e3
    assert wave.vector[0] @ up[0] == pytest.approx(0, abs=1e-9)
    speed = wave.frequency[0] / np.hypot(*vector)
    assert -2 < speed < 22  # three deviations of 4 m/s about 10 m/s
    # After three hours the crest is where the phase speed takes it; flat within 20 km to (20 / 6371)^2 / 6
    step = vector / np.hypot(*vector) * speed * 600
    there = moved(np.array([60.0]), np.array([20.0]), step[:1], step[1:])
    before = weather.fields(HOUR, 60.0, 20.0).msl
    assert weather.fields(HOUR + 600, *there).msl[0] == pytest.approx(float(before), abs=1e-3)


@pytest.mark.parametrize("mesh", [None, 0.5])
def test_hours_may_be_asked_for_in_any_order_and_number(weather: Weather, mesh: float | None) -> None:
    hours = np.arange(0, 40 * 24, 2.5) * HOUR
    whole = grid(weather, hours, mesh=mesh)  # type: ignore[arg-type]
    again = grid(Weather(7, 40, "winter"), hours[::-1], mesh=mesh)  # type: ignore[arg-type]
    parts = [grid(weather, part, mesh=mesh) for part in np.array_split(hours, 7)]  # type: ignore[arg-type]
    for i, field in enumerate(whole):
        assert np.isfinite(field).all()
        assert field.tobytes() == again[i][::-1].tobytes()
        assert field.tobytes() == np.concatenate([part[i] for part in parts]).tobytes()


@pytest.mark.parametrize("mesh", [None, 0.5, 2.0])
def test_two_grids_agree_to_the_last_bit_where_they_share_a_place(
    weather: Weather, mesh: float | None
) -> None:
    hours = np.arange(3) * 7 * HOUR
    latitude, longitude = np.linspace(54, 66, 61), np.linspace(9, 31, 89)
    fine = weather.fields(hours, latitude[:, None], longitude, mesh=mesh)
    coarse = weather.fields(hours, latitude[::5, None], longitude[3::4], mesh=mesh)
    alone = weather.fields(hours[1], latitude[17], longitude[5] - 360, mesh=mesh)
    turned = weather.fields(hours, latitude, longitude[:, None], mesh=mesh)
    for i in range(3):
        assert np.array_equal(fine[i][:, ::5, 3::4], coarse[i])
        assert np.array_equal(fine[i], turned[i].transpose(0, 2, 1))
        # Adding 360 degrees rounds a longitude by 6e-14 degrees
        assert alone[i] == pytest.approx(fine[i][1, 17, 5], rel=1e-9, abs=1e-9)
        assert alone[i].shape == ()


def test_the_mesh_is_exact_at_its_nodes_and_near_between_them(weather: Weather) -> None:
    hours = np.arange(0, 40, 1.7) * DAY
    nodes = weather.fields(hours, np.arange(55, 60, 0.5)[:, None], np.arange(-3, 3, 0.5))
    read = weather.fields(hours, np.arange(55, 60, 0.5)[:, None], np.arange(-3, 3, 0.5), mesh=0.5)
    assert all(np.array_equal(a, b) for a, b in zip(nodes, read, strict=True))
    between = LATITUDE[:, None] + 0.21, LONGITUDE + 0.17
    direct, coarse, fine = (weather.fields(hours, *between, mesh=mesh) for mesh in (None, 0.5, 0.25))
    for exact, rough, better in zip(direct, coarse, fine, strict=True):
        error = np.sqrt(np.mean((rough - exact) ** 2))
        # In the middle of cells; where wind turns about a low's centre, half a degree is a tenth of a radius
        assert error < 0.05 * exact.std()
        # The error of linear interpolation goes with the square of the spacing
        assert np.sqrt(np.mean((better - exact) ** 2)) < 0.5 * error


def test_a_mesh_closes_around_the_globe() -> None:
    weather = Weather(1, 2, "winter")
    east, west = (weather.fields(DAY, 60.1, longitude, mesh=0.5).msl for longitude in (359.9999, -1e-4))
    beyond = weather.fields(DAY, 60.1, 1e-4, mesh=0.5).msl
    assert east == pytest.approx(float(west), abs=1e-6)
    assert beyond == pytest.approx(float(west), abs=0.1)  # 11 m further on


def streams(weather: Weather) -> list[bytes]:
    return [
        weather.storms.passage.tobytes(),
        weather.background.phase.tobytes(),
        weather.mesoscale.phase.tobytes(),
    ]


def test_no_two_splits_members_or_seeds_share_a_layer() -> None:
    weathers = [
        Weather(seed, 60, "winter", split=split, member=member)
        for seed in (0, 1, 2, 2**32 - 1)
        for split in SPLITS
        for member in (0, 1, 2, 4, 2**32 - 1)
    ]
    for layer in zip(*(streams(weather) for weather in weathers), strict=True):
        assert len(set(layer)) == len(weathers)


def test_the_same_seed_gives_the_same_weather() -> None:
    one, two = (Weather(11, 20, "summer", split="test", member=3) for _ in range(2))
    assert streams(one) == streams(two)
    assert grid(one, np.arange(4) * DAY).u10.tobytes() == grid(two, np.arange(4) * DAY).u10.tobytes()


def test_changing_one_layer_changes_no_other() -> None:
    usual = streams(Weather(4, 30, "winter"))
    changes = [
        Climate(storms=StormClimate(arrivals=(0.8 / DAY, 0.5 / DAY))),
        Climate(background=BackgroundClimate(harmonics=7)),
        Climate(mesoscale=MesoscaleClimate(waves=5)),
    ]
    for i, climate in enumerate(changes):
        changed = streams(Weather(4, 30, "winter", climate=climate))
        assert [a == b for a, b in zip(usual, changed, strict=True)] == [j != i for j in range(3)]


def test_a_longer_weather_begins_with_the_shorter_one() -> None:
    short, long = Weather(9, 12.5, "year"), Weather(9, 900, "year")
    hours = np.arange(0, 12.5 * 24 + 1) * HOUR
    for a, b in zip(grid(short, hours), grid(long, hours), strict=True):
        assert a.tobytes() == b.tobytes()


def test_weather_goes_on_smoothly_over_the_ends_of_years() -> None:
    weather = Weather(3, 3 * 365.2425, "year", split="extreme")
    for end in (YEAR, 2 * YEAR, 365 * DAY):
        before, after, later = grid(weather, end + np.array([-1.0, 0.0, 1.0])).msl
        # Within a second pressure moves by some Pa an hour, and as much before the end as after it
        assert np.abs(after - before).max() < 2.0
        assert np.abs((later - after) - (after - before)).max() < 1e-3


def test_lows_come_as_often_and_as_deep_as_the_season_says() -> None:
    years = 60
    storms = Weather(0, years * 365.2425, "year", split="test").storms.during(0, years * YEAR)
    expected = years * 365.2425 * 0.325
    # A Poisson number's deviation is its root
    assert abs(storms.count - expected) < 4 * np.sqrt(expected)
    season = np.cos(2 * np.pi * (storms.passage - MIDWINTER) / YEAR)
    # Of a rate that goes with 1 + a cos, a = 0.075 / 0.325, the mean cosine is a / 2; its deviation 0.7 / sqrt(n)
    assert np.mean(season) == pytest.approx(0.075 / 0.325 / 2, abs=4 * 0.71 / np.sqrt(storms.count))
    assert storms.depth[season > 0.7].mean() > 1.2 * storms.depth[season < -0.7].mean()
    for name, days in (("winter", 0.40), ("summer", 0.25)):
        count = Weather(1, 10_000, name).storms.during(0, 10_000 * DAY).count  # type: ignore[arg-type]
        assert abs(count - days * 10_000) < 4 * np.sqrt(days * 10_000)


def test_extreme_and_fast_lows_are_held_out_of_ordinary_weather() -> None:
    climate = NORTH_SEA_AND_BALTIC.storms
    lows = {split: Weather(5, 5000, "winter", split=split).storms for split in SPLITS}
    law = gamma(climate.depth_shape, scale=climate.depth[0] / climate.depth_shape)
    low, high = law.cdf(climate.depth_range)
    deep = law.ppf(low + 0.95 * (high - low))
    least, most = norm.cdf(np.log(np.divide(climate.speed_range, climate.speed[0])) / climate.speed[1])
    fast = climate.speed[0] * np.exp(climate.speed[1] * norm.ppf(least + 0.95 * (most - least)))
    for split in ("train", "validation", "test"):
        assert lows[split].depth.max() < deep
        assert lows[split].speed.max() < fast
    count = lows["extreme"].count
    assert np.mean(lows["extreme"].depth > deep) == pytest.approx(0.25, abs=4 * np.sqrt(0.1875 / count))
    assert lows["extreme"].speed.max() < fast
    assert lows["fast"].speed.min() > fast
    assert lows["fast"].depth.max() < deep
    for storms in lows.values():
        assert storms.depth.min() >= climate.depth_range[0]
        assert storms.depth.max() <= climate.depth_range[1]
        assert storms.speed.max() <= climate.speed_range[1]
        assert (storms.radius >= climate.radius_range[0]).all()
        assert (storms.radius <= climate.radius_range[1]).all()
        assert storms.latitude.mean() == pytest.approx(63.0, abs=4 * 5 / np.sqrt(storms.count))
        assert storms.heading.mean() == pytest.approx(12.0, abs=4 * 18 / np.sqrt(storms.count))
        assert np.median(storms.radius) == pytest.approx(520e3, rel=4 * 1.25 * 0.28 / np.sqrt(storms.count))


def test_winter_over_the_baltic_is_like_winter_over_the_baltic() -> None:
    weathers = [Weather(0, 60, "winter", member=member) for member in range(12)]
    fields = [weather.fields(np.arange(0, 60 * DAY, 3 * HOUR), 58.5, 19.0) for weather in weathers]
    u, v, pressure = (np.stack(field) for field in zip(*fields, strict=True))
    wind = np.hypot(u, v)
    # Twelve winters hold some 500 independent winds and, at the 99th percentile, about 30 storms: bands are what two
    # such sets may differ by about the values aimed at, 8 and 4.4 m/s, 16 and 20 m/s, 10.5 hPa
    assert wind.mean() == pytest.approx(8.0, abs=1.0)
    assert wind.std() == pytest.approx(4.4, abs=0.7)
    assert np.quantile(wind, 0.95) == pytest.approx(16.0, abs=2.0)
    assert np.quantile(wind, 0.99) == pytest.approx(20.0, abs=2.5)
    assert wind.max() < 45
    assert u.mean() == pytest.approx(3.0, abs=1.2)
    assert v.mean() == pytest.approx(2.0, abs=1.2)
    assert pressure.std() == pytest.approx(1050, abs=250)
    assert pressure.min() > 94000
    assert pressure.max() < 105000
    departure = u - u.mean()
    for steps, expected in ((2, 0.75), (4, 0.67), (8, 0.43), (16, 0.13)):
        correlation = np.mean(departure[:, steps:] * departure[:, :-steps]) / departure.var()
        assert correlation == pytest.approx(expected, abs=0.12)


@pytest.fixture(scope="module")
def report() -> Diversity:
    splits = {
        split: [Weather(0, 40, "winter", split=split, member=member) for member in range(6)]
        for split in ("train", "test", "extreme", "fast")
    }
    splits["train again"] = splits["train"]
    return diversity(splits, [56.0, 59.0, 64.0], [17.0, 20.0, 20.5], every=6 * HOUR)


def test_splits_lie_as_far_apart_as_what_they_hold_out(report: Diversity) -> None:
    same = report.distances["train", "train again"]
    assert (same.wind, same.pressure, same.storm_depth, same.storm_speed) == (0, 0, 0, 0)
    near, extreme, fast = (report.distances["train", name] for name in ("test", "extreme", "fast"))
    assert extreme.storm_depth > 2 * near.storm_depth
    assert fast.storm_speed > 5 * near.storm_speed
    # Medians of lognormal speeds: 11.5 m/s of all but the fastest, about 21.5 m/s of these
    assert fast.storm_speed == pytest.approx(10, abs=1.5)
    assert len(report.distances) == 10


def test_the_report_counts_what_is_there(report: Diversity) -> None:
    train = report.contents["train"]
    assert train == report.contents["train again"]
    weathers = [Weather(0, 40, "winter", member=member) for member in range(6)]
    assert train.storms == sum(weather.storms.during(0, 40 * DAY).count for weather in weathers)
    assert train.weathers == 6
    assert train.days == 240
    assert sum(train.strong_from.values()) == pytest.approx(1)
    assert train.strong_from["SW"] > train.strong_from["NE"]
    assert list(train.wind.values()) == sorted(train.wind.values())
    assert train.wind[0.99] < train.wind_highest
    wind = [weather.fields(6 * HOUR, 56.0, 17.0) for weather in weathers]
    assert train.wind_highest >= max(np.hypot(field.u10, field.v10) for field in wind)
    with pytest.raises(
        ValueError, match=r"the split 'calm' has 1 weather\(s\) and no storm in them; give more"
    ):
        diversity({"calm": [Weather(0, 2, "winter", climate=replace(Climate(), storms=NO_STORMS))]}, 60, 20)


def test_no_time_and_no_place_give_no_field(weather: Weather) -> None:
    assert weather.fields([], LATITUDE, LONGITUDE[:9]).u10.shape == (0, 9)
    assert weather.fields([0.0, HOUR], [], []).msl.shape == (2, 0)


def test_what_is_not_there_is_refused_in_a_sentence(weather: Weather) -> None:
    with pytest.raises(ValueError, match="the seed is -1; it has to be a whole number from 0 to 4294967295"):
        Weather(-1, 10, "winter")
    with pytest.raises(ValueError, match="the member is 4294967296"):
        Weather(0, 10, "winter", member=2**32)
    with pytest.raises(ValueError, match="there is no season 'spring'; name one of winter, summer, year"):
        Weather(0, 10, "spring")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="no split 'storms'; name one of train, validation, test, extreme, fast"
    ):
        Weather(0, 10, "winter", split="storms")
    with pytest.raises(ValueError, match="0 days are asked for; it has to be a positive number"):
        Weather(0, 0, "winter")
    with pytest.raises(
        ValueError, match=r"times from 0 to 3.5424e\+06 s .* there is weather from 0 to 3.456e\+06 s"
    ):
        weather.fields([0.0, 41 * DAY], 60, 20)
    with pytest.raises(ValueError, match="times from nan"):
        weather.fields(np.nan, 60, 20)
    with pytest.raises(
        ValueError, match=r"places from 10 to 60 degrees north .* knows 20 to 85 degrees north"
    ):
        weather.fields(0.0, [10, 60], 20)
    with pytest.raises(ValueError, match="positions have to be finite"):
        weather.fields(0.0, 60, np.nan)
    for mesh in (0.7, 0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="degrees does not go round the globe evenly"):
            weather.fields(0.0, 60, 20, mesh=mesh)
