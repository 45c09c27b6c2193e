"""The model's waves beside exact ones: seiches, Kelvin and Poincare waves, and what is left of a step."""

import numpy as np
import pytest

from oceanop.constants import GRAVITY
from oceanop.dispersion import spectrum
from oceanop.dynamics.forcing import Air
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import OpenBoundary
from oceanop.dynamics.shallow_water import ShallowWaterModel
from oceanop.dynamics.state import State
from oceanop.waves import SOUTH, Wave, WaveChannel, superpose

HOUR = 3600.0
# Rossby's radius is 202 km
CHANNEL = WaveChannel(length=2000e3, width=500e3, depth=41.6, coriolis_parameter=1e-4)


def frequency(amplitudes: np.ndarray, interval: float) -> float:
    """Of a complex amplitude that turns as ``exp(-i omega t)``, by the slope of its phase."""
    phase = np.unwrap(np.angle(amplitudes))
    return float(-np.polyfit(np.arange(phase.size) * interval, phase, 1)[0])


def seiche_period(spacing: float) -> float:
    grid = CGrid.rectangle(length=400e3, width=2 * spacing, depth=50, spacing=spacing)
    step = 0.6 * grid.longest_time_step()
    model = ShallowWaterModel(grid, friction=0, dtype="float64", time_step=step, forcing_interval=10 * step)
    x = (np.arange(grid.shape[1]) + 0.5) * spacing
    shape = np.cos(np.pi * x / 400e3)
    shown = model.run(
        model.state(np.broadcast_to(shape, grid.shape)), round(4e5 / step / 10) * 10 * step, every=10 * step
    )
    # The level keeps this shape and the current a sine's; together they turn in a circle.
    circle = [
        s.zos[0, 0] @ shape - 1j * np.sqrt(50 / GRAVITY) * (s.ubar[0, 0] @ np.sin(np.pi * x / 400e3))
        for s in shown
    ]
    return 2 * np.pi / frequency(np.array(circle), 10 * step)


def test_a_seiche_has_merians_period_to_second_order() -> None:
    exact = 2 * 400e3 / np.sqrt(GRAVITY * 50)
    errors = {spacing: seiche_period(spacing) / exact - 1 for spacing in (20e3, 10e3, 5e3)}
    assert abs(errors[10e3]) < 3e-4  # (k dx)^2 / 24 = 2.6e-4, and the time step takes some of it back
    for coarse, fine in ((20e3, 10e3), (10e3, 5e3)):
        assert np.log2(errors[coarse] / errors[fine]) > 1.8


def wave_frequency(wave: Wave, spacing: float) -> float:
    """Frequency in the model, begun from the exact wave, over four of its periods."""
    channel = wave.channel
    grid = CGrid.rectangle(
        length=channel.length,
        width=channel.width,
        depth=channel.depth,
        spacing=spacing,
        coriolis_parameter=channel.coriolis_parameter,
        periodic=True,
    )
    model = ShallowWaterModel(grid, friction=0, dtype="float64")
    rows, columns = grid.shape
    y, x = (np.arange(rows) + 0.5) * spacing, (np.arange(columns) + 0.5) * spacing
    half = spacing / 2
    # The model's currents are those half a step later.
    later = [model.time_step / 2]
    start = State(
        superpose([wave], [1.0], time=[0.0], y=y, x=x)[0],
        superpose([wave], [1.0], time=later, y=y, x=x + half)[1],
        superpose([wave], [1.0], time=later, y=y + half, x=x)[2] * grid.north,
    )
    pattern = np.exp(-1j * wave.wavenumber * x) * np.conj(wave.structure(y)[0])[:, None]
    count = int(np.ceil(4 * 2 * np.pi / wave.frequency / HOUR))
    amplitudes = [np.sum(pattern * snapshot.zos[0]) for snapshot in model.run(start, count * HOUR)]
    return frequency(np.array(amplitudes), HOUR)


@pytest.mark.parametrize(
    ("kind", "number", "limit"),
    [
        (SOUTH, 2, 5e-4),
        (1, 1, 2e-3),
        (1, -3, 2e-3),
        (2, 2, 2e-3),
    ],
)
def test_kelvin_and_poincare_waves_turn_as_fast_as_exact_ones(
    kind: str | int, number: int, limit: float
) -> None:
    """On cells of 10 km, a twentieth of Rossby's radius."""
    wave = Wave(CHANNEL, kind, number)
    assert abs(wave_frequency(wave, 10e3) / wave.frequency - 1) < limit


@pytest.mark.parametrize(("kind", "number"), [(SOUTH, 4), (1, 2), (1, -3), (2, 2)])
def test_their_error_falls_by_four_a_halving(kind: str | int, number: int) -> None:
    wave = Wave(CHANNEL, kind, number)
    coarse, fine = (wave_frequency(wave, spacing) / wave.frequency - 1 for spacing in (25e3, 12.5e3))
    # The next term is (k dx)^4, a few hundredths; how the hour divides moves the time step's share.
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.15)


def test_a_channel_that_a_random_wind_has_shaken_rings_on_its_dispersion_curves() -> None:
    channel = WaveChannel(length=1200e3, width=400e3, depth=40.0, coriolis_parameter=1.2e-4)
    spacing, shaken, days = 12.5e3, 48, 40
    grid = CGrid.rectangle(
        length=channel.length,
        width=channel.width,
        depth=channel.depth,
        spacing=spacing,
        coriolis_parameter=channel.coriolis_parameter,
        periodic=True,
    )
    rows, columns = grid.shape
    y, x = (np.arange(rows) + 0.5) * spacing, (np.arange(columns) + 0.5) * spacing
    numbers, across = np.arange(1, 5), np.arange(3)
    waves = np.exp(2j * np.pi * np.outer(numbers, x) / channel.length)
    shapes = np.cos(np.pi * np.outer(across, y) / channel.width)
    draws = np.random.default_rng(3).normal(size=(2, shaken, 4, 3, 2)) @ np.array([1, 1j])
    stresses = 0.05 * np.real(np.einsum("dtka,kx,ay->dtyx", draws, waves, shapes))

    def wind(time: float) -> Air:
        hour = round(time / HOUR)
        return Air(*stresses[:, hour]) if hour < shaken else Air(*np.zeros((2, *grid.shape)))

    model = ShallowWaterModel(grid, friction=0)
    (after,) = model.run(model.at_rest(), shaken * HOUR, forcing=wind, every=shaken * HOUR)
    shown = list(model.run(after.state, days * 24 * HOUR))
    wall = spectrum(np.stack([s.zos[0, 0] for s in shown]), time_step=HOUR, spacing=spacing)
    mode = np.sin(np.pi * y / channel.width)
    middle = spectrum(np.stack([mode @ s.vbar[0] for s in shown]), time_step=HOUR, spacing=spacing)
    bin_width = wall.frequency[1]
    for number in numbers:
        k = 2 * np.pi * number / channel.length
        kelvin, first, second = (float(curve) for curve in channel.frequencies(k, 2))
        column = np.abs(wall.wavenumber - k).argmin()
        # A Kelvin wave owns the southern wall below the others' frequencies, the first Poincare wave the middle.
        for of, exact, low, high in (
            (wall, kelvin, 0.0, (kelvin + first) / 2),
            (middle, first, (kelvin + first) / 2, (first + second) / 2),
        ):
            within = (of.frequency > low) & (of.frequency < high)
            ridge = of.frequency[within][of.power[within, column].argmax()]
            # Within one bin: of the two beside the exact frequency the farther one lies up to one bin off.
            assert abs(ridge - exact) <= bin_width, (number, exact)


def test_a_step_of_the_level_leaves_rossbys_adjusted_front() -> None:
    """Gill, Atmosphere-Ocean Dynamics, 1982, section 7.2: one third of the released energy stays."""
    f, depth, height, spacing = 1e-4, 41.6, 0.5, 10e3
    radius = np.sqrt(GRAVITY * depth) / f
    grid = CGrid.plane(np.full((1200, 3), depth), dx=spacing, dy=spacing, coriolis_parameter=f, periodic=True)
    model = ShallowWaterModel(
        grid,
        friction=0,
        boundary=OpenBoundary.along(
            grid,
            "south",
            "north",
            kind="flather",
            level=lambda times: np.tile(np.repeat([-height, height], 3), (times.size, 1)),
        ),
    )
    y = (np.arange(1200) + 0.5 - 600) * spacing
    start = model.state(np.repeat(height * np.sign(y)[:, None], 3, axis=1))
    shown = list(model.run(start, 20 * 24 * HOUR))
    # What has not left yet turns with the inertial period of 17.45 h: a mean over eleven of them is rid of it.
    late = shown[-round(11 * 2 * np.pi / f / HOUR) :]
    level = np.mean([s.zos[0, :, 1] for s in late], axis=0)
    current = np.mean([s.ubar[0, :, 1] for s in late], axis=0)
    near = np.abs(y) < 8 * radius
    front = height * np.sign(y) * (1 - np.exp(-np.abs(y) / radius))
    jet = -GRAVITY * height / (f * radius) * np.exp(-np.abs(y) / radius)
    assert np.sqrt(np.mean((level - front)[near] ** 2)) < 0.01 * height
    assert np.sqrt(np.mean((current - jet)[near] ** 2)) < 0.01 * np.abs(jet).max()
    released = GRAVITY / 2 * np.sum((height**2 - level**2)[near])
    kept = depth / 2 * np.sum(current[near] ** 2)
    assert 0.32 < kept / released < 0.35
