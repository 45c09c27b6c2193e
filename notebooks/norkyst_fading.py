"""Where the ensemble's shares come from: one-step FNOs fading into FNOtD, on hours held out of training, in two folds.

    python notebooks/norkyst_fading.py --to runs/fading [--members 4]

In each fold of ``norkyst_validation.py`` members of both presets learn at 6.4 km from the hours that are left, and
forecast the held-out ones at 3.2 km, up to 11 hours from every hour that has a whole history there. A fold's own score
takes the shares that the other fold's hours want; the demonstration takes those of both. The test hours are never
read. A stopped command goes on where it was. Results go to ``notebooks/results/norkyst/fading.csv`` and
``fading_shares.csv``.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from norkyst_comparison import RESULTS, write_table
from norkyst_validation import COARSEN, FOLDS, ingest_fold

from data_pipelines import open_store
from forecasting.combination import Combination
from forecasting.ensemble import EnsembleMean
from forecasting.fading import Fading, Fold, fitted_share
from forecasting.forecaster import Forecaster
from forecasting.windows import run_forecaster
from oceanop import Grid, load_checkpoint
from oceanop.cli.demo import ENSEMBLE_COARSEN, LONG, MEMBERS, SHORT
from oceanop.config import load_run
from oceanop.layout import Layout
from training import train

LEADS = 11
LEADS_SHOWN = (1, 2, 3, 6, 11)
PARTS = {"FNOtD": LONG, "FNO one-step": SHORT}


def main() -> None:
    """Train what is missing, fit the shares, and write both tables."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--members", type=int, default=MEMBERS)
    words.add_argument("--results", type=Path, default=RESULTS)
    given = words.parse_args()
    torch.set_num_threads(1)
    fading(given.to, given.members, given.results)


def fading(to: Path, members: int, results: Path) -> None:
    """Both folds, their own shares and those of both together."""
    folds = {}
    for number, (name, splits) in enumerate(FOLDS.items()):
        coarse = ingest_fold(to / f"fold-{number}-coarse.zarr", splits, coarsen=ENSEMBLE_COARSEN)
        fine = ingest_fold(to / f"fold-{number}.zarr", splits, coarsen=COARSEN)
        runs = {
            part: [
                fitted(preset, seed, coarse, to / f"{preset}-fold-{number}-seed-{seed}")
                for seed in range(members)
            ]
            for part, preset in PARTS.items()
        }
        folds[name] = held_out(runs, fine, splits["validation"])
    layout = next(iter(folds.values()))[1]
    shares = {
        **{name: fitted_share([fold], layout, leads=LEADS) for name, (fold, *_) in folds.items()},
        "both": fitted_share([fold for fold, *_ in folds.values()], layout, leads=LEADS),
    }
    write_table(
        results / "fading_shares.csv",
        [
            {"hours": name, "lead_hours": lead, "share": f"{value:.4f}"}
            for name, share in shares.items()
            for lead, value in enumerate(share, start=1)
        ],
    )
    rows: list[dict[str, Any]] = []
    for name, (fold, _, singles) in folds.items():
        (other,) = set(FOLDS) - {name}
        forecasters = {
            **{f"{part}, alone": alone for part, alone in singles.items()},
            f"FNOtD, mean of {members}": [fold.long],
            f"FNO one-step, mean of {members}": [fold.short],
            "faded, shares of the other fold": [Fading(fold.short, fold.long, shares[other])],
        }
        for forecaster, alike in forecasters.items():
            rows.append({"fold": name, "forecaster": forecaster, **scored(fold, layout, alike)})
            print(*rows[-1].values(), sep=", ", flush=True)
    write_table(results / "fading.csv", rows)


def fitted(preset: str, seed: int, store: Path, to: Path) -> Path:
    """The checkpoint of a member, fitted on the hours that its fold leaves."""
    changes = [f"training.seed={seed}", "training.threads=1", 'data.fit=["train"]']
    run = load_run(preset, changes)
    # Nothing is chosen by validation: the last weights are those of the shipped presets, which fit on all hours
    run = load_run(preset, [*changes, f"training.validate_every={run.training.steps}"])
    return train(run, store, to, resume=True)


def held_out(
    runs: dict[str, list[Path]], store: Path, hours: tuple[str, str]
) -> tuple[Fold, Layout, dict[str, Sequence[Forecaster]]]:
    """Both means on the held-out hours of the finer store, and their members."""
    ds = open_store(store)
    checkpoints = [[load_checkpoint(path) for path in paths] for paths in runs.values()]
    long, short = (tuple(part) for part in checkpoints)
    placed = Combination(long, short, share=(1.0,)).on(ds)
    means = placed.long_forecaster, placed.short_forecaster
    singles = {
        part: mean.members if isinstance(mean, EnsembleMean) else [mean]
        for part, mean in zip(runs, means, strict=True)
    }
    first, last = (int(np.flatnonzero(ds["time"].values == np.datetime64(hour))[0]) for hour in hours)
    starts = range(first + placed.longest.history - 1, last)
    fold = Fold(means[1], means[0], ds.isel(time=slice(0, last + 1)), starts)
    return fold, long[0].layout, singles


def scored(fold: Fold, layout: Layout, forecasters: Sequence[Forecaster]) -> dict[str, Any]:
    """Root mean square error of both components, m/s, over all starts and leads, and at some leads."""
    squares: list[list[float]] = [[] for _ in range(LEADS)]
    for forecaster in forecasters:
        for lead, square in square_errors(fold, layout, forecaster):
            squares[lead - 1].append(square)
    return {
        "starts": len(squares[0]) // len(forecasters),
        "rmse": f"{math.sqrt(statistics.fmean(square for part in squares for square in part)):.5f}",
        **{f"rmse_{lead}h": f"{math.sqrt(statistics.fmean(squares[lead - 1])):.5f}" for lead in LEADS_SHOWN},
    }


@torch.no_grad()
def square_errors(fold: Fold, layout: Layout, forecaster: Forecaster) -> Iterator[tuple[int, float]]:
    """Lead and mean square error at sea by area, m2 s-2, of every forecast."""
    store: xr.Dataset = fold.store
    weight = layout.wet(store) * torch.from_numpy(Grid.from_dataset(store).cell_area)
    for start in fold.starts:
        known = min(LEADS, store.sizes["time"] - 1 - start)
        truth = layout.pack(
            store[[*layout.names(), "mask"]].isel(time=slice(start + 1, start + known + 1)).load()
        )
        for _, state in run_forecaster(forecaster, store, layout, [start], known):
            error = torch.where(weight > 0, state.values - truth[:, state.lead - 1], 0.0).double()
            yield state.lead, float((error.square() * weight).sum() / weight.sum())


if __name__ == "__main__":
    main()
