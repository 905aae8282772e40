"""Recurrent layers over sequences of real lengths; padding reaches no result."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.recurrent import fused
from pipeline.recurrent.cells import CoRnn, Lru, MinGru
from pipeline.recurrent.kept import KeptRnn, recurrent_matrix
from pipeline.recurrent.spec import Cell, NetKind, NetSpec

SIMPLE = (nn.RNN, KeptRnn)
OWN_LAYERS = (MinGru, CoRnn, Lru)


def make_layer(spec: NetSpec) -> nn.Module | None:
    """The net's recurrent layer; None for mean-pool.

    The second bias of torch's layers never trains: the paper's nets have one, and so the trainable
    parameters are the paper's while the state dict is torch's.
    """
    if spec.kind.cell == "none":
        return None
    layer = _MAKERS[spec.kind.cell](spec.kind, spec.input_size, spec.hidden_size)
    for name, weights in layer.named_parameters():
        weights.requires_grad_(name != "bias_hh_l0")
    return layer


def _make_simple(kind: NetKind, input_size: int, hidden_size: int) -> nn.RNN | KeptRnn:
    if kind.kept:
        return KeptRnn(input_size, hidden_size, kind=kind)
    return nn.RNN(input_size, hidden_size, nonlinearity=kind.nonlinearity, batch_first=True)


_MAKERS: dict[Cell, Callable[[NetKind, int, int], nn.Module]] = {
    "simple": _make_simple,
    "lstm": lambda kind, *sizes: nn.LSTM(*sizes, batch_first=True),
    "gru": lambda kind, *sizes: nn.GRU(*sizes, batch_first=True),
    "min-gru": lambda kind, *sizes: MinGru(*sizes),
    "co-rnn": lambda kind, *sizes: CoRnn(*sizes),
    "lru": lambda kind, *sizes: Lru(*sizes),
}


def run_layer(
    layer: nn.Module, features: Tensor, *, lengths: Tensor, start: tuple[Tensor, ...], readout: str
) -> Tensor:
    """What is read of `features` (B, T, D): (B, H) at the last real step, or (B, T, H), padding 0.

    `readout` is `last` or `all`; `start` holds the layer's states before the first step.
    Computed in the weights' type whatever autocast is on: half precision would overflow.
    """
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(layer.get_parameter("weight_ih_l0").dtype)
        if isinstance(layer, SIMPLE):
            return run_simple_rnn(layer, features, lengths=lengths, h0=start[0], readout=readout)
        states = _call(layer, features, start)[0]
        return _read_steps(_read(layer, features, states), lengths, readout=readout)


def run_simple_rnn(
    layer: nn.RNN | KeptRnn, features: Tensor, *, lengths: Tensor, h0: Tensor, readout: str
) -> Tensor:
    """States of a simple net, as `run_layer` gives them: h_t = f(W_hx x_t + W_hh h_{t-1} + b_h).

    On a CPU in float32 by the fused kernel, which skips padded steps. Otherwise every padded step
    is computed and none is read: torch's packed sequences took twice as long on CPUs for batches
    of like lengths.
    """
    if _suits_kernel(features):
        return _run_kernel(layer, features, lengths=lengths, h0=h0, readout=readout)
    return _read_steps(_call(layer, features, (h0,))[0], lengths, readout=readout)


def _suits_kernel(features: Tensor) -> bool:
    is_plain = features.device.type == "cpu" and features.dtype == torch.float32
    return is_plain and fused.is_available()


def _run_kernel(
    layer: nn.RNN | KeptRnn, features: Tensor, *, lengths: Tensor, h0: Tensor, readout: str
) -> Tensor:
    return fused.simple_rnn(
        features,
        lengths,
        layer.get_parameter("weight_ih_l0"),
        recurrent_matrix(layer),
        layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0"),
        h0,
        nonlinearity="tanh" if layer.nonlinearity == "tanh" else "relu",
        readout="last" if readout == "last" else "all",
    )


def advance_layer(
    layer: nn.Module, features_t: Tensor, *, states: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What is read of one more step, `features_t` (B, D): (B, H); and the states after it."""
    with torch.autocast(features_t.device.type, enabled=False):
        features_t = features_t.to(layer.get_parameter("weight_ih_l0").dtype)
        after = _call(layer, features_t[:, None], states)[1]
        return _read(layer, features_t, after[0]), after


def _read(layer: nn.Module, features: Tensor, states: Tensor) -> Tensor:
    """What the linear layer reads of steps: their states, but for lru."""
    return layer.read(features, states) if isinstance(layer, Lru) else states


def real_steps(lengths: Tensor, num_steps: int) -> Tensor:
    """(B, T) booleans: true where a step is real, false in the padding."""
    return torch.arange(num_steps, device=lengths.device) < lengths[:, None]


def mean_over_real_steps(values: Tensor, lengths: Tensor) -> Tensor:
    """(B, N): the mean of `values` (B, T, N) over each sequence's real steps."""
    real = real_steps(lengths, values.shape[1])
    return values.masked_fill(~real[:, :, None], 0).sum(dim=1) / lengths[:, None]


def _read_steps(states: Tensor, lengths: Tensor, *, readout: str) -> Tensor:
    """The last real step of `states` (B, T, H), or all of them with zeros in the padding."""
    if readout == "last":
        return states[torch.arange(len(states), device=states.device), lengths - 1]
    assert readout == "all"
    return states.masked_fill(~real_steps(lengths, states.shape[1])[:, :, None], 0)


def _call(
    layer: nn.Module, features: Tensor, states: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The layer's outputs (B, T, H), and its states (B, H) after the last step; one form for all.

    torch's lstm takes and gives (h, c), its other layers h alone, each with a leading axis of 1.
    """
    if not isinstance(layer, nn.RNNBase):
        own: tuple[Tensor, tuple[Tensor, ...]] = layer(features, states)
        return own
    batched = tuple(state[None] for state in states)
    outputs, after = layer(features, batched if len(batched) == 2 else batched[0])
    after = after if isinstance(after, tuple) else (after,)
    return outputs, tuple(state[0] for state in after)
