"""The mean of several forecasters: the laws of every forecaster, and those of a mean."""

import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import xarray as xr
from torch import Tensor

from forecasting import EnsembleMean, Forecaster, Initial, LearnedForecaster, State, run_forecaster
from forecasting.baselines import Persistence
from oceanop.checkpoint import Checkpoint
from oceanop.layout import Layout
from tests.forecasting import test_forecasters as laws
from tests.forecasting.conftest import operator
from tests.forecasting.test_fading import Around
from tests.forecasting.test_refinement import trained

LEADS, START = 7, 80


@pytest.fixture
def members(ocean: xr.Dataset) -> list[LearnedForecaster]:
    """Of two seeds, and one that looks back less far."""
    return [
        LearnedForecaster(each)
        for each in (operator(ocean), operator(ocean, seed=1), trained(ocean, history=2))
    ]


def run(forecaster: Forecaster, layout: Layout, ocean: xr.Dataset, leads: int = LEADS) -> Tensor:
    states = [state for _, state in run_forecaster(forecaster, ocean, layout, [START], leads)]
    assert [state.lead for state in states] == list(range(1, leads + 1))
    return torch.stack([state.values for state in states])


def test_it_is_a_forecaster_named_by_its_members_that_needs_the_longest_past(
    members: list[LearnedForecaster], ocean: xr.Dataset
) -> None:
    mean = EnsembleMean(members)
    assert isinstance(mean, Forecaster)
    assert (mean.name, mean.history) == ("FNOtD-ensemble", 4)
    still = Persistence(torch.ones(2, *ocean["mask"].shape, dtype=torch.bool))
    assert EnsembleMean([members[0], still]).name == "FNOtD+persistence-ensemble"


def test_every_state_is_the_mean_of_what_the_members_forecast_alone(
    ocean: xr.Dataset, checkpoint: Checkpoint, members: list[LearnedForecaster]
) -> None:
    alone = torch.stack([run(each, checkpoint.layout, ocean) for each in members])
    # Sums of three float32 below 1 in another order: parts in 1e7
    torch.testing.assert_close(
        run(EnsembleMean(members), checkpoint.layout, ocean), alone.mean(0), rtol=0, atol=5e-7
    )


def test_the_order_of_the_members_does_not_matter(
    ocean: xr.Dataset, checkpoint: Checkpoint, members: list[LearnedForecaster]
) -> None:
    forward, backward = (EnsembleMean(each) for each in (members, members[::-1]))
    # Sums of three float32 below 1 in another order: parts in 1e7
    torch.testing.assert_close(
        run(forward, checkpoint.layout, ocean), run(backward, checkpoint.layout, ocean), rtol=0, atol=5e-7
    )


def test_the_mean_of_one_is_that_one(
    ocean: xr.Dataset, checkpoint: Checkpoint, members: list[LearnedForecaster]
) -> None:
    assert EnsembleMean(members[:1]).name == members[0].name
    alone = run(members[0], checkpoint.layout, ocean)
    assert torch.equal(run(EnsembleMean(members[:1]), checkpoint.layout, ocean), alone)


def test_errors_of_opposite_sign_cancel(ocean: xr.Dataset) -> None:
    layout = Layout.from_dataset(ocean, forcing=[])
    apart = [Around(ocean, layout, [error] * LEADS) for error in (0.3, -0.1, -0.2)]
    truth = layout.pack(ocean)[:, START + 1 : START + 1 + LEADS].movedim(1, 0)
    # Rounding of float32 below 1
    torch.testing.assert_close(run(EnsembleMean(apart), layout, ocean), truth, rtol=0, atol=5e-7)


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
    members: list[LearnedForecaster],
    law: Callable[[tuple[Forecaster, Layout], xr.Dataset], None],
) -> None:
    law((EnsembleMean(members), checkpoint.layout), ocean)


class Counted:
    """Zeros, told how many states of all such forecasters somebody still holds."""

    history = 1
    name = "counted"

    def __init__(self, channels: int = 2, made: "weakref.WeakSet[Tensor] | None" = None) -> None:
        self.made = weakref.WeakSet() if made is None else made
        self.channels = channels
        self.leads = 0

    def forecast(self, initial: Initial, forcing: Tensor | None, leads: int) -> Iterator[State]:
        for self.leads in range(1, leads + 1):
            # The first member's is held while the others' are added, and of these the one that was added last
            assert len(self.made) <= 2
            yield State(self.leads, self._zeros(initial))

    def _zeros(self, initial: Initial) -> Tensor:
        made = torch.zeros(self.channels, *initial.state.shape[1:])
        self.made.add(made)
        return made


def test_states_are_summed_as_they_come_and_let_go(ocean: xr.Dataset) -> None:
    layout = Layout.from_dataset(ocean, forcing=[])
    made: weakref.WeakSet[Tensor] = weakref.WeakSet()
    members = [Counted(made=made) for _ in range(6)]
    for number, _ in enumerate(run_forecaster(EnsembleMean(members), ocean, layout, [START], LEADS), start=1):
        assert [each.leads for each in members] == [number] * 6


def test_no_member_and_states_of_other_channels_are_refused(ocean: xr.Dataset) -> None:
    with pytest.raises(
        ValueError, match=r"an ensemble has no member to take the mean of; give one forecaster or more"
    ):
        EnsembleMean([])
    layout = Layout.from_dataset(ocean, forcing=[])
    with pytest.raises(
        ValueError,
        match=r"counted, a member of an ensemble, forecasts 1 channel\(s\) of 10 x 18 cells, and counted, its first "
        r"member, 2 channel\(s\) of 10 x 18 cells; give members of the same channels on the same cells",
    ):
        run(EnsembleMean([Counted(), Counted(channels=1)]), layout, ocean)
