"""The dynamics of each layer of a deep or bidirectional net: those of the layer as a net alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from eval.dynamics import measures as dyn
from eval.dynamics.dynamics import compute_dynamics
from eval.dynamics.page import format_dynamics, write_dynamics
from eval.dynamics.unrolling import name_layer
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.layers import reverse_real_steps
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import load_run, save_weights
from tests.test_report import PageReader
from tests.tiny_runs import toy_section, write_toy_run

LENGTHS = torch.tensor([9, 4, 7])


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double()


def take_net(net: SequenceNet, place: int, *, inputs: int) -> SequenceNet:
    """The layer at this place as a net alone, with its part of the readout if it is on top."""
    spec = replace(net.spec, layers=1, bidirectional=False, input_size=inputs)
    alone = build_net(spec, seed=5)
    weights, prefix = net.state_dict(), f"recurrent.{place}."
    taken = {
        f"recurrent.{name.removeprefix(prefix)}": w
        for name, w in weights.items()
        if name.startswith(prefix)
    }
    first = spec.hidden_size * (place % net.spec.num_directions)
    taken["readout.weight"] = weights["readout.weight"][:, first : first + spec.hidden_size]
    taken["readout.bias"] = weights["readout.bias"]
    alone.load_state_dict(taken)
    return alone.double()


def compare(net: SequenceNet, place: int, features: Tensor, alone: SequenceNet, x: Tensor) -> None:
    """Assert that each number of the layer in `net` is that of the layer `alone` on `x`."""
    for function in (dyn.hidden_states, dyn.jacobian_radii, dyn.active_share):
        torch.testing.assert_close(
            function(net, features, lengths=LENGTHS, place=place),
            function(alone, x, lengths=LENGTHS),
        )
    torch.testing.assert_close(
        dyn.jacobian_norms(net, features, lengths=LENGTHS, steps_back=5, place=place),
        dyn.jacobian_norms(alone, x, lengths=LENGTHS, steps_back=5),
    )


def test_the_dynamics_of_an_upper_layer_are_those_of_a_net_that_reads_the_lower_ones_states() -> (
    None
):
    net = build_net(NetSpec("np-rnn", 2, 3, hidden_size=6, layers=2), seed=0).double()
    features = draw(3, 9, 2)
    below, above = (take_net(net, place, inputs=inputs) for place, inputs in ((0, 2), (1, 6)))
    compare(net, 0, features, below, features)
    states = dyn.hidden_states(net, features, lengths=LENGTHS)
    compare(net, 1, features, above, states)
    torch.testing.assert_close(
        dyn.gradient_norms(net, features, lengths=LENGTHS, steps_back=5, place=1),
        dyn.gradient_norms(above, states, lengths=LENGTHS, steps_back=5),
    )


def test_the_dynamics_of_a_backward_layer_are_those_of_a_net_on_reversed_sequences() -> None:
    net = build_net(NetSpec("irnn", 2, 3, hidden_size=6, bidirectional=True), seed=0).double()
    features = draw(3, 9, 2)
    in_order = {0: features, 1: reverse_real_steps(features, LENGTHS)}
    for place, x in in_order.items():
        alone = take_net(net, place, inputs=2)
        compare(net, place, features, alone, x)
        torch.testing.assert_close(
            dyn.gradient_norms(net, features, lengths=LENGTHS, steps_back=5, place=place),
            dyn.gradient_norms(alone, x, lengths=LENGTHS, steps_back=5),
        )
        torch.testing.assert_close(
            dyn.sensitivity(net, features, lengths=LENGTHS, place=place),
            dyn.sensitivity(alone, x, lengths=LENGTHS),
        )


def test_the_gradient_of_a_lower_layer_has_all_its_ways_through_the_upper_one() -> None:
    net = build_net(NetSpec("np-tanh-rnn", 2, 3, hidden_size=4, layers=2), seed=0).double()
    features, lengths = draw(1, 7, 2), torch.tensor([7])
    w = {name: tensor.detach() for name, tensor in net.state_dict().items()}
    added = [torch.zeros(4, dtype=torch.float64, requires_grad=True) for _ in range(7)]
    states = [torch.zeros(4, dtype=torch.float64) for _ in range(2)]
    for x_t, push in zip(features[0], added, strict=True):
        read = x_t
        for layer in (0, 1):
            of_input = w[f"recurrent.{layer}.weight_ih_l0"] @ read
            of_state = w[f"recurrent.{layer}.weight_hh_l0"] @ states[layer]
            states[layer] = read = (of_input + of_state).tanh() + (push if layer == 0 else 0)
    gradients = torch.autograd.grad((w["readout.weight"] @ states[1]).sum(), added)
    norms = torch.stack([gradient.norm() for gradient in reversed(gradients)])
    found = dyn.gradient_norms(net, features, lengths=lengths, steps_back=6)
    torch.testing.assert_close(found, norms / norms[0])


@pytest.mark.parametrize(
    ("layers", "bidirectional", "names"),
    [
        (1, False, [""]),
        (2, False, ["layer 1", "layer 2"]),
        (2, True, ["layer 1", "layer 1 backward", "layer 2", "layer 2 backward"]),
    ],
)
def test_layers_are_named_where_there_are_several(
    layers: int, bidirectional: bool, names: list[str]
) -> None:
    net = build_net(NetSpec("gru", 2, 1, layers=layers, bidirectional=bidirectional), seed=0)
    assert [name_layer(net, place) for place in range(len(names))] == names


def test_a_deep_run_has_a_page_with_the_pictures_of_each_layer(
    tmp_path: Path,
) -> None:
    write_toy_run(tmp_path / "run", toy_section("addition", length=12), model="lstm")
    run = load_run(tmp_path / "run")
    spec = replace(run.config.net, layers=2, bidirectional=True, hidden_size=6)
    run = replace(run, config=replace(run.config, net=spec))
    save_weights(run.folder, build_net(spec, seed=1))
    dynamics = compute_dynamics(run)
    text = write_dynamics(tmp_path / "out", dynamics).read_text()
    page = PageReader(text)
    assert len(page.all("svg")) == 4 * 2 + 1
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    said = format_dynamics(dynamics)
    assert "At the end of training in layer 2 backward the gradient 11 steps back is" in said
    assert "there are no verdicts on this one" in said
    assert "agrees with the paper" not in said.replace("what is drawn agrees with the paper", "")
    report = json.loads((tmp_path / "out" / "dynamics.json").read_text())
    assert len(report["moments"]) == 8
    assert "end, layer 1 backward" in report["moments"]
