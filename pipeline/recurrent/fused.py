"""The simple recurrent net as one call of a C++ library, on the CPU.

The library is optional: without it `is_available` is False, `unavailable_reason` says why, the
log says so once, and the layers use torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.choices import check_choice
from pipeline.recurrent import library
from pipeline.recurrent.library import (
    ISAS,
    SUFFIXES,
    available_isas,
    is_available,
    isa,
    unavailable_reason,
)

__all__ = [
    "ISAS",
    "NetWeights",
    "Updates",
    "available_isas",
    "is_available",
    "isa",
    "sgd_updates",
    "simple_rnn",
    "unavailable_reason",
]

Nonlinearity = Literal["relu", "tanh"]
Readout = Literal["last", "all"]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _check(name: str, found: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if found.shape != shape or found.dtype != dtype or found.device.type != "cpu":
        raise ValueError(
            f"{name} is {tuple(found.shape)} {found.dtype} on {found.device},"
            f" but {shape} {dtype} on cpu is needed"
        )


def _check_float(features: Tensor, ndim: int) -> None:
    if features.dtype not in SUFFIXES or features.ndim != ndim or 0 in features.shape:
        raise ValueError(
            f"features is {tuple(features.shape)} {features.dtype},"
            f" but {ndim} non-empty dimensions of float32 or float64 are needed"
        )


class _SimpleRnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        features, lengths, weight_ih, weight_hh, bias, h0, is_tanh, reads_all = args
        batch, steps, inputs = features.shape
        hidden = weight_hh.shape[0]
        total = batch * steps if lengths is None else int(lengths.sum())
        padded = library.padded_length(hidden, features.element_size())
        states = features.new_empty((batch + total, padded))
        shape = (batch, steps, hidden) if reads_all else (batch, hidden)
        output: Tensor = features.new_empty(shape)
        ctx.numbers = {
            "is_tanh": is_tanh,
            "reads_all": reads_all,
            "batch": batch,
            "steps": steps,
            "inputs": inputs,
            "hidden": hidden,
            "h0_stride": 0 if h0 is None or h0.ndim == 1 else hidden,
        }
        ctx.save_for_backward(features, lengths, weight_ih, weight_hh, bias, h0, states)
        _run_pass("forward", ctx.numbers, (*args[:6], states), output=output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        features, _, weight_ih, weight_hh, bias, h0, _ = tensors
        wants = ctx.needs_input_grad
        grads = {
            "grad_features": torch.zeros_like(features) if wants[0] else None,
            "grad_weight_ih": torch.empty_like(weight_ih),
            "grad_weight_hh": torch.empty_like(weight_hh),
            "grad_bias": torch.empty_like(bias),
            "grad_h0": bias.new_empty((len(features), len(bias))) if wants[5] else None,
        }
        _run_pass("backward", ctx.numbers, tensors, grad_output=grad_output.contiguous(), **grads)
        grad_h0 = grads["grad_h0"]
        if grad_h0 is not None and h0.ndim == 1:
            grad_h0 = grad_h0.sum(0)
        parameters = (grads["grad_weight_ih"], grads["grad_weight_hh"], grads["grad_bias"])
        return (grads["grad_features"], None, *parameters, grad_h0, None, None)


def _run_pass(
    name: str, numbers: dict[str, int], tensors: tuple[Tensor | None, ...], **more: Tensor | None
) -> None:
    names = ("lengths", "weight_ih", "weight_hh", "bias", "h0", "states")
    features, rest = cast(Tensor, tensors[0]), tensors[1:]
    pointers = dict(zip(names, rest, strict=True), features=features, **more)
    struct = library.Pass(
        isa=ISAS.index(isa()),
        num_threads=torch.get_num_threads(),
        **numbers,
        **{key: _pointer(tensor) for key, tensor in pointers.items()},
    )
    library.call(name, features.dtype, struct)


def _checked_lengths(lengths: Tensor, batch: int, steps: int) -> Tensor:
    _check("lengths", lengths, (batch,), torch.int64)
    shortest, longest = (int(bound) for bound in lengths.aminmax())
    if shortest < 1 or longest > steps:
        raise ValueError(f"lengths are in [{shortest}, {longest}], but must be in [1, {steps}]")
    return lengths.contiguous()


def simple_rnn(
    features: Tensor,
    lengths: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    h0: Tensor | None = None,
    *,
    nonlinearity: Nonlinearity = "relu",
    readout: Readout = "last",
) -> Tensor:
    """States h_t = f(W_ih x_t + W_hh h_{t-1} + b): the last one (B, H), or all (B, T, H).

    features (B, T, D), float32 or float64; lengths (B,) int64 in [1, T], None: all T; weights as
    in torch.nn.RNN, bias (H,); h0 (H,) or (B, H), None: zero. All states are zero past a length.
    Steps past a length are not computed. Differentiable once, in all tensors but lengths.
    Equal inputs give equal bits on any number of threads; subnormal numbers count as zero.
    """
    _check_float(features, 3)
    check_choice("nonlinearity", nonlinearity, ("relu", "tanh"))
    check_choice("readout", readout, ("last", "all"))
    batch, steps, inputs = features.shape
    hidden, dtype = weight_hh.shape[0], features.dtype
    _check("features", features, (batch, steps, inputs), dtype)
    _check("weight_ih", weight_ih, (hidden, inputs), dtype)
    _check("weight_hh", weight_hh, (hidden, hidden), dtype)
    _check("bias", bias, (hidden,), dtype)
    if h0 is not None:
        _check("h0", h0, (hidden,) if h0.ndim == 1 else (batch, hidden), dtype)
        h0 = h0.contiguous()
    if lengths is not None:
        lengths = _checked_lengths(lengths, batch, steps)
    weights = (weight_ih.contiguous(), weight_hh.contiguous(), bias.contiguous())
    tensors = (features.contiguous(), lengths, *weights, h0)
    return cast(Tensor, _SimpleRnn.apply(*tensors, nonlinearity == "tanh", readout == "all"))


@dataclass(frozen=True)
class NetWeights:
    """The parameters of a simple recurrent net with a linear readout of its last state."""

    weight_ih: Tensor  # (H, D)
    weight_hh: Tensor  # (H, H)
    bias: Tensor  # (H,)
    weight_out: Tensor  # (C, H)
    bias_out: Tensor  # (C,)

    def __post_init__(self) -> None:
        hidden, outputs, dtype = len(self.bias), len(self.bias_out), self.bias.dtype
        inputs = self.weight_ih.shape[-1]
        _check("weight_ih", self.weight_ih, (hidden, inputs), dtype)
        _check("weight_hh", self.weight_hh, (hidden, hidden), dtype)
        _check("bias", self.bias, (hidden,), dtype)
        _check("weight_out", self.weight_out, (outputs, hidden), dtype)
        _check("bias_out", self.bias_out, (outputs,), dtype)
        for name, tensor in vars(self).items():
            if not tensor.is_contiguous():
                raise ValueError(f"{name} is not contiguous, so it cannot be updated in place")


class Updates(NamedTuple):
    """What a block of updates reports: (K,) float64 each, NaN where no update was made."""

    losses: Tensor
    gradient_norms: Tensor  # before clipping


def _check_updates(features: Tensor, targets: Tensor, weights: NetWeights, loss: str) -> None:
    _check_float(features, 4)
    num_updates, batch, _, inputs = features.shape
    outputs = len(weights.bias_out)
    _check("features", features, tuple(features.shape), weights.bias.dtype)
    if weights.weight_ih.shape[1] != inputs:
        raise ValueError(f"weight_ih is for {weights.weight_ih.shape[1]} inputs, not {inputs}")
    if loss == "cross_entropy":
        _check("targets", targets, (num_updates, batch), torch.int64)
        smallest, largest = (int(bound) for bound in targets.aminmax())
        if smallest < 0 or largest >= outputs:
            raise ValueError(f"targets are in [{smallest}, {largest}], not in [0, {outputs})")
    else:
        _check("targets", targets, (num_updates, batch, outputs), features.dtype)


def sgd_updates(
    features: Tensor,
    targets: Tensor,
    *,
    weights: NetWeights,
    learning_rate: float,
    clip: float = math.inf,
    clip_by: Literal["norm", "value"] = "norm",
    loss: Literal["squared_error", "cross_entropy"] = "squared_error",
    reduction: Literal["sum", "mean"] = "sum",
    nonlinearity: Nonlinearity = "relu",
) -> Updates:
    """Losses of K consecutive updates by plain SGD, and their gradients' norms.

    features (K, b, T, D): update k reads the b sequences features[k]. targets (K, b, C) of the
    same dtype for squared_error, (K, b) int64 for cross_entropy. The weights are **changed in
    place**, as an optimizer's step does: afterwards they are what K rounds of forward, backward,
    torch.nn.utils.clip_grad_norm_ (or _value_) and torch.optim.SGD would have left. At the first
    loss that is infinite or NaN the block ends, with the weights as that loss saw them.
    One thread; a block cannot be interrupted, so keep it under a second.
    """
    _check_updates(features, targets, weights, loss)
    num_updates, batch, steps, inputs = features.shape
    check_choice("clip_by", clip_by, ("norm", "value"))
    check_choice("loss", loss, ("squared_error", "cross_entropy"))
    check_choice("reduction", reduction, ("sum", "mean"))
    check_choice("nonlinearity", nonlinearity, ("relu", "tanh"))
    if not clip > 0:
        raise ValueError(f"clip is {clip}, but must be above 0 (inf: no clipping)")
    features, targets = features.contiguous(), targets.contiguous()
    updates = Updates(*torch.empty((2, num_updates), dtype=torch.float64))
    struct = library.BlockOfUpdates(
        isa=ISAS.index(isa()),
        is_tanh=nonlinearity == "tanh",
        num_updates=num_updates,
        batch=batch,
        steps=steps,
        inputs=inputs,
        hidden=len(weights.bias),
        outputs=len(weights.bias_out),
        is_classification=loss == "cross_entropy",
        is_mean=reduction == "mean",
        clips_values=clip_by == "value",
        learning_rate=learning_rate,
        clip=clip,
        features=features.data_ptr(),
        targets=targets.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in vars(weights).items()},
        **{name: tensor.data_ptr() for name, tensor in updates._asdict().items()},
    )
    library.call("updates", features.dtype, struct)
    for tensor in vars(weights).values():
        torch.autograd.graph.increment_version(tensor)
    return updates
