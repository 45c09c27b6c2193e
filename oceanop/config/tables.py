"""What all tables of a run share: unknown keys are refused, and so are options that would turn nothing."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator


class Table(BaseModel):
    """A table of a run file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(Table):
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
