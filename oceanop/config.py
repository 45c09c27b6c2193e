"""A run, typed: an unknown key is refused, and every field says what it turns."""

import json
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

Split = Literal["train", "validation"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Table):
    """What is learned from what."""

    state: list[str] | None = Field(None, description="forecast variables; all the store holds where absent")
    forcing: list[str] | None = Field(
        None, description="variables known ahead; all the store holds where absent"
    )
    fit: list[Split] = Field(
        ["train"],
        min_length=1,
        description="splits the weights are fitted on; with 'validation' among them nothing is selected on it",
    )

    @field_validator("state", "forcing", "fit")
    @classmethod
    def _each_once(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("each name once")
        return names


Count = Annotated[int, Field(ge=1)]
Zeros = Annotated[int, Field(ge=0)]


class _Operator(_Table):
    history: int = Field(6, ge=1, description="past steps of one window")
    width: int = Field(description="hidden channels", ge=1)
    layers: int = Field(4, ge=1, description="spectral layers")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of channels silenced in training; drawn on each rank by itself, so that their number shows",
    )
    position: bool = Field(
        True, description="give the position within the domain, which ties the weights to it"
    )
    quadratic_wind: bool = Field(True, description="give wind vectors also as |W| W, the form of wind stress")


class FNOConfig(_Operator):
    """The standard FNO over (y, x)."""

    name: Literal["FNO"]
    horizon: int = Field(6, ge=1, description="future steps of one window; 1 is the one-step FNO")
    modes: tuple[Count, Count] = Field((20, 20), description="kept modes along (y, x)")
    width: int = Field(40, ge=1, description="hidden channels")


class FNOtDConfig(_Operator):
    """FNOtD over (t, y, x)."""

    name: Literal["FNOtD"]
    horizon: int = Field(6, ge=1, description="future steps of one window")
    modes: tuple[Count, Count, Count] = Field((8, 16, 16), description="kept modes along (t, y, x)")
    width: int = Field(24, ge=1, description="hidden channels")
    gate: bool = Field(True, description="coast-aware gates in each layer")
    padding: tuple[Zeros, Zeros, Zeros] = Field(
        (0, 0, 0), description="zeros behind t, y and x inside the network"
    )


MODELS: dict[Any, type[BaseModel]] = {"FNO": FNOConfig, "FNOtD": FNOtDConfig}
ModelConfig = Annotated[FNOConfig | FNOtDConfig, Field(discriminator="name")]


class _Choice(_Table):
    """A table in which one key decides what others turn: those that would turn nothing are refused."""

    table: ClassVar[str]
    key: ClassVar[str]
    turned_by: ClassVar[dict[str, set[str]]]  # by the values of the key; what stands nowhere is always turned

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        idle = self.model_fields_set & self._idle()
        if idle:
            names = ", ".join(f"'{self.table}.{name}'" for name in type(self).model_fields if name in idle)
            turns = "turns" if len(idle) == 1 else "turn"
            raise ValueError(
                f"{names} {turns} nothing with {self.table}.{self.key} '{getattr(self, self.key)}'; leave out the one "
                "or the other"
            )
        return self

    @model_serializer(mode="wrap")
    def _what_has_an_effect(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A resolved run is read again, so that it must not state what would be refused."""
        idle = self._idle()
        return {name: value for name, value in write(self).items() if name not in idle}

    def _idle(self) -> set[str]:
        return set().union(*self.turned_by.values()) - self.turned_by[getattr(self, self.key)]


_SCHEDULED = {"warmup_steps", "weight_decay", "gradient_clip"}
_LEARNING_RATES = {"adamw": 3e-3, "sgdem": 0.1, "qgenx": 0.3, "qoda": 0.3}


class TrainingConfig(_Choice):
    """How the weights are found."""

    table, key = "training", "optimizer"
    turned_by: ClassVar = {
        "adamw": _SCHEDULED,
        "sgdem": {*_SCHEDULED, "momentum", "momentum_steps"},
        "qgenx": {"variant"},  # like QODA it adapts its steps, the larger the gradients the more
        "qoda": {"rates"},
    }

    steps: int = Field(300, ge=1, description="optimizer steps")
    seed: int = Field(0, ge=0, description="seed of weights, order and noise")
    batch_size: int = Field(2, ge=1, description="windows a step, over all ranks together")
    accumulation: int = Field(
        1,
        ge=1,
        description="parts that a rank's share of a batch is taken in, one after another, to save memory",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where tensors live; 'auto': on a CUDA device where there is one"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of the forward pass; with bfloat16 weights and spectral parts stay float32",
    )
    checkpoint_activations: bool = Field(
        False, description="compute each layer again in the backward pass instead of keeping what it made"
    )
    optimizer: Literal["adamw", "sgdem", "qgenx", "qoda"] = Field(
        "adamw",
        description="'adamw'; 'sgdem': momentum early on; 'qgenx', 'qoda': look ahead, with steps that adapt",
    )
    learning_rate: float = Field(
        3e-3,
        gt=0,
        description="peak of the schedule; with 'qgenx' and 'qoda' the constant scale of steps that adapt by "
        "themselves ('qgenx' on K ranks: K times it at first); where absent 3e-3, 0.1 with 'sgdem', else 0.3",
    )
    warmup_steps: int = Field(30, ge=0, description="steps of linear rise; a cosine to zero follows")
    weight_decay: float = Field(1e-2, ge=0, description="decay of the weights, in units of the learning rate")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    momentum: float = Field(0.9, gt=0, lt=1, description="share of the last step that 'sgdem' repeats")
    momentum_steps: int | None = Field(
        None, ge=0, description="first steps, in which 'sgdem' has momentum; all where absent"
    )
    variant: Literal["dual-averaging", "dual-extrapolation", "optimistic"] = Field(
        "optimistic",
        description="what 'qgenx' follows ahead: nothing, the gradient where it stands, or the last one; the second "
        "takes two gradients a step",
    )
    rates: Literal["adaptive", "alternative"] = Field(
        "adaptive",
        description="steps of 'qoda': shorter by changes of the gradient, or by gradients and the way made",
    )
    ema_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="decay of the averaged weights, which forecast, whatever the optimizer; the plain mean of which "
        "the theory of 'qgenx' and 'qoda' speaks would keep the untrained start",
    )
    noise: float = Field(
        0.15,
        ge=0,
        description="noise on the history, in standard deviations; the same for any number of ranks",
    )
    lead_weighting: float = Field(
        0.5,
        ge=0,
        le=1,
        description="0: leads weigh by their errors; 1: each by the growth of changes, all alike",
    )
    windows: int = Field(2, ge=1, description="windows unrolled in the last part of training")
    unroll_from: float = Field(
        0.5, ge=0, le=1, description="share of the steps after which windows are unrolled"
    )
    validate_every: int | None = Field(None, ge=1, description="steps between validations; 50 where absent")
    validation_leads: int | None = Field(
        None,
        ge=1,
        description="leads of a validation forecast; two windows, or what the split holds, where absent",
    )
    checkpoint_every: int = Field(25, ge=1, description="steps between checkpoints")
    threads: int | None = Field(
        None, ge=1, description="CPU threads of torch; torch's own choice where absent"
    )

    @model_validator(mode="before")
    @classmethod
    def _rate_suits_the_optimizer(cls, values: Any) -> Any:
        if isinstance(values, dict) and (rate := _LEARNING_RATES.get(str(values.get("optimizer", "adamw")))):
            return {"learning_rate": rate, **values}
        return values


_BUCKETS = {"bucket_size", "norm", "error_feedback", "warmup_steps"}


class CompressionConfig(_Choice):
    """How gradients travel between ranks; one rank sends none."""

    table, key = "compression", "method"
    turned_by: ClassVar = {
        "off": set(),
        "fp16": set(),
        "bf16": set(),
        "auto": _BUCKETS,  # it chooses the bits
        **{name: {*_BUCKETS, "bits", "down_bits"} for name in ("qsgd", "nuqsgd", "alq", "amq")},
        "ternary": {*_BUCKETS, "down_bits"},  # one bit of magnitude is what makes it ternary
        "layerwise": {*_BUCKETS, "down_bits", "error_budget"},  # it chooses the bits that keep the budget
    }
    method: Literal["off", "auto", "fp16", "bf16", "qsgd", "nuqsgd", "alq", "amq", "ternary", "layerwise"] = (
        Field(
            "off",
            description="'off': float32; 'fp16', 'bf16': cast; 'auto': what a probe finds fastest; else a quantizer",
        )
    )
    bits: Literal[2, 3, 4, 8] = Field(8, description="bits of a quantized entry on its way to be summed")
    down_bits: Literal[2, 3, 4, 8] | None = Field(
        None, description="bits of an entry of the mean on its way back; as many as 'bits' where absent"
    )
    error_budget: float = Field(
        0.02, gt=0, description="relative variance that 'layerwise' allows, the mean over parameters"
    )
    bucket_size: int = Field(
        1024, ge=64, multiple_of=64, description="neighbouring entries that share one norm"
    )
    norm: Literal["linf", "l2"] = Field(
        "linf", description="norm of a bucket: its largest entry, or the root of the sum of squares"
    )
    error_feedback: bool = Field(
        False, description="add to the next gradient what quantizing took from this one"
    )
    warmup_steps: int = Field(100, ge=0, description="first steps, sent in float32")


class Run(_Table):
    """One training run, as its TOML file states it."""

    data: DataConfig = DataConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    compression: CompressionConfig = CompressionConfig()

    @model_validator(mode="after")
    def _validation_has_an_effect(self) -> "Run":
        if "validation" in self.data.fit:
            for name in ("validate_every", "validation_leads"):
                if getattr(self.training, name) is not None:
                    raise ValueError(
                        f"'training.{name}' turns nothing while 'validation' is in data.fit; leave one of the two out"
                    )
        return self

    @model_validator(mode="before")
    @classmethod
    def _model_has_a_name(cls, values: Any) -> Any:
        model = values.get("model", {}) if isinstance(values, dict) else {}
        if isinstance(model, dict) and "name" not in model:
            raise ValueError("[model] has no 'name'; choose FNO or FNOtD")
        return values


def load_run(source: str | Path, changes: Sequence[str] = ()) -> Run:
    """Read a run from a TOML file or a shipped preset.

    Parameters
    ----------
    source
        Path of a TOML file, or the name of a preset.
    changes
        ``table.key=value`` each, the value in TOML, or a bare word for a string.

    Raises
    ------
    ValueError
        If there is no such file or preset, the file is not TOML, or a key or value does not fit; the sentence says
        which and what would.
    """
    name, text = _run_text(source)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: not a TOML file: {error}. Mend the line it names.") from None
    for change in changes:
        _apply(data, change)
    return parse_run(data, name)


def parse_run(data: dict[str, Any], name: str = "run") -> Run:
    """Check plain data against the schema; errors as in :func:`load_run`."""
    try:
        return Run.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"{name}: {'; '.join(_sentence(item) for item in error.errors())}.") from None


def run_to_toml(run: Run) -> str:
    """The resolved run as TOML; absent values stay absent."""
    lines = []
    for table, values in run.model_dump(mode="json", exclude_none=True).items():
        lines.append(f"[{table}]")
        # JSON writes strings, numbers, booleans and flat lists as TOML does.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)


def presets() -> list[str]:
    """Names of the shipped runs."""
    folder = resources.files("oceanop") / "presets"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _run_text(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}: not a TOML file: it is not text. Give the run as UTF-8 text."
            ) from None
    if str(source) in presets():
        return str(source), (resources.files("oceanop") / "presets" / f"{source}.toml").read_text(
            encoding="utf-8"
        )
    raise ValueError(f"{source}: no such run file or preset; presets are {', '.join(presets())}.")


def _apply(data: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) != 2:
        raise ValueError(f"--set {change}: expected table.key=value, as in training.steps=100.")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = data.setdefault(parts[0], {})
    if not isinstance(table, dict):
        raise ValueError(f"--set {change}: '{parts[0]}' is not a table; expected table.key=value.")
    table[parts[1]] = value


def _sentence(item: Any) -> str:
    # pydantic inserts the name of a chosen union member into the path; the file does not hold it.
    path = [str(part) for part in item["loc"] if part not in MODELS]
    model = next((MODELS[part] for part in item["loc"] if part in MODELS), FNOtDConfig)
    where = ".".join(path)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{where}' (value {item['input']!r}); {_known(path, model)}"
    if item["type"] == "union_tag_invalid":
        return f"'{where}.name' is {item['input'].get('name')!r}; choose FNO or FNOtD"
    message = item["msg"].removeprefix("Value error, ")
    # what a table says of itself as a whole names its keys already
    if not where or (item["type"] == "value_error" and isinstance(item["input"], dict)):
        return message
    return f"'{where}' is {item['input']!r}: {message[0].lower()}{message[1:]}"


def _known(path: list[str], model: type[BaseModel]) -> str:
    if len(path) == 1:
        return f"tables are {', '.join(Run.model_fields)}"
    known: dict[str, type[BaseModel]] = {
        "data": DataConfig,
        "model": model,
        "training": TrainingConfig,
        "compression": CompressionConfig,
    }
    return f"[{path[0]}] knows {', '.join(known[path[0]].model_fields)}"
