"""What a simulated basin is, as its TOML file states it: sea floor, water, air, boundary, beginning and splits."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from oceanop.config.tables import Table
from oceanop.dynamics.climate import Season
from oceanop.dynamics.geometry import SHALLOWEST
from oceanop.dynamics.stencil import BOTTOM_DRAG
from oceanop.dynamics.weather import SPLITS

SplitName = Literal["train", "validation", "test", "extreme", "fast"]
UNFORCED_SPLITS = ("train", "validation", "test")  # the others are kinds of weather


class Settings(Table):
    """A table of a basin; its numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class ReliefSea(Settings):
    """The Baltic's shipped sea floor, on cells of so many of its points of 5 arc-minutes."""

    floor: Literal["baltic"]
    rows: PositiveInt = 2
    columns: PositiveInt = 3
    minimum_depth: PositiveFloat = SHALLOWEST  # m


class FileSea(Settings):
    """A sea floor from a CF file on a regular grid of latitude and longitude: depth or relief, m.

    A cell without a value is land.
    """

    floor: Literal["file"]
    path: str  # from the folder of the TOML file
    minimum_depth: PositiveFloat = SHALLOWEST  # m


class FlatSea(Settings):
    """Water of one depth on an f-plane between four walls, or two where it closes upon itself along x."""

    floor: Literal["flat"]
    length: PositiveFloat  # m, along x
    width: PositiveFloat  # m, along y
    depth: PositiveFloat  # m
    spacing: PositiveFloat  # m
    coriolis_parameter: float = 0.0  # s-1
    periodic: bool = False


class Water(Settings):
    """How the water moves."""

    friction: NonNegativeFloat = BOTTOM_DRAG  # quadratic bottom drag coefficient
    linear: bool = True  # thickness of the water at rest


class Air(Settings):
    """The invented weather over a basin, that of North Sea and Baltic wherever it lies, and how it drags on the sea.

    Lows cross 20 E around 63 N: a basin far from there sees few of them.
    """

    season: Season
    drag: Literal["large-pond", "charnock"] = "large-pond"
    charnock_parameter: PositiveFloat | None = None
    # Degrees, on which the weather is evaluated; its shortest waves are 250 km long
    mesh: PositiveFloat = Field(default=0.5, le=1.0)
    spin_up: NonNegativeFloat = 5.0  # days of weather before the first state that is kept, whole hours

    @model_validator(mode="after")
    def _parameter_has_an_effect(self) -> "Air":
        if self.charnock_parameter is not None and self.drag != "charnock":
            raise ValueError(
                f"'charnock_parameter' turns nothing with the drag law '{self.drag}'; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _spin_up_ends_where_weather_is_known(self) -> "Air":
        if abs(24 * self.spin_up - round(24 * self.spin_up)) > 1e-9:
            raise ValueError(
                f"'spin_up' is {self.spin_up:g} days, {24 * self.spin_up:g} hours; give days that are whole hours"
            )
        return self


class Signal(Settings):
    """A slow level of the ocean beyond, the same along the boundary, beside the inverse barometer."""

    deviation: PositiveFloat  # m
    shortest: PositiveFloat  # days
    longest: PositiveFloat  # days

    @model_validator(mode="after")
    def _periods_are_in_order(self) -> "Signal":
        if not self.shortest < self.longest:
            raise ValueError(
                f"'shortest' is {self.shortest:g} days and 'longest' {self.longest:g}; give the lesser first"
            )
        return self


class Boundary(Settings):
    """Where a basin is open, and what holds there; without this table it is closed."""

    side: Literal["west", "east", "south", "north"]
    kind: Literal["prescribed", "flather"] = "prescribed"
    signal: Signal | None = None


class Waves(Settings):
    """A random sum of the channel's free waves, exact at the beginning."""

    kind: Literal["waves"]
    energy: PositiveFloat  # m3 s-2, of all together, as oceanop.waves counts it
    slope: float = -2.0  # of the energy of a wave over its frequency
    highest_mode: int = Field(default=3, ge=0)  # of the Poincare waves
    shortest_period: PositiveFloat  # h


class Seiches(Settings):
    """A random level at rest, a sum of cosines whose slope is 0 at all walls: without rotation, standing waves."""

    kind: Literal["seiches"]
    deviation: PositiveFloat  # m, root mean square over basin and draws
    highest_mode: PositiveInt = 3  # along either axis


class Basin(Settings):
    """One basin to simulate."""

    name: str
    title: str
    sea: Annotated[ReliefSea | FileSea | FlatSea, Field(discriminator="floor")]
    water: Water = Water()
    weather: Air | None = None
    boundary: Boundary | None = None
    initial: Annotated[Waves | Seiches, Field(discriminator="kind")] | None = None
    splits: dict[SplitName, PositiveFloat] = Field(min_length=1)  # days of each

    @model_validator(mode="after")
    def _something_moves_the_water(self) -> "Basin":
        if (self.weather is None) == (self.initial is None):
            raise ValueError(
                "give one of the tables [weather], which drives the water, and [initial], from which it moves freely"
            )
        if self.initial is not None:
            periodic = self.initial.kind == "waves"
            if not isinstance(self.sea, FlatSea) or self.sea.periodic != periodic:
                raise ValueError(
                    f"initial.kind '{self.initial.kind}' is for a flat sea that is {'' if periodic else 'not '}"
                    "periodic; change [sea] or [initial]"
                )
            if self.boundary is not None or not self.water.linear:
                raise ValueError(
                    "[initial] is for a closed, linear basin, whose waves it knows; leave out [boundary] and "
                    "'water.linear', or give [weather] in its place"
                )
        require_splits(self.splits, forced=self.weather is not None)
        return self


def require_splits(splits: Any, *, forced: bool) -> None:
    """Refuse splits without training, or whose kind of weather there is not.

    Raises
    ------
    ValueError
        If one has no positive length or another name.
    """
    known = tuple(SPLITS) if forced else UNFORCED_SPLITS
    if "train" not in splits:
        raise ValueError(
            f"the splits are {', '.join(splits) or 'empty'}; statistics need one called 'train'; name it so"
        )
    for name, days in splits.items():
        if name not in known:
            raise ValueError(
                f"there is no split '{name}' {'of weather' if forced else 'of a basin without weather'}; name some of "
                f"{', '.join(known)}"
            )
        if not 0 < days < float("inf"):
            raise ValueError(f"split '{name}' has {days:g} days; it has to be a positive number")


def basins() -> list[str]:
    """Names of the shipped basins."""
    folder = resources.files("data_pipelines") / "basins"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_basin(source: str | Path) -> Basin:
    """Read a basin from a TOML file, or a shipped one by its name.

    A path of a sea floor's file counts from the folder of the TOML file. The name of a basin is that of its file
    unless it states another.

    Raises
    ------
    ValueError
        If there is no such file or basin, the file is not TOML, or a key or value does not fit; the sentence says
        which and what would.
    """
    path = Path(source)
    if path.is_file():
        where, file = str(path), path
    elif str(source) in basins():
        where, file = str(source), Path(str(resources.files("data_pipelines") / "basins" / f"{source}.toml"))
    else:
        raise ValueError(f"{source}: no such file or basin; shipped basins are {', '.join(basins())}.")
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{where}: not a TOML file: {error}. Mend the line it names.") from None
    data.setdefault("name", file.stem)
    basin = parse_basin(data, where)
    if isinstance(basin.sea, FileSea):
        floor = basin.sea.model_copy(update={"path": str(file.parent / basin.sea.path)})
        basin = basin.model_copy(update={"sea": floor})
    return basin


def parse_basin(data: dict[str, Any], where: str) -> Basin:
    """Check plain data against the form of a basin; errors as in :func:`load_basin`, ``where`` before them."""
    try:
        return Basin.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{where}: {'; '.join(_sentence(item) for item in error.errors())}.") from None


def _sentence(item: Any) -> str:
    # pydantic inserts the name of a chosen union member and a word for keys into the path; the file holds neither.
    chosen = {"baltic", "file", "flat", "waves", "seiches", "[key]"}
    where = ".".join(str(part) for part in item["loc"] if part not in chosen)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{where}' (value {item['input']!r}); leave it out or correct its name"
    if item["type"] == "missing":
        return f"'{where}' is missing; give it"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message if not where else f"[{where}] {message}"
    return f"'{where}' is {item['input']!r}: {message[0].lower()}{message[1:]}"
