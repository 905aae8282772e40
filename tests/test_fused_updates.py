"""A block of fused updates leaves the weights that autograd and torch.optim leave."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.recurrent import fused, updates
from pipeline.recurrent.updated import NetWeights, Optimizer
from pipeline.recurrent.updates import Batches

HIDDEN = 30
DTYPES = [torch.float32, torch.float64]
# Most error, as `count_roundings` counts it. A weight is rounded once an update, six times, and its
# gradient, of sums of up to 40 products and 15 steps, moves it by a hundredth of itself or less:
# 3 were seen. A loss is itself such a sum: 14 were seen. The controls are 1 % off, and found.
# RMSprop divides each gradient by its own size: one that is almost nothing, as a sum that cancels,
# takes a full step with all of its rounding, in float64 as in float32: 132 were seen.
MOST_OF_WEIGHTS, MOST_OF_REPORTS = {"sgd": 20, "rmsprop": 400, "adam": 20}, 50
RATES = {"sgd": 0.01, "rmsprop": 0.001, "adam": 0.001}
CHOICES: list[dict[str, Any]] = [
    dict(zip(("loss", "reduction", "clip_by", "clip", "cell", "optimizer"), values, strict=True))
    for values in (
        ("squared_error", "sum", "norm", 0.5, "relu", "sgd"),
        ("squared_error", "mean", "value", 0.02, "tanh", "sgd"),
        ("cross_entropy", "sum", "value", 0.01, "relu", "sgd"),
        ("cross_entropy", "mean", "norm", math.inf, "relu", "sgd"),
        ("cross_entropy", "sum", "norm", 0.5, "lstm", "sgd"),
        ("cross_entropy", "mean", "value", 0.002, "relu", "rmsprop"),
        ("squared_error", "sum", "norm", 0.5, "lstm", "rmsprop"),
        ("cross_entropy", "sum", "norm", 0.5, "tanh", "adam"),
    )
]
DECAY = 0.9  # of RMSprop
OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "rmsprop": partial(torch.optim.RMSprop, alpha=DECAY),
    "adam": torch.optim.Adam,
}
KEPT = {"square_avg": "squares", "exp_avg_sq": "squares", "exp_avg": "means"}

WEIGHTS = [field.name for field in fields(NetWeights)]


class Expected(NamedTuple):
    """What the updates leave, by names, and what they report: float64."""

    weights: dict[str, Tensor]  # and what the optimizer keeps: `squares.bias`
    losses: Tensor
    gradient_norms: Tensor


def make_weights(
    inputs: int, outputs: int, dtype: torch.dtype, *, cell: str = "relu"
) -> NetWeights:
    sums = 4 * HIDDEN if cell == "lstm" else HIDDEN
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return (values / math.sqrt(shape[-1])).to(dtype)

    return NetWeights(
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
    weights: dict[str, Tensor], reports: updates.Updates, expected: Expected, *, most: float
) -> dict[str, float]:
    """What differs from what was expected by more than rounding, with how many roundings."""
    dtype = weights["bias"].dtype
    assert weights.keys() == expected.weights.keys()
    counts = {
        name: (count_roundings(weights[name], right, dtype=dtype), most)
        for name, right in expected.weights.items()
    }
    for name in reports._fields:
        found, right = getattr(reports, name), getattr(expected, name)
        counts[name] = count_roundings(found, right, dtype=dtype), MOST_OF_REPORTS
    # Not below, so that NaN differs.
    return {name: count for name, (count, most) in counts.items() if not count < most}


def outputs_of(
    parameters: list[torch.nn.Parameter],
    sequences: Tensor,
    kind: str,
    *,
    lengths: Tensor,
    readout: str,
    masks: Tensor,
) -> Tensor:
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
    states = torch.func.functional_call(net.double(), weights, (sequences,))[0]
    if readout == "last":
        read = states[torch.arange(len(states)), lengths - 1]
    else:
        read = torch.stack([of[:end].mean(0) for of, end in zip(states, lengths, strict=True)])
    return torch.as_tensor((masks * read) @ weight_out.T + bias_out)


def update_one_at_a_time(batches: Batches, weights: NetWeights, **choices: Any) -> Expected:
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in vars(weights).values()]
    optimizer = OPTIMIZERS[choices["optimizer"]](parameters, lr=choices["learning_rate"])
    losses, gradient_norms = [], []
    features, targets, lengths, masks = vars(batches).values()
    if lengths is None:
        lengths = torch.full(targets.shape[:2], features[0].shape[1])
    if masks is None:
        masks = torch.ones(*lengths.shape, HIDDEN)
    for sequences, target, ends, mask in zip(features, targets, lengths, masks, strict=True):
        outputs = outputs_of(
            parameters, sequences, choices["cell"], lengths=ends, masks=mask,
            readout=choices.get("readout", "last"),
        )  # fmt: skip
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
    found = dict(zip(WEIGHTS, (parameter.detach() for parameter in parameters), strict=True))
    for name, parameter in zip(WEIGHTS, parameters, strict=True):
        state = optimizer.state[parameter].items()
        found |= {f"{KEPT[key]}.{name}": kept for key, kept in state if key in KEPT}
    return Expected(found, torch.stack(losses), torch.stack(gradient_norms))


def make_block(kind: str, *, batch: int, inputs: int) -> Batches:
    """Features (6, B, 15, D) and targets of six updates, float64 or classes."""
    generator = torch.Generator().manual_seed(13)
    features = torch.rand(6, batch, 15, inputs, generator=generator, dtype=torch.float64)
    targets = torch.rand(6, batch, 4, generator=generator, dtype=torch.float64)
    if kind == "cross_entropy":
        targets = torch.randint(0, 4, (6, batch), generator=generator)
    return Batches(features, targets)


def zeros_beside(weights: NetWeights) -> NetWeights:
    return NetWeights(*(torch.zeros_like(tensor) for tensor in vars(weights).values()))


def make_optimizer(weights: NetWeights, name: Any, rate: float) -> Optimizer:
    """The optimizer before its first step."""
    if name == "sgd":
        return Optimizer(name, rate)
    squares = zeros_beside(weights)
    if name == "rmsprop":
        return Optimizer(name, rate, decay=DECAY, epsilon=1e-8, squares=squares)
    return Optimizer(
        name, rate, decay=0.999, mean_decay=0.9, epsilon=1e-8, squares=squares,
        means=zeros_beside(weights),
    )  # fmt: skip


def take(batches: Batches, part: slice, dtype: torch.dtype) -> Batches:
    """Some of the updates, with numbers of this type."""

    def convert(values: Any) -> Any:
        if isinstance(values, Tensor):
            return values.to(dtype) if values.is_floating_point() else values
        return [convert(each) for each in values]

    parts = {name: of[part] for name, of in vars(batches).items() if of is not None}
    return Batches(**{name: convert(of) for name, of in parts.items()})


def update_in_blocks(
    batches: Batches, *, dtype: torch.dtype, **choices: Any
) -> tuple[dict[str, Tensor], updates.Updates]:
    """The weights and the reports of the kernel, which makes two blocks of the updates."""
    before = make_weights(batches.features[0].shape[-1], 4, torch.float64, cell=choices["cell"])
    weights = NetWeights(*(tensor.to(dtype, copy=True) for tensor in vars(before).values()))
    rate = choices.pop("learning_rate")
    optimizer = make_optimizer(weights, choices.pop("optimizer"), rate)
    first = updates.run_updates(
        take(batches, slice(2), dtype), weights=weights, optimizer=optimizer, **choices
    )
    optimizer = replace(optimizer, num_before=2)
    second = updates.run_updates(
        take(batches, slice(2, None), dtype), weights=weights, optimizer=optimizer, **choices
    )
    found = dict(vars(weights))
    for kept in ("squares", "means"):
        if (beside := getattr(optimizer, kept)) is not None:
            found |= {f"{kept}.{name}": tensor for name, tensor in vars(beside).items()}
    return found, updates.Updates(*map(torch.cat, zip(first, second, strict=True)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("batch", "inputs"), [(1, 2), (3, 1), (21, 40)])
@pytest.mark.parametrize("choices", CHOICES, ids=lambda c: "-".join(map(str, c.values())))
def test_blocks_of_updates_leave_the_weights_of_one_at_a_time(
    isa: str, dtype: torch.dtype, batch: int, inputs: int, choices: dict[str, Any]
) -> None:
    block = make_block(choices["loss"], batch=batch, inputs=inputs)
    choices = choices | {"learning_rate": RATES[choices["optimizer"]]}
    before = make_weights(inputs, 4, torch.float64, cell=choices["cell"])
    expected = update_one_at_a_time(block, before, **choices)
    found = update_in_blocks(block, dtype=dtype, **choices)
    most = MOST_OF_WEIGHTS[choices["optimizer"]]
    assert find_differences(*found, expected, most=most) == {}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("batch", [1, 21])
@pytest.mark.parametrize(
    "choices",
    [
        CHOICES[1] | {"readout": "mean"},
        CHOICES[4] | {"readout": "mean"},
        CHOICES[5] | {"readout": "last"},
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_blocks_of_masked_clips_leave_the_weights_of_one_update_at_a_time(
    isa: str, dtype: torch.dtype, batch: int, choices: dict[str, Any]
) -> None:
    whole, targets, *_ = vars(make_block(choices["loss"], batch=batch, inputs=5)).values()
    steps = (9, 15, 2, 1, 12, 7)
    features = [sequences[:, :num] for sequences, num in zip(whole, steps, strict=True)]
    generator = torch.Generator().manual_seed(3)
    lengths = torch.stack([
        torch.randint(1, sequences.shape[1] + 1, (batch,), generator=generator)
        for sequences in features
    ])  # fmt: skip
    masks = 2.0 * torch.randint(0, 2, (6, batch, HIDDEN), generator=generator).double()
    clips = Batches(features, targets, lengths, masks)
    choices = choices | {"learning_rate": RATES[choices["optimizer"]]}
    before = make_weights(5, 4, torch.float64, cell=choices["cell"])
    expected = update_one_at_a_time(clips, before, **choices)
    found = update_in_blocks(clips, dtype=dtype, **choices)
    most = MOST_OF_WEIGHTS[choices["optimizer"]]
    assert find_differences(*found, expected, most=most) == {}


def can_be_off(name: str, choices: dict[str, Any]) -> bool:
    """Whether a percent more of it is another problem: a class has none, and infinity stays."""
    if name == "targets":
        return bool(choices["loss"] == "squared_error")
    # The steps of rmsprop and adam do not depend on the size of all gradients together.
    is_seen = choices["optimizer"] == "sgd" or choices["clip_by"] == "value"
    return name != "clip" or (is_seen and math.isfinite(choices["clip"]))


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
    choices = choices | {"learning_rate": RATES[choices["optimizer"]]}
    block = make_block(choices["loss"], batch=21, inputs=40)
    found = update_in_blocks(block, dtype=dtype, **choices)
    before = make_weights(40, 4, torch.float64, cell=choices["cell"])
    if wrong in choices:
        choices = choices | {wrong: 1.01 * choices[wrong]}
    off = {name: 1.01 if name == wrong else 1 for name in ("features", "targets", *WEIGHTS)}
    before = NetWeights(**{name: off[name] * w for name, w in vars(before).items()})
    assert isinstance(block.features, Tensor)
    features, targets = off["features"] * block.features, off["targets"] * block.targets
    expected = update_one_at_a_time(Batches(features, targets), before, **choices)
    differences = find_differences(*found, expected, most=MOST_OF_WEIGHTS[choices["optimizer"]])
    assert differences
    if wrong in WEIGHTS:
        assert wrong in differences


def test_updates_stop_at_a_loss_that_is_not_finite(isa: str) -> None:
    features = torch.rand(4, 1, 5, 2, generator=torch.Generator().manual_seed(1))
    features[2, 0, 1, 0] = math.nan
    weights, expected = make_weights(2, 1, torch.float32), make_weights(2, 1, torch.float32)
    targets = torch.ones(4, 1, 1)
    sgd = Optimizer("sgd", 0.01)
    found = updates.run_updates(Batches(features, targets), weights=weights, optimizer=sgd)
    updates.run_updates(Batches(features[:2], targets[:2]), weights=expected, optimizer=sgd)
    for reported in found:
        assert reported.isfinite().tolist() == [True, True, False, False]
    assert all(map(torch.equal, vars(weights).values(), vars(expected).values()))


def test_autograd_notices_that_the_weights_changed(isa: str) -> None:
    weights = make_weights(2, 1, torch.float32)
    weights.weight_out.requires_grad_()
    loss = (weights.weight_out**2).sum()
    sgd = Optimizer("sgd", 0.1)
    block = Batches(torch.rand(1, 1, 3, 2), torch.ones(1, 1, 1))
    updates.run_updates(block, weights=weights, optimizer=sgd)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


@pytest.mark.parametrize("inputs", [3, 40])
def test_half_precision_changes_no_bit_of_a_block(isa: str, inputs: int) -> None:
    halves = torch.rand(3, 5, 7, inputs).half()
    left = []
    for features in (halves, halves.float(), list(halves), [*halves.float()]):
        weights = make_weights(inputs, 4, torch.float32)
        updates.run_updates(
            Batches(features, torch.ones(3, 5, 4)),
            weights=weights,
            optimizer=Optimizer("sgd", 1e-4),
        )
        left.append(list(vars(weights).values()))
    assert all(
        torch.equal(*pair) for other in left[1:] for pair in zip(left[0], other, strict=True)
    )
    assert not torch.equal(left[0][0], make_weights(inputs, 4, torch.float32).weight_ih)


def test_updates_that_do_not_fit_are_refused(isa: str) -> None:
    weights, features = make_weights(2, 3, torch.float32), torch.rand(1, 1, 2, 2)
    choices: dict[str, Any] = {"weights": weights, "optimizer": Optimizer("sgd", 0.1)}
    with pytest.raises(ValueError, match=r"targets are in \[3, 3\], not in \[0, 3\)"):
        block = Batches(features, torch.tensor([[3]]))
        updates.run_updates(block, loss="cross_entropy", **choices)
    with pytest.raises(ValueError, match="weight_ih is for 2 inputs, not 5"):
        updates.run_updates(Batches(torch.rand(1, 1, 2, 5), torch.ones(1, 1, 3)), **choices)
    block = Batches(features, torch.ones(1, 1, 3))
    with pytest.raises(ValueError, match=r"lengths are in \[3, 3\], but must be in \[1, the steps"):
        updates.run_updates(replace(block, lengths=torch.tensor([[3]])), **choices)
    with pytest.raises(ValueError, match=r"masks is \(1, 1, 3\) .* but \(1, 1, 30\)"):
        updates.run_updates(replace(block, masks=torch.ones(1, 1, 3)), **choices)
    with pytest.raises(ValueError, match=r"features is \(1, 2, 3\) .* but \(1, 2, 2\)"):
        two = [torch.rand(1, 2, 2), torch.rand(1, 2, 3)]
        updates.run_updates(Batches(two, torch.ones(2, 1, 3)), **choices)
    with pytest.raises(ValueError, match="clip is 0"):
        updates.run_updates(block, clip=0, **choices)
    with pytest.raises(
        ValueError, match=r"weight_hh is \(30, 30\), which is not that of cell lstm"
    ):
        updates.run_updates(block, cell="lstm", **choices)
    with pytest.raises(ValueError, match="weight_hh is not contiguous"):
        NetWeights(**(vars(weights) | {"weight_hh": weights.weight_hh.T}))


def test_an_optimizer_whose_state_does_not_fit_is_refused() -> None:
    weights = make_weights(2, 3, torch.float32)
    with pytest.raises(ValueError, match="optimizer rmsprop needs running means: squares"):
        Optimizer("rmsprop", 0.1)
    with pytest.raises(ValueError, match="optimizer sgd has no running means: squares"):
        Optimizer("sgd", 0.1, squares=zeros_beside(weights))
    other = zeros_beside(make_weights(2, 4, torch.float32))
    rmsprop = Optimizer("rmsprop", 0.1, decay=0.9, epsilon=1e-8, squares=other)
    with pytest.raises(ValueError, match=r"squares.weight_out is \(4, 30\)"):
        block = Batches(torch.rand(1, 1, 2, 2), torch.ones(1, 1, 3))
        updates.run_updates(block, weights=weights, optimizer=rmsprop)
