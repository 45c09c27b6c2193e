"""Free oscillations of basins whose periods are known, by formula, by the model itself and by gauges."""

import numpy as np
import pytest
from scipy.signal import find_peaks

from data_pipelines.basins.sea_floor import baltic
from oceanop.constants import GRAVITY
from oceanop.dispersion import poincare_frequency
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.modes import DAMPING, modes, response
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.stencil import WATER_DENSITY

HOUR = 3600.0
# Wuebber and Krauss, Dtsch. Hydrogr. Z. 32, 1979, have 31.0, 26.4, 22.4, 19.8, 17.1 and 13.0 h with rotation.
BANDS = ((29, 33), (25.5, 28), (21, 22.5), (18.5, 20), (16, 18), (12.9, 13.5))
STATIONS = {
    "Kronstadt": (60.0, 29.5),
    "Warnemünde": (54.2, 12.1),
    "Landsort": (58.75, 17.9),
    "Kemi": (65.6, 24.5),
    "Pärnu": (58.3, 24.4),
}


def test_a_rectangles_seiches_are_those_of_the_formula() -> None:
    length, width = 400e3, 150e3
    grid = CGrid.rectangle(length=length, width=width, depth=50, spacing=10e3)
    found = modes(grid, near=8 * HOUR, count=5)
    assert len(found) >= 2
    speed = np.sqrt(GRAVITY * 50)
    # On the grid a wave of wavenumber k has 2 / dx sin(k dx / 2).
    numbers = [(m, n) for m in range(5) for n in range(3) if m or n]
    along, across = (
        2 / 10e3 * np.sin(np.array([pair[axis] for pair in numbers]) * np.pi / size * 5e3)
        for axis, size in ((0, length), (1, width))
    )
    exact = 2 * np.pi / (speed * np.hypot(along, across))
    for mode in found:
        assert np.abs(mode.period / exact - 1).min() < 1e-9
        assert mode.potential_share == pytest.approx(0.5, abs=1e-9)
        assert np.abs(mode.zos).max() == pytest.approx(1)


def test_a_channels_modes_lie_on_the_curves_of_poincare_and_kelvin() -> None:
    sizes = {"depth": 40.0, "width": 400e3, "coriolis_parameter": 1.2e-4}
    grid = CGrid.rectangle(length=1000e3, spacing=20e3, periodic=True, **sizes)
    numbers = 2 * np.pi * np.arange(-3, 4) / 1000e3
    exact = np.concatenate(
        [np.sqrt(GRAVITY * 40) * numbers[4:]]
        + [poincare_frequency(numbers, mode, **sizes) for mode in (1, 2)]
    )
    for mode in modes(grid, near=7 * HOUR, count=8):
        if mode.potential_share > 0.1:
            # Cells of 20 km: (k dx)^2 / 24 and a rotation averaged over four sides, together below a hundredth
            assert np.abs(2 * np.pi / mode.period / exact - 1).min() < 0.01


def test_the_model_swings_with_its_modes_period(rough_basin: CGrid) -> None:
    slow = [mode for mode in modes(rough_basin, near=2 * HOUR, count=4) if mode.potential_share > 0.3]
    mode = max(slow, key=lambda one: one.period)
    step = rough_basin.longest_time_step() / 20
    model = ShallowWaterModel(
        rough_basin, friction=0, time_step=step, forcing_interval=10 * step, dtype="float64"
    )
    start = model.state(mode.zos.real)
    count = int(12 * mode.period / (10 * step))
    shown = list(model.run(start, count * 10 * step, every=10 * step))
    # The start has the mode's level but not its current: others swing beside it, and the mode is what stands out.
    area = rough_basin.area[:, None] * mode.zos.conj()
    record = np.array([np.sum(area * s.zos[0]) for s in shown]) * np.hanning(count)
    power = np.abs(np.fft.fft(record, 64 * count)) ** 2
    frequency = np.abs(np.fft.fftfreq(64 * count, 10 * step)[power.argmax()])
    assert 1 / frequency == pytest.approx(mode.period, rel=0.02)  # a record of twelve periods


def test_far_from_all_modes_the_answer_is_a_damped_set_up() -> None:
    """So slow that the slope balances the wind: ``tau / (rho g h)``."""
    grid = CGrid.rectangle(length=400e3, width=50e3, depth=50, spacing=10e3)
    level = response(grid, [4000 * HOUR], stress=(0.25, 0.0))[0]
    slope = np.polyfit((np.arange(40) + 0.5) * 10e3, level[2].real, 1)[0]
    assert slope == pytest.approx(0.25 / (WATER_DENSITY * GRAVITY * 50), rel=1e-3)
    both = response(grid, [4000 * HOUR], stress=[(0.25, 0.0), (0.0, 0.5)])
    np.testing.assert_allclose(both[0, 0], level, atol=1e-12)
    assert both.shape == (1, 2, 5, 40)


def test_a_damped_basin_answers_most_at_its_modes_period() -> None:
    grid = CGrid.rectangle(length=400e3, width=50e3, depth=50, spacing=10e3)
    period = max(mode.period for mode in modes(grid, near=10 * HOUR, count=2))
    around = period * np.linspace(0.97, 1.03, 61)
    answer = np.abs(response(grid, around)[:, 2, 0])
    assert around[answer.argmax()] == pytest.approx(period, rel=1e-3)
    # A resonance of quality omega / damping is that many times narrower than its frequency.
    half = around[answer > answer.max() / np.sqrt(2)]
    assert np.ptp(half) / period == pytest.approx(DAMPING * period / (2 * np.pi), rel=0.1)


def peaks(grid: CGrid, boundary: OpenBoundary | None) -> np.ndarray:
    """Periods, h, at which one of the gauges stands out by a third, under a wind from west or south."""
    periods = np.exp(np.linspace(np.log(12), np.log(36), 80))
    levels = np.abs(response(grid, periods * HOUR, stress=np.eye(2), boundary=boundary))
    row, column = np.nonzero(grid.wet)
    assert grid.latitude is not None
    assert grid.longitude is not None
    found = []
    for north, east in STATIONS.values():
        distance = np.hypot(grid.latitude[row] - north, 0.5 * (grid.longitude[column] - east))
        nearest = distance.argmin()
        for wind in (0, 1):
            curve = np.log(levels[:, wind, row[nearest], column[nearest]])
            found.append(periods[find_peaks(curve, prominence=0.3)[0]])
    return np.concatenate(found)


def assert_bands(found: np.ndarray) -> None:
    for low, high in BANDS:
        assert ((found >= low) & (found <= high)).any(), (low, high, np.sort(found))
    # The peaks stand in the bands, not everywhere: below 36 h, the bands have half of the axis of periods.
    inside = np.any([(found >= low) & (found <= high) for low, high in BANDS], axis=0)
    assert inside.mean() > 0.6


def test_the_baltic_open_at_9_east_has_the_seiches_of_its_gauges(baltic_grid: CGrid) -> None:
    assert_bands(peaks(baltic_grid, OpenBoundary.along(baltic_grid, "west")))


@pytest.mark.slow
def test_so_has_the_fine_baltic(fine_baltic_grid: CGrid) -> None:
    assert_bands(peaks(fine_baltic_grid, OpenBoundary.along(fine_baltic_grid, "west")))


def test_without_rotation_and_straits_the_fine_baltic_has_the_gauges_27_6_hours() -> None:
    """Neumann, Ann. Hydrogr. 69, 1941, from gauges; the Belts are closed at 55.5 N here, the Sound with them."""
    floor = baltic(1, 2)
    outside = (floor["latitude"] > 55.5) & (floor["longitude"] < 13)
    wet = (floor["mask"] > 0) & ~outside
    grid = CGrid.sphere(
        floor["latitude"], floor["longitude"], floor["deptho"], wet=wet.to_numpy(), coriolis=False
    )
    found = np.array([mode.period / HOUR for mode in modes(grid, near=28 * HOUR, count=4)])
    assert np.abs(found / 27.6 - 1).min() < 0.015, found  # where the Belts end moves it by 1 %
