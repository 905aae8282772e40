"""A net from sequences of features to outputs, at once or step by step."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from pipeline.recurrent.initial import (
    RECURRENT_MATRICES,
    embedding_weights,
    input_weights,
    readout_weights,
    uniform_weights,
)
from pipeline.recurrent.kept import start_weights
from pipeline.recurrent.layers import (
    OWN_LAYERS,
    advance_layers,
    carry_layers,
    list_layers,
    make_layers,
    mean_over_real_steps,
    name_layers,
    real_steps,
    run_layers,
)
from pipeline.recurrent.spec import NetSpec
from pipeline.recurrent.token_loss import make_adaptive


class NetState(NamedTuple):
    """What a net remembers of B sequences, as tensors; components it does not have are (B, 0).

    The numpy state of one sequence is the stepper's `StepState`, of the same components.
    `hidden` (B, H), or (B, 2H) for lru: the real parts, then the imaginary ones; `cell` (B, H), an
    lstm's c or co-rnn's speeds; those of L layers side by side, (B, L H), the first one's first;
    `mean` so far of what is read of steps, (B, H), or of the features,
    (B, D), for mean-pool and readout `last-and-mean`; `num_steps` (B,) int64.
    """

    hidden: Tensor
    cell: Tensor
    mean: Tensor
    num_steps: Tensor


class SequenceNet(nn.Module):
    """Outputs of sequences: recurrent layers (none in mean-pool), dropout, a linear layer.

    s_t = W_hx x_t + W_hh h_{t-1} + b_h; h_t = f(s_t); o_t = W_yh h_t + b_y (Talathi & Vartak 2015,
    eqs. 1-4). Use `build_net`, which sets the weights.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = _make_embedding(spec)
        self.recurrent = make_layers(spec)
        learned = spec.state_sizes if spec.h0 == "learned" else ()
        self.start = nn.ParameterList(  # h_0, and c_0 where there is one
            nn.Parameter(torch.zeros(size)) for size in learned
        )
        self.dropout = nn.Dropout(spec.dropped_share)
        self.readout: Any = (  # nn.Linear, or an adaptive softmax
            make_adaptive(spec.read_size, spec.num_outputs)
            if spec.softmax == "adaptive"
            else nn.Linear(spec.read_size, spec.num_outputs)
        )

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Outputs (B, C) of `features` (B, T, D) with `lengths` (B,) int64 real steps, in [1, T].

        With readout `all` (B, T, C), zeros in the padding. A sequence's outputs depend on its own
        real steps alone; the padding may hold any finite number.
        """
        self._check_input(features, lengths)
        outputs = self._answer(self.dropout(self._summarize(self._embed(features), lengths)))
        if self.spec.readout != "all":
            return outputs  # (B, C)
        return outputs.masked_fill(~real_steps(lengths, features.shape[1])[:, :, None], 0)

    @property
    def readout_weight(self) -> Tensor:
        """The readout's weights, of whose type and on whose device the net computes."""
        part = self.readout.head if isinstance(self.readout, _Adaptive) else self.readout
        weight: Tensor = part.weight
        return weight

    def _embed(self, features: Tensor) -> Tensor:
        """What the layer reads of features (B, T, D) or (B, D): of token numbers their vectors."""
        if not self.spec.reads_tokens:
            return features
        table = self.readout_weight if self.embedding is None else self.embedding.weight
        embedded: Tensor = self.dropout(F.embedding(features[..., 0], table))
        return embedded

    def _answer(self, read: Tensor) -> Tensor:
        """Outputs (..., C) of what is read (..., `read_size`)."""
        if isinstance(self.readout, _Adaptive):
            logs: Tensor = self.readout.log_prob(read.flatten(0, -2))
            return logs.view(*read.shape[:-1], -1)
        outputs: Tensor = self.readout(read)
        return outputs

    def _summarize(self, features: Tensor, lengths: Tensor) -> Tensor:
        """What the linear layer reads: (B, `read_size`), or (B, T, R) for readout `all`."""
        if self.recurrent is None:
            return self._average(features, lengths)
        states = run_layers(
            list_layers(self.recurrent),
            features,
            lengths=lengths,
            start=self._start_states(len(features)),
            readout="all" if self.spec.readout in ("mean", "all") else "last",
            num_directions=self.spec.num_directions,
        )
        if self.spec.readout == "mean":
            return mean_over_real_steps(states, lengths)
        if self.spec.readout == "last-and-mean":
            return self._join(states, self._average(features, lengths))
        return states

    def _average(self, features: Tensor, lengths: Tensor) -> Tensor:
        return mean_over_real_steps(features.to(self.readout_weight.dtype), lengths)

    def _join(self, state: Tensor, mean: Tensor) -> Tensor:
        """(B, H + D): state and mean; in training one of them, drawn for each sequence, doubled.

        Trained at once, the state fits the training clips first, and the mean learns no more. So
        each learns to answer alone, and together their outputs are the average of two nets.
        """
        both = torch.cat([state, mean], dim=1)
        if not self.training:
            return both
        reads_state = torch.rand(len(both), 1, device=both.device) < 0.5
        is_state = torch.arange(both.shape[1], device=both.device) < self.spec.step_size
        return 2 * both * (reads_state == is_state)

    def initial_state(self, batch_size: int) -> NetState:
        """The state before the first step of `batch_size` sequences.

        ValueError for a bidirectional net: it reads a sequence from its end, too, and has no state
        to go on from.
        """
        self.spec.check_advances()
        empty = self.readout_weight.new_zeros(batch_size, 0)
        hidden, cell, *_ = (*self._start_states(batch_size), empty, empty)
        mean = empty.new_zeros(batch_size, self.spec.mean_size)
        num_steps = torch.zeros(batch_size, dtype=torch.int64, device=empty.device)
        return NetState(hidden, cell, mean, num_steps)

    def step(self, features_t: Tensor, state: NetState) -> tuple[Tensor, NetState]:
        """Outputs (B, C) after one more step, `features_t` (B, D), and the state after it.

        They equal `forward`'s outputs of the sequences cut at this step.
        """
        step, state = self.advance(features_t, state)
        return self._answer(self.dropout(self._read(step, state.mean))), state

    def _read(self, step: Tensor, mean: Tensor) -> Tensor:
        """What the linear layer reads after a step: (B, `read_size`)."""
        if self.spec.mean_size == 0:
            return step
        return self._join(step, mean) if self.spec.readout == "last-and-mean" else mean

    def advance(self, features_t: Tensor, state: NetState) -> tuple[Tensor, NetState]:
        """What there is to read of one more step, `features_t` (B, D), and the state after it."""
        num_steps = state.num_steps + 1
        hidden, cell = state.hidden, state.cell
        features_t = self._embed(features_t)
        read = features_t = features_t.to(self.readout_weight.dtype)
        if self.recurrent is not None:
            before = (hidden, cell)[: len(self.spec.state_sizes)]
            layers = list_layers(self.recurrent)
            read, after = advance_layers(layers, features_t, states=before)
            hidden, cell = (*after, cell)[:2]
        if self.spec.mean_size == 0:
            return read, NetState(hidden, cell, state.mean, num_steps)
        new = features_t if self.spec.reads_mean_features else read
        mean = state.mean + (new - state.mean) / num_steps[:, None]
        return read, NetState(hidden, cell, mean, num_steps)

    def advance_all(
        self, features: Tensor, lengths: Tensor, state: NetState
    ) -> tuple[Tensor, NetState]:
        """What there is to read of `features` (B, T, D), (B, T, R) with padding 0; the state after.

        Each sequence goes on from its `state`, and its state after is that of its last real step:
        a long text in cuts is read as it would be whole. Gradients reach `state`; detach it to cut
        them. The linear layer reads (B, T, R) with dropout: `net.readout(net.dropout(read))`.
        Of readouts `last` and `all`, which keep no mean.
        """
        self._check_input(features, lengths)
        assert self.recurrent is not None
        assert self.spec.mean_size == 0
        self.spec.check_advances()
        before = (state.hidden, state.cell)[: len(self.spec.state_sizes)]
        layers = list_layers(self.recurrent)
        read, after = carry_layers(layers, self._embed(features), lengths=lengths, states=before)
        hidden, cell = (*after, state.cell)[:2]
        return read, NetState(hidden, cell, state.mean, state.num_steps + lengths)

    def _start_states(self, batch_size: int) -> tuple[Tensor, ...]:
        if self.spec.h0 == "learned":
            return tuple(start.expand(batch_size, -1) for start in self.start)
        new_zeros = self.readout_weight.new_zeros
        return tuple(new_zeros(batch_size, size) for size in self.spec.state_sizes)

    def _check_input(self, features: Tensor, lengths: Tensor) -> None:
        if features.ndim != 3 or features.shape[2] != self.spec.input_size:
            raise ValueError(
                f"features have shape {tuple(features.shape)}; this {self.spec.name} expects "
                f"(B, T, {self.spec.input_size})"
            )
        assert lengths.shape == features.shape[:1]
        assert bool(((lengths >= 1) & (lengths <= features.shape[1])).all()), "lengths in [1, T]"


_Adaptive = nn.AdaptiveLogSoftmaxWithLoss


def _make_embedding(spec: NetSpec) -> nn.Embedding | None:
    """Vectors of tokens; None where there are no tokens, or they have the linear layer's."""
    if not spec.reads_tokens or spec.tied:
        return None
    return nn.Embedding(spec.num_outputs, spec.embedding_size)


def build_net(spec: NetSpec, *, seed: int) -> SequenceNet:
    """The net of `spec` with the weights that `seed` draws; biases and h_0 are 0.

    Input and readout weights are drawn before the recurrent matrix, so that one seed gives all
    simple nets the same ones. lstm and gru start as torch's own, but for the biases. Each layer
    starts by its own rule: W_hx of eq. 10 by the number of its own inputs.
    """
    with torch.device("meta"):  # where torch's own draws do not touch the global random state
        net = SequenceNet(spec)
    weights = _draw_weights(net, torch.Generator().manual_seed(seed))
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    net.load_state_dict(contiguous, assign=True)
    return net


def _draw_weights(net: SequenceNet, generator: Generator) -> dict[str, Tensor]:
    """A state dict of `net` at the start of training."""
    spec = net.spec
    weights = {name: torch.zeros(tensor.shape) for name, tensor in net.state_dict().items()}
    layers = {f"recurrent.{name}": layer for name, layer in name_layers(net.recurrent).items()}
    if net.embedding is not None:
        weights["embedding.weight"] = embedding_weights(
            spec.num_outputs, spec.embedding_size, generator
        )
    if spec.kind.recurrent_matrix:
        for name, layer in layers.items():
            inputs = layer.get_parameter("weight_ih_l0").shape[1]
            weights[f"{name}weight_ih_l0"] = input_weights(
                spec.hidden_size, inputs, generator, scale=spec.input_scale
            )
    for name, zeros in weights.items():
        if name.startswith("readout.") and name.endswith("weight"):
            weights[name] = readout_weights(*zeros.shape, generator)  # type: ignore[call-arg]
    for name, layer in layers.items():
        drawn = _draw_layer(layer, spec, generator)
        weights |= {f"{name}{of_layer}": tensor for of_layer, tensor in drawn.items()}
    return weights


def _draw_layer(layer: nn.Module, spec: NetSpec, generator: Generator) -> dict[str, Tensor]:
    """What a layer starts with besides 0, but for a simple one's W_hx."""
    if spec.kind.recurrent_matrix:
        draw_matrix = RECURRENT_MATRICES[spec.kind.recurrent_matrix]
        return start_weights(spec.kind, draw_matrix(spec.hidden_size, generator))
    if isinstance(layer, OWN_LAYERS):
        return layer.draw(generator)
    drawn = {
        name: uniform_weights(
            *layer.get_parameter(name).shape, width=spec.hidden_size, generator=generator
        )
        for name in ("weight_ih_l0", "weight_hh_l0")
    }
    if spec.kind.cell == "lstm":  # torch's order of gates: input, forget, cell, output
        drawn["bias_ih_l0"] = torch.zeros(4 * spec.hidden_size)
        drawn["bias_ih_l0"][spec.hidden_size : 2 * spec.hidden_size] = spec.forget_bias
    return drawn


def num_parameters(net: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(weights.numel() for weights in net.parameters() if weights.requires_grad)
