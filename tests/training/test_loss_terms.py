"""The terms that a loss can have besides the squared error, and the roughness that validation tells."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from data_pipelines import WindowDataset
from training.losses import area_weight, energy_loss, gradient_loss, window_loss
from training.neighbours import square_differences, usual_differences
from training.validation import validate

ROWS, COLUMNS = 6, 8


def cosine(waves: int, dim: int) -> Tensor:
    """A standing wave between walls, ``[1, 1, 1, ROWS, COLUMNS]``."""
    count = (ROWS, COLUMNS)[dim]
    wave = torch.cos(math.pi * waves * (torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return (wave[:, None] if dim == 0 else wave).expand(ROWS, COLUMNS)[None, None, None]


@pytest.mark.parametrize("dim", [0, 1], ids=["along y", "along x"])
@pytest.mark.parametrize("waves", [1, 2, 5])
def test_an_error_of_wavenumber_k_weighs_by_k_squared(waves: int, dim: int) -> None:
    """Standing waves are the eigenvectors of the Laplacian between walls, with 4 sin^2(k / 2) for k^2."""
    weight = torch.ones(1, ROWS, COLUMNS, dtype=torch.float64)
    error = 0.3 * cosine(waves, dim)
    loss = gradient_loss(error, torch.zeros_like(error), scale=torch.ones(2, 1, 1), weight=weight)
    pairs = (ROWS - 1) * COLUMNS + ROWS * (COLUMNS - 1)
    wavenumber = 2 * math.sin(math.pi * waves / (ROWS, COLUMNS)[dim] / 2)
    assert loss.item() == pytest.approx(0.3**2 / 2 * wavenumber**2 * ROWS * COLUMNS / pairs, rel=1e-12)


def test_each_direction_has_its_own_unit() -> None:
    weight = torch.ones(1, ROWS, COLUMNS, dtype=torch.float64)
    error = torch.stack([cosine(1, 0)[0], cosine(1, 1)[0]])
    for along in (0, 1):
        unit = torch.ones(2, 1, 1)
        plain = gradient_loss(error[[along]], torch.zeros(1), scale=unit, weight=weight)
        unit[along] = 2.0
        halved = gradient_loss(error[[along]], torch.zeros(1), scale=unit, weight=weight)
        assert halved.item() == pytest.approx(plain.item() / 4, rel=1e-12)


def test_the_coast_is_no_difference() -> None:
    """An error that is the same over the whole sea has no gradient, whatever stands on land; zeros there would."""
    torch.manual_seed(0)
    wet = torch.rand(2, 9, 11) > 0.4
    weight = area_weight(wet, torch.rand(9, 11) + 0.5)
    target = torch.where(wet[:, None], torch.randn(2, 2, 3, 9, 11), torch.nan)
    forecast = torch.where(wet[:, None], target + 0.7, 0.0).requires_grad_()
    loss = gradient_loss(forecast, target, scale=torch.ones(2, 2, 3), weight=weight)
    loss.backward()
    # rounding of differences of numbers of size one
    assert 0 <= loss.item() < 1e-12
    assert square_differences(torch.where(wet[:, None], 0.7, 0.0).expand(2, 3, 9, 11), weight).sum() == 0
    assert forecast.grad is not None
    assert torch.isfinite(forecast.grad).all()
    assert (forecast.grad[:, ~wet.any(0).expand(2, 9, 11)[:, None].expand(2, 3, 9, 11)] == 0).all()


def test_a_pair_counts_by_the_area_of_its_cells() -> None:
    weight = area_weight(torch.ones(1, 1, 3, dtype=torch.bool), torch.tensor([[1.0, 2.0, 3.0]]))
    error = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 1, 1, 1, 3)
    loss = gradient_loss(error, torch.zeros_like(error), scale=torch.ones(2, 1, 1), weight=weight)
    # pairs of mean area 1.5 and 2.5, differences 1 and 2; one row has no pairs along y
    assert loss.item() == pytest.approx((1.5 * 1 + 2.5 * 4) / 4)


def test_terms_do_not_depend_on_how_a_batch_is_split() -> None:
    torch.manual_seed(0)
    forecast, target = torch.randn(2, 4, 2, 3, 5, 6)
    weight = area_weight(torch.rand(2, 5, 6) > 0.3, torch.rand(5, 6))
    scale = torch.rand(2, 3, 1, 1) + 0.5
    usual = torch.rand(2, 2, 3) + 0.5

    def terms(f: Tensor, t: Tensor) -> Tensor:
        energy = energy_loss(f, t, mean=torch.ones(2, 1, 1, 1), scale=scale, weight=weight)
        return torch.stack([energy, gradient_loss(f, t, scale=usual, weight=weight)])

    parts = [terms(f, t) for f, t in zip(forecast.chunk(2), target.chunk(2), strict=True)]
    torch.testing.assert_close(terms(forecast, target), sum(parts) / 2)


def test_strength_is_the_error_of_a_forecast_with_the_right_pattern() -> None:
    torch.manual_seed(0)
    weight = area_weight(torch.rand(2, 5, 6) > 0.3, torch.rand(5, 6) + 0.1).double()
    mean, scale = torch.randn(2, 1, 1, 1).double(), torch.rand(2, 3, 1, 1).double() + 0.5
    target = torch.randn(4, 2, 3, 5, 6).double()
    measures = {"scale": scale, "weight": weight}
    for factor in (0.0, 0.6, 1.0, 1.7):
        forecast = mean + factor * (target - mean)
        strength = energy_loss(forecast, target, mean=mean, **measures)
        torch.testing.assert_close(strength, window_loss(forecast, target, **measures))
    for _ in range(20):  # of any other forecast it is a part
        forecast = target + torch.randn(4, 2, 3, 5, 6) * torch.rand(1)
        assert energy_loss(forecast, target, mean=mean, **measures) < window_loss(
            forecast, target, **measures
        )
    moved = mean - (target - mean)  # all wrong, and just as strong
    assert energy_loss(moved, target, mean=mean, **measures).item() == pytest.approx(0, abs=1e-24)


def test_a_forecast_without_any_strength_has_a_finite_gradient() -> None:
    weight = area_weight(torch.tensor([[[True, True, False]]]), torch.ones(1, 3))
    target = torch.tensor([1.0, -1.0, torch.nan]).reshape(1, 1, 1, 1, 3)
    forecast = torch.zeros(1, 1, 1, 1, 3, requires_grad=True)
    energy_loss(
        forecast, target, mean=torch.zeros(1, 1, 1, 1), scale=torch.ones(1, 1, 1, 1), weight=weight
    ).backward()
    assert forecast.grad is not None
    assert torch.isfinite(forecast.grad).all()


def dataset(field: np.ndarray) -> WindowDataset:
    """Windows of a sea surface height ``[time, y, x]``; NaN is land."""
    times = np.datetime64("2020-01-01T00", "ns") + np.arange(len(field)) * np.timedelta64(1, "h")
    wet = np.isfinite(field).all(0)
    ds = xr.Dataset(
        {
            "zos": (("time", "y", "x"), field.astype(np.float32)),
            "mask": (("y", "x"), wet.astype(np.int8)),
            "cell_area": (("y", "x"), np.ones(wet.shape)),
        },
        coords={
            "time": times,
            "latitude": (("y", "x"), np.full(wet.shape, 55.0)),
            "longitude": (("y", "x"), np.full(wet.shape, 15.0)),
        },
    )
    return WindowDataset(ds, history=2, horizon=3, split=None)


def test_an_error_as_large_as_the_truth_is_one_in_its_own_units() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(size=(12, 5, 7))
    field[:, 1:3, 2:4] = np.nan
    windows = dataset(field)
    weight = torch.from_numpy(np.isfinite(field).all(0))[None].float() * (torch.rand(5, 7) + 0.5)
    usual = usual_differences(windows, weight)
    truth = torch.stack([windows[i].history[:, -1:] for i in range(len(windows))])
    loss = gradient_loss(torch.zeros_like(truth), truth, scale=usual[:, :, None], weight=weight)
    assert loss.item() == pytest.approx(1, rel=1e-6)  # float32


def test_a_direction_without_neighbours_has_no_part_in_it() -> None:
    row = dataset(np.random.default_rng(0).normal(size=(12, 1, 7)))
    usual = usual_differences(row, torch.ones(1, 1, 7))
    assert usual[0] == 1.0
    assert usual[1] != 1.0


@pytest.mark.parametrize("shape", [(12, 1, 1), (12, 4, 4)], ids=["one cell", "flat"])
def test_a_truth_without_differences_measures_nothing(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError,
        match=r"^training\.gradient_weight: 'zos' has no neighbouring ocean cells that ever differ",
    ):
        usual_differences(dataset(np.ones(shape)), torch.ones(1, *shape[1:]))


class Damped(nn.Module):
    """Forecasts a part of the last state."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("std", torch.ones(1, 1, 1, 1))

    def forward(self, history: Tensor, forcing: Tensor) -> Tensor:
        return self.part * history[:, :, -1:].expand(-1, -1, 3, -1, -1)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_validation_tells_what_is_left_of_small_scales(part: float, tmp_path: Path) -> None:
    steady = np.random.default_rng(0).normal(size=(1, 5, 7)).repeat(12, 0)
    steady[:, 0, :3] = np.nan
    windows = dataset(steady)
    weight = torch.from_numpy(np.isfinite(steady).all(0))[None].float()
    scores = validate(Damped(part), windows, weight, horizon=3)  # type: ignore[arg-type]
    assert scores["roughness"] == {
        "zos": {hour: pytest.approx(part**2, rel=1e-6) for hour in ("1", "2", "3")}
    }
    flat = validate(Damped(part), dataset(np.zeros((12, 5, 7))), torch.ones(1, 5, 7), horizon=3)  # type: ignore[arg-type]
    assert flat["roughness"] == {"zos": {"1": None, "2": None, "3": None}}
