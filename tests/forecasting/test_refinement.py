"""Trained coarse, run fine: what belongs to the grid is made anew, what was learned is kept, the rest refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from data_pipelines import ingest, open_store, sample_paths
from forecasting import LearnedForecaster, forecast, run_forecaster
from forecasting.refinement import refine
from oceanop.build import build_step
from oceanop.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from oceanop.config import parse_run
from oceanop.edge import edge_weight, open_edge, with_edge_zone
from oceanop.features import static_fields
from oceanop.grid import Grid
from oceanop.layout import Layout, cf_attributes
from oceanop.normalise import Scaling
from tests.forecasting.conftest import sea

START = "2020-01-04T08"
LEADS = 7
FACTOR = 2
STATE = ("uo", "vo")


def coarse(ds: xr.Dataset, factor: int = FACTOR) -> xr.Dataset:
    """Means over blocks, on regular axes; a block is ocean if at least half of it is."""
    blocks = {"latitude": factor, "longitude": factor}
    means = ds.coarsen(blocks, boundary="trim").mean()
    mask = ds["mask"].astype(float).coarsen(blocks, boundary="trim").mean() >= 0.5
    made = means.assign(mask=mask.astype(np.int8), cell_area=factor**2 * means["cell_area"])
    for name in {"uo", "vo", "deptho"} & {*ds.data_vars}:
        made[name] = made[name].where(mask)
    return made.assign_attrs(ds.attrs)


def trained(ds: xr.Dataset, *, zone: int = 0, **model: object) -> Checkpoint:
    """An untrained operator on the grid of a data set, with everything a trainer would give it."""
    settings = {"name": "FNOtD", "history": 4, "horizon": 3, "modes": [3, 3, 3], "width": 4, "layers": 1}
    run = parse_run({"data": {"edge_zone": zone}, "model": {**settings, **model}})
    grid = Grid.from_dataset(ds)
    layout, relaxation = with_edge_zone(Layout.from_dataset(ds), ds, zone)
    torch.manual_seed(0)
    step = build_step(
        run,
        layout,
        static=static_fields(
            grid,
            ds["deptho"].to_numpy() if "deptho" in ds else None,
            position=run.model.position,
            relaxation=relaxation,
        ),
        wet=layout.wet(ds),
        state=Scaling(torch.zeros(2), torch.full((2,), 0.3)),
        forcing=Scaling(torch.zeros(2), torch.full((2,), 0.3)),
        relaxation=relaxation,
    )
    hour = np.timedelta64(3600, "s")
    return Checkpoint(run, layout, grid.fingerprint, grid.shape, hour, 0, step.state_dict(), {}, sha256="f1")


@pytest.fixture(scope="module")
def fine() -> xr.Dataset:
    return sea()


@pytest.fixture(scope="module")
def checkpoint(fine: xr.Dataset) -> Checkpoint:
    return trained(coarse(fine))


def test_on_its_own_grid_the_checkpoint_is_used_as_it_is(fine: xr.Dataset, checkpoint: Checkpoint) -> None:
    own = coarse(fine)
    refined = refine(checkpoint, own)
    assert refined.checkpoint is checkpoint
    assert refined.factor == 1
    made = forecast(checkpoint, own, start=START, leads=LEADS)
    held = torch.stack(
        [
            s.values
            for _, s in run_forecaster(LearnedForecaster(checkpoint), own, checkpoint.layout, [80], LEADS)
        ]
    )
    wet = own["mask"].to_numpy() > 0
    for i, name in enumerate(STATE):
        np.testing.assert_array_equal(made[name].to_numpy()[0][:, wet], held[:, i][:, wet].numpy())
    assert made.attrs["refinement"] == 1
    assert made.attrs["training_grid"] == made.attrs["forecast_grid"]


def test_masks_and_static_fields_are_those_of_the_finer_grid_and_weights_are_kept(
    fine: xr.Dataset, checkpoint: Checkpoint
) -> None:
    refined = refine(checkpoint, fine)
    grid = Grid.from_dataset(fine)
    assert refined.factor == FACTOR
    assert refined.training.fingerprint == checkpoint.grid_fingerprint
    made = refined.checkpoint
    assert (made.grid_fingerprint, made.grid_shape) == (grid.fingerprint, grid.shape)
    assert torch.equal(made.step.static, static_fields(grid, refinement=FACTOR))
    assert torch.equal(made.step.wet, made.layout.wet(fine))
    learned = {
        name: value for name, value in checkpoint.step.state_dict().items() if name not in ("static", "wet")
    }
    assert all(torch.equal(made.step.state_dict()[name], value) for name, value in learned.items())
    assert made.run == checkpoint.run


def test_rows_and_columns_that_fill_no_block_are_forecast_too(fine: xr.Dataset) -> None:
    odd = fine.isel(latitude=slice(9), longitude=slice(17))
    refined = refine(trained(coarse(odd)), odd)
    assert refined.checkpoint.grid_shape == (9, 17)
    assert refined.training.shape == (4, 8)


def test_any_whole_number_of_times_finer_will_do(fine: xr.Dataset) -> None:
    for factor in (2, 3, 4):
        assert refine(trained(coarse(fine, factor), modes=[3, 1, 3]), fine).factor == factor


def test_a_forecast_says_on_which_grid_its_operator_was_trained(
    fine: xr.Dataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "best", checkpoint)
    ds = forecast(load_checkpoint(tmp_path / "best"), fine, start=START, leads=LEADS, to=tmp_path / "f.nc")
    rows, columns = Grid.from_dataset(fine).spacing
    assert ds.attrs["forecast_grid"] == f"10 x 18 cells of {rows:.0f} x {columns:.0f} m"
    rows, columns = Grid.from_dataset(coarse(fine)).spacing
    assert ds.attrs["training_grid"] == f"5 x 9 cells of {rows:.0f} x {columns:.0f} m"
    assert ds.attrs["refinement"] == FACTOR
    assert np.isfinite(ds["uo"].to_numpy()[0][:, fine["mask"].to_numpy() > 0]).all()


def test_land_of_the_finer_grid_has_no_influence(fine: xr.Dataset, checkpoint: Checkpoint) -> None:
    littered = fine.copy(deep=True)
    for name in STATE:
        littered[name] = littered[name].fillna(77.0)
    expected, made = (forecast(checkpoint, ds, start=START, leads=LEADS) for ds in (fine, littered))
    for name in STATE:
        assert made[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes()


def test_an_operator_that_changes_nothing_keeps_the_mean_over_the_finer_sea(
    fine: xr.Dataset, checkpoint: Checkpoint
) -> None:
    weights = {
        name: torch.zeros_like(value) if name.startswith("operator.projection.2") else value
        for name, value in checkpoint.weights.items()
    }
    still = dataclasses.replace(checkpoint, weights=weights)
    ds = forecast(still, fine, start=START, leads=LEADS)
    wet, area = fine["mask"].to_numpy() > 0, fine["cell_area"].to_numpy()
    for name in STATE:
        last = fine[name].to_numpy()[80].astype(float)
        mean = np.average(last[wet], weights=area[wet])
        for state in ds[name].to_numpy()[0].astype(float):
            # scaled and scaled back in float32 in each of three windows: parts in 1e7 of numbers below 1
            np.testing.assert_allclose(state[wet], last[wet], rtol=0, atol=5e-7)
            assert np.average(state[wet], weights=area[wet]) == pytest.approx(mean, abs=1e-7)


def test_zeros_beside_the_domain_are_as_wide_as_in_training(fine: xr.Dataset) -> None:
    padded = trained(coarse(fine), padding=[2, 1, 3])
    refined = refine(padded, fine).checkpoint
    assert refined.step.operator.padding == (2, FACTOR * 1, FACTOR * 3)
    told = forecast(padded, fine, start=START, leads=1).attrs["run"]
    assert told == padded.run.model_dump_json()


def driven(ds: xr.Dataset) -> xr.Dataset:
    parent = sea(seed=1)
    for name in STATE:
        ds = ds.assign(
            {f"{name}_boundary": (ds[name].dims, parent[name].to_numpy(), cf_attributes(f"{name}_boundary"))}
        )
    return ds


def test_an_edge_zone_is_as_wide_as_in_training(fine: xr.Dataset) -> None:
    store = driven(fine)
    checkpoint = trained(coarse(store), zone=1)
    # A parent of a variable that drove nothing in training drives nothing now
    beside = store.assign(zos_boundary=store["uo_boundary"])
    ds = forecast(checkpoint, beside, start=START, leads=LEADS)
    grid = Grid.from_dataset(fine)
    assert ds.attrs["edge_zone"] == FACTOR
    weight = refine(checkpoint, beside).checkpoint.step.relaxation
    assert weight is not None
    expected = np.where(grid.mask, edge_weight(grid, FACTOR), 0.0).astype(np.float32)
    np.testing.assert_array_equal(weight[0].numpy(), expected)
    edge = open_edge(grid)
    for name in STATE:
        parent = store[f"{name}_boundary"].to_numpy()[81 : 81 + LEADS]
        np.testing.assert_array_equal(ds[name].to_numpy()[0][:, edge], parent[:, edge])


def test_an_edge_zone_that_the_finer_store_cannot_feed_is_refused(fine: xr.Dataset) -> None:
    store = driven(fine)
    checkpoint = trained(coarse(store), zone=1)
    store["uo_boundary"].attrs["edge_zone_covered"] = 1
    with pytest.raises(
        ValueError,
        match=r"edge zone of the checkpoint FNOtD, 1 cells of its training grid, is 2 cells of the store's: .*"
        r"'uo_boundary' covers the outermost 1 cells",
    ):
        forecast(checkpoint, store, start=START, leads=1)


def test_the_sea_floor_is_given_where_it_was_learned_and_only_there(fine: xr.Dataset) -> None:
    deep = fine.assign(deptho=fine["uo"][0] * 0 + 250.0)
    with_depth, without = trained(coarse(deep)), trained(coarse(fine))
    static = refine(with_depth, deep).checkpoint.step.static
    wet = deep["mask"].to_numpy() > 0
    # half of sqrt(1000 m), 10^0.4 times 100 m, and nothing on land
    np.testing.assert_array_equal(static[-2].numpy(), np.where(wet, np.float32(0.5), 0))
    np.testing.assert_allclose(static[-1].numpy(), np.where(wet, np.log10(2.5), 0), rtol=1e-6)  # float32
    assert len(refine(without, deep).checkpoint.step.static) == len(static) - 2
    with pytest.raises(
        ValueError, match=r"trained with the depth of the sea floor, 'deptho', which the store does"
    ):
        refine(with_depth, fine)


def test_waves_that_training_did_not_resolve_are_refused(fine: xr.Dataset) -> None:
    # 5 x 9 cells resolve waves up to 2 and 4 to the domain
    refine(trained(coarse(fine), modes=[3, 5, 9]), fine)
    for modes in ([3, 6, 4], [3, 4, 10]):
        with pytest.raises(
            ValueError,
            match=rf"keeps {modes[1]} x {modes[2]} modes along y and x, and the 5 x 9 cells of its training do not "
            r"resolve them all, so that on a grid 2 times finer weights would act that were never learned; forecast",
        ):
            refine(trained(coarse(fine), modes=modes), fine)
    # zeros beside the domain count: they are in what is transformed
    refine(trained(coarse(fine), modes=[3, 6, 4], padding=[0, 2, 0]), fine)


def test_another_region_a_coarser_grid_or_another_coast_is_refused(
    fine: xr.Dataset, checkpoint: Checkpoint
) -> None:
    with pytest.raises(
        ValueError,
        match=r"on another grid: 5 x 9 cells .* store has 10 x 18 cells of \d+ x \d+ m .* which lie elsewhere\. "
        r"An operator runs on its own grid, and on a finer one of which blocks of N x N cells",
    ):
        refine(checkpoint, sea(shift=0.01))
    with pytest.raises(ValueError, match=r"store has 5 x 9 cells of .* which do not make up its cells\."):
        refine(trained(fine), coarse(fine))
    with pytest.raises(ValueError, match=r"store has 9 x 18 cells of .* which do not make up its cells\."):
        refine(checkpoint, fine.isel(latitude=slice(9)))
    drained = coarse(fine)
    drained["mask"][-1, -1] = 0
    with pytest.raises(ValueError, match=r"5 x 9 cells .* which lie elsewhere or have another mask\."):
        refine(checkpoint, drained)


def test_another_step_or_variable_is_refused_on_a_finer_grid_too(
    fine: xr.Dataset, checkpoint: Checkpoint
) -> None:
    with pytest.raises(ValueError, match=r"time step of 3 h, the checkpoint FNOtD one of 1 h"):
        forecast(checkpoint, fine.isel(time=slice(None, None, 3)), start="2020-01-04T09", leads=2)
    with pytest.raises(ValueError, match=r"needs the forcing v10, which the store does not hold"):
        forecast(checkpoint, fine.drop_vars("v10"), start=START, leads=2)


def test_a_past_of_another_grid_is_not_forecast_without_refinement(
    fine: xr.Dataset, checkpoint: Checkpoint
) -> None:
    with pytest.raises(
        ValueError, match=r"past of 10 x 18 cells, and its checkpoint holds the mask of 5 x 9; give"
    ):
        next(run_forecaster(LearnedForecaster(checkpoint), fine, checkpoint.layout, [80], 1))


@pytest.mark.parametrize("projected", [True, False])
def test_stores_ingested_with_two_coarsenings_fit_together(projected: bool, tmp_path: Path) -> None:
    """The shipped sample's projection, or its positions alone: 25 x 37 cells of 8 x 8, 50 x 75 of 4 x 4."""
    source = sample_paths().ocean
    if not projected:
        with open_store(ingest(source, to=tmp_path / "native.zarr")) as ds:
            plain = ds[["uo", "vo"]].isel(time=slice(2)).drop_vars(["y", "x"]).load()
        for name in STATE:
            plain[name].encoding.clear()
            del plain[name].attrs["grid_mapping"]
        source = tmp_path / "plain.nc"
        plain.to_netcdf(source)
    stores = [open_store(ingest(source, to=tmp_path / f"{size}.zarr", coarsen=size)) for size in (8, 4)]
    grids = [Grid.from_dataset(ds) for ds in stores]
    assert [grid.shape for grid in grids] == [(25, 37), (50, 75)]
    assert [(grid.grid_mapping is not None) for grid in grids] == [projected, projected]
    layout = Layout.from_dataset(stores[0])
    run = parse_run(
        {"model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [2, 2], "width": 2, "layers": 1}}
    )
    step = build_step(run, layout, static=static_fields(grids[0]), wet=layout.wet(stores[0]))
    checkpoint = Checkpoint(
        run, layout, grids[0].fingerprint, grids[0].shape, np.timedelta64(3600, "s"), 0, step.state_dict(), {}
    )
    refined = refine(checkpoint, stores[1])
    assert refined.factor == 2
    assert refined.training.spacing == pytest.approx(grids[0].spacing, rel=1e-9)
    assert refined.checkpoint.step.static.shape[-2:] == (50, 75)
