"""Quantizers: true in the mean, with the error that the formula says, and the same bytes as the plain reference."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.compression import reference
from training.compression import ALQ, AMQ, NUQSGD, QSGD, Quantizer, Ternary
from training.compression.codec import Buckets
from training.compression.keys import stream_key

BUCKET = 256
REPEATS = 2_000
SIGMAS = 5.5  # per element; 4 million standard normal numbers stay below it with probability 0.85
SIZES = (0, 1, 2, 7, 8, 9, 63, 65, 255, 256, 257, 1_000, 4_099, 5_000)
ROUNDING = 2.0**-22  # of float32 arithmetic and of random numbers with 24 bits, in units of the norm

KINDS: dict[str, Callable[..., Quantizer]] = {
    **{f"QSGD {bits}": partial(QSGD, bits) for bits in (2, 3, 4, 8)},
    **{f"QSGD {bits} without zero": partial(QSGD, bits, zero=False) for bits in (2, 4, 8)},
    **{f"NUQSGD {bits}": partial(NUQSGD, bits) for bits in (2, 3, 4, 8)},
    **{f"NUQSGD {bits} p=0.7": partial(NUQSGD, bits, p=0.7) for bits in (3, 4, 8)},
    **{f"NUQSGD {bits} without zero": partial(NUQSGD, bits, zero=False) for bits in (2, 3, 4)},
    "Ternary": Ternary,
    **{f"ALQ {bits}": partial(ALQ, bits) for bits in (2, 3, 4, 8)},
    **{f"AMQ {bits}": partial(AMQ, bits) for bits in (2, 3, 4, 8)},
}
FORMS = [(norm, dtype) for norm in ("linf", "l2") for dtype in ("float32", "bfloat16")]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_form = pytest.mark.parametrize(("norm", "dtype"), FORMS)


def heavy_tailed(count: int, seed: int = 0) -> Tensor:
    """Numbers whose scale itself varies over decades, a tenth of them 0, as in gradients of spectral weights."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator) * torch.randn(count, generator=generator).exp()
    return torch.where(torch.rand(count, generator=generator) < 0.1, 0.0, values)


@cache
def quantizer(kind: str, norm: str, dtype: str) -> Quantizer:
    made = KINDS[kind](bucket_size=BUCKET, norm=norm, norm_dtype=dtype)
    made.update(heavy_tailed(20_000, seed=7))  # adaptive ones learn their levels
    return made


def simplest(kind: str) -> Quantizer:
    return quantizer(kind, "linf", "float32")


def all_forms(kind: str) -> list[Quantizer]:
    return [quantizer(kind, *form) for form in FORMS]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def once(q: Quantizer, x: Tensor, seed: int = 0) -> Tensor:
    return q.dequantize(q.quantize(x, seeded(seed)))


@dataclass(frozen=True)
class Draws:
    """What many quantizations of one vector gave."""

    vector: Tensor
    norms: Tensor
    variance: Tensor
    mean_error: Tensor
    mean_square: Tensor


@cache
def draws(kind: str, norm: str, dtype: str) -> Draws:
    q = quantizer(kind, norm, dtype)
    vector = torch.cat([torch.randn(BUCKET, generator=seeded(1)), heavy_tailed(BUCKET, seed=1)])
    error = (
        once(q, vector.repeat(REPEATS)).view(REPEATS, -1).sub_(vector)
    )  # each bucket draws its own numbers
    return Draws(
        vector.double(),
        q.norms(vector).double().repeat_interleave(BUCKET),
        q.expected_error(vector),
        error.mean(0, dtype=torch.float64),
        error.square_().mean(0, dtype=torch.float64),
    )


@each_form
@each_kind
def test_the_mean_is_the_gradient(kind: str, norm: str, dtype: str):
    found = draws(kind, norm, dtype)
    # Bernstein's inequality: rare events are no normal numbers, and their largest error is the norm.
    rare = SIGMAS**2 / 3 * found.norms / REPEATS
    allowed = SIGMAS * (found.variance / REPEATS).sqrt() + torch.where(found.variance > 0, rare, 0.0)
    assert (found.mean_error.abs() <= allowed + ROUNDING * found.norms).all()


@each_form
@each_kind
def test_no_bias_of_all_together_hides_in_the_noise_of_each(kind: str, norm: str, dtype: str):
    """Shrinking by a tenth of a percent, which no single element would show."""
    found = draws(kind, norm, dtype)
    for direction in (found.vector, found.vector.sign(), torch.ones_like(found.vector)):
        deviation = (direction.square() * found.variance).sum().div(REPEATS).sqrt()
        rounding = ROUNDING * (direction.abs() * found.norms).sum()
        assert (direction * found.mean_error).sum().abs() <= SIGMAS * deviation + rounding


@each_form
@each_kind
def test_the_error_is_what_the_formula_says(kind: str, norm: str, dtype: str):
    found = draws(kind, norm, dtype)
    # 2 %: at least five standard errors for the Gaussian bucket; in the other one few elements make the sum
    for bucket, tolerance in ((slice(BUCKET), 0.02), (slice(BUCKET, None), 0.1)):
        expected = float(found.variance[bucket].sum())
        assert found.mean_square[bucket].sum() == pytest.approx(expected, rel=tolerance)


@each_kind
def test_the_error_stays_below_the_bound(kind: str):
    for q in all_forms(kind):
        single = torch.zeros(BUCKET)
        single[3] = -2.5
        for vector in (
            heavy_tailed(BUCKET),
            torch.randn(BUCKET, generator=seeded(2)),
            torch.ones(BUCKET),
            single,
        ):
            relative = q.expected_error(vector).sum() / vector.double().square().sum()
            assert relative <= q.variance_bound(BUCKET) * (1 + 1e-6)  # float32 norms and levels


@each_kind
def test_every_number_is_a_level_times_the_norm(kind: str):
    for q in all_forms(kind):
        x = heavy_tailed(4 * BUCKET)
        grid = q.norms(x)[:, None] * q.levels
        out = once(q, x).view(4, BUCKET)
        assert (out.abs()[:, :, None] == grid[:, None, :]).any(-1).all()


@each_kind
def test_the_largest_magnitude_comes_back_exactly(kind: str):
    q, x = simplest(kind), heavy_tailed(2_000)
    out = once(q, x)
    for begin in range(0, 2_000, BUCKET):
        place = begin + int(x[begin : begin + BUCKET].abs().argmax())
        assert out[place] == x[place]


@each_kind
def test_signs_are_kept_and_zeros_stay(kind: str):
    for q in all_forms(kind):
        x = heavy_tailed(5_000)
        out = once(q, x)
        if q.level_set.zero:
            assert (out[x == 0] == 0).all()
            assert (out * x >= 0).all()
        else:  # without a zero, what is below the first level takes it with either sign
            lowest = q.levels[0] * q.norms(x).repeat_interleave(BUCKET)[: len(x)]
            assert (out * x > 0)[x.abs() >= lowest].all()
            assert (out.abs() == lowest)[x.abs() < lowest].all()


@each_kind
def test_a_bucket_of_zeros_stays_one_beside_others(kind: str):
    for q in all_forms(kind):
        x = heavy_tailed(3 * BUCKET)
        x[BUCKET : 2 * BUCKET] = 0
        out = once(q, x).view(3, BUCKET)
        assert (out[1] == 0).all()
        assert (out[[0, 2]] != 0).any(1).all()


@each_kind
def test_what_lies_on_a_level_is_not_changed(kind: str):
    q = simplest(kind)
    x = torch.cat([q.levels, -q.levels]).repeat(10)
    x = torch.cat([x, torch.ones(-len(x) % BUCKET)]) * 2.0**-7
    x[::BUCKET] = 2.0**-7  # in each bucket the norm is this one
    assert torch.equal(once(q, x), x)


@each_kind
def test_a_power_of_two_passes_through_to_the_bit(kind: str):
    """2^99 of numbers near 1 are near 1e30, whose squares are no float32 numbers."""
    for q in all_forms(kind):
        x = heavy_tailed(1_000)
        for power in (-90, -1, 3, 99):
            assert torch.equal(once(q, x * 2.0**power), once(q, x) * 2.0**power)


@each_kind
def test_subnormal_numbers_have_the_codes_of_their_multiples(kind: str):
    """Numbers near 1e-42 are whole multiples of the smallest float32; nothing flushes them to zero."""
    q = simplest(kind)
    whole = torch.randint(-700, 701, (BUCKET,), generator=seeded(3)).float()
    tiny = (whole.double() * 2.0**-149).float()
    codes, codes_tiny = q.quantize(whole, seeded(4)), q.quantize(tiny, seeded(4))
    assert torch.equal(codes.payload[4:], codes_tiny.payload[4:])  # behind the norm
    out, out_tiny = q.dequantize(codes).double(), q.dequantize(codes_tiny).double() * 2.0**149
    assert (out - out_tiny).abs().max() <= 0.501  # rounded to such multiples


@each_kind
def test_what_is_not_finite_is_seen_in_its_bucket_alone(kind: str):
    for q in all_forms(kind):
        for bad in (float("nan"), float("inf"), float("-inf")):
            x = heavy_tailed(3 * BUCKET)
            x[BUCKET + 5] = bad
            out = once(q, x).view(3, BUCKET)
            assert out[1].isnan().all()
            assert out[[0, 2]].isfinite().all()


@each_form
@each_kind
def test_bytes_and_numbers_are_those_of_the_reference(kind: str, norm: str, dtype: str):
    q = quantizer(kind, norm, dtype)
    shared = {"bits": q.bits, "bucket_size": BUCKET, "norm_bytes": 4 if dtype == "float32" else 2}
    for size, scale in [*((size, 1.0) for size in SIZES), (700, 1e-42), (700, 1e30)]:
        x = heavy_tailed(size, seed=size) * scale
        codes = q.quantize(x, seeded(size))
        message = reference.encode(
            x.numpy(),
            q.levels.numpy(),
            euclidean=norm == "l2",
            even=q.level_set.uniform,
            key=int(torch.randint(2**63 - 1, (), generator=seeded(size))),
            **shared,
        )
        assert codes.payload.numpy().tobytes() == message.tobytes()
        out = reference.decode(message, size, q.levels.numpy(), **shared)
        assert q.dequantize(codes).numpy().tobytes() == out.tobytes()


@each_kind
def test_bytes_are_as_many_as_norms_and_bits_need(kind: str):
    for q in all_forms(kind):
        for size in SIZES:
            norms = -(-size // BUCKET) * (4 if q.norm_dtype == "float32" else 2)
            codes = -(-size // 8) * q.bits  # whole eights of numbers
            assert q.quantize(torch.ones(size)).nbytes == -(-(norms + codes) // 8) * 8


def test_the_reference_draws_the_published_numbers_of_splitmix():
    """The test vector of the seed 1234567 that goes around with SplitMix64."""
    drawn = [reference.split_mix(1234567, number) for number in range(3)]
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_random_numbers_are_uniform():
    drawn = np.concatenate([reference.uniform_numbers(99, bucket, 1024) for bucket in range(1_000)])
    counts = np.histogram(drawn, bins=1_000, range=(0, 1))[0]
    # chi-square of 999 degrees of freedom: mean 999, standard deviation 45
    assert abs(((counts - 1024) ** 2 / 1024).sum() - 999) < SIGMAS * 45


def test_errors_within_a_bucket_are_uncorrelated():
    """At any distance, and between places whose numbers differ in one bit: a weak hash would show there."""
    buckets, size = 4_000, 1024
    x = torch.full((buckets * size,), 0.37)
    x[::size] = 1.0
    error = (once(QSGD(2, size), x) - x).view(buckets, size)[:, 1:].double()
    error /= (0.37 * 0.63) ** 0.5
    spectrum = torch.fft.rfft(error, n=2 * size).abs().square().mean(0)
    covariance = torch.fft.irfft(spectrum)[1:512]  # sums of more than 511 products in each bucket
    terms = buckets * (size - 1 - torch.arange(1, 512))
    assert (covariance.abs() * buckets / terms.sqrt()).max() < SIGMAS
    lanes = torch.arange(1, size)
    for bit in range(10):
        other = lanes ^ (1 << bit)
        pairs = error[:, other[other > 0] - 1] * error[:, lanes[other > 0] - 1]
        # each pair is met twice
        assert pairs.mean().abs() * (pairs.numel() / 2) ** 0.5 < SIGMAS


def test_streams_of_ranks_steps_ways_and_parameters_are_uncorrelated():
    size = 400_000
    x = torch.full((size,), 0.37)
    x[::BUCKET] = 1.0
    codec = simplest("QSGD 2").codec
    places = [
        (0, 5, 0, 0, 3),
        (1, 5, 0, 0, 3),
        (0, 6, 0, 0, 3),
        (0, 5, 1, 0, 3),
        (0, 5, 0, 1, 3),
        (0, 5, 0, 0, 4),
    ]
    errors = torch.stack([decoded(codec, x, stream_key(*place)) - x for place in places])
    correlation = torch.corrcoef(errors) - torch.eye(len(places))
    assert correlation.abs().max() * size**0.5 < SIGMAS


@each_kind
def test_eight_ranks_have_an_eighth_of_the_error_and_one_key_for_all_has_all_of_it(kind: str):
    codec, x = simplest(kind).codec, heavy_tailed(200 * BUCKET)
    errors = torch.stack([decoded(codec, x, stream_key(0, 0, rank, 0, 0)) - x for rank in range(8)])
    each = errors.square().sum(1).mean()
    # 8 %: above three standard errors of a sum over 200 buckets, most of it from the largest elements
    assert errors.mean(0).square().sum() == pytest.approx(float(each) / 8, rel=0.08)
    shared = torch.stack([decoded(codec, x, stream_key(0)) - x for _ in range(8)])
    assert shared.mean(0).square().sum() == pytest.approx(float(each), rel=0.08)


def decoded(codec: Buckets, x: Tensor, key: int, first_bucket: int = 0) -> Tensor:
    message = torch.zeros(codec.nbytes(len(x)), dtype=torch.uint8)
    codec.encode(x, message, key=key, first_bucket=first_bucket)
    out = torch.empty_like(x)
    codec.decode(message, out)
    return out


@each_kind
def test_a_part_encoded_by_itself_is_the_same_as_within_the_whole(kind: str):
    codec, x = simplest(kind).codec, heavy_tailed(5_000)
    whole = decoded(codec, x, key=11)
    parts = [decoded(codec, x[b : b + 3 * BUCKET], 11, b // BUCKET) for b in range(0, 5_000, 3 * BUCKET)]
    assert torch.equal(torch.cat(parts), whole)


@each_kind
def test_decoding_can_add(kind: str):
    codec, x = simplest(kind).codec, heavy_tailed(1_001)
    message = torch.zeros(codec.nbytes(len(x)), dtype=torch.uint8)
    codec.encode(x, message, key=1)
    total = torch.arange(1_001.0)
    codec.decode(message, total, add=True)
    assert torch.equal(total, torch.arange(1_001.0) + decoded(codec, x, key=1))


@each_kind
def test_the_same_key_gives_the_same_bytes_for_any_number_of_threads(kind: str):
    q, x = simplest(kind), heavy_tailed(50_000)
    expected = q.quantize(x, seeded(5)).payload
    assert not torch.equal(q.quantize(x, seeded(6)).payload, expected)
    held = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(q.quantize(x, seeded(5)).payload, expected)
    finally:
        torch.set_num_threads(held)
    with ThreadPoolExecutor(3) as pool:
        for codes in pool.map(lambda _: q.quantize(x, seeded(5)), range(6)):
            assert torch.equal(codes.payload, expected)


@each_kind
def test_any_shape_type_and_strides_come_back(kind: str):
    q, x = simplest(kind), heavy_tailed(24 * 35).reshape(24, 5, 7)
    expected = once(q, x)
    assert expected.shape == x.shape
    for other in (x.double(), x.permute(2, 0, 1).contiguous().permute(1, 2, 0), torch._neg_view(-x)):
        out = once(q, other.requires_grad_())
        assert out.dtype == other.dtype
        assert not out.requires_grad
        assert torch.equal(out.float(), expected)
    for dtype in (torch.bfloat16, torch.float16):
        assert torch.equal(once(q, x.to(dtype)), once(q, x.to(dtype).float()).to(dtype))
    for empty in (torch.zeros(0), torch.zeros(3, 0, 2)):
        assert once(q, empty).shape == empty.shape
        assert q.expected_error(empty).shape == empty.shape
    assert once(q, torch.tensor(-3.5)) == -3.5


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.uint8, torch.bool])
def test_what_is_no_floating_point_is_refused(dtype: torch.dtype):
    with pytest.raises(ValueError, match=f"{dtype} cannot be quantized; give floating point"):
        QSGD().quantize(torch.zeros(3, dtype=dtype))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: QSGD(5), "QSGD with 5 bits; choose 2, 3, 4 or 8"),
        (lambda: QSGD(64), "QSGD with 64 bits"),
        (lambda: NUQSGD(16), "NUQSGD with 16 bits"),
        (lambda: ALQ(1), "ALQ with 1 bits"),
        (lambda: AMQ(0), "AMQ with 0 bits"),
        (lambda: QSGD(bucket_size=100), "buckets of 100; choose a multiple of 64"),
        (lambda: QSGD(bucket_size=0), "buckets of 0"),
        (lambda: Ternary(norm="l1"), "Ternary with the norm 'l1'; choose 'linf' or 'l2'"),
        (lambda: QSGD(norm_dtype="float16"), "norms in 'float16'; choose 'float32' or 'bfloat16'"),
        (lambda: NUQSGD(p=1.0), "p = 1.0; the ratio of neighbouring levels lies between 0 and 1"),
        (
            lambda: NUQSGD(8, zero=False),
            "below what float32 holds in full; use fewer bits or a larger multiplier",
        ),
        (
            lambda: QSGD(4).load_state_dict(NUQSGD(4).state_dict()),
            "resume with the quantizer that saved them",
        ),
        (lambda: QSGD(4).load_state_dict(QSGD(3).state_dict()), "those of QSGD with 4 bits are"),
    ],
)
def test_an_error_is_a_sentence_with_a_cure(make: Callable[[], object], words: str):
    with pytest.raises(ValueError, match=words):
        make()


def gaussian_error(q: Quantizer) -> float:
    x = torch.randn(100 * q.bucket_size, generator=seeded(8))
    return float(q.expected_error(x).sum() / x.double().square().sum())


def test_exponential_levels_saturate_and_uniform_ones_do_not():
    """With ratios spread evenly over an octave, (c - r)(r - a) / r^2 has the mean 3 ln 2 - 2 = 0.079."""
    assert gaussian_error(NUQSGD(8)) == pytest.approx(
        3 * np.log(2) - 2, rel=0.05
    )  # the density is not quite even
    assert gaussian_error(QSGD(8)) < 0.001


def test_four_exponential_bits_keep_the_bound_of_the_paper():
    """1/8 and d 2^-2s / 4 with s = 6: 0.1875; Gaussian numbers lie well below."""
    q = NUQSGD(4, 1024, "l2")
    assert q.variance_bound(1024) == 0.1875
    assert 0.09 < gaussian_error(q) < 0.12


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_few_numbers_are_not_zero_as_the_theorem_says(bits: int):
    """At most s (s + sqrt d) of a bucket in the mean: Alistarh et al. 2017, Lemma 3.1."""
    q, s = QSGD(bits, 1024, "l2"), 2 ** (bits - 1) - 1
    out = once(q, torch.randn(200 * 1024, generator=seeded(9)))
    assert 0 < (out != 0).sum() / 200 <= s * (s + 32)


def test_ternary_is_two_uniform_bits():
    x = heavy_tailed(2_000)
    assert torch.equal(
        Ternary(512).quantize(x, seeded(1)).payload, QSGD(2, 512).quantize(x, seeded(1)).payload
    )


@each_kind
def test_what_was_learned_comes_back(kind: str):
    q, x = simplest(kind), heavy_tailed(1_000)
    fresh = KINDS[kind](bucket_size=BUCKET)
    fresh.load_state_dict(q.state_dict())
    assert torch.equal(fresh.quantize(x, seeded(1)).payload, q.quantize(x, seeded(1)).payload)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "QSGD" in kind or kind == "Ternary"])
def test_fixed_levels_do_not_learn(kind: str):
    q = KINDS[kind](bucket_size=BUCKET)
    before = q.levels
    q.update(heavy_tailed(1_000))
    assert torch.equal(q.levels, before)
