"""A block of fused updates leaves the weights that autograd and torch.optim.SGD leave."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.recurrent import fused

HIDDEN = 30
# Largest error relative to the largest true value, after six updates.
TOLERANCES = {torch.float32: 3e-5, torch.float64: 1e-12}
CHOICES: list[dict[str, Any]] = [
    {
        "loss": "squared_error",
        "reduction": "sum",
        "clip_by": "norm",
        "clip": 0.5,
        "nonlinearity": "relu",
    },
    {
        "loss": "squared_error",
        "reduction": "mean",
        "clip_by": "value",
        "clip": 0.02,
        "nonlinearity": "tanh",
    },
    {
        "loss": "cross_entropy",
        "reduction": "sum",
        "clip_by": "value",
        "clip": 0.01,
        "nonlinearity": "relu",
    },
    {
        "loss": "cross_entropy",
        "reduction": "mean",
        "clip_by": "norm",
        "clip": math.inf,
        "nonlinearity": "relu",
    },
]


@pytest.fixture(params=fused.ISAS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param not in (fused.available_isas() if fused.is_available() else ()):
        pytest.skip(f"this processor or build has no {request.param}")
    monkeypatch.setenv("NPRNN_ISA", request.param)
    return str(request.param)


def make_weights(inputs: int, outputs: int, dtype: torch.dtype) -> fused.NetWeights:
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return (values / math.sqrt(shape[-1])).to(dtype)

    return fused.NetWeights(
        normal(HIDDEN, inputs),
        normal(HIDDEN, HIDDEN),
        normal(HIDDEN),
        normal(outputs, HIDDEN),
        normal(outputs),
    )


def worst_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


def outputs_of(parameters: list[torch.nn.Parameter], sequences: Tensor, kind: str) -> Tensor:
    weight_ih, weight_hh, bias, weight_out, bias_out = parameters
    net = torch.nn.RNN(sequences.shape[-1], HIDDEN, nonlinearity=kind, batch_first=True)
    weights = {
        "weight_ih_l0": weight_ih,
        "weight_hh_l0": weight_hh,
        "bias_ih_l0": bias,
        "bias_hh_l0": torch.zeros_like(bias),
    }
    last = torch.func.functional_call(net.double(), weights, (sequences,))[1][0]
    return torch.as_tensor(last @ weight_out.T + bias_out)


def update_one_at_a_time(
    features: Tensor, targets: Tensor, weights: fused.NetWeights, **choices: Any
) -> tuple[list[Tensor], dict[str, list[float]]]:
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in vars(weights).values()]
    optimizer = torch.optim.SGD(parameters, lr=choices["learning_rate"])
    seen: dict[str, list[float]] = {"losses": [], "gradient_norms": []}
    for sequences, target in zip(features, targets, strict=True):
        outputs = outputs_of(parameters, sequences, choices["nonlinearity"])
        loss_of = F.cross_entropy if choices["loss"] == "cross_entropy" else F.mse_loss
        loss = loss_of(outputs, target, reduction=choices["reduction"])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        grads = [p.grad for p in parameters if p.grad is not None]
        seen["gradient_norms"].append(float(torch.nn.utils.get_total_norm(grads)))
        if choices["clip_by"] == "value":
            torch.nn.utils.clip_grad_value_(parameters, choices["clip"])
        else:
            torch.nn.utils.clip_grad_norm_(parameters, choices["clip"])
        optimizer.step()
        seen["losses"].append(loss.item())
    return [parameter.detach() for parameter in parameters], seen


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("batch", "inputs"), [(1, 2), (3, 1), (21, 40)])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(map(str, c.values())))
def test_a_block_of_updates_leaves_the_weights_of_one_at_a_time(
    isa: str, dtype: torch.dtype, batch: int, inputs: int, choices: dict[str, Any]
) -> None:
    generator = torch.Generator().manual_seed(13)
    features = torch.rand(6, batch, 15, inputs, generator=generator, dtype=torch.float64)
    targets = torch.rand(6, batch, 4, generator=generator, dtype=torch.float64)
    ours = targets.to(dtype)
    if choices["loss"] == "cross_entropy":
        targets = ours = torch.randint(0, 4, (6, batch), generator=generator)
    choices = choices | {"learning_rate": 0.01}
    before = make_weights(inputs, 4, torch.float64)
    expected, seen = update_one_at_a_time(features, targets, before, **choices)
    weights = fused.NetWeights(*(tensor.to(dtype, copy=True) for tensor in vars(before).values()))
    updates = fused.sgd_updates(features.to(dtype), ours, weights=weights, **choices)
    for name, values in seen.items():
        found = getattr(updates, name)
        assert worst_error(found, torch.tensor(values).double()) < max(TOLERANCES[dtype], 1e-6)
    for name, right in zip(vars(weights), expected, strict=True):
        moved, right_move = vars(weights)[name] - vars(before)[name], right - vars(before)[name]
        assert worst_error(vars(weights)[name], right) < TOLERANCES[dtype], name
        assert worst_error(moved, right_move) < 100 * TOLERANCES[dtype], name


def test_updates_stop_at_a_loss_that_is_not_finite(isa: str) -> None:
    features = torch.rand(4, 1, 5, 2, generator=torch.Generator().manual_seed(1))
    features[2, 0, 1, 0] = math.nan
    weights, expected = make_weights(2, 1, torch.float32), make_weights(2, 1, torch.float32)
    targets = torch.ones(4, 1, 1)
    updates = fused.sgd_updates(features, targets, weights=weights, learning_rate=0.01)
    fused.sgd_updates(features[:2], targets[:2], weights=expected, learning_rate=0.01)
    for reported in updates:
        assert reported.isfinite().tolist() == [True, True, False, False]
    assert all(map(torch.equal, vars(weights).values(), vars(expected).values()))


def test_autograd_notices_that_the_weights_changed(isa: str) -> None:
    weights = make_weights(2, 1, torch.float32)
    weights.weight_out.requires_grad_()
    loss = (weights.weight_out**2).sum()
    fused.sgd_updates(
        torch.rand(1, 1, 3, 2), torch.ones(1, 1, 1), weights=weights, learning_rate=0.1
    )
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


def test_updates_that_do_not_fit_are_refused(isa: str) -> None:
    weights, features = make_weights(2, 3, torch.float32), torch.rand(1, 1, 2, 2)
    choices: dict[str, Any] = {"weights": weights, "learning_rate": 0.1}
    with pytest.raises(ValueError, match=r"targets are in \[3, 3\], not in \[0, 3\)"):
        fused.sgd_updates(features, torch.tensor([[3]]), loss="cross_entropy", **choices)
    with pytest.raises(ValueError, match="weight_ih is for 2 inputs, not 5"):
        fused.sgd_updates(torch.rand(1, 1, 2, 5), torch.ones(1, 1, 3), **choices)
    with pytest.raises(ValueError, match="clip is 0"):
        fused.sgd_updates(features, torch.ones(1, 1, 3), clip=0, **choices)
    with pytest.raises(ValueError, match="weight_hh is not contiguous"):
        fused.NetWeights(**(vars(weights) | {"weight_hh": weights.weight_hh.T}))
