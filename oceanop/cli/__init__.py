"""The command ``oceanop``: the composition root, which sees every room and which nothing imports."""

from oceanop.cli.combine import combine
from oceanop.cli.health import health
from oceanop.cli.pictures import animate, draw, hovmoeller, stations
from oceanop.cli.simulate import simulate
from oceanop.cli.stores import ingest, verify
from oceanop.cli.verbs import app, main

app.command("map")(draw)
for verb in (ingest, verify, simulate, combine, animate, hovmoeller, stations, health):
    app.command()(verb)

__all__ = ["main"]
