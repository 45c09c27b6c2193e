"""The exact waves solve the equations, keep the walls and their energy, and lie on their dispersion curves."""

import numpy as np
import pytest

from oceanop.dispersion import energy_spectrum, share_by_chance, share_on_curves
from oceanop.waves import NORTH, SOUTH, Wave, WaveChannel, free_waves, random_amplitudes, superpose

CHANNEL = WaveChannel(length=1200e3, width=400e3, depth=20.0, coriolis_parameter=1.2e-4)
HOUR = 3600.0


def waves_of(channel: WaveChannel = CHANNEL) -> list[Wave]:
    return free_waves(channel, highest_mode=3, shortest_period=4.5 * HOUR)


def residual(waves: list[Wave], amplitudes: np.ndarray, refine: int) -> float:
    """Largest root mean square of what the three equations leave, over that of their largest term."""
    channel = waves[0].channel
    dy, dx, dt = channel.width / (16 * refine), channel.length / (48 * refine), 900.0 / refine
    y, x = np.arange(1, 16 * refine) * dy, np.arange(48 * refine) * dx
    g, depth, f = channel.gravity, channel.depth, channel.coriolis_parameter
    before, now, after = np.moveaxis(
        superpose(waves, amplitudes, time=[3e4 - dt, 3e4, 3e4 + dt], y=np.r_[0.0, y, channel.width], x=x),
        1,
        0,
    )
    by_t = (after - before)[:, 1:-1] / (2 * dt)
    by_x = (np.roll(now, -1, -1) - np.roll(now, 1, -1))[:, 1:-1] / (2 * dx)
    by_y = (now[:, 2:] - now[:, :-2]) / (2 * dy)
    inner = now[:, 1:-1]
    equations = [
        [by_t[1], -f * inner[2], g * by_x[0]],
        [by_t[2], f * inner[1], g * by_y[0]],
        [by_t[0], depth * by_x[1], depth * by_y[2]],
    ]
    size = [max(np.sqrt(np.mean(term**2)) for term in terms) for terms in equations]
    left = [np.sqrt(np.mean(sum(terms) ** 2)) for terms in equations]
    return max(rest / whole for rest, whole in zip(left, size, strict=True))


@pytest.mark.parametrize("kind", [SOUTH, NORTH, 1, 2, 3])
def test_each_wave_solves_the_equations_to_second_order(kind: str | int) -> None:
    for number in (2,) if kind == SOUTH else (-2,) if kind == NORTH else (-2, 0, 3):
        coarse, fine, finest = (
            residual([Wave(CHANNEL, kind, number)], np.array([1.0]), n) for n in (1, 2, 4)
        )
        # Centred differences: the error falls by 4 a halving, and the next term by 16.
        assert coarse / fine == pytest.approx(4, abs=0.25)
        assert fine / finest == pytest.approx(4, abs=0.07)


def test_a_superposition_solves_them_too() -> None:
    waves = waves_of()
    amplitudes = random_amplitudes(waves, energy=1.0, slope=-2.0, seed=0)
    errors = [residual(waves, amplitudes, n) for n in (2, 4)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)


def test_no_water_crosses_a_wall() -> None:
    waves = waves_of()
    amplitudes = random_amplitudes(waves, energy=1.0, slope=0.0, seed=0)
    state = superpose(
        waves, amplitudes, time=np.arange(5) * 7e3, y=[0.0, CHANNEL.width], x=np.arange(9) * 1e5
    )
    # sin(n pi) in float64 beside currents of order 0.1 m s-1
    assert np.abs(state[2]).max() < 1e-15
    assert np.abs(state[1]).max() > 0.01


def energy_of(state: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean energy over the channel at each time; rows at Gauss's points."""
    density = (CHANNEL.gravity * state[0] ** 2 + CHANNEL.depth * (state[1] ** 2 + state[2] ** 2)) / 2
    return density.mean(-1) @ weights / 2


def test_the_energy_is_constant_and_that_of_the_amplitudes() -> None:
    waves = waves_of()
    amplitudes = random_amplitudes(waves, energy=2.0, slope=-1.0, seed=3)
    points, weights = np.polynomial.legendre.leggauss(48)
    y, x = CHANNEL.width * (points + 1) / 2, np.arange(48) * CHANNEL.length / 48
    energy = energy_of(superpose(waves, amplitudes, time=np.arange(40) * 5e3, y=y, x=x), weights)
    # The waves are orthogonal in energy: what is left is rounding.
    np.testing.assert_allclose(energy, np.sum(np.abs(amplitudes) ** 2), rtol=1e-12)


def test_kelvin_waves_keep_the_wall_on_their_right_and_poincare_waves_turn_both_ways() -> None:
    waves = waves_of()
    assert {np.sign(wave.number) for wave in waves if wave.kind == SOUTH} == {1}
    assert {np.sign(wave.number) for wave in waves if wave.kind == NORTH} == {-1}
    assert {wave.number for wave in waves if wave.kind == 1} == set(range(-4, 5))
    south = np.abs(Wave(CHANNEL, SOUTH, 2).structure([0.0, CHANNEL.wave_speed / CHANNEL.coriolis_parameter]))
    assert south[0, 1] / south[0, 0] == pytest.approx(np.exp(-1), rel=1e-12)


def test_all_waves_are_as_slow_as_asked_and_none_is_forgotten() -> None:
    waves = waves_of()
    assert max(wave.frequency for wave in waves) <= 2 * np.pi / (4.5 * HOUR)
    assert len(set(waves)) == len(waves)
    for kind in (SOUTH, NORTH, 1, 2, 3):
        mine = {wave.number for wave in waves if wave.kind == kind}
        beyond = (
            [max(mine) + 1]
            if kind == SOUTH
            else [min(mine) - 1]
            if kind == NORTH
            else [max(mine) + 1, min(mine) - 1]
        )
        assert all(Wave(CHANNEL, kind, number).frequency > 2 * np.pi / (4.5 * HOUR) for number in beyond)


def test_random_waves_have_the_energy_asked_for_and_their_seed_decides() -> None:
    waves = waves_of()
    energies = [
        np.abs(random_amplitudes(waves, energy=3.0, slope=-2.0, seed=[7, draw])) ** 2 for draw in range(400)
    ]
    # |a|^2 is exponential: its standard deviation is its mean. Five standard deviations of the mean of 400 draws.
    frequency = np.array([wave.frequency for wave in waves])
    expected = 3.0 * frequency**-2 / np.sum(frequency**-2)
    assert np.all(np.abs(np.mean(energies, 0) - expected) < 5 * expected / np.sqrt(400))
    assert np.array_equal(
        random_amplitudes(waves, energy=3.0, slope=0.0, seed=1),
        random_amplitudes(waves, energy=3.0, slope=0.0, seed=1),
    )


def test_their_energy_lies_on_the_dispersion_curves() -> None:
    waves = waves_of()
    amplitudes = random_amplitudes(waves, energy=1.0, slope=-2.0, seed=5)
    y, x = (np.arange(16) + 0.5) * 25e3, np.arange(48) * 25e3
    state = superpose(waves, amplitudes, time=np.arange(240) * HOUR, y=y, x=x)
    energy = energy_spectrum(*state, depth=CHANNEL.depth, time_step=HOUR, spacing=25e3)
    curves = CHANNEL.frequencies(energy.wavenumber, 3)
    # Harris 1978: less than 0.1 % leaks out of the main lobe of Hann's window.
    assert share_on_curves(energy, curves) > 0.999
    assert share_by_chance(energy, curves) < 0.2


def test_a_channel_without_slow_waves_is_refused() -> None:
    with pytest.raises(ValueError, match="no wave with a period of 40 h or more"):
        free_waves(CHANNEL, highest_mode=2, shortest_period=40 * HOUR)
