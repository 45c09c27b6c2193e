"""How well several workers solve a bilinear game when they exchange full or 4-bit gradients.

    python notebooks/bilinear_game.py [--steps 10000] [--seeds 0 1 2] [--to notebooks/results/bilinear_game.csv]

The game is min over x, max over y of (x - x*) B (y - y*), x and y in 20 dimensions, begun at 0 at distance 1 from its
solution; the singular values of B are spread evenly over 0.5 to 1.5. Every worker sees the operator with noise of its
own: plus a normal vector (absolute), or times 1 plus a normal number, entry by entry (relative). With 4 bits each sends
its vector as one bucket of QSGD, its norm the largest entry. The table holds the distance of the ergodic mean from the
solution: mean and standard deviation over seeds, each with a game of its own.
"""

import argparse
import csv
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from training.compression import QSGD
from training.optim import QODA, QGenX, TwoPhase

SIZE = 20  # of x, and of y
WORKERS = (1, 2, 4, 8)
EXCHANGES = {"full precision": None, "4 bits": 4}
BUCKET = 64  # the smallest there is; a worker's 40 numbers and zeros
BLOCK = 500  # draws of all noise at once, for speed


class Method(NamedTuple):
    """An optimizer, and what its dispersion is measured from."""

    make: Callable[[Tensor, int], TwoPhase]
    measured_from: str  # "zero", the "leading" gradient of the same step, or the "last" one


METHODS = {
    "Q-GenX dual extrapolation": Method(lambda point, k: QGenX([point], workers=k), "leading"),
    "Q-GenX optimistic": Method(lambda point, k: QGenX([point], variant="optimistic", workers=k), "last"),
    "QODA adaptive": Method(lambda point, k: QODA([point], workers=k), "last"),
    "QODA alternative": Method(lambda point, k: QODA([point], rates="alternative", workers=k), "zero"),
}


class Game(NamedTuple):
    """The operator ``matrix @ (point - solution)``: the gradient in x, and minus the gradient in y."""

    matrix: Tensor
    solution: Tensor


def draw_game(seed: int) -> Game:
    """A game with ``2 * SIZE`` unknowns, its solution on the unit sphere."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(2, SIZE, SIZE, generator=generator, dtype=torch.float64)
    left, right = torch.linalg.qr(normal)[0]
    payoff = left @ torch.diag(torch.linspace(0.5, 1.5, SIZE, dtype=torch.float64)) @ right
    nothing = torch.zeros_like(payoff)
    matrix = torch.cat([torch.cat([nothing, payoff], 1), torch.cat([-payoff.T, nothing], 1)])
    solution = torch.randn(2 * SIZE, generator=generator, dtype=torch.float64)
    return Game(matrix, solution / solution.norm())


@dataclass
class Workers:
    """Workers with noise, who round what they send; their random numbers depend on the seed alone."""

    game: Game
    count: int
    noise: str  # "absolute", "relative" or "none"
    bits: int | None
    seed: int

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.keys = torch.Generator().manual_seed(self.seed)
        self.quantizer = QSGD(bits=self.bits, bucket_size=BUCKET, norm="linf") if self.bits else None
        self.left = 0

    def duals(self, point: Tensor) -> Tensor:
        """The gradients as they go into the mean, ``[worker, 2 * SIZE]``."""
        if not self.left:
            shape = (BLOCK, self.count, 2 * SIZE)
            self.normal = torch.randn(shape, generator=self.generator, dtype=torch.float64)
            self.left = BLOCK
        self.left -= 1
        exact = (self.game.matrix @ (point - self.game.solution)).expand(self.count, -1)
        normal = self.normal[self.left]
        seen = {
            "none": lambda: exact,
            "absolute": lambda: exact + normal,
            "relative": lambda: exact + exact * normal,
        }[self.noise]()
        if self.quantizer is None:
            return seen
        padded = torch.nn.functional.pad(seen, (0, BUCKET - 2 * SIZE))
        codes = self.quantizer.quantize(padded, generator=self.keys)
        return self.quantizer.dequantize(codes)[:, : 2 * SIZE]


def play(method: Method, workers: Workers, steps: int) -> Tensor:
    """The ergodic mean after some steps from 0; the optimizer is told what a data-parallel trainer would tell it."""
    point = torch.zeros_like(workers.game.solution, requires_grad=True)
    place, optimizer = point.detach(), method.make(point, workers.count)
    reference = torch.zeros(workers.count, len(place), dtype=place.dtype)
    for _ in range(steps):
        if method.measured_from == "leading":
            reference = workers.duals(place)
            point.grad = reference.mean(0)
        optimizer.extrapolate()
        duals = workers.duals(place)
        point.grad = duals.mean(0)
        optimizer.step(dispersion=(duals - reference).square().sum())
        if method.measured_from == "last":
            reference = duals
    return optimizer.ergodic_mean()[0]


def error(name: str, count: int, noise: str, bits: int | None, seed: int, steps: int) -> float:
    """Distance of the ergodic mean from the solution, in units of the distance at the start."""
    game = draw_game(seed)
    mean = play(METHODS[name], Workers(game, count, noise, bits, seed), steps)
    return (mean - game.solution).norm().item()


def main() -> None:
    """Play all games and write the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--steps", type=int, default=10_000)
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument("--to", type=Path, default=Path("notebooks/results/bilinear_game.csv"))
    given = words.parse_args()
    if len(given.seeds) < 2:
        words.error("a spread needs at least two seeds; give --seeds 0 1")
    torch.set_num_threads(1)
    rows = []
    for noise in ("absolute", "relative"):
        for name, method in METHODS.items():
            for exchange, bits in EXCHANGES.items():
                for count in WORKERS:
                    errors = [error(name, count, noise, bits, seed, given.steps) for seed in given.seeds]
                    figures = f"{statistics.mean(errors):.3g}", f"{statistics.stdev(errors):.2g}"
                    sent = given.steps * (2 if method.measured_from == "leading" else 1)
                    row = [noise, name, exchange, count, sent, len(errors), *figures]
                    print(*row, sep=",", flush=True)
                    rows.append(row)
    given.to.parent.mkdir(parents=True, exist_ok=True)
    with given.to.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(
            ["noise", "method", "exchange", "workers", "exchanges", "seeds", "error_mean", "error_std"]
        )
        table.writerows(rows)


if __name__ == "__main__":
    main()
