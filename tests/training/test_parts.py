"""Loss, schedule, average and log, each by its own law."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from data_pipelines import WindowDataset
from oceanop.config import TrainingConfig
from oceanop.normalise import Scaling
from oceanop.step import WindowStep
from training.averaging import MovingAverage
from training.growth import change_growth
from training.losses import area_weight, error_scale, window_loss
from training.runlog import RunLog
from training.schedule import learning_rate, phases


def test_the_loss_is_the_area_mean_in_units_of_variance() -> None:
    wet = torch.tensor([[[True, True, False]]])
    weight = area_weight(wet, torch.tensor([[1.0, 3.0, 5.0]]))
    target = torch.zeros(1, 1, 1, 1, 3)
    forecast = torch.tensor([2.0, 4.0, 100.0]).reshape(1, 1, 1, 1, 3)
    # (1 * 2^2 + 3 * 4^2) / 4 in units of std^2 = 4
    loss = window_loss(forecast, target, scale=torch.full((1, 1, 1, 1), 2.0), weight=weight)
    assert loss.item() == pytest.approx(13 / 4)


def test_the_loss_and_its_gradient_ignore_land() -> None:
    weight = area_weight(torch.tensor([[[True, False]]]), torch.ones(1, 2))
    forecast = torch.ones(2, 1, 3, 1, 2, requires_grad=True)
    target = torch.zeros(2, 1, 3, 1, 2)
    target[..., 1] = torch.nan
    loss = window_loss(forecast, target, scale=torch.ones(1, 1, 1, 1), weight=weight)
    loss.backward()
    assert loss.item() == 1.0
    assert forecast.grad is not None
    assert (forecast.grad[..., 1] == 0).all()
    assert torch.isfinite(forecast.grad).all()


def test_the_loss_does_not_depend_on_how_a_batch_is_split() -> None:
    torch.manual_seed(0)
    forecast, target = torch.randn(2, 4, 2, 3, 5, 6)
    weight = area_weight(torch.rand(2, 5, 6) > 0.3, torch.rand(5, 6))
    scale = torch.rand(2, 3, 1, 1) + 0.5
    whole = window_loss(forecast, target, scale=scale, weight=weight)
    parts = [
        window_loss(f, t, scale=scale, weight=weight)
        for f, t in zip(forecast.chunk(2), target.chunk(2), strict=True)
    ]
    torch.testing.assert_close(whole, sum(parts) / 2)


def wave_step(growth: list[float]) -> WindowStep:
    """A step around no operator at all: only its scaling matters."""
    unit = Scaling(torch.zeros(1), torch.full((1,), 2.0))
    wet = torch.ones(1, 1, 1, dtype=torch.bool)
    return WindowStep(
        nn.Identity(), state=unit, forcing=unit, static=wet.float(), wet=wet, growth=torch.tensor([growth])
    )


def test_lead_weighting_shifts_attention_and_keeps_the_mean_weight() -> None:
    step = wave_step([0.5, 1.0, 2.0])
    for exponent in (0.0, 0.5, 1.0):
        scale = error_scale(step, 5, exponent).flatten()
        # in units of variance (2^2) the weights have mean one
        assert scale.pow(-2).mean().item() * 4 == pytest.approx(1, rel=1e-6)
        # the last growth holds for the windows after the first
        assert scale[2] == scale[3] == scale[4]
        assert (scale[1] / scale[0]).item() == pytest.approx(2**exponent, rel=1e-6)
    assert error_scale(step, 2, 1.0).shape == (1, 2, 1, 1)


def test_the_growth_of_a_steady_rise_is_its_lead(tmp_path: Path) -> None:
    times = np.datetime64("2020-01-01T00", "ns") + np.arange(30) * np.timedelta64(1, "h")
    rise = 0.1 * np.arange(30)[:, None, None] * np.ones((30, 3, 4))
    ds = xr.Dataset(
        {
            "zos": (("time", "y", "x"), rise.astype(np.float32)),
            "mask": (("y", "x"), np.ones((3, 4), np.int8)),
            "cell_area": (("y", "x"), np.ones((3, 4))),
        },
        coords={
            "time": times,
            "latitude": (("y", "x"), np.full((3, 4), 55.0)),
            "longitude": (("y", "x"), np.full((3, 4), 15.0)),
        },
    )
    dataset = WindowDataset(ds, history=2, horizon=6, split=None)
    growth = change_growth(dataset, horizon=3, std=torch.tensor([0.5]), weight=torch.ones(1, 3, 4))
    torch.testing.assert_close(growth, torch.tensor([[0.2, 0.4, 0.6]]))
    still = ds.assign(zos=ds["zos"] * 0)
    with pytest.raises(ValueError, match="does not change over the training period"):
        change_growth(
            WindowDataset(still, history=2, horizon=3, split=None),
            horizon=3,
            std=torch.ones(1),
            weight=torch.ones(1, 3, 4),
        )


def test_growth_is_read_once_and_is_that_of_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gap in time and two members, in blocks that neither fills, kept in memory or read as it goes."""
    random = np.random.default_rng(0)
    hours = np.delete(np.arange(42), 20)
    mask = np.ones((3, 4), np.int8)
    mask[0, 0] = 0
    zos = random.normal(size=(41, 2, 3, 4)).astype(np.float32)
    place = np.zeros((3, 4))
    ds = xr.Dataset(
        {
            "zos": (("time", "member", "y", "x"), zos),
            "mask": (("y", "x"), mask),
            "cell_area": (("y", "x"), place + 1),
        },
        coords={
            "time": np.datetime64("2020-01-01T00", "ns") + hours * np.timedelta64(1, "h"),
            "latitude": (("y", "x"), place + 55),
            "longitude": (("y", "x"), place + 15),
        },
    )
    area = (1 + random.random((1, 3, 4)).astype(np.float32)) * mask
    monkeypatch.setattr("training.growth._TOGETHER", 5)
    monkeypatch.setattr("training.growth._IN_CACHE", 22)
    found = []
    for limit in (2**31, 0):
        monkeypatch.setattr("data_pipelines.dataset.MEMORY_LIMIT", limit)
        dataset = WindowDataset(ds, history=2, horizon=4, split=None)
        asked: list[int] = []
        monkeypatch.setattr(
            dataset,
            "states",
            lambda first, stop, member, asked=asked, read=dataset.states: (
                asked.append(stop - first) or read(first, stop, member)
            ),
        )
        found.append(
            change_growth(dataset, horizon=3, std=torch.tensor([0.5]), weight=torch.from_numpy(area))
        )
        # 15 and 16 starts of each member, in four blocks each, every one with three steps after it
        assert sum(asked) == 2 * (15 + 16 + 3 * (3 + 4))
    assert torch.equal(*found)
    # By definition, window by window, in float64.
    changes = [
        [(zos[known + lead, member] - zos[known, member]).astype(float) ** 2 for lead in (1, 2, 3)]
        for member in (0, 1)
        for known in [*range(1, 16), *range(21, 37)]
    ]
    expected = np.sqrt((np.mean(changes, 0) * area).sum((-2, -1)) / area.sum()) / 0.5
    # Changes are rounded to float32 before they are squared.
    np.testing.assert_allclose(found[0][0].numpy(), expected, rtol=1e-6)


def test_the_rate_rises_and_falls_to_zero() -> None:
    training = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(training, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


@pytest.mark.parametrize(
    ("windows", "unroll_from", "expected"),
    [(1, 0.5, [(0, 9, 1)]), (2, 0.5, [(0, 4, 1), (4, 9, 2)]), (3, 0.0, [(0, 9, 3)]), (2, 1.0, [(0, 9, 1)])],
)
def test_phases_cover_every_step_once(windows: int, unroll_from: float, expected: list) -> None:
    parts = phases(TrainingConfig(steps=9, windows=windows, unroll_from=unroll_from))
    assert [(part.first, part.last, part.windows) for part in parts] == expected


def test_the_average_of_constant_weights_is_the_weights() -> None:
    module = nn.Linear(2, 2)
    average = MovingAverage(module, 0.9)
    for _ in range(20):
        average.update(module)
    torch.testing.assert_close(average.parameters["weight"], module.weight.detach())


def test_the_average_follows_its_recursion() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    average = MovingAverage(module, 0.9)
    average.steps = 1000  # past the warm-up
    nn.init.ones_(module.weight)
    for _ in range(5):
        average.update(module)
    assert average.parameters["weight"].item() == pytest.approx(1 - 0.9**5, rel=1e-6)


def test_a_torn_line_is_dropped_and_later_rows_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    log = RunLog(path, after_step=2)
    log.write(step=3, loss=0.5)
    log.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "loss": 0.5},
    ]
