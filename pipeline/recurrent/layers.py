"""Recurrent layers over sequences of real lengths; padding reaches no result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from pipeline.recurrent.cells import CoRnn, Lru, MinGru, States, take_last
from pipeline.recurrent.fused_layers import run_fused, suits_kernel
from pipeline.recurrent.kept import KeptRnn
from pipeline.recurrent.spec import Cell, NetKind, NetSpec

SIMPLE = (nn.RNN, KeptRnn)
OWN_LAYERS = (MinGru, CoRnn, Lru)


def make_layers(spec: NetSpec) -> nn.Module | None:
    """The net's recurrent layer, or an nn.ModuleList where there are several; None for mean-pool.

    A list is in torch's order: from the first layer up, and of each the forward one, then the
    backward one. The second bias of torch's layers never trains: the paper's nets have one, and so
    the trainable parameters are the paper's while the state dict is torch's.
    """
    layers = [
        _MAKERS[spec.kind.cell](spec.kind, inputs, spec.hidden_size)
        for inputs in spec.layer_inputs
        for _ in range(spec.num_directions)
    ]
    for layer in layers:
        for name, weights in layer.named_parameters():
            weights.requires_grad_(name != "bias_hh_l0")
    if not layers:
        return None
    return layers[0] if len(layers) == 1 else nn.ModuleList(layers)


def list_layers(recurrent: nn.Module | None) -> list[nn.Module]:
    """The layers of what `make_layers` made, in its order."""
    return list(name_layers(recurrent).values())


def name_layers(recurrent: nn.Module | None) -> dict[str, nn.Module]:
    """The layers with what stands before their weights' names: "" for one alone, else "0." up."""
    if recurrent is None:
        return {}
    if not isinstance(recurrent, nn.ModuleList):
        return {"": recurrent}
    return {f"{place}.": layer for place, layer in enumerate(recurrent)}


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


def run_layers(
    layers: Sequence[nn.Module],
    features: Tensor,
    *,
    lengths: Tensor,
    start: States,
    readout: str,
    num_directions: int,
) -> Tensor:
    """What is read above all layers of `features` (B, T, D): (B, R), or (B, T, R), padding 0.

    `layers` as `list_layers` gives them, `start` with their states side by side; `readout` is
    `last` or `all`. R is H, or 2H in two directions: the forward states, then the backward ones,
    of `last` those after the last real step and after the first.
    """
    read, starts = features, split_states(start, len(layers))
    for first in range(0, len(layers), num_directions):
        is_top = first + num_directions == len(layers)
        reads = [
            run_layer(
                layers[first + direction],
                read,
                lengths=lengths,
                start=starts[first + direction],
                readout=readout if is_top else "all",
                is_backward=direction == 1,
            )
            for direction in range(num_directions)
        ]
        read = torch.cat(reads, dim=-1) if num_directions > 1 else reads[0]
    return read


def run_layer(
    layer: nn.Module,
    features: Tensor,
    *,
    lengths: Tensor,
    start: States,
    readout: str,
    is_backward: bool = False,
) -> Tensor:
    """What is read of `features` (B, T, D): (B, H) at the last real step, or (B, T, H), padding 0.

    `readout` is `last` or `all`; `start` holds the layer's states before the first step. A
    backward layer begins at the last real step, and its last is the first.
    Computed in the weights' type whatever autocast is on: half precision would overflow. Without
    the kernel every padded step is computed and none is read: torch's packed sequences took twice
    as long on CPUs for batches of like lengths.
    """
    if is_backward:
        features = reverse_real_steps(features, lengths)
        read = run_layer(layer, features, lengths=lengths, start=start, readout=readout)
        return read if readout == "last" else reverse_real_steps(read, lengths)
    with torch.autocast(features.device.type, enabled=False):
        features = _as_read(layer, features)
        if suits_kernel(layer, features):
            which: Literal["last", "all"] = "last" if readout == "last" else "all"
            return run_fused(layer, features, lengths=lengths, start=start, readout=which)[0]
        states = _call(layer, features, start)[0]
        return _read_steps(_read(layer, features, states), lengths, readout=readout)


def carry_layers(
    layers: Sequence[nn.Module], features: Tensor, *, lengths: Tensor, states: States
) -> tuple[Tensor, States]:
    """What is read above all layers, (B, T, H), padding 0; and the states after the real steps.

    `states` are those before the first step, of all layers side by side, and so are those given.
    Forward only. On autograd's tape, `states` too.
    """
    read, after = features, []
    for layer, before in zip(layers, split_states(states, len(layers)), strict=True):
        read, states_after = _carry_layer(layer, read, lengths=lengths, states=before)
        after.append(states_after)
    return read, join_states(after)


def _carry_layer(
    layer: nn.Module, features: Tensor, *, lengths: Tensor, states: States
) -> tuple[Tensor, States]:
    with torch.autocast(features.device.type, enabled=False):
        features = _as_read(layer, features)
        if suits_kernel(layer, features):
            steps, cells = run_fused(layer, features, lengths=lengths, start=states, readout="all")
            return steps, (take_last(steps, lengths), *cells)
        is_whole = bool((lengths == features.shape[1]).all())
        steps, after = _call(layer, features, states, lengths=None if is_whole else lengths)
        return _read_steps(_read(layer, features, steps), lengths, readout="all"), after


def _as_read(layer: nn.Module, features: Tensor) -> Tensor:
    """In the weights' type, but float16 where the kernel reads it as it is."""
    if features.dtype == torch.float16 and suits_kernel(layer, features):
        return features
    return features.to(layer.get_parameter("weight_ih_l0").dtype)


def split_states(states: States, num_layers: int) -> list[States]:
    """The states of each layer, of states (B, ...) with those of all layers side by side."""
    chunks = [state.chunk(num_layers, dim=1) for state in states]
    return list(zip(*chunks, strict=True))


def join_states(of_layers: Sequence[States]) -> States:
    """The states of all layers side by side: the inverse of `split_states`."""
    if len(of_layers) == 1:
        return of_layers[0]
    return tuple(torch.cat(states, dim=1) for states in zip(*of_layers, strict=True))


def reverse_real_steps(values: Tensor, lengths: Tensor) -> Tensor:
    """`values` (B, T, N) with each sequence's real steps from the last to the first."""
    steps = torch.arange(values.shape[1], device=values.device)
    ends = lengths[:, None]
    places = torch.where(steps < ends, ends - 1 - steps, steps)  # (B, T); the padding stays
    return values.gather(1, places[:, :, None].expand_as(values))


def advance_layers(
    layers: Sequence[nn.Module], features_t: Tensor, *, states: States
) -> tuple[Tensor, States]:
    """What is read above all layers of one more step, `features_t` (B, D); and their states after.

    Forward only; the states of the layers lie side by side.
    """
    read, after = features_t, []
    for layer, before in zip(layers, split_states(states, len(layers)), strict=True):
        read, states_after = advance_layer(layer, read, states=before)
        after.append(states_after)
    return read, join_states(after)


def advance_layer(layer: nn.Module, features_t: Tensor, *, states: States) -> tuple[Tensor, States]:
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
        return take_last(states, lengths)
    assert readout == "all"
    return states.masked_fill(~real_steps(lengths, states.shape[1])[:, :, None], 0)


def _call(
    layer: nn.Module, features: Tensor, states: States, *, lengths: Tensor | None = None
) -> tuple[Tensor, States]:
    """The layer's outputs (B, T, H), and its states (B, H) after the last step; one form for all.

    With `lengths`, the states are those after each sequence's last real step.
    torch's lstm takes and gives (h, c), its other layers h alone, each with a leading axis of 1.
    """
    if not isinstance(layer, nn.RNNBase):
        own: tuple[Tensor, States] = layer(features, states, lengths)
        return own
    batched = tuple(state[None].contiguous() for state in states)
    start = batched if len(batched) == 2 else batched[0]
    if lengths is None:
        outputs, after = layer(features, start)
    else:
        packed, after = layer(_pack(features, lengths), start)
        outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=features.shape[1])
    after = after if isinstance(after, tuple) else (after,)
    return outputs, tuple(state[0] for state in after)


def _pack(features: Tensor, lengths: Tensor) -> PackedSequence:
    return pack_padded_sequence(features, lengths.cpu(), batch_first=True, enforce_sorted=False)
