"""Laws of the reduce-scatter in codes, seen by the ranks of :mod:`tests.training.compression.sharded_worker`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.training.compression.sharded_worker import (
    NAMES,
    NOT_FINITE,
    SEED,
    STEPS,
    WARMUP,
    WORLDS,
    codes,
    shape_of,
    slopes,
)
from training.compression import ALQ, QSGD, Cast
from training.compression.assignment import Assignment
from training.compression.codec import Codec
from training.compression.keys import stream_key
from training.compression.sharded import (
    CodedReduceScatter,
    ShardedExchange,
    Strip,
    _factor,
    compress_reduce_scatter,
    cut,
)

CODED = {"weight", "thin", "across", "inner.weight", "middle.weight"}  # two dimensions, 4096 numbers or more
EXACT = Cast()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    """What each rank of each world saw: ``seen[ranks][rank]``."""
    folder = tmp_path_factory.mktemp("ranks")
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.training.compression.sharded_worker", str(folder)],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"},
        capture_output=True,
        text=True,
        timeout=240,  # ends what hangs; it takes seconds
    )
    assert outcome.returncode == 0, outcome.stderr
    return {
        ranks: [torch.load(folder / f"{ranks}-{rank}.pt", weights_only=False) for rank in range(ranks)]
        for ranks in WORLDS
    }


def part_of(name: str, gradient: Tensor, owner: int, ranks: int) -> Tensor:
    """The part of a parameter that a rank owns: as many rows as any, while there are any; some columns of one."""
    dim = 1 if name == "across" else 0
    rows = -(-gradient.shape[dim] // ranks)
    first = min(owner * rows, gradient.shape[dim])
    return gradient.narrow(dim, first, min(rows, gradient.shape[dim] - first))


def codec_of(name: str, step: int) -> Codec:
    return codes().codec if name in CODED and step >= WARMUP else EXACT


def one_process(name: str, owner: int, step: int, group: list[int]) -> Tensor:
    """The mean that the owner, by its place in a group of ranks, ends with: messages written and read right here."""
    ranks = len(group)
    parts = [part_of(name, slopes(rank, step)[name], owner, ranks) for rank in group]
    codec = codec_of(name, step)
    longest = part_of(name, torch.empty(shape_of(name), device="meta"), 0, ranks).numel()
    total = parts[owner].flatten()
    for rank, part in zip(group, parts, strict=True):
        if rank == group[owner]:
            continue
        message = torch.zeros(codec.nbytes(part.numel()), dtype=torch.uint8)
        key = stream_key(SEED, step, rank, 0, NAMES.index(name))
        first = owner * -(-longest // codec.granularity)
        codec.encode(part.flatten(), message, key=key, first_bucket=first)
        codec.decode(message, total, add=True)
    return total.mul(1.0 / ranks).reshape(parts[owner].shape)


def mean(name: str, step: int, ranks: int) -> Tensor:
    return torch.stack([slopes(rank, step)[name].double() for rank in range(ranks)]).mean(0)


def test_messages_in_float32_give_the_mean_that_fsdp2_finds_itself(seen: Any) -> None:
    for rank in seen[3]:
        assert rank["float32"].keys() == rank["own"].keys() == set(NAMES)
        for name, gradient in rank["own"].items():
            # Two orders of three numbers of size 1 differ in the last bit or two.
            torch.testing.assert_close(rank["float32"][name], gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ranks", WORLDS)
def test_ranks_end_with_the_bits_that_one_process_finds(seen: Any, ranks: int) -> None:
    for owner, rank in enumerate(seen[ranks]):
        for step, gradients in enumerate(rank["codes"]["gradients"]):
            for name in NAMES:
                expected = one_process(name, owner, step, list(range(ranks)))
                assert torch.equal(gradients[name], expected), (name, owner, step)


def test_replicas_of_a_sharded_model_round_apart_and_end_with_one_mean(seen: Any) -> None:
    for rank in range(4):
        owner, twin = rank % 2, (rank + 2) % 4
        for step in range(STEPS):
            for name in NAMES:
                found = seen[4][rank]["replicas"]["gradients"][step][name]
                assert torch.equal(found, seen[4][twin]["replicas"]["gradients"][step][name])
                means = [one_process(name, owner, step, group) for group in ([0, 1], [2, 3])]
                # The mean of two is exact but for its rounding.
                torch.testing.assert_close(found, sum(means) / 2, rtol=0, atol=1e-6)


def test_a_cut_into_many_messages_changes_no_bit(seen: Any) -> None:
    for rank in seen[3]:
        for whole, pieces in zip(rank["codes"]["gradients"], rank["segments"]["gradients"], strict=True):
            assert all(torch.equal(whole[name], pieces[name]) for name in NAMES)


@pytest.mark.parametrize("ranks", WORLDS)
def test_error_is_that_of_the_first_stage(seen: Any, ranks: int) -> None:
    found = predicted = 0.0
    for step in range(WARMUP, STEPS):
        for name in CODED:
            expected = mean(name, step, ranks)
            for owner, rank in enumerate(seen[ranks]):
                error = rank["codes"]["gradients"][step][name] - part_of(name, expected, owner, ranks)
                found += error.square().sum().item()
            gradients = [slopes(rank, step)[name] for rank in range(ranks)]
            eps = [(codes().expected_error(g).sum() / g.square().sum()).item() for g in gradients]
            energy = sum(e * g.square().sum().item() for e, g in zip(eps, gradients, strict=True))
            predicted += (ranks - 1) / ranks**3 * energy
    # 69,000 errors, whose squares scatter about as much as they are large: 0.4 percent. Where a part ends, a bucket is
    # shorter than in the whole gradient that the variance is taken of: another percent at most.
    assert found == pytest.approx(predicted, rel=0.03)


@pytest.mark.parametrize("ranks", WORLDS)
def test_bytes_are_those_of_the_codes_for_the_other_ranks(seen: Any, ranks: int) -> None:
    for sender, rank in enumerate(seen[ranks]):
        for step, sent in enumerate(rank["codes"]["bytes"]):
            expected = 0
            for name in NAMES:
                for owner in set(range(ranks)) - {sender}:
                    count = part_of(name, slopes(0, 0)[name], owner, ranks).numel()
                    coded = name in CODED and step >= WARMUP  # a norm for 64 numbers, half a byte for each
                    size = -(-count // 64) * 4 + -(-count // 8) * 4 if coded else 4 * count
                    expected += -(-size // 8) * 8
            assert sent == expected


def test_exchanges_and_their_time_are_counted(seen: Any) -> None:
    for rank in seen[2]:
        assert rank["codes"]["step"] == STEPS
        assert 0 < rank["codes"]["seconds"] < 240


def test_a_value_that_is_not_finite_is_seen_by_the_rank_that_owns_it(seen: Any) -> None:
    _, name, place = NOT_FINITE
    for owner, rank in enumerate(seen[3]):
        for other, gradient in rank["NaN"].items():
            lost = gradient.isnan().flatten()
            bucket = torch.arange(len(lost)) // 64 == place // 64
            assert torch.equal(lost, bucket if (owner, other) == (0, name) else torch.zeros_like(lost))


@pytest.mark.parametrize("way", ["divided in a sum", "divided by a factor"])
def test_gradients_are_divided_by_what_the_model_says(seen: Any, way: str) -> None:
    for owner, rank in enumerate(seen[3]):
        for name in NAMES:
            expected = part_of(name, mean(name, 0, 3) * 3 / 5, owner, 3).float()
            torch.testing.assert_close(rank[way][name], expected, rtol=0, atol=1e-6)


def test_gradients_that_were_accumulated_are_sent_once(seen: Any) -> None:
    for owner, rank in enumerate(seen[3]):
        for name in NAMES:
            expected = part_of(name, mean(name, 0, 3) + mean(name, 1, 3), owner, 3).float()
            torch.testing.assert_close(rank["accumulated"][name], expected, rtol=0, atol=2e-6)


def test_levels_are_learned_by_all_ranks_alike_and_a_resumed_run_goes_on_to_the_bit(seen: Any) -> None:
    begun = tuple(ALQ(3, 64).level_set.levels)
    kept = seen[3][0]["learned"]["kept"]
    for module in ("", "inner"):
        assert kept[module]["step"] == 2
        assert tuple(kept[module]["assignment"]["up"]["levels"]) != begun
    # Gaussian slopes in both, but not the same ones: each module has levels of its own.
    assert kept[""]["assignment"] != kept["inner"]["assignment"]
    for rank in seen[3]:
        assert rank["learned"]["kept"] == kept
        for whole, resumed in zip(rank["learned"]["whole"], rank["learned"]["resumed"], strict=True):
            assert all(torch.equal(whole[name], resumed[name]) for name in NAMES)


def test_a_parameter_without_gradient_is_refused_or_reduced_as_zero(seen: Any) -> None:
    for rank in seen[3]:
        said = rank["refusals"]["unused"]
        assert "Linear: FSDP2 reduces" in said
        assert "call set_reduce_scatter_unused_params(True)" in said
        assert not rank["unused"]["bias"].any()
        for name in set(NAMES) - {"bias"}:
            assert torch.equal(rank["unused"][name], rank["float32"][name])


def test_what_cannot_be_served_is_refused_in_a_sentence(seen: Any) -> None:
    said = seen[3][0]["refusals"]
    assert (
        "reduced in torch.bfloat16, and codes are made of float32; shard with mp_policy=" in said["bfloat16"]
    )
    assert "Or fully_shard was given a list of modules: give each alone." in said["list"]
    assert "has the sharded modules ['', 'inner'], and this model ['']" in said["modules"]
    with pytest.raises(ValueError, match=r"Linear has no sharded module; apply .*fully_shard first"):
        compress_reduce_scatter(nn.Linear(2, 2), QSGD(8, 64))
    with pytest.raises(
        ValueError, match=r"warmup_steps is -1 and min_numel 4096; expected numbers that are not"
    ):
        compress_reduce_scatter(nn.Linear(2, 2), QSGD(8, 64), warmup_steps=-1)
    with pytest.raises(ValueError, match=r"reduced by RedOpType\.MAX; expected a sum or a mean"):
        _factor(dist.ReduceOp.MAX, 2)


def test_a_small_operator_trained_in_eight_bits_follows_the_exact_one(seen: Any) -> None:
    for rank in seen[2]:
        exact, coded = rank["trained"]["exact"], rank["trained"]["codes"]
        assert exact["losses"][-1] < 0.5 * exact["losses"][0]  # there is a way to follow
        # The relative error of a gradient is near 0.3 percent, and Adam's first steps are as long wherever it is small.
        assert coded["losses"] == pytest.approx(exact["losses"], rel=1e-3)
        way = (exact["end"] - exact["begin"]).norm()
        assert 0 < (coded["end"] - exact["end"]).norm() < 0.05 * way
        # Two layers of 6144 spectral weights in 8.5 bits; all that is smaller travels as it is.
        assert coded["bytes"] < 0.4 * exact["bytes"]


def test_another_order_of_parameters_is_seen_where_padding_should_be() -> None:
    parts = torch.ones(3, 20)
    parts[2, 8:12] = parts[2, 18:] = (
        0  # 32 numbers in parts of 12, then 22 in parts of 8: 8 and 6 in the last
    )
    right = [Strip("a", 0, 0, 12, (12, 12, 8)), Strip("b", 1, 12, 8, (8, 8, 6))]
    other = [Strip("b", 1, 0, 8, (8, 8, 6)), Strip("a", 0, 8, 12, (12, 12, 8))]
    assignment = Assignment(EXACT, {}, down_bits=None, warmup_steps=0)
    CodedReduceScatter(ShardedExchange(0), "sea", right, assignment)._check(parts.flatten(), 3)
    with pytest.raises(
        ValueError, match=r"sea: what should be padding of b is not zero; this version of torch orders param"
    ):
        CodedReduceScatter(ShardedExchange(0), "sea", other, assignment)._check(parts.flatten(), 3)


@pytest.mark.parametrize("segment", [1, 500, 10_000])
def test_every_number_travels_once_and_no_two_buckets_share_a_stream(segment: int) -> None:
    strips = [Strip("a", 0, 0, 1000, (1000, 1000, 130)), Strip("b", 1, 1000, 70, (70, 0, 0))]
    codecs: list[Codec] = [codes().codec, EXACT]
    for rank in range(3):
        places: list[int] = []
        streams: list[tuple[int, int]] = []
        for part in cut(strips, codecs, 3, segment=segment):
            for share in part.shares[rank]:
                places += range(share.start, share.start + share.count)
                buckets = -(-share.count // share.span.up.granularity)
                streams += [(share.span.parameter, share.up_bucket + i) for i in range(buckets)]
        a, b = (strip.counts[rank] for strip in strips)
        assert places == [
            *range(1070 * rank, 1070 * rank + a),
            *range(1070 * rank + 1000, 1070 * rank + 1000 + b),
        ]
        assert len(set(streams)) == len(streams)
        assert all(rank * 16 <= bucket < (rank + 1) * 16 for parameter, bucket in streams if parameter == 0)
