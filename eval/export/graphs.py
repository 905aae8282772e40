"""A trained net as ONNX graphs: one step with its state, and whole sequences.

Written node by node from the weights: a tracer would unroll time, and these run on any runtime of
opset 17. The order of gates differs: torch's is i f g o (lstm) and r z n (gru), that of ONNX
i o f c and z r h. A cell that ONNX has no operator for is its step in a Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.recurrent.advances import scale_memory
from pipeline.recurrent.cells import DT, EPSILON, GAMMA
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.kept import plain_weights
from pipeline.recurrent.spec import Cell, NetSpec

OPSET = 17
_IR_VERSION = 8  # of onnx 1.12, the first with opset 17
_PREFIX = "next_"
_NEXT_HIDDEN = f"{_PREFIX}hidden"
_ONNX_OPS: dict[Cell, str] = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
_TORCH_BLOCKS_IN_ONNX_ORDER: dict[Cell, tuple[int, ...]] = {
    "simple": (0,),
    "lstm": (0, 3, 1, 2),
    "gru": (1, 0, 2),
}

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]


def state_names(spec: NetSpec) -> tuple[str, ...]:
    """What the step takes and gives beside features and outputs: components of `NetState`."""
    recurrent = ("hidden", "cell")[: len(spec.state_sizes)]
    return (*recurrent, "mean", "num_steps") if spec.mean_size else recurrent


def next_name(state: str) -> str:
    """The output that is to be the input `state` of the next step."""
    return _PREFIX + state


@dataclass
class _Graph:
    """Nodes and constants in the making; `add` gives the name of what a node computes.

    The names of a graph within another need a `prefix`, and its constants lie in the outer one.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    prefix: str = ""

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{self.prefix}{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def split(self, value: str, num: int) -> list[str]:
        names = [f"{self.prefix}part_{len(self.nodes)}_{i}" for i in range(num)]
        self.nodes.append(helper.make_node("Split", [value], names, axis=1))
        return names

    def constant(self, name: str, array: Any) -> str:
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def linear(self, value: str, name: str, weight: Floats, bias: Floats | None = None) -> str:
        """`value` times the weight (out, in), plus the bias: a MatMul, which can go 8-bit."""
        product = self.add("MatMul", value, self.constant(f"{name}_weight", weight.T))
        if bias is None:
            return product
        return self.add("Add", product, self.constant(f"{name}_bias", bias))

    def build(
        self, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [_value(name, *kind) for name, kind in inputs.items()],
            [_value(name, *kind) for name, kind in outputs.items()],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="np-rnn",
        )
        onnx.checker.check_model(model, full_check=True)
        return model


def _value(name: str, kind: int, shape: tuple[str | int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def build_step(net: SequenceNet) -> onnx.ModelProto:
    """features (batch, D) and the state -> outputs (batch, C) and the state after, `next_*`."""
    spec, weights, graph = net.spec, _arrays(net), _Graph()
    read = _step_cell(graph, spec, weights)
    if spec.mean_size:
        mean = _step_mean(graph, "features" if spec.reads_mean_features else read)
        read = _join(graph, spec, read, mean)
    outputs = graph.linear(read, "readout", weights["readout.weight"], weights["readout.bias"])
    graph.add("Identity", outputs, name="outputs")
    sizes = zip(("hidden", "cell"), spec.state_sizes, strict=False)
    shapes = {
        **{name: (TensorProto.FLOAT, ("batch", size)) for name, size in sizes},
        "mean": (TensorProto.FLOAT, ("batch", spec.mean_size)),
        "num_steps": (TensorProto.INT64, ("batch",)),
    }
    features = {"features": (TensorProto.FLOAT, ("batch", spec.input_size))}
    states = {name: shapes[name] for name in state_names(spec)}
    after = {next_name(name): shape for name, shape in states.items()}
    given = {"outputs": (TensorProto.FLOAT, ("batch", spec.num_outputs))}
    return graph.build("step", {**features, **states}, {**given, **after})


def _step_cell(graph: _Graph, spec: NetSpec, weights: Weights, features: str = "features") -> str:
    """What is read of the step: but for lru and mean-pool, the state h after it."""
    if spec.kind.cell == "none":
        return features
    of_input = graph.linear(
        features, "input", weights["recurrent.weight_ih_l0"], weights["recurrent.bias_ih_l0"]
    )
    if spec.kind.cell in _OWN_STEPS:
        return _OWN_STEPS[spec.kind.cell](graph, weights, features, of_input)
    of_state = graph.linear(
        "hidden", "hidden", weights["recurrent.weight_hh_l0"], weights["recurrent.bias_hh_l0"]
    )
    return _TORCH_STEPS[spec.kind.cell](graph, spec, of_input, of_state)


def _step_simple(graph: _Graph, spec: NetSpec, of_input: str, of_state: str) -> str:
    op = "Tanh" if spec.kind.nonlinearity == "tanh" else "Relu"
    return graph.add(op, graph.add("Add", of_input, of_state), name=_NEXT_HIDDEN)


def _step_lstm(graph: _Graph, spec: NetSpec, of_input: str, of_state: str) -> str:
    i, f, g, o = graph.split(graph.add("Add", of_input, of_state), 4)
    kept = graph.add("Mul", graph.add("Sigmoid", f), "cell")
    new = graph.add("Mul", graph.add("Sigmoid", i), graph.add("Tanh", g))
    cell = graph.add("Add", kept, new, name=next_name("cell"))
    return graph.add("Mul", graph.add("Sigmoid", o), graph.add("Tanh", cell), name=_NEXT_HIDDEN)


def _step_gru(graph: _Graph, spec: NetSpec, of_input: str, of_state: str) -> str:
    r_x, z_x, n_x = graph.split(of_input, 3)
    r_h, z_h, n_h = graph.split(of_state, 3)
    reset = graph.add("Sigmoid", graph.add("Add", r_x, r_h))
    update = graph.add("Sigmoid", graph.add("Add", z_x, z_h))
    new = graph.add("Tanh", graph.add("Add", n_x, graph.add("Mul", reset, n_h)))
    change = graph.add("Mul", update, graph.add("Sub", "hidden", new))
    return graph.add("Add", new, change, name=_NEXT_HIDDEN)  # (1 - z) n + z h


def _step_min_gru(graph: _Graph, weights: Weights, features: str, of_input: str) -> str:
    update, new = graph.split(of_input, 2)
    change = graph.add("Mul", graph.add("Sigmoid", update), graph.add("Sub", new, "hidden"))
    return graph.add("Add", "hidden", change, name=_NEXT_HIDDEN)


def _step_co_rnn(graph: _Graph, weights: Weights, features: str, of_input: str) -> str:
    both = graph.add("Concat", "hidden", "cell", axis=1)
    of_states = graph.linear(both, "hidden", weights["recurrent.weight_hh_l0"])
    force = graph.add("Tanh", graph.add("Add", of_input, of_states))
    numbers = {"dt": DT, "gamma": GAMMA, "kept": 1 - DT * EPSILON}
    dt, gamma, kept = (graph.constant(name, np.float32(n)) for name, n in numbers.items())
    force = graph.add("Sub", force, graph.add("Mul", gamma, "hidden"))
    change = graph.add("Mul", dt, force)
    speed = graph.add("Add", graph.add("Mul", kept, "cell"), change, name=next_name("cell"))
    return graph.add("Add", "hidden", graph.add("Mul", dt, speed), name=_NEXT_HIDDEN)


def _step_lru(graph: _Graph, weights: Weights, features: str, of_input: str) -> str:
    layer = {name.removeprefix("recurrent."): array for name, array in weights.items()}
    turned, to_memory = scale_memory(layer)
    # λ m of m' = [real, imaginary]: by the element, [re, re] m' + [-im, im] [imaginary, real].
    same = graph.constant("same", np.tile(turned.real, 2))
    crossed = graph.constant("crossed", np.concatenate([-turned.imag, turned.imag]))
    real, imaginary = graph.split("hidden", 2)
    other = graph.add("Concat", imaginary, real, axis=1)
    kept = graph.add("Add", graph.add("Mul", same, "hidden"), graph.add("Mul", crossed, other))
    given = graph.linear(features, "memory", to_memory)
    memory = graph.add("Add", kept, given, name=_NEXT_HIDDEN)
    of_memory = graph.linear(memory, "of_memory", layer["of_memory"])
    return graph.add("Relu", graph.add("Add", of_input, of_memory))


_TORCH_STEPS: dict[Cell, Callable[[_Graph, NetSpec, str, str], str]] = {
    "simple": _step_simple,
    "lstm": _step_lstm,
    "gru": _step_gru,
}
_OWN_STEPS: dict[Cell, Callable[[_Graph, Weights, str, str], str]] = {
    "min-gru": _step_min_gru,
    "co-rnn": _step_co_rnn,
    "lru": _step_lru,
}


def _join(graph: _Graph, spec: NetSpec, last: str, mean: str) -> str:
    """The mean, after the last state where the net reads both."""
    if spec.readout != "last-and-mean":
        return mean
    return graph.add("Concat", last, mean, axis=1)


def _step_mean(graph: _Graph, read: str) -> str:
    one = graph.constant("one", np.array(1, np.int64))
    count = graph.add("Add", "num_steps", one, name=next_name("num_steps"))
    count = graph.add("Cast", count, to=TensorProto.FLOAT)
    count = graph.add("Unsqueeze", count, graph.constant("last_axis", np.array([1], np.int64)))
    change = graph.add("Div", graph.add("Sub", read, "mean"), count)
    return graph.add("Add", "mean", change, name=next_name("mean"))


def build_whole(net: SequenceNet) -> onnx.ModelProto:
    """features (batch, time, D) and lengths (batch,) -> outputs (batch, C); padding has no say."""
    spec, weights, graph = net.spec, _arrays(net), _Graph()
    states, last = _run_cell(graph, spec, weights)
    read = last
    if spec.mean_size:
        mean = _mean_over_time(graph, "features" if spec.reads_mean_features else states)
        read = _join(graph, spec, last, mean)
    outputs = graph.linear(read, "readout", weights["readout.weight"], weights["readout.bias"])
    graph.add("Identity", outputs, name="outputs")
    return graph.build(
        "clip",
        {
            "features": (TensorProto.FLOAT, ("batch", "time", spec.input_size)),
            "lengths": (TensorProto.INT64, ("batch",)),
        },
        {"outputs": (TensorProto.FLOAT, ("batch", spec.num_outputs))},
    )


def _run_cell(graph: _Graph, spec: NetSpec, weights: Weights) -> tuple[str, str]:
    """The states (batch, time, H), and (batch, H) of each sequence's last real step."""
    cell = spec.kind.cell
    if cell == "none":
        return "features", ""
    if cell not in _ONNX_OPS:
        return _scan_cell(graph, spec, weights)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    w, r, *biases = (_reorder(weights[f"recurrent.{name}"], spec) for name in names)
    inputs = [
        graph.add("Transpose", "features", perm=[1, 0, 2]),  # (time, batch, D)
        graph.constant("W", w[None]),
        graph.constant("R", r[None]),
        graph.constant("B", np.concatenate(biases)[None]),
        graph.add("Cast", "lengths", to=TensorProto.INT32),
        *_start(graph, spec, weights),
    ]
    attributes: dict[str, Any] = {"hidden_size": spec.hidden_size}
    if cell == "simple":
        attributes["activations"] = ["Tanh" if spec.kind.nonlinearity == "tanh" else "Relu"]
    if cell == "gru":
        attributes["linear_before_reset"] = 1
    graph.nodes.append(helper.make_node(_ONNX_OPS[cell], inputs, ["Y", "Y_h"], **attributes))
    direction = graph.constant("direction", np.array([1], np.int64))
    states = graph.add("Transpose", graph.add("Squeeze", "Y", direction), perm=[1, 0, 2])
    first = graph.constant("first", np.array([0], np.int64))
    return states, graph.add("Squeeze", "Y_h", first)


def _scan_cell(graph: _Graph, spec: NetSpec, weights: Weights) -> tuple[str, str]:
    """As `_run_cell`: the step over all steps, padded ones too, of which none is read."""
    body = _Graph(constants=graph.constants, prefix="step_")
    body.add("Identity", _step_cell(body, spec, weights, "features_t"), name="read")
    names = ("hidden", "cell")[: len(spec.state_sizes)]
    sizes = dict(zip(names, spec.state_sizes, strict=True))
    step = helper.make_graph(
        body.nodes,
        "step",
        [_rows(name, size) for name, size in {**sizes, "features_t": spec.input_size}.items()],
        [*(_rows(next_name(name), sizes[name]) for name in names), _rows("read", spec.hidden_size)],
    )
    inputs = [
        *_start_rows(graph, spec, weights),
        graph.add("Transpose", "features", perm=[1, 0, 2]),
    ]
    outputs = [*(f"last_{name}" for name in names), "reads"]
    graph.nodes.append(helper.make_node("Scan", inputs, outputs, body=step, num_scan_inputs=1))
    states = graph.add("Transpose", "reads", perm=[1, 0, 2])
    last_axis = graph.constant("last_axis", np.array([1], np.int64))
    lasts = graph.add("Sub", "lengths", graph.constant("one", np.array(1, np.int64)))
    lasts = graph.add("Unsqueeze", lasts, last_axis)  # (batch, 1)
    return states, graph.add("GatherND", states, lasts, batch_dims=1)


def _rows(name: str, size: int) -> onnx.ValueInfoProto:
    return _value(name, TensorProto.FLOAT, ("batch", size))


def _start_rows(graph: _Graph, spec: NetSpec, weights: Weights) -> list[str]:
    """The states before the first step (batch, ...)."""
    one = graph.constant("one_sequence", np.array([1], np.int64))
    shape = graph.add("Concat", graph.add("Shape", "lengths"), one, axis=0)
    rows = []
    for place, size in enumerate(spec.state_sizes):
        start = weights.get(f"start.{place}", np.zeros(size, np.float32))
        rows.append(graph.add("Expand", graph.constant(f"start_{place}", start[None]), shape))
    return rows


def _start(graph: _Graph, spec: NetSpec, weights: Weights) -> list[str]:
    """The states before the first step (1, batch, H), of a net that learned them; else zeros."""
    if spec.h0 != "learned":
        return []
    batch = graph.add("Shape", "lengths")
    one = graph.constant("one_sequence", np.array([1], np.int64))
    shape = graph.add("Concat", one, batch, one, axis=0)
    starts = []
    for place, name in enumerate(state_names(spec)[: len(spec.state_sizes)]):
        start = graph.constant(f"start_{name}", weights[f"start.{place}"][None, None])
        starts.append(graph.add("Expand", start, shape))
    return starts


def _mean_over_time(graph: _Graph, states: str) -> str:
    """(batch, N): the mean of states (batch, time, N) over each sequence's real steps."""
    second = graph.constant("second", np.array([1], np.int64))
    steps = graph.add("Gather", graph.add("Shape", "features"), graph.constant("at", np.array(1)))
    zero, one = (graph.constant(f"int_{i}", np.array(i, np.int64)) for i in (0, 1))
    places = graph.add("Range", zero, steps, one)
    lengths = graph.add("Unsqueeze", "lengths", second)  # (batch, 1)
    real = graph.add("Less", places, lengths)  # (batch, time)
    real = graph.add("Unsqueeze", real, graph.constant("third", np.array([2], np.int64)))
    padding = graph.constant("padding", np.array(0, np.float32))
    kept = graph.add("Where", real, states, padding)
    total = graph.add("ReduceSum", kept, second, keepdims=0)
    return graph.add("Div", total, graph.add("Cast", lengths, to=TensorProto.FLOAT))


def _reorder(weight: Floats, spec: NetSpec) -> Floats:
    """A weight's blocks of H rows, one a gate, in ONNX's order."""
    order = _TORCH_BLOCKS_IN_ONNX_ORDER[spec.kind.cell]
    blocks = np.split(weight, len(order))
    return np.concatenate([blocks[place] for place in order])


def _arrays(net: SequenceNet) -> dict[str, Floats]:
    return {name: tensor.numpy().copy() for name, tensor in plain_weights(net).items()}
