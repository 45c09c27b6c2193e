"""The table ``[model]``: which operator, and of what size."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from oceanop.config.tables import Table

Count = Annotated[int, Field(ge=1)]
Zeros = Annotated[int, Field(ge=0)]


class _Operator(Table):
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
    gate: bool = Field(False, description="coast-aware gates in each layer; the standard FNO has none")


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
