"""Forecasts of one name are pooled where their seeds alone differ, and told apart where anything else does."""

import dataclasses

import pytest
import xarray as xr

from forecasting import Combination, forecast
from forecasting.naming import named
from oceanop.checkpoint import Checkpoint
from tests.forecasting.conftest import operator, sea
from tests.forecasting.test_refinement import coarse

START = "2020-01-04T08"


def made(*long: Checkpoint, short: tuple[Checkpoint, ...] = (), share: tuple[float, ...] = ()) -> xr.Dataset:
    return forecast(Combination(long, short, share), sea(), start=START, leads=1)


@pytest.fixture(scope="module")
def seeds() -> list[Checkpoint]:
    ocean = sea()
    return [operator(ocean, seed=seed) for seed in range(8)]


def test_one_preset_trained_on_two_grids_is_two_models() -> None:
    fine = sea()
    members = [operator(fine), *(operator(coarse(fine), seed=seed) for seed in (1, 2))]
    found = named([made(each) for each in members])
    assert list(found.forecasts) == ["FNOtD-grid10x18", "FNOtD-grid5x9-seed1", "FNOtD-grid5x9-seed2"]
    assert found.pooled == {"FNOtD-grid5x9": ["FNOtD-grid5x9-seed1", "FNOtD-grid5x9-seed2"]}


def test_grids_that_no_short_word_tells_apart_are_numbered() -> None:
    one = made(operator(sea()))
    grids = ("10 x 18 cells of 800 x 800 m", "10 x 18 cells of 900 x 900 m")
    other = [one.assign_attrs(training_grid=grid, checkpoint_sha256=grid) for grid in grids]
    assert list(named(other).forecasts) == ["FNOtD-1", "FNOtD-2"]


def test_ensembles_of_other_seeds_are_pooled(seeds: list[Checkpoint]) -> None:
    both = [made(*seeds[:3]), made(*seeds[3:6])]
    found = named(both)
    names = ["FNOtD-ensemble-seeds0-2", "FNOtD-ensemble-seeds3-5"]
    assert list(found.forecasts) == names
    assert found.pooled == {"FNOtD-ensemble": names}


def test_ensembles_that_share_a_member_are_not_independent_and_not_pooled(seeds: list[Checkpoint]) -> None:
    found = named([made(*seeds[:3]), made(seeds[2], seeds[5])])
    # Two members are not three: other settings, too many to be told in a name
    assert list(found.forecasts) == ["FNOtD-ensemble-1", "FNOtD-ensemble-2"]
    found = named([made(*seeds[:2]), made(seeds[0], seeds[5])])
    assert list(found.forecasts) == ["FNOtD-ensemble-seeds0-1", "FNOtD-ensemble-seeds0+5"]
    assert not found.pooled


def test_the_same_seed_in_both_roles_is_no_shared_member(seeds: list[Checkpoint]) -> None:
    def one_step(seed: int) -> Checkpoint:
        run = seeds[seed].run
        quiet = run.model_copy(update={"training": run.training.model_copy(update={"noise": 0.0})})
        return dataclasses.replace(seeds[seed], run=quiet, sha256=f"short{seed}")

    def faded(first: int, share: float) -> xr.Dataset:
        numbers = (first, first + 1)
        return made(*(seeds[i] for i in numbers), short=tuple(map(one_step, numbers)), share=(share,))

    name = "FNOtD-into-FNOtD-ensemble"
    assert named([faded(0, 0.5), faded(2, 0.5)]).pooled == {name: [f"{name}-seeds0-1", f"{name}-seeds2-3"]}
    assert not named([faded(0, 0.5), faded(2, 0.4)]).pooled


def test_one_operator_and_an_ensemble_of_it_keep_their_names(seeds: list[Checkpoint]) -> None:
    found = named([made(seeds[0]), made(*seeds[:2])])
    assert list(found.forecasts) == ["FNOtD", "FNOtD-ensemble"]
