"""The command ``oceanop``: the composition root, which sees every room and which nothing imports."""

from oceanop.cli.verbs import main

__all__ = ["main"]
