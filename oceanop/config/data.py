"""The table ``[data]``: what is learned from what."""

from typing import Literal

from pydantic import Field, field_validator

from oceanop.config.tables import Table

Split = Literal["train", "validation"]


class DataConfig(Table):
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

    edge_zone: int = Field(
        0,
        ge=0,
        description="cells along the open edge that the store's boundary values drive, with a weight that falls from 1 "
        "to 0; where 0 the open edge is treated as closed",
    )

    cache: str | None = Field(
        None,
        description="folder on a disk of each machine where a compact store too large for memory is decoded once, for "
        "all ranks and runs; without it every window is decoded when it is read",
    )

    @field_validator("state", "forcing", "fit")
    @classmethod
    def _each_once(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < len(names):
            raise ValueError("each name once")
        return names
