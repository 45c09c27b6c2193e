"""Two forecasters as one: the laws of every forecaster, and shares that are the best there are."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from forecasting import Forecaster, Initial, LearnedForecaster, State, run_forecaster
from forecasting.baselines import Persistence
from forecasting.fading import Fading, Fold, fitted_share, never_growing
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from tests.forecasting import test_forecasters as laws
from tests.forecasting.conftest import operator

LEADS, START = 7, 80
SHARE = (0.9, 0.5, 0.5, 0.1, 0.0)


class Around:
    """What happened, plus an error that is the same everywhere in the sea."""

    history = 2

    def __init__(self, ocean: xr.Dataset, layout: Layout, errors: list[float], name: str = "around") -> None:
        self.states, self.wet, self.errors, self.name = layout.pack(ocean), layout.wet(ocean), errors, name
        self.first = ocean["time"].values[0]

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        start = int((initial.start - self.first) / np.timedelta64(1, "h"))
        for lead in range(1, leads + 1):
            error = self.wet * self.errors[lead - 1]
            yield State(lead, self.states[:, start + lead] + error)


@pytest.fixture
def layout(ocean: xr.Dataset) -> Layout:
    return Layout.from_dataset(ocean, forcing=[])


@pytest.fixture
def learned(ocean: xr.Dataset) -> tuple[LearnedForecaster, LearnedForecaster]:
    first, second = (LearnedForecaster(operator(ocean, seed=seed)) for seed in (1, 2))
    return first, second


def run(forecaster: Forecaster, layout: Layout, ocean: xr.Dataset, leads: int = LEADS) -> Tensor:
    states = [state for _, state in run_forecaster(forecaster, ocean, layout, [START], leads)]
    assert [state.lead for state in states] == list(range(1, leads + 1))
    return torch.stack([state.values for state in states])


class Constant:
    """One number on two channels, or on as many as are asked for."""

    history, name = 1, "constant"

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        for lead in range(1, leads + 1):
            yield State(lead, torch.ones(self.channels, 3, 3))


def test_states_of_other_channels_are_refused() -> None:
    fading = Fading(Constant(1), Constant(2), (0.5,))
    initial = Initial(torch.zeros(2, 1, 3, 3), np.array(["2020-01-01"], dtype="datetime64[ns]"), None)
    with pytest.raises(
        ValueError, match=r"constant forecasts states of shape \(1, 3, 3\) and constant of \(2, 3, 3\)"
    ):
        next(fading.forecast(initial, None, 1))


def test_it_is_a_forecaster_that_needs_the_longer_past(
    ocean: xr.Dataset, learned: tuple[LearnedForecaster, LearnedForecaster]
) -> None:
    fading = Fading(Persistence(torch.ones(2, *ocean["mask"].shape, dtype=torch.bool)), learned[1], SHARE)
    assert isinstance(fading, Forecaster)
    assert fading.history == learned[1].history
    assert fading.name == "persistence into FNOtD"


def test_every_lead_is_the_mean_of_both_with_its_share(
    ocean: xr.Dataset, checkpoint: Checkpoint, learned: tuple[LearnedForecaster, LearnedForecaster]
) -> None:
    layout = checkpoint.layout
    short, long = (run(each, layout, ocean) for each in learned)
    share = torch.tensor([*SHARE, 0.0, 0.0])[:, None, None, None]
    mixture = run(Fading(*learned, SHARE), layout, ocean)
    # One rounding apart: the mean is taken as long + share (short - long)
    torch.testing.assert_close(mixture, share * short + (1 - share) * long, rtol=0, atol=1e-6)
    assert (mixture[:, ~layout.wet(ocean)] == 0).all()


def test_two_forecasts_in_turns_leave_gradients_to_those_who_want_them(
    ocean: xr.Dataset, checkpoint: Checkpoint, learned: tuple[LearnedForecaster, LearnedForecaster]
) -> None:
    layout, fading = checkpoint.layout, Fading(*learned, SHARE)
    for _ in run_forecaster(fading, ocean, layout, [START], LEADS):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("share", "alone"), [((1.0,), 0), ((0.0,), 1)])
def test_with_all_of_one_it_is_that_one(
    ocean: xr.Dataset,
    checkpoint: Checkpoint,
    learned: tuple[LearnedForecaster, LearnedForecaster],
    share: tuple[float],
    alone: int,
) -> None:
    layout = checkpoint.layout
    assert torch.equal(run(Fading(*learned, share), layout, ocean), run(learned[alone], layout, ocean))


def test_the_short_one_is_not_run_past_its_last_share(ocean: xr.Dataset, layout: Layout) -> None:
    # It has errors for two leads only and would break at the third.
    short, long = Around(ocean, layout, [0.1, 0.1]), Around(ocean, layout, [0.2] * LEADS)
    assert run(Fading(short, long, [0.5, 0.5, 0.0]), layout, ocean).shape[0] == LEADS


@pytest.mark.parametrize(
    "law",
    [
        laws.test_states_are_finite_and_zero_on_land,
        laws.test_states_after_the_start_are_never_read,
        laws.test_the_same_start_gives_the_same_forecast,
        laws.test_more_past_than_needed_changes_nothing,
    ],
)
def test_it_obeys_the_laws_of_every_forecaster(
    ocean: xr.Dataset,
    checkpoint: Checkpoint,
    learned: tuple[LearnedForecaster, LearnedForecaster],
    law: Callable[[tuple[Forecaster, Layout], xr.Dataset], None],
) -> None:
    law((Fading(*learned, SHARE), checkpoint.layout), ocean)


@pytest.mark.parametrize("share", [[], [0.5, 0.6], [1.2, 0.1], [0.3, -0.1], [float("nan")]])
def test_shares_that_grow_or_leave_their_range_are_refused(
    ocean: xr.Dataset, layout: Layout, share: list[float]
) -> None:
    one = Around(ocean, layout, [0.0])
    with pytest.raises(ValueError, match=r"the shares of around are .*; give one or more from 1 to 0"):
        Fading(one, one, share)


def test_errors_of_known_size_give_the_shares_of_the_closed_form(ocean: xr.Dataset, layout: Layout) -> None:
    # Errors a and b of opposite sign cancel with the share b / (b - a); of one sign, the smaller one is best alone.
    short = Around(ocean, layout, [0.0, -0.1, -0.3, 0.4])
    long = Around(ocean, layout, [0.2, 0.3, 0.3, 0.2])
    share = fitted_share([Fold(short, long, ocean, [70, 80])], layout, leads=4)
    # Fields are float32: the differences of errors carry their rounding, 1e-7 of 0.2
    assert share == pytest.approx([1.0, 0.75, 0.5, 0.0], abs=1e-5)
    best = run(Fading(short, long, share), layout, ocean, 4)
    truth = layout.pack(ocean)[:, START + 1 : START + 5].movedim(1, 0)
    torch.testing.assert_close(best[:3], truth[:3], rtol=0, atol=1e-5)


def test_folds_count_by_the_starts_and_leads_that_they_have(ocean: xr.Dataset, layout: Layout) -> None:
    short, long = Around(ocean, layout, [-0.1] * 4), Around(ocean, layout, [0.1] * 4)
    worse = Around(ocean, layout, [-0.3] * 4)
    ends = ocean.isel(time=slice(0, 73))  # two leads after step 70
    share = fitted_share([Fold(short, long, ocean, [60]), Fold(worse, long, ends, [70])], layout, leads=4)
    # sum(e_long (e_long - e_short)) / sum((e_long - e_short)^2): (.02 + .04) / (.04 + .16), then .02 / .04, which
    # grows; so all four leads are pooled: (2 * .06 + 2 * .02) / (2 * .2 + 2 * .04)
    assert share == pytest.approx([0.16 / 0.48] * 4, abs=1e-5)


def test_the_same_forecast_twice_leaves_the_long_one_alone(ocean: xr.Dataset, layout: Layout) -> None:
    one = Around(ocean, layout, [0.1] * 3)
    assert fitted_share([Fold(one, one, ocean, [70])], layout, leads=3) == [0.0, 0.0, 0.0]


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.floats(0.05, 2)), min_size=1, max_size=6),
)
def test_no_other_sequence_that_never_grows_does_better(leads: list[tuple[float, float]]) -> None:
    best, distance = (np.array(part) for part in zip(*leads, strict=True))
    agreement = best * distance

    def loss(share: np.ndarray) -> float:
        return float((distance * share**2 - 2 * agreement * share).sum())

    share = np.array(never_growing(agreement, distance))
    assert ((share >= 0) & (share <= 1)).all()
    assert (np.diff(share) <= 0).all()
    count = len(share)
    steps = LinearConstraint(np.diff(np.eye(count), axis=0), -np.inf, 0) if count > 1 else ()
    found = minimize(
        loss,
        np.full(count, 0.5),
        jac=lambda share: 2 * (distance * share - agreement),
        bounds=[(0, 1)] * count,
        constraints=steps,
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    # SLSQP ends within its ftol of the least value, and both sums round at 1e-15
    assert loss(share) <= found.fun + 1e-9


def test_truth_that_is_missing_is_told_by_its_time(ocean: xr.Dataset, layout: Layout) -> None:
    holed = ocean.copy(deep=True)
    holed["uo"][72, 8, 8] = np.nan
    one = Around(ocean, layout, [0.1] * 4)
    with pytest.raises(
        ValueError,
        match=r"the truth is missing at 2020-01-04T00.* on ocean cells, and shares are fitted to it",
    ):
        fitted_share([Fold(one, one, holed, [70])], layout, leads=4)


def test_more_leads_than_the_held_out_hours_have_are_refused(ocean: xr.Dataset, layout: Layout) -> None:
    one = Around(ocean, layout, [0.1] * 9)
    with pytest.raises(
        ValueError, match=r"longest forecast of the held-out hours has 5 leads, and shares .* for 8"
    ):
        fitted_share([Fold(one, one, ocean, [90])], layout, leads=8)
