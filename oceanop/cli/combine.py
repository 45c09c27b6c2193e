"""The verb that lets checkpoints forecast together."""

from pathlib import Path
from typing import Annotated

import typer

from oceanop.cli import console, words
from oceanop.cli.verbs import Debug, Quiet


def combine(
    long: Annotated[
        list[str],
        typer.Argument(metavar="CHECKPOINT", help="Checkpoints whose mean forecasts all leads; globs, too."),
    ],
    to: Annotated[Path, typer.Option(help="The forecaster to write: .toml.")],
    short: Annotated[
        list[str] | None,
        typer.Option(
            help="A checkpoint, or a glob in quotes, repeatable: their mean is what the first leads begin with."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="With --short: the store with hours that no checkpoint was fitted on.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With --short: the split of these hours; validation where absent.")
    ] = None,
    leads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --short: leads with a share of their own; what the split holds, up to 24, where absent.",
        ),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Let several checkpoints forecast together: their mean, the first leads faded from one-step operators into it.

    Writes a forecaster that 'oceanop forecast' takes in place of a checkpoint.

    Example: oceanop combine runs/fnotd-*/checkpoints/best --to fnotd.toml

    With shares: oceanop combine runs/fnotd-*/checkpoints/best --short 'runs/one-step-*/checkpoints/best'
    --data norway.zarr --to both.toml
    """
    from forecasting import combine as run_combination
    from forecasting import write_forecaster
    from forecasting.forecaster_file import combination_of, require_free

    require_free(to)
    both = {"long": words.checkpoints(long), "short": words.checkpoints(short or [])}
    if both["short"]:
        if data is None:
            raise ValueError(
                "--short needs --data STORE: the shares of the first leads are fitted to hours that the store holds."
            )
        with console.progress("combine", quiet=quiet) as report:
            found = run_combination(
                **both, store=data, split=split or "validation", leads=leads, progress=report
            )
    else:
        idle = [name for name, value in (("--data", data), ("--split", split), ("--leads", leads)) if value]
        if idle:
            raise ValueError(
                f"{', '.join(idle)} {'is' if len(idle) == 1 else 'are'} about the shares of the first leads, and "
                "without --short there are none; name checkpoints for these leads with --short, or leave it out."
            )
        found = combination_of(both["long"])
    write_forecaster(to, **both, share=found.share, share_fitted_on=found.share_fitted_on)
    console.out.print(f"{to}")
