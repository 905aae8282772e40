"""Layers by the fused kernel, where it can compute them: on a CPU, in float32."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.recurrent import fused
from pipeline.recurrent.cells import States
from pipeline.recurrent.kept import KeptRnn, recurrent_matrix

_LAYERS = (nn.RNN, KeptRnn, nn.LSTM, nn.GRU)


def suits_kernel(layer: nn.Module, features: Tensor) -> bool:
    """Whether `run_fused` can be called."""
    is_plain = features.device.type == "cpu" and features.dtype == torch.float32
    return isinstance(layer, _LAYERS) and is_plain and fused.is_available()


def run_fused(
    layer: nn.Module,
    features: Tensor,
    *,
    lengths: Tensor,
    start: States,
    readout: Literal["last", "all"],
) -> tuple[Tensor, States]:
    """States of `features` (B, T, D): (B, H) at the last real step, or (B, T, H), padding 0.

    And, of an lstm, (c,) after the last real steps, (B, H); of others (). No padded step is
    computed.
    """
    assert isinstance(layer, _LAYERS)
    weight_ih, weight_hh = layer.get_parameter("weight_ih_l0"), recurrent_matrix(layer)
    bias_ih, bias_hh = layer.get_parameter("bias_ih_l0"), layer.get_parameter("bias_hh_l0")
    weights = (weight_ih, weight_hh, bias_ih + bias_hh)
    if isinstance(layer, nn.LSTM):
        states, cell = fused.lstm(features, lengths, *weights, *start, readout=readout)
        return states, (cell,)
    if isinstance(layer, nn.GRU):
        weights_of_gru = (weight_ih, weight_hh, bias_ih, bias_hh)
        return fused.gru(features, lengths, *weights_of_gru, start[0], readout=readout), ()
    kind: Literal["relu", "tanh"] = "tanh" if layer.nonlinearity == "tanh" else "relu"
    states = fused.simple_rnn(
        features, lengths, *weights, start[0], nonlinearity=kind, readout=readout
    )
    return states, ()
