"""The experiments on the shipped sample count their costs, sizes and errors as they say."""

import csv
import math
from pathlib import Path
from statistics import NormalDist
from types import ModuleType, SimpleNamespace

import pytest
import torch

from oceanop.config import load_run
from oceanop.normalise import Scaling
from oceanop.operators.fnotd import FNOtD
from oceanop.operators.spectral import SpectralConv
from tests.notebooks import load_notebooks

NAMES = ("norkyst_comparison", "norkyst_ablation", "norkyst_validation")


@pytest.fixture
def notebooks() -> dict[str, ModuleType]:
    """The notebooks by name, which import one another as files side by side."""
    return load_notebooks(NAMES)


@pytest.fixture
def comparison(notebooks: dict[str, ModuleType]) -> ModuleType:
    return notebooks["norkyst_comparison"]


@pytest.fixture
def ablation(notebooks: dict[str, ModuleType]) -> ModuleType:
    return notebooks["norkyst_ablation"]


def seconds_of(comparison: ModuleType) -> dict[str, dict[str, dict[str, object]]]:
    """Costs as if every window took a hundredth of a second, twice that in the larger networks, FNOtD a tenth."""
    measured: dict[str, dict[str, dict[str, object]]] = {}
    for name, (preset, changes) in comparison.FORMS.items():
        most = load_run(preset, changes).training.most_windows
        window = 0.1 if name == comparison.REFERENCE else 0.01
        measured[name] = {
            size: {
                "changes": [],
                "seconds": {str(number): factor * number * window for number in {1, most}},
            }
            for size, factor in (("preset", 1.0), ("equal", 2.0))
        }
    return measured


def test_equal_cost_is_that_of_fnotd_to_a_step_and_equal_samples_are_its_steps(
    comparison: ModuleType,
) -> None:
    plans = comparison.planned(seconds_of(comparison))
    steps = {name: load_run(plan["run"][0], plan["run"][1]).training.steps for name, plan in plans.items()}
    whole = plans["FNOtD gated, itself"]["training_seconds"]
    assert whole == pytest.approx(100 * 0.1 + 100 * 0.2)  # 200 steps, half of them of two windows
    for name, plan in plans.items():
        if plan["equal"] == "samples":
            assert steps[name] == steps["FNOtD gated, itself"]
        elif plan["form"] != "FNOtD":
            # half a step by rounding, and as much again by the digits of the table
            assert plan["training_seconds"] == pytest.approx(whole, abs=plan["seconds_a_step"] + 0.05)


def test_every_form_has_three_rows_and_fnotd_one_with_gates_and_one_without(comparison: ModuleType) -> None:
    plans = comparison.planned(seconds_of(comparison))
    assert len(plans) == 2 + 3 * (len(comparison.FORMS) - 2)


def test_rows_of_the_shipped_table_are_equal_in_what_they_say(comparison: ModuleType) -> None:
    with (comparison.RESULTS / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    itself = next(row for row in rows if row["form"] == comparison.REFERENCE)
    for row in rows:
        if row["equal"] == "samples":
            assert row["steps"] == itself["steps"]
        elif row["form"] != "FNOtD":
            # steps are whole, and seconds are written to a tenth
            assert float(row["training_seconds"]) == pytest.approx(
                float(itself["training_seconds"]), abs=float(row["seconds_a_step"]) + 0.1
            )
        if row["equal"] == "parameters and cost":
            assert int(row["parameters"]) == pytest.approx(int(itself["parameters"]), rel=0.05)


@pytest.mark.parametrize("form", ["FNO one-step", "FNO channels gated"])
def test_the_width_of_equal_parameters_is_the_nearest(comparison: ModuleType, form: str) -> None:
    operator = FNOtD(
        state_channels=2,
        forcing_channels=4,
        static_channels=2,
        history=6,
        horizon=6,
        modes=(2, 4, 4),
        width=48,
    )
    small = [*comparison.FORMS[form][1], "model.modes=[8,8]"]
    comparison.FORMS[form] = (comparison.FORMS[form][0], small)
    (change,) = comparison.equal_size(form, SimpleNamespace(step=SimpleNamespace(operator=operator)))["equal"]
    wanted = sum(part.numel() for part in operator.parameters())

    def distance(width: int) -> int:
        run = load_run(comparison.FORMS[form][0], [*small, f"model.width={width}"])
        built = comparison.build_operator(run, state_channels=2, forcing_channels=4, static_channels=2)
        return abs(sum(part.numel() for part in built.parameters()) - wanted)

    width = int(change.removeprefix("model.width="))
    assert distance(width) <= min(distance(width - 1), distance(width + 1))


def test_a_run_is_one_process_s_until_it_lets_go(comparison: ModuleType, tmp_path: Path) -> None:
    with comparison.taken(tmp_path / "run") as first, comparison.taken(tmp_path / "run") as second:
        assert (first, second) == (True, False)
    with comparison.taken(tmp_path / "run") as again:
        assert again


def test_errors_pool_squares_over_starts_or_leads(ablation: ModuleType) -> None:
    squares = [[1.0, 9.0], [3.0]]  # m2 s-2: two starts, the second with one lead
    assert ablation.over_starts(squares) == pytest.approx((13 / 3) ** 0.5)
    assert ablation.over_leads(squares) == pytest.approx(((2 + 9) / 2) ** 0.5)


def test_settings_are_set_against_the_base_s_run_of_the_same_fold_and_seed(ablation: ModuleType) -> None:
    def row(setting: str, seed: int, rmse: float) -> dict[str, object]:
        return {"setting": setting, "fold": "first", "seed": seed, "rmse": rmse}

    rows = [row("base", 0, 0.1), row("base", 1, 0.3), row("noise 0", 0, 0.2), row("noise 0", 1, 0.4)]
    _, line = ablation.against_base(rows, "rmse")
    # both seeds are 0.1 worse: the spread between seeds, 0.14, does not enter
    assert line == "noise 0: 0.3000 over 2 runs, +0.1000 against the base, standard error 0.0000"


def test_an_operator_that_says_no_change_forecasts_the_mean_from_the_mean(ablation: ModuleType) -> None:
    wet = torch.ones(2, 3, 4, dtype=torch.bool)
    wet[:, 0] = False
    mean = torch.tensor([0.5, -0.25])
    step = ablation.FromTheMean(
        Still(),
        state=Scaling(mean, torch.tensor([2.0, 3.0])),
        forcing=Scaling(torch.zeros(0), torch.ones(0)),
        static=wet[:1].float(),
        wet=wet,
        growth=torch.rand(2, 6),
    )
    future = step(torch.randn(1, 2, 6, 3, 4), torch.zeros(1, 0, 12, 3, 4))
    expected = torch.where(wet, mean[:, None, None], 0.0)[None, :, None].expand_as(future)
    torch.testing.assert_close(future, expected, rtol=0, atol=0)


def test_gates_of_the_ablation_keep_land_out_and_make_up_for_it(ablation: ModuleType) -> None:
    static = torch.ones(24, 30, 2)
    static[:, 15:] = 0.0  # half of a periodic plane is land
    for kind in (ablation.ZeroOnLand, ablation.Normalised):
        before, _ = kind(2, 4).factors(static)
        assert torch.equal(before[:, 15:], torch.zeros(24, 15, 4))
        assert torch.equal(before[:, :15], torch.ones(24, 15, 4))
    _, after = ablation.Normalised(2, 4).factors(static)
    # A Gaussian of 5 waves in wavenumber is one of 30 / (2 pi 5) cells in the plane; the coast is half a cell away
    share = NormalDist(sigma=30 / (2 * math.pi * 5)).cdf(0.5)
    assert after[12, 7].tolist() == pytest.approx([1.0] * 4, abs=1e-3)
    assert after[12, 14, 0].item() == pytest.approx(1 / share, rel=0.02)  # the mask is sampled, not a step


def test_a_kernel_apart_is_one_over_time_after_one_over_space(ablation: ModuleType) -> None:
    torch.manual_seed(0)
    apart = ablation.Apart(3, 3, (4, 5, 6)).double()
    over_time, over_space = SpectralConv(3, 3, (4, 5, 6)).double(), SpectralConv(3, 3, (4, 5, 6)).double()
    with torch.no_grad():
        over_time.weight.copy_(apart.of_time[:, None, None])
        over_space.weight.copy_(apart.of_space)
    x = torch.randn(2, 8, 9, 10, 3, dtype=torch.float64)
    x -= x.mean(-2, keepdim=True)  # of a mean along x the first convolution would keep the real part alone
    torch.testing.assert_close(apart(x), over_space(over_time(x)), rtol=1e-10, atol=1e-12)


def test_a_local_branch_begins_as_nothing_and_sees_the_nearest_cells(ablation: ModuleType) -> None:
    torch.manual_seed(0)
    layer = ablation.Local(3, (2, 2, 2), 0)
    x, static = torch.randn(1, 4, 7, 8, 3), torch.ones(7, 8, 1)
    plain = ablation._Block.forward(layer, x, static, slice(2, 4), recompute=False)
    bias = layer.stencil.bias
    torch.testing.assert_close(
        layer(x, static, slice(2, 4), recompute=False), plain + bias, rtol=0, atol=1e-6
    )


class Still(torch.nn.Module):
    """The last state, again and again."""

    def forward(self, history: torch.Tensor, forcing: torch.Tensor, static: torch.Tensor) -> torch.Tensor:
        return history[:, :, -1:].expand(-1, -1, 6, -1, -1)
