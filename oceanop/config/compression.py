"""The table ``[compression]``: how gradients travel between ranks."""

from typing import ClassVar, Literal

from pydantic import Field

from oceanop.config.tables import Choice

_BUCKETS = {"bucket_size", "norm", "error_feedback", "warmup_steps"}


class CompressionConfig(Choice):
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
