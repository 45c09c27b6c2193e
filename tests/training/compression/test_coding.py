"""Codes: what is encoded is decoded, and the lengths are those of the theorems."""

import numpy as np
import pytest
from scipy.stats import entropy

from training.compression.adapt import entropy_bits, level_probabilities, solve_levels
from training.compression.coding import (
    HuffmanCode,
    decode_dense,
    decode_sparse,
    elias_decode,
    elias_encode,
    elias_length,
    encode_dense,
    encode_sparse,
)
from training.compression.distribution import Histogram


def quantized(vector: np.ndarray, s: int, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """QSGD with the Euclidean norm: the norm, and signed levels from -s to s."""
    norm = np.linalg.norm(vector)
    levels = np.floor(np.abs(vector) / norm * s + rng.random(len(vector))).astype(np.int64)
    return float(norm), np.where(vector < 0, -levels, levels)


def text(bits: np.ndarray) -> str:
    return "".join(map(str, bits.tolist()))


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (1, "0"),
        (2, "100"),
        (3, "110"),
        (4, "101000"),
        (7, "101110"),
        (8, "1110000"),
        (16, "10100100000"),
        (100, "1011011001000"),
    ],
)
def test_elias_words_are_those_of_the_omega_code(number, word):
    assert text(elias_encode([number])) == word


def test_elias_codes_are_decoded_and_as_long_as_announced():
    rng = np.random.default_rng(0)
    values = np.concatenate([np.arange(1, 300), 2 ** rng.integers(0, 53, 200), rng.integers(1, 2**53, 200)])
    bits = elias_encode(values)
    assert len(bits) == elias_length(values).sum()
    decoded, used = elias_decode(np.concatenate([bits, [1, 0, 1]]).astype(np.uint8), len(values))
    np.testing.assert_array_equal(decoded, values)
    assert used == len(bits)
    assert [len(elias_encode([value])) for value in values[:300].tolist()] == elias_length(
        values[:300]
    ).tolist()


def test_elias_words_fit_into_one_prefix_code():
    # Kraft: the sum over all words is at most 1, and a complete code comes near it slowly
    assert 0.8 < (0.5 ** elias_length(np.arange(1, 2**16)).astype(float)).sum() < 1


@pytest.mark.parametrize("size", [0, 1, 2, 77, 1000])
@pytest.mark.parametrize("s", [1, 7, 1000])
@pytest.mark.parametrize("code", [(encode_sparse, decode_sparse), (encode_dense, decode_dense)])
def test_a_quantized_vector_is_decoded_exactly(code, s, size):
    rng = np.random.default_rng(s + size)
    encode, decode = code
    for density in (0.0, 0.1, 1.0):
        levels = rng.integers(-s, s + 1, size) * (rng.random(size) < density)
        norm, decoded = decode(encode(0.1, levels), size)
        assert norm == np.float32(0.1)
        np.testing.assert_array_equal(decoded, levels)


@pytest.mark.parametrize("norm", [0.0, 1e-45, 3e38, np.inf, np.nan])
def test_a_norm_travels_as_its_32_bits(norm):
    bits = encode_sparse(norm, np.zeros(5, np.int64))
    assert len(bits) == 32
    np.testing.assert_array_equal(decode_sparse(bits, 5)[0], np.float32(norm))


LAWS = {
    "normal": lambda rng, d: rng.standard_normal(d),
    "equal": lambda rng, d: np.where(rng.random(d) < 0.5, -1.0, 1.0),
    "laplace": lambda rng, d: rng.laplace(size=d),
    "heavy": lambda rng, d: rng.standard_t(3, d),
}


def mean_length(law: str, d: int, s: int, encode, repeats: int) -> float:
    rng = np.random.default_rng(0)
    return np.mean([len(encode(*quantized(LAWS[law](rng, d), s, rng))) for _ in range(repeats)])


@pytest.mark.parametrize(
    ("law", "bits"), [("normal", 2.95), ("equal", 4.0), ("laplace", 2.70), ("heavy", 2.55)]
)
def test_the_dense_code_takes_what_its_words_allow(law, bits):
    """QSGD at s = sqrt(d): the paper has 2.8 d + 32 bits, with code words of log2(k) + 1 bits and terms o(1) left out.

    Whole words are longer: 4 bits for a level of one with its sign, so a vector of equal magnitudes takes 4 d + 32.
    Nothing takes more than 4.375 d + 32: a word and its sign have at most 4 + 3/8 (k^2 - 1) bits, and the mean of k^2
    is at most 2, the squared norm 1 plus a variance of at most 1.
    """
    d, s = 4096, 64
    level = np.arange(10_000)
    assert (elias_length(level + 1) + (level > 0) <= 4 + 3 / 8 * (level.astype(float) ** 2 - 1)).all()
    measured = (mean_length(law, d, s, encode_dense, 8) - 32) / d
    assert measured <= 4.375
    # a word's deviation of 1.5 bits over the root of 8 d is 0.01; draws of a heavy tail differ more in their norm
    assert measured == pytest.approx(bits, abs=0.15 if law == "heavy" else 0.03)
    assert (measured <= 2.8) == (law in ("laplace", "heavy"))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("d", [1024, 4096])
def test_the_sparse_code_keeps_the_bound_of_its_paper(law, d):
    """Alistarh et al. 2017 at s = 1, without the o(1) of its logarithm."""
    root = np.sqrt(d)
    bound = (3 + 1.5 * np.log2(2 * (1 + d) / (1 + root))) * (1 + root) + 32
    assert mean_length(law, d, 1, encode_sparse, 20) <= bound


@pytest.mark.parametrize("seed", range(20))
def test_huffman_symbols_are_decoded_and_as_long_as_announced(seed):
    rng = np.random.default_rng(seed)
    frequencies = rng.random(rng.integers(1, 40)) ** 6 * rng.integers(0, 2)
    frequencies[rng.integers(len(frequencies))] = 1.0
    code = HuffmanCode.of(frequencies)
    symbols = rng.choice(len(frequencies), 500, p=frequencies / frequencies.sum())
    bits = code.encode(symbols)
    assert len(bits) == code.length(symbols)
    decoded, used = code.decode(bits, len(symbols))
    np.testing.assert_array_equal(decoded, symbols)
    assert used == len(bits)
    assert HuffmanCode(code.lengths) == code


@pytest.mark.parametrize("seed", range(4))
def test_the_huffman_length_lies_between_the_entropy_and_one_bit_more(seed):
    """Adapted levels of a drawn gradient: n H <= length <= n (H + 1), with the frequencies that occurred."""
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(4000) * np.exp(seed * rng.standard_normal(4000))
    magnitudes = np.abs(vector) / np.abs(vector).max()
    levels = solve_levels(Histogram.gather(magnitudes), 6)
    above = np.searchsorted(levels, magnitudes, side="right").clip(1, 7)
    up = (magnitudes - levels[above - 1]) / (levels[above] - levels[above - 1])
    symbols = above - 1 + (rng.random(4000) < up)
    occurred = np.bincount(symbols, minlength=8)
    length, bits = HuffmanCode.of(occurred).length(symbols), entropy(occurred, base=2)
    assert 4000 * bits <= length <= 4000 * (bits + 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_expected_huffman_length_of_the_model_is_within_a_bit_of_its_entropy(seed):
    rng = np.random.default_rng(seed)
    distribution = Histogram.gather(rng.random(1000) ** (1 + 3 * seed))
    levels = 0.5 ** np.arange(6, -1, -1.0)
    levels = np.concatenate([[0.0], levels])
    probabilities = level_probabilities(levels, distribution)
    expected = probabilities @ HuffmanCode.of(probabilities).lengths
    without_signs = entropy_bits(levels, distribution) - (1 - probabilities[0])
    # rounding of sums of size 1
    assert without_signs - 1e-12 <= expected <= without_signs + 1
    assert without_signs == pytest.approx(entropy(probabilities, base=2), abs=1e-12)


def test_powers_of_a_half_have_words_of_their_own_length():
    assert HuffmanCode.of([0.5, 0.25, 0.125, 0.125, 0.0]).lengths == (1, 2, 3, 3, 0)
    assert text(HuffmanCode((2, 1, 3, 3)).encode([1, 0, 2, 3])) == "0" + "10" + "110" + "111"


def test_a_lone_symbol_takes_one_bit():
    assert HuffmanCode.of([0.0, 3.0]).length([1, 1, 1]) == 3


@pytest.mark.parametrize("scale", [1, 1000])
def test_no_prefix_code_of_three_or_four_symbols_is_shorter(scale):
    rng = np.random.default_rng(scale)
    shapes = {3: [(1, 2, 2)], 4: [(1, 2, 3, 3), (2, 2, 2, 2)]}
    for symbols, complete in shapes.items():
        for _ in range(50):
            weights = np.sort(rng.random(symbols) ** 3 * scale)[::-1]
            best = min(weights @ lengths for lengths in complete)
            assert weights @ HuffmanCode.of(weights).lengths == pytest.approx(best, rel=1e-12)


def test_a_cut_message_is_refused():
    levels = np.array([3, 0, -2, 0, 1])
    for encode, decode in ((encode_sparse, decode_sparse), (encode_dense, decode_dense)):
        with pytest.raises(ValueError, match="within a code"):
            decode(encode(1.0, levels)[:-1], 5)
    with pytest.raises(ValueError, match="a nonzero at 4 of a vector of 4"):
        decode_sparse(encode_sparse(1.0, levels), 4)


@pytest.mark.parametrize("bad", [[0], [-3], [2**53], [1.5]])
def test_what_elias_cannot_say_is_refused(bad):
    with pytest.raises(ValueError, match="integers from 1 to 2\\^53 - 1"):
        elias_encode(bad)


def test_what_huffman_cannot_say_is_refused():
    with pytest.raises(ValueError, match=r"symbols \[2\] have no code word"):
        HuffmanCode.of([0.5, 0.5, 0.0]).encode([0, 2])
    with pytest.raises(ValueError, match="frequencies are"):
        HuffmanCode.of([0.0, 0.0])
    with pytest.raises(ValueError, match="Kraft"):
        HuffmanCode((1, 1, 1))
    with pytest.raises(ValueError, match="'11' begins no code word"):
        HuffmanCode((1, 2)).decode(np.array([1, 1, 0], np.uint8), 1)
    with pytest.raises(ValueError, match="give a vector of integers"):
        encode_dense(1.0, [0.5, 1.0])
