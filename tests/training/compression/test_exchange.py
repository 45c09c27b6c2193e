"""The exchange: all ranks end with the bits of a simulation in one process, with the error and the bytes foretold."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.compression import exchange_worker as worker
from tests.training.compression.ranks import launch
from tests.training.compression.simulation import averaged, bytes_sent, cases, gradient_of, owners, spans_of
from training.compression import NUQSGD, QSGD, Quantizer
from training.compression.exchange import predicted_error
from training.compression.hook import Traffic
from training.compression.plan import plan

each_size = pytest.mark.parametrize("ranks", [2, 3, 4])
CASES = cases()


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return launch(worker.work, worker.RANKS, tmp_path_factory.mktemp("exchange"))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_all_ranks_end_with_the_bits_of_the_simulation(told: list[dict], ranks: int, name: str):
    spans, segment = CASES[name]
    count = sum(span.count for span in spans)
    for step in range(2):
        gradients = [gradient_of(rank, count, seed=step) for rank in range(ranks)]
        expected = averaged(gradients, spans, seed=worker.SEED, step=step, segment=segment)
        for rank in range(ranks):
            assert torch.equal(told[rank][str(ranks)]["means"][name][step], expected)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_the_bytes_are_those_that_were_foretold(told: list[dict], ranks: int, name: str):
    spans, segment = CASES[name]
    for rank in range(ranks):
        assert told[rank][str(ranks)]["sent"][name] == bytes_sent(spans, ranks, rank, segment)


@each_size
def test_in_float32_the_mean_is_that_of_an_all_reduce(told: list[dict], ranks: int):
    for rank in range(ranks):
        mean = told[rank][str(ranks)]["means"]["float32"][0]
        # sums of up to four numbers in another order
        torch.testing.assert_close(mean, told[rank][str(ranks)]["all-reduce"], rtol=1e-6, atol=1e-6)


def noise(rank: int) -> Tensor:
    return torch.randn(worker.NOISE, generator=torch.Generator().manual_seed(rank))


def relative(q: Quantizer | None) -> float:
    return 0.0 if q is None else float(q.expected_error(noise(0)).sum() / noise(0).double().square().sum())


@each_size
@pytest.mark.parametrize(
    ("name", "up", "down"),
    [("alike", NUQSGD(4), NUQSGD(4)), ("finer down", QSGD(3), QSGD(8)), ("up alone", QSGD(3), None)],
)
def test_the_error_is_the_one_foretold(
    told: list[dict], ranks: int, name: str, up: Quantizer, down: Quantizer | None
):
    mean = torch.stack([noise(rank) for rank in range(ranks)]).double().mean(0)
    found = told[0][str(ranks)]["errors"][name].double()
    error = (found - mean).square().sum() / mean.square().sum()
    # 3 %: ten standard errors of 200,000 numbers, and norms of buckets of a sum differ a little from those of a part
    assert float(error) == pytest.approx(predicted_error(relative(up), relative(down), ranks), rel=0.03)


@each_size
def test_what_is_not_finite_on_one_rank_is_seen_on_all(told: list[dict], ranks: int):
    means = [told[rank][str(ranks)]["not finite"] for rank in range(ranks)]
    bad = ~means[0].isfinite()
    expected = torch.zeros(3_000, dtype=torch.bool)
    for place in (5, 2_000):
        expected[place // 64 * 64 : place // 64 * 64 + 64] = True  # their buckets
    assert torch.equal(bad, expected)
    assert all(torch.equal(mean.nan_to_num(7.0), means[0].nan_to_num(7.0)) for mean in means)


@each_size
def test_what_was_sent_and_what_is_owed_are_all_gradients(told: list[dict], ranks: int):
    """With error feedback: the errors of the ranks weigh 1 / ranks, those of the one that averaged weigh one."""
    parts = [told[rank][str(ranks)]["fed back"] for rank in range(ranks)]
    whole = torch.zeros(worker.FED_BACK, dtype=torch.float64)
    for step in range(worker.STEPS):
        whole += sum(gradient_of(rank, worker.FED_BACK, seed=step) for rank in range(ranks)) / ranks
    owed = torch.zeros_like(whole)
    for part in parts:
        for way, weight in (("up", 1 / ranks), ("down", 1.0)):
            for first, error in part[way].items():
                owed[first : first + len(error)] += error * weight
    # float32 sums of a dozen numbers, the largest of which are near a hundred
    torch.testing.assert_close(parts[0]["total"] + owed, whole, rtol=0, atol=2e-4)
    assert owed.norm() > 0.1 * whole.norm()  # two bits owe much: the law is not empty


def test_a_model_of_some_ranks_is_refused_before_anything_waits(told: list[dict]):
    for rank in (1, 3):
        assert "the model is on 2 of 4 ranks; gradients are compressed between all" in told[rank]["some"]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", CASES)
def test_every_number_is_averaged_by_one_rank(name: str, ranks: int):
    spans, length = CASES[name]
    owner = torch.cat([owners(span, ranks, length) for span in spans]) if spans else torch.zeros(0)
    found = torch.full_like(owner, -1)
    for segment in plan(spans, ranks, segment=length):
        for rank, shares in enumerate(segment.shares):
            for share in shares:
                place = slice(share.start, share.start + share.count)
                assert (found[place] == -1).all()
                found[place] = rank
                assert share.first % max(share.span.up.granularity, share.span.down.granularity) == 0
    assert torch.equal(found, owner)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_ranks_average_equal_shares_to_a_bucket(ranks: int):
    codec = QSGD(4, 128).codec
    owner = owners(spans_of((100_000, codec, codec))[0], ranks, 1 << 20)
    counts = torch.bincount(owner, minlength=ranks)
    assert counts.max() - counts.min() <= 128


def test_segments_carry_no_more_than_they_should():
    codec = QSGD(4, 128).codec
    spans = spans_of(
        (100_000, codec, codec), (5_000, codec, codec), (70, codec, codec), (1_000, codec, codec)
    )
    segments = plan(spans, 3, segment=10_000)
    sizes = [sum(share.count for shares in segment.shares for share in shares) for segment in segments]
    assert sum(sizes) == 106_070
    assert max(sizes) <= 10_000


def test_cutting_does_not_depend_on_what_travels_beside():
    """Or a resumed run, whose buffers are formed anew, would draw other numbers."""
    codec = NUQSGD(4, 128).codec
    alone = spans_of((50_000, codec, codec))
    beside = [spans_of((3_000, codec, codec))[0], type(alone[0])(1, 3_000, 50_000, codec, codec)]

    def shares(spans: list) -> list[tuple[int, int, int]]:
        return [
            (rank, share.first, share.count)
            for segment in plan(spans, 3, segment=8_192)
            for rank, held in enumerate(segment.shares)
            for share in held
            if share.span.count == 50_000
        ]

    assert shares(alone) == shares(beside)


def test_four_bits_take_an_eighth_and_a_little():
    codec = QSGD(4, 1024).codec
    spans = spans_of((1 << 18, codec, codec))
    for ranks in (2, 4):
        sent = sum(bytes_sent(spans, ranks, rank, 1 << 20) for rank in range(ranks)) / ranks
        traffic = Traffic(bytes_sent=round(sent), numbers=1 << 18)
        assert traffic.effective_bits(ranks) == pytest.approx(
            4 + 32 / 1024, rel=1e-6
        )  # a norm for 1024 codes
    assert Traffic(numbers=5).effective_bits(1) == 0
