"""Lightning's plugins for the arithmetic of a training."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.plugins.precision import (
    DoublePrecision,
    HalfPrecision,
    MixedPrecision,
    Precision,
)


class _HalfWeights(HalfPrecision):
    """Weights of 16 bits; a batch stays as it is: the net casts its features, the loss needs its
    targets in float32.
    """

    def convert_input(self, data: Any) -> Any:
        return data


class _DoubleWeights(DoublePrecision):
    """Weights of 64 bits; a batch stays as it is: the net casts its features."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_precision(precision: str, accelerator: str) -> Precision:
    """Lightning's plugin of a precision that was checked; `accelerator` is cpu, cuda or mps."""
    if precision in ("bf16-true", "16-true"):
        return _HalfWeights(precision)  # type: ignore[arg-type]
    if precision == "64-true":
        return _DoubleWeights()
    if precision in ("bf16-mixed", "16-mixed"):
        return MixedPrecision(precision, accelerator)  # type: ignore[arg-type]
    return Precision()
