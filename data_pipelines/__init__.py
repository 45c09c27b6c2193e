"""From any file to the same labelled ocean, and from there to batches."""

from data_pipelines.dataset import Window, WindowDataset
from data_pipelines.describe import describe
from data_pipelines.engine.verify import verify
from data_pipelines.gauges import read_gauge, read_gauges
from data_pipelines.ingest import ingest
from data_pipelines.loader import Batch, WindowLoader
from data_pipelines.samples import Sample, sample_paths
from data_pipelines.save import save_store
from data_pipelines.simulate import simulate
from data_pipelines.statistics import read_statistics
from data_pipelines.store import open_store

__all__ = [
    "Batch",
    "Sample",
    "Window",
    "WindowDataset",
    "WindowLoader",
    "describe",
    "ingest",
    "open_store",
    "read_gauge",
    "read_gauges",
    "read_statistics",
    "sample_paths",
    "save_store",
    "simulate",
    "verify",
]
