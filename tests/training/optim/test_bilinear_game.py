"""The claims of Q-GenX and QODA on a bilinear game, where plain simultaneous descent and ascent runs away."""

import csv
import statistics
from pathlib import Path

import pytest
import torch
from torch import Tensor

from notebooks import bilinear_game
from notebooks.bilinear_game import METHODS, Workers, draw_game, error, play
from training.optim import SGDEM, QGenX

every_method = pytest.mark.parametrize("name", METHODS)


def test_simultaneous_descent_and_ascent_runs_away() -> None:
    """The operator is at right angles to the way to the solution and at least half as long: Pythagoras."""
    game = draw_game(0)
    point = torch.zeros_like(game.solution, requires_grad=True)
    optimizer = SGDEM([point], lr=0.1, momentum=0.0, momentum_until=0)
    for _ in range(1000):
        point.grad = game.matrix @ (point.detach() - game.solution)
        optimizer.step()
    assert (point.detach() - game.solution).norm() > (1 + (0.1 * 0.5) ** 2) ** (1000 / 2)


@every_method
def test_without_noise_the_error_falls_as_one_over_the_number_of_steps(name: str) -> None:
    short, long = (error(name, 1, "none", None, seed=0, steps=steps) for steps in (200, 1600))
    assert long < 0.02
    # Order 1, and how far the last point is from the start, settled to a few percent (see the next test).
    assert long / short == pytest.approx(1 / 8, rel=0.1)


@every_method
def test_the_operator_at_the_mean_is_the_path_over_its_length(name: str) -> None:
    """Summing Y over all steps: A(mean) = (X_1 - X_{T+1}) / (eta T), whatever the rates were."""
    game, made = draw_game(0), []

    def make(point: Tensor, workers: int) -> object:
        made.append((point, METHODS[name].make(point, workers)))
        return made[0][1]

    mean = play(METHODS[name]._replace(make=make), Workers(game, 1, "none", None, seed=0), 300)
    point, optimizer = made[0]
    expected = -point.detach() / (optimizer.rate() * 300)
    torch.testing.assert_close(game.matrix @ (mean - game.solution), expected, rtol=1e-9, atol=1e-12)


@every_method
def test_eight_workers_divide_absolute_noise_by_the_root_of_eight(name: str) -> None:
    one, eight = (
        statistics.mean(error(name, workers, "absolute", None, seed, steps=600) for seed in range(6))
        for workers in (1, 8)
    )
    # The error of one game scatters by 10 %, so the ratio of means of six by 6 %: five sigma.
    assert one / eight == pytest.approx(8**0.5, rel=0.3)


@every_method
@pytest.mark.parametrize("noise", ["absolute", "relative"])
def test_eight_bits_cost_less_than_five_percent(name: str, noise: str) -> None:
    full, coded = (
        statistics.mean(error(name, 4, noise, bits, seed, steps=500) for seed in range(3))
        for bits in (None, 8)
    )
    assert coded / full < 1.05


def test_dual_averaging_solves_a_convex_problem() -> None:
    """Of least squares: the value at the mean of T = 2,000 points is within 1/sqrt(T) of the least one."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(10, generator=generator, dtype=torch.float64)
    point = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    optimizer = QGenX([point], variant="dual-averaging")
    for _ in range(2000):
        optimizer.extrapolate()
        point.grad = point.detach() - target
        optimizer.step()
    assert (optimizer.ergodic_mean()[0] - target).square().sum() / 2 < 2000**-0.5


def test_the_command_writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bilinear_game, "WORKERS", (2,))
    table = tmp_path / "new" / "table.csv"
    monkeypatch.setattr(
        "sys.argv", ["bilinear_game", "--steps", "5", "--seeds", "0", "1", "--to", str(table)]
    )
    monkeypatch.setattr(
        torch, "set_num_threads", lambda number: None
    )  # the command's own choice, not the suite's
    bilinear_game.main()
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == set(METHODS)
    assert len(rows) == 2 * len(METHODS) * 2
    for row in rows:
        assert row["exchanges"] == ("10" if row["method"] == "Q-GenX dual extrapolation" else "5")
        assert float(row["error_mean"]) > 0


def test_one_seed_has_no_spread(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("sys.argv", ["bilinear_game", "--seeds", "0"])
    with pytest.raises(SystemExit):
        bilinear_game.main()
    assert "a spread needs at least two seeds" in capsys.readouterr().err
