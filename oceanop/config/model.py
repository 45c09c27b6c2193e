"""The table ``[model]``: which operator, and of what size."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from oceanop.config.tables import Table

Count = Annotated[int, Field(ge=1)]
Zeros = Annotated[int, Field(ge=0)]


class _Operator(Table):
    history: int = Field(6, ge=1, description="past steps of one window")
    width: int = Field(description="hidden channels", ge=1)
    layers: int = Field(4, ge=1, description="spectral layers")
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
    patch: int = Field(
        1,
        ge=1,
        description="steps that one point of the time axis inside the network holds; history and horizon are multiples "
        "of it; layers cost so many times less, and the kernel resolves frequencies up to a period of twice as many",
    )

    @model_validator(mode="after")
    def _patches_fill_the_window(self) -> Self:
        if self.history % self.patch or self.horizon % self.patch:
            raise ValueError(
                f"'model.patch' is {self.patch}, 'model.history' {self.history} and 'model.horizon' {self.horizon}; "
                "past and future must be multiples of the patch. Give another patch or window"
            )
        return self


MODELS: dict[Any, type[BaseModel]] = {"FNO": FNOConfig, "FNOtD": FNOtDConfig}
ModelConfig = Annotated[FNOConfig | FNOtDConfig, Field(discriminator="name")]
