"""The sums of planes in one go are those of every plane by itself."""

import numpy as np
import pytest
import torch

from oceanop.cell_sums import Cells
from oceanop.metrics import METRICS, Sums


def sea(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
    generator = np.random.default_rng(seed)
    forecast, truth = torch.from_numpy(generator.standard_normal((2, 2, 5, 8, 9)).astype(np.float32))
    weight = torch.from_numpy(generator.uniform(0.5, 2.0, (2, 8, 9)) * (generator.random((2, 8, 9)) > 0.3))
    return forecast, truth + 0.5 * forecast, weight, np.arange(72).reshape(8, 9) % 5


@pytest.mark.parametrize("by_tile", [False, True])
def test_planes_at_once_have_the_sums_of_the_definition(by_tile: bool) -> None:
    forecast, truth, weight, tiles = sea()
    truth[0, 1, 4:] = torch.nan
    truth[1, 3] = torch.inf  # nothing known at all
    forecast[0, 1, 5] = torch.nan  # where it is not compared with anything
    forecast[:, :, weight[0] == 0] = torch.nan
    weight[1] *= weight[0] > 0
    found = Cells.of(weight, tiles if by_tile else None).sums(forecast, truth)
    known = weight[:, None] * truth.isfinite()
    expected = Sums.of(forecast, truth, known, torch.from_numpy(tiles) if by_tile else None).values
    if not by_tile:
        expected = expected[..., None]
    # Sums of 50 numbers of order 1 in another order: some 50 roundings of 1e-16
    torch.testing.assert_close(found.values, expected, rtol=1e-13, atol=1e-13)


def test_a_plane_has_the_same_sums_bit_by_bit_in_any_company() -> None:
    forecast, truth, weight, _ = sea()
    cells = Cells.of(weight)
    whole = cells.sums(forecast, truth).values
    for cut in (1, 2, 4):
        parts = [cells.sums(forecast[:, s], truth[:, s]).values for s in (slice(None, cut), slice(cut, None))]
        assert torch.equal(torch.cat(parts, 2), whole)


def test_a_forecast_that_is_not_a_number_at_sea_is_seen() -> None:
    forecast, truth, weight, _ = sea()
    cells = Cells.of(weight)
    row, column = (weight[1] > 0).nonzero()[0].tolist()
    forecast[1, 2, row, column] = torch.inf
    finite = cells.finite(forecast)
    lacking = np.zeros_like(finite)
    lacking[1, 2] = 1
    np.testing.assert_array_equal(cells.count[:, None] - finite, lacking)
    rmse = METRICS["rmse"](cells.sums(forecast, truth))[..., 0]
    assert (~rmse.isfinite()).nonzero().tolist() == [[1, 2]]
