"""Spectra on a basin hold its energy, know its coast, and say the slope that was put in."""

import numpy as np
import pytest

from data_pipelines.basins.domain import make_domain
from data_pipelines.basins.settings import load_basin
from oceanop.constants import EARTH_RADIUS
from oceanop.grid import Grid
from oceanop.spectra import (
    BasinModes,
    basin_modes,
    frequency_power,
    shared_power,
    spectral_density,
)


def baltic(rows: int, columns: int) -> Grid:
    basin = load_basin("baltic")
    sea = basin.sea.model_copy(update={"rows": rows, "columns": columns})
    return make_domain(basin.model_copy(update={"sea": sea})).grid


def box(rows: int = 6, columns: int = 9, cell: float = 0.01) -> Grid:
    """Squares about the equator, all ocean."""
    latitude = (np.arange(rows) - (rows - 1) / 2) * cell
    longitude = np.arange(columns) * cell
    side = np.deg2rad(cell) * EARTH_RADIUS
    return Grid(
        *np.meshgrid(latitude, longitude, indexing="ij"),
        mask=np.ones((rows, columns), dtype=bool),
        cell_area=np.full((rows, columns), side**2),
    )


@pytest.fixture(scope="module")
def sea() -> tuple[Grid, BasinModes]:
    grid = baltic(2, 3)
    return grid, basin_modes(grid)


def random_field(grid: Grid, slope: float, generator: np.random.Generator) -> np.ndarray:
    """Isotropic plane waves whose energy falls as wavenumber to the power of ``-slope``, and a mean."""
    # About the middle meridian every distance east is true at its own latitude
    x = np.deg2rad(grid.longitude - 20.0) * np.cos(np.deg2rad(grid.latitude)) * EARTH_RADIUS
    y = np.deg2rad(grid.latitude) * EARTH_RADIUS
    wavenumber = np.geomspace(1 / 1500e3, 1 / 32e3, 600)
    amplitude = np.sqrt(wavenumber ** (1 - slope))  # dk grows with k where k is spread by its logarithm
    angle, phase = generator.uniform(0, 2 * np.pi, (2, wavenumber.size))
    out = np.full(grid.shape, 0.0)
    for k, a, towards, begin in zip(wavenumber, amplitude, angle, phase, strict=True):
        out += a * np.cos(2 * np.pi * k * (np.cos(towards) * x + np.sin(towards) * y) + begin)
    return out + 0.5 * np.abs(out).max()


# The coast bends what is steep: leakage of the longest waves lifts the tail, the more the steeper the slope
@pytest.mark.parametrize(("slope", "tolerance"), [(2.0, 0.15), (3.0, 0.2), (5.0, 0.9)])
def test_the_slope_that_was_put_in_comes_out_of_the_baltic(
    sea: tuple[Grid, BasinModes], slope: float, tolerance: float
) -> None:
    grid, modes = sea
    generator = np.random.default_rng(1)
    fields = np.stack([random_field(grid, slope, generator) for _ in range(12)])
    middle, density = spectral_density(modes, fields, np.geomspace(1 / 400e3, 1 / 60e3, 9))
    found = np.polyfit(np.log(middle), np.log(density.mean(0)), 1)[0]
    assert found == pytest.approx(-slope, abs=tolerance)


def test_bands_add_up_to_the_mean_square_with_all_modes_and_with_few(sea: tuple[Grid, BasinModes]) -> None:
    grid, modes = sea
    fields = np.random.default_rng(0).standard_normal((3, *grid.shape)) + 0.7
    area = np.where(grid.mask, grid.cell_area, 0.0)
    mean_square = (fields**2 * area).sum((-2, -1)) / area.sum()
    few = BasinModes(modes.wavenumber[:40], modes.shapes[:40], modes.share, modes.mask)
    for each in (modes, few):
        bands = each.band_power(fields, [1 / 400e3, 1 / 100e3])
        np.testing.assert_allclose(bands.sum(-1), mean_square, rtol=1e-12)
        assert (bands > 0).all()


def test_a_field_comes_back_from_its_coefficients(sea: tuple[Grid, BasinModes]) -> None:
    grid, modes = sea
    field = np.where(grid.mask, np.random.default_rng(2).standard_normal(grid.shape), 0.0)
    np.testing.assert_allclose(modes.fields(modes.coefficients(field)), field, atol=1e-11)


def test_what_stands_on_land_is_never_seen(sea: tuple[Grid, BasinModes]) -> None:
    grid, modes = sea
    field = np.random.default_rng(3).standard_normal(grid.shape)
    other = np.where(grid.mask, field, np.nan)
    assert np.array_equal(modes.band_power(field, [1e-5]), modes.band_power(other, [1e-5]))


def test_long_modes_are_those_of_a_coarser_grid(sea: tuple[Grid, BasinModes]) -> None:
    coarse = basin_modes(baltic(4, 6), count=8)
    ratio = coarse.wavenumber[1:] / sea[1].wavenumber[1:8]
    # Coasts and straits differ by half a cell of 37 km, in gulfs some 100 km wide
    assert np.abs(ratio - 1).max() < 0.15


def test_modes_of_a_box_are_cosines_of_the_discrete_laplacian() -> None:
    rows, columns = 6, 9
    side = np.deg2rad(0.01) * EARTH_RADIUS
    modes = basin_modes(box(rows, columns))
    along = [(2 / side * np.sin(np.pi * np.arange(n) / (2 * n))) ** 2 for n in (rows, columns)]
    exact = np.sqrt(np.sort(np.add.outer(*along).ravel())) / (2 * np.pi)
    # a thousandth of a degree of latitude shortens distances by less than 1e-7
    np.testing.assert_allclose(modes.wavenumber[1:], exact[1:], rtol=1e-6)
    assert modes.wavenumber[0] == pytest.approx(0, abs=1e-6 * exact[1])


def test_few_modes_of_many_cells_are_the_longest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = box(14, 19)
    whole = basin_modes(grid)
    monkeypatch.setattr("oceanop.spectra.DENSE_CELLS", 100)
    few = basin_modes(grid, count=12)
    np.testing.assert_allclose(few.wavenumber[1:], whole.wavenumber[1:12], rtol=1e-8)
    np.testing.assert_allclose((few.shapes * few.share) @ few.shapes.T, np.eye(12), atol=1e-9)


def test_a_number_of_modes_beyond_that_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="55 modes of a grid with 54 ocean cells are asked for"):
        basin_modes(box(), count=55)


@pytest.mark.parametrize("steps", [96, 97])
def test_a_wave_has_its_power_at_its_frequency(steps: int) -> None:
    hours = np.arange(steps)
    wave = 0.3 * np.cos(2 * np.pi * hours / 12) + 5.0
    frequency, power = frequency_power(wave[:, None], 3600.0)
    assert frequency[power[:, 0].argmax()] == pytest.approx(1 / (12 * 3600), abs=0.5 / (steps * 3600))
    # A Hann window weighs a whole number of periods by its own mean square exactly
    assert power.sum() == pytest.approx(0.3**2 / 2, rel=1e-10 if steps == 96 else 0.02)


def test_spectra_share_all_of_themselves_and_half_of_their_double() -> None:
    power = np.random.default_rng(0).random((5, 4))
    assert shared_power(power, power) == 1.0
    assert shared_power(2 * power, power) == pytest.approx(0.5)
    assert shared_power(power, 2 * power) == pytest.approx(0.5)
    assert shared_power([1.0, 0.0], [0.0, 1.0]) == 0.0
