"""Nets whose recurrent matrix is kept of one kind: what it is at the start, and after training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.kept import plain_weights
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import load_net, load_run, save_weights
from tests.tiny_runs import toy_section, write_toy_run

KEPT = ("ind-rnn", "orthogonal-rnn")


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def matrix_of(net: SequenceNet) -> Tensor:
    """The recurrent matrix that the net computes with, in float64."""
    return plain_weights(net)["recurrent.weight_hh_l0"].double()


def train_a_little(net: SequenceNet, *, num_updates: int = 20) -> SequenceNet:
    """The net after large updates on noise."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([w for w in net.parameters() if w.requires_grad], lr=0.05)
    for _ in range(num_updates):
        features = torch.randn(8, 12, 3, generator=generator)
        optimizer.zero_grad()
        (net(features, torch.full((8,), 12)) - 1).square().mean().backward()
        optimizer.step()
    return net.eval()


def test_ind_rnn_starts_as_irnn_and_stays_diagonal() -> None:
    spec = NetSpec("ind-rnn", 3, 2, hidden_size=20)
    start, irnn = build_net(spec, seed=1), build_net(NetSpec("irnn", 3, 2, hidden_size=20), seed=1)
    assert torch.equal(matrix_of(start), torch.eye(20, dtype=torch.float64))
    x, lengths = draw(4, 30, 3), torch.full((4,), 30)
    torch.testing.assert_close(start.eval()(x, lengths), irnn.eval()(x, lengths))
    end = matrix_of(train_a_little(build_net(spec, seed=1)))
    assert torch.equal(end, end.diagonal().diag())
    assert (end.diagonal() - 1).abs().min() > 1e-3  # each has learned


def test_orthogonal_rnn_starts_as_o_rnn_and_stays_orthogonal() -> None:
    spec = NetSpec("orthogonal-rnn", 3, 2, hidden_size=20)
    start = matrix_of(build_net(spec, seed=1))
    other = matrix_of(build_net(NetSpec("o-rnn", 3, 2, hidden_size=20), seed=1))
    torch.testing.assert_close(start, other, atol=1e-6, rtol=0)  # float32: times a computed I
    end = matrix_of(train_a_little(build_net(spec, seed=1)))
    assert (end - start).abs().max() > 0.1
    # Entries rounded to float32 after a solve; 20 updates of o-rnn left it by 0.1 and more.
    torch.testing.assert_close(end @ end.T, torch.eye(20).double(), atol=5e-6, rtol=0)
    free = matrix_of(train_a_little(build_net(NetSpec("o-rnn", 3, 2, hidden_size=20), seed=1)))
    assert (free @ free.T - torch.eye(20)).abs().max() > 0.1


@pytest.mark.parametrize("name", KEPT)
def test_a_saved_net_is_the_net(tmp_path: Path, name: str) -> None:
    write_toy_run(tmp_path / "run", toy_section("addition", length=30), model=name)
    run = load_run(tmp_path / "run")
    net = build_net(run.config.net, seed=5).eval()
    with torch.no_grad():
        for weights in net.parameters():
            weights.add_(0.1 * draw(*weights.shape))
    save_weights(run.folder, net)
    x, lengths = draw(2, 9, 2), torch.tensor([9, 4])
    assert torch.equal(load_net(run)(x, lengths), net(x, lengths))


@pytest.mark.parametrize("name", KEPT)
def test_the_kernel_and_torch_give_the_same_states_and_gradients(name: str) -> None:
    net = build_net(NetSpec(name, 3, 2, hidden_size=7), seed=0).eval()
    x, lengths = draw(3, 9, 3), torch.tensor([9, 4, 1])
    trained = [weights for weights in net.parameters() if weights.requires_grad]
    outputs = net(x, lengths)
    gradients = torch.autograd.grad(outputs.square().sum(), trained)
    exact = net.double()  # the kernel is for float32
    trained = [weights for weights in exact.parameters() if weights.requires_grad]
    expected = exact(x, lengths)
    torch.testing.assert_close(outputs, expected.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        gradients,
        tuple(g.float() for g in torch.autograd.grad(expected.square().sum(), trained)),
        atol=1e-4,  # sums over 14 steps of values up to 100
        rtol=1e-4,
    )
