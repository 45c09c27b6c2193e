"""Tables of scores of which most places are empty."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray

from forecasting import entries
from forecasting.entries import DIMS, NUMBERS, parts
from forecasting.findings import scores_table
from forecasting.scores import joined, write_csv, write_netcdf

SETS, LEADS = 40, 40


def one_set(number: int) -> xr.Dataset:
    """A metric with a band of its own, for some variables alone."""
    generator = np.random.default_rng(number)
    variables = ["zos", "uo", "vo", "uo+vo"][number % 3 :]
    shape = (5, len(variables), 1, 1, LEADS)
    value = generator.standard_normal(shape)
    value[:, :, :, :, 3] = np.nan  # counted, though without a value, as a current's one bias is
    leads = [*map(str, range(1, LEADS)), "all"]
    coords = {
        "forecaster": [f"f{i}" for i in range(5)],
        "variable": variables,
        "metric": [f"m{number}"],
        "band": [f"b{number}"],
        "lead_hours": leads,
        "hours": ("lead_hours", [*map(float, leads[:-1]), np.nan], {"units": "hours"}),
    }
    fields = {"value": value, "low": value - 1, "high": value + 1, "count": np.full(shape, 7)}
    words = {"title": "of the first"} if number == 0 else {}
    return xr.Dataset({name: (DIMS, held) for name, held in fields.items()}, coords, attrs=words)


@pytest.fixture(scope="module")
def table() -> xr.Dataset:
    return joined([one_set(number) for number in range(SETS)])


def test_a_table_of_mostly_nothing_is_written_and_read_without_ever_being_there_as_a_whole(
    table: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    plain = entries._Scattered._at

    def watched(self: entries._Scattered, key: tuple[Any, ...]) -> NDArray[Any]:
        found = plain(self, key)
        made.append(found.nbytes)
        return found

    monkeypatch.setattr(entries._Scattered, "_at", watched)
    write_netcdf(table, tmp_path / "scores.nc")
    write_csv(table, tmp_path / "scores.csv")
    frame = scores_table(table)
    # One forecaster's one variable, of 5 and 4, is the most of each number
    assert max(made) == table["value"].nbytes // (5 * 4)
    whole = sum(table[name].nbytes for name in NUMBERS)
    assert whole > 40e6
    assert (tmp_path / "scores.nc").stat().st_size < whole / 30
    assert len(frame) == 5 * sum(4 - number % 3 for number in range(SETS)) * (LEADS - 1)
    with xr.open_dataset(tmp_path / "scores.nc") as file:
        assert file["count"].dtype == np.int64
        at = {"metric": "m7", "forecaster": "f2"}
        xr.testing.assert_identical(file.sel(at).load(), table.sel(at).load())
        # No other number is there, nor looks as if it were
        assert int((file["count"].sel(metric="m7") > 0).sum()) == 5 * 3 * LEADS
    rows = pd.read_csv(tmp_path / "scores.csv", dtype={"lead_hours": str})
    np.testing.assert_allclose(rows["value"], frame["value"], rtol=1e-6)  # seven digits are written
    assert rows[list(DIMS)].equals(frame[list(DIMS)].astype(rows[list(DIMS)].dtypes))


def test_what_is_asked_for_is_what_each_set_had(table: xr.Dataset) -> None:
    for number in (0, 1, SETS - 1):
        own = one_set(number)
        at = {dim: own[dim].values for dim in DIMS}
        xr.testing.assert_equal(table.sel(at).drop_vars("hours"), own.drop_vars("hours"))
    assert table.attrs == {"title": "of the first"}
    own = one_set(2)
    # By one label, backwards, twice the same, points, and another order of dimensions
    assert (
        float(table["value"].sel(forecaster="f1", variable="vo", metric="m2", band="b2", lead_hours="9"))
        == own["value"].sel(forecaster="f1", variable="vo", lead_hours="9").item()
    )
    picked = (
        table["low"].sel(metric="m2", band="b2", variable=["vo", "vo"]).isel(lead_hours=slice(None, None, -7))
    )
    expected = (
        own["low"].sel(metric="m2", band="b2", variable=["vo", "vo"]).isel(lead_hours=slice(None, None, -7))
    )
    np.testing.assert_array_equal(picked, expected)
    points = {
        "forecaster": xr.DataArray([4, 0, 4], dims="point"),
        "lead_hours": xr.DataArray([1, 2, 1], dims="point"),
    }
    near = {"variable": "uo+vo", "metric": "m2", "band": "b2"}
    np.testing.assert_array_equal(table["value"].sel(near).isel(points), own["value"].sel(near).isel(points))
    turned = table["value"].transpose(*reversed(DIMS)).sel(near)
    np.testing.assert_array_equal(turned, own["value"].sel(near).transpose("lead_hours", "forecaster"))
    nothing = table.sel(metric="m2", band="b3")
    assert nothing["value"].isnull().all()
    assert (nothing["count"] == 0).all()


def test_a_table_is_told_part_by_part_in_its_order(table: xr.Dataset) -> None:
    small = table.isel(metric=slice(0, 3), band=slice(0, 3))
    whole = small["value"].to_numpy()
    for pair, numbers in parts(small):
        np.testing.assert_array_equal(numbers["value"], whole[pair])


def test_a_score_in_two_tables_is_ours_to_mend(table: xr.Dataset) -> None:
    with pytest.raises(AssertionError, match="a score is in two tables"):
        joined([one_set(0), one_set(0)])
