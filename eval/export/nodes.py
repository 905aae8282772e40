"""An ONNX graph in the making: its nodes, constants and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
_IR_VERSION = 8  # of onnx 1.12, the first with opset 17

Floats = NDArray[np.float32]


@dataclass
class Graph:
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
        return self.split_into(value, names)

    def split_into(self, value: str, names: Sequence[str]) -> list[str]:
        """Equal parts of `value` (batch, ...) by these names."""
        self.nodes.append(helper.make_node("Split", [value], names, axis=1))
        return list(names)

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
            [make_value(name, *kind) for name, kind in inputs.items()],
            [make_value(name, *kind) for name, kind in outputs.items()],
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


def make_value(name: str, kind: int, shape: tuple[str | int, ...]) -> onnx.ValueInfoProto:
    """An input or output of this type and shape."""
    return helper.make_tensor_value_info(name, kind, shape)
