"""The command ``oceanop``: the composition root, which sees every room and which nothing imports."""

from oceanop.cli.simulate import simulate
from oceanop.cli.verbs import app, main

app.command()(simulate)

__all__ = ["main"]
