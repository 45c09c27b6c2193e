"""A driven forecast follows its parent, never the truth after its start, and has no score where it is the parent's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import save_store
from forecasting import evaluate, forecast
from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import parse_run
from oceanop.edge import edge_weight, open_edge, with_edge_zone
from oceanop.features import static_fields
from oceanop.grid import Grid
from oceanop.layout import Layout, cf_attributes
from oceanop.normalise import Scaling
from tests.forecasting.conftest import SPLITS, operator, sea

START = "2020-01-04T04"
NOW = 76  # its step
CELLS, LEADS = 2, 7  # more than two windows of three hours
STATE = ("uo", "vo")


def driven_sea(seed: int = 1) -> xr.Dataset:
    """The small sea of the other tests, driven by one of other weather."""
    ds, parent = sea(), sea(seed=seed)
    for name in STATE:
        ds[f"{name}_boundary"] = (ds[name].dims, parent[name].to_numpy(), cf_attributes(f"{name}_boundary"))
    ds.attrs["sources"] = json.dumps([{"name": "parent.nc", "role": "boundary", "size": 5, "sha256": "ab"}])
    return ds


def driven_operator(ds: xr.Dataset) -> Checkpoint:
    """An untrained FNOtD with an edge zone."""
    run = parse_run(
        {
            "data": {"edge_zone": CELLS},
            "model": {
                "name": "FNOtD", "history": 4, "horizon": 3, "modes": [3, 3, 3], "width": 4, "layers": 1
            },
        }
    )  # fmt: skip
    grid = Grid.from_dataset(ds)
    layout, relaxation = with_edge_zone(Layout.from_dataset(ds), ds, CELLS)
    torch.manual_seed(0)
    step = build_step(
        run,
        layout,
        static=static_fields(grid, relaxation=relaxation),
        wet=layout.wet(ds),
        state=Scaling(torch.zeros(2), torch.full((2,), 0.3)),
        forcing=Scaling(torch.zeros(2), torch.full((2,), 0.3)),
        relaxation=relaxation,
    )
    told = {"open_boundaries": f"driven along {CELLS} cells by uo_boundary, vo_boundary"}
    hour = np.timedelta64(3600, "s")
    return Checkpoint(
        run, layout, grid.fingerprint, grid.shape, hour, 0, step.state_dict(), told, sha256="d0"
    )


@pytest.fixture(scope="module")
def ocean() -> xr.Dataset:
    return driven_sea()


@pytest.fixture(scope="module")
def checkpoint(ocean: xr.Dataset) -> Checkpoint:
    return driven_operator(ocean)


@pytest.fixture(scope="module")
def driven(checkpoint: Checkpoint, ocean: xr.Dataset) -> xr.Dataset:
    return forecast(checkpoint, ocean, start=START, leads=LEADS)


def changed(ds: xr.Dataset, names: tuple[str, ...], steps: slice, by: float) -> xr.Dataset:
    other = ds.copy(deep=True)
    for name in names:
        other[name].values[steps] += by
    return other


def test_the_open_edge_is_the_parents_bit_for_bit(driven: xr.Dataset, ocean: xr.Dataset) -> None:
    edge = open_edge(Grid.from_dataset(ocean))
    assert edge.any()
    for name in STATE:
        parent = ocean[f"{name}_boundary"].to_numpy()[NOW + 1 : NOW + 1 + LEADS]
        np.testing.assert_array_equal(driven[name].to_numpy()[0][:, edge], parent[:, edge])


def test_a_parent_that_is_the_truth_leaves_no_error_on_the_edge(ocean: xr.Dataset) -> None:
    perfect = ocean.copy()
    for name in STATE:
        perfect[f"{name}_boundary"] = ocean[name].assign_attrs(cf_attributes(f"{name}_boundary"))
    ds = forecast(driven_operator(perfect), perfect, start=START, leads=LEADS)
    edge = open_edge(Grid.from_dataset(ocean))
    for name in STATE:
        truth = ocean[name].to_numpy()[NOW + 1 : NOW + 1 + LEADS]
        np.testing.assert_array_equal(ds[name].to_numpy()[0][:, edge], truth[:, edge])


def test_no_truth_after_the_start_enters(
    checkpoint: Checkpoint, ocean: xr.Dataset, driven: xr.Dataset
) -> None:
    other = changed(ocean, STATE, slice(NOW + 1, None), np.nan)
    again = forecast(checkpoint, other, start=START, leads=LEADS)
    for name in STATE:
        np.testing.assert_array_equal(again[name], driven[name])


def test_the_parents_future_moves_the_forecast_in_the_zone_and_inside(
    checkpoint: Checkpoint, ocean: xr.Dataset, driven: xr.Dataset
) -> None:
    other = changed(ocean, ("uo_boundary",), slice(NOW + 1, None), 0.5)
    moved = (forecast(checkpoint, other, start=START, leads=LEADS)["uo"] - driven["uo"]).to_numpy()[0]
    grid = Grid.from_dataset(ocean)
    weight = edge_weight(grid, CELLS)
    np.testing.assert_allclose(moved[:, open_edge(grid)], 0.5, atol=1e-6)
    # the operator is told of the parent, so that what lies further in moves too, by its own will
    assert np.abs(moved[:, grid.mask & (weight == 0)]).max() > 0


def test_what_the_parent_does_outside_the_zone_is_not_seen(
    checkpoint: Checkpoint, ocean: xr.Dataset, driven: xr.Dataset
) -> None:
    inside = edge_weight(Grid.from_dataset(ocean), CELLS) == 0
    other = ocean.copy(deep=True)
    for name in STATE:
        other[f"{name}_boundary"].values[:, inside] = np.nan
    again = forecast(checkpoint, other, start=START, leads=LEADS)
    np.testing.assert_array_equal(again["uo"], driven["uo"])


def test_the_latest_start_has_boundary_values_to_its_last_lead(
    checkpoint: Checkpoint, ocean: xr.Dataset
) -> None:
    ahead = changed(ocean, STATE, slice(-6, None), np.nan)
    ds = forecast(checkpoint, ahead, start="latest", leads=6)
    assert ds["init_time"].values[0] == ocean["time"].values[-7]
    assert np.isfinite(ds["uo"].to_numpy()[0][:, Grid.from_dataset(ocean).mask]).all()


def test_a_forecast_says_who_drove_it(driven: xr.Dataset, ocean: xr.Dataset, tmp_path: Path) -> None:
    assert driven.attrs["edge_zone"] == CELLS
    assert driven.attrs["boundary"] == "uo_boundary vo_boundary of the input store, known up to the last lead"
    assert driven.attrs["forcing"] == "u10 v10 of the input store, known up to the last lead"
    assert driven.attrs["open_boundaries"] == "driven along 2 cells by uo_boundary, vo_boundary"
    assert json.loads(driven.attrs["boundary_parent"]) == [{"name": "parent.nc", "size": 5, "sha256": "ab"}]
    closed = operator(ocean, forcing=["u10", "v10"])
    assert (
        not {"edge_zone", "boundary", "boundary_parent"}
        & forecast(closed, ocean, start=START, leads=1).attrs.keys()
    )


def test_a_checkpoint_keeps_its_zone(
    checkpoint: Checkpoint, ocean: xr.Dataset, driven: xr.Dataset, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best", checkpoint)
    again = forecast(load_checkpoint(tmp_path / "best"), ocean, start=START, leads=LEADS)
    np.testing.assert_array_equal(again["vo"], driven["vo"])


def test_a_written_forecast_goes_on_from_a_store_on_disk(
    checkpoint: Checkpoint, ocean: xr.Dataset, driven: xr.Dataset, tmp_path: Path
) -> None:
    store = save_store(ocean, tmp_path / "sea.zarr", splits=SPLITS)
    ds = forecast(checkpoint, store, start=START, leads=LEADS, to=tmp_path / "f.nc")
    np.testing.assert_array_equal(ds["uo"], driven["uo"])
    assert ds.attrs["edge_zone"] == CELLS


def test_a_missing_boundary_value_is_refused_before_anything_is_written(
    checkpoint: Checkpoint, ocean: xr.Dataset, tmp_path: Path
) -> None:
    other = ocean.copy(deep=True)
    other["vo_boundary"].values[NOW + 5, -1, -1] = np.nan
    with pytest.raises(
        ValueError, match=r"'vo_boundary' is missing at 2020-01-04T09:00:00 on 1 of \d+ cells of the"
    ):
        forecast(checkpoint, other, start=START, leads=LEADS, to=tmp_path / "f.nc")
    assert not list(tmp_path.iterdir())
    assert forecast(checkpoint, other, start=START, leads=4).sizes["lead_time"] == 4


def test_a_store_without_boundary_values_is_refused(checkpoint: Checkpoint, ocean: xr.Dataset) -> None:
    bare = ocean.drop_vars(["uo_boundary", "vo_boundary"])
    with pytest.raises(
        ValueError, match=r"needs the forcing uo_boundary, vo_boundary, .* Ingest it with --boundary"
    ):
        forecast(checkpoint, bare, start=START, leads=1)


def test_prescribed_cells_are_in_nobodys_score(driven: xr.Dataset, ocean: xr.Dataset) -> None:
    """Neither the driven forecast nor one beside it gains or loses by what the parent says on the edge."""
    free = forecast(operator(ocean, forcing=["u10", "v10"]), ocean, start=START, leads=LEADS)
    scores = evaluate([driven, free], ocean, baselines=["persistence"])
    grid = Grid.from_dataset(ocean)
    edge = open_edge(grid)
    assert f"without {edge.sum()} on the open edge" in scores.attrs["mask"]
    assert scores.attrs["mask_share_of_ocean"] == pytest.approx(1 - edge.sum() / grid.mask.sum())
    area = np.where(grid.mask & ~edge, grid.cell_area, 0.0)
    names = scores["forecaster"].values.tolist()
    for name, ds in zip(names, (driven, free), strict=False):
        error = np.nan_to_num(ds["uo"].to_numpy()[0] - ocean["uo"].to_numpy()[NOW + 1 : NOW + 1 + LEADS])
        expected = np.sqrt((error**2 * area).sum() / (LEADS * area.sum()))
        at = {"forecaster": name, "variable": "uo", "metric": "rmse", "band": "all", "lead_hours": "all"}
        assert float(scores["value"].sel(at)) == pytest.approx(expected)
    alone = evaluate(free, ocean, baselines=[])
    assert alone.attrs["mask_share_of_ocean"] == 1
