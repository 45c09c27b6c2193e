"""The truth of a forecast is the store at its valid times, whatever happened between."""

import numpy as np
import pytest
import xarray as xr

from forecasting import run_forecaster, truth_of
from forecasting.baselines import Persistence
from oceanop.grid import Grid
from oceanop.layout import Layout


@pytest.fixture
def forecast(ocean: xr.Dataset) -> xr.Dataset:
    """Two starts, three leads of persistence in the form of a file."""
    from forecasting.forecast import produce

    layout = Layout.from_dataset(ocean, forcing=[])
    return produce(Persistence(), ocean, layout, [10, 92], 3, time_step=3600, attributes={})


def test_truth_lies_at_the_valid_times(ocean: xr.Dataset, forecast: xr.Dataset) -> None:
    truth = truth_of(forecast, ocean)
    assert truth["uo"].dims == forecast["uo"].dims
    np.testing.assert_array_equal(truth["uo"][0], ocean["uo"][11:14])
    assert truth.attrs["model"] == "truth"


def test_times_after_the_store_are_missing(ocean: xr.Dataset, forecast: xr.Dataset) -> None:
    truth = truth_of(forecast, ocean.isel(time=slice(0, 95)))
    np.testing.assert_array_equal(truth["uo"][1, :2], ocean["uo"][93:95])
    assert np.isnan(truth["uo"][1, 2]).all()


def test_a_truth_without_the_times_or_of_another_grid_is_refused(
    ocean: xr.Dataset, forecast: xr.Dataset
) -> None:
    with pytest.raises(ValueError, match="holds none of the forecast's times"):
        truth_of(forecast, ocean.isel(time=slice(0, 5)))
    with pytest.raises(ValueError, match="another grid"):
        truth_of(forecast, ocean.isel(latitude=slice(1, None)))


def test_persistence_is_right_at_no_lead_but_its_start(ocean: xr.Dataset) -> None:
    layout = Layout.from_dataset(ocean, forcing=[])
    wet = Grid.from_dataset(ocean).mask
    states = [state.values[0] for _, state in run_forecaster(Persistence(), ocean, layout, [10], 2)]
    np.testing.assert_array_equal(states[0][wet], ocean["uo"].to_numpy()[10][wet])
