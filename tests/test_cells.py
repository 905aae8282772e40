"""Cells of our own: gradients against numbers, starts against their laws, long sequences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.recurrent.cells import Lru, recur
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NETS, NetSpec

NOT_OURS = ("simple", "lstm", "gru", "none")
OURS = [name for name, kind in NETS.items() if kind.kept or kind.cell not in NOT_OURS]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_net(name: str) -> SequenceNet:
    """A small net in float64, moved off its start so that every weight has a say."""
    spec = NetSpec(name, 3, 2, hidden_size=5, readout="mean", h0="learned")
    net = build_net(spec, seed=0).double().eval()
    with torch.no_grad():
        for place, weights in enumerate(net.parameters()):
            weights.add_(0.2 * draw(*weights.shape, seed=place))
    return net


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradients_of_a_recurrence_are_those_of_differences(dtype: torch.dtype) -> None:
    weights, inputs = (draw(2, 5, 3, seed=seed, dtype=dtype) for seed in (0, 1))
    start = draw(2, 3, seed=2, dtype=dtype)
    tensors = tuple(tensor.requires_grad_() for tensor in (weights, inputs, start))
    assert torch.autograd.gradcheck(recur, tensors)


def test_a_recurrence_takes_weights_that_are_one_for_all_steps() -> None:
    weight, inputs, start = draw(3, seed=0).requires_grad_(), draw(2, 5, 3, seed=1), draw(2, 3)

    def run(weight: Tensor) -> Tensor:
        return recur(weight.expand_as(inputs), inputs, start)

    state = start
    for t, found in enumerate(run(weight).unbind(1)):
        state = weight * state + inputs[:, t]
        torch.testing.assert_close(found, state)
    assert torch.autograd.gradcheck(run, (weight,))


@pytest.mark.parametrize("name", OURS)
def test_gradients_reach_every_weight_and_are_those_of_differences(name: str) -> None:
    net = make_net(name)
    features, lengths = draw(4, 9, 3), torch.tensor([9, 4, 1, 7])
    trained = {key: weights for key, weights in net.named_parameters() if weights.requires_grad}

    def loss() -> Tensor:
        outputs: Tensor = net(features, lengths)
        return outputs.square().sum()

    gradients = torch.autograd.grad(loss(), list(trained.values()))
    for (key, weights), gradient in zip(trained.items(), gradients, strict=True):
        assert gradient.any(), key
        direction = draw(*weights.shape, seed=7)
        with torch.no_grad():
            weights.add_(1e-5 * direction)
            above = loss()
            weights.sub_(2e-5 * direction)
            below = loss()
            weights.add_(1e-5 * direction)
        # Central differences: off by the third derivative times 1e-10, and rounding over 1e-5.
        torch.testing.assert_close(
            (above - below) / 2e-5, (gradient * direction).sum(), rtol=1e-6, atol=1e-6, msg=key
        )


@pytest.mark.parametrize("name", OURS)
def test_a_thousand_steps_stay_finite_and_so_do_their_gradients(name: str) -> None:
    net = build_net(NetSpec(name, 2, 1), seed=0).eval()
    outputs = net(draw(2, 1000, 2, dtype=torch.float32), torch.tensor([1000, 1000]))
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(
        weights.grad.isfinite().all() for weights in net.parameters() if weights.grad is not None
    )


def test_min_gru_starts_as_torchs_linear_layers_but_for_the_biases() -> None:
    net = build_net(NetSpec("min-gru", 16, 2, hidden_size=200), seed=0).state_dict()
    weight, own = net["recurrent.weight_ih_l0"], torch.nn.Linear(16, 400).weight.detach()
    for quantile in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert weight.quantile(quantile) == pytest.approx(float(own.quantile(quantile)), abs=0.01)
    assert not net["recurrent.bias_ih_l0"].any()


def test_co_rnn_starts_as_torchs_linear_layer_of_inputs_and_states_but_for_the_biases() -> None:
    net = build_net(NetSpec("co-rnn", 16, 2, hidden_size=100), seed=0).state_dict()
    bound = 216**-0.5
    for part in ("ih", "hh"):
        weight = net[f"recurrent.weight_{part}_l0"]
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.03)  # uniform
        assert 0.99 * bound < weight.abs().max() <= bound
    assert not net["recurrent.bias_ih_l0"].any()


def eigenvalues_of(net: SequenceNet) -> Tensor:
    """λ (H,), as the state without input turns it: the memory after one step from 1 + 0i."""
    layer = net.recurrent
    assert isinstance(layer, Lru)
    hidden = len(layer.bias_ih_l0)
    one = torch.cat([torch.ones(1, hidden), torch.zeros(1, hidden)], dim=1)
    with torch.no_grad():
        _, (memory,) = layer(torch.zeros(1, 1, 16), (one,))
    return torch.complex(*memory[0].double().chunk(2))


def test_lru_starts_uniform_over_a_ring_with_memories_of_the_inputs_power() -> None:
    net = build_net(NetSpec("lru", 16, 2, hidden_size=2000), seed=0)
    turned = eigenvalues_of(net)
    radii = turned.abs()
    assert 0.9 - 1e-6 < radii.min() < 0.905
    assert 0.995 < radii.max() < 0.999 + 1e-6
    # Uniform over the area: the squared radius is uniform, and so is the angle.
    assert radii.square().mean() == pytest.approx((0.81 + 0.998) / 2, abs=0.005)
    assert abs(turned.sgn().mean()) < 4 / 2000**0.5
    # White noise of variance 1 gives |m|² = 1 in the mean, when 2000 steps have hidden the start.
    x, small = (
        draw(8, 2000, 16, dtype=torch.float32),
        build_net(replace(net.spec, hidden_size=200), seed=0),
    )
    assert small.recurrent is not None
    with torch.no_grad():
        memory = small.recurrent(x, (torch.zeros(8, 400),))[1][0]
    assert memory.square().sum(dim=1).mean() / 200 == pytest.approx(1, rel=0.1)  # of 1600 numbers
    weights = net.state_dict()
    assert weights["recurrent.of_memory"].std() == pytest.approx(2000**-0.5, rel=0.01)
    assert weights["recurrent.weight_ih_l0"].std() == pytest.approx(16**-0.5, rel=0.02)


def test_lru_is_stable_whatever_it_learns() -> None:
    net = build_net(NetSpec("lru", 16, 2, hidden_size=50), seed=0)
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(3 * draw(*weights.shape, dtype=torch.float32))
    assert eigenvalues_of(net).abs().max() <= 1
