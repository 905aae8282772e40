"""Blocks of consecutive updates of a recurrent net as one call of the C++ library."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.choices import check_choice
from pipeline.recurrent import library
from pipeline.recurrent.fused import check, check_float, num_sums
from pipeline.recurrent.library import CELLS, ISAS, OPTIMIZERS, isa
from pipeline.recurrent.updated import NetWeights, Optimizer


class Updates(NamedTuple):
    """What a block of updates reports: (K,) float64 each, NaN where no update was made."""

    losses: Tensor
    gradient_norms: Tensor  # before clipping


def _check_updates(
    features: Tensor, targets: Tensor, weights: NetWeights, *, cell: str, loss: str
) -> None:
    check_float(features, 4)
    num_updates, batch, _, inputs = features.shape
    outputs = len(weights.bias_out)
    check("features", features, tuple(features.shape), weights.bias.dtype)
    if weights.weight_ih.shape[1] != inputs:
        raise ValueError(f"weight_ih is for {weights.weight_ih.shape[1]} inputs, not {inputs}")
    sums, hidden = weights.weight_hh.shape
    if sums != num_sums(cell, hidden):
        raise ValueError(f"weight_hh is {(sums, hidden)}, which is not that of cell {cell}")
    if loss == "cross_entropy":
        check("targets", targets, (num_updates, batch), torch.int64)
        smallest, largest = (int(bound) for bound in targets.aminmax())
        if smallest < 0 or largest >= outputs:
            raise ValueError(f"targets are in [{smallest}, {largest}], not in [0, {outputs})")
    else:
        check("targets", targets, (num_updates, batch, outputs), features.dtype)


def _sizes(features: Tensor, weights: NetWeights) -> dict[str, int]:
    num_updates, batch, steps, inputs = features.shape
    return {
        "num_updates": num_updates,
        "batch": batch,
        "steps": steps,
        "inputs": inputs,
        "hidden": weights.weight_hh.shape[1],
        "outputs": len(weights.bias_out),
    }


def _point_at(weights: NetWeights | None) -> Tensor | None:
    """The addresses of the five tensors, as the kernel reads them."""
    if weights is None:
        return None
    return torch.tensor([tensor.data_ptr() for tensor in vars(weights).values()])


def run_updates(
    features: Tensor,
    targets: Tensor,
    *,
    weights: NetWeights,
    optimizer: Optimizer,
    clip: float = math.inf,
    clip_by: Literal["norm", "value"] = "norm",
    loss: Literal["squared_error", "cross_entropy"] = "squared_error",
    reduction: Literal["sum", "mean"] = "sum",
    cell: Literal["relu", "tanh", "lstm"] = "relu",
) -> Updates:
    """Losses of K consecutive updates by `optimizer`, and their gradients' norms.

    features (K, b, T, D): update k reads the b sequences features[k]. targets (K, b, C) of the
    same dtype for squared_error, (K, b) int64 for cross_entropy. The weights and what the
    optimizer keeps are **changed in place**, as a step does: afterwards they are what K rounds of
    forward, backward, torch.nn.utils.clip_grad_norm_ (or _value_) and a step of torch.optim's
    optimizer would have left. At the first loss that is infinite or NaN the block ends, with all of
    them as that loss saw them.
    One thread; a block cannot be interrupted, so keep it under a second.
    """
    check_choice("cell", cell, ("relu", "tanh", "lstm"))
    _check_updates(features, targets, weights, cell=cell, loss=loss)
    optimizer.check_fits(weights)
    check_choice("clip_by", clip_by, ("norm", "value"))
    check_choice("loss", loss, ("squared_error", "cross_entropy"))
    check_choice("reduction", reduction, ("sum", "mean"))
    if not clip > 0:
        raise ValueError(f"clip is {clip}, but must be above 0 (inf: no clipping)")
    features, targets = features.contiguous(), targets.contiguous()
    updates = Updates(*torch.empty((2, len(features)), dtype=torch.float64))
    means, squares = _point_at(optimizer.means), _point_at(optimizer.squares)
    struct = library.BlockOfUpdates(
        isa=ISAS.index(isa()),
        cell=CELLS.index(cell),
        **_sizes(features, weights),
        is_classification=loss == "cross_entropy",
        is_mean=reduction == "mean",
        clips_values=clip_by == "value",
        optimizer=OPTIMIZERS.index(optimizer.name),
        num_before=optimizer.num_before,
        learning_rate=optimizer.learning_rate,
        clip=clip,
        decay=optimizer.decay,
        mean_decay=optimizer.mean_decay,
        epsilon=optimizer.epsilon,
        features=features.data_ptr(),
        targets=targets.data_ptr(),
        means=None if means is None else means.data_ptr(),
        squares=None if squares is None else squares.data_ptr(),
        **{name: tensor.data_ptr() for name, tensor in vars(weights).items()},
        **{name: tensor.data_ptr() for name, tensor in updates._asdict().items()},
    )
    library.call("updates", features.dtype, struct)
    for changed in (weights, optimizer.means, optimizer.squares):
        for tensor in vars(changed).values() if changed else ():
            torch.autograd.graph.increment_version(tensor)
    return updates
