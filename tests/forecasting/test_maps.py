"""Pictures are honest: limits, land, coast, arrows, words; and nothing is fetched."""

import socket
from pathlib import Path

import cartopy.crs as ccrs
import matplotlib
import numpy as np
import pytest
from PIL import Image

from forecasting.fields import field_of, limits, rounded_up, unit_text
from forecasting.maps import LAND, comparison_figure, draw_map, map_figure
from forecasting.projection import cells_of
from tests.forecasting.synthetic import COLUMNS, ROWS, product


def meshes(figure) -> list:
    """The coloured fields of a figure's maps, in order."""
    found = []
    for axes in figure.axes:
        drawn = [c for c in axes.collections if isinstance(c, matplotlib.collections.QuadMesh)]
        if hasattr(axes, "projection") and drawn:
            found.append(drawn[-1])
    return found


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("a map opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("regular", [False, True])
@pytest.mark.parametrize("variable", ["speed", "uo+vo", "uo", "zos"])
def test_a_map_is_drawn_without_the_network(tmp_path: Path, variable: str, regular: bool):
    path = draw_map(product(regular=regular), variable=variable, lead=3, to=tmp_path / "m.png")
    with Image.open(path) as image:
        assert min(image.size) > 500


def test_forecast_and_truth_share_their_limits_and_the_difference_is_centred_at_zero():
    forecast, truth = product(error=0.03), product("truth")
    for variable in ("speed", "zos", "vo"):
        shown = (field_of(ds, variable=variable, lead=6) for ds in (forecast, truth))
        left, middle, right = meshes(comparison_figure(*shown, cells_of(truth)))
        assert left.get_clim() == middle.get_clim()
        low, high = right.get_clim()
        assert low == -high < 0


def test_land_is_grey_and_nothing_else_is(tmp_path: Path):
    ds = product()
    figure = map_figure(field_of(ds, variable="uo", lead=1), cells_of(ds))
    figure.savefig(tmp_path / "m.png", dpi=100)
    axes = figure.axes[0]
    cells = cells_of(ds)
    with Image.open(tmp_path / "m.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    grey = np.array([int(LAND[i : i + 2], 16) for i in (1, 3, 5)])

    def pixel(row: int, column: int) -> np.ndarray:
        place = cells.crs.transform_point(
            cells.longitude[row, column], cells.latitude[row, column], ccrs.PlateCarree()
        )
        x, y = axes.transData.transform(place)
        return pixels[pixels.shape[0] - 1 - round(y), round(x)]

    # One cell off the middle of the island, away from grid lines is not promised: most of land must be grey
    land = [pixel(r, c) for r in range(6, 11) for c in range(18, 23)]
    assert np.mean([np.abs(p - grey).max() <= 2 for p in land]) > 0.7
    sea = [pixel(r, c) for r in range(8, 18) for c in range(2, 12)]
    assert np.mean([np.abs(p - grey).max() <= 2 for p in sea]) < 0.1


def test_the_coast_runs_between_ocean_and_land_cells_and_nowhere_else():
    cells = cells_of(product())
    wet = cells.wet
    sides = (wet[:, 1:] != wet[:, :-1]).sum() + (wet[1:] != wet[:-1]).sum()
    assert cells.coast.shape == (sides, 2, 2)
    # On the island: every side lies within five cells of its middle or along the eastern land
    middle = cells.crs.transform_point(cells.longitude[8, 20], cells.latitude[8, 20], ccrs.PlateCarree())
    near = np.hypot(*(cells.coast.mean(1) - middle).T) < 6 * 4000
    assert near.sum() >= sides - ROWS


def test_a_grid_keeps_its_own_projection_and_its_cells_are_squares():
    cells = cells_of(product())
    assert isinstance(cells.crs, ccrs.Stereographic)
    along = np.hypot(np.diff(cells.x, axis=1), np.diff(cells.y, axis=1))
    # 4 km cells of the very projection: the turned paper changes no length; corners are means on the sphere
    np.testing.assert_allclose(along, 4000, rtol=2e-3)
    assert abs(cells.north) < 1


def test_arrows_point_to_true_north_on_the_paper():
    ds = product()
    ds["uo"][:] = 0.0
    ds["vo"][:] = 0.5
    figure = map_figure(field_of(ds, variable="speed", lead=1), cells_of(ds))
    quiver = next(c for c in figure.axes[0].collections if isinstance(c, matplotlib.quiver.Quiver))
    points = np.asarray(quiver.XY)
    cells = cells_of(ds)
    geographic = ccrs.PlateCarree()
    lonlat = geographic.transform_points(cells.crs, points[:, 0], points[:, 1])
    ahead = cells.crs.transform_points(geographic, lonlat[:, 0], lonlat[:, 1] + 1e-4)[:, :2] - points
    expected = ahead / np.hypot(*ahead.T)[:, None]
    drawn = np.stack([quiver.U, quiver.V], -1)
    # cartopy turns vectors by a finite step of its own: 1e-3 is its error, the grid itself lies 60 degrees off
    np.testing.assert_allclose(drawn / np.hypot(*drawn.T)[:, None], expected, atol=1e-3)


def test_a_global_grid_is_drawn_without_cells_across_the_map(tmp_path: Path):
    ds = product(regular=True)
    ds = ds.assign_coords(
        latitude=np.linspace(-80, 80, ROWS), longitude=np.linspace(-180, 180, COLUMNS, endpoint=False)
    )
    cells = cells_of(ds)
    assert isinstance(cells.crs, ccrs.Robinson)
    widths = np.ptp(np.stack([cells.x[:-1, :-1], cells.x[:-1, 1:]]), axis=0)[~cells.torn]
    assert widths.max() < np.ptp(cells.x) / 10
    assert draw_map(ds, variable="speed", lead=1, to=tmp_path / "g.png").exists()


def test_the_same_forecast_gives_the_same_bytes(tmp_path: Path):
    paths = [draw_map(product(), variable="speed", lead=2, to=tmp_path / name) for name in ("a.png", "b.png")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"variable": "salt", "lead": 1}, r"'salt'.*speed, uo, vo, zos"),
        ({"variable": "uo", "lead": 9}, r"lead 9 .*6 \(1 h to 6 h\).*from 1 to 6"),
        ({"variable": "uo", "lead": "90h"}, "lead 90h"),
        ({"variable": "uo", "lead": 1, "start": "2015-11-18"}, "starts at 2015-11-17 21:00"),
        ({"variable": "uo", "lead": 1, "start": "soon"}, "start soon"),
    ],
)
def test_what_is_not_in_the_forecast_is_refused_with_what_is(tmp_path: Path, request_: dict, words: str):
    with pytest.raises(ValueError, match=words):
        draw_map(product(), to=tmp_path / "m.png", **request_)


def test_a_map_goes_to_a_png_only(tmp_path: Path):
    with pytest.raises(ValueError, match=r"\.png"):
        draw_map(product(), variable="uo", lead=1, to=tmp_path / "m.pdf")


def test_a_lead_may_be_named_by_its_duration():
    field = field_of(product(), variable="zos", lead="3h")
    assert "lead 3 h" in field.when
    assert "valid 2015-11-18 00:00 UTC" in field.when
    assert "start 2015-11-17 21:00 UTC" in field.when


def test_limits_are_round_and_hold_nearly_all():
    field = field_of(product(), variable="speed", lead=1)
    low, high = limits(field)
    inside = (field.values >= low) & (field.values <= high)
    assert inside.sum() >= 0.99 * np.isfinite(field.values).sum()
    assert [rounded_up(v) for v in (0.3, 0.31, 1.0, 87, 0.0)] == [0.3, 0.35, 1.0, 90.0, 1.0]


def test_units_are_written_as_read():
    assert [unit_text(u) for u in ("m s-1", "degC", "1e-3", "m", "1")] == ["m s⁻¹", "°C", "10⁻³", "m", ""]
