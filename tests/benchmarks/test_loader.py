"""Time to load random windows, beside a numpy memory map of the same numbers and zarr-python's own reader.

    python -m pytest -m benchmark -s tests/benchmarks/test_loader.py

Windows of 32 steps of four variables on 200 x 300 cells, a quarter of them land, from a store of 1.1 GB that lies in
the page cache. The memory map copies plain arrays into one reused buffer and does nothing else; the loader also sets
land to zero and looks for missing values at sea. All take turns, and ratios are those of medians over the rounds. The
table goes to ``notebooks/results/loader.csv``.
"""

import csv
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import data_pipelines.dataset
from data_pipelines import WindowDataset, WindowLoader
from data_pipelines.profiles import PROFILES
from data_pipelines.store import StoreWriter

pytestmark = pytest.mark.benchmark

NAMES = {"zos": 0.3, "uo": 0.5, "vo": 0.5, "u10": 8.0}
STEPS, ROWS, COLUMNS, WINDOW = 1200, 200, 300, 32
ROUNDS, WARM, WINDOWS = 9, 5, 24
RESULTS = Path(__file__).parents[2] / "notebooks" / "results" / "loader.csv"


def write(folder: Path) -> None:
    """Smooth waves with the rounding of a product packed in 16 bits, as arrays of numpy and in both profiles."""
    random = np.random.default_rng(0)
    land = np.zeros((ROWS, COLUMNS), bool)
    land[:, :50] = land[:50, 50:150] = True
    place = np.zeros((ROWS, COLUMNS))
    coordinates = xr.Dataset(
        {"mask": (("y", "x"), (~land).astype(np.int8)), "cell_area": (("y", "x"), place + 1.0)},
        coords={
            "latitude": (("y", "x"), place + np.linspace(55, 60, ROWS)[:, None]),
            "longitude": (("y", "x"), place + np.linspace(0, 10, COLUMNS)),
        },
    )
    times = np.datetime64("2020-01-01", "ns") + np.arange(STEPS) * np.timedelta64(3600 * 10**9, "ns")
    writers = [
        StoreWriter(
            folder / f"{name}.zarr",
            coordinates=coordinates,
            times=times,
            depths=None,
            variables={key: (("y", "x"), {}) for key in NAMES},
            attributes={"splits": json.dumps({"train": [str(times[0]), str(times[-1])]})},
            profile=profile,
        )
        for name, profile in PROFILES.items()
    ]
    y, x = np.meshgrid(np.arange(ROWS) / 25, np.arange(COLUMNS) / 30, indexing="ij")
    for key, size in NAMES.items():
        plain = np.lib.format.open_memmap(folder / f"{key}.npy", "w+", np.float32, (STEPS, ROWS, COLUMNS))
        for first in range(0, STEPS, 96):
            hours = np.arange(first, min(first + 96, STEPS))[:, None, None]
            values = size * np.sin(x + y - hours / 4 + np.sin(y + hours / 9))
            values = (
                1e-3 * np.round(1e3 * (values + 0.02 * size * random.normal(size=values.shape)))
            ).astype("f4")
            if key != "u10":  # wind blows over land, too
                values[:, land] = np.nan
            plain[first : first + 96] = values
            for writer in writers:
                # In whole files: 96 steps are one shard, and no multiple of the plain chunks.
                writer.write(key, first, values)
        plain.flush()
    for writer in writers:
        writer.finish()


def loader(store: Path, threads: int) -> Callable[[], None]:
    windows = WindowLoader(WindowDataset(store, WINDOW // 2, WINDOW // 2), 1, 0, threads=threads)
    endless = (batch for _ in iter(int, 1) for batch in windows)

    def load() -> None:
        for _ in range(WINDOWS):
            assert next(endless).target.shape == (1, 3, WINDOW // 2, ROWS, COLUMNS)
        # As many windows are ready at the end as at the beginning: what is read ahead is in the time, too.
        for filling in windows._prefetcher._pending:
            wait(filling.tasks)

    return load


def copies(arrays: list, windows: np.random.Generator) -> Callable[[], None]:
    buffer = np.empty((len(arrays), WINDOW, ROWS, COLUMNS), np.float32)

    def load() -> None:
        for first in windows.integers(STEPS - WINDOW + 1, size=WINDOWS).tolist():
            for part, array in zip(buffer, arrays, strict=True):
                part[...] = array[first : first + WINDOW]

    return load


def test_windows_load_at_the_speed_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_pipelines.dataset, "MEMORY_LIMIT", 0)
    write(tmp_path)
    draw = np.random.default_rng(1)
    readers = {
        "numpy memory map": copies([np.load(tmp_path / f"{key}.npy", mmap_mode="r") for key in NAMES], draw),
        **{
            f"{name}, {threads} threads": loader(tmp_path / f"{name}.zarr", threads)
            for name in PROFILES
            for threads in (1, 2)
        },
        **{
            f"zarr-python, {name}": copies(
                [zarr.open_array(tmp_path / f"{name}.zarr" / key, mode="r") for key in NAMES], draw
            )
            for name in PROFILES
        },
    }
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    work: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(ROUNDS + WARM):
        for name, load in readers.items():
            begin, worked = time.perf_counter(), time.process_time()
            load()
            if turn >= WARM:  # the first ones compile, open files, and look through each step once
                seconds[name].append(time.perf_counter() - begin)
                work[name].append(time.process_time() - worked)
    median, cpu = (
        {name: statistics.median(values) for name, values in taken.items()} for taken in (seconds, work)
    )
    unit = "numpy memory map"
    size = {
        name: sum(file.stat().st_size for file in (tmp_path / f"{name}.zarr").rglob("*") if file.is_file())
        for name in PROFILES
    }
    with RESULTS.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["reader", "times_memory_map", "cpu_times_memory_map", "windows_per_second"])
        for name, value in median.items():
            ratios = (value / median[unit], cpu[name] / cpu[unit])
            table.writerow([name, *(f"{ratio:.2f}" for ratio in ratios), f"{WINDOWS / value:.0f}"])
    print("\n" + RESULTS.read_text() + f"compact is {size['compact'] / size['fast']:.2f} of the size of fast")
    assert median["fast, 2 threads"] <= 1.1 * median[unit]
    assert median["compact, 2 threads"] <= 3 * median[unit]
    assert 3 * median["compact, 2 threads"] <= median["zarr-python, compact"]
