"""Nets of several layers and of both directions: against torch's own, and a step at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.recurrent.classifier import NetState, SequenceNet, build_net, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.recurrent.initial import identity
from pipeline.recurrent.layers import name_layers
from pipeline.recurrent.spec import NETS, NetSpec
from tests.by_hand import outputs_by_hand

RECURRENT = [name for name in NETS if name != "mean-pool"]
STATELESS = ["last", "all"]
READOUTS = ["last", "mean", "last-and-mean", "all"]
LENGTHS = torch.tensor([9, 4, 1, 7])

# Of float32 against float64, or of sums in another order: states near 1 over nine steps of up to
# five layers.
CLOSE = 5e-5


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def make_net(name: str, *, seed: int = 0, **fields: Any) -> SequenceNet:
    """A small net moved off its start, so that every weight has a say."""
    net = build_net(NetSpec(name, 3, 4, hidden_size=5, **fields), seed=seed).eval()
    with torch.no_grad():
        for place, weights in enumerate(net.parameters()):
            if weights.requires_grad:
                weights.add_(0.2 * draw(*weights.shape, seed=place))
    return net


TORCH: dict[str, Any] = {
    "irnn": lambda **of: nn.RNN(3, 5, nonlinearity="relu", **of),
    "np-tanh-rnn": lambda **of: nn.RNN(3, 5, nonlinearity="tanh", **of),
    "lstm": lambda **of: nn.LSTM(3, 5, **of),
    "gru": lambda **of: nn.GRU(3, 5, **of),
}


def torchs_own(net: SequenceNet) -> nn.RNNBase:
    """torch's net of as many layers and directions, with the weights of `net`."""
    spec = net.spec
    own: nn.RNNBase = TORCH[spec.name](
        num_layers=spec.layers, bidirectional=spec.bidirectional, batch_first=True
    )
    weights: dict[str, Tensor] = {}
    for place, layer in enumerate(name_layers(net.recurrent).values()):
        level, is_backward = divmod(place, spec.num_directions)
        ending = f"_l{level}{'_reverse' if is_backward else ''}"
        weights |= {n.replace("_l0", ending): w for n, w in layer.state_dict().items()}
    own.load_state_dict(weights)
    return own.to(net.readout.weight.dtype)


def read_by_torch(net: SequenceNet, own: nn.RNNBase, features: Tensor) -> Tensor:
    """The outputs of `net` by torch's own net, which is given packed sequences."""
    packed = pack_padded_sequence(features, LENGTHS, batch_first=True, enforce_sorted=False)
    steps, last = own(packed)
    h_n = last[0] if isinstance(last, tuple) else last
    if net.spec.readout == "last":
        outputs: Tensor = net.readout(torch.cat(list(h_n[-net.spec.num_directions :]), dim=1))
        return outputs
    padded, _ = pad_packed_sequence(steps, batch_first=True)
    answers: Tensor = net.readout(padded)
    return answers.masked_fill(torch.arange(9)[:, None] >= LENGTHS[:, None, None], 0)


@pytest.mark.parametrize("readout", STATELESS)
@pytest.mark.parametrize(
    ("layers", "bidirectional"), [(2, False), (5, False), (1, True), (3, True)]
)
@pytest.mark.parametrize("name", TORCH)
def test_deep_and_bidirectional_nets_are_torchs_own(
    name: str, layers: int, bidirectional: bool, readout: str
) -> None:
    net = make_net(name, layers=layers, bidirectional=bidirectional, readout=readout)
    features, own = draw(4, 9, 3), torchs_own(net)
    found, expected = net(features, LENGTHS), read_by_torch(net, own, features)
    torch.testing.assert_close(found, expected, atol=CLOSE, rtol=CLOSE)
    trained = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    ours = [
        layer.get_parameter(n) for layer in name_layers(net.recurrent).values() for n in trained
    ]
    theirs = [
        own.get_parameter(n.replace("_l0", f"_l{level}{ending}"))
        for level in range(layers)
        for ending in ("", "_reverse")[: net.spec.num_directions]
        for n in trained
    ]
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), ours),
        torch.autograd.grad(expected.square().sum(), theirs),
        atol=1e-3,  # sums over 21 steps, of values up to 100
        rtol=1e-3,
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", RECURRENT)
def test_outputs_of_two_layers_are_those_of_the_equations(name: str, bidirectional: bool) -> None:
    features = draw(4, 9, 3)
    for readout in READOUTS:
        net = make_net(name, layers=2, bidirectional=bidirectional, readout=readout, h0="learned")
        with torch.no_grad():
            found = net(features, LENGTHS).numpy()
        for row, x, length in zip(found, features.numpy(), LENGTHS.tolist(), strict=True):
            expected = outputs_by_hand(net, x[:length].astype(np.float64))
            row_read = row[:length] if readout == "all" else row
            np.testing.assert_allclose(row_read, expected, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("name", RECURRENT)
def test_padding_changes_nothing_of_a_bidirectional_net(name: str) -> None:
    net = make_net(name, layers=2, bidirectional=True, readout="all")
    features = draw(4, 9, 3)
    features[torch.arange(9) >= LENGTHS[:, None]] = -1e3
    together = net(features, LENGTHS)
    for found, x, length in zip(together, features, LENGTHS, strict=True):
        alone = net(x[None, :length], length[None])[0]
        torch.testing.assert_close(found[:length], alone, atol=CLOSE, rtol=CLOSE)
        assert not found[length:].any()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", RECURRENT)
def test_gradients_of_two_layers_are_those_of_differences(name: str, bidirectional: bool) -> None:
    net = make_net(name, layers=2, bidirectional=bidirectional, h0="learned").double()
    features = draw(4, 9, 3, dtype=torch.float64)
    trained = [weights for weights in net.parameters() if weights.requires_grad]
    gradients = torch.autograd.grad(net(features, LENGTHS).square().sum(), trained)
    assert all(gradient.any() for gradient in gradients)
    directions = [draw(*w.shape, seed=7, dtype=torch.float64) for w in trained]
    sides = []
    with torch.no_grad():
        for move in (1e-6, -2e-6):
            for weights, direction in zip(trained, directions, strict=True):
                weights.add_(move * direction)
            sides.append(net(features, LENGTHS).square().sum())
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    # Central differences: off by the third derivative times 1e-12, and rounding over 1e-6.
    torch.testing.assert_close((sides[0] - sides[1]) / 2e-6, slope, rtol=1e-6, atol=1e-6)


def detached(state: NetState) -> NetState:
    return NetState(*(component.detach() for component in state))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", RECURRENT)
def test_a_sequence_in_cuts_is_read_as_it_is_whole(name: str, layers: int) -> None:
    net = make_net(name, layers=layers, readout="all", h0="learned")
    features = draw(4, 9, 3)
    with torch.no_grad():
        whole, end = net.advance_all(features, torch.full((4,), 9), net.initial_state(4))
        torch.testing.assert_close(net.readout(whole), net(features, torch.full((4,), 9)))
        state, reads, steps = net.initial_state(4), [], net.initial_state(4)
        for first, last in pairwise((0, 1, 4, 9)):
            lengths = torch.full((4,), last - first)
            read, state = net.advance_all(features[:, first:last], lengths, state)
            reads.append(read)
        for x_t in features.unbind(1):
            _, steps = net.step(x_t, steps)
    torch.testing.assert_close(torch.cat(reads, dim=1), whole, atol=CLOSE, rtol=CLOSE)
    for found in (state, steps):
        torch.testing.assert_close(found, end, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # by the kernel, and by torch
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", RECURRENT)
def test_the_state_after_is_that_of_each_sequences_last_real_step(
    name: str, layers: int, dtype: torch.dtype
) -> None:
    net = make_net(name, layers=layers, readout="all").to(dtype)
    features = draw(4, 9, 3, dtype=dtype)
    features[torch.arange(9) >= LENGTHS[:, None]] = 1e3
    state = net.advance_all(draw(4, 5, 3, seed=1), torch.full((4,), 5), net.initial_state(4))[1]
    read, after = net.advance_all(features, LENGTHS, detached(state))
    for row, length in enumerate(LENGTHS.tolist()):
        own = NetState(*(component[row : row + 1] for component in detached(state)))
        for x_t in features[row : row + 1, :length].unbind(1):
            read_t, own = net.advance(x_t, own)
        torch.testing.assert_close(read[row, length - 1], read_t[0], atol=CLOSE, rtol=CLOSE)
        assert not read[row, length:].any()
        found = NetState(*(component[row : row + 1] for component in after))
        torch.testing.assert_close(found, own, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("name", ["irnn", "orthogonal-rnn", "lstm", "gru", "co-rnn", "lru"])
def test_gradients_through_carried_states_are_those_of_the_uncut_pass(name: str) -> None:
    net = make_net(name, layers=2, readout="all").double()
    features = draw(3, 8, 3, dtype=torch.float64)
    ends = torch.tensor([8, 5, 6])
    trained = [weights for weights in net.parameters() if weights.requires_grad][:-2]
    whole, _ = net.advance_all(features, ends, net.initial_state(3))
    first, state = net.advance_all(features[:, :4], torch.full((3,), 4), net.initial_state(3))
    second, _ = net.advance_all(features[:, 4:], ends - 4, state)
    torch.testing.assert_close(
        torch.autograd.grad(torch.cat([first, second], dim=1).square().sum(), trained),
        torch.autograd.grad(whole.square().sum(), trained),
    )


def test_each_layer_starts_by_its_own_rule() -> None:
    spec = NetSpec("irnn", 64, 2, hidden_size=200, layers=3, bidirectional=True)
    weights = build_net(spec, seed=0).state_dict()
    for place, inputs in enumerate((64, 64, 400, 400, 400, 400)):
        found = weights[f"recurrent.{place}.weight_ih_l0"]
        assert found.shape == (200, inputs)
        deviation = np.sqrt(2 / inputs) * np.exp(1.2 / (inputs - 2.4))  # eq. 10
        assert float(found.std()) == pytest.approx(deviation, rel=0.03)
        assert torch.equal(
            weights[f"recurrent.{place}.weight_hh_l0"],
            identity(200, torch.Generator()),
        )
        assert not weights[f"recurrent.{place}.bias_ih_l0"].any()


@pytest.mark.parametrize("name", RECURRENT)
def test_no_two_layers_draw_the_same_weights(name: str) -> None:
    net = build_net(NetSpec(name, 5, 2, hidden_size=5, layers=2), seed=0)
    below, above = (layer.state_dict() for layer in name_layers(net.recurrent).values())
    assert not torch.equal(below["weight_ih_l0"], above["weight_ih_l0"])
    if NETS[name].cell == "lstm":
        assert above["bias_ih_l0"].tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


def test_the_first_layer_of_a_deep_simple_net_starts_as_the_one_layer_net() -> None:
    one, deep = (
        build_net(NetSpec("np-rnn", 7, 2, layers=layers), seed=3).state_dict() for layers in (1, 4)
    )
    assert torch.equal(deep["recurrent.0.weight_ih_l0"], one["recurrent.weight_ih_l0"])


# By hand, D = 7, H = 10, C = 3, layers of 7 then 20 inputs in two directions: weights of a layer's
# two nets with their biases, and its matrices alone.
@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("irnn", 2 * (70 + 100 + 10) + 2 * (200 + 100 + 10), 2 * 170 + 2 * 300),
        ("lstm", 8 * (70 + 100 + 10) + 8 * (200 + 100 + 10), 8 * 170 + 8 * 300),
        ("gru", 6 * (70 + 100 + 10) + 6 * (200 + 100 + 10), 6 * 170 + 6 * 300),
        ("ind-rnn", 2 * (70 + 10 + 10) + 2 * (200 + 10 + 10), 2 * 70 + 2 * 200),
        ("min-gru", 4 * (70 + 10) + 4 * (200 + 10), 4 * 70 + 4 * 200),
        ("co-rnn", 2 * (70 + 200 + 10) + 2 * (200 + 200 + 10), 2 * 270 + 2 * 400),
        ("lru", 2 * (210 + 200 + 40) + 2 * (600 + 200 + 40), 2 * 410 + 2 * 800),
    ],
)
def test_parameters_and_multiply_adds_of_deep_nets_are_counted(
    name: str, parameters: int, multiply_adds: int
) -> None:
    fields: dict[str, Any] = {"layers": 2, "bidirectional": True, "hidden_size": 10}
    for readout, of_readout in (("last", 0), ("all", 60)):
        spec = NetSpec(name, 7, 3, readout=readout, **fields)
        assert num_parameters(build_net(spec, seed=0)) == parameters + 3 * 20 + 3
        assert multiply_adds_per_step(spec) == multiply_adds + of_readout


def test_a_bidirectional_net_that_should_go_on_from_a_state_is_refused() -> None:
    net = make_net("lstm", bidirectional=True)
    with pytest.raises(ValueError, match=r"(?s)from its end.*bidirectional=false"):
        net.initial_state(1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 0}, "model.layers: expected a whole number from 1 to 5, found 0"),
        ({"layers": 6}, "model.layers: expected a whole number from 1 to 5, found 6"),
        ({"layers": True}, "model.layers: expected a whole number, found true"),
        ({"bidirectional": 1}, "model.bidirectional: expected .*, found 1"),
        ({"name": "mean-pool", "layers": 2}, "model.layers is 2, which has no effect on mean-pool"),
        ({"name": "mean-pool", "bidirectional": True}, "model.bidirectional is True, which has no"),
    ],
)
def test_depth_that_means_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetSpec(**{"name": "irnn", "input_size": 3, "num_outputs": 2, **fields})
