"""Onto another grid: a constant stays, and what is in the sea; no fold or seam is seen; weights are made once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import xarray as xr

from data_pipelines import ingest, open_store
from data_pipelines.conservative import shared_areas
from data_pipelines.grid_change import GridChange, read_grid
from data_pipelines.positions import Positions, from_sphere, on_sphere
from data_pipelines.regrid import bilinear_weights
from oceanop.constants import EARTH_RADIUS
from tests.data_pipelines.test_nemo import ring

Writer = Callable[..., Path]
LEVEL = "sea_surface_height_above_geoid"


def turned(rows: int, columns: int, step: float, angle: float = 30.0) -> Positions:
    """A grid around 57 N, 12 E whose rows run at an angle to the parallels."""
    y, x = np.meshgrid(
        step * (np.arange(rows) - rows / 2), step * (np.arange(columns) - columns / 2), indexing="ij"
    )
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return Positions(57 + cosine * y + sine * x, 12 + 1.8 * (cosine * x - sine * y))


STEP = 0.15  # between ellipses around the line from pole to pole


def tripolar(columns: int = 24, rows: int = 12, *, pivot: str = "F", halo: bool = False) -> Positions:
    """A cap of the sphere as ORCA grids tile it, folded along a line between two poles at 60 N.

    The fold lies between cells (F) or along the last row (T); ``halo`` adds the row that the model adds beyond it.
    """
    offset = 0.5 if pivot == "F" else 0.0
    turn = (np.arange(columns) + offset) * 2 * np.pi / columns
    away = (rows - 1 + offset - np.arange(rows + halo)) * STEP
    # Ellipses that shrink to the line from -1 to 1, brought to the sphere by a stereographic map
    z = np.tan(np.deg2rad(15)) * np.cosh(away[:, None] + 1j * turn)
    return Positions(*from_sphere(np.stack([2 * z.real, 2 * z.imag, 1 - np.abs(z) ** 2], -1)))


def area_within(edge: float) -> float:
    """Of the sphere inside one of these ellipses, m2, by quadrature of the map's scale."""
    away, turn = np.meshgrid((np.arange(2000) + 0.5) / 2000 * edge, (np.arange(200) + 0.5) / 200 * 2 * np.pi)
    scale, w = np.tan(np.deg2rad(15)), np.cosh(away + 1j * turn)
    density = 4 * scale**2 * np.abs(np.sinh(away + 1j * turn)) ** 2 / (1 + scale**2 * np.abs(w) ** 2) ** 2
    return float(density.mean() * edge * 2 * np.pi * EARTH_RADIUS**2)


def test_cells_cut_by_others_keep_their_area() -> None:
    """A turned grid of cells of any shape within a finer and a coarser one that cover it, to rounding."""
    source = turned(20, 24, 0.1)
    for step in (0.04, 0.27):
        target = turned(int(6 / step), int(6 / step), step, angle=-10.0)
        areas = shared_areas(source, target)
        np.testing.assert_allclose(areas.sum(0), source.cell_area.ravel(), rtol=1e-11)  # of cells of 1e-3 rad


def test_a_constant_and_the_integral_stay_whatever_is_land() -> None:
    random = np.random.default_rng(0)
    source, target = turned(30, 36, 0.1), turned(40, 40, 0.21, angle=0.0)
    change = change_between(source, target, "conservative")
    wet = random.random(source.shape) > 0.3
    field = np.where(wet, random.normal(size=(2, *source.shape)), np.nan)
    wet_part = wet[change.rows, change.columns]
    held = change._carried(wet_part)
    carried = change._carried(np.where(wet_part, field[:, change.rows, change.columns], 0.0))
    weighted = np.where(wet, field, 0) * source.cell_area
    total = np.abs(weighted).sum()  # what rounding is of, as the sums themselves cancel
    np.testing.assert_allclose(carried.sum((1, 2)), weighted.sum((1, 2)), rtol=0, atol=1e-12 * total)
    mean = change.mean(np.where(wet, 7.25, np.nan)[change.rows, change.columns], wet_part)
    assert np.unique(mean[np.isfinite(mean)]).tolist() == [7.25]
    np.testing.assert_array_equal(np.isfinite(mean), held >= target.cell_area / 2)


def change_between(source: Positions, target: Positions, method: str) -> GridChange:
    areas = shared_areas(source, target) if method == "conservative" else bilinear_weights(source, target)[0]
    whole = target.cell_area.ravel() if method == "conservative" else np.ones(target.latitude.size)
    everything = slice(0, source.shape[0]), slice(0, source.shape[1])
    return GridChange(scipy.sparse.csr_array(areas), whole, target, *everything, method)


def test_cells_between_parallels_are_exact_around_the_earth() -> None:
    fine = Positions.from_axes(np.arange(-88.0, 90, 4), np.arange(2.0, 360, 4))
    coarse = Positions.from_axes(np.arange(-85.0, 90, 10), np.arange(-175.0, 180, 10))
    areas = shared_areas(fine, coarse)
    np.testing.assert_allclose(areas.sum(0), fine.cell_area.ravel(), rtol=1e-12)
    np.testing.assert_allclose(areas.sum(1), coarse.cell_area.ravel(), rtol=1e-12)


@pytest.mark.parametrize(("pivot", "across"), [("F", 1), ("T", 2)])
def test_a_fold_is_found_and_its_cells_count_once(pivot: str, across: int) -> None:
    """The rim, beyond the last centres, is off by 0.5 %; the last row has more than twice that."""
    grid = tripolar(96, pivot=pivot)
    assert grid.fold is not None
    assert (grid.fold.doubled, grid.fold.across) == (0, across)
    edge = (11.5 if pivot == "T" else 12) * STEP
    assert grid.cell_area.sum() == pytest.approx(area_within(edge), rel=6e-3)
    assert grid.cell_area[-1].sum() > 0.01 * grid.cell_area.sum()
    haloed = tripolar(96, pivot=pivot, halo=True)
    assert haloed.fold is not None
    assert (haloed.fold.doubled, haloed.fold.mirror) == (1, grid.fold.mirror)


def test_a_ring_around_a_pole_has_no_fold() -> None:
    latitude, longitude = np.meshgrid(np.arange(80.0, 90.0, 1.0), np.arange(0.5, 360.0, 5.0), indexing="ij")
    assert Positions(latitude, longitude).fold is None
    assert Positions(*ring(np.arange(72) * 5.0, np.arange(20.0, 0.5, -2.0))).fold is None


@pytest.mark.parametrize("pivot", ["F", "T"])
def test_nothing_is_missing_along_the_fold(pivot: str) -> None:
    """Every target inside the outermost centres is found, and a smooth field comes through to second order."""
    source = tripolar(96, 40, pivot=pivot)
    target = Positions.from_axes(np.arange(0.0, 90.0, 3.0), np.arange(0.0, 360.0, 3.0))
    weights, inside = bilinear_weights(source, target)
    assert inside.all()
    for axis in range(3):
        smooth = on_sphere(source.latitude, source.longitude)[..., axis]
        found = (weights @ smooth.ravel()).reshape(target.shape)
        # A chord of cells of 0.15 in this map, up to 0.16 rad, lies 0.16 ** 2 / 8 inside the sphere
        np.testing.assert_allclose(found, on_sphere(target.latitude, target.longitude)[..., axis], atol=4e-3)


@pytest.mark.parametrize("pivot", ["F", "T"])
def test_the_row_beyond_the_fold_is_left_out_of_a_store(tmp_path: Path, pivot: str) -> None:
    whole, kept = tripolar(pivot=pivot, halo=True), tripolar(pivot=pivot)
    values = np.random.default_rng(0).normal(0, 0.3, (2, *whole.shape)).astype(np.float32)
    values[:, :2, :3] = np.nan
    degrees = (
        {"units": "degrees_north", "standard_name": "latitude"},
        {"units": "degrees_east", "standard_name": "longitude"},
    )
    xr.Dataset(
        {
            "zos": (
                ("time", "j", "i"),
                values,
                {"standard_name": LEVEL, "units": "m", "coordinates": "lat lon"},
            )
        },
        coords={
            "time": ("time", [0.0, 1.0], {"units": "days since 2000-01-01"}),
            "lat": (("j", "i"), whole.latitude, degrees[0]),
            "lon": (("j", "i"), whole.longitude, degrees[1]),
        },
    ).to_netcdf(
        tmp_path / "orca.nc", encoding={name: {"_FillValue": None} for name in ("lat", "lon", "time")}
    )
    store = open_store(ingest(tmp_path / "orca.nc", to=tmp_path / "s.zarr"))
    np.testing.assert_array_equal(store["zos"], values[:, :-1])
    np.testing.assert_allclose(
        store["cell_area"], kept.cell_area, rtol=1e-9, atol=1.0
    )  # at a pivot it is none


def test_a_store_on_a_grid_that_was_asked_for(write_file: Writer, level: np.ndarray, tmp_path: Path) -> None:
    """Cells of 0.2 x 2/7 degrees, in blocks of two by two: means by area over what is sea."""
    half = level[:, :, :7]
    latitude, longitude = 55.1 + 0.2 * np.arange(6), 10.0 + 2 / 7 * (0.5 + np.arange(7))
    path = write_file("a.nc", {"zos": (LEVEL, "m", half)}, latitude=latitude, longitude=longitude)
    box = (10 + 2 / 7, 12, 55.0, 56.2, 4 / 7, 0.4)
    store = ingest(path, to=tmp_path / "s.zarr", grid=box)
    ds = open_store(store)
    blocks = half[:, :, 1:].reshape(12, 3, 2, 3, 2)
    area = Positions.from_axes(latitude, longitude).cell_area[:, 1:].reshape(3, 2, 3, 2)
    sea = np.isfinite(blocks)
    mean = (np.where(sea, blocks, 0) * area).sum((2, 4)) / np.maximum((sea * area).sum((2, 4)), 1)
    mean = np.where((sea * area).sum((2, 4)) >= area.sum((1, 3)) / 2, mean, np.nan)
    np.testing.assert_allclose(ds["zos"], mean, rtol=1e-5, atol=1e-6)  # float32
    assert ds["zos"].attrs["regridding"].startswith("first-order conservative")
    assert ds["zos"].attrs["cell_methods"].endswith("area: mean where sea")
    np.testing.assert_allclose(ds["cell_area"], area.sum((1, 3)), rtol=1e-12)
    same = open_store(ingest(path, to=tmp_path / "t.zarr", grid=store))
    np.testing.assert_array_equal(same["zos"], ds["zos"])
    assert "--grid s.zarr" in same.attrs["command"]
    finer = open_store(ingest(path, to=tmp_path / "f.zarr", grid="10.5,11.5,55.4,56,0.1,0.1"))
    assert finer["zos"].attrs["regridding"].startswith("bilinear")
    assert float(finer["zos"].max()) <= half[np.isfinite(half)].max()


def test_weights_are_made_once(
    write_file: Writer, level: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file("a.nc", {"zos": (LEVEL, "m", level)})
    first = open_store(
        ingest(path, to=tmp_path / "s.zarr", grid="10,12,55,56,0.5,0.5", weights=tmp_path / "kept")
    )
    (file,) = (tmp_path / "kept").iterdir()

    def never(*grids: Positions) -> None:
        raise AssertionError("weights are made again")

    monkeypatch.setattr("data_pipelines.grid_change.shared_areas", never)
    again = open_store(
        ingest(path, to=tmp_path / "t.zarr", grid="10,12,55,56,0.5,0.5", weights=tmp_path / "kept")
    )
    np.testing.assert_array_equal(first["zos"], again["zos"])
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AssertionError, match="made again"):
        ingest(path, to=tmp_path / "u.zarr", grid="10,12,55,56,0.5,0.5", weights=tmp_path / "kept")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid": "10,12,56,55,0.5,0.5"}, r"^grid 10,12,56,55,0\.5,0\.5 is no box on the sphere; write W,E,S,N,DX,DY"),
        ({"grid": "10,12,55,56,0.3,0.5"}, r"^grid 10,.*: 2 degrees hold no whole number of cells, two or more"),
        ({"grid": "10,12,55,56"}, r"^grid 10,12,55,56 has 4 numbers; give W,E,S,N,DX,DY in degrees, or a file\.$"),
        ({"grid": "40,42,55,56,0.5,0.5"}, r"^the grid asked for, 40\.25 to .* does not meet that of the source"),
        ({"grid": "10,12,55,56,0.5,0.5", "coarsen": 2}, r"^a grid and coarsen 2 are asked for; each makes cells"),
        ({"grid": "10,12,55,56,0.5,0.5", "regridding": "cubic"}, r"^regridding 'cubic' is not known; choose one of"),
        ({"regridding": "bilinear"}, r"^regridding and weights say how to come to another grid, and none is asked"),
    ],
)  # fmt: skip
def test_a_grid_that_cannot_be(
    write_file: Writer, level: np.ndarray, tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ingest(write_file("a.nc", {"zos": (LEVEL, "m", level)}), to=tmp_path / "s.zarr", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "s.zarr").exists()


def test_the_box_around_the_earth_closes() -> None:
    grid = read_grid("-180,180,-90,90,5,5")
    assert grid.closes
    assert grid.cell_area.sum() == pytest.approx(4 * np.pi * EARTH_RADIUS**2, rel=1e-12)
