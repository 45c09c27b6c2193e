"""The table ``[training]``: how the weights are found."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from oceanop.config.tables import Choice

Count = Annotated[int, Field(ge=1)]

_SCHEDULED = {"warmup_steps", "weight_decay", "gradient_clip"}
_LEARNING_RATES = {"adamw": 3e-3, "sgdem": 0.1, "qgenx": 0.3, "qoda": 0.3}


class TrainingConfig(Choice):
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
        False,
        description="compute each layer again in the backward pass instead of keeping what it made; on the CPU in "
        "float32 layers do so anyway",
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
    windows: Count | tuple[Count, ...] = Field(
        2,
        description="windows unrolled in the last part of training; or, as in [1, 2, 4], in parts of equal length",
    )
    unroll_from: float = Field(
        0.5, ge=0, le=1, description="share of the steps after which a number of windows is unrolled"
    )
    gradient_windows: int | None = Field(
        None,
        ge=1,
        description="last windows, whose errors count and through which gradients flow; all where absent",
    )
    validate_every: int | None = Field(None, ge=1, description="steps between validations; 50 where absent")
    validation_leads: int | None = Field(
        None,
        ge=1,
        description="leads of a validation forecast; two windows, or what the split holds, where absent",
    )
    validation_starts: int | None = Field(
        None,
        ge=1,
        description="validation forecasts, evenly spread over the split's starts; from every start where absent",
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="validations without a lower error after which a run ends early; never where absent",
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

    @field_validator("windows", mode="wrap")
    @classmethod
    def _windows_grow(cls, value: Any, read: ValidatorFunctionWrapHandler) -> int | tuple[int, ...]:
        try:
            windows: int | tuple[int, ...] = read(value)
        except ValidationError:
            windows = ()
        if not isinstance(windows, int) and (
            len(windows) < 2 or any(later <= before for before, later in pairwise(windows))
        ):
            raise ValueError("expected a number from 1 up, or two stages or more that grow, as in [1, 2, 4]")
        return windows

    @model_validator(mode="after")
    def _long_horizons_are_reached(self) -> Self:
        if not isinstance(self.windows, int) and len(self.windows) > self.steps:
            raise ValueError(
                f"'training.windows' has {len(self.windows)} stages, and training.steps is {self.steps}; each stage "
                "needs a step. Give fewer stages or more steps"
            )
        if self.gradient_windows is not None and self.gradient_windows >= self.most_windows:
            raise ValueError(
                f"'training.gradient_windows' is {self.gradient_windows} and turns nothing: the run unrolls "
                f"{self.most_windows} at most. Leave it out, or unroll more windows"
            )
        validations = -(-self.steps // self.validation_interval)
        if self.patience is not None and self.patience + 1 >= validations:
            raise ValueError(
                f"'training.patience' is {self.patience} and turns nothing: the run validates {validations} times, "
                "the first time counts as an improvement, and after the last it ends anyway. Leave it out, or lower "
                "it or training.validate_every"
            )
        return self

    @property
    def most_windows(self) -> int:
        """Windows unrolled where most are."""
        if not isinstance(self.windows, int):
            return self.windows[-1]
        return self.windows if round(self.unroll_from * self.steps) < self.steps else 1

    @property
    def validation_interval(self) -> int:
        """Steps between validations."""
        return self.validate_every or 50

    def _idle(self) -> dict[str, set[str]]:
        if isinstance(self.windows, int):
            return super()._idle()
        return {**super()._idle(), f"stages in training.windows {list(self.windows)}": {"unroll_from"}}
