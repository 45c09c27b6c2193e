"""The verb that makes an ocean of its own."""

from pathlib import Path
from typing import Annotated

import typer

from oceanop.cli import console
from oceanop.cli.verbs import Debug, Quiet


def simulate(
    basin: Annotated[
        str,
        typer.Argument(
            help="A TOML file, or a shipped basin: baltic, baltic-fine, baltic-coarse, baltic-slow, baltic-charnock, "
            "channel, rectangle."
        ),
    ],
    to: Annotated[Path, typer.Option(help="The store to write, such as baltic.zarr.")],
    days: Annotated[
        float | None, typer.Option(help="Days in one piece; the basin's splits where absent.")
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            help="Days of each split, each of a seed of its own: train=240,validation=30,test=60,extreme=30,fast=30."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of weather and waves: the same seed, the same ocean.")
    ] = 0,
    members: Annotated[int, typer.Option(min=1, help="Oceans side by side, each of weather of its own.")] = 1,
    every: Annotated[str, typer.Option(help="Between two states: 1h, 30min, 3h.")] = "1h",
    profile: Annotated[
        str, typer.Option(help="fast: plain numbers, read at the speed of memory; compact: compressed.")
    ] = "fast",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run the built-in numerical ocean and write a store to learn from.

    Example: oceanop simulate baltic --days 30 --seed 1 --to baltic.zarr
    """
    from data_pipelines import simulate as run_simulation
    from forecasting.starts import parse_step

    with console.progress("simulate", quiet=quiet) as report:
        store = run_simulation(
            basin,
            to=to,
            days=days,
            splits=_days(splits),
            seed=seed,
            members=members,
            every=parse_step(every) / 1000,
            profile=profile,
            progress=report,
        )
    console.out.print(f"{store}")


def _days(words: str | None) -> dict[str, float] | None:
    """Days by split of ``--splits``; None where it is absent."""
    if words is None:
        return None
    found: dict[str, float] = {}
    for word in words.split(","):
        name, _, length = (part.strip() for part in word.partition("="))
        if name in found:
            raise ValueError(f"--splits {words}: '{name}' is given twice; give each split once.")
        try:
            found[name] = float(length)
        except ValueError:
            raise ValueError(
                f"--splits {words}: expected NAME=DAYS,NAME=DAYS, as in train=240,test=60."
            ) from None
    return found
