"""A wave lies on its bin, energy is neither made nor lost, and noise lies near the curves by chance alone."""

import numpy as np
import pytest
import torch

from oceanop.dispersion import (
    HALF_WIDTH,
    Spectrum,
    energy_spectrum,
    kelvin_frequency,
    kernel_norm,
    near_curves,
    poincare_frequency,
    share_by_chance,
    share_on_curves,
    spectrum,
)
from oceanop.operators.spectral import SpectralConv

HOUR, CELL = 3600.0, 25e3
STEPS, COLUMNS = 120, 24


def wave(
    period: float, number: int, *, phase: float = 0.3, steps: int = STEPS, columns: int = COLUMNS
) -> np.ndarray:
    """``cos(k x - omega t + phase)``, period in steps, so many wavelengths in the length."""
    t, x = np.arange(steps)[:, None], np.arange(columns)[None]
    return np.cos(2 * np.pi * (number * x / columns - t / period) + phase)


def of(field: np.ndarray) -> Spectrum:
    return spectrum(field, time_step=HOUR, spacing=CELL)


def place(result: Spectrum) -> tuple[int, int]:
    """Bins of frequency and wavelengths in the length at which the power is largest."""
    row, column = np.unravel_index(result.power.argmax(), result.power.shape)
    return int(row), round(result.wavenumber[column] * COLUMNS * CELL / (2 * np.pi))


@pytest.mark.parametrize("number", [3, -3, 0, 11])
def test_a_wave_lies_on_its_bin_and_its_two_neighbours_alone(number: int) -> None:
    result = of(wave(STEPS / 20, number))
    assert place(result) == (20, number)
    assert result.frequency[20] == pytest.approx(2 * np.pi * 20 / (STEPS * HOUR))
    # A Hann window is three lines, 1/2 and twice -1/4: of the power 2/3 and twice 1/6.
    column = int(np.argmax(result.power[20]))
    expected = np.zeros_like(result.power)
    expected[19:22, column] = np.array([1 / 6, 2 / 3, 1 / 6]) / 2
    np.testing.assert_allclose(result.power, expected, atol=1e-15)


@pytest.mark.parametrize("shape", [(120, 24), (121, 25), (30, 7, 24), (31, 3, 9)])
def test_the_power_adds_up_to_the_mean_square_under_the_window(shape: tuple[int, ...]) -> None:
    field = np.random.default_rng(0).normal(1.0, 1.0, shape)
    window = np.sin(np.pi * np.arange(shape[0]) / shape[0]) ** 2
    weight = (window**2 / np.mean(window**2)).reshape(-1, *(1 for _ in shape[1:]))
    assert of(field).power.sum() == pytest.approx(np.mean(weight * field**2), rel=1e-12)


def test_a_steady_wave_keeps_its_mean_square_at_any_period() -> None:
    # A progressive wave has the mean square 1/2 along x at each time, so that the window cannot change it.
    for period in (5.3, 9.87, 31.4):
        assert of(wave(period, 2)).power.sum() == pytest.approx(0.5, rel=1e-12)


def test_a_shift_in_space_or_phase_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    field = rng.normal(size=(STEPS, 3, COLUMNS))
    np.testing.assert_allclose(of(np.roll(field, 5, axis=-1)).power, of(field).power, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(of(wave(7.1, 4, phase=2.0)).power, of(wave(7.1, 4)).power, rtol=0, atol=1e-15)


def test_a_mirror_along_x_turns_the_sign_of_the_wavenumber() -> None:
    field = np.random.default_rng(2).normal(size=(STEPS, 25))
    np.testing.assert_allclose(of(field[:, ::-1]).power, of(field).power[:, ::-1], rtol=1e-9, atol=1e-15)


def test_a_standing_wave_is_split_evenly_in_two() -> None:
    result = of(wave(6.0, 5) + wave(6.0, -5))
    east, west = (result.power[:, side].sum() for side in (result.wavenumber > 0, result.wavenumber < 0))
    assert east == pytest.approx(0.5, rel=1e-12)
    assert west == pytest.approx(0.5, rel=1e-12)


def test_what_does_not_move_stands_at_frequency_zero() -> None:
    result = of(wave(np.inf, 3))
    # Two lines of the window, at 0 and one bin beside it on either side, which fold onto each other.
    assert result.power[:2].sum() == pytest.approx(result.power.sum(), rel=1e-12)


@pytest.mark.parametrize("steps", [240, 241])
def test_white_noise_has_the_share_of_the_area(steps: int) -> None:
    rng = np.random.default_rng(3)
    shares, curves = [], None
    for _ in range(40):
        result = of(rng.normal(size=(steps, COLUMNS)))
        assert result.noise.sum() * COLUMNS == pytest.approx(1.0, rel=1e-12)
        curves = [kelvin_frequency(result.wavenumber, depth=30.0)]
        shares.append(share_on_curves(result, curves))
    assert curves is not None
    chance = share_by_chance(result, curves)
    # Four bins lie within two of a curve that passes between bins, at 8 wavenumbers up to the last frequency; each
    # holds two waves. At wavenumber 0 the curve passes through frequency 0: one wave there, four in two bins above.
    assert chance == pytest.approx((8 * 4 * 2 + 5) / (steps * COLUMNS), rel=1e-12)
    # Five standard deviations of the mean of 40 draws
    assert abs(np.mean(shares) - chance) < 5 * np.std(shares) / np.sqrt(40)


def test_a_wave_between_two_bins_stays_within_the_half_width_of_the_window() -> None:
    for offset in (0.0, 0.25, 0.5):
        period = STEPS / (20 + offset)
        result = of(wave(period, 3))
        curve = np.full(COLUMNS, 2 * np.pi / (period * HOUR))
        # Harris 1978: the side lobes of Hann's window hold less than 0.1 % of the power.
        assert share_on_curves(result, [curve], HALF_WIDTH) > 0.999
        assert share_on_curves(result, [curve + 5 * result.frequency[1]], HALF_WIDTH) < 0.001


def test_a_curve_that_ends_counts_only_where_it_is() -> None:
    result = of(wave(6.0, 3))
    curve = np.full(COLUMNS, 2 * np.pi / (6 * HOUR))
    absent = np.where(result.wavenumber > 0, np.nan, curve)
    assert share_on_curves(result, [curve]) == pytest.approx(1.0, rel=1e-12)
    assert share_on_curves(result, [absent]) == pytest.approx(0.0, abs=1e-12)
    assert near_curves(result, [curve, absent]).sum() == 5 * COLUMNS


def test_energy_is_that_of_level_and_current() -> None:
    rng = np.random.default_rng(4)
    level, east, north = (rng.normal(size=(STEPS, 2, COLUMNS)) for _ in range(3))
    energy = energy_spectrum(level, east, north, depth=30.0, time_step=HOUR, spacing=CELL, gravity=10.0)
    sums = [of(field).power.sum() for field in (level, east, north)]
    assert energy.power.sum() == pytest.approx(5 * sums[0] + 15 * (sums[1] + sums[2]), rel=1e-12)


def test_frequencies_are_those_of_the_textbook() -> None:
    k = 2 * np.pi / 1000e3
    # c = sqrt(9.81 m s-2 x 40 m) = 19.81 m s-1: 1000 km in 14.02 h
    assert 2 * np.pi / kelvin_frequency(k, depth=40.0) / HOUR == pytest.approx(14.023, abs=1e-3)
    assert kelvin_frequency(-k, depth=40.0) == kelvin_frequency(k, depth=40.0)
    options = {"depth": 40.0, "width": 400e3, "coriolis_parameter": 1.2e-4, "gravity": 9.81}
    squared = 1.2e-4**2 + 9.81 * 40 * (k**2 + (2 * np.pi / 400e3) ** 2)
    assert poincare_frequency(k, 2, **options) == pytest.approx(np.sqrt(squared), rel=1e-14)
    # Without depth only rotation is left: inertial oscillation.
    assert poincare_frequency(k, 1, **options | {"depth": 0.0}) == pytest.approx(1.2e-4)


@pytest.mark.parametrize("modes", [(8, 4, 6), (7, 4, 6)])
def test_a_kernel_of_one_mode_passes_the_wave_that_its_norm_names_and_no_other(
    modes: tuple[int, int, int],
) -> None:
    conv = SpectralConv(1, 1, modes).double()
    times, rows, columns = 12, 5, 10
    for row, column in ((1, 1), (2, 3), (len(conv.weight) - 1, 2)):
        conv.weight.data.zero_()
        conv.weight.data[row, modes[1] // 2, column, 0, 0] = torch.tensor([3.0, 4.0])
        norm, frequency, wavenumber = kernel_norm(
            conv.weight.detach(), window=times * HOUR, length=columns * CELL
        )
        place = np.unravel_index(norm.argmax(), norm.shape)
        assert norm[place] == pytest.approx(5.0)
        assert np.count_nonzero(norm) == 1
        period = 2 * np.pi / frequency[place[0]] / HOUR
        number = round(wavenumber[place[1]] * columns * CELL / (2 * np.pi))
        passed = []
        for sign in (1, -1):
            field = wave(period, sign * number, steps=times, columns=columns)
            x = torch.from_numpy(field)[None, :, None, :, None].expand(1, times, rows, columns, 1)
            passed.append(float(conv(x).detach().square().mean()))
        # Half of the wave's two exponentials is kept and made real again: the gain is the weight's modulus.
        assert passed[0] == pytest.approx(25 * 0.5, rel=1e-9)
        assert passed[1] == pytest.approx(0.0, abs=1e-20)


def test_what_cannot_be_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="Poincare mode is 0; they count from 1"):
        poincare_frequency(1e-5, 0, depth=40.0, width=4e5, coriolis_parameter=1e-4)
    with pytest.raises(ValueError, match=r"shape \(24,\); expected \[time, x\] or \[time, y, x\]"):
        of(np.zeros(24))
    with pytest.raises(ValueError, match="not finite; leave out land rows"):
        of(np.full((12, 8), np.nan))
    with pytest.raises(ValueError, match="holds no power"):
        share_on_curves(of(np.zeros((12, 8))), [np.zeros(8)])
