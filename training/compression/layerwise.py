"""Layer-wise quantization: each class of parameters has its own levels and its own bits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from training.compression.adaptive import ALQ
from training.compression.allocation import allocate_bits
from training.compression.quantizer import BITS, Codes, Norm, Quantizer
from training.compression.quantizers import QSGD


@dataclass(frozen=True)
class LayerCodes:
    """Codes of several parameters."""

    parts: dict[str, Codes]

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return sum(codes.nbytes for codes in self.parts.values())


class LayerWise:
    """Levels and bits for each class of parameters, the fewest bits that keep an error budget.

    Classes begin with the most bits. From the statistics of gradients each learns, for every number of bits, its
    adapted levels and their relative error; a dynamic programme then takes the fewest bits in all such that the mean
    over classes of the relative error stays within the budget (L-GreCo: Markov et al. 2022, arXiv 2210.17357;
    layer-wise quantization of QODA: arXiv 2505.14371). Errors are relative to each class, because an optimizer of
    Adam's kind scales each parameter by its own gradient: an absolute budget would starve the small ones.

    Parameters
    ----------
    budget
        Mean relative variance allowed.
    bits
        Bits to choose from.
    bucket_size, norm, norm_dtype
        See :class:`Quantizer`.
    classify
        Class of a parameter by its name; the name itself where absent.
    """

    def __init__(
        self,
        budget: float = 0.02,
        *,
        bits: Sequence[int] = BITS,
        bucket_size: int = 1024,
        norm: Norm = "linf",
        norm_dtype: Literal["float32", "bfloat16"] = "float32",
        classify: Callable[[str], str] | None = None,
    ) -> None:
        if not budget > 0:
            raise ValueError(f"LayerWise with the budget {budget}; the allowed relative error is positive.")
        if not bits or any(b not in BITS for b in bits):
            raise ValueError(f"LayerWise with bits {list(bits)}; choose among 2, 3, 4 and 8.")
        self.budget, self.choices = budget, tuple(sorted(set(bits)))
        self.bucket_size = bucket_size
        self.norm, self.norm_dtype = norm, norm_dtype
        self._classify = classify or (lambda name: name)
        self._held: dict[str, dict[int, Quantizer]] = {}
        self.bits: dict[str, int] = {}

    def quantizer(self, name: str) -> Quantizer:
        """The quantizer of a parameter's class at present."""
        held = self._class(name)
        return held[self.bits[self._classify(name)]]

    def _class(self, name: str) -> dict[int, Quantizer]:
        key = self._classify(name)
        if key not in self._held:
            self._held[key] = {b: self._make(b) for b in self.choices}
            self.bits[key] = self.choices[-1]
        return self._held[key]

    def _make(self, bits: int) -> Quantizer:
        # 126 free levels gain little over equal steps, and equal steps are encoded fastest.
        kind = QSGD if bits == 8 else ALQ
        return kind(bits, self.bucket_size, self.norm, norm_dtype=self.norm_dtype)

    def quantize(
        self, x: Mapping[str, Tensor] | Tensor, generator: torch.Generator | None = None
    ) -> LayerCodes:
        """Quantize named gradients, or a single one without a name."""
        return LayerCodes(
            {name: self.quantizer(name).quantize(part, generator) for name, part in _named(x).items()}
        )

    def dequantize(self, codes: LayerCodes) -> dict[str, Tensor] | Tensor:
        """What codes stand for, as it was given."""
        parts = {name: self.quantizer(name).dequantize(part) for name, part in codes.parts.items()}
        return parts[""] if list(parts) == [""] else parts

    def variance_bound(self, d: int) -> float:
        """Largest bound of all classes: ``E||y - x||^2 <= max_m eps_m ||x||^2``."""
        if not self._held:
            return self._make(self.choices[-1]).variance_bound(d)
        return max(held[self.bits[key]].variance_bound(d) for key, held in self._held.items())

    def update(self, x: Mapping[str, Tensor] | Tensor) -> None:
        """Learn levels and allot bits from named gradients."""
        named = _named(x)
        self.learn(
            {name: [self.statistics(name, part)] for name, part in named.items()},
            {name: part.numel() for name, part in named.items()},
        )

    @property
    def levels(self) -> dict[str, Tensor]:
        """Levels of each class."""
        return {key: held[self.bits[key]].levels for key, held in self._held.items()}

    def statistics(self, name: str, x: Tensor, *, bucket_size: int | None = None) -> Tensor:
        """Statistics of one gradient, see :meth:`ALQ.statistics`; the same for any number of bits."""
        self._class(name)
        return ALQ(4, bucket_size or self.bucket_size, self.norm).statistics(x)

    def learn(self, statistics: Mapping[str, Sequence[Tensor]], sizes: Mapping[str, int]) -> None:
        """Learn from the statistics of named parameters of all ranks, and allot bits.

        Parameters
        ----------
        statistics, sizes
            Of each parameter: the statistics gathered, and how many numbers it has.
        """
        gathered: dict[str, list[Tensor]] = {}
        numbers: dict[str, int] = {}
        for name, parts in statistics.items():
            self._class(name)
            key = self._classify(name)
            gathered.setdefault(key, []).extend(parts)
            numbers[key] = numbers.get(key, 0) + sizes[name]
        errors: dict[str, dict[int, float]] = {}
        for key, parts in gathered.items():
            found = {b: self._learn(self._held[key][b], parts) for b in self.choices}
            if None not in found.values():
                errors[key] = {b: error for b, error in found.items() if error is not None}
        if errors:
            reachable = sum(min(each.values()) for each in errors.values())
            allowed = max(
                self.budget * len(errors), reachable
            )  # the least error where the budget is out of reach
            self.bits.update(allocate_bits(errors, {key: numbers[key] for key in errors}, allowed))

    def _learn(self, quantizer: Quantizer, statistics: Sequence[Tensor]) -> float | None:
        """Let a quantizer learn; its relative error on what it learned from."""
        if isinstance(quantizer, ALQ):
            quantizer.learn(statistics)
            return quantizer.error_of(statistics)
        judge = ALQ(quantizer.bits, self.bucket_size, self.norm)
        judge._set_levels(quantizer.level_set)
        return judge.error_of(statistics)

    def state_dict(self) -> dict[str, Any]:
        """Bits of each class, and levels for each number of bits."""
        return {
            "bits": dict(self.bits),
            "levels": {
                key: {b: quantizer.state_dict() for b, quantizer in held.items()}
                for key, held in self._held.items()
            },
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises
        ------
        ValueError
            If it was saved with other bits to choose from.
        """
        self._held = {}
        for key, held in state["levels"].items():
            if sorted(held) != list(self.choices):
                raise ValueError(
                    f"the saved levels of {key!r} are for {sorted(held)} bits, and this LayerWise chooses among "
                    f"{list(self.choices)}; resume with the same bits."
                )
            self._held[key] = {b: self._make(b) for b in self.choices}
            for b, kept in held.items():
                self._held[key][b].load_state_dict(kept)
        self.bits = dict(state["bits"])


def _named(x: Mapping[str, Tensor] | Tensor) -> Mapping[str, Tensor]:
    return {"": x} if isinstance(x, Tensor) else x
