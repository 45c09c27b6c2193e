"""An ingest in a process of its own, to be killed."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from data_pipelines import ingest, profiles


def work(begun: Connection, files: list[Path], to: Path, append: bool, file_bytes: int) -> None:
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    profiles.CHUNK_BYTES = profiles.SHARD_BYTES = file_bytes
    begun.send(True)
    ingest(files, to=to, profile="compact", append=append)
