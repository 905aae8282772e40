"""Layers by the fused kernel, where it can compute them: on a CPU, with float32 weights."""

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
    if not isinstance(layer, _LAYERS) or features.device.type != "cpu":
        return False
    is_read = features.dtype == torch.float32 or (
        features.dtype == torch.float16 and not features.requires_grad
    )
    is_float = layer.get_parameter("weight_ih_l0").dtype == torch.float32
    return is_read and is_float and fused.is_available()


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
