"""Rotation, drift and spectra: exact where a solid body turns, water moves evenly, or a wave fits the box."""

import numpy as np
import pytest
import torch

from oceanop.constants import EARTH_RADIUS, GRAVITY
from oceanop.grid import Grid
from oceanop.spectra import basin_modes
from oceanop.verification.circulation import Corners
from oceanop.verification.drift import Tracer, Twins
from oceanop.verification.flow import BalanceSums, MotionSums, VolumeSums
from oceanop.verification.scales import BandSums, Octaves, largest_box, mode_sums, series_sums


def grid_of(latitude: np.ndarray, longitude: np.ndarray, mask: np.ndarray | None = None) -> Grid:
    shape = latitude.shape
    wet = np.ones(shape, dtype=bool) if mask is None else mask
    return Grid(latitude, longitude, mask=wet, cell_area=np.full(shape, 1e8))


def regular(rows: int = 9, columns: int = 12, *, south: float = 55.0, step: float = 0.2) -> Grid:
    latitude, longitude = south + step * np.arange(rows), 178.9 + step * np.arange(columns)
    return grid_of(*np.meshgrid(latitude, (longitude + 180) % 360 - 180, indexing="ij"))


def curvilinear() -> Grid:
    """Columns lean east going north, rows lean south going east, and distances grow."""
    row, column = np.meshgrid(np.arange(9.0), np.arange(12.0), indexing="ij")
    return grid_of(60 - 0.2 * row - 0.01 * row**2 + 0.05 * column, 3 + 0.3 * column - 0.1 * row)


@pytest.mark.parametrize("grid", [regular(), curvilinear(), regular(south=-1.0)])
@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8)])
def test_a_turning_solid_body_has_twice_its_rotation_on_any_grid(grid: Grid, axis: tuple) -> None:
    corners = Corners.of(grid)
    rotation = 1e-6 * torch.tensor(axis, dtype=torch.float64)
    place = torch.linalg.cross(corners.east, corners.north, dim=0)
    flow = EARTH_RADIUS * torch.linalg.cross(rotation[:, None, None].expand_as(place), place, dim=0)
    east, north = ((flow * each).sum(0) for each in (corners.east, corners.north))
    expected = 2 * torch.einsum("i,iyx->yx", rotation, corners.normal)
    # The areas of cells are differences of vectors of the Earth's radius: (6e6 / 2e4)^2 roundings
    torch.testing.assert_close(corners.vorticity(east, north), expected, rtol=1e-9, atol=1e-16)


def test_enstrophy_is_the_area_integral_of_the_squared_vorticity_where_it_is_known() -> None:
    grid = curvilinear()
    corners = Corners.of(grid, np.random.default_rng(1).random(grid.shape) > 0.1)
    x, y = torch.randn((2, 2, 3, *grid.shape), generator=torch.Generator().manual_seed(0))
    y[0, 1, 4, 5] = torch.nan
    squares = [corners.vorticity(*each.double()).square() for each in (x, y)]
    known = squares[0].isfinite() & squares[1].isfinite()
    sums = MotionSums.enstrophy(x, y, corners)
    assert sums.statistic("count").tolist() == known.sum((-2, -1)).tolist()
    for name, square in zip(("squared_forecast", "squared_truth"), squares, strict=True):
        expected = torch.where(known, square * corners.area, 0.0).sum((-2, -1))
        torch.testing.assert_close(sums.statistic(name), expected, rtol=1e-12, atol=0)


def test_vorticity_beside_a_coast_is_not_known() -> None:
    mask = np.ones((9, 12), dtype=bool)
    mask[4, 5] = False
    grid = regular()
    corners = Corners.of(grid_of(grid.latitude, grid.longitude, mask))
    found = corners.vorticity(np.where(mask, 1.0, np.nan), np.zeros((9, 12)))
    assert found.isnan().nonzero().tolist() == [[3, 4], [3, 5], [4, 4], [4, 5]]


@pytest.mark.parametrize("grid", [regular(), curvilinear()])
def test_a_current_in_balance_with_the_slope_leaves_nothing_and_a_calm_one_all(grid: Grid) -> None:
    corners = Corners.of(grid)
    place = EARTH_RADIUS * torch.linalg.cross(corners.east, corners.north, dim=0)
    uphill = torch.tensor([1e-6, -2e-6, 1.5e-6], dtype=torch.float64)
    level = torch.einsum("i,iyx->yx", uphill, place)
    slope = corners.gradient(level)
    exact = uphill[:, None, None] - (uphill[:, None, None] * corners.normal).sum(0) * corners.normal
    torch.testing.assert_close(slope, exact.expand_as(slope), rtol=1e-8, atol=1e-15)
    coriolis = 2 * 7.292115e-5 * np.sin(np.deg2rad(grid.latitude))
    east_slope, north_slope = (
        (uphill[:, None, None] * each).sum(0) for each in (corners.east, corners.north)
    )
    u, v = -GRAVITY / coriolis * north_slope.numpy(), GRAVITY / coriolis * east_slope.numpy()
    # Four centres are averaged, over which slope and rotation change by some thousandths
    states = [np.stack(each) for each in ((level, u, v), (0 * level, u, v), (level, -u, -v))]
    assert BalanceSums.of(states[0], states[1], corners).residual().item() < 2e-3
    calm = BalanceSums.of(states[2], states[1], corners)
    assert calm.true_residual().item() == pytest.approx(1.0, rel=1e-12)
    assert calm.residual().item() == pytest.approx(2.0, rel=2e-3)


def test_energy_and_volume_are_plain_sums() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 3, 4, 8, 9))
    area = np.random.default_rng(1).uniform(1, 2, (8, 9)) * (np.arange(9) > 1)
    kinetic = MotionSums.of(x[1:], y[1:], area)
    own, true = (((field[1:] ** 2).sum(0) * area).sum((-2, -1)) for field in (x, y))
    np.testing.assert_allclose(MotionSums(kinetic.values.sum(1)).over_truth(), own / true)
    depth = np.full((8, 9), 30.0)
    whole = MotionSums.shallow_water(np.where(area > 0, x, np.nan), y, depth, area)
    own = ((GRAVITY * x[0] ** 2 + 30 * (x[1:] ** 2).sum(0)) * area).sum((-2, -1)) / 2
    np.testing.assert_allclose(whole.statistic("squared_forecast"), own)
    shifted = VolumeSums.of(y[0] + np.array([0.1, 0.1, -0.3, 0.1])[:, None, None], y[0], area).sum(-1)
    assert shifted.mean_level_bias().item() == pytest.approx(0.0, abs=1e-15)
    assert shifted.mean_level_error().item() == pytest.approx(np.sqrt((3 * 0.01 + 0.09) / 4))


def uniform(grid: Grid, east: float, north: float) -> np.ndarray:
    return np.stack([np.full(grid.shape, east), np.full(grid.shape, north)])


def test_particles_in_an_even_current_go_as_far_as_it_does_across_the_date_line() -> None:
    grid = regular()
    tracer = Tracer.of(grid)
    start = tracer.release([3.0, 5.5], [1.0, 4.25])
    for east, north in ((0.7, 0.0), (0.0, -0.4)):
        rates = tracer.rates(*uniform(grid, east, north))
        ended = tracer.carry(start, 0 * rates, 2 * rates, 7200.0)
        metres = [EARTH_RADIUS * np.deg2rad(each) for each in (0.2, 0.2)]
        across = np.cos(np.deg2rad(55 + 0.2 * np.array([3.0, 5.5])))
        np.testing.assert_allclose(ended.row - start.row, north * 7200 / metres[0], rtol=1e-12, atol=1e-12)
        # Between two rows the mean of their rates: the cosine bends by (0.2 degree)^2 / 8 in one cell
        np.testing.assert_allclose(ended.column - start.column, east * 7200 / (metres[1] * across), rtol=1e-5)
    assert tracer.positions(tracer.release([0.0], [5.5]))[1][0] % 360 == pytest.approx(180.0)


def test_a_particle_goes_round_and_comes_back_and_stops_at_land() -> None:
    grid = regular(21, 21, south=-2.0)
    row, column = np.indices(grid.shape) - 10.0
    tracer = Tracer.of(grid)
    cell = EARTH_RADIUS * np.deg2rad(0.2)
    day = 86400.0
    rotation = 2 * np.pi / day * cell
    rates = tracer.rates(-row * rotation * np.cos(np.deg2rad(grid.latitude)), column * rotation)
    there = tracer.carry(tracer.release([10.0], [16.0]), rates, rates, day)
    # A scheme of fourth order, in steps of at most half a cell on a circle of six
    assert abs(float(there.column) - 16) < 1e-3
    assert abs(float(there.row) - 10) < 1e-3
    mask = np.ones(grid.shape, dtype=bool)
    mask[:, 15:] = False
    shore = Tracer.of(grid_of(grid.latitude, grid.longitude, mask))
    rates = shore.rates(*uniform(grid, 1.0, 0.0))
    ended = shore.carry(shore.release([10.0], [10.0]), rates, rates, 10 * day)
    assert not ended.afloat.item()
    assert 14.5 < float(ended.column) < 15.01


def test_twins_part_at_the_difference_of_their_currents_and_skill_is_one_less_the_summed_ratio() -> None:
    grid = regular(9, 60, south=-0.8)
    tracer, rows, columns = Tracer.of(grid), torch.tensor([4.0, 4.0]), torch.tensor([2.0, 30.0])
    twins = Twins(tracer, rows, columns)
    currents = {"near": uniform(grid, 0.6, 0.0), "away": uniform(grid, -0.6, 0.0)}
    sums = [twins.advance(uniform(grid, 0.5, 0.0), currents, 3600.0) for _ in range(4)]
    assert sums[0] == {}
    for hours, each in enumerate(sums[1:], start=1):
        assert each["near"].separation().item() == pytest.approx(0.1 * 3600 * hours, rel=1e-9)
        assert each["near"].skill().item() == pytest.approx(0.8, rel=1e-9)
        assert each["away"].rms_separation().item() == pytest.approx(1.1 * 3600 * hours, rel=1e-9)
        assert each["away"].skill().item() == 0.0


def test_octaves_share_out_every_wave_between_their_ends_once() -> None:
    octaves = Octaves.between(800e3, 90e3)
    assert octaves.labels("km", 1e3) == ["800-400 km", "400-200 km", "200-100 km"]
    wavelengths = np.array([np.inf, 801e3, 800e3, 500e3, 400e3, 150e3, 100e3, 99e3])
    assert octaves.band(1 / wavelengths).tolist() == [-1, -1, 0, 0, 0, 2, 2, 3]


def test_the_largest_box_of_ocean_is_found() -> None:
    mask = np.random.default_rng(2).random((9, 11)) > 0.25
    best = max(
        (c - a) * (d - b)
        for a in range(9) for b in range(11) for c in range(a + 1, 10) for d in range(b + 1, 12)
        if mask[a:c, b:d].all()
    )  # fmt: skip
    box = largest_box(mask, (1e3, 1e3))
    assert mask[box.rows, box.columns].all()
    assert np.prod(box.shape) == best
    with pytest.raises(ValueError, match="no ocean"):
        largest_box(np.zeros((3, 3)), (1.0, 1.0))


def test_the_waves_of_a_box_hold_the_mean_square_under_their_window() -> None:
    box = largest_box(np.ones((15, 20)), (2e3, 1e3))
    fields = np.random.default_rng(0).standard_normal((3, 15, 20)) + 5.0
    slope = 3 * np.arange(15)[:, None] - np.arange(20)
    amplitudes, many, _ = box.amplitudes(fields + slope)
    power = (amplitudes.abs().square() * many).sum(-1).numpy()
    np.testing.assert_allclose(
        power, (box.amplitudes(fields)[0].abs().square() * many).sum(-1), rtol=1e-11
    )  # a slope and a mean leave no trace
    y, x = np.linspace(-1, 1, 15)[:, None] + np.zeros(20), np.linspace(-1, 1, 20) + np.zeros((15, 1))
    plane = np.stack([np.ones((15, 20)), y, x]).reshape(3, -1).T
    for i, field in enumerate(fields):
        flat = field.ravel() - plane @ np.linalg.lstsq(plane, field.ravel(), rcond=None)[0]
        rows, columns = (np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (15, 20))
        window = (rows[:, None] * columns).ravel()
        assert power[i] == pytest.approx(np.mean((flat * window) ** 2) / np.mean(window**2), rel=1e-11)


def test_noise_keeps_its_variance_under_the_window_and_its_slope_in_the_bands() -> None:
    generator = np.random.default_rng(1)
    box = largest_box(np.ones((64, 64)), (1e3, 1e3))
    noise = generator.standard_normal((40, 64, 64))
    amplitudes, many, wavenumber = box.amplitudes(noise)
    # 40 fields of some 64 x 64 x (4/9)^2 independent values under the window: five standard deviations
    total = float((amplitudes.abs().square() * many).sum(-1).mean())
    assert total == pytest.approx(1.0, abs=5 * np.sqrt(2 / (40 * 64**2 * 0.19)))
    k = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    k[0, 0] = np.inf
    octaves = box.octaves
    assert octaves.labels("km", 1e3) == ["16-8 km", "8-4 km", "4-2 km"]
    for slope in (2.0, 3.0):
        # Energy by |k| falls as k^-slope where that of each wave falls by one power more
        waves = np.fft.fft2(generator.standard_normal((30, 128, 128))) * k ** (-(slope + 1) / 2)
        steep = np.fft.ifft2(waves).real[:, :64, :64]
        power = box.sums(steep, steep).statistic("squared_truth").mean(0).numpy()
        density = power / np.diff(1 / np.array(octaves.edges))
        found = np.polyfit(np.log(1 / np.array(octaves.middles)), np.log(density), 1)[0]
        # The window smears waves by one bin: of the longest here, the fourth, from the more powerful third
        assert found == pytest.approx(-slope, abs=0.15)
    assert wavenumber.max() == pytest.approx(np.sqrt(0.5) / 1e3)


def test_bands_tell_amplitude_and_place_apart_and_their_sums_add_up() -> None:
    generator = np.random.default_rng(3)
    grid = regular(12, 14)
    modes = basin_modes(grid)
    octaves = Octaves.between(200e3, 60e3)
    truth, other = generator.standard_normal((2, 5, 12, 14))
    whole = mode_sums(modes, 0.5 * truth, truth, octaves)
    together = BandSums(whole.values.sum(1))
    np.testing.assert_allclose(together.power_ratio(), 0.25)
    np.testing.assert_allclose(together.coherence(), 1.0)
    np.testing.assert_allclose(together.resolved(), 0.75)
    parts = [mode_sums(modes, other[i], truth[i], octaves) for i in range(5)]
    whole = mode_sums(modes, other, truth, octaves)
    torch.testing.assert_close(sum(parts[1:], start=parts[0]).values, whole.values.sum(1))
    error = mode_sums(modes, other - truth, truth, octaves)
    torch.testing.assert_close(whole.statistic("squared_error"), error.statistic("squared_forecast"))


@pytest.mark.parametrize("steps", [96, 97])
def test_series_hold_their_power_in_the_band_of_their_period(steps: int) -> None:
    time = np.arange(steps) * 3600.0
    octaves = Octaves(96 * 3600.0, 5)
    wave = 0.4 * np.cos(2 * np.pi * time / (9 * 3600.0)) + 1e-5 * time
    sums = series_sums(np.stack([0.5 * wave, 7 * wave]), np.stack([wave, wave]), [3.0, 0.0], time_step=3600.0,
                       octaves=octaves)  # fmt: skip
    truth = sums.statistic("squared_truth").numpy()
    assert octaves.labels("h", 3600.0)[truth.argmax()] == "12-6 h"
    # Hann's side lobes and the trend's share of ten waves are below a thousandth; the sampled phase, some hundredths
    assert truth[truth.argmax()] == pytest.approx(0.08, rel=0.03)
    assert sums.power_ratio()[int(truth.argmax())].item() == pytest.approx(0.25, rel=1e-9)
