"""Simulated hours per CPU-second of the shallow-water model's engines, beside a plain numpy step of the same stencil.

Run with ``-m benchmark``; writes ``notebooks/results/shallow_water_speed.csv``. One thread. Every engine is driven by
the same wind and pressure and shows the fields at the centres every hour. They go in turns, and the least CPU time of
several counts: what else the machine does can only add to it.
"""

import csv
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data_pipelines.basins.sea_floor import baltic
from oceanop.dynamics.forcing import AirSeries
from oceanop.dynamics.geometry import CGrid
from oceanop.dynamics.open_boundary import STANDARD_PRESSURE
from oceanop.dynamics.shallow_water import ShallowWaterModel

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks" / "results" / "shallow_water_speed.csv"
HOUR, ROUNDS = 3600.0, 12
GRIDS = {"15' x 10'": (2, 3), "10' x 5'": (1, 2)}


def weather(shape: tuple[int, int], hours: int) -> AirSeries:
    y, x = np.meshgrid(np.linspace(0, 3, shape[0]), np.linspace(0, 3, shape[1]), indexing="ij")
    t = np.arange(hours + 1.0)[:, None, None]
    fields = 0.3 * np.sin(t / 7 + y), 0.2 * np.cos(t / 9 + x), 101325 + 2000 * np.sin(t / 11 + y - x)
    return AirSeries(*(field.astype(np.float32) for field in fields))


class PlainNumpy:
    """The same linear step as one writes it: whole planes, a neighbour by ``np.roll``, float32."""

    def __init__(self, model: ShallowWaterModel) -> None:
        stencil = model.stencil

        def own(plane: np.ndarray) -> np.ndarray:
            return np.broadcast_to(plane, stencil.frame)[1:-1, 1:-1].astype(np.float32)

        self.model, self.steps = model, round(HOUR / model.time_step)
        self.rate = own(stencil.rate[:, None] * stencil.cells)
        self.sides = []
        for of in (stencil.east, stencil.north):
            weight = own(np.sqrt(of.depth * of.face))
            inverse = np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)
            depth = own(np.where(of.free, of.depth, 1.0))
            self.sides.append(
                (
                    own(of.length[:, None] * of.depth),
                    weight,
                    inverse,
                    depth,
                    own(of.pull[:, None] * of.free),
                    own(of.near[:, None]),
                    own(of.far[:, None]),
                    own(of.free),
                )
            )
        self.drag = np.float32(stencil.time_step * stencil.drag)

    def run(self, hours: int, air: AirSeries) -> np.ndarray:
        level, east, north = np.zeros((3, *self.rate.shape), np.float32)
        stencil, number = self.model.stencil, 0
        for hour in range(hours):
            ends = []
            for time_of in (hour * HOUR, (hour + 1) * HOUR):
                now = air(time_of)
                assert now.tauu is not None
                assert now.tauv is not None
                assert now.msl is not None
                ends.append(
                    (
                        np.float32(stencil.pressure_factor) * (now.msl - np.float32(STANDARD_PRESSURE)),
                        *(
                            np.float32(stencil.stress_factor / 2)
                            * (stress + np.roll(stress, -1, axis))
                            * side[7]
                            for stress, axis, side in (
                                (now.tauu, 1, self.sides[0]),
                                (now.tauv, 0, self.sides[1]),
                            )
                        ),
                    )
                )
            for step in range(self.steps):
                share = np.float32((step + 1) / self.steps)
                weight, *push = (a + share * (b - a) for a, b in zip(*ends, strict=True))
                flow_east, flow_north = self.sides[0][0] * east, self.sides[1][0] * north
                level = level - self.rate * (
                    flow_east - np.roll(flow_east, 1, 1) + flow_north - np.roll(flow_north, 1, 0)
                )
                head = level + weight
                for turn in range(2):
                    if (number + turn) % 2 == 0:
                        east = self.momentum(east, north, head, 0, push[0])
                    else:
                        north = self.momentum(north, east, head, 1, push[1])
                number += 1
        return level

    def momentum(
        self, own: np.ndarray, other: np.ndarray, head: np.ndarray, side: int, push: np.ndarray
    ) -> np.ndarray:
        along, back = (1, 0) if side == 0 else (0, 1)
        _, _, inverse, depth, pull, near, far, _ = self.sides[side]
        weighted = self.sides[1 - side][1] * other
        pair = weighted + np.roll(weighted, 1, back)
        turn = near * pair + far * np.roll(pair, -1, along)
        sums = other + np.roll(other, 1, back)
        across = (sums + np.roll(sums, -1, along)) / 4
        speed = np.sqrt(own**2 + across**2)
        pushed = own - pull * (np.roll(head, -1, along) - head) + inverse * turn
        return (depth * pushed + push) / (depth + self.drag * speed)


def least(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each, the least of several rounds in turns, after one to warm up."""
    for each in work.values():
        each()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, each in work.items():
            begin = time.process_time()
            each()
            seconds[name].append(time.process_time() - begin)
    return {name: min(times) for name, times in seconds.items()}


@pytest.mark.benchmark
@pytest.mark.parametrize("name", GRIDS)
def test_simulated_hours_per_cpu_second(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    floor = baltic(*GRIDS[name])
    grid = CGrid.sphere(floor["latitude"], floor["longitude"], floor["deptho"])
    long, short = 72, 6
    air = weather(grid.shape, long)
    models = {engine: ShallowWaterModel(grid, engine=engine) for engine in ("compiled", "torch")}  # type: ignore[arg-type]
    nonlinear = ShallowWaterModel(grid, linear=False)
    plain = PlainNumpy(models["compiled"])

    def run(model: ShallowWaterModel, members: int, hours: int) -> np.ndarray:
        (last,) = deque(model.run(model.at_rest(members), hours * HOUR, forcing=air), maxlen=1)
        return last.zos[0]

    # The peer takes the same steps: what is timed is the same work.
    np.testing.assert_allclose(plain.run(short, air), run(models["compiled"], 1, short), atol=1e-5)
    tasks: dict[tuple[str, int], tuple[int, Callable[[], object]]] = {
        ("compiled", 1): (long, lambda: run(models["compiled"], 1, long)),
        ("compiled", 8): (long, lambda: run(models["compiled"], 8, long)),
        ("compiled", 32): (short, lambda: run(models["compiled"], 32, short)),
        ("compiled, nonlinear", 1): (long, lambda: run(nonlinear, 1, long)),
        ("compiled, nonlinear", 8): (long, lambda: run(nonlinear, 8, long)),
        ("torch", 1): (short, lambda: run(models["torch"], 1, short)),
        ("torch", 8): (short, lambda: run(models["torch"], 8, short)),
        ("plain numpy", 1): (short, lambda: plain.run(short, air)),
    }
    seconds = least({f"{engine} {members}": work for (engine, members), (_, work) in tasks.items()})
    rows = []
    for (engine, members), (hours, _) in tasks.items():
        rate = members * hours / seconds[f"{engine} {members}"]
        rows.append(
            {
                "grid": name,
                "wet_cells": int(grid.wet.sum()),
                "time_step_s": round(models["compiled"].time_step, 2),
                "engine": engine,
                "members": members,
                "simulated_hours_per_cpu_second": round(rate / members, 1),
                "member_hours_per_cpu_second": round(rate, 1),
                "microseconds_per_step": round(1e6 * members / rate * models["compiled"].time_step / HOUR, 1),
            }
        )
    record(rows)
    with capsys.disabled():
        print(f"\n{name}")
        for row in rows:
            print(
                f"  {row['engine']:20} {row['members']:3} members  {row['simulated_hours_per_cpu_second']:8} h/s each "
                f"{row['member_hours_per_cpu_second']:8} member-h/s  {row['microseconds_per_step']:8} us a step"
            )


def record(rows: list[dict[str, object]]) -> None:
    """Put the rows of a grid in the place of those that the file has of it."""
    kept: list[dict[str, object]] = []
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["grid"] != rows[0]["grid"]]
    order = list(GRIDS)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: order.index(str(row["grid"]))))
