"""'auto': fine codes on fast links, coarse ones on slow links, one choice for all ranks and for a resumed run."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from oceanop.config import CompressionConfig
from tests.training.compression.ranks import launch
from training.communication import Communication
from training.compression import choose
from training.compression.choose import GIGABIT, WORTH, Probe
from training.parallel import Ranks

PROBE = Probe(bytes_per_second=GIGABIT, encode_seconds={4: 3e-9, 8: 2e-9}, ranks=2, numbers=10**7)


def chosen(rate: float) -> tuple[str, int, int]:
    return choose.choose(replace(PROBE, bytes_per_second=rate))


def test_the_slower_the_link_the_coarser_the_codes() -> None:
    rates = [10.0**k for k in range(13, 5, -1)]
    picks = [chosen(rate) for rate in rates]
    assert picks[0] == ("off", 32, 32)
    assert picks[-1] == ("alq", 4, 4)
    bits = [up + down for _, up, down in picks]
    assert bits == sorted(bits, reverse=True)
    for rate, (_, _, down) in zip(rates, picks, strict=True):
        assert down >= 8 or rate < GIGABIT


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_at_the_break_even_codes_take_the_time_of_float32(bits: int, ranks: int) -> None:
    probe = replace(PROBE, ranks=ranks)
    there = replace(probe, bytes_per_second=probe.break_even(bits))
    assert there.seconds(bits, bits) == pytest.approx(there.seconds(32, 32))
    faster, slower = (replace(there, bytes_per_second=f * there.bytes_per_second) for f in (2, 0.5))
    assert slower.seconds(bits, bits) < slower.seconds(32, 32)
    assert faster.seconds(bits, bits) > faster.seconds(32, 32)


@pytest.mark.parametrize("rate", [10.0**k for k in range(6, 13)])
def test_codes_are_chosen_only_where_they_are_worth_it(rate: float) -> None:
    probe = replace(PROBE, bytes_per_second=rate)
    method, up, down = chosen(rate)
    gain = probe.seconds(32, 32) / probe.seconds(up, down)
    assert gain >= (1 if method == "off" else WORTH)


class Loss(nn.Module):
    """A model with one weight that is large enough for codes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(96, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean square of what the layer makes of ``[batch, 96]``."""
        return self.layer(x).square().mean()


def work(rank: int) -> dict[str, Any]:
    """What a rank was told to use; the ranks measure different links, and a resumed run another one still."""
    told: dict[str, Any] = {}
    measured = choose._seconds
    config = CompressionConfig(method="auto", warmup_steps=0, bucket_size=64)
    ranks = Ranks(rank, 2, rank)

    def of_link(seconds: float) -> None:
        def found(work: Any, device: torch.device) -> float:
            return seconds if work.__name__ == "link" else measured(work, device)

        choose._seconds = found

    of_link([1e-9, 10.0][rank])
    begun = Communication(Loss(), ranks, config, seed=0)
    told["choice"] = begun.choice
    with begun.part(last=True):
        begun.module(torch.ones(2, 96)).backward()
    saved = begun.state_dict()
    both: list[Any] = ranks.gather(saved)
    of_link(1e-9)
    again = Communication(Loss(), ranks, config, seed=0)
    told["chosen again"] = again.choice
    resumed = Communication(Loss(), ranks, config, seed=0, saved=both[0])
    told["choice of resumed"] = resumed.choice
    told["configs"] = [each.model_dump() for each in (begun._config, resumed._config)]
    told["steps"] = [begun._exchange.step, resumed._exchange.step]
    choose._seconds = measured
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return launch(work, 2, tmp_path_factory.mktemp("choose"))


def test_the_slowest_link_decides_for_all_ranks(told: list[dict[str, Any]]) -> None:
    assert told[0]["choice"] == told[1]["choice"]
    choice = told[0]["choice"]
    assert (choice["method"], choice["bits"], choice["down_bits"]) == ("alq", 4, 4)
    assert choice["bytes_per_second"] < 1e6  # the second rank's: some kilobytes in ten seconds


def test_a_resumed_run_keeps_its_choice_on_another_link(told: list[dict[str, Any]]) -> None:
    for rank in told:
        assert rank["chosen again"]["method"] == "off"  # the link is another one now
        assert rank["choice of resumed"] is None
        begun, resumed = rank["configs"]
        assert begun == resumed
        assert (begun["method"], begun["bucket_size"], begun["warmup_steps"]) == ("alq", 64, 0)
        assert rank["steps"] == [1, 1]
