"""How the command speaks: progress, results, and errors of one sentence."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Report = Callable[[str, int, int], None]  # what is done or how it goes, steps done, steps in all

# In a pipe rich assumes 80 columns and would cut the names in a table short.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
err = Console(stderr=True, highlight=False, soft_wrap=True)

PLAIN_INTERVAL = 10.0  # s between lines where there is no terminal


@contextmanager
def remarks(title: str) -> Iterator[None]:
    """Warnings meant for users as lines of their own, after the work; others as Python shows them."""
    told: list[str] = []
    show = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
        if issubclass(category, UserWarning):
            told.append(str(message))
        else:
            show(message, category, *where, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = keep
        try:
            yield
        finally:
            for sentence in told:
                err.print(f"{title}: {sentence}", markup=False)


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Report]:
    """Progress of one long piece of work: a bar on a terminal, plain lines elsewhere, nothing if quiet."""
    if quiet:
        yield lambda words, done, total: None
    elif err.is_terminal:
        with _bar() as bar:
            task = bar.add_task(title, total=None, words="")
            yield lambda words, done, total: bar.update(task, completed=done, total=total, words=words)
    else:
        yield _PlainLines(title)


class _PlainLines:
    """One line now and then, and one at the end."""

    def __init__(self, title: str) -> None:
        self.title, self.begin, self.last = title, time.monotonic(), 0.0

    def __call__(self, words: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self.last < PLAIN_INTERVAL:
            return
        self.last = now
        elapsed = now - self.begin
        rate = f", {done / elapsed:.2g}/s" if done and elapsed > 0 else ""
        left = (
            f"{rate}, {elapsed / done * (total - done):.0f} s left"
            if 0 < done < total
            else f", {elapsed:.0f} s"
        )
        print(
            f"{self.title}: {done}/{total}{left}{f'; {words}' if words else ''}", file=sys.stderr, flush=True
        )


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
        console=err,
        transient=False,
    )
