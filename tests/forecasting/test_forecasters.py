"""The laws every forecaster obeys, learned or not."""

import numpy as np
import pytest
import torch
import xarray as xr

from forecasting import BASELINES, Forecaster, Initial, LearnedForecaster, baseline, run_forecaster
from forecasting.baselines import forcing_of
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from tests.forecasting.conftest import TRAIN

LEADS = 7
START = 80
KINDS = [*BASELINES, "learned"]
FORCED = ["wind-regression", "learned"]


def make(kind: str, ocean: xr.Dataset, checkpoint: Checkpoint) -> tuple[Forecaster, Layout]:
    if kind == "learned":
        return LearnedForecaster(checkpoint), checkpoint.layout
    variables = forcing_of(kind, list(ocean.data_vars))
    layout = Layout.from_dataset(ocean, forcing=variables)
    past = ocean.isel(time=slice(TRAIN))
    options = {"forcing": layout.pack(past, "forcing"), "variables": variables} if variables else {}
    wet = layout.wet(ocean)
    return baseline(kind, layout.pack(past), past["time"].values, wet, leads=LEADS, **options), layout


def run(forecaster: Forecaster, layout: Layout, ocean: xr.Dataset, leads: int = LEADS) -> torch.Tensor:
    return torch.stack(
        [state.values for _, state in run_forecaster(forecaster, ocean, layout, [START], leads)]
    )


@pytest.fixture(params=KINDS)
def case(
    request: pytest.FixtureRequest, ocean: xr.Dataset, checkpoint: Checkpoint
) -> tuple[Forecaster, Layout]:
    return make(request.param, ocean, checkpoint)


def test_it_is_a_forecaster_with_a_name_and_a_past(case: tuple[Forecaster, Layout]) -> None:
    forecaster, _ = case
    assert isinstance(forecaster, Forecaster)
    assert forecaster.name
    assert forecaster.history >= 1


@pytest.mark.parametrize("leads", [1, 3, 4, 7])
def test_states_come_in_order_as_many_as_asked_for(
    case: tuple[Forecaster, Layout], ocean: xr.Dataset, leads: int
) -> None:
    forecaster, layout = case
    states = [state for _, state in run_forecaster(forecaster, ocean, layout, [START], leads)]
    assert [state.lead for state in states] == list(range(1, leads + 1))
    assert all(state.values.shape == (2, *ocean["mask"].shape) for state in states)
    assert all(state.values.dtype == torch.float32 for state in states)


def test_states_are_finite_and_zero_on_land(case: tuple[Forecaster, Layout], ocean: xr.Dataset) -> None:
    forecaster, layout = case
    values = run(forecaster, layout, ocean)
    assert values.isfinite().all()
    assert (values[:, ~layout.wet(ocean)] == 0).all()
    assert (values[:, layout.wet(ocean)] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_on_land_changes_nothing(kind: str, ocean: xr.Dataset, checkpoint: Checkpoint) -> None:
    littered = ocean.copy(deep=True)
    for name in ("uo", "vo"):
        littered[name] = littered[name].fillna(77.0)
    expected = run(*make(kind, ocean, checkpoint), ocean)
    assert torch.equal(run(*make(kind, littered, checkpoint), littered), expected)


def test_states_after_the_start_are_never_read(case: tuple[Forecaster, Layout], ocean: xr.Dataset) -> None:
    forecaster, layout = case
    blind = ocean.copy(deep=True)
    for name in ("uo", "vo"):
        blind[name][START + 1 :] = np.nan
    assert torch.equal(run(forecaster, layout, blind), run(forecaster, layout, ocean))


@pytest.mark.parametrize("kind", FORCED)
def test_known_forcing_is_read_up_to_the_lead_and_no_further(
    kind: str, ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    case = make(kind, ocean, checkpoint)
    stormy = ocean.copy(deep=True)
    stormy["u10"][START + LEADS] += 5.0
    later = ocean.copy(deep=True)
    later["u10"][START + LEADS + 1] += 5.0
    expected = run(*case, ocean)
    assert not torch.equal(run(*case, stormy)[-1], expected[-1])
    assert torch.equal(run(*case, later), expected)


@pytest.mark.parametrize("kind", list(BASELINES))
def test_a_shorter_forecast_is_the_beginning_of_a_longer_one(
    kind: str, ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    case = make(kind, ocean, checkpoint)
    # Longer than the damping was fitted for
    assert torch.equal(run(*case, ocean, 12)[:LEADS], run(*case, ocean, LEADS))


def test_the_learned_one_keeps_its_whole_windows_in_a_longer_forecast(
    ocean: xr.Dataset, checkpoint: Checkpoint
) -> None:
    # The last window of 7 leads is cut and ignorant of later forcing; the 2 of 3 leads before it are not
    case = make("learned", ocean, checkpoint)
    assert torch.equal(run(*case, ocean, 12)[:6], run(*case, ocean, 7)[:6])


def test_the_same_start_gives_the_same_forecast(case: tuple[Forecaster, Layout], ocean: xr.Dataset) -> None:
    forecaster, layout = case
    first = run(forecaster, layout, ocean)
    torch.rand(3)
    assert torch.equal(run(forecaster, layout, ocean), first)


def test_more_past_than_needed_changes_nothing(case: tuple[Forecaster, Layout], ocean: xr.Dataset) -> None:
    forecaster, layout = case
    window = ocean.isel(time=slice(START - 59, START + 1))
    initial = Initial(layout.pack(window), window["time"].values)
    forcing = (
        layout.pack(ocean.isel(time=slice(START - 59, START + LEADS + 1)), "forcing")
        if layout.forcing
        else None
    )
    states = torch.stack([state.values for state in forecaster.forecast(initial, forcing, LEADS)])
    assert torch.equal(states, run(forecaster, layout, ocean))
