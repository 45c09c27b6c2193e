"""The folder of a run: whose it is, and the state that a stopped run goes on from."""

import os
from collections.abc import Mapping
from pathlib import Path

from oceanop.checkpoint import Checkpoint, load_checkpoint
from oceanop.config import Run, load_run, run_to_toml

SETTINGS, JOB = "run.toml", "job.txt"


def begin_folder(to: Path, run: Run, job: str | None) -> None:
    """Write down the settings of a run, and the job that begins or continues it."""
    to.mkdir(parents=True, exist_ok=True)
    if job is not None:
        _write(to / JOB, job + "\n")
    _write(to / SETTINGS, run_to_toml(run))


def begun_by(to: Path, job: str | None) -> bool:
    """Whether a job was the last to begin or continue the run in a folder.

    Ranks that torchrun has started again go on by themselves. But it also starts those again that a folder with
    somebody else's run had turned away.
    """
    path = to / JOB
    return job is not None and path.exists() and path.read_text(encoding="utf-8").strip() == job


def previous_state(to: Path, run: Run, *, resume: bool) -> Checkpoint | None:
    """The state to resume from, None for a fresh start; a folder in use is never overwritten.

    Raises
    ------
    ValueError
        If the folder holds a run that is not to be resumed, or one of other settings.
    """
    begun, last = to / SETTINGS, to / "checkpoints" / "last"
    if not resume:
        if begun.exists():
            raise ValueError(
                f"{to}: holds a run already; continue it with --resume, or choose another folder."
            )
        return None
    if not last.exists():
        if begun.exists() and (before := load_run(begun)) != run:
            raise ValueError(_other_settings(to, before, run))
        return None
    previous = load_checkpoint(last)
    if previous.run != run:
        raise ValueError(_other_settings(to, previous.run, run))
    if previous.training is None:
        raise ValueError(f"{last}: holds no optimizer state and cannot be resumed.")
    return previous


def check_store(
    to: Path, previous: Checkpoint, *, store: Path, grid_fingerprint: str, attributes: Mapping[str, str]
) -> None:
    """Refuse to go on with another store than the one a run was begun on.

    Raises
    ------
    ValueError
        If its grid, sources, splits or the request it was made by are others.
    """
    if previous.grid_fingerprint != grid_fingerprint:
        raise ValueError(
            f"{to}: the run was begun on another grid ({previous.grid_shape[0]} x {previous.grid_shape[1]}) "
            f"than {store} has; resume with the store it was begun on."
        )
    told = previous.provenance["store_attributes"]
    for name in ("request", "sources", "splits"):
        if told.get(name) != attributes.get(name):
            raise ValueError(
                f"{to}: the run was begun on {previous.provenance['store']}, whose {name} are not those of "
                f"{store}; resume with the store it was begun on."
            )


def last_words(to: Path) -> str:
    """Where a run that could not go on stands, and how it is taken up."""
    last = to / "checkpoints" / "last"
    kept = (
        f"the last checkpoint is {last}, from which --resume goes on"
        if last.exists()
        else "no checkpoint was written yet, so that --resume begins anew"
    )
    return f"{kept}; torchrun --max-restarts=N --rdzv-id=NAME does so by itself."


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a resumed run is compared with its settings until there is a checkpoint."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _other_settings(to: Path, before: Run, now: Run) -> str:
    old, new = before.model_dump(), now.model_dump()
    differences = ", ".join(
        f"{table}.{key} was {old[table].get(key)!r} and is {new[table].get(key)!r}"
        for table in old
        for key in dict.fromkeys([*old[table], *new[table]])
        if old[table].get(key) != new[table].get(key)
    )
    return f"{to}: was begun with other settings ({differences}); resume with the same."
