"""Every net against its equations, and the promises that all nets keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.recurrent.classifier import SequenceNet, build_net, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.recurrent.spec import NETS, NetSpec
from tests.by_hand import outputs_by_hand

SIMPLE = [name for name, kind in NETS.items() if kind.cell == "simple"]
RECURRENT = [name for name in NETS if name != "mean-pool"]

# float32 against float64, or another order of the sums, over some ten steps of states near 1.
CLOSE = 1e-5


def make_net(name: str, *, seed: int = 0, **fields: Any) -> SequenceNet:
    """A small net without dropout, with what starts at 0 or 1 off it, so that it counts."""
    sizes = {"input_size": 3, "num_outputs": 4, "hidden_size": 5}
    if name == "mean-pool":
        del sizes["hidden_size"]
    net = build_net(NetSpec(name, **{**sizes, **fields}), seed=seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weights in net.named_parameters():
            if weights.requires_grad and any(part in key for part in ("bias", "start", "original")):
                weights.add_(0.5 * torch.randn(weights.shape, generator=generator))
    return net


def draw_batch(seed: int, *, batch: int = 4, steps: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, steps + 1, (batch,), generator=generator)
    return torch.randn(batch, steps, 3, generator=generator), lengths


def readouts(name: str) -> list[str]:
    return ["last"] if name == "mean-pool" else ["last", "mean", "last-and-mean", "all"]


def initial_states(name: str) -> list[str]:
    return ["zero"] if name == "mean-pool" else ["zero", "learned"]


EVERY_NET_AND_READOUT = [(name, readout) for name in NETS for readout in readouts(name)]


@pytest.mark.parametrize(
    ("name", "readout", "h0"),
    [(*pair, h0) for pair in EVERY_NET_AND_READOUT for h0 in initial_states(pair[0])],
)
def test_outputs_are_those_of_the_equations(name: str, readout: str, h0: str) -> None:
    net = make_net(name, readout=readout, h0=h0)
    features, lengths = draw_batch(1)
    with torch.no_grad():
        found = net(features, lengths).numpy()
    for row, x, length in zip(found, features.numpy(), lengths.tolist(), strict=True):
        expected = outputs_by_hand(net, x[:length].astype(np.float64))
        np.testing.assert_allclose(
            row[:length] if readout == "all" else row, expected, atol=CLOSE, rtol=CLOSE
        )


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), junk=st.sampled_from([0.0, 1e3, -1e6]))
@pytest.mark.parametrize(("name", "readout"), EVERY_NET_AND_READOUT)
def test_padding_order_and_mates_never_change_a_sequences_outputs_or_gradients(
    name: str, readout: str, seed: int, junk: float
) -> None:
    net = make_net(name, readout=readout)
    features, lengths = draw_batch(seed)
    features[torch.arange(9) >= lengths[:, None]] = junk
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    together = net(features[order], lengths[order])[order.argsort()]
    alone = [net(x[None, :n], n[None])[0] for x, n in zip(features, lengths, strict=True)]
    for found, expected, length in zip(together, alone, lengths.tolist(), strict=True):
        if readout == "all":
            assert not found[length:].any()
            found = found[:length]  # noqa: PLW2901
        torch.testing.assert_close(found, expected, atol=CLOSE, rtol=CLOSE)
    trained = [weights for weights in net.parameters() if weights.requires_grad]
    torch.testing.assert_close(
        torch.autograd.grad(together.square().sum(), trained),
        torch.autograd.grad(sum(s.square().sum() for s in alone), trained),
        atol=1e-4,  # sums over all steps and sequences, of values up to 100
        rtol=1e-4,
    )


@pytest.mark.parametrize(("name", "readout"), EVERY_NET_AND_READOUT)
def test_reading_step_by_step_equals_reading_at_once(name: str, readout: str) -> None:
    net = make_net(name, readout=readout, h0=initial_states(name)[-1])
    features, _ = draw_batch(2)
    state = net.initial_state(4)
    with torch.no_grad():
        for t in range(9):
            outputs, state = net.step(features[:, t], state)
            at_once = net(features[:, : t + 1], torch.full((4,), t + 1))
            torch.testing.assert_close(
                outputs, at_once[:, t] if readout == "all" else at_once, atol=CLOSE, rtol=CLOSE
            )
    assert state.num_steps.tolist() == [9] * 4


# By hand, for D = 7, H = 10, C = 3: one bias a gate, the readout's 33.
COUNTS = {
    **dict.fromkeys(SIMPLE, (70 + 100 + 10 + 33, 170)),
    "ind-rnn": (70 + 10 + 10 + 33, 70),
    "lstm": (4 * 180 + 33, 680),
    "gru": (3 * 180 + 33, 510),
    "min-gru": (2 * 80 + 33, 140),
    "co-rnn": (70 + 200 + 10 + 33, 270),
    "lru": (3 * 70 + 200 + 4 * 10 + 33, 410),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_parameters_and_multiply_adds_are_counted(name: str) -> None:
    spec = NetSpec(name, input_size=7, num_outputs=3, hidden_size=10)
    parameters, multiply_adds = COUNTS[name]
    assert num_parameters(build_net(spec, seed=0)) == parameters
    learned = replace(spec, h0="learned")
    extra = 20 if name in ("lstm", "co-rnn", "lru") else 10
    assert num_parameters(build_net(learned, seed=0)) == parameters + extra
    assert multiply_adds_per_step(spec) == multiply_adds
    assert multiply_adds_per_step(replace(spec, readout="all")) == multiply_adds + 30
    beside = replace(spec, readout="last-and-mean")
    assert num_parameters(build_net(beside, seed=0)) == parameters + 3 * 7
    assert multiply_adds_per_step(beside) == multiply_adds


def test_last_and_mean_cost_np_rnn_less_than_a_tenth_more_parameters_on_the_sample() -> None:
    last = NetSpec("np-rnn", input_size=1024, num_outputs=11)
    nets = [build_net(replace(last, readout=r), seed=0) for r in ("last", "last-and-mean")]
    before, after = map(num_parameters, nets)
    assert (before, after) == (113_611, 124_875)
    assert after < 1.1 * before


@pytest.mark.parametrize("name", RECURRENT)
def test_with_last_and_mean_a_net_that_ignores_its_states_is_mean_pool(name: str) -> None:
    net = make_net(name, readout="last-and-mean")
    pool = make_net("mean-pool", seed=1)
    with torch.no_grad():
        net.readout.weight[:, :5] = 0
        net.readout.weight[:, 5:] = pool.readout.weight
        net.readout.bias.copy_(pool.readout.bias)
        found, expected = (n(*draw_batch(5)) for n in (net, pool))
    torch.testing.assert_close(found, expected, atol=CLOSE, rtol=CLOSE)


def test_with_last_and_mean_a_sequence_in_training_reads_one_of_them_doubled() -> None:
    net = make_net("np-rnn", readout="last-and-mean", dropout=0.0)
    seen: list[Tensor] = []
    net.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features, lengths = draw_batch(6, batch=600)
    torch.manual_seed(0)
    with torch.no_grad():
        for is_training in (False, True):
            net.train(is_training)(features, lengths)
    both, one = seen
    reads_state = (one[:, 5:] == 0).all(dim=1)
    assert torch.equal(one[reads_state, :5], 2 * both[reads_state, :5])
    assert torch.equal(one[~reads_state, 5:], 2 * both[~reads_state, 5:])
    assert not one[~reads_state, :5].any()
    assert float(reads_state.float().mean()) == pytest.approx(0.5, abs=0.07)


def test_mean_pool_is_a_linear_layer() -> None:
    spec = NetSpec("mean-pool", input_size=7, num_outputs=3)
    assert num_parameters(build_net(spec, seed=0)) == 24
    assert multiply_adds_per_step(spec) == 0


def test_the_recurrent_weights_load_into_torchs_own_layer() -> None:
    net = make_net("np-rnn")
    own = torch.nn.RNN(3, 5, nonlinearity="relu", batch_first=True)
    prefix = "recurrent."
    own.load_state_dict(
        {
            key.removeprefix(prefix): weights
            for key, weights in net.state_dict().items()
            if key.startswith(prefix)
        }
    )
    assert not own.get_parameter("bias_hh_l0").any()
    features, _ = draw_batch(3)
    expected = net.readout(own(features)[0][:, -1])
    torch.testing.assert_close(net(features, torch.full((4,), 9)), expected, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize(
    ("meaning", "share", "zeros"), [("dropped", 0.2, 0.2), ("kept", 0.2, 0.8), ("kept", 1.0, 0.0)]
)
def test_dropout_cuts_the_share_that_its_meaning_says_in_training_only(
    meaning: str, share: float, zeros: float
) -> None:
    spec = NetSpec("irnn", 1, 1, hidden_size=4000, dropout=share, dropout_means=meaning)
    net = build_net(spec, seed=0)
    seen: list[Tensor] = []
    net.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        assert net.recurrent is not None
        net.recurrent.get_parameter("weight_ih_l0").fill_(1.0)
        torch.manual_seed(0)
        net.train()(torch.ones(1, 1, 1), torch.tensor([1]))
        net.eval()(torch.ones(1, 1, 1), torch.tensor([1]))
    assert (seen[0] == 0).float().mean() == pytest.approx(zeros, abs=0.03)
    assert seen[0].mean() == pytest.approx(1, abs=0.15)  # what stays is scaled up
    assert torch.equal(seen[1], torch.ones(1, 4000))


def test_the_forget_bias_is_the_forget_gates_alone() -> None:
    net = build_net(NetSpec("lstm", 3, 2, hidden_size=5, forget_bias=2.5), seed=0)
    weights = net.state_dict()
    assert weights["recurrent.bias_ih_l0"].tolist() == [0.0] * 5 + [2.5] * 5 + [0.0] * 10
    assert not weights["recurrent.bias_hh_l0"].any()


@pytest.mark.parametrize("name", NETS)
def test_the_seed_alone_decides_the_weights(name: str) -> None:
    spec = NetSpec(name, 3, 2)
    before = torch.random.get_rng_state()
    first = build_net(spec, seed=1).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    again, other = build_net(spec, seed=1).state_dict(), build_net(spec, seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["readout.weight"], other["readout.weight"])


@pytest.mark.parametrize("name", NETS)
def test_every_weight_is_contiguous_and_lies_in_memory_of_its_own(name: str) -> None:
    layers = 1 if name == "mean-pool" else 2
    for tensor in build_net(NetSpec(name, 7, 3, layers=layers), seed=0).parameters():
        assert tensor.is_contiguous()
        assert tensor.untyped_storage().nbytes() == 4 * tensor.numel()


def test_simple_nets_of_one_seed_differ_in_the_recurrent_matrix_alone() -> None:
    nets = [build_net(NetSpec(name, 3, 2), seed=1).state_dict() for name in SIMPLE]
    for net in nets[1:]:
        for key in net:
            assert "weight_hh_l0" in key or torch.equal(net[key], nets[0][key])


def test_the_input_scale_divides_by_the_size_it_names() -> None:
    spec = NetSpec("np-rnn", 1024, 2)
    wide, narrow = (
        build_net(replace(spec, input_scale=scale), seed=0).state_dict()["recurrent.weight_ih_l0"]
        for scale in ("fan-in", "hidden")
    )
    gain = np.exp(1.2 / (100 - 2.4) - 1.2 / (1024 - 2.4))
    torch.testing.assert_close(narrow, wide * float(np.sqrt(1024 / 100) * gain))


@pytest.mark.parametrize("name", RECURRENT)
def test_autocast_leaves_the_recurrence_in_float32(name: str) -> None:
    net = make_net(name, readout="last")
    seen: list[Tensor] = []
    net.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    features, lengths = draw_batch(4)
    with torch.no_grad():
        net(features, lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            net(features, lengths)
            net.step(features[:, 0], net.initial_state(4))
    assert torch.equal(seen[0], seen[1])
    assert seen[2].dtype == torch.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "np-rn"}, "model: expected one of np-rnn, .*found 'np-rn'. Did you mean np-rnn"),
        ({"hidden_size": 0}, "hidden_size is 0; expected a whole number of at least 1"),
        ({"input_size": 2.0}, "input_size: expected a whole number, found 2.0"),
        ({"input_scale": "N"}, "model.input_scale: expected one of fan-in, hidden, found 'N'"),
        (
            {"readout": "first"},
            "model.readout: expected one of last, mean, last-and-mean, all, found 'first'",
        ),
        ({"dropout": 1.0}, r"dropout is 1.0; expected a share in \[0, 1\)"),
        ({"dropout": 0.0, "dropout_means": "kept"}, r"dropout is 0.0; expected .* \(0, 1\]"),
        ({"h0": "one"}, "model.h0: expected one of zero, learned, found 'one'"),
        ({"forget_bias": 2.0}, "forget_bias is 2.0, which has no effect on np-rnn.*default, 1.0"),
        ({"name": "gru", "input_scale": "hidden"}, "input_scale is 'hidden', which has no effect"),
        ({"name": "mean-pool", "hidden_size": 50}, "hidden_size is 50, which has no effect"),
        ({"name": "mean-pool", "h0": "learned"}, "h0 is 'learned', which has no effect"),
        (
            {"name": "mean-pool", "readout": "last-and-mean"},
            "readout is 'last-and-mean', which has",
        ),
        ({"name": "mean-pool", "readout": "all"}, "readout is 'all', which has no effect"),
    ],
)
def test_a_spec_that_means_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetSpec(**{"name": "np-rnn", "input_size": 3, "num_outputs": 2, **fields})


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 5, 4\); this np-rnn expects \(B, T, 3\)"):
        make_net("np-rnn")(torch.zeros(2, 5, 4), torch.tensor([5, 5]))
