"""An edge is open where the sea goes on; a zone along it passes smoothly to the parent, and nothing else moves."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oceanop.edge import COVERED, edge_distance, edge_weight, open_boundaries, open_edge, with_edge_zone
from oceanop.features import static_fields
from oceanop.grid import Grid
from oceanop.layout import Channel, Layout, cf_attributes
from oceanop.normalise import Scaling
from oceanop.rollout import rollout
from oceanop.step import WindowStep
from oceanop.variables import BOUNDARIES, VARIABLES


def grid_of(latitude: np.ndarray, longitude: np.ndarray, land: tuple = ()) -> Grid:
    """An ocean on given axes or planes, with some land."""
    if latitude.ndim == 1:
        latitude, longitude = np.meshgrid(latitude, longitude, indexing="ij")
    mask = np.ones(latitude.shape, dtype=bool)
    for part in land:
        mask[part] = False
    return Grid(latitude, longitude, mask, np.ones(latitude.shape))


def regional(*land: tuple, rows: int = 9, columns: int = 12) -> Grid:
    return grid_of(55 + 0.1 * np.arange(rows), 10 + 0.2 * np.arange(columns), land)


def test_the_open_edge_is_the_ocean_on_the_outer_cells() -> None:
    grid = regional((slice(None), 0), (slice(0, 3), slice(None)))
    expected = np.zeros(grid.shape, dtype=bool)
    expected[-1], expected[:, -1] = True, True
    assert np.array_equal(open_edge(grid), expected & grid.mask)


def test_a_basin_inside_a_coast_has_no_open_edge() -> None:
    coast = (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1])
    grid = regional(*coast)
    assert not open_edge(grid).any()
    assert np.isinf(edge_distance(grid)).all()


def test_the_globe_is_open_nowhere_but_where_it_is_cut_off() -> None:
    longitude = np.arange(0.0, 360.0, 5.0)
    assert not open_edge(grid_of(np.arange(-87.5, 90.0, 5.0), longitude)).any()
    cut = open_edge(grid_of(np.arange(-60.0, 61.0, 5.0), longitude))
    assert cut[0].all()
    assert cut[-1].all()
    assert not cut[1:-1].any()


def test_a_zone_of_a_band_around_the_earth_has_no_seam() -> None:
    grid = grid_of(np.arange(-60.0, 61.0, 5.0), np.arange(0.0, 360.0, 5.0), (np.s_[0, :], np.s_[-1, 1:]))
    distance = edge_distance(grid)  # one open cell, at the seam
    np.testing.assert_array_equal(distance[-1, 1:6], distance[-1, :-6:-1])


def test_the_fold_of_a_tripolar_grid_is_no_edge() -> None:
    """The last row turns about the middle of the array: cell j is the neighbour of cell n - 1 - j."""
    longitude = np.arange(0.0, 360.0, 5.0)
    latitude, longitude = np.meshgrid(np.arange(-77.5, 61.0, 5.0), longitude, indexing="ij")
    half = longitude.shape[1] // 2
    # From 65 N on, rows run along a line between two poles on land, there and back
    along = np.concatenate([np.linspace(-60, 60, half), np.linspace(60, -60, half)])
    latitude = np.concatenate([latitude, np.full((1, 2 * half), 75.0)])
    longitude = np.concatenate([longitude, along[None]])
    edge = open_edge(grid_of(latitude, longitude))
    assert not edge[-1].any()
    assert edge[0].all()


@pytest.mark.parametrize("cells", [1, 3, 5])
def test_the_weight_falls_smoothly_from_one_at_the_edge_to_zero(cells: int) -> None:
    coast = (np.s_[0, :], np.s_[-1, :], np.s_[:, -1])  # open in the west alone
    grid = regional(*coast, rows=25)
    weight = edge_weight(grid, cells)[12]
    assert weight[0] == 1
    assert (np.diff(weight[: cells + 1]) < 0).all()
    assert (weight[cells:] == 0).all()
    np.testing.assert_allclose(weight[:cells], np.cos(np.pi / 2 * np.arange(cells) / cells) ** 2, rtol=1e-15)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_weights_lie_between_zero_and_one_and_are_one_on_the_edge_alone(seed: int, cells: int) -> None:
    grid = regional()
    grid.mask[...] = np.random.default_rng(seed).random(grid.shape) < 0.7
    weight = edge_weight(grid, cells)
    assert ((weight >= 0) & (weight <= 1)).all()
    assert np.array_equal((weight == 1) & grid.mask, open_edge(grid))


def test_every_state_has_boundary_values_of_its_own_kind() -> None:
    assert {name.removesuffix("_boundary") for name in BOUNDARIES} == {
        name for name, variable in VARIABLES.items() if variable.role == "state"
    }
    for name, variable in BOUNDARIES.items():
        state = VARIABLES[name.removesuffix("_boundary")]
        assert (variable.units, variable.standard_name) == (state.units, state.standard_name)
        assert variable.partner is None or BOUNDARIES[variable.partner].partner == name


# The step


class _Shift(nn.Module):
    """Advection by one cell an hour; what flows in at the first column is not known to it."""

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        self.seen = forcing
        last = history[:, :, -1:]
        return torch.cat([last[..., :1], last[..., :-1]], dim=-1)


def shifting_step(relaxation: Tensor | None, columns: int) -> WindowStep:
    wet = torch.ones(1, 3, columns, dtype=torch.bool)
    return WindowStep(
        _Shift(),
        state=Scaling(torch.tensor([0.0]), torch.tensor([1.0])),
        forcing=Scaling(torch.tensor([0.0]), torch.tensor([2.0])),
        static=wet.float(),
        wet=wet,
        growth=torch.ones(1, 1),
        boundary=[] if relaxation is None else [(0, 1)],
        relaxation=relaxation,
    )


def test_a_wave_enters_through_the_driven_edge_and_not_through_the_closed_one() -> None:
    columns, hours = 24, 30
    x, t = torch.arange(columns), torch.arange(hours + 1)[:, None]
    wave = torch.sin(2 * torch.pi / 12 * (x - t)).expand(1, 3, hours + 1, columns).transpose(1, 2)[None]
    forcing = torch.cat([torch.zeros_like(wave), wave], dim=1)
    relaxation = torch.zeros(1, 3, columns)
    relaxation[..., 0] = 1.0

    def error(step: WindowStep, known: Tensor) -> float:
        parts = rollout(step, wave[:, :, :1], known, horizon=1, leads=hours)
        return float((torch.cat(list(parts), dim=2) - wave[:, :, 1:]).square().mean().sqrt())

    assert error(shifting_step(relaxation, columns), forcing) < 1e-6  # the scheme is exact, rounding is left
    assert error(shifting_step(None, columns), forcing[:, :1]) > 0.5  # of a wave of height 1


def test_the_edge_is_the_parent_bit_for_bit_and_the_rest_a_convex_combination() -> None:
    weight = torch.tensor([1.0, 0.7, 0.3, 0.0]).expand(1, 3, 4)
    history, parent = torch.randn(2, 1, 1, 3, 4), torch.randn(2, 1, 2, 3, 4)
    forcing = torch.cat([torch.randn(2, 1, 2, 3, 4), parent], dim=1)
    driven = shifting_step(weight, 4)(history, forcing)
    free = shifting_step(None, 4)(history, forcing[:, :1])
    ahead = parent[:, :, 1:]
    assert torch.equal(driven[..., 0], ahead[..., 0])
    assert torch.equal(driven[..., 3], free[..., 3])
    low, high = torch.minimum(free, ahead), torch.maximum(free, ahead)
    assert ((driven >= low - 1e-6) & (driven <= high + 1e-6)).all()  # rounding of numbers near one
    torch.testing.assert_close(driven, (1 - weight) * free + weight * ahead)


def test_the_operator_sees_the_parent_scaled_as_the_state_and_only_in_the_zone() -> None:
    relaxation = torch.tensor([1.0, 0.5, 0.0, 0.0]).expand(1, 3, 4)
    step = shifting_step(relaxation, 4)
    step.mean.fill_(1.0)
    step.std.fill_(2.0)
    step(torch.zeros(1, 1, 1, 3, 4), torch.full((1, 2, 2, 3, 4), 5.0))
    assert step.operator.seen[0, 0, 0, 0].tolist() == [2.5] * 4  # weather by its own scale
    assert step.operator.seen[0, 1, 1, 0].tolist() == [2.0, 2.0, 0.0, 0.0]


def test_what_the_parent_says_before_the_start_moves_no_edge() -> None:
    relaxation = torch.tensor([1.0, 0.5, 0.0, 0.0]).expand(1, 3, 4)
    history, forcing = torch.randn(1, 1, 1, 3, 4), torch.randn(1, 2, 2, 3, 4)
    other = forcing.clone()
    other[:, 1, 0] += 9.0
    step = shifting_step(relaxation, 4)
    assert torch.equal(step(history, forcing), step(history, other))


def test_a_step_without_a_zone_keeps_no_trace_of_one() -> None:
    assert "relaxation" not in shifting_step(None, 4).state_dict()
    assert "relaxation" in shifting_step(torch.ones(1, 3, 4), 4).state_dict()


# From a store to a zone


@pytest.fixture
def driven(sea: xr.Dataset) -> xr.Dataset:
    """The small sea, its own currents as the parent's."""
    ds = sea.copy()
    for name in ("uo", "vo"):
        ds[f"{name}_boundary"] = ds[name].assign_attrs(cf_attributes(f"{name}_boundary"))
    return ds


def test_no_zone_changes_neither_layout_nor_static_fields(driven: xr.Dataset) -> None:
    layout = Layout.from_dataset(driven)
    assert with_edge_zone(layout, driven, 0) == (layout, None)
    assert layout.names("forcing") == ["u10", "v10"]


def test_a_zone_appends_the_parents_states_to_the_forcing(driven: xr.Dataset) -> None:
    layout, relaxation = with_edge_zone(Layout.from_dataset(driven), driven, 2)
    assert relaxation is not None
    assert layout.names("forcing") == ["u10", "v10", "uo_boundary", "vo_boundary"]
    assert layout.boundary == ((0, 2), (1, 3))
    assert layout.weather == layout.forcing[:2]
    assert Layout.from_dict(layout.to_dict()) == layout
    grid = Grid.from_dataset(driven)
    assert torch.equal(relaxation[0] == 1, torch.from_numpy(open_edge(grid)))
    assert (relaxation[:, ~torch.from_numpy(grid.mask)] == 0).all()
    static = static_fields(grid, relaxation=relaxation)
    assert torch.equal(static[:-1], static_fields(grid))
    assert torch.equal(static[-1], relaxation[0])


def test_nothing_is_prescribed_where_the_parent_knows_nothing(driven: xr.Dataset) -> None:
    driven["uo_boundary"][:, -1, -1] = np.nan
    _, relaxation = with_edge_zone(Layout.from_dataset(driven), driven, 2)
    assert relaxation is not None
    assert relaxation[0, -1, -1] == 0
    assert relaxation[1, -1, -1] == 1


def test_a_state_that_the_parent_lacks_stays_free_and_is_named(driven: xr.Dataset) -> None:
    lacking = driven.drop_vars("vo_boundary")
    layout, relaxation = with_edge_zone(Layout.from_dataset(lacking), lacking, 2)
    assert relaxation is not None
    assert layout.boundary == ((0, 2),)
    assert not relaxation[1].any()
    told = open_boundaries(lacking, Layout.from_dataset(lacking), 2)
    assert told == "driven along 2 cells by uo_boundary; vo is free there"


def test_a_run_says_how_it_treats_the_open_edge(driven: xr.Dataset) -> None:
    layout = Layout.from_dataset(driven)
    assert open_boundaries(driven, layout, 0) == "treated as closed"
    assert open_boundaries(driven, layout, 2) == "driven along 2 cells by uo_boundary, vo_boundary"
    driven["mask"][[0, -1], :] = 0
    driven["mask"][:, [0, -1]] = 0
    assert open_boundaries(driven, layout, 0) == "none"


def test_a_zone_without_boundary_values_is_refused_with_a_cure(sea: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="no boundary values of uo, vo; ingest it with --boundary PARENT"):
        with_edge_zone(Layout.from_dataset(sea), sea, 2)


def test_a_zone_on_a_closed_domain_is_refused(driven: xr.Dataset) -> None:
    driven["mask"][[0, -1], :] = 0
    driven["mask"][:, [0, -1]] = 0
    with pytest.raises(ValueError, match="edge_zone is 2, and no ocean cell lies on an open edge"):
        with_edge_zone(Layout.from_dataset(driven), driven, 2)


def test_a_zone_wider_than_the_parent_covers_is_refused(driven: xr.Dataset) -> None:
    driven["uo_boundary"].attrs[COVERED] = 1
    with pytest.raises(ValueError, match="'uo_boundary' covers the outermost 1 cells; choose at most 1"):
        with_edge_zone(Layout.from_dataset(driven), driven, 2)


def test_a_zone_that_leaves_no_ocean_to_forecast_is_refused(driven: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="leaves no ocean cell of the 5 x 7 to forecast freely"):
        with_edge_zone(Layout.from_dataset(driven), driven, 4)


def test_deeper_channels_have_their_own_mask_and_their_own_parent(sea: xr.Dataset) -> None:
    layout = Layout((Channel("uo", 0.0), Channel("uo", 10.0)))
    deep = sea[["uo"]].expand_dims(depth=[0.0, 10.0], axis=1).copy(deep=True)
    mask = np.stack([sea["mask"].to_numpy()] * 2)
    mask[1, :, -1] = 0
    deep["mask"] = (("depth", "y", "x"), mask)
    deep["cell_area"] = sea["cell_area"]
    deep["uo_boundary"] = deep["uo"]
    driven, relaxation = with_edge_zone(layout, deep, 1)
    assert relaxation is not None
    assert driven.forcing == (Channel("uo_boundary", 0.0), Channel("uo_boundary", 10.0))
    assert (relaxation[0, :, -1] == 1).all()
    assert (relaxation[1, :, -1] == 0).all()
    assert (relaxation[1, -1, :-1] == 1).all()
