"""Recurrent layers as one call of a C++ library, on the CPU.

The library is optional: without it `is_available` is False, `unavailable_reason` says why, the
log says so once, and the layers use torch.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.choices import check_choice
from pipeline.recurrent import library
from pipeline.recurrent.library import (
    CELLS,
    ISAS,
    SUFFIXES,
    available_isas,
    is_available,
    isa,
    unavailable_reason,
)

__all__ = [
    "ISAS",
    "available_isas",
    "gru",
    "is_available",
    "isa",
    "lstm",
    "simple_rnn",
    "unavailable_reason",
]

Nonlinearity = Literal["relu", "tanh"]
Readout = Literal["last", "all"]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def check(name: str, found: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise ValueError unless the kernel can take the tensor."""
    if found.shape != shape or found.dtype != dtype or found.device.type != "cpu":
        raise ValueError(
            f"{name} is {tuple(found.shape)} {found.dtype} on {found.device},"
            f" but {shape} {dtype} on cpu is needed"
        )


def check_float(features: Tensor, ndim: int, *, or_half: bool = False) -> None:
    """Raise ValueError unless the kernel can take the features."""
    is_half = or_half and features.dtype == torch.float16 and not features.requires_grad
    is_float = is_half or features.dtype in SUFFIXES
    if not is_float or features.ndim != ndim or 0 in features.shape:
        half = ", or float16 without a gradient," if or_half else ""
        raise ValueError(
            f"features is {tuple(features.shape)} {features.dtype},"
            f" but {ndim} non-empty dimensions of float32 or float64{half} are needed"
        )


class _Recurrence(torch.autograd.Function):
    """Output and, of an lstm, c after each sequence's last step (B, H); of other cells None."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor | None]:
        features, lengths, weight_ih, weight_hh, bias, h0, c0, cell, reads_all = args
        batch, steps, inputs = features.shape
        hidden = weight_hh.shape[1]
        total = batch * steps if lengths is None else int(lengths.sum())
        row = library.row_length(cell, hidden, bias.element_size())
        states = bias.new_empty((batch + total, row))
        shape = (batch, steps, hidden) if reads_all else (batch, hidden)
        output: Tensor = bias.new_empty(shape)
        last_cell = bias.new_empty((batch, hidden)) if cell == "lstm" else None
        ctx.numbers = {
            "cell": CELLS.index(cell),
            "reads_all": reads_all,
            "reads_half": features.dtype == torch.float16,
            "batch": batch,
            "steps": steps,
            "inputs": inputs,
            "hidden": hidden,
            "h0_stride": hidden if any(s is not None and s.ndim == 2 for s in (h0, c0)) else 0,
        }
        ctx.save_for_backward(features, lengths, weight_ih, weight_hh, bias, h0, c0, states)
        ctx.set_materialize_grads(False)
        tensors = (*args[:7], states)
        _run_pass("forward", ctx.numbers, tensors, output=output, last_cell=last_cell)
        return output, last_cell

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_output: Tensor | None, grad_last_cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        features, _, weight_ih, weight_hh, bias, h0, c0, _ = tensors
        batch, steps, hidden = len(features), features.shape[1], weight_hh.shape[1]
        if grad_output is None:
            shape = (batch, steps, hidden) if ctx.numbers["reads_all"] else (batch, hidden)
            grad_output = bias.new_zeros(shape)
        if grad_last_cell is not None:
            grad_last_cell = grad_last_cell.contiguous()
        wants = ctx.needs_input_grad
        of_start = [bias.new_empty((batch, hidden)) if wanted else None for wanted in wants[5:7]]
        grads = {
            "grad_features": torch.zeros_like(features) if wants[0] else None,
            "grad_weight_ih": torch.empty_like(weight_ih),
            "grad_weight_hh": torch.empty_like(weight_hh),
            "grad_bias": torch.empty_like(bias),
            "grad_h0": of_start[0],
            "grad_c0": of_start[1],
        }
        _run_pass(
            "backward", ctx.numbers, tensors, grad_output=grad_output.contiguous(),
            grad_last_cell=grad_last_cell, **grads,
        )  # fmt: skip
        starts = [
            grad.sum(0) if grad is not None and start.ndim == 1 else grad
            for grad, start in zip(of_start, (h0, c0), strict=True)
        ]
        parameters = (grads["grad_weight_ih"], grads["grad_weight_hh"], grads["grad_bias"])
        return (grads["grad_features"], None, *parameters, *starts, None, None)


def _run_pass(
    name: str, numbers: dict[str, int], tensors: tuple[Tensor | None, ...], **more: Tensor | None
) -> None:
    names = ("lengths", "weight_ih", "weight_hh", "bias", "h0", "c0", "states")
    pointers = dict(zip(names, tensors[1:], strict=True), features=tensors[0], **more)
    struct = library.Pass(
        isa=ISAS.index(isa()),
        num_threads=torch.get_num_threads(),
        **numbers,
        **{key: _pointer(tensor) for key, tensor in pointers.items()},
    )
    library.call(name, cast(Tensor, pointers["states"]).dtype, struct)


def check_lengths(lengths: Tensor, shape: tuple[int, ...], steps: int | Tensor) -> Tensor:
    """The lengths in one piece; ValueError unless all are in [1, steps]."""
    check("lengths", lengths, shape, torch.int64)
    if bool(((lengths < 1) | (lengths > steps)).any()):
        shortest, longest = (int(bound) for bound in lengths.aminmax())
        most = steps if isinstance(steps, int) else "the steps of their batch"
        raise ValueError(f"lengths are in [{shortest}, {longest}], but must be in [1, {most}]")
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

    features (B, T, D), float32 or float64 as the weights, or float16, which is read as it is;
    lengths (B,) int64 in [1, T], None: all T; weights as in torch.nn.RNN, bias (H,); h0 (H,) or
    (B, H), None: zero. All states are zero past a length. Steps past a length are not computed.
    Differentiable once, in all tensors but lengths and features in float16.
    Equal inputs give equal bits on any number of threads; subnormal numbers count as zero.
    """
    check_choice("nonlinearity", nonlinearity, ("relu", "tanh"))
    weights = (weight_ih, weight_hh, bias)
    return _run_cell(nonlinearity, features, lengths, weights, (h0, None), readout)[0]


def lstm(
    features: Tensor,
    lengths: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    *,
    readout: Readout = "last",
) -> tuple[Tensor, Tensor]:
    """States h of an LSTM, as `simple_rnn` gives them, and c (B, H) after each last real step.

    Weights (4H, D), (4H, H) and bias (4H,) with torch.nn.LSTM's order of gates.
    """
    weights = (weight_ih, weight_hh, bias)
    output, cell = _run_cell("lstm", features, lengths, weights, (h0, c0), readout)
    assert cell is not None
    return output, cell


def gru(
    features: Tensor,
    lengths: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    h0: Tensor | None = None,
    *,
    readout: Readout = "last",
) -> Tensor:
    """States of a GRU, as `simple_rnn` gives them.

    Weights (3H, D), (3H, H) and biases (3H,) with torch.nn.GRU's order of gates.
    """
    hidden = weight_hh.shape[-1]
    dtype = _weights_dtype(features, bias_ih)
    check("weight_ih", weight_ih, (3 * hidden, features.shape[-1]), dtype)
    check("weight_hh", weight_hh, (3 * hidden, hidden), dtype)
    for name, bias in (("bias_ih", bias_ih), ("bias_hh", bias_hh)):
        check(name, bias, (3 * hidden,), dtype)
    # The kernel sums four gates alike: the new state's part of the state is one of its own.
    of_gates, of_new = (slice(None, 2 * hidden), slice(2 * hidden, None))
    wide_ih = torch.cat([weight_ih, torch.zeros_like(weight_ih[of_new])])
    wide_hh = torch.cat(
        [weight_hh[of_gates], torch.zeros_like(weight_hh[of_new]), weight_hh[of_new]]
    )
    bias = torch.cat([bias_ih[of_gates] + bias_hh[of_gates], bias_ih[of_new], bias_hh[of_new]])
    weights = (wide_ih, wide_hh, bias)
    return _run_cell("gru", features, lengths, weights, (h0, None), readout)[0]


def num_sums(cell: str, hidden: int) -> int:
    """The numbers that a step's products add up to: S."""
    return hidden if cell in ("relu", "tanh") else 4 * hidden


def _weights_dtype(features: Tensor, weight: Tensor) -> torch.dtype:
    """The type that weights must have beside these features."""
    if features.dtype != torch.float16:
        return features.dtype
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def _run_cell(
    cell: str,
    features: Tensor,
    lengths: Tensor | None,
    weights: tuple[Tensor, Tensor, Tensor],
    starts: tuple[Tensor | None, Tensor | None],
    readout: Readout,
) -> tuple[Tensor, Tensor | None]:
    check_float(features, 3, or_half=True)
    check_choice("readout", readout, ("last", "all"))
    batch, steps, inputs = features.shape
    weight_ih, weight_hh, bias = weights
    hidden, dtype = weight_hh.shape[-1], _weights_dtype(features, bias)
    sums = num_sums(cell, hidden)
    check("features", features, (batch, steps, inputs), features.dtype)
    check("weight_ih", weight_ih, (sums, inputs), dtype)
    check("weight_hh", weight_hh, (sums, hidden), dtype)
    check("bias", bias, (sums,), dtype)
    given = [start for start in starts if start is not None]
    for name, start in zip(("h0", "c0"), starts, strict=True):
        if start is not None:
            check(name, start, (hidden,) if given[0].ndim == 1 else (batch, hidden), dtype)
    if lengths is not None:
        lengths = check_lengths(lengths, (batch,), steps)
    own = (start if start is None else start.contiguous() for start in starts)
    tensors = (features.contiguous(), lengths, *(w.contiguous() for w in weights), *own)
    return cast("tuple[Tensor, Tensor | None]", _Recurrence.apply(*tensors, cell, readout == "all"))
