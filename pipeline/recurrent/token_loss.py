"""The loss of many tokens among many, whose scores never exist all at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_SCORES_PER_CHUNK = 1 << 21
"""Numbers of a chunk's scores: 8 MB, which a processor's cache holds in part."""
_FIRST_GROUP, _GROUP_GROWTH = 1000, 4
_SMALLER = 2.0
"""By which each group's vectors are narrower than those of the one before; torch's own is 4."""


def group_ends(num_outputs: int) -> list[int]:
    """Where the groups of an adaptive softmax end but the last: 1000, 4000, 16,000 and so on."""
    ends, end = [], _FIRST_GROUP
    while end < num_outputs:
        ends.append(end)
        end *= _GROUP_GROWTH
    return ends


def make_adaptive(read_size: int, num_outputs: int) -> nn.AdaptiveLogSoftmaxWithLoss:
    """A readout whose rare outputs are found by way of their group, in narrower vectors.

    Grave et al. 2017, "Efficient softmax approximation for GPUs". Outputs are ordered by how
    frequent they are. Probabilities sum to 1 over all of them.
    """
    ends = group_ends(num_outputs)
    if not ends:
        raise ValueError(
            f"model.softmax=adaptive: expected more than {_FIRST_GROUP} outputs, found "
            f"{num_outputs}. Pass model.softmax=full."
        )
    return nn.AdaptiveLogSoftmaxWithLoss(read_size, num_outputs, ends, div_value=_SMALLER)


def sum_losses(read: Tensor, targets: Tensor, *, readout: nn.Module) -> Tensor:
    """The sum of the negative log probabilities of `targets` (M,) after what is `read` (M, H).

    Differentiable once. Under autocast the products are of its type.
    """
    if isinstance(readout, nn.AdaptiveLogSoftmaxWithLoss):
        with torch.autocast(read.device.type, enabled=False):  # which it cannot compute under
            losses: Tensor = readout(read.to(readout.head.weight.dtype), targets).output
        return -losses.sum()
    weight, bias = cast(Tensor, readout.weight), cast(Tensor, readout.bias)
    kind = read.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    with torch.autocast(kind, enabled=False):
        return cast(Tensor, _SumOfLosses.apply(read, targets, weight, bias, dtype))


@torch.no_grad()
def log_probabilities(read: Tensor, targets: Tensor, *, readout: nn.Module) -> Tensor:
    """(M,) log probabilities of `targets` (M,) after what is `read` (M, H)."""
    if isinstance(readout, nn.AdaptiveLogSoftmaxWithLoss):
        return cast(Tensor, readout(read, targets).output)
    weight, bias = cast(Tensor, readout.weight), cast(Tensor, readout.bias)
    logs = [
        F.linear(part, weight, bias).log_softmax(dim=1).gather(1, wanted[:, None])[:, 0]
        for part, wanted in _chunks(len(weight), read, targets)
    ]
    return torch.cat(logs)


def _chunks(num_outputs: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of the tensors, as many at a time as have scores in the cache."""
    rows = max(1, _SCORES_PER_CHUNK // num_outputs)
    for start in range(0, len(tensors[0]), rows):
        yield tuple(tensor[start : start + rows] for tensor in tensors)


class _SumOfLosses(torch.autograd.Function):
    """Its gradients are made with the losses, chunk by chunk: the scores are computed once."""

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype
    ) -> Tensor:
        weights = weight.to(dtype)
        wants = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=torch.float64, device=read.device)
        grad_read = torch.empty_like(read)
        grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for part, wanted, grad in _chunks(len(weight), read, targets, grad_read):
            cast_part = part.to(dtype)
            scores = (cast_part @ weights.T).to(weight.dtype).add_(bias)  # (m, V)
            logs = scores.log_softmax(dim=1)
            total -= logs.gather(1, wanted[:, None]).sum()
            if not wants:
                continue
            of_scores = logs.exp_()
            of_scores[torch.arange(len(wanted), device=read.device), wanted] -= 1
            grad_bias += of_scores.sum(dim=0)
            of_scores = of_scores.to(dtype)
            grad.copy_(of_scores @ weights)
            if dtype == weight.dtype:
                grad_weight.addmm_(of_scores.T, cast_part)
            else:
                grad_weight += of_scores.T @ cast_part
        ctx.save_for_backward(grad_read, grad_weight, grad_bias)
        return total.to(weight.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_read, grad_weight, grad_bias = ctx.saved_tensors
        return grad * grad_read, None, grad * grad_weight, grad * grad_bias, None
