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
        for cause, names in self._idle().items():
            idle = self.model_fields_set & names
            if idle:
                named = ", ".join(
                    f"'{self.table}.{name}'" for name in type(self).model_fields if name in idle
                )
                turns = "turns" if len(idle) == 1 else "turn"
                raise ValueError(f"{named} {turns} nothing with {cause}; leave out the one or the other")
        return self

    @model_serializer(mode="wrap")
    def _what_has_an_effect(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A resolved run is read again, so that it must not state what would be refused."""
        idle = set().union(*self._idle().values())
        return {name: value for name, value in write(self).items() if name not in idle}

    def _idle(self) -> dict[str, set[str]]:
        """What turns nothing, by what makes it so."""
        chosen = getattr(self, self.key)
        idle = set().union(*self.turned_by.values()) - self.turned_by[chosen]
        return {f"{self.table}.{self.key} '{chosen}'": idle}
