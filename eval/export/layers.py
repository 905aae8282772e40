"""A trained net's layers as exported graphs read them, and one step of each cell, node by node.

torch's order of gates is i f g o (lstm) and r z n (gru).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from eval.export.nodes import Floats, Graph
from pipeline.recurrent.advances import scale_memory
from pipeline.recurrent.cells import DT, EPSILON, GAMMA
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.kept import plain_weights
from pipeline.recurrent.layers import name_layers
from pipeline.recurrent.spec import Cell, NetKind

Weights = Mapping[str, Floats]
_PREFIX = "next_"


def next_name(state: str) -> str:
    """The output that is to be the input `state` of the next step."""
    return _PREFIX + state


@dataclass(frozen=True)
class Layer:
    """A layer: its weights by their names there, and its states before the first step, (S,) each.

    `tag` begins the names of all that is its own in a graph; "" for the only layer.
    """

    kind: NetKind
    weights: Weights
    starts: tuple[Floats, ...]
    tag: str = ""

    def name(self, value: str) -> str:
        """The layer's own name of a value."""
        return self.tag + value

    @property
    def hidden(self) -> str:
        return self.name("hidden")

    @property
    def cell(self) -> str:
        return self.name("cell")

    @property
    def next_hidden(self) -> str:
        return self.name(next_name("hidden"))

    @property
    def next_cell(self) -> str:
        return self.name(next_name("cell"))


def list_arrays(net: SequenceNet) -> dict[str, Floats]:
    """The net's weights, with the matrices that it computes with, by nn.RNN's names."""
    return {name: tensor.numpy().copy() for name, tensor in plain_weights(net).items()}


def list_layers(net: SequenceNet) -> list[Layer]:
    """The layers from the first one up, of each the forward one first; [] for mean-pool."""
    weights, places = list_arrays(net), [f"recurrent.{name}" for name in name_layers(net.recurrent)]
    starts = [
        np.split(weights.get(f"start.{i}", np.zeros(size, np.float32)), len(places))
        for i, size in enumerate(net.spec.state_sizes)
    ]
    return [
        Layer(
            kind=net.spec.kind,
            weights={n.removeprefix(place): w for n, w in weights.items() if n.startswith(place)},
            starts=tuple(start[i] for start in starts),
            tag=f"layer{i}_" if len(places) > 1 else "",
        )
        for i, place in enumerate(places)
    ]


def step_layer(graph: Graph, layer: Layer, features: str) -> str:
    """What is read of the step: but for lru, the state h after it."""
    weights, cell = layer.weights, layer.kind.cell
    of_input = graph.linear(
        features, layer.name("input"), weights["weight_ih_l0"], weights["bias_ih_l0"]
    )
    if cell in _OWN_STEPS:
        return _OWN_STEPS[cell](graph, layer, features, of_input)
    of_state = graph.linear(
        layer.hidden, layer.name("hidden"), weights["weight_hh_l0"], weights["bias_hh_l0"]
    )
    return _TORCH_STEPS[cell](graph, layer, of_input, of_state)


def _step_simple(graph: Graph, layer: Layer, of_input: str, of_state: str) -> str:
    op = "Tanh" if layer.kind.nonlinearity == "tanh" else "Relu"
    return graph.add(op, graph.add("Add", of_input, of_state), name=layer.next_hidden)


def _step_lstm(graph: Graph, layer: Layer, of_input: str, of_state: str) -> str:
    i, f, g, o = graph.split(graph.add("Add", of_input, of_state), 4)
    kept = graph.add("Mul", graph.add("Sigmoid", f), layer.cell)
    new = graph.add("Mul", graph.add("Sigmoid", i), graph.add("Tanh", g))
    cell = graph.add("Add", kept, new, name=layer.next_cell)
    return graph.add(
        "Mul", graph.add("Sigmoid", o), graph.add("Tanh", cell), name=layer.next_hidden
    )


def _step_gru(graph: Graph, layer: Layer, of_input: str, of_state: str) -> str:
    r_x, z_x, n_x = graph.split(of_input, 3)
    r_h, z_h, n_h = graph.split(of_state, 3)
    reset = graph.add("Sigmoid", graph.add("Add", r_x, r_h))
    update = graph.add("Sigmoid", graph.add("Add", z_x, z_h))
    new = graph.add("Tanh", graph.add("Add", n_x, graph.add("Mul", reset, n_h)))
    change = graph.add("Mul", update, graph.add("Sub", layer.hidden, new))
    return graph.add("Add", new, change, name=layer.next_hidden)  # (1 - z) n + z h


def _step_min_gru(graph: Graph, layer: Layer, features: str, of_input: str) -> str:
    update, new = graph.split(of_input, 2)
    change = graph.add("Mul", graph.add("Sigmoid", update), graph.add("Sub", new, layer.hidden))
    return graph.add("Add", layer.hidden, change, name=layer.next_hidden)


def _step_co_rnn(graph: Graph, layer: Layer, features: str, of_input: str) -> str:
    both = graph.add("Concat", layer.hidden, layer.cell, axis=1)
    of_states = graph.linear(both, layer.name("hidden"), layer.weights["weight_hh_l0"])
    force = graph.add("Tanh", graph.add("Add", of_input, of_states))
    numbers = {"dt": DT, "gamma": GAMMA, "kept": 1 - DT * EPSILON}
    dt, gamma, kept = (graph.constant(name, np.float32(n)) for name, n in numbers.items())
    force = graph.add("Sub", force, graph.add("Mul", gamma, layer.hidden))
    change = graph.add("Mul", dt, force)
    speed = graph.add("Add", graph.add("Mul", kept, layer.cell), change, name=layer.next_cell)
    return graph.add("Add", layer.hidden, graph.add("Mul", dt, speed), name=layer.next_hidden)


def _step_lru(graph: Graph, layer: Layer, features: str, of_input: str) -> str:
    turned, to_memory = scale_memory(layer.weights)
    # λ m of m' = [real, imaginary]: by the element, [re, re] m' + [-im, im] [imaginary, real].
    same = graph.constant(layer.name("same"), np.tile(turned.real, 2))
    crossed = graph.constant(layer.name("crossed"), np.concatenate([-turned.imag, turned.imag]))
    real, imaginary = graph.split(layer.hidden, 2)
    other = graph.add("Concat", imaginary, real, axis=1)
    kept = graph.add("Add", graph.add("Mul", same, layer.hidden), graph.add("Mul", crossed, other))
    given = graph.linear(features, layer.name("memory"), to_memory)
    memory = graph.add("Add", kept, given, name=layer.next_hidden)
    of_memory = graph.linear(memory, layer.name("of_memory"), layer.weights["of_memory"])
    return graph.add("Relu", graph.add("Add", of_input, of_memory))


_TORCH_STEPS: dict[Cell, Callable[[Graph, Layer, str, str], str]] = {
    "simple": _step_simple,
    "lstm": _step_lstm,
    "gru": _step_gru,
}
_OWN_STEPS: dict[Cell, Callable[[Graph, Layer, str, str], str]] = {
    "min-gru": _step_min_gru,
    "co-rnn": _step_co_rnn,
    "lru": _step_lru,
}
