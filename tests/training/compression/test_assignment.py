"""Which codec a parameter travels in: buckets that end where a Fourier mode ends."""

import pytest
import torch

from training.compression import ALQ, QSGD, LayerWise
from training.compression.assignment import Assignment, mode_block
from training.compression.codec import Buckets
from training.compression.mode_error import mode_errors


@pytest.mark.parametrize(
    ("shape", "block"),
    [((8, 10, 6, 24, 24, 2), 1152), ((20, 11, 40, 40, 2), 3200), ((64, 48), 0), ((5, 4, 3), 0), ((2,), 0)],
)
def test_a_block_is_the_matrix_of_one_mode(shape: tuple[int, ...], block: int) -> None:
    assert mode_block(shape) == block


@pytest.mark.parametrize(
    ("block", "most", "size"),
    [
        (1152, 1024, 576),  # width 24
        (2048, 1024, 1024),  # width 32
        (512, 1024, 512),  # width 16: never two modes, though two would fit
        (3200, 1024, 640),  # width 40
        (800, 1024, 1024),  # width 20: no multiple of 64 divides it
        (0, 1024, 1024),  # no modes
        (1152, 64, 64),
    ],
)
def test_buckets_fill_a_mode_without_rest_where_they_can(block: int, most: int, size: int) -> None:
    assignment = Assignment(
        QSGD(8, most), {"weight": 9999}, blocks={"weight": block}, down_bits=4, warmup_steps=0
    )
    up, down = assignment.codecs("weight", 0)
    assert up.granularity == down.granularity == size


def test_no_mode_is_drowned_by_its_neighbour() -> None:
    """Scales that alternate by 1e4: in buckets of two modes the small one would be lost whole."""
    draw = torch.Generator().manual_seed(0)
    gradient = torch.randn(6, 4, 3, 16, 16, 2, generator=draw)
    gradient[:, :, ::2] *= 1e-4
    blocks = {"weight": mode_block(gradient.shape)}
    assignment = Assignment(
        QSGD(8), {"weight": gradient.numel()}, blocks=blocks, down_bits=None, warmup_steps=0
    )
    aligned, _ = assignment.codecs("weight", 0)
    assert mode_errors(gradient, aligned, seed=0).max() < 3e-4  # 8 uniform bits on a Gaussian bucket: 1e-4
    mixed = QSGD(8).codec
    assert mode_errors(gradient, mixed, seed=0).max() > 1


@pytest.mark.parametrize("quantizer", [ALQ(4), LayerWise(bits=(4,))])
def test_levels_are_learned_from_the_buckets_that_travel(quantizer: ALQ | LayerWise) -> None:
    draw = torch.Generator().manual_seed(1)
    gradient = torch.randn(4, 4, 3, 16, 16, 2, generator=draw)
    blocks = {"weight": mode_block(gradient.shape)}
    assignment = Assignment(
        quantizer, {"weight": gradient.numel()}, blocks=blocks, down_bits=None, warmup_steps=0
    )
    assignment.observe("weight", gradient.flatten())
    assignment._solve(["weight"], torch.stack([assignment._statistics["weight"]])[None])
    learned, _ = assignment.codecs("weight", 0)
    assert isinstance(learned, Buckets)
    alone = ALQ(4, bucket_size=512)
    alone.update(gradient)
    assert learned.levels == alone.level_set
