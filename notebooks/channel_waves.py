"""Does the operator carry the waves? Free forecasts of ten days against the dispersion curves of a channel.

    python notebooks/channel_waves.py --to runs/waves [--only FNOtD ...] [--seeds 0 1 2] [--split tuning]

The truth is exact: random Kelvin and Poincare waves of a walled channel on an f-plane, one sum of them a realisation.
Each operator learns from the same training realisations for about the same processor time, alone and one after
another on one thread, and forecasts unseen ones freely; settings were chosen with ``--split tuning``, which leaves the
test's alone. A stopped command goes on where it was. Results go to ``notebooks/results/waves``.
"""

import argparse
import csv
import json
import math
import shutil
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
import xarray as xr

from data_pipelines import open_store
from data_pipelines.save import save_store
from forecasting import forecast
from oceanop import Grid, load_checkpoint
from oceanop.build import build_step
from oceanop.config import Run
from oceanop.config.run import parse_run
from oceanop.constants import EARTH_RADIUS, EARTH_ROTATION
from oceanop.dispersion import (
    Spectrum,
    energy_spectrum,
    kernel_norm,
    near_curves,
    share_by_chance,
    share_on_curves,
)
from oceanop.layout import cf_attributes
from oceanop.waves import WaveChannel, free_waves, random_amplitudes, superpose
from training import train

mpl.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).resolve().parent / "results" / "waves"
HOUR, DAY = 3600.0, 86400.0  # s

CHANNEL = WaveChannel(length=1200e3, width=400e3, depth=20.0, coriolis_parameter=1.2e-4)
CELL = 25e3  # m: 48 cells along, 16 across, and a row of land on either side
HIGHEST_MODE = 3
SHORTEST_PERIOD = 4.5 * HOUR  # of 4.5 hourly states
ENERGY = 0.2  # m3 s-2 of all waves together: levels of about 0.15 m
SLOPE = -2.0  # of the energy of a wave over its frequency, as many spectra of the sea fall
LEADS = 240
PAST = 6  # states that a start may look back on
SELECTION = (
    48  # leads by whose error the best weights are chosen: later, out of phase, a forecast that fades wins
)
# Number and hours. Settings were chosen on free forecasts of 'tuning'.
REALISATIONS = {
    "train": (128, 48),
    "validation": (16, PAST + SELECTION),
    "tuning": (4, PAST + LEADS),
    "test": (8, PAST + LEADS),
}
# A first test, 3, had been looked at when windows were made to grow; the present one was drawn after that.
SEEDS = {"train": 0, "validation": 1, "tuning": 2, "test": 4}
VARIABLES = ("zos", "ubar", "vbar")
SCORES = ("forecaster", "seed", "metric", "lead_hours", "value")
COSTS = (
    "forecaster",
    "seed",
    "steps",
    "seconds_a_step",
    "training_seconds",
    "forecast_seconds",
    "parameters",
)
STAGES, ATTEMPTS = 3, 3  # of unrolled windows, at most; short runs that time the steps of each
LEADS_SHOWN = (1, 6, 24, 50, 100, 240)
SHOWN_WAVENUMBERS = 7

COMMON: dict[str, Any] = {"batch_size": 4, "threads": 1, "weight_decay": 1e-5, "checkpoint_every": 100}
# Steps were chosen so that each takes about as much processor time as the others; costs.csv says how much.
FORECASTERS: dict[str, dict[str, Any]] = {
    "FNOtD": {
        "model": {
            "name": "FNOtD",
            "history": 6,
            "horizon": 6,
            "modes": [8, 12, 12],
            "width": 24,
            "layers": 4,
        },
        "training": {"steps": 350, "noise": 0.01, "windows": [1, 2, 4], "learning_rate": 3e-3},
    },
    "FNO-one-step-vanilla": {
        "model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [12, 12], "width": 40, "layers": 4},
        "training": {"steps": 3650, "noise": 0.0, "windows": 1, "learning_rate": 2e-3},
    },
    "FNO-one-step": {
        "model": {"name": "FNO", "history": 1, "horizon": 1, "modes": [12, 12], "width": 40, "layers": 4},
        "training": {"steps": 1380, "noise": 0.01, "windows": 6, "unroll_from": 0.6, "learning_rate": 2e-3},
    },
    "FNO-channels": {
        "model": {"name": "FNO", "history": 6, "horizon": 6, "modes": [12, 12], "width": 40, "layers": 4},
        "training": {"steps": 1620, "noise": 0.01, "windows": [1, 2, 4], "learning_rate": 2e-3},
    },
}


def main() -> None:
    """Train what is missing, forecast, and write tables and pictures."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--to", type=Path, required=True)
    words.add_argument("--only", nargs="+", choices=list(FORECASTERS), default=list(FORECASTERS))
    words.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    words.add_argument(
        "--split", choices=["tuning", "test"], default="test", help="which realisations to forecast"
    )
    words.add_argument("--results", type=Path, default=RESULTS)
    given = words.parse_args()
    given.results.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    store = build_store(given.to / "channel.zarr")
    ds = open_store(store)
    truth = realisations(ds, given.split)
    spectra = {"truth": spectrum_of(truth)}
    scores = spectral_rows("truth", "", spectra["truth"], spectra["truth"])
    still = truth[:, :, :1].repeat(LEADS, axis=2)
    scores += rows_of("persistence", "", still, truth, spectra["truth"])
    costs: list[list[Any]] = []
    for seed in given.seeds:
        for name in given.only:
            to = given.to / f"{name}-seed{seed}"
            checkpoint = load_checkpoint(fit(name, seed, store, to))
            values = free_forecasts(checkpoint, ds, given.split, to)
            scores += rows_of(name, seed, values, truth, spectra["truth"])
            seconds = step_seconds(name, store, given.to / f"{name}.json")
            costs.append([name, seed, *cost_of(to, seconds, given.split), checkpoint.parameters])
            if seed == given.seeds[0]:
                spectra[name] = spectrum_of(values)
            say(name, seed, scores)
            write(given.results / "scores.csv", SCORES, scores)
            write(given.results / "costs.csv", COSTS, costs)
        if seed == given.seeds[0]:
            draw_spectra(given.results / "spectra.png", spectra)
            if "FNOtD" in given.only:
                best = given.to / f"FNOtD-seed{seed}" / "checkpoints" / "best"
                draw_kernel(given.results / "kernel.png", load_checkpoint(best))


def build_store(to: Path) -> Path:
    """Realisations one after another on one time axis, with gaps between them that no window crosses."""
    if (to / "zarr.json").exists() and json.loads((to / "zarr.json").read_text())["attributes"].get(
        "complete"
    ):
        return to
    waves = free_waves(CHANNEL, highest_mode=HIGHEST_MODE, shortest_period=SHORTEST_PERIOD)
    columns, rows = round(CHANNEL.length / CELL), round(CHANNEL.width / CELL)
    x, y = np.arange(columns) * CELL, (np.arange(rows) + 0.5) * CELL
    fields, times, splits = [], [], {}
    clock = np.datetime64("2001-01-01T00", "ns")
    for split, (number, hours) in REALISATIONS.items():
        begin = clock
        for realisation in range(number):
            seed = [SEEDS[split], realisation]
            amplitudes = random_amplitudes(waves, energy=ENERGY, slope=SLOPE, seed=seed)
            fields.append(
                superpose(waves, amplitudes, time=np.arange(hours) * HOUR, y=y, x=x).astype(np.float32)
            )
            times.append(clock + np.arange(hours) * np.timedelta64(1, "h"))
            clock = times[-1][-1] + np.timedelta64(24, "h")
        splits[split] = (str(begin), str(times[-1][-1]))
    state = np.full((3, sum(map(len, times)), rows + 2, columns), np.nan, dtype=np.float32)
    state[:, :, 1:-1] = np.concatenate(fields, axis=1)
    grid = grid_of(rows + 2, columns)
    ds = grid.to_dataset()
    ds["cell_area"].attrs["method"] = "of the f-plane, the same everywhere"
    ds = ds.assign_coords(time=("time", np.concatenate(times), {"standard_name": "time", "axis": "T"}))
    for name, values in zip(VARIABLES, state, strict=True):
        ds[name] = (("time", *grid.dims), values, cf_attributes(name))
    ds.attrs = {
        "title": "Exact Kelvin and Poincare waves of a channel on an f-plane, periodic along longitude",
        "source": "oceanop.waves",
        "comment": "Positions are nominal: cells are squares, and the Coriolis parameter is the same in all.",
        "coriolis_parameter": CHANNEL.coriolis_parameter,
        "gravity": CHANNEL.gravity,
        "depth": CHANNEL.depth,
    }
    return save_store(ds, to, splits=splits)


def grid_of(rows: int, columns: int) -> Grid:
    """Cells about the latitude whose Coriolis parameter the channel has; the outermost rows are land."""
    middle = math.degrees(math.asin(CHANNEL.coriolis_parameter / (2 * EARTH_ROTATION)))
    degree = math.radians(1) * EARTH_RADIUS
    latitude = middle + (np.arange(rows) - (rows - 1) / 2) * CELL / degree
    longitude = np.arange(columns) * CELL / (degree * math.cos(math.radians(middle)))
    mask = np.ones((rows, columns), dtype=bool)
    mask[[0, -1]] = False
    axes = {
        "latitude": (
            "latitude",
            latitude,
            {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
        ),
        "longitude": (
            "longitude",
            longitude,
            {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
        ),
    }
    return Grid(
        *np.meshgrid(latitude, longitude, indexing="ij"),
        mask=mask,
        cell_area=np.full((rows, columns), CELL**2),
        dims=("latitude", "longitude"),
        coordinates=xr.Dataset(coords=axes),
    )


def run_of(name: str, seed: int, **changes: Any) -> Run:
    """The run of a forecaster, with changes to its training."""
    settings = FORECASTERS[name]
    training = {**COMMON, **settings["training"], "seed": seed, **changes}
    # One free forecast from each validation realisation decides which weights are best.
    training |= {
        "validation_leads": PAST + SELECTION - settings["model"]["history"],
        "validate_every": -(-training["steps"] // 4),
    }
    tables = {
        "data": {"state": list(VARIABLES), "forcing": []},
        "model": {"position": False, **settings["model"]},
        "training": training,
    }
    return parse_run(tables, name)


def fit(name: str, seed: int, store: Path, to: Path) -> Path:
    """Train a forecaster, unless it is there and whole; its best checkpoint."""
    run = run_of(name, seed)
    done = (to / "metrics.jsonl").exists() and any(
        row.get("step") == run.training.steps and "validation" in row for row in logged(to)
    )
    return to / "checkpoints" / "best" if done else train(run, store, to, resume=to.exists())


def step_seconds(name: str, store: Path, to: Path) -> dict[int, float]:
    """Processor time of an optimizer step by the number of windows it unrolls, from short runs of their own.

    The least of several: other work on the machine makes steps dearer, by as much as two, and never cheaper.
    """
    if not to.exists():
        spent: dict[int, list[float]] = {}
        for attempt in range(ATTEMPTS):
            run, clock = to.with_name(f"{to.stem}-{attempt}"), {}
            shutil.rmtree(run, ignore_errors=True)
            train(
                run_of(name, 0, steps=4 * STAGES, checkpoint_every=10**6),
                store,
                run,
                progress=lambda words, step, total, clock=clock: clock.update({step: time.process_time()}),
            )
            rows = [row for row in logged(run) if "windows" in row]
            # Steps of a stage follow one another; the first of it also opens its windows, and one may validate.
            for before, row in pairwise(rows):
                if before["windows"] == row["windows"]:
                    seconds = clock[row["step"]] - clock[before["step"]]
                    spent.setdefault(row["windows"], []).append(seconds)
            shutil.rmtree(run)
        to.write_text(json.dumps({number: min(seconds) for number, seconds in spent.items()}))
    return {int(number): seconds for number, seconds in json.loads(to.read_text()).items()}


def cost_of(run: Path, seconds: dict[int, float], split: str) -> list[Any]:
    """Optimizer steps, processor time of a step with most windows, of all steps, and of a forecast, s."""
    windows = [row["windows"] for row in logged(run) if "windows" in row]
    total = sum(seconds[number] for number in windows)
    forecast_seconds = json.loads((run / "forecast.json").read_text())[split]
    return [len(windows), f"{seconds[max(windows)]:.4f}", f"{total:.1f}", f"{forecast_seconds:.2f}"]


def logged(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def starts_of(ds: xr.Dataset, split: str) -> np.ndarray:
    """Steps of the last known states of a split's realisations, ``[start]``."""
    hours = [(name, length) for name, (number, length) in REALISATIONS.items() for _ in range(number)]
    first = np.cumsum([0, *(length for _, length in hours)])[:-1]
    return np.array([step for step, (name, _) in zip(first, hours, strict=True) if name == split]) + PAST - 1


def realisations(ds: xr.Dataset, split: str) -> np.ndarray:
    """Start and truth ahead at sea, ``[variable, start, 1 + lead, y, x]``."""
    steps = starts_of(ds, split)[:, None] + np.arange(LEADS + 1)
    return np.stack([ds[name].to_numpy()[steps] for name in VARIABLES])[..., 1:-1, :].astype(np.float64)


def free_forecasts(checkpoint: Any, ds: xr.Dataset, split: str, run: Path) -> np.ndarray:
    """States at all leads, at sea, ``[variable, start, lead, y, x]``; kept beside the run."""
    kept = run / f"{split}-{checkpoint.sha256[:12]}.npy"
    if not kept.exists():
        starts = starts_of(ds, split)
        begin = time.process_time()
        result = forecast(checkpoint, ds, start=ds["time"].values[starts], leads=LEADS)
        seconds = (time.process_time() - begin) / len(starts)
        note = run / "forecast.json"
        held = json.loads(note.read_text()) if note.exists() else {}
        note.write_text(json.dumps(held | {split: seconds}))
        np.save(kept, np.stack([result[name].to_numpy() for name in VARIABLES])[..., 1:-1, :])
    return np.load(kept).astype(np.float64)


def spectrum_of(states: np.ndarray) -> Spectrum:
    """Energy by frequency and wavenumber, mean over starts; the start itself is no part of a forecast."""
    spectra = [
        energy_spectrum(*states[:, start, -LEADS:], depth=CHANNEL.depth, time_step=HOUR, spacing=CELL)
        for start in range(states.shape[1])
    ]
    return (1 / len(spectra)) * sum(spectra[1:], start=spectra[0])


def energy_of(states: np.ndarray) -> np.ndarray:
    """Mean energy over starts and cells, m3 s-2, ``[lead]``."""
    level, east, north = np.square(states).mean((-2, -1)).mean(1)
    return 0.5 * CHANNEL.gravity * level + 0.5 * CHANNEL.depth * (east + north)


def spectral_rows(name: str, seed: Any, own: Spectrum, truth: Spectrum) -> list[list[Any]]:
    """Share of the energy on the curves, over that of the truth, and what chance would give."""
    curves = CHANNEL.frequencies(own.wavenumber, HIGHEST_MODE)
    shares = share_on_curves(own, curves), share_on_curves(truth, curves)
    return [
        [name, seed, "share_on_curves", "all", f"{shares[0]:.4f}"],
        [name, seed, "share_to_truth", "all", f"{shares[0] / shares[1]:.4f}"],
        [name, seed, "share_by_chance", "all", f"{share_by_chance(own, curves):.4f}"],
    ]


def rows_of(
    name: str, seed: Any, values: np.ndarray, truth: np.ndarray, reference: Spectrum
) -> list[list[Any]]:
    """All scores of one forecaster."""
    ahead = truth[:, :, 1:]
    rows = spectral_rows(name, seed, spectrum_of(values), reference)
    ratio = energy_of(values) / energy_of(ahead)
    error = np.sqrt(np.square(values - ahead).mean((1, 3, 4)))
    for lead in LEADS_SHOWN:
        rows.append([name, seed, "energy_ratio", lead, f"{ratio[lead - 1]:.4f}"])
        rows += [
            [name, seed, f"rmse {variable}", lead, f"{row[lead - 1]:.5f}"]
            for variable, row in zip(VARIABLES, error, strict=True)
        ]
    return rows


def say(name: str, seed: int, scores: Iterable[Sequence[Any]]) -> None:
    """One line on a forecaster."""
    own = {(row[2], row[3]): row[4] for row in scores if row[:2] == [name, seed]}
    errors = ", ".join(f"{lead} h {own['rmse zos', lead]}" for lead in LEADS_SHOWN)
    words = f"share {own['share_to_truth', 'all']} of the truth's, energy {own['energy_ratio', LEADS]}"
    print(f"{name}, seed {seed}: {words}; rmse of zos (m): {errors}", flush=True)


def write(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(heads)
        table.writerows(rows)


def draw_spectra(to: Path, spectra: dict[str, Spectrum]) -> None:
    """Energy of truth and forecasts by frequency and wavenumber, with the curves and common colours."""
    highest = max(spectrum.power.max() for spectrum in spectra.values())
    norm = mpl.colors.LogNorm(1e-5 * highest, highest)
    figure, panels = plt.subplots(
        1,
        len(spectra),
        figsize=(3 * len(spectra) + 1, 4),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axes, (name, own) in zip(panels[0], spectra.items(), strict=True):
        number = own.wavenumber * CHANNEL.length / (2 * np.pi)
        image = axes.pcolormesh(
            number,
            own.frequency * DAY / (2 * np.pi),
            np.maximum(own.power, norm.vmin),
            norm=norm,
            cmap="magma",
        )
        share = share_on_curves(own, CHANNEL.frequencies(own.wavenumber, HIGHEST_MODE))
        axes.set_title(f"{name}\n{100 * share:.1f} % on the curves", fontsize=10)
        draw_curves(axes, "white")
    panels[0, 0].set_ylabel("frequency (cycles a day)")
    figure.supxlabel("wavelengths in the channel's length; positive: crests move east", fontsize=10)
    figure.colorbar(image, ax=panels, label="energy in a bin (m³ s⁻²)", extend="min")
    figure.suptitle(f"Free forecasts of {LEADS} hours from unseen states", fontsize=11)
    figure.savefig(to, dpi=110)
    plt.close(figure)


def draw_kernel(to: Path, checkpoint: Any) -> None:
    """Where the kernel has learned: norm of its change since the random start, on and off the curves."""
    model = checkpoint.run.model
    hours = model.history + model.horizon + model.patch * model.padding[0]
    torch.manual_seed(checkpoint.run.training.seed)
    start = build_step(
        checkpoint.run, checkpoint.layout, static=checkpoint.weights["static"], wet=checkpoint.weights["wet"]
    )
    norms, nearness = [], []
    for end, begin in zip(checkpoint.step.operator.blocks, start.operator.blocks, strict=True):
        change = (end.spectral.weight - begin.spectral.weight).detach().numpy()
        norm, frequency, wavenumber = kernel_norm(change, window=hours * HOUR, length=CHANNEL.length)
        norms.append(norm / np.sqrt(np.mean(norm**2)))
        of = Spectrum(norm**2, frequency, wavenumber, np.ones(len(frequency)))
        near = near_curves(of, CHANNEL.frequencies(wavenumber, HIGHEST_MODE), bins=0.5)
        nearness.append(math.sqrt(of.power[near].mean() / of.power[~near].mean()))
    limits = mpl.colors.Normalize(min(map(np.min, norms)), max(map(np.max, norms)))
    figure, panels = plt.subplots(
        1,
        len(norms),
        figsize=(3 * len(norms) + 1, 4),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for layer, (axes, norm) in enumerate(zip(panels[0], norms, strict=True), start=1):
        number = wavenumber * CHANNEL.length / (2 * np.pi)
        image = axes.pcolormesh(number, frequency * DAY / (2 * np.pi), norm, norm=limits, cmap="viridis")
        axes.set_title(f"layer {layer}: on the curves {nearness[layer - 1]:.2f} × elsewhere", fontsize=10)
        draw_curves(axes, "white")
    panels[0, 0].set_ylabel("frequency (cycles a day)")
    figure.supxlabel("wavelengths in the channel's length; positive: crests move east", fontsize=10)
    figure.colorbar(image, ax=panels, label="learned change of R over its root mean square")
    figure.suptitle(
        f"{checkpoint.name}: kernel over windows of {hours} hours, norm over channels and k$_y$", fontsize=11
    )
    figure.savefig(to, dpi=110)
    plt.close(figure)


def draw_curves(axes: Any, colour: str) -> None:
    """The waves of the truth as points, and their dispersion curves through them."""
    ends = SHOWN_WAVENUMBERS + 0.5
    number = np.linspace(-ends, ends, 401)
    for curve in CHANNEL.frequencies(2 * np.pi * number / CHANNEL.length, HIGHEST_MODE):
        axes.plot(number, curve * DAY / (2 * np.pi), color=colour, linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set(xlim=(-ends, ends), ylim=(-0.1, 7))


if __name__ == "__main__":
    main()
