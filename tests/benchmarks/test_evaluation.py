"""RMSE of 50 starts of 1000 leads against the rate at which their chunks are read, and the memory that it takes.

Run with ``-m benchmark -s``. The files, 3 GB, are made in the temporary folder. Each measurement is a process of its
own, which reads the bytes of the same chunks by plain Zarr first, in the same blocks, then evaluates. What counts is
CPU time, of all threads: the wall clock, printed beside it, is the machine's other work as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from data_pipelines import save_store
from forecasting.forecast import produce
from forecasting.forecaster import Initial, State
from oceanop.layout import Layout, cf_attributes

STARTS, LEADS, ROWS, COLUMNS = 50, 1000, 100, 150
APART = 20  # hours from start to start
FIRST = np.datetime64("2020-01-01T00", "ns")

WORKER = '''
import json, resource, sys, time
import numpy as np
import zarr
from forecasting import evaluate, open_forecast
from forecasting.blocks import spans

def now():
    return np.array([time.process_time(), time.perf_counter()])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def read(path, truth, starts):
    """The bytes that scores need, and nothing else: every chunk of the forecast, and its truth, in the same blocks."""
    held, happened = zarr.open_array(path + "/zos", mode="r"), zarr.open_array(truth + "/zos", mode="r")
    plane = 4 * held.shape[-1] * held.shape[-2]
    begin = now()
    for start in range(starts):
        for span in spans(held.shape[1], plane, 3, memory=2**29, chunk=held.chunks[1]):
            own = held[start, span]
            true = happened[start * APART + 1 + span.start : start * APART + 1 + span.stop]
    return now() - begin, 2 * plane * held.shape[1] * starts

path, truth, workers, starts, APART = json.loads(sys.argv[1])
given = open_forecast(path).isel(init_time=slice(0, starts))
evaluate(given.isel(init_time=slice(0, 1), lead_time=slice(0, 8)), truth, baselines=[], diagnostics=[])  # compiles
before = peak()
reading, size = read(path, truth, starts)
begin = now()
table = evaluate(given, truth, baselines=[], diagnostics=[], workers=workers)
scoring = now() - begin
rmse = table["value"].sel(metric="rmse", variable="zos", band="all").values.ravel().tolist()
print(json.dumps({"reading": reading.tolist(), "scoring": scoring.tolist(), "bytes": size, "before": before,
                  "peak": peak(), "rmse": rmse}))
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store and a forecast of it; a few planes of noise, which no codec can shrink, stand for all."""
    folder = tmp_path_factory.mktemp("long")
    generator = np.random.default_rng(0)
    wet = np.ones((ROWS, COLUMNS), dtype=bool)
    wet[:, : COLUMNS // 4] = False
    noise = np.where(wet, generator.standard_normal((97, ROWS, COLUMNS)), np.nan).astype(np.float32)
    hours = STARTS * APART + LEADS + 1
    dims = ("latitude", "longitude")
    ds = xr.Dataset(
        {
            "zos": (("time", *dims), noise[np.arange(hours) % 97], cf_attributes("zos")),
            "mask": (dims, wet.astype(np.int8), cf_attributes("mask")),
            "cell_area": (dims, np.full(wet.shape, 1e7), cf_attributes("cell_area")),
        },
        coords={
            "time": FIRST + np.arange(hours) * np.timedelta64(1, "h"),
            "latitude": ("latitude", 55 + 0.05 * np.arange(ROWS), {"units": "degrees_north"}),
            "longitude": ("longitude", 15 + 0.08 * np.arange(COLUMNS), {"units": "degrees_east"}),
        },
    )
    store = save_store(ds, folder / "store.zarr")
    made = folder / "forecast.zarr"
    frame = produce_frame(ds, made)
    for start in range(STARTS):
        frame[start] = noise[(start * 7 + np.arange(LEADS)) % 97]
    return made, store


def produce_frame(ds: xr.Dataset, path: Path) -> zarr.Array:
    """A forecast file as 'oceanop forecast' makes it, declared complete with one lead of each start."""

    class Hasty:
        name, history = "noise", 1

        def forecast(self, initial: Initial, forcing: object, leads: int) -> Iterator[State]:
            yield State(leads, initial.state)

    produce(
        Hasty(),
        ds,
        Layout.from_dataset(ds),
        np.arange(STARTS) * APART,
        LEADS,
        time_step=3600,
        to=path,
        attributes={"model": "noise"},
    )
    return zarr.open_group(path, mode="r+")["zos"]


def measured(files: tuple[Path, Path], *, workers: int | str = 1, starts: int = STARTS) -> dict:
    words = json.dumps([*map(str, files), workers, starts, APART])
    done = subprocess.run(
        [sys.executable, "-c", WORKER, words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


@pytest.mark.benchmark
def test_scores_are_computed_at_half_the_rate_of_reading_and_in_flat_memory(files: tuple[Path, Path]) -> None:
    few, all_ = measured(files, starts=5), measured(files)
    for clock, read, scored in zip(("CPU", "wall"), all_["reading"], all_["scoring"], strict=True):
        rates = [all_["bytes"] / seconds / 1e6 for seconds in (read, scored)]
        print(f"\n{clock}: read {rates[0]:.0f} MB/s, scored {rates[1]:.0f} MB/s, ratio {read / scored:.2f}")
    print(
        f"{all_['bytes'] / 1e9:.1f} GB; memory beyond imports {few['peak'] - few['before']} MB with 5 starts, "
        f"{all_['peak'] - all_['before']} MB with {STARTS}"
    )
    assert all_["reading"][0] / all_["scoring"][0] >= 0.5
    # Ten times the starts; what differs is the allocator's, and a block is 16 MiB
    assert all_["peak"] - few["peak"] < 64


@pytest.mark.benchmark
def test_processes_get_the_same(files: tuple[Path, Path]) -> None:
    one, two = (measured(files, workers=workers) for workers in (1, 2))
    print(f"\n1 process {one['scoring'][1]:.1f} s, 2 processes {two['scoring'][1]:.1f} s with their start")
    assert one["rmse"] == two["rmse"]
