"""Seconds of a training step beside neuraloperator's FNO over (t, y, x), interleaved in one run."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from oceanop import FNOtD

SIZE = (12, 50, 75)  # window of 6 + 6 hours on the demonstration's grid
RUNS = 5


def seconds_of(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


@pytest.mark.benchmark
def test_a_training_step_beside_neuraloperator(capsys: pytest.CaptureFixture[str]) -> None:
    from neuralop.models import FNO as NeuralopFNO

    torch.manual_seed(0)
    modes, width, layers, batch = (8, 16, 16), 24, 4, 2
    ours = FNOtD(
        state_channels=2,
        forcing_channels=4,
        static_channels=3,
        history=6,
        horizon=6,
        modes=modes,
        width=width,
        layers=layers,
    )
    peer = NeuralopFNO(n_modes=modes, in_channels=11, out_channels=2, hidden_channels=width, n_layers=layers)
    history, forcing = torch.randn(batch, 2, 6, *SIZE[1:]), torch.randn(batch, 4, *SIZE)
    static, joint = torch.ones(3, *SIZE[1:]), torch.randn(batch, 11, *SIZE)

    def step_ours() -> None:
        ours(history, forcing, static).square().mean().backward()

    def step_peer() -> None:
        peer(joint).square().mean().backward()

    for warm in (step_ours, step_peer):
        warm()
    times = [(seconds_of(step_ours), seconds_of(step_peer)) for _ in range(RUNS)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    with capsys.disabled():
        print(
            f"\ntraining step, batch {batch}, {SIZE} cells, modes {modes}, width {width}, {layers} layers, "
            f"{torch.get_num_threads()} threads, median of {RUNS}: FNOtD {mine:.3f} s, neuralop FNO {theirs:.3f} s, "
            f"ratio {mine / theirs:.2f}"
        )
    assert mine > 0
    assert theirs > 0
