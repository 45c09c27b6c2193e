"""A parent's states come to the child's cells and times unbent, and what the parent does not cover is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from data_pipelines import describe, ingest, open_store, read_statistics, sample_paths
from oceanop.edge import COVERED, edge_distance, open_edge
from oceanop.grid import Grid
from tests.data_pipelines.conftest import FileWriter

ZOS = "sea_surface_height_above_geoid"


def plane(latitude: np.ndarray, longitude: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """A sea level, m, that is linear in latitude, longitude and time."""
    t, y, x = np.ix_(hours, latitude, longitude)
    return (0.1 * (y - 55) - 0.05 * (x - 10) + 0.01 * t).astype(np.float32)


CHILD = (np.linspace(55.2, 55.8, 7), np.linspace(10.4, 11.6, 9))
PARENT = (np.linspace(54.8, 56.2, 8), np.linspace(9.6, 12.4, 8))


@pytest.fixture
def child(write_file: FileWriter) -> Path:
    """A piece of sea, open on all sides but for one corner, hourly."""
    values = plane(*CHILD, np.arange(12.0))
    values[:, :2, :2] = np.nan
    return write_file("child.nc", {"zos": (ZOS, "m", values)}, latitude=CHILD[0], longitude=CHILD[1])


def parent_file(write_file: FileWriter, *, hours: np.ndarray | None = None, **changes: object) -> Path:
    hours = np.arange(0.0, 13.0, 3.0) if hours is None else hours
    axes = {"latitude": PARENT[0], "longitude": PARENT[1], **changes}
    values = plane(np.asarray(axes["latitude"]), np.asarray(axes["longitude"]), hours)
    return write_file("parent.nc", {"ssh": (ZOS, "cm", 100 * values)}, hours=hours, **axes)


def test_a_linear_sea_arrives_exactly_in_space_time_and_unit(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    ds = open_store(ingest(child, to=tmp_path / "s.zarr", boundary=parent_file(write_file)))
    wet = ds["mask"].to_numpy() > 0.5
    brought, own = ds["zos_boundary"].to_numpy()[:, wet], ds["zos"].to_numpy()[:, wet]
    # the tangent plane bends a parent's 0.2 x 0.4 degree cell by 1e-4 of it; centimetres are written in float32
    np.testing.assert_allclose(brought, own, atol=2e-4)
    assert np.isnan(ds["zos_boundary"].to_numpy()[:, ~wet]).all()


def test_a_parents_own_steps_keep_their_bits(write_file: FileWriter, child: Path, tmp_path: Path) -> None:
    """Between steps the values are interpolated, on a step they are the parent's, whatever follows."""
    sparse = open_store(ingest(child, to=tmp_path / "a.zarr", boundary=parent_file(write_file)))
    dense = parent_file(write_file, hours=np.arange(12.0))
    full = open_store(ingest(child, to=tmp_path / "b.zarr", boundary=dense))
    np.testing.assert_array_equal(sparse["zos_boundary"][::3], full["zos_boundary"][::3])


def test_a_store_keeps_what_its_boundary_values_are(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    store = ingest(child, to=tmp_path / "s.zarr", boundary=parent_file(write_file))
    ds = open_store(store)
    attrs = ds["zos_boundary"].attrs
    assert attrs["standard_name"] == ZOS
    assert attrs["units"] == "m"
    assert attrs["source_variable"] == "ssh"
    assert attrs["source_step_seconds"] == 10800
    assert "nearest one within" in attrs["regridding"]
    grid = Grid.from_dataset(ds)
    assert attrs["open_edge_cells"] == open_edge(grid).sum()
    assert attrs["open_edge_cells_without_value"] == 0
    assert attrs[COVERED] >= edge_distance(grid)[grid.mask].max()
    parent = next(entry for entry in json.loads(ds.attrs["sources"]) if entry["role"] == "boundary")
    assert parent["name"] == "parent.nc"
    assert len(parent["sha256"]) == 64
    assert "--boundary parent.nc" in ds.attrs["command"]
    assert "zos_boundary" in read_statistics(store)
    told = describe(store)
    assert told["variables"]["zos_boundary"]["role"] == "boundary"
    assert told["open_boundaries"]["boundary_values"] == ["zos_boundary"]
    assert told["open_boundaries"]["cells"] == attrs["open_edge_cells"]


def test_a_store_without_boundary_values_says_so(child: Path, tmp_path: Path) -> None:
    told = describe(ingest(child, to=tmp_path / "s.zarr"))
    assert told["open_boundaries"]["boundary_values"] == "none, so that runs treat them as closed"


def test_the_rest_of_a_store_does_not_change(write_file: FileWriter, child: Path, tmp_path: Path) -> None:
    with_, without = (
        open_store(ingest(child, to=tmp_path / name, **options))
        for name, options in (("a.zarr", {"boundary": parent_file(write_file)}), ("b.zarr", {}))
    )
    xr.testing.assert_identical(with_.drop_vars("zos_boundary").drop_attrs(), without.drop_attrs())


def test_the_same_request_is_done_and_another_parent_is_another_request(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    to, parent = tmp_path / "s.zarr", parent_file(write_file)
    ingest(child, to=to, boundary=parent)
    before = (to / "zarr.json").stat().st_mtime_ns
    ingest(child, to=to, boundary=parent)
    assert (to / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"holds another store: it was made from child\.nc, parent\.nc"):
        ingest(child, to=to)


def test_the_shipped_current_is_turned_as_the_childs_own_is(tmp_path: Path) -> None:
    """The child's own file as its parent: all that differs is rounding of the weights."""
    ocean = sample_paths().ocean
    ds = open_store(ingest(ocean, to=tmp_path / "s.zarr", boundary=ocean, region=(4.0, 5.5, 60.0, 60.8)))
    wet = ds["mask"].to_numpy() > 0.5
    assert "turned" in ds["uo"].attrs["vector_frame"]
    for name in ("uo", "vo"):
        np.testing.assert_allclose(
            ds[f"{name}_boundary"].to_numpy()[:, wet], ds[name].to_numpy()[:, wet], rtol=0, atol=1e-5
        )


def test_a_store_can_be_the_parent(coarse_store: Path, tmp_path: Path) -> None:
    ds = open_store(ingest(sample_paths().ocean, to=tmp_path / "s.zarr", boundary=coarse_store, coarsen=2))
    grid, known = Grid.from_dataset(ds), np.isfinite(ds["uo_boundary"].to_numpy())
    assert (known == known[0]).all()
    told = ds["uo_boundary"].attrs
    assert known[0, open_edge(grid)].sum() == told["open_edge_cells"] - told["open_edge_cells_without_value"]
    error = (ds["uo_boundary"] - ds["uo"]).to_numpy()[known & np.isfinite(ds["uo"].to_numpy())]
    # means over blocks of 3.2 km say most, and not all, of those over 1.6 km
    assert 0.01 < error.std() < 0.5 * float(ds["uo"].std())


def test_an_unfinished_parent_is_refused(coarse_store: Path, child: Path, tmp_path: Path) -> None:
    root = json.loads((coarse_store / "zarr.json").read_text())
    broken = tmp_path / "parent.zarr"
    broken.mkdir()
    for entry in coarse_store.iterdir():
        if entry.name != "zarr.json":
            (broken / entry.name).symlink_to(entry)
    root["attributes"]["complete"] = False
    (broken / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ValueError, match=r"parent\.zarr is not complete"):
        ingest(child, to=tmp_path / "s.zarr", boundary=broken)


def land_in_the_west(write_file: FileWriter, columns: int) -> Path:
    hours = np.arange(12.0)
    values = plane(*PARENT, hours)
    values[:, :, :columns] = np.nan
    return write_file(
        "parent.nc", {"zos": (ZOS, "m", values)}, hours=hours, latitude=PARENT[0], longitude=PARENT[1]
    )


def test_near_the_parents_land_its_nearest_sea_stands_in(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    """Land as far as 10.4 E: the child's first columns lie between it and the parent's first sea, at 10.8 E."""
    parent = land_in_the_west(write_file, 3)
    ds = open_store(ingest(child, to=tmp_path / "s.zarr", boundary=parent))
    attrs = ds["zos_boundary"].attrs
    assert attrs["open_edge_cells_filled_nearest"] > 0
    assert attrs["open_edge_cells_without_value"] == 0
    first = ds["zos_boundary"].isel(longitude=0).to_numpy()[:, 3]  # on the parent's land, at 55.5 N
    rows = plane(PARENT[0], np.array([10.8]), np.arange(12.0))[:, :, 0]
    apart = np.abs(rows - first[:, None]).min(1)
    np.testing.assert_allclose(apart, 0, atol=1e-6)


def test_far_inside_the_parents_land_nothing_is_known_and_it_is_counted(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    """Sea of the parent from 11.6 E on, which reaches two cells of 0.4 degrees (45 km at the most) to the west."""
    ds = open_store(ingest(child, to=tmp_path / "s.zarr", boundary=land_in_the_west(write_file, 5)))
    edge = open_edge(Grid.from_dataset(ds))
    known = np.isfinite(ds["zos_boundary"].to_numpy()).all(0)
    lost = int((edge & ~known).sum())
    assert 0 < lost == ds["zos_boundary"].attrs["open_edge_cells_without_value"] < edge.sum()


def test_a_parent_with_land_along_the_edge_is_refused(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"holds values within \d+ m of only \d+ % of the .* Give a parent whose sea"
    ):
        ingest(child, to=tmp_path / "s.zarr", boundary=land_in_the_west(write_file, 7))


def test_a_parent_that_ends_before_the_edge_is_refused(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    parent = parent_file(write_file, longitude=np.linspace(9.6, 10.8, 8))
    with pytest.raises(
        ValueError, match=r"does not reach the open edge of the domain: .* outside the parent's grid"
    ):
        ingest(child, to=tmp_path / "s.zarr", boundary=parent)


def test_a_parent_with_a_hole_inside_covers_the_zone_alone(write_file: FileWriter, tmp_path: Path) -> None:
    """Only a rim of the domain is asked of a parent; how wide a zone may be, the store says."""
    latitude, longitude = np.linspace(55.0, 57.0, 21), np.linspace(10.0, 12.0, 21)
    hours = np.arange(3.0)
    values = plane(latitude, longitude, hours)
    values[:, :, 0] = values[:, 0] = values[:, -1] = np.nan  # open in the east alone
    child = write_file("child.nc", {"zos": (ZOS, "m", values)}, latitude=latitude, longitude=longitude)
    parent = parent_file(write_file, hours=hours, latitude=latitude, longitude=np.linspace(11.5, 12.1, 7))
    ds = open_store(ingest(child, to=tmp_path / "s.zarr", boundary=parent))
    # 11.5 E is 5 cells from the edge, and a cell of the parent beside it belongs to its domain
    assert ds["zos_boundary"].attrs[COVERED] == 7


def test_a_parent_of_another_time_is_refused(write_file: FileWriter, child: Path, tmp_path: Path) -> None:
    parent = parent_file(write_file, hours=np.arange(0.0, 10.0, 3.0))
    with pytest.raises(
        ValueError, match=r"parent\.nc.*nothing is extrapolated in time\. Give a parent model for"
    ):
        ingest(child, to=tmp_path / "s.zarr", boundary=parent)


def test_a_parent_of_other_variables_is_refused(write_file: FileWriter, child: Path, tmp_path: Path) -> None:
    values = 8 + plane(*PARENT, np.arange(12.0))
    parent = write_file(
        "parent.nc",
        {"tos": ("sea_surface_temperature", "degC", values)},
        latitude=PARENT[0],
        longitude=PARENT[1],
    )
    with pytest.raises(ValueError, match=r"parent\.nc holds none of the states zos, only tos; give a parent"):
        ingest(child, to=tmp_path / "s.zarr", boundary=parent)


def test_a_parent_without_the_childs_levels_is_refused(write_file: FileWriter, tmp_path: Path) -> None:
    hours, depths = np.arange(4.0), [0.0, 20.0]
    warm = 8 + np.stack([plane(*CHILD, hours)] * 2, axis=1)
    name = "sea_water_potential_temperature"
    child = write_file(
        "child.nc", {"t": (name, "degC", warm)}, latitude=CHILD[0], longitude=CHILD[1], depths=depths
    )
    flat = write_file(
        "parent.nc", {"t": (name, "degC", 8 + plane(*PARENT, hours))}, latitude=PARENT[0], longitude=PARENT[1]
    )
    with pytest.raises(ValueError, match="has no depths, and the domain keeps 'thetao' on 2 levels"):
        ingest(child, to=tmp_path / "s.zarr", boundary=flat, depths="all")


def test_every_level_comes_from_the_parents_own(write_file: FileWriter, tmp_path: Path) -> None:
    hours, depths, name = np.arange(4.0), [0.0, 20.0], "sea_water_potential_temperature"

    def deep(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        return np.stack(
            [8 + plane(latitude, longitude, hours), 4 - plane(latitude, longitude, hours)], axis=1
        )

    warm = deep(*CHILD)
    warm[:, 1, :, :3] = np.nan
    child, parent = (
        write_file(file, {"t": (name, "degC", values)}, latitude=y, longitude=x, depths=depths)
        for file, values, (y, x) in (("child.nc", warm, CHILD), ("parent.nc", deep(*PARENT), PARENT))
    )
    ds = open_store(ingest(child, to=tmp_path / "s.zarr", boundary=parent, depths="all"))
    wet = ds["mask"].to_numpy() > 0.5
    np.testing.assert_allclose(
        ds["thetao_boundary"].to_numpy()[:, wet], ds["thetao"].to_numpy()[:, wet], atol=2e-4
    )
    assert ds["thetao_boundary"].dims == ds["thetao"].dims


def test_a_closed_sea_needs_no_parent_and_refuses_one(write_file: FileWriter, tmp_path: Path) -> None:
    values = plane(*CHILD, np.arange(12.0))
    values[:, [0, -1]] = np.nan
    values[:, :, [0, -1]] = np.nan
    child = write_file("child.nc", {"zos": (ZOS, "m", values)}, latitude=CHILD[0], longitude=CHILD[1])
    with pytest.raises(ValueError, match=r"no ocean cell lies on an open edge .* leave --boundary out"):
        ingest(child, to=tmp_path / "s.zarr", boundary=parent_file(write_file))


def test_a_stores_boundary_values_are_not_taken_for_its_state(
    write_file: FileWriter, child: Path, tmp_path: Path
) -> None:
    store = ingest(child, to=tmp_path / "s.zarr", boundary=parent_file(write_file))
    again = open_store(ingest(store, to=tmp_path / "again.zarr"))
    assert "zos_boundary" not in again
    np.testing.assert_array_equal(again["zos"], open_store(store)["zos"])
