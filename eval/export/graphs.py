"""A trained net as ONNX graphs: one step with its state, and whole sequences.

Written node by node from the weights: a tracer would unroll time, and these run on any runtime of
opset 17. The order of gates differs: torch's is i f g o (lstm) and r z n (gru), that of ONNX
i o f c and z r h. A cell that ONNX has no operator for is its step in a Scan.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from eval.export.layers import Layer, list_arrays, list_layers, next_name, step_layer
from eval.export.nodes import Floats, Graph, make_value
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.spec import Cell, NetSpec

_ONNX_OPS: dict[Cell, str] = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
_TORCH_BLOCKS_IN_ONNX_ORDER: dict[Cell, tuple[int, ...]] = {
    "simple": (0,),
    "lstm": (0, 3, 1, 2),
    "gru": (1, 0, 2),
}


def state_names(spec: NetSpec) -> tuple[str, ...]:
    """What the step takes and gives beside features and outputs: components of `NetState`."""
    recurrent = ("hidden", "cell")[: len(spec.state_sizes)]
    return (*recurrent, "mean", "num_steps") if spec.mean_size else recurrent


def build_step(net: SequenceNet) -> onnx.ModelProto:
    """features (batch, D) and the state -> outputs (batch, C) and the state after, `next_*`.

    ValueError for a bidirectional net.
    """
    net.spec.check_advances()
    spec, weights, graph = net.spec, list_arrays(net), Graph()
    read = _step_layers(graph, list_layers(net), num_states=len(spec.state_sizes))
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


def _step_layers(graph: Graph, layers: list[Layer], *, num_states: int) -> str:
    """What is read of the step above all layers, whose states lie side by side."""
    read, states = "features", ("hidden", "cell")[:num_states]
    if len(layers) > 1:
        for state in states:
            graph.split_into(state, [layer.name(state) for layer in layers])
    for layer in layers:
        read = step_layer(graph, layer, read)
    if len(layers) > 1:
        for state in map(next_name, states):
            graph.add("Concat", *(layer.name(state) for layer in layers), name=state, axis=1)
    return read


def _join(graph: Graph, spec: NetSpec, last: str, mean: str) -> str:
    """The mean, after the last state where the net reads both."""
    if spec.readout != "last-and-mean":
        return mean
    return graph.add("Concat", last, mean, axis=1)


def _step_mean(graph: Graph, read: str) -> str:
    one = graph.constant("one", np.array(1, np.int64))
    count = graph.add("Add", "num_steps", one, name=next_name("num_steps"))
    count = graph.add("Cast", count, to=TensorProto.FLOAT)
    count = graph.add("Unsqueeze", count, graph.constant("last_axis", np.array([1], np.int64)))
    change = graph.add("Div", graph.add("Sub", read, "mean"), count)
    return graph.add("Add", "mean", change, name=next_name("mean"))


def build_whole(net: SequenceNet) -> onnx.ModelProto:
    """features (batch, time, D) and lengths (batch,) -> outputs (batch, C); padding has no say."""
    spec, weights, graph = net.spec, list_arrays(net), Graph()
    states, last = _run_layers(graph, spec, list_layers(net))
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


def _run_layers(graph: Graph, spec: NetSpec, layers: list[Layer]) -> tuple[str, str]:
    """What is read above all layers: of all steps (batch, time, R), and at the last, (batch, R)."""
    states, last = "features", ""
    run = _run_operator if spec.kind.cell in _ONNX_OPS else _scan_layer
    for first in range(0, len(layers), spec.num_directions):
        states, last = run(graph, spec, layers[first : first + spec.num_directions], states)
    return states, last


def _run_operator(
    graph: Graph, spec: NetSpec, layers: list[Layer], features: str
) -> tuple[str, str]:
    """As `_run_layers`, of one layer, in one direction or both."""
    names, own = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"], layers[0].name
    w, r, *biases = (
        np.stack([_reorder(layer.weights[name], spec) for layer in layers]) for name in names
    )
    inputs = [
        graph.add("Transpose", features, perm=[1, 0, 2]),  # (time, batch, D)
        graph.constant(own("W"), w),
        graph.constant(own("R"), r),
        graph.constant(own("B"), np.concatenate(biases, axis=1)),
        graph.add("Cast", "lengths", to=TensorProto.INT32),
        *_start(graph, spec, layers),
    ]
    attributes: dict[str, Any] = {"hidden_size": spec.hidden_size}
    if spec.bidirectional:
        attributes["direction"] = "bidirectional"
    if spec.kind.cell == "simple":
        activation = "Tanh" if spec.kind.nonlinearity == "tanh" else "Relu"
        attributes["activations"] = len(layers) * [activation]
    if spec.kind.cell == "gru":
        attributes["linear_before_reset"] = 1
    outputs = [own("Y"), own("Y_h")]  # (time, directions, batch, H), (directions, batch, H)
    graph.nodes.append(helper.make_node(_ONNX_OPS[spec.kind.cell], inputs, outputs, **attributes))
    joined = [
        graph.constant(f"joined_{axes}", np.array([*axes * [0], -1], np.int64)) for axes in (1, 2)
    ]  # 0: as it is
    states = graph.add("Transpose", outputs[0], perm=[2, 0, 1, 3])
    last = graph.add("Transpose", outputs[1], perm=[1, 0, 2])
    return graph.add("Reshape", states, joined[1]), graph.add("Reshape", last, joined[0])


def _scan_layer(graph: Graph, spec: NetSpec, layers: list[Layer], features: str) -> tuple[str, str]:
    """As `_run_operator`: the step over all steps, padded ones too, of which none is read."""
    by_time = graph.add("Transpose", features, perm=[1, 0, 2])
    width = layers[0].weights["weight_ih_l0"].shape[1]
    reads, lasts = [], []
    for direction, layer in enumerate(layers):
        in_order = _reverse(graph, by_time) if direction else by_time
        read = _scan(graph, layer, in_order, sizes=(width, spec.hidden_size))
        lasts.append(_take_last(graph, graph.add("Transpose", read, perm=[1, 0, 2])))
        in_order = _reverse(graph, read) if direction else read
        reads.append(graph.add("Transpose", in_order, perm=[1, 0, 2]))
    if len(layers) == 1:
        return reads[0], lasts[0]
    return graph.add("Concat", *reads, axis=2), graph.add("Concat", *lasts, axis=1)


def _scan(graph: Graph, layer: Layer, features: str, *, sizes: tuple[int, int]) -> str:
    """What is read of each step (time, batch, H) of features (time, batch, D); `sizes` D and H."""
    body = Graph(constants=graph.constants, prefix=layer.name("step_"))
    features_t, read = layer.name("features_t"), layer.name("read")
    body.add("Identity", step_layer(body, layer, features_t), name=read)
    names = ("hidden", "cell")[: len(layer.starts)]
    states = list(zip(names, map(len, layer.starts), strict=True))
    step = helper.make_graph(
        body.nodes,
        layer.name("step"),
        [*(_rows(layer.name(n), size) for n, size in states), _rows(features_t, sizes[0])],
        [*(_rows(layer.name(next_name(n)), size) for n, size in states), _rows(read, sizes[1])],
    )
    outputs = [*(layer.name(f"last_{name}") for name in names), layer.name("reads")]
    inputs = [*_start_rows(graph, layer), features]
    graph.nodes.append(helper.make_node("Scan", inputs, outputs, body=step, num_scan_inputs=1))
    return outputs[-1]


def _reverse(graph: Graph, values: str) -> str:
    """Values (time, batch, N) with each sequence's real steps from the last to the first."""
    return graph.add("ReverseSequence", values, "lengths", time_axis=0, batch_axis=1)


def _take_last(graph: Graph, states: str) -> str:
    """(batch, N) of states (batch, time, N): those of each sequence's last real step."""
    last_axis = graph.constant("last_axis", np.array([1], np.int64))
    lasts = graph.add("Sub", "lengths", graph.constant("one", np.array(1, np.int64)))
    lasts = graph.add("Unsqueeze", lasts, last_axis)  # (batch, 1)
    return graph.add("GatherND", states, lasts, batch_dims=1)


def _rows(name: str, size: int) -> onnx.ValueInfoProto:
    return make_value(name, TensorProto.FLOAT, ("batch", size))


def _start_rows(graph: Graph, layer: Layer) -> list[str]:
    """The states before the first step (batch, ...)."""
    one = graph.constant("one_sequence", np.array([1], np.int64))
    shape = graph.add("Concat", graph.add("Shape", "lengths"), one, axis=0)
    return [
        graph.add("Expand", graph.constant(layer.name(f"start_{place}"), start[None]), shape)
        for place, start in enumerate(layer.starts)
    ]


def _start(graph: Graph, spec: NetSpec, layers: list[Layer]) -> list[str]:
    """The states before the first step (directions, batch, H), if they were learned; else zeros."""
    if spec.h0 != "learned":
        return []
    batch = graph.add("Shape", "lengths")
    one = graph.constant("one_sequence", np.array([1], np.int64))
    shape = graph.add("Concat", one, batch, one, axis=0)
    starts = []
    for place, name in enumerate(state_names(spec)[: len(spec.state_sizes)]):
        start = np.stack([layer.starts[place] for layer in layers])[:, None]
        constant = graph.constant(layers[0].name(f"start_{name}"), start)
        starts.append(graph.add("Expand", constant, shape))
    return starts


def _mean_over_time(graph: Graph, states: str) -> str:
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
