"""A block of fused updates leaves the weights that autograd and torch.optim.SGD leave."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.recurrent import fused, updates

HIDDEN = 30
DTYPES = [torch.float32, torch.float64]
# Most error, as `count_roundings` counts it. A weight is rounded once an update, six times, and its
# gradient, of sums of up to 40 products and 15 steps, moves it by a hundredth of itself or less:
# 3 were seen. A loss is itself such a sum: 14 were seen. The controls are 1 % off, and found.
MOST_OF_WEIGHTS, MOST_OF_REPORTS = 20, 50
CHOICES: list[dict[str, Any]] = [
    {
        "loss": "squared_error",
        "reduction": "sum",
        "clip_by": "norm",
        "clip": 0.5,
        "cell": "relu",
    },
    {
        "loss": "squared_error",
        "reduction": "mean",
        "clip_by": "value",
        "clip": 0.02,
        "cell": "tanh",
    },
    {
        "loss": "cross_entropy",
        "reduction": "sum",
        "clip_by": "value",
        "clip": 0.01,
        "cell": "relu",
    },
    {
        "loss": "cross_entropy",
        "reduction": "mean",
        "clip_by": "norm",
        "clip": math.inf,
        "cell": "relu",
    },
    {
        "loss": "cross_entropy",
        "reduction": "sum",
        "clip_by": "norm",
        "clip": 0.5,
        "cell": "lstm",
    },
]


WEIGHTS = [field.name for field in fields(updates.NetWeights)]


class Expected(NamedTuple):
    """What the updates leave, in the order of WEIGHTS, and what they report: float64."""

    weights: list[Tensor]
    losses: Tensor
    gradient_norms: Tensor


def make_weights(
    inputs: int, outputs: int, dtype: torch.dtype, *, cell: str = "relu"
) -> updates.NetWeights:
    sums = 4 * HIDDEN if cell == "lstm" else HIDDEN
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return (values / math.sqrt(shape[-1])).to(dtype)

    return updates.NetWeights(
        normal(sums, inputs),
        normal(sums, HIDDEN),
        normal(sums),
        normal(outputs, HIDDEN),
        normal(outputs),
    )


def count_roundings(found: Tensor, expected: Tensor, *, dtype: torch.dtype) -> float:
    """The largest error in units of `dtype`'s rounding at the largest true value."""
    error = (found.double() - expected).abs().max() / expected.abs().max()
    return float(error) / torch.finfo(dtype).eps


def find_differences(
    weights: updates.NetWeights, reports: updates.Updates, expected: Expected
) -> dict[str, float]:
    """What differs from what was expected by more than rounding, with how many roundings."""
    dtype = weights.bias.dtype
    pairs = zip(vars(weights).items(), expected.weights, strict=True)
    counts = {
        name: (count_roundings(found, right, dtype=dtype), MOST_OF_WEIGHTS)
        for (name, found), right in pairs
    }
    for name in reports._fields:
        found, right = getattr(reports, name), getattr(expected, name)
        counts[name] = count_roundings(found, right, dtype=dtype), MOST_OF_REPORTS
    # Not below, so that NaN differs.
    return {name: count for name, (count, most) in counts.items() if not count < most}


def outputs_of(parameters: list[torch.nn.Parameter], sequences: Tensor, kind: str) -> Tensor:
    weight_ih, weight_hh, bias, weight_out, bias_out = parameters
    net: torch.nn.RNNBase = torch.nn.LSTM(sequences.shape[-1], HIDDEN, batch_first=True)
    if kind != "lstm":
        net = torch.nn.RNN(sequences.shape[-1], HIDDEN, nonlinearity=kind, batch_first=True)
    weights = {
        "weight_ih_l0": weight_ih,
        "weight_hh_l0": weight_hh,
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }
    last = torch.func.functional_call(net.double(), weights, (sequences,))[0][:, -1]
    return torch.as_tensor(last @ weight_out.T + bias_out)


def update_one_at_a_time(
    features: Tensor, targets: Tensor, weights: updates.NetWeights, **choices: Any
) -> Expected:
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in vars(weights).values()]
    optimizer = torch.optim.SGD(parameters, lr=choices["learning_rate"])
    losses, gradient_norms = [], []
    for sequences, target in zip(features, targets, strict=True):
        outputs = outputs_of(parameters, sequences, choices["cell"])
        loss_of = F.cross_entropy if choices["loss"] == "cross_entropy" else F.mse_loss
        loss = loss_of(outputs, target, reduction=choices["reduction"])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        grads = [p.grad for p in parameters if p.grad is not None]
        gradient_norms.append(torch.nn.utils.get_total_norm(grads))
        if choices["clip_by"] == "value":
            torch.nn.utils.clip_grad_value_(parameters, choices["clip"])
        else:
            torch.nn.utils.clip_grad_norm_(parameters, choices["clip"])
        optimizer.step()
        losses.append(loss.detach())
    found = [parameter.detach() for parameter in parameters]
    return Expected(found, torch.stack(losses), torch.stack(gradient_norms))


def make_block(kind: str, *, batch: int, inputs: int) -> tuple[Tensor, Tensor]:
    """Features (6, B, 15, D) and targets of six updates, float64 or classes."""
    generator = torch.Generator().manual_seed(13)
    features = torch.rand(6, batch, 15, inputs, generator=generator, dtype=torch.float64)
    targets = torch.rand(6, batch, 4, generator=generator, dtype=torch.float64)
    if kind == "cross_entropy":
        targets = torch.randint(0, 4, (6, batch), generator=generator)
    return features, targets


def update_in_a_block(
    features: Tensor, targets: Tensor, *, dtype: torch.dtype, **choices: Any
) -> tuple[updates.NetWeights, updates.Updates]:
    """The weights and the reports of the kernel."""
    before = make_weights(features.shape[-1], 4, torch.float64, cell=choices["cell"])
    weights = updates.NetWeights(*(tensor.to(dtype, copy=True) for tensor in vars(before).values()))
    ours = targets.to(dtype) if targets.is_floating_point() else targets
    return weights, updates.sgd_updates(features.to(dtype), ours, weights=weights, **choices)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch", "inputs"), [(1, 2), (3, 1), (21, 40)])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_block_of_updates_leaves_the_weights_of_one_at_a_time(
    isa: str, dtype: torch.dtype, batch: int, inputs: int, choices: dict[str, Any]
) -> None:
    block = make_block(choices["loss"], batch=batch, inputs=inputs)
    choices = choices | {"learning_rate": 0.01}
    before = make_weights(inputs, 4, torch.float64, cell=choices["cell"])
    expected = update_one_at_a_time(*block, before, **choices)
    found = update_in_a_block(*block, dtype=dtype, **choices)
    assert find_differences(*found, expected) == {}


def can_be_off(name: str, choices: dict[str, Any]) -> bool:
    """Whether a percent more of it is another problem: a class has none, and infinity stays."""
    if name == "targets":
        return bool(choices["loss"] == "squared_error")
    return name != "clip" or math.isfinite(choices["clip"])


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("wrong", "choices"),
    [
        (wrong, choices)
        for wrong in ("learning_rate", "clip", "features", "targets", *WEIGHTS)
        for choices in CHOICES
        if can_be_off(wrong, choices)
    ],
)
def test_one_percent_off_anywhere_is_told_apart_from_rounding(
    dtype: torch.dtype, choices: dict[str, Any], wrong: str
) -> None:
    choices = choices | {"learning_rate": 0.01}
    features, targets = make_block(choices["loss"], batch=21, inputs=40)
    found = update_in_a_block(features, targets, dtype=dtype, **choices)
    before = make_weights(40, 4, torch.float64, cell=choices["cell"])
    if wrong in choices:
        choices = choices | {wrong: 1.01 * choices[wrong]}
    off = {name: 1.01 if name == wrong else 1 for name in ("features", "targets", *WEIGHTS)}
    before = updates.NetWeights(**{name: off[name] * w for name, w in vars(before).items()})
    expected = update_one_at_a_time(
        off["features"] * features, off["targets"] * targets, before, **choices
    )
    differences = find_differences(*found, expected)
    assert differences
    if wrong in WEIGHTS:
        assert wrong in differences


def test_updates_stop_at_a_loss_that_is_not_finite(isa: str) -> None:
    features = torch.rand(4, 1, 5, 2, generator=torch.Generator().manual_seed(1))
    features[2, 0, 1, 0] = math.nan
    weights, expected = make_weights(2, 1, torch.float32), make_weights(2, 1, torch.float32)
    targets = torch.ones(4, 1, 1)
    found = updates.sgd_updates(features, targets, weights=weights, learning_rate=0.01)
    updates.sgd_updates(features[:2], targets[:2], weights=expected, learning_rate=0.01)
    for reported in found:
        assert reported.isfinite().tolist() == [True, True, False, False]
    assert all(map(torch.equal, vars(weights).values(), vars(expected).values()))


def test_autograd_notices_that_the_weights_changed(isa: str) -> None:
    weights = make_weights(2, 1, torch.float32)
    weights.weight_out.requires_grad_()
    loss = (weights.weight_out**2).sum()
    updates.sgd_updates(
        torch.rand(1, 1, 3, 2), torch.ones(1, 1, 1), weights=weights, learning_rate=0.1
    )
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


def test_updates_that_do_not_fit_are_refused(isa: str) -> None:
    weights, features = make_weights(2, 3, torch.float32), torch.rand(1, 1, 2, 2)
    choices: dict[str, Any] = {"weights": weights, "learning_rate": 0.1}
    with pytest.raises(ValueError, match=r"targets are in \[3, 3\], not in \[0, 3\)"):
        updates.sgd_updates(features, torch.tensor([[3]]), loss="cross_entropy", **choices)
    with pytest.raises(ValueError, match="weight_ih is for 2 inputs, not 5"):
        updates.sgd_updates(torch.rand(1, 1, 2, 5), torch.ones(1, 1, 3), **choices)
    with pytest.raises(ValueError, match="clip is 0"):
        updates.sgd_updates(features, torch.ones(1, 1, 3), clip=0, **choices)
    with pytest.raises(
        ValueError, match=r"weight_hh is \(30, 30\), which is not that of cell lstm"
    ):
        updates.sgd_updates(features, torch.ones(1, 1, 3), cell="lstm", **choices)
    with pytest.raises(ValueError, match="weight_hh is not contiguous"):
        updates.NetWeights(**(vars(weights) | {"weight_hh": weights.weight_hh.T}))
