"""The hook: models of all kinds of weights are averaged, resumed and stopped as they should be."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.compression import hook_worker as worker
from tests.training.compression.ranks import launch
from tests.training.compression.simulation import averaged, bytes_sent
from training.compression import ALQ, AMQ, NUQSGD, QSGD, Cast, LayerWise, Quantizer, Ternary
from training.compression.assignment import EXACT, Assignment
from training.compression.codec import Codec
from training.compression.hook import Traffic
from training.compression.mode_error import mode_errors
from training.compression.plan import SEGMENT, Span

NAMES = [name for name, p in worker.model().named_parameters() if p.requires_grad]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hook")
    return launch(worker.work, worker.RANKS, folder, then=worker.die, ends=[0, worker.DEATH])


def spans_of_model(codecs: dict[str, tuple[Codec, Codec]]) -> list[Span]:
    """Where each gradient lies when all are laid out in the order of the parameters."""
    spans, start = [], 0
    for number, name in enumerate(NAMES):
        count = worker.reals(worker.model().get_parameter(name)).numel()
        up, down = codecs[name]
        spans.append(Span(number, start, count, up, down))
        start += count
    return spans


def coded(up: Quantizer, down: Quantizer) -> list[Span]:
    return spans_of_model(
        {name: (up.codec, down.codec) if name in worker.COMPRESSED else (EXACT, EXACT) for name in NAMES}
    )


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in NAMES])


def simulated(locals_: list[dict[str, Tensor]], spans: list[Span], step: int) -> Tensor:
    return averaged([flat(each) for each in locals_], spans, seed=5, step=step, segment=SEGMENT)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_model_has_weights_of_all_kinds_and_some_are_compressed():
    own = worker.model()
    kinds = {(p.is_complex(), p.dim() > 1, p.requires_grad) for p in own.parameters()}
    assert kinds == {(False, True, True), (True, True, True), (False, False, True), (False, False, False)}
    counts = {name: worker.reals(p).numel() for name, p in own.named_parameters()}
    large = {name for name in NAMES if own.get_parameter(name).dim() > 1 and counts[name] >= 400}
    assert {name: counts[name] for name in large} == worker.COMPRESSED


def test_steps_of_warm_up_are_exact(told: list[dict]):
    for step in range(2):
        mean = (flat(told[0]["local"][step]) + flat(told[1]["local"][step])) / 2
        for rank in told:
            # a sum of two numbers, halved: exact in float32
            assert torch.equal(flat(rank["steps"]["means"][step]), mean)


def test_gradients_are_the_simulated_means_to_the_bit(told: list[dict]):
    """Also the imaginary parts, in all buffers: before and behind the step in which buffers are formed anew."""
    spans = coded(QSGD(4, 64), QSGD(8, 64))
    for step in (2, 3):
        expected = simulated([rank["local"][step] for rank in told], spans, step)
        assert not torch.equal(expected, (flat(told[0]["local"][step]) + flat(told[1]["local"][step])) / 2)
        for rank in told:
            assert torch.equal(flat(rank["steps"]["means"][step]), expected)


def test_bytes_and_numbers_are_counted(told: list[dict]):
    exact, codes = coded_exact(), coded(QSGD(4, 64), QSGD(8, 64))
    for rank, one in enumerate(told):
        steps = one["steps"]
        assert steps["sent"] == [
            bytes_sent(spans, 2, rank, SEGMENT) for spans in (exact, exact, codes, codes)
        ]
        assert steps["total"] == sum(steps["sent"])
        assert steps["numbers"] == codes[-1].start + codes[-1].count
        assert steps["seconds"] > 0
    total = sum(one["steps"]["sent"][0] for one in told) // 2
    # float32 travels as in an all-reduce; messages are whole eights of bytes
    assert Traffic(total, 0.0, told[0]["steps"]["numbers"]).effective_bits(2) == pytest.approx(32, rel=0.01)


def coded_exact() -> list[Span]:
    return spans_of_model(dict.fromkeys(NAMES, (EXACT, EXACT)))


def test_it_does_not_matter_which_buffers_are_formed(told: list[dict]):
    for rank in told:
        buffers = {name: found[0][-1] for name, found in rank["formed"].items()}
        assert buffers["many"] > buffers["one"]
        assert rank["formed"]["many"][0][0] > 1  # several from the first step on
        for name in ("one", "view"):
            assert same(rank["formed"][name][1], told[0]["formed"]["many"][1])


def test_gradients_that_were_accumulated_travel_once(told: list[dict]):
    spans = coded(QSGD(4, 64), QSGD(4, 64))
    expected = simulated([rank["accumulated"][0] for rank in told], spans, step=0)
    for rank in told:
        assert torch.equal(flat(rank["accumulated"][1]), expected)


@pytest.mark.parametrize("name", worker.RESUMED)
def test_a_resumed_run_ends_with_the_bits_of_one_that_was_never_stopped(told: list[dict], name: str):
    for rank in told:
        found = rank["resumed"][name]
        assert same(found["whole"], found["parted"])
        assert same(found["whole"], told[0]["resumed"][name]["whole"])
        assert found["states"][0] == found["states"][1]
    assert not same(found["whole"], worker.weights(worker.model()))


@pytest.mark.parametrize("name", ["ALQ", "AMQ", "LayerWise"])
def test_ranks_with_different_data_learn_the_same_levels(told: list[dict], name: str):
    learned = [rank["learned"][name] for rank in told]
    assert learned[0] == learned[1]
    assert learned[0]["up"] != worker.QUANTIZERS[name]().state_dict()


def test_a_gradient_that_is_not_finite_is_seen_on_all_ranks_and_then_over(told: list[dict]):
    for rank in told:
        before, broken, after = (flat(means) for means in rank["not finite"])
        assert before.isfinite().all()
        assert not broken.isfinite().any()
        assert after.isfinite().all()


def test_replicas_stay_identical_over_a_long_run(told: list[dict]):
    for rank in told:
        assert len(rank["long"]["sums"]) == worker.LONG // 20
        for own, other in rank["long"]["sums"]:
            assert torch.equal(own, other)
        first, last = rank["long"]["losses"]
        assert last < 0.5 * first  # it was a training


def test_errors_are_measured_by_mode_for_one_step_when_asked_for(told: list[dict]):
    for one in told:
        warm, measured, after = one["modes"]
        assert warm == {}
        assert {name: len(errors) for name, errors in measured.items()} == {
            "pairs": 3 * 2,
            "raw": 3 * 3,
            "matrix.weight": 61,
            "odd": 61,
        }
        assert all(
            0 < errors.mean() < 10 for errors in measured.values()
        )  # rows share buckets with larger ones
        assert after == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "double",
            "the parameter pairs is torch.float64; gradients that are compressed are float32 or complex64",
        ),
        ("cast down", "down_bits and error_feedback turn nothing where gradients are only cast"),
        ("cast fed back", "down_bits and error_feedback turn nothing where gradients are only cast"),
        ("negative", "warmup_steps is -1 and min_numel 4096; expected numbers that are not negative"),
        ("feedback", "differ in error feedback; resume with the same setting"),
        ("ranks", "was saved by 3 ranks and cannot be taken up by 2; resume with as many ranks"),
    ],
)
def test_an_error_is_a_sentence_with_a_cure(told: list[dict], name: str, words: str):
    assert all(words in rank["refused"][name] for rank in told)


def test_a_rank_that_dies_makes_the_other_raise(told: list[dict]):
    assert told[0]["then"] != "nothing"
    assert "then" not in told[1]


def test_levels_are_learned_when_warm_up_ends_and_on_schedule():
    learned = Assignment(ALQ(), {}, down_bits=None, warmup_steps=30)
    assert [step + 1 for step in range(20_001) if learned.learns_at(step)] == [30, 100, 2_000, 10_000, 20_000]
    late = Assignment(LayerWise(), {}, down_bits=None, warmup_steps=500)
    assert [step + 1 for step in range(9_999) if late.learns_at(step)] == [500, 2_000]
    at_once = Assignment(AMQ(), {}, down_bits=None, warmup_steps=0)
    assert [step + 1 for step in range(200) if at_once.learns_at(step)] == [1, 100]
    fixed = Assignment(NUQSGD(), {}, down_bits=None, warmup_steps=5)
    assert not any(fixed.learns_at(step) for step in range(20_001))


@pytest.mark.parametrize(
    ("up", "down_bits", "down"),
    [
        (QSGD(4, 128), 8, QSGD(8, 128)),
        (QSGD(4, zero=False, norm_dtype="bfloat16"), 3, QSGD(3, zero=False, norm_dtype="bfloat16")),
        (NUQSGD(3, 256, "l2", p=0.3), 4, NUQSGD(4, 256, "l2", p=0.3)),
        (NUQSGD(3, zero=False), 4, NUQSGD(4, zero=False)),
        (NUQSGD(3), 8, QSGD(8)),
        (Ternary(128, "l2"), 4, QSGD(4, 128, "l2")),
        (ALQ(3), 4, ALQ(4)),
        (AMQ(3), 4, AMQ(4)),
        (ALQ(3, norm_dtype="bfloat16"), 8, QSGD(8, norm_dtype="bfloat16")),
        (LayerWise(bucket_size=192), 4, QSGD(4, 192)),
        (NUQSGD(3), None, NUQSGD(3)),
    ],
)
def test_the_way_down_has_its_own_bits(up: Quantizer | LayerWise, down_bits: int | None, down: Quantizer):
    found = Assignment(up, {"large": 9}, down_bits=down_bits, warmup_steps=2)
    assert found.codecs("large", 1) == found.codecs("small", 2) == (EXACT, EXACT)
    expected = up.quantizer("large") if isinstance(up, LayerWise) else up
    assert found.codecs("large", 2) == (expected.codec, down.codec)


def test_a_cast_is_a_cast_for_all_and_from_the_start():
    half = Cast(torch.float16)
    found = Assignment(half, {"large": 9}, down_bits=None, warmup_steps=0)
    assert found.codecs("large", 0) == found.codecs("small", 7) == (half, half)


def test_small_modes_show_what_the_whole_hides():
    """One large mode sets the norm: the error of the whole is small, that of the small mode is larger than itself."""
    gradient = torch.randn(2, 8, 8, 2, generator=torch.Generator().manual_seed(0))
    gradient[1] *= 0.03
    errors = mode_errors(gradient, QSGD(4, 1024).codec, seed=0)
    assert errors[0] < 0.1
    assert errors[1] > 1
    gradient[0] = 0
    assert (
        len(mode_errors(gradient, QSGD(4, 1024).codec, seed=0)) == 1
    )  # a mode without gradient has no error
    exact = mode_errors(gradient[1, :, :, 0], Cast(), seed=0)  # a matrix: row by row
    assert exact.tolist() == [0.0] * 8
