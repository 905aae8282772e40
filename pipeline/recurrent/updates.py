"""Blocks of consecutive updates of a recurrent net as one call of the C++ library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pipeline.choices import check_choice
from pipeline.recurrent import library
from pipeline.recurrent.fused import check, check_float, check_lengths, num_sums
from pipeline.recurrent.library import CELLS, ISAS, OPTIMIZERS, isa
from pipeline.recurrent.updated import NetWeights, Optimizer


class Updates(NamedTuple):
    """What a block of updates reports: (K,) float64 each, NaN where no update was made."""

    losses: Tensor
    gradient_norms: Tensor  # before clipping


@dataclass(frozen=True)
class Batches:
    """What K updates read: update k the b sequences features[k].

    `features` (K, b, T, D), or K tensors (b, T_k, D), of the weights' type, or float16, which is
    read as it is; `targets` (K, b, C) of the weights' type for squared errors, (K, b) int64 for
    cross entropy; `lengths` (K, b) int64, the real steps, None:
    all. `masks` (K, b, H): factors of what the linear layer reads, None: 1.
    """

    features: Tensor | Sequence[Tensor]
    targets: Tensor
    lengths: Tensor | None = None
    masks: Tensor | None = None


class _Features(NamedTuple):
    """Where the features of K updates lie: in the memory of `held`."""

    held: Sequence[Tensor]
    addresses: Tensor  # (K,) int64
    steps: Tensor  # (K,) int64
    batch: int
    inputs: int


def _find_features(features: Tensor | Sequence[Tensor], dtype: torch.dtype) -> _Features:
    """The features of (K, b, T, D), or of K tensors (b, T_k, D)."""
    if isinstance(features, Tensor):
        check_float(features, 4, or_half=True)
        check("features", features, tuple(features.shape), _read_as(features, dtype))
        whole = features.contiguous()
        num, batch, steps, inputs = whole.shape
        num_bytes = batch * steps * inputs * whole.element_size()
        addresses = whole.data_ptr() + num_bytes * torch.arange(num)
        return _Features([whole], addresses, torch.full((num,), steps), batch, inputs)
    held = [each.contiguous() for each in features]
    for each in held:
        check_float(each, 3, or_half=True)
        shape = len(held[0]), each.shape[1], held[0].shape[2]
        check("features", each, shape, _read_as(held[0], dtype))
    addresses = torch.tensor([each.data_ptr() for each in held])
    steps_of = torch.tensor([each.shape[1] for each in held])
    return _Features(held, addresses, steps_of, len(held[0]), held[0].shape[2])


def _read_as(features: Tensor, dtype: torch.dtype) -> torch.dtype:
    """The type that features must have beside weights of `dtype`."""
    return torch.float16 if features.dtype == torch.float16 else dtype


def _check_targets(targets: Tensor, sizes: tuple[int, int, int], dtype: torch.dtype) -> None:
    """Raise ValueError unless they are K x b classes, or K x b x C numbers where dtype is one."""
    num_updates, batch, outputs = sizes
    if dtype != torch.int64:
        return check("targets", targets, sizes, dtype)
    check("targets", targets, (num_updates, batch), torch.int64)
    smallest, largest = (int(bound) for bound in targets.aminmax())
    if smallest < 0 or largest >= outputs:
        raise ValueError(f"targets are in [{smallest}, {largest}], not in [0, {outputs})")
    return None


def _check_weights(weights: NetWeights, inputs: int, cell: str) -> None:
    if weights.weight_ih.shape[1] != inputs:
        raise ValueError(f"weight_ih is for {weights.weight_ih.shape[1]} inputs, not {inputs}")
    sums, hidden = weights.weight_hh.shape
    if sums != num_sums(cell, hidden):
        raise ValueError(f"weight_hh is {(sums, hidden)}, which is not that of cell {cell}")


def _check_choices(cell: str, clip: float, clip_by: str, loss: str, reduction: str) -> None:
    check_choice("cell", cell, ("relu", "tanh", "lstm"))
    check_choice("clip_by", clip_by, ("norm", "value"))
    check_choice("loss", loss, ("squared_error", "cross_entropy"))
    check_choice("reduction", reduction, ("sum", "mean"))
    if not clip > 0:
        raise ValueError(f"clip is {clip}, but must be above 0 (inf: no clipping)")


def run_updates(
    batches: Batches,
    *,
    weights: NetWeights,
    optimizer: Optimizer,
    clip: float = math.inf,
    clip_by: Literal["norm", "value"] = "norm",
    loss: Literal["squared_error", "cross_entropy"] = "squared_error",
    reduction: Literal["sum", "mean"] = "sum",
    cell: Literal["relu", "tanh", "lstm"] = "relu",
    readout: Literal["last", "mean"] = "last",
) -> Updates:
    """Losses of K consecutive updates by `optimizer`, and their gradients' norms.

    The linear layer reads each sequence's last state, or the mean of its states. The weights and
    what the optimizer keeps are **changed in place**, as a step does: afterwards they are what K
    rounds of forward, backward, torch.nn.utils.clip_grad_norm_ (or _value_) and a step of
    torch.optim's optimizer would have left. At the first loss that is infinite or NaN the block
    ends, with all of them as that loss saw them.
    One thread; a block cannot be interrupted, so keep it under a second.
    """
    check_choice("readout", readout, ("last", "mean"))
    _check_choices(cell, clip, clip_by, loss, reduction)
    dtype = weights.bias.dtype
    features = _find_features(batches.features, dtype)
    num, is_classification = len(features.steps), loss == "cross_entropy"
    sizes = (num, features.batch, len(weights.bias_out))
    _check_targets(batches.targets, sizes, torch.int64 if is_classification else dtype)
    _check_weights(weights, features.inputs, cell)
    optimizer.check_fits(weights)
    updates = Updates(*torch.empty((2, num), dtype=torch.float64))
    tensors = {
        "features": features.addresses, "steps": features.steps,
        **_check_beside(batches, features, weights), "targets": batches.targets.contiguous(),
        "means": _point_at(optimizer.means), "squares": _point_at(optimizer.squares),
        **vars(weights), **updates._asdict(),
    }  # fmt: skip
    struct = library.BlockOfUpdates(
        isa=ISAS.index(isa()), cell=CELLS.index(cell), is_classification=is_classification,
        is_mean=reduction == "mean", reads_mean=readout == "mean", clips_values=clip_by == "value",
        clip=clip, **_describe_sizes(features, weights), **_describe(optimizer),
        **{name: None if of is None else of.data_ptr() for name, of in tensors.items()},
    )  # fmt: skip
    library.call("updates", dtype, struct)
    for changed in (weights, optimizer.means, optimizer.squares):
        for tensor in vars(changed).values() if changed else ():
            torch.autograd.graph.increment_version(tensor)
    return updates


def _check_beside(
    batches: Batches, features: _Features, weights: NetWeights
) -> dict[str, Tensor | None]:
    """Lengths and masks, as the kernel reads them; ValueError where they do not fit."""
    lengths, masks = batches.lengths, batches.masks
    num, batch, hidden = len(features.steps), features.batch, weights.weight_hh.shape[1]
    if lengths is not None:
        lengths = check_lengths(lengths, (num, batch), features.steps[:, None])
    if masks is not None:
        check("masks", masks, (num, batch, hidden), weights.bias.dtype)
        masks = masks.contiguous()
    return {"lengths": lengths, "masks": masks}


def _point_at(weights: NetWeights | None) -> Tensor | None:
    """The addresses of the five tensors, as the kernel reads them."""
    if weights is None:
        return None
    return torch.tensor([tensor.data_ptr() for tensor in vars(weights).values()])


def _describe_sizes(features: _Features, weights: NetWeights) -> dict[str, int]:
    return {
        "num_updates": len(features.steps),
        "batch": features.batch,
        "longest": int(features.steps.max()),
        "inputs": features.inputs,
        "hidden": weights.weight_hh.shape[1],
        "outputs": len(weights.bias_out),
        "reads_half": features.held[0].dtype == torch.float16,
    }


def _describe(optimizer: Optimizer) -> dict[str, Any]:
    return {
        "optimizer": OPTIMIZERS.index(optimizer.name),
        "num_before": optimizer.num_before,
        "learning_rate": optimizer.learning_rate,
        "decay": optimizer.decay,
        "mean_decay": optimizer.mean_decay,
        "epsilon": optimizer.epsilon,
    }
