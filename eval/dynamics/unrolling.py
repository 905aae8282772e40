"""A net's layers one step at a time, with all their states on autograd's tape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pipeline.recurrent.cells import States
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.layers import advance_layer, list_layers, reverse_real_steps, split_states


@dataclass(frozen=True)
class Unrolled:
    """A layer's steps in its own order, a backward one's from the last real step to the first.

    `steps`: what is read of them, (B, T, H); `states`: those after each, (h,) or an lstm's (h, c).
    """

    steps: Tensor
    states: list[States]

    @property
    def hidden(self) -> Tensor:
        """(B, T, H) h after each step."""
        return torch.stack([states[0] for states in self.states], dim=1)


def is_backward(net: SequenceNet, place: int) -> bool:
    """Whether the layer at this place of `list_layers` reads sequences from their end."""
    return place % net.spec.num_directions == 1


def name_layer(net: SequenceNet, place: int) -> str:
    """`layer 2`, or `layer 2 backward`; "" for the only layer."""
    layers, directions = net.spec.layers, net.spec.num_directions
    if layers * directions == 1:
        return ""
    return f"layer {place // directions + 1}{' backward' if is_backward(net, place) else ''}"


def unroll(net: SequenceNet, features: Tensor, lengths: Tensor) -> list[Unrolled]:
    """Each layer's steps over `features` (B, T, D), in the order of `list_layers`."""
    layers, directions = list_layers(net.recurrent), net.spec.num_directions
    starts = split_states(_start(net, features), len(layers))
    unrolled: list[Unrolled] = []
    read = features
    with parametrize.cached():  # a kept matrix is computed once
        for first in range(0, len(layers), directions):
            reads = []
            for place in range(first, first + directions):
                turns = is_backward(net, place)
                in_order = reverse_real_steps(read, lengths) if turns else read
                unrolled.append(_unroll_layer(layers[place], in_order, starts[place]))
                steps = unrolled[-1].steps
                reads.append(reverse_real_steps(steps, lengths) if turns else steps)
            read = torch.cat(reads, dim=2)
    return unrolled


def _start(net: SequenceNet, features: Tensor) -> States:
    if len(net.start):
        return tuple(start.expand(len(features), -1) for start in net.start)
    return tuple(features.new_zeros(len(features), size) for size in net.spec.state_sizes)


def _unroll_layer(layer: nn.Module, features: Tensor, states: States) -> Unrolled:
    steps, all_states = [], []
    for features_t in features.unbind(dim=1):
        step, states = advance_layer(layer, features_t, states=states)
        steps.append(step)
        all_states.append(states)
    return Unrolled(torch.stack(steps, dim=1), all_states)
