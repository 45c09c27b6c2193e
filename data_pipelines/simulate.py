"""From a basin and a seed to a store: the built-in numerical ocean, which goes on where it was stopped."""

import datetime
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_pipelines import provenance
from data_pipelines.basins.air import VARIABLES as AIR
from data_pipelines.basins.domain import Domain, make_domain, make_model
from data_pipelines.basins.settings import Basin, FileSea, load_basin
from data_pipelines.plan import Progress
from data_pipelines.profiles import FAST, profile_named
from data_pipelines.resumable import Restart, sole_writer, told_when_full
from data_pipelines.segments import Calendar, make_calendar
from data_pipelines.simulation import HOUR, Simulation
from data_pipelines.statistics import compute_statistics
from data_pipelines.store import CONVENTIONS, StoreWriter, oceanop_version, read_root
from oceanop.dynamics.state import State
from oceanop.layout import cf_attributes

STATE = ("zos", "ubar", "vbar")
BLOCK = 240  # steps at most between two states to go on from: a kill costs a second or two
_MEMBER = {"standard_name": "realization", "long_name": "member", "units": "1"}


def simulate(
    basin: Basin | str | Path,
    *,
    to: str | Path,
    days: float | None = None,
    splits: Mapping[str, float] | None = None,
    seed: int = 0,
    members: int = 1,
    every: float = HOUR,
    profile: str = FAST.name,
    progress: Progress | None = None,
) -> Path:
    """Run the built-in shallow-water model and write a store like any other.

    The same settings and seed give the same bytes in every variable. A simulation that was stopped goes on with the
    same call; one that is complete is left as it is.

    Parameters
    ----------
    basin
        A shipped basin's name (``data_pipelines.basins.settings.basins()``), a TOML file, or settings.
    to
        Folder of the store.
    days
        Length of one series, of which 70, 15 and 15 % are for training, validation and test.
    splits
        In place of ``days``: the length of each of ``train``, ``validation``, ``test``, ``extreme`` and ``fast``, each
        with weather, or waves, of its own and spin-up, a gap in time between them. Where neither is given, the basin's.
    seed
        Of weather, boundary signal and beginning.
    members
        How many oceans side by side, each of weather of its own; above 1 they lie along the dimension ``member``.
    every
        Between two states, s: an hour divided or multiplied by a whole number.
    profile
        How the store is cut and coded: ``fast`` or ``compact``.
    progress
        Called with what is done, steps done, and steps in all.

    Returns
    -------
    Path of the store.

    Raises
    ------
    ValueError
        If the request cannot be met, ``to`` holds something else or is being written, or the disk is full.

    Examples
    --------
    >>> from data_pipelines import simulate
    >>> simulate("baltic", to="baltic.zarr", days=30, seed=1)  # doctest: +SKIP
    PosixPath('baltic.zarr')
    """
    if not isinstance(basin, Basin):
        basin = load_basin(basin)
    ratio = max(every, HOUR) / min(every, HOUR) if 0 < every < float("inf") else 0.5
    if abs(ratio - round(ratio)) > 1e-9:
        raise ValueError(
            f"states every {every:g} s are asked for; it has to be an hour divided or multiplied by a whole number."
        )
    if members < 1 or not 0 <= seed < 2**32:
        raise ValueError(
            f"{members} members of seed {seed}; expected at least one, and a seed from 0 to 2^32 - 1."
        )
    profile_named(profile)  # refused before anything is begun
    calendar = make_calendar(basin, days=days, splits=splits, every=every)
    options = {
        **_flat("basin", _portable(basin)),
        "days": days,
        "splits": None if splits is None else dict(splits),
        "seed": seed,
        "members": members,
        "every": every,
        "profile": profile,
    }
    floor = basin.sea.path if isinstance(basin.sea, FileSea) else None
    files = [] if floor is None else [provenance.file_identity(Path(floor), "static")]
    target = Path(to)
    with sole_writer(target), told_when_full(target):
        there = _is_there(target, files, options)
        restart = Restart(target, provenance.request(files, options))
        if there == "complete":
            restart.remove()
            return target
        held = restart.load() if there == "begun" else None
        domain = make_domain(basin)
        if held is None:
            restart.remove()  # one of a store that is no more
            Simulation(basin, domain, calendar.segments[0], seed=seed, members=members, every=every).check()
            writer = _new_store(target, basin, domain, calendar, files, options)
        else:
            writer = StoreWriter.resume(target)
        _write(
            writer,
            restart,
            held,
            basin,
            domain,
            calendar,
            options,
            progress or (lambda what, done, total: None),
        )
        compute_statistics(target)
        writer.finish()
        restart.remove()
    return target


def _write(
    writer: StoreWriter,
    restart: Restart,
    held: dict[str, NDArray] | None,
    basin: Basin,
    domain: Domain,
    calendar: Calendar,
    options: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Run all segments, or what is left of them, and write block after block."""
    number, step, state = 0, 0, None
    if held is not None:
        number, step, done = (int(each) for each in held["place"])
        state = State(held["zos"], held["u"], held["v"], done) if step else None
    chunk = writer.steps_per_chunk("zos")
    settings = {name: options[name] for name in ("seed", "members", "every")}
    total = calendar.times.size
    for place in range(number, len(calendar.segments)):
        segment = calendar.segments[place]
        run = Simulation(basin, domain, segment, **settings)
        progress(segment.split, segment.first + step, total)
        block: dict[str, list[NDArray]] = {}
        for record in run.records(step, state):
            for name, fields in record.fields.items():
                block.setdefault(name, []).append(fields if options["members"] > 1 else fields[0])
            after, count = record.number + 1, len(block["zos"])
            whole = segment.first + after
            if after < segment.steps and count < BLOCK and whole % chunk:
                continue
            for name, steps in block.items():
                writer.write(name, whole - count, np.stack(steps).astype(np.float32))
            block = {}
            ended = after == segment.steps
            zos, u, v = record.state.fields
            restart.save(
                {
                    "place": np.array([place + ended, 0 if ended else after, record.state.steps]),
                    "zos": zos,
                    "u": u,
                    "v": v,
                }
            )
            progress(segment.split, whole, total)
        step, state = 0, None


def _new_store(
    target: Path,
    basin: Basin,
    domain: Domain,
    calendar: Calendar,
    files: list[dict[str, Any]],
    options: Mapping[str, Any],
) -> StoreWriter:
    coordinates = domain.coordinates()
    dims: tuple[str, ...] = domain.positions.dims
    if options["members"] > 1:
        coordinates = coordinates.assign_coords(member=("member", np.arange(options["members"]), _MEMBER))
        dims = ("member", *dims)
    names = STATE if basin.weather is None else (*STATE, *AIR)
    model = make_model(basin, domain, interval=min(options["every"], HOUR))
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = _command(basin, options)
    return StoreWriter(
        target,
        coordinates=coordinates,
        times=calendar.times,
        depths=None,
        variables={name: (dims, cf_attributes(name)) for name in names},
        attributes={
            "Conventions": CONVENTIONS,
            "title": basin.title,
            "source": "oceanop's shallow-water model: level and depth-mean current on a C-grid, without advection of "
            "momentum" + (", under invented weather" if basin.weather is not None else ", unforced"),
            "model": "shallow-water",
            "time_step": model.time_step,
            "gravity": model.stencil.gravity,
            "water_density": model.stencil.density,
            **domain.attributes,
            "basin": json.dumps(_portable(basin)),
            "seed": options["seed"],
            "history": f"{created}: {command}",
            "command": command,
            "oceanop_version": oceanop_version(),
            "created": created,
            "sources": json.dumps(files),
            "request": provenance.request(files, options),
            "splits": json.dumps(calendar.splits),
        },
        profile=profile_named(options["profile"]),
    )


def _is_there(target: Path, files: list[dict[str, Any]], options: Mapping[str, Any]) -> str:
    """``nothing``, ``begun`` or ``complete``; refuses to touch anything but this simulation."""
    if not target.exists() or (
        target.is_dir() and all(part.suffix == ".partial" for part in target.iterdir())
    ):
        return "nothing"
    root = read_root(target) if target.is_dir() else None
    attributes = {} if root is None else root.get("attributes", {})
    if "complete" not in attributes or "request" not in attributes:
        raise ValueError(f"{target} exists and is not a simulation; give another path with --to.")
    kept = json.loads(attributes["request"]).get("options", {})
    changed = provenance.difference(attributes["request"], files, {**dict.fromkeys(kept), **options})
    if changed is not None:
        raise ValueError(
            f"{target} holds another store: {changed}; give another path with --to, or delete it."
        )
    return "complete" if attributes["complete"] else "begun"


def _command(basin: Basin, options: Mapping[str, Any]) -> str:
    words = ["oceanop", "simulate", basin.name]
    for key in ("days", "seed"):
        if options[key] is not None:
            words += [f"--{key}", f"{options[key]:g}" if key == "days" else str(options[key])]
    if options["splits"] is not None:
        words += ["--splits", ",".join(f"{name}={days:g}" for name, days in options["splits"].items())]
    if options["members"] > 1:
        words += ["--members", str(options["members"])]
    if options["every"] != HOUR:
        words += ["--every", f"{options['every']:g}s"]
    if options["profile"] != FAST.name:
        words += ["--profile", options["profile"]]
    return shlex.join(words)


def _portable(basin: Basin) -> dict[str, Any]:
    """Settings as plain data, without anybody's folders."""
    data = basin.model_dump(mode="json")
    if isinstance(basin.sea, FileSea):
        data["sea"]["path"] = Path(basin.sea.path).name
    return data


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {
        key: each for part, inner in value.items() for key, each in _flat(f"{name}.{part}", inner).items()
    }
