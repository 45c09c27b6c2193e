"""Quantizers that learn: they get better, never worse, and all who see the same statistics learn the same."""

import io
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from training.compression import ALQ, AMQ, NUQSGD, QSGD, LayerWise, Quantizer
from training.compression import adaptive as module
from training.compression.adaptive import KEPT_BUCKETS, Adaptive
from training.compression.distribution import LOG_BINS

BUCKET = 128
MODELS = ("histogram", "truncated-normal")


def gradient(seed: int, *, tail: float = 1.5, count: int = 40 * BUCKET + 37) -> Tensor:
    """Scales over decades, as those of spectral weights."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator) * (tail * torch.randn(count, generator=generator)).exp()


def error(q: Quantizer, x: Tensor) -> float:
    return float(q.expected_error(x).sum() / x.double().square().sum())


ADAPTIVE: dict[str, Callable[..., Adaptive]] = {
    f"{kind.__name__} {bits} {model} {norm}": (
        lambda kind=kind, bits=bits, model=model, norm=norm: kind(bits, BUCKET, norm, model=model)
    )
    for kind in (ALQ, AMQ)
    for bits in (3, 4)
    for model in MODELS
    for norm in ("linf", "l2")
    if model == "histogram" or bits == 3  # normals are slow to sum
}
each = pytest.mark.parametrize("make", ADAPTIVE.values(), ids=ADAPTIVE)
HISTOGRAM = {name: make for name, make in ADAPTIVE.items() if "histogram" in name}
each_histogram = pytest.mark.parametrize("make", HISTOGRAM.values(), ids=HISTOGRAM)


@each
def test_an_update_never_raises_the_expected_variance(make: Callable[[], Adaptive]):
    q = make()
    for seed in range(4):
        statistics = [q.statistics(gradient(seed, tail=seed / 2))]
        before = q.error_of(statistics)
        q.learn(statistics)
        after = q.error_of(statistics)
        assert before is not None
        assert after is not None
        assert after <= before


@each_histogram
def test_what_the_statistics_say_is_the_error_there_is(make: Callable[[], Adaptive]):
    q, x = make(), gradient(1)
    for _ in range(2):
        # a bin of the histogram is 0.7 % wide, and magnitudes within one count as spread evenly
        assert q.error_of([q.statistics(x)]) == pytest.approx(error(q, x), rel=0.01)
        q.update(x)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("bits", "gain"), [(3, 1.5), (4, 1.2)])
def test_adapted_levels_have_much_less_error_on_heavy_tails(bits: int, gain: float, norm: str):
    q, seen, unseen = ALQ(bits, BUCKET, norm), gradient(2), gradient(3)
    q.update(seen)
    for fixed in (QSGD(bits, BUCKET, norm), NUQSGD(bits, BUCKET, norm)):
        assert gain * error(q, unseen) < error(fixed, unseen)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", [ALQ, AMQ])
def test_eight_bits_learn_too(kind: type[Adaptive], norm: str):
    q, x = kind(8, BUCKET, norm), gradient(2)
    before = error(q, x)
    q.update(x)
    assert error(q, x) < before


def test_two_bits_have_nothing_to_learn_where_zero_and_one_stay():
    q = ALQ(2, BUCKET)
    q.update(gradient(1))
    assert q.levels.tolist() == [0, 1]


def test_the_multiplier_is_the_ratio_of_the_levels():
    q = AMQ(4, BUCKET)
    q.update(gradient(1))
    assert q.p != 0.5
    levels = q.levels.double()
    torch.testing.assert_close(levels[:-1] / levels[1:], torch.full((7,), q.p).double(), rtol=1e-6, atol=0)


@each
def test_the_scale_of_a_gradient_does_not_matter(make: Callable[[], Adaptive]):
    learned = []
    for power in (0, 60, -60):
        q = make()
        q.update(gradient(4) * 2.0**power)
        learned.append(q.levels)
    assert torch.equal(learned[0], learned[1])
    assert torch.equal(learned[0], learned[2])


@each
def test_statistics_have_one_size_for_all_ranks_to_exchange(make: Callable[[], Adaptive]):
    q = make()
    shape = (LOG_BINS + 3,) if q.model == "histogram" else (KEPT_BUCKETS, 3)
    for count in (0, 1, BUCKET, 400 * BUCKET):
        found = q.statistics(gradient(0, count=count))
        assert found.shape == shape
        assert found.dtype == torch.float64


@each_histogram
def test_statistics_of_parts_add_up(make: Callable[[], Adaptive]):
    q, x = make(), gradient(5)
    parts = q.statistics(x[: 11 * BUCKET]) + q.statistics(x[11 * BUCKET :])
    torch.testing.assert_close(q.statistics(x), parts, rtol=1e-12, atol=0)


def test_counting_in_slices_counts_the_same(monkeypatch: pytest.MonkeyPatch):
    q, x = ALQ(4, BUCKET), gradient(5)
    whole = q.statistics(x)
    monkeypatch.setattr(module, "_SLICE", 3 * BUCKET)
    torch.testing.assert_close(q.statistics(x), whole, rtol=1e-12, atol=0)


@each
def test_ranks_in_any_order_learn_the_same(make: Callable[[], Adaptive]):
    q = make()
    statistics = [q.statistics(gradient(seed)) for seed in range(4)]
    found = []
    for order in (statistics, statistics[::-1]):
        q = make()
        q.learn(order)
        found.append(q.levels)
    # float64 sums in another order; where the minimum is flat, levels move by the root of that
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


@each
def test_buckets_of_zeros_and_of_what_is_not_finite_are_left_out(make: Callable[[], Adaptive]):
    q, x = make(), gradient(6, count=20 * BUCKET)
    nothing = torch.zeros(3 * BUCKET)
    bad = torch.ones(3 * BUCKET)
    bad[[0, BUCKET, 2 * BUCKET]] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    torch.testing.assert_close(
        q.statistics(torch.cat([nothing, x, bad])), q.statistics(x), rtol=1e-12, atol=0
    )


@each
def test_nothing_is_learned_from_nothing(make: Callable[[], Adaptive]):
    q = make()
    before = q.levels
    for empty in (torch.zeros(0), torch.zeros(5 * BUCKET), torch.full((300,), float("nan"))):
        assert q.error_of([q.statistics(empty)]) is None
        q.update(empty)
        assert torch.equal(q.levels, before)


ODD = {
    "all alike": torch.ones(4 * BUCKET),
    "one in each bucket": torch.eye(BUCKET)[:5].flatten(),
    "two values": torch.tensor([1.0, -0.3]).repeat(BUCKET),
    "close to nothing": torch.cat([torch.ones(1), torch.full((BUCKET - 1,), 1e-9)]),
    "smallest numbers": torch.arange(BUCKET) * 2.0**-149,
    "a single number": torch.tensor([-7.0]),
    "largest numbers": torch.linspace(-3e37, 3e37, BUCKET),
}


@pytest.mark.parametrize("x", ODD.values(), ids=ODD)
@pytest.mark.parametrize(("bits", "model"), [(3, "histogram"), (8, "histogram"), (3, "truncated-normal")])
@pytest.mark.parametrize("kind", [ALQ, AMQ])
def test_odd_gradients_leave_levels_in_order(kind: type[Adaptive], model: str, bits: int, x: Tensor):
    q = kind(bits, BUCKET, model=model)
    before = error(q, x)
    q.update(x)
    levels = q.levels.double()
    assert (levels.diff() > 0).all()
    assert levels[-1] == 1
    if model == "histogram":  # a normal does not fit such data
        assert error(q, x) <= before * (1 + 1e-6) + 1e-12  # all ratios below 1e-6 are one bin


def test_normals_suffice_for_normal_numbers():
    x = torch.randn(100 * BUCKET, generator=torch.Generator().manual_seed(0))
    normal, histogram = (ALQ(4, BUCKET, "l2", model=model) for model in MODELS)
    for q in (normal, histogram):
        q.update(x)
    assert error(normal, x) == pytest.approx(
        error(histogram, x), rel=0.02
    )  # both near the same optimum, which is flat


def test_a_bucket_weighs_what_its_weight_says():
    """Of two kinds of buckets, the large ones rule under squared norms and the many where all weigh the same."""
    large, small = gradient(1, tail=0, count=5 * BUCKET) * 1000, gradient(2, tail=2, count=60 * BUCKET)
    errors = {}
    for weight in ("norm2", "none"):
        q = ALQ(3, BUCKET, weight=weight)
        q.update(torch.cat([large, small]))
        errors[weight] = error(q, large), error(q, small)
    assert errors["norm2"][0] < errors["none"][0]
    assert errors["norm2"][1] > errors["none"][1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: ALQ(model="normal"),
            "ALQ with the model 'normal'; choose 'histogram' or 'truncated-normal'",
        ),
        (lambda: AMQ(weight="norm3"), "AMQ with the weight 'norm3'; choose 'norm2', 'norm' or 'none'"),
        (
            lambda: ALQ(3).load_state_dict(ALQ(4).state_dict()),
            "ALQ with 3 bits has 4 levels from 0. Resume with",
        ),
        (
            lambda: AMQ(4).load_state_dict({**ALQ(4).state_dict(), "p": 0.5}),
            "AMQ with 4 bits has 8 levels without 0",
        ),
        (lambda: LayerWise(0.0), "budget 0.0; the allowed relative error is positive"),
        (lambda: LayerWise(float("nan")), "budget nan"),
        (lambda: LayerWise(bits=(3, 5)), r"bits \[3, 5\]; choose among 2, 3, 4 and 8"),
        (lambda: LayerWise(bits=()), r"bits \[\]"),
        (
            lambda: LayerWise(bits=(2, 4)).load_state_dict(taught(0.1).state_dict()),
            "resume with the same bits",
        ),
    ],
)
def test_an_error_is_a_sentence_with_a_cure(make: Callable[[], object], words: str):
    with pytest.raises(ValueError, match=words):
        make()


LAYERS = {
    "lifting": gradient(1, tail=0, count=10 * BUCKET),
    "spectral.0": gradient(2, tail=2, count=40 * BUCKET).reshape(40, BUCKET),
    "spectral.1": 1e-4 * gradient(3, tail=2, count=35 * BUCKET + 5),
    "bias": torch.zeros(50),
}


def taught(budget: float, **options: object) -> LayerWise:
    q = LayerWise(budget, bucket_size=BUCKET, **options)  # type: ignore[arg-type]
    q.update(LAYERS)
    return q


@pytest.mark.parametrize("budget", [0.003, 0.02, 0.1, 0.5])
def test_the_mean_error_over_classes_keeps_the_budget(budget: float):
    q = taught(budget)
    errors = [error(q.quantizer(name), x) for name, x in LAYERS.items() if x.any()]
    assert sum(errors) / len(errors) <= budget * 1.01  # the width of a bin of the statistics


def test_a_larger_budget_never_takes_more_bytes():
    bytes_taken = [taught(budget).quantize(LAYERS).nbytes for budget in (1e-6, 0.003, 0.02, 0.1, 0.5, 10)]
    assert all(more >= less for more, less in pairwise(bytes_taken))
    assert bytes_taken[0] > 3 * bytes_taken[-1]


def test_a_budget_out_of_reach_takes_the_bits_of_least_error():
    assert set(taught(1e-9).bits.values()) == {8}


def test_small_gradients_count_as_much_as_large_ones():
    q, scaled = taught(0.02), LayerWise(0.02, bucket_size=BUCKET)
    scaled.update({name: x * 2.0**10 if "0" in name else x for name, x in LAYERS.items()})
    assert q.bits == scaled.bits


def test_no_class_could_have_less_bits_within_the_budget():
    q = taught(0.05)
    classes = [name for name, x in LAYERS.items() if x.any()]
    errors = {name: error(q.quantizer(name), LAYERS[name]) for name in classes}
    for name in classes:
        lower = [b for b in q.choices if b < q.bits[name]]
        if lower:
            fewer = error(q._held[name][lower[-1]], LAYERS[name])
            assert sum(errors.values()) - errors[name] + fewer > 0.05 * len(classes) * 0.99  # width of a bin


def test_parameters_of_a_class_share_levels():
    q = taught(0.02, classify=lambda name: name.split(".")[0])
    assert set(q.levels) == {"lifting", "spectral", "bias"}
    assert q.quantizer("spectral.0") is q.quantizer("spectral.1")
    assert q.quantizer("spectral.7") is q.quantizer("spectral.1")  # one that was never seen


def test_named_gradients_come_back_by_name():
    q = taught(0.02)
    codes = q.quantize(LAYERS, torch.Generator().manual_seed(0))
    out = q.dequantize(codes)
    assert isinstance(out, dict)
    assert {name: x.shape for name, x in out.items()} == {name: x.shape for name, x in LAYERS.items()}
    assert codes.nbytes == sum(part.payload.numel() for part in codes.parts.values())
    q.update(dict.fromkeys(LAYERS, torch.ones(3 * BUCKET)))  # codes know the levels they were made with
    again = q.dequantize(codes)
    assert all(torch.equal(out[name], again[name]) for name in LAYERS)


def test_a_gradient_without_a_name_is_a_class_of_its_own():
    q, x = LayerWise(0.02, bucket_size=BUCKET), gradient(1)
    assert q.variance_bound(BUCKET) == QSGD(8, BUCKET).variance_bound(BUCKET)  # before anything is known
    q.update(x)
    out = q.dequantize(q.quantize(x, torch.Generator().manual_seed(0)))
    assert isinstance(out, Tensor)
    assert error(q.quantizer(""), x) <= 0.02 * 1.01
    assert float((out - x).square().sum() / x.square().sum()) == pytest.approx(
        error(q.quantizer(""), x), rel=0.3
    )


def test_the_bound_is_that_of_the_worst_class():
    q = taught(0.1)
    assert q.variance_bound(BUCKET) == max(q.quantizer(name).variance_bound(BUCKET) for name in LAYERS)
    for name, x in LAYERS.items():
        assert not x.any() or error(q.quantizer(name), x) <= q.variance_bound(BUCKET)


def test_order_of_classes_and_of_ranks_does_not_matter():
    found = []
    for order in (1, -1):
        q = LayerWise(0.02, bucket_size=BUCKET)
        names = list(LAYERS)[::order]
        statistics = {
            name: [q.statistics(name, LAYERS[name] * scale) for scale in (1.0, 2.0)][::order]
            for name in names
        }
        q.learn(statistics, {name: LAYERS[name].numel() for name in names})
        found.append(q)
    assert found[0].bits == found[1].bits
    assert {name: x.tolist() for name, x in found[0].levels.items()} == {
        name: x.tolist() for name, x in found[1].levels.items()
    }


def test_classes_and_levels_come_back_from_a_file():
    q, file = taught(0.02), io.BytesIO()
    torch.save(q.state_dict(), file)
    file.seek(0)
    fresh = LayerWise(0.02, bucket_size=BUCKET)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert fresh.bits == q.bits
    for codes, again in zip(
        q.quantize(LAYERS, torch.Generator().manual_seed(0)).parts.values(),
        fresh.quantize(LAYERS, torch.Generator().manual_seed(0)).parts.values(),
        strict=True,
    ):
        assert torch.equal(codes.payload, again.payload)
    fresh.update(LAYERS)  # and it goes on as the first would
    q.update(LAYERS)
    assert all(np.array_equal(fresh.levels[name], q.levels[name]) for name in LAYERS)
