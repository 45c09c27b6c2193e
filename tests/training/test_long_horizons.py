"""What a run does for long horizons: windows in stages, gradients through the last of them, an end in time."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oceanop.checkpoint import load_checkpoint
from oceanop.config import Run, TrainingConfig, load_run, parse_run, run_to_toml
from oceanop.normalise import Scaling
from oceanop.step import WindowStep
from tests.training.conftest import tiny_run
from training import train
from training.losses import error_scale, window_loss
from training.objective import Objective
from training.schedule import phases

PAST, HORIZON, WINDOWS = 2, 3, 4


class Mixing(nn.Module):
    """An operator of two layers, one of them without a forcing."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(PAST + PAST + HORIZON, 16), nn.Linear(16, HORIZON)

    def forward(self, history: Tensor, forcing: Tensor, static: Tensor) -> Tensor:
        known = torch.cat([history, forcing], dim=2).movedim(2, -1)
        return self.outer(torch.tanh(self.inner(known))).movedim(-1, 2).float()


def make_step() -> WindowStep:
    torch.manual_seed(0)
    return WindowStep(
        Mixing(),
        state=Scaling(torch.tensor([0.1]), torch.tensor([2.0])),
        forcing=Scaling(torch.zeros(1), torch.ones(1)),
        static=torch.ones(1, 4, 5),
        wet=torch.rand(1, 4, 5) > 0.2,
        growth=torch.tensor([[0.5, 0.8, 1.0]]),
    )


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """History, forcing, target and noise."""
    torch.manual_seed(1)
    leads = WINDOWS * HORIZON
    shapes = (PAST, PAST + leads, leads, PAST)
    history, forcing, target, noise = (torch.randn(2, 1, count, 4, 5) for count in shapes)
    return history, forcing, target, 0.1 * noise


def objective(step: WindowStep, **training: Any) -> Objective:
    choice = TrainingConfig(**{"windows": WINDOWS, **training})
    return Objective(step, choice, weight=step.wet.float(), horizon=HORIZON)


def gradients(step: WindowStep) -> list[Tensor]:
    found = [parameter.grad for parameter in step.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in found)
    return [gradient.clone() for gradient in found if gradient is not None]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("through", [1, 2, 3])
def test_pushforward_is_the_loss_of_the_last_windows_started_from_a_forecast(
    through: int, precision: str
) -> None:
    step = make_step()
    history, forcing, target, noise = batch()
    ours = objective(step, gradient_windows=through, precision=precision)(history, forcing, target, noise)
    ours.backward()
    found = gradients(step)

    step.zero_grad()
    windows = []
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        for first in range(0, WINDOWS * HORIZON, HORIZON):
            counted = first >= (WINDOWS - through) * HORIZON
            with torch.set_grad_enabled(counted):
                future = step(
                    history, forcing[:, :, first : first + PAST + HORIZON], noise if first == 0 else None
                )
            windows.append(future)
            history = future[:, :, -PAST:]
    after = (WINDOWS - through) * HORIZON
    scale = error_scale(step, WINDOWS * HORIZON, 0.5, after=after)
    forecast = torch.cat(windows[-through:], dim=2)
    theirs = window_loss(forecast, target[:, :, after:], scale=scale, weight=step.wet.float())
    theirs.backward()
    assert torch.equal(ours, theirs)
    for one, other in zip(found, gradients(step), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)  # sums in another order


def test_all_windows_count_where_no_number_is_given() -> None:
    values = {}
    for windows in (None, 1, 3):
        step = make_step()
        loss = objective(step, gradient_windows=windows)(*batch())
        loss.backward()
        values[windows] = (loss.item(), gradients(step))
    for windows in (1, 3):
        assert values[windows][0] != values[None][0]
        assert not torch.equal(values[windows][1][0], values[None][1][0])


def kept_bytes(windows: int, through: int | None) -> int:
    """What autograd keeps of a forward pass."""
    step, kept = make_step(), {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    history, forcing, target, noise = batch()
    leads = windows * HORIZON
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = objective(step, gradient_windows=through)(
            history, forcing[:, :, : PAST + leads], target[:, :, :leads], noise
        )
    assert loss.requires_grad
    return sum(kept.values())


def test_pushforward_keeps_the_memory_of_its_windows_alone() -> None:
    # a tensor of the loss may differ, an operator's activations of one window may not
    assert kept_bytes(4, 1) < 1.1 * kept_bytes(1, None)
    assert kept_bytes(4, 1) < 0.4 * kept_bytes(4, None)


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([1, 2], [(0, 5, 1), (5, 10, 2)]),
        ([1, 2, 4], [(0, 3, 1), (3, 7, 2), (7, 10, 4)]),
        ([2, 5], [(0, 5, 2), (5, 10, 5)]),
    ],
)
def test_stages_share_the_steps(windows: list[int], expected: list) -> None:
    parts = phases(TrainingConfig(steps=10, windows=windows))
    assert [(part.first, part.last, part.windows) for part in parts] == expected


@pytest.mark.parametrize("steps", [2, 3, 7, 200, 301])
def test_stages_cover_every_step_once_and_evenly(steps: int) -> None:
    for count in range(2, min(steps, 9) + 1):
        parts = phases(TrainingConfig(steps=steps, windows=list(range(1, count + 1))))
        assert [step for part in parts for step in range(part.first, part.last)] == list(range(steps))
        assert [part.windows for part in parts] == list(range(1, count + 1))
        lengths = [part.last - part.first for part in parts]
        assert max(lengths) - min(lengths) <= 1


def test_a_jump_to_two_windows_is_two_stages() -> None:
    for steps in (9, 10, 300):
        assert phases(TrainingConfig(steps=steps, windows=[1, 2])) == phases(
            TrainingConfig(steps=steps, windows=2)
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"windows": 0},
            r"'training\.windows' is 0: expected a number from 1 up, or two stages or more that",
        ),
        ({"windows": "many"}, r"'training\.windows' is 'many': expected a number"),
        ({"windows": [3]}, r"'training\.windows' is \[3\]: expected a number"),
        ({"windows": [2, 1]}, r"'training\.windows' is \[2, 1\]: expected a number"),
        ({"windows": [1, 1, 2]}, r"that grow, as in \[1, 2, 4\]"),
        ({"windows": [0, 2]}, r"'training\.windows' is \[0, 2\]: expected a number"),
        (
            {"windows": [1, 2, 3], "steps": 2},
            r"has 3 stages, and training\.steps is 2; each stage needs a step",
        ),
        (
            {"windows": [1, 3], "unroll_from": 0.5},
            r"'training\.unroll_from' turns nothing with stages in training\.windows \[1, 3\]; leave out",
        ),
        (
            {"gradient_windows": 2},
            r"'training\.gradient_windows' is 2 and turns nothing: the run unrolls 2 at most",
        ),
        ({"gradient_windows": 1, "windows": 1}, r"turns nothing: the run unrolls 1 at most"),
        ({"gradient_windows": 4, "windows": [1, 4]}, r"turns nothing: the run unrolls 4 at most"),
        ({"gradient_windows": 1, "unroll_from": 1.0}, r"turns nothing: the run unrolls 1 at most"),
        (
            {"patience": 5, "steps": 300},
            r"'training\.patience' is 5 and turns nothing: the run validates 6 times",
        ),
        ({"patience": 1, "steps": 100}, r"turns nothing: the run validates 2 times"),
    ],
)
def test_what_cannot_be_or_turns_nothing_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_run({"model": {"name": "FNO"}, "training": changes})


def test_a_run_fitted_on_validation_cannot_wait_for_it() -> None:
    with pytest.raises(
        ValueError, match=r"'training\.patience' turns nothing while 'validation' is in data\.fit"
    ):
        parse_run(
            {
                "model": {"name": "FNO"},
                "data": {"fit": ["train", "validation"]},
                "training": {"patience": 2},
            }
        )


def test_settings_for_long_horizons_return_through_files(tmp_path: Path) -> None:
    training = {"windows": [1, 2, 4], "gradient_windows": 2, "patience": 4}
    run = parse_run({"model": {"name": "FNO"}, "training": training})
    (tmp_path / "run.toml").write_text(run_to_toml(run))
    assert "unroll_from" not in (tmp_path / "run.toml").read_text()
    assert load_run(tmp_path / "run.toml") == Run.model_validate_json(run.model_dump_json()) == run


class _StopError(Exception):
    pass


STILL = {
    "steps": 40,
    "validate_every": 4,
    "patience": 2,
    "learning_rate": 1e-30,  # so that no validation is better than the first
}


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def waited(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("waited") / "run"
    told: list[tuple[str, int, int]] = []
    train(tiny_run(**STILL), store, to, progress=lambda *words: told.append(words))
    assert told[-1][1:] == (12, 12)
    assert "stopped: no validation error below" in told[-1][0]
    return to


def test_a_run_ends_when_validation_stands_still_and_says_why(waited: Path) -> None:
    # validated at 4, 8 and 12: twice no better than the first
    last = rows(waited)[-1]
    best = rows(waited)[4]["validation"]["all"]
    assert last == {"step": 12, "stopped": f"no validation error below {best:.4f} in the last 2"}
    assert max(row["step"] for row in rows(waited)) == 12
    assert load_checkpoint(waited / "checkpoints" / "last").steps == 12
    assert load_checkpoint(waited / "checkpoints" / "best").steps == 4


def test_a_run_that_ended_early_stays_ended(store: Path, waited: Path) -> None:
    before = {name: (waited / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/last")}
    train(tiny_run(**STILL), store, waited, resume=True)
    assert before == {name: (waited / name).read_bytes() for name in before}


# before the first validation, between two, after the last before the end
@pytest.mark.parametrize("stopped_at", [3, 7, 11])
def test_a_resumed_run_ends_as_early(store: Path, waited: Path, tmp_path: Path, stopped_at: int) -> None:
    def stop(words: str, done: int, total: int) -> None:
        if done == stopped_at:
            raise _StopError

    with pytest.raises(_StopError):
        train(tiny_run(**STILL), store, tmp_path / "run", progress=stop)
    train(tiny_run(**STILL), store, tmp_path / "run", resume=True)
    timed = ("seconds", "samples_per_second", "wait_seconds")
    ours, theirs = (
        [{k: v for k, v in row.items() if k not in timed} for row in rows(run)]
        for run in (tmp_path / "run", waited)
    )
    assert ours == theirs


def test_a_run_that_gets_better_is_not_ended(store: Path, tmp_path: Path) -> None:
    train(tiny_run(noise=0.0, patience=1), store, tmp_path / "run")
    errors = [row["validation"]["all"] for row in rows(tmp_path / "run") if "validation" in row]
    assert errors == sorted(errors, reverse=True)
    assert rows(tmp_path / "run")[-1]["step"] == 12
    assert not any("stopped" in row for row in rows(tmp_path / "run"))


def test_a_run_of_stages_resumes_bit_for_bit(store: Path, tmp_path: Path) -> None:
    def stop(words: str, done: int, total: int) -> None:
        if done == 8:
            raise _StopError

    run = tiny_run(windows=[1, 2, 3], gradient_windows=1)
    train(run, store, tmp_path / "whole")
    assert [row["windows"] for row in rows(tmp_path / "whole") if "loss" in row] == [1] * 4 + [2] * 4 + [
        3
    ] * 4
    with pytest.raises(_StopError):
        train(run, store, tmp_path / "stopped", progress=stop)
    train(run, store, tmp_path / "stopped", resume=True)
    whole, resumed = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last").weights for name in ("whole", "stopped")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
