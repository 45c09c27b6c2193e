"""Random numbers without a state: a hash of where a number is used, so that a rerun draws the same ones.

Nothing has to be saved to resume, the order of calls and the number of threads do not matter, and no two of (step,
rank, phase, parameter, bucket) share a stream. Shared streams would be costly: with one seed on all ranks the error of
the mean of P gradients does not fall with P.
"""

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, the increment of SplitMix64 (Steele et al., OOPSLA 2014)
_WORD = (1 << 64) - 1


def stream_key(*parts: int) -> int:
    """A 64-bit key of a tuple of integers, by SplitMix64's finaliser over each in turn."""
    key = 0
    for part in parts:
        key = _finalise((key ^ (part & _WORD)) + _GOLDEN & _WORD)
    return key


def _finalise(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _WORD
    return z ^ (z >> 31)
