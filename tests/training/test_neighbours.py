"""Differences between neighbouring ocean cells, and the roughness that validation tells by them."""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from data_pipelines import WindowDataset
from training.losses import area_weight
from training.neighbours import square_differences
from training.validation import validate

ROWS, COLUMNS = 6, 8


@pytest.mark.parametrize("dim", [0, 1], ids=["along y", "along x"])
@pytest.mark.parametrize("waves", [1, 2, 5])
def test_a_wave_of_wavenumber_k_counts_k_squared_times_its_power(waves: int, dim: int) -> None:
    """Standing waves are the eigenvectors of the Laplacian between walls, with 4 sin^2(k / 2) for k^2."""
    count = (ROWS, COLUMNS)[dim]
    wave = torch.cos(math.pi * waves * (torch.arange(count, dtype=torch.float64) + 0.5) / count)
    field = 0.3 * (wave[:, None] if dim == 0 else wave).expand(ROWS, COLUMNS)[None, None]
    sums = square_differences(field, torch.ones(1, ROWS, COLUMNS, dtype=torch.float64)).flatten()
    wavenumber = 2 * math.sin(math.pi * waves / count / 2)
    assert sums[dim].item() == pytest.approx(wavenumber**2 * 0.3**2 / 2 * ROWS * COLUMNS, rel=1e-12)
    assert sums[1 - dim] == 0


def test_the_coast_is_no_difference() -> None:
    """A field that is the same over the whole sea has none, whatever stands on land."""
    torch.manual_seed(0)
    wet = torch.rand(2, 9, 11) > 0.4
    weight = area_weight(wet, torch.rand(9, 11) + 0.5)
    for land in (0.0, torch.nan):
        assert (
            square_differences(torch.where(wet[:, None], 0.7, land).expand(2, 3, 9, 11), weight) == 0
        ).all()


def test_a_pair_counts_by_the_area_of_its_cells() -> None:
    weight = area_weight(torch.ones(1, 1, 3, dtype=torch.bool), torch.tensor([[1.0, 2.0, 3.0]]))
    field = torch.tensor([0.0, 1.0, 3.0]).reshape(1, 1, 1, 3)
    # areas over their mean of 2; pairs of mean area 1.5 and 2.5, differences 1 and 2; one row has no pairs along y
    along_y, along_x = square_differences(field, weight).flatten().tolist()
    assert along_y == 0
    assert along_x == pytest.approx((1.5 * 1 + 2.5 * 4) / 2)


def steady(field: np.ndarray) -> WindowDataset:
    """Windows of a sea surface height ``[y, x]`` that stays as it is; NaN is land."""
    return windows(np.broadcast_to(field, (12, *field.shape)))


def windows(fields: np.ndarray) -> WindowDataset:
    """Windows of a sea surface height ``[time, y, x]``."""
    wet = np.isfinite(fields[0])
    ds = xr.Dataset(
        {
            "zos": (("time", "y", "x"), fields.astype(np.float32)),
            "mask": (("y", "x"), wet.astype(np.int8)),
            "cell_area": (("y", "x"), np.ones(wet.shape)),
        },
        coords={
            "time": np.datetime64("2020-01-01T00", "ns") + np.arange(12) * np.timedelta64(1, "h"),
            "latitude": (("y", "x"), np.full(wet.shape, 55.0)),
            "longitude": (("y", "x"), np.full(wet.shape, 15.0)),
        },
    )
    return WindowDataset(ds, history=2, horizon=3, split=None)


class Damped(nn.Module):
    """Forecasts a part of the last state."""

    std: Tensor

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("std", torch.ones(1, 1, 1, 1))

    def forward(self, history: Tensor, forcing: Tensor) -> Tensor:
        return self.part * history[:, :, -1:].expand(-1, -1, 3, -1, -1)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0, 2.0])
def test_validation_tells_what_is_left_of_small_scales(part: float) -> None:
    field = np.random.default_rng(0).normal(size=(5, 7))
    field[0, :3] = np.nan
    weight = torch.from_numpy(np.isfinite(field))[None].float()
    scores = validate(Damped(part), steady(field), weight, horizon=3)  # type: ignore[arg-type]
    assert scores["roughness"] == {"zos": dict.fromkeys("123", pytest.approx(part**2, rel=1e-6))}


@pytest.mark.parametrize(
    ("asked", "last_states"), [(None, range(1, 9)), (20, range(1, 9)), (2, (3, 7)), (1, (5,))]
)
def test_validation_spreads_its_starts_evenly(asked: int | None, last_states: Sequence[int]) -> None:
    """Persistence of a level that rises as the square of time errs by ``(s + k)^2 - s^2`` at lead k."""
    rising = windows(np.arange(12.0)[:, None, None] ** 2 * np.ones((1, 5, 7)))
    scores = validate(Damped(1.0), rising, torch.ones(1, 5, 7), horizon=3, starts=asked)  # type: ignore[arg-type]
    assert scores["starts"] == len(last_states)
    for lead in (1, 2, 3):
        expected = math.sqrt(fmean((2 * last * lead + lead**2) ** 2 for last in last_states))
        assert scores["zos"][str(lead)] == pytest.approx(expected, rel=1e-6)


def test_a_truth_without_small_scales_has_no_roughness() -> None:
    scores = validate(Damped(1.0), steady(np.ones((5, 7))), torch.ones(1, 5, 7), horizon=3)  # type: ignore[arg-type]
    assert scores["roughness"] == {"zos": dict.fromkeys("123")}
