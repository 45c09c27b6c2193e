"""Intervals hold the truth as often as they say."""

import numpy as np
import pytest
import torch

from forecasting import bootstrap


@pytest.mark.parametrize("blocks", [8, 20, 60])
def test_intervals_of_a_gaussian_mean_cover_it_as_often_as_they_say(blocks: int) -> None:
    generator = np.random.default_rng(0)
    trials = 1500
    values = torch.from_numpy(generator.standard_normal((trials, blocks)))
    # A new draw for each part of the trials, so that the draw's own error averages out
    covered = 0
    for seed, part in enumerate(values.split(100)):
        means = part @ bootstrap.draw(blocks, seed=seed) / blocks
        low, high = bootstrap.interval(means, blocks)
        covered += int(((low <= 0) & (high >= 0)).sum())
    # Binomial: sd of the share is 0.56 %; 3 of them, and 1.5 % for the finite number of resamples in the tails
    assert covered / trials == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / trials) + 0.015)


def test_a_draw_takes_as_many_blocks_as_there_are_and_is_seeded() -> None:
    drawn = bootstrap.draw(9, seed=3)
    assert (drawn.sum(0) == 9).all()
    assert torch.equal(drawn, bootstrap.draw(9, seed=3))
    assert not torch.equal(drawn, bootstrap.draw(9, seed=4))


@pytest.mark.parametrize("count", [2, 3, 8])
def test_seeds_drawn_again_have_the_variance_of_their_mean(count: int) -> None:
    weights = bootstrap.draw_seeds(count, seed=0, resamples=200_000)
    assert (weights.sum(0) - count).abs().max() < 1e-12
    values = torch.from_numpy(np.random.default_rng(0).standard_normal(count))
    means = values @ weights / count
    assert means.mean() == pytest.approx(float(values.mean()), abs=0.01)
    assert means.var() == pytest.approx(float(values.var()) / count, rel=0.02)


def test_one_block_has_no_interval() -> None:
    low, high = bootstrap.interval(torch.ones(2, 1000, dtype=torch.float64), 1)
    assert low.isnan().all()
    assert high.isnan().all()


def test_blocks_of_starts_are_consecutive_and_span_the_longest_lead() -> None:
    inits = np.arange(50) * 3
    blocks = bootstrap.time_blocks(inits, 12)
    assert blocks is not None
    assert (np.diff(blocks) >= 0).all()
    assert np.bincount(blocks).min() == 4
    assert blocks.max() + 1 == 12


@pytest.mark.parametrize(("starts", "lead"), [(1, 5), (7, 1), (50, 30)])
def test_too_few_blocks_of_starts_are_none(starts: int, lead: int) -> None:
    assert bootstrap.time_blocks(np.arange(starts) * 3, lead) is None


def test_tiles_cover_the_ocean_and_none_is_empty() -> None:
    wet = np.zeros((20, 20), dtype=bool)
    wet[:3, :] = True
    wet[19, 19] = True
    tiles, count = bootstrap.space_blocks(wet)
    assert count == 4
    assert set(tiles[wet]) == set(range(count))
    assert len(set(tiles[:3, :8].ravel())) == 1
